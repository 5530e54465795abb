//! Clearing the quarantine, because a person says so.
//!
//! Hazard: what is in quarantine may be all that is left of something. It goes only when somebody names, by its digest,
//! exactly what was looked at; what came in since stays.

use actix::prelude::*;

use super::{Janitor, Tools};
use crate::actors::herald::About;
use crate::actors::service::Caller;
use crate::actors::world::World;
use crate::api::{Problem, ProblemKind, PruneOutcome};
use crate::core::retention::PlanDigest;
use crate::telemetry::Event;

/// The most names that the audit log is told of.
const MAX_NAMED: usize = 100;

/// Delete what is in quarantine.
#[derive(Message)]
#[rtype(result = "Result<PruneOutcome, Problem>")]
pub struct ClearQuarantine {
    /// What was shown of it.
    pub shown: PlanDigest,
    /// Who asks.
    pub caller: Caller,
}

impl Handler<ClearQuarantine> for Janitor {
    type Result = ResponseActFuture<Self, Result<PruneOutcome, Problem>>;

    fn handle(&mut self, message: ClearQuarantine, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.clear_quarantine(message).await }.into_actor(self))
    }
}

impl Tools {
    async fn clear_quarantine(&self, message: ClearQuarantine) -> Result<PruneOutcome, Problem> {
        let ClearQuarantine { shown, caller } = message;
        let _operation = self.world.begin_operation();
        self.refuse_unless_allowed()?;
        let quarantined = self.batch(|world, _| Ok(world.repository.quarantined()?)).await?;
        if quarantined.digest().as_ref() != Some(&shown) {
            let detail =
                format!("{shown} is not what is in quarantine now: look again with `fiovana-app prune --dry-run`");
            return Err(Problem::new(ProblemKind::StalePlan, detail));
        }
        let count = quarantined.names().count();
        let told = Event::QuarantineCleared {
            count,
            bytes: quarantined.bytes(),
            files: quarantined.names().take(MAX_NAMED).map(str::to_owned).collect(),
        };
        let about = About::caller(&caller);
        // Durable before anything goes; what cannot be recorded stays.
        if self.herald.tell(told, &about).await.is_err() {
            return Err(Problem::new(ProblemKind::Internal, "the audit log cannot be written: nothing was deleted"));
        }
        let work = move |world: &World, _: &_, freed: &mut _| world.repository.clear_quarantine(&quarantined, freed);
        let (freed, cleared) = self.freeing(work).await;
        if let Err(problem) = cleared {
            let _ = self.herald.tell(Event::CleanupFailed { error: problem.detail.clone() }, &about).await;
            return Err(problem);
        }
        Ok(PruneOutcome { quarantine_cleared: count as u64, freed_bytes: freed.bytes, ..PruneOutcome::default() })
    }
}
