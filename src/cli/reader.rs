//! The repository read directly: no service, no lock, nothing written.
//!
//! Hazard: when everything else is down, what is stored must still be found and got out. This needs the bytes of the
//! repository and nothing that runs.

use std::path::Path;
use std::sync::Arc;

use super::arguments::Against;
use super::failure::Failure;
use super::progress::Bar;
use crate::actors::{problems, recovery, view};
use crate::api::{
    BackupDetails, BackupList, DiffDocument, FileChange, FileDiff, ListQuery, PlanDocument, PlanOptions, Problem,
    ProblemKind, RestoreOutcome,
};
use crate::core::{BackupId, BackupRef, SetName};
use crate::daemon;
use crate::pipeline::Progress;
use crate::pipeline::compare::{CompareError, FileDifference, Side, compare};
use crate::pipeline::restore::{Pick, Rules, restore_to};
use crate::repository::Repository;
use crate::settings::{SetSettings, Settings};

/// A repository that is only read.
pub struct Reader<'s> {
    repository: Repository,
    settings: &'s Settings,
}

impl<'s> Reader<'s> {
    /// The repository of these settings.
    pub fn open(settings: &'s Settings) -> Result<Self, Failure> {
        Ok(Self { repository: daemon::open_readonly(settings)?, settings })
    }

    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Result<BackupList, Problem> {
        view::list(&self.repository, self.settings, query)
    }

    /// Everything about a backup.
    pub fn show(&self, reference: &BackupRef) -> Result<BackupDetails, Problem> {
        Ok(view::details(&view::resolve(&self.repository, None, &reference.to_string())?))
    }

    /// What differs between a backup and another of its set, or what is live.
    pub fn diff(&self, before: &BackupRef, after: &Against) -> Result<DiffDocument, Problem> {
        let older = view::resolve(&self.repository, None, &before.to_string())?;
        let (files, after) = match after {
            Against::Backup(reference) => {
                let newer = view::resolve(&self.repository, Some(&older.set), &reference.to_string())?;
                (self.compare(&Side::Backup(&older), &Side::Backup(&newer), None)?, newer.id.to_string())
            }
            Against::Live => {
                (self.compare(&Side::Backup(&older), &Side::Live(self.set(&older.set)?), None)?, "live".to_owned())
            }
        };
        let (more, shown) = (files.len().saturating_sub(MAX_FILES), files.into_iter().take(MAX_FILES));
        Ok(DiffDocument {
            set: older.set,
            before: older.id.to_string(),
            after,
            files: shown.map(file_diff).collect(),
            more,
        })
    }

    /// What a restore of this file would change in it; `None` if nothing.
    pub fn change_of(&self, set: &SetName, path: &str, backup: BackupId) -> Result<Option<FileDiff>, Problem> {
        let backup = view::resolve(&self.repository, Some(set), &backup.to_string())?;
        let files = self.compare(&Side::Live(self.set(set)?), &Side::Backup(&backup), Some(path))?;
        Ok(files.into_iter().next().map(file_diff))
    }

    fn compare(&self, before: &Side<'_>, after: &Side<'_>, only: Option<&str>) -> Result<Vec<FileDifference>, Problem> {
        let compared = compare(&self.repository, before, after, only);
        compared.map_err(|error| {
            let damaged = matches!(&error, CompareError::Manifest(error) if error.is_damage());
            let kind = if damaged { ProblemKind::Integrity } else { ProblemKind::Source };
            Problem::new(kind, format!("compare: {}", problems::chain(&error)))
        })
    }

    fn set(&self, name: &SetName) -> Result<&SetSettings, Problem> {
        let sets = &self.settings.sets;
        let known = || sets.iter().map(|set| set.name.clone());
        sets.iter().find(|set| set.name == *name).ok_or_else(|| problems::unknown_set(name.as_str(), known()))
    }

    /// What would be restored, as far as the backups were read before: nothing is written, not even that one was read.
    pub fn plan(&self, options: &PlanOptions) -> Result<PlanDocument, Problem> {
        let ask = recovery::ask(self.settings, options)?;
        Ok(PlanDocument::new(recovery::look(&self.repository, self.settings, &ask), options.clone()))
    }

    /// Restores a backup, or these files of it, into a directory, given absolute.
    pub fn restore_to(
        &self,
        set: &SetName,
        reference: &BackupRef,
        paths: Option<Vec<String>>,
        directory: &Path,
    ) -> Result<RestoreOutcome, Problem> {
        let backup = view::resolve(&self.repository, Some(set), &reference.to_string())?;
        let progress = Arc::new(Progress::default());
        let bar = Bar::show("restore", &progress);
        let picks = [Pick { backup: backup.clone(), paths }];
        let restored = restore_to(&self.repository, &picks, directory, &progress);
        drop(bar);
        match restored {
            Ok(restored) => Ok(view::restored(
                set,
                (backup.id, vec![backup.id]),
                directory.display().to_string(),
                Rules::default(),
                restored,
            )),
            Err(error) => Err(problems::of_restore(&self.repository, &backup.set, &[backup.id], &error)),
        }
    }
}

/// The most files that a difference tells of.
const MAX_FILES: usize = 1000;

fn file_diff(file: FileDifference) -> FileDiff {
    let change = match file.presence {
        (false, _) => FileChange::Added,
        (_, false) => FileChange::Removed,
        (true, true) => FileChange::Changed,
    };
    FileDiff { path: file.path, change, difference: file.difference }
}

#[cfg(test)]
mod tests;
