//! Bringing files back.
//!
//! Hazard: a restore that goes wrong half way leaves an application with neither its old nor its new configuration.
//! Everything is read, checked and written beside its target first; the live files are backed up; only then are they
//! replaced, one rename each. Nothing outside the target directory can be written.

use std::collections::BTreeMap;
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

/// What to take from one backup. Several of one set, with no path in common, are restored as one.
#[derive(Clone, Debug)]
pub struct Pick {
    /// The backup.
    pub backup: Backup,
    /// These files of it, by path; `None` is all it has.
    pub paths: Option<Vec<String>>,
}

impl Pick {
    /// A whole backup.
    pub const fn whole(backup: Backup) -> Self {
        Self { backup, paths: None }
    }
}

/// What a restore over live files may do that it does not do unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Replace live logs.
    pub replace_logs: bool,
    /// Go on where the owner of a file cannot be kept.
    pub ignore_ownership: bool,
}

/// Where the files go.
pub enum Target<'a> {
    /// The set's own source: live files are replaced, after they were backed up.
    Live {
        /// The set.
        set: &'a SetSettings,
        /// What is allowed.
        rules: Rules,
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
    /// The manifest cannot be had. No live file was touched.
    #[error("the manifest of {backup} cannot be used; no live file was touched")]
    Manifest {
        /// The backup.
        backup: BackupId,
        /// Why.
        #[source]
        source: ReadError,
    },
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
    #[error("backup {backup} does not have the file {path:?}")]
    NoSuchFile {
        /// The backup.
        backup: BackupId,
        /// The file.
        path: String,
    },
    /// Two picks mean the same file.
    #[error("{0:?} is asked for twice")]
    Twice(String),
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
            Self::Manifest { source, .. } => source.is_damage(),
            Self::Content { fault, .. } => fault.is_damage(),
            _ => false,
        }
    }
}

/// Restores what was picked: all of it, or, if this is an error that says so, none of it.
pub fn restore(
    repository: &Repository,
    picks: &[Pick],
    target: &Target<'_>,
    progress: &Progress,
) -> Result<Restored, RestoreError> {
    let mut contents = Vec::with_capacity(picks.len());
    for pick in picks {
        let read = repository.read_manifest(&pick.backup);
        contents.push(read.map_err(|source| RestoreError::Manifest { backup: pick.backup.id, source })?);
    }
    let mut chosen = BTreeMap::new();
    for (pick, content) in picks.iter().zip(&contents) {
        choose(pick, &content.manifest.body.files, &mut chosen)?;
    }
    let mut restored = Restored::default();
    if let Target::Live { rules, .. } = target {
        spare_logs(&mut chosen, *rules, &mut restored)?;
    }
    let chosen: Vec<&FileEntry> = chosen.into_values().collect();
    let (root, ownership) = match target {
        Target::Live { set, rules, .. } => (set.source.as_path(), !rules.ignore_ownership),
        Target::Directory(directory) => (*directory, false),
    };
    let disk = open_target(root)?;
    let mut stage = Stage::new(disk, root, matches!(target, Target::Directory(_)), ownership);
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

/// Adds the files that `pick` means.
fn choose<'f>(
    pick: &Pick,
    files: &'f [FileEntry],
    chosen: &mut BTreeMap<&'f str, &'f FileEntry>,
) -> Result<(), RestoreError> {
    let named: Vec<&FileEntry> = match &pick.paths {
        None => files.iter().collect(),
        Some(paths) => {
            let entry = |path: &String| files.iter().find(|file| file.path == *path).ok_or_else(|| path.clone());
            let named: Result<_, String> = paths.iter().map(entry).collect();
            named.map_err(|path| RestoreError::NoSuchFile { backup: pick.backup.id, path })?
        }
    };
    for file in named {
        if chosen.insert(&file.path, file).is_some() {
            return Err(RestoreError::Twice(file.path.clone()));
        }
    }
    Ok(())
}

/// Takes out what is never replaced in place, and refuses what is not replaced unasked.
fn spare_logs(
    chosen: &mut BTreeMap<&str, &FileEntry>,
    rules: Rules,
    restored: &mut Restored,
) -> Result<(), RestoreError> {
    if let Some(log) = chosen.keys().find(|path| is_log(path) && !rules.replace_logs) {
        return Err(RestoreError::LiveLog((*log).to_owned()));
    }
    let own = |path: &str| path.rsplit('/').next() == Some(OWN_AUDIT_LOG);
    let spared = chosen.keys().filter(|path| own(path)).map(|path| (*path).to_owned());
    restored.skipped.extend(spared.map(|path| (path, "the audit log is never replaced in place")));
    chosen.retain(|path, _| !own(path));
    Ok(())
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
