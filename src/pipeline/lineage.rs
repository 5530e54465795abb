//! Whether a log only grew since its last backup.
//!
//! Hazard: an intruder who rewrites a log leaves a file that looks like any other, and the next backup keeps the forgery
//! beside the truth without a word. A log only grows: its last backup is how it begins now, or how a file begins that it
//! was rotated to. Whatever is neither was rewritten.
//!
//! Almost nothing is read for it that is not read anyway: the hash of a file at the length it had is a stop on the way to
//! the hash of the whole. Only where that does not explain a log are the files beside it looked into, compressed ones too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use super::capture::Captured;
use super::source::{Found, SourceDirectory};
use crate::core::content::is_compressed;
use crate::core::{BackupId, Digest, Sha256, Timestamp};
use crate::repository::Repository;
use crate::repository::object::CHUNK_BYTES;
use crate::repository::wire::{Continuation, FileEntry, Lineage};
use crate::settings::{FilePatterns, SetSettings};

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
        if !set.kind.is_logs() {
            return ancestors;
        }
        let catalogue = repository.catalogue();
        let backups = catalogue.set(&set.name).map_or(&[][..], |index| index.backups());
        for backup in backups.iter().rev().filter(|backup| backup.kind().is_some_and(|kind| kind.is_version())) {
            let files = backup.content.iter().flat_map(|content| content.manifest.files());
            for file in files {
                if ancestors.files.contains_key(file.path.as_str()) {
                    continue;
                }
                let lineage = Lineage { previous: backup.id, is: Continuation::Rewritten };
                ancestors.by_path.insert(file.path.to_string(), lineage);
                ancestors.files.insert(file.path.to_string(), (file.size_bytes, file.sha256));
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
        let (lineage, ancestor) = (self.by_path.get(file.path.as_str())?, self.files.get(file.path.as_str())?);
        let is = match () {
            () if begins_with(captured, &file.path, ancestor) => Continuation::Appended,
            () if captured.files.iter().any(|other| begins_with(captured, &other.path, ancestor)) => {
                Continuation::Rotated
            }
            () => match self.base(&file.path) {
                None => look_beside(source, captured, &file.path, ancestor),
                Some(base) => self.segment(source, captured, &file.path, base, ancestor),
            },
        };
        Some(Lineage { previous: lineage.previous, is })
    }

    /// What became of the earlier content of a rotated segment of the log `base`.
    fn segment(
        &self,
        source: &SourceDirectory,
        captured: &Captured,
        path: &str,
        base: &str,
        ancestor: &(u64, Digest),
    ) -> Continuation {
        if self.took_another_place(source, captured, path) {
            return Continuation::Expired;
        }
        match look_beside(source, captured, base, ancestor) {
            // Rotation, perhaps several times, is all that changes a segment: where there was one, this proves nothing.
            Continuation::Rewritten if !self.only_grew(captured, base) => Continuation::Unproven,
            found => found,
        }
    }

    /// Of a rotated segment (`x.log.1`, `x.log-20261123.gz`), the log it was rotated from (`x.log`).
    fn base(&self, path: &str) -> Option<&str> {
        let is_base =
            |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.len() > 1 && rest.starts_with(['.', '-']));
        self.files.keys().map(String::as_str).filter(|base| is_base(base)).min_by_key(|base| base.len())
    }

    /// Whether a log is its ancestor, with more behind it: it was not rotated since.
    fn only_grew(&self, captured: &Captured, path: &str) -> bool {
        let ancestor = self.files.get(path).filter(|(size_bytes, _)| *size_bytes > 0);
        ancestor.is_some_and(|ancestor| begins_with(captured, path, ancestor))
    }

    /// Whether the file is what another one was: rotation moved it here, over what was here before.
    fn took_another_place(&self, source: &SourceDirectory, captured: &Captured, path: &str) -> bool {
        let others = || self.files.iter().filter(|(other, (size_bytes, _))| *other != path && *size_bytes > 0);
        others().any(|(_, other)| begins_with(captured, path, other))
            || match look_into(source, path, &self.lengths, Plain::IsKnown) {
                Ok(beginnings) => others().any(|(_, (length, sha256))| beginnings.get(length) == Some(sha256)),
                Err(_) => false,
            }
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

/// Looks for the ancestor in the files beside a log, where rotation would have put it: in those that the set does not
/// have, and in compressed ones.
fn look_beside(source: &SourceDirectory, captured: &Captured, path: &str, ancestor: &(u64, Digest)) -> Continuation {
    if path.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        return Continuation::Unproven;
    }
    let beside = FilePatterns::new([format!("{path}.*"), format!("{path}-*")]).ok();
    let found = beside.and_then(|patterns| source.look(&patterns).ok()).unwrap_or_default();
    let mut beside: Vec<(Timestamp, &String)> = found
        .iter()
        .filter_map(|(name, found)| match found {
            Found::File(look) => Some((look.identity.modified, name)),
            _ => None,
        })
        .collect();
    // What was rotated last is the likeliest.
    beside.sort_unstable_by(|a, b| b.cmp(a));
    let mut hidden = false;
    let wanted = BTreeSet::from([ancestor.0]);
    for (_, name) in beside {
        let plain = if captured.beginnings.contains_key(name) { Plain::IsKnown } else { Plain::IsRead };
        match look_into(source, name, &wanted, plain) {
            Ok(beginnings) if beginnings.get(&ancestor.0) == Some(&ancestor.1) => return Continuation::Rotated,
            Ok(_) => {}
            Err(_) => hidden = true,
        }
    }
    // It may be in what cannot be looked into.
    if hidden { Continuation::Unproven } else { Continuation::Rewritten }
}

/// What to do about a file that is not compressed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plain {
    /// Its beginnings are known: nothing.
    IsKnown,
    /// Read it.
    IsRead,
}

/// The hashes of the beginnings of a file's content, decompressed where it is compressed, as far as it has any of these
/// lengths. Reads no more than the longest: what is compressed may be of any size. An error: nobody can tell.
fn look_into(source: &SourceDirectory, path: &str, lengths: &BTreeSet<u64>, plain: Plain) -> io::Result<Beginnings> {
    let (mut file, _) = source.open_file(path).map_err(io::Error::other)??;
    let mut magic = Vec::new();
    file.by_ref().take(MAGIC_BYTES).read_to_end(&mut magic)?;
    let whole = io::Cursor::new(magic.clone()).chain(file);
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => beginnings(flate2::read::MultiGzDecoder::new(whole), lengths),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => beginnings(zstd::Decoder::new(whole)?, lengths),
        magic if is_compressed(magic) => Err(io::ErrorKind::Unsupported.into()),
        _ if plain == Plain::IsKnown => Ok(Beginnings::new()),
        _ => beginnings(whole, lengths),
    }
}

/// Enough to tell how a file is compressed.
const MAGIC_BYTES: u64 = 8;

fn beginnings(content: impl Read, lengths: &BTreeSet<u64>) -> io::Result<Beginnings> {
    let mut stops = Stops::new(lengths);
    let mut beginning = content.take(lengths.last().copied().unwrap_or(0));
    let mut block = vec![0; CHUNK_BYTES];
    loop {
        match beginning.read(&mut block)? {
            0 => return Ok(stops.finish().2),
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
    fn a_segment_is_told_by_the_log_whose_name_it_continues() {
        let known = |names: &[&str]| Ancestors {
            files: names.iter().map(|name| ((*name).to_owned(), (1, Digest::of(b"")))).collect(),
            ..Ancestors::default()
        };
        let ancestors = known(&["a.log", "a.log.1", "d/b"]);
        for (segment, base) in
            [("a.log.1", "a.log"), ("a.log-20261123.gz", "a.log"), ("a.log.1.gz", "a.log"), ("d/b.1", "d/b")]
        {
            assert_eq!(ancestors.base(segment), Some(base), "{segment}");
        }
        for log in ["a.log", "a.logger", "a.log.", "b.1", "d/bb"] {
            assert_eq!(ancestors.base(log), None, "{log}");
        }
    }
}
