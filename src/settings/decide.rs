//! From what was stated to what holds.
//!
//! Hazard: a default applied in two places is two defaults. Each value is decided once, here or in `sets`, and noted
//! with its origin as it is decided.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::core::BackupPriority;

use super::document::{self, Layers};
use super::error::SettingsError;
use super::origin::{Ledger, Origin, Said, prevailing};
use super::replicas;
use super::sets::{self, Decided, Grounds};
use super::sources::{self, SettingsText, Sources};
use super::stated::{self, StatedBackup, Statements};
use super::{
    BackupConfig, BackupPriorityConfig, LogFormat, LogLevel, LoggingSettings, RecoverySettings, ScrubSettings,
    Settings, builtin, conflicts, supervision, variables,
};

/// The settings that `sources` ask for, with built-in values where something is wrong; `errors` says what. `instead`
/// stands for what the settings file says; `began_with` for the backup directory that they name, where a service runs
/// that cannot change it.
pub(super) fn settings(
    sources: &Sources,
    instead: Option<&str>,
    began_with: Option<&Path>,
    errors: &mut Vec<SettingsError>,
) -> Settings {
    if !sources.working_directory.is_absolute() {
        errors.push(SettingsError::WorkingDirectory(sources.working_directory.clone()));
    }
    let file = sources.settings_file().unwrap_or_else(|error| {
        errors.push(error);
        None
    });
    let file = file.or_else(|| instead.map(|_| Said::built_in(sources.default_settings_file())));
    let text = file.as_ref().and_then(|file| match instead {
        Some(text) => Some(SettingsText { path: file.value.clone(), text: text.to_owned() }),
        None => accepted(sources::read_settings_file(file), errors),
    });
    let document = text.as_ref().and_then(|text| accepted(document::parse(text), errors)).unwrap_or_default();
    let layers = Layers::new(sources, file.as_ref().map(|file| file.value.as_path()));
    let mut stated = stated::read(&layers, document, errors);
    if let Some(directory) = began_with {
        stated.backup.backup_directory = Some(Said { value: directory.to_owned(), origin: Origin::Running });
    }
    let mut ledger = Ledger::default();
    let settings_file = file.as_ref().map(|file| ledger.note("settings_file", file.clone()));
    let (config_directory, log_directory) = directories(sources, &stated);
    ledger.note("config_directory", config_directory.clone());
    ledger.note("log_directory", log_directory.clone());
    let recovery_mode = ledger.note("recovery_mode", recovery_mode(sources));
    let backup = backup_config(&stated.backup, builtin::backup_config(&sources.absolute(Path::new(""))), &mut ledger);

    let recovery = recovery(&stated, &mut ledger);
    let grounds = Grounds {
        stated: &stated.backup,
        backup: &backup,
        pre_restore_days: recovery.pre_restore_days,
        config_directory: &config_directory,
        log_directory: &log_directory,
        settings_file: file.as_ref(),
        default_settings_file: sources.default_settings_file(),
    };
    let decided = sets::decide(&grounds, &stated.sets, &mut ledger, errors);
    let backups_origin = stated.backup.backup_directory.as_ref().map_or(Origin::BuiltIn, |said| said.origin.clone());
    let backup_directory = Said { value: backup.backup_directory.as_path(), origin: backups_origin };
    conflicts::find(&decided, &backup_directory, errors);
    let grounds = replicas::Grounds { sets: &decided, stated_sets: &stated.sets, backup_directory };
    let replicas = replicas::decide(&grounds, stated.replicas.as_deref(), &mut ledger, errors);

    let places = (decided.as_slice(), replicas.as_slice(), backup.backup_directory.as_path());
    let encryption = stated.encryption.decide(backup.encryption_enabled, sources, places, &mut ledger, errors);

    Settings {
        sets: decided.into_iter().map(|Decided { set, .. }| set).collect(),
        replicas,
        backup,
        http: stated.http.decide(&mut ledger, errors),
        audit: stated.audit.decide(&mut ledger),
        recovery,
        supervision: supervision::decide(&stated, &mut ledger, errors),
        scrub: ScrubSettings {
            within: ledger.note("scrub.within", prevailing(&[&stated.scrub_within], Duration::from_secs(7 * 86_400))),
            rate_mib_per_second: ledger.note("scrub.rate_mib_per_second", prevailing(&[&stated.scrub_rate], 32)),
            read_sources_every_runs: ledger
                .note("scrub.read_sources_every_runs", prevailing(&[&stated.read_sources_every_runs], 24)),
        },
        encryption,
        drill: stated.drill.decide(&mut ledger),
        janitor: stated.janitor.decide(&mut ledger),
        notify: stated.notify.decide(&mut ledger),
        logging: LoggingSettings {
            level: ledger.note("logging.level", prevailing(&[&stated.log_level], LogLevel::Info)),
            format: ledger.note("logging.format", prevailing(&[&stated.log_format], LogFormat::Human)),
        },
        config_directory: config_directory.value,
        log_directory: log_directory.value,
        recovery_mode,
        settings_file,
        settings_text: text.map(|text| text.text),
        warnings: variables::near_misses(&sources.environment),
        explained: ledger.0,
    }
}

fn accepted<T>(result: Result<T, SettingsError>, errors: &mut Vec<SettingsError>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn directories(sources: &Sources, stated: &Statements) -> (Said<PathBuf>, Said<PathBuf>) {
    let (config, logs) = builtin::directories(&sources.absolute(Path::new("")));
    (prevailing(&[&stated.config_directory], config), prevailing(&[&stated.log_directory], logs))
}

fn recovery_mode(sources: &Sources) -> Said<bool> {
    let value = sources.recovery_mode();
    let is_said = variables::overriding(&sources.environment, "recovery_mode").is_some();
    let origin = if is_said { Origin::Variable(variables::RECOVERY_MODE) } else { Origin::BuiltIn };
    Said { value, origin }
}

fn backup_config(stated: &StatedBackup, built_in: BackupConfig, ledger: &mut Ledger) -> BackupConfig {
    let mut note = |field: &str, said| ledger.note(format!("backup.{field}"), said);
    let enabled = note("enabled", prevailing(&[&stated.enabled], built_in.enabled));
    let encryption_enabled =
        note("encryption_enabled", prevailing(&[&stated.encryption_enabled], built_in.encryption_enabled));
    let integrity_checks = note("integrity_checks", prevailing(&[&stated.integrity_checks], built_in.integrity_checks));
    let auto_cleanup = note("auto_cleanup", prevailing(&[&stated.auto_cleanup], built_in.auto_cleanup));
    let interval = prevailing(&[&stated.backup_interval_hours], built_in.backup_interval_hours);
    BackupConfig {
        enabled,
        max_backups: ledger.note("backup.max_backups", prevailing(&[&stated.max_backups], built_in.max_backups)),
        retention_days: ledger
            .note("backup.retention_days", prevailing(&[&stated.retention_days], built_in.retention_days)),
        backup_interval_hours: ledger.note("backup.backup_interval_hours", interval),
        backup_directory: ledger
            .note("backup.backup_directory", prevailing(&[&stated.backup_directory], built_in.backup_directory)),
        encryption_enabled,
        integrity_checks,
        auto_cleanup,
        priority_levels: BackupPriority::ALL
            .into_iter()
            .map(|priority| (priority, priority_level(stated, priority, ledger)))
            .collect(),
    }
}

fn priority_level(stated: &StatedBackup, priority: BackupPriority, ledger: &mut Ledger) -> BackupPriorityConfig {
    let (said, built_in) = (stated.level(priority), builtin::priority_level(priority));
    let key = |field: &str| format!("backup.priority_levels.{priority}.{field}");
    let frequency = prevailing(&[&said.frequency_hours], built_in.frequency_hours);
    let retention = prevailing(&[&said.retention_days], built_in.retention_days);
    BackupPriorityConfig {
        enabled: ledger.note(key("enabled"), prevailing(&[&said.enabled], built_in.enabled)),
        frequency_hours: ledger.note(key("frequency_hours"), frequency),
        retention_days: ledger.note(key("retention_days"), retention),
        max_size_mb: ledger.note(key("max_size_mb"), prevailing(&[&said.max_size_mb], built_in.max_size_mb)),
        policy: ledger.note(key("policy"), prevailing(&[&said.policy], built_in.policy)),
    }
}

fn recovery(stated: &Statements, ledger: &mut Ledger) -> RecoverySettings {
    RecoverySettings {
        integrity_failures: ledger.note("recovery.integrity_failures", prevailing(&[&stated.integrity_failures], 3)),
        window_minutes: ledger.note("recovery.window_minutes", prevailing(&[&stated.window_minutes], 60)),
        pre_restore_days: ledger.note("recovery.pre_restore_days", prevailing(&[&stated.pre_restore_days], 7)),
        health_command: ledger.note("recovery.health_command", prevailing(&[&stated.health_command], vec![])),
        health_timeout: ledger
            .note("recovery.health_timeout", prevailing(&[&stated.health_timeout], Duration::from_secs(30))),
    }
}
