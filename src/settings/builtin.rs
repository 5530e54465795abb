//! What holds when nobody says otherwise: the procedures' backup types and defaults.
//!
//! Hazard: operators rely on the documented files, frequencies and retentions without ever writing them down. They
//! stand here in two tables, and tests hold them against the procedures.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::content::{SetKind, Validation};
use crate::core::retention::Policy;
use crate::core::{BackupPriority, SetName};

use super::{BackupConfig, BackupPriorityConfig};

/// The set that keeps the settings file itself.
pub(super) const SERVICE: &str = "service";

/// The priority of a set that says none.
pub(super) const DEFAULT_PRIORITY: BackupPriority = BackupPriority::Medium;

/// Which versions go when there are too many, if nobody says it.
pub(super) const POLICY: Policy = Policy::Spread;

/// How many good versions are kept however old they are, if nobody says it.
pub(super) const KEEP_AT_LEAST: usize = 3;

/// Where the files of a built-in set are.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// The directory of Fiovana's configuration.
    Config,
    /// The directory of its logs.
    Logs,
    /// The settings file.
    SettingsFile,
}

/// A set that exists without being said.
pub(super) struct BuiltInSet {
    pub name: &'static str,
    pub place: Place,
    pub files: &'static [&'static str],
    pub kind: SetKind,
    pub priority: BackupPriority,
    pub hours: u32,
    pub retention_days: u32,
    pub validate: Validation,
}

/// Every built-in set.
pub(super) const SETS: [BuiltInSet; 4] = [
    BuiltInSet {
        name: "security",
        place: Place::Config,
        files: &[
            "security_config.json",
            "magic_number_rules.json",
            "safe_mode_config.json",
            "circuit_breaker_config.json",
        ],
        kind: SetKind::Files,
        priority: BackupPriority::Critical,
        hours: 1,
        retention_days: 30,
        validate: Validation::Json,
    },
    BuiltInSet {
        name: "application",
        place: Place::Config,
        files: &["app_config.json", "user_preferences.json", "workspace_config.json"],
        kind: SetKind::Files,
        priority: BackupPriority::High,
        hours: 6,
        retention_days: 14,
        validate: Validation::Json,
    },
    BuiltInSet {
        name: "logs",
        place: Place::Logs,
        // The last two are the audit log's rotated segments: without them its chain of hashes cannot be followed.
        files: &[
            "security_audit.log",
            "operation_audit.log",
            "error.log",
            "security_audit.log.*",
            "security_audit.log-*",
        ],
        kind: SetKind::Logs,
        priority: BackupPriority::Medium,
        hours: 24,
        retention_days: 7,
        validate: Validation::None,
    },
    BuiltInSet {
        name: SERVICE,
        place: Place::SettingsFile,
        files: &[],
        kind: SetKind::Files,
        priority: BackupPriority::High,
        hours: 6,
        retention_days: 30,
        validate: Validation::Json,
    },
];

/// Whether this set exists without being said.
pub(super) fn is_built_in(name: &SetName) -> bool {
    SETS.iter().any(|set| set.name == name.as_str())
}

/// `hours` as a duration.
pub(super) fn hours(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3600)
}

/// The built-in backup configuration, with its directory under `working_directory`.
pub(super) fn backup_config(working_directory: &Path) -> BackupConfig {
    BackupConfig {
        enabled: true,
        max_backups: 10,
        retention_days: 30,
        backup_interval_hours: 1,
        priority_levels: priority_levels(),
        backup_directory: working_directory.join("backups"),
        encryption_enabled: false,
        integrity_checks: true,
        auto_cleanup: true,
    }
}

/// The built-in directories of configuration and of logs.
pub(super) fn directories(working_directory: &Path) -> (PathBuf, PathBuf) {
    (working_directory.join("config"), working_directory.join("logs"))
}

/// What a priority means.
pub(super) const fn priority_level(priority: BackupPriority) -> BackupPriorityConfig {
    let (frequency_hours, retention_days, max_size_mb) = match priority {
        BackupPriority::Critical => (1, 30, 64),
        BackupPriority::High => (6, 14, 256),
        BackupPriority::Medium | BackupPriority::Low => (24, 7, 10_240),
    };
    BackupPriorityConfig { enabled: true, frequency_hours, retention_days, max_size_mb, policy: POLICY }
}

fn priority_levels() -> HashMap<BackupPriority, BackupPriorityConfig> {
    BackupPriority::ALL.into_iter().map(|priority| (priority, priority_level(priority))).collect()
}
