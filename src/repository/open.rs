//! Creating and opening a repository.
//!
//! Hazard: opening must work after any crash and on any bytes, and must never take a damaged repository for a new
//! one. What is damaged is listed as damaged; only `repository.json` itself, when it is wrong and nobody else tells what it
//! said, stops the opening.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use parking_lot::RwLock;

use super::catalogue::{Backup, Catalogue, Content, Finding, SecondFiles, SetIndex};
use super::encryption::Keys;
use super::generations::{self, Generation};
use super::layout::{self, ManifestFile};
use super::place::{self, Remains};
use super::stored::MAX_DOCUMENT_BYTES;
use super::timelines::KnownTimelines;
use super::verification::{self, VerificationDocument};
use super::wire::{FORMAT, FORMAT_1, RepositoryDocument};
use super::{ReadError, ReadFrom, Repository, StoredFile, UNTOLD_UPGRADE, read, rows, sealed, stored};
use crate::core::{BackupId, Digest, SetName};
use crate::storage::{Durability, Listed, Put, Storage, StorageError, StorageErrorKind, StoragePath};

/// How to get files back without this program.
pub(super) const RESTORE_TXT: &str = include_str!("RESTORE.txt");

/// The SHA-256 of each text that was ever written as that and is so no more: none of them is damage.
const OLDER_RESTORE_TXTS: [&str; 4] = [
    "103302ddce5bd12dbe943a95c3eb8809892a6dfe89528f36dc6d0b518a965a06",
    "0f67307b86d12ca3788d6cef06f8505b878f79091adffd8f62f7812e1d602fd1",
    "8762b19b8f5da9b2e0544c6a4ef5d3e9a2f509fce80ecc36ef0a253a855d9909",
    "8fb3193c8e74d3768f3627ed0726cd7a1ddfd9cc78b890fb3828ee5679679045",
];

/// Whether these bytes are instructions that this program or an older one writes.
pub(super) fn are_instructions(bytes: &[u8]) -> bool {
    bytes == RESTORE_TXT.as_bytes() || OLDER_RESTORE_TXTS.contains(&Digest::of(bytes).to_string().as_str())
}

/// Why a repository could not be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no repository here.
    #[error("there is no repository in {0}")]
    Absent(String),
    /// `repository.json` is there and is not what it must be.
    #[error("{location}/repository.json is damaged: {fault}; nothing was changed")]
    Damaged {
        /// Where the repository is.
        location: String,
        /// What is wrong with it.
        fault: String,
    },
    /// It was written by a newer program.
    #[error("{location} is a repository of format {format}, which needs a newer fiovana-app; nothing was changed")]
    Newer {
        /// Where the repository is.
        location: String,
        /// Its format.
        format: u32,
    },
    /// There is one already.
    #[error("{0} holds a repository already, which is left as it is")]
    Exists(String),
    /// Somebody else's files are there.
    #[error(
        "{location} holds files that are no part of a repository ({names}), so none is begun there, and nothing was \
         changed: name a directory that is empty or not there yet in FIOVANA_BACKUP_DIRECTORY, or move them away"
    )]
    Foreign {
        /// The directory.
        location: String,
        /// The first of them.
        names: String,
    },
    /// There are backups, and the file that makes them a repository is gone.
    #[error("{0} holds parts of a repository but no repository.json: it was lost; nothing was changed")]
    Headless(String),
    /// The storage failed.
    #[error("open the repository ({})", .0.kind.advice())]
    Storage(#[from] StorageError),
}

/// What was found while opening.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Leftovers of interrupted writes that were cleared.
    pub cleared: usize,
    /// Damaged documents other than manifests, one line each: lists of pruned sequences, records of findings.
    pub faults: Vec<String>,
}

impl Repository {
    /// Creates a repository in an empty place. It exists once its last file, `repository.json`, does.
    pub fn create(storage: Arc<dyn Storage>, now: DateTime<Utc>) -> Result<(), OpenError> {
        let document = RepositoryDocument { format: FORMAT, id: Self::new_id(), created: super::backup_time(now) };
        create_as(storage.as_ref(), &render_document(&document)?)
    }

    /// Creates a replica of this repository in an empty place: the same document, and nothing in it yet.
    pub fn create_replica(&self, storage: Arc<dyn Storage>) -> Result<(), OpenError> {
        let document = self.read_stored(&StoredFile::Repository, ReadFrom::Disk);
        create_as(storage.as_ref(), &document.map_or_else(|_| render_document(&self.document()), Ok)?)
    }

    /// What the `repository.json` in `storage` says.
    pub fn document_of(storage: &dyn Storage) -> Result<RepositoryDocument, OpenError> {
        read_document(storage)
    }

    /// Opens a repository, without keys ([`Repository::set_keys`]): clears leftovers, reads every manifest, recalls what was found before. Needs the lock if
    /// `clear` is set, and nothing otherwise.
    pub fn open(storage: Arc<dyn Storage>, clear: bool) -> Result<(Self, OpenReport), OpenError> {
        let document = read_document(storage.as_ref())?;
        Self::open_as(storage, document, clear)
    }

    /// The same where `repository.json` is damaged or lost and another copy of the repository tells what it says. The
    /// first look at the documents finds the damage, and heals it as any other.
    pub fn open_as(
        storage: Arc<dyn Storage>,
        document: RepositoryDocument,
        clear: bool,
    ) -> Result<(Self, OpenReport), OpenError> {
        let mut report = OpenReport::default();
        if clear {
            report.cleared = clear_leftovers(storage.as_ref())?;
        }
        let mut catalogue = list_objects(storage.as_ref())?;
        catalogue.adopt_timelines(read_timelines(storage.as_ref(), &document.id, &mut report)?);
        let mut sets = verification::remembered_sets(storage.as_ref())?;
        for name in storage.list_directories(&layout::top(layout::MANIFESTS))? {
            match name.parse::<SetName>() {
                Ok(set) => sets.extend([set]),
                Err(error) => report.faults.push(format!("{}/{name}: {error}", layout::MANIFESTS)),
            }
        }
        let mut told = rows::told_verification(storage.as_ref())?;
        sets.extend(told.keys().cloned());
        for set in sets {
            read_set(storage.as_ref(), &set, told.remove(&set), &mut catalogue, &mut report)?;
        }
        mark_incomplete(&mut catalogue);
        let (catalogue, keys) = (RwLock::new(catalogue), RwLock::default());
        let untold = storage.read_range(&layout::state(UNTOLD_UPGRADE), 0, 1).is_ok();
        let (format, upgraded) = (document.format.into(), AtomicBool::new(untold && document.format >= FORMAT));
        let is_vacant = AtomicBool::new(false);
        Ok((Self { storage, document, format, upgraded, catalogue, is_vacant, keys }, report))
    }
}

pub(super) fn render_document(document: &RepositoryDocument) -> Result<Vec<u8>, StorageError> {
    let bytes = serde_json::to_vec_pretty(document);
    Ok(sealed::seal(&bytes.map_err(|error| StorageError::new("write", layout::REPOSITORY, error.into()))?))
}

/// Whether two places hold a backup of the same name, which no two repositories do.
pub fn are_related(one: &dyn Storage, other: &dyn Storage) -> Result<bool, StorageError> {
    for set in one.list_directories(&layout::top(layout::MANIFESTS))? {
        let Ok(set) = set.parse::<SetName>() else { continue };
        let backups = |storage: &dyn Storage| -> Result<HashSet<BackupId>, StorageError> {
            let files = storage.list(&layout::manifest_directory(&set))?;
            let known = files.iter().filter_map(|file| layout::manifest_file(&file.name));
            Ok(known.filter_map(|f| if let ManifestFile::Manifest(id) = f { Some(id) } else { None }).collect())
        };
        if !backups(one)?.is_disjoint(&backups(other)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn create_as(storage: &dyn Storage, document: &[u8]) -> Result<(), OpenError> {
    if place::remains(storage)? != Remains::Nothing {
        return Err(OpenError::Headless(storage.location()));
    }
    lay_out(storage)?;
    match storage.put_new(&layout::top(layout::REPOSITORY), document)? {
        Put::Created => Ok(()),
        Put::Existed => Err(OpenError::Exists(storage.location())),
    }
}

/// Everything of a repository that holds no backup, but for the document that makes it one.
pub(super) fn lay_out(storage: &dyn Storage) -> Result<(), StorageError> {
    for directory in [layout::MANIFESTS, layout::OBJECTS, layout::QUARANTINE, layout::STATE] {
        storage.create_directory(&layout::top(directory))?;
    }
    for first in 0..=u8::MAX {
        storage.create_directory(&layout::object_directory(first))?;
    }
    storage.replace(&layout::top(layout::RESTORE_TXT), RESTORE_TXT.as_bytes(), Durability::Durable)
}

fn read_document(storage: &dyn Storage) -> Result<RepositoryDocument, OpenError> {
    #[derive(serde::Deserialize)]
    struct AnyFormat {
        format: u32,
    }
    let location = storage.location();
    let damaged = |fault: String| OpenError::Damaged { location: location.clone(), fault };
    let bytes = match storage.read(&layout::top(layout::REPOSITORY), MAX_DOCUMENT_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind == StorageErrorKind::NotFound => {
            let headless = place::remains(storage)? != Remains::Nothing;
            return Err(if headless { OpenError::Headless(location) } else { OpenError::Absent(location) });
        }
        Err(error) if matches!(error.kind, StorageErrorKind::TooLarge | StorageErrorKind::WrongType) => {
            return Err(damaged(error.source.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let any: AnyFormat = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    // Sealed in every format: a digit that turned makes no newer one.
    if !sealed::is_sealed(&bytes) {
        return Err(damaged(sealed::BROKEN.to_owned()));
    }
    if any.format > FORMAT {
        return Err(OpenError::Newer { location, format: any.format });
    }
    let document: RepositoryDocument = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    let well_named = document.id.len() == 32 && document.id.bytes().all(|b| b.is_ascii_hexdigit());
    if (FORMAT_1..=FORMAT).contains(&document.format) && well_named {
        Ok(document)
    } else {
        Err(damaged("it names no repository".into()))
    }
}

fn clear_leftovers(storage: &dyn Storage) -> Result<usize, StorageError> {
    // Also those that hold directories only: one that a killed process made is there, and perhaps not durably so.
    let tops = [layout::MANIFESTS, layout::OBJECTS, layout::STATE, layout::QUARANTINE];
    let mut directories: Vec<StoragePath> = tops.into_iter().map(layout::top).collect();
    directories.extend((0..=u8::MAX).map(layout::object_directory));
    let sets = storage.list_directories(&layout::top(layout::MANIFESTS))?;
    directories.extend(sets.iter().filter_map(|set| layout::top(layout::MANIFESTS).join(set).ok()));
    directories.iter().try_fold(0, |cleared, directory| Ok(cleared + storage.clear_temporary(directory)?))
}

/// The objects that are there, and the second files for them. An object of which there are only such is there, too.
fn list_objects(storage: &dyn Storage) -> Result<Catalogue, StorageError> {
    let (mut objects, mut second_files) = (HashMap::new(), HashMap::<Digest, SecondFiles>::new());
    for first in 0..=u8::MAX {
        for file in storage.list(&layout::object_directory(first))? {
            match layout::object_file(&file.name).filter(|(name, _)| name.as_bytes()[0] == first) {
                Some((name, None)) => drop(objects.insert(name, file.size_bytes)),
                Some((name, Some(number))) => {
                    second_files.entry(name).or_default().insert(number, file.size_bytes);
                }
                None => {}
            }
        }
    }
    for (name, files) in &second_files {
        if let Some(size_bytes) = files.values().next() {
            objects.entry(*name).or_insert(*size_bytes);
        }
    }
    Ok(Catalogue::of_objects(objects, second_files))
}

fn read_timelines(
    storage: &dyn Storage,
    repository: &str,
    report: &mut OpenReport,
) -> Result<KnownTimelines, StorageError> {
    let (root, name) = (StoragePath::root(), layout::TIMELINES);
    let files = storage.list(&root)?;
    let parse = |bytes: &[u8]| stored::parse_timelines(repository, bytes);
    let read = generations::read(storage, &root, name, &files, MAX_DOCUMENT_BYTES, parse);
    let in_doubt = !read.faults.is_empty();
    report.faults.extend(read.faults);
    Ok(KnownTimelines::new(read.value.unwrap_or_default(), read.row, in_doubt))
}

fn read_set(
    storage: &dyn Storage,
    set: &SetName,
    told: Option<VerificationDocument>,
    catalogue: &mut Catalogue,
    report: &mut OpenReport,
) -> Result<(), StorageError> {
    let files = storage.list(&layout::manifest_directory(set))?;
    let known: Vec<ManifestFile> = files.iter().filter_map(|file| layout::manifest_file(&file.name)).collect();
    let ids: Vec<BackupId> =
        known.iter().filter_map(|f| if let ManifestFile::Manifest(id) = f { Some(*id) } else { None }).collect();
    let pinned = read_documents(storage, set, &files, catalogue.set_mut(set), report);
    for (id, result) in read_manifests(storage, &Keys::default(), set, &ids) {
        let (content, finding) = match result {
            Ok(content) => (Some(Arc::new(content)), Finding::Unverified),
            Err(error) if error.is_damage() => (None, Finding::Damaged(error.to_string())),
            Err(error) => (None, Finding::Unreadable(error.to_string())),
        };
        let (set, pinned) = (set.clone(), pinned(id));
        catalogue.add_backup(Backup { id, set, pinned, content, finding, remembered: None });
    }
    report.faults.extend(verification::recall(storage, set, told, catalogue));
    Ok(())
}

/// Reads what stands beside the manifests of a set; tells which of its backups are pinned.
fn read_documents(
    storage: &dyn Storage,
    set: &SetName,
    files: &[Listed],
    index: &mut SetIndex,
    report: &mut OpenReport,
) -> impl Fn(BackupId) -> bool + use<> {
    let directory = layout::manifest_directory(set);
    let pruned = generations::read(storage, &directory, layout::PRUNED, files, stored::MAX_PRUNED_BYTES, |bytes| {
        stored::parse_pruned(set, Some(Generation(1)), bytes)
    });
    if pruned.row.is_begun() {
        (index.pruned, index.pruned_in_doubt) = (pruned.value.unwrap_or_default(), !pruned.faults.is_empty());
        report.faults.extend(pruned.faults);
    } else {
        match stored::read_pruned_of_format_1(storage, set) {
            Ok(pruned) => index.pruned = pruned.unwrap_or_default(),
            Err(fault) => {
                index.pruned_in_doubt = true;
                report.faults.push(fault);
            }
        }
    }
    index.pruned_row = pruned.row;
    let pins = generations::read(storage, &directory, layout::PINS, files, MAX_DOCUMENT_BYTES, |bytes| {
        stored::parse_pins(set, bytes)
    });
    let is_pin = |file: &Listed| match layout::manifest_file(&file.name)? {
        ManifestFile::Pin(id) => Some(id),
        ManifestFile::Manifest(_) => None,
    };
    let of_format_1: BTreeSet<BackupId> = files.iter().filter_map(is_pin).collect();
    index.pins_of_format_1.clone_from(&of_format_1);
    index.pins_in_doubt = !pins.faults.is_empty();
    report.faults.extend(pins.faults);
    // Where none of a row can be read, anything may have been pinned.
    let is_unknown = pins.row.is_begun() && pins.value.is_none();
    index.pins_row = pins.row;
    let pins = pins.value.unwrap_or_default();
    index.listed_pins.clone_from(&pins);
    move |id| is_unknown || pins.pinned.contains(&id) || of_format_1.contains(&id)
}

/// Reads manifests on every core: at thousands of them the opening waits for little else.
pub(super) fn read_manifests(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    ids: &[BackupId],
) -> BTreeMap<BackupId, Result<Content, ReadError>> {
    let next = AtomicUsize::new(0);
    let read_some = || {
        let mut read = Vec::new();
        while let Some(id) = ids.get(next.fetch_add(1, Ordering::Relaxed)) {
            read.push((*id, read::manifest_or_envelope(storage, keys, set, *id)));
        }
        read
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(ids.len() / 64 + 1);
    if threads == 1 {
        return read_some().into_iter().collect();
    }
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(read_some)).collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// A backup that needs an object which is not there, or has another size, is damaged whatever was found before.
fn mark_incomplete(catalogue: &mut Catalogue) {
    let incomplete: Vec<(BackupId, String)> = catalogue
        .backups()
        .filter_map(|backup| {
            let envelope = &backup.content.as_ref()?.manifest.envelope;
            let fault = envelope.objects.iter().find_map(|object| match catalogue.object(&object.name) {
                None => Some(format!("{} is absent", layout::object(&object.name))),
                Some(stored_bytes)
                    if stored_bytes != object.stored_bytes
                        && !catalogue.second_files(&object.name).any(|(_, bytes)| bytes == object.stored_bytes) =>
                {
                    Some(format!("{} has another size than was stored", layout::object(&object.name)))
                }
                Some(_) => None,
            })?;
            Some((backup.id, fault))
        })
        .collect();
    for (id, fault) in incomplete {
        catalogue.update(id, |backup| backup.finding = Finding::Damaged(fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_of_frozen_repositories_are_no_damage() {
        let frozen: [&[u8]; 3] = [
            include_bytes!("../../tests/frozen/format-1/repository/RESTORE.txt"),
            include_bytes!("../../tests/frozen/format-2/repository/RESTORE.txt"),
            include_bytes!("../../tests/frozen/format-2-packs/repository/RESTORE.txt"),
        ];
        assert!(frozen.into_iter().all(are_instructions) && are_instructions(RESTORE_TXT.as_bytes()));
        assert!(!are_instructions(b"") && !are_instructions(&frozen[0][1..]));
        let format = include_str!("FORMAT.md");
        assert!(OLDER_RESTORE_TXTS.iter().all(|hash| format.contains(hash)), "FORMAT.md lists each");
    }
}
