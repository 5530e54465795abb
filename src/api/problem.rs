//! Problems, as documents of RFC 9457.
//!
//! Hazard: a script that tells errors apart by their text. Each kind has a stable `type`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PlanDocument;
use crate::core::BackupId;

/// What went wrong, in the form of RFC 9457.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind of problem: stable, for programs.
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
    ($($(#[$doc:meta])* $name:ident = $urn:literal, $status:literal, $title:literal, $advice:literal;)+) => {
        /// The kinds of problems: a stable `type`, an HTTP status, a title, and what to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum ProblemKind {
            $($(#[$doc])* #[serde(rename = $urn)] $name,)+
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name in the OpenAPI document.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

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

            /// What to do about any of this kind; a problem's `detail` says it for the case at hand.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

problem_kinds! {
    /// A value in the request is not what it must be.
    BadRequest = "urn:fiovana:problem:bad-request", 400, "The request is malformed",
        "correct what `detail` names";
    /// No token was presented where one is needed, or one that is nobody's.
    Unauthorized = "urn:fiovana:problem:unauthorized", 401, "A token is needed",
        "send a token of `state/api-tokens` in the backup directory as `Authorization: Bearer TOKEN`";
    /// A browser on another site sent it, or it was addressed to another host, or the token is one to look with.
    Forbidden = "urn:fiovana:problem:forbidden", 403, "The request is not allowed",
        "address the service as `localhost`; use a token with the right `operate`";
    /// No such set, backup or path.
    NotFound = "urn:fiovana:problem:not-found", 404, "There is no such thing",
        "look at what there is: `GET /api/backup/list`, `GET /api/status`";
    /// The path knows other methods.
    MethodNotAllowed = "urn:fiovana:problem:method-not-allowed", 405, "The method is not allowed here",
        "use one of those in `Allow`";
    /// The request did not arrive in time.
    Timeout = "urn:fiovana:problem:timeout", 408, "The request took too long to arrive",
        "send it again, whole";
    /// The set is busy with another operation.
    Busy = "urn:fiovana:problem:busy", 409, "The set is busy",
        "try again when what is under way is done: `GET /api/status` tells";
    /// The mode does not allow it.
    WrongMode = "urn:fiovana:problem:wrong-mode", 409, "The mode does not allow it",
        "look at `GET /api/recovery`: it says what the mode waits for";
    /// What was planned is not what would be done now.
    StalePlan = "urn:fiovana:problem:stale-plan", 409, "The plan has changed",
        "look at the plan again, then name the new digest";
    /// It can still be restored, or is protected.
    Protected = "urn:fiovana:problem:protected", 409, "It is protected",
        "take its pin away, or leave it";
    /// The backup belongs to another set.
    SetMismatch = "urn:fiovana:problem:set-mismatch", 409, "The backup belongs to another set",
        "name the set that `detail` names";
    /// More than one backup is meant.
    Ambiguous = "urn:fiovana:problem:ambiguous", 409, "The id is not unique",
        "give more of the id: `detail` lists what is meant";
    /// The body is too large.
    TooLarge = "urn:fiovana:problem:too-large", 413, "The request is too large",
        "send less: options fit into a few hundred bytes";
    /// The source is not what it should be.
    Source = "urn:fiovana:problem:source", 422, "The source cannot be backed up",
        "mend the source directory as `detail` says, then try again";
    /// The backup is damaged.
    Integrity = "urn:fiovana:problem:integrity", 422, "The backup is damaged",
        "use one of `good_backups`; then look at the disk";
    /// The target cannot be written as it must be.
    Target = "urn:fiovana:problem:target", 422, "The files cannot be restored there",
        "mend the target as `detail` says, or restore elsewhere: `fiovana-app restore --to`";
    /// A restore failed half way, and the earlier files are back.
    RolledBack = "urn:fiovana:problem:rolled-back", 422, "The restore was rolled back",
        "mend what `detail` names, then try again: the files are as they were before";
    /// It is encrypted, or is to be, and the keys for that are not at hand.
    Keys = "urn:fiovana:problem:keys", 422, "The keys are not at hand",
        "put the file of the key where `fiovana-app config show` says, for its owner alone, then try again";
    /// Too many wrong tokens.
    TooManyRequests = "urn:fiovana:problem:too-many-requests", 429, "Wait before the next attempt",
        "wait for as long as `Retry-After` says, then send a token that is right";
    /// Something failed that should not.
    Internal = "urn:fiovana:problem:internal", 500, "Something failed",
        "look for `correlation_id` in the service's log";
    /// The service is stopping, starting or overloaded.
    Unavailable = "urn:fiovana:problem:unavailable", 503, "The service cannot do it now",
        "try again after as long as `Retry-After` says";
    /// No space is left.
    NoSpace = "urn:fiovana:problem:no-space", 507, "No space is left",
        "free space on the disk that `detail` names, or keep fewer versions";
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
