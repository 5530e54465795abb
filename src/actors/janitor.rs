//! The Janitor: deletes what retention gives up, and what nothing refers to.
//!
//! Hazard: deletion cannot be undone. The Janitor decides nothing: it asks for a plan, looks at the mode before each
//! small batch, and holds the write lane while it deletes one.

use std::sync::Arc;

use actix::prelude::*;

use super::herald::{About, Herald};
use super::problems::chain;
use super::replication;
use super::service::Caller;
use super::supervision::Child;
use super::world::{Role, World};
use crate::core::retention::{DeleteReason, Guards};
use crate::core::{BackupId, SetName};
use crate::pipeline::sweep::{self, Collected};
use crate::repository::WriteError;
use crate::settings::SetSettings;
use crate::telemetry::Event;

/// How many messages may wait for this actor.
pub const MAILBOX: usize = 64;

/// Sweep one set.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Sweep {
    /// The set.
    pub set: SetName,
}

/// Sweep every set.
#[derive(Message)]
#[rtype(result = "()")]
struct SweepAll;

/// The actor.
pub struct Janitor(Tools);

#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    herald: Herald,
}

impl Janitor {
    /// A janitor that works with these.
    pub fn new(world: Arc<World>, herald: Herald) -> Self {
        Self(Tools { world, herald })
    }

    /// What its other work needs.
    pub(super) fn parts(&self) -> (Arc<World>, Herald) {
        (self.0.world.clone(), self.0.herald.clone())
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;
}

impl Supervised for Janitor {}

impl Child for Janitor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if self.0.world.role == Role::Daemon {
            let interval = self.0.world.settings().janitor.interval;
            ctx.run_later(interval, |_, ctx| ctx.notify(SweepAll));
            replication::keep_looking(ctx);
        }
    }
}

impl Handler<Sweep> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Sweep { set }: Sweep, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.sweep(&[set]).await }.into_actor(self))
    }
}

impl Handler<SweepAll> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: SweepAll, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let sets: Vec<SetName> = tools.world.settings().sets.iter().map(|set| set.name.clone()).collect();
        let work = async move { tools.sweep(&sets).await }.into_actor(self);
        // Armed again after the work: a slow sweep is not followed by a pile of missed ones.
        Box::pin(work.map(|(), janitor, ctx| janitor.begin(ctx)))
    }
}

impl Tools {
    async fn sweep(&self, sets: &[SetName]) {
        let enabled = self.world.settings().backup.enabled && self.world.settings().backup.auto_cleanup;
        for set in sets {
            if let Some(set) = self.world.set(set)
                && enabled
                && self.world.mode().mode.allows_deletion()
            {
                self.sweep_set(set).await;
            }
        }
    }

    async fn sweep_set(&self, set: SetSettings) {
        let _operation = self.world.begin_operation();
        let about = About::caller(&Caller::component("janitor")).set(&set.name);
        let planned: Vec<(BackupId, &'static str)> =
            sweep::plan(&self.world.repository, &set, &Guards::default(), self.world.clock.now())
                .deletions()
                .map(|(id, reason)| (id, reason.code()))
                .collect();
        if planned.is_empty() && !self.has_garbage().await {
            return;
        }
        // Durable before anything goes.
        let told = self.herald.tell(Event::CleanupStarted { planned }, &about).await;
        if told.is_err() {
            // What cannot be recorded is not deleted.
            return;
        }
        let event = match self.delete(set).await {
            Ok((deleted, collected)) => Event::CleanupCompleted {
                deleted: deleted.iter().map(|(id, reason)| (*id, reason.code())).collect(),
                objects: collected.objects,
                freed_bytes: collected.freed_bytes,
            },
            Err(error) => Event::CleanupFailed { error },
        };
        let _ = self.herald.tell(event, &about).await;
    }

    /// Whether there are objects to collect; asked in the lane, where none is waiting for its manifest.
    async fn has_garbage(&self) -> bool {
        let look = |world: &World, _: &Guards| Ok(world.repository.catalogue().unreferenced());
        self.batch(look).await.is_ok_and(|unreferenced| unreferenced.is_some_and(|list| !list.is_empty()))
    }

    /// Deletes batch by batch; between two of them a backup may go first.
    async fn delete(&self, set: SetSettings) -> Result<(Vec<(BackupId, DeleteReason)>, Collected), String> {
        let mut deleted = Vec::new();
        loop {
            let set = set.clone();
            let swept =
                self.batch(move |world, guards| sweep::sweep(&world.repository, &set, guards, world.clock.now()));
            let mut swept = swept.await?;
            if swept.deleted.is_empty() {
                break;
            }
            deleted.append(&mut swept.deleted);
        }
        let mut collected = Collected::default();
        loop {
            let batch =
                self.batch(
                    |world, guards| {
                        if guards.recovery { Ok(Collected::default()) } else { sweep::collect(&world.repository) }
                    },
                );
            let batch = batch.await?;
            collected.objects += batch.objects;
            collected.freed_bytes += batch.freed_bytes;
            if !batch.more {
                return Ok((deleted, collected));
            }
        }
    }

    /// Does one batch of work in the write lane, with the mode as it is then.
    async fn batch<T: Send + 'static>(
        &self,
        work: impl FnOnce(&World, &Guards) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, String> {
        let pass = self.world.lane.enter().await.map_err(|closed| closed.to_string())?;
        let world = self.world.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            let recovery = !world.mode().mode.allows_deletion();
            work(&world, &Guards { recovery, ..Guards::default() })
        });
        match work.await {
            Ok(result) => result.map_err(|error| chain(&error)),
            Err(panic) => Err(panic.to_string()),
        }
    }
}
