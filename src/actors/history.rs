//! Whether the history here is the newest, looked at before anything is added to it; and whether somebody has seen that it
//! was not.
//!
//! Hazard: a repository that was put back is told from one that is merely older by what others know: the audit log, and the
//! replicas. One that cannot be reached holds nothing up: it is asked when it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::herald::{About, Herald};
use super::problems::{self, chain};
use super::service::Caller;
use super::trail;
use super::world::World;
use crate::api::{
    AuditQuery, DepartureDocument, MAX_RECORDS, Problem, ProblemKind, TimelineDocument, TimelinesDocument,
};
use crate::audit::Record;
use crate::core::timeline::{DepartureReason, Elsewhere, Here, Told};
use crate::core::{BackupId, Position, SetName, Timeline};
use crate::pipeline::history;
use crate::repository::timelines::{Departure, DeparturePoint, TimelineEntry};
use crate::repository::wire::AuditHead;
use crate::repository::{Repository, WriteError, layout};
use crate::storage::{Durability, StorageError};
use crate::telemetry::Event;

const TIMELINE: &str = "timeline";

/// How long a start waits for the replicas to be looked at.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most backups that one record names.
const MAX_NAMED: usize = 256;

/// What is remembered of the timelines. Lost, each that departs from another waits for a person again.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct SeenDocument {
    /// The newest that somebody has seen.
    accepted: Timeline,
}

/// The newest timeline that somebody has seen.
#[derive(Debug)]
pub struct Seen(Mutex<SeenDocument>);

impl Seen {
    /// As the repository remembers it.
    pub fn recall(repository: &Repository) -> Self {
        let known = repository.load_state(TIMELINE).ok().and_then(|loaded| loaded.value());
        Self(Mutex::new(known.unwrap_or_default()))
    }

    fn accepted(&self) -> Timeline {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).accepted
    }

    /// The timeline on which backups are made, if nobody has seen yet that it departed from another.
    pub fn unseen(&self, repository: &Repository) -> Option<Timeline> {
        let newest = repository.catalogue().timeline();
        (newest > self.accepted()).then_some(newest)
    }

    fn accept(&self, repository: &Repository, timeline: Timeline) -> Result<(), StorageError> {
        let document = SeenDocument { accepted: timeline };
        // Durable before it is believed: from then on it may cost backups.
        repository.save_state(TIMELINE, &document, Durability::Durable)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = document;
        Ok(())
    }
}

/// Why a new timeline begins, and what is known of the one that it departs from.
struct Cause {
    reason: DepartureReason,
    elsewhere: Elsewhere,
    known: Vec<TimelineEntry>,
    missing: Vec<Told>,
}

/// Looks, before anything is added, whether others know a newer history than is here; if so, a new one begins.
pub(super) async fn take_stock(world: &Arc<World>, herald: &Herald) {
    if world.repository.is_vacant() {
        return;
    }
    let looker = world.clone();
    let look = tokio::task::spawn_blocking(move || looker.replicas.look_to_compare(&looker));
    // Those that hang are asked when they come.
    let replicas = match tokio::time::timeout(PATIENCE, look).await {
        Ok(Ok(replicas)) => replicas,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let judge = world.clone();
    let begun = tokio::task::spawn_blocking(move || {
        let replicas: Vec<&Repository> = replicas.iter().collect();
        let log = Log::read(&judge);
        judge_history(&judge, &log, &replicas).map(|cause| begin(&judge, cause)).transpose()
    });
    tell(world, herald, begun.await).await;
}

/// The same of one replica that came later. The caller holds the write lane.
pub(super) fn take_stock_of(world: &World, replica: &Repository) -> Result<Option<Event>, WriteError> {
    let cause = judge_history(world, &Log::default(), &[replica]);
    cause.map(|cause| begin(world, cause)).transpose()
}

/// What of another history a replica has and the repository, which departed from it, lacks.
pub(super) fn lacking(world: &World, replica: &Repository) -> BTreeSet<BackupId> {
    history::left_behind(&world.repository, replica).iter().map(|told| told.id).collect()
}

/// Where the manifests of these backups are.
pub(super) fn places(world: &World, ids: &BTreeSet<BackupId>) -> Vec<String> {
    let catalogue = world.repository.catalogue();
    let there = catalogue.backups().filter(|backup| ids.contains(&backup.id));
    there.map(|backup| layout::manifest(&backup.set, backup.id).to_string()).collect()
}

/// Begins a timeline of its own for one who was found to be cloned, if that is to be done. The caller holds the write lane.
pub(super) fn depart_from_clone(world: &World) -> Result<Option<Event>, WriteError> {
    let Some(elsewhere) = world.identity.cloned() else { return Ok(None) };
    let known = world.repository.catalogue().timelines().entries().to_vec();
    let cause = Cause { reason: DepartureReason::Cloned, elsewhere, known, missing: Vec::new() };
    let begun = begin(world, cause)?;
    world.identity.departed();
    Ok(Some(begun))
}

async fn tell(
    world: &Arc<World>,
    herald: &Herald,
    begun: Result<Result<Option<Event>, WriteError>, tokio::task::JoinError>,
) {
    match begun {
        Ok(Ok(None)) => {}
        Ok(Ok(Some(event))) => {
            let _ = herald.tell(event, &About::caller(&Caller::component("supervisor"))).await;
            world.reassess();
        }
        Ok(Err(error)) => tracing::error!("a new timeline was not begun: {}", chain(&error)),
        Err(panic) => tracing::error!("whether the history here is the newest could not be found out: {panic}"),
    }
}

fn judge_history(world: &World, log: &Log, replicas: &[&Repository]) -> Option<Cause> {
    let repository = &world.repository;
    let here = history::here(repository);
    let mut elsewhere = Elsewhere { told: log.told.clone(), ..Elsewhere::default() };
    let mut known = repository.catalogue().timelines().entries().to_vec();
    for replica in replicas {
        let theirs = history::known_to(replica);
        elsewhere.told.extend(theirs.told);
        elsewhere.timeline = elsewhere.timeline.max(theirs.timeline);
        for (set, highest) in theirs.highest {
            let known = elsewhere.highest.entry(set).or_default();
            *known = highest.max(*known);
        }
        known = history::with_those_of(&known, replica.catalogue().timelines().entries());
    }
    let was_pruned = history::was_pruned(repository, replicas);
    let behind = here.behind(&elsewhere.told, |told| log.let_go.contains(&told.id) || was_pruned(told));
    let missing: Vec<Told> = behind.into_iter().cloned().collect();
    (!missing.is_empty()).then_some(Cause { reason: DepartureReason::RolledBack, elsewhere, known, missing })
}

/// Begins a new timeline; what is to be told of it.
fn begin(world: &World, cause: Cause) -> Result<Event, WriteError> {
    let Cause { reason, elsewhere, known, missing } = cause;
    let repository = &world.repository;
    let here: Here = history::here(repository);
    let timeline = here.next_timeline(&elsewhere);
    let point = |(set, point): (SetName, crate::core::timeline::Point)| {
        (set, DeparturePoint { last: point.last, above: point.above })
    };
    let sets: BTreeMap<SetName, DeparturePoint> = here.departure(&elsewhere).into_iter().map(point).collect();
    let audit_head: Option<AuditHead> = world.audit().anchor();
    let departure = Departure { reason, departs_from: here.timeline, audit_head, sets: sets.clone() };
    let writer = world.identity.writer(repository)?;
    repository.begin_timeline(timeline, &writer, known, departure, world.clock.now())?;
    // What is live may be the only copy of what was lost, and is newer than what comes back.
    world.settings().sets.iter().for_each(|set| world.want_backup(&set.name));
    let mut named: BTreeMap<SetName, BTreeSet<BackupId>> = BTreeMap::new();
    for told in missing.iter().take(MAX_NAMED) {
        named.entry(told.set.clone()).or_default().insert(told.id);
    }
    let sets = sets.into_iter().map(|(set, point)| (set, (point.last, point.above))).collect();
    Ok(Event::TimelineBegan { timeline, reason, departs_from: here.timeline, sets, missing: named })
}

/// What the audit log knows of the backups of this repository.
#[derive(Debug, Default)]
struct Log {
    /// The backups that it says were made.
    told: Vec<Told>,
    /// Those that were let go of on purpose.
    let_go: BTreeSet<BackupId>,
}

impl Log {
    /// Reads what is newer than the newest backup here: what is missing was made after that.
    fn read(world: &World) -> Self {
        let now = world.clock.now();
        let since = newest(&world.repository, now);
        let made = records(world, "BackupCompleted", since);
        let told = made.iter().filter_map(|record| told(record, world.repository.id())).collect();
        let going = records(world, "CleanupStarted", since);
        let given_up = records(world, "Forgotten", since);
        let let_go = going.iter().flat_map(planned).chain(given_up.iter().filter_map(|record| record.backup_id));
        Self { told, let_go: let_go.collect() }
    }
}

/// When the newest backup was made that can have been made by `now`.
fn newest(repository: &Repository, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let catalogue = repository.catalogue();
    catalogue.backups().map(|backup| backup.created()).filter(|created| *created <= now).max()
}

/// A log that cannot be read tells nothing, and is told of elsewhere.
fn records(world: &World, event: &str, since: Option<DateTime<Utc>>) -> Vec<Record> {
    let query = AuditQuery { event: Some(event.to_owned()), since, limit: Some(MAX_RECORDS), ..AuditQuery::default() };
    trail::page(&world.audit_path(), Some(&world.repository), &query).map_or_else(|_| Vec::new(), |page| page.records)
}

/// The backup of this repository that a record says was made.
fn told(record: &Record, repository: &str) -> Option<Told> {
    let said = |key: &str| record.details.get(key).and_then(|value| value.as_str());
    let position: Position = said("position")?.parse().ok()?;
    let is_ours = said("repository_id") == Some(repository);
    is_ours.then_some(Told { set: record.set.clone()?, id: record.backup_id?, position })
}

/// What a cleanup here, and not in a replica, was to delete.
fn planned(record: &Record) -> Vec<BackupId> {
    let is_here = record.details.get("replica").is_none_or(|replica| replica.is_null());
    let planned = record.details.get("planned").and_then(|planned| planned.as_array()).filter(|_| is_here);
    let ids = planned.into_iter().flatten().filter_map(|one| one.get("backup_id")?.as_str()?.parse().ok());
    ids.collect()
}

/// The timelines, for a person.
pub(super) fn document(world: &World) -> TimelinesDocument {
    let (entries, newest) = {
        let catalogue = world.repository.catalogue();
        (catalogue.timelines().entries().to_vec(), catalogue.timeline())
    };
    let departure = |departure: Departure| DepartureDocument {
        reason: departure.reason.code().to_owned(),
        departs_from: departure.departs_from.0,
        sets: departure.sets.into_iter().map(|(set, point)| (set, (point.last.0, point.above.0))).collect(),
    };
    let one = |entry: TimelineEntry| TimelineDocument {
        timeline: entry.timeline.0,
        writer: entry.writer,
        host: entry.host,
        began: entry.began,
        departure: entry.departure.map(departure),
    };
    TimelinesDocument {
        timeline: newest.0,
        held: world.seen.unseen(&world.repository).is_some(),
        timelines: entries.into_iter().map(one).collect(),
    }
}

/// What a person should know of a timeline that nobody has seen.
pub(super) fn concern(world: &World) -> Option<String> {
    let unseen = world.seen.unseen(&world.repository)?;
    let entry = world.repository.catalogue().timelines().entries().iter().find(|e| e.timeline == unseen).cloned();
    let why = entry.and_then(|entry| Some((entry.began, entry.departure?.reason))).map_or_else(
        || "its beginning is not on record here".to_owned(),
        |(began, reason)| {
            format!("{}, as was noticed at {} UTC", reason.description(), began.format("%Y-%m-%d %H:%M:%S"))
        },
    );
    Some(format!(
        "timeline {}: {why}; new backups are made, nothing is deleted: see `fiovana-app timeline`, then \
         `fiovana-app timeline accept`",
        unseen.0
    ))
}

/// Takes note that somebody has seen the newest timeline.
pub(super) async fn accept(world: &Arc<World>, herald: &Herald, caller: &Caller) -> Result<TimelinesDocument, Problem> {
    if let Some(unseen) = world.seen.unseen(&world.repository) {
        let _operation = world.begin_operation();
        let about = About::caller(caller);
        if herald.tell(Event::TimelineAccepted { timeline: unseen }, &about).await.is_err() {
            return Err(Problem::new(ProblemKind::Internal, "the audit log cannot be written: nothing was accepted"));
        }
        let pass = world.lane.enter().await.map_err(|_| problems::stopping())?;
        let accepting = world.clone();
        let accepted = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            accepting.seen.accept(&accepting.repository, unseen)
        });
        match accepted.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Problem::new(ProblemKind::Internal, chain(&error))),
            Err(panic) => return Err(Problem::new(ProblemKind::Internal, panic.to_string())),
        }
        world.reassess();
    }
    Ok(document(world))
}
