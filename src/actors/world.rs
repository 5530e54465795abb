//! What every actor can look at.
//!
//! Hazard: facts that are copied into actors go stale there. They are here once: settings, the repository with its
//! catalogue, what ran when, the mode, who is up.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, watch};

use super::chain_check;
use super::drills::Drills;
use super::history::Seen;
use super::keyring::Keyring;
use super::known_damage::KnownDamage;
use super::lane::WriteLane;
use super::notifier::Notifier;
use super::post::Mail;
use super::reasons::Concerns;
use super::recovery::RecoveryDesk;
use super::replicas::Replicas;
use super::timekeeping::Timekeeping;
use super::turns::Turn;
use super::upkeep::Upkeep;
use super::verifier::scrub::{self, Rotations};
use super::writer::Identity;
use crate::api::{Problem, ProblemKind};
use crate::audit::{Head, Marks};
use crate::clock::Clock;
use crate::core::clock_sanity::ClockFault;
use crate::core::drill::{self, Access, Rehearsal};
use crate::core::mode::{Mode, RecoveryCause};
use crate::core::repeated::Repeated;
use crate::core::retention::Guards;
use crate::core::schedule::{Due, RunHistory, due};
use crate::core::space::Space;
use crate::core::{Digest, SetName, mode};
use crate::pipeline::Progress;
use crate::pipeline::audit_trust;
use crate::pipeline::scrub::Rotation;
use crate::repository::catalogue::Backup;
use crate::repository::lock::HeldPlace;
use crate::repository::wire::AuditHead;
use crate::repository::{Repository, layout};
use crate::settings::{SetSettings, Settings};
use crate::storage::{Durability, StorageError};
use crate::telemetry::{Event, Feed, Metrics};

/// The audit log's name in the log directory.
pub const AUDIT_LOG: &str = "security_audit.log";

const RUNS: &str = "schedule";

/// The names of the actors.
pub const ACTORS: [&str; 6] = ["supervisor", "scheduler", "archiver", "verifier", "janitor", "auditor"];

/// The actor that all others are children of.
pub const ROOT: &str = "supervisor";

/// How the service is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// For long, with schedules and sweeps.
    Daemon,
    /// For one command.
    Command,
}

/// Everything that is shared.
pub struct World {
    /// How the service is run.
    pub role: Role,
    /// The backups.
    pub repository: Repository,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Who may write.
    pub lane: WriteLane,
    /// The replicas.
    pub replicas: Replicas,
    /// Who looks at the keys.
    pub keyring: Keyring,
    /// What became of each set's drills.
    pub drills: Drills,
    /// What is known to be damaged.
    pub damage: KnownDamage,
    /// What Prometheus is told.
    pub metrics: Metrics,
    /// Who is told what a person must hear of.
    pub notifier: Notifier,
    /// What who follows is told.
    pub feed: Arc<Feed>,
    /// What is known of the clock.
    pub timekeeping: Timekeeping,
    /// Who this service is to the repository.
    pub identity: Identity,
    /// Which of the repository's timelines somebody has seen.
    pub seen: Seen,
    /// What the Janitor found.
    pub upkeep: Upkeep,
    /// When this process started.
    pub started: DateTime<Utc>,
    /// How the repository came to be open.
    pub opening: Opening,
    /// What became of the repository since.
    lost: OnceLock<String>,
    /// Why the mode cannot be made durable.
    pub(super) mode_trouble: Mutex<Repeated>,
    rotations: Mutex<Rotations>,
    /// As it was when the disk was last asked.
    space: Mutex<Option<Space>>,
    settings: RwLock<Arc<Settings>>,
    mode: watch::Sender<ModeView>,
    runs: Mutex<BTreeMap<SetName, Run>>,
    /// The sets whose backups the stop abandoned.
    abandoned: Mutex<BTreeSet<SetName>>,
    actors: Mutex<BTreeMap<&'static str, ActorView>>,
    mail: BTreeMap<&'static str, Mail>,
    audit: Mutex<AuditView>,
    /// Held by whoever changes what is remembered of the audit log.
    audit_memory: Mutex<()>,
    audit_doubt: Notify,
    rejected_settings: Mutex<Option<String>>,
    unsettled_restores: Mutex<BTreeMap<PathBuf, Vec<String>>>,
    concerns: Mutex<Concerns>,
    reassess: Notify,
    works: Mutex<Vec<std::sync::Weak<Progress>>>,
    operations: watch::Sender<usize>,
    /// What recovery is to do next.
    pub(super) recovery: RecoveryDesk,
}

/// How the repository came to be open.
#[derive(Debug, Default)]
pub struct Opening {
    /// What demands recovery mode by itself.
    pub alarm: Option<RecoveryCause>,
    /// What is missing and what to do about it, if there is no repository.
    pub missing: Option<String>,
    /// Where another repository is that was used before, and how to bring it along.
    pub earlier: Option<String>,
    /// What was done for it, and is to be told.
    pub told: Vec<Event>,
    /// What was locked, for as long as the service is to look whether that is still there.
    pub place: Option<HeldPlace>,
}

/// The mode, and whether it would survive a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeView {
    /// The mode.
    pub mode: Mode,
    /// Whether it is on disk.
    pub persisted: bool,
}

/// What is known of a set's runs.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// What is remembered across restarts.
    pub history: RunHistory,
    /// Since when the set is busy: a backup or a restore is under way.
    pub busy_since: Option<DateTime<Utc>>,
    /// Why the last backup failed, if it did.
    pub last_error: Option<String>,
    /// Whether a backup is wanted whatever the schedule says, to make good what was lost.
    pub wanted: bool,
}

/// What is known of an actor.
#[derive(Clone, Debug)]
pub struct ActorView {
    /// Whether it takes messages.
    pub state: ActorState,
    /// Since when.
    pub since: DateTime<Utc>,
    /// How often it was restarted.
    pub restarts: u64,
    /// Why it was restarted last.
    pub last_error: Option<String>,
    /// The uptime at which it last gave a sign of life.
    pub heard: Duration,
}

/// Whether an actor takes messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActorState {
    /// It does.
    Up,
    /// It does, or will; but work that an instance before this one began does not end, and holds the write lane.
    Stuck,
    /// It will again.
    Restarting,
    /// It failed too often.
    GaveUp,
}

impl ActorState {
    /// The name used in the status.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Stuck => "stuck",
            Self::Restarting => "restarting",
            Self::GaveUp => "gave_up",
        }
    }
}

/// What is known of the audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct AuditView {
    /// Its last record, wherever that is kept.
    pub head: Option<Head>,
    /// Whether that is where the chain stands, come what may.
    pub certain: bool,
    /// Whether the last attempt to write failed, and records are kept in the repository.
    pub failing: bool,
    /// Whether the chain was found broken, or the log not what it was, and nobody has accepted that.
    pub broken: bool,
    /// Names the key that records are authenticated with.
    pub key: Option<Digest>,
}

impl AuditView {
    /// The head, as others may remember it.
    pub fn anchor(&self) -> Option<AuditHead> {
        let key = self.key;
        self.head.filter(|_| self.certain).map(|head| AuditHead { seq: head.seq, hash: head.hash, key })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    /// A world in mode `starting`, with the run history that the repository remembers.
    pub fn new(
        settings: Settings,
        role: Role,
        repository: Repository,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Self {
        // A lost history costs one run too many of each set.
        let histories: BTreeMap<SetName, RunHistory> =
            repository.load_state(RUNS).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
        let runs = histories.into_iter().map(|(set, history)| (set, Run { history, ..Run::default() })).collect();
        let timekeeping = Timekeeping::recall(&repository);
        let started = clock.now();
        let audit = AuditView { broken: chain_check::was_broken(&repository), ..AuditView::default() };
        let actor =
            ActorView { state: ActorState::Up, since: started, restarts: 0, last_error: None, heard: clock.uptime() };
        Self {
            role,
            replicas: Replicas::recall(&repository),
            keyring: Keyring::recall(&repository),
            drills: Drills::recall(&repository),
            identity: Identity::recall(&repository),
            seen: Seen::recall(&repository),
            damage: KnownDamage::recall(&repository),
            rotations: Mutex::new(scrub::recall(&repository)),
            opening: Opening::default(),
            lost: OnceLock::new(),
            mode_trouble: Mutex::default(),
            space: Mutex::new(space(&repository)),
            repository,
            clock,
            lane: WriteLane::open(),
            metrics,
            notifier: Notifier::default(),
            feed: Arc::default(),
            timekeeping,
            upkeep: Upkeep::default(),
            started,
            abandoned: Mutex::default(),
            settings: RwLock::new(Arc::new(settings)),
            mode: watch::Sender::new(ModeView { mode: Mode::Starting, persisted: true }),
            runs: Mutex::new(runs),
            actors: Mutex::new(ACTORS.into_iter().map(|name| (name, actor.clone())).collect()),
            mail: ACTORS.into_iter().map(|name| (name, Mail::default())).collect(),
            audit: Mutex::new(audit),
            audit_memory: Mutex::default(),
            audit_doubt: Notify::new(),
            rejected_settings: Mutex::default(),
            unsettled_restores: Mutex::default(),
            concerns: Mutex::default(),
            reassess: Notify::new(),
            works: Mutex::default(),
            operations: watch::Sender::new(0),
            recovery: RecoveryDesk::default(),
        }
    }

    /// The same, and how its repository came to be open.
    pub fn opened(self, opening: Opening) -> Self {
        Self { opening, ..self }
    }

    /// What is missing and what to do about it, if there is no repository, or none any more.
    pub fn missing(&self) -> Option<&str> {
        self.opening.missing.as_deref().or_else(|| self.lost.get().map(String::as_str))
    }

    /// Whether the repository is not in its place any more, which is told and noted the first time: nothing is read from it
    /// then, nothing is written, and whoever asks for backups is told. Asks the disk.
    pub fn is_displaced(&self) -> bool {
        let Some(how) = self.opening.place.as_ref().and_then(HeldPlace::displaced) else {
            return self.lost.get().is_some();
        };
        self.repository.abandon();
        let what = format!(
            "{} {how}, under the running service: nothing can be backed up or restored, and nothing is begun in its \
             place: stop the service; mount its disk or put it back, and start again, or bring it back from a replica \
             with `fiovana-app recover`",
            self.settings().backup.backup_directory.display()
        );
        if self.lost.set(what.clone()).is_ok() {
            tracing::error!("{what}");
        }
        true
    }

    /// What the operator asked for, as it is in force now. One operation works with one answer from start to end.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts other settings in force. Their sets have all their metrics at once, and sets that are gone have none.
    pub fn set_settings(&self, settings: Settings) {
        let names = |settings: &Settings| settings.sets.iter().map(|set| set.name.clone()).collect::<Vec<_>>();
        let after = names(&settings);
        let before = {
            let mut current = self.settings.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, Arc::new(settings))
        };
        self.metrics.follow_sets(&names(&before), &after);
    }

    /// A configured set.
    pub fn set(&self, name: &SetName) -> Option<SetSettings> {
        self.settings().sets.iter().find(|set| set.name == *name).cloned()
    }

    /// The mode now.
    pub fn mode(&self) -> ModeView {
        self.mode.borrow().clone()
    }

    /// What forbids deletion now, as far as the backups themselves do not tell it.
    pub fn guards(&self) -> Guards {
        Guards {
            recovery: !self.mode().mode.allows_deletion(),
            clock_suspect: self.look_at_clock().is_some(),
            rolled_back: self.seen.unseen(&self.repository).is_some(),
            away: self.timekeeping.was_away(),
            ..Guards::default()
        }
    }

    /// Why the clock is not to be believed now, if so.
    pub fn look_at_clock(&self) -> Option<ClockFault> {
        let shortest = self.settings().shortest_retention();
        self.timekeeping.look(&self.repository, self.clock.now(), self.clock.uptime(), shortest)
    }

    /// Believes the clock from now on, whatever contradicts it.
    pub(super) fn accept_clock(&self) -> Result<(), StorageError> {
        let shortest = self.settings().shortest_retention();
        self.timekeeping.accept(&self.repository, self.clock.now(), self.clock.uptime(), shortest)
    }

    /// The space there was when the disk was last asked; `None` if it did not say. Whoever looks must not wait for a disk.
    pub fn space(&self) -> Option<Space> {
        *locked(&self.space)
    }

    /// Asks the disk how much space there is, and remembers it. Blocks.
    pub(super) fn measure_space(&self) -> Option<Space> {
        let measured = space(&self.repository);
        *locked(&self.space) = measured;
        measured
    }

    /// Follows the mode.
    pub fn watch_mode(&self) -> watch::Receiver<ModeView> {
        self.mode.subscribe()
    }

    /// Changes the mode; for the supervisor alone.
    pub(super) fn set_mode(&self, mode: mode::Mode, persisted: bool) {
        let before = self.mode.send_replace(ModeView { mode, persisted });
        if before.persisted != persisted {
            self.reassess();
        }
    }

    /// Whether this is no failure: the service was told to stop, and abandoned what was under way.
    pub fn is_abandoned(&self, problem: &Problem) -> bool {
        problem.kind == ProblemKind::Unavailable && self.mode().mode == Mode::Stopping
    }

    /// A run that the stop abandoned: it leaves no trace in the schedule, so that the next start takes it up.
    pub fn abandon_run(&self, set: &SetName, before: RunHistory) -> Result<(), StorageError> {
        let error = self.run(set).last_error;
        locked(&self.abandoned).insert(set.clone());
        self.record_run(set, |_| before, error)
    }

    /// The sets whose backups the stop abandoned.
    pub fn abandoned(&self) -> Vec<SetName> {
        locked(&self.abandoned).iter().cloned().collect()
    }

    /// What is known of a set's runs.
    pub fn run(&self, set: &SetName) -> Run {
        locked(&self.runs).get(set).cloned().unwrap_or_default()
    }

    /// When a set is due; never, if it has no schedule or is busy.
    pub fn due(&self, set: &SetSettings) -> Option<Due> {
        let run = self.run(&set.name);
        let scheduled = self.settings().backup.enabled && set.enabled && run.busy_since.is_none();
        let scheduled = scheduled && !self.repository.is_vacant();
        scheduled.then(|| if run.wanted { Due::Now } else { due(&run.history, set.interval, self.clock.now()) })
    }

    /// Whether somebody besides the one who asks is at work.
    pub fn is_wanted(&self) -> bool {
        *self.operations.borrow() > 1
    }

    /// How far the rotation over everything stored has come.
    pub fn rotations(&self) -> Rotations {
        locked(&self.rotations).clone()
    }

    /// Notes how far one of them has come; returns all.
    pub(super) fn set_rotation(&self, name: String, rotation: Rotation) -> Rotations {
        let mut rotations = locked(&self.rotations);
        rotations.insert(name, rotation);
        rotations.clone()
    }

    /// Makes a set due whatever its schedule says, once.
    pub fn want_backup(&self, set: &SetName) {
        locked(&self.runs).entry(set.clone()).or_default().wanted = true;
    }

    /// Notes that everything a backup needs is right, whatever was known before.
    pub fn is_right(&self, backup: &Backup) {
        let objects = backup.content.iter().flat_map(|content| &content.manifest.envelope.objects);
        let objects: HashSet<Digest> = objects.map(|object| object.name).collect();
        let manifest = layout::manifest(&backup.set, backup.id);
        let is_right = |place: &str| {
            place == manifest.as_str() || layout::object_name(place).is_some_and(|name| objects.contains(&name))
        };
        if self.damage.clear(is_right)
            && let Err(error) = self.damage.save(&self.repository)
        {
            tracing::warn!("known damage was not remembered: {error}: {}", error.source);
        }
    }

    /// Whether a set's newest good backup can be opened here, if there is one.
    pub fn access(&self, set: &SetName) -> Option<Access> {
        let catalogue = self.repository.catalogue();
        Some(self.keyring.access(catalogue.set(set)?.latest()?, self))
    }

    /// When a set's next drill is due; never, if there are no scheduled checks, or nothing to restore that can be opened.
    pub fn drill_due(&self, set: &SetSettings) -> Option<Due> {
        let settings = self.settings();
        let access = self.access(&set.name);
        let rehearsal = Rehearsal {
            history: self.drills.of(&set.name).history,
            interval: settings.drill.interval(set.priority),
            has_good_backup: access.is_some(),
            access: access.unwrap_or(Access::Open),
        };
        let scheduled = settings.backup.enabled && settings.backup.integrity_checks && set.enabled;
        scheduled.then(|| drill::next(&rehearsal, self.clock.uptime(), self.clock.now())).flatten()
    }

    /// Marks the set whose turn this is as busy until what is returned is dropped.
    pub fn occupy(self: &Arc<Self>, set: &SetName, turn: Turn) -> Occupied {
        locked(&self.runs).entry(set.clone()).or_default().busy_since = Some(self.clock.now());
        Occupied { world: self.clone(), set: set.clone(), _turn: turn }
    }

    /// Remembers what became of a run, here and on disk (not synced: a lost history costs one run too many); here only
    /// while the clock is in doubt.
    pub fn record_run(
        &self,
        set: &SetName,
        change: impl FnOnce(RunHistory) -> RunHistory,
        error: Option<String>,
    ) -> Result<(), StorageError> {
        let histories: BTreeMap<SetName, RunHistory> = {
            let mut runs = locked(&self.runs);
            let run = runs.entry(set.clone()).or_default();
            run.history = change(run.history);
            run.last_error = error;
            run.wanted = false;
            runs.iter().map(|(set, run)| (set.clone(), run.history)).collect()
        };
        if self.look_at_clock().is_some() {
            return Ok(());
        }
        self.repository.save_state(RUNS, &histories, Durability::Lazy)
    }

    /// What is known of each actor.
    pub fn actors(&self) -> BTreeMap<&'static str, ActorView> {
        let mut actors = locked(&self.actors).clone();
        if let Some((ghost, _)) = self.lane.holder()
            && let Some(actor) = actors.get_mut(ghost.child)
            && actor.restarts > ghost.restarts
        {
            actor.state = ActorState::Stuck;
        }
        actors
    }

    /// What waits for an actor.
    pub fn mail(&self, name: &'static str) -> Mail {
        self.mail.get(name).cloned().unwrap_or_default()
    }

    /// Remembers that an actor gave a sign of life.
    pub(super) fn hear(&self, name: &'static str) {
        let now = self.clock.uptime();
        self.update_actor(name, |actor| actor.heard = now);
    }

    /// How long nothing was heard of an actor.
    pub(super) fn silence(&self, name: &'static str) -> Duration {
        let heard = locked(&self.actors).get(name).map_or(Duration::ZERO, |actor| actor.heard);
        self.clock.uptime().saturating_sub(heard)
    }

    /// The actors that should have been heard of by now and were not. Those that were given up are nobody's surprise.
    pub(super) fn silent_actors(&self) -> Vec<&'static str> {
        let settings = self.settings().supervision;
        let patience = settings.heartbeat * 4 + settings.backoff_max;
        let now = self.clock.uptime();
        let silent =
            |actor: &ActorView| actor.state != ActorState::GaveUp && now.saturating_sub(actor.heard) > patience;
        let actors = locked(&self.actors);
        actors.iter().filter(|(name, actor)| **name != ROOT && silent(actor)).map(|(name, _)| *name).collect()
    }

    /// Changes what is known of an actor; for the supervisor alone.
    pub(super) fn update_actor(&self, name: &'static str, change: impl FnOnce(&mut ActorView)) {
        if let Some(actor) = locked(&self.actors).get_mut(name) {
            change(actor);
        }
    }

    /// Where the audit log is.
    pub fn audit_path(&self) -> PathBuf {
        self.settings().log_directory.join(AUDIT_LOG)
    }

    /// What is known of the audit log.
    pub fn audit(&self) -> AuditView {
        *locked(&self.audit)
    }

    /// Changes what is known of the audit log.
    pub(super) fn update_audit(&self, change: impl FnOnce(&mut AuditView)) {
        let (before, after) = {
            let mut view = locked(&self.audit);
            let before = *view;
            change(&mut view);
            (before, *view)
        };
        if (before.failing, before.broken) != (after.failing, after.broken) {
            self.reassess();
        }
    }

    /// Notes that the audit log is not what it was, and has the chain checked.
    pub(super) fn doubt_audit(&self) {
        self.update_audit(|view| view.broken = true);
        self.recheck_audit();
    }

    /// Has the chain checked: what it was found to be may be over.
    pub(super) fn recheck_audit(&self) {
        self.audit_doubt.notify_one();
    }

    /// Waits until somebody doubts the audit log.
    pub(super) async fn audit_doubted(&self) {
        self.audit_doubt.notified().await;
    }

    /// Remembers more of the audit log, durably: what `more` makes of the number of the next record.
    pub(super) fn mark_audit(&self, more: impl FnOnce(u64) -> Marks) -> Result<(), StorageError> {
        let lent = || {
            let replicas = self.replicas.open_ones();
            replicas.iter().filter_map(|(_, replica)| audit_trust::known(replica.repository()).marks).collect()
        };
        let _one_at_a_time = locked(&self.audit_memory);
        let next = self.audit().head.map_or(1, |head| head.seq.saturating_add(1));
        audit_trust::mark(&self.repository, more(next), lent)
    }

    /// Does what makes sure that there is a key of the audit log, while nobody else changes what is remembered of it.
    pub(super) fn obtain_audit_key<T>(&self, obtain: impl FnOnce() -> T) -> T {
        let _one_at_a_time = locked(&self.audit_memory);
        obtain()
    }

    /// What is remembered of the audit log now.
    pub(super) fn audit_memory(&self) -> Result<audit_trust::Memory, StorageError> {
        let _one_at_a_time = locked(&self.audit_memory);
        // While records are kept elsewhere, it is not known yet behind which rotations they come.
        let head = self.audit().anchor().filter(|_| !self.audit().failing);
        audit_trust::Memory::of(&self.repository, head)
    }

    /// Why the settings that were found are not the ones in force, if so.
    pub fn rejected_settings(&self) -> Option<String> {
        locked(&self.rejected_settings).clone()
    }

    /// Says so, or that it is over.
    pub fn set_rejected_settings(&self, why: Option<String>) {
        *locked(&self.rejected_settings) = why;
        self.reassess();
    }

    /// What needs a person, as it was last found.
    pub fn concerns(&self) -> Concerns {
        locked(&self.concerns).clone()
    }

    /// Remembers what needs a person; for the supervisor alone.
    pub(super) fn set_concerns(&self, concerns: Concerns) {
        *locked(&self.concerns) = concerns;
    }

    /// Lets the supervisor look again, soon, whether something needs a person: a fact changed on which that depends.
    pub fn reassess(&self) {
        self.reassess.notify_one();
    }

    /// Waits until somebody wants that.
    pub(super) async fn reassessment_wanted(&self) {
        self.reassess.notified().await;
    }

    /// Restores that were interrupted and could not be settled: what there is, and what to do.
    pub fn unsettled_restores(&self) -> Vec<String> {
        locked(&self.unsettled_restores).values().flatten().cloned().collect()
    }

    /// Notes those in one source directory.
    pub(super) fn set_unsettled_restores(&self, source: &Path, what: Vec<String>) {
        locked(&self.unsettled_restores).insert(source.to_owned(), what);
    }

    /// Counts an operation until what is returned is dropped: a stop waits for it, to its last record.
    pub fn begin_operation(self: &Arc<Self>) -> Operation {
        self.operations.send_modify(|count| *count += 1);
        Operation { world: self.clone() }
    }

    /// Waits until the service is told to stop.
    pub async fn stopping(&self) {
        // The sender lives as long as this world: there is no other end to the wait.
        let _ = self.watch_mode().wait_for(|view| view.mode == Mode::Stopping).await;
    }

    /// Waits until no operation is under way.
    pub async fn quiescence(&self) {
        // The sender lives as long as this world: there is no other end to the wait.
        let _ = self.operations.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Makes a piece of work known, so that it can be told to stop.
    pub fn register_work(&self, progress: &Arc<Progress>) {
        let mut works = locked(&self.works);
        works.retain(|work| work.strong_count() > 0);
        works.push(Arc::downgrade(progress));
    }

    /// Tells all work to stop at its next safe point.
    pub fn cancel_work(&self) {
        locked(&self.works).iter().filter_map(std::sync::Weak::upgrade).for_each(|work| work.cancel());
    }
}

fn space(repository: &Repository) -> Option<Space> {
    let (free_bytes, total_bytes) = (repository.free_bytes().ok()?, repository.total_bytes().ok()?);
    Some(Space { free_bytes, total_bytes })
}

/// An operation under way, until this is dropped.
pub struct Operation {
    world: Arc<World>,
}

impl Drop for Operation {
    fn drop(&mut self) {
        self.world.operations.send_modify(|count| *count -= 1);
    }
}

/// A set that is busy until this is dropped. To be moved into the work.
pub struct Occupied {
    world: Arc<World>,
    set: SetName,
    _turn: Turn,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if let Some(run) = locked(&self.world.runs).get_mut(&self.set) {
            run.busy_since = None;
        }
    }
}
