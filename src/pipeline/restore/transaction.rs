//! Putting files in place of live ones: all of them, or none.
//!
//! Hazard: between the first rename and the last, an application has files of two times. Before the first, the journal
//! is durable; before a file is replaced, it has a second name beside it, and that too is durable. Until the journal
//! says that the new files stay, going back is one step each ([`super::replacement`]), to the very files that were there,
//! and can be done again after any interruption:
//!
//! | on the disk | means |
//! |---|---|
//! | no journal | nothing was touched: what is staged is removed |
//! | journal | go back: a kept file returns, a new one without an earlier one is removed |
//! | journal that says committed | go on: what was kept is removed |
//! | journal that is damaged | nothing is guessed, nothing is removed, a person is asked |

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RestoreError;
use super::journal::Journal;
use super::replacement::{Fault, Replacement, remove_if_there};
use crate::core::entry_path::path_of;
use crate::storage::disk::Disk;

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
            .each_durably(|change| change.keep())
            .and_then(|()| self.each_durably(|change| change.place()))
            .and_then(|()| self.require(|change| change.is_as_written(), RestoreError::NotAsWritten))
            .and_then(|()| judge(&self.journal))
            .and_then(|()| self.require(|change| change.is_unwritten(), RestoreError::Changed));
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

    /// The changes, each with its files.
    fn replacements(&self) -> impl Iterator<Item = Replacement<'_>> {
        (0..self.journal.changes.len()).map(|number| Replacement::of(self.disk.as_ref(), &self.journal, number))
    }

    fn sync_directories(&self) -> Result<(), (PathBuf, io::Error)> {
        let directory = |replacement: Replacement<'_>| replacement.target.parent().unwrap_or(Path::new("")).to_owned();
        let directories: BTreeSet<PathBuf> = self.replacements().map(directory).collect();
        for directory in &directories {
            match self.disk.sync_directory(directory) {
                // It was made for this, and is gone again.
                Err(error) if error.kind() == ErrorKind::NotFound && self.made().any(|made| made == *directory) => {}
                synced => synced.map_err(|error| (directory.to_owned(), error))?,
            }
        }
        Ok(())
    }

    /// Takes a step of every change, and makes it durable.
    fn each_durably(&self, step: impl Fn(&Replacement<'_>) -> Result<(), Fault>) -> Result<(), RestoreError> {
        for replacement in self.replacements() {
            step(&replacement).map_err(|fault| match fault {
                Fault::Failed(action, error) => self.failed(action, &replacement.target, error),
                Fault::Changed => RestoreError::Changed(self.root.join(&replacement.target)),
            })?;
        }
        self.sync_directories().map_err(|(path, error)| self.failed("sync", &path, error))
    }

    /// What must be so of every change; `otherwise` says of a path that it is not.
    fn require(
        &self,
        holds: impl Fn(&Replacement<'_>) -> io::Result<bool>,
        otherwise: fn(PathBuf) -> RestoreError,
    ) -> Result<(), RestoreError> {
        for replacement in self.replacements() {
            let target = &replacement.target;
            if !holds(&replacement).map_err(|error| self.failed("read", target, error))? {
                return Err(otherwise(self.root.join(target)));
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
        for directory in self.made() {
            // It may have its own mode already, which may forbid what is to come; that then fails, and says so.
            let _ = self.disk.open_directory(&directory).and_then(|mut directory| directory.set_mode(0o700));
        }
        self.each_telling(|replacement| replacement.give_back().map(Vec::from_iter))?;
        // First all is back, then what is beside it goes.
        self.sync_directories().map_err(|(_, error)| error)?;
        self.each_telling(|change| change.clear())?;
        remove_if_there(self.disk.as_ref(), &self.journal.draft_path())?;
        self.sync_directories().map_err(|(_, error)| error)?;
        self.remove_made()
    }

    /// The directories that were made for this.
    fn made(&self) -> impl Iterator<Item = PathBuf> {
        self.journal.directories.iter().map(|path| path_of(path))
    }

    /// Takes them away again, the deepest first; one with something in it is somebody's by now.
    fn remove_made(&self) -> io::Result<()> {
        for directory in self.made().collect::<Vec<_>>().into_iter().rev() {
            match self.disk.remove_directory(&directory) {
                Ok(()) => self.disk.sync_directory(directory.parent().unwrap_or(Path::new("")))?,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a step of every change, and notes the files that it set aside.
    fn each_telling(&mut self, step: impl Fn(&Replacement<'_>) -> io::Result<Vec<PathBuf>>) -> io::Result<()> {
        let mut set_aside = Vec::new();
        let result = self.replacements().try_for_each(|replacement| {
            set_aside.extend(step(&replacement)?);
            Ok(())
        });
        self.set_aside.extend(set_aside.into_iter().map(|path| self.root.join(path)));
        result
    }

    /// Ends it: what was kept is removed if the new files stay, then the journal. Tells where earlier files are that were
    /// not backed up, or were written to since.
    pub fn close(mut self) -> io::Result<Vec<PathBuf>> {
        if self.journal.committed {
            self.each_telling(|change| change.forget())?;
            // Durable first: without the journal nobody would know them.
            self.sync_directories().map_err(|(_, error)| error)?;
        }
        remove_if_there(self.disk.as_ref(), &self.journal.path())?;
        self.disk.sync_directory(Path::new(""))?;
        Ok(self.set_aside)
    }

    /// What is staged and will not be needed. What cannot be removed harms nobody, and is removed at the next start.
    fn remove_staged(&self) {
        let staged = (0..self.journal.changes.len()).map(|number| self.journal.new_path(number));
        for path in staged.chain([self.journal.draft_path()]) {
            let _ = self.disk.remove_file(&path);
        }
    }
}
