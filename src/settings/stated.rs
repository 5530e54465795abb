//! What the settings file and the variables say, checked value by value, before any default is added.
//!
//! Hazard: once defaults are mixed in, nobody can tell what an operator asked for from what was merely never said,
//! and the rule "explicit beats built in" is lost. Here every value is still an `Option`.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::core::content::{SetKind, Validation};
use crate::core::retention::Policy;
use crate::core::{BackupPriority, SetName};

use super::audit::StatedAudit;
use super::builtin;
use super::document::{Layers, Section, Table};
use super::drill::StatedDrill;
use super::encryption::StatedEncryption;
use super::error::SettingsError;
use super::file_patterns::FilePatterns;
use super::http::StatedHttp;
use super::janitor::StatedJanitor;
use super::notify::StatedNotify;
use super::origin::{Said, Shown};
use super::replicas::{self, StatedReplica};
use super::values::{Raw, Read, command, directory, file_patterns, files, flag, time, whole, word};
use super::{LogFormat, LogLevel};

/// A value, if somebody said it.
pub(super) type Stated<T> = Option<Said<T>>;

pub(super) const MOST_BACKUPS: i64 = 1_000_000;
pub(super) const MOST_DAYS: i64 = 36_500;
const MOST_HOURS: i64 = 8_760;
pub(super) const MOST_MEGABYTES: i64 = 1_000_000_000;
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);
const POLICIES: &str = "spread or newest";

/// Everything that was said.
pub(super) struct Statements {
    pub backup: StatedBackup,
    pub sets: Vec<StatedSet>,
    pub replicas: Option<Vec<StatedReplica>>,
    pub http: StatedHttp,
    pub audit: StatedAudit,
    pub integrity_failures: Stated<u32>,
    pub window_minutes: Stated<u32>,
    pub pre_restore_days: Stated<u32>,
    pub health_command: Stated<Vec<String>>,
    pub health_timeout: Stated<Duration>,
    pub max_restarts: Stated<u32>,
    pub restart_window: Stated<Duration>,
    pub backoff_initial: Stated<Duration>,
    pub backoff_max: Stated<Duration>,
    pub heartbeat: Stated<Duration>,
    pub scrub_within: Stated<Duration>,
    pub scrub_rate: Stated<u32>,
    pub read_sources_every_runs: Stated<u32>,
    pub drill: StatedDrill,
    pub encryption: StatedEncryption,
    pub janitor: StatedJanitor,
    pub notify: StatedNotify,
    pub log_level: Stated<LogLevel>,
    pub log_format: Stated<LogFormat>,
    pub config_directory: Stated<PathBuf>,
    pub log_directory: Stated<PathBuf>,
}

/// What was said in `[backup]`.
pub(super) struct StatedBackup {
    pub enabled: Stated<bool>,
    pub max_backups: Stated<usize>,
    pub retention_days: Stated<u32>,
    pub backup_interval_hours: Stated<u32>,
    pub backup_directory: Stated<PathBuf>,
    pub encryption_enabled: Stated<bool>,
    pub integrity_checks: Stated<bool>,
    pub auto_cleanup: Stated<bool>,
    levels: [StatedLevel; BackupPriority::ALL.len()],
}

/// What was said in one of `[backup.priority_levels]`.
pub(super) struct StatedLevel {
    pub enabled: Stated<bool>,
    pub frequency_hours: Stated<u32>,
    pub retention_days: Stated<u32>,
    pub max_size_mb: Stated<u64>,
    pub policy: Stated<Policy>,
}

/// What was said in one of `[sets]`.
pub(super) struct StatedSet {
    pub name: SetName,
    pub source: Stated<PathBuf>,
    pub files: Stated<FilePatterns>,
    pub exclude: Stated<FilePatterns>,
    pub kind: Stated<SetKind>,
    pub priority: Stated<BackupPriority>,
    pub interval: Stated<Duration>,
    pub retention_days: Stated<u32>,
    pub max_backups: Stated<usize>,
    pub keep_at_least: Stated<usize>,
    pub policy: Stated<Policy>,
    pub validate: Stated<Validation>,
    pub replicate: Stated<bool>,
    pub trust_parents: Stated<bool>,
}

impl StatedSet {
    /// A set of which nothing was said.
    pub fn silent(name: SetName) -> Self {
        Self {
            name,
            source: None,
            files: None,
            exclude: None,
            kind: None,
            priority: None,
            interval: None,
            retention_days: None,
            max_backups: None,
            keep_at_least: None,
            policy: None,
            validate: None,
            replicate: None,
            trust_parents: None,
        }
    }
}

impl StatedBackup {
    /// What was said of a priority.
    pub fn level(&self, priority: BackupPriority) -> &StatedLevel {
        &self.levels[priority as usize]
    }
}

/// Reads all sections of `document`, and the variables over them.
pub(super) fn read(layers: &Layers, document: Table, errors: &mut Vec<SettingsError>) -> Statements {
    let mut top = Section::top(layers, document);
    let backup = read_backup(layers, top.section("backup"), errors);
    let sets = top.section("sets").sets(errors);
    let sets = sets.into_iter().map(|(name, section)| read_set(layers, name, section, errors)).collect();
    let replicas = replicas::read(layers.sources, &mut top, errors);

    let http = StatedHttp::read(top.section("http"), layers.sources, errors);

    let mut audit = top.section("audit");
    let stated_audit = StatedAudit::read(&mut audit);
    audit.finish(errors);

    let mut recovery = top.section("recovery");
    let integrity_failures = recovery.take("integrity_failures", whole(1..=1000));
    let window_minutes = recovery.take("window_minutes", whole(1..=525_600));
    let pre_restore_days = recovery.take("pre_restore_days", whole(1..=MOST_DAYS));
    let health_command = recovery.take("health_command", command);
    let health_timeout = recovery.take("health_timeout", time(SECOND..=Duration::from_secs(3600)));
    recovery.finish(errors);

    let backoff: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3600);
    let mut supervision = top.section("supervision");
    let max_restarts = supervision.take("max_restarts", whole(1..=1000));
    let restart_window = supervision.take("window", time(SECOND..=Duration::from_secs(86_400)));
    let backoff_initial = supervision.take("backoff_initial", time(backoff.clone()));
    let backoff_max = supervision.take("backoff_max", time(backoff));
    let heartbeat = supervision.take("heartbeat", time(SECOND..=Duration::from_secs(3600)));
    supervision.finish(errors);

    let mut scrub = top.section("scrub");
    let scrub_within = scrub.take("within", time(SECOND..=YEAR));
    let scrub_rate = scrub.take("rate_mib_per_second", whole(0..=100_000));
    let read_sources_every_runs = scrub.take("read_sources_every_runs", whole(1..=100_000));
    scrub.finish(errors);

    let drill = StatedDrill::read(top.section("drill"), errors);
    let encryption = StatedEncryption::read(top.section("encryption"), layers.sources, errors);
    let janitor = StatedJanitor::read(top.section("janitor"), errors);

    let notify = StatedNotify::read(top.section("notify"), errors);

    let mut logging = top.section("logging");
    let log_level = logging.take("level", word("error, warn, info, debug or trace"));
    let log_format = logging.take("format", word("human or json"));
    logging.finish(errors);

    top.finish(errors);
    let config_directory = layers.variable("config_directory", directory(layers.sources), errors);
    let log_directory = layers.variable("log_directory", directory(layers.sources), errors);
    Statements {
        backup,
        sets,
        replicas,
        http,
        audit: stated_audit,
        integrity_failures,
        window_minutes,
        pre_restore_days,
        health_command,
        health_timeout,
        max_restarts,
        restart_window,
        backoff_initial,
        backoff_max,
        heartbeat,
        scrub_within,
        scrub_rate,
        read_sources_every_runs,
        drill,
        encryption,
        janitor,
        notify,
        log_level,
        log_format,
        config_directory,
        log_directory,
    }
}

fn read_backup(layers: &Layers, mut section: Section, errors: &mut Vec<SettingsError>) -> StatedBackup {
    let backup = StatedBackup {
        enabled: section.take("enabled", flag),
        max_backups: section.take("max_backups", whole(1..=MOST_BACKUPS)),
        retention_days: section.take("retention_days", whole(1..=MOST_DAYS)),
        backup_interval_hours: section.take("backup_interval_hours", whole(1..=MOST_HOURS)),
        backup_directory: section.take("backup_directory", directory(layers.sources)),
        encryption_enabled: section.take("encryption_enabled", flag),
        integrity_checks: section.take("integrity_checks", flag),
        auto_cleanup: section.take("auto_cleanup", flag),
        levels: read_levels(section.section("priority_levels"), errors),
    };
    section.finish(errors);
    backup
}

fn read_levels(mut section: Section, errors: &mut Vec<SettingsError>) -> [StatedLevel; BackupPriority::ALL.len()] {
    let levels = BackupPriority::ALL.map(|priority| read_level(section.section(priority.as_str()), errors));
    section.finish(errors);
    levels
}

fn read_level(mut section: Section, errors: &mut Vec<SettingsError>) -> StatedLevel {
    let level = StatedLevel {
        enabled: section.take("enabled", flag),
        frequency_hours: section.take("frequency_hours", whole(1..=MOST_HOURS)),
        retention_days: section.take("retention_days", whole(1..=MOST_DAYS)),
        max_size_mb: section.take("max_size_mb", whole(1..=MOST_MEGABYTES)),
        policy: section.take("policy", word(POLICIES)),
    };
    section.finish(errors);
    level
}

fn read_set(layers: &Layers, name: SetName, mut section: Section, errors: &mut Vec<SettingsError>) -> StatedSet {
    if !builtin::is_built_in(&name) {
        section.require("source", "give the directory that holds the files");
        section.require("files", r#"give a list of file names and globs such as ["app.json", "*.toml"]"#);
    }
    // The files of the service are its settings file, whatever is said.
    let (source, files, exclude) = match name.as_str() {
        builtin::SERVICE => (None, None, None),
        _ => (
            section.take("source", directory(layers.sources)),
            section.take("files", files),
            section.take("exclude", file_patterns),
        ),
    };
    let set = StatedSet {
        source,
        files,
        exclude,
        kind: section.take("kind", set_kind),
        priority: section.take("priority", word("critical, high, medium or low")),
        interval: section.take("interval", time(SECOND..=YEAR)),
        retention_days: section.take("retention_days", whole(1..=MOST_DAYS)),
        max_backups: section.take("max_backups", whole(1..=MOST_BACKUPS)),
        keep_at_least: section.take("keep_at_least", whole(1..=MOST_BACKUPS)),
        policy: section.take("policy", word(POLICIES)),
        validate: section.take("validate", validation),
        replicate: section.take("replicate", flag),
        trust_parents: section.take("trust_parents", flag),
        name,
    };
    section.finish(errors);
    set
}

fn set_kind(raw: &Raw) -> Read<SetKind> {
    match raw.text() {
        Some("files") => Ok(SetKind::Files),
        Some("logs") => Ok(SetKind::Logs),
        _ => Err(r#"give "files" or "logs""#.to_owned()),
    }
}

impl Shown for SetKind {
    fn shown(&self) -> String {
        match self {
            Self::Files => "files".to_owned(),
            Self::Logs => "logs".to_owned(),
        }
    }
}

fn validation(raw: &Raw) -> Read<Validation> {
    match raw.text() {
        Some("json") => Ok(Validation::Json),
        Some("none") => Ok(Validation::None),
        _ => Err(r#"give "json" or "none""#.to_owned()),
    }
}

impl Shown for Validation {
    fn shown(&self) -> String {
        match self {
            Self::Json => "json".to_owned(),
            Self::None => "none".to_owned(),
        }
    }
}
