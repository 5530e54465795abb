//! What is told of each event: its name, how it ended, what else is worth knowing.
//!
//! Hazard: a name or field that changes breaks the searches of those who read the log years later. They are added to,
//! never renamed.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Event;
use crate::audit::{CHAIN_STARTED, Outcome, acceptance};
use crate::core::BackupId;

impl Event {
    /// Its name in the audit log and in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::ServiceStarted { .. } => "ServiceStarted",
            Self::ServiceStopped { .. } => "ServiceStopped",
            Self::ChainAccepted { .. } => CHAIN_STARTED,
            Self::SourceRewritten { .. } => "SourceRewritten",
            Self::SourceChangedUnseen { .. } => "SourceChangedUnseen",
            Self::BackupStarted { .. } => "BackupStarted",
            Self::BackupCompleted { .. } => "BackupCompleted",
            Self::BackupUnchanged { .. } => "BackupUnchanged",
            Self::BackupFailed { .. } => "BackupFailed",
            Self::IntegrityCheckPassed { .. } => "IntegrityCheckPassed",
            Self::IntegrityCheckFailed { .. } => "IntegrityCheckFailed",
            Self::RepairCompleted { .. } => "RepairCompleted",
            Self::DrillPassed { .. } => "DrillPassed",
            Self::DrillFailed { .. } => "DrillFailed",
            Self::RepairFailed { .. } => "RepairFailed",
            Self::RestoreStarted { .. } => "RestoreStarted",
            Self::RestoreCompleted { .. } => "RestoreCompleted",
            Self::RestoreRolledBack { .. } => "RestoreRolledBack",
            Self::RestoreFailed { .. } => "RestoreFailed",
            Self::CleanupStarted { .. } => "CleanupStarted",
            Self::CleanupCompleted { .. } => "CleanupCompleted",
            Self::CleanupFailed { .. } => "CleanupFailed",
            Self::CleanupHeld { .. } => "CleanupHeld",
            Self::KeyChanged { .. } => "KeyChanged",
            Self::RepositoryUpgraded { .. } => "RepositoryUpgraded",
            Self::ClockSuspect { .. } => "ClockSuspect",
            Self::TimelineBegan { .. } => "TimelineBegan",
            Self::TimelineAccepted { .. } => "TimelineAccepted",
            Self::Pinned => "Pinned",
            Self::Unpinned => "Unpinned",
            Self::Forgotten { .. } => "Forgotten",
            Self::QuarantineCleared { .. } => "QuarantineCleared",
            Self::SecretsShown { .. } => "SecretsShown",
            Self::ModeChanged { .. } => "ModeChanged",
            Self::ReplicaLagging { .. } => "ReplicaLagging",
            Self::ReplicaCaughtUp { .. } => "ReplicaCaughtUp",
            Self::AuthRejected => "AuthRejected",
            Self::SettingsReloaded { .. } => "SettingsReloaded",
            Self::SettingsRejected { .. } => "SettingsRejected",
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
            | Self::DrillPassed { .. }
            | Self::RestoreCompleted { .. }
            | Self::ReplicaCaughtUp { .. }
            | Self::CleanupCompleted { .. }
            | Self::ClockSuspect { fault: None, .. }
            | Self::TimelineAccepted { .. }
            | Self::Pinned
            | Self::Unpinned
            | Self::Forgotten { .. }
            | Self::QuarantineCleared { .. } => Outcome::Success,
            Self::SettingsReloaded { .. } => Outcome::Success,
            Self::BackupFailed { .. }
            | Self::IntegrityCheckFailed { .. }
            | Self::DrillFailed { .. }
            | Self::RestoreRolledBack { .. }
            | Self::RepairFailed { .. }
            | Self::RestoreFailed { .. }
            | Self::CleanupFailed { .. }
            | Self::ClockSuspect { fault: Some(_), .. }
            | Self::ReplicaLagging { .. }
            | Self::TimelineBegan { .. }
            | Self::AuthRejected
            | Self::SettingsRejected { .. }
            | Self::SourceRewritten { .. }
            | Self::SourceChangedUnseen { .. }
            | Self::ActorRestarted { .. }
            | Self::ActorGaveUp { .. } => Outcome::Failure,
            Self::ServiceStarted { .. }
            | Self::ServiceStopped { .. }
            | Self::ChainAccepted { .. }
            | Self::BackupStarted { .. }
            | Self::RestoreStarted { .. }
            | Self::CleanupStarted { .. }
            | Self::CleanupHeld { .. }
            | Self::KeyChanged { .. }
            | Self::SecretsShown { .. }
            | Self::RepositoryUpgraded { .. }
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
            Self::AuthRejected => json!({}),
            Self::ServiceStopped { abandoned } if abandoned.is_empty() => json!({}),
            Self::ServiceStopped { abandoned } => json!({"abandoned": abandoned}),
            Self::ChainAccepted { breaks } => return acceptance(breaks),
            Self::SourceChangedUnseen { path } => json!({"path": path}),
            Self::SourceRewritten { path, previous } => json!({"path": path, "previous": previous}),
            Self::BackupStarted { kind } => json!({"kind": kind}),
            Self::BackupCompleted {
                kind,
                repository_id,
                position,
                manifest_sha256,
                files,
                missing,
                unreadable,
                size_bytes,
                stored_bytes,
                valid,
                duration_seconds,
            } => json!({
                "kind": kind, "repository_id": repository_id, "position": position,
                "manifest_sha256": manifest_sha256, "files": files, "missing": missing,
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
            Self::RepairCompleted { source, places } => json!({"source": source, "places": places}),
            Self::RepairFailed { places } => json!({"places": places}),
            Self::DrillPassed { files, size_bytes, duration_seconds } => {
                json!({"files": files, "size_bytes": size_bytes, "duration_seconds": duration_seconds})
            }
            Self::DrillFailed { error, duration_seconds } => {
                json!({"error": error, "duration_seconds": duration_seconds})
            }
            Self::RestoreStarted { target, backups } => json!({"target": target, "backups": backups}),
            Self::RestoreCompleted { target, files, removed, safety_backup, duration_seconds, recovered } => json!({
                "target": target, "files": files, "removed": removed, "safety_backup": safety_backup,
                "duration_seconds": duration_seconds, "recovered": recovered,
            }),
            Self::RestoreRolledBack { target, error, safety_backup, recovered } => json!({
                "target": target, "error": error, "safety_backup": safety_backup, "recovered": recovered,
            }),
            Self::RestoreFailed { error, unsettled } => json!({"error": error, "unsettled": unsettled}),
            Self::CleanupFailed { error } => json!({"error": error}),
            Self::CleanupStarted { replica, planned, objects } => {
                json!({"replica": replica, "planned": reasons(planned), "objects": objects})
            }
            Self::CleanupHeld { replica, hold, planned } => json!({
                "replica": replica, "why": hold.reason.code(), "deletions": hold.deletions, "backups": hold.backups,
                "digest": hold.digest.to_string(),
                "planned": reasons(planned),
            }),
            Self::KeyChanged { before, recipients } => json!({"before": before, "recipients": recipients}),
            Self::RepositoryUpgraded { format } => json!({"format": format}),
            Self::ClockSuspect { fault, accepted } => {
                json!({"suspect": fault.is_some(), "fault": fault, "accepted": accepted})
            }
            Self::TimelineBegan { timeline, reason, departs_from, sets, missing } => {
                let sets: BTreeMap<_, _> =
                    sets.iter().map(|(set, (last, above))| (set, json!({"last": last, "above": above}))).collect();
                json!({
                    "timeline": timeline, "reason": reason, "departs_from": departs_from, "sets": sets,
                    "missing": missing,
                })
            }
            Self::TimelineAccepted { timeline } => json!({"timeline": timeline}),
            Self::Pinned | Self::Unpinned => json!({}),
            Self::Forgotten { sequences, gives_up } => json!({"sequences": sequences, "gives_up": gives_up}),
            Self::SecretsShown { against } => json!({"against": against}),
            Self::QuarantineCleared { count, bytes, files } => {
                json!({"count": count, "bytes": bytes, "files": files})
            }
            Self::CleanupCompleted { replica, deleted, objects, freed_bytes } => json!({
                "replica": replica, "deleted": reasons(deleted), "objects": objects, "freed_bytes": freed_bytes,
            }),
            Self::ModeChanged { from, to, phase, cause, raised, cleared } => {
                let raised: BTreeMap<_, _> = raised.iter().cloned().collect();
                json!({"from": from, "to": to, "phase": phase, "cause": cause, "raised": raised, "cleared": cleared})
            }
            Self::ReplicaLagging { replica, path, lag_backups, fault, reason } => json!({
                "replica": replica, "path": path, "lag_backups": lag_backups, "fault": fault, "reason": reason,
            }),
            Self::ReplicaCaughtUp { replica, path } => json!({"replica": replica, "path": path}),
            Self::SettingsReloaded { changes } => json!({"changes": changes}),
            Self::SettingsRejected { errors } => json!({"errors": errors}),
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
