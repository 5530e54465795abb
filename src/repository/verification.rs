//! Remembered findings: which backups were read, when, and what was found.
//!
//! Hazard: a finding that outlives what it was about would call a changed backup good. A finding is bound to the
//! manifest's full hash. The record is not synced: what is lost of it is found again by reading.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::catalogue::{Backup, Catalogue, Finding};
use super::{Repository, WriteError, layout, state};
use crate::core::{BackupId, Digest, Sequence, SetName};
use crate::storage::{Durability, Storage};

const NAME: &str = "verification";

#[derive(Debug, Default, Serialize, Deserialize)]
struct VerificationDocument {
    /// The highest sequence that was ever given: a loss of the newest backup must not go unseen.
    highest: Option<Sequence>,
    backups: BTreeMap<BackupId, FindingRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FindingRecord {
    manifest: Digest,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Outcome {
    Intact { checked: DateTime<Utc> },
    Damaged { what: String },
}

impl Repository {
    /// Writes down the findings of a set.
    pub(super) fn save_verification(&self, set: &SetName) -> Result<(), WriteError> {
        let document = {
            let catalogue = self.catalogue();
            let Some(index) = catalogue.set(set) else { return Ok(()) };
            let backups = index.backups().iter().filter_map(|backup| Some((backup.id, record(backup)?))).collect();
            let newest = index.backups().last().and_then(Backup::sequence);
            VerificationDocument { highest: index.highest.max(newest), backups }
        };
        Ok(self.save_set_state(NAME, set, &document, Durability::Lazy)?)
    }
}

fn record(backup: &Backup) -> Option<FindingRecord> {
    let outcome = match &backup.finding {
        Finding::Intact { checked } => Outcome::Intact { checked: *checked },
        Finding::Damaged(what) => Outcome::Damaged { what: what.clone() },
        Finding::Unverified | Finding::Unreadable(_) => return None,
    };
    Some(FindingRecord { manifest: backup.content.as_ref()?.digest, outcome })
}

/// Applies what is remembered of a set to the catalogue; returns what is wrong with the record, if anything is.
pub(super) fn recall(storage: &dyn Storage, set: &SetName, catalogue: &mut Catalogue) -> Option<String> {
    let path = layout::set_state(NAME, set);
    let document = match state::load::<VerificationDocument>(storage, &path) {
        Ok(state::Loaded::Value(document)) => document,
        Ok(state::Loaded::Absent) => return None,
        Ok(state::Loaded::Damaged(fault)) => return Some(format!("{path}: {fault}")),
        Err(error) => return Some(format!("{error}: {}", error.source)),
    };
    catalogue.set_mut(set).highest = document.highest;
    for (id, record) in document.backups {
        catalogue.update(id, |backup| {
            let same = backup.content.as_ref().is_some_and(|content| content.digest == record.manifest);
            if same && backup.finding == Finding::Unverified {
                backup.finding = match record.outcome {
                    Outcome::Intact { checked } => Finding::Intact { checked },
                    Outcome::Damaged { what } => Finding::Damaged(what),
                };
            }
        });
    }
    None
}
