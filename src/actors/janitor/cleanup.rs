//! Sweeps and collections, step by step.
//!
//! Hazard: a deletion that left no record looks like a loss. What is planned is durable in the audit log before the
//! first manifest goes; what cannot be recorded is not deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Tools;
use crate::actors::herald::About;
use crate::actors::service::Caller;
use crate::api::{DeletedDocument, HeldDocument, Problem, PruneOutcome};
use crate::core::retention::{DeleteReason, PlanDigest};
use crate::core::{BackupId, Digest, SetName};
use crate::pipeline::sweep::{self, BATCH, Collected};
use crate::settings::SetSettings;
use crate::telemetry::Event;

impl Tools {
    /// Sweeps every set, carrying out the one held plan that is `confirmed`, then collects.
    pub async fn sweep_all(&self, confirmed: Option<&PlanDigest>, grace: Duration, caller: &Caller) -> PruneOutcome {
        let sets: Vec<SetName> = self.world.settings().sets.iter().map(|set| set.name.clone()).collect();
        let mut outcome = PruneOutcome::default();
        for set in sets {
            outcome.add(self.sweep(&set, confirmed, caller).await);
        }
        outcome.add(self.collect_garbage(grace, caller).await);
        outcome
    }

    /// Sweeps one set.
    pub async fn sweep(&self, set: &SetName, confirmed: Option<&PlanDigest>, caller: &Caller) -> PruneOutcome {
        let _operation = self.world.begin_operation();
        let Some(set) = self.world.set(set) else { return PruneOutcome::default() };
        let about = About::caller(caller).set(&set.name);
        let (world, asked) = (self.world.clone(), set.clone());
        let plan = tokio::task::spawn_blocking(move || {
            sweep::plan(&world.repository, &asked, &world.guards(), world.clock.now())
        });
        let Ok(plan) = plan.await else { return PruneOutcome::default() };
        let planned: Vec<(BackupId, DeleteReason)> = plan.deletions().map(|(id, why)| (id, why.clone())).collect();
        let hold = plan.hold(self.world.settings().backup.auto_cleanup);
        if let Some(hold) = hold.filter(|hold| confirmed != Some(&hold.digest)) {
            let held = vec![HeldDocument::new(&set.name, &hold)];
            if self.world.upkeep.hold(&set.name, Some(hold.clone())) {
                let _ = self.herald.tell(Event::CleanupHeld { hold, planned: codes(&planned) }, &about).await;
            }
            return PruneOutcome { held, ..PruneOutcome::default() };
        }
        self.world.upkeep.hold(&set.name, None);
        if planned.is_empty() {
            return PruneOutcome::default();
        }
        if self
            .herald
            .tell(Event::CleanupStarted { replica: None, planned: codes(&planned), objects: 0 }, &about)
            .await
            .is_err()
        {
            return PruneOutcome::failed("the audit log cannot be written: nothing was deleted");
        }
        let (deleted, failure) = self.delete(&set, planned.iter().map(|(id, _)| *id).collect()).await;
        let documents = deleted.iter().map(|(id, why)| DeletedDocument::new(*id, &set.name, why)).collect();
        self.conclude(&about, codes(&deleted), Collected::default(), failure, documents).await
    }

    /// Deletes batch by batch; between two of them a backup may go first. What was deleted, and why it is not all.
    async fn delete(
        &self,
        set: &SetSettings,
        approved: BTreeSet<BackupId>,
    ) -> (Vec<(BackupId, DeleteReason)>, Option<Problem>) {
        let approved = Arc::new(approved);
        let mut deleted = Vec::new();
        loop {
            let (set, approved) = (set.clone(), approved.clone());
            let batch = self.batch(move |world, guards| {
                sweep::sweep(&world.repository, &set, &approved, guards, world.clock.now())
            });
            match batch.await {
                Ok(batch) if batch.is_empty() => return (deleted, None),
                Ok(mut batch) => deleted.append(&mut batch),
                Err(problem) => return (deleted, Some(problem)),
            }
        }
    }

    /// Collects what no backup has needed for as long as `grace`.
    pub async fn collect_garbage(&self, grace: Duration, caller: &Caller) -> PruneOutcome {
        let _operation = self.world.begin_operation();
        let about = About::caller(caller);
        let plan = self.batch(move |world, guards| {
            sweep::garbage(&world.repository, grace, sweep::block(guards), world.clock.now())
        });
        let plan = match plan.await {
            Ok(plan) => plan,
            Err(problem) => return self.conclude(&about, vec![], Collected::default(), Some(problem), vec![]).await,
        };
        let blocked = plan.blocked.as_ref().map(ToString::to_string);
        let garbage: Vec<Digest> = plan.collectable().collect();
        if garbage.is_empty() {
            return PruneOutcome { collection_blocked: blocked, ..PruneOutcome::default() };
        }
        let started = Event::CleanupStarted { replica: None, planned: vec![], objects: garbage.len() };
        if self.herald.tell(started, &about).await.is_err() {
            return PruneOutcome::failed("the audit log cannot be written: nothing was collected");
        }
        let (mut collected, mut failure) = (Collected::default(), None);
        for batch in garbage.chunks(BATCH) {
            let batch = batch.to_vec();
            let work = self.batch(move |world, guards| match sweep::block(guards) {
                None => sweep::collect(&world.repository, &batch),
                Some(_) => Ok(Collected::default()),
            });
            match work.await {
                Ok(batch) => collected += batch,
                Err(problem) => {
                    failure = Some(problem);
                    break;
                }
            }
        }
        self.conclude(&about, vec![], collected, failure, vec![]).await
    }

    /// Tells what was done, and why it is not all.
    async fn conclude(
        &self,
        about: &About,
        deleted: Vec<(BackupId, &'static str)>,
        collected: Collected,
        failure: Option<Problem>,
        documents: Vec<DeletedDocument>,
    ) -> PruneOutcome {
        let Collected { objects, freed_bytes } = collected;
        let failed = failure.as_ref().map(|problem| problem.detail.clone());
        if failure.is_none() || !deleted.is_empty() || objects > 0 {
            let _ =
                self.herald.tell(Event::CleanupCompleted { replica: None, deleted, objects, freed_bytes }, about).await;
        }
        if let Some(problem) = failure {
            let _ = self.herald.tell(Event::CleanupFailed { error: problem.detail }, about).await;
        }
        let failures = failed.into_iter().collect();
        PruneOutcome { deleted: documents, objects: objects as u64, freed_bytes, failures, ..PruneOutcome::default() }
    }
}

fn codes(planned: &[(BackupId, DeleteReason)]) -> Vec<(BackupId, &'static str)> {
    planned.iter().map(|(id, reason)| (*id, reason.code())).collect()
}
