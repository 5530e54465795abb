//! Putting files in place of live ones: all of them, or none.
//!
//! Hazard: between the first rename and the last, an application has files of two times. Before the first, the journal
//! is durable; before a file is replaced, it has a second name beside it, and that too is durable. Until the journal
//! says that the new files stay, going back is one rename each, to the very files that were there, and can be done
//! again after any interruption:
//!
//! | on the disk | means |
//! |---|---|
//! | no journal | nothing was touched: what is staged is removed |
//! | journal | go back: a kept file returns, a new one without an earlier one is removed |
//! | journal that says committed | go on: what was kept is removed |
//! | journal that is damaged | nothing is guessed, nothing is removed, a person is asked |

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RestoreError;
use super::journal::Journal;
use crate::core::entry_path::path_of;
use crate::core::{Digest, Sha256};
use crate::repository::object::CHUNK_BYTES;
use crate::storage::disk::{Disk, DiskKind};

/// A restore whose journal is in force.
pub struct Transaction {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    journal: Journal,
    /// Files that somebody else wrote meanwhile, and where they are now.
    pub set_aside: Vec<PathBuf>,
}

/// Why the new files could not be made to stay.
enum CommitError {
    /// The journal says so to nobody: going back is still possible.
    Unsaid(io::Error),
    /// It says so, though perhaps not durably: only the next start can tell.
    Unsure(io::Error),
}

impl Transaction {
    /// Writes the journal. If that fails, no live file was touched, and what is staged is not needed.
    pub fn begin(disk: Arc<dyn Disk>, root: &Path, journal: Journal) -> Result<Self, RestoreError> {
        let written = journal.write_draft(disk.as_ref()).and_then(|()| {
            disk.rename_new(&journal.draft_path(), &journal.path())?;
            // Not durable, it must not be there at all.
            disk.sync_directory(Path::new("")).inspect_err(|_| drop(disk.remove_file(&journal.path())))
        });
        let transaction = Self { disk, root: root.to_owned(), journal, set_aside: vec![] };
        match written {
            Ok(()) => Ok(transaction),
            Err(source) => {
                let path = transaction.root.join(transaction.journal.path());
                transaction.remove_staged();
                Err(match source.kind() {
                    ErrorKind::AlreadyExists => RestoreError::Unfinished(path),
                    _ => RestoreError::Stage { action: "write the journal", path, source },
                })
            }
        }
    }

    /// One that an earlier process left.
    pub fn resume(disk: Arc<dyn Disk>, root: &Path, journal: Journal) -> Self {
        Self { disk, root: root.to_owned(), journal, set_aside: vec![] }
    }

    /// What is done, and why.
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Replaces the live files, has them judged by `judge`, and lets them stay; after any failure the earlier files are
    /// back. The journal stays in force until [`Transaction::close`].
    pub fn carry_out(&mut self, judge: impl FnOnce(&Journal) -> Result<(), RestoreError>) -> Result<(), RestoreError> {
        let placed = self
            .keep_earlier()
            .and_then(|()| self.place())
            .and_then(|()| self.prove())
            .and_then(|()| judge(&self.journal));
        let cause = match placed {
            Err(cause) => cause,
            Ok(()) => match self.commit() {
                Ok(()) => return Ok(()),
                Err(CommitError::Unsaid(source)) => self.failed("write the journal", &self.journal.path(), source),
                Err(CommitError::Unsure(source)) => {
                    let cause = Box::new(self.failed("sync the journal", &self.journal.path(), source));
                    let undo = "it may be on the disk already".to_owned();
                    return Err(RestoreError::Unsettled { cause, undo, safety_backup: self.journal.safety_backup });
                }
            },
        };
        let (cause, safety_backup) = (Box::new(cause), self.journal.safety_backup);
        match self.go_back().or_else(|_| self.go_back()) {
            Ok(()) => Err(RestoreError::RolledBack { cause, safety_backup, set_aside: self.set_aside.clone() }),
            Err(undo) => Err(RestoreError::Unsettled { cause, undo: undo.to_string(), safety_backup }),
        }
    }

    fn failed(&self, action: &'static str, path: &Path, source: io::Error) -> RestoreError {
        RestoreError::Replace { action, path: self.root.join(path), source }
    }

    fn target(&self, number: usize) -> PathBuf {
        path_of(&self.journal.changes[number].target)
    }

    fn sync_directories(&self) -> Result<(), (PathBuf, io::Error)> {
        let directories: BTreeSet<PathBuf> = (0..self.journal.changes.len())
            .map(|number| self.target(number).parent().unwrap_or(Path::new("")).to_owned())
            .collect();
        for directory in &directories {
            self.disk.sync_directory(directory).map_err(|error| (directory.to_owned(), error))?;
        }
        Ok(())
    }

    /// Gives every earlier file a second name, durably, and looks whether it is still the one that was backed up.
    fn keep_earlier(&self) -> Result<(), RestoreError> {
        for (number, change) in self.journal.changes.iter().enumerate().filter(|(_, change)| change.replaces) {
            let (target, old) = (&*self.target(number), self.journal.old_path(number));
            // Where a second name cannot be had, the file is moved, and its place is empty for a moment.
            if let Err(error) = self.disk.link(target, &old) {
                self.disk.rename_new(target, &old).map_err(|_| self.failed("keep", target, error))?;
            }
            if let Some(expected) = change.old {
                let length = change.old_bytes.unwrap_or(u64::MAX);
                let found = hash_of_beginning(self.disk.as_ref(), &old, length)
                    .map_err(|error| self.failed("read", target, error))?;
                if found != expected {
                    return Err(RestoreError::Changed(self.root.join(target)));
                }
            }
        }
        self.sync_directories().map_err(|(path, error)| self.failed("sync", &path, error))
    }

    fn place(&self) -> Result<(), RestoreError> {
        for (number, change) in self.journal.changes.iter().enumerate() {
            let (target, new) = (&*self.target(number), self.journal.new_path(number));
            match (change.new, change.replaces) {
                (None, _) => remove_if_there(self.disk.as_ref(), target),
                (Some(_), true) => self.disk.rename_over(&new, target),
                (Some(_), false) => self.disk.rename_new(&new, target),
            }
            .map_err(|error| self.failed(if change.new.is_some() { "replace" } else { "remove" }, target, error))?;
        }
        self.sync_directories().map_err(|(path, error)| self.failed("sync", &path, error))
    }

    /// Reads what is there now.
    fn prove(&self) -> Result<(), RestoreError> {
        for (number, change) in self.journal.changes.iter().enumerate() {
            let target = &*self.target(number);
            let found = match hash_of(self.disk.as_ref(), target) {
                Ok(found) => Some(found),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(self.failed("read", target, error)),
            };
            if found != change.new {
                return Err(RestoreError::NotAsWritten(self.root.join(target)));
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), CommitError> {
        self.journal.committed = true;
        let said = self
            .journal
            .write_draft(self.disk.as_ref())
            .and_then(|()| self.disk.rename_over(&self.journal.draft_path(), &self.journal.path()));
        if let Err(error) = said {
            self.journal.committed = false;
            return Err(CommitError::Unsaid(error));
        }
        self.disk.sync_directory(Path::new("")).map_err(CommitError::Unsure)
    }

    /// Puts the earlier files back, durably; as often as need be.
    pub fn go_back(&mut self) -> io::Result<()> {
        for number in 0..self.journal.changes.len() {
            self.put_back(number)?;
        }
        remove_if_there(self.disk.as_ref(), &self.journal.draft_path())?;
        self.sync_directories().map_err(|(_, error)| error)
    }

    fn put_back(&mut self, number: usize) -> io::Result<()> {
        let disk = self.disk.clone();
        let (target, new, old) = (self.target(number), self.journal.new_path(number), self.journal.old_path(number));
        let change = &self.journal.changes[number];
        let placed = change.new.is_none() || !is_there(disk.as_ref(), &new)?;
        if change.replaces && is_there(disk.as_ref(), &old)? {
            if placed && self.is_foreign(number)? {
                self.set_aside(number)?;
            }
            if placed || !is_there(disk.as_ref(), &target)? {
                disk.rename_over(&old, &target)?;
            }
            // Still there if nothing was replaced yet, or if both are names of one file: then renaming does nothing.
            remove_if_there(disk.as_ref(), &old)?;
        } else if !change.replaces && placed && !self.is_foreign(number)? {
            remove_if_there(disk.as_ref(), &target)?;
        }
        remove_if_there(disk.as_ref(), &new)
    }

    /// Whether the file at a target is neither the new one nor the earlier one: somebody wrote it meanwhile.
    fn is_foreign(&self, number: usize) -> io::Result<bool> {
        let hash = |path: &Path| match hash_of(self.disk.as_ref(), path) {
            Ok(hash) => Ok(Some(hash)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let found = hash(&self.target(number))?;
        Ok(found.is_some()
            && found != self.journal.changes[number].new
            && found != hash(&self.journal.old_path(number))?)
    }

    fn set_aside(&mut self, number: usize) -> io::Result<()> {
        let target = self.target(number);
        let name = format!("{}.changed-during-restore", target.file_name().unwrap_or_default().to_string_lossy());
        let aside = target.with_file_name(name);
        match self.disk.rename_new(&target, &aside) {
            Ok(()) => self.set_aside.push(self.root.join(aside)),
            // The second of its kind, or a name too long: it is lost to the earlier file, as was asked.
            Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidFilename) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Ends it: what was kept is removed if the new files stay, then the journal.
    pub fn close(self) -> io::Result<()> {
        if self.journal.committed {
            for number in 0..self.journal.changes.len() {
                remove_if_there(self.disk.as_ref(), &self.journal.old_path(number))?;
            }
            // Durable first: without the journal nobody would know them.
            self.sync_directories().map_err(|(_, error)| error)?;
        }
        remove_if_there(self.disk.as_ref(), &self.journal.path())?;
        self.disk.sync_directory(Path::new(""))
    }

    /// What is staged and will not be needed. What cannot be removed harms nobody, and is removed at the next start.
    fn remove_staged(&self) {
        let staged = (0..self.journal.changes.len()).map(|number| self.journal.new_path(number));
        for path in staged.chain([self.journal.draft_path()]) {
            let _ = self.disk.remove_file(&path);
        }
    }
}

fn is_there(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    match disk.metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// The hash of a file, or what tells a symlink.
fn hash_of(disk: &dyn Disk, path: &Path) -> io::Result<Digest> {
    hash_of_beginning(disk, path, u64::MAX)
}

/// The hash of at most the first `length` bytes of a file, or what tells a symlink.
fn hash_of_beginning(disk: &dyn Disk, path: &Path, length: u64) -> io::Result<Digest> {
    if disk.metadata(path)?.kind == DiskKind::Symlink {
        return Ok(Digest::of_symlink(disk.read_link(path)?.as_os_str().as_bytes()));
    }
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    loop {
        let wanted = usize::try_from(length - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let read = if wanted == 0 { 0 } else { disk.read_at(path, offset, &mut buffer[..wanted])? };
        if read == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..read]);
        offset += read as u64;
    }
}
