//! How a command ended.
//!
//! Hazard: a script that sees 0 believes that all is well. Every outcome that is less than that has a code of its own.

use crate::api::{
    ApplyOutcome, BackupDetails, DrillOutcome, DrillVerdict, PlanDocument, ProblemKind, PruneOutcome, RestoreOutcome,
    Status, VerifyOutcome, VerifyVerdict,
};
use crate::core::BackupState;
use crate::core::mode::RecoveryCause;

/// How a command ended, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// All is done.
    Done,
    /// Done, with something that a person should look at.
    Problems,
    /// Not done.
    Failed,
    /// Not understood: arguments or settings.
    Usage,
    /// Something stored is damaged.
    Integrity,
}

impl Exit {
    /// The process's exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Problems => 3,
            Self::Integrity => 4,
        }
    }

    /// Of a problem.
    pub const fn of_problem(kind: ProblemKind) -> Self {
        match kind {
            ProblemKind::Integrity => Self::Integrity,
            ProblemKind::BadRequest => Self::Usage,
            _ => Self::Failed,
        }
    }

    /// Of a backup that was made.
    pub fn of_backup(backup: &BackupDetails) -> Self {
        let whole = backup.missing.is_empty() && backup.unreadable.is_empty() && backup.fewer.is_empty();
        match backup.summary.state {
            BackupState::Damaged => Self::Integrity,
            BackupState::Good if whole && backup.summary.consistent => Self::Done,
            _ => Self::Problems,
        }
    }

    /// Of a restore.
    pub fn of_restore(outcome: &RestoreOutcome) -> Self {
        if outcome.skipped.is_empty() && outcome.unsaved.is_empty() { Self::Done } else { Self::Problems }
    }

    /// Of a look at everything. There is nothing to look at where the repository is gone: then its mode cannot be kept
    /// either.
    pub fn of_status(status: &Status) -> Self {
        let is_missing = status.mode.cause.as_deref() == Some(RecoveryCause::RepositoryMissing.code());
        if is_missing && !status.mode.persisted { Self::Failed } else { Self::Done }
    }

    /// Of a plan that was only looked at, or leaves nothing to restore.
    pub const fn of_plan(plan: &PlanDocument) -> Self {
        if plan.problems == 0 { Self::Done } else { Self::Problems }
    }

    /// Of a plan that was applied.
    pub fn of_recovery(plan: &PlanDocument, outcome: &ApplyOutcome) -> Self {
        let failed = outcome.failed.iter().map(|failed| Self::of_problem(failed.problem.kind)).max();
        let sets = outcome.restored.iter().map(Self::of_restore).max();
        let valid = if outcome.validated { Self::Done } else { Self::Problems };
        [failed, sets, Some(valid), Some(Self::of_plan(plan))].into_iter().flatten().max().unwrap_or(Self::Done)
    }

    /// Of a cleanup. What waits for a person is to be looked at.
    pub const fn of_prune(outcome: &PruneOutcome) -> Self {
        match (outcome.failures.is_empty(), outcome.held.is_empty() && outcome.collection_blocked.is_none()) {
            (false, _) => Self::Failed,
            (true, true) => Self::Done,
            (true, false) => Self::Problems,
        }
    }

    /// Of a drill.
    pub const fn of_drill(outcome: &DrillOutcome) -> Self {
        match outcome.verdict {
            DrillVerdict::Passed => Self::Done,
            DrillVerdict::Damaged => Self::Integrity,
            DrillVerdict::Failed => Self::Failed,
        }
    }

    /// Of a verification. What could not be read was not verified.
    pub const fn of_verification(outcome: &VerifyOutcome) -> Self {
        match outcome.verdict {
            VerifyVerdict::Intact if !outcome.healed.is_empty() => Self::Problems,
            VerifyVerdict::Intact => Self::Done,
            VerifyVerdict::Damaged => Self::Integrity,
            VerifyVerdict::Unreadable => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = [Exit::Done, Exit::Failed, Exit::Usage, Exit::Problems, Exit::Integrity].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_worst_of_several_is_the_greatest() {
        let several = [Exit::Problems, Exit::Integrity, Exit::Done, Exit::Failed];
        assert_eq!(several.into_iter().max(), Some(Exit::Integrity));
        assert!(Exit::Problems < Exit::Failed);
    }

    #[test]
    fn a_backup_that_lacks_a_file_is_done_with_problems() {
        let mut backup = samples::details();
        backup.missing.clear();
        backup.unreadable.clear();
        assert_eq!(Exit::of_backup(&backup), Exit::Done);
        backup.missing.push("a.json".into());
        assert_eq!(Exit::of_backup(&backup), Exit::Problems);
        backup.missing.clear();
        backup.summary.state = BackupState::Suspect;
        assert_eq!(Exit::of_backup(&backup), Exit::Problems);
    }

    #[test]
    fn a_status_fails_only_where_there_is_no_repository() {
        let mut status = samples::status();
        assert_eq!(Exit::of_status(&status), Exit::Done);
        status.mode.cause = Some("repository_missing".into());
        status.mode.persisted = false;
        assert_eq!(Exit::of_status(&status), Exit::Failed);
        status.mode.persisted = true;
        assert_eq!(Exit::of_status(&status), Exit::Done, "it was brought back, and waits for a decision");
    }

    #[test]
    fn a_restore_that_skipped_a_file_is_done_with_problems() {
        let mut outcome = samples::restored();
        assert_eq!(Exit::of_restore(&outcome), Exit::Problems);
        outcome.skipped.clear();
        assert_eq!(Exit::of_restore(&outcome), Exit::Done);
    }

    #[test]
    fn a_recovery_that_lost_something_is_done_with_problems_and_one_that_failed_is_worse() {
        let (mut plan, mut outcome) = (samples::plan(), samples::applied());
        assert_eq!(Exit::of_plan(&plan), Exit::Problems);
        assert_eq!(Exit::of_recovery(&plan, &outcome), Exit::Failed);
        outcome.failed[0].problem.kind = ProblemKind::Integrity;
        assert_eq!(Exit::of_recovery(&plan, &outcome), Exit::Integrity);
        outcome.failed.clear();
        outcome.restored[0].skipped.clear();
        assert_eq!(Exit::of_recovery(&plan, &outcome), Exit::Problems);
        outcome.validated = true;
        plan.problems = 0;
        assert_eq!(Exit::of_recovery(&plan, &outcome), Exit::Done);
    }

    #[test]
    fn damage_is_an_integrity_failure_and_unreadable_bytes_are_a_plain_one() {
        let exit_of = |verdict| Exit::of_verification(&samples::verified(verdict));
        assert_eq!(exit_of(VerifyVerdict::Intact), Exit::Done);
        let healed = samples::verified(VerifyVerdict::Damaged).damages;
        let healed = VerifyOutcome { healed, ..samples::verified(VerifyVerdict::Intact) };
        assert_eq!(Exit::of_verification(&healed), Exit::Problems);
        assert_eq!(exit_of(VerifyVerdict::Damaged), Exit::Integrity);
        assert_eq!(exit_of(VerifyVerdict::Unreadable), Exit::Failed);
        assert_eq!(Exit::of_problem(ProblemKind::Integrity), Exit::Integrity);
        assert_eq!(Exit::of_problem(ProblemKind::Busy), Exit::Failed);
    }
}
