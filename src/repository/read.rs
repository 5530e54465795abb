//! Reading stored bytes that must be what they were.
//!
//! Hazard: a disk, a cable or a busy kernel can hand out a wrong byte once. A mismatch counts only when a second
//! reading shows it again; a failure to read never counts as damage.

use super::catalogue::Content;
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

/// What `check` makes of the file's bytes, read a second time if it finds fault with them.
pub(super) fn confirmed<T>(
    storage: &dyn Storage,
    path: &StoragePath,
    limit_bytes: u64,
    check: impl Fn(Vec<u8>) -> Result<T, String>,
) -> Result<T, ReadError> {
    let look = || storage.read(path, limit_bytes).map(&check).map_err(|error| read_error(path, error));
    match look()? {
        Ok(value) => Ok(value),
        Err(_) => look()?.map_err(|fault| ReadError::Damaged(path.to_string(), fault)),
    }
}

/// The manifest that stands under this set and id.
pub(super) fn manifest(storage: &dyn Storage, set: &SetName, id: BackupId) -> Result<Content, ReadError> {
    confirmed(storage, &layout::manifest(set, id), MAX_MANIFEST_BYTES, |bytes| {
        let (manifest, digest) = manifest::decode(set, id, &bytes).map_err(|fault| fault.to_string())?;
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
