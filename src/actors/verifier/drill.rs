//! Drills: held when they are due, and when somebody asks.
//!
//! Hazard: a rehearsal that stands in the way of a backup, or calls the repository damaged because retention deleted
//! under it what it read. It only reads, outside the write lane; what it finds damaged is read again by the verification
//! that decides about damage; and if the backup is gone meanwhile, the one that replaced it is restored.

use std::time::Duration;

use actix::prelude::*;
use chrono::{DateTime, Utc};
use tokio::sync::OwnedMutexGuard;

use super::{Depth, Tools, Verifier};
use crate::actors::herald::About;
use crate::actors::problems::{self, chain};
use crate::actors::service::Caller;
use crate::actors::world::{Role, World};
use crate::api::{DrillOutcome, DrillVerdict, Problem, ProblemKind};
use crate::core::SetName;
use crate::core::drill::Access;
use crate::core::schedule::{Due, RunHistory};
use crate::pipeline::drill::{self, DrillError, Drilled, Request, scratch_directory, scratch_in_memory};
use crate::repository::catalogue::{Backup, SetIndex};
use crate::settings::SetSettings;
use crate::telemetry::{Check, Event};

/// The longest sleep between two looks at what is due.
const MAX_SLEEP: Duration = Duration::from_secs(20);
/// The shortest.
const MIN_SLEEP: Duration = Duration::from_millis(200);

/// How often a drill begins again because its backup was deleted meanwhile.
const ATTEMPTS: u32 = 3;

/// Restore the newest good backup of a set into a scratch directory, now.
#[derive(Message)]
#[rtype(result = "Result<DrillOutcome, Problem>")]
pub struct Drill {
    /// The set.
    pub set: SetSettings,
    /// Who asked.
    pub caller: Caller,
}

/// Hold the drills that are due.
#[derive(Message)]
#[rtype(result = "()")]
struct DrillDue;

impl Handler<Drill> for Verifier {
    type Result = ResponseActFuture<Self, Result<DrillOutcome, Problem>>;

    fn handle(&mut self, Drill { set, caller }: Drill, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        Box::pin(async move { tools.drill(set, &caller).await }.into_actor(self))
    }
}

impl Handler<DrillDue> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: DrillDue, _ctx: &mut Self::Context) -> Self::Result {
        let tools = self.0.clone();
        let work = async move { tools.drill_due().await }.into_actor(self);
        Box::pin(work.map(|sleep, _, ctx| {
            ctx.run_later(sleep, |_, ctx| ctx.notify(DrillDue));
        }))
    }
}

/// Clears what an interrupted drill left, and begins to look what is due.
pub(super) fn begin(tools: &Tools, ctx: &mut Context<Verifier>) {
    // A drill may live on though its actor was restarted: then what is there is its own.
    if let Some(turn) = tools.world.drills.turn_at_once() {
        let world = tools.world.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let on_disk = scratch_directory(&world.settings().backup.backup_directory);
            for scratch in [on_disk, scratch_in_memory(&world.repository)] {
                match drill::clear(&scratch) {
                    Ok(false) => {}
                    Ok(true) => tracing::info!("what an interrupted drill left was cleared"),
                    Err(error) => tracing::warn!("clear {}: {error}", scratch.display()),
                }
            }
        });
    }
    if tools.world.role == Role::Daemon {
        ctx.notify(DrillDue);
    }
}

impl Tools {
    /// Holds what is due, most important first; returns how long to wait before looking again.
    async fn drill_due(&self) -> Duration {
        let settings = self.world.settings();
        let mut sleep = MAX_SLEEP;
        for set in &settings.sets {
            // Asked anew for each: the one before may have taken long.
            if !self.world.mode().mode.allows_scheduled_backups() {
                break;
            }
            sleep = sleep.min(settings.drill.interval(set.priority));
            if let Some(Due::Now) = self.world.drill_due(set) {
                // Told, and remembered until the next.
                let _ = self.drill(set.clone(), &Caller::component("verifier")).await;
            }
            if let Some(Due::At(at)) = self.world.drill_due(set) {
                sleep = sleep.min((at - self.world.clock.now()).to_std().unwrap_or_default());
            }
        }
        sleep.max(MIN_SLEEP)
    }

    async fn drill(&self, set: SetSettings, caller: &Caller) -> Result<DrillOutcome, Problem> {
        let _operation = self.world.begin_operation();
        self.world.register_work(&caller.progress);
        for _attempt in 1..ATTEMPTS {
            let outcome = self.drill_newest(&set, caller).await?;
            let is_there = self.world.repository.catalogue().get(outcome.backup).is_some();
            if outcome.verdict == DrillVerdict::Passed || is_there {
                return self.conclude(outcome, caller).await;
            }
        }
        let outcome = self.drill_newest(&set, caller).await?;
        self.conclude(outcome, caller).await
    }

    /// Restores the newest good backup as it is now.
    async fn drill_newest(&self, set: &SetSettings, caller: &Caller) -> Result<DrillOutcome, Problem> {
        let turn = self.world.drills.turn().await;
        let latest = self.world.repository.catalogue().set(&set.name).and_then(SetIndex::latest).cloned();
        let backup = latest.ok_or_else(|| {
            Problem::new(
                ProblemKind::NotFound,
                format!("{0} has no good backup that could be restored: `fiovana-app backup {0}` makes one", set.name),
            )
        })?;
        if self.world.keyring.access(&backup, &self.world) == Access::Sealed {
            return Err(sealed(set, &backup));
        }
        let (begun, started) = (self.world.clock.uptime(), self.world.clock.now());
        let result = self.rehearse(set, &backup, caller, turn, started).await?;
        let duration_seconds = (self.world.clock.uptime() - begun).as_secs_f64();
        if let Ok(drilled) = &result {
            self.tell_of_unseen(set, &backup, &drilled.changed_unseen, caller);
        }
        let (verdict, drilled, failure) = match result {
            Ok(drilled) => (DrillVerdict::Passed, Some(drilled), None),
            Err(error) if error.is_cancelled() => return Err(problems::stopping()),
            Err(error) if error.is_damage() => (DrillVerdict::Damaged, None, Some(chain(&error))),
            Err(error) => (DrillVerdict::Failed, None, Some(chain(&error))),
        };
        Ok(DrillOutcome {
            set: set.name.clone(),
            backup: backup.id,
            verdict,
            failure,
            started,
            files: drilled.as_ref().map_or(0, |drilled| drilled.files as u64),
            size_bytes: drilled.as_ref().map_or(0, |drilled| drilled.size_bytes),
            duration_seconds,
        })
    }

    /// Files that changed and do not look it: no fault of the backup, and a reason for a new one.
    fn tell_of_unseen(&self, set: &SetSettings, backup: &Backup, paths: &[String], caller: &Caller) {
        let about = About::caller(caller).set(&set.name).backup(backup.id);
        for path in paths {
            self.herald.mention(Event::SourceChangedUnseen { path: path.clone() }, &about);
        }
        if !paths.is_empty() {
            self.world.want_backup(&set.name);
        }
    }

    async fn rehearse(
        &self,
        set: &SetSettings,
        backup: &Backup,
        caller: &Caller,
        turn: OwnedMutexGuard<()>,
        now: DateTime<Utc>,
    ) -> Result<Result<Drilled, DrillError>, Problem> {
        let (world, progress) = (self.world.clone(), caller.progress.clone());
        let (set, backup, name) = (set.clone(), backup.clone(), set.name.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // One that takes the process down is not held again at once.
            remember(&world, &set.name, |history| history.started(now), None);
            let content = backup.content.as_ref();
            let encrypted = content.is_some_and(|content| !content.manifest.envelope.recipients.is_empty());
            let scratch = match encrypted {
                true => scratch_in_memory(&world.repository),
                false => scratch_directory(&world.settings().backup.backup_directory),
            };
            let nonce = fastrand::u128(..);
            let request = Request { set: &set, backup: &backup, scratch: &scratch, nonce, now };
            drill::drill(&world.repository, &request, &progress)
        });
        work.await.map_err(|panic| Problem::new(ProblemKind::Internal, format!("drill {name}: {panic}")))
    }

    /// Remembers and tells what came of it. Whether stored bytes are damaged is decided by a verification.
    async fn conclude(&self, outcome: DrillOutcome, caller: &Caller) -> Result<DrillOutcome, Problem> {
        let (world, set, started) = (self.world.clone(), outcome.set.clone(), outcome.started);
        let failure = outcome.failure.clone();
        let recorded = tokio::task::spawn_blocking(move || match failure {
            None => remember(&world, &set, |history| history.succeeded(started), None),
            failure => remember(&world, &set, |history| history.failed(started), failure),
        });
        // It panics only where the disk does; then the next start holds the drill again.
        let _ = recorded.await;
        let about = About::caller(caller).set(&outcome.set).backup(outcome.backup);
        let duration_seconds = outcome.duration_seconds;
        let event = match &outcome.failure {
            None => Event::DrillPassed { files: outcome.files, size_bytes: outcome.size_bytes, duration_seconds },
            Some(error) => Event::DrillFailed { error: error.clone(), duration_seconds },
        };
        let _ = self.herald.tell(event, &about).await;
        self.world.reassess();
        if outcome.verdict == DrillVerdict::Damaged {
            let backup = self.world.repository.catalogue().get(outcome.backup).cloned();
            if let Some(backup) = backup {
                let _ = self.check(backup, Depth::Whole, Check::Drill, caller).await;
            }
        }
        Ok(outcome)
    }
}

/// That a restore cannot be rehearsed where it could not be done either, on purpose, is no failed drill.
fn sealed(set: &SetSettings, backup: &Backup) -> Problem {
    let detail = format!(
        "the restore of {} cannot be rehearsed here: no key on this machine opens its backup {}. Rehearse it where the key is",
        set.name, backup.id
    );
    Problem::new(ProblemKind::Keys, detail)
}

fn remember(world: &World, set: &SetName, change: impl FnOnce(RunHistory) -> RunHistory, failure: Option<String>) {
    world.drills.note(set, change, failure);
    if world.look_at_clock().is_none()
        && let Err(error) = world.drills.save(&world.repository)
    {
        tracing::warn!(%set, "the last drill was not remembered: {}", chain(&error));
    }
}
