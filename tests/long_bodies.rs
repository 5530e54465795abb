//! Manifests of many entries, whose lines are kept in objects.
//!
//! Hazard: a list that is kept in pieces is lost with one of them, and the files with it.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::BTreeSet;

use fiovana_app::core::{BackupState, Digest};
use fiovana_app::pipeline::heal::{Copy, Healing, Pharmacy, heal};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::{Repository, StoredFile, layout};
use fiovana_app::storage::faulty::Simulated;
use repository::Place;
use repository::damage::{Damage, bytes};
use repository::site::{self, back_up_now, hour};
use repository::source::{Source, write};

const ENTRIES: u64 = 3500;

/// A source of so many files that their lines are more than a mebibyte.
fn source() -> Source {
    let source = Source::new("security");
    (0..ENTRIES).for_each(|number| change(&source, number, 0));
    source
}

fn change(source: &Source, number: u64, round: u64) {
    write(&source.path(&name(number)), format!("{number} in round {round}").as_bytes());
}

fn name(number: u64) -> String {
    format!("directory-{:02}/a file with quite a long name {number:05}.txt", number % 60)
}

fn lines(backup: &Backup) -> Vec<Digest> {
    let content = backup.content.as_ref().expect("its manifest");
    content.manifest.lines.iter().map(|chunk| chunk.object).collect()
}

fn manifest_bytes(disk: &Simulated, backup: &Backup) -> usize {
    bytes(disk, layout::manifest(&backup.set, backup.id).as_str()).expect("it is there").len()
}

/// Every file of a backup, read after a fresh start.
fn judge(disk: &Simulated, backup: &Backup, source: &Source) -> Repository {
    let repository = site::open(disk).0;
    assert_eq!(site::verdict(&repository, backup), Verdict::Intact);
    assert!(site::content(&repository, backup) == source.files());
    repository
}

#[test]
fn the_lines_of_many_entries_are_shared_with_the_next_backup_as_far_as_nothing_changed() {
    let (source, disk) = (source(), site::new_disk());
    let repository = site::open(&disk).0;
    let first = back_up_now(&repository, &source.set, 1);
    assert!(lines(&first).len() > 5, "{}", lines(&first).len());
    assert!(manifest_bytes(&disk, &first) < 20_000, "{}", manifest_bytes(&disk, &first));
    let envelope = &first.content.as_ref().unwrap().manifest.envelope;
    let needed: BTreeSet<Digest> = envelope.objects.iter().map(|object| object.name).collect();
    assert!(lines(&first).iter().all(|object| needed.contains(object)), "they are kept as long as the backup is");
    judge(&disk, &first, &source);
    // A file that changes, one that goes and one that comes.
    let repository = site::open(&disk).0;
    change(&source, 70, 1);
    source.remove(&name(1001));
    change(&source, ENTRIES, 1);
    let second = back_up_now(&repository, &source.set, 2);
    let before: BTreeSet<Digest> = lines(&first).into_iter().collect();
    let new = lines(&second).into_iter().filter(|object| !before.contains(object)).count();
    assert!((1..=3).contains(&new), "{new} of {} are new", lines(&second).len());
    let repository = judge(&disk, &second, &source);
    // What only the first needed goes with it.
    repository.delete_backups(&source.set.name, &[first.id]).unwrap();
    assert!(site::collect_all(&repository) > 0);
    judge(&disk, &second, &source);
    let (result, restored) = site::restore(&repository, &second);
    result.unwrap();
    assert!(restored == source.files());
}

#[test]
fn few_entries_stay_in_the_manifest() {
    let (source, disk) = (Source::new("security"), site::new_disk());
    (0..200).for_each(|number| change(&source, number, 0));
    let backup = back_up_now(&site::open(&disk).0, &source.set, 1);
    assert!(lines(&backup).is_empty());
    judge(&disk, &backup, &source);
}

#[test]
fn damaged_lines_are_found_and_healed_from_what_is_known_or_from_a_replica() {
    let (source, disk) = (source(), site::new_disk());
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let object = lines(&backup)[2];
    let (file, path) = (StoredFile::Object(object), layout::object(&object).to_string());
    let right = bytes(&disk, &path).unwrap();
    let encrypted = site::keys().recipients().is_some();
    for damage in [Damage::Flip { byte: 99, bit: 1 }, Damage::Truncate { bytes: 50 }, Damage::Delete, Damage::Zero] {
        for has_replica in [false, true] {
            for is_running in [true, false] {
                let _place = Place::new(format!("{damage:?}, replica {has_replica}, running {is_running}"));
                let (disk, replica) = (disk.after_kill(), site::open(&disk.after_kill()).0);
                let running = site::open(&disk).0;
                damage.apply(&disk, &path);
                // A program that starts later knows the objects, and not the lines.
                let repository = if is_running { running } else { site::open(&disk).0 };
                let known = repository.catalogue().get(backup.id).cloned().expect("it is listed");
                let Verdict::Damaged(damages) = site::verdict(&repository, &known) else { panic!("it went unseen") };
                assert_eq!(damages[0].place, path);
                let copies = [Copy { name: "replica".into(), repository: &replica }];
                let copies = if has_replica { &copies[..] } else { &[] };
                let healing = heal(&repository, &file, &Pharmacy { copies, sets: &[] }, hour(9)).unwrap();
                if !has_replica && (encrypted || !is_running) {
                    assert!(matches!(healing, Healing::Lost), "{healing:?}");
                    continue;
                }
                let source_of = if has_replica { "replica" } else { "memory" };
                assert!(matches!(&healing, Healing::Healed(remedy) if remedy.code() == source_of), "{healing:?}");
                assert!(bytes(&disk, &path).unwrap() == right);
                let known = repository.catalogue().get(backup.id).cloned().expect("it is listed");
                site::verify_all(&repository, hour(10));
                assert_eq!(site::verdict(&repository, &known), Verdict::Intact);
                let known = repository.catalogue().get(backup.id).cloned().expect("it is listed");
                assert_eq!(known.state(), BackupState::Good);
                assert!(known.content.unwrap().manifest.body.is_some(), "its files are known again");
            }
        }
    }
}

#[test]
fn a_backup_whose_lines_cannot_be_read_may_have_the_only_copy_of_a_file_and_is_not_swept() {
    let (source, disk) = (source(), site::new_disk());
    let repository = site::open(&disk).0;
    let first = back_up_now(&repository, &source.set, 1);
    change(&source, 70, 1);
    let second = back_up_now(&repository, &source.set, 2);
    let shared: BTreeSet<Digest> = lines(&second).into_iter().collect();
    let own = lines(&first).into_iter().find(|object| !shared.contains(object)).expect("it has lines of its own");
    let mut merciless = source.set.clone();
    (merciless.max_backups, merciless.retention_days) = (1, 1);
    for is_damaged in [true, false] {
        let disk = disk.after_kill();
        if is_damaged {
            Damage::Flip { byte: 5, bit: 0 }.apply(&disk, layout::object(&own).as_str());
        }
        let repository = site::open(&disk).0;
        site::sweep_all(&repository, &merciless, hour(24 * 365));
        assert_eq!(repository.catalogue().get(first.id).is_some(), is_damaged);
    }
}

#[test]
fn nothing_is_collected_that_a_backup_needs_whose_lines_cannot_be_read() {
    let (source, disk) = (source(), site::new_disk());
    let repository = site::open(&disk).0;
    let backup = back_up_now(&repository, &source.set, 1);
    let all = |disk: &Simulated| -> BTreeSet<String> {
        let objects = repository::damage::paths(disk).into_iter().filter(|path| path.starts_with("objects/"));
        objects.collect()
    };
    let path = layout::object(&lines(&backup)[1]).to_string();
    Damage::Flip { byte: 5, bit: 0 }.apply(&disk, &path);
    let before = all(&disk);
    let repository = site::open(&disk).0;
    site::collect_all(&repository);
    assert_eq!(all(&disk), before);
}
