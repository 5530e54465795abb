//! Files on their way to their places.
//!
//! Hazard: a file that is written where it is needed is, for a while, half a file. Each is written beside its target,
//! given its owner, mode and times, and made durable; then all are put in place, one rename each. What was not put in
//! place does not stay.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::Digest as _;

use super::content::{ContentFault, FileSink};
use super::restore::RestoreError;
use crate::core::{BackupId, Digest};
use crate::repository::object::CHUNK_BYTES;
use crate::repository::wire::FileEntry;
use crate::storage::disk::{Disk, DiskFile, DiskKind};

/// How the names of files begin that are on their way to their places; such a file belongs to no set.
pub const STAGED_PREFIX: &str = ".fiovana-restore-";

/// The most files that are open and not synced yet, and the threads that sync them.
const MAX_UNSYNCED: usize = 8;

/// Files written beside their targets. What was not put in place is removed when this is dropped.
pub struct Stage {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// Whether the target is a fresh place: nothing is replaced there.
    fresh: bool,
    /// Whether a file whose owner cannot be kept is refused.
    ownership: bool,
    files: Vec<Staged>,
    open: Option<Box<dyn DiskFile>>,
    /// Written whole, not durable yet.
    unsynced: Vec<(PathBuf, Box<dyn DiskFile>)>,
}

struct Staged {
    target: PathBuf,
    temporary: PathBuf,
    sha256: Digest,
    placed: bool,
}

impl Stage {
    /// An empty stage for files below `root`, which is `disk`'s own.
    pub fn new(disk: Arc<dyn Disk>, root: &Path, fresh: bool, ownership: bool) -> Self {
        Self { disk, root: root.to_owned(), fresh, ownership, files: Vec::new(), open: None, unsynced: Vec::new() }
    }

    fn failed(&self, action: &'static str, path: &Path, source: std::io::Error) -> RestoreError {
        RestoreError::Stage { action, path: self.root.join(path), source }
    }

    fn create_parents(&self, path: &Path) -> Result<(), RestoreError> {
        let mut parents: Vec<&Path> = path.ancestors().skip(1).filter(|parent| *parent != Path::new("")).collect();
        parents.reverse();
        for parent in parents {
            match self.disk.create_directory(parent, 0o755) {
                Ok(()) => {
                    let above = parent.parent().unwrap_or(Path::new(""));
                    self.disk.sync_directory(above).map_err(|error| self.failed("sync", above, error))?;
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.failed("create the directory", parent, error)),
            }
        }
        Ok(())
    }

    fn finish(&mut self, file: &FileEntry) -> Result<(), (&'static str, std::io::Error)> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        match open.set_owner(file.uid, file.gid) {
            Err(error) if self.ownership || error.kind() != std::io::ErrorKind::PermissionDenied => {
                return Err(("keep the owner of", error));
            }
            _ => {}
        }
        open.set_mode(file.mode).map_err(|error| ("keep the mode of", error))?;
        for (name, value) in &file.xattrs {
            let value = base16ct::lower::decode_vec(value)
                .map_err(|_| ("keep the extended attributes of", std::io::ErrorKind::InvalidData.into()))?;
            open.set_xattr(name, &value).map_err(|error| ("keep the extended attributes of", error))?;
        }
        let modified = file.modified.timestamp_nanos_opt().unwrap_or(0);
        open.set_modified(modified).map_err(|error| ("keep the modification time of", error))?;
        self.unsynced.push((file.path.clone().into(), open));
        Ok(())
    }

    /// Makes what was written durable, several files at once: the filesystem's journal takes them together.
    pub fn sync(&mut self) -> Result<(), RestoreError> {
        let mut files = std::mem::take(&mut self.unsynced);
        let results: Vec<_> = std::thread::scope(|scope| {
            let syncs = files.iter_mut().map(|(_, file)| scope.spawn(move || file.sync()));
            let syncs: Vec<_> = syncs.collect();
            syncs.into_iter().map(|sync| sync.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        for ((path, _), result) in files.iter().zip(results) {
            result.map_err(|error| self.failed("sync", path, error))?;
        }
        Ok(())
    }

    /// Puts every file in its place, makes that durable, and reads live ones back.
    pub fn replace_all(mut self, safety_backup: Option<BackupId>) -> Result<(), RestoreError> {
        let (disk, root, fresh) = (self.disk.clone(), self.root.clone(), self.fresh);
        let mut directories = std::collections::BTreeSet::new();
        for (replaced, file) in self.files.iter_mut().enumerate() {
            let failed =
                |source| RestoreError::Replace { path: root.join(&file.target), replaced, safety_backup, source };
            if fresh {
                disk.rename_new(&file.temporary, &file.target).map_err(failed)?;
            } else {
                disk.rename_over(&file.temporary, &file.target).map_err(failed)?;
            }
            file.placed = true;
            directories.insert(file.target.parent().unwrap_or(Path::new("")).to_owned());
        }
        let replaced = self.files.len();
        let failed =
            |path: &Path, source| RestoreError::Replace { path: root.join(path), replaced, safety_backup, source };
        for directory in &directories {
            disk.sync_directory(directory).map_err(|error| failed(directory, error))?;
        }
        for file in self.files.iter().filter(|_| !fresh) {
            let found = hash_of(disk.as_ref(), &file.target).map_err(|error| failed(&file.target, error))?;
            if found != file.sha256 {
                let error = std::io::Error::other("what is there now is not what was written");
                return Err(failed(&file.target, error));
            }
        }
        Ok(())
    }
}

fn hash_of(disk: &dyn Disk, path: &Path) -> std::io::Result<Digest> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let read = disk.read_at(path, offset, &mut buffer)?;
        if read == 0 {
            return Ok(Digest::from_bytes(hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.open = None;
        for file in self.files.iter().filter(|file| !file.placed) {
            // What cannot be removed is a stray file beside the live one, and harms nobody.
            let _ = self.disk.remove_file(&file.temporary);
        }
    }
}

impl FileSink for Stage {
    type Error = RestoreError;

    fn begin(&mut self, file: &FileEntry) -> Result<(), RestoreError> {
        let target = PathBuf::from(&file.path);
        self.create_parents(&target)?;
        match self.disk.metadata(&target) {
            Ok(_) if self.fresh => {
                return Err(self.failed("write", &target, std::io::ErrorKind::AlreadyExists.into()));
            }
            Ok(there) if there.kind != DiskKind::File => {
                let error = std::io::Error::other("what is there is no plain file");
                return Err(self.failed("replace", &target, error));
            }
            _ => {}
        }
        let temporary = target.with_file_name(format!("{STAGED_PREFIX}{:016x}", fastrand::u64(..)));
        // Readable by nobody else until its own permissions are set.
        let open = self.disk.create(&temporary, 0o600).map_err(|error| self.failed("create", &temporary, error))?;
        self.open = Some(open);
        self.files.push(Staged { target, temporary, sha256: file.sha256, placed: false });
        Ok(())
    }

    fn content(&mut self, content: &[u8]) -> Result<(), RestoreError> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        open.write_all(content).map_err(|error| {
            let path = self.files.last().map(|file| file.target.clone()).unwrap_or_default();
            self.failed("write", &path, error)
        })
    }

    fn end(&mut self, file: &FileEntry) -> Result<(), RestoreError> {
        self.finish(file).map_err(|(action, error)| self.failed(action, Path::new(&file.path), error))?;
        if self.unsynced.len() >= MAX_UNSYNCED { self.sync() } else { Ok(()) }
    }

    fn fault(&mut self, file: &FileEntry, fault: ContentFault) -> Result<(), RestoreError> {
        Err(RestoreError::Content { path: file.path.clone(), fault })
    }
}
