//! Forgery by whoever can write the log and nothing else: records, acceptances, rotations, whole chains.
//!
//! Hazard: all hashes can be computed by anybody, and so can every statement that the log makes of itself.

use std::fs;

use chrono::DateTime;
use serde_json::{Value, json};

use crate::audit::record::{Batch, CHAIN_STARTED};
use crate::audit::testing::{Remembered, Scratch, append_each, entry, put};
use crate::audit::{Acceptance, AuditLog, Break, ChainReport, Entry, Fault, Finding, Head, Marks, Wanted};
use crate::core::Digest;

const EVENTS: [&str; 3] = ["ServiceStarted", "BackupStarted", "BackupCompleted"];

/// A log of four records.
fn written() -> (Scratch, AuditLog, Vec<Head>) {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    let heads = append_each(&mut log, &EVENTS);
    (scratch, log, heads)
}

/// What a forger without the key makes of entries: everything is right but for the authentication.
fn forged(after: Option<Head>, entries: &[Entry]) -> Vec<u8> {
    Batch::after(after, entries, None).unwrap().bytes().to_vec()
}

/// The same with a key of the forger's own.
fn forged_with_a_key(after: Option<Head>, entries: &[Entry]) -> Vec<u8> {
    let key = crate::audit::Key::generate().unwrap();
    Batch::after(after, entries, Some(&key)).unwrap().bytes().to_vec()
}

fn append(scratch: &Scratch, bytes: &[u8]) {
    scratch.put(&[scratch.bytes(), bytes.to_vec()].concat());
}

fn statement(details: Value) -> Entry {
    Entry { details: details.as_object().unwrap().clone(), ..entry(CHAIN_STARTED) }
}

fn faults(report: &ChainReport) -> Vec<(Fault, u64)> {
    report.breaks.iter().map(|found| (found.fault, found.line)).collect()
}

/// Accepts everything that is wrong, as a person does.
fn accept(scratch: &Scratch, report: &ChainReport) {
    let accepted = |found: &Break| Acceptance {
        key: found.key(),
        what: found.to_string(),
        by: "cli:0".to_owned(),
        when: DateTime::UNIX_EPOCH,
        at: 0,
    };
    let (accepted, pins) = (report.breaks.iter().map(accepted).collect(), report.pins.clone());
    scratch.memory.marks.lock().unwrap().add(Marks { accepted, pins, rotations: vec![] });
}

#[test]
fn records_appended_by_a_forger_are_no_part_of_the_chain_and_are_told_once_while_it_goes_on() {
    type Forge = fn(Option<Head>, &[Entry]) -> Vec<u8>;
    for forge in [forged as Forge, forged_with_a_key] {
        for running in [true, false] {
            let (scratch, mut log, heads) = written();
            append(&scratch, &forge(heads.last().copied(), &[entry("BackupFailed"), entry("BackupFailed")]));
            if !running {
                log = scratch.open(heads.last().copied());
            }
            let after = append_each(&mut log, &EVENTS);
            assert_eq!(after[0].seq, 6, "no number is left out for what is not ours");
            append_each(&mut scratch.open(after.last().copied()), &EVENTS);
            assert_eq!(scratch.reasons(), ["fresh", "forged"], "running: {running}");
            let report = scratch.verify(&[heads.clone(), after].concat());
            assert_eq!(faults(&report), [(Fault::Forged { seq: 5, lines: 2, after: 4 }, 5)], "running: {running}");
            let shown = scratch.page(&Wanted { limit: 100, ..Wanted::default() });
            assert!(shown.iter().all(|record| record.event != "BackupFailed"), "what is forged is not shown");
            accept(&scratch, &report);
            assert!(scratch.verify(&heads).is_whole());
        }
    }
}

#[test]
fn after_a_crash_records_behind_the_remembered_one_are_told_from_forged_ones() {
    let (scratch, _, heads) = written();
    // What is remembered is older than the log.
    assert_eq!(scratch.findings(Some(heads[0])).1, [Finding::Continued]);
    assert!(scratch.verify(&heads[..1]).is_whole());
    append(&scratch, &forged(heads.last().copied(), &[entry("BackupFailed")]));
    let (mut log, findings) = scratch.findings(Some(heads[0]));
    assert_eq!(findings, [Finding::Continued, Finding::Forged { lines: 1 }]);
    append_each(&mut log, &EVENTS);
    assert_eq!(faults(&scratch.verify(&heads)), [(Fault::Forged { seq: 5, lines: 1, after: 4 }, 5)]);
}

#[test]
fn a_record_altered_and_everything_behind_it_chained_anew_is_named() {
    let (scratch, _, heads) = written();
    let text = String::from_utf8(scratch.bytes()).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[1] = lines[1].replace("ServiceStarted", "ServiceStopped");
    for at in 2..lines.len() {
        let (body, _) = lines[at].split_at(lines[at].len() - 66);
        lines[at] = format!("{body}{}\"}}", Digest::of(lines[at - 1].as_bytes()));
    }
    scratch.put((lines.join("\n") + "\n").as_bytes());
    // Nothing that was remembered reaches behind the first of them.
    let report = scratch.verify(&heads[..0]);
    assert_eq!(faults(&report)[0], (Fault::Forged { seq: 2, lines: 3, after: 1 }, 2));
    let report = scratch.verify(&heads);
    assert_eq!(faults(&report)[0], (Fault::Altered { seq: 2 }, 2));
    assert_eq!(report.breaks.len(), 3);
}

#[test]
fn an_acceptance_counts_where_it_is_remembered_and_not_where_the_log_says_so() {
    let (scratch, mut log, heads) = written();
    let altered = String::from_utf8(scratch.bytes()).unwrap().replace("BackupStarted", "BackupStarteD");
    scratch.put(altered.as_bytes());
    let report = scratch.verify(&heads);
    assert_eq!(faults(&report), [(Fault::Altered { seq: 3 }, 3)]);
    // A forger's word, and the service's own.
    let details = Value::from(crate::audit::acceptance(&report.breaks));
    append(&scratch, &forged(heads.last().copied(), &[statement(details.clone())]));
    append_each(&mut log, &EVENTS);
    log.append(&[statement(details)]).unwrap();
    let report = scratch.verify(&heads);
    assert_eq!(faults(&report), [(Fault::Altered { seq: 3 }, 3), (Fault::Forged { seq: 5, lines: 1, after: 4 }, 5)]);
    accept(&scratch, &report);
    let report = scratch.verify(&heads);
    assert_eq!((report.is_whole(), report.accepted), (true, 2));
    // The same lines, altered once more.
    let again = String::from_utf8(scratch.bytes()).unwrap().replace("BackupStarteD", "BackupSTarteD");
    scratch.put(again.as_bytes());
    assert_eq!(faults(&scratch.verify(&heads)), [(Fault::Altered { seq: 3 }, 3)]);
}

#[test]
fn a_rotation_counts_where_it_is_remembered_and_not_where_the_log_says_so() {
    let (scratch, mut log, heads) = written();
    let lines: Vec<Vec<u8>> = scratch.bytes().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let said = statement(json!({ "reason": "rotated", "after": heads[0] }));
    // The first two records are dropped, and the file says that it begins behind them.
    let beginning = forged(Some(heads[0]), std::slice::from_ref(&said));
    for (at, bytes) in
        [[&beginning[..], &lines[3]].concat(), [&lines[2][..], &lines[3]].concat()].into_iter().enumerate()
    {
        scratch.put(&bytes);
        let report = scratch.verify(&heads);
        assert!(report.breaks.iter().any(|found| matches!(found.fault, Fault::Missing { from: 1, .. })), "{at}");
    }
    // Also where the service itself is made to say so later.
    log.append(&[said]).unwrap();
    assert_eq!(faults(&scratch.verify(&heads))[0], (Fault::Missing { from: 1, to: 2 }, 1));
}

#[test]
fn what_is_missing_at_the_head_of_a_rotated_file_is_not_taken_for_rotated_away() {
    let (scratch, mut log, mut heads) = written();
    fs::rename(&scratch.path, scratch.beside("security_audit.log.1")).unwrap();
    heads.extend(append_each(&mut log, &EVENTS));
    fs::remove_file(scratch.beside("security_audit.log.1")).unwrap();
    assert!(scratch.verify(&heads).is_whole(), "the oldest file may go");
    let bytes = scratch.bytes();
    let first_line = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    scratch.put(&bytes[first_line..]);
    assert_eq!(faults(&scratch.verify(&heads)), [(Fault::Missing { from: 5, to: 5 }, 1)]);
    let altered = String::from_utf8(bytes).unwrap().replacen("rotated", "rotateD", 1);
    scratch.put(altered.as_bytes());
    assert_eq!(faults(&scratch.verify(&heads)), [(Fault::Altered { seq: 5 }, 1)]);
}

#[test]
fn a_log_from_before_there_was_a_key_is_taken_as_it_was_then_and_no_later_change_of_it() {
    let old = Scratch::without_key();
    let mut log = old.open(None);
    let mut heads = append_each(&mut log, &EVENTS);
    fs::rename(&old.path, old.beside("security_audit.log.1")).unwrap();
    heads.extend(append_each(&mut log, &EVENTS));
    fs::rename(&old.path, old.beside("security_audit.log.2")).unwrap();
    heads.extend(append_each(&mut log, &EVENTS));
    fs::remove_file(old.beside("security_audit.log.1")).unwrap();
    let before = old.verify(&heads);
    assert!(before.is_whole() && before.said.rotations.len() == 2, "{before:?}");
    let memory = Remembered::with_key(heads.last().copied());
    memory.marks.lock().unwrap().add(Marks { rotations: before.said.rotations, ..Marks::default() });
    let scratch = old.with(memory);
    let mut log = scratch.open(heads.last().copied());
    heads.extend(append_each(&mut log, &EVENTS));
    let report = scratch.verify(&[]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.records, report.first_seq, report.unproven), (11, Some(5), 0));
    assert_eq!(scratch.records().len(), 11);
    // Without the replica's word nothing but the beginning of the key tells of it.
    for path in [scratch.path.clone(), scratch.beside("security_audit.log.2")] {
        let bytes = fs::read(&path).unwrap();
        for change in [b"BackupStarteD".as_slice(), b"BackupStarted\\"] {
            let altered = bytes.windows(13).position(|text| text == b"BackupStarted").unwrap();
            put(&path, &[&bytes[..altered], change, &bytes[altered + 13..]].concat());
            assert!(!scratch.verify(&[]).is_whole(), "{}", path.display());
        }
        put(&path, &bytes);
    }
    // A record that could be from then, but stands behind one that is authenticated.
    append(&scratch, &forged(Some(Head { seq: 5, ..heads[0] }), &[entry("BackupFailed")]));
    assert_eq!(scratch.findings(heads.last().copied()).1, [Finding::Continued, Finding::Forged { lines: 1 }]);
    assert_eq!(scratch.records().len(), 11, "it hides nothing from readers");
    let report = scratch.verify(&[]);
    assert_eq!(faults(&report), [(Fault::Forged { seq: 6, lines: 1, after: 15 }, 8)]);
}

#[test]
fn records_of_a_lost_key_are_told_until_they_are_accepted_by_name() {
    let (scratch, _, heads) = written();
    let lost = scratch.memory.key.as_ref().unwrap().id;
    let mut memory = Remembered::with_key(heads.last().copied());
    memory.key.as_mut().unwrap().lost = vec![lost];
    let scratch = scratch.with(memory);
    let after = append_each(&mut scratch.open(heads.last().copied()), &EVENTS);
    let report = scratch.verify(&after);
    assert_eq!(faults(&report), [(Fault::KeyLost { key: lost, to: 4 }, 1)]);
    assert!(report.breaks[0].to_string().contains(&lost.to_string()[..16]));
    accept(&scratch, &report);
    assert!(scratch.verify(&after).is_whole());
}

#[test]
fn accepting_some_of_too_many_breaks_makes_no_log_whole() {
    let (scratch, mut log, _) = written();
    for _ in 0..150 {
        append(&scratch, b"{\"seq\":9,\"event\":1,\"correlation_id\":1,\"prev\":\"0000000000000000000000000000000000000000000000000000000000000000\"}\n");
        append_each(&mut log, &["BackupStarted"]);
    }
    let report = scratch.verify(&[]);
    assert_eq!((report.breaks.len(), report.more_breaks), (100, true));
    accept(&scratch, &report);
    let report = scratch.verify(&[]);
    assert!(!report.is_whole() && report.breaks.len() == 50, "{}", report.breaks.len());
    accept(&scratch, &report);
    assert!(scratch.verify(&[]).is_whole());
}

#[test]
fn an_accepted_gap_does_not_cover_one_that_grew() {
    let (scratch, mut log, mut heads) = written();
    heads.extend(append_each(&mut log, &EVENTS));
    let lines: Vec<Vec<u8>> = scratch.bytes().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let torn = b"{\"seq\":3,\"timest\n".to_vec();
    let with = |kept: &[usize]| {
        let mut bytes: Vec<Vec<u8>> = kept.iter().map(|line| lines[*line].clone()).collect();
        bytes.insert(2, torn.clone());
        scratch.put(&bytes.concat());
    };
    with(&[0, 1, 3, 4, 5, 6]);
    let report = scratch.verify(&heads);
    assert_eq!(faults(&report), [(Fault::Altered { seq: 3 }, 3)]);
    accept(&scratch, &report);
    with(&[0, 1, 4, 5, 6]);
    assert_eq!(faults(&scratch.verify(&heads)), [(Fault::Missing { from: 4, to: 4 }, 4)]);
}
