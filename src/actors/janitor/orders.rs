//! What an operator says of single backups: keep this one, give that one up.
//!
//! Hazard: giving up is final, and frees what was held back for its sake. It is said first what goes, and done only when
//! that very thing is confirmed; whatever can still be restored is not given up at all.

use actix::prelude::*;

use super::{Janitor, Tools};
use crate::actors::herald::About;
use crate::actors::problems;
use crate::actors::service::Caller;
use crate::api::{ForgetOutcome, Problem, ProblemKind};
use crate::core::retention::PlanDigest;
use crate::pipeline::forget::{self, Forgettable, Surrender};
use crate::repository::catalogue::Backup;
use crate::telemetry::Event;

/// Pin a backup, or take its pin away.
#[derive(Message)]
#[rtype(result = "Result<Backup, Problem>")]
pub struct SetPin {
    /// The backup.
    pub backup: Backup,
    /// Whether it is to be pinned.
    pub pinned: bool,
    /// Who asks.
    pub caller: Caller,
}

/// Give up what is damaged or lost.
#[derive(Message)]
#[rtype(result = "Result<ForgetOutcome, Problem>")]
pub struct Forget {
    /// What.
    pub what: Forgettable,
    /// What was shown before, if it is to be done.
    pub confirmed: Option<PlanDigest>,
    /// Who asks.
    pub caller: Caller,
}

impl Handler<SetPin> for Janitor {
    type Result = ResponseActFuture<Self, Result<Backup, Problem>>;

    fn handle(&mut self, message: SetPin, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.set_pin(message).await }.into_actor(self))
    }
}

impl Handler<Forget> for Janitor {
    type Result = ResponseActFuture<Self, Result<ForgetOutcome, Problem>>;

    fn handle(&mut self, message: Forget, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.forget(message).await }.into_actor(self))
    }
}

impl Tools {
    async fn set_pin(&self, SetPin { backup, pinned, caller }: SetPin) -> Result<Backup, Problem> {
        let _operation = self.world.begin_operation();
        let (set, id) = (backup.set.clone(), backup.id);
        let done = self.batch(move |world, _| {
            // Deleted while this waited for the lane: a pin would be left without a backup.
            if world.repository.catalogue().get(id).is_none() {
                return Ok(None);
            }
            world.repository.set_pinned(&set, id, pinned)?;
            Ok(world.repository.catalogue().get(id).cloned())
        });
        let gone = || Problem::new(ProblemKind::NotFound, format!("there is no backup {id} any more"));
        let changed = done.await?.ok_or_else(gone)?;
        let event = if pinned { Event::Pinned } else { Event::Unpinned };
        let _ = self.herald.tell(event, &About::caller(&caller).set(&changed.set).backup(id)).await;
        Ok(changed)
    }

    async fn forget(&self, Forget { what, confirmed, caller }: Forget) -> Result<ForgetOutcome, Problem> {
        let _operation = self.world.begin_operation();
        let mode = self.world.mode().mode;
        let surrender = forget::plan(&self.world.repository, &what).map_err(|refusal| problems::of_forget(&refusal))?;
        let Some(confirmed) = confirmed else { return Ok(outcome(&surrender, false)) };
        if confirmed != surrender.digest() {
            let detail = format!(
                "{confirmed} is not what would be given up now: look again, and confirm {}",
                surrender.digest()
            );
            return Err(Problem::new(ProblemKind::StalePlan, detail));
        }
        if !mode.allows_deletion() {
            let detail = format!("the mode is {}: nothing is given up in it", mode.name());
            return Err(Problem::new(ProblemKind::WrongMode, detail));
        }
        let mut about = About::caller(&caller).set(&surrender.set);
        about.backup = surrender.backup;
        // Durable before anything is given up; what cannot be recorded is not.
        let told = Event::Forgotten { sequences: sequences(&surrender), gives_up: surrender.gives_up.clone() };
        if self.herald.tell(told, &about).await.is_err() {
            return Err(Problem::new(ProblemKind::Internal, "the audit log cannot be written: nothing was given up"));
        }
        let work = surrender.clone();
        self.batch(move |world, _| forget::forget(&world.repository, &work)).await?;
        Ok(outcome(&surrender, true))
    }
}

fn sequences(surrender: &Surrender) -> Vec<u64> {
    surrender.positions.iter().map(|position| position.sequence.0).collect()
}

fn outcome(surrender: &Surrender, done: bool) -> ForgetOutcome {
    ForgetOutcome {
        set: surrender.set.clone(),
        backup: surrender.backup,
        sequences: sequences(surrender),
        gives_up: surrender.gives_up.clone(),
        digest: surrender.digest().to_string(),
        done,
    }
}
