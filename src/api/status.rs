//! The service at a glance, as a document.
//!
//! Hazard: a status that looks fine because it leaves out what is not. Everything that needs a person is in here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ReplicaStatus;
use super::{DamageStatus, HeldDocument, ScrubStatus};
use crate::core::{BackupId, BackupPriority, SetName};

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// What is damaged.
    #[serde(default)]
    pub damage: DamageStatus,
    /// How far everything was read again.
    #[serde(default)]
    pub scrub: ScrubStatus,
    /// The configured replicas.
    #[serde(default)]
    pub replicas: Vec<ReplicaStatus>,
    /// The audit log.
    pub audit: AuditStatus,
    /// Log lines that nobody took, or that could not be written, since the start.
    #[serde(default)]
    pub log_lines_dropped: u64,
}

/// The mode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModeDocument {
    /// `starting`, `normal`, `degraded`, `recovery` or `stopping`.
    pub name: String,
    /// What recovery was entered for.
    pub cause: Option<String>,
    /// How far recovery has come.
    pub phase: Option<String>,
    /// What needs a person.
    pub reasons: Vec<ReasonDocument>,
    /// Losses that must be acknowledged by name to leave recovery.
    pub losses: Vec<String>,
    /// Whether the mode would survive a restart.
    pub persisted: bool,
}

/// Something that needs a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonDocument {
    /// Its stable code, as in the audit log and the alerts.
    pub code: String,
    /// What is wrong, where, and what to do.
    pub detail: String,
}

/// A configured set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// When its last drill started.
    pub last_drill: Option<DateTime<Utc>>,
    /// How it ended: `passed`, `failed` or `interrupted`; `no_key` where none is held, because no key here opens the backups
    /// and none is meant to.
    pub last_drill_outcome: Option<String>,
    /// Why it failed, if it did.
    pub last_drill_error: Option<String>,
    /// When the next one is due; absent if there are none, or nothing to restore.
    pub next_drill: Option<DateTime<Utc>>,
    /// The backup that `latest` means.
    pub latest: Option<BackupId>,
    /// How many backups there are in each state.
    pub backups: StateCounts,
    /// Sequences that are neither present nor deleted on purpose: lost backups, some of them.
    pub lost_sequences: Vec<u64>,
    /// What the newest backup lacks, in words; some of it, if it is much.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// The cleanup that waits for a person, if one does.
    #[serde(default)]
    pub held: Option<HeldDocument>,
}

/// How many backups there are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ActorStatus {
    /// Its name.
    pub name: String,
    /// Who restarts it; nobody, if it ends with the process.
    pub parent: Option<String>,
    /// `up`, `stuck`, `restarting` or `gave_up`.
    pub state: String,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why it was restarted last.
    pub last_error: Option<String>,
    /// Messages that it has not begun with; for the auditor, records that are not written.
    pub waiting_messages: u64,
}

/// The repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Where another repository is that was used before this one, and how to bring it along; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<String>,
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditStatus {
    /// Where it is.
    pub path: String,
    /// The number of its last record.
    pub head_sequence: Option<u64>,
    /// Whether the last record could be written.
    pub writable: bool,
    /// Whether the chain was whole when it was last checked, or what is wrong with it is accepted.
    pub chain_ok: bool,
}
