//! The Verifier: reads what is stored, and heals what it finds damaged.
//!
//! Hazard: damage that one way of looking heals and another only reports. However it is found, by a read-back, a
//! verification, a scrub or a restore, it goes through [`Tools::tend`].

mod check;
mod drill;
pub mod scrub;
mod tend;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use actix::prelude::*;

use super::chain_check::{self, CheckChain};
use super::herald::{About, Herald};
use super::post::Post;
use super::problems::chain;
use super::service::Caller;
use super::supervision::Child;
use super::supervisor::{Happened, IntegrityFailure, Supervisor};
use super::world::{Role, World};
use crate::api::{Problem, ProblemKind};
use crate::core::mode::{Loss, Mode, ModeEvent, RecoveryCause};
use crate::core::{BackupId, BackupPriority, BackupState, Digest, SetName};
use crate::pipeline::Cancelled;
use crate::pipeline::assess::assess;
use crate::pipeline::verify::{self, Damage, Verdict, Verification};
use crate::repository::catalogue::Backup;
use crate::telemetry::{Check, Event};

pub use drill::Drill;
pub use tend::TendReplica;

/// How many messages may wait for this actor.
pub const MAILBOX: usize = 64;

/// Read a fresh backup back.
#[derive(Message)]
#[rtype(result = "Result<Verification, Problem>")]
pub struct ReadBack {
    /// The backup.
    pub backup: Backup,
    /// Its objects that were read and right while it was made.
    pub proven: HashSet<Digest>,
    /// Who asked.
    pub caller: Caller,
}

/// Read a backup, whole.
#[derive(Message)]
#[rtype(result = "Result<Verification, Problem>")]
pub struct Verify {
    /// The backup.
    pub backup: Backup,
    /// How it came to that.
    pub check: Check,
    /// Who asked.
    pub caller: Caller,
}

/// Read all backups that are not known to be intact.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CheckDoubtful;

/// Read again what is due.
#[derive(Message)]
#[rtype(result = "()")]
struct Scrub;

/// Verify that recovery is complete: the live files are whole, and each set has a good backup that reads back.
#[derive(Message)]
#[rtype(result = "ModeEvent")]
pub struct Validate(
    /// Who asked.
    pub Caller,
);

/// The actor.
pub struct Verifier(Tools);

#[derive(Clone)]
struct Tools {
    world: Arc<World>,
    herald: Herald,
    supervisor: Post<Supervisor>,
}

/// What is to be read of a backup.
enum Depth {
    Fresh(HashSet<Digest>),
    Whole,
}

impl Verifier {
    /// A verifier that works with these.
    pub fn new(world: Arc<World>, herald: Herald, supervisor: Post<Supervisor>) -> Self {
        Self(Tools { world, herald, supervisor })
    }

    /// What its checks need.
    pub(super) fn tools(&self) -> (Arc<World>, Herald, Post<Supervisor>) {
        let Tools { world, herald, supervisor } = self.0.clone();
        (world, herald, supervisor)
    }
}

impl Actor for Verifier {
    type Context = Context<Self>;
}

impl Supervised for Verifier {}

impl Child for Verifier {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        // At the start of the process the mode comes first: a failure found before it would have nowhere to count.
        if self.0.world.mode().mode != Mode::Starting {
            ctx.notify(CheckDoubtful);
            ctx.notify(CheckChain);
        }
        drill::begin(&self.0, ctx);
        if self.0.world.role == Role::Daemon {
            chain_check::watch(self, ctx);
            ctx.notify_later(Scrub, scrub::FIRST_SLEEP);
        }
    }
}

impl Handler<ReadBack> for Verifier {
    type Result = ResponseActFuture<Self, Result<Verification, Problem>>;

    fn handle(&mut self, message: ReadBack, _ctx: &mut Self::Context) -> Self::Result {
        let ReadBack { backup, proven, caller } = message;
        let tools = self.0.clone();
        let work = async move { tools.check(backup, Depth::Fresh(proven), Check::ReadBack, &caller).await };
        Box::pin(work.into_actor(self))
    }
}

impl Handler<Verify> for Verifier {
    type Result = ResponseActFuture<Self, Result<Verification, Problem>>;

    fn handle(&mut self, message: Verify, _ctx: &mut Self::Context) -> Self::Result {
        let Verify { backup, check, caller } = message;
        let tools = self.0.clone();
        Box::pin(async move { tools.check(backup, Depth::Whole, check, &caller).await }.into_actor(self))
    }
}

impl Handler<CheckDoubtful> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: CheckDoubtful, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.check_doubtful().await }.into_actor(self))
    }
}

impl Handler<Scrub> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: Scrub, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let work = async move { tools.scrub().await }.into_actor(self);
        Box::pin(work.map(|sleep, _, ctx| {
            ctx.notify_later(Scrub, sleep);
        }))
    }
}

impl Handler<Validate> for Verifier {
    type Result = ResponseActFuture<Self, ModeEvent>;

    fn handle(&mut self, Validate(caller): Validate, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.validate(&caller).await }.into_actor(self))
    }
}

impl Tools {
    async fn validate(&self, caller: &Caller) -> ModeEvent {
        if self.world.repository.is_vacant() {
            return ModeEvent::WorkFailed;
        }
        let mut losses: BTreeSet<Loss> = BTreeSet::new();
        for set in &self.world.settings().sets {
            let latest = {
                let catalogue = self.world.repository.catalogue();
                let Some(index) = catalogue.set(&set.name).filter(|index| !index.backups().is_empty()) else {
                    continue;
                };
                index.latest().cloned()
            };
            let intact = match latest {
                None => false,
                Some(backup) => match self.check(backup, Depth::Whole, Check::Validation, caller).await {
                    Ok(verification) => verification.verdict == Verdict::Intact,
                    Err(_) => return ModeEvent::WorkFailed,
                },
            };
            if !intact {
                losses.insert(Loss(format!("{}: no good backup", set.name)));
            }
        }
        let world = self.world.clone();
        let Ok(faults) = tokio::task::spawn_blocking(move || assess(&world.repository, &world.settings().sets)).await
        else {
            return ModeEvent::WorkFailed;
        };
        losses.extend(faults.into_iter().map(|fault| Loss(format!("{}/{}", fault.set, fault.path))));
        if losses.is_empty() { ModeEvent::ValidationPassed } else { ModeEvent::ValidationFailed { losses } }
    }
}

#[cfg(test)]
mod tests;
