//! Every file that must stay what it was: what it is, and what its bytes must be.
//!
//! Hazard: a kind of file that nobody checks is the one that is damaged. Whatever is stored, and no state that can be
//! rebuilt, is one of these; scrubs, healing and replicas speak of nothing else.

use crate::core::scrub::Shard;
use crate::core::{BackupId, Digest, Position, SetName};
use crate::storage::{Durability, Storage, StorageError, StoragePath};

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use super::catalogue::{Backup, SetIndex};
use super::generations::{self, Generation};
use super::layout::{self, ManifestFile};
use super::manifest::{self, MAX_MANIFEST_BYTES};
use super::object::{MAX_STORED_BYTES, ObjectFault};
use super::open::{RESTORE_TXT, are_instructions};
use super::pins::Pins;
use super::pruned::Pruned;
use super::timelines::{self, KnownTimelines, TimelineEntry};
use super::wire::{FORMAT, RepositoryDocument};
use super::{ReadError, ReadFrom, Repository, WriteError, read, sealed};

/// The most that a small document can measure.
pub(super) const MAX_DOCUMENT_BYTES: u64 = 1 << 20;
/// A million versions, each with a line of its own.
pub(super) const MAX_PRUNED_BYTES: u64 = 64 << 20;

/// A file that must stay what it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoredFile {
    /// `repository.json`.
    Repository,
    /// The instructions for people.
    Instructions,
    /// The timelines.
    Timelines(Generation),
    /// What of a set was deleted on purpose; without a generation in the form of format 1.
    Pruned(SetName, Option<Generation>),
    /// Which backups of a set are pinned.
    Pins(SetName, Generation),
    /// A pin of format 1.
    Pin(SetName, BackupId),
    /// A backup.
    Manifest(SetName, BackupId),
    /// A chunk of content.
    Object(Digest),
}

impl StoredFile {
    /// Where it is in a repository.
    pub fn path(&self) -> StoragePath {
        match self {
            Self::Repository => layout::top(layout::REPOSITORY),
            Self::Instructions => layout::top(layout::RESTORE_TXT),
            Self::Timelines(generation) => layout::generation(&StoragePath::root(), layout::TIMELINES, *generation),
            Self::Pruned(set, None) => layout::pruned_of_format_1(set),
            Self::Pruned(set, Some(generation)) => {
                layout::generation(&layout::manifest_directory(set), layout::PRUNED, *generation)
            }
            Self::Pins(set, generation) => {
                layout::generation(&layout::manifest_directory(set), layout::PINS, *generation)
            }
            Self::Pin(set, id) => layout::pin(set, *id),
            Self::Manifest(set, id) => layout::manifest(set, *id),
            Self::Object(name) => layout::object(name),
        }
    }

    /// The file whose place in a repository this is; `None` if it is none of these.
    pub fn at(place: &str) -> Option<Self> {
        let segments: Vec<&str> = place.split('/').collect();
        let file = match segments[..] {
            [layout::REPOSITORY] => Self::Repository,
            [layout::RESTORE_TXT] => Self::Instructions,
            [layout::OBJECTS, _, _] => Self::Object(layout::object_name(place)?),
            [layout::MANIFESTS, set, name] => match (set.parse().ok()?, layout::manifest_file(name)) {
                (set, Some(ManifestFile::Manifest(id))) => Self::Manifest(set, id),
                (set, Some(ManifestFile::Pin(id))) => Self::Pin(set, id),
                (set, None) => match generations::number(layout::PINS, name) {
                    Some(generation) => Self::Pins(set, generation),
                    None => Self::Pruned(set, generations::number(layout::PRUNED, name)),
                },
            },
            [name] => Self::Timelines(generations::number(layout::TIMELINES, name)?),
            _ => return None,
        };
        (file.path().as_str() == place).then_some(file)
    }

    /// Whether its damage counts towards recovery mode: what stands beside the backups is known by heart, and loses nothing.
    pub const fn counts(&self) -> bool {
        matches!(self, Self::Object(_) | Self::Manifest(..) | Self::Repository)
    }

    /// Whether it is none of those that backups consist of.
    pub const fn is_document(&self) -> bool {
        !matches!(self, Self::Object(_) | Self::Manifest(..))
    }

    /// The object, if it is one.
    pub const fn object(&self) -> Option<Digest> {
        if let Self::Object(name) = self { Some(*name) } else { None }
    }

    pub(super) const fn limit_bytes(&self) -> u64 {
        match self {
            Self::Object(_) => MAX_STORED_BYTES,
            Self::Manifest(..) => MAX_MANIFEST_BYTES,
            Self::Pruned(..) => MAX_PRUNED_BYTES,
            Self::Repository | Self::Instructions | Self::Timelines(_) | Self::Pins(..) | Self::Pin(..) => {
                MAX_DOCUMENT_BYTES
            }
        }
    }
}

impl Repository {
    /// The bytes of a stored file, which are what they must be, as far as its name and what is known of it tell. A
    /// mismatch is looked at a second time before it counts.
    pub fn read_stored(&self, file: &StoredFile, from: ReadFrom) -> Result<Vec<u8>, ReadError> {
        let (path, limit_bytes) = (file.path(), file.limit_bytes());
        read::confirmed(self.storage.as_ref(), &path, limit_bytes, from, |bytes: Vec<u8>| {
            self.check_stored(file, &bytes).map(|()| bytes)
        })
    }

    /// Whether a stored file must be there now. What is deleted is unknown here before it goes, so one that is absent, and
    /// is not expected, was no loss.
    pub fn expects(&self, file: &StoredFile) -> bool {
        let catalogue = self.catalogue();
        match file {
            StoredFile::Object(name) => catalogue.object(name).is_some() || catalogue.is_referenced(name),
            StoredFile::Manifest(_, id) => catalogue.get(*id).is_some(),
            StoredFile::Pruned(set, _) | StoredFile::Pins(set, _) | StoredFile::Pin(set, _) => {
                catalogue.set(set).is_some_and(|index| self.documents_of(set, index).contains(file))
            }
            StoredFile::Timelines(generation) => catalogue.timelines().row.expected() == Some(*generation),
            StoredFile::Repository | StoredFile::Instructions => true,
        }
    }

    /// Whether these bytes are those of a stored file; why not, if they are not.
    pub fn check_stored(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), String> {
        match file {
            StoredFile::Object(name) if Digest::of(bytes) == *name => Ok(()),
            StoredFile::Object(_) => Err(ObjectFault::Hash.to_string()),
            StoredFile::Manifest(set, id) => {
                let (_, digest) = manifest::decode(set, *id, bytes, &self.keys()).map_err(|fault| fault.to_string())?;
                let catalogue = self.catalogue();
                match catalogue.get(*id).and_then(Backup::digest) {
                    Some(known) if known != digest => Err("it is not the manifest that was there before".into()),
                    _ => Ok(()),
                }
            }
            StoredFile::Instructions if are_instructions(bytes) => Ok(()),
            StoredFile::Instructions => Err("it is no text that this program or an older one writes".into()),
            StoredFile::Pin(..) if bytes.is_empty() => Ok(()),
            StoredFile::Pin(..) => Err("a pin is empty".into()),
            StoredFile::Timelines(_) => {
                let entries = parse_timelines(self.id(), bytes)?;
                let catalogue = self.catalogue();
                let known = catalogue.timelines();
                let same = known.in_doubt || known.entries() == entries;
                if same { Ok(()) } else { Err("these are not the timelines that were there before".into()) }
            }
            StoredFile::Pins(set, _) => {
                let pins = parse_pins(set, bytes)?;
                let catalogue = self.catalogue();
                let known = catalogue.set(set).filter(|index| !index.pins_in_doubt);
                // Of backups that are gone it need not speak, and may.
                let same = known.is_none_or(|index| {
                    let of_those_here = |backup: &&Backup| pins.pinned.contains(&backup.id);
                    let pinned = index.backups().iter().filter(of_those_here).map(|backup| backup.id);
                    let of_format_1 = index.pins_of_format_1.iter().copied();
                    let known = index.pins();
                    pinned.chain(of_format_1).collect::<BTreeSet<_>>() == known.pinned
                        && pins.unpinned == known.unpinned
                });
                if same { Ok(()) } else { Err("it is not the list that was there before".into()) }
            }
            StoredFile::Pruned(set, generation) => {
                let pruned = parse_pruned(set, *generation, bytes)?;
                let catalogue = self.catalogue();
                let known = catalogue.set(set).filter(|index| !index.pruned_in_doubt).map(|index| &index.pruned);
                let same = known.is_none_or(|known| *known == pruned);
                if same { Ok(()) } else { Err("it is not the list that was there before".into()) }
            }
            StoredFile::Repository => {
                let document: Option<RepositoryDocument> = serde_json::from_slice(bytes).ok();
                match document {
                    _ if !sealed::is_sealed(bytes) => Err(sealed::BROKEN.into()),
                    // One that was founded again has another date than its replicas.
                    Some(document) if document.id == self.document.id && document.format == self.document().format => {
                        Ok(())
                    }
                    _ => Err("it is another repository's".into()),
                }
            }
        }
    }

    /// The bytes of a small document that is known by heart, whatever the disk says.
    pub fn known_bytes(&self, file: &StoredFile) -> Option<Vec<u8>> {
        let document = match file {
            StoredFile::Object(_) | StoredFile::Manifest(..) => return None,
            StoredFile::Instructions => return Some(RESTORE_TXT.into()),
            StoredFile::Pin(_, id) => return self.catalogue().get(*id)?.pinned.then(Vec::new),
            StoredFile::Timelines(_) => {
                let catalogue = self.catalogue();
                let known = Some(catalogue.timelines()).filter(|known| !known.in_doubt)?;
                serde_json::to_vec(&known.to_document(self.id()))
            }
            StoredFile::Pins(set, _) => {
                let catalogue = self.catalogue();
                let index = catalogue.set(set).filter(|index| !index.pins_in_doubt)?;
                serde_json::to_vec(&index.pins().to_document(set))
            }
            StoredFile::Pruned(set, generation) => {
                let catalogue = self.catalogue();
                let index = catalogue.set(set).filter(|index| !index.pruned_in_doubt)?;
                return render_pruned(&index.pruned, set, *generation);
            }
            StoredFile::Repository => serde_json::to_vec_pretty(&self.document()),
        };
        document.ok().map(|document| sealed::seal(&document))
    }

    /// The file that stands here for what `file` is in another copy of this repository; `None` if there is none.
    pub fn counterpart(&self, file: &StoredFile) -> Option<StoredFile> {
        let catalogue = self.catalogue();
        let documents = |set| catalogue.set(set).map_or_else(Vec::new, |index| self.documents_of(set, index));
        match file {
            StoredFile::Pruned(set, _) => documents(set).into_iter().find(|own| matches!(own, StoredFile::Pruned(..))),
            StoredFile::Pins(set, _) => documents(set).into_iter().find(|own| matches!(own, StoredFile::Pins(..))),
            StoredFile::Timelines(_) => catalogue.timelines().row.expected().map(StoredFile::Timelines),
            _ => Some(file.clone()),
        }
    }

    /// The bytes that belong in the place of a stored file, given those of its counterpart in a copy of this repository;
    /// `None` if they do not help. What a copy let go of by its own rule and is here was not pruned here.
    pub fn fitted(&self, file: &StoredFile, (counterpart, copied): (&StoredFile, Vec<u8>)) -> Option<Vec<u8>> {
        match (file, counterpart) {
            (StoredFile::Pruned(set, generation), StoredFile::Pruned(_, theirs)) => {
                let pruned = {
                    let catalogue = self.catalogue();
                    let index = catalogue.set(set).filter(|index| index.pruned_in_doubt)?;
                    let here = index.backups().iter().filter(|backup| backup.content.is_some());
                    let present: Vec<Position> = here.filter_map(Backup::position).collect();
                    index.pruned.and(&parse_pruned(set, *theirs, &copied).ok()?, &present)
                };
                render_pruned(&pruned, set, *generation)
            }
            (StoredFile::Pins(set, _), StoredFile::Pins(..)) => {
                self.catalogue().set(set).filter(|index| index.pins_in_doubt)?;
                parse_pins(set, &copied).is_ok().then_some(copied)
            }
            (StoredFile::Timelines(_), _) => {
                let is_in_doubt = self.catalogue().timelines().in_doubt;
                (is_in_doubt && parse_timelines(self.id(), &copied).is_ok()).then_some(copied)
            }
            _ => self.check_stored(file, &copied).is_ok().then_some(copied),
        }
    }

    /// The documents that a set must have: what was deleted on purpose, and what is pinned, if there is any.
    fn documents_of(&self, set: &SetName, index: &SetIndex) -> Vec<StoredFile> {
        const FIRST: Generation = Generation(1);
        let is_format_2 = self.document().format >= FORMAT;
        let mut documents = Vec::new();
        match index.pruned_row.expected() {
            Some(generation) => documents.push(StoredFile::Pruned(set.clone(), Some(generation))),
            None if index.pruned_in_doubt => {
                documents.push(StoredFile::Pruned(set.clone(), is_format_2.then_some(FIRST)))
            }
            None if index.pruned.last().is_some() => documents.push(StoredFile::Pruned(set.clone(), None)),
            None => {}
        }
        let pinned = || index.backups().iter().filter(|backup| backup.pinned).map(|backup| backup.id);
        match index.pins_row.expected() {
            Some(generation) => documents.push(StoredFile::Pins(set.clone(), generation)),
            // A row that is gone, and remembered.
            None if is_format_2 && pinned().any(|id| !index.pins_of_format_1.contains(&id)) => {
                documents.push(StoredFile::Pins(set.clone(), FIRST));
            }
            None => documents.extend(pinned().map(|id| StoredFile::Pin(set.clone(), id))),
        }
        documents
    }

    /// The shards of everything stored, each with the bytes of its objects.
    pub fn shards(&self) -> Vec<(Shard, u64)> {
        let catalogue = self.catalogue();
        let mut objects = [0; 256];
        for (name, stored_bytes) in catalogue.objects() {
            objects[usize::from(name.as_bytes()[0])] += stored_bytes;
        }
        let sets = catalogue.sets().map(|(set, _)| (Shard::Set(set.clone()), 0));
        let objects = (0..=u8::MAX).map(|first| (Shard::Objects(first), objects[usize::from(first)]));
        [(Shard::Top, 0)].into_iter().chain(sets).chain(objects).collect()
    }

    /// What must be in a shard, ordered by path.
    pub fn stored_files(&self, shard: &Shard) -> Vec<StoredFile> {
        let catalogue = self.catalogue();
        let mut files: Vec<StoredFile> = match shard {
            Shard::Top => {
                let timelines = catalogue.timelines().row.expected().map(StoredFile::Timelines);
                [StoredFile::Repository, StoredFile::Instructions].into_iter().chain(timelines).collect()
            }
            Shard::Objects(first) => {
                let here = catalogue.objects().filter(|(name, _)| name.as_bytes()[0] == *first);
                here.map(|(name, _)| StoredFile::Object(*name)).collect()
            }
            Shard::Set(set) => {
                let Some(index) = catalogue.set(set) else { return Vec::new() };
                let documents = self.documents_of(set, index).into_iter();
                let manifests = index.backups().iter().map(|backup| StoredFile::Manifest(set.clone(), backup.id));
                // Those that are known to be absent are in no shard of objects.
                let absent = catalogue.absent(index.backups().iter()).into_iter().map(StoredFile::Object);
                documents.chain(manifests).chain(absent).collect()
            }
        };
        files.sort_unstable();
        files
    }

    /// Puts `bytes`, which must be what belongs there, in the place of a stored file. A manifest that comes is unverified
    /// until its backup is read.
    pub fn put_back(&self, file: &StoredFile, bytes: &[u8]) -> Result<(), WriteError> {
        let path = file.path();
        self.check_stored(file, bytes).map_err(|fault| WriteError::Misplaced { path: path.to_string(), fault })?;
        self.require_format_of(file)?;
        self.storage.replace(&path, bytes, Durability::Durable)?;
        self.adopt(file, bytes);
        Ok(())
    }

    /// Makes this a repository of the format that a file is of.
    pub(super) fn require_format_of(&self, file: &StoredFile) -> Result<(), WriteError> {
        match file {
            StoredFile::Manifest(_, id) if !id.is_of_format_1() => self.require_format_2(),
            StoredFile::Pruned(_, Some(_)) | StoredFile::Pins(..) | StoredFile::Timelines(_) => self.require_format_2(),
            _ => Ok(()),
        }
    }

    /// Takes note of a stored file that is right, these being its bytes, where nothing was known of it.
    pub fn welcome(&self, file: &StoredFile, bytes: &[u8]) {
        let unknown = match file {
            StoredFile::Object(name) => self.catalogue().object(name) != Some(bytes.len() as u64),
            StoredFile::Manifest(_, id) => self.catalogue().get(*id).is_none_or(|backup| backup.content.is_none()),
            StoredFile::Pruned(set, _) => self.catalogue().set(set).is_none_or(|index| index.pruned_in_doubt),
            StoredFile::Pins(set, _) => self.catalogue().set(set).is_none_or(|index| index.pins_in_doubt),
            StoredFile::Timelines(_) => self.catalogue().timelines().in_doubt,
            StoredFile::Pin(..) | StoredFile::Repository | StoredFile::Instructions => false,
        };
        if unknown {
            self.adopt(file, bytes);
        }
    }

    /// Takes note that a stored file is right again, these being its bytes.
    pub(super) fn adopt(&self, file: &StoredFile, bytes: &[u8]) {
        let opened = match file {
            StoredFile::Manifest(set, id) => read::opened(self.storage.as_ref(), &self.keys(), set, *id, bytes),
            _ => Err(ReadError::Absent(file.path().to_string())),
        };
        let mut catalogue = self.catalogue_mut();
        match file {
            StoredFile::Object(name) => catalogue.add_object(*name, bytes.len() as u64),
            StoredFile::Manifest(set, id) => {
                if let Ok(content) = opened {
                    catalogue.adopt_manifest(set, *id, content);
                }
            }
            StoredFile::Pruned(set, generation) => {
                if let Ok(pruned) = parse_pruned(set, *generation, bytes) {
                    catalogue.adopt_pruned(set, pruned);
                    generation.iter().for_each(|generation| catalogue.set_mut(set).pruned_row.note(*generation));
                }
            }
            StoredFile::Pins(set, generation) => {
                if let Ok(pins) = parse_pins(set, bytes) {
                    let index = catalogue.set_mut(set);
                    let mut row = index.pins_row.clone();
                    row.note(*generation);
                    index.adopt_pins(pins, row);
                }
            }
            StoredFile::Timelines(generation) => {
                if let Ok(entries) = parse_timelines(self.id(), bytes) {
                    let mut row = catalogue.timelines().row.clone();
                    row.note(*generation);
                    catalogue.adopt_timelines(KnownTimelines::new(entries, row, false));
                }
            }
            StoredFile::Pin(_, id) => catalogue.update(*id, |backup| backup.pinned = true),
            StoredFile::Repository | StoredFile::Instructions => {}
        }
    }
}

/// What a list of pruned sequences of `set` says; why it cannot be believed, if so.
pub(super) fn parse_pruned(set: &SetName, generation: Option<Generation>, bytes: &[u8]) -> Result<Pruned, String> {
    let pruned = match generation {
        Some(_) => Pruned::from_document(set, parse(bytes)?),
        None => Pruned::from_document_1(set, parse(bytes)?),
    };
    pruned.map_err(str::to_owned)
}

/// What a list of the pins of `set` says; why it cannot be believed, if so.
pub(super) fn parse_pins(set: &SetName, bytes: &[u8]) -> Result<Pins, String> {
    Pins::from_document(set, parse(bytes)?).map_err(str::to_owned)
}

/// What a list of the timelines of this repository says; why it cannot be believed, if so.
pub(super) fn parse_timelines(repository: &str, bytes: &[u8]) -> Result<Vec<TimelineEntry>, String> {
    timelines::entries_of(repository, parse(bytes)?).map_err(str::to_owned)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    if !sealed::is_sealed(bytes) {
        return Err(sealed::BROKEN.into());
    }
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn render_pruned(pruned: &Pruned, set: &SetName, generation: Option<Generation>) -> Option<Vec<u8>> {
    let document = match generation {
        Some(_) => serde_json::to_vec(&pruned.to_document(set)),
        None => serde_json::to_vec(&pruned.to_document_1(set)),
    };
    document.ok().map(|document| sealed::seal(&document))
}

/// What a storage holds at the place of a list of format 1; `None` if nothing.
pub(super) fn read_pruned_of_format_1(storage: &dyn Storage, set: &SetName) -> Result<Option<Pruned>, String> {
    let path = layout::pruned_of_format_1(set);
    match storage.read(&path, MAX_PRUNED_BYTES) {
        Ok(bytes) => parse_pruned(set, None, &bytes).map(Some).map_err(|fault| format!("{path}: {fault}")),
        Err(StorageError { kind: crate::storage::StorageErrorKind::NotFound, .. }) => Ok(None),
        Err(error) => Err(format!("{error}: {}", error.source)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_which_file_is_there_and_nothing_else_does() {
        let set: SetName = "security".parse().unwrap();
        let id: BackupId = "20261123T101500Z-3f9c2ab1".parse().unwrap();
        let files = [
            StoredFile::Repository,
            StoredFile::Instructions,
            StoredFile::Pruned(set.clone(), None),
            StoredFile::Pruned(set.clone(), Some(Generation(7))),
            StoredFile::Pins(set.clone(), Generation(12)),
            StoredFile::Timelines(Generation(1)),
            StoredFile::Pin(set.clone(), id),
            StoredFile::Manifest(set, id),
            StoredFile::Object(Digest::of(b"x")),
        ];
        for file in files {
            assert_eq!(StoredFile::at(file.path().as_str()), Some(file));
        }
        for place in ["", "lock", "state/mode.json", "manifests/security/x", "objects/00/x", "a.json", "objects"] {
            assert_eq!(StoredFile::at(place), None, "{place}");
        }
        let misplaced = format!("objects/00/{}", Digest::of(b"x"));
        assert_eq!(StoredFile::at(&misplaced), None);
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_refused_unread_beyond() {
        let directory = tempfile::tempdir().unwrap();
        let storage: std::sync::Arc<dyn Storage> =
            std::sync::Arc::new(crate::storage::local::Local::open(directory.path()).unwrap());
        Repository::create(storage.clone(), chrono::DateTime::UNIX_EPOCH).unwrap();
        let repository = Repository::open(storage, false).unwrap().0;
        let set: SetName = "security".parse().unwrap();
        let id: BackupId = "20261123T101500Z-3f9c2ab10123456789abcdef01234567".parse().unwrap();
        for (file, limit_bytes) in [
            (StoredFile::Repository, 1 << 20),
            (StoredFile::Timelines(Generation(1)), 1 << 20),
            (StoredFile::Pins(set.clone(), Generation(1)), 1 << 20),
            (StoredFile::Pruned(set.clone(), Some(Generation(1))), 64 << 20),
            (StoredFile::Object(Digest::of(b"x")), 1_065_984),
            (StoredFile::Manifest(set, id), 256 << 20),
        ] {
            let path = directory.path().join(file.path().as_str());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let fault = |length: u64| {
                std::fs::File::create(&path).unwrap().set_len(length).unwrap();
                match repository.read_stored(&file, ReadFrom::Anywhere) {
                    Err(ReadError::Damaged(_, fault)) => fault,
                    other => panic!("{file:?} of {length} bytes: {other:?}"),
                }
            };
            assert!(!fault(limit_bytes).contains("larger than"), "{file:?} at its limit");
            assert!(fault(limit_bytes + 1).contains("larger than"), "{file:?} beyond its limit");
        }
    }
}
