//! The effective settings of every backup set.
//!
//! Hazard: five layers may each say how long a set is kept, and the wrong one winning deletes history early. Which
//! one wins is said once, here: a variable, then the set's own section, its priority's, `[backup]`, the built-in set,
//! the built-in priority.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::content::{SetKind, Validation};
use crate::core::retention::Policy;
use crate::core::{BackupPriority, Digest, SetName};
use crate::source_path::SourcePath;

use super::BackupConfig;
use super::builtin::{self, BuiltInSet, Place, hours};
use super::error::SettingsError;
use super::file_patterns::FilePatterns;
use super::origin::{Ledger, Origin, Said, Shown, prevailing};
use super::stated::{Stated, StatedBackup, StatedSet};

/// One backup set, all its values decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetSettings {
    /// Its name.
    pub name: SetName,
    /// The directory that holds its files.
    pub source: SourcePath,
    /// Which files of the source it holds.
    pub files: FilePatterns,
    /// What its files are.
    pub kind: SetKind,
    /// How much it matters.
    pub priority: BackupPriority,
    /// The time between two scheduled backups.
    pub interval: Duration,
    /// How long a version is kept after it was superseded.
    pub retention_days: u32,
    /// The most good versions kept.
    pub max_backups: usize,
    /// The good versions kept however old they are.
    pub keep_at_least: KeepAtLeast,
    /// Which versions go when there are more.
    pub policy: Policy,
    /// How many days the files that a restore replaced are kept.
    pub pre_restore_days: u32,
    /// Whether its files are expected to parse.
    pub validate: Validation,
    /// The most that one backup of it may hold, in MiB; `None` is no limit.
    pub max_size_mb: Option<u64>,
    /// Whether it is backed up on schedule.
    pub enabled: bool,
    /// Content of one of its files that was refused by whoever reads it.
    pub refused: Option<Refused>,
}

/// How many of the newest good versions are kept however old they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAtLeast {
    /// So many.
    pub versions: usize,
    /// Whether somebody said so: what is built in yields to a retention that somebody said.
    pub is_said: bool,
}

impl SetSettings {
    /// The same for a retention of so many days that somebody says.
    pub fn with_retention_days(&self, retention_days: u32) -> Self {
        let keep_at_least = match self.keep_at_least {
            KeepAtLeast { is_said: false, .. } => KeepAtLeast { versions: 1, is_said: false },
            said @ KeepAtLeast { .. } => said,
        };
        Self { retention_days, keep_at_least, ..self.clone() }
    }
}

/// Content that is known to be no good, whatever it looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its SHA-256.
    pub sha256: Digest,
    /// What is wrong with it.
    pub why: String,
}

/// A decided set, with what later checks need to name in messages.
pub(super) struct Decided {
    pub set: SetSettings,
    /// Who said its source.
    pub source_origin: Origin,
    /// Who said its files.
    pub files_origin: Origin,
}

/// What sets are decided from.
pub(super) struct Grounds<'a> {
    /// What was said of all backups.
    pub stated: &'a StatedBackup,
    /// What holds for all backups.
    pub backup: &'a BackupConfig,
    /// How many days the files that a restore replaced are kept.
    pub pre_restore_days: u32,
    /// Fiovana's configuration.
    pub config_directory: &'a Said<PathBuf>,
    /// Its logs.
    pub log_directory: &'a Said<PathBuf>,
    /// The settings file, if one is in use.
    pub settings_file: Option<&'a Said<PathBuf>>,
    /// Where it would be.
    pub default_settings_file: PathBuf,
}

/// Decides every set, built in or said, in the order they are to be served: by priority, then by name.
///
/// A set whose source or files are missing is left out; its lack is an error already.
pub(super) fn decide(
    grounds: &Grounds,
    stated: &[StatedSet],
    ledger: &mut Ledger,
    errors: &mut Vec<SettingsError>,
) -> Vec<Decided> {
    let silent: Vec<StatedSet> = builtin::SETS
        .iter()
        .filter(|set| stated.iter().all(|said| said.name.as_str() != set.name))
        .filter_map(|set| set.name.parse().ok().map(StatedSet::silent))
        .collect();
    let mut located: Vec<_> = stated.iter().chain(&silent).filter_map(|said| locate(grounds, said, errors)).collect();
    located.sort_by(|a, b| (a.priority.value, &a.said.name).cmp(&(b.priority.value, &b.said.name)));
    located.into_iter().map(|set| decide_set(grounds, set, ledger)).collect()
}

/// A set whose place is known.
struct Located<'a> {
    said: &'a StatedSet,
    built_in: Option<&'static BuiltInSet>,
    source: Said<PathBuf>,
    files: Said<FilePatterns>,
    exclude: Said<FilePatterns>,
    priority: Said<BackupPriority>,
}

fn locate<'a>(grounds: &Grounds, said: &'a StatedSet, errors: &mut Vec<SettingsError>) -> Option<Located<'a>> {
    let built_in = builtin::SETS.iter().find(|set| set.name == said.name.as_str());
    let (source, files) = match built_in {
        Some(set) => locate_built_in(grounds, set, said, errors)?,
        None => (said.source.clone()?, said.files.clone()?),
    };
    let exclude = prevailing(&[&said.exclude], FilePatterns::exactly(Vec::new()));
    let files = leave_out(said, files, &exclude, errors)?;
    let priority = prevailing(&[&said.priority], built_in.map_or(builtin::DEFAULT_PRIORITY, |set| set.priority));
    Some(Located { said, built_in, source, files, exclude, priority })
}

/// The files without those that are excluded; refused if one of those is named.
fn leave_out(
    said: &StatedSet,
    files: Said<FilePatterns>,
    exclude: &Said<FilePatterns>,
    errors: &mut Vec<SettingsError>,
) -> Option<Said<FilePatterns>> {
    if exclude.value.is_empty() {
        return Some(files);
    }
    match files.value.without(exclude.value.clone()) {
        Ok(value) => Some(Said { value, origin: files.origin }),
        Err(error) => {
            let (key, value) = (format!("sets.{}.exclude", said.name), exclude.value.shown());
            let (origin, allowed) = (exclude.origin.clone(), error.to_string());
            errors.push(SettingsError::Value { key, value, origin, allowed });
            None
        }
    }
}

fn locate_built_in(
    grounds: &Grounds,
    set: &BuiltInSet,
    said: &StatedSet,
    errors: &mut Vec<SettingsError>,
) -> Option<(Said<PathBuf>, Said<FilePatterns>)> {
    let (home, files) = match set.place {
        Place::Config => (grounds.config_directory.clone(), FilePatterns::new(set.files)),
        // Nothing may have been rotated yet.
        Place::Logs => {
            let files = FilePatterns::new(set.files);
            (grounds.log_directory.clone(), files.map(FilePatterns::that_may_match_nothing))
        }
        Place::SettingsFile => {
            let unused = Said::built_in(grounds.default_settings_file.clone());
            let file = grounds.settings_file.cloned().unwrap_or(unused);
            let name = file.value.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (file.map(|path| path.parent().map(PathBuf::from).unwrap_or(path)), FilePatterns::literally(&name))
        }
    };
    let files = files.map_err(|error| {
        let key = format!("sets.{}.files", set.name);
        let (value, allowed) = (home.value.display().to_string(), error.to_string());
        errors.push(SettingsError::Value { key, value, origin: home.origin.clone(), allowed });
    });
    let files = files.ok()?;
    // A built-in directory is no statement, so what the set's section says holds; one named by a variable prevails.
    let named = (home.origin != Origin::BuiltIn).then(|| home.clone());
    let source = prevailing(&[&said.source, &named], home.value);
    Some((source, prevailing(&[&said.files], files)))
}

fn decide_set(grounds: &Grounds, set: Located, ledger: &mut Ledger) -> Decided {
    let (said, backup) = (set.said, grounds.stated);
    let level = backup.level(set.priority.value);
    let built_in_level = builtin::priority_level(set.priority.value);
    let built_in = |of_set: fn(&BuiltInSet) -> u32, of_level: u32| set.built_in.map_or(of_level, of_set);
    let in_hours = |said: &Option<Said<u32>>| said.clone().map(|said| said.map(hours));

    let interval = prevailing(
        &[&said.interval, &in_hours(&level.frequency_hours), &in_hours(&backup.backup_interval_hours)],
        hours(built_in(|set| set.hours, built_in_level.frequency_hours)),
    );
    let retention_days = prevailing(
        &[&said.retention_days, &level.retention_days, &backup.retention_days],
        built_in(|set| set.retention_days, built_in_level.retention_days),
    );
    let max_backups = prevailing(&[&said.max_backups, &backup.max_backups], grounds.backup.max_backups);
    let keep_at_least = keep_at_least(&said.keep_at_least, &retention_days, &max_backups);
    let policy = prevailing(&[&said.policy, &level.policy], builtin::POLICY);
    let kind = prevailing(&[&said.kind], set.built_in.map_or(SetKind::Files, |set| set.kind));
    let validate = prevailing(&[&said.validate], set.built_in.map_or(Validation::Json, |set| set.validate));
    let max_size_mb = prevailing(&[&level.max_size_mb], built_in_level.max_size_mb);
    let is_idle = said.name.as_str() == builtin::SERVICE && grounds.settings_file.is_none();
    let enabled = if is_idle { Said::built_in(false) } else { prevailing(&[&level.enabled], built_in_level.enabled) };

    let key = |field: &str| format!("sets.{}.{field}", said.name);
    let (source_origin, files_origin) = (set.source.origin.clone(), set.files.origin.clone());
    let written = ledger.note(key("source"), set.source);
    let trust_parents = ledger.note(key("trust_parents"), prevailing(&[&said.trust_parents], false));
    let source = SourcePath::find(written, trust_parents);
    if source.real() != source.written() {
        let real = Said { value: source.real().to_owned(), origin: source_origin.clone() };
        ledger.note(key("source_resolved"), real);
    }
    // Already taken from the files.
    ledger.note(key("exclude"), set.exclude);
    let set = SetSettings {
        name: said.name.clone(),
        source,
        files: ledger.note(key("files"), set.files),
        kind: ledger.note(key("kind"), kind),
        priority: ledger.note(key("priority"), set.priority),
        interval: ledger.note(key("interval"), interval),
        retention_days: ledger.note(key("retention_days"), retention_days),
        max_backups: ledger.note(key("max_backups"), max_backups),
        keep_at_least: KeepAtLeast {
            versions: ledger.note(key("keep_at_least"), keep_at_least),
            is_said: said.keep_at_least.is_some(),
        },
        policy: ledger.note(key("policy"), policy),
        pre_restore_days: grounds.pre_restore_days,
        validate: ledger.note(key("validate"), validate),
        max_size_mb: Some(ledger.note(key("max_size_mb"), max_size_mb)),
        enabled: ledger.note(key("enabled"), enabled),
        refused: None,
    };
    Decided { set, source_origin, files_origin }
}

/// How many good versions stay however old they are. Never more than are kept at all; what is built in yields to a
/// retention that somebody said, and then only the newest good version stays.
fn keep_at_least(said: &Stated<usize>, retention_days: &Said<u32>, max_backups: &Said<usize>) -> Said<usize> {
    let holds = match said {
        Some(said) => said.clone(),
        None if retention_days.origin != Origin::BuiltIn => retention_days.clone().map(|_| 1),
        None => Said::built_in(builtin::KEEP_AT_LEAST),
    };
    if holds.value > max_backups.value { max_backups.clone() } else { holds }
}
