//! Appending: order, durability's bookkeeping, torn tails, other writers, places that cannot be written.
//!
//! Hazard: what a crash or another process leaves at the end of the file must never cost the chain.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::testing::{Scratch, append_each, entry};
use crate::audit::{AuditError, AuditLog, Finding, Head, Wanted, read_records};
use crate::core::Digest;
use crate::files::NotPlain;

const EVENTS: [&str; 3] = ["ServiceStarted", "BackupStarted", "BackupCompleted"];

#[test]
fn the_chain_starts_with_a_record_that_says_so_and_verifies() {
    let scratch = Scratch::new();
    let (mut log, findings) = scratch.findings(None);
    assert_eq!((findings, log.head()), (vec![Finding::Fresh], None));
    let heads = append_each(&mut log, &EVENTS);
    assert_eq!(heads.iter().map(|head| head.seq).collect::<Vec<_>>(), [2, 3, 4]);
    assert_eq!(log.head(), heads.last().copied());
    let report = scratch.verify(&heads);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.records, report.head, report.anchors_matched), (4, log.head(), 3));
    assert_eq!(scratch.reasons(), ["fresh"]);
}

#[test]
fn a_head_is_what_sha256sum_says_of_the_line() {
    let scratch = Scratch::new();
    let heads = scratch.open(None).append(&EVENTS.map(entry)).unwrap();
    let hashes: Vec<_> = scratch.bytes().split(|byte| *byte == b'\n').map(Digest::of).collect();
    for (line, head) in (1..).zip(heads) {
        assert_eq!(hashes[line], head.hash);
    }
}

#[test]
fn a_reopened_log_goes_on_where_it_ended() {
    let scratch = Scratch::new();
    let mut remembered = None;
    for _ in 0..4 {
        let (mut log, findings) = scratch.findings(remembered);
        let first = if remembered.is_none() { Finding::Fresh } else { Finding::Continued };
        assert_eq!(findings, [first]);
        assert_eq!(log.head(), remembered);
        remembered = append_each(&mut log, &EVENTS).pop();
    }
    // State that was saved a few records ago is no reason for doubt.
    let earlier = Head { seq: 2, hash: Digest::of(scratch.bytes().split(|byte| *byte == b'\n').nth(1).unwrap()) };
    assert_eq!(scratch.findings(Some(earlier)).1, [Finding::Continued]);
    assert_eq!(scratch.verify(&[earlier]).records, 13);
}

#[test]
fn the_file_and_its_directories_are_created_for_us_alone() {
    let scratch = Scratch::new();
    let path = scratch.beside("logs/of/today/security_audit.log");
    AuditLog::open(&path, None, scratch.memory.clone()).unwrap().0.append(&[entry("ServiceStarted")]).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn nothing_is_written_for_no_entries() {
    let scratch = Scratch::new();
    assert_eq!(scratch.open(None).append(&[]).unwrap(), []);
    assert_eq!(scratch.bytes(), b"");
}

#[test]
fn a_tail_torn_at_any_byte_is_told_of_and_the_chain_goes_on() {
    let scratch = Scratch::new();
    let heads = append_each(&mut scratch.open(None), &EVENTS);
    let whole = scratch.bytes();
    let last_line = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for cut in last_line..=whole.len() {
        scratch.put(&whole[..cut]);
        // A crash before the acknowledgement: what is remembered is the record before.
        let (mut log, findings) = scratch.findings(Some(heads[1]));
        let torn = (last_line + 1..whole.len() - 1).contains(&cut);
        let bytes = (cut - last_line) as u64;
        // Fewer bytes than ours begin with could be anybody's.
        let recognised = torn && bytes >= b"{\"seq\":".len() as u64;
        assert_eq!(findings.contains(&Finding::TornTail { bytes }), recognised, "cut at {cut}");
        let after = append_each(&mut log, &["ServiceStarted"]);
        assert!(scratch.bytes().starts_with(&whole[..cut]), "cut at {cut}: nothing is ever taken away");
        let report = scratch.verify(&[heads[0], heads[1], after[0]]);
        assert!(report.is_whole(), "cut at {cut}: {report:?}");
        assert_eq!(report.anchors_matched, 3, "cut at {cut}");
        assert_eq!(scratch.reasons().contains(&"torn_line".to_owned()), recognised, "cut at {cut}");
    }
}

#[test]
fn a_failed_append_acknowledges_nothing_and_the_next_repairs() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    let mut acknowledged = append_each(&mut log, &EVENTS);
    let before = scratch.bytes();
    append_each(&mut scratch.open(log.head()), &["BackupStarted", "BackupFailed"]);
    let after = scratch.bytes();
    scratch.put(&before);
    log.lose_write_access();
    assert!(log.append(&["BackupStarted", "BackupFailed"].map(entry)).is_err());
    assert_eq!(log.head(), acknowledged.last().copied());
    // As a disk that filled up after a record and a half leaves it.
    scratch.put(&after[..after.len() - 20]);
    acknowledged.extend(append_each(&mut log, &["BackupStarted", "BackupFailed"]));
    let report = scratch.verify(&acknowledged);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(scratch.reasons(), ["fresh", "torn_line", "write_failed"]);
    let news = log.take_findings();
    assert!(news.contains(&Finding::Unacknowledged { records: 1 }), "{news:?}");
    assert_eq!(log.take_findings(), []);
}

#[test]
fn lines_of_others_are_tolerated_and_counted() {
    let scratch = Scratch::new();
    scratch.put(b"before us\n");
    let (mut log, _) = scratch.findings(None);
    let mut other = OpenOptions::new().append(true).open(&scratch.path).unwrap();
    let mut heads = append_each(&mut log, &EVENTS);
    other.write_all(b"{\"event\":\"login\"}\n\nsecond\nno newline").unwrap();
    heads.extend(append_each(&mut log, &EVENTS));
    other.write_all(b"last\n").unwrap();
    heads.extend(append_each(&mut log, &EVENTS));
    assert_eq!(log.foreign_lines(), 5);
    let report = scratch.verify(&heads);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.records, report.foreign_lines), (10, 5));
    let (mut again, findings) = scratch.findings(log.head());
    assert_eq!(findings, [Finding::Continued]);
    append_each(&mut again, &EVENTS);
    assert!(scratch.verify(&heads).is_whole());
}

#[test]
fn another_writer_at_the_same_time_breaks_nothing() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    let mut other = OpenOptions::new().append(true).open(&scratch.path).unwrap();
    let done = AtomicBool::new(false);
    let heads = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // In pieces, as `writeln!` to a file does it.
                other.write_all(b"12:00:00 user ").unwrap();
                other.write_all(b"alice logged in").unwrap();
                other.write_all(b"\n").unwrap();
            }
        });
        let batches = (0..200).flat_map(|_| log.append(&EVENTS.map(entry)).unwrap()).collect::<Vec<_>>();
        done.store(true, Ordering::Relaxed);
        batches
    });
    let report = scratch.verify(&heads);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.records, report.anchors_matched, report.broken_lines), (601, 600, 0));
    assert!(report.foreign_lines > 0 && log.foreign_lines() > 0);
    assert_eq!(scratch.reasons(), ["fresh"]);
    assert_eq!(scratch.findings(log.head()).1, [Finding::Continued]);
}

#[test]
fn a_second_process_of_ours_is_told_of_and_the_chain_goes_on() {
    let scratch = Scratch::new();
    let mut first = scratch.open(None);
    let mut heads = append_each(&mut first, &EVENTS);
    heads.extend(append_each(&mut scratch.open(first.head()), &EVENTS));
    let last = heads[5];
    heads.extend(append_each(&mut first, &EVENTS));
    assert_eq!(first.take_findings(), [Finding::OtherWriter { last }]);
    let report = scratch.verify(&heads);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(scratch.reasons(), ["fresh", "other_writer"]);
}

#[test]
fn what_is_no_file_is_refused_by_name() {
    let scratch = Scratch::new();
    let target = scratch.beside("target");
    File::create(&target).unwrap();
    let link = scratch.beside("link.log");
    symlink(&target, &link).unwrap();
    let directory = scratch.beside("directory.log");
    fs::create_dir(&directory).unwrap();
    for (path, found) in
        [(link, NotPlain::Link), (directory, NotPlain::Directory), ("/dev/null".into(), NotPlain::Special)]
    {
        let error = AuditLog::open(&path, None, scratch.memory.clone()).unwrap_err();
        assert!(matches!(error, AuditError::NotAFile { found: it, .. } if it == found), "{error}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
    assert_eq!(fs::metadata(&target).unwrap().len(), 0);
}

#[test]
fn a_place_that_cannot_be_written_gives_one_clear_error() {
    let scratch = Scratch::new();
    scratch.put(b"");
    let below_a_file = scratch.path.join("security_audit.log");
    let read_only = std::path::Path::new("/proc/security_audit.log");
    for (path, action) in [(below_a_file.as_path(), "open"), (read_only, "create")] {
        let error = AuditLog::open(path, None, scratch.memory.clone()).unwrap_err();
        assert_eq!(error.to_string(), format!("{action} {}", path.display()));
        assert!(std::error::Error::source(&error).is_some());
    }
}

#[test]
fn a_log_that_became_a_symlink_is_not_followed() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    append_each(&mut log, &EVENTS);
    let moved = scratch.beside("elsewhere");
    fs::rename(&scratch.path, &moved).unwrap();
    symlink(&moved, &scratch.path).unwrap();
    assert!(matches!(log.append(&[entry("BackupStarted")]).unwrap_err().source, AuditError::NotAFile { .. }));
    fs::remove_file(&scratch.path).unwrap();
    append_each(&mut log, &["BackupStarted"]);
    assert_eq!(log.take_findings().len(), 1);
}

#[test]
fn pages_are_newest_last_and_bounded() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    append_each(&mut log, &EVENTS);
    fs::rename(&scratch.path, scratch.beside("security_audit.log.1")).unwrap();
    append_each(&mut log, &EVENTS);
    let page = |after, limit| -> Vec<u64> {
        scratch.page(&Wanted { after, limit, ..Wanted::default() }).into_iter().map(|record| record.seq).collect()
    };
    assert_eq!(page(None, 3), [6, 7, 8]);
    assert_eq!(page(None, 100), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(page(Some(2), 3), [3, 4, 5]);
    assert_eq!(page(Some(6), 3), [7, 8]);
    assert_eq!(page(Some(8), 3), [0; 0]);
    assert_eq!(page(None, 0), [0; 0]);
    assert_eq!(page(Some(0), 0), [0; 0]);
    let (none, wanted) = (scratch.beside("none.log"), Wanted { limit: 3, ..Wanted::default() });
    assert!(read_records(&none, &[], &wanted, &scratch.authenticator()).unwrap().is_empty());
}
