//! Sweeps and collections, step by step.
//!
//! Hazard: a deletion that left no record looks like a loss. What is planned is durable in the audit log before the
//! first manifest goes; what cannot be recorded is not deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Tools;
use crate::actors::herald::About;
use crate::actors::problems;
use crate::actors::service::Caller;
use crate::actors::world::World;
use crate::api::{DeletedDocument, HeldDocument, Problem, PruneOutcome};
use crate::core::retention::{DeleteReason, Guards, PlanDigest};
use crate::core::{BackupId, Digest, SetName};
use crate::pipeline::sweep::{self, BATCH};
use crate::repository::WriteError;
use crate::settings::SetSettings;
use crate::storage::Freed;
use crate::telemetry::Event;

impl Tools {
    /// Sweeps every set, carrying out the one held plan that is `confirmed`.
    pub async fn sweep_all(&self, confirmed: Option<&PlanDigest>, caller: &Caller) -> PruneOutcome {
        let sets: Vec<SetName> = self.world.settings().sets.iter().map(|set| set.name.clone()).collect();
        let mut outcome = PruneOutcome::default();
        for set in sets {
            outcome.add(self.sweep(&set, confirmed, caller).await);
        }
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
        let hold = plan.hold(self.is_automatic());
        if let Some(hold) = hold.filter(|hold| confirmed != Some(&hold.digest)) {
            let held = vec![HeldDocument::new(&set.name, &hold)];
            if self.world.upkeep.hold(&set.name, None, Some(hold.clone())) {
                let _ = self
                    .herald
                    .tell(Event::CleanupHeld { replica: None, hold, planned: codes(&planned) }, &about)
                    .await;
            }
            return PruneOutcome { held, ..PruneOutcome::default() };
        }
        self.world.upkeep.hold(&set.name, None, None);
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
        let done = self.delete(&set, planned.iter().map(|(id, _)| *id).collect()).await;
        let documents = done.deleted.iter().map(|(id, why)| DeletedDocument::new(*id, &set.name, why)).collect();
        PruneOutcome { deleted: documents, ..self.conclude(&about, done).await }
    }

    /// Deletes batch by batch; between two of them a backup may go first.
    async fn delete(&self, set: &SetSettings, approved: BTreeSet<BackupId>) -> Done {
        let approved = Arc::new(approved);
        let mut done = Done::default();
        loop {
            let (set, approved) = (set.clone(), approved.clone());
            let batch = self.freeing(move |world, guards, freed| {
                sweep::sweep(&world.repository, &set, &approved, guards, world.clock.now(), freed)
            });
            let (freed, batch) = batch.await;
            done.bytes += freed.bytes;
            match batch {
                Ok(batch) if batch.is_empty() => return done,
                Ok(mut batch) => done.deleted.append(&mut batch),
                Err(problem) => return Done { failure: Some(problem), ..done },
            }
        }
    }

    /// Collects what no backup has needed for as long as `grace`.
    pub async fn collect_garbage(&self, grace: Duration, caller: &Caller) -> PruneOutcome {
        let _operation = self.world.begin_operation();
        let about = About::caller(caller);
        let plan = self.freeing(move |world, guards, freed| {
            sweep::garbage(&world.repository, grace, sweep::block(guards), world.clock.now(), freed)
        });
        let (freed, plan) = plan.await;
        let mut done = Done { bytes: freed.bytes, ..Done::default() };
        let plan = match plan {
            Ok(plan) => plan,
            Err(problem) => return self.conclude(&about, Done { failure: Some(problem), ..done }).await,
        };
        let blocked = plan.blocked.as_ref().map(ToString::to_string);
        let garbage: Vec<Digest> = plan.collectable().collect();
        if garbage.is_empty() && freed == Freed::default() {
            return PruneOutcome { collection_blocked: blocked, ..PruneOutcome::default() };
        }
        let started = Event::CleanupStarted { replica: None, planned: vec![], objects: garbage.len() };
        if self.herald.tell(started, &about).await.is_err() {
            return PruneOutcome::failed("the audit log cannot be written: nothing was collected");
        }
        for batch in garbage.chunks(BATCH) {
            let batch = batch.to_vec();
            let work = self.freeing(move |world, guards, freed| match sweep::block(guards) {
                None => sweep::collect(&world.repository, &batch, freed),
                Some(_) => Ok(()),
            });
            let (freed, collected) = work.await;
            done.objects += freed.files;
            done.bytes += freed.bytes;
            if let Err(problem) = collected {
                done.failure = Some(problem);
                break;
            }
        }
        self.conclude(&about, done).await
    }

    /// The same as [`Tools::batch`], for what deletes: what is gone by then is told also after an error.
    pub(super) async fn freeing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&World, &Guards, &mut Freed) -> Result<T, WriteError> + Send + 'static,
    ) -> (Freed, Result<T, Problem>) {
        let batch = self.batch(move |world, guards| {
            let mut freed = Freed::default();
            let outcome = work(world, guards, &mut freed);
            Ok((freed, outcome))
        });
        match batch.await {
            Ok((freed, outcome)) => (freed, outcome.map_err(|error| problems::of_deletion(&error))),
            Err(problem) => (Freed::default(), Err(problem)),
        }
    }

    /// Tells what was done, and why it is not all.
    async fn conclude(&self, about: &About, done: Done) -> PruneOutcome {
        let Done { deleted, objects, bytes, failure } = done;
        let failures = failure.iter().map(|problem| problem.detail.clone()).collect();
        if failure.is_none() || !deleted.is_empty() || bytes > 0 {
            let deleted = codes(&deleted);
            let completed = Event::CleanupCompleted { replica: None, deleted, objects, freed_bytes: bytes };
            let _ = self.herald.tell(completed, about).await;
        }
        if let Some(problem) = failure.filter(|problem| !self.world.is_abandoned(problem)) {
            let _ = self.herald.tell(Event::CleanupFailed { error: problem.detail }, about).await;
        }
        PruneOutcome { objects: objects as u64, freed_bytes: bytes, failures, ..PruneOutcome::default() }
    }
}

/// What a cleanup did, and why it is not all that was planned.
#[derive(Default)]
struct Done {
    deleted: Vec<(BackupId, DeleteReason)>,
    objects: usize,
    /// Bytes of files that are gone: manifests, and objects.
    bytes: u64,
    failure: Option<Problem>,
}

fn codes(planned: &[(BackupId, DeleteReason)]) -> Vec<(BackupId, &'static str)> {
    planned.iter().map(|(id, reason)| (*id, reason.code())).collect()
}
