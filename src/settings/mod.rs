//! Settings: what the operator asked for, checked before anything runs.
//!
//! Hazard: a misread setting fails months later, when the backup that was thought to exist is needed. So nothing is
//! guessed: unknown keys, wrong types and impossible values are refused at start, all of them at once, one line each;
//! and every effective value knows who said it.
//!
//! [`Sources`] (argument, environment, working directory) and the settings file are read into what was *stated*;
//! then each value is decided. What is said explicitly beats what is built in; among explicit ones: variable >
//! `[sets.NAME]` > `[backup.priority_levels.X]` > `[backup]`.

mod audit;
mod builtin;
mod changes;
mod conflicts;
mod decide;
mod document;
mod drill;
mod duration;
mod encryption;
mod error;
mod file_patterns;
mod http;
mod janitor;
mod kept;
mod logging;
mod notify;
mod origin;
mod replicas;
mod resolved;
mod sets;
mod sources;
mod stated;
mod supervision;
mod values;
mod variables;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use chrono::TimeDelta;

use serde::Serialize;

use crate::core::BackupPriority;
use crate::core::retention::Policy;
use crate::core::secrets::shown_value;
use crate::source_path::SourcePathError;

pub use audit::AuditSettings;
pub use changes::{Change, Reloaded};
pub use drill::DrillSettings;
pub use encryption::EncryptionSettings;
pub use error::{Place, SettingsError, SettingsErrors};
pub use file_patterns::{FilePatternError, FilePatterns, MAX_PATTERN_BYTES, MAX_PATTERNS};
pub use http::{HttpSettings, TlsFiles, TrustedUser};
pub use janitor::JanitorSettings;
pub use kept::{KEPT, KeptSettings};
pub use logging::{LogFormat, LogLevel, LoggingSettings, WordSyntax};
pub use notify::NotifySettings;
pub use origin::{Explained, Origin};
pub use replicas::ReplicaSettings;
pub use resolved::resolved;
pub use sets::{KeepAtLeast, Refused, SetSettings};
pub use sources::{MAX_SETTINGS_BYTES, Sources};
pub use variables::is_variable;

/// Everything that can be set, checked and decided.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The backup system as a whole. Per set, the values in [`Self::sets`] hold.
    pub backup: BackupConfig,
    /// Every set, built in or added, by priority and then by name.
    pub sets: Vec<SetSettings>,
    /// Every replica.
    pub replicas: Vec<ReplicaSettings>,
    /// The HTTP API.
    pub http: HttpSettings,
    /// The audit log.
    pub audit: AuditSettings,
    /// When to enter recovery mode.
    pub recovery: RecoverySettings,
    /// How actors are restarted.
    pub supervision: SupervisionSettings,
    /// How thoroughly what seems unchanged is looked at.
    pub scrub: ScrubSettings,
    /// Where the keys are.
    pub encryption: EncryptionSettings,
    /// How often restores are rehearsed.
    pub drill: DrillSettings,
    /// How often retention is applied.
    pub janitor: JanitorSettings,
    /// What is logged, and how.
    pub logging: LoggingSettings,
    /// Who is told of what a person must hear of.
    pub notify: NotifySettings,
    /// Where Fiovana's configuration is, absolute.
    pub config_directory: PathBuf,
    /// Where the logs are, and the audit log is written; absolute.
    pub log_directory: PathBuf,
    /// Whether a start in recovery mode was asked for.
    pub recovery_mode: bool,
    /// The settings file, absolute; `None` if none is in use.
    pub settings_file: Option<PathBuf>,
    /// What the settings file says, if one is in use and could be read.
    pub settings_text: Option<String>,
    /// What is no error but probably a mistake, one sentence each.
    pub warnings: Vec<String>,
    explained: Vec<Explained>,
}

/// The configuration of the backup system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupConfig {
    /// Whether there are schedules and sweeps at all.
    pub enabled: bool,
    /// The most good versions kept per set.
    pub max_backups: usize,
    /// How many days a version is kept after it was superseded.
    pub retention_days: u32,
    /// The hours between two scheduled backups.
    pub backup_interval_hours: u32,
    /// What each priority means.
    pub priority_levels: HashMap<BackupPriority, BackupPriorityConfig>,
    /// Where the backups are, absolute.
    pub backup_directory: PathBuf,
    /// Whether backups are encrypted.
    pub encryption_enabled: bool,
    /// Whether stored bytes are checked again and again, and restores rehearsed.
    pub integrity_checks: bool,
    /// Whether what retention gives up is deleted; else it is only reported.
    pub auto_cleanup: bool,
}

/// What a priority means for its sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BackupPriorityConfig {
    /// Whether its sets are backed up on schedule.
    pub enabled: bool,
    /// The hours between two scheduled backups.
    pub frequency_hours: u32,
    /// How many days a version is kept after it was superseded.
    pub retention_days: u32,
    /// The most that one backup may hold, in MiB.
    pub max_size_mb: u64,
    /// Which versions of its sets go when there are too many.
    pub policy: Policy,
}

/// When to enter recovery mode, and how files are restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoverySettings {
    /// How many integrity failures within the window lead to it.
    pub integrity_failures: u32,
    /// The window, in minutes.
    pub window_minutes: u32,
    /// How many days the files that a restore replaced are kept.
    pub pre_restore_days: u32,
    /// The program, with its arguments, that says whether a restore is accepted; empty: none is asked.
    pub health_command: Vec<String>,
    /// How long it may take.
    pub health_timeout: Duration,
}

/// How actors are restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupervisionSettings {
    /// How many restarts of one actor within the window are borne.
    pub max_restarts: u32,
    /// The window.
    pub window: Duration,
    /// The wait before the first restart; it doubles with each further one.
    pub backoff_initial: Duration,
    /// The longest wait; never less than the first.
    pub backoff_max: Duration,
    /// How long an actor may leave a heartbeat unanswered before it counts as failed.
    pub heartbeat: Duration,
}

/// How thoroughly what seems unchanged is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubSettings {
    /// Within this time everything stored is read again.
    pub within: Duration,
    /// The most that is read for that, in MiB a second; 0 is no limit.
    pub rate_mib_per_second: u32,
    /// Every so many runs of a set, large files that seem unchanged are read all the same; 1 is every run.
    pub read_sources_every_runs: u32,
}

impl Settings {
    /// The settings that `sources` ask for. Reads the settings file, and where the paths in it lead.
    ///
    /// Fails with every problem there is; nothing is partly applied.
    pub fn load(sources: &Sources) -> Result<Self, SettingsErrors> {
        let (settings, errors) = Self::salvage(sources);
        if errors.lines().is_empty() { Ok(settings) } else { Err(errors) }
    }

    /// The settings for an emergency: what can be understood of `sources`, the built-in values for the rest, and
    /// everything that was wrong. Sets that are not whole are left out; sets that conflict are kept.
    pub fn salvage(sources: &Sources) -> (Self, SettingsErrors) {
        let mut errors = Vec::new();
        let settings = decide::settings(sources, None, None, &mut errors);
        (settings, SettingsErrors(errors))
    }

    /// The same with `text` for what the settings file says.
    pub fn salvage_as(sources: &Sources, text: &str) -> (Self, SettingsErrors) {
        let mut errors = Vec::new();
        let settings = decide::settings(sources, Some(text), None, &mut errors);
        (settings, SettingsErrors(errors))
    }

    /// The same for a service that runs as this user: links and directories of others count for it, or do not.
    pub fn seen_by(mut self, user: u32) -> Self {
        for set in &mut self.sets {
            set.source = set.source.clone().seen_by(user);
        }
        self
    }

    /// Whether somebody named the backup directory.
    pub fn names_backup_directory(&self) -> bool {
        let directory = self.explained.iter().find(|said| said.key == "backup.backup_directory");
        directory.is_some_and(|said| said.origin != Origin::BuiltIn)
    }

    /// The shortest time for which any set, here or in a replica, keeps a version that was superseded.
    pub fn shortest_retention(&self) -> TimeDelta {
        let of_replicas = self.replicas.iter().filter_map(|replica| replica.retention_days);
        let days = self.sets.iter().map(|set| set.retention_days).chain(of_replicas).min();
        TimeDelta::days(days.unwrap_or(self.backup.retention_days).into())
    }

    /// The sets whose sources must not be used, with the reason and what to do, one line a reason.
    pub fn unsafe_sources(&self) -> Vec<String> {
        let mut found: Vec<(String, Vec<&str>)> = Vec::new();
        for set in &self.sets {
            let Some(error) = set.source.check().err().filter(SourcePathError::is_distrust) else { continue };
            let why = error.to_string();
            match found.iter_mut().find(|(known, _)| *known == why) {
                Some((_, sets)) => sets.push(set.name.as_str()),
                None => found.push((why, vec![set.name.as_str()])),
            }
        }
        let noun = |sets: &[&str]| if sets.len() == 1 { "set" } else { "sets" };
        found.into_iter().map(|(why, sets)| format!("{} {}: {why}", noun(&sets), sets.join(", "))).collect()
    }

    /// Every effective value with its origin, section by section, as it was when the settings were loaded. What in a
    /// value is a secret by its form is hidden: an argument of a command, the user of a URL.
    pub fn explained(&self) -> Vec<Explained> {
        let hidden = |said: &Explained| Explained { value: shown_value("", &said.value), ..said.clone() };
        self.explained.iter().map(hidden).collect()
    }
}
