//! Putting damage right.
//!
//! Hazard: a repair that makes things worse. Nothing is touched before the right bytes are in hand, checked; what was
//! damaged is put aside, never deleted; and a place counts as healed only after it was read again. The caller holds the
//! write lane.

mod rebuild;

use chrono::{DateTime, Utc};

use crate::core::Digest;
use crate::repository::{Note, ReadError, ReadFrom, Repository, StoredFile, WriteError};
use crate::settings::SetSettings;
use rebuild::holds_something;
pub use rebuild::rebuild;

/// Another place that may hold the right bytes: a replica, or for a replica the repository.
pub struct Copy<'a> {
    /// Its name, for notes and records: `replica backup-disk`.
    pub name: String,
    /// What is there.
    pub repository: &'a Repository,
}

/// Where right bytes came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The document was known by heart.
    Memory,
    /// A replica, or for a replica the repository; its name.
    Copy(String),
    /// The live file of this path; and for the rest of a pack, what is left of it.
    LiveFile(String),
    /// What is left of it, here and in second files.
    Itself,
}

impl Remedy {
    /// The kinds of remedies, as metrics and the audit log name them.
    pub const CODES: [&'static str; 4] = ["memory", "replica", "source", "itself"];

    /// The kind, as metrics and the audit log name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Copy(_) => "replica",
            Self::LiveFile(_) => "source",
            Self::Itself => "itself",
        }
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Copy(name) => f.write_str(name),
            Self::LiveFile(path) => write!(f, "the live file {path}"),
            Self::Itself => f.write_str("what is left of it"),
        }
    }
}

/// What became of a place.
#[derive(Debug)]
pub enum Healing {
    /// Nothing is wrong with it: it was healed meanwhile.
    Sound,
    /// It is not to be there any more: it was deleted on purpose since it was found.
    Deleted,
    /// It is right again, with bytes from there.
    Healed(Remedy),
    /// The right bytes are nowhere to be had. What is still there is in quarantine, or, where its presence says more
    /// than its absence would, in its place.
    Lost,
    /// It cannot be read, or what was written does not read back: why.
    Failed(String),
}

/// What healing may draw upon.
pub struct Pharmacy<'a> {
    /// Other places, the best first.
    pub copies: &'a [Copy<'a>],
    /// The sets whose live files may hold the content still.
    pub sets: &'a [SetSettings],
}

/// Heals one place of a repository, if anything is wrong with it.
pub fn heal(
    repository: &Repository,
    file: &StoredFile,
    pharmacy: &Pharmacy<'_>,
    now: DateTime<Utc>,
) -> Result<Healing, WriteError> {
    // Whoever deletes holds the write lane, too: what is expected now is so until this is done.
    if !repository.expects(file) {
        return Ok(Healing::Deleted);
    }
    let fault = match repository.read_stored(file, ReadFrom::Disk) {
        Ok(bytes) => {
            // Absent when the repository was opened, and back since.
            repository.welcome(file, &bytes);
            return Ok(Healing::Sound);
        }
        Err(ReadError::Unreadable(place, error)) => return Ok(Healing::Failed(format!("{place}: {}", error.source))),
        Err(error @ ReadError::NoIdentity(_)) => return Ok(Healing::Failed(error.to_string())),
        Err(ReadError::Absent(_)) => "absent".to_owned(),
        Err(ReadError::Damaged(_, fault)) => fault,
    };
    let place = file.path().to_string();
    let note = Note { when: now, place, fault, expected_sha256: expected(repository, file), healed_from: None };
    let Some((right, remedy)) = remedy(repository, file, pharmacy) else {
        // A damaged pack stays where it is for what can still be read from it.
        if let StoredFile::Object(name) = file
            && !holds_something(repository, name)
        {
            repository.condemn_object(name, &note)?;
        }
        return Ok(Healing::Lost);
    };
    let note =
        Note { expected_sha256: Some(Digest::of(&right).to_string()), healed_from: Some(remedy.to_string()), ..note };
    repository.mend(file, &right, &note)?;
    Ok(match repository.read_stored(file, ReadFrom::Disk) {
        Ok(_) => Healing::Healed(remedy),
        Err(error) => Healing::Failed(format!("what was written does not read back: {error}")),
    })
}

fn expected(repository: &Repository, file: &StoredFile) -> Option<String> {
    match file {
        StoredFile::Object(name) => Some(name.to_string()),
        StoredFile::Manifest(_, id) => Some(repository.catalogue().get(*id)?.digest()?.to_string()),
        _ => None,
    }
}

/// The right bytes, and where they came from.
fn remedy(repository: &Repository, file: &StoredFile, pharmacy: &Pharmacy<'_>) -> Option<(Vec<u8>, Remedy)> {
    // A second file may be right.
    if let StoredFile::Object(name) = file
        && let Ok(right) = repository.read_object(name, ReadFrom::Disk)
    {
        return Some((right, Remedy::Itself));
    }
    let copied = pharmacy.copies.iter().find_map(|copy| {
        let theirs = copy.repository.counterpart(file)?;
        let bytes = copy.repository.read_stored(&theirs, ReadFrom::Disk).ok()?;
        Some((repository.fitted(file, (&theirs, bytes))?, Remedy::Copy(copy.name.clone())))
    });
    copied.or_else(|| match file {
        StoredFile::Object(name) => rebuild(repository, name, pharmacy.copies, pharmacy.sets),
        _ => Some((repository.known_bytes(file)?, Remedy::Memory)),
    })
}
