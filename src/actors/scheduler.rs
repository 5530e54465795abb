//! The Scheduler: asks for backups when they are due.
//!
//! Hazard: a timer that is lost is a backup that never comes. The Scheduler keeps no plan: each time it wakes it asks
//! of every set, most important first, whether it is due, and it never sleeps long.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::archiver::{Archiver, BackUp, BackedUp};
use super::post::Post;
use super::service::Caller;
use super::supervision::Child;
use super::world::World;
use crate::api::{Problem, ProblemKind};
use crate::core::BackupKind;
use crate::core::schedule::Due;

/// How many messages may wait for this actor.
pub const MAILBOX: usize = 16;

/// The longest sleep: a clock that jumps, or a mode that changes, is noticed after no more than this.
const MAX_SLEEP: Duration = Duration::from_secs(20);
/// The shortest, so that an error that returns at once does not make it spin.
const MIN_SLEEP: Duration = Duration::from_millis(200);

/// Look what is due.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Wake;

/// Has a backup made, and returns what became of it.
type Ask = Box<dyn Fn(BackUp) -> Pin<Box<dyn Future<Output = Asked>>>>;
type Asked = Result<Result<BackedUp, Problem>, MailboxError>;

/// The actor.
pub struct Scheduler {
    world: Arc<World>,
    ask: Ask,
    timer: Option<SpawnHandle>,
}

impl Scheduler {
    /// A scheduler that asks this archiver.
    pub fn new(world: Arc<World>, archiver: Post<Archiver>) -> Self {
        Self::asking(world, Box::new(move |message| Box::pin(archiver.send(message))))
    }

    fn asking(world: Arc<World>, ask: Ask) -> Self {
        Self { world, ask, timer: None }
    }
}

impl Actor for Scheduler {
    type Context = Context<Self>;
}

impl Supervised for Scheduler {}

impl Child for Scheduler {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        ctx.notify(Wake);
    }
}

impl Handler<Wake> for Scheduler {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Self::Context) {
        let mut sleep = MAX_SLEEP;
        if self.world.mode().mode.allows_scheduled_backups() {
            let now = self.world.clock.now();
            for set in &self.world.settings().sets {
                match self.world.due(set) {
                    Some(Due::Now) => {
                        let caller = Caller::component("scheduler");
                        let message = BackUp { set: set.clone(), kind: BackupKind::Scheduled, caller };
                        let asked = (self.ask)(message).into_actor(self);
                        ctx.spawn(asked.map(|result, scheduler, ctx| {
                            // Busy: somebody else is at it, and its end wakes nobody; the next waking will look again.
                            let busy = matches!(&result, Ok(Err(problem)) if problem.kind == ProblemKind::Busy);
                            if !busy {
                                scheduler.sleep(MIN_SLEEP, ctx);
                            }
                        }));
                    }
                    Some(Due::At(at)) => sleep = sleep.min((at - now).to_std().unwrap_or(Duration::ZERO)),
                    None => {}
                }
            }
        }
        self.sleep(sleep.max(MIN_SLEEP), ctx);
    }
}

impl Scheduler {
    fn sleep(&mut self, duration: Duration, ctx: &mut Context<Self>) {
        if let Some(timer) = self.timer.take() {
            ctx.cancel_future(timer);
        }
        self.timer = Some(ctx.run_later(duration, |_, ctx| ctx.notify(Wake)));
    }
}

#[cfg(test)]
mod tests;
