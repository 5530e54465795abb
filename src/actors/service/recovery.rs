//! Recovery, as its users drive it: look, plan, apply.
//!
//! Hazard: a plan that is believed and does not hold. What it would restore from is read before it is shown; it is
//! made anew before it is applied, and refused if it is not what was shown; and what came of it is validated.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::super::herald::About;
use super::super::supervisor::Happened;
use super::super::supervisor::reassessment::reassess;
use super::super::verifier::{Validate, Verify};
use super::super::world::ModeView;
use super::super::{diff, recovery};
use super::super::{problems, view};
use super::{Caller, Service};
use crate::api::{
    ApplyOptions, ApplyOutcome, DiffDocument, FailedRestore, ModeDocument, PlanDocument, PlanOptions, Problem,
    ProblemKind, RecoveryDocument, RestoreOutcome,
};
use crate::core::mode::{Loss, ModeEvent, RecoveryCause, RecoveryPhase};
use crate::core::recovery_plan::{Ask, Plan};
use crate::core::secrets::Secrets;
use crate::core::{BackupId, BackupRef, SetName};
use crate::pipeline::restore::{Pick, Rules};
use crate::telemetry::{Check, Event};

/// How often a recovery that went on by itself is waited for again before work begins.
const MAX_TURNS: u32 = 5;

/// What became of the sets of a plan.
#[derive(Default)]
struct Applied {
    restored: Vec<RestoreOutcome>,
    failed: Vec<FailedRestore>,
}

impl Service {
    /// The mode.
    pub fn mode(&self) -> ModeDocument {
        view::mode(&self.world)
    }

    /// The mode, and what would be done about all that is missing or invalid. Reads live files, so it blocks; reads no
    /// backup, so the copies are as good as they were when they were last read.
    pub fn recovery(&self) -> RecoveryDocument {
        let plan = match self.world.repository.is_vacant() {
            true => Plan::default(),
            false => recovery::look(&self.world.repository, &self.world.settings(), &Ask::default()),
        };
        RecoveryDocument { mode: self.mode(), plan: PlanDocument::new(plan, PlanOptions::default()) }
    }

    /// Looks whether the repository is still in its place; if it is not, goes on without it, in recovery mode.
    pub async fn is_in_place(&self) -> bool {
        let world = self.world.clone();
        if !tokio::task::spawn_blocking(move || world.is_displaced()).await.unwrap_or(false) {
            return true;
        }
        let demanded = ModeEvent::RecoveryDemanded(RecoveryCause::RepositoryMissing);
        if let Err(problem) = self.happened(Happened::unasked(demanded)).await {
            tracing::warn!("{problem}");
        }
        self.world.reassess();
        false
    }

    /// Enters recovery mode, as an operator.
    pub async fn enter_recovery(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        tracing::info!(principal = caller.principal, caller.correlation_id, "recovery mode was asked for");
        self.asked(ModeEvent::RecoveryDemanded(RecoveryCause::OperatorRequest), caller).await?;
        Ok(self.mode())
    }

    /// Leaves recovery mode, after a validation that passes, or with the losses it finds acknowledged by name.
    pub async fn exit_recovery(&self, acknowledged: Vec<String>, caller: &Caller) -> Result<ModeDocument, Problem> {
        self.until_working().await?;
        tracing::info!(
            principal = caller.principal,
            caller.correlation_id,
            ?acknowledged,
            "leaving recovery mode was asked for"
        );
        let acknowledged: BTreeSet<Loss> = acknowledged.into_iter().map(Loss).collect();
        if !self.may_leave(&acknowledged) {
            self.validate(caller).await?;
        }
        // What was brought back is missing no more.
        reassess(&self.world, &self.supervisor).await;
        let flag_set = self.world.settings().recovery_mode;
        self.asked(ModeEvent::ExitRequested { acknowledged, flag_set }, caller).await?;
        Ok(self.mode())
    }

    /// What differs between a backup and another of its set, or what is live if none is given. Reads both, so it blocks.
    pub fn diff(&self, before: &BackupRef, after: Option<&BackupRef>) -> Result<DiffDocument, Problem> {
        diff::diff(self.repository()?, &self.world.settings(), (before, after), Secrets::Hidden)
    }

    /// The same with the secrets in it, which is on record before they are shown.
    pub async fn diff_with_secrets(
        &self,
        before: &BackupRef,
        after: Option<&BackupRef>,
        caller: &Caller,
    ) -> Result<DiffDocument, Problem> {
        let older = view::resolve(self.repository()?, None, &before.to_string())?;
        let against = after.map_or_else(|| "live".to_owned(), ToString::to_string);
        let about = About::caller(caller).set(&older.set).backup(older.id);
        let recorded = self.herald.tell(Event::SecretsShown { against }, &about).await;
        recorded.map_err(|why| {
            let detail = format!("no secret is shown, as it cannot be recorded that it was: {why}");
            Problem::new(ProblemKind::Unavailable, detail)
        })?;
        let (world, before, after) = (self.world.clone(), BackupRef::from(older.id), after.cloned());
        let compare =
            move || diff::diff(&world.repository, &world.settings(), (&before, after.as_ref()), Secrets::Shown);
        let compared = tokio::task::spawn_blocking(compare).await;
        compared.map_err(|panic| Problem::new(ProblemKind::Internal, format!("compare: {panic}")))?
    }

    /// Plans what would be restored; every copy it names was read meanwhile, and is good. Changes no file.
    pub async fn plan(&self, options: &PlanOptions, caller: &Caller) -> Result<PlanDocument, Problem> {
        self.until_working().await?;
        let ask = recovery::ask(&self.world.settings(), options)?;
        Ok(PlanDocument::new(self.proven_plan(&ask, caller).await?, options.clone()))
    }

    /// Applies the plan with this digest, if it is still what would be done, and validates what came of it.
    pub async fn apply(&self, options: &ApplyOptions, caller: &Caller) -> Result<ApplyOutcome, Problem> {
        self.until_working().await?;
        let Some(digest) = options.digest else {
            let detail = "name the plan by its digest, as POST /api/recovery/plan answers it";
            return Err(Problem::new(ProblemKind::BadRequest, detail));
        };
        let begun = self.world.clock.uptime();
        let asked = options.asked();
        let plan = self.proven_plan(&recovery::ask(&self.world.settings(), &asked)?, caller).await?;
        if plan.digest() != digest {
            return Err(stale(PlanDocument::new(plan, asked)));
        }
        tracing::info!(principal = caller.principal, caller.correlation_id, plan = %digest, "the recovery plan is applied");
        let rules = Rules { ignore_ownership: options.ignore_ownership, ..Rules::default() };
        let applied = if self.world.mode().mode.is_recovery() {
            self.apply_in_recovery(plan, rules, caller).await?
        } else {
            self.carry_out(&plan, rules, caller).await
        };
        let (validated, losses) = self.validity(caller).await?;
        Ok(ApplyOutcome {
            plan: digest,
            restored: applied.restored,
            failed: applied.failed,
            validated,
            losses,
            mode: self.mode(),
            duration_seconds: (self.world.clock.uptime() - begun).as_secs_f64(),
        })
    }

    /// The plan, once every backup that it restores from, and every one it might rather restore from, was read.
    async fn proven_plan(&self, ask: &Ask, caller: &Caller) -> Result<Plan, Problem> {
        let mut read: BTreeSet<BackupId> = BTreeSet::new();
        loop {
            let (world, asked) = (self.world.clone(), ask.clone());
            let look =
                tokio::task::spawn_blocking(move || recovery::look(&world.repository, &world.settings(), &asked));
            let plan = look.await.map_err(|panic| Problem::new(ProblemKind::Internal, format!("plan: {panic}")))?;
            let unread: Vec<BackupId> = plan.to_prove().difference(&read).copied().collect();
            if unread.is_empty() {
                return Ok(plan);
            }
            for id in unread {
                read.insert(id);
                let Some(backup) = self.world.repository.catalogue().get(id).cloned() else { continue };
                let message = Verify { backup, check: Check::Requested, caller: caller.clone() };
                self.verifier.send(message).await.map_err(|_| problems::of_silence("verifier"))??;
            }
        }
    }

    /// Carries the plan out as the mode machine has it: asked for, begun by the supervisor, reported, validated.
    async fn apply_in_recovery(&self, plan: Plan, rules: Rules, caller: &Caller) -> Result<Applied, Problem> {
        if plan.restores().next().is_none() {
            self.validate(caller).await?;
            return Ok(Applied::default());
        }
        let (tell, told) = oneshot::channel();
        let (service, applying) = (self.clone(), caller.clone());
        let ordered = self.world.recovery.order(Box::new(move || {
            async move {
                let applied = service.carry_out(&plan, rules, &applying).await;
                let event = if applied.failed.is_empty() { ModeEvent::Restored } else { ModeEvent::WorkFailed };
                // Nobody there any more: the mode, the audit log and the next plan tell.
                let _ = tell.send(applied);
                event
            }
            .boxed_local()
        }));
        if !ordered {
            return Err(Problem::new(ProblemKind::Busy, "another plan is being applied: look again when it is done"));
        }
        if let Err(problem) = self.request_restore(caller).await {
            self.world.recovery.withdraw();
            return Err(problem);
        }
        let broken_off = "the restore broke off: the log says where; look again with `fiovana-app recover`";
        told.await.map_err(|_| Problem::new(ProblemKind::Internal, broken_off))
    }

    /// Brings recovery to where a plan may be applied, and has that begun.
    async fn request_restore(&self, caller: &Caller) -> Result<(), Problem> {
        for _turn in 0..MAX_TURNS {
            let is_validated = matches!(self.at_rest().await?.mode.phase(), Some(RecoveryPhase::Validated));
            let event = if is_validated { ModeEvent::PlanRequested } else { ModeEvent::RestoreRequested };
            match self.asked(event, caller).await {
                Ok(()) if is_validated => {}
                // At rest either is allowed, so that it went on by itself between the look and the request.
                Err(problem) if problem.kind == ProblemKind::WrongMode && self.world.mode().mode.is_recovery() => {}
                asked => return asked,
            }
        }
        Err(Problem::new(ProblemKind::Busy, "recovery is looking at what changed meanwhile: try again"))
    }

    /// Restores set by set, the most important first. A set that fails keeps no other from being restored.
    async fn carry_out(&self, plan: &Plan, rules: Rules, caller: &Caller) -> Applied {
        let mut applied = Applied::default();
        for set in &self.world.settings().sets {
            let picks = self.picks(plan, &set.name);
            if picks.is_empty() {
                continue;
            }
            match self.restore_picks(set.clone(), picks, rules, caller).await {
                Ok(outcome) => applied.restored.push(outcome),
                Err(problem) => applied.failed.push(FailedRestore { set: set.name.clone(), problem }),
            }
        }
        applied
    }

    /// The files of a set that the plan restores, by the backup that each comes from.
    fn picks(&self, plan: &Plan, set: &SetName) -> Vec<Pick> {
        let mut paths: BTreeMap<BackupId, Vec<String>> = BTreeMap::new();
        for (entry, chosen) in plan.restores().filter(|(entry, _)| entry.set == *set) {
            paths.entry(chosen.backup).or_default().push(entry.path.clone());
        }
        let catalogue = self.world.repository.catalogue();
        let picks = paths
            .into_iter()
            .filter_map(|(id, paths)| Some(Pick { backup: catalogue.get(id)?.clone(), paths: Some(paths) }));
        picks.collect()
    }

    /// Whether all is well, and what is not. In recovery mode that is what the validation there found.
    async fn validity(&self, caller: &Caller) -> Result<(bool, Vec<String>), Problem> {
        let resting = self.at_rest().await?.mode;
        let losses = match resting.phase() {
            Some(RecoveryPhase::Validated) => return Ok((true, vec![])),
            Some(RecoveryPhase::AwaitingDecision { losses }) => losses.clone(),
            _ => match self
                .verifier
                .send(Validate(caller.clone()))
                .await
                .map_err(|_| problems::of_silence("verifier"))?
            {
                ModeEvent::ValidationPassed => return Ok((true, vec![])),
                ModeEvent::ValidationFailed { losses } => losses,
                _ => BTreeSet::new(),
            },
        };
        Ok((false, losses.iter().map(ToString::to_string).collect()))
    }

    async fn asked(&self, event: ModeEvent, caller: &Caller) -> Result<(), Problem> {
        self.happened(Happened { event, caller: caller.clone() }).await
    }

    fn may_leave(&self, acknowledged: &BTreeSet<Loss>) -> bool {
        match self.world.mode().mode.phase() {
            Some(RecoveryPhase::Validated) => true,
            Some(RecoveryPhase::AwaitingDecision { losses }) => !losses.is_empty() && losses.is_subset(acknowledged),
            // Not in recovery: the machine says what is wrong with asking.
            None => true,
            Some(_) => false,
        }
    }

    /// Waits until no assessment, restore or validation is under way.
    async fn at_rest(&self) -> Result<ModeView, Problem> {
        let mut mode = self.world.watch_mode();
        let resting = mode.wait_for(|view| {
            let phase = view.mode.phase();
            !matches!(
                phase,
                Some(RecoveryPhase::Assessing | RecoveryPhase::Restoring | RecoveryPhase::Validating { .. })
            )
        });
        let resting = resting.await.map_err(|_| problems::of_silence("supervisor"))?.clone();
        Ok(resting)
    }

    /// Waits for work that is under way, then validates, and waits for what comes of it.
    async fn validate(&self, caller: &Caller) -> Result<(), Problem> {
        let resting = self.at_rest().await?.mode;
        if resting.is_recovery() && !matches!(resting.phase(), Some(RecoveryPhase::Validated)) {
            self.asked(ModeEvent::ValidationRequested, caller).await?;
            self.at_rest().await?;
        }
        Ok(())
    }
}

fn stale(plan: PlanDocument) -> Problem {
    let detail = "what would be done is no longer what was shown, and nothing was: look at the plan again";
    Problem { plan: Some(Box::new(plan)), ..Problem::new(ProblemKind::StalePlan, detail) }
}
