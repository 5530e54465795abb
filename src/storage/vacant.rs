//! The place of a repository that is not there.
//!
//! Hazard: whoever writes where a repository is missing begins another one, beneath the mount point of the right one as
//! it may be. This place shows nothing and takes nothing, whatever the directory holds.

use std::io;
use std::sync::Arc;

use super::{Durability, Freed, Listed, Put, Staged, Storage, StorageError, StoragePath};

/// Nothing in the place of this name; another storage there, or near it, is asked for its space only.
pub struct Vacant(pub Arc<dyn Storage>, pub String);

impl Vacant {
    fn refused<T>(&self, action: &'static str, path: &StoragePath) -> Result<T, StorageError> {
        let why = io::Error::other("the repository is not there, and nothing is put in its place");
        Err(StorageError::new(action, format!("{}/{path}", self.location()), why))
    }

    fn absent<T>(&self, path: &StoragePath) -> Result<T, StorageError> {
        Err(StorageError::new("read", format!("{}/{path}", self.location()), io::ErrorKind::NotFound.into()))
    }
}

impl Storage for Vacant {
    fn stage(&self, path: &StoragePath, _: &[u8]) -> Result<Staged, StorageError> {
        self.refused("write", path)
    }

    fn publish(&self, _: Vec<Staged>) -> Result<Vec<Put>, StorageError> {
        Ok(vec![])
    }

    fn discard(&self, _: Vec<Staged>) {}

    fn replace(&self, path: &StoragePath, _: &[u8], _: Durability) -> Result<(), StorageError> {
        self.refused("write", path)
    }

    fn set_aside(&self, path: &StoragePath, _: &StoragePath) -> Result<(), StorageError> {
        self.refused("move", path)
    }

    fn read(&self, path: &StoragePath, _: u64) -> Result<Vec<u8>, StorageError> {
        self.absent(path)
    }

    fn read_range(&self, path: &StoragePath, _: u64, _: usize) -> Result<Vec<u8>, StorageError> {
        self.absent(path)
    }

    fn drop_cache(&self, _: &StoragePath) {}

    fn list(&self, _: &StoragePath) -> Result<Vec<Listed>, StorageError> {
        Ok(vec![])
    }

    fn list_directories(&self, _: &StoragePath) -> Result<Vec<String>, StorageError> {
        Ok(vec![])
    }

    fn remove_counted(&self, _: &[StoragePath], _: &mut Freed) -> Result<(), StorageError> {
        Ok(())
    }

    fn create_directory(&self, directory: &StoragePath) -> Result<(), StorageError> {
        self.refused("create", directory)
    }

    fn clear_temporary(&self, _: &StoragePath) -> Result<usize, StorageError> {
        Ok(0)
    }

    fn free_bytes(&self) -> Result<u64, StorageError> {
        self.0.free_bytes()
    }

    fn total_bytes(&self) -> Result<u64, StorageError> {
        self.0.total_bytes()
    }

    fn location(&self) -> String {
        self.1.clone()
    }
}
