//! Which files a restore concerns.
//!
//! Hazard: a restore that does more than was asked, or less and does not say so. What is left alone is told by name,
//! with the reason; what is ambiguous is refused before anything is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{Live, Pick, RestoreError, Restored, Rules};
use crate::core::content::SetKind;
use crate::core::{BackupId, BackupKind, EntryPath};
use crate::pipeline::source::{Found, SourceDirectory};
use crate::pipeline::stage::STAGED_PREFIX;
use crate::repository::Repository;
use crate::repository::kept::Kept;
use crate::repository::wire::{DirectoryEntry, Manifest, SOURCE_ITSELF};

/// The audit log of this service: never replaced in place.
const OWN_AUDIT_LOG: &str = "security_audit.log";

/// The files a restore concerns, by path.
#[derive(Default)]
pub(super) struct Selection<'m> {
    /// Those that are restored, and the backup each comes from.
    pub entries: BTreeMap<&'m str, (BackupId, Kept<'m>)>,
    /// The directories of the backups, in so far as they are asked for.
    directories: BTreeMap<&'m str, &'m DirectoryEntry>,
    /// Those that were absent when a safety backup was made, and will be again.
    pub removals: BTreeSet<&'m str>,
}

impl<'m> Selection<'m> {
    /// What the picks mean, each with its manifest.
    pub fn of<'p>(picks: impl Iterator<Item = (&'p Pick, &'m Manifest)>) -> Result<Self, RestoreError> {
        let mut selection = Self::default();
        for (pick, manifest) in picks {
            selection.add(pick, manifest)?;
        }
        Ok(selection)
    }

    fn add(&mut self, pick: &Pick, manifest: &'m Manifest) -> Result<(), RestoreError> {
        // What was absent before a restore is absent again after it is undone; of any other backup it says nothing.
        let is_safety = manifest.envelope.kind == BackupKind::PreRestore;
        let Some(body) = &manifest.body else { return Ok(()) };
        let absent = if is_safety { &body.missing[..] } else { &[] };
        let mut meant: BTreeSet<&str> = BTreeSet::new();
        for path in pick.paths.iter().flatten() {
            let reached = body.reached_by(path);
            if reached.is_empty() && !absent.iter().any(|absent| absent == path) {
                return Err(RestoreError::NoSuchFile { backup: pick.backup.id, path: path.clone() });
            }
            meant.extend(reached.into_iter().map(EntryPath::as_str).chain([path.as_str()]));
        }
        let wanted = |path: &str| pick.paths.is_none() || meant.contains(path);
        for kept in body.kept().filter(|kept| wanted(kept.path())) {
            let path = kept.path();
            refuse_reserved(path)?;
            let twice = self.entries.insert(path, (pick.backup.id, kept)).is_some();
            if twice || self.removals.contains(path.as_str()) {
                return Err(RestoreError::Twice(path.to_string()));
            }
        }
        let is_above = |directory: &str| {
            let mut paths = self.entries.keys();
            directory == SOURCE_ITSELF
                || paths.any(|path| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
        };
        let asked = body.directories.iter().filter(|entry| pick.paths.is_none() || is_above(&entry.path));
        for entry in asked {
            refuse_reserved(&entry.path)?;
            self.directories.entry(&entry.path).or_insert(entry);
        }
        for path in absent.iter().filter(|path| wanted(path)) {
            refuse_reserved(path)?;
            if !self.removals.insert(path) || self.entries.contains_key(path.as_str()) {
                return Err(RestoreError::Twice(path.to_string()));
            }
        }
        Ok(())
    }

    /// Takes out what is never replaced in place, and refuses what is not replaced unasked.
    pub fn spare_logs(&mut self, kind: SetKind, rules: Rules, restored: &mut Restored) -> Result<(), RestoreError> {
        let all = || self.entries.keys().chain(&self.removals);
        if kind.is_logs()
            && !rules.replace_logs
            && let Some(log) = all().next()
        {
            return Err(RestoreError::LiveLog((*log).to_owned()));
        }
        let own = |path: &str| path.rsplit('/').next() == Some(OWN_AUDIT_LOG);
        let spared = all().filter(|path| own(path));
        let why = || "the audit log is never replaced in place".to_owned();
        restored.skipped.extend(spared.map(|path| ((*path).to_owned(), why())));
        self.entries.retain(|path, _| !own(path));
        self.removals.retain(|path| !own(path));
        Ok(())
    }

    /// The directories, each after those that it is in.
    pub fn directories(&self) -> Vec<DirectoryEntry> {
        self.directories.values().map(|entry| (*entry).clone()).collect()
    }

    /// Every path.
    pub fn paths(&self) -> Vec<String> {
        self.entries.keys().chain(&self.removals).map(|path| (*path).to_owned()).collect()
    }

    /// Tells of the set's files that none of these whole backups has: they are left as they are.
    pub fn tell_of_others(
        &self,
        repository: &Repository,
        source: &SourceDirectory,
        live: &Live<'_>,
        picks: &[Pick],
        restored: &mut Restored,
    ) {
        let whole = |pick: &Pick| pick.paths.is_none() && pick.backup.kind() != Some(BackupKind::PreRestore);
        if !picks.iter().any(whole) {
            return;
        }
        // What cannot be looked at has its say when the set is backed up.
        let Ok(found) = source.look(&live.set.files) else { return };
        let catalogue = repository.catalogue();
        let backups = catalogue.set(&live.set.name).map_or(&[][..], |index| index.backups());
        let has = |backup: &Manifest, path: &str| backup.kept().any(|kept| *kept.path() == path);
        for (path, found) in found {
            if self.entries.contains_key(path.as_str()) || restored.skipped.iter().any(|(skipped, _)| *skipped == path)
            {
                continue;
            }
            let holder = backups
                .iter()
                .rev()
                .filter(|backup| backup.is_good_version())
                .find(|backup| backup.content.as_ref().is_some_and(|content| has(&content.manifest, &path)));
            match (found, holder) {
                (Found::Missing, Some(holder)) => {
                    let id = holder.id;
                    restored.skipped.push((path, format!("not in this backup, and not there; backup {id} has it")));
                }
                // Nobody ever had it.
                (Found::Missing, None) | (Found::Directory(_), _) => {}
                _ => restored.left_alone.push(path),
            }
        }
    }
}

/// What lies beside live files while they are replaced is no file of a set.
fn refuse_reserved(path: &str) -> Result<(), RestoreError> {
    let is_reserved = path.split('/').any(|segment| segment.starts_with(STAGED_PREFIX));
    if is_reserved { Err(RestoreError::ReservedName(path.to_owned())) } else { Ok(()) }
}
