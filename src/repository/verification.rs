//! What is remembered of backups: which were read, when, and what was found; which there were, and which were pinned.
//!
//! Hazard: a finding that outlives what it was about would call a changed backup good, and a backup whose manifest is
//! gone is missed by nobody who reads only manifests. A finding is bound to the manifest's full hash. The record is not
//! synced: what is lost of it is found again by reading.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::catalogue::{Backup, Catalogue, Finding, Remembered, SetIndex};
use super::encryption::Keys;
use super::{Repository, WriteError, layout, state};
use crate::core::{BackupId, Digest, Sequence, SetName};
use crate::storage::{Durability, Storage, StorageError};

const NAME: &str = "verification";

#[derive(Debug, Default, Serialize, Deserialize)]
struct VerificationDocument {
    /// The highest sequence that was ever given: a loss of the newest backup must not go unseen.
    highest: Option<Sequence>,
    /// Whether there is a list of pruned sequences: one that is gone must not look like one that never was.
    #[serde(default)]
    has_pruned: bool,
    /// Backups whose pin was taken away: in a copy that was not there then, it still is.
    #[serde(default)]
    unpinned: BTreeSet<BackupId>,
    backups: BTreeMap<BackupId, FindingRecord>,
}

/// What is remembered of a backup, whatever becomes of its manifest and its pin.
#[derive(Debug, Serialize, Deserialize)]
struct FindingRecord {
    manifest: Digest,
    #[serde(default)]
    sequence: Option<Sequence>,
    #[serde(default)]
    pinned: bool,
    #[serde(flatten)]
    outcome: Option<Outcome>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Intact { checked: DateTime<Utc> },
    Damaged { what: String },
}

impl Repository {
    /// Writes down what is known of a set's backups.
    pub(super) fn save_verification(&self, set: &SetName, durability: Durability) -> Result<(), WriteError> {
        let document = {
            let catalogue = self.catalogue();
            let Some(index) = catalogue.set(set) else { return Ok(()) };
            let backups = index.backups().iter().filter_map(|backup| Some((backup.id, record(backup)?))).collect();
            let newest = index.backups().last().and_then(Backup::sequence);
            let has_pruned = index.pruned_in_doubt || index.pruned.highest().is_some();
            let (highest, unpinned) = (index.highest.max(newest), index.unpinned.clone());
            VerificationDocument { highest, has_pruned, unpinned, backups }
        };
        Ok(self.save_set_state(NAME, set, &document, durability)?)
    }
}

fn record(backup: &Backup) -> Option<FindingRecord> {
    let outcome = match &backup.finding {
        Finding::Intact { checked } => Some(Outcome::Intact { checked: *checked }),
        Finding::Damaged(what) => Some(Outcome::Damaged { what: what.clone() }),
        Finding::Unverified | Finding::Unreadable(_) => None,
    };
    Some(FindingRecord { manifest: backup.digest()?, sequence: backup.sequence(), pinned: backup.pinned, outcome })
}

/// The sets of which something is remembered: one whose manifests are gone altogether, and their directory with them, is
/// known by nothing else.
pub(super) fn remembered_sets(storage: &dyn Storage) -> Result<BTreeSet<SetName>, StorageError> {
    let files = storage.list(&layout::top(layout::STATE))?;
    Ok(files.iter().filter_map(|file| layout::set_of_state(NAME, &file.name)).collect())
}

/// Applies what is remembered of a set to the catalogue; returns what is wrong with the record, if anything is.
pub(super) fn recall(storage: &dyn Storage, set: &SetName, catalogue: &mut Catalogue) -> Option<String> {
    let path = layout::set_state(NAME, set);
    let document = match state::load::<VerificationDocument>(storage, &Keys::default(), &path) {
        Ok(state::Loaded::Value(document)) => document,
        Ok(state::Loaded::Absent) => return None,
        Ok(state::Loaded::Damaged(fault)) => return Some(format!("{path}: {fault}")),
        Err(error) => return Some(format!("{error}: {}", error.source)),
    };
    let index = catalogue.set_mut(set);
    (index.highest, index.unpinned) = (document.highest, document.unpinned);
    index.pruned_in_doubt |= document.has_pruned && index.pruned.highest().is_none();
    for (id, record) in document.backups {
        match catalogue.get(id) {
            Some(backup) if backup.content.is_some() => catalogue.update(id, |backup| apply(backup, record)),
            there => {
                let there = there.cloned();
                bring_to_mind(catalogue.set_mut(set), set, id, there, &record);
            }
        }
    }
    None
}

fn apply(backup: &mut Backup, record: FindingRecord) {
    // A pin that was not taken away and is not there was lost; a scrub puts it back.
    backup.pinned |= record.pinned;
    let same = backup.digest() == Some(record.manifest);
    if same && backup.finding == Finding::Unverified {
        backup.finding = match record.outcome {
            Some(Outcome::Intact { checked }) => Finding::Intact { checked },
            Some(Outcome::Damaged { what }) => Finding::Damaged(what),
            None => Finding::Unverified,
        };
    }
}

/// A backup that was there, and whose manifest is absent or cannot be read, is still listed, in its place.
fn bring_to_mind(index: &mut SetIndex, set: &SetName, id: BackupId, there: Option<Backup>, record: &FindingRecord) {
    let Some(sequence) = record.sequence else { return };
    // Deleted on purpose, and the record is older than that.
    if there.is_none() && index.pruned.contains(sequence) {
        return;
    }
    let remembered = Some(Remembered { digest: record.manifest, sequence });
    let absent = || Finding::Damaged(format!("{} is absent", layout::manifest(set, id)));
    let (pinned, finding) = there.map_or_else(|| (false, absent()), |backup| (backup.pinned, backup.finding));
    let backup = Backup { id, set: set.clone(), pinned: pinned || record.pinned, content: None, finding, remembered };
    index.remove(id);
    index.insert(backup);
}
