//! The service as its users see it: what may be asked of it, whatever they ask through.
//!
//! Hazard: two front doors with two sets of rules. The HTTP API and the command line both come in here.

mod files;
mod pruning;
mod recovery;

use std::sync::Arc;
use std::time::Duration;

mod drill;

pub use files::Download;

use super::archiver::{Archiver, BackUp, BackedUp, Restore};
use super::herald::{About, Herald};
use super::janitor::Janitor;
use super::post::Post;
pub use super::presence::Presence;
use super::problems;
use super::supervisor::{AllWell, Happened, Supervisor};
use super::turns::PATIENCE;
use super::verifier::{CheckDoubtful, Verifier, Verify};
use super::view;
use super::world::{ROOT, World};
use crate::api::{
    BackupDetails, BackupList, ListQuery, Problem, ProblemKind, RestoreOptions, RestoreOutcome, Status, VerifyOutcome,
};
use crate::core::mode::{Mode, ModeEvent};
use crate::core::{BackupId, BackupKind, BackupRef, SetName};
use crate::pipeline::Progress;
use crate::pipeline::restore::{Pick, Rules};
use crate::repository::Repository;
use crate::settings::SetSettings;
use crate::telemetry::{Check, Event, Follower};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `uid:1000`, `token:cli`, `http:192.0.2.7`, `cli:1000`, `scheduler`.
    pub principal: String,
    /// What ties the records, log lines and answers of this operation together.
    pub correlation_id: String,
    /// How far the work is, and the wish that it stop.
    pub progress: Arc<Progress>,
    /// Whether it still waits for the answer: work that has not begun when it leaves never does.
    pub presence: Presence,
}

impl Caller {
    /// Somebody, in an operation of their own.
    pub fn new(principal: impl Into<String>) -> Self {
        let correlation_id = format!("{:032x}", fastrand::u128(..));
        Self { principal: principal.into(), correlation_id, progress: Arc::default(), presence: Presence::default() }
    }

    /// A part of this service.
    pub(super) fn component(name: &'static str) -> Self {
        Self::new(name)
    }
}

/// A handle to the running service. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    pub(super) world: Arc<World>,
    supervisor: Post<Supervisor>,
    archiver: Post<Archiver>,
    pub(super) verifier: Post<Verifier>,
    janitor: Post<Janitor>,
    /// Speaks for what is done without an actor.
    pub(super) herald: Herald,
    #[cfg(feature = "chaos")]
    victims: super::chaos::Victims,
}

impl Service {
    pub(super) fn new(
        world: Arc<World>,
        supervisor: Post<Supervisor>,
        archiver: Post<Archiver>,
        verifier: Post<Verifier>,
        janitor: Post<Janitor>,
        herald: Herald,
        #[cfg(feature = "chaos")] victims: super::chaos::Victims,
    ) -> Self {
        Self {
            world,
            supervisor,
            archiver,
            verifier,
            janitor,
            herald,
            #[cfg(feature = "chaos")]
            victims,
        }
    }

    /// Makes an actor fail, for chaos tests; whether there is such an actor.
    #[cfg(feature = "chaos")]
    pub fn strike(&self, actor: &str, fault: &str) -> bool {
        let fault = super::chaos::Fault::named(fault, &self.world.lane, &self.victims.ghosts);
        fault.is_some_and(|fault| self.victims.strike(actor, fault))
    }

    /// Lets the work end that outlives its actor.
    #[cfg(feature = "chaos")]
    pub fn end_ghosts(&self) {
        self.victims.ghosts.end();
    }

    /// Backs up a set now; answered after it was read back.
    pub async fn backup(&self, set: &str, caller: &Caller) -> Result<BackupDetails, Problem> {
        let set = self.configured(set)?;
        self.until_working().await?;
        let message = BackUp { set, kind: BackupKind::Manual, caller: caller.clone() };
        match self.archiver.send(message).await.map_err(|_| problems::of_silence("archiver"))?? {
            BackedUp::Created(backup) | BackedUp::Unchanged(backup) => {
                Ok(view::details(&self.world.repository, &self.world.settings(), &backup))
            }
        }
    }

    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Result<BackupList, Problem> {
        view::list(self.repository()?, &self.world.settings(), query)
    }

    /// Everything about a backup.
    pub fn show(&self, reference: &str) -> Result<BackupDetails, Problem> {
        Ok(view::details(
            &self.world.repository,
            &self.world.settings(),
            &view::resolve(self.repository()?, None, reference)?,
        ))
    }

    /// Reads a backup, whole.
    pub async fn verify(&self, reference: &str, caller: &Caller) -> Result<VerifyOutcome, Problem> {
        self.until_working().await?;
        let backup = view::resolve(self.repository()?, None, reference)?;
        let message = Verify { backup: backup.clone(), check: Check::Requested, caller: caller.clone() };
        let verification = self.verifier.send(message).await.map_err(|_| problems::of_silence("verifier"))??;
        Ok(view::verification(&backup, verification))
    }

    /// Restores a backup in place.
    pub async fn restore(
        &self,
        set: &str,
        reference: &str,
        options: &RestoreOptions,
        caller: &Caller,
    ) -> Result<RestoreOutcome, Problem> {
        let set = self.configured(set)?;
        let backup = view::resolve(self.repository()?, Some(&set.name), reference)?;
        let picks = vec![Pick { backup, paths: options.paths() }];
        let rules = Rules {
            replace_logs: options.replace_logs,
            ignore_ownership: options.ignore_ownership,
            ignore_xattrs: options.ignore_xattrs,
            allow_invalid: options.allow_invalid,
        };
        self.restore_picks(set, picks, rules, caller).await
    }

    /// Restores files of one set in place, each from the backup it was picked from, all in one transaction.
    pub async fn restore_picks(
        &self,
        set: SetSettings,
        picks: Vec<Pick>,
        rules: Rules,
        caller: &Caller,
    ) -> Result<RestoreOutcome, Problem> {
        self.until_working().await?;
        let (name, target) = (set.name.clone(), set.source.written().display().to_string());
        let backups: Vec<BackupId> = picks.iter().map(|pick| pick.backup.id).collect();
        let Some(newest) = backups.iter().max().copied() else {
            return Err(Problem::new(ProblemKind::BadRequest, "nothing to restore is named"));
        };
        let message = Restore { set, picks, rules, caller: caller.clone() };
        let restored = self.archiver.send(message).await.map_err(|_| problems::of_silence("archiver"))??;
        Ok(view::restored(&name, (newest, backups), target, rules, restored))
    }

    /// Everything at a glance.
    pub fn status(&self) -> Status {
        view::status(&self.world)
    }

    /// The metrics in Prometheus' text format 0.0.4.
    pub fn metrics(&self) -> Result<String, Problem> {
        let facts = view::facts(&self.world);
        let text = self.world.metrics.render(&facts);
        text.map_err(|error| Problem::new(ProblemKind::Internal, problems::chain(&error)))
    }

    /// Follows what happens from now on, or after the event with this id.
    pub fn follow(&self, after: Option<&str>) -> Follower {
        self.world.feed.follow(after)
    }

    /// Counts a request of the HTTP API.
    pub fn observe_request(&self, route: &str, method: &str, status: u16, seconds: f64) {
        self.world.metrics.observe_request(route, method, status, seconds);
    }

    /// Records that somebody was turned away who has no right to what was asked for.
    pub fn rejected(&self, caller: &Caller) {
        self.herald.mention(Event::AuthRejected, &About::caller(caller));
    }

    /// Why the service is not ready, if it is not.
    pub fn unready(&self) -> Option<String> {
        match self.world.mode().mode {
            Mode::Starting => Some("starting".into()),
            Mode::Stopping => Some("stopping".into()),
            Mode::Normal | Mode::Degraded { .. } | Mode::Recovery { .. } => None,
        }
    }

    /// What keeps the service from doing its work, if something does. Asks nobody, so that it is answered whatever hangs.
    pub fn unwell(&self) -> Option<String> {
        let silence = self.world.silence(ROOT);
        if silence > ASKED_EVERY * MISSED {
            return Some(format!("the supervisor has not answered for {} s", silence.as_secs()));
        }
        let silent = self.world.silent_actors();
        (!silent.is_empty()).then(|| format!("not heard of for long: {}", silent.join(", ")))
    }

    /// Lets running work end, at its next safe point if it takes long, and lets nothing begin.
    pub(super) async fn stop(&self) {
        // A supervisor that hangs keeps nobody from stopping.
        let told = self.happened(Happened::unasked(ModeEvent::StopRequested));
        let _ = tokio::time::timeout(STOP_PATIENCE, told).await;
        if tokio::time::timeout(STOP_PATIENCE, self.world.quiescence()).await.is_err() {
            // Who waits for the lane is turned away; who is in stops within a chunk, or a sync.
            self.world.lane.close();
            self.world.cancel_work();
            self.world.quiescence().await;
        }
    }

    /// Whether the supervisor answers, and hears of its children.
    pub async fn is_well(&self) -> bool {
        self.supervisor.send(AllWell).await.unwrap_or(false)
    }

    /// Reads all backups that are not known to be intact, in the background.
    pub(super) fn check_doubtful(&self) {
        self.verifier.do_send(CheckDoubtful);
    }

    pub(super) async fn happened(&self, happened: Happened) -> Result<(), Problem> {
        self.supervisor.send(happened).await.map_err(|_| problems::of_silence("supervisor"))?
    }

    fn configured(&self, name: &str) -> Result<SetSettings, Problem> {
        let settings = self.world.settings();
        let known = || settings.sets.iter().map(|set| set.name.clone());
        let parsed = name.parse::<SetName>().ok();
        parsed.and_then(|name| self.world.set(&name)).ok_or_else(|| problems::unknown_set(name, known()))
    }

    /// The repository; where there is none, what is missing and what to do: nobody is to take that for one without
    /// backups.
    fn repository(&self) -> Result<&Repository, Problem> {
        match self.world.missing() {
            None => Ok(&self.world.repository),
            Some(missing) => Err(Problem::new(ProblemKind::Unavailable, missing)),
        }
    }

    /// Waits until the service is up, at most for [`PATIENCE`].
    async fn until_working(&self) -> Result<(), Problem> {
        self.repository()?;
        let mut mode = self.world.watch_mode();
        // What is so at the end of the wait counts, however it ended.
        let _ = tokio::time::timeout(PATIENCE, mode.wait_for(|view| view.mode != Mode::Starting)).await;
        let mode = self.world.mode().mode;
        if mode.allows_restore() {
            return Ok(());
        }
        Err(Problem::new(ProblemKind::Unavailable, format!("the service is {}: try again when it is up", mode.name())))
    }
}

/// So often at least the supervisor is asked whether all is well.
pub const ASKED_EVERY: Duration = Duration::from_secs(5);

/// So often may it leave that unanswered before it is taken for stuck.
const MISSED: u32 = 4;

/// How long a stop waits for work before it is told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a reference means, as far as its form tells.
pub(super) fn reference(text: &str) -> Result<BackupRef, Problem> {
    text.parse().map_err(|error: crate::core::backup_id::BackupIdSyntax| {
        Problem::new(ProblemKind::BadRequest, error.to_string())
    })
}

#[cfg(test)]
mod tests;
