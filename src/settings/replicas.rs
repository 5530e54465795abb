//! The replicas: where the backups of which sets are kept once more.
//!
//! Hazard: a replica in the wrong place protects nothing, or eats what it was to protect: inside the backup directory
//! it goes with it, inside a source it is backed up itself. Which sets are kept in which replica, and where that may
//! not be, is decided here.

use std::path::{Path, PathBuf};

use crate::core::{BackupPriority, ReplicaName, SetName};

use super::conflicts::inside;
use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, Said, Shown};
use super::resolved::resolved;
use super::sets::Decided;
use super::sources::Sources;
use super::stated::{MOST_BACKUPS, MOST_DAYS, Stated, StatedSet};
use super::values::{directory, list, whole, word};

/// The name of the built-in replica.
const BUILT_IN: &str = "local";

/// Its directory inside the backup directory.
const BUILT_IN_DIRECTORY: &str = "replica";

/// The priorities whose sets are replicated where nobody says otherwise.
const PRIORITIES: [BackupPriority; 2] = [BackupPriority::Critical, BackupPriority::High];

/// The most replicas.
const MOST: usize = 8;

/// One replica, all its values decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// Its name.
    pub name: ReplicaName,
    /// Its directory, absolute.
    pub path: PathBuf,
    /// Whether that is the built-in place inside the backup directory.
    pub is_built_in_place: bool,
    /// The sets whose backups it keeps, most important first.
    pub sets: Vec<SetName>,
    /// The most good versions that it keeps of each set; `None`: as many as the set says.
    pub max_backups: Option<usize>,
    /// How long it keeps a version after it was superseded; `None`: as long as the set says.
    pub retention_days: Option<u32>,
}

/// What was said in one of `[[replicas]]`.
pub(super) struct StatedReplica {
    /// The section as messages name it: `replicas.usb`.
    key: String,
    name: Stated<ReplicaName>,
    path: Stated<PathBuf>,
    sets: Stated<Vec<SetName>>,
    priorities: Stated<Vec<BackupPriority>>,
    max_backups: Stated<usize>,
    retention_days: Stated<u32>,
}

/// Reads the sections `[[replicas]]`; `None` if nothing is said of any, and an empty list if there is to be none.
pub(super) fn read(
    sources: &Sources,
    top: &mut Section,
    errors: &mut Vec<SettingsError>,
) -> Option<Vec<StatedReplica>> {
    let sections = top.tables("replicas")?;
    Some(sections.into_iter().map(|section| read_one(sources, section, errors)).collect())
}

fn read_one(sources: &Sources, mut section: Section, errors: &mut Vec<SettingsError>) -> StatedReplica {
    section.require("name", "give the replica a name such as \"usb\"");
    section.require("path", "give the directory that is to hold it");
    let sets = r#"give a list of sets such as ["security"]"#;
    let priorities = r#"give a list of priorities such as ["critical", "high"]"#;
    let replica = StatedReplica {
        key: section.name().to_owned(),
        name: section.take("name", word("1 to 32 of a-z, 0-9, _ and -, starting with a letter")),
        path: section.take("path", directory(sources)),
        sets: section.take("sets", list(sets)),
        priorities: section.take("priorities", list(priorities)),
        max_backups: section.take("max_backups", whole(1..=MOST_BACKUPS)),
        retention_days: section.take("retention_days", whole(1..=MOST_DAYS)),
    };
    section.finish(errors);
    replica
}

/// What replicas are decided from.
pub(super) struct Grounds<'a> {
    pub sets: &'a [Decided],
    pub stated_sets: &'a [StatedSet],
    pub backup_directory: Said<&'a Path>,
}

/// Decides every replica; one that lacks its name or path is left out, and is an error already.
pub(super) fn decide(
    grounds: &Grounds,
    stated: Option<&[StatedReplica]>,
    ledger: &mut Ledger,
    errors: &mut Vec<SettingsError>,
) -> Vec<ReplicaSettings> {
    let Some(stated) = stated else { return built_in(grounds, ledger).into_iter().collect() };
    let mut decided: Vec<ReplicaSettings> = Vec::new();
    for said in stated {
        let (Some(name), Some(path)) = (&said.name, &said.path) else { continue };
        errors.extend(misplaced(grounds, said, path));
        errors.extend(in_the_way(said, name, path, &decided));
        let sets = chosen(grounds, said, errors);
        let key = |field: &str| format!("replicas.{}.{field}", name.value);
        decided.push(ReplicaSettings {
            name: name.value.clone(),
            path: ledger.note(key("path"), path.clone()),
            is_built_in_place: path.value == grounds.built_in_path(),
            sets: ledger.note(key("sets"), sets),
            max_backups: said.max_backups.clone().map(|said| ledger.note(key("max_backups"), said)),
            retention_days: said.retention_days.clone().map(|said| ledger.note(key("retention_days"), said)),
        });
    }
    decided
}

/// The replica that there is when nothing is said of any; none if it would keep no set.
fn built_in(grounds: &Grounds, ledger: &mut Ledger) -> Option<ReplicaSettings> {
    let name = BUILT_IN.parse().ok()?;
    let sets = grounds.sets_of(&PRIORITIES);
    if sets.is_empty() {
        return None;
    }
    let path = Said { value: grounds.built_in_path(), origin: grounds.backup_directory.origin.clone() };
    Some(ReplicaSettings {
        name,
        path: ledger.note(format!("replicas.{BUILT_IN}.path"), path),
        is_built_in_place: true,
        sets: ledger.note(format!("replicas.{BUILT_IN}.sets"), Said::built_in(sets)),
        max_backups: None,
        retention_days: None,
    })
}

impl Grounds<'_> {
    fn built_in_path(&self) -> PathBuf {
        self.backup_directory.value.join(BUILT_IN_DIRECTORY)
    }

    /// What a set's own section says.
    fn replicate(&self, set: &SetName) -> Option<bool> {
        let said = self.stated_sets.iter().find(|said| said.name == *set)?;
        said.replicate.as_ref().map(|said| said.value)
    }

    /// The sets of these priorities, and those that ask for it; never one that refuses.
    fn sets_of(&self, priorities: &[BackupPriority]) -> Vec<SetName> {
        let sets = self.sets.iter().map(|decided| &decided.set);
        let kept = sets.filter(|set| self.replicate(&set.name).unwrap_or(priorities.contains(&set.priority)));
        kept.map(|set| set.name.clone()).collect()
    }
}

/// The sets that a replica keeps.
fn chosen(grounds: &Grounds, said: &StatedReplica, errors: &mut Vec<SettingsError>) -> Said<Vec<SetName>> {
    let Some(sets) = &said.sets else {
        let priorities = said.priorities.clone().unwrap_or_else(|| Said::built_in(PRIORITIES.to_vec()));
        return priorities.map(|priorities| grounds.sets_of(&priorities));
    };
    if let Some(priorities) = &said.priorities {
        let allowed = "give either sets or priorities, not both";
        errors.push(refusal(said, "priorities", priorities, allowed.to_owned()));
    }
    for name in &sets.value {
        let known = || grounds.sets.iter().map(|decided| decided.set.name.as_str()).collect::<Vec<_>>().join(", ");
        if grounds.sets.iter().all(|decided| decided.set.name != *name) {
            errors.push(refusal(said, "sets", sets, format!("there is no set {name}: give some of {}", known())));
        } else if grounds.replicate(name) == Some(false) {
            errors.push(refusal(said, "sets", sets, format!("sets.{name}.replicate is false: say one or the other")));
        }
    }
    let in_order = grounds.sets.iter().map(|decided| &decided.set.name).filter(|name| sets.value.contains(name));
    Said { value: in_order.cloned().collect(), origin: sets.origin.clone() }
}

/// Whether a replica would be where it must not be.
fn misplaced(grounds: &Grounds, said: &StatedReplica, path: &Said<PathBuf>) -> Option<SettingsError> {
    let backups = &grounds.backup_directory;
    let is_inside = path.value.starts_with(backups.value) && path.value != grounds.built_in_path();
    if is_inside || backups.value.starts_with(&path.value) {
        let allowed = format!(
            "give a directory that neither is, holds, nor is inside the backup directory {} ({}); inside it only {BUILT_IN_DIRECTORY}",
            backups.value.display(),
            backups.origin
        );
        return Some(refusal(said, "path", path, allowed));
    }
    let held = |decided: &&Decided| {
        let set = &decided.set;
        let holds_source =
            set.source.written().starts_with(&path.value) || set.source.real().starts_with(resolved(&path.value));
        holds_source || inside(&path.value, set).any(|inside| set.files.may_reach_into(&inside))
    };
    let decided = grounds.sets.iter().find(held)?;
    let allowed = format!("give a directory apart from the files of the set {}", decided.set.name);
    Some(refusal(said, "path", path, allowed))
}

/// Whether a replica has the name of another, or lies where another does.
fn in_the_way(
    said: &StatedReplica,
    name: &Said<ReplicaName>,
    path: &Said<PathBuf>,
    earlier: &[ReplicaSettings],
) -> Option<SettingsError> {
    if earlier.len() == MOST {
        return Some(refusal(said, "name", name, format!("give at most {MOST} replicas")));
    }
    if earlier.iter().any(|other| other.name == name.value) {
        return Some(refusal(said, "name", name, "another replica has this name".to_owned()));
    }
    let other =
        earlier.iter().find(|other| other.path.starts_with(&path.value) || path.value.starts_with(&other.path))?;
    Some(refusal(said, "path", path, format!("give a directory apart from that of the replica {}", other.name)))
}

fn refusal<T: Shown>(said: &StatedReplica, field: &str, value: &Said<T>, allowed: String) -> SettingsError {
    let (key, value, origin) = (format!("{}.{field}", said.key), value.value.shown(), value.origin.clone());
    SettingsError::Value { key, value, origin, allowed }
}

impl Shown for ReplicaName {
    fn shown(&self) -> String {
        self.to_string()
    }
}

impl<T: std::fmt::Display> Shown for Vec<T> {
    fn shown(&self) -> String {
        let items: Vec<String> = self.iter().map(ToString::to_string).collect();
        format!("[{}]", items.join(", "))
    }
}
