//! Files on their way to their places.
//!
//! Hazard: a file that is written where it is needed is, for a while, half a file. Each is written beside its target,
//! given its owner, mode and times, and made durable; only then can it be put in place, by one rename. What was not put
//! in place does not stay.

mod directories;
mod keeping;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

pub use directories::Directories;
pub use keeping::{Keeping, LetGo, Lost, Rules, is_privileged};
use keeping::{Unkept, What};

use super::content::{ContentFault, FileSink};
use super::restore::{RestoreError, Token};
use crate::core::entry_path::{bytes_of, path_of};
use crate::core::{Digest, EntryPath};
use crate::repository::wire::{Attributes, FileEntry, HardLinkEntry, SymlinkEntry};
use crate::storage::disk::{Disk, DiskFile, DiskKind};

/// How the names of files begin that are on their way to their places; such a file belongs to no set.
pub const STAGED_PREFIX: &str = ".fiovana-restore-";

/// The most files that are open and not synced yet, and the threads that sync them.
const MAX_UNSYNCED: usize = 8;

/// Files written beside their targets. Those that were not handed over are removed when this is dropped.
pub struct Stage {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    token: Token,
    /// Whether nothing may be replaced.
    fresh: bool,
    keeping: Keeping,
    directories: Directories,
    files: Vec<Staged>,
    open: Option<Box<dyn DiskFile>>,
    /// Written whole, not durable yet.
    unsynced: Vec<(usize, Box<dyn DiskFile>)>,
}

/// A file beside its target.
pub struct Staged {
    /// Where it belongs.
    pub target: String,
    /// Where it is.
    pub temporary: PathBuf,
    /// Its hash, or what tells a symlink.
    pub sha256: Digest,
    /// Whether there was a file when this one was written.
    pub replaces: bool,
    mode: u32,
    owner: (u32, u32),
}

impl Stage {
    /// An empty stage for files in a fresh place below `root`, which is `disk`'s own: nothing is replaced there.
    pub fn new(disk: Arc<dyn Disk>, root: &Path, token: Token, rules: Rules) -> Self {
        let (files, unsynced) = (Vec::new(), Vec::new());
        let keeping = Keeping { rules, let_go: LetGo::default() };
        let directories = Directories::new(disk.clone(), root.to_owned());
        Self { disk, root: root.to_owned(), token, fresh: true, keeping, directories, files, open: None, unsynced }
    }

    /// The same for files that will replace live ones.
    pub fn over_live_files(mut self) -> Self {
        self.fresh = false;
        self
    }

    /// The root was made for this.
    pub fn made_root(&mut self) {
        self.directories.made_root();
    }

    /// The directories that were made, but for the root.
    pub fn made(&self) -> impl Iterator<Item = &Path> {
        self.directories.made()
    }

    /// What is staged.
    pub fn files(&self) -> &[Staged] {
        &self.files
    }

    /// Leaves what is staged to somebody else: the directories that were made, and what is to be kept of them.
    pub fn hand_over(mut self) -> (Directories, Keeping) {
        self.files.clear();
        let nothing = Directories::new(self.disk.clone(), self.root.clone());
        let keeping = Keeping { rules: self.keeping.rules, let_go: self.keeping.let_go };
        (std::mem::replace(&mut self.directories, nothing), keeping)
    }

    /// The failure of `action` at `path`, with no live file touched.
    pub fn failed(&self, action: &'static str, path: &Path, source: io::Error) -> RestoreError {
        RestoreError::Stage { action, path: self.root.join(path), source }
    }

    /// Makes a symlink beside its target.
    pub fn symlink(&mut self, link: &SymlinkEntry) -> Result<(), RestoreError> {
        let failed = |stage: &Self, action, error| stage.failed(action, &link.path.to_path(), error);
        let digest = Digest::of_symlink(&bytes_of(&link.target));
        let temporary = self.claim(&link.path, digest, &link.attributes)?;
        let made = self.disk.symlink(&path_of(&link.target), &temporary);
        let mut made = made.map_err(|error| failed(self, "make the symlink", error))?;
        let given = self.keeping.attribute(made.as_mut(), &link.attributes, What::Symlink);
        given.map(drop).map_err(|unkept| not_kept(self.root.join(link.path.to_path()), unkept))
    }

    /// Makes a further name of a file that is staged; whether that can be done here.
    pub fn hard_link(&mut self, link: &HardLinkEntry, digest: Digest) -> Result<bool, RestoreError> {
        let Some(of) = self.files.iter().find(|staged| link.to == staged.target) else { return Ok(false) };
        let (of, attributes) = (of.temporary.clone(), Attributes::default());
        let temporary = self.claim(&link.path, digest, &attributes)?;
        match self.disk.link(&of, &temporary) {
            Ok(()) => Ok(true),
            // link(2): the filesystem has none, or no more of this file.
            Err(error) if is_no_link(&error) => {
                self.files.pop();
                self.keeping.let_go.hard_links += 1;
                Ok(false)
            }
            Err(error) => Err(self.failed("link", &link.path.to_path(), error)),
        }
    }

    /// Sees what is at the place of an entry, and makes the directories that it is in; where to write it meanwhile.
    fn claim(&mut self, path: &EntryPath, sha256: Digest, attributes: &Attributes) -> Result<PathBuf, RestoreError> {
        let target = &*path.to_path();
        self.directories.make(target.parent().unwrap_or(Path::new("")))?;
        let replaces = match self.disk.metadata(target) {
            Ok(_) if self.fresh => return Err(self.failed("write", target, io::ErrorKind::AlreadyExists.into())),
            Ok(there) if !matches!(there.kind, DiskKind::File | DiskKind::Symlink) => {
                return Err(self.failed("replace", target, in_the_way(there.kind)));
            }
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(self.failed("look at", target, error)),
        };
        let temporary = target.with_file_name(self.token.new_name(self.files.len()));
        let (target, owner) = (path.to_string(), (attributes.uid, attributes.gid));
        let mode = attributes.mode;
        self.files.push(Staged { target, temporary: temporary.clone(), sha256, replaces, mode, owner });
        Ok(temporary)
    }

    /// Makes what was written durable, several files at once: the filesystem's journal takes them together.
    pub fn sync(&mut self) -> Result<(), RestoreError> {
        let mut files = std::mem::take(&mut self.unsynced);
        let results: Vec<_> = std::thread::scope(|scope| {
            let syncs = files.iter_mut().map(|(_, file)| scope.spawn(move || file.sync()));
            let syncs: Vec<_> = syncs.collect();
            syncs.into_iter().map(|sync| sync.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        for ((number, _), result) in files.iter().zip(results) {
            let staged = &self.files[*number];
            result.map_err(|error| self.failed("sync", &path_of(&staged.target), error))?;
            self.check_kept(staged)?;
        }
        Ok(())
    }

    /// There are filesystems that take an owner or a mode and keep another.
    fn check_kept(&self, staged: &Staged) -> Result<(), RestoreError> {
        let target = &*path_of(&staged.target);
        let there = self.disk.metadata(&staged.temporary).map_err(|error| self.failed("look at", target, error))?;
        let not_kept = || io::Error::other("the filesystem does not keep it");
        if self.fresh {
            return Ok(());
        }
        if there.mode != staged.mode {
            return Err(self.failed("keep the mode of", target, not_kept()));
        }
        if self.keeping.rules.owner == Lost::Refused && (there.uid, there.gid) != staged.owner {
            return Err(self.failed("keep the owner of", target, not_kept()));
        }
        Ok(())
    }

    /// Puts every file in its fresh place, and makes that durable.
    pub fn place_all(&mut self) -> Result<(), RestoreError> {
        let mut directories = std::collections::BTreeSet::new();
        while let Some(file) = self.files.last() {
            let target = &*path_of(&file.target);
            let failed = |source| RestoreError::Place { path: self.root.join(target), source };
            self.disk.rename_new(&file.temporary, target).map_err(failed)?;
            directories.insert(target.parent().unwrap_or(Path::new("")).to_owned());
            self.files.pop();
        }
        for directory in &directories {
            let failed = |source| RestoreError::Place { path: self.root.join(directory), source };
            self.disk.sync_directory(directory).map_err(failed)?;
        }
        Ok(())
    }
}

/// The refusal of what cannot be kept at a path.
fn not_kept(path: PathBuf, (action, source, flag): Unkept) -> RestoreError {
    match flag {
        Some(flag) => RestoreError::Unkept { action, path, flag, source },
        None => RestoreError::Stage { action, path, source },
    }
}

/// Why something that is there is not replaced.
pub fn in_the_way(kind: DiskKind) -> io::Error {
    io::Error::other(match kind {
        DiskKind::Directory => "a directory is in its place: move it away first",
        _ => "what is in its place is no file: move it away first",
    })
}

/// Whether a file cannot be given a further name here.
fn is_no_link(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        matches!(errno, Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK | Errno::XDEV)
    })
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.open = None;
        for file in &self.files {
            // What cannot be removed is a stray file beside the live one, and harms nobody.
            let _ = self.disk.remove_file(&file.temporary);
        }
        self.directories.remove();
    }
}

impl FileSink for Stage {
    type Error = RestoreError;

    fn begin(&mut self, file: &FileEntry) -> Result<(), RestoreError> {
        let temporary = self.claim(&file.path, file.sha256, &file.attributes)?;
        // Readable by nobody else until its own permissions are set.
        let open = self.disk.create(&temporary, 0o600).map_err(|error| self.failed("create", &temporary, error))?;
        self.open = Some(open);
        Ok(())
    }

    fn content(&mut self, content: &[u8]) -> Result<(), RestoreError> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        open.write_all(content).map_err(|error| {
            let path = self.files.last().map(|file| file.target.clone()).unwrap_or_default();
            self.failed("write", &path_of(&path), error)
        })
    }

    fn hole(&mut self, length: u64) -> Result<(), RestoreError> {
        let Some(open) = self.open.as_mut() else { return Ok(()) };
        open.skip(length).map_err(|error| {
            let path = self.files.last().map(|file| file.target.clone()).unwrap_or_default();
            self.failed("write", &path_of(&path), error)
        })
    }

    fn end(&mut self, file: &FileEntry) -> Result<(), RestoreError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let given = self.keeping.attribute(open.as_mut(), &file.attributes, What::File);
        let mode = given.map_err(|unkept| not_kept(self.root.join(file.path.to_path()), unkept))?;
        if let Some(staged) = self.files.last_mut() {
            staged.mode = mode;
        }
        self.unsynced.push((self.files.len() - 1, open));
        if self.unsynced.len() >= MAX_UNSYNCED { self.sync() } else { Ok(()) }
    }

    fn fault(&mut self, file: &FileEntry, fault: ContentFault) -> Result<(), RestoreError> {
        Err(RestoreError::Content { path: file.path.to_string(), fault })
    }
}
