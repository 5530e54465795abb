//! The plan, by example and over random facts.

use proptest::prelude::*;

use super::*;

fn day(day: u64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + 86_400 * day as i64, 0).unwrap()
}

/// A good scheduled backup, made on the day of its sequence.
fn backup(sequence: u64) -> BackupFacts {
    let created = day(sequence);
    BackupFacts {
        id: BackupId::new(created, Digest::of(&sequence.to_be_bytes())),
        position: Position::first(sequence),
        created,
        state: BackupState::Good,
        kind: BackupKind::Scheduled,
    }
}

fn content(version: u8) -> Digest {
    Digest::of(&[version])
}

/// A copy in the backup at this index.
fn copy(backup: usize, version: u8) -> FileCopy {
    FileCopy { backup, sha256: content(version), size_bytes: u64::from(version), is_valid: true }
}

fn file(live: Live, copies: &[FileCopy]) -> FileFacts {
    FileFacts { path: "a.json".into(), is_log: false, is_named: true, live, copies: copies.to_vec(), unread: vec![] }
}

fn set(backups: &[BackupFacts], files: &[FileFacts]) -> SetFacts {
    SetFacts {
        set: "security".parse().unwrap(),
        backups: backups.to_vec(),
        has_mute_backups: false,
        files: files.to_vec(),
    }
}

fn whole(version: u8) -> Live {
    Live::Whole(Some(content(version)))
}

fn invalid() -> Live {
    Live::Invalid { fault: "expected value".into(), sha256: content(99) }
}

/// What is done about one file, and from which sequence.
fn done(backups: &[BackupFacts], file: FileFacts, ask: &Ask) -> Option<(&'static str, u64)> {
    let plan = plan(&[set(backups, &[file])], ask);
    let entry = plan.entries.first()?;
    let from = |id| backups.iter().find(|backup| backup.id == id).unwrap().position.sequence.0;
    Some((entry.action.as_str(), entry.chosen().map_or(0, |pick| from(pick.backup))))
}

fn asked() -> Ask {
    Ask { replace_valid: true, ..Ask::default() }
}

fn as_of(at: DateTime<Utc>) -> Ask {
    Ask { at: Some(at), ..asked() }
}

#[test]
fn what_is_missing_or_invalid_comes_from_the_newest_good_copy_of_that_file() {
    let backups = [backup(1), backup(2), backup(3)];
    let copies = [copy(0, 1), copy(1, 2)];
    assert_eq!(done(&backups, file(invalid(), &copies), &Ask::default()), Some(("restore", 2)));
    // The newest good backup saw that it was not there; one that could not read it saw no such thing.
    assert_eq!(done(&backups, file(Live::Missing, &copies), &Ask::default()), Some(("absent", 0)));
    let unread = FileFacts { unread: vec![2], ..file(Live::Missing, &copies) };
    assert_eq!(done(&backups, unread, &Ask::default()), Some(("restore", 2)));
    assert_eq!(done(&backups[..2], file(Live::Missing, &copies), &Ask::default()), Some(("restore", 2)));
}

#[test]
fn what_is_valid_is_kept_unless_it_was_asked_for() {
    let backups = [backup(1), backup(2)];
    let copies = [copy(0, 1), copy(1, 2)];
    assert_eq!(done(&backups, file(whole(7), &copies), &Ask::default()), Some(("keep", 0)));
    assert_eq!(done(&backups, file(whole(7), &copies), &asked()), Some(("restore", 2)));
    assert_eq!(done(&backups, file(whole(2), &copies), &asked()), Some(("keep", 0)));
    assert_eq!(done(&backups, file(whole(2), &copies), &as_of(day(1))), Some(("restore", 1)));
    // The backup of that moment did not have it: it came later, or lives on without it.
    assert_eq!(done(&backups, file(whole(7), &[copy(0, 1)]), &asked()), Some(("keep", 0)));
}

#[test]
fn copies_in_damaged_suspect_unread_and_safety_backups_do_not_count() {
    let with = |change: fn(&mut BackupFacts)| {
        let mut backups = [backup(1), backup(2)];
        change(&mut backups[1]);
        done(&backups, file(Live::Missing, &[copy(0, 1), copy(1, 2)]), &Ask::default())
    };
    let changes: [fn(&mut BackupFacts); 4] = [
        |backup| backup.state = BackupState::Damaged,
        |backup| backup.state = BackupState::Suspect,
        |backup| backup.state = BackupState::Unverified,
        |backup| backup.kind = BackupKind::PreRestore,
    ];
    for change in changes {
        assert_eq!(with(change), Some(("restore", 1)));
    }
}

#[test]
fn a_file_without_a_good_copy_is_lost_by_name_and_the_safety_backup_is_pointed_at() {
    let mut backups = [backup(1), backup(2)];
    backups[0].state = BackupState::Damaged;
    backups[1].kind = BackupKind::PreRestore;
    let facts = set(&backups, &[file(Live::Missing, &[copy(0, 1), copy(1, 2)])]);
    let entry = plan(&[facts], &Ask::default()).entries.remove(0);
    assert_eq!((entry.action, entry.path.as_str()), (Action::Lost, "a.json"));
    let expected = format!("missing; no good copy is left; the safety backup {} has one", backups[1].id);
    assert_eq!(entry.reason, expected);
    assert!(entry.is_problem());
}

#[test]
fn copies_that_nobody_has_read_are_read_before_a_file_is_called_lost() {
    let mut unread = backup(1);
    unread.state = BackupState::Unverified;
    let plan = plan(&[set(&[unread], &[file(Live::Missing, &[copy(0, 1)])])], &Ask::default());
    assert_eq!(plan.entries[0].action, Action::Verify);
    assert_eq!(plan.to_prove(), BTreeSet::from([unread.id]));
}

#[test]
fn a_file_that_never_had_a_copy_is_no_loss_unless_its_backups_do_not_tell() {
    let never = file(Live::Missing, &[]);
    assert_eq!(done(&[backup(1)], never.clone(), &Ask::default()), None);
    let facts = SetFacts { has_mute_backups: true, ..set(&[], &[never]) };
    assert_eq!(plan(&[facts], &Ask::default()).entries[0].action, Action::Lost);
}

#[test]
fn a_file_that_a_pattern_found_comes_back_only_if_the_newest_good_backup_has_it() {
    let backups = [backup(1), backup(2)];
    let found = |copies: &[FileCopy]| FileFacts { is_named: false, ..file(Live::Missing, copies) };
    assert_eq!(done(&backups, found(&[copy(0, 1)]), &Ask::default()), None, "removed before the last backup");
    assert_eq!(done(&backups, found(&[copy(1, 1)]), &Ask::default()), Some(("restore", 2)));
    assert_eq!(done(&backups, found(&[copy(0, 1)]), &as_of(day(1))), Some(("restore", 1)));
}

#[test]
fn logs_are_kept_whatever_is_asked() {
    for live in [Live::Missing, Live::Whole(None), whole(7)] {
        let log = FileFacts { is_log: true, ..file(live, &[copy(0, 1)]) };
        assert_eq!(done(&[backup(1)], log, &asked()), Some(("keep", 0)));
    }
}

#[test]
fn what_cannot_be_read_is_kept_and_what_is_in_the_way_is_left_to_a_person() {
    let backups = [backup(1)];
    let unreadable = file(Live::Unreadable("permission denied".into()), &[copy(0, 1)]);
    assert_eq!(done(&backups, unreadable, &asked()), Some(("keep", 0)));
    let obstructed = file(Live::Obstructed("a directory".into()), &[copy(0, 1)]);
    assert_eq!(done(&backups, obstructed, &asked()), Some(("blocked", 0)));
}

#[test]
fn a_moment_is_a_backup_by_the_clock_and_all_before_it_by_their_sequence() {
    let mut backups = [backup(1), backup(2), backup(3)];
    // Made last, when the clock had jumped back.
    backups[2].created = day(0);
    let copies = [copy(0, 1), copy(1, 2), copy(2, 3)];
    assert_eq!(done(&backups, file(whole(7), &copies), &as_of(day(1))), Some(("restore", 3)));
    backups[2].created = day(9);
    assert_eq!(done(&backups, file(whole(7), &copies), &as_of(day(2))), Some(("restore", 2)));
    let too_early = DateTime::UNIX_EPOCH;
    let lost = plan(&[set(&backups, &[file(Live::Missing, &copies)])], &as_of(too_early)).entries.remove(0);
    assert_eq!(lost.reason, "missing; no good copy from before 1970-01-01T00:00:00Z");
}

#[test]
fn only_the_sets_that_were_asked_for_are_planned() {
    let facts = [set(&[backup(1)], &[file(Live::Missing, &[copy(0, 1)])])];
    let only = |name: &str| Ask { sets: BTreeSet::from([name.parse().unwrap()]), ..Ask::default() };
    assert_eq!(plan(&facts, &only("security")).restores().count(), 1);
    assert_eq!(plan(&facts, &only("application")), Plan::default());
}

const STATES: [BackupState; 4] = BackupState::ALL;
const KINDS: [BackupKind; 3] = [BackupKind::Scheduled, BackupKind::Manual, BackupKind::PreRestore];

fn any_live() -> impl Strategy<Value = Live> {
    prop_oneof![
        (0u8..6).prop_map(whole),
        Just(Live::Missing),
        Just(invalid()),
        Just(Live::Whole(None)),
        Just(Live::Unreadable("no".into())),
        Just(Live::Obstructed("a directory".into())),
    ]
}

prop_compose! {
    fn any_file(backups: usize)(
        live in any_live(),
        is_log in prop::bool::weighted(0.1),
        is_named in any::<bool>(),
        held in prop::collection::vec(prop::option::of((0u8..6, prop::bool::weighted(0.8))), backups),
    ) -> FileFacts {
        let copies = held.into_iter().enumerate().filter_map(|(at, held)| {
            held.map(|(version, is_valid)| FileCopy { is_valid, ..copy(at, version) })
        });
        FileFacts { path: String::new(), is_log, is_named, live, copies: copies.collect(), unread: vec![] }
    }
}

fn any_facts() -> impl Strategy<Value = SetFacts> {
    (0usize..6).prop_flat_map(|count| {
        let of_backups = prop::collection::vec((0usize..4, 0usize..3, 0u64..8), count);
        (of_backups, prop::collection::vec(any_file(count), 0..5), any::<bool>()).prop_map(|(said, mut files, mute)| {
            let backups: Vec<BackupFacts> = said
                .iter()
                .zip(1..)
                .map(|((state, kind, on), sequence)| BackupFacts {
                    state: STATES[*state],
                    kind: KINDS[*kind],
                    created: day(*on),
                    ..backup(sequence)
                })
                .collect();
            files.iter_mut().zip(0..).for_each(|(file, number)| file.path = format!("{number}.json"));
            SetFacts { has_mute_backups: mute, ..set(&backups, &files) }
        })
    })
}

fn any_ask() -> impl Strategy<Value = Ask> {
    (any::<bool>(), prop::option::of(0u64..8)).prop_map(|(replace, at)| Ask {
        sets: BTreeSet::new(),
        replace_valid: replace || at.is_some(),
        at: at.map(day),
    })
}

/// The facts after the plan was carried out.
fn carried_out(facts: &SetFacts, plan: &Plan) -> SetFacts {
    let mut facts = facts.clone();
    for (entry, pick) in plan.restores() {
        let file = facts.files.iter_mut().find(|file| file.path == entry.path).unwrap();
        file.live = Live::Whole(Some(pick.sha256));
    }
    facts
}

proptest! {
    #[test]
    fn only_valid_copies_in_good_versions_are_ever_restored(facts in any_facts(), ask in any_ask()) {
        let plan = plan(std::slice::from_ref(&facts), &ask);
        for (entry, pick) in plan.restores() {
            let backup = facts.backups.iter().position(|backup| backup.id == pick.backup).unwrap();
            prop_assert_eq!(facts.backups[backup].state, BackupState::Good);
            prop_assert_ne!(facts.backups[backup].kind, BackupKind::PreRestore);
            let file = facts.files.iter().find(|file| file.path == entry.path).unwrap();
            let copy = file.copies.iter().find(|copy| copy.backup == backup).unwrap();
            prop_assert!(copy.is_valid && copy.sha256 == pick.sha256);
        }
    }

    #[test]
    fn a_valid_live_file_is_never_replaced_unless_that_was_asked_for(facts in any_facts()) {
        for (entry, _) in plan(&[facts], &Ask::default()).restores() {
            prop_assert!(matches!(entry.live, LiveState::Missing | LiveState::Invalid));
        }
    }

    #[test]
    fn once_carried_out_a_plan_has_nothing_left_to_restore(facts in any_facts(), ask in any_ask()) {
        let first = plan(std::slice::from_ref(&facts), &ask);
        let after = plan(&[carried_out(&facts, &first)], &ask);
        prop_assert_eq!(after.restores().count(), 0);
    }

    #[test]
    fn the_digest_changes_exactly_when_the_plan_does(a in any_facts(), b in any_facts(), ask in any_ask()) {
        let (a, b) = (plan(&[a], &ask), plan(&[b], &ask));
        prop_assert_eq!(a.digest() == b.digest(), a.entries == b.entries);
        prop_assert_eq!(a.digest(), a.clone().digest());
    }

    #[test]
    fn every_missing_or_invalid_file_with_a_valid_copy_in_reach_is_restored(facts in any_facts()) {
        let newest = facts.backups.iter().filter(|backup| is_good_version(backup)).map(|backup| backup.position).max();
        let entries = plan(std::slice::from_ref(&facts), &Ask::default()).entries;
        for file in facts.files.iter().filter(|file| file.is_named && !file.is_log) {
            let good = file.copies.iter().any(|copy| copy.is_valid && is_good_version(&facts.backups[copy.backup]));
            if newest.is_some() && good && matches!(file.live, Live::Missing | Live::Invalid { .. }) {
                let entry = entries.iter().find(|entry| entry.path == file.path);
                let absent = |entry: &Entry| entry.live == LiveState::Missing && entry.action == Action::Absent;
                prop_assert!(entry.is_some_and(|entry| entry.chosen().is_some() || absent(entry)));
            }
        }
    }
}

#[test]
fn an_entry_is_one_flat_document() {
    let facts = set(&[backup(1)], &[file(invalid(), &[copy(0, 1)])]);
    let entry = serde_json::to_value(&plan(&[facts], &Ask::default()).entries[0]).unwrap();
    let fields: Vec<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["action", "backup", "created", "live", "path", "reason", "replaces", "set", "sha256", "size_bytes"];
    assert_eq!(fields, expected);
    assert_eq!((&entry["action"], &entry["live"]), (&"restore".into(), &"invalid".into()));
}
