//! Giving a replica what it lacks, and letting it forget by its own rule.
//!
//! Hazard: a replica that copies damage, or follows its original into loss, is no second copy. Every byte is read
//! through the check of its hash before it is written, and read again after; objects are there before the manifest
//! that needs them; and nothing is ever removed from a replica because the original lacks it.
//!
//! Each call is one small step, planned anew from both catalogues, so that whoever carries them out may stop, or give
//! way to a backup, between any two.

mod rows;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::sweep;
use super::verify::{Damage, damage_of};
use super::{Cancelled, Progress};
use crate::core::replication::{Original, wanted};
use crate::core::retention::{DeleteReason, Guards, Hold};
use crate::core::{BackupId, BackupState, Digest, SetName};
use crate::repository::catalogue::{Backup, Finding, SetIndex};
use crate::repository::object::Encoded;
use crate::repository::wire::Envelope;
use crate::repository::{ReadError, ReadFrom, Repository, StoredFile, WriteError};
use crate::settings::{ReplicaSettings, SetSettings};
use crate::storage::{Freed, StorageError, StorageErrorKind};

pub use rows::{ServiceStatus, tell};

/// The most bytes of objects, and the most objects, that one step writes.
const STEP_BYTES: u64 = 8 << 20;
const STEP_OBJECTS: usize = 64;

/// A replica is given nothing more where less than this is free: the rest is for the original, whose disk it may be.
pub const MIN_FREE_BYTES: u64 = 16 << 20;

/// What a run through one replica remembers from step to step. Losing it costs reading some objects again.
#[derive(Debug, Default)]
pub struct Run {
    /// Objects that were read from the replica in this run, and were right.
    proven: HashSet<Digest>,
    /// Backups that could not be copied because the original could not be read: why.
    pub skipped: BTreeMap<BackupId, String>,
    /// Objects of the replica that somebody was already asked to heal.
    reported: HashSet<Digest>,
    /// Backups that were copied.
    pub copied: usize,
}

/// What is to be done after a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another step.
    Step,
    /// Another step, once this damage to the replica was healed or put aside. No place is told twice in a run.
    Heal(Vec<Damage>),
    /// Nothing: the replica has all it is to have, but for what was skipped.
    Nothing,
}

/// Why a replica could not be given what it lacks.
#[derive(Debug, thiserror::Error)]
pub enum ReplicateError {
    /// Its disk is full.
    #[error(
        "no space left in {location} ({free_bytes} bytes free): free some, or give the replica a retention of its own"
    )]
    NoSpace {
        /// The replica.
        location: String,
        /// What is still free.
        free_bytes: u64,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An object in it is damaged, and could not be healed.
    #[error("what is damaged there cannot be healed: check the disk")]
    Unhealed(#[source] ReadError),
    /// What was just written does not read back.
    #[error("what was written does not read back: check the disk")]
    ReadBack(#[source] ReadError),
    /// The work was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl From<StorageError> for ReplicateError {
    fn from(error: StorageError) -> Self {
        Self::Write(error.into())
    }
}

impl ReplicateError {
    /// Whether the replica cannot be written because its filesystem is read-only, or forbids it.
    pub fn is_read_only(&self) -> bool {
        let kind = match self {
            Self::Write(WriteError::Storage(error)) => Some(error.kind),
            _ => None,
        };
        matches!(kind, Some(StorageErrorKind::ReadOnly | StorageErrorKind::Denied))
    }
}

/// The backups of a set that the replica lacks, newest first.
fn lacking(original: &Repository, replica: &Repository, set: &SetName) -> Vec<Original> {
    let (original, replica) = (original.catalogue(), replica.catalogue());
    let originals: Vec<Original> = original.set(set).map_or_else(Vec::new, |index| {
        let backups = index.backups().iter();
        let known = backups.filter_map(|b| Some(Original { id: b.id, position: b.position()?, state: b.state() }));
        known.collect()
    });
    let index = replica.set(set);
    let has: BTreeSet<BackupId> = index.map_or(&[][..], SetIndex::backups).iter().map(|backup| backup.id).collect();
    wanted(&originals, |id| has.contains(&id), |position| index.is_some_and(|index| index.pruned.contains(position)))
}

/// How many backups the replica lacks.
pub fn lag(original: &Repository, replica: &Repository, sets: &[SetName]) -> usize {
    sets.iter().map(|set| lacking(original, replica, set).len()).sum()
}

/// Takes one step: a batch of objects, or the manifest that they were for. The caller holds the replica's write lane.
pub fn step(
    original: &Repository,
    replica: &Repository,
    sets: &[SetName],
    run: &mut Run,
    now: DateTime<Utc>,
    progress: &Progress,
) -> Result<Next, ReplicateError> {
    progress.advance(0)?;
    let next = sets.iter().find_map(|set| {
        let lacking = lacking(original, replica, set);
        let id = lacking.into_iter().map(|original| original.id).find(|id| !run.skipped.contains_key(id))?;
        original.catalogue().get(id).cloned()
    });
    let Some(backup) = next else { return Ok(Next::Nothing) };
    step_for(original, replica, &backup, run, now)
}

/// The same for one backup, whatever its set.
pub fn step_of(
    original: &Repository,
    replica: &Repository,
    id: BackupId,
    run: &mut Run,
    now: DateTime<Utc>,
    progress: &Progress,
) -> Result<Next, ReplicateError> {
    progress.advance(0)?;
    let backup = original.catalogue().get(id).cloned();
    backup.map_or(Ok(Next::Nothing), |backup| step_for(original, replica, &backup, run, now))
}

fn step_for(
    original: &Repository,
    replica: &Repository,
    backup: &Backup,
    run: &mut Run,
    now: DateTime<Utc>,
) -> Result<Next, ReplicateError> {
    match copy_some(original, replica, backup, run, now) {
        Ok(damages) if damages.is_empty() => Ok(Next::Step),
        Ok(damages) => Ok(Next::Heal(damages)),
        Err(Failed::Original(error)) => {
            let why = error.to_string();
            run.skipped.insert(backup.id, why);
            Ok(Next::Step)
        }
        Err(Failed::Replica(error)) if error_is_no_space(&error) => Err(no_space(replica)),
        Err(Failed::Replica(error)) => Err(error),
    }
}

/// Which of the two failed.
enum Failed {
    Original(ReadError),
    Replica(ReplicateError),
}

impl<E: Into<ReplicateError>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Replica(error.into())
    }
}

fn error_is_no_space(error: &ReplicateError) -> bool {
    matches!(error, ReplicateError::Write(error) if error.is_no_space())
}

fn no_space(replica: &Repository) -> ReplicateError {
    ReplicateError::NoSpace { location: replica.location(), free_bytes: replica.free_bytes().unwrap_or(0) }
}

/// Copies some of the objects that the backup needs; if none is left to copy, its manifest. Nothing, if some that are
/// there are damaged: returns which.
fn copy_some(
    original: &Repository,
    replica: &Repository,
    backup: &Backup,
    run: &mut Run,
    now: DateTime<Utc>,
) -> Result<Vec<Damage>, Failed> {
    let Some(envelope) = backup.content.as_ref().map(|content| &content.manifest.envelope) else {
        return Ok(Vec::new());
    };
    if replica.free_bytes()? < MIN_FREE_BYTES {
        return Err(no_space(replica).into());
    }
    let Batch { lacking, damaged } = next_batch(replica, envelope, run)?;
    if !damaged.is_empty() {
        return Ok(damaged);
    }
    if !lacking.is_empty() {
        copy_objects(original, replica, &lacking, run)?;
    } else if envelope.objects.iter().all(|object| run.proven.contains(&object.name)) {
        copy_manifest(original, replica, backup, run, now)?;
    }
    Ok(Vec::new())
}

/// Objects that a backup needs.
#[derive(Default)]
struct Batch {
    /// These are not in the replica.
    lacking: Vec<Digest>,
    /// These are, or were, and are not what they must be.
    damaged: Vec<Damage>,
}

/// The next objects of a backup that the replica lacks. At most a step's worth is looked at: those that are there are
/// read here, and proven if they are right.
fn next_batch(replica: &Repository, envelope: &Envelope, run: &mut Run) -> Result<Batch, ReplicateError> {
    let (mut batch, mut bytes) = (Batch::default(), 0);
    let unproven = envelope.objects.iter().filter(|object| !run.proven.contains(&object.name));
    let looked_at: Vec<_> = unproven
        .take(STEP_OBJECTS)
        .take_while(|object| {
            let fits = bytes < STEP_BYTES;
            bytes += object.stored_bytes;
            fits
        })
        .collect();
    for object in looked_at {
        if replica.catalogue().object(&object.name).is_none() {
            batch.lacking.push(object.name);
            continue;
        }
        match replica.read_object(&object.name, ReadFrom::Disk) {
            Ok(_) => _ = run.proven.insert(object.name),
            Err(ReadError::Unreadable(_, error)) => return Err(error.into()),
            Err(error) if run.reported.contains(&object.name) => return Err(ReplicateError::Unhealed(error)),
            Err(error) => {
                run.reported.insert(object.name);
                batch.damaged.extend(damage_of(error));
            }
        }
    }
    Ok(batch)
}

fn copy_objects(original: &Repository, replica: &Repository, names: &[Digest], run: &mut Run) -> Result<(), Failed> {
    let mut staged = HashMap::with_capacity(names.len());
    let copied = names.iter().try_for_each(|name| {
        let stored = original.read_object(name, ReadFrom::Anywhere).map_err(Failed::Original)?;
        let stored_bytes = stored.len() as u64;
        staged.insert(*name, (replica.stage(&Encoded { name: *name, stored })?, stored_bytes));
        Ok(())
    });
    if let Err(failed) = copied {
        replica.discard(staged.into_values().map(|(staged, _)| staged).collect());
        return Err(failed);
    }
    replica.publish_objects(staged)?;
    for name in names {
        replica.read_object(name, ReadFrom::Disk).map_err(ReplicateError::ReadBack)?;
        run.proven.insert(*name);
    }
    Ok(())
}

/// The manifest, byte for byte; from here on the backup is in the replica.
fn copy_manifest(
    original: &Repository,
    replica: &Repository,
    backup: &Backup,
    run: &mut Run,
    now: DateTime<Utc>,
) -> Result<(), Failed> {
    let path = StoredFile::Manifest(backup.set.clone(), backup.id);
    let bytes = original.read_stored(&path, ReadFrom::Anywhere).map_err(Failed::Original)?;
    replica.put_back(&path, &bytes)?;
    replica.read_stored(&path, ReadFrom::Disk).map_err(ReplicateError::ReadBack)?;
    // Every object was just read from the replica, and was right.
    replica.record_finding(backup.id, Finding::Intact { checked: now })?;
    run.copied += 1;
    Ok(())
}

/// Gives the replica what goes with its backups: pins, and what was deleted on purpose. A pin is taken away only where
/// that was done on purpose here: one that is merely absent may have been lost.
pub fn settle(original: &Repository, replica: &Repository, sets: &[SetName]) -> Result<(), ReplicateError> {
    let timelines = original.catalogue().timelines().entries().to_vec();
    if !timelines.is_empty() {
        replica.write_timelines(timelines)?;
    }
    for set in sets {
        let (pinned, unpinned, pruned) = {
            let catalogue = original.catalogue();
            let Some(index) = catalogue.set(set) else { continue };
            let pinned: BTreeSet<BackupId> = index.backups().iter().filter(|b| b.pinned).map(|b| b.id).collect();
            (pinned, index.listed_pins.unpinned.clone(), index.pruned.clone())
        };
        let changes: BTreeMap<BackupId, bool> = {
            let catalogue = replica.catalogue();
            let backups = catalogue.set(set).map_or(&[][..], SetIndex::backups).iter();
            let change = |backup: &Backup| match pinned.contains(&backup.id) {
                true => (!backup.pinned).then_some((backup.id, true)),
                false => (backup.pinned && unpinned.contains(&backup.id)).then_some((backup.id, false)),
            };
            backups.filter_map(change).collect()
        };
        replica.change_pins(set, &changes)?;
        replica.merge_pruned(set, &pruned)?;
    }
    Ok(())
}

/// What the replica's own retention would let go of.
#[derive(Debug, Default)]
pub struct Due {
    /// The backups, and why.
    pub deletions: Vec<(BackupId, DeleteReason)>,
    /// Why that waits for a person, if it does. What the original let go of on purpose was seen by one there.
    pub hold: Option<Hold>,
}

/// What the replica's own retention would let go of in a set; nothing of a set of which the original has lost anything,
/// whose cleanup there waits for a person, or that the replica has not all of yet.
pub fn due_for_deletion(
    original: &Repository,
    replica: &Repository,
    settings: &ReplicaSettings,
    set: &SetSettings,
    guards: &Guards,
    now: DateTime<Utc>,
) -> Due {
    if is_hurt(original, replica, &set.name) || !lacking(original, replica, &set.name).is_empty() {
        return Due::default();
    }
    if sweep::plan(original, set, guards, now).hold(true).is_some() {
        return Due::default();
    }
    let plan = sweep::plan(replica, &with_rule(settings, set), guards, now);
    let deletions: Vec<_> = plan.deletions().map(|(id, reason)| (id, reason.clone())).collect();
    let catalogue = original.catalogue();
    let hold = plan.hold_but_for(|id| catalogue.get(id).is_none());
    Due { deletions, hold }
}

/// Deletes a batch of what [`due_for_deletion`] tells; returns what went.
pub fn tidy(
    original: &Repository,
    replica: &Repository,
    settings: &ReplicaSettings,
    set: &SetSettings,
    guards: &Guards,
    now: DateTime<Utc>,
    freed: &mut Freed,
) -> Result<Vec<(BackupId, DeleteReason)>, ReplicateError> {
    let due = due_for_deletion(original, replica, settings, set, guards, now).deletions.into_iter();
    let due: BTreeSet<BackupId> = due.map(|(id, _)| id).collect();
    if due.is_empty() {
        return Ok(Vec::new());
    }
    Ok(sweep::sweep(replica, &with_rule(settings, set), &due, guards, now, freed)?)
}

/// Deletes a batch of the replica's objects that nothing refers to; whether there were any. Not while something is being
/// copied: what waits for its manifest is unreferenced, too. Adds to `freed` what is gone by then, also after an error.
pub fn collect(replica: &Repository, freed: &mut Freed) -> Result<bool, ReplicateError> {
    replica.finish_deletions(freed)?;
    let batch: Vec<Digest> = {
        let catalogue = replica.catalogue();
        if catalogue.collection_block().is_some() {
            // A manifest that cannot be read, or was lost, may need any of them.
            return Ok(false);
        }
        catalogue.unreferenced().map(|(name, _)| name).take(sweep::BATCH).collect()
    };
    sweep::collect(replica, &batch, freed)?;
    Ok(!batch.is_empty())
}

fn with_rule(settings: &ReplicaSettings, set: &SetSettings) -> SetSettings {
    let of_set = settings.retention_days.map_or_else(|| set.clone(), |days| set.with_retention_days(days));
    SetSettings { max_backups: settings.max_backups.unwrap_or(set.max_backups), ..of_set }
}

/// Whether the original has lost backups of this set, or has damaged ones, or knows of nothing as new as the replica has:
/// what the replica holds may be all that is left.
fn is_hurt(original: &Repository, replica: &Repository, set: &SetName) -> bool {
    let newest_copy = replica.catalogue().set(set).and_then(|index| index.backups().last()?.position());
    let catalogue = original.catalogue();
    let Some(index) = catalogue.set(set) else { return newest_copy.is_some() };
    let newest = index.backups().last().and_then(Backup::position).max(index.pruned.last());
    newest < newest_copy
        || !index.lost(1).is_empty()
        || index.backups().iter().any(|backup| backup.state() == BackupState::Damaged)
}
