//! Manifests and objects in one place.
//!
//! Hazard: a backup that exists must be whole, and one that was acknowledged must exist. Objects are durable before
//! the manifest that needs them; the manifest before anybody hears of it; the list of what is deleted before anything is.
#![doc = include_str!("FORMAT.md")]
#![doc = include_str!("FORMAT-1.md")]

mod audit;
pub mod body;
pub mod catalogue;
pub mod documents;
pub mod encryption;
mod format_1;
mod generations;
pub mod kept;
pub mod layout;
pub mod lock;
mod losses;
pub mod manifest;
pub mod object;
mod open;
pub mod pack;
pub mod pins;
pub mod place;
pub mod pruned;
mod quarantine;
mod read;
pub mod replica;
mod rescue;
pub mod reserve;
mod rows;
mod sealed;
mod set_index;
pub mod state;
mod stored;
pub mod timelines;
mod verification;
pub mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::core::{BackupId, Digest, Position, SetName};
use crate::storage::{Durability, Freed, Put, Staged, Storage, StorageError, StorageErrorKind, StoragePath};
pub use audit::{AUDIT_KEY, AUDIT_MARKS, MAX_KEPT_BYTES};
use catalogue::{Backup, Catalogue, Content, Finding};
use encryption::Keys;
pub use generations::Generation;
use manifest::EncodeError;
use object::Encoded;
use open::RESTORE_TXT;
pub use open::{OpenError, OpenReport, are_related};
use pruned::Pruned;
pub use quarantine::{Note, Quarantined};
pub use read::{ReadError, ReadFrom};
pub use rows::{NewestGood, SetStatus, StatusDocument, WriterDocument};
pub use stored::StoredFile;
use wire::{FORMAT, Manifest, RepositoryDocument};

/// The state file that is there from an upgrade until it is on record.
const UNTOLD_UPGRADE: &str = "untold_upgrade";

/// A repository: its storage, and the catalogue of what it holds. Everything blocks; reads may be made from many
/// threads at once, writes only by the holder of the write lane.
pub struct Repository {
    storage: Arc<dyn Storage>,
    document: RepositoryDocument,
    /// The format that it has by now.
    format: AtomicU32,
    /// Whether that grew and nobody was told yet.
    upgraded: AtomicBool,
    catalogue: RwLock<Catalogue>,
    is_vacant: AtomicBool,
    keys: RwLock<Arc<Keys>>,
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The storage failed.
    #[error("write to the repository")]
    Storage(#[from] StorageError),
    /// A document could not be written as JSON.
    #[error("write a document")]
    Json(#[from] serde_json::Error),
    /// A manifest could not be made.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// Another backup of the same second has a manifest whose hash begins alike: one in four thousand million.
    #[error("the id {0} is taken: try again")]
    IdTaken(BackupId),
    /// Bytes that do not belong where they were to be put.
    #[error("not put in the place of {path}: {fault}")]
    Misplaced {
        /// The place.
        path: String,
        /// What is wrong with the bytes.
        fault: String,
    },
}

impl WriteError {
    /// Whether it failed for want of space.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Storage(error) if error.kind == StorageErrorKind::NoSpace)
    }
}

impl Repository {
    /// Where it is, for messages.
    pub fn location(&self) -> String {
        self.storage.location()
    }

    /// What it says of itself.
    pub fn document(&self) -> RepositoryDocument {
        RepositoryDocument { format: self.format.load(Ordering::Acquire), ..self.document.clone() }
    }

    /// Makes it a repository of format 2, if it is none yet: to be called before the first document of format 2 is written.
    /// From then on programs that know only format 1 refuse it, and so touch nothing that they cannot understand.
    fn require_format_2(&self) -> Result<(), WriteError> {
        if self.format.load(Ordering::Acquire) >= FORMAT {
            return Ok(());
        }
        // Durable first: who dies before it is told of finds it at the next start.
        let note = || self.save_state(UNTOLD_UPGRADE, &FORMAT, Durability::Durable);
        match note() {
            Err(error) if error.kind == StorageErrorKind::NoSpace && self.release_reserve() => note()?,
            noted => noted?,
        }
        let document = RepositoryDocument { format: FORMAT, ..self.document.clone() };
        self.replace_at_all_costs(&layout::top(layout::REPOSITORY), &open::render_document(&document)?)?;
        self.format.store(FORMAT, Ordering::Release);
        self.upgraded.store(true, Ordering::Release);
        // What stands there is no damage, and restores every backup of format 1.
        let _ = self.storage.replace(&layout::top(layout::RESTORE_TXT), RESTORE_TXT.as_bytes(), Durability::Durable);
        Ok(())
    }

    /// Whether it became one of format 2, and that was not asked for yet since it was opened. Until it is told of
    /// ([`Repository::upgrade_was_told`]) it is so again after each opening.
    pub fn take_upgrade(&self) -> bool {
        self.upgraded.swap(false, Ordering::AcqRel)
    }

    /// Takes note that the upgrade is on record.
    pub fn upgrade_was_told(&self) -> Result<(), WriteError> {
        Ok(self.storage.remove(&[layout::state(UNTOLD_UPGRADE)])?)
    }

    /// Whether `storage` holds a backup that this holds, too: as no other repository does.
    pub fn is_related_to(&self, storage: &dyn Storage) -> Result<bool, StorageError> {
        are_related(self.storage.as_ref(), storage)
    }

    /// Its name: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.document.id
    }

    /// Bytes that may still be written.
    pub fn free_bytes(&self) -> Result<u64, StorageError> {
        self.storage.free_bytes()
    }

    /// Bytes that there are where it is, written or not.
    pub fn total_bytes(&self) -> Result<u64, StorageError> {
        self.storage.total_bytes()
    }

    /// What it holds. Don't keep it across anything slow: writers wait.
    ///
    /// Whoever holds it may ask again, by way of something it calls: a reader never waits for a writer that waits, or the
    /// two would wait for each other for ever.
    pub fn catalogue(&self) -> RwLockReadGuard<'_, Catalogue> {
        self.catalogue.read_recursive()
    }

    fn catalogue_mut(&self) -> RwLockWriteGuard<'_, Catalogue> {
        self.catalogue.write()
    }

    /// What it is read and written with.
    pub fn keys(&self) -> Arc<Keys> {
        self.keys.read().clone()
    }

    /// Reads and writes with these keys from now on; backups that could not be opened are, as far as they can be now.
    pub fn set_keys(&self, keys: Keys) {
        let keys = Arc::new(keys);
        *self.keys.write() = keys.clone();
        let mut closed: BTreeMap<SetName, Vec<BackupId>> = BTreeMap::new();
        for backup in self.catalogue().backups() {
            let manifest = backup.content.as_ref().map(|content| &content.manifest);
            let can_be_opened = |manifest: &&Manifest| keys.open_what_is_for(&manifest.envelope.recipients);
            if manifest.filter(|manifest| manifest.body.is_none()).is_some_and(|manifest| can_be_opened(&manifest)) {
                closed.entry(backup.set.clone()).or_default().push(backup.id);
            }
        }
        for (set, ids) in closed {
            for (id, read) in open::read_manifests(self.storage.as_ref(), &keys, &set, &ids) {
                // What cannot be read now stays closed; the next verification says why.
                if let Ok(content) = read {
                    self.catalogue_mut().open_body(id, Arc::new(content));
                }
            }
        }
    }

    /// Writes an object aside.
    pub fn stage(&self, object: &Encoded) -> Result<Staged, StorageError> {
        self.storage.stage(&layout::object(&object.name), &object.stored)
    }

    /// Drops what was staged.
    pub fn discard(&self, staged: Vec<Staged>) {
        self.storage.discard(staged);
    }

    /// Makes staged objects, given with their stored bytes, durable and visible.
    pub fn publish_objects(&self, staged: HashMap<Digest, (Staged, u64)>) -> Result<(), WriteError> {
        if staged.is_empty() {
            return Ok(());
        }
        let (objects, files): (Vec<_>, Vec<_>) =
            staged.into_iter().map(|(name, (file, stored_bytes))| ((name, stored_bytes), file)).unzip();
        self.storage.publish(files)?;
        let mut catalogue = self.catalogue_mut();
        objects.into_iter().for_each(|(name, stored_bytes)| catalogue.add_object(name, stored_bytes));
        Ok(())
    }

    /// Writes the manifest of a backup whose objects are published: from here on the backup exists.
    pub fn publish_manifest(&self, manifest: Manifest, keys: &Keys) -> Result<Backup, WriteError> {
        let (id, digest, bytes) = manifest::encode(&manifest, keys)?;
        let set = manifest.envelope.set.clone();
        let position = manifest.envelope.position();
        let path = layout::manifest(&set, id);
        self.require_format_2()?;
        match self.storage.put_new(&path, &bytes) {
            Ok(Put::Created) => {}
            Ok(Put::Existed) => return Err(WriteError::IdTaken(id)),
            Err(error) => {
                // It may be visible and yet not durable: a backup nobody was told of, with a sequence to be given again.
                let _ = self.storage.remove(&[path]);
                return Err(error.into());
            }
        }
        let content = Some(Arc::new(Content { manifest, digest }));
        let backup = Backup { id, set, pinned: false, content, finding: Finding::Unverified, remembered: None };
        let mut catalogue = self.catalogue_mut();
        catalogue.set_mut(&backup.set).note_given(position);
        catalogue.add_backup(backup.clone());
        Ok(backup)
    }

    /// The stored bytes of an object, which hash to its name. A mismatch is looked at a second time before it counts.
    pub fn read_object(&self, name: &Digest, from: ReadFrom) -> Result<Vec<u8>, ReadError> {
        read::object(self.storage.as_ref(), name, from)
    }

    /// Whatever is in the place of an object, and in those of second files for it: for whoever can tell what of it is right.
    pub fn read_object_as_it_is(&self, name: &Digest) -> Vec<Vec<u8>> {
        read::object_as_it_is(self.storage.as_ref(), name)
    }

    /// Has the disk, and not memory, answer the next reading of these objects.
    pub fn drop_cache<'a>(&self, objects: impl IntoIterator<Item = &'a Digest>) {
        objects.into_iter().for_each(|object| self.storage.drop_cache(&layout::object(object)));
    }

    /// Reads the manifest of a backup from disk again: it must be what its id, and the catalogue, say.
    pub fn read_manifest(&self, backup: &Backup) -> Result<Content, ReadError> {
        let content = read::manifest(self.storage.as_ref(), &self.keys(), &backup.set, backup.id, ReadFrom::Disk)?;
        match &backup.content {
            Some(known) if known.digest != content.digest => Err(ReadError::Damaged(
                layout::manifest(&backup.set, backup.id).to_string(),
                "it is not the manifest that was there before".into(),
            )),
            Some(known) if known.manifest.body.is_none() && content.manifest.body.is_some() => {
                // Its lines can be read again.
                let content = Arc::new(content);
                self.catalogue_mut().open_body(backup.id, content.clone());
                Ok(Arc::unwrap_or_clone(content))
            }
            _ => Ok(content),
        }
    }

    /// The same, with its body: for whoever needs the files.
    pub fn read_opened_manifest(&self, backup: &Backup) -> Result<Content, ReadError> {
        let content = self.read_manifest(backup)?;
        if content.manifest.body.is_none() {
            return Err(ReadError::NoIdentity(layout::manifest(&backup.set, backup.id).to_string()));
        }
        Ok(content)
    }

    /// Forgets that content is stored in these objects, so that the next backup stores it again.
    pub fn distrust_objects(&self, names: &HashSet<Digest>) {
        self.catalogue_mut().forget_content(names);
    }

    /// Remembers what a look at a backup's bytes found.
    pub fn record_finding(&self, id: BackupId, finding: Finding) -> Result<(), WriteError> {
        let set = {
            let mut catalogue = self.catalogue_mut();
            catalogue.update(id, |backup| backup.finding = finding);
            catalogue.get(id).map(|backup| backup.set.clone())
        };
        set.map_or(Ok(()), |set| self.save_verification(&set, Durability::Lazy))
    }

    /// Takes back what was found of a backup: it is unverified until somebody looks again.
    pub fn doubt(&self, id: BackupId) {
        self.catalogue_mut().update(id, |backup| backup.finding = Finding::Unverified);
    }

    /// Lists as pruned what `other` lists for a set, as far as it is not here: it will not come.
    pub fn merge_pruned(&self, set: &SetName, other: &Pruned) -> Result<(), WriteError> {
        let merged = {
            let catalogue = self.catalogue();
            let index = catalogue.set(set);
            let present: Vec<Position> =
                index.map_or(&[][..], |index| index.backups()).iter().filter_map(Backup::position).collect();
            let ours = index.map_or_else(Pruned::default, |index| index.pruned.clone());
            let merged = ours.and(other, &present);
            if merged == ours {
                return Ok(());
            }
            merged
        };
        self.save_pruned(set, merged)?;
        self.save_verification(set, Durability::Lazy)
    }

    /// Lists the places of backups that are gone as deleted on purpose.
    pub fn list_as_pruned(&self, set: &SetName, positions: &[Position]) -> Result<(), WriteError> {
        if positions.is_empty() {
            return Ok(());
        }
        let mut pruned = self.pruned(set);
        positions.iter().for_each(|position| pruned.insert(*position));
        self.save_pruned(set, pruned)
    }

    fn pruned(&self, set: &SetName) -> Pruned {
        self.catalogue().set(set).map_or_else(Pruned::default, |index| index.pruned.clone())
    }

    fn save_pruned(&self, set: &SetName, pruned: Pruned) -> Result<(), WriteError> {
        let document = serde_json::to_vec(&pruned.to_document(set))?;
        let row = self.catalogue().set(set).map_or_else(Default::default, |index| index.pruned_row.clone());
        let row = self.write_generation(&layout::manifest_directory(set), layout::PRUNED, &row, &document)?;
        let mut catalogue = self.catalogue_mut();
        let index = catalogue.set_mut(set);
        (index.pruned, index.pruned_row, index.pruned_in_doubt) = (pruned, row, false);
        Ok(())
    }

    /// Deletes backups of one set: their sequences are listed as pruned before the first manifest goes.
    pub fn delete_backups(&self, set: &SetName, ids: &[BackupId]) -> Result<(), WriteError> {
        self.delete_superseding(set, ids, &BTreeMap::new(), &mut Freed::default())
    }

    /// The same, and remembers when versions that stay were superseded: without those that go it could not be told. Adds to
    /// `freed` what is gone by then, also after an error.
    pub fn delete_superseding(
        &self,
        set: &SetName,
        ids: &[BackupId],
        superseded: &BTreeMap<Position, DateTime<Utc>>,
        freed: &mut Freed,
    ) -> Result<(), WriteError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids: HashSet<BackupId> = ids.iter().copied().collect();
        let mut pruned = self.pruned(set);
        if let Some(index) = self.catalogue().set(set) {
            let going = index.backups().iter().filter(|backup| ids.contains(&backup.id));
            going.filter_map(Backup::position).for_each(|position| pruned.insert(position));
        }
        superseded.iter().for_each(|(position, at)| pruned.remember_superseded(*position, backup_time(*at)));
        self.save_pruned(set, pruned)?;
        // Out of sight first: what is half deleted after an error must not be called damaged.
        self.catalogue_mut().condemn(set, &ids);
        self.finish_deletions(freed)?;
        self.save_verification(set, Durability::Lazy)
    }

    /// Removes the manifests of condemned backups: those of a deletion that is under way, and of any that failed. Adds to
    /// `freed` what is gone by then, also after an error.
    pub fn finish_deletions(&self, freed: &mut Freed) -> Result<(), WriteError> {
        let condemned = self.catalogue().condemned().clone();
        let manifests = condemned.iter().map(|(set, id)| layout::manifest(set, *id));
        let pins = condemned.iter().map(|(set, id)| layout::pin(set, *id));
        self.storage.remove_counted(&manifests.chain(pins).collect::<Vec<_>>(), freed)?;
        self.catalogue_mut().executed(&condemned);
        Ok(())
    }

    /// Deletes those of these objects that no manifest refers to; none while that cannot be told. Adds to `freed` what is
    /// gone by then, also after an error.
    pub fn delete_garbage(&self, names: &[Digest], freed: &mut Freed) -> Result<(), WriteError> {
        let garbage: Vec<Digest> = {
            let catalogue = self.catalogue();
            if catalogue.collection_block().is_some() {
                return Ok(());
            }
            // What was garbage when the plan was made may be part of a backup by now.
            let garbage =
                names.iter().filter(|name| !catalogue.is_referenced(name) && catalogue.object(name).is_some());
            garbage.copied().collect()
        };
        let files: Vec<StoragePath> = garbage.iter().flat_map(|name| self.files_of_object(name)).collect();
        // Forgotten first: what is half deleted after an error must not be shared any more.
        self.catalogue_mut().remove_objects(&garbage);
        Ok(self.storage.remove_counted(&files, freed)?)
    }

    /// Every file of an object.
    fn files_of_object(&self, name: &Digest) -> Vec<StoragePath> {
        let catalogue = self.catalogue();
        let second = catalogue.second_files(name).map(|(number, _)| layout::second_object(name, number));
        [layout::object(name)].into_iter().chain(second).collect()
    }
}

/// The moment a backup is dated: no later than what an id can say, to the millisecond.
pub fn backup_time(now: DateTime<Utc>) -> DateTime<Utc> {
    use chrono::SubsecRound;
    now.trunc_subsecs(3)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::core::{Sequence, Timeline};
    use crate::storage::local::Local;

    #[test]
    fn backups_are_in_the_order_of_timelines_and_then_of_sequences() {
        let storage: Arc<dyn Storage> =
            Arc::new(Local::on(Arc::new(crate::storage::faulty::Simulated::new()), "simulated".into()));
        Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
        let repository = Repository::open(storage.clone(), false).unwrap().0;
        let set: SetName = "security".parse().unwrap();
        for (timeline, sequence) in [(2, 4), (1, 2), (1, 7), (2, 3), (1, 1)] {
            let mut manifest = manifest::tests::manifest_of(&set, "a.json");
            (manifest.envelope.timeline, manifest.envelope.sequence) = (Timeline(timeline), Sequence(sequence));
            repository.publish_manifest(manifest, &Keys::default()).unwrap();
        }
        for repository in [repository, Repository::open(storage, false).unwrap().0] {
            let catalogue = repository.catalogue();
            let backups = catalogue.set(&set).unwrap().backups().iter();
            let order: Vec<_> =
                backups.filter_map(Backup::position).map(|place| (place.timeline.0, place.sequence.0)).collect();
            assert_eq!(order, [(1, 1), (1, 2), (1, 7), (2, 3), (2, 4)]);
        }
    }

    #[test]
    fn who_reads_the_catalogue_may_ask_again_while_a_writer_waits() {
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(Local::open(directory.path()).unwrap());
        Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
        let repository = Arc::new(Repository::open(storage, false).unwrap().0);
        let (read_twice, done) = channel();
        let reader = repository.clone();
        std::thread::spawn(move || {
            let first = reader.catalogue();
            let writer = reader.clone();
            std::thread::spawn(move || writer.distrust_objects(&HashSet::new()));
            // A newcomer is turned away only once a writer waits.
            while reader.catalogue.try_read().is_some() {
                std::thread::yield_now();
            }
            let again = reader.catalogue();
            assert_eq!(first.backups().count(), again.backups().count());
            read_twice.send(()).unwrap();
        });
        done.recv_timeout(Duration::from_secs(20))
            .expect("the second reading waits for the writer, which waits for the first");
    }
}
