//! A repository again where one was lost, or the file that makes it one.
//!
//! Hazard: a repository that was lost and begun anew under another id belongs to nobody: its replicas take it for a
//! stranger. So what is left gets the id that it had, backups that are there stay, and what was in the place of
//! `repository.json` is kept in quarantine. Where not even that may be done, there is one that holds and takes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use super::catalogue::Catalogue;
use super::open::{OpenError, lay_out, render_document};
use super::stored::MAX_DOCUMENT_BYTES;
use super::wire::{FORMAT, RepositoryDocument};
use super::{Repository, layout};
use crate::storage::vacant::Vacant;
use crate::storage::{Durability, Storage, StorageErrorKind};

/// Where the bytes are kept that were no `repository.json`.
const DAMAGED: &str = "repository.json.damaged";

impl Repository {
    /// Makes a repository of what is in `storage`, which may be nothing, under the id that it had. To be done only where
    /// [`Repository::open`] found that there is none, or a damaged one; needs the lock.
    pub fn found_again(storage: &Arc<dyn Storage>, id: &str, now: DateTime<Utc>) -> Result<(), OpenError> {
        let document = RepositoryDocument { format: FORMAT, id: id.to_owned(), created: super::backup_time(now) };
        lay_out(storage.as_ref())?;
        let place = layout::top(layout::REPOSITORY);
        if let Ok(kept) = layout::top(layout::QUARANTINE).join(DAMAGED) {
            match storage.read(&place, MAX_DOCUMENT_BYTES) {
                Ok(damaged) => storage.replace(&kept, &damaged, Durability::Durable)?,
                // A directory, over which no file can be renamed.
                Err(error) if error.kind == StorageErrorKind::WrongType => storage.set_aside(&place, &kept)?,
                Err(_) => {}
            }
        }
        Ok(storage.replace(&place, &render_document(&document)?, Durability::Durable)?)
    }

    /// What stands for a repository that is not there, and had this id if that is known: it holds nothing, and every
    /// write to it fails. Nothing is read of what is in its place, and nothing there is changed.
    pub fn vacant(place: Arc<dyn Storage>, id: Option<String>) -> Self {
        let location = place.location();
        Self::vacant_at(location, place, id)
    }

    /// The same where the place itself cannot be opened: `near` is only asked for its space.
    pub fn vacant_at(location: String, near: Arc<dyn Storage>, id: Option<String>) -> Self {
        let document = RepositoryDocument { format: FORMAT, id: id.unwrap_or_default(), created: DateTime::UNIX_EPOCH };
        let catalogue = RwLock::new(Catalogue::default());
        let is_vacant = AtomicBool::new(true);
        let (format, upgraded) = (document.format.into(), AtomicBool::new(false));
        let storage = Arc::new(Vacant(near, location));
        Self { storage, document, format, upgraded, catalogue, is_vacant, keys: RwLock::default() }
    }

    /// Whether it only stands for one that is not there.
    pub fn is_vacant(&self) -> bool {
        self.is_vacant.load(Ordering::Relaxed)
    }

    /// What was opened is not in its place any more: from now on this only stands for it. The place was held open, so that
    /// nothing of what is still written gets into whatever is there instead.
    pub fn abandon(&self) {
        self.is_vacant.store(true, Ordering::Relaxed);
    }

    /// A new id.
    pub fn new_id() -> String {
        format!("{:032x}", fastrand::u128(..))
    }
}

#[cfg(test)]
mod tests {
    use crate::repository::encryption::Keys;
    use chrono::DateTime;

    use super::*;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    #[test]
    fn what_is_left_is_a_repository_again_under_its_id_with_its_backups() {
        let disk = Simulated::new();
        let storage: Arc<dyn Storage> = Arc::new(Local::on(Arc::new(disk), "simulated".into()));
        Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
        let (repository, _) = Repository::open(storage.clone(), false).unwrap();
        let id = repository.id().to_owned();
        let set = "security".parse().unwrap();
        let manifest = crate::repository::manifest::tests::manifest_of(&set, "a.json");
        let backup = repository.publish_manifest(manifest, &Keys::default()).unwrap();
        drop(repository);
        let place = layout::top(layout::REPOSITORY);
        for damage in [None, Some(&b"{\"format\": 1, \"id\""[..])] {
            match damage {
                None => storage.remove(std::slice::from_ref(&place)).unwrap(),
                Some(bytes) => storage.replace(&place, bytes, Durability::Durable).unwrap(),
            }
            assert!(Repository::open(storage.clone(), false).is_err());
            Repository::found_again(&storage, &id, DateTime::UNIX_EPOCH).unwrap();
            let (again, _) = Repository::open(storage.clone(), false).unwrap();
            assert_eq!(again.id(), id);
            assert!(again.catalogue().get(backup.id).is_some());
        }
        let kept = layout::top(layout::QUARANTINE).join(DAMAGED).unwrap();
        assert_eq!(storage.read(&kept, 100).unwrap(), b"{\"format\": 1, \"id\"");
    }
}
