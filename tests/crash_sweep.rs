//! A crash at every operation of everything that writes.
//!
//! Hazard: a power cut between any two of the hundred steps of a backup. Whatever comes back must open without a hand,
//! hold every acknowledged backup byte for byte, and every other whole or not at all. `FIOVANA_LONG_TESTS=1` tears each
//! crash in many more ways; `FIOVANA_TEST_SEED` tears it in others.

#[path = "repository/mod.rs"]
mod repository;

use fiovana_app::core::BackupKind;
use fiovana_app::repository::{OpenError, Repository, StoredFile};
use fiovana_app::storage::faulty::{CrashKeep, Simulated};
use repository::site::{self, back_up, hour};
use repository::source::Source;
use repository::sweep::Story;
use repository::{Place, long, seed, stories};

fn check(story: &Story) {
    story.restore_the_outcome();
    story.crash_everywhere();
}

#[test]
fn a_creation_that_dies_anywhere_is_done_or_can_be_done_again() {
    let whole = Simulated::new();
    Repository::create(site::storage_on(&whole), hour(0)).expect("create");
    let last = whole.operations();
    // Most of it makes one directory for objects after another; what comes after those is looked at closely.
    for crash in (0..last - 30).step_by(if long() { 1 } else { 29 }).chain(last - 30..=last) {
        let dying = Simulated::new();
        dying.crash_after(crash);
        let acknowledged = Repository::create(site::storage_on(&dying), hour(0)).is_ok();
        for keep in [CrashKeep::Lose, CrashKeep::Keep, CrashKeep::Torn] {
            let _place = Place::new(format!("power cut after {crash} operations, {keep:?}"));
            let disk = dying.after_crash(seed().wrapping_add(crash as u64), keep);
            match site::try_open(site::storage_on(&disk)) {
                Ok(_) => {}
                Err(OpenError::Absent(_)) => {
                    assert!(!acknowledged, "it was acknowledged and is gone");
                    Repository::create(site::storage_on(&disk), hour(1)).expect("create again");
                }
                Err(error) => panic!("{error}"),
            }
            let source = Source::new("security");
            source.write("a.json", b"{}");
            let backup = site::back_up_now(&site::open(&disk).0, &source.set, 2);
            let repository = site::open(&disk.after_crash(0, CrashKeep::Lose)).0;
            assert_eq!(site::content(&repository, &backup), source.files());
        }
    }
}

#[test]
fn a_first_backup_that_dies_anywhere_is_whole_or_absent() {
    stories::first_backup(check);
}

#[test]
fn a_later_backup_that_dies_anywhere_is_whole_or_absent_and_the_earlier_ones_stay() {
    stories::later_backup(check);
}

#[test]
fn a_deletion_that_dies_anywhere_leaves_each_backup_whole_or_pruned() {
    stories::deletion(check);
}

#[test]
fn the_sequence_of_a_deleted_newest_backup_is_never_given_again() {
    stories::deletion_of_the_newest(check);
}

#[test]
fn a_durable_state_file_is_the_old_or_the_new_one_after_any_crash() {
    stories::state(check);
}

#[test]
fn a_pin_is_there_once_it_was_acknowledged_and_gone_once_it_was_taken_away() {
    stories::pin(check);
}

#[test]
fn a_heal_that_dies_anywhere_is_finished_by_the_next_backup() {
    let source = Source::rich("security");
    let disk = stories::disk_with(&source, 0).0;
    let repository = site::open(&disk).0;
    let backup = site::back_up_now(&repository, &source.set, 1);
    // Small files, which are read each time.
    let content = backup.content.expect("its manifest");
    let packed = content.manifest.files().iter().flat_map(|file| &file.chunks).find(|chunk| chunk.frame.is_some());
    let pack = StoredFile::Object(packed.expect("a pack").object);
    disk.flip_bit(pack.path().as_str(), 9, 3).expect("a flip");
    let opened = disk.after_kill();
    drop(site::open(&opened));
    for crash in opened.operations().. {
        let dying = disk.after_kill();
        dying.crash_after(crash);
        let repository = site::open(&dying).0;
        let finished = back_up(&repository, &source.set, BackupKind::Manual, hour(20)).is_ok();
        for keep in [CrashKeep::Lose, CrashKeep::Torn] {
            let _place = Place::new(format!("power cut after {crash} operations, {keep:?}"));
            let repository = site::open(&dying.after_crash(seed().wrapping_add(crash as u64), keep)).0;
            site::back_up_now(&repository, &source.set, 30);
            for backup in site::backups(&repository) {
                assert_eq!(site::content(&repository, &backup), source.files(), "{}", backup.id);
            }
        }
        if finished {
            break;
        }
    }
}
