//! Rotation by others, seen while running and at the next start.
//!
//! Hazard: rotation must not look like manipulation, nor manipulation like rotation.

use std::fs::{self, File, OpenOptions};
use std::io::Write;

use crate::audit::testing::{Scratch, append_each, put};
use crate::audit::{AuditLog, Fault, Finding, Head};

const EVENTS: [&str; 3] = ["ServiceStarted", "BackupStarted", "BackupCompleted"];

/// How others rotate a log.
type Rotate = fn(&Scratch);

fn rename(scratch: &Scratch) {
    for (older, newer) in
        [("security_audit.log.2", "security_audit.log.1"), ("security_audit.log.1", "security_audit.log")]
    {
        let _ = fs::rename(scratch.beside(newer), scratch.beside(older));
    }
}

fn rename_and_create(scratch: &Scratch) {
    rename(scratch);
    scratch.put(b"");
}

fn rename_with_date(scratch: &Scratch) {
    let day = fs::read_dir(scratch.beside("")).unwrap().count();
    fs::rename(&scratch.path, scratch.beside(&format!("security_audit.log-2026112{day}"))).unwrap();
}

fn copy_and_truncate(scratch: &Scratch) {
    let _ = fs::rename(scratch.beside("security_audit.log.1"), scratch.beside("security_audit.log.2"));
    fs::copy(&scratch.path, scratch.beside("security_audit.log.1")).unwrap();
    OpenOptions::new().write(true).open(&scratch.path).unwrap().set_len(0).unwrap();
}

fn copy_truncate_and_refill(scratch: &Scratch) {
    let size = scratch.bytes().len();
    copy_and_truncate(scratch);
    let mut other = OpenOptions::new().append(true).open(&scratch.path).unwrap();
    while other.metadata().unwrap().len() <= size as u64 {
        other.write_all(b"somebody else's line\n").unwrap();
    }
}

const ROTATIONS: [(&str, Rotate); 5] = [
    ("rename", rename),
    ("rename and create", rename_and_create),
    ("rename with date", rename_with_date),
    ("copy and truncate", copy_and_truncate),
    ("copy, truncate and refill", copy_truncate_and_refill),
];

#[test]
fn the_chain_goes_on_through_every_rotation_while_running() {
    for (name, rotate) in ROTATIONS {
        let scratch = Scratch::new();
        let mut log = scratch.open(None);
        let mut heads = append_each(&mut log, &EVENTS);
        for _ in 0..2 {
            let after = log.head().unwrap();
            rotate(&scratch);
            heads.extend(append_each(&mut log, &EVENTS));
            assert_eq!(log.take_findings(), [Finding::Rotated { after }], "{name}");
        }
        assert_whole(&scratch, &heads, name);
    }
}

#[test]
fn the_chain_goes_on_through_every_rotation_while_stopped() {
    for (name, rotate) in ROTATIONS {
        for remember in [true, false] {
            let scratch = Scratch::new();
            let mut heads = append_each(&mut scratch.open(None), &EVENTS);
            for _ in 0..2 {
                let after = *heads.last().unwrap();
                rotate(&scratch);
                let (mut log, findings) = scratch.findings(remember.then_some(after));
                assert_eq!(findings, [Finding::Rotated { after }], "{name}");
                heads.extend(append_each(&mut log, &EVENTS));
            }
            assert_whole(&scratch, &heads, name);
        }
    }
}

fn assert_whole(scratch: &Scratch, heads: &[Head], name: &str) {
    let report = scratch.verify(heads);
    assert!(report.is_whole(), "{name}: {report:?}");
    assert_eq!((report.files.len(), report.anchors_matched as usize), (3, heads.len()), "{name}");
    assert_eq!(report.records, 12, "{name}");
    assert_eq!(scratch.reasons(), ["fresh", "rotated", "rotated"], "{name}");
}

#[test]
fn a_file_moved_to_another_directory_while_running_was_rotated() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    let after = *append_each(&mut log, &EVENTS).last().unwrap();
    fs::create_dir(scratch.beside("old")).unwrap();
    fs::rename(&scratch.path, scratch.beside("old/security_audit.log.1")).unwrap();
    append_each(&mut log, &EVENTS);
    assert_eq!(log.take_findings(), [Finding::Rotated { after }]);
    let report = scratch.verify(&[after, log.head().unwrap()]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.first_seq, report.anchors_before_first), (Some(5), 1));
}

#[test]
fn a_tail_torn_before_a_rotation_costs_nothing() {
    let scratch = Scratch::new();
    let heads = append_each(&mut scratch.open(None), &EVENTS);
    let bytes = scratch.bytes();
    scratch.put(&bytes[..bytes.len() - 9]);
    rename(&scratch);
    let (mut log, findings) = scratch.findings(Some(heads[1]));
    assert_eq!(findings, [Finding::Rotated { after: heads[1] }]);
    let after = append_each(&mut log, &EVENTS);
    assert!(scratch.verify(&[heads[1], after[2]]).is_whole());
}

#[test]
fn a_removed_log_is_no_rotation() {
    for remove in [|scratch: &Scratch| fs::remove_file(&scratch.path).unwrap(), |scratch: &Scratch| scratch.put(b"")] {
        let scratch = Scratch::new();
        let mut log = scratch.open(None);
        let expected = *append_each(&mut log, &EVENTS).last().unwrap();
        remove(&scratch);
        assert_eq!(scratch.findings(Some(expected)).1, [Finding::HeadMissing { expected, found: None }]);
        let after = append_each(&mut log, &EVENTS);
        assert_eq!(after[0].seq, expected.seq + 2, "no number is used twice");
        assert_eq!(log.take_findings(), [Finding::HeadMissing { expected, found: None }]);
        assert_eq!(scratch.reasons(), ["head_missing"]);
        let fault = scratch.verify(&[]).first_break.map(|found| found.fault);
        assert_eq!(fault, Some(Fault::Missing { from: 1, to: expected.seq }));
    }
}

#[test]
fn records_cut_off_behind_our_back_leave_a_gap_for_all_to_see() {
    for while_running in [true, false] {
        let scratch = Scratch::new();
        let mut log = scratch.open(None);
        let heads = append_each(&mut log, &EVENTS);
        let (expected, found) = (heads[2], heads[0]);
        let bytes = scratch.bytes();
        let kept: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').take(2).flatten().copied().collect();
        // In place, as a rotation by copying would do it.
        OpenOptions::new().write(true).open(&scratch.path).unwrap().set_len(kept.len() as u64).unwrap();
        if !while_running {
            log = scratch.open(Some(expected));
        }
        append_each(&mut log, &EVENTS);
        let records = scratch.records();
        assert_eq!(records[2].details["reason"], "head_missing");
        assert_eq!(records[2].details["found"]["seq"], found.seq);
        let found = scratch.verify(&[]).first_break.unwrap();
        assert_eq!((found.fault, found.line), (Fault::Missing { from: 3, to: 4 }, 3));
    }
}

#[test]
fn a_changed_record_is_noticed_at_the_next_start() {
    let scratch = Scratch::new();
    let heads = append_each(&mut scratch.open(None), &EVENTS);
    let text = String::from_utf8(scratch.bytes()).unwrap().replace("BackupCompleted", "BackupCompleteD");
    scratch.put(text.as_bytes());
    let missing = Finding::HeadMissing { expected: heads[2], found: Some(heads[1]) };
    let forged = Finding::Forged { lines: 1 };
    assert_eq!(scratch.findings(Some(heads[1])).1, [Finding::Continued, forged.clone()]);
    let (mut log, findings) = scratch.findings(Some(heads[2]));
    assert_eq!(findings, [Finding::Continued, missing, forged]);
    // The chain goes on behind the record that was, and not behind the one in its place.
    let after = append_each(&mut log, &EVENTS);
    let found = scratch.verify(&after).first_break.map(|found| (found.fault, found.line));
    assert_eq!(found, Some((Fault::Altered { seq: 4 }, 4)));
}

#[test]
fn a_head_in_a_compressed_file_is_neither_found_nor_missed() {
    let scratch = Scratch::new();
    let expected = *append_each(&mut scratch.open(None), &EVENTS).last().unwrap();
    fs::remove_file(&scratch.path).unwrap();
    put(&scratch.beside("security_audit.log.1.gz"), b"not readable here");
    let (mut log, findings) = scratch.findings(Some(expected));
    assert_eq!(findings, [Finding::Rotated { after: expected }, Finding::HeadUnchecked { expected }]);
    let head = append_each(&mut log, &EVENTS)[2];
    let report = scratch.verify(&[expected, head]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.unreadable.len(), report.anchors_before_first, report.anchors_matched), (1, 1, 1));
}

#[test]
fn copies_that_others_keep_are_not_part_of_the_chain() {
    let scratch = Scratch::new();
    let heads = append_each(&mut scratch.open(None), &EVENTS);
    for name in ["security_audit.log.bak", "security_audit.log~", "copy-of-security_audit.log.1"] {
        fs::copy(&scratch.path, scratch.beside(name)).unwrap();
    }
    fs::create_dir(scratch.beside("security_audit.log.1")).unwrap();
    assert_eq!(scratch.verify(&heads).files, [scratch.path.as_path()]);
    assert!(scratch.verify(&heads).is_whole());
}

#[test]
fn a_huge_file_is_opened_by_its_end() {
    let scratch = Scratch::new();
    let head = append_each(&mut scratch.open(None), &EVENTS)[2];
    let bytes = scratch.bytes();
    // A hole of a terabyte before the records: reading it would never end.
    let file = File::create(&scratch.path).unwrap();
    file.set_len(1 << 40).unwrap();
    drop(file);
    OpenOptions::new().append(true).open(&scratch.path).unwrap().write_all(&[b"\n", &bytes[..]].concat()).unwrap();
    let (mut log, opening) = AuditLog::open(&scratch.path, Some(head), scratch.memory.clone()).unwrap();
    assert_eq!(opening.findings, [Finding::Continued]);
    append_each(&mut log, &EVENTS);
}
