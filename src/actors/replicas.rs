//! The replicas, as everybody may look at them.
//!
//! Hazard: a replica that is thought to be there and is not. What is open is held here, once; what was there is
//! remembered in the original, so that a disk that is not mounted is missed and not begun anew beneath its mount point.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problems::chain;
use super::world::World;
use super::writer::Unclaimed;
use crate::core::replication::{Known, may_begin, patience};
use crate::core::{Position, ReplicaName, SetName};
use crate::pipeline::replicate::{self, ReplicateError};
use crate::repository::Repository;
use crate::repository::lock::LockError;
use crate::repository::replica::{Replica, ReplicaError};
use crate::repository::state::Loaded;
use crate::settings::{ReplicaSettings, Settings};
use crate::storage::local::Local;
use crate::storage::{Durability, StorageError};

const REPLICAS: &str = "replicas";

/// Everything known of the replicas.
pub struct Replicas {
    entries: Mutex<BTreeMap<ReplicaName, Entry>>,
    /// What was remembered could not be read: there may have been any replica.
    doubtful: bool,
    /// Held by whoever opens one: two at once would keep each other out by the replica's own lock.
    opening: Mutex<()>,
    /// Held by whoever writes down what is known, so that the last word is the latest. Who only looks does not wait for a disk.
    saving: Mutex<()>,
    turn: Arc<Semaphore>,
    again: AtomicBool,
}

#[derive(Default)]
struct Entry {
    replica: Option<Arc<Replica>>,
    /// The last that was opened: somebody may still be at work on it, and hold its lock.
    last: Weak<Replica>,
    /// Whether nobody has looked at it since it was opened.
    is_new: bool,
    /// Whether its history was held against that of the original since it was opened.
    compared: bool,
    /// The same before it was opened first: at the start.
    compared_at_start: bool,
    fault: Option<Fault>,
    failures: u32,
    /// Left alone until then, on the scale of the uptime.
    not_before: Duration,
    /// When its retention was last applied, on the same scale.
    tidied: Option<Duration>,
    remembered: Option<Remembered>,
}

/// What is remembered of a replica across restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    path: PathBuf,
    /// Whether it was on the disk of the original when it was last opened; `None`: it never was.
    same_disk: Option<bool>,
    last_success: Option<DateTime<Utc>>,
    /// The newest sequence of each set when the replica last had all it was to have.
    newest: BTreeMap<SetName, Position>,
    /// The fault that was told and is not over.
    told: Option<String>,
}

/// Why a replica is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// A stable word for it.
    pub code: &'static str,
    /// What an operator reads.
    pub message: String,
}

/// A replica at one moment.
#[derive(Clone, Debug)]
pub struct ReplicaView {
    /// Its name.
    pub name: ReplicaName,
    /// Where it is, or should be.
    pub path: PathBuf,
    /// Whether it is open.
    pub reachable: bool,
    /// How many backups it lacks, as far as is known.
    pub lag_backups: usize,
    /// When it last had all it was to have.
    pub last_success: Option<DateTime<Utc>>,
    /// Whether it is on the same disk as the original, or that is not known.
    pub same_disk: bool,
    /// Why it is behind, if it is.
    pub fault: Option<Fault>,
}

/// What changed with an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was all right, or had another fault.
    Lagging(Fault),
    /// It had a fault, and has all it is to have.
    CaughtUp,
}

impl From<&ReplicaError> for Fault {
    fn from(error: &ReplicaError) -> Self {
        let code = match error {
            ReplicaError::Absent(_) => "absent",
            ReplicaError::Foreign { .. }
            | ReplicaError::Occupied { .. }
            | ReplicaError::NoDirectory(_)
            | ReplicaError::Original(_) => "foreign",
            ReplicaError::Lock(LockError::Io(_, error)) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "read_only"
            }
            ReplicaError::Lock(_) => "in_use",
            ReplicaError::Directory(..) | ReplicaError::Open(_) => "unusable",
        };
        Self { code, message: chain(error) }
    }
}

impl From<&ReplicateError> for Fault {
    fn from(error: &ReplicateError) -> Self {
        let code = match error {
            ReplicateError::NoSpace { .. } => "no_space",
            error if error.is_read_only() => "read_only",
            _ => "unusable",
        };
        Self { code, message: chain(error) }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replicas {
    /// What the original remembers of its replicas; none is open yet.
    pub fn recall(original: &Repository) -> Self {
        let loaded = original.load_state::<BTreeMap<ReplicaName, Remembered>>(REPLICAS);
        let doubtful = !matches!(loaded, Ok(Loaded::Value(_) | Loaded::Absent));
        let known = loaded.ok().and_then(Loaded::value).unwrap_or_default();
        let entry = |remembered| Entry { remembered: Some(remembered), ..Entry::default() };
        let entries = known.into_iter().map(|(name, remembered)| (name, entry(remembered))).collect();
        Self {
            entries: Mutex::new(entries),
            doubtful,
            opening: Mutex::new(()),
            saving: Mutex::new(()),
            turn: Arc::new(Semaphore::new(1)),
            again: AtomicBool::new(false),
        }
    }

    /// The replicas that are open, by name. Whoever writes to one holds its [`Replica::write_lane`].
    pub fn open_ones(&self) -> Vec<(ReplicaName, Arc<Replica>)> {
        let entries = locked(&self.entries);
        entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.replica.clone()?))).collect()
    }

    /// The configured replicas of the original that can be read now: no lock is taken, nothing is written. Where there is no
    /// original, any replica is one of it.
    pub(super) fn look_at_all(&self, settings: &Settings, original: &Repository) -> Vec<Repository> {
        settings.replicas.iter().filter_map(|replica| look_at(replica, original)).collect()
    }

    /// The right to work on the replicas, until it is dropped: one run at a time. Whoever has it is told to look again.
    pub(super) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let turn = self.turn.clone().try_acquire_owned().ok();
        self.again.store(turn.is_none(), Ordering::SeqCst);
        turn
    }

    /// Whether somebody asked for a run during this one.
    pub(super) fn asked_again(&self) -> bool {
        self.again.swap(false, Ordering::SeqCst)
    }

    /// The configured replicas that are not being left alone.
    pub(super) fn due(&self, settings: &Settings, uptime: Duration) -> Vec<ReplicaSettings> {
        let entries = locked(&self.entries);
        let is_due = |name: &ReplicaName| entries.get(name).is_none_or(|entry| entry.not_before <= uptime);
        settings.replicas.iter().filter(|replica| is_due(&replica.name)).cloned().collect()
    }

    /// Leaves a replica alone no longer.
    pub(super) fn try_again(&self, name: &ReplicaName) {
        locked(&self.entries).entry(name.clone()).or_default().not_before = Duration::ZERO;
    }

    /// Closes what is no longer configured, or not there.
    pub(super) fn keep(&self, settings: &Settings) {
        let mut entries = locked(&self.entries);
        let configured = |name: &ReplicaName| settings.replicas.iter().find(|replica| replica.name == *name);
        for (name, entry) in entries.iter_mut() {
            if configured(name).is_none_or(|settings| entry.is_elsewhere(settings)) {
                (entry.replica, entry.fault, entry.not_before) = (None, None, Duration::ZERO);
            }
        }
    }

    /// The replica, open: opened if it was not, begun if there never was one.
    pub(super) fn reach(&self, settings: &ReplicaSettings, world: &World) -> Result<Arc<Replica>, Fault> {
        let original = &world.repository;
        let _one_at_a_time = locked(&self.opening);
        let (open, known) = {
            let mut entries = locked(&self.entries);
            let entry = entries.entry(settings.name.clone()).or_default();
            let last = entry.replica.take().or_else(|| entry.last.upgrade());
            let open = last.filter(|replica| replica.is_in_place() && !entry.is_elsewhere(settings));
            entry.replica.clone_from(&open);
            (open, entry.known_at(settings))
        };
        if let Some(replica) = open {
            return self.held(settings, world, replica);
        }
        let known = known.or(self.doubtful.then_some(Known { same_disk: true }));
        let replica = match Replica::open(&settings.path, original) {
            // Where the original was, there may be a stranger's directory by now.
            Err(ReplicaError::Absent(_)) if may_begin(known, settings.is_built_in_place) && !world.is_displaced() => {
                Replica::create(&settings.path, original)
            }
            result => result,
        };
        let replica = Arc::new(replica.map_err(|error| match error {
            ReplicaError::Absent(path) => Fault {
                code: "absent",
                message: format!(
                    "the replica that was in {} is gone: mount its disk, or begin it anew with `fiovana-app init --replica {}`",
                    path.display(),
                    settings.name
                ),
            },
            error => Fault::from(&error),
        })?);
        let replica = self.held(settings, world, replica)?;
        let same_disk = replica.shares_disk_with(original);
        let mut entries = locked(&self.entries);
        let entry = entries.entry(settings.name.clone()).or_default();
        entry.replica = Some(replica.clone());
        entry.last = Arc::downgrade(&replica);
        entry.is_new = true;
        entry.compared = std::mem::take(&mut entry.compared_at_start);
        let remembered = entry.remember(settings);
        let is_new = remembered.same_disk.replace(same_disk) != Some(same_disk);
        drop(entries);
        if is_new {
            self.save(original, Durability::Durable);
        }
        Ok(replica)
    }

    /// The replica, if it is this writer's and no other's.
    fn held(&self, settings: &ReplicaSettings, world: &World, replica: Arc<Replica>) -> Result<Arc<Replica>, Fault> {
        let claimed = {
            let _lane = replica.write_lane();
            world.identity.hold(&world.repository, &settings.name, replica.repository(), world.clock.now())
        };
        let Err(error) = claimed else { return Ok(replica) };
        // Nothing that is there is taken for a copy of ours.
        if let Some(entry) = locked(&self.entries).get_mut(&settings.name) {
            (entry.replica, entry.compared) = (None, false);
        }
        Err(match error {
            Unclaimed::Write(error) => Fault::from(&ReplicateError::from(error)),
            another @ Unclaimed::Another { .. } => Fault { code: "two_writers", message: chain(&another) },
        })
    }

    /// The configured replicas of the original that can be read now, as [`Replicas::look_at_all`] has them, but for those
    /// that are another writer's. Their histories are taken for compared by whoever asks.
    pub(super) fn look_to_compare(&self, world: &World) -> Vec<Repository> {
        let (settings, original) = (world.settings(), &world.repository);
        let look = |replica: &ReplicaSettings| {
            let repository = look_at(replica, original)?;
            if !world.identity.may_hold(original, &replica.name, &repository) {
                return None;
            }
            locked(&self.entries).entry(replica.name.clone()).or_default().compared_at_start = true;
            Some(repository)
        };
        settings.replicas.iter().filter_map(look).collect()
    }

    /// Whether the replica's history was held against that of the original since it was opened.
    pub(super) fn is_compared(&self, name: &ReplicaName) -> bool {
        locked(&self.entries).get(name).is_some_and(|entry| entry.compared)
    }

    /// Notes that it was.
    pub(super) fn set_compared(&self, name: &ReplicaName) {
        locked(&self.entries).entry(name.clone()).or_default().compared = true;
    }

    /// Whether nobody has looked at the replica since it was opened. From now on somebody has.
    pub(super) fn is_new(&self, name: &ReplicaName) -> bool {
        locked(&self.entries).get_mut(name).is_some_and(|entry| std::mem::take(&mut entry.is_new))
    }

    /// Whether the replica's retention is to be applied: after so long, and when the replica was given something. From now
    /// on it has been.
    pub(super) fn tidy_now(&self, name: &ReplicaName, given: bool, interval: Duration, uptime: Duration) -> bool {
        let mut entries = locked(&self.entries);
        let entry = entries.entry(name.clone()).or_default();
        let due = given || entry.tidied.is_none_or(|tidied| uptime >= tidied + interval);
        if due {
            entry.tidied = Some(uptime);
        }
        due
    }

    /// Remembers how an attempt ended; returns what is to be told of it, if anything.
    pub(super) fn conclude(
        &self,
        settings: &ReplicaSettings,
        original: &Repository,
        outcome: Result<(), Fault>,
        now: DateTime<Utc>,
        uptime: Duration,
    ) -> Option<Change> {
        let mut entries = locked(&self.entries);
        let entry = entries.entry(settings.name.clone()).or_default();
        let before = entry.remembered.clone();
        entry.remember(settings);
        let remembered = entry.remembered.get_or_insert_default();
        let change = match outcome {
            Ok(()) => {
                (entry.fault, entry.failures, entry.not_before) = (None, 0, Duration::ZERO);
                remembered.newest = newest(original, &settings.sets);
                remembered.told.take().map(|_| Change::CaughtUp)
            }
            Err(fault) => {
                entry.failures = entry.failures.saturating_add(1);
                entry.not_before = uptime + patience(entry.failures);
                // Whatever is open may be what failed: the next attempt looks at everything anew.
                entry.replica = None;
                let is_news = remembered.told.as_deref() != Some(fault.code);
                remembered.told = Some(fault.code.to_owned());
                entry.fault = Some(fault.clone());
                is_news.then_some(Change::Lagging(fault))
            }
        };
        let is_new = before.as_ref() != Some(remembered);
        if entry.fault.is_none() && (is_new || remembered.last_success.is_none()) {
            remembered.last_success = Some(now);
        }
        drop(entries);
        if is_new {
            self.save(original, Durability::Lazy);
        }
        change
    }

    /// Every configured replica at this moment.
    pub fn views(&self, settings: &Settings, original: &Repository) -> Vec<ReplicaView> {
        let entries = locked(&self.entries);
        let view = |settings: &ReplicaSettings| {
            let entry = entries.get(&settings.name).filter(|entry| !entry.is_elsewhere(settings));
            let remembered = entry.and_then(|entry| entry.remembered.as_ref());
            let open = entry.and_then(|entry| entry.replica.as_ref());
            ReplicaView {
                name: settings.name.clone(),
                path: settings.path.clone(),
                reachable: open.is_some(),
                lag_backups: match open {
                    Some(replica) => replicate::lag(original, replica.repository(), &settings.sets),
                    None => unseen(original, &settings.sets, remembered),
                },
                last_success: remembered.and_then(|remembered| remembered.last_success),
                same_disk: remembered.and_then(|remembered| remembered.same_disk).unwrap_or(true),
                fault: entry.and_then(|entry| entry.fault.clone()),
            }
        };
        settings.replicas.iter().map(view).collect()
    }

    fn save(&self, original: &Repository, durability: Durability) {
        let _one_at_a_time = locked(&self.saving);
        let remembered: BTreeMap<ReplicaName, Remembered> = {
            let entries = locked(&self.entries);
            entries.iter().filter_map(|(name, entry)| Some((name.clone(), entry.remembered.clone()?))).collect()
        };
        let saved: Result<(), StorageError> = original.save_state(REPLICAS, &remembered, durability);
        if let Err(error) = saved {
            tracing::warn!("what is known of the replicas was not remembered: {}", chain(&error));
        }
    }
}

fn look_at(replica: &ReplicaSettings, original: &Repository) -> Option<Repository> {
    let storage = Local::open(&replica.path).ok()?;
    let (repository, _) = Repository::open(Arc::new(storage), false).ok()?;
    repository.set_keys((*original.keys()).clone());
    (original.is_vacant() || repository.id() == original.id()).then_some(repository)
}

impl Entry {
    fn known_at(&self, settings: &ReplicaSettings) -> Option<Known> {
        let remembered = self.remembered.as_ref().filter(|remembered| remembered.path == settings.path)?;
        Some(Known { same_disk: remembered.same_disk? })
    }

    /// What is remembered of the replica in this place; of one in another only that a fault was told.
    fn remember(&mut self, settings: &ReplicaSettings) -> &mut Remembered {
        let remembered = self.remembered.get_or_insert_default();
        if remembered.path != settings.path {
            let told = remembered.told.take();
            *remembered = Remembered { path: settings.path.clone(), told, ..Remembered::default() };
        }
        remembered
    }

    /// Whether it was somewhere else than it should be now.
    fn is_elsewhere(&self, settings: &ReplicaSettings) -> bool {
        self.remembered.as_ref().is_some_and(|remembered| remembered.path != settings.path)
    }
}

/// The newest sequence of each set.
fn newest(original: &Repository, sets: &[SetName]) -> BTreeMap<SetName, Position> {
    let catalogue = original.catalogue();
    let newest = |set: &SetName| catalogue.set(set)?.backups().last()?.position();
    sets.iter().filter_map(|set| Some((set.clone(), newest(set)?))).collect()
}

/// How many backups a replica that cannot be looked at lacks at least: those made since it last had all.
fn unseen(original: &Repository, sets: &[SetName], remembered: Option<&Remembered>) -> usize {
    let catalogue = original.catalogue();
    let since = |set: &SetName| remembered.and_then(|remembered| remembered.newest.get(set).copied());
    let of_set = |set: &SetName| {
        let backups = catalogue.set(set).map_or(&[][..], |index| index.backups()).iter();
        backups.filter(|backup| backup.position().is_some_and(|position| Some(position) > since(set))).count()
    };
    sets.iter().map(of_set).sum()
}
