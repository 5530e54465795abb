//! Whether a log only grew since its last backup.
//!
//! Hazard: an intruder who rewrites a log leaves a file that looks like any other, and the next backup keeps the forgery
//! beside the truth without a word. A log only grows: its last backup is how it begins now, or how a file begins that it
//! was rotated to. Whatever is neither was rewritten.
//!
//! Nothing is read for it that is not read anyway: the hash of a file at the length it had is a stop on the way to the
//! hash of the whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::capture::Captured;
use super::source::{Found, SourceDirectory};
use crate::core::content::is_log;
use crate::core::{BackupId, Digest, Sha256};
use crate::repository::Repository;
use crate::repository::object::CHUNK_BYTES;
use crate::repository::wire::{Continuation, FileEntry, Lineage};
use crate::settings::{FilePatterns, SetSettings};

/// Endings of files that hide what they hold.
const COMPRESSED: [&str; 4] = [".gz", ".xz", ".zst", ".bz2"];

/// The hashes of the beginnings of a file, by their lengths.
pub type Beginnings = BTreeMap<u64, Digest>;

/// What the last backups of a set's logs hold.
#[derive(Debug, Default)]
pub struct Ancestors {
    by_path: BTreeMap<String, Lineage>,
    files: BTreeMap<String, (u64, Digest)>,
    lengths: BTreeSet<u64>,
}

impl Ancestors {
    /// Of each log of the set, the last backup that has it; those before a restore are none.
    pub fn of(repository: &Repository, set: &SetSettings) -> Self {
        let mut ancestors = Self::default();
        let catalogue = repository.catalogue();
        let backups = catalogue.set(&set.name).map_or(&[][..], |index| index.backups());
        for backup in backups.iter().rev().filter(|backup| backup.kind().is_some_and(|kind| kind.is_version())) {
            let files = backup.content.iter().flat_map(|content| content.manifest.files());
            for file in files.filter(|file| is_log(&file.path)) {
                if ancestors.files.contains_key(&file.path) {
                    continue;
                }
                let lineage = Lineage { previous: backup.id, is: Continuation::Rewritten };
                ancestors.by_path.insert(file.path.clone(), lineage);
                ancestors.files.insert(file.path.clone(), (file.size_bytes, file.sha256));
                ancestors.lengths.insert(file.size_bytes);
            }
        }
        ancestors
    }

    /// The lengths at which the beginning of each log is to be hashed.
    pub const fn lengths(&self) -> &BTreeSet<u64> {
        &self.lengths
    }

    /// Writes into each captured log what became of its ancestor.
    pub fn judge(&self, source: &SourceDirectory, captured: &mut Captured) {
        let judged: Vec<Option<Lineage>> =
            captured.files.iter().map(|file| self.lineage(source, captured, file)).collect();
        captured.files.iter_mut().zip(judged).for_each(|(file, lineage)| file.lineage = lineage);
    }

    fn lineage(&self, source: &SourceDirectory, captured: &Captured, file: &FileEntry) -> Option<Lineage> {
        let (lineage, ancestor) = (self.by_path.get(&file.path)?, self.files.get(&file.path)?);
        let is = match () {
            () if begins_with(captured, &file.path, ancestor) => Continuation::Appended,
            () if captured.files.iter().any(|other| begins_with(captured, &other.path, ancestor)) => {
                Continuation::Rotated
            }
            () if is_rotated_name(&file.path) && self.took_another_place(captured, file) => Continuation::Expired,
            () => look_beside(source, captured, &file.path, ancestor),
        };
        Some(Lineage { previous: lineage.previous, is })
    }

    /// Whether the file is what another one was: rotation moved it here, over what was here before.
    fn took_another_place(&self, captured: &Captured, file: &FileEntry) -> bool {
        let mut others = self.files.iter().filter(|(path, (size_bytes, _))| **path != file.path && *size_bytes > 0);
        others.any(|(_, other)| begins_with(captured, &file.path, other))
    }
}

/// The logs that were rewritten, and the last backup of what each was.
pub fn rewritten(files: &[FileEntry]) -> impl Iterator<Item = (&str, BackupId)> {
    files.iter().filter_map(|file| {
        let lineage = file.lineage.filter(|lineage| lineage.is == Continuation::Rewritten)?;
        Some((file.path.as_str(), lineage.previous))
    })
}

fn begins_with(captured: &Captured, path: &str, (size_bytes, sha256): &(u64, Digest)) -> bool {
    let beginning = captured.beginnings.get(path).and_then(|beginnings| beginnings.get(size_bytes));
    *size_bytes == 0 || beginning == Some(sha256)
}

/// `x.log.1`, not `x.log`.
fn is_rotated_name(path: &str) -> bool {
    is_log(path) && !path.ends_with(".log") && !path.ends_with(".jsonl")
}

/// Looks for the ancestor in files beside the log that the set does not have, where rotation would have put it.
fn look_beside(source: &SourceDirectory, captured: &Captured, path: &str, ancestor: &(u64, Digest)) -> Continuation {
    if path.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return Continuation::Rewritten;
    }
    let beside = FilePatterns::new([format!("{path}.*"), format!("{path}-*")]).ok();
    let found = beside.and_then(|patterns| source.look(&patterns).ok()).unwrap_or_default();
    let beside = found.iter().filter_map(|(name, found)| match found {
        Found::File(look) if !captured.beginnings.contains_key(name) => Some((name, look)),
        _ => None,
    });
    let mut compressed = false;
    for (name, look) in beside {
        let is_compressed = COMPRESSED.iter().any(|ending| name.ends_with(ending));
        compressed |= is_compressed;
        if !is_compressed
            && look.identity.size_bytes >= ancestor.0
            && hash_of_beginning(source, name, ancestor.0) == Some(ancestor.1)
        {
            return Continuation::Rotated;
        }
    }
    // It may be in there.
    if compressed { Continuation::Unproven } else { Continuation::Rewritten }
}

fn hash_of_beginning(source: &SourceDirectory, path: &str, length: u64) -> Option<Digest> {
    let (file, _) = source.open_file(path).ok()?.ok()?;
    let wanted = BTreeSet::from([length]);
    let mut stops = Stops::new(&wanted);
    let mut beginning = file.take(length);
    let mut block = vec![0; CHUNK_BYTES];
    loop {
        match beginning.read(&mut block).ok()? {
            0 => return stops.finish().2.get(&length).copied(),
            read => stops.update(&block[..read]),
        }
    }
}

/// Hashes content as it comes, and notes the hash at each of the wanted lengths.
pub struct Stops<'l> {
    hasher: Sha256,
    wanted: &'l BTreeSet<u64>,
    length: u64,
    beginnings: Beginnings,
}

impl<'l> Stops<'l> {
    /// Nothing hashed yet.
    pub fn new(wanted: &'l BTreeSet<u64>) -> Self {
        Self { hasher: Sha256::new(), wanted, length: 0, beginnings: Beginnings::new() }
    }

    /// Hashes what follows.
    pub fn update(&mut self, mut content: &[u8]) {
        if content.is_empty() {
            return;
        }
        let end = self.length + content.len() as u64;
        for stop in self.wanted.range(self.length + 1..=end) {
            let (before, rest) = content.split_at((stop - self.length) as usize);
            self.hasher.update(before);
            (self.length, content) = (*stop, rest);
            self.beginnings.insert(*stop, self.hasher.clone().finish());
        }
        self.hasher.update(content);
        self.length = end;
    }

    /// How much was hashed, its hash, and those of its beginnings.
    pub fn finish(self) -> (u64, Digest, Beginnings) {
        (self.length, self.hasher.finish(), self.beginnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stop_has_the_hash_of_what_was_before_it_however_the_content_comes() {
        let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let wanted = BTreeSet::from([0, 1, 2, 100, 999, 1000, 1001]);
        for piece in [1, 3, 100, 1000] {
            let mut stops = Stops::new(&wanted);
            content.chunks(piece).for_each(|piece| stops.update(piece));
            stops.update(&[]);
            let (length, sha256, beginnings) = stops.finish();
            assert_eq!((length, sha256), (1000, Digest::of(&content)));
            assert_eq!(beginnings.keys().copied().collect::<Vec<_>>(), [1, 2, 100, 999, 1000]);
            assert!(beginnings.iter().all(|(length, hash)| *hash == Digest::of(&content[..*length as usize])));
        }
    }

    #[test]
    fn only_a_suffix_makes_a_rotated_name() {
        assert!(is_rotated_name("a.log.1") && is_rotated_name("a.log-20261123") && is_rotated_name("d/a.jsonl.2"));
        assert!(!is_rotated_name("a.log") && !is_rotated_name("a.jsonl") && !is_rotated_name("a.json.1"));
    }
}
