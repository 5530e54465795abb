//! Bringing files back.
//!
//! Hazard: a restore that goes wrong half way leaves an application with neither its old nor its new configuration.
//! Everything is read, checked and written beside its target first; the live files are backed up; only then are they
//! replaced, one rename each. Nothing outside the target directory can be written.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{self, ArchiveError, Archived};
use super::content::{ChunkReader, ContentFault, read_files};
use super::parallel;
use super::stage::Stage;
use super::verify::{self, Verdict};
use super::{Cancelled, Progress};
use crate::core::content::is_log;
use crate::core::{BackupId, BackupKind, Digest};
use crate::repository::catalogue::{Backup, Finding};
use crate::repository::wire::FileEntry;
use crate::repository::{ReadError, ReadFrom, Repository, WriteError};
use crate::settings::SetSettings;
use crate::storage::disk::Disk;
use crate::storage::real_disk::RealDisk;
use chrono::{DateTime, Utc};

/// The audit log of this service: never replaced in place.
const OWN_AUDIT_LOG: &str = "security_audit.log";

/// Where the files go.
pub enum Target<'a> {
    /// The set's own source: live files are replaced, after they were backed up.
    Live {
        /// The set.
        set: &'a SetSettings,
        /// Whether live logs may be replaced too.
        logs: bool,
        /// The time now.
        now: DateTime<Utc>,
    },
    /// A directory, created if it is not there. No file in it is replaced.
    Directory(&'a Path),
}

/// What was restored.
#[derive(Debug, Default)]
pub struct Restored {
    /// The files that are back, by path.
    pub files: Vec<RestoredFile>,
    /// Files of the backup that were not restored, and why.
    pub skipped: Vec<(String, &'static str)>,
    /// The live files as they were before, if there were any.
    pub safety_backup: Option<BackupId>,
}

/// A file that is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredFile {
    /// Its path below the target.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// Why nothing, or not everything, was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The manifest cannot be had.
    #[error("the backup's manifest cannot be used")]
    Manifest(#[source] ReadError),
    /// The content cannot be had. No live file was touched.
    #[error("{path} cannot be restored from this backup; no live file was touched")]
    Content {
        /// The file.
        path: String,
        /// Why.
        #[source]
        fault: ContentFault,
    },
    /// The backup does not have this file.
    #[error("the backup does not have the file {0:?}")]
    NoSuchFile(String),
    /// A live log would have been replaced.
    #[error("{0} is a log: restore it elsewhere with --to DIR, or say that live logs may be replaced")]
    LiveLog(String),
    /// The target could not be written. No live file was touched.
    #[error("{action} {}; no live file was touched", .path.display())]
    Stage {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The live files could not be backed up first. No live file was touched.
    #[error("back up the live files first; none was touched")]
    Safety(#[source] ArchiveError),
    /// The backup of the live files did not read back. No live file was touched.
    #[error("the backup of the live files did not read back ({0}); none was touched")]
    SafetyUnproven(String),
    /// The record of the live files' backup could not be written. No live file was touched.
    #[error("record the backup of the live files; none was touched")]
    Record(#[source] WriteError),
    /// A file could not be put in its place; those before it were.
    #[error("replace {}: {replaced} files were replaced before it; the earlier files are in {}", .path.display(), safety(.safety_backup))]
    Replace {
        /// The file.
        path: PathBuf,
        /// How many were replaced before.
        replaced: usize,
        /// Where the earlier files are.
        safety_backup: Option<BackupId>,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The work was told to stop. No live file was touched.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn safety(id: &Option<BackupId>) -> String {
    id.map_or_else(|| "no backup: there were none".into(), |id| format!("backup {id}"))
}

impl RestoreError {
    /// Whether the backup itself is at fault: damaged, not merely unreadable.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Manifest(error) => error.is_damage(),
            Self::Content { fault, .. } => fault.is_damage(),
            _ => false,
        }
    }
}

/// Restores a backup, or the one `file` of it.
pub fn restore(
    repository: &Repository,
    backup: &Backup,
    file: Option<&str>,
    target: &Target<'_>,
    progress: &Progress,
) -> Result<Restored, RestoreError> {
    let content = repository.read_manifest(backup).map_err(RestoreError::Manifest)?;
    let mut restored = Restored::default();
    let chosen = choose(&content.manifest.body.files, file, target, &mut restored)?;
    let root = match target {
        Target::Live { set, .. } => set.source.as_path(),
        Target::Directory(directory) => directory,
    };
    let disk = open_target(root)?;
    let mut stage = Stage::new(disk, root, matches!(target, Target::Directory(_)));
    progress.expect(chosen.iter().map(|file| file.size_bytes).sum());
    read_files(&ChunkReader::new(repository, ReadFrom::Anywhere), &chosen, parallel::threads(), progress, &mut stage)?;
    stage.sync()?;
    if let Target::Live { set, now, .. } = target {
        restored.safety_backup = back_up_live_files(repository, set, *now, progress)?;
    }
    stage.replace_all(restored.safety_backup)?;
    restored.files = chosen.iter().map(|file| restored_file(file)).collect();
    Ok(restored)
}

fn restored_file(file: &FileEntry) -> RestoredFile {
    RestoredFile { path: file.path.clone(), size_bytes: file.size_bytes, sha256: file.sha256 }
}

/// The files to restore.
fn choose<'f>(
    files: &'f [FileEntry],
    only: Option<&str>,
    target: &Target<'_>,
    restored: &mut Restored,
) -> Result<Vec<&'f FileEntry>, RestoreError> {
    let mut chosen: Vec<&FileEntry> = match only {
        None => files.iter().collect(),
        Some(path) => {
            vec![files.iter().find(|file| file.path == path).ok_or_else(|| RestoreError::NoSuchFile(path.to_owned()))?]
        }
    };
    if let Target::Live { logs, .. } = target {
        if let Some(log) = chosen.iter().find(|file| is_log(&file.path) && !logs) {
            return Err(RestoreError::LiveLog(log.path.clone()));
        }
        chosen.retain(|file| {
            let own = file.path == OWN_AUDIT_LOG;
            if own {
                restored.skipped.push((file.path.clone(), "the audit log is never replaced in place"));
            }
            !own
        });
    }
    Ok(chosen)
}

fn open_target(root: &Path) -> Result<Arc<dyn Disk>, RestoreError> {
    let failed = |source| RestoreError::Stage { action: "open", path: root.to_owned(), source };
    std::fs::create_dir_all(root).map_err(failed)?;
    Ok(Arc::new(RealDisk::open(root).map_err(failed)?))
}

/// Backs up what is live now, if anything is, and reads it back.
fn back_up_live_files(
    repository: &Repository,
    set: &SetSettings,
    now: DateTime<Utc>,
    progress: &Progress,
) -> Result<Option<BackupId>, RestoreError> {
    let request = archive::Request {
        set,
        kind: BackupKind::PreRestore,
        read_everything: true,
        read_sources_every_runs: 1,
        now,
        clock_suspect: false,
        audit_head: None,
    };
    let created = match archive::archive(repository, &request, progress).map_err(RestoreError::Safety)? {
        Archived::Created(created) => created,
        Archived::Unchanged { backup, .. } => return Ok(Some(backup.id)),
    };
    let read = verify::read_back(repository, &created.backup, &created.proven, progress)?;
    match read.verdict {
        Verdict::Intact => {}
        Verdict::Damaged(damages) => {
            let first = damages.first().map(|damage| format!("{}: {}", damage.place, damage.fault));
            return Err(RestoreError::SafetyUnproven(first.unwrap_or_default()));
        }
        Verdict::Unreadable(why) => return Err(RestoreError::SafetyUnproven(why)),
    }
    let id = created.backup.id;
    repository.record_finding(id, Finding::Intact { checked: now }).map_err(RestoreError::Record)?;
    Ok(Some(id))
}
