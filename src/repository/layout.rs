//! Where everything is in a repository.
//!
//! Hazard: two places that spell a path differently lose each other's files. Every path is made here.

use super::generations::Generation;
use crate::core::{BackupId, Digest, SetName};
use crate::storage::StoragePath;

/// So many files for one object are looked at beside the first.
pub const MAX_SECOND_FILES: u32 = 8;

/// The file that makes a directory a repository.
pub const REPOSITORY: &str = "repository.json";
/// How to get files back without this program.
pub const RESTORE_TXT: &str = "RESTORE.txt";
/// The directory of manifests, one directory a set.
pub const MANIFESTS: &str = "manifests";
/// The directory of objects, one directory for each first byte.
pub const OBJECTS: &str = "objects";
/// The directory of damaged bytes.
pub const QUARANTINE: &str = "quarantine";
/// The directory of what can be rebuilt, or must be remembered, between runs.
pub const STATE: &str = "state";
/// The lock file.
pub const LOCK: &str = "lock";

const MANIFEST_ENDING: &str = ".json";
const PIN_ENDING: &str = ".pin";
/// The row of a set's list of what was deleted on purpose.
pub const PRUNED: &str = "pruned";
/// The row of a set's list of pins.
pub const PINS: &str = "pins";
/// The row of the list of timelines.
pub const TIMELINES: &str = "timelines";
/// The row of where the audit chain stood, in a replica; the state file of the same in an original.
pub const AUDIT_HEAD: &str = "audit_head";
/// The row of what is known of the backups of a replica; the beginning of the state files of the same.
pub const VERIFICATION: &str = "verification";
/// The row of how the original of a replica is.
pub const STATUS: &str = "status";
/// The row that says who writes to a replica.
pub const WRITER: &str = "writer";
const PRUNED_OF_FORMAT_1: &str = "pruned.json";
const KEPT_AUDIT: &str = "audit-";
const KEPT_AUDIT_ENDING: &str = ".jsonl";

/// A path whose text is made of constants, hexadecimal digits, ids and set names only.
fn well_formed(text: String) -> StoragePath {
    // Set names, ids and digests consist of storage segments' characters: this cannot fail on any input.
    StoragePath::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// The path that is one of this module's constants.
pub fn top(name: &'static str) -> StoragePath {
    well_formed(name.to_owned())
}

/// The directory of a set's manifests.
pub fn manifest_directory(set: &SetName) -> StoragePath {
    well_formed(format!("{MANIFESTS}/{set}"))
}

/// A manifest.
pub fn manifest(set: &SetName, id: BackupId) -> StoragePath {
    well_formed(format!("{MANIFESTS}/{set}/{id}{MANIFEST_ENDING}"))
}

/// The pin of a backup in format 1: its presence is the pin.
pub fn pin(set: &SetName, id: BackupId) -> StoragePath {
    well_formed(format!("{MANIFESTS}/{set}/{id}{PIN_ENDING}"))
}

/// The list of sequences of a set that were deleted on purpose, in format 1.
pub fn pruned_of_format_1(set: &SetName) -> StoragePath {
    well_formed(format!("{MANIFESTS}/{set}/{PRUNED_OF_FORMAT_1}"))
}

/// A generation of the row `name` in a directory.
pub fn generation(directory: &StoragePath, name: &'static str, generation: Generation) -> StoragePath {
    let separator = if *directory == StoragePath::root() { "" } else { "/" };
    well_formed(format!("{}{separator}{name}.{}.json", directory.as_str(), generation.0))
}

/// The directory of the objects whose names begin with this byte.
pub fn object_directory(first: u8) -> StoragePath {
    well_formed(format!("{OBJECTS}/{first:02x}"))
}

/// An object.
pub fn object(name: &Digest) -> StoragePath {
    well_formed(format!("{OBJECTS}/{:02x}/{name}", name.as_bytes()[0]))
}

/// A second file for an object of which the first is damaged and could not be replaced.
pub fn second_object(name: &Digest, number: u32) -> StoragePath {
    well_formed(format!("{OBJECTS}/{:02x}/{name}.{number}", name.as_bytes()[0]))
}

/// The object that a file in a directory of objects is of, and its number if it is a second file; `None` for anything else.
pub fn object_file(name: &str) -> Option<(Digest, Option<u32>)> {
    match name.split_once('.') {
        None => Some((name.parse().ok()?, None)),
        Some((name, number)) => {
            let number: u32 = number.parse().ok().filter(|n: &u32| n.to_string() == number)?;
            (1..=MAX_SECOND_FILES).contains(&number).then_some((name.parse().ok()?, Some(number)))
        }
    }
}

/// The object whose place in the repository this is; `None` if it is no object's.
pub fn object_name(place: &str) -> Option<Digest> {
    place.strip_prefix(OBJECTS)?.rsplit('/').next()?.parse().ok()
}

/// A state file; `name` is a plain word.
pub fn state(name: &'static str) -> StoragePath {
    well_formed(format!("{STATE}/{name}.json"))
}

/// A set's state file; `name` is a plain word.
pub fn set_state(name: &'static str, set: &SetName) -> StoragePath {
    well_formed(format!("{STATE}/{name}-{set}.json"))
}

/// The set whose state file of this name is called so; `None` for the name of any other.
pub fn set_of_state(name: &'static str, file: &str) -> Option<SetName> {
    file.strip_prefix(name)?.strip_prefix('-')?.strip_suffix(".json")?.parse().ok()
}

/// The file of audit records, from this one on, that could not be written to the log.
pub fn kept_audit(first_seq: u64) -> StoragePath {
    well_formed(format!("{STATE}/{KEPT_AUDIT}{first_seq:020}{KEPT_AUDIT_ENDING}"))
}

/// The number of the first record in such a file; `None` for the name of any other.
pub fn kept_audit_number(name: &str) -> Option<u64> {
    name.strip_prefix(KEPT_AUDIT)?.strip_suffix(KEPT_AUDIT_ENDING)?.parse().ok()
}

/// The file that keeps space back.
pub fn reserve() -> StoragePath {
    well_formed(format!("{STATE}/reserve"))
}

/// What a file in a set's manifest directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestFile {
    /// The manifest of this backup.
    Manifest(BackupId),
    /// The pin of this backup.
    Pin(BackupId),
}

/// What the name of a file in a set's manifest directory says; `None` for anything else.
pub fn manifest_file(name: &str) -> Option<ManifestFile> {
    if let Some(id) = name.strip_suffix(MANIFEST_ENDING) {
        id.parse().ok().map(ManifestFile::Manifest)
    } else {
        name.strip_suffix(PIN_ENDING)?.parse().ok().map(ManifestFile::Pin)
    }
}
