//! What the repository remembers of the audit log: where its chain stood, the key of its records, what it is believed to
//! say of itself, and records that could not be written to it.
//!
//! Hazard: whoever rewrites the log must not be able to rewrite what tells on them by the same stroke. The head is kept
//! here, in every manifest, and wherever those are copied to; the rest here and in replicas.

use super::{Repository, WriteError, layout, rows};
use crate::repository::state::Loaded;
use crate::repository::wire::AuditHead;
use crate::storage::{Durability, StorageError};

/// The state file with the key that authenticates records: `state/audit_key.json`. Never encrypted here: a host that can
/// open no backup writes records, too.
pub const AUDIT_KEY: &str = "audit_key";

/// The state file with what is believed of the log besides: `state/audit_marks.json`.
pub const AUDIT_MARKS: &str = "audit_marks";

/// The most bytes of records that are kept for a log that cannot be written.
pub const MAX_KEPT_BYTES: u64 = 64 << 20;

impl Repository {
    /// Where the chain stood when it was last remembered: in the state file `state/audit_head.json`, or, where that says
    /// nothing, in the row of a replica.
    pub fn audit_head(&self) -> Result<Loaded<AuditHead>, StorageError> {
        let remembered = self.load_state(layout::AUDIT_HEAD)?;
        match remembered {
            Loaded::Value(_) => Ok(remembered),
            _ => Ok(rows::told_audit_head(self.storage.as_ref())?.map_or(remembered, Loaded::Value)),
        }
    }

    /// Remembers where the chain stands.
    pub fn remember_audit_head(&self, head: AuditHead, durability: Durability) -> Result<(), StorageError> {
        self.save_state(layout::AUDIT_HEAD, &head, durability)
    }

    /// The same in a replica: in its row, or, in one of format 1, in the state file.
    pub fn give_audit_head(&self, head: AuditHead) -> Result<(), WriteError> {
        if self.has_rows() {
            return self.tell_audit_head(head);
        }
        Ok(self.remember_audit_head(head, Durability::Lazy)?)
    }

    /// Every place of the chain that is remembered here: in the state file, and in each manifest.
    pub fn audit_anchors(&self) -> Vec<AuditHead> {
        let catalogue = self.catalogue();
        let contents = catalogue.backups().filter_map(|backup| backup.content.as_ref());
        let manifests = contents.filter_map(|content| content.manifest.envelope.audit_head);
        let remembered = self.audit_head().ok().and_then(Loaded::value);
        manifests.chain(remembered).collect()
    }

    /// Keeps lines of the audit log that begin with this record, durably; those kept under the same number before are
    /// replaced.
    pub fn keep_audit_records(&self, first_seq: u64, lines: &[u8]) -> Result<(), StorageError> {
        self.replace_at_all_costs(&layout::kept_audit(first_seq), lines)
    }

    /// The lines that are kept, by file, in order.
    pub fn kept_audit_records(&self) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let location = self.storage.location();
        let paths = self.kept_audit_files()?;
        paths
            .into_iter()
            .map(|path| Ok((format!("{location}/{path}"), self.storage.read(&path, MAX_KEPT_BYTES)?)))
            .collect()
    }

    /// Forgets lines that are in the log now.
    pub fn forget_audit_records(&self) -> Result<(), StorageError> {
        self.storage.remove(&self.kept_audit_files()?)
    }

    fn kept_audit_files(&self) -> Result<Vec<crate::storage::StoragePath>, StorageError> {
        let listed = self.storage.list(&layout::top(layout::STATE))?;
        let mut numbers: Vec<u64> = listed.iter().filter_map(|file| layout::kept_audit_number(&file.name)).collect();
        numbers.sort_unstable();
        Ok(numbers.into_iter().map(layout::kept_audit).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    #[test]
    fn kept_lines_come_back_in_order_and_go_together() {
        let storage = Arc::new(Local::on(Arc::new(Simulated::new()), "simulated".into()));
        Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
        let repository = Repository::open(storage, false).unwrap().0;
        for seq in [10_000_000_000, 9, 700] {
            repository.keep_audit_records(seq, b"old").unwrap();
            repository.keep_audit_records(seq, seq.to_string().as_bytes()).unwrap();
        }
        let kept = repository.kept_audit_records().unwrap();
        let lines: Vec<_> = kept.iter().map(|(_, lines)| String::from_utf8_lossy(lines)).collect();
        assert_eq!(lines, ["9", "700", "10000000000"]);
        assert!(kept[0].0.ends_with("/state/audit-00000000000000000009.jsonl"), "{}", kept[0].0);
        repository.forget_audit_records().unwrap();
        assert!(repository.kept_audit_records().unwrap().is_empty());
        assert_eq!(repository.audit_head().unwrap(), Loaded::Absent);
    }
}
