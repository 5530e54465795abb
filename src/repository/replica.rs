//! A replica: the same repository in another place.
//!
//! Hazard: a path says little about what is there. A disk may not be mounted, may be somebody else's, may hold the
//! original itself. A replica is one only if its `repository.json` names the original's id, in another directory, or, where
//! that file is damaged or lost, if it holds a backup that the original holds; its own lock keeps every other writer out for as long as it is open, and its own lane every other writer in here.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lock::{Lock, LockError};
use super::place::refuse_foreign;
use super::{OpenError, Repository};
use crate::storage::local::Local;
use crate::storage::{Storage, StorageError};

/// A replica that is there, locked.
pub struct Replica {
    path: PathBuf,
    repository: Repository,
    directory: Directory,
    lane: Mutex<()>,
    _lock: Lock,
}

/// A directory, by what it is and not by what it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Directory {
    device: u64,
    inode: u64,
}

/// Why a replica cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// There is no replica there.
    #[error("there is no replica in {}", .0.display())]
    Absent(PathBuf),
    /// The repository there is not a replica of ours.
    #[error("{} is repository {id}, which is another one's: name another directory", path.display())]
    Foreign {
        /// Where.
        path: PathBuf,
        /// What it calls itself.
        id: String,
    },
    /// Something else is there.
    #[error(
        "{} holds files that are no part of a replica ({names}), so none is begun there, and nothing was changed: name a \
         directory that is empty or not there yet, or move them away", path.display()
    )]
    Occupied {
        /// Where.
        path: PathBuf,
        /// The first of them.
        names: String,
    },
    /// There is no directory.
    #[error("{} is no directory: name another, or move it away", .0.display())]
    NoDirectory(PathBuf),
    /// The path leads to the original.
    #[error("{} is the backup directory itself: name another directory", .0.display())]
    Original(PathBuf),
    /// The directory cannot be looked at or made.
    #[error("use {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// Another process uses it, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be opened as a repository.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<StorageError> for ReplicaError {
    fn from(error: StorageError) -> Self {
        Self::Open(error.into())
    }
}

impl Replica {
    /// Opens the replica of `original` at `path`, and locks it.
    pub fn open(path: &Path, original: &Repository) -> Result<Self, ReplicaError> {
        let directory = look(path)?;
        let here = look(Path::new(&original.location())).ok();
        if here == Some(directory) {
            return Err(ReplicaError::Original(path.to_owned()));
        }
        // Looked at before it is locked: nothing is written into what is not ours.
        let storage = storage(path)?;
        let document = match Repository::document_of(storage.as_ref()) {
            Ok(document) if document.id == original.id() => document,
            Ok(document) => return Err(ReplicaError::Foreign { path: path.to_owned(), id: document.id }),
            Err(OpenError::Absent(_)) => return Err(ReplicaError::Absent(path.to_owned())),
            // What it said is known here, if it is ours.
            Err(OpenError::Damaged { .. } | OpenError::Headless(_)) if original.is_related_to(storage.as_ref())? => {
                original.document()
            }
            Err(error) => return Err(error.into()),
        };
        let lock = Lock::acquire(path)?;
        let (repository, _) = Repository::open_as(storage, document, lock.follows_a_crash())?;
        Ok(Self { path: path.to_owned(), repository, directory, lane: Mutex::new(()), _lock: lock })
    }

    /// Begins a replica of `original`, if that is there itself, at `path`: a directory that
    /// holds nothing of others, or is not there while the one above it is.
    pub fn create(path: &Path, original: &Repository) -> Result<Self, ReplicaError> {
        if original.is_vacant() {
            return Err(OpenError::Absent(original.location()).into());
        }
        let failed = |error| ReplicaError::Directory(path.to_owned(), error);
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let storage = storage(path)?;
        refuse_foreign(path, storage.as_ref()).map_err(|error| match error {
            OpenError::Foreign { names, .. } => ReplicaError::Occupied { path: path.to_owned(), names },
            error => error.into(),
        })?;
        let lock = Lock::acquire(path)?;
        original.create_replica(storage)?;
        drop(lock);
        Self::open(path, original)
    }

    /// The repository that it is.
    pub const fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Waits until nobody in this process writes to it, and keeps others waiting until what is returned is dropped. Whoever
    /// writes to a replica holds this.
    pub fn write_lane(&self) -> MutexGuard<'_, ()> {
        self.lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its path still leads to it: a disk that was unmounted, or another in its place, is not it.
    pub fn is_in_place(&self) -> bool {
        look(&self.path).is_ok_and(|directory| directory == self.directory)
    }

    /// Whether it is on the same disk as `other`, as far as the filesystem tells; when in doubt it is.
    pub fn shares_disk_with(&self, other: &Repository) -> bool {
        look(Path::new(&other.location())).map_or(true, |directory| directory.device == self.directory.device)
    }
}

fn look(path: &Path) -> Result<Directory, ReplicaError> {
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(Directory { device: found.dev(), inode: found.ino() }),
        Ok(_) => Err(ReplicaError::NoDirectory(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ReplicaError::Absent(path.to_owned())),
        Err(error) => Err(ReplicaError::Directory(path.to_owned(), error)),
    }
}

fn storage(path: &Path) -> Result<Arc<dyn Storage>, ReplicaError> {
    let open = |error: StorageError| ReplicaError::Directory(path.to_owned(), error.source);
    Ok(Arc::new(Local::open(path).map_err(open)?))
}
