//! The documents that people and programs exchange with the service: what the HTTP API answers and the command line
//! shows. Both are made here, so that they cannot say different things.
//!
//! Hazard: a field that is renamed breaks somebody's script silently. Fields are added, never renamed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::core::{BackupId, BackupKind, BackupPriority, BackupState, Digest, SetName};

/// A backup, without its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSummary {
    /// Its id.
    pub id: BackupId,
    /// Its set.
    pub set: SetName,
    /// Its place among the set's backups; absent if its manifest cannot be read.
    pub sequence: Option<u64>,
    /// Why it was made; absent if its manifest cannot be read.
    pub kind: Option<BackupKind>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// What is known of it.
    pub state: BackupState,
    /// What is wrong with it, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// When it was last found intact.
    pub verified: Option<DateTime<Utc>>,
    /// Whether retention leaves it alone.
    pub pinned: bool,
    /// Whether all files stood still together while they were read.
    pub consistent: bool,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Bytes of its objects, shared ones counted in full.
    pub stored_bytes: u64,
}

/// A backup with its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupDetails {
    /// All but the files.
    #[serde(flatten)]
    pub summary: BackupSummary,
    /// The full SHA-256 of its manifest file; absent if that cannot be read.
    pub manifest_sha256: Option<Digest>,
    /// Its files, by path.
    pub files: Vec<FileDocument>,
    /// Files of the set that were not there.
    pub missing: Vec<String>,
    /// Files of the set that could not be read.
    pub unreadable: Vec<UnreadableDocument>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDocument {
    /// Its path below the set's source.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// What `sha256sum` prints for it.
    pub sha256: Digest,
    /// Permission bits in octal: `0644`.
    pub mode: String,
    /// When its content was last modified.
    pub modified: DateTime<Utc>,
    /// Why its content is not valid, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableDocument {
    /// Its path below the set's source.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Backups, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupList {
    /// A page of them.
    pub backups: Vec<BackupSummary>,
    /// The id to give as `after` for the next page; absent on the last.
    pub next: Option<BackupId>,
}

/// Which backups to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only this set's.
    pub set: Option<String>,
    /// At most so many: 1 to [`MAX_LIST`]; 100 if not given.
    pub limit: Option<usize>,
    /// Only those after this one in the list.
    pub after: Option<String>,
}

/// The most backups on one page.
pub const MAX_LIST: usize = 1000;

/// How to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreOptions {
    /// Only this file.
    #[serde(default)]
    pub file: Option<String>,
    /// Whether live logs may be replaced.
    #[serde(default)]
    pub replace_logs: bool,
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOutcome {
    /// The set.
    pub set: SetName,
    /// The backup that was restored.
    pub backup: BackupId,
    /// Where the files are now.
    pub target: String,
    /// The files that are back.
    pub restored: Vec<RestoredDocument>,
    /// Files of the backup that were left alone.
    pub skipped: Vec<SkippedDocument>,
    /// The backup of the live files as they were before, if there were any.
    pub safety_backup: Option<BackupId>,
    /// How to undo it.
    pub undo: Option<String>,
}

/// A file that is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredDocument {
    /// Its path below the target.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// What `sha256sum` prints for it.
    pub sha256: Digest,
}

/// A file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDocument {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyOutcome {
    /// The backup.
    pub backup: BackupId,
    /// Its set.
    pub set: SetName,
    /// What was found.
    pub verdict: VerifyVerdict,
    /// What is absent or wrong.
    pub damages: Vec<DamageDocument>,
    /// Why something could not be read, if so.
    pub unreadable: Option<String>,
    /// Bytes of content that were read.
    pub content_bytes: u64,
}

/// The sum of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyVerdict {
    /// Everything is as its hash says.
    Intact,
    /// Something is absent or wrong.
    Damaged,
    /// Something could not be read, which proves nothing.
    Unreadable,
}

/// A loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamageDocument {
    /// A path in the repository, or of a file in the backup.
    pub place: String,
    /// What is wrong with it.
    pub fault: String,
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When this process started.
    pub started: DateTime<Utc>,
    /// Whether there are schedules and sweeps.
    pub enabled: bool,
    /// The mode.
    pub mode: ModeDocument,
    /// Every configured set, most important first.
    pub sets: Vec<SetStatus>,
    /// The actors.
    pub actors: Vec<ActorStatus>,
    /// The repository.
    pub repository: RepositoryStatus,
    /// The audit log.
    pub audit: AuditStatus,
}

/// The mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModeDocument {
    /// `starting`, `normal`, `degraded`, `recovery` or `stopping`.
    pub name: String,
    /// What recovery was entered for.
    pub cause: Option<String>,
    /// How far recovery has come.
    pub phase: Option<String>,
    /// What needs a person.
    pub reasons: Vec<String>,
    /// Losses that must be acknowledged by name to leave recovery.
    pub losses: Vec<String>,
    /// Whether the mode would survive a restart.
    pub persisted: bool,
}

/// A configured set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetStatus {
    /// Its name.
    pub name: SetName,
    /// How much it matters.
    pub priority: BackupPriority,
    /// Whether it is backed up on schedule.
    pub enabled: bool,
    /// Its source directory.
    pub source: String,
    /// Seconds between two runs.
    pub interval_seconds: u64,
    /// When it is due next; absent if it has no schedule.
    pub next_run: Option<DateTime<Utc>>,
    /// When its last run started.
    pub last_attempt: Option<DateTime<Utc>>,
    /// When its last run that succeeded started.
    pub last_success: Option<DateTime<Utc>>,
    /// How many runs failed since.
    pub consecutive_failures: u32,
    /// Why the last run failed, if it did.
    pub last_error: Option<String>,
    /// Since when a run is under way.
    pub running_since: Option<DateTime<Utc>>,
    /// The backup that `latest` means.
    pub latest: Option<BackupId>,
    /// How many backups there are in each state.
    pub backups: StateCounts,
    /// Sequences that are neither present nor deleted on purpose: lost backups, some of them.
    pub lost_sequences: Vec<u64>,
}

/// How many backups there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateCounts {
    /// Bytes verified and content valid.
    pub good: u64,
    /// Intact with invalid content.
    pub suspect: u64,
    /// Not read back yet.
    pub unverified: u64,
    /// Damaged.
    pub damaged: u64,
}

/// An actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorStatus {
    /// Its name.
    pub name: String,
    /// `up`, `restarting` or `gave_up`.
    pub state: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why it was restarted last.
    pub last_error: Option<String>,
}

/// The repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryStatus {
    /// Where it is.
    pub location: String,
    /// Its name.
    pub id: String,
    /// How many objects it holds.
    pub objects: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
    /// Bytes that may still be written; absent if that cannot be told.
    pub free_bytes: Option<u64>,
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditStatus {
    /// Where it is.
    pub path: String,
    /// The number of its last record.
    pub head_sequence: Option<u64>,
    /// Whether the last record could be written.
    pub writable: bool,
}

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
