//! Keeping the replicas: the Janitor's other work.
//!
//! Hazard: a slow, hanging or broken replica that holds up a backup. A replica has a write lane of its own; here only a
//! small step is done at a time, and before each whoever writes to the original goes first. Every failure ends here: it
//! is told once, and tried again after a while.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::herald::{About, Herald};
use super::janitor::Janitor;
use super::replicas::{Change, Fault};
use super::service::Caller;
use super::world::World;
use crate::core::mode::Mode;
use crate::pipeline::Progress;
use crate::pipeline::replicate::{self, Next, Run};
use crate::repository::replica::Replica;
use crate::settings::ReplicaSettings;
use crate::telemetry::Event;

/// How often somebody looks whether the replicas are there and have everything.
const LOOK: Duration = Duration::from_secs(5);

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
        let (world, herald) = self.parts();
        let replication = Replication { world, herald };
        Box::pin(async move { replication.run().await }.into_actor(self))
    }
}

struct Replication {
    world: Arc<World>,
    herald: Herald,
}

impl Replication {
    async fn run(&self) {
        if matches!(self.world.mode().mode, Mode::Starting | Mode::Stopping) {
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
        let reached = blocking(move || world.replicas.reach(&wanted, &world.repository)).await?;
        let replica = match reached {
            Ok(replica) => replica,
            Err(fault) => return Some(Err(fault)),
        };
        let progress = Arc::new(Progress::default());
        self.world.register_work(&progress);
        let mut run = Run::default();
        loop {
            // Whoever writes to the original goes first; and there is no next step once the service stops.
            drop(self.world.lane.enter().await.ok()?);
            let (world, replica, sets, progress) =
                (self.world.clone(), replica.clone(), settings.sets.clone(), progress.clone());
            let step = blocking(move || {
                let _lane = replica.write_lane();
                let now = world.clock.now();
                let next = replicate::step(&world.repository, replica.repository(), &sets, &mut run, now, &progress);
                (next, run)
            });
            let (next, after) = step.await?;
            run = after;
            match next {
                Ok(Next::Step) => {}
                Ok(Next::Nothing) => break,
                Err(replicate::ReplicateError::Cancelled(_)) => return None,
                Err(error) => return Some(Err(Fault::from(&error))),
            }
        }
        self.tell_of_repairs(settings, &run);
        self.settle(settings, replica, run).await
    }

    /// What goes with the backups, once all are there.
    async fn settle(&self, settings: &ReplicaSettings, replica: Arc<Replica>, run: Run) -> Option<Result<(), Fault>> {
        let (world, sets) = (self.world.clone(), settings.sets.clone());
        let audit_head = self.world.audit().anchor();
        let settled = blocking(move || {
            let _lane = replica.write_lane();
            replicate::settle(&world.repository, replica.repository(), &sets, audit_head)
        });
        Some(match (settled.await?, run.skipped.into_iter().next()) {
            (Err(error), _) => Err(Fault::from(&error)),
            (Ok(()), Some((id, why))) => {
                Err(Fault { code: "original_unreadable", message: format!("backup {id} cannot be copied: {why}") })
            }
            (Ok(()), None) => Ok(()),
        })
    }

    fn tell_of_repairs(&self, settings: &ReplicaSettings, run: &Run) {
        if !run.repaired.is_empty() {
            tracing::warn!(
                replica = %settings.name,
                objects = run.repaired.len(),
                "damaged objects of the replica were written again from the original"
            );
        }
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
