//! Keeping the replicas: the Janitor's other work.
//!
//! Hazard: a slow, hanging or broken replica that holds up a backup. A replica has a write lane of its own; here only a
//! small step is done at a time, and before each whoever writes to the original goes first. Every failure ends here: it
//! is told once, and tried again after a while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::chain_check;
use super::herald::{About, Herald};
use super::history;
use super::janitor::Janitor;
use super::post::Post;
use super::problems::chain;
use super::replicas::{Change, Fault};
use super::service::Caller;
use super::verifier::{TendReplica, Verifier};
use super::world::World;
use crate::core::BackupId;
use crate::core::mode::Mode;
use crate::core::retention::{DeleteReason, Guards};
use crate::pipeline::history as bring_back;
use crate::pipeline::replicate::{self, Due, Next, ReplicateError, Run, ServiceStatus};
use crate::pipeline::verify::{self, Damage};
use crate::pipeline::{Progress, sweep};
use crate::repository::Repository;
use crate::repository::lock::host_name;
use crate::repository::replica::Replica;
use crate::settings::{ReplicaSettings, SetSettings};
use crate::storage::Freed;
use crate::telemetry::Event;

/// How often somebody looks whether the replicas are there and have everything.
const LOOK: Duration = Duration::from_secs(5);

/// The most places that one record names.
const MAX_TOLD_PLACES: usize = 256;

/// Give every replica what it lacks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Replicate;

/// Looks at the replicas now and from time to time.
pub fn keep_looking(ctx: &mut Context<Janitor>) {
    ctx.notify(Replicate);
    ctx.run_later(LOOK, |_, ctx| keep_looking(ctx));
}

impl Handler<Replicate> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Replicate, _ctx: &mut Self::Context) -> Self::Result {
        let (world, herald, verifier) = self.parts();
        let replication = Replication { world, herald, verifier };
        Box::pin(async move { replication.run().await }.into_actor(self))
    }
}

struct Replication {
    world: Arc<World>,
    herald: Herald,
    verifier: Post<Verifier>,
}

impl Replication {
    async fn run(&self) {
        if matches!(self.world.mode().mode, Mode::Starting | Mode::Stopping) || self.world.repository.is_vacant() {
            return;
        }
        let replicas = &self.world.replicas;
        let Some(_turn) = replicas.turn() else { return };
        loop {
            let settings = self.world.settings();
            replicas.keep(&settings);
            for replica in replicas.due(&settings, self.world.clock.uptime()) {
                let Some(outcome) = self.replicate(&replica).await else { return };
                self.conclude(&replica, outcome).await;
            }
            if !replicas.asked_again() {
                return;
            }
        }
    }

    /// Gives one replica what it lacks; `None` if the service stops meanwhile.
    async fn replicate(&self, settings: &ReplicaSettings) -> Option<Result<(), Fault>> {
        let (world, wanted) = (self.world.clone(), settings.clone());
        let reached = blocking(move || world.replicas.reach(&wanted, &world)).await?;
        let replica = match reached {
            Ok(replica) => replica,
            Err(fault) => {
                self.depart_from_clone().await?;
                return Some(Err(fault));
            }
        };
        if let Err(fault) = self.compare(settings, &replica).await? {
            return Some(Err(fault));
        }
        self.look_over(settings, &replica).await?;
        let given = self.in_lane(&replica, |world, replica, _| chain_check::give_first_key(world, replica)).await?;
        if let Err(error) = given {
            return Some(Err(Fault::from(&ReplicateError::from(error))));
        }
        let progress = Arc::new(Progress::default());
        self.world.register_work(&progress);
        let mut run = Run::default();
        loop {
            let (sets, progress) = (settings.sets.clone(), progress.clone());
            let step = self.in_lane(&replica, move |world, replica, _| {
                let next = replicate::step(&world.repository, replica, &sets, &mut run, world.clock.now(), &progress);
                (next, run)
            });
            let (next, after) = step.await?;
            run = after;
            match next {
                Ok(Next::Step) => {}
                Ok(Next::Heal(damages)) => self.have_healed(settings, &replica, damages).await,
                Ok(Next::Nothing) => break,
                Err(ReplicateError::Cancelled(_)) => return None,
                Err(error) => return Some(Err(Fault::from(&error))),
            }
        }
        self.settle(settings, replica, run).await
    }

    /// Holds the replica's history against the one here, once after each opening, and brings back what is only there.
    async fn compare(&self, settings: &ReplicaSettings, replica: &Arc<Replica>) -> Option<Result<(), Fault>> {
        if !self.world.replicas.is_compared(&settings.name) {
            let begun = self.in_own_lane(replica, history::take_stock_of).await?;
            match begun {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let _ = self.herald.tell(event, &About::caller(&Caller::component("janitor"))).await;
                    self.world.reassess();
                }
                Err(error) => return Some(Err(Fault::from(&ReplicateError::from(error)))),
            }
            self.world.replicas.set_compared(&settings.name);
        }
        self.bring_back(replica).await
    }

    /// Begins a timeline of its own, if a replica told that this writer was cloned.
    async fn depart_from_clone(&self) -> Option<()> {
        if self.world.identity.cloned().is_none() {
            return Some(());
        }
        let pass = self.world.lane.enter().await.ok()?;
        let world = self.world.clone();
        let begun = blocking(move || {
            let _pass = pass;
            history::depart_from_clone(&world)
        });
        match begun.await? {
            Ok(None) => {}
            Ok(Some(event)) => {
                let _ = self.herald.tell(event, &About::caller(&Caller::component("janitor"))).await;
                self.world.reassess();
            }
            Err(error) => tracing::error!("a new timeline was not begun: {}", chain(&error)),
        }
        Some(())
    }

    /// Brings back what the replica has of a history that the one here departed from.
    async fn bring_back(&self, replica: &Arc<Replica>) -> Option<Result<(), Fault>> {
        let progress = Arc::new(Progress::default());
        self.world.register_work(&progress);
        let (mut run, mut back) = (Run::default(), Vec::new());
        loop {
            let progress = progress.clone();
            let step = self.in_own_lane(replica, move |world, replica| {
                let before = history::lacking(world, replica);
                let next = bring_back::bring_back(&world.repository, replica, &mut run, world.clock.now(), &progress);
                let after = history::lacking(world, replica);
                (next, run, before.difference(&after).copied().collect::<Vec<_>>())
            });
            let (next, after, came) = step.await?;
            run = after;
            back.extend(came);
            match next {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(ReplicateError::Cancelled(_)) => return None,
                Err(error) => return Some(Err(Fault::from(&error))),
            }
        }
        if back.is_empty() {
            return Some(Ok(()));
        }
        let came: BTreeSet<BackupId> = back.into_iter().collect();
        let settled = came.clone();
        let settled = self.in_own_lane(replica, move |world, replica| {
            bring_back::settle(&world.repository, replica, &settled)?;
            Ok::<_, ReplicateError>(history::places(world, &settled))
        });
        match settled.await? {
            Ok(places) => {
                for places in places.chunks(MAX_TOLD_PLACES) {
                    let event = Event::RepairCompleted { source: "replica", places: places.to_vec() };
                    let _ = self.herald.tell(event, &About::caller(&Caller::component("janitor"))).await;
                }
                Some(Ok(()))
            }
            Err(error) => Some(Err(Fault::from(&error))),
        }
    }

    /// Does one piece of work in the original's write lane.
    async fn in_own_lane<T: Send + 'static>(
        &self,
        replica: &Arc<Replica>,
        work: impl FnOnce(&World, &Repository) -> T + Send + 'static,
    ) -> Option<T> {
        let pass = self.world.lane.enter().await.ok()?;
        let (world, replica) = (self.world.clone(), replica.clone());
        blocking(move || {
            let _pass = pass;
            work(&world, replica.repository())
        })
        .await
    }

    /// Looks at what stands beside the backups, once after each opening: a replica may have been away for long.
    async fn look_over(&self, settings: &ReplicaSettings, replica: &Arc<Replica>) -> Option<()> {
        if self.world.replicas.is_new(&settings.name) {
            let looked_at = replica.clone();
            let damages = blocking(move || verify::documents(looked_at.repository())).await?;
            self.have_healed(settings, replica, damages).await;
        }
        Some(())
    }

    /// Waits until damage to a replica was healed, if it can be. If nobody answers, the damage is met again.
    async fn have_healed(&self, settings: &ReplicaSettings, replica: &Arc<Replica>, damages: Vec<Damage>) {
        if !damages.is_empty() {
            let (name, replica) = (settings.name.clone(), replica.clone());
            let _ = self.verifier.send(TendReplica { name, replica, damages }).await;
        }
    }

    /// What goes with the backups, once all are there.
    async fn settle(&self, settings: &ReplicaSettings, replica: Arc<Replica>, run: Run) -> Option<Result<(), Fault>> {
        let sets = settings.sets.clone();
        let settled = self.in_lane(&replica, move |world, replica, _| {
            replicate::settle(&world.repository, replica, &sets)?;
            chain_check::tell_replica(world, replica, false)?;
            replicate::tell(&world.repository, replica, &sets, service_status(world))
        });
        if let Err(error) = settled.await? {
            return Some(Err(Fault::from(&error)));
        }
        if let Some((id, why)) = run.skipped.into_iter().next() {
            let message = format!("backup {id} cannot be copied: {why}");
            return Some(Err(Fault { code: "original_unreadable", message }));
        }
        self.forget(settings, &replica, run.copied > 0).await
    }

    /// Lets the replica forget by its own rule, if it is time to.
    async fn forget(
        &self,
        settings: &ReplicaSettings,
        replica: &Arc<Replica>,
        given: bool,
    ) -> Option<Result<(), Fault>> {
        let all = self.world.settings();
        let uptime = self.world.clock.uptime();
        let given = given || self.world.upkeep.has_confirmed(&settings.name);
        if !all.backup.enabled
            || !all.backup.auto_cleanup
            || !self.world.replicas.tidy_now(&settings.name, given, all.janitor.interval, uptime)
        {
            return Some(Ok(()));
        }
        let mut deleted = 0;
        for set in all.sets.iter().filter(|set| settings.sets.contains(&set.name)) {
            match self.forget_of(settings, replica, set).await? {
                Ok(of_set) => deleted += of_set,
                Err(fault) => return Some(Err(fault)),
            }
        }
        if given || deleted > 0 { self.collect(settings, replica).await } else { Some(Ok(())) }
    }

    /// Collects what none of the replica's backups needs.
    async fn collect(&self, settings: &ReplicaSettings, replica: &Arc<Replica>) -> Option<Result<(), Fault>> {
        let mut freed = Freed::default();
        let mut outcome = Ok(true);
        while matches!(outcome, Ok(true)) && sweep::block(&self.world.guards()).is_none() {
            let batch = self.in_lane(replica, move |_, replica, _| {
                let collected = replicate::collect(replica, &mut freed);
                (freed, collected)
            });
            (freed, outcome) = batch.await?;
        }
        if freed != Freed::default() {
            let replica = Some(settings.name.clone());
            let (objects, freed_bytes) = (freed.files, freed.bytes);
            let event = Event::CleanupCompleted { replica, deleted: vec![], objects, freed_bytes };
            let _ = self.herald.tell(event, &About::caller(&Caller::component("janitor"))).await;
        }
        Some(outcome.map(drop).map_err(|error| Fault::from(&error)))
    }

    /// Lets the replica forget backups of one set; how many it forgot.
    async fn forget_of(
        &self,
        settings: &ReplicaSettings,
        replica: &Arc<Replica>,
        set: &SetSettings,
    ) -> Option<Result<usize, Fault>> {
        let coded = |list: &[(BackupId, DeleteReason)]| list.iter().map(|(id, reason)| (*id, reason.code())).collect();
        let (rule, of_set) = (settings.clone(), set.clone());
        let planned = self.in_lane(replica, move |world, replica, guards| {
            let now = world.clock.now();
            replicate::due_for_deletion(&world.repository, replica, &rule, &of_set, guards, now)
        });
        let Due { deletions: planned, hold } = planned.await?;
        let about = About::caller(&Caller::component("janitor")).set(&set.name);
        let name = Some(settings.name.clone());
        let upkeep = &self.world.upkeep;
        if let Some(hold) = hold.filter(|hold| !upkeep.is_confirmed(&set.name, &settings.name, hold)) {
            if upkeep.hold(&set.name, Some(&settings.name), Some(hold.clone())) {
                let held = Event::CleanupHeld { replica: name, hold, planned: coded(&planned) };
                let _ = self.herald.tell(held, &about).await;
                self.world.reassess();
            }
            return Some(Ok(0));
        }
        upkeep.hold(&set.name, Some(&settings.name), None);
        if planned.is_empty() {
            return Some(Ok(0));
        }
        let started = Event::CleanupStarted { replica: name.clone(), planned: coded(&planned), objects: 0 };
        if self.herald.tell(started, &about).await.is_err() {
            // What cannot be recorded is not deleted.
            return Some(Ok(0));
        }
        let (mut deleted, mut freed) = (Vec::new(), Freed::default());
        let outcome = loop {
            let (rule, of_set) = (settings.clone(), set.clone());
            let batch = self.in_lane(replica, move |world, replica, guards| {
                let now = world.clock.now();
                let batch = replicate::tidy(&world.repository, replica, &rule, &of_set, guards, now, &mut freed);
                (freed, batch)
            });
            let (so_far, batch) = batch.await?;
            freed = so_far;
            match batch {
                Ok(batch) if batch.is_empty() => break Ok(deleted.len()),
                Ok(mut batch) => deleted.append(&mut batch),
                Err(error) => break Err(Fault::from(&error)),
            }
        };
        let event = match &outcome {
            Ok(_) => {
                let (deleted, freed_bytes) = (coded(&deleted), freed.bytes);
                Event::CleanupCompleted { replica: name, deleted, objects: 0, freed_bytes }
            }
            Err(fault) => Event::CleanupFailed { error: format!("replica {}: {}", settings.name, fault.message) },
        };
        let _ = self.herald.tell(event, &about).await;
        Some(outcome)
    }

    /// Does one piece of work in the replica's write lane, with the mode as it is then; whoever writes to the original
    /// goes first.
    async fn in_lane<T: Send + 'static>(
        &self,
        replica: &Arc<Replica>,
        work: impl FnOnce(&World, &Repository, &Guards) -> T + Send + 'static,
    ) -> Option<T> {
        drop(self.world.lane.enter().await.ok()?);
        let (world, replica) = (self.world.clone(), replica.clone());
        blocking(move || {
            let _lane = replica.write_lane();
            work(&world, replica.repository(), &world.guards())
        })
        .await
    }

    async fn conclude(&self, settings: &ReplicaSettings, outcome: Result<(), Fault>) {
        let (world, concluded) = (self.world.clone(), settings.clone());
        let change = blocking(move || {
            let (now, uptime) = (world.clock.now(), world.clock.uptime());
            let change = world.replicas.conclude(&concluded, &world.repository, outcome, now, uptime);
            let views = world.replicas.views(&world.settings(), &world.repository);
            let lag_backups = views.iter().find(|view| view.name == concluded.name).map_or(0, |view| view.lag_backups);
            change.map(|change| (change, lag_backups))
        });
        let Some(Some((change, lag_backups))) = change.await else { return };
        let (replica, path) = (settings.name.clone(), settings.path.display().to_string());
        let event = match change {
            Change::Lagging(fault) => {
                Event::ReplicaLagging { replica, path, lag_backups, fault: fault.code, reason: fault.message }
            }
            Change::CaughtUp => Event::ReplicaCaughtUp { replica, path },
        };
        self.herald.mention(event, &About::caller(&Caller::component("janitor")));
        self.world.reassess();
    }
}

/// What replicas are told of this service.
fn service_status(world: &World) -> ServiceStatus {
    ServiceStatus {
        host: host_name(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        mode: world.mode().mode.name().to_owned(),
        audit_head: world.audit().anchor(),
    }
}

/// What blocking work returns; `None` if it panicked, which is told.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Some(result),
        Err(panic) => {
            tracing::error!("replication: {panic}");
            None
        }
    }
}
