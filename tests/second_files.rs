//! Second files for an object: `H.1` and on beside an `H` that is damaged.
//!
//! Hazard: in a store where nothing can be overwritten, a repair is a file beside the damage. A program that does not look
//! there calls lost what is not, or leaves behind for ever what nobody needs.

#[path = "repository/mod.rs"]
mod repository;

use fiovana_app::core::BackupState;
use fiovana_app::pipeline::Progress;
use fiovana_app::pipeline::heal::{Healing, Pharmacy, heal};
use fiovana_app::pipeline::replicate::{self, Next, Run};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::{Repository, StoredFile, layout};
use fiovana_app::storage::faulty::Simulated;
use repository::Place;
use repository::damage::{Damage, bytes, paths};
use repository::site::{self, back_up_now, hour};
use repository::source::Source;

const NOTHING: Pharmacy<'_> = Pharmacy { copies: &[], sets: &[] };

/// Calls `check` with each object damaged in each way, and with what it was: the object's file and what is in it.
fn each(check: impl Fn(&Source, &Simulated, &Backup, &StoredFile, &str, &[u8])) {
    let (source, disk) = (Source::rich("security"), site::new_disk());
    let backup = back_up_now(&site::open(&disk).0, &source.set, 1);
    for object in &backup.content.as_ref().expect("its manifest").manifest.envelope.objects {
        let path = layout::object(&object.name).to_string();
        let right = bytes(&disk, &path).expect("it is there");
        for damage in [Damage::Flip { byte: 9, bit: 1 }, Damage::Truncate { bytes: 7 }, Damage::Delete, Damage::Zero] {
            let _place = Place::new(format!("{damage:?} of {path}"));
            let disk = disk.after_kill();
            damage.apply(&disk, &path);
            check(&source, &disk, &backup, &StoredFile::Object(object.name), &path, &right);
        }
    }
}

/// Everything that says that a backup is whole, after a fresh start.
fn judge(source: &Source, disk: &Simulated, backup: &Backup) -> Repository {
    let repository = site::open(disk).0;
    let state = repository.catalogue().get(backup.id).map(Backup::state);
    assert_eq!(state, Some(BackupState::Good), "a start takes nothing for lost");
    assert_eq!(site::verdict(&repository, backup), Verdict::Intact);
    let (result, restored) = site::restore(&repository, backup);
    result.unwrap();
    assert!(restored == source.files());
    repository
}

#[test]
fn a_second_file_that_is_right_stands_for_the_first_heals_it_and_goes_with_it() {
    each(|source, disk, backup, file, path, right| {
        disk.write_raw(format!("{path}.1"), b"damaged, too").unwrap();
        disk.write_raw(format!("{path}.2"), right).unwrap();
        disk.write_raw(format!("{path}.12"), b"this is none").unwrap();
        let repository = judge(source, disk, backup);
        let healing = heal(&repository, file, &NOTHING, hour(2)).unwrap();
        assert!(matches!(&healing, Healing::Healed(remedy) if remedy.code() == "itself"), "{healing:?}");
        assert!(bytes(disk, path).unwrap() == right);
        let repository = judge(source, disk, backup);
        source.write("one more", b"so that a backup is left");
        let next = back_up_now(&repository, &source.set, 3);
        source.remove("one more");
        repository.delete_backups(&source.set.name, &[backup.id, next.id]).unwrap();
        site::collect_all(&repository);
        let left: Vec<String> = paths(disk).into_iter().filter(|path| path.starts_with("objects/")).collect();
        assert_eq!(left, [format!("{path}.12")], "it is no file of the repository");
    });
}

#[test]
fn where_all_are_damaged_the_object_is_lost_and_all_are_kept_aside() {
    each(|_, disk, backup, file, path, right| {
        let mut wrong = right.to_vec();
        wrong[3] ^= 1;
        disk.write_raw(format!("{path}.1"), &wrong).unwrap();
        let repository = site::open(disk).0;
        let Verdict::Damaged(damages) = site::verdict(&repository, backup) else { panic!("it went unseen") };
        assert!(damages.iter().all(|damage| damage.place == path), "{damages:?}");
        let before = paths(disk).iter().filter(|found| found.starts_with(path)).count();
        match heal(&repository, file, &NOTHING, hour(2)).unwrap() {
            Healing::Lost => {}
            // Two damaged packs of which one has what the other lacks.
            Healing::Healed(_) => {
                assert!(bytes(disk, path).unwrap() == right);
                return;
            }
            other => panic!("{other:?}"),
        }
        let after = paths(disk).iter().filter(|found| found.starts_with(path)).count();
        let aside = paths(disk).into_iter().filter(|path| path.starts_with("quarantine/"));
        let kept = aside.filter(|path| !path.ends_with(".note.json")).count();
        assert!(after == before || (after == 0 && kept == before), "{before} files, {after} left, {kept} aside");
    });
}

#[test]
fn a_replica_gets_the_right_one_and_no_second_file() {
    each(|source, disk, backup, _, path, right| {
        disk.write_raw(format!("{path}.1"), right).unwrap();
        let (repository, other) = (site::open(disk).0, Simulated::new());
        repository.create_replica(site::storage_on(&other)).unwrap();
        let replica = site::open(&other).0;
        let (sets, mut run) = ([source.set.name.clone()], Run::default());
        loop {
            match replicate::step(&repository, &replica, &sets, &mut run, hour(2), &Progress::default()).unwrap() {
                Next::Nothing => break,
                Next::Step => {}
                Next::Heal(damages) => panic!("{damages:?}"),
            }
        }
        assert!(bytes(&other, path).unwrap() == right && bytes(&other, &format!("{path}.1")).is_none());
        judge(source, &other, backup);
    });
}
