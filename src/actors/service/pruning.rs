//! Deleting, keeping and giving up, as it is asked for.
//!
//! Hazard: what only reads must never wait for the write lane: a plan is shown while a backup is under way.

use std::collections::HashMap;

use super::{Caller, Service, problems, view};
use crate::actors::history;
use crate::actors::janitor::{AcceptClock, ClearQuarantine, Forget, Prune, SetPin};
use crate::actors::replication::Replicate;
use crate::api::{
    AcceptTimelineOptions, BackupDetails, DecisionDocument, ForgetOptions, ForgetOutcome, GarbageDocument,
    HeldDocument, ModeDocument, Problem, ProblemKind, PruneOptions, PruneOutcome, PrunePlan, QuarantineDocument,
    SetPlan, TimelinesDocument,
};
use crate::core::retention::{PlanDigest, PlanDigestSyntax};
use crate::core::{BackupId, Position, ReplicaName, SetName};
use crate::pipeline::forget::Forgettable;
use crate::pipeline::sweep;
use crate::settings::SetSettings;

impl Service {
    /// What a cleanup would do now, with a reason for every backup.
    pub fn prune_plan(&self) -> PrunePlan {
        let sets = self.world.settings().sets.iter().map(|set| self.set_plan(set)).collect();
        let guards = self.world.guards();
        let catalogue = self.world.repository.catalogue();
        let (objects, stored_bytes) =
            catalogue.unreferenced().fold((0, 0), |(n, sum), (_, bytes)| (n + 1, sum + bytes));
        let blocked = sweep::block(&guards).or_else(|| catalogue.collection_block());
        let garbage = GarbageDocument { objects, stored_bytes, blocked: blocked.map(|block| block.to_string()) };
        let quarantined = self.world.repository.quarantined().unwrap_or_default();
        let quarantine = QuarantineDocument {
            files: quarantined.count() as u64,
            bytes: quarantined.bytes(),
            digest: quarantined.digest().map(|digest| digest.to_string()),
        };
        PrunePlan { sets, garbage, quarantine }
    }

    fn set_plan(&self, set: &SetSettings) -> SetPlan {
        let repository = &self.world.repository;
        let plan = sweep::plan(repository, set, &self.world.guards(), self.world.clock.now());
        let hold = plan.hold(self.world.settings().backup.auto_cleanup);
        let catalogue = repository.catalogue();
        let backups = catalogue.set(&set.name).map_or(&[][..], |index| index.backups());
        let created: HashMap<_, _> = backups.iter().map(|backup| (backup.id, backup.created())).collect();
        let decision = |(id, decision): &(BackupId, _)| {
            let created = created.get(id).copied().unwrap_or_else(|| id.created());
            DecisionDocument::new(*id, created, plan.superseded.get(id).copied(), decision)
        };
        SetPlan {
            set: set.name.clone(),
            policy: set.policy.to_string(),
            max_backups: set.max_backups as u64,
            retention_days: set.retention_days,
            frozen: plan.frozen.map(|reason| reason.to_string()),
            held: hold.map(|hold| HeldDocument::new(&set.name, &hold)),
            backups: plan.decisions.iter().map(decision).collect(),
            would_free_bytes: catalogue.exclusive_bytes(&plan.deletions().map(|(id, _)| id).collect()),
        }
    }

    /// Deletes what is due now, and what is held if its digest is confirmed; or what is in quarantine, and nothing else.
    pub async fn prune(&self, options: &PruneOptions, caller: &Caller) -> Result<PruneOutcome, Problem> {
        if let Some(shown) = &options.clear_quarantine {
            if options.confirm.is_some() {
                let detail = "confirm a plan, or clear the quarantine: not both at once";
                return Err(Problem::new(ProblemKind::BadRequest, detail));
            }
            let message = ClearQuarantine { shown: digest(shown)?, caller: caller.clone() };
            return self.janitor.send(message).await.map_err(|_| problems::of_silence("janitor"))?;
        }
        self.until_working().await?;
        let confirmed = options.confirm.as_deref().map(digest).transpose()?;
        if let Some(confirmed) = &confirmed {
            self.refuse_unless_held(confirmed)?;
        }
        let message = Prune { confirmed, caller: caller.clone() };
        self.janitor.send(message).await.map_err(|_| problems::of_silence("janitor"))?
    }

    fn refuse_unless_held(&self, confirmed: &PlanDigest) -> Result<(), Problem> {
        let plan = self.prune_plan();
        let for_replicas = self.world.upkeep.held_for_replicas();
        let for_replicas: Vec<_> = for_replicas.iter().map(|(set, hold)| HeldDocument::new(set, hold)).collect();
        let held = || plan.sets.iter().filter_map(|set| set.held.as_ref()).chain(&for_replicas);
        if held().any(|held| held.digest == confirmed.to_string()) {
            return Ok(());
        }
        let waiting: Vec<String> = held().map(|held| format!("{} of {}", held.digest, held.set)).collect();
        let waiting = if waiting.is_empty() { "none".to_owned() } else { waiting.join(", ") };
        let detail =
            format!("no plan {confirmed} waits (waiting: {waiting}): look again with `fiovana-app prune --dry-run`");
        Err(Problem::new(ProblemKind::StalePlan, detail))
    }

    /// Believes the clock, whatever contradicts it.
    pub async fn accept_clock(&self, caller: &Caller) -> Result<ModeDocument, Problem> {
        let message = AcceptClock { caller: caller.clone() };
        self.janitor.send(message).await.map_err(|_| problems::of_silence("janitor"))??;
        Ok(view::mode(&self.world))
    }

    /// The timelines of the repository.
    pub fn timelines(&self) -> Result<TimelinesDocument, Problem> {
        self.repository()?;
        Ok(history::document(&self.world))
    }

    /// Takes note that somebody has seen the newest timeline, or says that a replica is this service's.
    pub async fn accept_timeline(
        &self,
        options: &AcceptTimelineOptions,
        caller: &Caller,
    ) -> Result<TimelinesDocument, Problem> {
        self.until_working().await?;
        if let Some(replica) = &options.replica {
            return self.award(replica).await;
        }
        history::accept(&self.world, &self.herald, caller).await
    }

    /// Says that a replica is this service's, whoever claimed it.
    async fn award(&self, replica: &ReplicaName) -> Result<TimelinesDocument, Problem> {
        let settings = self.world.settings();
        if !settings.replicas.iter().any(|known| known.name == *replica) {
            let detail =
                format!("there is no replica {replica} in the settings: `fiovana-app status` names those there are");
            return Err(Problem::new(ProblemKind::NotFound, detail));
        }
        let (world, name) = (self.world.clone(), replica.clone());
        let awarded = tokio::task::spawn_blocking(move || world.identity.award(&world.repository, &name)).await;
        let failed = |error: &dyn std::error::Error| Problem::new(ProblemKind::Internal, problems::chain(error));
        awarded.map_err(|panic| failed(&panic))?.map_err(|error| failed(&error))?;
        self.world.replicas.try_again(replica);
        self.janitor.do_send(Replicate);
        Ok(history::document(&self.world))
    }

    /// Pins a backup, or takes its pin away.
    pub async fn set_pinned(&self, reference: &str, pinned: bool, caller: &Caller) -> Result<BackupDetails, Problem> {
        let backup = view::resolve(self.repository()?, None, reference)?;
        let message = SetPin { backup, pinned, caller: caller.clone() };
        let changed = self.janitor.send(message).await.map_err(|_| problems::of_silence("janitor"))??;
        Ok(view::details(&self.world.repository, &self.world.settings(), &changed))
    }

    /// Gives up a damaged backup (its id) or a lost one (`SET:SEQUENCE`); shows what that means unless it is confirmed.
    pub async fn forget(&self, what: &str, options: &ForgetOptions, caller: &Caller) -> Result<ForgetOutcome, Problem> {
        let confirmed = options.confirm.as_deref().map(digest).transpose()?;
        let what = match lost(what) {
            Some((set, position)) => Forgettable::Lost(set, position),
            None => Forgettable::Backup(view::resolve(self.repository()?, None, what)?),
        };
        let message = Forget { what, confirmed, caller: caller.clone() };
        self.janitor.send(message).await.map_err(|_| problems::of_silence("janitor"))?
    }
}

/// The place of a lost backup: `security:7`.
fn lost(text: &str) -> Option<(SetName, Position)> {
    let (set, position) = text.split_once(':')?;
    Some((set.parse().ok()?, position.parse().ok()?))
}

fn digest(text: &str) -> Result<PlanDigest, Problem> {
    let refuse = |error: PlanDigestSyntax| Problem::new(ProblemKind::BadRequest, format!("{text:?}: {error}"));
    text.parse().map_err(refuse)
}
