//! The repository read directly: no service, no lock, nothing written.
//!
//! Hazard: when everything else is down, what is stored must still be found and got out. This needs the bytes of the
//! repository and nothing that runs.

use std::path::Path;
use std::sync::Arc;

use super::failure::{Failure, with_causes};
use super::progress::Bar;
use crate::actors::view;
use crate::api::{BackupDetails, BackupList, ListQuery, Problem, ProblemKind, RestoreOutcome};
use crate::core::{BackupId, BackupRef, SetName};
use crate::daemon;
use crate::pipeline::Progress;
use crate::pipeline::restore::{RestoreError, Target, restore};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::settings::Settings;

/// The most backups that are offered instead of one that would not do.
const MAX_ADVICE: usize = 5;

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

    /// Restores a backup, or one file of it, into a directory, given absolute.
    pub fn restore_to(
        &self,
        set: &SetName,
        reference: &BackupRef,
        file: Option<&str>,
        directory: &Path,
    ) -> Result<RestoreOutcome, Problem> {
        let backup = view::resolve(&self.repository, Some(set), &reference.to_string())?;
        let progress = Arc::new(Progress::default());
        let bar = Bar::show("restore", &progress);
        let restored = restore(&self.repository, &backup, file, &Target::Directory(directory), &progress);
        drop(bar);
        match restored {
            Ok(restored) => Ok(view::restored(&backup, directory.display().to_string(), restored)),
            Err(error) => Err(self.explain(&backup, &error)),
        }
    }

    /// The problem, with backups that would do instead.
    fn explain(&self, backup: &Backup, error: &RestoreError) -> Problem {
        let kind = match error {
            _ if error.is_damage() => ProblemKind::Integrity,
            RestoreError::NoSuchFile(_) => ProblemKind::NotFound,
            RestoreError::Stage { .. } | RestoreError::Replace { .. } => ProblemKind::Target,
            _ => ProblemKind::Internal,
        };
        let detail = format!("restore {} from {}: {}", backup.set, backup.id, with_causes(error));
        let mut problem = Problem::new(kind, detail);
        problem.good_backups = match error {
            RestoreError::NoSuchFile(path) => self.alternatives(backup, Some(path)),
            _ if error.is_damage() => self.alternatives(backup, None),
            _ => vec![],
        };
        problem
    }

    /// The newest good backups of the same set, other than this one, that have the wanted file.
    fn alternatives(&self, instead_of: &Backup, wanted: Option<&str>) -> Vec<BackupId> {
        let catalogue = self.repository.catalogue();
        let has = |backup: &&Backup| {
            let mut files = backup.content.iter().flat_map(|content| &content.manifest.body.files);
            wanted.is_none_or(|path| files.any(|file| file.path == path))
        };
        let backups = catalogue.set(&instead_of.set).map_or(&[][..], |index| index.backups());
        let others = backups.iter().rev().filter(|backup| backup.is_good_version() && backup.id != instead_of.id);
        others.filter(has).take(MAX_ADVICE).map(|backup| backup.id).collect()
    }
}

#[cfg(test)]
mod tests;
