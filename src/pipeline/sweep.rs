//! Retention and collection, carried out.
//!
//! Hazard: deletion is the one thing that cannot be undone. What goes is decided elsewhere, as a plan with a reason
//! for each backup; here it is only done, in an order that a crash can interrupt anywhere.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sha2::Digest as _;

use crate::core::retention::{self, Candidate, DeleteReason, FreezeReason, Guards, RetentionPlan, Rule};
use crate::core::{BackupId, BackupKind, BackupState, Digest};
use crate::repository::catalogue::{Backup, SetIndex};
use crate::repository::wire::Body;
use crate::repository::{Repository, WriteError};
use crate::settings::SetSettings;

/// The most that is deleted at once: a backup that waits, waits for no more than this.
const BATCH: usize = 64;

/// How long the live files of before a restore are kept.
const PRE_RESTORE_DAYS: u32 = 7;

/// What a sweep of a set did.
#[derive(Debug, Default)]
pub struct Swept {
    /// The backups that were deleted, and why.
    pub deleted: Vec<(BackupId, DeleteReason)>,
    /// Why nothing could be deleted, if so.
    pub frozen: Option<FreezeReason>,
}

/// What a collection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Objects that were deleted.
    pub objects: usize,
    /// Their stored bytes.
    pub freed_bytes: u64,
    /// Whether there is more to collect.
    pub more: bool,
}

/// What retention would do to a set.
pub fn plan(repository: &Repository, set: &SetSettings, guards: &Guards, now: DateTime<Utc>) -> RetentionPlan {
    let catalogue = repository.catalogue();
    let candidates: Vec<Candidate> =
        catalogue.set(&set.name).map_or_else(Vec::new, |index| index.backups().iter().filter_map(candidate).collect());
    let live_suspect = guards.live_suspect || catalogue.set(&set.name).is_some_and(newest_is_suspect);
    let rule =
        Rule { max_backups: set.max_backups, retention_days: set.retention_days, pre_restore_days: PRE_RESTORE_DAYS };
    retention::plan(&candidates, &rule, &Guards { live_suspect, ..*guards }, now)
}

fn newest_is_suspect(index: &SetIndex) -> bool {
    let newest = index.backups().iter().rev().find(|backup| backup.kind() != Some(BackupKind::PreRestore));
    newest.is_some_and(|backup| backup.state() == BackupState::Suspect)
}

fn candidate(backup: &Backup) -> Option<Candidate> {
    let manifest = &backup.content.as_ref()?.manifest;
    let state = backup.state();
    let intact = matches!(state, BackupState::Good | BackupState::Suspect);
    let valid = manifest.body.files.iter().filter(|file| intact && file.fault.is_none());
    Some(Candidate {
        id: backup.id,
        sequence: manifest.envelope.sequence,
        created: manifest.envelope.created,
        kind: manifest.envelope.kind,
        state,
        pinned: backup.pinned,
        version: version(&manifest.body),
        files: valid.map(|file| file.path.clone()).collect::<BTreeSet<_>>(),
    })
}

/// The identity of what a backup holds: the same for the same files with the same content.
fn version(body: &Body) -> Digest {
    let mut hasher = sha2::Sha256::new();
    for file in &body.files {
        hasher.update(file.path.as_bytes());
        hasher.update([0]);
        hasher.update(file.sha256.as_bytes());
    }
    Digest::from_bytes(hasher.finalize().into())
}

/// Deletes what retention lets go of a set, at most a batch of it.
pub fn sweep(
    repository: &Repository,
    set: &SetSettings,
    guards: &Guards,
    now: DateTime<Utc>,
) -> Result<Swept, WriteError> {
    let plan = plan(repository, set, guards, now);
    let deleted: Vec<(BackupId, DeleteReason)> = plan
        .decisions
        .iter()
        .filter_map(|(id, decision)| match decision {
            retention::Decision::Delete(reason) => Some((*id, reason.clone())),
            retention::Decision::Keep(_) => None,
        })
        .take(BATCH)
        .collect();
    let ids: Vec<BackupId> = deleted.iter().map(|(id, _)| *id).collect();
    repository.delete_backups(&set.name, &ids)?;
    Ok(Swept { deleted, frozen: plan.frozen })
}

/// Deletes objects that no manifest refers to, at most a batch of them; none while a manifest is damaged or lost. The
/// caller holds the write lane, so that no backup is being made of them.
pub fn collect(repository: &Repository) -> Result<Collected, WriteError> {
    repository.finish_deletions()?;
    let Some(unreferenced) = repository.catalogue().unreferenced() else { return Ok(Collected::default()) };
    let batch = &unreferenced[..unreferenced.len().min(BATCH)];
    let freed_bytes = repository.delete_objects(batch)?;
    repository.restock_reserve();
    Ok(Collected { objects: batch.len(), freed_bytes, more: unreferenced.len() > batch.len() })
}
