//! Says when the clock is not believed any more, and when it is again.
//!
//! Hazard: deletion that is frozen and tells nobody fills the disk; a clock that is believed again and tells nobody
//! leaves no trace of why backups are dated as they are.

use super::Tools;
use crate::actors::herald::About;
use crate::actors::problems::chain;
use crate::actors::service::Caller;
use crate::api::{Problem, ProblemKind};
use crate::core::SetName;
use crate::telemetry::Event;

impl Tools {
    /// Looks at the clock, tells what is news, and remembers it.
    pub async fn look_at_clock(&self) {
        let world = self.world.clone();
        let look = tokio::task::spawn_blocking(move || {
            let fault = world.look_at_clock();
            (fault, world.timekeeping.remember(&world.repository))
        });
        let Ok((fault, remembered)) = look.await else { return };
        if let Err(error) = remembered {
            tracing::debug!("the clock is not remembered: {}", chain(&error));
        }
        if self.world.upkeep.clock_told(fault.is_some()) {
            let event = Event::ClockSuspect { fault: fault.map(|fault| fault.to_string()), accepted: false };
            let _ = self.herald.tell(event, &About::caller(&Caller::component("janitor"))).await;
            self.world.reassess();
        }
    }

    /// Believes the clock from now on.
    pub async fn accept_clock(&self, caller: &Caller) -> Result<(), Problem> {
        let _operation = self.world.begin_operation();
        // Durable before it is believed: from then on it may cost backups.
        let event = Event::ClockSuspect { fault: None, accepted: true };
        if self.herald.tell(event, &About::caller(caller)).await.is_err() {
            return Err(Problem::new(ProblemKind::Internal, "the audit log cannot be written: nothing was accepted"));
        }
        self.batch(move |world, _| Ok(world.accept_clock()?)).await?;
        self.world.upkeep.clock_told(false);
        self.world.reassess();
        Ok(())
    }

    /// Looks for plans that wait for a person; nothing else is done of any plan.
    pub async fn review(&self) {
        let sets: Vec<SetName> = self.world.settings().sets.iter().map(|set| set.name.clone()).collect();
        for set in sets {
            if self.is_held(&set).await {
                let _ = self.sweep(&set, None, &Caller::component("janitor")).await;
            }
        }
    }

    async fn is_held(&self, set: &SetName) -> bool {
        let Some(set) = self.world.set(set) else { return false };
        let world = self.world.clone();
        let look = tokio::task::spawn_blocking(move || {
            let plan = crate::pipeline::sweep::plan(&world.repository, &set, &world.guards(), world.clock.now());
            plan.hold(world.settings().backup.auto_cleanup).is_some()
        });
        look.await.unwrap_or(false)
    }
}
