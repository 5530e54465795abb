//! What a replica is told of its original, and of itself, where no file can be overwritten: the rows `audit_head`,
//! `verification` and `status` beside its `repository.json`.
//!
//! Hazard: a row proves only that its bytes are whole. Whoever can write to a replica can write one, or remove it. So
//! nothing is deleted, hidden or called good because of what a row says: it can only make somebody look.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::catalogue::{Backup, SetIndex};
use super::generations::{self, ReadRow};
use super::stored::{MAX_DOCUMENT_BYTES, MAX_PRUNED_BYTES};
use super::verification::VerificationDocument;
use super::wire::{AuditHead, FORMAT};
use super::{Repository, WriteError, layout};
use crate::core::{BackupId, SetName, Timeline};
use crate::storage::{Storage, StorageError, StoragePath};

/// A row at the top of a replica.
#[derive(Clone, Copy)]
struct RowAtTop {
    name: &'static str,
    limit_bytes: u64,
}

const AUDIT_HEAD: RowAtTop = RowAtTop { name: layout::AUDIT_HEAD, limit_bytes: MAX_DOCUMENT_BYTES };
const STATUS: RowAtTop = RowAtTop { name: layout::STATUS, limit_bytes: MAX_DOCUMENT_BYTES };
const WRITER: RowAtTop = RowAtTop { name: layout::WRITER, limit_bytes: MAX_DOCUMENT_BYTES };
/// It has a line for each backup, as `pruned` may have.
const VERIFICATION: RowAtTop = RowAtTop { name: layout::VERIFICATION, limit_bytes: MAX_PRUNED_BYTES };

/// How much later the newest reading of a backup must be, before times alone are worth another generation.
const NEWS_MINUTES: i64 = 60;

/// A document with the format that it is of.
#[derive(Serialize, Deserialize)]
struct Document<T> {
    format: u32,
    #[serde(flatten)]
    value: T,
}

/// `verification.<n>.json`: for each set what `state/verification-<set>.json` of the replica holds.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct VerificationRow {
    sets: BTreeMap<SetName, VerificationDocument>,
}

/// `status.<n>.json`: the original, as it was when the replica was last given something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusDocument {
    /// What its host calls itself.
    pub host: String,
    /// The version of the program there.
    pub program: String,
    /// The mode of the service.
    pub mode: String,
    /// How many backups the replica lacked.
    pub lag_backups: usize,
    /// Where the audit chain stood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<AuditHead>,
    /// The sets of which there are backups.
    pub sets: BTreeMap<SetName, SetStatus>,
}

/// `writer.<n>.json`: who writes to the replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriterDocument {
    /// The random id of the writer.
    pub writer: String,
    /// What its host calls itself.
    pub host: String,
    /// Where its repository is.
    #[serde(default)]
    pub place: String,
    /// The timeline that it writes.
    pub timeline: Timeline,
    /// When it was claimed.
    pub claimed: DateTime<Utc>,
    /// A word that nobody else has.
    #[serde(default)]
    pub claim: String,
    /// Whether two dispute over the replica: then neither writes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disputed: bool,
}

/// A set in a status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetStatus {
    /// How many backups of it the original has.
    pub backups: usize,
    /// The newest good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest_good: Option<NewestGood>,
}

/// The newest good backup of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestGood {
    /// The backup.
    pub id: BackupId,
    /// When it was made.
    pub created: DateTime<Utc>,
}

impl SetStatus {
    /// The status of a set with these backups.
    pub fn of(index: &SetIndex) -> Self {
        let newest = index.latest().and_then(|backup| Some((backup.id, backup.content.as_ref()?)));
        let newest_good = newest.map(|(id, content)| NewestGood { id, created: content.manifest.envelope.created });
        let there = |backup: &&Backup| backup.content.is_some();
        Self { backups: index.backups().iter().filter(there).count(), newest_good }
    }
}

impl VerificationRow {
    /// Whether another generation is worth its cost: a scrub changes a time with each step.
    fn is_news_after(&self, told: &Self) -> bool {
        let later = match (self.newest_check(), told.newest_check()) {
            (Some(now), Some(then)) => (now - then).num_minutes().abs() >= NEWS_MINUTES,
            (now, then) => now != then,
        };
        later || !self.sets.keys().eq(told.sets.keys()) || {
            let mut pairs = self.sets.values().zip(told.sets.values());
            pairs.any(|(now, then)| !now.differs_in_times_at_most(then))
        }
    }

    fn newest_check(&self) -> Option<DateTime<Utc>> {
        self.sets.values().filter_map(VerificationDocument::newest_check).max()
    }
}

/// What the row `verification` of a repository says; nothing where there is none that verifies.
pub(super) fn told_verification(
    storage: &dyn Storage,
) -> Result<BTreeMap<SetName, VerificationDocument>, StorageError> {
    Ok(read::<VerificationRow>(storage, VERIFICATION)?.value.unwrap_or_default().sets)
}

/// What the row `audit_head` of a repository says.
pub(super) fn told_audit_head(storage: &dyn Storage) -> Result<Option<AuditHead>, StorageError> {
    Ok(read(storage, AUDIT_HEAD)?.value)
}

fn read<T: DeserializeOwned>(storage: &dyn Storage, row: RowAtTop) -> Result<ReadRow<T>, StorageError> {
    let root = StoragePath::root();
    let files = storage.list(&root)?;
    let parse = |bytes: &[u8]| {
        let document: Document<T> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.format == FORMAT { Ok(document.value) } else { Err("it is of another format".to_owned()) }
    };
    Ok(generations::read(storage, &root, row.name, &files, row.limit_bytes, parse))
}

impl Repository {
    /// Whether rows may be written here: those of format 1 have none.
    pub fn has_rows(&self) -> bool {
        self.document().format >= FORMAT
    }

    /// Writes down, here in a replica, where the audit chain of the original stands.
    pub fn tell_audit_head(&self, head: AuditHead) -> Result<(), WriteError> {
        self.tell(AUDIT_HEAD, &head, |head, told| head != told)?;
        // Where it stood before there was a row: it would go before what the row says.
        Ok(self.storage.remove(&[layout::state(layout::AUDIT_HEAD)])?)
    }

    /// Writes down, here in a replica, what is known of its backups.
    pub fn tell_verification(&self) -> Result<(), WriteError> {
        let sets: Vec<SetName> = self.catalogue().sets().map(|(set, _)| set.clone()).collect();
        let document = |set: SetName| Some((set.clone(), self.verification_document(&set)?));
        let row = VerificationRow { sets: sets.into_iter().filter_map(document).collect() };
        self.tell(VERIFICATION, &row, VerificationRow::is_news_after)
    }

    /// Writes down, here in a replica, how the original is.
    pub fn tell_status(&self, status: &StatusDocument) -> Result<(), WriteError> {
        self.tell(STATUS, status, |status, told| status != told)
    }

    /// Claims a replica for a writer: another generation, whatever stands there.
    pub fn claim(&self, writer: &WriterDocument) -> Result<(), WriteError> {
        self.tell(WRITER, writer, |_, _| true)
    }

    /// Who claimed the replica last.
    pub fn told_writer(&self) -> Result<Option<WriterDocument>, StorageError> {
        Ok(read(self.storage.as_ref(), WRITER)?.value)
    }

    /// What the row `status` says.
    pub fn told_status(&self) -> Result<Option<StatusDocument>, StorageError> {
        Ok(read(self.storage.as_ref(), STATUS)?.value)
    }

    /// Writes another generation of a row where that is news, or where the highest one is damaged.
    fn tell<T: Serialize + DeserializeOwned>(
        &self,
        row: RowAtTop,
        value: &T,
        is_news: impl Fn(&T, &T) -> bool,
    ) -> Result<(), WriteError> {
        let told = read::<T>(self.storage.as_ref(), row)?;
        if told.faults.is_empty() && told.value.is_some_and(|told| !is_news(value, &told)) {
            return Ok(());
        }
        let document = serde_json::to_vec(&Document { format: FORMAT, value })?;
        if document.len() as u64 > row.limit_bytes {
            // No reader would believe it, and no backup depends on it.
            return Ok(());
        }
        self.write_generation(&StoragePath::root(), row.name, &told.row, &document).map(drop)
    }
}
