//! One live file that is replaced or removed, and brought back.
//!
//! Hazard: between the look at a live file and its replacement somebody puts another in its place, and a rename over it
//! would lose that one. So the new file and the live one are exchanged, in one step; what came out is then the file that
//! was backed up, or everything goes back. Nothing is removed before it is known to be the new file or saved.
//!
//! | at the target | `.new` | `.old` | means |
//! |---|---|---|---|
//! | earlier | new | none or earlier | not replaced |
//! | new | earlier | earlier | replaced |
//! | new | another | earlier | replaced, and another file was put there just before: that one goes back |
//! | none | new | earlier | moved away, where files cannot be exchanged or have a second name |
//! | new | none | earlier | replaced there |
//! | none | earlier | earlier | removed |
//! | new, none before | none | none | added |

use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::journal::{Change, Journal};
use crate::core::entry_path::path_of;
use crate::core::{Digest, Sha256};
use crate::repository::object::CHUNK_BYTES;
use crate::storage::disk::{Disk, DiskKind, FileId};

/// How many files of one name are set aside at most.
const MAX_SET_ASIDE: usize = 100;

/// One change of a journal, and where its files are.
pub(super) struct Replacement<'a> {
    disk: &'a dyn Disk,
    change: &'a Change,
    /// Where the live file is.
    pub(super) target: PathBuf,
    new: PathBuf,
    old: PathBuf,
    /// Where a file goes for which no better name is free.
    spare: PathBuf,
}

/// Why a file was not replaced.
pub(super) enum Fault {
    /// This could not be done.
    Failed(&'static str, io::Error),
    /// The live file is not the one that was backed up.
    Changed,
}

/// `map_err` of an action.
fn failed(action: &'static str) -> impl Fn(io::Error) -> Fault {
    move |error| Fault::Failed(action, error)
}

impl<'a> Replacement<'a> {
    /// Change number `number` of a journal.
    pub(super) fn of(disk: &'a dyn Disk, journal: &'a Journal, number: usize) -> Self {
        let change = &journal.changes[number];
        let (new, old, spare) = (journal.new_path(number), journal.old_path(number), journal.spare_path(number));
        Self { disk, change, target: path_of(&change.target), new, old, spare }
    }

    /// Gives the earlier file a second name, and looks whether it is the one that was backed up. To be made durable.
    pub(super) fn keep(&self) -> Result<(), Fault> {
        if !self.change.replaces {
            return Ok(());
        }
        if let Err(error) = self.disk.link(&self.target, &self.old) {
            // Its place is empty until the new file is there.
            self.disk.rename_new(&self.target, &self.old).map_err(|_| Fault::Failed("keep", error))?;
        }
        self.is_saved(&self.old).map_err(failed("read"))?.then_some(()).ok_or(Fault::Changed)
    }

    /// Puts the new file there. To be made durable.
    pub(super) fn place(&self) -> Result<(), Fault> {
        match (self.change.new, self.change.replaces) {
            (Some(_), true) => self.replace(),
            (Some(_), false) => self.disk.rename_new(&self.new, &self.target).map_err(failed("write")),
            (None, true) => match self.disk.rename_new(&self.target, &self.new) {
                Ok(()) => self.require_earlier(&self.new),
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                Err(error) => Err(Fault::Failed("remove", error)),
            },
            (None, false) => Ok(()),
        }
    }

    fn replace(&self) -> Result<(), Fault> {
        match self.disk.exchange(&self.new, &self.target) {
            Ok(()) => self.require_earlier(&self.new),
            // It was moved when it was kept, or somebody removed it since.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.disk.rename_new(&self.new, &self.target).map_err(failed("replace"))
            }
            Err(error) if error.kind() == ErrorKind::Unsupported => self.move_away_and_replace(),
            Err(error) => Err(Fault::Failed("replace", error)),
        }
    }

    /// For filesystems without exchange: the target is empty for a moment.
    fn move_away_and_replace(&self) -> Result<(), Fault> {
        let kept = self.id_of(&self.old).map_err(failed("look at"))?;
        match self.id_of(&self.target).map_err(failed("look at"))? {
            None => return self.disk.rename_new(&self.new, &self.target).map_err(failed("replace")),
            // What was kept was moved; this came since.
            there if there != kept => return Err(Fault::Changed),
            _ => {}
        }
        self.remove(&self.old).map_err(failed("replace"))?;
        self.disk.rename_new(&self.target, &self.old).map_err(failed("keep"))?;
        let moved = self.id_of(&self.old).map_err(failed("look at"))?;
        if moved != kept && !self.is_known_saved(&self.old).map_err(failed("read"))? {
            return Err(Fault::Changed);
        }
        // Before the new file has that name, the earlier one must have its own for good.
        self.sync_directory().map_err(failed("sync"))?;
        self.disk.rename_new(&self.new, &self.target).map_err(failed("replace"))
    }

    /// What was displaced is the file that was kept; or, where one file has a number for each name, what was saved of it.
    fn require_earlier(&self, displaced: &Path) -> Result<(), Fault> {
        let id = self.id_of(displaced).map_err(failed("look at"))?;
        let is_kept = id == self.id_of(&self.old).map_err(failed("look at"))?;
        (is_kept || self.is_known_saved(displaced).map_err(failed("read"))?).then_some(()).ok_or(Fault::Changed)
    }

    /// Whether the target reads as it should now.
    pub(super) fn is_as_written(&self) -> io::Result<bool> {
        match self.change.new {
            Some(_) => self.is_new(&self.target),
            None => Ok(self.id_of(&self.target)?.is_none()),
        }
    }

    /// Whether nobody wrote to the earlier file, which some program may still have open, after it was backed up.
    pub(super) fn is_unwritten(&self) -> io::Result<bool> {
        if self.change.replaces { self.is_saved(&self.old) } else { Ok(true) }
    }

    /// Puts back what was there. May be done again. To be made durable, before [`Replacement::clear`]. Tells where a file
    /// is that somebody else wrote.
    pub(super) fn give_back(&self) -> io::Result<Option<PathBuf>> {
        if !self.change.replaces {
            return self.take_back_added().map(|()| None);
        }
        let (Some(earlier), there) = (self.id_of(&self.old)?, self.id_of(&self.target)?) else {
            // Nothing was touched yet, or all is done.
            return Ok(None);
        };
        let staged = self.id_of(&self.new)?;
        let is_displaced = staged.is_some_and(|id| id == earlier) || staged.is_some() && !self.is_new(&self.new)?;
        match there {
            // With the same file under both names there is nothing to tell.
            Some(there) if there == earlier => Ok(None),
            None if is_displaced => self.disk.rename_new(&self.new, &self.target).map(|()| None),
            None => self.disk.rename_new(&self.old, &self.target).map(|()| None),
            Some(_) if is_displaced => self.exchange_back(),
            // It waits to be put there: whatever is there is not ours.
            Some(_) if staged.is_some() => Ok(None),
            Some(_) => self.move_back(),
        }
    }

    /// Exchanges what is at the target for what was there. What comes out is looked at when all is back.
    fn exchange_back(&self) -> io::Result<Option<PathBuf>> {
        match self.disk.exchange(&self.new, &self.target) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                let set_aside = self.set_aside(&self.target)?;
                self.sync_directory()?;
                self.disk.rename_new(&self.new, &self.target).map(|()| Some(set_aside))
            }
            exchanged => exchanged.map(|()| None),
        }
    }

    /// Moves what is at the target away, and the earlier file there.
    fn move_back(&self) -> io::Result<Option<PathBuf>> {
        let set_aside = match self.is_new(&self.target)? {
            true => self.disk.rename_new(&self.target, &self.new).map(|()| None)?,
            false => Some(self.set_aside(&self.target)?),
        };
        self.sync_directory()?;
        self.disk.rename_new(&self.old, &self.target).map(|()| set_aside)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory(self.target.parent().unwrap_or(Path::new("")))
    }

    /// A file that was not there before is taken away, if it is the one that was put there.
    fn take_back_added(&self) -> io::Result<()> {
        if self.change.new.is_some() && self.id_of(&self.new)?.is_none() {
            match self.disk.rename_new(&self.target, &self.new) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                moved => moved?,
            }
        }
        if self.id_of(&self.new)?.is_some() && !self.is_new(&self.new)? {
            self.disk.rename_new(&self.new, &self.target)?;
        }
        Ok(())
    }

    /// After [`Replacement::give_back`]: leaves nothing beside the target. Tells where files are that somebody else wrote.
    pub(super) fn clear(&self) -> io::Result<Vec<PathBuf>> {
        self.clear_names(|path| Ok(self.is_new(path)? || self.is_known_saved(path)?))
    }

    /// When the new file stays: the same, for the earlier one; one that was not backed up, or was written to since, is kept.
    pub(super) fn forget(&self) -> io::Result<Vec<PathBuf>> {
        let did_not_grow = |path: &Path| self.change.old_bytes.is_none_or(|saved| self.size_of(path) == Some(saved));
        self.clear_names(|path| Ok(self.is_known_saved(path)? && did_not_grow(path)))
    }

    /// Removes the names beside the target that need not stay; the one that says that there is something to give back last.
    fn clear_names(&self, need_not_stay: impl Fn(&Path) -> io::Result<bool>) -> io::Result<Vec<PathBuf>> {
        let (at_new, at_old, there) = (self.id_of(&self.new)?, self.id_of(&self.old)?, self.id_of(&self.target)?);
        let mut set_aside = Vec::new();
        for (name, id, others) in [(&self.new, at_new, [there, at_old]), (&self.old, at_old, [there, None])] {
            match id {
                None => {}
                Some(_) if others.contains(&id) || need_not_stay(name)? => self.remove(name)?,
                Some(_) => set_aside.push(self.set_aside(name)?),
            }
        }
        Ok(set_aside)
    }

    /// Gives a file that is not ours a name beside the target.
    fn set_aside(&self, from: &Path) -> io::Result<PathBuf> {
        let name = self.target.file_name().unwrap_or_default().to_owned();
        let numbered = |number: usize| {
            let mut name = name.clone();
            name.push(".changed-during-restore");
            if number > 1 {
                name.push(format!("-{number}"));
            }
            self.target.with_file_name(name)
        };
        for aside in (1..=MAX_SET_ASIDE).map(numbered).chain([self.spare.clone()]) {
            match self.disk.rename_new(from, &aside) {
                Ok(()) => return Ok(aside),
                Err(error) if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::InvalidFilename) => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    /// Whether this is the new file.
    fn is_new(&self, path: &Path) -> io::Result<bool> {
        Ok(self.change.new.is_some() && self.hash_of(path)? == self.change.new)
    }

    /// Whether the content is what was backed up, or grew from it where it may; true of a file that could not be read then.
    fn is_saved(&self, path: &Path) -> io::Result<bool> {
        Ok(self.change.old.is_none() || self.is_known_saved(path)?)
    }

    fn is_known_saved(&self, path: &Path) -> io::Result<bool> {
        let length = self.change.old_bytes.unwrap_or(u64::MAX);
        Ok(self.change.old.is_some() && self.hash_of_beginning(path, length)? == self.change.old)
    }

    fn id_of(&self, path: &Path) -> io::Result<Option<FileId>> {
        match self.disk.metadata(path) {
            Ok(found) => Ok(Some(found.file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn size_of(&self, path: &Path) -> Option<u64> {
        self.disk.metadata(path).ok().map(|found| found.size_bytes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        remove_if_there(self.disk, path)
    }

    /// The hash of a plain file, or what tells a symlink; none of anything else.
    fn hash_of(&self, path: &Path) -> io::Result<Option<Digest>> {
        self.hash_of_beginning(path, u64::MAX)
    }

    /// The hash of at most the first `length` bytes of a plain file, or what tells a symlink; none of anything else.
    fn hash_of_beginning(&self, path: &Path, length: u64) -> io::Result<Option<Digest>> {
        match self.disk.metadata(path) {
            Ok(found) if found.kind == DiskKind::File => {}
            Ok(found) if found.kind == DiskKind::Symlink => {
                return Ok(Some(Digest::of_symlink(self.disk.read_link(path)?.as_os_str().as_bytes())));
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(_) | Err(_) => return Ok(None),
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        loop {
            let wanted = usize::try_from(length - offset).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let read = if wanted == 0 { 0 } else { self.disk.read_at(path, offset, &mut buffer[..wanted])? };
            if read == 0 {
                return Ok(Some(hasher.finish()));
            }
            hasher.update(&buffer[..read]);
            offset += read as u64;
        }
    }
}

/// Removes a file; one that is not there is no error.
pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
