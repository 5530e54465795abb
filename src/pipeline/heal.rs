//! Putting damage right.
//!
//! Hazard: a repair that makes things worse. Nothing is touched before the right bytes are in hand, checked; what was
//! damaged is put aside, never deleted; and a place counts as healed only after it was read again. The caller holds the
//! write lane.

use chrono::{DateTime, Utc};

use super::source::SourceDirectory;
use crate::core::entry_path::path_of;
use crate::core::{ChunkKey, Digest, SetName};
use crate::repository::object::{CHUNK_BYTES, Encoder};
use crate::repository::wire::Chunk;
use crate::repository::{Note, ReadError, ReadFrom, Repository, StoredFile, WriteError};
use crate::settings::SetSettings;

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
    /// The live file of this path.
    LiveFile(String),
}

impl Remedy {
    /// The kinds of remedies, as metrics and the audit log name them.
    pub const CODES: [&'static str; 3] = ["memory", "replica", "source"];

    /// The kind, as metrics and the audit log name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Copy(_) => "replica",
            Self::LiveFile(_) => "source",
        }
    }
}

impl std::fmt::Display for Remedy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Copy(name) => f.write_str(name),
            Self::LiveFile(path) => write!(f, "the live file {path}"),
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
        if let StoredFile::Object(name) = file {
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
        StoredFile::Repository | StoredFile::Instructions | StoredFile::Pruned(_) | StoredFile::Pin(..) => None,
    }
}

/// The right bytes, and where they came from.
fn remedy(repository: &Repository, file: &StoredFile, pharmacy: &Pharmacy<'_>) -> Option<(Vec<u8>, Remedy)> {
    let copied = pharmacy.copies.iter().find_map(|copy| {
        let bytes = copy.repository.read_stored(file, ReadFrom::Disk).ok()?;
        Some((repository.fitted(file, bytes)?, Remedy::Copy(copy.name.clone())))
    });
    copied.or_else(|| match file {
        StoredFile::Object(name) => from_live_file(repository, name, pharmacy.sets),
        _ => Some((repository.known_bytes(file)?, Remedy::Memory)),
    })
}

/// A piece of a file that an object holds.
struct Piece {
    set: SetName,
    path: String,
    offset: u64,
    chunk: Chunk,
}

/// The object's bytes, made anew from a live file that still has the content.
fn from_live_file(repository: &Repository, name: &Digest, sets: &[SetSettings]) -> Option<(Vec<u8>, Remedy)> {
    pieces(repository, name).into_iter().find_map(|piece| {
        let set = sets.iter().find(|set| set.name == piece.set)?;
        let content = read_piece(set, &piece).filter(|content| ChunkKey::of(content) == piece.chunk.blake3)?;
        let encoded = Encoder::new(None).ok()?.encode(&content).ok()?;
        let path = set.source.real().join(path_of(&piece.path)).display().to_string();
        (encoded.name == *name).then_some((encoded.stored, Remedy::LiveFile(path)))
    })
}

/// Where the object's content was, each file once however many backups say so; the newest backups' word first.
fn pieces(repository: &Repository, name: &Digest) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let catalogue = repository.catalogue();
    let objects = [*name].into();
    for backup in catalogue.needing(&objects) {
        let files = backup.content.iter().flat_map(|content| content.manifest.files());
        for file in files {
            let Some(chunk) = file.chunks.iter().find(|chunk| chunk.object == *name) else { continue };
            let offset = chunk.at;
            let known = |piece: &Piece| piece.set == backup.set && file.path == piece.path && piece.offset == offset;
            if !pieces.iter().any(known) {
                let (set, path) = (backup.set.clone(), file.path.to_string());
                pieces.push(Piece { set, path, offset, chunk: *chunk });
            }
        }
    }
    pieces.reverse();
    pieces
}

fn read_piece(set: &SetSettings, piece: &Piece) -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let source = SourceDirectory::open(&set.source).ok()?;
    let (file, _) = source.open_file(&piece.path).ok()?.ok()?;
    let mut content = vec![0; usize::try_from(piece.chunk.size_bytes).ok()?.min(CHUNK_BYTES)];
    file.read_exact_at(&mut content, piece.offset).ok()?;
    Some(content)
}
