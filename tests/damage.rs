//! Every kind of damage to every kind of file.
//!
//! Hazard: a wrong byte that is restored, or a right one that is given up. Damage is found, named by its place, and ends
//! at what it touched: everything else restores, nothing is deleted because of it, and what the source still has is put
//! right by the next backup.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use fiovana_app::core::garbage::CollectionBlock;
use fiovana_app::core::{BackupId, BackupKind, BackupState, Digest};
use fiovana_app::pipeline::archive::Archived;
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::state::Loaded;
use fiovana_app::repository::wire::FileEntry;
use fiovana_app::repository::{OpenError, OpenReport, Repository, layout};
use fiovana_app::storage::Durability;
use fiovana_app::storage::faulty::Simulated;
use repository::damage::{Damage, Kind, bytes, damages, paths};
use repository::site::{self, back_up_now, hour};
use repository::source::{CHUNK_BYTES, Source, lines};
use repository::{Files, Place, long};

const WORDS: [(&str, &str); 2] = [("mode", "normal"), ("runs", "seven")];

/// An undamaged repository that has everything: two sets, each with shared content, a pin and a pruned sequence.
struct Whole {
    sources: [Source; 2],
    disk: Simulated,
    backups: BTreeMap<BackupId, (Backup, Files)>,
}

impl Whole {
    fn new() -> Self {
        let logs = Source::new("logs");
        logs.write("error.log", &lines(50, CHUNK_BYTES + 9000));
        let sources = [Source::rich("security"), logs];
        let disk = site::new_disk();
        let repository = site::open(&disk).0;
        let mut backups = BTreeMap::new();
        for source in &sources {
            source.write("changed.json", format!(r#"{{"was":"{}"}}"#, source.set.name).as_bytes());
            let first = back_up_now(&repository, &source.set, 1);
            backups.insert(first.id, (first.clone(), source.files()));
            repository.set_pinned(&source.set.name, first.id, true).expect("pin");
            let pruned = back_up_now(&repository, &source.set, 2);
            repository.delete_backups(&source.set.name, &[pruned.id]).expect("delete");
            source.write("changed.json", format!(r#"{{"of":"{}"}}"#, source.set.name).as_bytes());
            for number in 3..5 {
                let later = back_up_now(&repository, &source.set, number);
                backups.insert(later.id, (later, source.files()));
            }
        }
        for (name, value) in WORDS {
            repository.save_state(name, &value, Durability::Durable).expect("save");
        }
        site::collect_all(&repository);
        disk.remove_raw("state/reserve").ok();
        Self { sources, disk: disk.after_kill(), backups }
    }

    /// Whether an object is a pack, and has content that its source has no more.
    fn holds_what_is_gone(&self, name: &Digest) -> bool {
        self.backups.values().any(|(backup, files)| {
            let source = self.sources.iter().find(|source| source.set.name == backup.set).expect("its source").files();
            let entries = backup.content.iter().flat_map(|content| content.manifest.files());
            let in_pack = |entry: &&FileEntry| entry.chunks.iter().any(|c| c.object == *name && c.frame.is_some());
            entries.filter(in_pack).any(|entry| source.get(entry.path.as_str()) != files.get(entry.path.as_str()))
        })
    }

    /// The backups that need any of these files.
    fn needing(&self, touched: &[String]) -> BTreeSet<BackupId> {
        let needs = |backup: &Backup| {
            let content = backup.content.as_ref().expect("its manifest");
            let objects = content.manifest.envelope.objects.iter().map(|object| layout::object(&object.name));
            let manifest = layout::manifest(&backup.set, backup.id);
            objects.chain([manifest]).any(|path| touched.iter().any(|touched| *touched == path.as_str()))
        };
        self.backups.values().filter(|(backup, _)| needs(backup)).map(|(backup, _)| backup.id).collect()
    }
}

/// Damages files of a kind, each in every way, and hands the result on: the whole, the damaged disk, what was touched.
fn for_each_damage(kind: Kind, check: impl Fn(&Whole, &Simulated, &[String], &Damage)) {
    let whole = Whole::new();
    let targets: Vec<String> = paths(&whole.disk).into_iter().filter(|path| Kind::of(path) == kind).collect();
    assert!(!targets.is_empty(), "there is no {kind:?}");
    for path in targets {
        for damage in damages(&whole.disk, &path) {
            let _place = Place::new(format!("{damage:?} of {path}"));
            let disk = whole.disk.after_kill();
            let touched = damage.apply(&disk, &path);
            check(&whole, &disk, &touched, &damage);
        }
    }
}

/// Opens what must open, reads everything, and judges all that damage must not do.
fn judge(whole: &Whole, disk: &Simulated, touched: &[String]) -> (Repository, OpenReport) {
    let hurt = whole.needing(touched);
    let (repository, report) = site::open(disk);
    for (backup, verdict) in site::verify_all(&repository, hour(50)) {
        match verdict {
            Verdict::Intact => assert!(!hurt.contains(&backup.id), "{}: damage went unseen", backup.id),
            Verdict::Damaged(damages) => {
                assert!(hurt.contains(&backup.id), "{}: whole, and called damaged: {damages:?}", backup.id);
                let named = damages.iter().all(|damage| touched.contains(&damage.place) && !damage.fault.is_empty());
                assert!(named, "{}: {damages:?}", backup.id);
            }
            Verdict::Unreadable(why) => panic!("{}: {why}", backup.id),
        }
    }
    let there: BTreeSet<BackupId> = site::backups(&repository).iter().map(|backup| backup.id).collect();
    assert!(whole.backups.keys().all(|id| there.contains(id) || hurt.contains(id)), "whole, and not listed");
    for set in whole.sources.iter().map(|source| &source.set.name) {
        let catalogue = repository.catalogue();
        let latest = catalogue.set(set).and_then(|index| index.latest()).map(|backup| backup.id);
        let newest_whole = whole.backups.values().filter(|(b, _)| b.set == *set && !hurt.contains(&b.id));
        assert_eq!(latest, newest_whole.map(|(b, _)| (b.position(), b.id)).max().map(|(_, id)| id), "latest of {set}");
    }
    judge_restores(whole, &repository, &hurt);
    (repository, report)
}

fn judge_restores(whole: &Whole, repository: &Repository, hurt: &BTreeSet<BackupId>) {
    let (broken, others): (Vec<_>, Vec<_>) = site::backups(repository).into_iter().partition(|b| hurt.contains(&b.id));
    for backup in broken.into_iter().chain(others.into_iter().take(if long() { usize::MAX } else { 1 })) {
        let (result, restored) = site::restore(repository, &backup);
        let files = &whole.backups[&backup.id].1;
        match result {
            // Of a damaged pack too, where the frames that this backup needs are right.
            Ok(()) => assert!(restored == *files, "{}: a wrong byte was restored", backup.id),
            Err(error) => {
                assert!(hurt.contains(&backup.id) && error.is_damage(), "{}: {error}", backup.id);
                assert!(restored.is_empty(), "{}: something was left: {:?}", backup.id, restored.keys());
            }
        }
    }
}

/// Sweeps as mercilessly as settings can ask for, and judges what is left.
fn judge_sweep(whole: &Whole, repository: &Repository, hurt: &BTreeSet<BackupId>, may_collect: bool) {
    let state = |id: &BackupId| repository.catalogue().get(*id).map(|backup| (backup.state(), backup.pinned));
    let before: BTreeMap<BackupId, _> = whole.backups.keys().filter_map(|id| Some((*id, state(id)?))).collect();
    let latest = |set| repository.catalogue().set(set).and_then(|index| Some(index.latest()?.id));
    for source in &whole.sources {
        let newest = latest(&source.set.name);
        let mut merciless = source.set.clone();
        (merciless.max_backups, merciless.retention_days) = (1, 1);
        site::sweep_all(repository, &merciless, hour(24 * 365));
        assert_eq!(latest(&source.set.name), newest, "the newest good backup of {} was deleted", source.set.name);
    }
    for (id, (_, pinned)) in before {
        assert!(!pinned || state(&id).is_some(), "{id} was pinned, and deleted");
    }
    let collected = site::collect_all(repository);
    assert!(may_collect || collected == 0, "{collected} objects were deleted that a lost manifest may need");
    for backup in site::backups(repository).iter().filter(|backup| !hurt.contains(&backup.id)) {
        assert_eq!(site::verdict(repository, backup), Verdict::Intact, "after the sweep: {}", backup.id);
    }
}

#[test]
fn a_damaged_object_is_named_and_hurts_only_the_backups_that_need_it() {
    for_each_damage(Kind::Object, |whole, disk, touched, _| {
        let (repository, report) = judge(whole, disk, touched);
        assert_eq!(report.faults, Vec::<String>::new());
        assert!(!whole.needing(touched).is_empty());
        judge_sweep(whole, &repository, &whole.needing(touched), true);
    });
}

#[test]
fn a_damaged_object_is_healed_by_the_next_scheduled_backup_of_the_same_content() {
    for_each_damage(Kind::Object, |whole, disk, touched, _| {
        let beyond_repair = std::cell::RefCell::new(HashSet::new());
        let repository = site::open(disk).0;
        let damaged: BTreeMap<_, _> = touched.iter().map(|path| (path.clone(), bytes(disk, path))).collect();
        for source in &whole.sources {
            let latest = whole.backups.values().rfind(|(backup, _)| backup.set == source.set.name);
            let (latest, _) = latest.expect("a backup");
            let objects = &latest.content.as_ref().expect("its manifest").manifest.envelope.objects;
            let lost = objects.iter().filter(|object| touched.contains(&layout::object(&object.name).to_string()));
            let lost: BTreeSet<_> = lost.map(|object| object.name).collect();
            let repaired = match scheduled(&repository, source) {
                // What is encrypted never comes out the same twice: it is stored once more, and what was lost stays lost.
                Archived::Created(created) if site::keys().recipients().is_some() => {
                    assert!(!lost.is_empty(), "nothing of {} was lost", source.set.name);
                    site::read_back(&repository, &created, hour(60)).expect("it reads back");
                    assert_eq!(site::content(&repository, &created.backup), source.files());
                    continue;
                }
                Archived::Unchanged { repaired, .. } => repaired,
                Archived::Created(created) => {
                    site::read_back(&repository, &created, hour(60)).expect("it reads back");
                    created.repaired
                }
            };
            let repaired: BTreeSet<_> = repaired.into_iter().collect();
            assert!(repaired.is_subset(&lost), "{repaired:?} in {}", source.set.name);
            for name in lost.difference(&repaired) {
                assert!(whole.holds_what_is_gone(name), "{name} is not repaired, and its source has all of it");
                beyond_repair.borrow_mut().insert(*name);
            }
            for bytes_then in repaired.iter().filter_map(|name| damaged[layout::object(name).as_str()].as_ref()) {
                let mut aside = paths(disk).into_iter().filter(|path| path.starts_with("quarantine/"));
                let kept = aside.any(|path| bytes(disk, &path).as_ref() == Some(bytes_then));
                assert!(kept, "the damaged bytes were thrown away");
            }
        }
        let healed = site::verify_all(&repository, hour(61));
        let live: BTreeSet<BackupId> =
            healed.iter().filter(|(_, v)| *v == Verdict::Intact).map(|(b, _)| b.id).collect();
        for (id, (backup, files)) in &whole.backups {
            let still_live =
                whole.sources.iter().any(|source| backup.set == source.set.name && source.files() == *files);
            let is_encrypted = site::keys().recipients().is_some();
            let content = backup.content.as_ref().expect("its manifest");
            let mut objects = content.manifest.envelope.objects.iter().map(|object| object.name);
            let needs_another = objects.any(|name| beyond_repair.borrow().contains(&name));
            assert!(
                live.contains(id) || !still_live || is_encrypted || needs_another,
                "{id} is not healed, and its source has all of it"
            );
        }
    });
}

/// A scheduled run that reads everything, as every n-th one does.
fn scheduled(repository: &Repository, source: &Source) -> Archived {
    let request = fiovana_app::pipeline::archive::Request {
        set: &source.set,
        kind: BackupKind::Scheduled,
        read_everything: true,
        read_sources_every_runs: 1,
        now: hour(60),
        clock_suspect: false,
        audit_head: None,
    };
    fiovana_app::pipeline::archive::archive(repository, &request, &Default::default()).expect("a backup")
}

#[test]
fn a_damaged_manifest_is_named_and_hurts_only_its_own_backup() {
    for_each_damage(Kind::Manifest, |whole, disk, touched, _| {
        let (repository, report) = judge(whole, disk, touched);
        assert_eq!(report.faults, Vec::<String>::new());
        let hurt = whole.needing(touched);
        for id in &hurt {
            let (before, _) = &whole.backups[id];
            let catalogue = repository.catalogue();
            let listed = catalogue.get(*id).expect("it is listed, whatever became of its manifest");
            assert_eq!(listed.state(), BackupState::Damaged, "{id}");
            let sequence = before.position().expect("its sequence");
            assert_eq!((listed.position(), listed.pinned), (Some(sequence), before.pinned || is_pinned(whole, *id)));
            let index = catalogue.set(&before.set).expect("its set");
            assert!(index.next_sequence() > sequence.sequence, "the sequence of {id} is given again");
        }
        judge_sweep(whole, &repository, &hurt, false);
    });
}

fn is_pinned(whole: &Whole, id: BackupId) -> bool {
    let lists = paths(&whole.disk).into_iter().filter(|path| Kind::of(path) == Kind::Pins);
    let mut lists = lists.map(|path| bytes(&whole.disk, &path).expect("it is there"));
    lists.any(|list| String::from_utf8_lossy(&list).contains(&id.to_string()))
}

#[test]
fn a_lost_manifest_that_nobody_remembers_is_missed_by_its_sequence() {
    for_each_damage(Kind::Manifest, |whole, disk, touched, _| {
        for source in &whole.sources {
            disk.remove_raw(format!("state/verification-{}.json", source.set.name)).expect("forget");
        }
        let (repository, _) = site::open(disk);
        for id in whole.needing(touched) {
            let before = &whole.backups[&id].0;
            let (sequence, catalogue) = (before.position().expect("its sequence"), repository.catalogue());
            let index = catalogue.set(&before.set).expect("its set");
            let hurt = whole.needing(touched);
            let mut whole_ones = whole.backups.values().filter(|(b, _)| b.set == before.set && !hurt.contains(&b.id));
            let newest = whole_ones.all(|(b, _)| b.id < id);
            assert!(newest || index.lost(9).contains(&sequence), "{id} is gone, and nothing says so");
        }
    });
}

#[test]
fn a_set_whose_manifests_are_gone_with_their_directory_is_missed_and_nothing_it_may_need_is_collected() {
    let whole = Whole::new();
    for source in &whole.sources {
        let disk = whole.disk.after_kill();
        let (set, directory) = (&source.set.name, format!("manifests/{}", source.set.name));
        let touched: Vec<String> = paths(&disk).into_iter().filter(|path| path.starts_with(&directory)).collect();
        disk.remove_tree_raw(&directory).expect("remove");
        let (repository, _) = judge(&whole, &disk, &touched);
        let hurt = whole.needing(&touched);
        for id in &hurt {
            let state = repository.catalogue().get(*id).map(Backup::state);
            assert_eq!(state, Some(BackupState::Damaged), "{id} of {set}");
        }
        judge_sweep(&whole, &repository, &hurt, false);
    }
}

#[test]
fn where_every_manifest_is_gone_and_nothing_is_remembered_nothing_is_collected() {
    let whole = Whole::new();
    let disk = whole.disk.after_kill();
    for directory in ["manifests", "state"] {
        disk.remove_tree_raw(directory).expect("remove");
    }
    let repository = site::open(&disk).0;
    assert_eq!(repository.catalogue().collection_block(), Some(CollectionBlock::NoBackups));
    assert_eq!(site::collect_all(&repository), 0);
}

#[test]
fn a_damaged_repository_document_stops_the_opening_and_nothing_is_touched() {
    for_each_damage(Kind::Repository, |_, disk, _, damage| {
        let before = disk.files();
        match site::try_open(site::storage_on(disk)) {
            Err(OpenError::Damaged { .. }) => {}
            Err(OpenError::Headless(_)) => assert_eq!(*damage, Damage::Delete),
            Err(OpenError::Storage(error)) => panic!("{error}"),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it opened"),
        }
        assert!(disk.files() == before, "something was touched");
        let created = Repository::create(site::storage_on(disk), hour(0));
        assert!(matches!(created, Err(OpenError::Headless(_) | OpenError::Exists(_))), "it was taken for a new one");
    });
}

#[test]
fn no_altered_byte_of_the_repository_document_goes_unseen() {
    let whole = Whole::new();
    let length = repository::damage::bytes(&whole.disk, "repository.json").expect("it is there").len();
    for byte in 0..length {
        for bit in 0..8 {
            let disk = whole.disk.after_kill();
            disk.flip_bit("repository.json", byte, bit).expect("a flip");
            assert!(Repository::open(site::storage_on(&disk), false).is_err(), "bit {bit} of byte {byte}");
        }
    }
}

#[test]
fn a_damaged_list_of_pruned_sequences_is_named_or_its_sequences_are_missed() {
    for_each_damage(Kind::Pruned, |whole, disk, touched, damage| {
        let (repository, report) = judge(whole, disk, touched);
        for path in touched {
            let named = report.faults.iter().any(|fault| fault.contains(path.as_str()));
            assert_eq!(named, *damage != Damage::Delete, "{:?}", report.faults);
        }
        assert_eq!(report.faults.len(), if *damage == Damage::Delete { 0 } else { touched.len() });
        for (name, index) in repository.catalogue().sets() {
            let hurt = touched.iter().any(|path| path.starts_with(&format!("manifests/{name}/pruned.")));
            assert_eq!(index.lost(9).is_empty(), !hurt, "{name}");
        }
        judge_sweep(whole, &repository, &BTreeSet::new(), false);
    });
}

#[test]
fn a_damaged_or_absent_list_of_pins_still_pins() {
    for_each_damage(Kind::Pins, |whole, disk, touched, damage| {
        let (repository, report) = judge(whole, disk, touched);
        assert_eq!(report.faults.len(), if *damage == Damage::Delete { 0 } else { touched.len() });
        for backup in site::backups(&repository) {
            assert_eq!(backup.pinned, is_pinned(whole, backup.id), "{}", backup.id);
        }
        judge_sweep(whole, &repository, &BTreeSet::new(), true);
    });
}

#[test]
fn a_damaged_state_file_is_not_believed_and_hides_no_backup() {
    for_each_damage(Kind::State, |whole, disk, touched, damage| {
        let (repository, report) = judge(whole, disk, touched);
        let recalled = touched.iter().filter(|path| path.starts_with("state/verification-"));
        let recalled = if *damage == Damage::Delete { 0 } else { recalled.count() };
        assert_eq!(report.faults.len(), recalled, "{:?}", report.faults);
        assert!(report.faults.iter().all(|fault| touched.iter().any(|path| fault.contains(path.as_str()))));
        for (name, value) in WORDS {
            let hurt = touched.contains(&layout::state(name).to_string());
            match repository.load_state::<String>(name).expect("it can be read") {
                Loaded::Value(found) => assert!(found == value && !hurt, "{name} is {found:?}"),
                Loaded::Damaged(_) => assert!(hurt && *damage != Damage::Delete, "{name}"),
                Loaded::Absent => assert!(hurt && *damage == Damage::Delete, "{name}"),
            }
        }
        for source in &whole.sources {
            assert_eq!(repository.catalogue().set(&source.set.name).expect("its set").lost(9), []);
            let next = back_up_now(&repository, &source.set, 70);
            assert!(site::content(&repository, &next) == source.files(), "a change went unseen");
        }
        judge_sweep(whole, &repository, &BTreeSet::new(), true);
    });
}

#[test]
fn damaged_instructions_hurt_nothing() {
    for_each_damage(Kind::Instructions, |whole, disk, touched, _| {
        assert_eq!(judge(whole, disk, touched).1.faults, Vec::<String>::new());
    });
}
