//! Rows of generations: documents that change, and of which no file is ever overwritten.
//!
//! Hazard: a document that is replaced has, for a moment or after damage, one state only. Here a new state is a new file,
//! `NAME.<n>.json`; the highest that verifies counts, and the one before it stays. So the same tree is right on a disk and
//! in a store where nothing can be overwritten.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Repository, WriteError, layout, sealed};
use crate::storage::{Listed, Put, Storage, StorageError, StorageErrorKind, StoragePath};

/// So many of the highest generations of a row are looked at.
const MOST_LOOKED_AT: usize = 1000;

/// How often a number that turns out to be taken is passed over.
const MOST_TAKEN: usize = 100;

/// The number of a generation, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u32);

/// What is known of a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    there: BTreeSet<Generation>,
    counts: Option<Generation>,
}

/// A row that was read.
pub(super) struct ReadRow<T> {
    /// What the generation that counts says.
    pub value: Option<T>,
    /// The row.
    pub row: Row,
    /// What is wrong with those above it, or with all of them.
    pub faults: Vec<String>,
}

impl Row {
    /// Whether there is any generation, whatever it is worth.
    pub fn is_begun(&self) -> bool {
        !self.there.is_empty()
    }

    /// The generation that must be there, and right: the highest.
    pub fn expected(&self) -> Option<Generation> {
        self.there.last().copied()
    }

    /// Takes note that this generation was there.
    pub fn miss(&mut self, generation: Generation) {
        self.there.insert(generation);
    }

    /// Takes note that this generation is there and right.
    pub fn note(&mut self, generation: Generation) {
        self.there.insert(generation);
        self.counts = self.counts.max(Some(generation));
    }

    /// The row when one more generation is known to have been there.
    pub fn with_next_missed(&self) -> Self {
        let mut row = self.clone();
        row.miss(self.next());
        row
    }

    fn next(&self) -> Generation {
        self.there.last().map_or(Generation(1), |highest| Generation(highest.0.saturating_add(1)))
    }
}

/// The generation of the row `name` that a file of this name is.
pub(super) fn number(name: &str, file: &str) -> Option<Generation> {
    let digits = file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".json")?;
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some(Generation(number))
}

/// Reads the row `name` of a directory that holds these files.
pub(super) fn read<T>(
    storage: &dyn Storage,
    directory: &StoragePath,
    name: &'static str,
    files: &[Listed],
    limit_bytes: u64,
    parse: impl Fn(&[u8]) -> Result<T, String>,
) -> ReadRow<T> {
    let there: BTreeSet<Generation> = files.iter().filter_map(|file| number(name, &file.name)).collect();
    let mut read = ReadRow { value: None, row: Row { there, counts: None }, faults: Vec::new() };
    for generation in read.row.there.iter().rev().take(MOST_LOOKED_AT) {
        let path = layout::generation(directory, name, *generation);
        let parsed = match storage.read(&path, limit_bytes) {
            Ok(bytes) if !sealed::is_sealed(&bytes) => Err(sealed::BROKEN.to_owned()),
            Ok(bytes) => parse(&bytes),
            Err(error) => Err(error.source.to_string()),
        };
        match parsed {
            Ok(value) => {
                (read.value, read.row.counts) = (Some(value), Some(*generation));
                break;
            }
            Err(fault) => read.faults.push(format!("{path}: {fault}")),
        }
    }
    read
}

impl Repository {
    /// Writes the next generation of a row, and removes those below the one that counted. What cannot be removed stays for
    /// the next time.
    pub(super) fn write_generation(
        &self,
        directory: &StoragePath,
        name: &'static str,
        row: &Row,
        document: &[u8],
    ) -> Result<Row, WriteError> {
        self.require_format_2()?;
        let (bytes, mut row) = (sealed::seal(document), row.clone());
        let counted = row.counts;
        for _ in 0..MOST_TAKEN {
            let next = row.next();
            let put = self.put_new_at_all_costs(&layout::generation(directory, name, next), &bytes)?;
            row.there.insert(next);
            if put == Put::Created {
                row.counts = Some(next);
                let below: Vec<Generation> =
                    row.there.iter().copied().filter(|there| counted.is_some_and(|counted| *there < counted)).collect();
                let paths: Vec<StoragePath> =
                    below.iter().map(|below| layout::generation(directory, name, *below)).collect();
                if !paths.is_empty() && self.storage.remove(&paths).is_ok() {
                    row.there.retain(|there| !below.contains(there));
                }
                return Ok(row);
            }
        }
        let path = layout::generation(directory, name, row.next()).to_string();
        Err(StorageError::new("write", path, std::io::ErrorKind::AlreadyExists.into()).into())
    }

    fn put_new_at_all_costs(&self, path: &StoragePath, bytes: &[u8]) -> Result<Put, StorageError> {
        match self.storage.put_new(path, bytes) {
            Err(error) if error.kind == StorageErrorKind::NoSpace && self.release_reserve() => {
                self.storage.put_new(path, bytes)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::core::{Position, SetName};
    use crate::repository::encryption::Keys;
    use crate::repository::manifest;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    fn storage(disk: &Simulated) -> Arc<dyn Storage> {
        Arc::new(Local::on(Arc::new(disk.clone()), "simulated".into()))
    }

    /// The generation of the row that counts, where these are right and those are not.
    fn counts(right: &[u32], wrong: &[u32]) -> (Option<u32>, usize) {
        let disk = Simulated::new();
        let document = |content: &str| sealed::seal(content.as_bytes());
        for (numbers, content) in [(right, "{\"a\": 1}"), (wrong, "{\"b\": 1}")] {
            numbers.iter().for_each(|n| disk.write_raw(format!("row.{n}.json"), &document(content)).unwrap());
        }
        let storage = storage(&disk);
        let files = storage.list(&StoragePath::root()).unwrap();
        let parse = |bytes: &[u8]| match bytes.starts_with(b"{\"a\"") {
            true => Ok(()),
            false => Err("it is wrong".to_owned()),
        };
        let read = read(storage.as_ref(), &StoragePath::root(), "row", &files, 1 << 20, parse);
        assert_eq!(read.value.is_some(), read.row.counts.is_some());
        (read.row.counts.map(|counts| counts.0), read.faults.len())
    }

    #[test]
    fn the_highest_generation_that_verifies_counts_among_the_highest_thousand() {
        assert_eq!(counts(&[], &[]), (None, 0));
        assert_eq!(counts(&[1, 2, 10], &[]), (Some(10), 0));
        assert_eq!(counts(&[1, 3], &[2, 4, 5]), (Some(3), 2));
        assert_eq!(counts(&[], &[7]), (None, 1));
        let wrong: Vec<u32> = (2..1001).collect();
        assert_eq!(counts(&[1], &wrong), (Some(1), 999));
        let one_more: Vec<u32> = (2..1002).collect();
        assert_eq!(counts(&[1], &one_more), (None, 1000));
    }

    #[test]
    fn only_the_number_itself_is_one() {
        for (file, expected) in [
            ("pruned.1.json", Some(1)),
            ("pruned.4294967295.json", Some(u32::MAX)),
            ("pruned.0.json", None),
            ("pruned.01.json", None),
            ("pruned.+1.json", None),
            ("pruned.4294967296.json", None),
            ("pruned.json", None),
            ("pins.1.json", None),
        ] {
            assert_eq!(number("pruned", file).map(|number| number.0), expected, "{file}");
        }
    }

    #[test]
    fn each_change_is_a_new_file_the_last_two_stay_and_what_is_there_is_never_written_over() {
        let set: SetName = "security".parse().unwrap();
        let disk = Simulated::new();
        Repository::create(storage(&disk), DateTime::UNIX_EPOCH).unwrap();
        let repository = Repository::open(storage(&disk), false).unwrap().0;
        let manifest = manifest::tests::manifest_of(&set, "a.json");
        let id = repository.publish_manifest(manifest, &Keys::default()).unwrap().id;
        let names = |row: &str| -> Vec<String> {
            let prefix = format!("manifests/{set}/{row}.");
            let files = disk.files().into_iter().map(|(path, _)| path.to_string_lossy().into_owned());
            files.filter_map(|path| Some(path.strip_prefix(&prefix)?.to_owned())).collect()
        };
        for pinned in [true, false, true] {
            repository.set_pinned(&set, id, pinned).unwrap();
        }
        assert_eq!(names("pins"), ["2.json", "3.json"]);
        // Somebody else's, or what a restored copy brought.
        disk.write_raw(format!("manifests/{set}/pruned.1.json"), b"unreadable").unwrap();
        repository.list_as_pruned(&set, &[Position::first(9)]).unwrap();
        assert_eq!(names("pruned"), ["1.json", "2.json"]);
        let again = Repository::open(storage(&disk), false).unwrap().0;
        let catalogue = again.catalogue();
        assert!(catalogue.get(id).unwrap().pinned);
        assert!(catalogue.set(&set).unwrap().pruned.contains(Position::first(9)));
    }

    #[test]
    fn a_list_of_pins_that_nobody_can_read_pins_everything_until_it_is_written_again() {
        let set: SetName = "security".parse().unwrap();
        let disk = Simulated::new();
        Repository::create(storage(&disk), DateTime::UNIX_EPOCH).unwrap();
        let repository = Repository::open(storage(&disk), false).unwrap().0;
        let publish = |sequence: u64| {
            let mut manifest = manifest::tests::manifest_of(&set, "a.json");
            manifest.envelope.sequence = crate::core::Sequence(sequence);
            repository.publish_manifest(manifest, &Keys::default()).unwrap().id
        };
        let (first, second) = (publish(1), publish(2));
        disk.write_raw(format!("manifests/{set}/pins.1.json"), b"{}").unwrap();
        let again = Repository::open(storage(&disk), false).unwrap().0;
        let pinned = |repository: &Repository| [first, second].map(|id| repository.catalogue().get(id).unwrap().pinned);
        assert_eq!(pinned(&again), [true, true]);
        again.set_pinned(&set, first, false).unwrap();
        assert_eq!(pinned(&again), [false, true]);
        assert_eq!(pinned(&Repository::open(storage(&disk), false).unwrap().0), [false, true]);
    }
}
