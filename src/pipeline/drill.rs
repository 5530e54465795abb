//! Rehearsing a restore.
//!
//! Hazard: a backup that reads back may still not restore, and a rehearsal that always passes proves nothing. A drill
//! restores the backup for real, through the code of a restore, into a scratch directory; reads what is there from the
//! disk and compares it; and shows each time that it would have noticed: a fresh file goes through a backup and back,
//! and damaged copies must be rejected. A drill that cannot fail is a failed drill.
//!
//! It changes nothing outside its scratch directory. That the live files could be replaced is asked of the system and
//! not tried: a file that appears for a moment would wake whoever watches the directory.

mod compare;
mod proof;
mod scratch;

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{Access, AtFlags, StatVfs, accessat, fstatvfs, statfs, statvfs};

use super::restore::{self, Pick, RestoreError};
use super::seen::{SeenFiles, forget_looks};
use super::source::SourceDirectory;
use super::{Cancelled, Progress};
use crate::core::content::Validation;
use crate::repository::catalogue::Backup;
use crate::repository::kept::Kept;
use crate::repository::reserve::MIN_FREE_BYTES;
use crate::repository::wire::{Body, FileEntry};
use crate::repository::{Repository, layout};
use crate::settings::SetSettings;
use crate::source_path::{SourcePath, SourcePathError};
use scratch::Scratch;
pub use scratch::clear;

/// What is asked for.
pub struct Request<'a> {
    /// The set.
    pub set: &'a SetSettings,
    /// The backup to restore.
    pub backup: &'a Backup,
    /// Where to; made and removed.
    pub scratch: &'a Path,
    /// What nobody can know beforehand.
    pub nonce: u128,
    /// The time now.
    pub now: DateTime<Utc>,
}

/// A drill that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drilled {
    /// Files that came back.
    pub files: usize,
    /// Their bytes.
    pub size_bytes: u64,
    /// Live files that look as they did when they were captured, and hold something else: the backup is right, and a new one
    /// is needed.
    pub changed_unseen: Vec<String>,
}

/// Why a drill failed. No live file was touched.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The restore failed.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// What was restored is not what the manifest says.
    #[error("{path} was restored and is not what was backed up: {what}")]
    Different {
        /// The file.
        path: String,
        /// The difference.
        what: &'static str,
    },
    /// What was restored is what was backed up, and helps nobody.
    #[error("{path} was restored and does not parse: {fault}")]
    Invalid {
        /// The file.
        path: String,
        /// Why not.
        fault: String,
    },
    /// A restore in place would fail.
    #[error("the backup can be restored, but not to {}: it cannot be written", .0.display())]
    Target(PathBuf, #[source] io::Error),
    /// A restore in place would be refused.
    #[error("the backup can be restored, but not in place")]
    Source(#[from] SourcePathError),
    /// A restore in place would not fit.
    #[error("{} bytes are needed in {} and {free_bytes} are free", .needed_bytes, .place.display())]
    NoSpace {
        /// Where.
        place: PathBuf,
        /// What a restore takes.
        needed_bytes: u64,
        /// What there is.
        free_bytes: u64,
    },
    /// The scratch directory cannot be used.
    #[error("{action} {}", .path.display())]
    Scratch {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The fresh file did not come back.
    #[error("a fresh file did not come back: {0}")]
    Nonce(&'static str, #[source] Option<Box<dyn Error + Send + Sync>>),
    /// The drill would have passed whatever happened.
    #[error("the drill proves nothing: {0}")]
    CannotFail(&'static str),
    /// The work was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl DrillError {
    /// Whether the backup itself is at fault: damaged, not merely unreadable.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Restore(error) if error.is_damage())
    }

    /// Whether the work was told to stop.
    pub const fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled(_) | Self::Restore(RestoreError::Cancelled(_)))
    }
}

/// Holds restored files against what the manifest says of them: the directory, the files, whether they must parse.
type Compare = fn(&Path, &[FileEntry], Validation, &Progress) -> Result<(), DrillError>;

/// Where drills of this repository restore to.
pub fn scratch_directory(backup_directory: &Path) -> PathBuf {
    backup_directory.join(layout::STATE).join("drill")
}

/// Where drills of encrypted backups restore to: in memory, so that nothing of them is ever written to a disk in the clear.
pub fn scratch_in_memory(repository: &Repository) -> PathBuf {
    Path::new("/dev/shm").join(format!("fiovana-app-drill-{}", repository.id()))
}

/// Whether a backup may be restored below this place: an encrypted one only into memory.
fn require_memory(place: &Path) -> Result<(), DrillError> {
    // TMPFS_MAGIC and RAMFS_MAGIC, statfs(2).
    const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
    let parent = place.parent().unwrap_or(place);
    let failed = |source| DrillError::Scratch {
        action: "restore an encrypted backup, which is done in memory only, to",
        path: place.to_owned(),
        source,
    };
    let filesystem = statfs(parent).map_err(|error| failed(error.into()))?;
    let is_memory = u64::try_from(filesystem.f_type).is_ok_and(|magic| IN_MEMORY.contains(&magic));
    if is_memory { Ok(()) } else { Err(failed(io::Error::other("it is on no tmpfs"))) }
}

/// Restores a backup into the scratch directory, which is gone afterwards.
pub fn drill(repository: &Repository, request: &Request<'_>, progress: &Progress) -> Result<Drilled, DrillError> {
    rehearse(repository, request, progress, compare::compare)
}

fn rehearse(
    repository: &Repository,
    request: &Request<'_>,
    progress: &Progress,
    compare: Compare,
) -> Result<Drilled, DrillError> {
    let backup = request.backup.id;
    let content =
        repository.read_opened_manifest(request.backup).map_err(|source| RestoreError::Manifest { backup, source })?;
    let body = content.manifest.body.as_ref();
    // Every name is read, also where several are names of one file.
    let files = body.into_iter().flat_map(Body::kept).filter_map(Kept::as_file).map(Cow::into_owned);
    let files: Vec<FileEntry> = files.collect();
    let size_bytes = content.manifest.envelope.size_bytes;
    if !content.manifest.envelope.recipients.is_empty() {
        require_memory(request.scratch)?;
    }
    let scratch = Scratch::create(request.scratch)?;
    require_space(request.scratch, size_bytes.saturating_add(MIN_FREE_BYTES))?;
    proof::fresh_file_comes_back(&scratch, request, compare)?;
    restore_and_compare(repository, request, (&files, body), &scratch, progress, compare)?;
    require_writable(&request.set.source, size_bytes)?;
    scratch.remove()?;
    let changed_unseen = changed_unseen(repository, request.set);
    Ok(Drilled { files: files.len(), size_bytes, changed_unseen })
}

/// Live files that a scheduled backup would take for unchanged, and that are not. What is not taken up again is read by the
/// next one.
fn changed_unseen(repository: &Repository, set: &SetSettings) -> Vec<String> {
    // What is wrong with the source has its say when the set is backed up.
    let Ok(source) = SourceDirectory::open(&set.source) else { return vec![] };
    let changed = SeenFiles::load(repository, &set.name).changed_live(&source);
    if !changed.is_empty() {
        forget_looks(repository, &set.name);
    }
    changed
}

fn restore_and_compare(
    repository: &Repository,
    request: &Request<'_>,
    (files, body): (&[FileEntry], Option<&Body>),
    scratch: &Scratch,
    progress: &Progress,
    compare: Compare,
) -> Result<(), DrillError> {
    let restored = scratch.path("restored");
    // A restore takes what is in memory; a rehearsal of one wants to know of the disk.
    repository.drop_cache(files.iter().flat_map(|file| &file.chunks).map(|chunk| &chunk.object));
    // What the scratch directory cannot hold of a file says nothing of the source.
    let rules = restore::Rules { ignore_xattrs: true, ..restore::Rules::default() };
    restore::restore_to(repository, &[Pick::whole(request.backup.clone())], &restored, rules, progress)?;
    compare(&restored, files, request.set.validate, progress)?;
    body.map_or(Ok(()), |body| compare::compare_others(&restored, body))?;
    proof::damaged_file_is_rejected(&restored, files, compare)
}

/// Whether live files could be replaced in a source: asked, not tried.
fn require_writable(source: &SourcePath, needed_bytes: u64) -> Result<(), DrillError> {
    let there = source.open_nearest()?;
    let writable = Access::WRITE_OK | Access::EXEC_OK;
    accessat(&there, ".", writable, AtFlags::EACCESS)
        .map_err(|error| DrillError::Target(there.path().to_owned(), error.into()))?;
    require_free(there.path(), fstatvfs(&there), needed_bytes)
}

fn require_space(place: &Path, needed_bytes: u64) -> Result<(), DrillError> {
    require_free(place, statvfs(place), needed_bytes)
}

fn require_free(place: &Path, filesystem: rustix::io::Result<StatVfs>, needed_bytes: u64) -> Result<(), DrillError> {
    let filesystem = filesystem.map_err(|error| DrillError::Scratch {
        action: "measure free space in",
        path: place.to_owned(),
        source: error.into(),
    })?;
    let free_bytes = filesystem.f_bavail.saturating_mul(filesystem.f_frsize);
    if free_bytes < needed_bytes {
        return Err(DrillError::NoSpace { place: place.to_owned(), needed_bytes, free_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
