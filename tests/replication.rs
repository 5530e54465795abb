//! Replication on disks that die, fail and run full, and through random histories.
//!
//! Hazard: a replica that half has a backup, or that loses one because the original did. After whatever happens the
//! replica opens, every backup in it is whole, the original is untouched, and in the end it has all it is to have.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::BTreeSet;

use fiovana_app::core::retention::Guards;
use fiovana_app::core::{BackupId, BackupState, Digest};
use fiovana_app::pipeline::Progress;
use fiovana_app::pipeline::replicate::{self, Next, ReplicateError, Run, ServiceStatus};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::Repository;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::wire::AuditHead;
use fiovana_app::settings::ReplicaSettings;
use fiovana_app::storage::Freed;
use fiovana_app::storage::faulty::{CrashKeep, Simulated};
use proptest::prelude::*;
use repository::site::{self, back_up_now, backups, hour};
use repository::source::Source;
use repository::{Place, seed, stories};
use rustix::io::Errno;

/// An empty replica of `original`.
fn begun(original: &Repository) -> Simulated {
    let disk = Simulated::new();
    original.create_replica(site::storage_on(&disk)).expect("begin a replica");
    disk
}

fn settings(source: &Source, max_backups: Option<usize>) -> ReplicaSettings {
    ReplicaSettings {
        name: "other".parse().expect("a name"),
        path: "/other".into(),
        is_built_in_place: false,
        sets: vec![source.set.name.clone()],
        max_backups,
        retention_days: None,
    }
}

/// One run, as the service makes it.
fn replicate(original: &Repository, replica: &Repository, rule: &ReplicaSettings) -> Result<(), ReplicateError> {
    let mut run = Run::default();
    while replicate::step(original, replica, &rule.sets, &mut run, hour(500), &Progress::default())? == Next::Step {}
    assert!(run.skipped.is_empty(), "{:?}", run.skipped);
    replicate::settle(original, replica, &rule.sets)?;
    let head = AuditHead { seq: ids(original).len() as u64, hash: Digest::of(b"head"), key: None };
    replica.give_audit_head(head)?;
    let service = ServiceStatus {
        host: "host".to_owned(),
        program: "1".to_owned(),
        mode: "normal".to_owned(),
        audit_head: Some(head),
    };
    replicate::tell(original, replica, &rule.sets, service)
}

fn ids(repository: &Repository) -> BTreeSet<BackupId> {
    backups(repository).iter().map(|backup| backup.id).collect()
}

/// Whatever is in the replica is whole, and the same as in the original where that has it.
fn judge(original: &Repository, replica: &Simulated) {
    let (replica, report) = site::open(replica);
    assert!(report.faults.iter().all(|fault| fault.starts_with("state/")), "{:?}", report.faults);
    // Whatever came of the rows: the highest that verifies can be read, and what was told of backups calls none lost.
    replica.audit_head().expect("the row of the audit head");
    replica.told_status().expect("the row of the status");
    for backup in backups(&replica) {
        assert_eq!(site::verdict(&replica, &backup), Verdict::Intact, "{}", backup.id);
        let copied_from = original.catalogue().get(backup.id).map(Backup::state);
        if copied_from.is_some_and(|state| state != BackupState::Damaged) {
            assert_eq!(site::content(&replica, &backup), site::content(original, &backup), "{}", backup.id);
        }
    }
}

#[test]
fn a_replication_that_dies_anywhere_leaves_a_replica_of_whole_backups_and_is_taken_up_again() {
    let source = Source::rich("security");
    let original_disk = stories::disk_with(&source, 2).0;
    let original = site::open(&original_disk).0;
    let pinned = backups(&original)[0].id;
    original.set_pinned(&source.set.name, pinned, true).expect("pin");
    let untouched = original_disk.files();
    let rule = settings(&source, None);
    let empty = begun(&original);
    let opened = empty.after_kill();
    let replica = site::open(&opened).0;
    let first = opened.operations();
    replicate(&original, &replica, &rule).expect("replicate");
    assert_eq!(ids(&replica), ids(&original));
    for crash in first..=opened.operations() {
        let dying = empty.after_kill();
        dying.crash_after(crash);
        let _ = replicate(&original, &site::open(&dying).0, &rule);
        for keep in [CrashKeep::Lose, CrashKeep::Torn] {
            let _place = Place::new(format!("power cut after {crash} operations, {keep:?}"));
            let disk = dying.after_crash(seed().wrapping_add(crash as u64), keep);
            judge(&original, &disk);
            let again = site::open(&disk).0;
            replicate(&original, &again, &rule).expect("replicate again");
            assert_eq!((ids(&again), replicate::lag(&original, &again, &rule.sets)), (ids(&original), 0));
            let told = again.told_status().expect("the status").expect("it was told");
            assert_eq!(told.sets[&source.set.name].backups, ids(&original).len());
            assert!(again.catalogue().get(pinned).is_some_and(|backup| backup.pinned));
            judge(&original, &disk);
        }
    }
    assert_eq!(original_disk.files(), untouched, "the original was touched");
}

#[test]
fn a_replica_that_fails_or_is_full_anywhere_says_so_and_catches_up_later() {
    let source = Source::rich("security");
    let original = site::open(&stories::disk_with(&source, 2).0).0;
    let (rule, empty) = (settings(&source, None), begun(&original));
    let opened = empty.after_kill();
    let replica = site::open(&opened).0;
    let first = opened.operations();
    replicate(&original, &replica, &rule).expect("replicate");
    for (operation, errno) in (first..opened.operations()).flat_map(|at| [(at, Errno::IO), (at, Errno::NOSPC)]) {
        let _place = Place::new(format!("{errno} at operation {operation}"));
        let disk = empty.after_kill();
        let replica = site::open(&disk).0;
        disk.fail_once(operation, errno);
        if let Err(error) = replicate(&original, &replica, &rule) {
            let full = matches!(error, ReplicateError::NoSpace { .. }) || errno != Errno::NOSPC;
            assert!(full || matches!(error, ReplicateError::Write(_)), "{error:?}");
        }
        disk.stop_failing();
        judge(&original, &disk.after_kill());
        replicate(&original, &replica, &rule).expect("replicate again");
        assert_eq!(ids(&replica), ids(&original));
    }
}

#[test]
fn damage_is_never_copied_and_does_not_keep_the_rest_from_being() {
    let source = Source::rich("security");
    let disk = stories::disk_with(&source, 1).0;
    let original = site::open(&disk).0;
    let damaged = backups(&original)[0].id;
    let (object, _) = disk.files().into_iter().find(|(path, _)| path.starts_with("objects")).expect("an object");
    disk.flip_bit(&object, 9, 3).expect("a flip");
    let other = Source::new("other");
    other.write("a.json", b"{}");
    let whole = back_up_now(&original, &other.set, 9).id;
    let replica_disk = begun(&original);
    let replica = site::open(&replica_disk).0;
    let sets = [source.set.name.clone(), other.set.name.clone()];
    let mut run = Run::default();
    while replicate::step(&original, &replica, &sets, &mut run, hour(10), &Progress::default()).expect("a step")
        == Next::Step
    {}
    assert_eq!(run.skipped.keys().collect::<Vec<_>>(), [&damaged]);
    assert_eq!(ids(&replica), BTreeSet::from([whole]));
    judge(&original, &replica_disk);
}

#[derive(Clone, Debug)]
enum Act {
    BackUp,
    Prune(usize),
    Lose(usize),
    Replicate,
    Fail(usize),
    Restart,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::BackUp),
        1 => (0usize..6).prop_map(Act::Prune),
        1 => (0usize..6).prop_map(Act::Lose),
        3 => Just(Act::Replicate),
        1 => (0usize..40).prop_map(Act::Fail),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_leaves_a_replica_because_the_original_lacks_it_and_it_ends_with_all_it_is_to_have(
        acts in prop::collection::vec(any_act(), 1..25), max_backups in prop::option::of(1usize..4),
    ) {
        let source = Source::new("security");
        let disk = site::new_disk();
        let mut original = site::open(&disk).0;
        let replica_disk = begun(&original);
        let mut replica = site::open(&replica_disk).0;
        let rule = settings(&source, max_backups);
        let (mut held, mut let_go) = (BTreeSet::new(), BTreeSet::new());
        for (number, act) in acts.iter().chain([&Act::Replicate]).enumerate() {
            let there = |backup: &Backup| backup.state() != BackupState::Damaged;
            let nth = |at: usize| backups(&original).into_iter().filter(there).nth(at);
            match act {
                Act::BackUp => {
                    source.write("a.json", format!("{number}").as_bytes());
                    back_up_now(&original, &source.set, number as i64);
                }
                Act::Prune(at) => if let Some(backup) = nth(*at) {
                    original.delete_backups(&backup.set, &[backup.id]).expect("delete");
                },
                Act::Lose(at) => if let Some(backup) = nth(*at) {
                    disk.remove_raw(format!("manifests/{}/{}.json", backup.set, backup.id)).expect("lose");
                    original = site::open(&disk).0;
                },
                Act::Fail(at) => {
                    replica_disk.fail_once(replica_disk.operations() + at, Errno::IO);
                    let _ = replicate(&original, &replica, &rule);
                    replica_disk.stop_failing();
                }
                Act::Replicate => {
                    let lag = replicate::lag(&original, &replica, &rule.sets);
                    let before = ids(&replica);
                    replicate(&original, &replica, &rule).expect("replicate");
                    prop_assert_eq!(ids(&replica).difference(&before).count(), lag);
                    prop_assert_eq!(replicate::lag(&original, &replica, &rule.sets), 0);
                    held.extend(ids(&replica));
                    let gone = replicate::tidy(
                        &original, &replica, &rule, &source.set, &Guards::default(), hour(600),
                        &mut Freed::default(),
                    ).expect("tidy");
                    let_go.extend(gone.into_iter().map(|(id, _)| id));
                }
                Act::Restart => replica = site::open(&replica_disk).0,
            }
            held.extend(ids(&replica));
            let should: BTreeSet<BackupId> = held.difference(&let_go).copied().collect();
            prop_assert_eq!(ids(&replica), should, "something left the replica that it did not let go of");
        }
        for backup in backups(&original).iter().filter(|backup| backup.state() != BackupState::Damaged) {
            prop_assert!(held.contains(&backup.id), "{} never came", backup.id);
        }
        judge(&original, &replica_disk);
        // What remembers the backups of the replica is lost but for its row, which takes none of them for lost.
        let files: Vec<_> = replica_disk.files().into_iter().map(|(path, _)| path).collect();
        for path in files.iter().filter(|path| path.starts_with("state")) {
            replica_disk.remove_raw(path).expect("lose the state");
        }
        let again = site::open(&replica_disk).0;
        prop_assert_eq!(ids(&again), ids(&replica));
        prop_assert!(backups(&again).iter().all(|backup| backup.state() == BackupState::Unverified));
        let lost = |repository: &Repository| repository.catalogue().set(&source.set.name).map(|index| index.lost(9));
        prop_assert_eq!(lost(&again), lost(&replica));
    }
}
