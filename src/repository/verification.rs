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
use super::generations::Generation;
use super::{Repository, WriteError, layout, state};
use crate::core::{BackupId, Digest, Position, Sequence, SetName, Timeline};
use crate::storage::{Durability, Storage, StorageError};

const NAME: &str = layout::VERIFICATION;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VerificationDocument {
    /// The highest sequence that was ever given on the first timeline: a loss of the newest backup must not go unseen.
    highest: Option<Sequence>,
    /// The same of later timelines.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    highest_later: BTreeMap<Timeline, Sequence>,
    /// Whether there is a list of pruned sequences: one that is gone must not look like one that never was.
    #[serde(default)]
    has_pruned: bool,
    /// The generation that the list of pruned sequences had: an older one is not all of it.
    #[serde(default)]
    pruned_generation: Option<Generation>,
    /// The same of the list of pins, which is known here, too.
    #[serde(default)]
    pins_generation: Option<Generation>,
    /// Backups whose pin was taken away: in a copy that was not there then, it still is.
    #[serde(default)]
    unpinned: BTreeSet<BackupId>,
    backups: BTreeMap<BackupId, FindingRecord>,
}

/// What is remembered of a backup, whatever becomes of its manifest and its pin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FindingRecord {
    manifest: Digest,
    #[serde(default)]
    timeline: Timeline,
    #[serde(default)]
    sequence: Option<Sequence>,
    #[serde(default)]
    pinned: bool,
    #[serde(flatten)]
    outcome: Option<Outcome>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Intact { checked: DateTime<Utc> },
    Damaged { what: String },
}

impl Repository {
    /// Writes down what is known of a set's backups.
    pub(super) fn save_verification(&self, set: &SetName, durability: Durability) -> Result<(), WriteError> {
        let Some(document) = self.verification_document(set) else { return Ok(()) };
        Ok(self.save_set_state(NAME, set, &document, durability)?)
    }

    /// What is known of a set's backups.
    pub(super) fn verification_document(&self, set: &SetName) -> Option<VerificationDocument> {
        let catalogue = self.catalogue();
        let index = catalogue.set(set)?;
        let backups = index.backups().iter().filter_map(|backup| Some((backup.id, record(backup)?))).collect();
        let has_pruned = index.pruned_in_doubt || index.pruned.last().is_some();
        let mut highest_later = index.highest.clone();
        for position in index.backups().iter().filter_map(Backup::position) {
            let highest = highest_later.entry(position.timeline).or_insert(position.sequence);
            *highest = position.sequence.max(*highest);
        }
        let highest = highest_later.remove(&Timeline::FIRST);
        Some(VerificationDocument {
            highest,
            highest_later,
            has_pruned,
            pruned_generation: index.pruned_row.expected(),
            pins_generation: index.pins_row.expected(),
            unpinned: index.listed_pins.unpinned.clone(),
            backups,
        })
    }
}

impl VerificationDocument {
    /// When a backup was last read and right.
    pub(super) fn newest_check(&self) -> Option<DateTime<Utc>> {
        self.backups.values().filter_map(FindingRecord::checked).max()
    }

    /// Whether both say the same but for when backups were read.
    pub(super) fn differs_in_times_at_most(&self, other: &Self) -> bool {
        let timeless = |document: &Self| {
            let mut document = document.clone();
            for record in document.backups.values_mut() {
                if let Some(Outcome::Intact { checked }) = &mut record.outcome {
                    *checked = DateTime::UNIX_EPOCH;
                }
            }
            document
        };
        timeless(self) == timeless(other)
    }

    /// What of it counts where it comes from a row, which anybody may have written who could write there: which backups
    /// there were, and which were pinned. That one was read and right is found out again by reading it; a pin that was
    /// taken away is told by the list of pins alone.
    fn into_told(mut self) -> Self {
        self.backups.values_mut().for_each(|record| record.outcome = None);
        Self { unpinned: BTreeSet::new(), ..self }
    }
}

impl FindingRecord {
    const fn checked(&self) -> Option<DateTime<Utc>> {
        match self.outcome {
            Some(Outcome::Intact { checked }) => Some(checked),
            _ => None,
        }
    }
}

fn record(backup: &Backup) -> Option<FindingRecord> {
    let outcome = match &backup.finding {
        Finding::Intact { checked } => Some(Outcome::Intact { checked: *checked }),
        Finding::Damaged(what) => Some(Outcome::Damaged { what: what.clone() }),
        Finding::Unverified | Finding::Unreadable(_) => None,
    };
    let position = backup.position();
    Some(FindingRecord {
        manifest: backup.digest()?,
        timeline: position.unwrap_or(Position::first(0)).timeline,
        sequence: position.map(|position| position.sequence),
        pinned: backup.pinned,
        outcome,
    })
}

/// The sets of which something is remembered: one whose manifests are gone altogether, and their directory with them, is
/// known by nothing else.
pub(super) fn remembered_sets(storage: &dyn Storage) -> Result<BTreeSet<SetName>, StorageError> {
    let files = storage.list(&layout::top(layout::STATE))?;
    Ok(files.iter().filter_map(|file| layout::set_of_state(NAME, &file.name)).collect())
}

/// Applies what is remembered of a set to the catalogue, or, where that is lost, what a row told; returns what is wrong with
/// the record, if anything is.
pub(super) fn recall(
    storage: &dyn Storage,
    set: &SetName,
    told: Option<VerificationDocument>,
    catalogue: &mut Catalogue,
) -> Option<String> {
    let path = layout::set_state(NAME, set);
    let fault = match state::load::<VerificationDocument>(storage, &Keys::default(), &path) {
        Ok(state::Loaded::Value(document)) => {
            apply_all(set, document, Origin::State, catalogue);
            return None;
        }
        Ok(state::Loaded::Absent) => None,
        Ok(state::Loaded::Damaged(fault)) => Some(format!("{path}: {fault}")),
        Err(error) => Some(format!("{error}: {}", error.source)),
    };
    if let Some(told) = told {
        apply_all(set, told.into_told(), Origin::Row, catalogue);
    }
    fault
}

/// Where a record was kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// In the state file.
    State,
    /// In the row of a replica.
    Row,
}

fn apply_all(set: &SetName, document: VerificationDocument, origin: Origin, catalogue: &mut Catalogue) {
    let index = catalogue.set_mut(set);
    index.highest = document.highest_later;
    index.highest.extend(document.highest.map(|highest| (Timeline::FIRST, highest)));
    index.pruned_in_doubt |= document.has_pruned && index.pruned.last().is_none();
    if let Some(remembered) =
        document.pruned_generation.filter(|remembered| Some(*remembered) > index.pruned_row.expected())
    {
        index.pruned_row.miss(remembered);
        index.pruned_in_doubt = true;
    }
    if let Some(remembered) =
        document.pins_generation.filter(|remembered| Some(*remembered) > index.pins_row.expected())
    {
        index.pins_row.miss(remembered);
        index.pins_in_doubt = true;
    }
    let is_in_memory = origin == Origin::State
        && (!index.pins_row.is_begun() || index.pins_in_doubt && document.pins_generation == index.pins_row.expected());
    if is_in_memory {
        (index.listed_pins.unpinned, index.pins_in_doubt) = (document.unpinned, false);
        let of_format_1 = index.pins_of_format_1.clone();
        index.backups_mut().iter_mut().for_each(|backup| backup.pinned = of_format_1.contains(&backup.id));
    }
    let are_known = index.pins_row.is_begun() && !index.pins_in_doubt && !is_in_memory;
    let listed = are_known.then(|| index.listed_pins.pinned.clone());
    for (id, mut record) in document.backups {
        // A pin that is not there and was not taken away was lost; a scrub puts it back.
        if let Some(listed) = &listed {
            record.pinned = listed.contains(&id);
        }
        match catalogue.get(id) {
            Some(backup) if backup.content.is_some() => catalogue.update(id, |backup| apply(backup, record)),
            there => {
                let there = there.cloned();
                bring_to_mind(catalogue.set_mut(set), set, id, there, &record);
            }
        }
    }
}

fn apply(backup: &mut Backup, record: FindingRecord) {
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
    let position = Position { timeline: record.timeline, sequence };
    // Deleted on purpose, and the record is older than that.
    if there.is_none() && index.pruned.contains(position) {
        return;
    }
    let remembered = Some(Remembered { digest: record.manifest, position });
    let absent = || Finding::Damaged(format!("{} is absent", layout::manifest(set, id)));
    let (pinned, finding) = there.map_or_else(|| (false, absent()), |backup| (backup.pinned, backup.finding));
    let backup = Backup { id, set: set.clone(), pinned: pinned || record.pinned, content: None, finding, remembered };
    index.remove(id);
    index.insert(backup);
}
