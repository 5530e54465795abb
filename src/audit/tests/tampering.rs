//! Manipulation, swept: every byte, every record, every file.
//!
//! Hazard: a change that verification overlooks once makes every audit worthless.

use std::fs;

use crate::audit::testing::{Scratch, append_each, put};
use crate::audit::{Fault, Head};

const EVENTS: [&str; 4] = ["BackupStarted", "BackupCompleted", "IntegrityCheckPassed", "CleanupCompleted"];

fn small_log() -> (Scratch, Vec<Head>, Vec<u8>) {
    let scratch = Scratch::new();
    let heads = append_each(&mut scratch.open(None), &EVENTS);
    let bytes = scratch.bytes();
    (scratch, heads, bytes)
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

fn fault_and_line(scratch: &Scratch, anchors: &[Head]) -> Option<(Fault, u64)> {
    scratch.verify(anchors).first_break.map(|found| (found.fault, found.line))
}

#[test]
fn every_alteration_of_every_byte_is_found() {
    let (scratch, heads, bytes) = small_log();
    let last = &heads[3..];
    for at in 0..bytes.len() {
        for change in [1, 0x20, 0x80, bytes[at] ^ b'\n', bytes[at] ^ b'"'] {
            let mut altered = bytes.clone();
            altered[at] ^= change;
            if altered == bytes {
                continue;
            }
            scratch.put(&altered);
            for anchors in [last, &heads] {
                let found = scratch.verify(anchors).first_break;
                // The newline behind a record belongs to the record before it as much as to the one after.
                let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
                let near = found.as_ref().is_some_and(|found| (line..=line + 1).contains(&found.line));
                // The very last newline carries nothing; as any other byte it makes the last record unreadable.
                assert!(near, "byte {at} (line {line}) ^ {change:#x}: {found:?}");
            }
        }
    }
}

#[test]
fn an_altered_record_is_named_exactly() {
    let (scratch, heads, bytes) = small_log();
    let text = String::from_utf8(bytes).unwrap();
    for (seq, event) in (2..).zip(EVENTS) {
        scratch.put(text.replace(event, &event.to_lowercase()).as_bytes());
        assert_eq!(fault_and_line(&scratch, &heads[3..]), Some((Fault::Altered { seq }, seq)), "{event}");
    }
    for (seq, line) in (1..).zip(text.lines()) {
        // Its own view of the record before it: the neighbours know which of the two was changed.
        let (body, prev) = line.split_at(line.len() - 66);
        let other = format!("{body}{}{}", if prev.starts_with('f') { 'e' } else { 'f' }, &prev[1..]);
        scratch.put(text.replace(line, &other).as_bytes());
        assert_eq!(fault_and_line(&scratch, &heads[3..]), Some((Fault::Altered { seq }, seq)), "prev of {seq}");
    }
}

#[test]
fn a_rewritten_chain_is_found_by_the_anchors() {
    let (scratch, heads, _) = small_log();
    fs::remove_file(&scratch.path).unwrap();
    append_each(&mut scratch.open(None), &["BackupStarted", "BackupFailed", "BackupFailed", "BackupFailed"]);
    assert_eq!(fault_and_line(&scratch, &[]), None);
    assert_eq!(fault_and_line(&scratch, &heads), Some((Fault::Altered { seq: 3 }, 3)));
}

#[test]
fn a_dropped_record_is_found() {
    let (scratch, heads, bytes) = small_log();
    for dropped in 0..5 {
        let mut kept = lines(&bytes);
        kept.remove(dropped);
        scratch.put(&kept.concat());
        let seq = dropped as u64 + 1;
        let expected = match seq {
            5 => Fault::Truncated { expected: 5, found: Some(4) },
            _ => Fault::Missing { from: seq, to: seq },
        };
        assert_eq!(fault_and_line(&scratch, &heads), Some((expected, seq)));
    }
}

#[test]
fn swapped_and_repeated_records_are_found() {
    let (scratch, heads, bytes) = small_log();
    for at in 0..4 {
        let mut swapped = lines(&bytes);
        swapped.swap(at, at + 1);
        scratch.put(&swapped.concat());
        let line = at as u64 + 1;
        assert_eq!(fault_and_line(&scratch, &heads), Some((Fault::Reordered { seq: line + 1 }, line)));
    }
    for at in 0..5 {
        let mut repeated = lines(&bytes);
        repeated.insert(at, repeated[at]);
        scratch.put(&repeated.concat());
        let line = at as u64 + 1;
        assert_eq!(fault_and_line(&scratch, &heads), Some((Fault::Reordered { seq: line }, line + 1)));
    }
}

#[test]
fn a_log_cut_anywhere_is_found() {
    let (scratch, heads, bytes) = small_log();
    // Without its last newline the log still holds every record.
    for cut in 0..bytes.len() - 1 {
        scratch.put(&bytes[..cut]);
        let line = bytes[..cut].iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        let (fault, found_line) = fault_and_line(&scratch, &heads).unwrap();
        assert!(matches!(fault, Fault::Truncated { .. } | Fault::Altered { .. }), "cut at {cut}: {fault:?}");
        assert!((line..=line + 1).contains(&found_line), "cut at {cut}: line {found_line}, not {line}");
    }
}

#[test]
fn a_dropped_or_emptied_file_is_found() {
    let build = || {
        let scratch = Scratch::new();
        let mut log = scratch.open(None);
        let mut heads = append_each(&mut log, &EVENTS);
        for name in ["security_audit.log-20261121", "security_audit.log-20261122"] {
            fs::rename(&scratch.path, scratch.beside(name)).unwrap();
            heads.extend(append_each(&mut log, &EVENTS));
        }
        (scratch, heads)
    };
    let middle = "security_audit.log-20261122";
    let live = "security_audit.log";
    for (name, fault) in
        [(middle, Fault::Missing { from: 6, to: 10 }), (live, Fault::Truncated { expected: 15, found: Some(10) })]
    {
        for empty in [true, false] {
            let (scratch, heads) = build();
            assert_eq!(fault_and_line(&scratch, &heads), None);
            let path = scratch.beside(name);
            if empty {
                put(&path, b"")
            } else {
                fs::remove_file(&path).unwrap()
            }
            assert_eq!(scratch.verify(&heads).first_break.map(|found| found.fault), Some(fault), "{name}");
        }
    }
    // The oldest file may go, as rotation makes it; what can no longer be checked is counted.
    let (scratch, heads) = build();
    fs::remove_file(scratch.beside("security_audit.log-20261121")).unwrap();
    let report = scratch.verify(&heads);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.first_seq, report.anchors_before_first, report.anchors_matched), (Some(6), 4, 8));
}

#[test]
fn a_log_that_is_gone_is_found_by_the_anchors_only() {
    let (scratch, heads, _) = small_log();
    fs::remove_file(&scratch.path).unwrap();
    assert!(scratch.verify(&[]).is_whole());
    let found = scratch.verify(&heads).first_break.unwrap();
    assert_eq!(found.fault, Fault::Truncated { expected: 5, found: None });
    assert_eq!(found.file, scratch.path);
    let text = format!("{}:1: the log holds no record, but record 5 had been written", scratch.path.display());
    assert_eq!(found.to_string(), text);
}
