//! The Janitor: deletes what retention gives up, and what nothing refers to.
//!
//! Hazard: deletion cannot be undone. The Janitor decides nothing: it asks for a plan, holds one that takes too much,
//! looks at the mode and the clock before each small batch, and holds the write lane while it deletes one.

mod cleanup;
mod clock;
mod orders;
mod quarantine;

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::herald::Herald;
use super::post::Post;
use super::problems;
use super::replication::{self, Replicate};
use super::service::Caller;
use super::supervision::Child;
use super::verifier::Verifier;
use super::world::{Role, World};
use crate::api::{Problem, ProblemKind, PruneOutcome};
use crate::core::SetName;
use crate::core::mode::Mode;
use crate::core::retention::{Guards, PlanDigest};
use crate::repository::WriteError;
pub use orders::{Forget, SetPin};
pub use quarantine::ClearQuarantine;

/// The time between two looks at the clock.
const BETWEEN_LOOKS: Duration = Duration::from_secs(60);

/// The same as long as the service is starting.
const FIRST_LOOKS: Duration = Duration::from_millis(200);

/// How many messages may wait for this actor.
pub const MAILBOX: usize = 64;

/// Sweep one set.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Sweep {
    /// The set.
    pub set: SetName,
}

/// Sweep every set, and collect.
#[derive(Message)]
#[rtype(result = "()")]
struct SweepAll;

/// Look at the clock, and whether it is news what it says.
#[derive(Message)]
#[rtype(result = "()")]
struct Look {
    /// Whether this is the first time: then what waits for a person is looked at, too.
    first: bool,
}

/// Believe the clock, whatever contradicts it; answered when it is.
#[derive(Message)]
#[rtype(result = "Result<(), Problem>")]
pub struct AcceptClock {
    /// Who says so.
    pub caller: Caller,
}

/// Sweep every set, and collect, because somebody asks; answered when it is done.
#[derive(Message)]
#[rtype(result = "Result<PruneOutcome, Problem>")]
pub struct Prune {
    /// The one plan that is carried out although it is held.
    pub confirmed: Option<PlanDigest>,
    /// Who asks.
    pub caller: Caller,
}

/// Carry out what is due, and collect without grace, for the disk is full. Answered when it is done.
#[derive(Message)]
#[rtype(result = "()")]
pub struct MakeRoom;

/// The actor.
pub struct Janitor(Tools, Post<Verifier>);

#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    herald: Herald,
}

impl Janitor {
    /// A janitor that works with these.
    pub fn new(world: Arc<World>, herald: Herald, verifier: Post<Verifier>) -> Self {
        Self(Tools { world, herald }, verifier)
    }

    fn arm(&self, ctx: &mut Context<Self>) {
        let interval = self.0.world.settings().janitor.interval;
        ctx.run_later(interval, |_, ctx| ctx.notify(SweepAll));
    }

    /// What its other work needs.
    pub(super) fn parts(&self) -> (Arc<World>, Herald, Post<Verifier>) {
        let Tools { world, herald } = self.0.clone();
        (world, herald, self.1.clone())
    }
}

impl Actor for Janitor {
    type Context = Context<Self>;
}

impl Supervised for Janitor {}

impl Child for Janitor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        if self.0.world.role == Role::Daemon {
            ctx.notify(Look { first: true });
            self.arm(ctx);
            replication::keep_looking(ctx);
        }
    }
}

impl Handler<Sweep> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Sweep { set }: Sweep, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let work = async move {
            if tools.is_due() {
                tools.sweep(&set, None, &Caller::component("janitor")).await;
                if tools.is_automatic() {
                    tools.collect_garbage(tools.grace(), &Caller::component("janitor")).await;
                }
            }
        };
        Box::pin(work.into_actor(self))
    }
}

impl Handler<SweepAll> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: SweepAll, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let work = async move {
            if tools.is_due() {
                tools.clean_up(tools.grace()).await;
            }
        };
        // Armed again after the work: a slow sweep is not followed by a pile of missed ones.
        Box::pin(work.into_actor(self).map(|(), janitor, ctx| janitor.arm(ctx)))
    }
}

impl Handler<MakeRoom> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: MakeRoom, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let work = async move {
            if tools.is_due() {
                tools.clean_up(Duration::ZERO).await;
            }
        };
        Box::pin(work.into_actor(self))
    }
}

impl Handler<Look> for Janitor {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Look { first }: Look, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let work = async move {
            tools.look_at_clock().await;
            // What is allowed is not known before the mode is.
            let too_early = first && tools.world.mode().mode == Mode::Starting;
            if first && tools.is_due() {
                tools.review().await;
            }
            too_early
        };
        let again = |too_early, _: &mut Self, ctx: &mut Context<Self>| {
            let wait = if too_early { FIRST_LOOKS } else { BETWEEN_LOOKS };
            ctx.run_later(wait, move |_, ctx| ctx.notify(Look { first: too_early }));
        };
        Box::pin(work.into_actor(self).map(again))
    }
}

impl Handler<AcceptClock> for Janitor {
    type Result = ResponseActFuture<Self, Result<(), Problem>>;

    fn handle(&mut self, AcceptClock { caller }: AcceptClock, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.accept_clock(&caller).await }.into_actor(self))
    }
}

impl Handler<Prune> for Janitor {
    type Result = ResponseActFuture<Self, Result<PruneOutcome, Problem>>;

    fn handle(&mut self, Prune { confirmed, caller }: Prune, ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        if confirmed.as_ref().is_some_and(|digest| tools.world.upkeep.confirm(digest)) {
            ctx.notify(Replicate);
        }
        let work = async move {
            tools.refuse_unless_allowed()?;
            let mut outcome = tools.sweep_all(confirmed.as_ref(), &caller).await;
            outcome.add(tools.collect_garbage(tools.grace(), &caller).await);
            Ok(outcome)
        };
        Box::pin(work.into_actor(self))
    }
}

impl Tools {
    /// Whether sweeps are wanted, and allowed. Without `auto_cleanup` they are only planned.
    fn is_due(&self) -> bool {
        self.world.settings().backup.enabled && self.world.mode().mode.allows_deletion()
    }

    /// Whether anything may go without being told to.
    fn is_automatic(&self) -> bool {
        self.world.settings().backup.auto_cleanup
    }

    /// Sweeps every set and collects, as far as that goes by itself.
    async fn clean_up(&self, grace: Duration) {
        let caller = Caller::component("janitor");
        self.sweep_all(None, &caller).await;
        if self.is_automatic() {
            self.collect_garbage(grace, &caller).await;
        }
    }

    fn refuse_unless_allowed(&self) -> Result<(), Problem> {
        let mode = self.world.mode().mode;
        if mode.allows_deletion() {
            return Ok(());
        }
        let detail = format!("the mode is {}: nothing is deleted in it", mode.name());
        Err(Problem::new(ProblemKind::WrongMode, detail))
    }

    fn grace(&self) -> Duration {
        self.world.settings().janitor.grace
    }

    /// Does one piece of work in the write lane, with the mode and the clock as they are then.
    async fn batch<T: Send + 'static>(
        &self,
        work: impl FnOnce(&World, &Guards) -> Result<T, WriteError> + Send + 'static,
    ) -> Result<T, Problem> {
        let pass = self.world.lane.enter().await.map_err(|_| problems::stopping())?;
        let world = self.world.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            work(&world, &world.guards())
        });
        match work.await {
            Ok(result) => result.map_err(|error| problems::of_deletion(&error)),
            Err(panic) => Err(Problem::new(ProblemKind::Internal, panic.to_string())),
        }
    }
}

#[cfg(test)]
mod tests;
