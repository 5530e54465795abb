//! What is deleted, what would be, and why, as documents.
//!
//! Hazard: a plan that is shown in other words than it is carried out in. Each backup has its reason's stable code, and
//! the sentence for people beside it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::retention::{Decision, DeleteReason, Hold};
use crate::core::{BackupId, SetName};

/// What to prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PruneOptions {
    /// The digest of the held plan that is to be carried out.
    #[serde(default)]
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub confirm: Option<String>,
    /// Instead of anything else, delete what is in quarantine: the digest that the plan shows of it.
    #[serde(default)]
    pub clear_quarantine: Option<String>,
}

/// What would be done, set by set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrunePlan {
    /// Every configured set.
    pub sets: Vec<SetPlan>,
    /// Stored content that no backup needs.
    pub garbage: GarbageDocument,
    /// Damaged files, kept until somebody says that they may go.
    #[serde(default)]
    pub quarantine: QuarantineDocument,
}

/// Damaged files that are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineDocument {
    /// How many files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What deleting exactly these is confirmed by; absent if there are none.
    pub digest: Option<String>,
}

/// What would become of a set's backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetPlan {
    /// The set.
    pub set: SetName,
    /// Which versions go when there are too many.
    pub policy: String,
    /// The most good versions that are kept.
    pub max_backups: u64,
    /// For how many days a version is kept after it was superseded.
    pub retention_days: u32,
    /// Why nothing at all is deleted, if so.
    pub frozen: Option<String>,
    /// Why the plan waits for a person, if it does.
    pub held: Option<HeldDocument>,
    /// Each backup, oldest first.
    pub backups: Vec<DecisionDocument>,
    /// Stored bytes that nothing would need any more.
    pub would_free_bytes: u64,
}

/// What would become of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DecisionDocument {
    /// The backup.
    pub id: BackupId,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// Since when its version is not the current one any more; absent if it is.
    pub superseded: Option<DateTime<Utc>>,
    /// `keep` or `delete`.
    pub action: String,
    /// Why: a stable code.
    pub reason: String,
    /// Why, in words.
    pub explanation: String,
}

/// Stored content that no backup needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GarbageDocument {
    /// How many objects.
    pub objects: u64,
    /// Their stored bytes.
    pub stored_bytes: u64,
    /// Why none of it is collected, if so.
    pub blocked: Option<String>,
}

/// A plan that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HeldDocument {
    /// The set.
    pub set: SetName,
    /// Why: `large_share`, `absence` (what became too old while the service was away) or `not_automatic`.
    pub reason: String,
    /// How many backups it would delete.
    pub deletions: u64,
    /// Of how many.
    pub backups: u64,
    /// What to confirm it by.
    pub digest: String,
}

/// A backup that was deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeletedDocument {
    /// The backup.
    pub id: BackupId,
    /// Its set.
    pub set: SetName,
    /// Why: a stable code.
    pub reason: String,
    /// Why, in words.
    pub explanation: String,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PruneOutcome {
    /// Backups that were deleted.
    pub deleted: Vec<DeletedDocument>,
    /// Plans that wait.
    pub held: Vec<HeldDocument>,
    /// Objects that were collected.
    pub objects: u64,
    /// Damaged files that were deleted from quarantine.
    #[serde(default)]
    pub quarantine_cleared: u64,
    /// The bytes of all that is gone: manifests and objects, or what was in quarantine.
    pub freed_bytes: u64,
    /// Why no object is collected, if so.
    pub collection_blocked: Option<String>,
    /// What failed.
    pub failures: Vec<String>,
}

/// How to give something up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForgetOptions {
    /// The digest of what was shown; without it nothing is done, and it is shown.
    #[serde(default)]
    #[schema(pattern = "^[0-9a-f]{16}$")]
    pub confirm: Option<String>,
}

/// What is given up, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForgetOutcome {
    /// The set.
    pub set: SetName,
    /// The backup, if there is something of it.
    pub backup: Option<BackupId>,
    /// Its place among the set's backups, as far as it is known.
    pub sequences: Vec<u64>,
    /// What is lost with it, one sentence each.
    pub gives_up: Vec<String>,
    /// What to confirm it by.
    pub digest: String,
    /// Whether it was done.
    pub done: bool,
}

impl DecisionDocument {
    /// What is decided of a backup.
    pub fn new(id: BackupId, created: DateTime<Utc>, superseded: Option<DateTime<Utc>>, decision: &Decision) -> Self {
        let (action, explanation) = match decision {
            Decision::Keep(reason) => ("keep", reason.to_string()),
            Decision::Delete(reason) => ("delete", reason.to_string()),
        };
        Self { id, created, superseded, action: action.into(), reason: decision.code().into(), explanation }
    }
}

impl HeldDocument {
    /// A set's plan that waits.
    pub fn new(set: &SetName, hold: &Hold) -> Self {
        Self {
            set: set.clone(),
            reason: hold.reason.code().into(),
            deletions: hold.deletions as u64,
            backups: hold.backups as u64,
            digest: hold.digest.to_string(),
        }
    }
}

impl DeletedDocument {
    /// A backup of a set that was deleted.
    pub fn new(id: BackupId, set: &SetName, reason: &DeleteReason) -> Self {
        Self { id, set: set.clone(), reason: reason.code().into(), explanation: reason.to_string() }
    }
}

impl PruneOutcome {
    /// Nothing done, because of this.
    pub fn failed(why: &str) -> Self {
        Self { failures: vec![why.into()], ..Self::default() }
    }

    /// Both.
    pub fn add(&mut self, mut more: Self) {
        self.deleted.append(&mut more.deleted);
        self.held.append(&mut more.held);
        self.objects += more.objects;
        self.quarantine_cleared += more.quarantine_cleared;
        self.freed_bytes += more.freed_bytes;
        self.collection_blocked = self.collection_blocked.take().or(more.collection_blocked);
        self.failures.append(&mut more.failures);
    }
}
