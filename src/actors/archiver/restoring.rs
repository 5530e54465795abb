//! Restores, from the request to the last record.
//!
//! Hazard: a restore that was done and is not on record, or is on record and was not done. It begins with a durable
//! record, ends with one, and its journal is closed only after that; the set and the write lane are held all the time.

use super::super::leftovers;
use super::{Restore, Tools};
use crate::actors::herald::About;
use crate::actors::keyring;
use crate::actors::problems::{self, chain};
use crate::actors::verifier::CheckDoubtful;
use crate::actors::world::Occupied;
use crate::api::{Problem, ProblemKind};
use crate::core::{BackupId, BackupState};
use crate::pipeline::restore::{self, HealthCheck, Live, Outcome, RestoreError, Restored};
use crate::telemetry::Event;

impl Tools {
    pub(super) async fn restore(&self, message: Restore, occupied: Occupied) -> Result<Restored, Problem> {
        let _operation = self.world.begin_operation();
        let Restore { set, picks, rules, caller } = message;
        let backups: Vec<BackupId> = picks.iter().map(|pick| pick.backup.id).collect();
        let mut about = About::caller(&caller).set(&set.name);
        about.backup = backups.iter().max().copied();
        let (begun, source) = (self.world.clock.uptime(), set.source.clone());
        let (target, name) = (source.written().display().to_string(), set.name.clone());
        self.world.register_work(&caller.progress);
        keyring::take_up(&self.world, &self.herald, &caller).await;
        // Durable before the first live file changes: a restore leaves a trace whatever happens to it.
        let _ =
            self.herald.tell(Event::RestoreStarted { target: target.clone(), backups: backups.clone() }, &about).await;
        let pass = self.world.lane.enter().await.map_err(|_| problems::stopping())?;
        leftovers::settle(&self.world, &self.herald, vec![source.clone()]).await;
        let world = self.world.clone();
        let (progress, principal, correlation_id) =
            (caller.progress.clone(), caller.principal.clone(), caller.correlation_id.clone());
        let work = tokio::task::spawn_blocking(move || {
            let recovery = world.settings().recovery.clone();
            let health = HealthCheck { command: &recovery.health_command, timeout: recovery.health_timeout };
            let (now, principal, correlation_id) = (world.clock.now(), principal.as_str(), correlation_id.as_str());
            let live = Live { set: &set, rules, health, now, principal, correlation_id };
            let outcome = restore::restore_live(&world.repository, &picks, &live, &progress);
            if outcome.result.as_ref().is_err_and(RestoreError::is_damage) {
                let sound = picks.iter().filter(|pick| pick.backup.state() != BackupState::Damaged);
                sound.for_each(|pick| world.repository.doubt(pick.backup.id));
            }
            (outcome, pass, occupied)
        });
        let (outcome, held) = match work.await {
            Ok((outcome, pass, occupied)) => (outcome, Some((pass, occupied))),
            Err(panic) => return self.broken_off(panic.to_string(), &about).await,
        };
        let Outcome { result, transaction } = outcome;
        let event = self.told(&result, target, (self.world.clock.uptime() - begun).as_secs_f64());
        let _ = self.herald.tell(event, &about).await;
        if let Some(transaction) = transaction {
            leftovers::close(transaction).await;
        }
        drop(held);
        let result = result.map_err(|error| {
            if error.is_damage() {
                // Finds out, and says, what exactly is damaged.
                self.verifier.do_send(CheckDoubtful);
            }
            if matches!(error, RestoreError::Unsettled { .. }) {
                self.world.set_unsettled_restores(source.real(), vec![chain(&error)]);
            }
            problems::of_restore(&self.world.repository, &name, &backups, &error)
        });
        self.world.reassess();
        result
    }

    fn told(&self, result: &Result<Restored, RestoreError>, target: String, duration_seconds: f64) -> Event {
        match result {
            Ok(restored) => Event::RestoreCompleted {
                target,
                files: restored.files.len(),
                removed: restored.removed.len(),
                safety_backup: restored.safety_backup,
                duration_seconds: Some(duration_seconds),
                recovered: false,
            },
            Err(RestoreError::RolledBack { cause, safety_backup, .. }) => Event::RestoreRolledBack {
                target,
                error: chain(cause.as_ref()),
                safety_backup: *safety_backup,
                recovered: false,
            },
            Err(error) => {
                let unsettled = matches!(error, RestoreError::Unsettled { .. });
                Event::RestoreFailed { error: chain(error), unsettled }
            }
        }
    }

    async fn broken_off(&self, panic: String, about: &About) -> Result<Restored, Problem> {
        let event = Event::RestoreFailed { error: panic.clone(), unsettled: true };
        let _ = self.herald.tell(event, about).await;
        Err(Problem::new(ProblemKind::Internal, format!("the restore broke off: {panic}; the next one settles it")))
    }
}
