//! Retention and collection, carried out.
//!
//! Hazard: deletion is the one thing that cannot be undone. What goes is decided elsewhere, as a plan with a reason
//! for each backup; here it is only done, in an order that a crash can interrupt anywhere.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::core::garbage::{self, CollectionBlock, GarbagePlan};
use crate::core::retention::{self, Candidate, DeleteReason, Guards, RetentionPlan, Rule};
use crate::core::{BackupId, BackupKind, BackupState, Digest, Position, Sha256};
use crate::repository::catalogue::{Backup, SetIndex};
use crate::repository::pruned::Pruned;
use crate::repository::wire::Manifest;
use crate::repository::{Repository, WriteError};
use crate::settings::SetSettings;
use crate::storage::{Durability, Freed};

/// The most that is deleted at once: a backup that waits, waits for no more than this.
pub const BATCH: usize = 64;

/// What retention would do to a set.
pub fn plan(repository: &Repository, set: &SetSettings, guards: &Guards, now: DateTime<Utc>) -> RetentionPlan {
    let catalogue = repository.catalogue();
    let candidates = catalogue.set(&set.name).map_or_else(Vec::new, candidates);
    let live_suspect = guards.live_suspect || catalogue.set(&set.name).is_some_and(newest_is_suspect);
    retention::plan(&candidates, &rule(set), &Guards { live_suspect, ..*guards }, now)
}

/// How much of a set's past is kept.
fn rule(set: &SetSettings) -> Rule {
    Rule {
        max_backups: set.max_backups,
        retention_days: set.retention_days,
        keep_at_least: set.keep_at_least.versions,
        pre_restore_days: set.pre_restore_days,
        policy: set.policy,
        last_copies_expire: set.kind.is_logs(),
        spacing: TimeDelta::from_std(set.interval).unwrap_or(TimeDelta::days(365)),
    }
}

/// What retention knows of a set's backups, here or in a replica. One whose manifest cannot be read is none of its
/// business.
pub fn candidates(index: &SetIndex) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::with_capacity(index.backups().len());
    for backup in index.backups() {
        let before = candidates.last().map(|candidate| &candidate.files);
        candidates.extend(candidate(backup, &index.pruned, before));
    }
    candidates
}

fn newest_is_suspect(index: &SetIndex) -> bool {
    let newest = index.backups().iter().rev().find(|backup| backup.kind() != Some(BackupKind::PreRestore));
    newest.is_some_and(|backup| backup.state() == BackupState::Suspect)
}

fn candidate(backup: &Backup, pruned: &Pruned, files_before: Option<&Arc<BTreeSet<String>>>) -> Option<Candidate> {
    let manifest = &backup.content.as_ref()?.manifest;
    let state = backup.state();
    let intact = matches!(state, BackupState::Good | BackupState::Suspect);
    let files = if intact { valid_files(manifest) } else { Vec::new() };
    let same = files_before.filter(|before| before.iter().eq(&files));
    Some(Candidate {
        id: backup.id,
        position: manifest.envelope.position(),
        created: manifest.envelope.created,
        clock_suspect: manifest.envelope.clock_suspect,
        superseded: pruned.superseded(manifest.envelope.position()),
        kind: manifest.envelope.kind,
        state,
        pinned: backup.pinned,
        version: version(manifest),
        files: same.cloned().unwrap_or_else(|| Arc::new(files.into_iter().map(Cow::into_owned).collect())),
    })
}

/// What a backup has good copies of. Of one that is encrypted and cannot be opened only the generation is known, which is
/// as good: the newest of a generation has the newest copies of whatever later ones lack. Of one whose lines cannot be read
/// nothing is known: it may have the only copy of something.
fn valid_files(manifest: &Manifest) -> Vec<Cow<'_, str>> {
    match &manifest.body {
        Some(body) => body.kept().filter(|kept| kept.is_valid()).map(|kept| kept.path().as_str().into()).collect(),
        None if manifest.envelope.recipients.is_empty() => {
            vec![format!("{} unread", manifest.envelope.sequence).into()]
        }
        None if manifest.envelope.valid => vec![format!("generation {}", manifest.envelope.generation).into()],
        None => Vec::new(),
    }
}

/// The identity of what a backup holds: the same for the same files with the same content, as far as that can be told.
fn version(manifest: &Manifest) -> Digest {
    let mut hasher = Sha256::new();
    let Some(body) = &manifest.body else {
        manifest.envelope.objects.iter().for_each(|object| hasher.update(object.name.as_bytes()));
        return hasher.finish();
    };
    for kept in body.kept() {
        hasher.update(kept.path().as_bytes());
        hasher.update([0]);
        hasher.update(kept.digest().as_bytes());
    }
    hasher.finish()
}

/// Deletes those of the `approved` backups of a set that retention, asked again, still lets go: at most a batch of them.
/// Returns which, and why; adds to `freed` what is gone by then, also after an error.
pub fn sweep(
    repository: &Repository,
    set: &SetSettings,
    approved: &BTreeSet<BackupId>,
    guards: &Guards,
    now: DateTime<Utc>,
    freed: &mut Freed,
) -> Result<Vec<(BackupId, DeleteReason)>, WriteError> {
    let plan = plan(repository, set, guards, now);
    let approved = plan.deletions().filter(|(id, _)| approved.contains(id));
    let deleted: Vec<(BackupId, DeleteReason)> =
        approved.take(BATCH).map(|(id, reason)| (id, reason.clone())).collect();
    let ids: Vec<BackupId> = deleted.iter().map(|(id, _)| *id).collect();
    repository.delete_superseding(&set.name, &ids, &superseded(repository, set, &plan), freed)?;
    Ok(deleted)
}

/// When each of a set's versions was superseded, by sequence.
fn superseded(repository: &Repository, set: &SetSettings, plan: &RetentionPlan) -> BTreeMap<Position, DateTime<Utc>> {
    let catalogue = repository.catalogue();
    let backups = catalogue.set(&set.name).map_or(&[][..], SetIndex::backups);
    let known = backups.iter().filter_map(|backup| Some((backup.position()?, *plan.superseded.get(&backup.id)?)));
    known.collect()
}

/// What of the guards also forbids to collect.
pub fn block(guards: &Guards) -> Option<CollectionBlock> {
    match guards {
        Guards { recovery: true, .. } => Some(CollectionBlock::Recovery),
        Guards { clock_suspect: true, .. } => Some(CollectionBlock::ClockSuspect),
        Guards { rolled_back: true, .. } => Some(CollectionBlock::RolledBack),
        Guards { .. } => None,
    }
}

const WAITING: &str = "garbage";

/// Plans the collection of what no backup needs, and remembers since when it is garbage. Asked in the write lane: no
/// object is waiting for its manifest then. Deletions that failed half way are finished first, which may add to `freed`.
pub fn garbage(
    repository: &Repository,
    grace: Duration,
    block: Option<CollectionBlock>,
    now: DateTime<Utc>,
    freed: &mut Freed,
) -> Result<GarbagePlan, WriteError> {
    if block.is_none() {
        repository.finish_deletions(freed)?;
    }
    // Lost, the grace begins anew.
    let since: BTreeMap<Digest, DateTime<Utc>> =
        repository.load_state(WAITING).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
    let plan = {
        let catalogue = repository.catalogue();
        let unreferenced = catalogue.unreferenced().map(|(name, _)| name);
        garbage::plan(unreferenced, &since, grace, block.or_else(|| catalogue.collection_block()), now)
    };
    let waiting = plan.waiting();
    if waiting != since {
        repository.save_state(WAITING, &waiting, Durability::Lazy)?;
    }
    Ok(plan)
}

/// Deletes one batch of what was planned, as far as no backup needs it by now. The caller holds the write lane. Adds to
/// `freed` what is gone by then, also after an error.
pub fn collect(repository: &Repository, batch: &[Digest], freed: &mut Freed) -> Result<(), WriteError> {
    repository.delete_garbage(batch, freed)?;
    repository.restock_reserve();
    Ok(())
}
