//! The guards of retention, by example and over random histories.

use proptest::prelude::*;

use super::*;

pub(super) const RULE: Rule = Rule {
    max_backups: 10,
    retention_days: 30,
    keep_at_least: 1,
    pre_restore_days: 7,
    policy: Policy::Newest,
    spacing: TimeDelta::hours(1),
    last_copies_expire: false,
};
pub(super) const FREE: Guards =
    Guards { recovery: false, live_suspect: false, clock_suspect: false, rolled_back: false, away: false };

fn day(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::days(day)
}

/// A good scheduled backup of `version`, holding `a` and `b`, made on the day of its sequence.
pub(super) fn backup(sequence: u64, version: u8) -> Candidate {
    let created = day(sequence as i64);
    Candidate {
        id: BackupId::new(created, Digest::of(&sequence.to_be_bytes())),
        position: Position::first(sequence),
        created,
        clock_suspect: false,
        superseded: None,
        kind: BackupKind::Scheduled,
        state: BackupState::Good,
        pinned: false,
        version: Digest::of(&[version]),
        files: files(&["a", "b"]),
    }
}

fn files(names: &[&str]) -> Arc<BTreeSet<String>> {
    Arc::new(names.iter().map(ToString::to_string).collect())
}

/// The sequences that go, each with its reason's code.
fn deleted(candidates: &[Candidate], rule: &Rule, now: DateTime<Utc>) -> Vec<(u64, &'static str)> {
    let plan = plan(candidates, rule, &FREE, now);
    let sequence = |id| candidates.iter().find(|c| c.id == id).unwrap().position.sequence.0;
    plan.deletions().map(|(id, reason)| (sequence(id), reason.code())).collect()
}

#[test]
fn of_too_many_versions_the_oldest_go() {
    let history: Vec<_> = (1..=5).rev().map(|n| backup(n, n as u8)).collect();
    let rule = Rule { max_backups: 3, ..RULE };
    assert_eq!(deleted(&history, &rule, day(5)), [(1, "too_many"), (2, "too_many")]);
}

#[test]
fn of_too_many_backups_the_later_copies_of_a_version_go_before_any_version_does() {
    let history = [backup(1, 1), backup(2, 2), backup(3, 2), backup(4, 1)];
    let at_most = |max_backups| deleted(&history, &Rule { max_backups, ..RULE }, day(5));
    assert_eq!(at_most(4), []);
    assert_eq!(at_most(3), [(3, "same_version")]);
    assert_eq!(at_most(2), [(1, "too_many"), (3, "same_version")]);
}

#[test]
fn copies_of_what_did_not_change_never_take_away_since_when_it_is_so() {
    for policy in [Policy::Newest, Policy::Spread] {
        let rule = Rule { max_backups: 3, policy, ..RULE };
        let mut kept: Vec<Candidate> = vec![];
        for (sequence, version) in [1, 2, 3].into_iter().chain([3; 20]).enumerate() {
            kept.push(backup(sequence as u64 + 1, version));
            let gone: Vec<u64> = deleted(&kept, &rule, day(25))
                .into_iter()
                .map(|(sequence, reason)| {
                    assert_eq!(reason, "same_version", "{policy}");
                    sequence
                })
                .collect();
            kept.retain(|candidate| !gone.contains(&candidate.position.sequence.0));
        }
        let left: Vec<u64> = kept.iter().map(|candidate| candidate.position.sequence.0).collect();
        assert_eq!(left, [1, 2, 3, 23], "{policy}");
    }
}

#[test]
fn a_pinned_copy_takes_no_place_and_keeps_what_tells_since_when_it_is_so() {
    let rule = Rule { max_backups: 2, ..RULE };
    let mut history = [backup(1, 1), backup(2, 1), backup(3, 2), backup(4, 2)];
    history[1].pinned = true;
    assert_eq!(deleted(&history, &rule, day(4)), []);
    assert_eq!(deleted(&history, &Rule { max_backups: 1, ..rule }, day(4)), []);
    (history[0].pinned, history[1].pinned) = (true, false);
    assert_eq!(deleted(&history, &Rule { max_backups: 1, ..rule }, day(4)), [(2, "same_version")]);
}

#[test]
fn all_copies_of_a_version_age_from_the_day_another_version_came() {
    let history = [backup(1, 1), backup(50, 1), backup(100, 2)];
    assert_eq!(deleted(&history, &RULE, day(130)), []);
    assert_eq!(deleted(&history, &RULE, day(131)), [(1, "expired"), (50, "expired")]);
}

#[test]
fn a_version_ages_from_the_day_it_was_superseded() {
    let history = [backup(1, 1), backup(100, 2)];
    assert_eq!(deleted(&history, &RULE, day(130)), []);
    assert_eq!(deleted(&history, &RULE, day(130) + TimeDelta::seconds(1)), [(1, "expired")]);
}

#[test]
fn after_an_absence_what_goes_for_its_age_waits_for_a_person() {
    let history: Vec<_> = (1..=5).map(|n| backup(n, n as u8)).collect();
    let away = Guards { away: true, ..FREE };
    let hold = |rule: &Rule, guards, now| {
        let plan = plan(&history, rule, guards, day(now));
        (plan.deletions().count(), plan.hold(true).map(|hold| hold.reason))
    };
    assert_eq!(hold(&RULE, &FREE, 33), (1, None));
    assert_eq!(hold(&RULE, &away, 33), (1, Some(HoldReason::Absence)));
    assert_eq!(hold(&Rule { max_backups: 4, ..RULE }, &away, 5), (1, None), "too many are so at any time");
    let of_copy = plan(&history, &RULE, &away, day(33));
    assert_eq!(of_copy.hold_but_for(|_| false).map(|hold| hold.reason), Some(HoldReason::Absence));
    assert_eq!(of_copy.hold_but_for(|_| true), None);
}

#[test]
fn the_newest_good_versions_outlive_the_retention() {
    let mut history: Vec<_> = [1, 2, 3, 4, 4, 5].into_iter().zip(1..).map(|(version, n)| backup(n, version)).collect();
    let at_least = |keep_at_least, history: &[Candidate]| {
        deleted(history, &Rule { keep_at_least, max_backups: 4, ..RULE }, day(1000))
            .into_iter()
            .map(|(n, _)| n)
            .collect()
    };
    let deleted: Vec<Vec<u64>> = [1, 3, 4, 9].into_iter().map(|versions| at_least(versions, &history)).collect();
    assert_eq!(
        deleted,
        [vec![1, 2, 3, 4, 5], vec![1, 2, 5], vec![1, 5], vec![1, 5]],
        "never more than are kept at all"
    );
    history[5].state = BackupState::Suspect;
    history.push(backup(7, 6));
    assert_eq!(at_least(3, &history), [1, 2, 5, 6] as [u64; 4], "only good versions count");
    let kept = plan(&history, &Rule { keep_at_least: 3, ..RULE }, &FREE, day(1000)).decisions[3].1.clone();
    assert_eq!(kept.to_string(), "keep: one of the newest 3 good versions");
}

#[test]
fn the_current_version_never_ages() {
    assert_eq!(deleted(&[backup(1, 1)], &RULE, day(10_000)), []);
    assert_eq!(deleted(&[backup(1, 1), backup(2, 1)], &RULE, day(10_000)), []);
}

#[test]
fn the_newest_copy_of_a_file_outlives_every_rule() {
    let mut history: Vec<_> = (1..=5).map(|n| backup(n, n as u8)).collect();
    history[0].files = files(&["a", "gone"]);
    let rule = Rule { max_backups: 1, retention_days: 1, ..RULE };
    let plan = plan(&history, &rule, &FREE, day(1000));
    let kept: Vec<_> = plan.decisions.iter().filter(|(_, d)| matches!(d, Decision::Keep(_))).collect();
    assert_eq!(kept[0], &(history[0].id, Decision::Keep(KeepReason::NewestCopy { file: "gone".into() })));
    assert_eq!(kept[1], &(history[4].id, Decision::Keep(KeepReason::NewestGood)));
    assert_eq!(kept.len(), 2);
}

#[test]
fn protected_versions_take_up_places_but_never_a_protected_ones() {
    let mut history: Vec<_> = (1..=4).map(|n| backup(n, n as u8)).collect();
    history[0].files = files(&["a", "gone"]);
    assert_eq!(deleted(&history, &Rule { max_backups: 2, ..RULE }, day(4)), [(2, "too_many"), (3, "too_many")]);
}

#[test]
fn what_is_not_good_takes_up_no_place() {
    let states = [BackupState::Suspect, BackupState::Unverified, BackupState::Damaged];
    let mut history: Vec<_> =
        states.into_iter().zip(1..).map(|(state, n)| Candidate { state, ..backup(n, 9) }).collect();
    history.push(Candidate { kind: BackupKind::PreRestore, ..backup(4, 9) });
    history.push(Candidate { pinned: true, ..backup(5, 5) });
    history.extend([backup(6, 6), backup(7, 7)]);
    assert_eq!(deleted(&history, &Rule { max_backups: 2, ..RULE }, day(7)), []);
}

#[test]
fn suspect_backups_go_by_age_damaged_and_unverified_ones_never() {
    let states = [BackupState::Suspect, BackupState::Unverified, BackupState::Damaged];
    let mut history: Vec<_> =
        states.into_iter().zip(1..).map(|(state, n)| Candidate { state, ..backup(n, 9) }).collect();
    history.push(backup(4, 4));
    assert_eq!(deleted(&history, &RULE, day(1000)), [(1, "expired")]);
}

#[test]
fn the_only_valid_copy_of_a_file_is_kept_even_in_a_suspect_backup() {
    let suspect = Candidate { state: BackupState::Suspect, files: files(&["only"]), ..backup(1, 9) };
    assert_eq!(deleted(&[suspect, backup(2, 2)], &RULE, day(1000)), []);
}

#[test]
fn a_pre_restore_backup_has_its_own_time() {
    let history = [Candidate { kind: BackupKind::PreRestore, ..backup(1, 9) }, backup(2, 2)];
    assert_eq!(deleted(&history, &RULE, day(8)), []);
    assert_eq!(deleted(&history, &RULE, day(9)), [(1, "pre_restore_expired")]);
}

#[test]
fn a_backup_stamped_in_1970_makes_none_before_it_look_old() {
    let mut history: Vec<_> = (1..=3).map(|n| backup(n, n as u8)).collect();
    history[1].created = DateTime::UNIX_EPOCH;
    assert_eq!(deleted(&history, &RULE, day(4)), []);
}

#[test]
fn a_suspect_backup_between_two_copies_of_a_version_does_not_tell_them_apart() {
    let rule = Rule { max_backups: 1, ..RULE };
    let mut history = [backup(1, 1), backup(2, 2), backup(3, 1)];
    history[1].pinned = true;
    assert_eq!(deleted(&history, &rule, day(4)), [(1, "too_many")]);
    history[1] = Candidate { state: BackupState::Suspect, ..backup(2, 2) };
    assert_eq!(deleted(&history, &rule, day(4)), []);
    let [first, suspect, copy] = history;
    assert_eq!(deleted(&[first, suspect, copy, backup(4, 1)], &rule, day(4)), [(3, "same_version")]);
}

#[test]
fn each_guard_freezes_everything_and_says_so() {
    let mut history: Vec<_> = (1..=20).map(|n| backup(n, n as u8)).collect();
    let guards = [
        (Guards { recovery: true, ..FREE }, FreezeReason::Recovery),
        (Guards { live_suspect: true, ..FREE }, FreezeReason::LiveSuspect),
        (Guards { clock_suspect: true, ..FREE }, FreezeReason::ClockSuspect),
        (Guards { rolled_back: true, ..FREE }, FreezeReason::RolledBack),
    ];
    for (guards, reason) in guards {
        let plan = plan(&history, &RULE, &guards, day(1000));
        assert_eq!((plan.frozen, plan.deletions().count()), (Some(reason), 0));
    }
    history[19].state = BackupState::Unverified;
    history.push(Candidate { kind: BackupKind::PreRestore, ..backup(21, 9) });
    let plan = plan(&history, &RULE, &FREE, day(1000));
    assert_eq!((plan.frozen, plan.deletions().count()), (Some(FreezeReason::NewestUnverified), 0));
    assert!(plan.decisions.iter().all(|(_, decision)| decision.code() == "frozen_newest_unverified"));
}

#[test]
fn a_version_is_as_old_as_it_was_before_the_one_that_superseded_it_was_deleted() {
    let history = [backup(1, 1), backup(2, 2), backup(25, 3)];
    let rule = Rule { max_backups: 2, policy: Policy::Spread, ..RULE };
    let first = plan(&history, &rule, &FREE, day(25));
    let superseded = first.superseded[&history[0].id];
    assert_eq!(superseded, day(2));
    let remembered = [Candidate { superseded: Some(superseded), ..history[0].clone() }, history[2].clone()];
    assert_eq!(deleted(&remembered, &rule, day(33)), [(1, "expired")]);
    let forgotten = [history[0].clone(), history[2].clone()];
    assert_eq!(deleted(&forgotten, &rule, day(33)), [], "without the memory it is younger, never older");
}

#[test]
fn a_version_that_became_the_current_one_again_has_no_age() {
    let superseded = Some(day(2));
    assert_eq!(deleted(&[Candidate { superseded, ..backup(1, 1) }], &RULE, day(1000)), []);
}

#[test]
fn a_time_told_by_a_doubtful_clock_ages_nothing() {
    let doubtful = Candidate { clock_suspect: true, created: DateTime::UNIX_EPOCH, ..backup(2, 2) };
    let history = [backup(1, 1), doubtful.clone(), backup(50, 3)];
    assert_eq!(deleted(&history, &RULE, day(80)), [], "superseded on day 50 at the latest");
    assert_eq!(deleted(&history, &RULE, day(81)), [(1, "expired"), (2, "expired")]);
    assert_eq!(deleted(&[backup(1, 1), doubtful], &RULE, day(1000)), []);
    let safety = Candidate { kind: BackupKind::PreRestore, created: DateTime::UNIX_EPOCH, ..backup(3, 3) };
    assert_eq!(deleted(&[backup(1, 1), safety], &RULE, day(8)), [], "made on day 1 at the earliest");
}

#[test]
fn a_plan_that_takes_more_than_half_and_more_than_three_is_held() {
    let held = |backups: u64, max_backups| {
        let history: Vec<_> = (1..=backups).map(|n| backup(n, n as u8)).collect();
        plan(&history, &Rule { max_backups, ..RULE }, &FREE, day(backups as i64)).hold(true).map(|hold| hold.deletions)
    };
    assert_eq!(held(4, 1), None, "three of four");
    assert_eq!(held(5, 1), Some(4));
    assert_eq!(held(8, 4), None, "half");
    assert_eq!(held(9, 4), Some(5));
}

#[test]
fn a_plan_is_held_if_nothing_is_to_go_by_itself() {
    let history: Vec<_> = (1..=4).map(|n| backup(n, n as u8)).collect();
    let of = |max_backups| plan(&history, &Rule { max_backups, ..RULE }, &FREE, day(4));
    assert_eq!(of(3).hold(false).unwrap().reason, HoldReason::NotAutomatic);
    assert_eq!(of(4).hold(false), None);
    assert_ne!(of(3).digest(), of(2).digest());
    assert_eq!(of(2).digest(), plan(&history, &Rule { max_backups: 2, ..RULE }, &FREE, day(5)).digest());
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let kind = prop_oneof![
        4 => Just(BackupKind::Scheduled), 1 => Just(BackupKind::Manual), 1 => Just(BackupKind::PreRestore)
    ];
    let state = prop_oneof![
        6 => Just(BackupState::Good), 1 => Just(BackupState::Suspect),
        1 => Just(BackupState::Unverified), 1 => Just(BackupState::Damaged)
    ];
    let created = prop_oneof![20 => 0i64..200, 1 => Just(-20_000i64), 1 => Just(20_000i64)];
    let flags = (proptest::bool::weighted(0.1), proptest::bool::weighted(0.1));
    let names = proptest::collection::btree_set(prop_oneof![Just("a"), Just("b"), Just("c"), Just("d")], 0..4);
    (kind, state, created, 0u8..4, flags, names).prop_map(
        |(kind, state, created, version, (pinned, clock_suspect), names)| Candidate {
            kind,
            clock_suspect,
            state,
            created: day(created),
            pinned,
            files: Arc::new(names.into_iter().map(str::to_owned).collect()),
            ..backup(0, version)
        },
    )
}

/// A history in which time mostly goes on, but sometimes lies.
fn any_history() -> impl Strategy<Value = Vec<Candidate>> {
    (proptest::collection::vec(any_candidate(), 0..40), any::<bool>()).prop_map(|(mut history, honest)| {
        if honest {
            history.sort_by_key(|candidate| candidate.created);
        }
        for (candidate, sequence) in history.iter_mut().zip(1..) {
            candidate.position = Position::first(sequence);
            candidate.id = BackupId::new(candidate.created, Digest::of(&sequence.to_be_bytes()));
        }
        history
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    (1usize..8, 0u32..60, 0u32..30, 1usize..5, any::<bool>()).prop_map(
        |(max_backups, retention_days, pre_restore_days, keep_at_least, spread)| {
            let policy = if spread { Policy::Spread } else { Policy::Newest };
            Rule { max_backups, retention_days, pre_restore_days, policy, keep_at_least, ..RULE }
        },
    )
}

/// What is left of a history when these are gone, with what is to be remembered of it.
fn left_of(history: &[Candidate], plan: &RetentionPlan, deleted: &BTreeSet<BackupId>) -> Vec<Candidate> {
    let left = history.iter().filter(|candidate| !deleted.contains(&candidate.id)).cloned();
    left.map(|candidate| Candidate { superseded: plan.superseded.get(&candidate.id).copied(), ..candidate }).collect()
}

fn is_intact(candidate: &Candidate) -> bool {
    candidate.kind != BackupKind::PreRestore && matches!(candidate.state, BackupState::Good | BackupState::Suspect)
}

/// The plan's view of each candidate of a history in sequence order.
fn judged<'a>(history: &'a [Candidate], plan: &'a RetentionPlan) -> Vec<(&'a Candidate, &'a Decision)> {
    history.iter().zip(plan.decisions.iter().map(|(_, decision)| decision)).collect()
}

proptest! {
    #[test]
    fn every_candidate_is_decided_once_in_sequence_order(
        history in any_history(), rule in any_rule(), now in -10i64..400, seed in any::<u64>(),
    ) {
        let mut shuffled = history.clone();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let plan = plan(&shuffled, &rule, &FREE, day(now));
        let decided: Vec<_> = plan.decisions.iter().map(|(id, _)| *id).collect();
        prop_assert_eq!(decided, history.iter().map(|candidate| candidate.id).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_the_last_of_its_kind_or_protected_is_never_deleted(
        history in any_history(), rule in any_rule(), now in -10i64..400,
    ) {
        let plan = plan(&history, &rule, &FREE, day(now));
        let left: Vec<&Candidate> =
            judged(&history, &plan).into_iter().filter(|(_, d)| matches!(d, Decision::Keep(_))).map(|(c, _)| c).collect();
        prop_assert_eq!(history.iter().rfind(|c| is_version(c)), left.iter().copied().rfind(|c| is_version(c)));
        for file in ["a", "b", "c", "d"] {
            let holds = |candidate: &Candidate| is_intact(candidate) && candidate.files.contains(file);
            prop_assert_eq!(history.iter().rfind(|c| holds(c)), left.iter().copied().rfind(|c| holds(c)), "{}", file);
        }
        for (candidate, decision) in judged(&history, &plan) {
            let Decision::Delete(reason) = decision else { continue };
            prop_assert!(!candidate.pinned);
            let by_kind = match (candidate.kind, candidate.state) {
                (BackupKind::PreRestore, _) => matches!(reason, DeleteReason::PreRestoreExpired { .. }),
                (_, BackupState::Good) => !matches!(reason, DeleteReason::PreRestoreExpired { .. }),
                (_, BackupState::Suspect) => matches!(reason, DeleteReason::Expired { .. }),
                (_, BackupState::Unverified | BackupState::Damaged) => false,
            };
            prop_assert!(by_kind, "{} {:?} {:?}", candidate.position, candidate.state, reason);
        }
    }

    #[test]
    fn so_many_good_versions_stay_whatever_their_age(
        history in any_history(), rule in any_rule(), now in -10i64..40_000,
    ) {
        let plan = plan(&history, &rule, &FREE, day(now));
        let all: Vec<_> = judged(&history, &plan).into_iter().filter(|(c, _)| is_version(c)).collect();
        let versions = all.chunk_by(|(one, _), (next, _)| one.version == next.version).count();
        let left = all.iter().filter(|(_, decision)| matches!(decision, Decision::Keep(_))).count();
        prop_assert!(left >= rule.keep_at_least.min(rule.max_backups).min(versions));
    }

    #[test]
    fn only_what_is_irreplaceable_exceeds_the_rule(history in any_history(), rule in any_rule(), now in -10i64..400) {
        let plan = plan(&history, &rule, &FREE, day(now));
        if plan.frozen.is_none() {
            let kept: Vec<_> = judged(&history, &plan)
                .into_iter()
                .filter(|(c, d)| is_version(c) && matches!(d, Decision::Keep(_)))
                .collect();
            let unpinned = |version: &&[(&Candidate, &Decision)]| version.iter().all(|(c, _)| !c.pinned);
            let all = kept.chunk_by(|(one, _), (next, _)| one.version == next.version);
            let versions = all.clone().filter(unpinned);
            let is_free = |(_, d): &(&Candidate, &Decision)| **d == Decision::Keep(KeepReason::WithinRule);
            // What tells since when a version that stays was there is no version more.
            let free = versions.clone().filter(|version| version.iter().all(is_free));
            let copies = all.flat_map(|version| &version[1..]).filter(|one| is_free(one));
            let (free, copies) = (free.count(), copies.count());
            prop_assert!(versions.count() + copies <= rule.max_backups || free + copies == 0);
        }
    }

    #[test]
    fn what_tells_since_when_the_newest_content_is_so_is_never_deleted(
        history in any_history(), rule in any_rule(), now in -10i64..400,
    ) {
        let plan = plan(&history, &rule, &FREE, day(now));
        let versions: Vec<_> = judged(&history, &plan).into_iter().filter(|(c, _)| is_version(c)).collect();
        if let Some((newest, _)) = versions.last() {
            let since = |left: &[&Candidate]| {
                let current = left.iter().rev().take_while(|c| c.version == newest.version);
                current.last().map(|first| first.position)
            };
            let all: Vec<_> = versions.iter().map(|(c, _)| *c).collect();
            let kept = versions.iter().filter(|(_, decision)| matches!(decision, Decision::Keep(_)));
            // It may be an older one, once what was different in between is gone.
            prop_assert!(since(&kept.map(|(c, _)| *c).collect::<Vec<_>>()) <= since(&all));
        }
    }

    #[test]
    fn planning_again_after_the_plan_deletes_nothing_more(
        history in any_history(), rule in any_rule(), now in -10i64..400,
    ) {
        let first = plan(&history, &rule, &FREE, day(now));
        let deleted: BTreeSet<BackupId> = first.deletions().map(|(id, _)| id).collect();
        let left = left_of(&history, &first, &deleted);
        let again = plan(&left, &rule, &FREE, day(now));
        prop_assert_eq!(again.deletions().collect::<Vec<_>>(), vec![]);
    }

    #[test]
    fn a_plan_half_carried_out_is_safe_to_carry_on(
        history in any_history(), rule in any_rule(), now in -10i64..400, half in any::<u64>(),
    ) {
        let first = plan(&history, &rule, &FREE, day(now));
        let mut random = fastrand::Rng::with_seed(half);
        let deleted: BTreeSet<BackupId> = first.deletions().map(|(id, _)| id).filter(|_| random.bool()).collect();
        let left = left_of(&history, &first, &deleted);
        let again = plan(&left, &rule, &FREE, day(now));
        prop_assert_eq!(history.iter().rfind(|c| is_version(c)), left.iter().rfind(|c| is_version(c)));
        prop_assert!(again.deletions().all(|(id, _)| history.iter().any(|c| c.id == id && !c.pinned)));
    }

    #[test]
    fn a_guard_that_holds_deletes_nothing(
        history in any_history(), rule in any_rule(), now in -10i64..400, which in 0usize..4,
    ) {
        let [recovery, live_suspect, clock_suspect, rolled_back] = [0, 1, 2, 3].map(|guard| which == guard);
        let guards = Guards { recovery, live_suspect, clock_suspect, rolled_back, ..FREE };
        prop_assert_eq!(plan(&history, &rule, &guards, day(now)).deletions().count(), 0);
    }
}

#[test]
fn ten_thousand_backups_are_planned_in_milliseconds() {
    let history: Vec<_> = (1..=10_000u64).map(|n| backup(n, (n / 3 % 251) as u8)).collect();
    for policy in [Policy::Newest, Policy::Spread] {
        let rule = Rule { retention_days: 36_500, policy, ..RULE };
        let took = std::time::Duration::from_nanos(elapsed_nanos(|| {
            assert!(plan(&history, &rule, &FREE, day(10_000)).deletions().count() > 9_000);
        }));
        println!("10,000 candidates planned in {took:?} ({policy})");
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement, printed and not asserted")]
fn elapsed_nanos(work: impl FnOnce()) -> u64 {
    let before = std::time::Instant::now();
    work();
    before.elapsed().as_nanos() as u64
}

#[test]
fn a_log_segment_ends_with_the_retention_and_the_last_copy_of_another_file_does_not() {
    let holding = |day: u8, names: &[&str]| Candidate { files: files(names), ..backup(day.into(), day) };
    let history =
        [holding(1, &["a.log", "a.log-1"]), holding(2, &["a.log", "a.log-2"]), holding(3, &["a.log", "a.log-3"])];
    let rule = |last_copies_expire| Rule { retention_days: 5, last_copies_expire, ..RULE };
    assert_eq!(deleted(&history, &rule(false), day(60)), []);
    assert_eq!(deleted(&history, &rule(true), day(6)), []);
    let gone = [(1, "last_copy_expired"), (2, "last_copy_expired")];
    assert_eq!(deleted(&history, &rule(true), day(60)), gone, "the newest good backup stays");
}
