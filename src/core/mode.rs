//! The mode of the service: what it may do, and how it comes to be allowed to.
//!
//! Hazard: a recovery mode that can be left too early, or that deletes a backup, is worse than none. So the whole
//! machine is one pure function over `(mode, event)`, small enough to be explored exhaustively; what a step does to
//! the world comes back as data, in the order in which it is to be done; and a pair that should not occur is an error
//! that is seen.

mod diagram;
mod explore;
mod facts;
mod step;
mod window;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use diagram::mermaid;
pub use facts::{DegradedReason, Loss, Persisted, RecoveryCause, StartFacts};
pub use step::{Effect, IllegalEvent, Persistence, Refusal, Transition, step};
pub use window::{IntegrityVerdict, IntegrityWindow};

/// What the service is at present. Persisted with each change, but for `starting` and `stopping`: those belong to a
/// process, not to the repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum Mode {
    /// Finding out what is true. Nothing is scheduled or deleted yet.
    Starting,
    /// All is well.
    Normal,
    /// Working, but something needs a person.
    Degraded {
        /// What does; never empty.
        reasons: BTreeSet<DegradedReason>,
    },
    /// Something went badly wrong: nothing is deleted until a person has seen it through.
    Recovery {
        /// What it was entered for.
        cause: RecoveryCause,
        /// How far it has come.
        phase: RecoveryPhase,
        /// Whether the flag or an operator asked for it since it was entered: then nothing runs on schedule.
        schedules_suspended: bool,
        /// What will be degraded when it is left.
        reasons: BTreeSet<DegradedReason>,
    },
    /// Finishing what is under way. Nothing leads out of it.
    Stopping,
}

/// How far a recovery has come. In `assessing`, `restoring` and `validating` one piece of work is under way, and its
/// end (or its failure) is always reported: there is never more than one, and none once the recovery is left.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum RecoveryPhase {
    /// Comparing the live files with the backups, to make a plan.
    Assessing,
    /// The operator's turn.
    AwaitingDecision {
        /// What a validation since the last failure found to be lost; empty if there was none.
        losses: BTreeSet<Loss>,
    },
    /// Carrying out the plan.
    Restoring,
    /// Verifying what is live and what is stored.
    Validating {
        /// Something failed since it began: its result will prove nothing.
        failed_meanwhile: bool,
    },
    /// A validation passed, and nothing failed since: recovery may be left.
    Validated,
}

impl Mode {
    /// The mode's name in the API, the audit log and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Normal => "normal",
            Self::Degraded { .. } => "degraded",
            Self::Recovery { .. } => "recovery",
            Self::Stopping => "stopping",
        }
    }

    /// Every name a mode can have.
    pub const NAMES: [&'static str; 5] = ["starting", "normal", "degraded", "recovery", "stopping"];

    /// The same without the names of what was found to be lost: as if no validation had ended yet.
    pub fn without_names(mut self) -> Self {
        if let Self::Recovery { phase: RecoveryPhase::AwaitingDecision { losses }, .. } = &mut self {
            losses.clear();
        }
        self
    }

    /// Whether retention and garbage collection may delete.
    pub const fn allows_deletion(&self) -> bool {
        matches!(self, Self::Normal | Self::Degraded { .. })
    }

    /// Whether backups run on schedule. They do in a recovery that nobody asked for: new backups only add.
    pub const fn allows_scheduled_backups(&self) -> bool {
        match self {
            Self::Normal | Self::Degraded { .. } => true,
            Self::Recovery { schedules_suspended, .. } => !*schedules_suspended,
            Self::Starting | Self::Stopping => false,
        }
    }

    /// Whether operators may restore, and make backups by hand.
    pub const fn allows_restore(&self) -> bool {
        matches!(self, Self::Normal | Self::Degraded { .. } | Self::Recovery { .. })
    }

    /// Whether this is recovery mode.
    pub const fn is_recovery(&self) -> bool {
        matches!(self, Self::Recovery { .. })
    }

    /// What needs a person now, or will once recovery is left.
    pub fn reasons(&self) -> BTreeSet<DegradedReason> {
        match self {
            Self::Degraded { reasons } | Self::Recovery { reasons, .. } => reasons.clone(),
            Self::Starting | Self::Normal | Self::Stopping => BTreeSet::new(),
        }
    }

    /// What recovery was entered for, if this is recovery mode.
    pub const fn recovery_cause(&self) -> Option<RecoveryCause> {
        match self {
            Self::Recovery { cause, .. } => Some(*cause),
            _ => None,
        }
    }

    /// How far recovery has come, if this is recovery mode.
    pub const fn phase(&self) -> Option<&RecoveryPhase> {
        match self {
            Self::Recovery { phase, .. } => Some(phase),
            _ => None,
        }
    }
}

impl RecoveryPhase {
    /// The phase's name in the API, the audit log and the runbook.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Assessing => "assessing",
            Self::AwaitingDecision { .. } => "awaiting_decision",
            Self::Restoring => "restoring",
            Self::Validating { .. } => "validating",
            Self::Validated => "validated",
        }
    }
}

/// What happens to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModeEvent {
    /// The process has found out what it starts from.
    Started(StartFacts),
    /// Something needs a person.
    ReasonRaised(DegradedReason),
    /// It no longer does.
    ReasonCleared(DegradedReason),
    /// An object or manifest was found newly damaged, or the audit chain newly broken; recorded in the window first.
    IntegrityFailed(IntegrityVerdict),
    /// Somebody, or something that is enough by itself, demands recovery.
    RecoveryDemanded(RecoveryCause),
    /// The operator wants a new plan.
    PlanRequested,
    /// The assessment ended.
    Assessed {
        /// Whether there is anything to restore.
        restorable: bool,
    },
    /// The operator wants the plan carried out.
    RestoreRequested,
    /// It was.
    Restored,
    /// The operator wants to know whether all is well now.
    ValidationRequested,
    /// It is.
    ValidationPassed,
    /// It is not.
    ValidationFailed {
        /// What cannot be brought back, by name; empty if something else is wrong.
        losses: BTreeSet<Loss>,
    },
    /// The assessment, restore or validation under way failed or was lost.
    WorkFailed,
    /// The operator wants to leave recovery.
    ExitRequested {
        /// The losses accepted, by name.
        acknowledged: BTreeSet<Loss>,
        /// Whether the recovery flag is still set in this process's environment.
        flag_set: bool,
    },
    /// The process is to end.
    StopRequested,
}

impl ModeEvent {
    /// Whether it reports the end of an assessment, restore or validation.
    pub const fn ends_work(&self) -> bool {
        use ModeEvent as E;
        matches!(
            self,
            E::Assessed { .. } | E::Restored | E::ValidationPassed | E::ValidationFailed { .. } | E::WorkFailed
        )
    }

    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::ReasonRaised(_) => "reason_raised",
            Self::ReasonCleared(_) => "reason_cleared",
            Self::IntegrityFailed(IntegrityVerdict::Tolerable { .. }) => "integrity_failed",
            Self::IntegrityFailed(IntegrityVerdict::Repeated { .. }) => "integrity_failed_repeatedly",
            Self::RecoveryDemanded(_) => "recovery_demanded",
            Self::PlanRequested => "plan_requested",
            Self::Assessed { restorable: true } => "plan_ready",
            Self::Assessed { restorable: false } => "nothing_to_restore",
            Self::RestoreRequested => "restore_requested",
            Self::Restored => "restored",
            Self::ValidationRequested => "validation_requested",
            Self::ValidationPassed => "validation_passed",
            Self::ValidationFailed { .. } => "validation_failed",
            Self::WorkFailed => "work_failed",
            Self::ExitRequested { .. } => "exit",
            Self::StopRequested => "stop",
        }
    }
}

#[cfg(test)]
mod tests;
