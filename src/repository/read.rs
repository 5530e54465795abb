//! Reading stored bytes that must be what they were.
//!
//! Hazard: a disk, a cable or a busy kernel can hand out a wrong byte once. A mismatch counts only when a second
//! reading shows it again; a failure to read never counts as damage.

use super::catalogue::Content;
use super::encryption::{Keys, OpenFault};
use super::layout;
use super::manifest::{self, MAX_MANIFEST_BYTES};
use crate::core::{BackupId, SetName};
use crate::storage::{Storage, StorageError, StorageErrorKind, StoragePath};

/// Why stored bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is absent.
    #[error("{0} is absent")]
    Absent(String),
    /// Its bytes are not what they were, seen twice.
    #[error("{0} is damaged: {1}")]
    Damaged(String, String),
    /// It is as it was, and encrypted, and no identity that opens it is at hand.
    #[error("{0}: {fault}", fault = OpenFault::NoIdentity)]
    NoIdentity(String),
    /// It could not be read, which proves nothing.
    #[error("read {0}")]
    Unreadable(String, #[source] StorageError),
}

impl ReadError {
    /// Whether this is a loss, rather than something that may go away by itself.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::Damaged(..))
    }
}

/// Where bytes may be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// From memory if the system has them there: for who wants the content.
    Anywhere,
    /// From the disk, as far as [`Storage::drop_cache`] goes: for who wants to know what is stored. Leaves nothing in
    /// the cache either: reading a whole repository must not drive out what the application needs there.
    Disk,
}

/// What `check` makes of the file's bytes, read a second time, from the disk, if it finds fault with them.
pub(super) fn confirmed<T>(
    storage: &dyn Storage,
    path: &StoragePath,
    limit_bytes: u64,
    from: ReadFrom,
    check: impl Fn(Vec<u8>) -> Result<T, String>,
) -> Result<T, ReadError> {
    let look = |from| {
        if from == ReadFrom::Disk {
            storage.drop_cache(path);
        }
        let read = storage.read(path, limit_bytes);
        if from == ReadFrom::Disk {
            storage.drop_cache(path);
        }
        read.map(&check).map_err(|error| read_error(path, error))
    };
    match look(from)? {
        Ok(value) => Ok(value),
        Err(_) => look(ReadFrom::Disk)?.map_err(|fault| ReadError::Damaged(path.to_string(), fault)),
    }
}

/// The manifest that stands under this set and id.
pub(super) fn manifest(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    id: BackupId,
    from: ReadFrom,
) -> Result<Content, ReadError> {
    confirmed(storage, &layout::manifest(set, id), MAX_MANIFEST_BYTES, from, |bytes| {
        let (manifest, digest) = manifest::decode(set, id, &bytes, keys).map_err(|fault| fault.to_string())?;
        Ok(Content { manifest, digest })
    })
}

fn read_error(path: &StoragePath, error: StorageError) -> ReadError {
    let path = path.to_string();
    match error.kind {
        StorageErrorKind::NotFound => ReadError::Absent(path),
        StorageErrorKind::TooLarge => ReadError::Damaged(path, "it is larger than it can be".into()),
        StorageErrorKind::WrongType => ReadError::Damaged(path, "it is no plain file".into()),
        _ => ReadError::Unreadable(path, error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    /// What a look at a file says: this is on its disk, and that in the cache.
    fn look(from: ReadFrom, stored: &[u8], cached: &[u8]) -> Result<(), ReadError> {
        let (disk, path) = (Simulated::new(), StoragePath::new("f").unwrap());
        let storage = Local::on(Arc::new(disk.clone()), "simulated".into());
        disk.write_raw("f", stored).unwrap();
        disk.cache("f", cached);
        let check = |bytes: Vec<u8>| if bytes == b"right" { Ok(()) } else { Err("wrong".to_owned()) };
        confirmed(&storage, &path, 100, from, check)
    }

    #[test]
    fn what_is_wrong_in_memory_and_right_on_the_disk_is_no_damage() {
        for from in [ReadFrom::Anywhere, ReadFrom::Disk] {
            assert!(look(from, b"right", b"wrong").is_ok(), "{from:?}");
        }
    }

    #[test]
    fn what_is_right_in_memory_and_wrong_on_the_disk_is_damage_to_who_asks_for_the_disk() {
        assert!(look(ReadFrom::Anywhere, b"wrong", b"right").is_ok());
        assert!(look(ReadFrom::Disk, b"wrong", b"right").is_err_and(|error| error.is_damage()));
    }
}
