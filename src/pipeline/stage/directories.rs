//! Directories that a restore makes.
//!
//! Hazard: a directory that strangers may enter before it has its own mode. What is made is its maker's alone until all that
//! belongs in it is there; and if that fails, it goes again.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keeping::{Keeping, What};
use super::{Stage, not_kept};
use crate::core::entry_path::path_of;
use crate::pipeline::restore::RestoreError;
use crate::repository::wire::{DirectoryEntry, SOURCE_ITSELF};
use crate::storage::disk::{Disk, DiskKind};

/// Those that were made, in a place of their disk's.
pub struct Directories {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) root: PathBuf,
    /// Each after those that it is in; the root is the empty path.
    made: BTreeSet<PathBuf>,
}

impl Directories {
    pub(super) const fn new(disk: Arc<dyn Disk>, root: PathBuf) -> Self {
        Self { disk, root, made: BTreeSet::new() }
    }

    fn failed(&self, action: &'static str, path: &Path, source: io::Error) -> RestoreError {
        RestoreError::Stage { action, path: self.root.join(path), source }
    }

    /// The root was made for this.
    pub fn made_root(&mut self) {
        self.made.insert(PathBuf::new());
    }

    /// Those that were made, but for the root.
    pub fn made(&self) -> impl Iterator<Item = &Path> {
        self.made.iter().map(PathBuf::as_path).filter(|path| *path != Path::new(""))
    }

    /// Makes a directory and those that it is in, as far as they are not there.
    pub(super) fn make(&mut self, path: &Path) -> Result<(), RestoreError> {
        let mut missing: Vec<&Path> = path.ancestors().filter(|above| *above != Path::new("")).collect();
        missing.reverse();
        for path in missing {
            match self.disk.create_directory(path, 0o700) {
                Ok(()) => {
                    self.made.insert(path.to_owned());
                    let above = path.parent().unwrap_or(Path::new(""));
                    self.disk.sync_directory(above).map_err(|error| self.failed("sync", above, error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.require_directory(path)?,
                Err(error) => return Err(self.failed("create the directory", path, error)),
            }
        }
        Ok(())
    }

    fn require_directory(&self, path: &Path) -> Result<(), RestoreError> {
        let there = self.disk.metadata(path).map_err(|error| self.failed("look at", path, error))?;
        let what = match there.kind {
            DiskKind::Directory => return Ok(()),
            DiskKind::Symlink => "a symlink is in its place, and none is followed: move it away first",
            _ => "something else is in its place: move it away first",
        };
        Err(self.failed("make the directory", path, io::Error::other(what)))
    }

    /// Gives those that were made what the backup has of them, the deepest first. Those that were there stay as they are.
    pub fn finish(&self, entries: &[DirectoryEntry], keeping: &mut Keeping) -> Result<(), RestoreError> {
        for entry in entries.iter().rev() {
            let path = place_of(entry);
            if !self.made.contains(&path) {
                keeping.let_go.directories += usize::from(self.differs(entry, &path));
                continue;
            }
            let opened = self.disk.open_directory(&path);
            let mut opened = opened.map_err(|error| self.failed("open the directory", &path, error))?;
            let given = keeping.attribute(opened.as_mut(), &entry.attributes, What::Directory);
            given.map_err(|unkept| not_kept(self.root.join(&path), unkept))?;
            opened.sync().map_err(|error| self.failed("sync", &path, error))?;
        }
        Ok(())
    }

    fn differs(&self, entry: &DirectoryEntry, path: &Path) -> bool {
        let (kept, there) = (&entry.attributes, self.disk.metadata(path));
        there.is_ok_and(|there| (there.mode, there.uid, there.gid) != (kept.mode, kept.uid, kept.gid))
    }

    /// Takes away those that were made and have nothing in them.
    pub(super) fn remove(&self) {
        for path in self.made().collect::<Vec<_>>().into_iter().rev() {
            // One with something in it is somebody's by now.
            let _ = self.disk.remove_directory(path);
        }
    }
}

impl Stage {
    /// Makes the directories that a backup lists, those with nothing in them, too.
    pub fn make_directories(&mut self, entries: &[DirectoryEntry]) -> Result<(), RestoreError> {
        entries.iter().try_for_each(|entry| self.directories.make(&place_of(entry)))
    }
}

/// Where a directory is, below the source.
fn place_of(entry: &DirectoryEntry) -> PathBuf {
    if entry.path == *SOURCE_ITSELF { PathBuf::new() } else { path_of(&entry.path) }
}
