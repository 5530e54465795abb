//! The transition function, and what its steps do to the world.
//!
//! Hazard: an effect that is forgotten on one of many paths. Effects are therefore not listed transition by
//! transition: they follow from the difference between the mode before and the mode after, in one place.

use std::collections::BTreeSet;

use super::{
    DegradedReason, IntegrityVerdict, Loss, Mode, ModeEvent, Persisted, RecoveryCause, RecoveryPhase, StartFacts,
};

/// What a step does to the world. To be done in the order given: what restricts comes first, then the mode is made
/// durable and audited, then comes what permits or starts something. A process begins with deletion frozen and
/// schedules suspended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// No deletion starts from now on, and one under way ends at its next step.
    FreezeDeletion,
    /// No backup starts on schedule.
    SuspendSchedules,
    /// Make the new mode durable.
    Persist(Persistence),
    /// Record the transition.
    Audit(Transition),
    /// Deletion may run again.
    AllowDeletion,
    /// Schedules run again.
    ResumeSchedules,
    /// Compare and plan; ends in `Assessed` or `WorkFailed`.
    StartAssessment,
    /// Carry the plan out; ends in `Restored` or `WorkFailed`.
    StartRestore,
    /// Verify; ends in `ValidationPassed`, `ValidationFailed` or `WorkFailed`.
    StartValidation,
}

/// What a failure to persist means for the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// The step is not taken: the mode stays as it was, and no later effect happens.
    Required,
    /// The step is taken all the same, and persisting is tried again.
    Attempted,
}

/// A change of mode, for the audit log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The name of the mode before.
    pub from: &'static str,
    /// The name of the mode after.
    pub to: &'static str,
    /// The phase of recovery after, if any.
    pub phase: Option<&'static str>,
    /// The code of the event.
    pub event: &'static str,
    /// The code of the recovery's cause when one is entered, or of the reason raised or cleared; else of the event.
    pub cause: &'static str,
}

/// An event that the mode has no answer to. The mode is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event} is refused while {}: {refusal}", phase.unwrap_or(mode))]
pub struct IllegalEvent {
    /// The name of the mode.
    pub mode: &'static str,
    /// The phase of recovery, if any.
    pub phase: Option<&'static str>,
    /// The code of the event.
    pub event: &'static str,
    /// Why.
    pub refusal: Refusal,
}

/// Why an event was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no meaning here.
    #[error("it does not apply here")]
    NotHere,
    /// Recovery cannot be left yet.
    #[error("no validation passed since the last failure: plan, apply, validate, then leave")]
    NotValidated,
    /// Recovery can be left only by accepting these.
    #[error("these losses are not acknowledged: {}", names(.0))]
    Unacknowledged(BTreeSet<Loss>),
}

fn names(losses: &BTreeSet<Loss>) -> String {
    losses.iter().map(|loss| loss.0.as_str()).collect::<Vec<_>>().join(", ")
}

/// The mode after `event`, and what is to be done about it, in order; nothing at all if the event changes nothing.
pub fn step(mode: &Mode, event: &ModeEvent) -> Result<(Mode, Vec<Effect>), IllegalEvent> {
    let next = next_mode(mode, event).map_err(|refusal| IllegalEvent {
        mode: mode.name(),
        phase: mode.phase().map(RecoveryPhase::code),
        event: event.code(),
        refusal,
    })?;
    let effects = effects(mode, &next, event);
    Ok((next, effects))
}

fn next_mode(mode: &Mode, event: &ModeEvent) -> Result<Mode, Refusal> {
    use ModeEvent as E;
    match (mode, event) {
        (_, E::StopRequested) => Ok(Mode::Stopping),
        (Mode::Starting, E::Started(facts)) => Ok(after_start(facts)),
        (Mode::Stopping, event) if event.ends_work() => Ok(Mode::Stopping),
        (Mode::Starting | Mode::Stopping, _) => Err(Refusal::NotHere),
        (Mode::Normal, event) => working(&BTreeSet::new(), event),
        (Mode::Degraded { reasons }, event) => working(reasons, event),
        (Mode::Recovery { cause, phase, schedules_suspended, reasons }, event) => match event {
            E::ReasonRaised(_) | E::ReasonCleared(_) => {
                let reasons = with_reason(reasons, event);
                Ok(Mode::Recovery {
                    reasons,
                    cause: *cause,
                    phase: phase.clone(),
                    schedules_suspended: *schedules_suspended,
                })
            }
            E::ExitRequested { acknowledged, flag_set } => {
                may_leave(phase, acknowledged)?;
                let flag = flag_set.then_some(DegradedReason::RecoveryFlagSet);
                Ok(normal_or_degraded(reasons.iter().copied().chain(flag).collect()))
            }
            _ => Ok(Mode::Recovery {
                cause: *cause,
                phase: next_phase(phase, event)?,
                schedules_suspended: *schedules_suspended || is_asked_for(event),
                reasons: reasons.clone(),
            }),
        },
    }
}

/// Where a process starts. The flag beats everything; a recovery once entered goes on.
fn after_start(facts: &StartFacts) -> Mode {
    let persisted = match &facts.persisted {
        Persisted::Found(Mode::Recovery { cause, schedules_suspended, .. }) => Some((*cause, *schedules_suspended)),
        _ => None,
    };
    let unbelievable = match &facts.persisted {
        Persisted::Damaged | Persisted::Found(Mode::Starting | Mode::Stopping) => Some(RecoveryCause::ModeFileDamaged),
        Persisted::Missing => Some(RecoveryCause::ModeFileMissing),
        Persisted::Fresh | Persisted::Found(_) => None,
    };
    let cause = facts
        .flag_set
        .then_some(RecoveryCause::RecoveryFlag)
        .or(persisted.map(|(cause, _)| cause))
        .or(facts.alarm)
        .or(unbelievable);
    match cause {
        Some(cause) => recovery(cause, persisted.is_some_and(|(_, suspended)| suspended), &facts.reasons),
        None => normal_or_degraded(facts.reasons.clone()),
    }
}

/// What becomes of `normal` (without reasons) and `degraded`.
fn working(reasons: &BTreeSet<DegradedReason>, event: &ModeEvent) -> Result<Mode, Refusal> {
    match event {
        ModeEvent::ReasonRaised(_) | ModeEvent::ReasonCleared(_) => Ok(normal_or_degraded(with_reason(reasons, event))),
        ModeEvent::IntegrityFailed(IntegrityVerdict::Tolerable { .. }) => Ok(normal_or_degraded(reasons.clone())),
        ModeEvent::IntegrityFailed(IntegrityVerdict::Repeated { .. }) => {
            Ok(recovery(RecoveryCause::IntegrityFailures, false, reasons))
        }
        ModeEvent::RecoveryDemanded(cause) => Ok(recovery(*cause, false, reasons)),
        _ => Err(Refusal::NotHere),
    }
}

/// The phases of recovery. A failure while work is under way is dealt with when that work ends.
fn next_phase(phase: &RecoveryPhase, event: &ModeEvent) -> Result<RecoveryPhase, Refusal> {
    use ModeEvent as E;
    use RecoveryPhase as P;
    match (phase, event) {
        (_, E::RecoveryDemanded(cause)) if cause.is_asked_for() => Ok(phase.clone()),
        (P::Validating { .. }, E::IntegrityFailed(_) | E::RecoveryDemanded(_)) => {
            Ok(P::Validating { failed_meanwhile: true })
        }
        // A validation is still to come.
        (P::Assessing | P::Restoring, E::IntegrityFailed(_) | E::RecoveryDemanded(_)) => Ok(phase.clone()),
        (
            P::AwaitingDecision { .. } | P::Validated,
            E::IntegrityFailed(_) | E::RecoveryDemanded(_) | E::PlanRequested,
        ) => Ok(P::Assessing),
        (P::AwaitingDecision { .. } | P::Validated, E::ValidationRequested) => Ok(validating()),
        (P::AwaitingDecision { .. }, E::RestoreRequested) => Ok(P::Restoring),
        (P::Assessing, E::Assessed { restorable: true }) => Ok(awaiting_decision()),
        (P::Assessing, E::Assessed { restorable: false }) | (P::Restoring, E::Restored) => Ok(validating()),
        (P::Assessing | P::Restoring, E::WorkFailed) => Ok(awaiting_decision()),
        (
            P::Validating { failed_meanwhile: true },
            E::ValidationPassed | E::ValidationFailed { .. } | E::WorkFailed,
        ) => Ok(P::Assessing),
        (P::Validating { failed_meanwhile: false }, E::ValidationPassed) => Ok(P::Validated),
        (P::Validating { failed_meanwhile: false }, E::ValidationFailed { losses }) => {
            Ok(P::AwaitingDecision { losses: losses.clone() })
        }
        (P::Validating { failed_meanwhile: false }, E::WorkFailed) => Ok(awaiting_decision()),
        _ => Err(Refusal::NotHere),
    }
}

/// Whether recovery may be left: after a validation that passed, or with what one found lost acknowledged by name.
fn may_leave(phase: &RecoveryPhase, acknowledged: &BTreeSet<Loss>) -> Result<(), Refusal> {
    match phase {
        RecoveryPhase::Validated => Ok(()),
        RecoveryPhase::AwaitingDecision { losses } if !losses.is_empty() => {
            let missing: BTreeSet<Loss> = losses.difference(acknowledged).cloned().collect();
            if missing.is_empty() { Ok(()) } else { Err(Refusal::Unacknowledged(missing)) }
        }
        _ => Err(Refusal::NotValidated),
    }
}

fn recovery(cause: RecoveryCause, schedules_suspended: bool, reasons: &BTreeSet<DegradedReason>) -> Mode {
    Mode::Recovery {
        cause,
        phase: RecoveryPhase::Assessing,
        schedules_suspended: schedules_suspended || cause.is_asked_for(),
        reasons: reasons.clone(),
    }
}

fn normal_or_degraded(reasons: BTreeSet<DegradedReason>) -> Mode {
    if reasons.is_empty() { Mode::Normal } else { Mode::Degraded { reasons } }
}

fn awaiting_decision() -> RecoveryPhase {
    RecoveryPhase::AwaitingDecision { losses: BTreeSet::new() }
}

fn validating() -> RecoveryPhase {
    RecoveryPhase::Validating { failed_meanwhile: false }
}

fn is_asked_for(event: &ModeEvent) -> bool {
    matches!(event, ModeEvent::RecoveryDemanded(cause) if cause.is_asked_for())
}

fn with_reason(reasons: &BTreeSet<DegradedReason>, event: &ModeEvent) -> BTreeSet<DegradedReason> {
    let mut reasons = reasons.clone();
    match event {
        ModeEvent::ReasonRaised(reason) => _ = reasons.insert(*reason),
        ModeEvent::ReasonCleared(reason) => _ = reasons.remove(reason),
        _ => {}
    }
    reasons
}

fn effects(from: &Mode, to: &Mode, event: &ModeEvent) -> Vec<Effect> {
    if from == to {
        return Vec::new();
    }
    let (deleted, deletes) = (from.allows_deletion(), to.allows_deletion());
    let (scheduled, schedules) = (from.allows_scheduled_backups(), to.allows_scheduled_backups());
    [
        (deleted && !deletes).then_some(Effect::FreezeDeletion),
        (scheduled && !schedules).then_some(Effect::SuspendSchedules),
        persistence(from, to).map(Effect::Persist),
        Some(Effect::Audit(transition(from, to, event))),
        (!deleted && deletes).then_some(Effect::AllowDeletion),
        (!scheduled && schedules).then_some(Effect::ResumeSchedules),
        work(to).filter(|_| work(from) != work(to)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Leaving recovery must be durable before it happens, or a restart would find itself in recovery again with its
/// backups already gone. Nothing else waits: entering it least of all. What a stopping process leaves is what it was.
fn persistence(from: &Mode, to: &Mode) -> Option<Persistence> {
    match (from.is_recovery(), to) {
        (_, Mode::Starting | Mode::Stopping) => None,
        (true, Mode::Normal | Mode::Degraded { .. }) => Some(Persistence::Required),
        _ => Some(Persistence::Attempted),
    }
}

fn transition(from: &Mode, to: &Mode, event: &ModeEvent) -> Transition {
    let entered = if from.is_recovery() { None } else { to.recovery_cause() };
    let cause = match event {
        ModeEvent::ReasonRaised(reason) | ModeEvent::ReasonCleared(reason) => reason.code(),
        ModeEvent::RecoveryDemanded(cause) => cause.code(),
        _ => entered.map_or(event.code(), RecoveryCause::code),
    };
    let phase = to.phase().map(RecoveryPhase::code);
    Transition { from: from.name(), to: to.name(), phase, event: event.code(), cause }
}

/// The work that is under way in a mode.
fn work(mode: &Mode) -> Option<Effect> {
    match mode.phase()? {
        RecoveryPhase::Assessing => Some(Effect::StartAssessment),
        RecoveryPhase::Restoring => Some(Effect::StartRestore),
        RecoveryPhase::Validating { .. } => Some(Effect::StartValidation),
        RecoveryPhase::AwaitingDecision { .. } | RecoveryPhase::Validated => None,
    }
}
