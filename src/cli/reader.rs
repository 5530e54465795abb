//! The repository read directly: no service, no lock, nothing written.
//!
//! Hazard: when everything else is down, what is stored must still be found and got out. This needs the bytes of the
//! repository and nothing that runs.

use std::path::Path;

use super::failure::{Failure, with_causes};
use super::progress::Bar;
use crate::api::{
    BackupDetails, BackupList, BackupSummary, FileDocument, ListQuery, MAX_LIST, Problem, ProblemKind, RestoreOutcome,
    RestoredDocument, SkippedDocument, UnreadableDocument,
};
use crate::core::{BackupId, BackupRef, SetName};
use crate::daemon;
use crate::pipeline::Progress;
use crate::pipeline::restore::{RestoreError, Restored, Target, restore};
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Catalogue, Finding, Unresolved};
use crate::repository::wire::FileEntry;
use crate::settings::Settings;

/// How many backups are listed if nobody says.
const DEFAULT_LIST: usize = 100;

/// The most backups that are offered instead of one that would not do.
const MAX_ADVICE: usize = 3;

/// A repository that is only read.
pub struct Reader {
    repository: Repository,
    configured: Vec<SetName>,
}

impl Reader {
    /// The repository of these settings.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let configured = settings.sets.iter().map(|set| set.name.clone()).collect();
        Ok(Self { repository: daemon::open_readonly(settings)?, configured })
    }

    /// A page of backups, newest first.
    pub fn list(&self, set: Option<&SetName>, query: &ListQuery) -> Result<BackupList, Problem> {
        let catalogue = self.repository.catalogue();
        if let Some(set) = set
            && catalogue.set(set).is_none()
            && !self.configured.contains(set)
        {
            return Err(self.unknown_set(set));
        }
        let ordered = newest_first(&catalogue, set);
        let first = match &query.after {
            None => 0,
            Some(after) => position_after(&catalogue, &ordered, set, after)?,
        };
        let limit = query.limit.unwrap_or(DEFAULT_LIST).clamp(1, MAX_LIST);
        let rest = &ordered[first.min(ordered.len())..];
        let page = &rest[..limit.min(rest.len())];
        let next = if page.len() < rest.len() { page.last().map(|backup| backup.id) } else { None };
        Ok(BackupList { backups: page.iter().map(|backup| summary(backup)).collect(), next })
    }

    /// Everything about a backup.
    pub fn show(&self, reference: &BackupRef) -> Result<BackupDetails, Problem> {
        let catalogue = self.repository.catalogue();
        catalogue.resolve(None, reference).map(details).map_err(unresolved)
    }

    /// Restores a backup, or one file of it, into a directory, given absolute.
    pub fn restore_to(
        &self,
        set: &SetName,
        reference: &BackupRef,
        file: Option<&str>,
        directory: &Path,
    ) -> Result<RestoreOutcome, Problem> {
        let backup = {
            let catalogue = self.repository.catalogue();
            catalogue.resolve(Some(set), reference).cloned().map_err(unresolved)?
        };
        let progress = std::sync::Arc::new(Progress::default());
        let bar = Bar::show("restore", &progress);
        let restored = restore(&self.repository, &backup, file, &Target::Directory(directory), &progress);
        drop(bar);
        match restored {
            Ok(restored) => Ok(outcome(&backup, restored, directory.display().to_string())),
            Err(error) => Err(self.explain(&backup, &error)),
        }
    }

    fn unknown_set(&self, set: &SetName) -> Problem {
        let known: Vec<&str> = self.configured.iter().map(SetName::as_str).collect();
        Problem::new(ProblemKind::NotFound, format!("there is no set {set}: the sets are {}", known.join(", ")))
    }

    /// The problem, with backups that would do instead.
    fn explain(&self, backup: &Backup, error: &RestoreError) -> Problem {
        let kind = match error {
            _ if error.is_damage() => ProblemKind::Integrity,
            RestoreError::NoSuchFile(_) => ProblemKind::NotFound,
            RestoreError::Stage { .. } | RestoreError::Replace { .. } => ProblemKind::Target,
            _ => ProblemKind::Internal,
        };
        let mut problem = Problem::new(kind, format!("restore {} {}: {}", backup.set, backup.id, with_causes(error)));
        let wanted = if let RestoreError::NoSuchFile(path) = error { Some(path.as_str()) } else { None };
        if matches!(kind, ProblemKind::Integrity | ProblemKind::NotFound) {
            problem.good_backups = self.alternatives(backup, wanted);
        }
        problem
    }

    /// The newest good backups of the same set, other than this one, that have the wanted file.
    fn alternatives(&self, instead_of: &Backup, wanted: Option<&str>) -> Vec<BackupId> {
        let catalogue = self.repository.catalogue();
        let has = |backup: &&Backup| {
            let mut files = backup.content.iter().flat_map(|content| &content.manifest.body.files);
            wanted.is_none_or(|path| files.any(|file| file.path == path))
        };
        let of_set = newest_first(&catalogue, Some(&instead_of.set)).into_iter();
        let good = of_set.filter(|backup| backup.is_good_version() && backup.id != instead_of.id).filter(has);
        good.take(MAX_ADVICE).map(|backup| backup.id).collect()
    }
}

/// Backups from the newest to the oldest: within a set the sequence decides, among sets the time.
fn newest_first<'c>(catalogue: &'c Catalogue, only: Option<&SetName>) -> Vec<&'c Backup> {
    let sets = catalogue.sets().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let mut queues: Vec<&[Backup]> = sets.map(|(_, set)| set.backups()).collect();
    let mut ordered = Vec::new();
    while let Some(queue) =
        queues.iter_mut().filter(|queue| !queue.is_empty()).max_by_key(|queue| queue.last().map(|b| b.id))
    {
        if let Some((newest, older)) = queue.split_last() {
            ordered.push(newest);
            *queue = older;
        }
    }
    ordered
}

fn position_after(
    catalogue: &Catalogue,
    ordered: &[&Backup],
    set: Option<&SetName>,
    after: &str,
) -> Result<usize, Problem> {
    let reference: BackupRef =
        after.parse().map_err(|error| Problem::new(ProblemKind::BadRequest, with_causes(&error)))?;
    let id = catalogue.resolve(set, &reference).map_err(unresolved)?.id;
    Ok(ordered.iter().position(|backup| backup.id == id).map_or(ordered.len(), |at| at + 1))
}

fn unresolved(error: Unresolved) -> Problem {
    let (kind, advice) = match &error {
        Unresolved::Unknown(_) => (ProblemKind::NotFound, ": see fiovana-app list"),
        Unresolved::NoneGood(_) => (ProblemKind::NotFound, ": see fiovana-app list, and give an id"),
        Unresolved::LatestOfWhat => (ProblemKind::BadRequest, ""),
        Unresolved::Ambiguous { .. } => (ProblemKind::Ambiguous, ": give more of the id"),
        Unresolved::OtherSet { .. } => (ProblemKind::SetMismatch, ""),
    };
    Problem::new(kind, format!("{error}{advice}"))
}

fn summary(backup: &Backup) -> BackupSummary {
    let envelope = backup.content.as_ref().map(|content| &content.manifest.envelope);
    BackupSummary {
        id: backup.id,
        set: backup.set.clone(),
        sequence: backup.sequence().map(|sequence| sequence.0),
        kind: backup.kind(),
        created: envelope.map_or(backup.id.created(), |envelope| envelope.created),
        state: backup.state(),
        fault: match &backup.finding {
            Finding::Damaged(fault) | Finding::Unreadable(fault) => Some(fault.clone()),
            Finding::Unverified | Finding::Intact { .. } => None,
        },
        verified: backup.verified(),
        pinned: backup.pinned,
        consistent: envelope.is_some_and(|envelope| envelope.consistent),
        size_bytes: envelope.map_or(0, |envelope| envelope.size_bytes),
        stored_bytes: envelope.map_or(0, |envelope| envelope.stored_bytes),
    }
}

fn details(backup: &Backup) -> BackupDetails {
    let body = backup.content.as_ref().map(|content| &content.manifest.body);
    let unreadable = body.iter().flat_map(|body| &body.unreadable);
    BackupDetails {
        summary: summary(backup),
        manifest_sha256: backup.content.as_ref().map(|content| content.digest),
        files: body.iter().flat_map(|body| &body.files).map(file).collect(),
        missing: body.map(|body| body.missing.clone()).unwrap_or_default(),
        unreadable: unreadable
            .map(|file| UnreadableDocument { path: file.path.clone(), reason: file.reason.clone() })
            .collect(),
    }
}

fn file(entry: &FileEntry) -> FileDocument {
    FileDocument {
        path: entry.path.clone(),
        size_bytes: entry.size_bytes,
        sha256: entry.sha256,
        mode: format!("{:04o}", entry.mode),
        modified: entry.modified,
        fault: entry.fault.clone(),
    }
}

fn outcome(backup: &Backup, restored: Restored, target: String) -> RestoreOutcome {
    let files = restored.files.into_iter();
    let skipped = restored.skipped.into_iter();
    RestoreOutcome {
        set: backup.set.clone(),
        backup: backup.id,
        target,
        restored: files
            .map(|file| RestoredDocument { path: file.path, size_bytes: file.size_bytes, sha256: file.sha256 })
            .collect(),
        skipped: skipped.map(|(path, reason)| SkippedDocument { path, reason: reason.to_owned() }).collect(),
        safety_backup: None,
        undo: None,
    }
}

#[cfg(test)]
mod tests;
