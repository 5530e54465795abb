//! The repository read directly: no service, no lock, nothing written.
//!
//! Hazard: when everything else is down, what is stored must still be found and got out. This needs the bytes of the
//! repository and nothing that runs.

use std::path::Path;
use std::sync::Arc;

use super::export::ExportOutcome;
use super::failure::Failure;
use super::progress::Bars;
use crate::actors::{diff, problems, recovery, view};
use crate::api::{
    BackupDetails, BackupList, DiffDocument, FileDiff, ListQuery, PlanDocument, PlanOptions, Problem, RestoreOptions,
    RestoreOutcome,
};
use crate::core::secrets::Secrets;
use crate::core::{BackupId, BackupRef, SetName};
use crate::daemon;
use crate::pipeline::Progress;
use crate::pipeline::export::export;
use crate::pipeline::restore::{Pick, Rules, restore_to};
use crate::repository::Repository;
use crate::settings::Settings;

/// A repository that is only read.
pub struct Reader<'s> {
    repository: Repository,
    settings: &'s Settings,
    bars: Bars,
}

impl<'s> Reader<'s> {
    /// The repository of these settings.
    pub fn open(settings: &'s Settings) -> Result<Self, Failure> {
        Ok(Self { repository: daemon::open_readonly(settings)?, settings, bars: Bars::NONE })
    }

    /// The same, its progress shown.
    pub fn with_bars(self, bars: Bars) -> Self {
        Self { bars, ..self }
    }

    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Result<BackupList, Problem> {
        view::list(&self.repository, self.settings, query)
    }

    /// Everything about a backup.
    pub fn show(&self, reference: &BackupRef) -> Result<BackupDetails, Problem> {
        let backup = view::resolve(&self.repository, None, &reference.to_string())?;
        Ok(view::details(&self.repository, self.settings, &backup))
    }

    /// What differs between a backup and another of its set, or what is live if none is given.
    pub fn diff(&self, before: &BackupRef, after: Option<&BackupRef>) -> Result<DiffDocument, Problem> {
        diff::diff(&self.repository, self.settings, (before, after), Secrets::Hidden)
    }

    /// What a restore of this file would change in it; `None` if nothing.
    pub fn change_of(&self, set: &SetName, path: &str, backup: BackupId) -> Result<Option<FileDiff>, Problem> {
        diff::change_of(&self.repository, self.settings, (set, path), backup)
    }

    /// What would be restored, as far as the backups were read before: nothing is written, not even that one was read.
    pub fn plan(&self, options: &PlanOptions) -> Result<PlanDocument, Problem> {
        let ask = recovery::ask(self.settings, options)?;
        Ok(PlanDocument::new(recovery::look(&self.repository, self.settings, &ask), options.clone()))
    }

    /// Writes a backup's files into an archive, given absolute.
    pub fn export(&self, reference: &BackupRef, archive: &Path) -> Result<ExportOutcome, Problem> {
        let backup = view::resolve(&self.repository, None, &reference.to_string())?;
        let manifest = self.repository.read_opened_manifest(&backup);
        let content =
            manifest.map_err(|error| problems::of_reading(&self.repository, &backup, "its manifest", &error))?;
        let body = content.manifest.body.unwrap_or_default();
        let progress = Arc::new(Progress::default());
        let _bar = self.bars.show("export", &progress);
        let count = body.files.len() + body.hard_links.len();
        let exported = export(&self.repository, body, archive, &progress)
            .map_err(|error| problems::of_export(&self.repository, &backup, &error))?;
        Ok(ExportOutcome {
            id: backup.id,
            set: backup.set,
            archive: archive.display().to_string(),
            files: count,
            size_bytes: exported.size_bytes,
            archive_bytes: exported.archive_bytes,
            not_kept: exported.not_kept,
        })
    }

    /// Restores a backup, or these files of it, into a directory, given absolute.
    pub fn restore_to(
        &self,
        set: &SetName,
        reference: &BackupRef,
        options: &RestoreOptions,
        directory: &Path,
    ) -> Result<RestoreOutcome, Problem> {
        let backup = view::resolve(&self.repository, Some(set), &reference.to_string())?;
        let progress = Arc::new(Progress::default());
        let bar = self.bars.show("restore", &progress);
        let picks = [Pick { backup: backup.clone(), paths: options.paths() }];
        let rules = Rules { ignore_xattrs: options.ignore_xattrs, ..Rules::default() };
        let restored = restore_to(&self.repository, &picks, directory, rules, &progress);
        drop(bar);
        match restored {
            Ok(restored) => {
                Ok(view::restored(set, (backup.id, vec![backup.id]), directory.display().to_string(), rules, restored))
            }
            Err(error) => Err(problems::of_restore(&self.repository, &backup.set, &[backup.id], &error)),
        }
    }
}

#[cfg(test)]
mod tests;
