//! Rotated files that were compressed.
//!
//! Hazard: a log that is compressed the night after is out of sight for the rest of its life, unless it is read as it is.

use std::fs::{self, File};
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::audit::testing::{Scratch, append_each, put};
use crate::audit::{Fault, Head};

const EVENTS: [&str; 3] = ["BackupStarted", "BackupCompleted", "IntegrityCheckPassed"];

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Does to a rotated file what `gzip` does.
fn pack(scratch: &Scratch, name: &str) {
    let bytes = packed(&fs::read(scratch.beside(name)).unwrap());
    put(&scratch.beside(&format!("{name}.gz")), &bytes);
    fs::remove_file(scratch.beside(name)).unwrap();
}

/// A chain over three files, of which the two older ones are compressed.
fn chain() -> (Scratch, Vec<Head>) {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    let mut heads = append_each(&mut log, &EVENTS);
    for name in ["security_audit.log.2", "security_audit.log.1"] {
        fs::rename(&scratch.path, scratch.beside(name)).unwrap();
        heads.extend(append_each(&mut log, &EVENTS));
        pack(&scratch, name);
    }
    (scratch, heads)
}

#[test]
fn compressed_files_are_part_of_the_chain() {
    let (scratch, heads) = chain();
    let report = scratch.verify(&heads);
    assert!(report.is_whole() && report.unreadable.is_empty(), "{report:?}");
    assert_eq!((report.records, report.first_seq, report.anchors_matched), (12, Some(1), heads.len() as u64));
    assert_eq!(report.files.len(), 3);
}

#[test]
fn what_is_changed_in_a_compressed_file_is_named_by_its_line() {
    let (scratch, heads) = chain();
    let path = scratch.beside("security_audit.log.1.gz");
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(File::open(&path).unwrap()), &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    put(&path, &packed(text.replace("BackupCompleted", "BackupUnchanged").as_bytes()));
    let found = scratch.verify(&heads).first_break.unwrap();
    assert_eq!((found.fault, &found.file, found.line), (Fault::Altered { seq: 7 }, &path, 3));
}

#[test]
fn no_byte_of_a_compressed_file_is_changed_and_no_end_cut_off_unseen() {
    let (scratch, heads) = chain();
    let untouched = scratch.verify(&heads);
    for name in ["security_audit.log.2.gz", "security_audit.log.1.gz"] {
        let path = scratch.beside(name);
        let bytes = fs::read(&path).unwrap();
        let seen_with = |changed: &[u8]| {
            put(&path, changed);
            let report = scratch.verify(&heads);
            // Not every byte of the format matters to what is in the file.
            !report.is_whole() || !report.unreadable.is_empty() || report == untouched
        };
        for at in 0..bytes.len() {
            for change in [1, 0x80, 0xff] {
                let mut altered = bytes.clone();
                altered[at] ^= change;
                assert!(seen_with(&altered), "byte {at} of {name} ^ {change:#x}");
            }
            assert!(seen_with(&bytes[..at]), "{name} cut at {at}");
        }
        put(&path, &bytes);
    }
}

#[test]
fn a_file_that_is_being_compressed_is_read_once() {
    let (scratch, heads) = chain();
    let half = packed(b"whatever is there already");
    put(&scratch.beside("security_audit.log.3.gz"), &half[..12]);
    fs::rename(&scratch.path, scratch.beside("security_audit.log.3")).unwrap();
    let report = scratch.verify(&heads);
    assert!(report.is_whole() && report.unreadable.is_empty(), "{report:?}");
    assert_eq!(report.anchors_matched, heads.len() as u64);
}

#[test]
fn a_file_that_unpacks_to_more_than_any_log_holds_is_given_up_and_named() {
    let (scratch, heads) = chain();
    let bomb = scratch.beside("security_audit.log.9.gz");
    put(&bomb, &packed(&vec![b'a'; 3 << 20]));
    let report = scratch.verify(&heads);
    assert!(report.is_whole(), "{report:?}");
    let [unreadable] = report.unreadable.as_slice() else { panic!("{report:?}") };
    assert_eq!(unreadable.file, bomb);
    assert!(unreadable.reason.contains("unpacks to more than"), "{}", unreadable.reason);
}
