//! Healing: every kind of damage to every kind of file, put right.
//!
//! Hazard: a repair that brings back the wrong bytes, throws the damaged ones away, or leaves a crash worse off than the
//! damage did.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fiovana_app::core::{BackupState, Digest};
use fiovana_app::pipeline::heal::{Copy, Healing, Pharmacy, heal};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::{Generation, OpenError, ReadFrom, Repository, StoredFile};
use fiovana_app::storage::faulty::{CrashKeep, Simulated};
use repository::damage::{Damage, Kind, bytes, damages, paths};
use repository::site::{self, back_up_now, hour};
use repository::source::{CHUNK_BYTES, Source, lines};
use repository::{Place, long, seed};

/// A repository that has everything, and its replica: the same tree in another place.
struct Pair {
    source: Source,
    disk: Simulated,
    replica: Simulated,
}

impl Pair {
    fn new() -> Self {
        let source = Source::rich("security");
        let disk = site::new_disk();
        let repository = site::open(&disk).0;
        let mut pins = BTreeMap::new();
        for at in 1..5 {
            source.write("changed.json", format!(r#"{{"at":{at}}}"#).as_bytes());
            let backup = back_up_now(&repository, &source.set, at);
            match at {
                1 | 3 => drop(pins.insert(backup.id, true)),
                2 => repository.delete_backups(&source.set.name, &[backup.id]).expect("delete"),
                _ => {}
            }
        }
        repository.change_pins(&source.set.name, &pins).expect("pin");
        site::collect_all(&repository);
        disk.remove_raw("state/reserve").ok();
        source.write("audit.log", &lines(7, CHUNK_BYTES));
        source.write("changed.json", b"{}");
        Self { source, replica: disk.after_kill(), disk: disk.after_kill() }
    }

    /// The stored files, of every kind.
    fn stored(&self) -> Vec<String> {
        let mut stored = paths(&self.disk);
        stored.retain(|path| StoredFile::at(path).is_some());
        let kinds: BTreeSet<String> = stored.iter().map(|path| format!("{:?}", Kind::of(path))).collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
        stored
    }

    fn sets(&self) -> [fiovana_app::settings::SetSettings; 1] {
        [self.source.set.clone()]
    }
}

/// A replica to heal from.
fn replica_of(pair: &Pair) -> Repository {
    site::open(&pair.replica.after_kill()).0
}

/// Opens the repository on a disk; where what makes it one is damaged, by what its replica says.
fn open_with(disk: &Simulated, replica: &Repository) -> Repository {
    match Repository::open(site::storage_on(disk), true) {
        Ok((repository, _)) => repository,
        Err(OpenError::Damaged { .. } | OpenError::Headless(_)) => {
            assert!(replica.is_related_to(site::storage_on(disk).as_ref()).expect("list"));
            Repository::open_as(site::storage_on(disk), replica.document().clone(), true).expect("open").0
        }
        Err(error) => panic!("{error}"),
    }
}

/// Reads everything stored, as a scrub does.
fn scrub(repository: &Repository) -> Vec<StoredFile> {
    let shards = repository.shards().into_iter().map(|(shard, _)| shard);
    let files = shards.flat_map(|shard| repository.stored_files(&shard));
    files.filter(|file| repository.read_stored(file, ReadFrom::Disk).is_err_and(|error| error.is_damage())).collect()
}

fn as_copies<'a>(copies: &[&'a Repository]) -> Vec<Copy<'a>> {
    copies.iter().map(|repository| Copy { name: "replica test".into(), repository }).collect()
}

/// Heals all of it, once; what became of each file.
fn heal_all(repository: &Repository, pair: &Pair, copies: &[&Repository]) -> Vec<(StoredFile, Healing)> {
    copies.iter().for_each(|copy| repository.miss(copy));
    let (sets, copies) = (pair.sets(), as_copies(copies));
    let pharmacy = Pharmacy { copies: &copies, sets: &sets };
    let heal = |file: StoredFile| {
        let healing = heal(repository, &file, &pharmacy, hour(60)).expect("heal");
        (file, healing)
    };
    scrub(repository).into_iter().map(heal).collect()
}

#[test]
fn what_was_deleted_on_purpose_before_it_was_healed_stays_deleted() {
    let pair = Pair::new();
    let (disk, replica) = (pair.disk.after_kill(), replica_of(&pair));
    let repository = open_with(&disk, &replica);
    let set = &pair.source.set.name;
    let pinned: Vec<_> = repository.catalogue().backups().filter(|backup| backup.pinned).cloned().collect();
    let [deleted, unpinned] = &pinned[..] else { panic!("{pinned:?}") };
    let files = [StoredFile::Manifest(set.clone(), deleted.id), StoredFile::Pins(set.clone(), Generation(1))];
    let objects = deleted.content.iter().flat_map(|content| &content.manifest.envelope.objects);
    let files: Vec<StoredFile> = objects
        .map(|object| StoredFile::Object(object.name))
        .chain(files)
        .filter(|file| {
            disk.remove_raw(file.path().as_str()).unwrap();
            true
        })
        .collect();
    let mut found = scrub(&repository);
    found.sort_by_key(|file| file.path().to_string());
    let mut expected = files;
    expected.sort_by_key(|file| file.path().to_string());
    assert_eq!(found, expected);

    repository.set_pinned(set, unpinned.id, false).expect("unpin");
    repository.delete_backups(set, &[deleted.id]).expect("delete");
    site::collect_all(&repository);
    let (sets, copies) = (pair.sets(), as_copies(&[&replica]));
    let pharmacy = Pharmacy { copies: &copies, sets: &sets };
    let needed: HashSet<_> = repository
        .catalogue()
        .backups()
        .flat_map(|backup| {
            let objects = backup.content.iter().flat_map(|content| &content.manifest.envelope.objects);
            objects.map(|object| object.name).collect::<Vec<_>>()
        })
        .collect();
    for file in found {
        let healing = heal(&repository, &file, &pharmacy, hour(60)).expect("heal");
        let is_needed = file.object().is_some_and(|name| needed.contains(&name));
        assert_eq!(matches!(healing, Healing::Deleted), !is_needed, "{file:?}: {healing:?}");
        assert_eq!(bytes(&disk, file.path().as_str()).is_some(), is_needed, "{file:?}: {healing:?}");
    }
    assert!(paths(&disk).iter().all(|path| !path.starts_with("quarantine/")), "{:?}", paths(&disk));
}

fn judge_healed(pair: &Pair, disk: &Simulated, touched: &[String], damaged: &[(String, Option<Vec<u8>>)]) {
    for path in pair.stored() {
        assert!(bytes(disk, &path) == bytes(&pair.disk, &path), "{path} is not what it was");
    }
    let (repository, report) = site::open(disk);
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!(scrub(&repository), [], "healed, and damaged");
    for (backup, verdict) in site::verify_all(&repository, hour(70)) {
        assert_eq!(verdict, Verdict::Intact, "{}", backup.id);
        if long() {
            assert!(site::restore(&repository, &backup).0.is_ok(), "{}", backup.id);
        }
    }
    let quarantined: Vec<_> = paths(disk).into_iter().filter(|path| path.starts_with("quarantine/")).collect();
    let kept: Vec<_> = quarantined.iter().filter(|path| !path.ends_with(".note.json")).collect();
    for (path, found) in damaged.iter().filter(|(path, _)| touched.contains(path)) {
        let Some(found) = found else { continue };
        let is_kept = kept.iter().any(|kept| bytes(disk, kept).as_ref() == Some(found));
        assert!(is_kept, "the damaged bytes of {path} were thrown away");
    }
    assert_eq!(quarantined.len(), 2 * kept.len(), "a note for each: {quarantined:?}");
}

/// What is done to a file: everything, or one way of each kind.
fn all_damages(disk: &Simulated, path: &str) -> Vec<Damage> {
    let mut all = damages(disk, path);
    if !long() {
        let mut seen = HashSet::new();
        all.retain(|damage| seen.insert(std::mem::discriminant(damage)));
    }
    all
}

#[test]
fn any_file_damaged_in_any_way_is_healed_byte_for_byte_from_the_replica() {
    let pair = Pair::new();
    for path in pair.stored() {
        for damage in all_damages(&pair.disk, &path) {
            let _place = Place::new(format!("{damage:?} of {path}"));
            let disk = pair.disk.after_kill();
            // Running, as in the service: what was there when it was opened is known.
            let repository = site::open(&disk).0;
            let touched = damage.apply(&disk, &path);
            let damaged: Vec<_> = touched.iter().map(|path| (path.clone(), bytes(&disk, path))).collect();
            for (file, healing) in heal_all(&repository, &pair, &[&replica_of(&pair)]) {
                assert!(matches!(healing, Healing::Healed(_)), "{file:?}: {healing:?}");
            }
            judge_healed(&pair, &disk, &touched, &damaged);
        }
    }
}

#[test]
fn damage_that_happened_while_nothing_ran_is_healed_after_the_next_start() {
    let pair = Pair::new();
    for path in pair.stored() {
        for damage in all_damages(&pair.disk, &path) {
            let _place = Place::new(format!("{damage:?} of {path}"));
            let disk = pair.disk.after_kill();
            let touched = damage.apply(&disk, &path);
            let damaged: Vec<_> = touched.iter().map(|path| (path.clone(), bytes(&disk, path))).collect();
            let replica = replica_of(&pair);
            for (file, healing) in heal_all(&open_with(&disk, &replica), &pair, &[&replica]) {
                assert!(matches!(healing, Healing::Healed(_)), "{file:?}: {healing:?}");
            }
            judge_healed(&pair, &disk, &touched, &damaged);
        }
    }
}

#[test]
fn without_a_replica_what_the_source_still_has_is_healed_and_the_rest_is_kept_aside_and_named() {
    let pair = Pair::new();
    for path in pair.stored().into_iter().filter(|path| Kind::of(path) == Kind::Object) {
        let _place = Place::new(&path);
        let disk = pair.disk.after_kill();
        let repository = site::open(&disk).0;
        Damage::Flip { byte: 3, bit: 1 }.apply(&disk, &path);
        let found = bytes(&disk, &path);
        let [(file, healing)] = &heal_all(&repository, &pair, &[])[..] else { panic!("one is damaged") };
        let name = file.object().expect("an object");
        let needing = |repository: &Repository| -> Vec<Backup> {
            repository.catalogue().needing(&[name].into()).cloned().collect()
        };
        let stays = matches!(healing, Healing::Lost) && bytes(&disk, &path) == found;
        let kept = paths(&disk).iter().any(|path| path.starts_with("quarantine/") && bytes(&disk, path) == found);
        assert!(kept || stays, "the damaged bytes were thrown away");
        match healing {
            Healing::Healed(remedy) => {
                assert_eq!(remedy.code(), "source");
                assert!(bytes(&disk, &path) == bytes(&pair.disk, &path));
                for backup in needing(&repository) {
                    assert_eq!(site::verdict(&repository, &backup), Verdict::Intact);
                }
            }
            Healing::Lost => {
                assert!(!stays || is_pack(&repository, &name), "only what is left of a pack is of use");
                assert!(stays || bytes(&disk, &path).is_none());
                for backup in needing(&repository) {
                    assert!(matches!(site::verdict(&repository, &backup), Verdict::Damaged(_)));
                    let (result, restored) = site::restore(&repository, &backup);
                    assert!(restored.is_empty() || (stays && result.is_ok()), "only what it does not need is hurt");
                }
                // As the service does; of what is absent a start tells as much.
                if stays {
                    site::verify_all(&repository, hour(61));
                }
                assert!(!site::open(&disk).0.catalogue().backups().any(|b| {
                    b.state() == BackupState::Good && needing(&repository).iter().any(|other| other.id == b.id)
                }));
            }
            other => panic!("{other:?}"),
        }
        back_up_now(&repository, &pair.source.set, 90);
        assert!(scrub(&repository).is_empty() || matches!(healing, Healing::Lost));
    }
}

/// Whether a backup finds more than one chunk in this object.
fn is_pack(repository: &Repository, name: &Digest) -> bool {
    let catalogue = repository.catalogue();
    let mut files = catalogue.backups().flat_map(|b| b.content.iter()).flat_map(|content| content.manifest.files());
    files.any(|file| file.chunks.iter().any(|chunk| chunk.object == *name && chunk.frame.is_some()))
}

#[test]
fn a_machine_that_dies_anywhere_in_a_healing_is_no_worse_off_and_the_next_healing_ends_it() {
    let pair = Pair::new();
    let stored = pair.stored();
    let one_of_each = |kind: Kind| stored.iter().rfind(|path| Kind::of(path) == kind).expect("one").clone();
    for kind in [Kind::Object, Kind::Manifest, Kind::Pruned, Kind::Pins, Kind::Repository, Kind::Instructions] {
        let path = one_of_each(kind);
        let damage = Damage::Flip { byte: 2, bit: 3 };
        let prepare = || {
            let disk = pair.disk.after_kill();
            let repository = site::open(&disk).0;
            damage.apply(&disk, &path);
            (disk, repository)
        };
        let (disk, repository) = prepare();
        let before = disk.operations();
        heal_all(&repository, &pair, &[&replica_of(&pair)]);
        let operations = before..disk.operations();
        assert!(operations.len() > 5, "the healing does nothing");
        for crash in operations {
            let (disk, repository) = prepare();
            let damaged = bytes(&disk, &path);
            disk.crash_after(crash);
            let (sets, replica) = (pair.sets(), replica_of(&pair));
            let copies = as_copies(&[&replica]);
            let pharmacy = Pharmacy { copies: &copies, sets: &sets };
            let file = StoredFile::at(&path).expect("a stored file");
            let _ = heal(&repository, &file, &pharmacy, hour(60));
            for keep in [CrashKeep::Lose, CrashKeep::Keep].into_iter().chain([CrashKeep::Torn; 4]) {
                let _place = Place::new(format!("{path}: dead after {crash} operations, {keep:?}"));
                let left = disk.after_crash(seed().wrapping_add(crash as u64), keep);
                let there = |disk: &Simulated| paths(disk).iter().any(|path| bytes(disk, path) == damaged);
                assert!(there(&left) || bytes(&left, &path) == bytes(&pair.disk, &path), "the damaged bytes are gone");
                for path in stored.iter().filter(|other| **other != path) {
                    assert!(bytes(&left, path) == bytes(&pair.disk, path), "{path} was touched");
                }
                let repository = open_with(&left, &replica);
                for (file, healing) in heal_all(&repository, &pair, &[&replica]) {
                    assert!(matches!(healing, Healing::Healed(_)), "{file:?}: {healing:?}");
                }
                assert!(bytes(&left, &path) == bytes(&pair.disk, &path), "not healed in the end");
            }
        }
    }
}

/// Restores every backup of a disk on which one bit is wrong: what comes back is right, or nothing does.
fn judge_flip(pair: &Pair, whole: &[(Backup, repository::Files)], path: &str, byte: usize, bit: u8) {
    let _place = Place::new(format!("bit {bit} of byte {byte} of {path}"));
    let disk = pair.disk.after_kill();
    disk.flip_bit(path, byte, bit).expect("a flip");
    let Ok((repository, _)) = site::try_open(site::storage_on(&disk)) else { return };
    for backup in site::backups(&repository) {
        let (result, restored) = site::restore(&repository, &backup);
        let right = whole.iter().find(|(known, _)| known.id == backup.id).map(|(_, files)| files);
        match result {
            Ok(()) => assert!(right == Some(&restored), "{}: a wrong restore", backup.id),
            Err(error) => assert!(restored.is_empty(), "{}: {error}, and something was left", backup.id),
        }
    }
}

#[test]
fn no_flipped_bit_of_a_small_repository_ever_leads_to_a_wrong_restore() {
    let source = Source::new("security");
    source.write("a.json", br#"{"a":1}"#);
    let disk = site::new_disk();
    let repository = site::open(&disk).0;
    let first = back_up_now(&repository, &source.set, 1);
    repository.set_pinned(&source.set.name, first.id, true).expect("pin");
    source.write("b.json", br#"{"b":2}"#);
    back_up_now(&repository, &source.set, 2);
    let whole: Vec<_> = site::backups(&repository)
        .into_iter()
        .map(|backup| {
            let files = site::content(&repository, &backup);
            (backup, files)
        })
        .collect();
    let pair = Pair { source, replica: disk.after_kill(), disk: disk.after_kill() };
    let mut random = fastrand::Rng::with_seed(seed());
    for path in paths(&pair.disk).into_iter().filter(|path| !path.ends_with("reserve")) {
        let length = bytes(&pair.disk, &path).expect("it is there").len();
        let all = 0..length;
        let positions: Vec<usize> =
            if long() { all.collect() } else { random.choose_multiple(all, 12).into_iter().collect() };
        for byte in positions {
            judge_flip(&pair, &whole, &path, byte, random.u8(..8));
        }
    }
}

#[test]
fn a_list_of_pruned_sequences_from_a_replica_that_let_go_of_more_names_nothing_that_is_here() {
    let pair = Pair::new();
    let set = &pair.source.set.name;
    let replica = replica_of(&pair);
    let let_go = site::backups(&replica).into_iter().find(|backup| !backup.pinned).expect("one without a pin");
    replica.delete_backups(set, &[let_go.id]).expect("delete");
    let disk = pair.disk.after_kill();
    let path = format!("manifests/{set}/pruned.1.json");
    Damage::Flip { byte: 5, bit: 0 }.apply(&disk, &path);
    let repository = site::open(&disk).0;
    let healed = heal_all(&repository, &pair, &[&replica]);
    assert!(matches!(&healed[..], [(StoredFile::Pruned(..), Healing::Healed(_))]), "{healed:?}");
    assert!(bytes(&disk, &path) == bytes(&pair.disk, &path), "it lists other sequences than it did");
    assert!(!site::open(&disk).0.catalogue().set(set).expect("its set").pruned.contains(let_go.position().unwrap()));
}
