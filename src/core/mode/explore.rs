//! Every transition there is, found by taking them all.
//!
//! Hazard: a picture or a proof of a machine that has since changed. Both are made from what the machine itself does
//! with one event of each kind that it tells apart.

use std::collections::BTreeSet;

use super::{
    DegradedReason, IntegrityVerdict, Loss, Mode, ModeEvent, Persisted, RecoveryCause, RecoveryPhase, StartFacts, step,
};

/// A transition that was taken.
pub(super) struct Edge {
    pub(super) from: Mode,
    pub(super) event: ModeEvent,
    pub(super) to: Mode,
}

/// The transitions that can be taken from `starting` on, in no order.
pub(super) fn transitions() -> Vec<Edge> {
    let events: Vec<ModeEvent> = starts().into_iter().map(ModeEvent::Started).chain(running_events()).collect();
    let mut seen = BTreeSet::from([Mode::Starting]);
    let mut frontier = vec![Mode::Starting];
    let mut edges = Vec::new();
    while let Some(from) = frontier.pop() {
        for event in &events {
            let Ok((to, _)) = step(&from, event) else { continue };
            if seen.insert(to.clone()) {
                frontier.push(to.clone());
            }
            edges.push(Edge { from: from.clone(), event: event.clone(), to });
        }
    }
    edges
}

/// Every way to start that the machine tells apart.
pub(super) fn starts() -> Vec<StartFacts> {
    let persisted = [
        Persisted::Fresh,
        Persisted::Missing,
        Persisted::Damaged,
        Persisted::Found(Mode::Starting),
        Persisted::Found(Mode::Normal),
        Persisted::Found(Mode::Degraded { reasons: a_reason() }),
        Persisted::Found(a_recovery(RecoveryCause::IntegrityFailures)),
        Persisted::Found(a_recovery(RecoveryCause::OperatorRequest)),
    ];
    let mut starts = Vec::new();
    for persisted in persisted {
        for flag_set in [false, true] {
            for alarm in [None, Some(RecoveryCause::NoGoodBackup)] {
                for reasons in [BTreeSet::new(), a_reason()] {
                    starts.push(StartFacts { flag_set, persisted: persisted.clone(), alarm, reasons });
                }
            }
        }
    }
    starts
}

/// One event of each kind that the machine tells apart once it has started.
pub(super) fn running_events() -> Vec<ModeEvent> {
    use ModeEvent as E;
    let reason = DegradedReason::LiveFilesMissing;
    let mut events = vec![
        E::ReasonRaised(reason),
        E::ReasonCleared(reason),
        E::ReasonCleared(DegradedReason::RecoveryFlagSet),
        E::IntegrityFailed(IntegrityVerdict::Tolerable { failures: 1 }),
        E::IntegrityFailed(IntegrityVerdict::Repeated { failures: 3, window_minutes: 60 }),
        E::RecoveryDemanded(RecoveryCause::OperatorRequest),
        E::RecoveryDemanded(RecoveryCause::ActorGaveUp),
        E::PlanRequested,
        E::Assessed { restorable: true },
        E::Assessed { restorable: false },
        E::RestoreRequested,
        E::Restored,
        E::ValidationRequested,
        E::ValidationPassed,
        E::ValidationFailed { losses: BTreeSet::new() },
        E::ValidationFailed { losses: a_loss() },
        E::WorkFailed,
        E::StopRequested,
    ];
    for acknowledged in [BTreeSet::new(), a_loss()] {
        for flag_set in [false, true] {
            events.push(E::ExitRequested { acknowledged: acknowledged.clone(), flag_set });
        }
    }
    events
}

fn a_reason() -> BTreeSet<DegradedReason> {
    BTreeSet::from([DegradedReason::LiveFilesMissing])
}

fn a_loss() -> BTreeSet<Loss> {
    BTreeSet::from([Loss("a".to_owned())])
}

/// A recovery that a process left behind, validated but not exited.
fn a_recovery(cause: RecoveryCause) -> Mode {
    Mode::Recovery {
        cause,
        phase: RecoveryPhase::Validated,
        schedules_suspended: cause.is_asked_for(),
        reasons: BTreeSet::new(),
    }
}
