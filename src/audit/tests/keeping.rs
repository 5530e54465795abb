//! Records kept elsewhere while the log cannot be written, and merged later.
//!
//! Hazard: whatever happens in between, each record is there once, in its order, and the chain is whole.

use std::fs;

use crate::audit::testing::{Scratch, append_each, entry};
use crate::audit::{AuditLog, Batch, Entry, Head, Kept, kept};

const EVENTS: [&str; 3] = ["ServiceStarted", "BackupStarted", "BackupCompleted"];

fn entries() -> Vec<Entry> {
    ["BackupFailed", "RestoreStarted", "RestoreCompleted", "CleanupStarted"].into_iter().map(entry).collect()
}

/// Four records after `head`, in two files.
fn keep_after(scratch: &Scratch, head: Option<Head>) -> Vec<Kept> {
    let (entries, authenticator) = (entries(), scratch.authenticator());
    let first = Batch::after(head, &entries[..2], authenticator.key()).unwrap();
    let second = Batch::after(first.head(), &entries[2..], authenticator.key()).unwrap();
    [first, second]
        .iter()
        .map(|batch| Kept {
            path: format!("kept-{}", batch.first_seq().unwrap()).into(),
            bytes: batch.bytes().to_vec(),
        })
        .collect()
}

fn reopen(scratch: &Scratch, kept: &[Kept]) -> AuditLog {
    scratch.open(kept::base(kept))
}

fn kept_events(scratch: &Scratch) -> Vec<String> {
    let names: Vec<String> = entries().iter().map(|entry| entry.event.to_owned()).collect();
    scratch.records().into_iter().map(|record| record.event).filter(|event| names.contains(event)).collect()
}

fn expected_events() -> Vec<String> {
    entries().iter().map(|entry| entry.event.to_owned()).collect()
}

#[test]
fn kept_records_are_part_of_the_chain_before_and_after_they_are_merged() {
    let scratch = Scratch::new();
    let head = *append_each(&mut scratch.open(None), &EVENTS).last().unwrap();
    let kept = keep_after(&scratch, Some(head));
    let last = kept::head(&kept).unwrap();
    assert_eq!((kept::base(&kept), last.seq), (Some(head), head.seq + 4));
    let report = scratch.verify_with(&kept, &[head, last]);
    assert!(report.is_whole() && report.anchors_matched == 2, "{report:?}");
    let mut log = reopen(&scratch, &kept);
    let merged = log.merge(&kept).unwrap();
    assert_eq!((merged.written, merged.renumbered, log.head()), (4, false, Some(last)));
    let next = *append_each(&mut log, &EVENTS).last().unwrap();
    // Those who looked at what was kept just before it was merged see it twice, and count it once.
    let report = scratch.verify_with(&kept, &[head, last, next]);
    assert!(report.is_whole() && report.anchors_matched == 3, "{report:?}");
    assert_eq!(kept_events(&scratch), expected_events());
}

#[test]
fn an_altered_or_lost_kept_record_is_found_by_the_anchors() {
    let scratch = Scratch::new();
    let head = *append_each(&mut scratch.open(None), &EVENTS).last().unwrap();
    let kept = keep_after(&scratch, Some(head));
    let anchor = kept::head(&kept).unwrap();
    for file in 0..2 {
        for at in 0..kept[file].bytes.len() - 1 {
            let mut altered = kept.clone();
            altered[file].bytes[at] ^= 1;
            let report = scratch.verify_with(&altered, &[anchor]);
            assert!(!report.is_whole(), "byte {at} of file {file}");
        }
        let mut fewer = kept.clone();
        fewer.remove(file);
        assert!(!scratch.verify_with(&fewer, &[anchor]).is_whole());
    }
}

#[test]
fn a_merge_cut_off_at_any_byte_is_finished_by_the_next_and_repeats_nothing() {
    let scratch = Scratch::new();
    let head = *append_each(&mut scratch.open(None), &EVENTS).last().unwrap();
    let before = scratch.bytes().len();
    let kept = keep_after(&scratch, Some(head));
    let last = kept::head(&kept).unwrap();
    reopen(&scratch, &kept).merge(&kept).unwrap();
    let whole = scratch.bytes();
    for cut in before..=whole.len() {
        scratch.put(&whole[..cut]);
        let mut log = reopen(&scratch, &kept);
        log.merge(&kept).unwrap();
        let next = *append_each(&mut log, &["ServiceStopped"]).last().unwrap();
        let report = scratch.verify(&[head, last, next]);
        assert!(report.is_whole() && report.anchors_matched == 3, "cut at {cut}: {report:?}");
        assert_eq!(kept_events(&scratch), expected_events(), "cut at {cut}");
    }
}

#[test]
fn a_batch_that_failed_half_way_and_was_kept_is_in_the_log_once() {
    let scratch = Scratch::new();
    let mut log = scratch.open(None);
    let head = *append_each(&mut log, &EVENTS).last().unwrap();
    log.lose_write_access();
    let unwritten = log.append(&entries()).unwrap_err();
    let kept = [Kept { path: "kept".into(), bytes: unwritten.batch.bytes().to_vec() }];
    assert_eq!(kept::base(&kept), Some(head));
    for length in 0..=kept[0].bytes.len() {
        let scratch_bytes = scratch.bytes();
        scratch.put(&[&scratch_bytes[..], &kept[0].bytes[..length]].concat());
        let mut log = reopen(&scratch, &kept);
        log.merge(&kept).unwrap();
        assert_eq!(kept_events(&scratch), expected_events(), "{length} bytes had got into the log");
        assert!(scratch.verify(&[kept::head(&kept).unwrap()]).is_whole());
        scratch.put(&scratch_bytes);
    }
}

#[test]
fn a_log_that_went_on_elsewhere_gets_the_kept_records_under_new_numbers_and_says_so() {
    let scratch = Scratch::new();
    let head = append_each(&mut scratch.open(None), &EVENTS)[0];
    // What was remembered was older than the log, which could not be read.
    let kept = keep_after(&scratch, Some(head));
    let report = scratch.verify_with(&kept, &[head]);
    assert!(report.is_whole() && report.records == 4, "before they are merged: {report:?}");
    let merged = reopen(&scratch, &kept).merge(&kept).unwrap();
    assert_eq!((merged.written, merged.renumbered), (4, true));
    let whole = scratch.bytes();
    let first =
        whole.len() - scratch.bytes().split_inclusive(|b| *b == b'\n').rev().take(4).map(<[u8]>::len).sum::<usize>();
    for cut in first..=whole.len() {
        scratch.put(&whole[..cut]);
        reopen(&scratch, &kept).merge(&kept).unwrap();
        assert_eq!(kept_events(&scratch), expected_events(), "cut at {cut}");
        let report = scratch.verify(&[head]);
        assert!(report.is_whole(), "cut at {cut}: {report:?}");
    }
    let records = scratch.records();
    let renumbered = records.iter().find(|record| record.event == "BackupFailed").unwrap();
    assert_eq!((renumbered.seq, &renumbered.details["kept_as"]["seq"]), (5, &3.into()));
}

#[test]
fn a_log_rotated_while_records_were_kept_still_begins_where_it_should() {
    let scratch = Scratch::new();
    let head = *append_each(&mut scratch.open(None), &EVENTS).last().unwrap();
    let kept = keep_after(&scratch, Some(head));
    fs::rename(&scratch.path, scratch.beside("security_audit.log.1")).unwrap();
    let mut log = reopen(&scratch, &kept);
    assert!(!log.merge(&kept).unwrap().renumbered);
    let next = *append_each(&mut log, &EVENTS).last().unwrap();
    assert!(scratch.verify(&[head, next]).is_whole());
    assert_eq!(scratch.reasons(), ["fresh", "rotated"]);
    // Also once the file before it is gone.
    fs::remove_file(scratch.beside("security_audit.log.1")).unwrap();
    let report = scratch.verify(&[head, next]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.first_seq, report.anchors_before_first), (Some(head.seq + 1), 1));
}
