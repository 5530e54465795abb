//! The machine, by example; `model` has the proof.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;

mod model;

fn minute(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minute)
}

fn facts(persisted: Persisted) -> StartFacts {
    StartFacts { flag_set: false, persisted, alarm: None, reasons: BTreeSet::new() }
}

fn losses(names: &[&str]) -> BTreeSet<Loss> {
    names.iter().map(|name| Loss((*name).to_owned())).collect()
}

/// The mode after these events, each of which must be legal.
fn after(events: impl IntoIterator<Item = ModeEvent>) -> Mode {
    events.into_iter().fold(Mode::Starting, |mode, event| step(&mode, &event).unwrap().0)
}

fn exit(acknowledged: &[&str]) -> ModeEvent {
    ModeEvent::ExitRequested { acknowledged: losses(acknowledged), flag_set: false }
}

#[test]
fn entering_recovery_freezes_deletion_before_anything_is_written() {
    let normal = after([ModeEvent::Started(facts(Persisted::Fresh))]);
    let (mode, effects) = step(&normal, &ModeEvent::RecoveryDemanded(RecoveryCause::OperatorRequest)).unwrap();
    let transition = Transition {
        from: "normal",
        to: "recovery",
        phase: Some("assessing"),
        event: "recovery_demanded",
        cause: "operator_request",
    };
    let expected = [
        Effect::FreezeDeletion,
        Effect::SuspendSchedules,
        Effect::Persist(Persistence::Attempted),
        Effect::Audit(transition),
        Effect::StartAssessment,
    ];
    assert_eq!(effects, expected);
    assert!(mode.is_recovery() && !mode.allows_deletion() && !mode.allows_scheduled_backups() && mode.allows_restore());
}

#[test]
fn a_recovery_that_nobody_asked_for_goes_on_capturing_until_somebody_asks() {
    let started = ModeEvent::Started(facts(Persisted::Damaged));
    let automatic = after([started.clone()]);
    assert!(automatic.allows_scheduled_backups());
    let (asked, effects) = step(&automatic, &ModeEvent::RecoveryDemanded(RecoveryCause::OperatorRequest)).unwrap();
    assert!(!asked.allows_scheduled_backups());
    assert_eq!(effects[0], Effect::SuspendSchedules);
    assert_eq!(asked.recovery_cause(), Some(RecoveryCause::ModeFileDamaged));
}

#[test]
fn leaving_recovery_is_durable_before_anything_is_permitted() {
    let validated = after([
        ModeEvent::Started(facts(Persisted::Missing)),
        ModeEvent::Assessed { restorable: false },
        ModeEvent::ValidationPassed,
    ]);
    let (mode, effects) = step(&validated, &exit(&[])).unwrap();
    assert_eq!(mode, Mode::Normal);
    assert_eq!(effects[0], Effect::Persist(Persistence::Required));
    assert!(matches!(effects[1..], [Effect::Audit(_), Effect::AllowDeletion]));
}

#[test]
fn a_flag_still_set_leaves_the_service_degraded() {
    let start = StartFacts { flag_set: true, ..facts(Persisted::Fresh) };
    let mode = after([
        ModeEvent::Started(start),
        ModeEvent::Assessed { restorable: false },
        ModeEvent::ValidationPassed,
        ModeEvent::ExitRequested { acknowledged: BTreeSet::new(), flag_set: true },
    ]);
    assert_eq!(mode, Mode::Degraded { reasons: BTreeSet::from([DegradedReason::RecoveryFlagSet]) });
}

#[test]
fn a_recovery_with_losses_is_left_only_by_naming_each() {
    let failed = after([
        ModeEvent::Started(facts(Persisted::Missing)),
        ModeEvent::Assessed { restorable: false },
        ModeEvent::ValidationFailed { losses: losses(&["a", "b"]) },
    ]);
    let refused = step(&failed, &exit(&["a"])).unwrap_err();
    assert_eq!(refused.refusal, Refusal::Unacknowledged(losses(&["b"])));
    let message = "exit is refused while awaiting_decision: these losses are not acknowledged: b";
    assert_eq!(refused.to_string(), message);
    assert_eq!(step(&failed, &exit(&["a", "b", "c"])).unwrap().0, Mode::Normal);
}

#[test]
fn what_becomes_degraded_during_recovery_is_degraded_after_it() {
    let mode = after([
        ModeEvent::Started(facts(Persisted::Missing)),
        ModeEvent::ReasonRaised(DegradedReason::SpaceLow),
        ModeEvent::Assessed { restorable: false },
        ModeEvent::ReasonRaised(DegradedReason::ClockSuspect),
        ModeEvent::ReasonCleared(DegradedReason::SpaceLow),
        ModeEvent::ValidationPassed,
        exit(&[]),
    ]);
    assert_eq!(mode, Mode::Degraded { reasons: BTreeSet::from([DegradedReason::ClockSuspect]) });
}

#[test]
fn an_event_that_changes_nothing_does_nothing() {
    let one_failure = ModeEvent::IntegrityFailed(IntegrityVerdict::Tolerable { failures: 1 });
    assert_eq!(step(&Mode::Normal, &one_failure), Ok((Mode::Normal, vec![])));
    assert_eq!(step(&Mode::Stopping, &ModeEvent::StopRequested), Ok((Mode::Stopping, vec![])));
}

#[test]
fn a_stopping_recovery_stays_persisted_as_recovery() {
    let recovery = after([ModeEvent::Started(facts(Persisted::Missing))]);
    let (mode, effects) = step(&recovery, &ModeEvent::StopRequested).unwrap();
    assert_eq!(mode, Mode::Stopping);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Persist(_))));
}

#[test]
fn every_mode_reads_back_as_it_was_persisted() {
    for edge in explore::transitions() {
        let text = serde_json::to_string(&edge.to).unwrap();
        assert_eq!(serde_json::from_str::<Mode>(&text).unwrap(), edge.to, "{text}");
        assert!(Mode::NAMES.contains(&edge.to.name()) && text.contains(&format!("\"mode\":\"{}\"", edge.to.name())));
    }
}

#[test]
fn codes_are_distinct_and_are_what_is_stored() {
    let codes: Vec<_> = DegradedReason::ALL.iter().map(|r| (r.code(), serde_json::to_string(r).unwrap())).collect();
    let causes = RecoveryCause::ALL.iter().map(|c| (c.code(), serde_json::to_string(c).unwrap()));
    let all: Vec<_> = codes.into_iter().chain(causes).collect();
    assert!(all.iter().all(|(code, stored)| *stored == format!("\"{code}\"")));
    assert_eq!(all.iter().map(|(code, _)| code).collect::<BTreeSet<_>>().len(), all.len());
}

#[test]
fn the_readme_shows_the_machine_as_it_is() {
    let (picture, page) = (mermaid(), include_str!("../../README.md"));
    assert!(page.contains(&format!("```mermaid\n{picture}```\n")), "put this into src/README.md:\n{picture}");
}

#[test]
fn the_picture_shows_the_ways_into_and_out_of_recovery() {
    let picture = mermaid();
    for line in [
        "    starting --> recovery_assessing: started\n",
        "    normal --> recovery_assessing: integrity_failed_repeatedly, recovery_demanded\n",
        "    recovery_validated --> normal: exit\n",
        "    recovery_validating --> recovery_validated: validation_passed\n",
    ] {
        assert!(picture.contains(line), "{line}{picture}");
    }
    assert!(!picture.contains("recovery_assessing --> normal"));
    assert_eq!(picture, mermaid());
}

#[test]
fn the_third_failure_within_the_hour_is_one_too_many() {
    let mut window = IntegrityWindow::new(3, 60);
    assert_eq!(window.record(minute(0)), IntegrityVerdict::Tolerable { failures: 1 });
    assert_eq!(window.record(minute(30)), IntegrityVerdict::Tolerable { failures: 2 });
    assert_eq!(window.record(minute(61)), IntegrityVerdict::Tolerable { failures: 2 });
    assert_eq!(window.record(minute(90)), IntegrityVerdict::Repeated { failures: 3, window_minutes: 60 });
    assert_eq!(window.verdict(minute(91)), IntegrityVerdict::Tolerable { failures: 2 });
}

#[test]
fn a_clock_set_back_neither_forgets_failures_nor_keeps_them_for_ever() {
    let mut window = IntegrityWindow::new(3, 60);
    window.record(minute(1_000_000));
    assert_eq!(window.record(minute(0)), IntegrityVerdict::Tolerable { failures: 2 });
    assert_eq!(window.record(minute(61)), IntegrityVerdict::Tolerable { failures: 1 });
}

#[test]
fn other_settings_apply_to_the_failures_there_were() {
    let mut window = IntegrityWindow::new(3, 60);
    window.record(minute(0));
    let text = serde_json::to_string(&window).unwrap();
    let window: IntegrityWindow = serde_json::from_str(&text).unwrap();
    assert!(matches!(window.with_settings(0, 60).verdict(minute(1)), IntegrityVerdict::Repeated { failures: 1, .. }));
}

proptest! {
    #[test]
    fn as_many_failures_as_the_limit_within_the_window_always_lead_to_recovery(
        limit in 1u32..6, window_minutes in 1u32..120, gaps in proptest::collection::vec(0i64..90, 1..40),
    ) {
        let mut window = IntegrityWindow::new(limit, window_minutes);
        let (mut mode, mut found, mut now) = (Mode::Normal, Vec::new(), 0);
        for gap in gaps {
            now += gap;
            found.push(now);
            mode = step(&mode, &ModeEvent::IntegrityFailed(window.record(minute(now)))).unwrap().0;
            let recent = found.iter().filter(|at| now - **at <= i64::from(window_minutes)).count();
            prop_assert!(mode.is_recovery() || recent < limit as usize);
            prop_assert!(serde_json::to_string(&window).unwrap().len() < 300, "unbounded");
            if mode.is_recovery() {
                prop_assert!(recent >= limit as usize);
                break;
            }
        }
    }
}
