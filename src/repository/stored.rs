//! Every stored file by its path: read as what it must be, put back where it is damaged or absent, listed.
//!
//! Hazard: a repair that copies damage makes it final. Bytes are handed out, and put in place, only if they are what
//! their place demands: an object hashes to its name, a manifest to its id, a sealed document to its seal.

use std::sync::Arc;

use super::catalogue::{Backup, Content, Finding};
use super::layout::{self, StoredFile};
use super::manifest::{self, MAX_MANIFEST_BYTES};
use super::object::{MAX_STORED_BYTES, ObjectFault};
use super::open::{self, MAX_DOCUMENT_BYTES};
use super::pruned::Pruned;
use super::wire::RepositoryDocument;
use super::{ReadError, ReadFrom, Repository, WriteError, read, sealed};
use crate::core::Digest;
use crate::storage::{Durability, StorageError, StoragePath};

/// What the bytes of a stored file turned out to be.
enum Checked {
    Object(Digest),
    Manifest(Backup),
    Pin,
    Pruned(Pruned),
    Document,
}

impl Repository {
    /// The bytes of the stored file at `path`, found to be what belongs there. A fault counts when a second reading
    /// shows it again.
    pub fn read_stored(&self, path: &StoragePath, from: ReadFrom) -> Result<Vec<u8>, ReadError> {
        let limit_bytes = match layout::stored_file(path) {
            Some(StoredFile::Object(_)) => MAX_STORED_BYTES,
            Some(StoredFile::Manifest(..)) => MAX_MANIFEST_BYTES,
            _ => MAX_DOCUMENT_BYTES,
        };
        read::confirmed(self.storage.as_ref(), path, limit_bytes, from, |bytes: Vec<u8>| {
            self.check(path, &bytes).map(|_| bytes)
        })
    }

    /// Puts `bytes`, which must be what belongs at `path`, in the place of a damaged or absent file. A manifest that comes
    /// back is unverified until its backup is read.
    pub fn put_back(&self, path: &StoragePath, bytes: &[u8]) -> Result<(), WriteError> {
        let checked =
            self.check(path, bytes).map_err(|fault| WriteError::Misplaced { path: path.to_string(), fault })?;
        self.storage.replace(path, bytes, Durability::Durable)?;
        let mut catalogue = self.catalogue_mut();
        match (checked, layout::stored_file(path)) {
            (Checked::Object(name), _) => catalogue.add_object(name, bytes.len() as u64),
            (Checked::Manifest(backup), _) => catalogue.put_backup(backup),
            (Checked::Pin, Some(StoredFile::Pin(_, id))) => catalogue.update(id, |backup| backup.pinned = true),
            (Checked::Pruned(pruned), Some(StoredFile::Pruned(set))) => catalogue.set_mut(&set).pruned = pruned,
            _ => {}
        }
        Ok(())
    }

    /// Every stored file that is there, whatever its bytes are; in no order.
    pub fn list_stored(&self) -> Result<Vec<StoragePath>, StorageError> {
        let mut directories: Vec<StoragePath> = (0..=u8::MAX).map(layout::object_directory).collect();
        let sets = self.storage.list_directories(&layout::top(layout::MANIFESTS))?;
        directories.extend(sets.iter().filter_map(|set| Some(layout::manifest_directory(&set.parse().ok()?))));
        let mut stored: Vec<StoragePath> = [layout::REPOSITORY, layout::RESTORE_TXT].map(layout::top).into();
        for directory in directories {
            let files = self.storage.list(&directory)?;
            stored.extend(files.iter().filter_map(|file| directory.join(&file.name).ok()));
        }
        stored.retain(|path| layout::stored_file(path).is_some());
        Ok(stored)
    }

    fn check(&self, path: &StoragePath, bytes: &[u8]) -> Result<Checked, String> {
        match layout::stored_file(path).ok_or("nothing is stored there")? {
            StoredFile::Object(name) if Digest::of(bytes) == name => Ok(Checked::Object(name)),
            StoredFile::Object(_) => Err(ObjectFault::Hash.to_string()),
            StoredFile::Manifest(set, id) => {
                let (manifest, digest) = manifest::decode(&set, id, bytes).map_err(|fault| fault.to_string())?;
                let content = Some(Arc::new(Content { manifest, digest }));
                Ok(Checked::Manifest(Backup { id, set, pinned: false, content, finding: Finding::Unverified }))
            }
            StoredFile::Pin(..) => Ok(Checked::Pin),
            StoredFile::Pruned(set) => open::parse_pruned(&set, bytes).map(Checked::Pruned),
            StoredFile::Repository => {
                let document: RepositoryDocument = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
                match sealed::is_sealed(bytes) && document == self.document {
                    true => Ok(Checked::Document),
                    false => Err(sealed::BROKEN.to_owned()),
                }
            }
            StoredFile::RestoreTxt => Ok(Checked::Document),
        }
    }
}
