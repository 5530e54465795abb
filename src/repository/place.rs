//! What a directory is that is named as the place of a repository.
//!
//! Hazard: `/etc`, named by mistake as the backup directory, would be given 260 directories and an owner; a repository that
//! lost files, taken for an empty place, would be begun anew over its backups. The names that are there decide.

use std::io;
use std::path::Path;

use super::OpenError;
use super::layout::{self, ManifestFile};
use crate::core::printable;
use crate::core::{Digest, SetName};
use crate::storage::{Storage, StorageError};

/// What every filesystem of its kind has at its top (e2fsck(8)).
const LOST_AND_FOUND: &str = "lost+found";
/// A replica inside the backup directory, as the built-in one is.
const REPLICA: &str = "replica";
/// The documents at the top that are rows of generations, `NAME.<n>.json`.
const GENERATIONS: [&str; 5] =
    [layout::TIMELINES, layout::VERIFICATION, layout::AUDIT_HEAD, layout::WRITER, layout::STATUS];
/// So many names of others are told.
const MAX_TOLD: usize = 3;

/// What a directory is to a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing that counts is there.
    Vacant,
    /// A repository, whole or not.
    Ours,
    /// A repository whose creation did not end: nothing was ever stored in it.
    HalfBegun,
    /// A repository that lost its `repository.json`.
    Damaged,
    /// Somebody else's files, the first of them in the order of their names.
    Foreign(Vec<String>),
}

/// What is left of a repository below the names at the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remains {
    /// Nothing, or directories that hold nothing.
    Nothing,
    /// Directories in `manifests`, which others may have made.
    Directories,
    /// Files that a repository alone has: manifests, objects, or instructions without the directories that are made
    /// before them.
    Files,
}

/// What a directory with these names at its top is.
pub fn judge<'a>(names: impl IntoIterator<Item = &'a str>, remains: Remains) -> Place {
    let (mut ours, mut foreign) = (Vec::new(), Vec::new());
    for name in names {
        match name {
            LOST_AND_FOUND => {}
            _ if name.starts_with('.') => {}
            _ if is_ours(name) => ours.push(name),
            _ => foreign.push(name),
        }
    }
    let instructed = ours.contains(&layout::RESTORE_TXT);
    if ours.contains(&layout::REPOSITORY) {
        Place::Ours
    } else if remains == Remains::Files || remains == Remains::Directories && foreign.is_empty() {
        Place::Damaged
    } else if !foreign.is_empty() && !instructed {
        foreign.sort_unstable();
        Place::Foreign(foreign.into_iter().take(MAX_TOLD).map(str::to_owned).collect())
    } else if ours.is_empty() {
        Place::Vacant
    } else {
        Place::HalfBegun
    }
}

/// Whether the format has a file or directory of this name at the top.
fn is_ours(name: &str) -> bool {
    let generation = || {
        let (row, number) = name.strip_suffix(".json")?.split_once('.')?;
        let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        Some(is_number && GENERATIONS.contains(&row))
    };
    let top = [
        layout::REPOSITORY,
        layout::RESTORE_TXT,
        layout::MANIFESTS,
        layout::OBJECTS,
        layout::QUARANTINE,
        layout::STATE,
        layout::LOCK,
        REPLICA,
    ];
    top.contains(&name) || generation().unwrap_or(false)
}

/// What is left of a repository in a place without a `repository.json`.
pub(super) fn remains(storage: &dyn Storage) -> Result<Remains, StorageError> {
    let sets = storage.list_directories(&layout::top(layout::MANIFESTS))?;
    for set in sets.iter().filter_map(|set| set.parse::<SetName>().ok()) {
        let files = storage.list(&layout::manifest_directory(&set))?;
        if files.iter().any(|file| matches!(layout::manifest_file(&file.name), Some(ManifestFile::Manifest(_)))) {
            return Ok(Remains::Files);
        }
    }
    let shards = storage.list_directories(&layout::top(layout::OBJECTS))?;
    for first in 0..=u8::MAX {
        if storage.list(&layout::object_directory(first))?.iter().any(|file| file.name.parse::<Digest>().is_ok()) {
            return Ok(Remains::Files);
        }
    }
    // The instructions are written when all directories are there.
    let is_instructed = storage.read_range(&layout::top(layout::RESTORE_TXT), 0, 1).is_ok();
    Ok(match (is_instructed && shards.len() < 256, sets.is_empty()) {
        (true, _) => Remains::Files,
        (false, false) => Remains::Directories,
        (false, true) => Remains::Nothing,
    })
}

/// Refuses a directory of somebody else's as the place where a repository is to be begun. Nothing is changed there; what
/// cannot be listed is for whoever opens it to tell.
pub fn refuse_foreign(directory: &Path, storage: &dyn Storage) -> Result<(), OpenError> {
    let listed = |error: io::Error| StorageError::new("list", directory.display().to_string(), error);
    let mut names = Vec::new();
    for entry in directory.read_dir().map_err(listed)? {
        names.push(entry.map_err(listed)?.file_name().to_string_lossy().into_owned());
        if names.last().is_some_and(|name| name == layout::REPOSITORY) {
            return Ok(());
        }
    }
    match judge(names.iter().map(String::as_str), remains(storage)?) {
        Place::Foreign(names) => {
            let names = names.iter().map(|name| printable::plain(name).into_owned()).collect::<Vec<_>>().join(", ");
            Err(OpenError::Foreign { location: storage.location(), names })
        }
        Place::Vacant | Place::Ours | Place::HalfBegun | Place::Damaged => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: [&str; 6] = ["RESTORE.txt", "manifests", "objects", "quarantine", "state", "lock"];

    #[test]
    fn a_directory_is_judged_by_the_names_in_it() {
        use Remains::{Directories, Files, Nothing};
        let foreign = |names: &[&str]| Place::Foreign(names.iter().map(|name| (*name).to_owned()).collect());
        let cases: [(&[&str], Remains, Place); 18] = [
            (&[], Nothing, Place::Vacant),
            (&["lost+found"], Nothing, Place::Vacant),
            (&[".snapshots", ".DS_Store", ".tmp-17-0", "lost+found"], Nothing, Place::Vacant),
            (&["repository.json"], Nothing, Place::Ours),
            (&["repository.json", "notes.txt"], Nothing, Place::Ours),
            (&["lock"], Nothing, Place::HalfBegun),
            (&["lock", "manifests"], Nothing, Place::HalfBegun),
            (&WHOLE, Nothing, Place::HalfBegun),
            (&["replica", "timelines.1.json", "status.12.json"], Nothing, Place::HalfBegun),
            (&WHOLE, Files, Place::Damaged),
            (&["objects"], Files, Place::Damaged),
            (&["objects", "notes.txt"], Files, Place::Damaged),
            (&["manifests"], Directories, Place::Damaged),
            (&["RESTORE.txt"], Files, Place::Damaged),
            (&["shadow", "passwd", "hosts", "fstab"], Nothing, foreign(&["fstab", "hosts", "passwd"])),
            (&["lost+found", ".hidden", "x"], Nothing, foreign(&["x"])),
            // A project that has a directory of this name is no repository of ours.
            (&["README.md", "manifests"], Directories, foreign(&["README.md"])),
            (
                &["timelines.json", "timelines.x.json", "lock.1.json"],
                Nothing,
                foreign(&["lock.1.json", "timelines.json", "timelines.x.json"]),
            ),
        ];
        for (names, remains, expected) in cases {
            assert_eq!(judge(names.iter().copied(), remains), expected, "{names:?} {remains:?}");
        }
    }
}
