//! Space kept back for what must be written when there is none left.
//!
//! Hazard: on a full disk nothing can be deleted safely, for the list of what was deleted on purpose cannot be written,
//! and recovery cannot be left, for the mode cannot. A file of a known size is kept for that moment, and given up
//! first; it is put back once there is space again.

use super::{Repository, layout};
use crate::storage::{Durability, StorageError, StorageErrorKind, StoragePath};

/// The size of the reserve: room for many lists, modes and audit records.
pub const RESERVE_BYTES: u64 = 1 << 20;

/// A new backup is not begun with less free than this: it would only take the last blocks from everybody else.
pub const MIN_FREE_BYTES: u64 = 2 * RESERVE_BYTES;

/// The reserve is put back only where it leaves this much.
const COMFORTABLE_BYTES: u64 = 16 * RESERVE_BYTES;

impl Repository {
    /// Puts the reserve back if it is not there and space allows; never an error, for it is wanted most when it cannot
    /// be had.
    pub fn restock_reserve(&self) {
        // Its last byte: a reserve that a power cut left torn is put back whole.
        let there =
            self.storage.read_range(&layout::reserve(), RESERVE_BYTES - 1, 1).is_ok_and(|last| !last.is_empty());
        let roomy = self.storage.free_bytes().is_ok_and(|free| free >= COMFORTABLE_BYTES);
        if !there && roomy {
            // Not zeros: a filesystem that stores those as a hole would keep nothing back.
            let bytes: Vec<u8> = (0..RESERVE_BYTES).map(|at| (at % 251) as u8 + 1).collect();
            let _ = self.storage.replace(&layout::reserve(), &bytes, Durability::Lazy);
        }
    }

    /// Gives the reserve up; whether there was one to give.
    pub fn release_reserve(&self) -> bool {
        let there = self.storage.read_range(&layout::reserve(), 0, 1).is_ok();
        there && self.storage.remove(&[layout::reserve()]).is_ok()
    }

    /// Replaces a file durably, with the reserve's space if there is no other.
    pub(super) fn replace_at_all_costs(&self, path: &StoragePath, bytes: &[u8]) -> Result<(), StorageError> {
        match self.storage.replace(path, bytes, Durability::Durable) {
            Err(error) if error.kind == StorageErrorKind::NoSpace && self.release_reserve() => {
                self.storage.replace(path, bytes, Durability::Durable)
            }
            result => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::repository::encryption::Keys;
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::core::{BackupId, Digest, Position};
    use crate::storage::Storage;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    fn repository_on(disk: &Simulated) -> Repository {
        let storage: Arc<dyn Storage> = Arc::new(Local::on(Arc::new(disk.clone()), "simulated".into()));
        Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
        Repository::open(storage, false).unwrap().0
    }

    #[test]
    fn a_deletion_is_recorded_on_a_full_disk_and_only_the_reserve_makes_that_possible() {
        let disk = Simulated::new();
        let repository = repository_on(&disk);
        let set = "security".parse().unwrap();
        let manifest = crate::repository::manifest::tests::manifest_of(&set, "a.json");
        let backup = repository.publish_manifest(manifest, &Keys::default()).unwrap();
        repository.restock_reserve();
        let used: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        disk.set_capacity(Some(used));
        repository.delete_backups(&set, &[backup.id]).unwrap();
        assert!(repository.catalogue().set(&set).unwrap().pruned.contains(Position::first(1)));

        let another = crate::repository::manifest::tests::manifest_of(&"other".parse().unwrap(), "a.json");
        disk.set_capacity(None);
        let backup = repository.publish_manifest(another, &Keys::default()).unwrap();
        let used: u64 = disk.files().iter().map(|(_, bytes)| bytes.len() as u64).sum();
        disk.set_capacity(Some(used));
        let refused = repository.delete_backups(&backup.set, &[backup.id]);
        assert!(refused.is_err_and(|error| error.is_no_space()), "the reserve was given up already");
        assert!(repository.catalogue().get(backup.id).is_some(), "nothing was deleted without a record");
        assert_ne!(backup.id, BackupId::new(DateTime::UNIX_EPOCH, Digest::of(b"")));
    }

    #[test]
    fn the_reserve_is_not_put_back_where_space_is_short() {
        let disk = Simulated::new();
        let repository = repository_on(&disk);
        disk.set_capacity(Some(8 * RESERVE_BYTES));
        repository.restock_reserve();
        assert!(!repository.release_reserve());
        disk.set_capacity(None);
        repository.restock_reserve();
        assert!(repository.release_reserve());
        assert!(!repository.release_reserve());
    }
}
