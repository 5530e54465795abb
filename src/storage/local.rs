//! A repository in a directory.
//!
//! Hazard: each step of a write is undone by a power cut until it is synced, in whatever order the disk likes. So a
//! file is written aside (`.tmp-…`, in its own directory), synced, renamed, and the directory synced; a directory made
//! for it is itself synced into the one above before anything in it is promised.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskEntry, DiskFile, DiskKind};
use super::path::is_segment;
use super::real_disk::RealDisk;
use super::syncer::{Pending, Syncer};
use super::{Durability, Freed, Listed, Put, Staged, Storage, StorageError, StorageErrorKind, StoragePath};

const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
const TEMPORARY: &str = ".tmp-";

/// Syncs at once. Of 1 to 8, 4 published 1000 objects of 170 KiB fastest on ext4: in a third of the time that one
/// after another took.
const SYNCER_THREADS: usize = 4;

/// A directory that holds a repository.
pub struct Local {
    disk: Arc<dyn Disk>,
    location: String,
    /// How the names of our temporary files begin: not those of another process, living or dead.
    temporary_prefix: String,
    temporaries: AtomicU64,
    /// Its clones count the files that are staged and neither published nor discarded.
    staged: Arc<()>,
    syncer: Syncer,
    /// Directories in which we made directories that are not synced yet.
    unsynced_parents: Mutex<BTreeSet<String>>,
}

/// How far the content of a staged file is on its way to the disk.
pub(super) struct StagedContent {
    sync: StagedSync,
    _counted: Arc<()>,
}

enum StagedSync {
    /// Still in our hands: a file that is alone is synced by whoever publishes it.
    InHand(Box<dyn DiskFile>),
    Begun(Pending),
}

impl Local {
    /// The repository in the directory `root`, which must exist.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        let failed = |error| StorageError::new("open", root.display().to_string(), error);
        let location = root.canonicalize().map_err(failed)?.display().to_string();
        let disk = Arc::new(RealDisk::open(root).map_err(failed)?);
        Ok(Self::with_syncer(disk, location, Syncer::start(SYNCER_THREADS)))
    }

    /// The repository on `disk`, for tests: everything is done by the calling thread, in the same order each time.
    pub fn on(disk: Arc<dyn Disk>, location: String) -> Self {
        Self::with_syncer(disk, location, Syncer::start(0))
    }

    pub(super) fn with_syncer(disk: Arc<dyn Disk>, location: String, syncer: Syncer) -> Self {
        Self {
            disk,
            location,
            temporary_prefix: format!("{TEMPORARY}{}-{:016x}-", process::id(), fastrand::u64(..)),
            temporaries: AtomicU64::new(0),
            staged: Arc::new(()),
            syncer,
            unsynced_parents: Mutex::default(),
        }
    }

    /// The failure of `action` at `path`, for `map_err`.
    fn failed(&self, action: &'static str, path: &str) -> impl Fn(io::Error) -> StorageError {
        let path = if path.is_empty() { self.location.clone() } else { format!("{}/{path}", self.location) };
        move |error| StorageError::new(action, path.clone(), error)
    }

    /// Writes `bytes` to a temporary file beside `path`. If that fails, nothing is left of it.
    fn write_aside(&self, path: &StoragePath, bytes: &[u8]) -> Result<(String, Box<dyn DiskFile>), StorageError> {
        let number = self.temporaries.fetch_add(1, Ordering::Relaxed);
        let directory = directory_of(path);
        let temporary = in_directory(directory, &format!("{}{number}", self.temporary_prefix));
        let create = || self.disk.create(Path::new(&temporary), FILE_MODE);
        let mut file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !directory.is_empty() => {
                self.make_directories(directory)?;
                create()
            }
            created => created,
        }
        .map_err(self.failed("create", path.as_str()))?;
        match file.write_all(bytes) {
            Ok(()) => Ok((temporary, file)),
            Err(error) => {
                self.drop_temporary(&temporary);
                Err(self.failed("write", path.as_str())(error))
            }
        }
    }

    /// Best effort: what stays is cleared after the next start.
    fn drop_temporary(&self, temporary: &str) {
        let _ = self.disk.remove_file(Path::new(temporary));
    }

    /// Makes what is missing of `directory` and those above it. Nobody sees one of them before it is noted as unsynced.
    fn make_directories(&self, directory: &str) -> Result<(), StorageError> {
        let mut unsynced_parents = self.lock_unsynced_parents();
        for (parent, directory) in chain(directory) {
            match self.disk.create_directory(Path::new(directory), DIRECTORY_MODE) {
                Ok(()) => drop(unsynced_parents.insert(parent.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed("create directory", directory)(error)),
            }
        }
        Ok(())
    }

    /// Makes the directories made so far durable. Whoever else is about to promise something in them waits.
    fn sync_made_directories(&self) -> Result<(), StorageError> {
        let mut unsynced_parents = self.lock_unsynced_parents();
        while let Some(parent) = unsynced_parents.first().cloned() {
            self.sync_directory(&parent)?;
            unsynced_parents.remove(&parent);
        }
        Ok(())
    }

    fn lock_unsynced_parents(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unsynced_parents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync_directory(&self, directory: &str) -> Result<(), StorageError> {
        self.disk.sync_directory(Path::new(directory)).map_err(self.failed("sync directory", directory))
    }

    /// Syncs each of these once: the first here, the others meanwhile.
    fn sync_directories(&self, directories: &BTreeSet<&str>) -> Result<(), StorageError> {
        let mut others = directories.iter().copied();
        let Some(first) = others.next() else { return Ok(()) };
        let begun: Vec<(&str, Pending)> = others
            .map(|directory| {
                let (disk, path) = (Arc::clone(&self.disk), directory.to_owned());
                (directory, self.syncer.run(move || disk.sync_directory(Path::new(&path))))
            })
            .collect();
        let mut result = self.sync_directory(first);
        for (directory, pending) in begun {
            result = result.and(pending.wait().map_err(self.failed("sync directory", directory)));
        }
        result
    }

    /// Renames a durable temporary file to its final name, or drops it if there is a file of that name.
    fn show(&self, temporary: &str, path: &StoragePath) -> Result<Put, StorageError> {
        match self.disk.rename_new(Path::new(temporary), Path::new(path.as_str())) {
            Ok(()) => Ok(Put::Created),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.plain_file_bytes("publish", path)?;
                self.drop_temporary(temporary);
                Ok(Put::Existed)
            }
            Err(error) => Err(self.failed("publish", path.as_str())(error)),
        }
    }

    /// The size of the plain file at `path`.
    fn plain_file_bytes(&self, action: &'static str, path: &StoragePath) -> Result<u64, StorageError> {
        let failed = self.failed(action, path.as_str());
        let metadata = self.disk.metadata(Path::new(path.as_str())).map_err(&failed)?;
        if metadata.kind != DiskKind::File {
            let error = failed(io::Error::other("there is something that is not a plain file"));
            return Err(StorageError { kind: StorageErrorKind::WrongType, ..error });
        }
        Ok(metadata.size_bytes)
    }

    /// What is in `directory`; nothing if there is no such directory.
    fn entries(&self, directory: &str) -> Result<Vec<DiskEntry>, StorageError> {
        match self.disk.list(Path::new(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(self.failed("list", directory)),
        }
    }
}

impl Storage for Local {
    fn stage(&self, path: &StoragePath, bytes: &[u8]) -> Result<Staged, StorageError> {
        let counted = Arc::clone(&self.staged);
        let alone = Arc::strong_count(&self.staged) == 2;
        let (temporary, mut file) = self.write_aside(path, bytes)?;
        let sync = match alone {
            true => StagedSync::InHand(file),
            false => StagedSync::Begun(self.syncer.run(move || file.sync())),
        };
        Ok(Staged { path: path.clone(), temporary, content: StagedContent { sync, _counted: counted } })
    }

    fn publish(&self, staged: Vec<Staged>) -> Result<Vec<Put>, StorageError> {
        if staged.is_empty() {
            return Ok(Vec::new());
        }
        let mut durable = Ok(());
        let mut files = Vec::with_capacity(staged.len());
        for Staged { path, temporary, content } in staged {
            durable = durable.and(content.finish().map_err(self.failed("sync", path.as_str())));
            files.push((temporary, path));
        }
        let mut unpublished = files.iter();
        let mut puts = Vec::with_capacity(files.len());
        let shown = durable.and_then(|()| self.sync_made_directories()).and_then(|()| {
            for (temporary, path) in unpublished.clone() {
                puts.push(self.show(temporary, path)?);
                unpublished.next();
            }
            Ok(())
        });
        unpublished.for_each(|(temporary, _)| self.drop_temporary(temporary));
        shown?;
        self.sync_directories(&files.iter().map(|(_, path)| directory_of(path)).collect())?;
        Ok(puts)
    }

    fn discard(&self, staged: Vec<Staged>) {
        staged.iter().for_each(|staged| self.drop_temporary(&staged.temporary));
    }

    fn replace(&self, path: &StoragePath, bytes: &[u8], durability: Durability) -> Result<(), StorageError> {
        if durability == Durability::Lazy {
            // In place: no new file, and so no metadata that the next sync of anything would have to wait for.
            match self.disk.overwrite(Path::new(path.as_str()), bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                overwritten => return overwritten.map_err(self.failed("overwrite", path.as_str())),
            }
        }
        let (temporary, mut file) = self.write_aside(path, bytes)?;
        let durable = match durability {
            Durability::Durable => {
                file.sync().map_err(self.failed("sync", path.as_str())).and_then(|()| self.sync_made_directories())
            }
            Durability::Lazy => Ok(()),
        };
        let rename = || self.disk.rename_over(Path::new(&temporary), Path::new(path.as_str()));
        if let Err(error) = durable.and_then(|()| rename().map_err(self.failed("replace", path.as_str()))) {
            self.drop_temporary(&temporary);
            return Err(error);
        }
        match durability {
            Durability::Durable => self.sync_directory(directory_of(path)),
            Durability::Lazy => Ok(()),
        }
    }

    fn set_aside(&self, path: &StoragePath, aside: &StoragePath) -> Result<(), StorageError> {
        let renamed = self.disk.rename_new(Path::new(path.as_str()), Path::new(aside.as_str()));
        renamed.map_err(self.failed("put aside", path.as_str()))?;
        self.sync_directories(&[path, aside].map(directory_of).into())
    }

    fn read(&self, path: &StoragePath, limit_bytes: u64) -> Result<Vec<u8>, StorageError> {
        let mut expected_bytes = self.plain_file_bytes("read", path)?;
        loop {
            if expected_bytes > limit_bytes {
                let why = format!("larger than {limit_bytes} bytes");
                return Err(self.failed("read", path.as_str())(io::Error::new(io::ErrorKind::FileTooLarge, why)));
            }
            // One byte more than expected: only a read that ends before its buffer does has seen the whole file.
            let room = usize::try_from(expected_bytes).unwrap_or(usize::MAX).saturating_add(1);
            let bytes = self.read_range(path, 0, room)?;
            if bytes.len() < room {
                return Ok(bytes);
            }
            // It was replaced by a larger one after we asked for its size.
            expected_bytes = self.plain_file_bytes("read", path)?.max(expected_bytes.saturating_add(1));
        }
    }

    fn read_range(&self, path: &StoragePath, offset: u64, length: usize) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; length];
        let read = self.disk.read_at(Path::new(path.as_str()), offset, &mut bytes);
        bytes.truncate(read.map_err(self.failed("read", path.as_str()))?);
        Ok(bytes)
    }

    fn drop_cache(&self, path: &StoragePath) {
        self.disk.drop_cache(Path::new(path.as_str()));
    }

    fn list(&self, directory: &StoragePath) -> Result<Vec<Listed>, StorageError> {
        let files =
            self.entries(directory.as_str())?.into_iter().filter(|e| e.kind == DiskKind::File && is_segment(&e.name));
        Ok(files.map(|entry| Listed { name: entry.name, size_bytes: entry.size_bytes }).collect())
    }

    fn list_directories(&self, directory: &StoragePath) -> Result<Vec<String>, StorageError> {
        let entries = self.entries(directory.as_str())?.into_iter();
        Ok(entries.filter(|e| e.kind == DiskKind::Directory && is_segment(&e.name)).map(|e| e.name).collect())
    }

    fn remove_counted(&self, paths: &[StoragePath], freed: &mut Freed) -> Result<(), StorageError> {
        let mut directories = BTreeSet::new();
        let mut removed = Ok(());
        for path in paths {
            let bytes = self.disk.metadata(Path::new(path.as_str())).map_or(0, |found| found.size_bytes);
            match self.disk.remove_file(Path::new(path.as_str())) {
                // Absent, but for all we know not durably so; unless there is no directory either.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if self.disk.metadata(Path::new(directory_of(path))).is_ok() {
                        directories.insert(directory_of(path));
                    }
                }
                Err(error) => {
                    removed = Err(self.failed("remove", path.as_str())(error));
                    break;
                }
                Ok(()) => {
                    *freed += Freed { files: 1, bytes };
                    directories.insert(directory_of(path));
                }
            }
        }
        removed.and(self.sync_directories(&directories))
    }

    fn create_directory(&self, directory: &StoragePath) -> Result<(), StorageError> {
        self.make_directories(directory.as_str())?;
        let parents = chain(directory.as_str()).map(|(parent, _)| parent.to_owned());
        self.lock_unsynced_parents().extend(parents);
        self.sync_made_directories()
    }

    fn clear_temporary(&self, directory: &StoragePath) -> Result<usize, StorageError> {
        let mut cleared = 0;
        for directory in ["", directory.as_str()] {
            for entry in self.entries(directory)? {
                let is_ours = entry.name.starts_with(&self.temporary_prefix);
                if entry.kind == DiskKind::File && entry.name.starts_with(TEMPORARY) && !is_ours {
                    let path = in_directory(directory, &entry.name);
                    self.disk.remove_file(Path::new(&path)).map_err(self.failed("remove", &path))?;
                    cleared += 1;
                }
            }
        }
        match self.sync_directory(directory.as_str()) {
            Err(error) if error.kind == StorageErrorKind::NotFound => Ok(cleared),
            synced => synced.map(|()| cleared),
        }
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.disk.free_bytes().map_err(self.failed("measure free space", ""))
    }

    fn total_bytes(&self) -> Result<u64, StorageError> {
        self.disk.total_bytes().map_err(self.failed("measure the disk", ""))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

impl StagedContent {
    /// Makes it durable.
    fn finish(self) -> io::Result<()> {
        match self.sync {
            StagedSync::InHand(mut file) => file.sync(),
            StagedSync::Begun(pending) => pending.wait(),
        }
    }
}

impl fmt::Debug for StagedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.sync {
            StagedSync::InHand(_) => "in hand",
            StagedSync::Begun(_) => "sync begun",
        })
    }
}

/// The directory that `path` is in; empty at the top.
fn directory_of(path: &StoragePath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(directory, _)| directory)
}

fn in_directory(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// From the top down, each directory on the way to `directory`, itself included, after the one that it is in.
fn chain(directory: &str) -> impl Iterator<Item = (&str, &str)> {
    let ends = directory.match_indices('/').map(|(at, _)| at).chain([directory.len()]);
    ends.map(|end| {
        let directory = &directory[..end];
        (directory.rsplit_once('/').map_or("", |(parent, _)| parent), directory)
    })
}
