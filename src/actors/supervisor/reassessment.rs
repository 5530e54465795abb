//! Looking again and again whether something needs a person.
//!
//! Hazard: a reason that is judged only when somebody remembers to ask outlives its fact. Here it is asked for by
//! whoever changes a fact, and at a steady pace for the facts that change by themselves; never twice at once.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::time::{sleep, timeout};

use super::{Happened, Supervisor};
use crate::actors::post::Post;
use crate::actors::reasons;
use crate::actors::service::Caller;
use crate::actors::world::{ROOT, World};
use crate::api::Problem;
use crate::core::mode::{Effect, Mode, ModeEvent, Persistence};

/// The longest time between two looks: nobody says when an application loses its files.
const EVERY: Duration = Duration::from_secs(30);
/// The same while the mode is not durable: a restart would forget it.
const EVERY_UNSAVED: Duration = Duration::from_secs(5);
/// The shortest, however many ask.
const PAUSE: Duration = Duration::from_millis(100);

/// Try again to make the present mode durable.
#[derive(Message)]
#[rtype(result = "Result<(), Problem>")]
struct SaveMode;

impl Supervisor {
    pub(super) fn keep_reassessing(&self, ctx: &mut Context<Self>) {
        let (world, supervisor) = (self.world.clone(), self.post(ctx));
        let forever = async move {
            loop {
                let patience = if world.mode().persisted { EVERY } else { EVERY_UNSAVED };
                let _ = timeout(patience, world.reassessment_wanted()).await;
                reassess(&world, &supervisor).await;
                sleep(PAUSE).await;
            }
        };
        ctx.spawn(forever.into_actor(self));
    }
}

/// Looks now, and has the supervisor know what came of it before anything that it is told later.
pub(in crate::actors) async fn reassess(world: &Arc<World>, supervisor: &Post<Supervisor>) {
    if !world.mode().persisted {
        // What comes of it is in the facts.
        let _ = supervisor.send(SaveMode).await;
    }
    let looker = world.clone();
    let Ok(facts) = tokio::task::spawn_blocking(move || reasons::look(&looker)).await else {
        tracing::error!("looking for what needs a person panicked");
        return;
    };
    let concerns = reasons::concerns(&facts);
    world.set_concerns(concerns.clone());
    for reason in reasons::judged() {
        let event = match concerns.contains_key(&reason) {
            true => ModeEvent::ReasonRaised(reason),
            false => ModeEvent::ReasonCleared(reason),
        };
        // What changes nothing is nothing; a mode that has no answer (starting, stopping) needs none.
        supervisor.do_send(Happened::unasked(event));
    }
}

impl Handler<SaveMode> for Supervisor {
    type Result = AtomicResponse<Self, Result<(), Problem>>;

    fn handle(&mut self, _: SaveMode, _ctx: &mut Self::Context) -> Self::Result {
        let view = self.world.mode();
        if view.persisted || matches!(view.mode, Mode::Starting | Mode::Stopping) {
            return AtomicResponse::new(Box::pin(actix::fut::ready(Ok(()))));
        }
        let save = self.carry_out(&view, view.mode.clone(), &Caller::component(ROOT));
        let save = async move { save.run(&[Effect::Persist(Persistence::Attempted)]).await };
        AtomicResponse::new(Box::pin(save.into_actor(self)))
    }
}
