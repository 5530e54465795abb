//! Manipulation of a chain over several files, swept: every byte, every record, every cut, every file.
//!
//! Hazard: a file that nobody writes to any more is the one in which a change is noticed last.

use std::fs;
use std::path::PathBuf;

use crate::audit::Head;
use crate::audit::testing::{Scratch, append_each, put};

const EVENTS: [&str; 2] = ["BackupStarted", "BackupCompleted"];
/// The files, oldest first.
const NAMES: [&str; 3] = ["security_audit.log.2", "security_audit.log.1", "security_audit.log"];

/// A small chain over three files.
struct Chain {
    scratch: Scratch,
    heads: Vec<Head>,
    files: [(PathBuf, Vec<u8>); 3],
}

impl Chain {
    fn new() -> Self {
        let scratch = Scratch::new();
        let mut log = scratch.open(None);
        let mut heads = append_each(&mut log, &EVENTS);
        for name in &NAMES[..2] {
            fs::rename(&scratch.path, scratch.beside(name)).unwrap();
            heads.extend(append_each(&mut log, &EVENTS));
        }
        let files = NAMES.map(|name| (scratch.beside(name), fs::read(scratch.beside(name)).unwrap()));
        let chain = Self { scratch, heads, files };
        assert!(!chain.is_broken(), "as it was written");
        chain
    }

    fn is_broken(&self) -> bool {
        !self.scratch.verify(&self.heads).is_whole()
    }

    /// Whether the chain is found broken with these bytes in the place of one file's.
    fn is_broken_with(&self, file: usize, bytes: &[u8]) -> bool {
        put(&self.files[file].0, bytes);
        let broken = self.is_broken();
        put(&self.files[file].0, &self.files[file].1);
        broken
    }

    fn lines(&self, file: usize) -> Vec<&[u8]> {
        self.files[file].1.split_inclusive(|byte| *byte == b'\n').collect()
    }
}

#[test]
fn every_alteration_of_every_byte_of_every_file_is_found() {
    let chain = Chain::new();
    for file in 0..3 {
        let bytes = &chain.files[file].1;
        for at in 0..bytes.len() {
            for change in [1, bytes[at] ^ b'\n'] {
                let mut altered = bytes.clone();
                altered[at] ^= change;
                let found = altered == *bytes || chain.is_broken_with(file, &altered);
                assert!(found, "byte {at} of file {file} ^ {change:#x}");
            }
        }
    }
}

#[test]
fn every_file_cut_anywhere_is_found() {
    let chain = Chain::new();
    for file in 0..3 {
        let bytes = &chain.files[file].1;
        let lines = chain.lines(file);
        let (first, last) = (lines[0].len(), lines[lines.len() - 1].len());
        // The oldest file may be gone as rotation makes it: then no record of it is left. Without its newline one is whole.
        let (from, to) = if file == 0 { (first, bytes.len() - last) } else { (0, bytes.len() - 1) };
        for cut in from..bytes.len() - 1 {
            assert!(chain.is_broken_with(file, &bytes[..cut]), "file {file} cut at {cut}");
        }
        for cut in 1..=to {
            assert!(chain.is_broken_with(file, &bytes[cut..]), "file {file} begun at {cut}");
        }
    }
}

#[test]
fn every_record_of_every_file_that_is_dropped_swapped_or_repeated_is_found() {
    let chain = Chain::new();
    for file in 0..3 {
        let lines = chain.lines(file);
        for at in 0..lines.len() {
            let with = |change: &dyn Fn(&mut Vec<&[u8]>)| {
                let mut changed = lines.clone();
                change(&mut changed);
                chain.is_broken_with(file, &changed.concat())
            };
            assert!(with(&|lines| _ = lines.remove(at)), "record {at} of file {file} dropped");
            assert!(with(&|lines| lines.insert(at, lines[at])), "record {at} of file {file} repeated");
            for other in at + 1..lines.len() {
                assert!(with(&|lines| lines.swap(at, other)), "records {at} and {other} of file {file} swapped");
            }
        }
    }
}

#[test]
fn records_that_change_places_with_those_of_another_file_are_found() {
    let chain = Chain::new();
    for (one, other) in [(0, 1), (1, 2), (0, 2)] {
        for at in 0..chain.lines(one).len().min(chain.lines(other).len()) {
            let (mut here, mut there) = (chain.lines(one), chain.lines(other));
            std::mem::swap(&mut here[at], &mut there[at]);
            put(&chain.files[one].0, &here.concat());
            assert!(chain.is_broken_with(other, &there.concat()), "record {at} of files {one} and {other}");
            put(&chain.files[one].0, &chain.files[one].1);
        }
    }
}

#[test]
fn a_file_that_is_put_in_the_place_of_another_is_found_and_files_that_only_change_names_are_read_in_their_order() {
    let chain = Chain::new();
    for (one, other) in [(0, 1), (1, 2), (0, 2), (1, 0), (2, 1), (2, 0)] {
        // What was in the oldest file may be gone, but not twice what is in another.
        assert!(chain.is_broken_with(one, &chain.files[other].1), "file {other} in the place of {one}");
    }
    put(&chain.files[0].0, &chain.files[1].1);
    put(&chain.files[1].0, &chain.files[0].1);
    let report = chain.scratch.verify(&chain.heads);
    assert!(report.is_whole() && report.records == 9, "{report:?}");
    let page = crate::audit::Wanted { after: Some(0), limit: 100, ..Default::default() };
    assert_eq!(chain.scratch.page(&page).len(), 9);
}
