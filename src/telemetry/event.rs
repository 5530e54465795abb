//! Everything that happens, as data.
//!
//! Hazard: an operation that nobody recorded did not happen, as far as an auditor can tell. Each event names itself,
//! says how it ended and what is worth knowing, for all three tellings at once.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::audit::{Entry, Outcome};
use crate::core::{BackupId, BackupKind, Digest, SetName};

/// Something that happened, with who, when and about what.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// What happened.
    pub event: Event,
    /// When.
    pub at: DateTime<Utc>,
    /// The component that did it.
    pub actor: &'static str,
    /// Who asked for it.
    pub principal: String,
    /// The set concerned.
    pub set: Option<SetName>,
    /// The backup concerned.
    pub backup: Option<BackupId>,
    /// What ties everything about one operation together.
    pub correlation_id: String,
}

/// How bytes came to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Right after they were written.
    ReadBack,
    /// Because somebody asked.
    Requested,
    /// Because nobody had looked yet, or the record of it was lost.
    Startup,
    /// To leave recovery mode.
    Validation,
}

impl Check {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::ReadBack, Self::Requested, Self::Startup, Self::Validation];

    /// The name used in the audit log and in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ReadBack => "read_back",
            Self::Requested => "requested",
            Self::Startup => "startup",
            Self::Validation => "validation",
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The process is up.
    ServiceStarted {
        /// The program's version.
        version: &'static str,
        /// Where the repository is.
        repository: String,
        /// The repository's name.
        repository_id: String,
        /// The mode's name.
        mode: &'static str,
    },
    /// The process ends.
    ServiceStopped,
    /// A backup begins.
    BackupStarted {
        /// Why.
        kind: BackupKind,
    },
    /// A backup was made, and read back.
    BackupCompleted {
        /// Why.
        kind: BackupKind,
        /// The SHA-256 of its manifest.
        manifest_sha256: Digest,
        /// How many files it has.
        files: usize,
        /// Files that were not there.
        missing: Vec<String>,
        /// Files that could not be read.
        unreadable: Vec<String>,
        /// Bytes of its files.
        size_bytes: u64,
        /// Bytes of its objects.
        stored_bytes: u64,
        /// Whether all its content is valid.
        valid: bool,
        /// How long it took.
        duration_seconds: f64,
    },
    /// A scheduled run found everything as it is in the backup concerned.
    BackupUnchanged {
        /// How long it took.
        duration_seconds: f64,
    },
    /// No backup was made.
    BackupFailed {
        /// Why it was tried.
        kind: BackupKind,
        /// Why it failed.
        error: String,
    },
    /// Stored bytes were read and were right.
    IntegrityCheckPassed {
        /// How it came to that.
        check: Check,
        /// Bytes of content that were read.
        content_bytes: u64,
    },
    /// Stored bytes were absent or wrong, or could not be read.
    IntegrityCheckFailed {
        /// How it came to that.
        check: Check,
        /// What is absent or wrong; empty if something could merely not be read.
        damages: Vec<String>,
        /// Why something could not be read.
        unreadable: Option<String>,
    },
    /// Damage was made good.
    RepairCompleted {
        /// With what: `source`.
        source: &'static str,
        /// The objects concerned.
        objects: Vec<Digest>,
    },
    /// A restore begins.
    RestoreStarted {
        /// Where to.
        target: String,
    },
    /// Files are back.
    RestoreCompleted {
        /// Where.
        target: String,
        /// How many.
        files: usize,
        /// The live files as they were before.
        safety_backup: Option<BackupId>,
        /// How long it took.
        duration_seconds: f64,
    },
    /// Files are not back.
    RestoreFailed {
        /// Why.
        error: String,
    },
    /// Something is to be deleted.
    CleanupStarted {
        /// What, and why.
        planned: Vec<(BackupId, &'static str)>,
    },
    /// It was.
    CleanupCompleted {
        /// What, and why.
        deleted: Vec<(BackupId, &'static str)>,
        /// Objects that went with it.
        objects: usize,
        /// What that freed.
        freed_bytes: u64,
    },
    /// It was not.
    CleanupFailed {
        /// Why.
        error: String,
    },
    /// The mode changed.
    ModeChanged {
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
        /// The phase of recovery.
        phase: Option<&'static str>,
        /// What for.
        cause: &'static str,
    },
    /// An actor went down and comes back.
    ActorRestarted {
        /// Which.
        actor: &'static str,
        /// `stop`, `error` or `panic`.
        cause: &'static str,
        /// What is known of why.
        reason: String,
    },
    /// An actor went down too often and stays down.
    ActorGaveUp {
        /// Which.
        actor: &'static str,
        /// What is known of why.
        reason: String,
    },
}

impl Event {
    /// Its name in the audit log and in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ServiceStarted { .. } => "ServiceStarted",
            Self::ServiceStopped => "ServiceStopped",
            Self::BackupStarted { .. } => "BackupStarted",
            Self::BackupCompleted { .. } => "BackupCompleted",
            Self::BackupUnchanged { .. } => "BackupUnchanged",
            Self::BackupFailed { .. } => "BackupFailed",
            Self::IntegrityCheckPassed { .. } => "IntegrityCheckPassed",
            Self::IntegrityCheckFailed { .. } => "IntegrityCheckFailed",
            Self::RepairCompleted { .. } => "RepairCompleted",
            Self::RestoreStarted { .. } => "RestoreStarted",
            Self::RestoreCompleted { .. } => "RestoreCompleted",
            Self::RestoreFailed { .. } => "RestoreFailed",
            Self::CleanupStarted { .. } => "CleanupStarted",
            Self::CleanupCompleted { .. } => "CleanupCompleted",
            Self::CleanupFailed { .. } => "CleanupFailed",
            Self::ModeChanged { .. } => "ModeChanged",
            Self::ActorRestarted { .. } => "ActorRestarted",
            Self::ActorGaveUp { .. } => "ActorGaveUp",
        }
    }

    /// How it ended.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::BackupCompleted { .. }
            | Self::BackupUnchanged { .. }
            | Self::IntegrityCheckPassed { .. }
            | Self::RepairCompleted { .. }
            | Self::RestoreCompleted { .. }
            | Self::CleanupCompleted { .. } => Outcome::Success,
            Self::BackupFailed { .. }
            | Self::IntegrityCheckFailed { .. }
            | Self::RestoreFailed { .. }
            | Self::CleanupFailed { .. }
            | Self::ActorRestarted { .. }
            | Self::ActorGaveUp { .. } => Outcome::Failure,
            Self::ServiceStarted { .. }
            | Self::ServiceStopped
            | Self::BackupStarted { .. }
            | Self::RestoreStarted { .. }
            | Self::CleanupStarted { .. }
            | Self::ModeChanged { .. } => Outcome::Info,
        }
    }

    /// What else is worth knowing.
    pub fn details(&self) -> Map<String, Value> {
        let reasons = |list: &[(BackupId, &'static str)]| -> Vec<Value> {
            list.iter().map(|(id, reason)| json!({"backup_id": id, "reason": reason})).collect()
        };
        let details = match self {
            Self::ServiceStarted { version, repository, repository_id, mode } => {
                json!({"version": version, "repository": repository, "repository_id": repository_id, "mode": mode})
            }
            Self::ServiceStopped => json!({}),
            Self::BackupStarted { kind } => json!({"kind": kind}),
            Self::BackupCompleted {
                kind,
                manifest_sha256,
                files,
                missing,
                unreadable,
                size_bytes,
                stored_bytes,
                valid,
                duration_seconds,
            } => json!({
                "kind": kind, "manifest_sha256": manifest_sha256, "files": files, "missing": missing,
                "unreadable": unreadable, "size_bytes": size_bytes, "stored_bytes": stored_bytes, "valid": valid,
                "duration_seconds": duration_seconds,
            }),
            Self::BackupUnchanged { duration_seconds } => json!({"duration_seconds": duration_seconds}),
            Self::BackupFailed { kind, error } => json!({"kind": kind, "error": error}),
            Self::IntegrityCheckPassed { check, content_bytes } => {
                json!({"check": check.code(), "content_bytes": content_bytes})
            }
            Self::IntegrityCheckFailed { check, damages, unreadable } => {
                json!({"check": check.code(), "damages": damages, "unreadable": unreadable})
            }
            Self::RepairCompleted { source, objects } => json!({"source": source, "objects": objects}),
            Self::RestoreStarted { target } => json!({"target": target}),
            Self::RestoreCompleted { target, files, safety_backup, duration_seconds } => json!({
                "target": target, "files": files, "safety_backup": safety_backup, "duration_seconds": duration_seconds,
            }),
            Self::RestoreFailed { error } | Self::CleanupFailed { error } => json!({"error": error}),
            Self::CleanupStarted { planned } => json!({"planned": reasons(planned)}),
            Self::CleanupCompleted { deleted, objects, freed_bytes } => {
                json!({"deleted": reasons(deleted), "objects": objects, "freed_bytes": freed_bytes})
            }
            Self::ModeChanged { from, to, phase, cause } => {
                json!({"from": from, "to": to, "phase": phase, "cause": cause})
            }
            Self::ActorRestarted { actor, cause, reason } => {
                json!({"actor": actor, "cause": cause, "reason": reason})
            }
            Self::ActorGaveUp { actor, reason } => json!({"actor": actor, "reason": reason}),
        };
        match details {
            Value::Object(details) => details,
            _ => Map::new(),
        }
    }
}

impl Occurrence {
    /// What the audit log keeps of it.
    pub fn entry(&self) -> Entry {
        Entry {
            timestamp: self.at,
            event: self.event.name(),
            actor: self.actor,
            principal: self.principal.clone(),
            set: self.set.clone(),
            backup_id: self.backup,
            outcome: self.event.outcome(),
            details: self.event.details(),
            correlation_id: self.correlation_id.clone(),
        }
    }
}
