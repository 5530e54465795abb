//! Problems, as documents of RFC 9457.
//!
//! Hazard: a script that tells errors apart by their text. Each kind has a stable `type`.

use serde::{Deserialize, Serialize};

use super::PlanDocument;
use crate::core::BackupId;

/// What went wrong, in the form of RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What kind of problem; [`ProblemKind::urn`].
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here, where, and what to do.
    pub detail: String,
    /// Backups that would do instead.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub good_backups: Vec<BackupId>,
    /// The plan as it is now, where another was to be applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Box<PlanDocument>>,
    /// What ties it to the audit log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

macro_rules! problem_kinds {
    ($($(#[$doc:meta])* $name:ident = $urn:literal, $status:literal, $title:literal;)+) => {
        /// The kinds of problems: a stable `type`, an HTTP status and a title each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum ProblemKind {
            $($(#[$doc])* #[serde(rename = $urn)] $name,)+
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable `type`.
            pub const fn urn(self) -> &'static str {
                match self { $(Self::$name => $urn,)+ }
            }

            /// The HTTP status.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// The kind in words.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }
        }
    };
}

problem_kinds! {
    /// A value in the request is not what it must be.
    BadRequest = "urn:fiovana:problem:bad-request", 400, "The request is malformed";
    /// No token was presented where one is needed, or one that is nobody's.
    Unauthorized = "urn:fiovana:problem:unauthorized", 401, "A token is needed";
    /// A browser on another site sent it, or it was addressed to another host.
    Forbidden = "urn:fiovana:problem:forbidden", 403, "The request is not allowed";
    /// No such set, backup or path.
    NotFound = "urn:fiovana:problem:not-found", 404, "There is no such thing";
    /// The path knows other methods.
    MethodNotAllowed = "urn:fiovana:problem:method-not-allowed", 405, "The method is not allowed here";
    /// The set is busy with another operation.
    Busy = "urn:fiovana:problem:busy", 409, "The set is busy";
    /// The mode does not allow it.
    WrongMode = "urn:fiovana:problem:wrong-mode", 409, "The mode does not allow it";
    /// What was planned is not what would be done now.
    StalePlan = "urn:fiovana:problem:stale-plan", 409, "The plan has changed";
    /// It can still be restored, or is protected.
    Protected = "urn:fiovana:problem:protected", 409, "It is protected";
    /// The backup belongs to another set.
    SetMismatch = "urn:fiovana:problem:set-mismatch", 409, "The backup belongs to another set";
    /// More than one backup is meant.
    Ambiguous = "urn:fiovana:problem:ambiguous", 409, "The id is not unique";
    /// The body is too large.
    TooLarge = "urn:fiovana:problem:too-large", 413, "The request is too large";
    /// The source is not what it should be.
    Source = "urn:fiovana:problem:source", 422, "The source cannot be backed up";
    /// The backup is damaged.
    Integrity = "urn:fiovana:problem:integrity", 422, "The backup is damaged";
    /// The target cannot be written as it must be.
    Target = "urn:fiovana:problem:target", 422, "The files cannot be restored there";
    /// A restore failed half way, and the earlier files are back.
    RolledBack = "urn:fiovana:problem:rolled-back", 422, "The restore was rolled back";
    /// Too many wrong tokens.
    TooManyRequests = "urn:fiovana:problem:too-many-requests", 429, "Wait before the next attempt";
    /// Something failed that should not.
    Internal = "urn:fiovana:problem:internal", 500, "Something failed";
    /// The service is stopping, starting or overloaded.
    Unavailable = "urn:fiovana:problem:unavailable", 503, "The service cannot do it now";
    /// No space is left.
    NoSpace = "urn:fiovana:problem:no-space", 507, "No space is left";
}

impl Problem {
    /// A problem of this kind: what happened here, where, and what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            title: kind.title().to_owned(),
            status: kind.status(),
            detail: detail.into(),
            good_backups: vec![],
            plan: None,
            correlation_id: None,
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}
