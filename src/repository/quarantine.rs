//! Damaged bytes, put aside.
//!
//! Hazard: damage that is overwritten cannot be looked into any more, and what was taken for damage by mistake is gone.
//! Nothing damaged is ever deleted: it is kept in quarantine whole, whatever it is by now, with a note that says what it
//! was to be, before anything takes its place.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Repository, StoredFile, WriteError, layout};
use crate::core::Digest;
use crate::core::retention::PlanDigest;
use crate::storage::{Durability, Freed, Put, StorageError, StorageErrorKind, StoragePath};

/// How the names of notes end.
const NOTE: &str = ".note.json";

/// The most files of one second and place that are told apart.
const MAX_NAMESAKES: u32 = 1000;

/// The note beside damaged bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// When they were put aside.
    pub when: DateTime<Utc>,
    /// Where they were: a path in the repository.
    pub place: String,
    /// What was wrong with them.
    pub fault: String,
    /// The SHA-256 of the right bytes, where they were known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected_sha256: Option<String>,
    /// Where the right bytes came from; none: they could not be had.
    pub healed_from: Option<String>,
}

/// What is in quarantine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quarantined {
    /// The files, notes among them, by name.
    files: BTreeMap<String, u64>,
    /// How many directories there are: what was where a file should have been.
    directories: usize,
}

impl Quarantined {
    /// How many files and directories, notes aside.
    pub fn count(&self) -> usize {
        self.directories + self.names().count()
    }

    /// The bytes of the files, notes aside.
    pub fn bytes(&self) -> u64 {
        self.files.iter().filter(|(name, _)| !name.ends_with(NOTE)).map(|(_, bytes)| bytes).sum()
    }

    /// The names of the files, notes aside.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str).filter(|name| !name.ends_with(NOTE))
    }

    /// What clearing exactly this is confirmed by; none if there is no file.
    pub fn digest(&self) -> Option<PlanDigest> {
        self.names().next()?;
        Some(PlanDigest::of(self.files.iter().map(|(name, bytes)| format!("{name} {bytes}"))))
    }
}

impl Repository {
    /// Keeps whatever is at the place of a stored file in quarantine, and puts the right bytes in its place. After an
    /// error, or a crash, the place is as it was, or right; only what is no plain file, or larger than any file there can
    /// be, has to be moved away first.
    pub fn mend(&self, file: &StoredFile, right: &[u8], note: &Note) -> Result<(), WriteError> {
        let path = file.path();
        self.require_format_of(file)?;
        match self.storage.read(&path, file.limit_bytes()) {
            Ok(damaged) => self.quarantine(&path, note, |aside| {
                self.storage.put_new(aside, &damaged)?;
                Ok(())
            })?,
            Err(error) => match error.kind {
                StorageErrorKind::NotFound => {}
                StorageErrorKind::TooLarge | StorageErrorKind::WrongType => self.move_aside(&path, note)?,
                _ => return Err(error.into()),
            },
        }
        self.storage.replace(&path, right, Durability::Durable)?;
        self.adopt(file, right);
        Ok(())
    }

    /// Moves a damaged object to quarantine whose right bytes cannot be had, with all its files, so that a new backup can
    /// write it again.
    pub fn condemn_object(&self, name: &Digest, note: &Note) -> Result<(), WriteError> {
        self.files_of_object(name).iter().try_for_each(|path| self.move_aside(path, note))?;
        self.catalogue_mut().remove_objects(&[*name]);
        Ok(())
    }

    fn move_aside(&self, path: &StoragePath, note: &Note) -> Result<(), WriteError> {
        self.quarantine(path, note, |aside| match self.storage.set_aside(path, aside) {
            Err(error) if error.kind == StorageErrorKind::NotFound => Ok(()),
            moved => moved,
        })
    }

    /// Has damaged bytes brought to a name in quarantine that nothing has yet, and leaves a note beside them.
    fn quarantine(
        &self,
        path: &StoragePath,
        note: &Note,
        bring: impl Fn(&StoragePath) -> Result<(), StorageError>,
    ) -> Result<(), WriteError> {
        let document = serde_json::to_vec_pretty(note)?;
        let stamp = note.when.format("%Y%m%dT%H%M%SZ");
        let flat = path.as_str().replace('/', ".");
        let quarantine = layout::top(layout::QUARANTINE);
        let taken = || StorageError::new("name", path.as_str(), std::io::ErrorKind::AlreadyExists.into());
        for number in 0..MAX_NAMESAKES {
            let name = if number == 0 { format!("{stamp}-{flat}") } else { format!("{stamp}-{flat}-{number}") };
            let named = |name: &str| quarantine.join(name).map_err(|_| taken());
            let (aside, beside) = (named(&name)?, named(&format!("{name}{NOTE}"))?);
            if self.storage.put_new(&beside, &document)? == Put::Created {
                return Ok(bring(&aside)?);
            }
        }
        Err(taken().into())
    }

    /// What is in quarantine.
    pub fn quarantined(&self) -> Result<Quarantined, StorageError> {
        let quarantine = layout::top(layout::QUARANTINE);
        let files = self.storage.list(&quarantine)?.into_iter().map(|file| (file.name, file.size_bytes));
        let directories = self.storage.list_directories(&quarantine)?.len();
        Ok(Quarantined { files: files.collect(), directories })
    }

    /// Deletes these files of the quarantine, each before its note. Adds to `freed` what is gone by then, also after an
    /// error.
    pub fn clear_quarantine(&self, these: &Quarantined, freed: &mut Freed) -> Result<(), WriteError> {
        let quarantine = layout::top(layout::QUARANTINE);
        let notes = these.files.keys().map(String::as_str).filter(|name| name.ends_with(NOTE));
        let paths = these.names().chain(notes).filter_map(|name| quarantine.join(name).ok());
        Ok(self.storage.remove_counted(&paths.collect::<Vec<_>>(), freed)?)
    }
}
