//! Storing the content of a backup.
//!
//! Hazard: what a backup needs must be right on the disk, whoever wrote it. What is shared is read while the content is
//! still in hand, each object once, and mended at once if it is not right.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::memory::Memory;
use super::{ArchiveError, Request};
use crate::core::{ChunkKey, Digest};
use crate::pipeline::capture::ContentStore;
use crate::pipeline::heal::rebuild;
use crate::pipeline::lineage::Ancestors;
use crate::pipeline::seen::RECOGNISED_FROM_BYTES;
use crate::pipeline::source::Look;
use crate::pipeline::verify::{Damage, damage_of};
use crate::repository::body::chunks_of_lines;
use crate::repository::encryption::{Fingerprint, Keys};
use crate::repository::object::{Encoded, Encoder};
use crate::repository::pack::{FullPack, Packer, Place, Slot, UNPLACED};
use crate::repository::wire::{Chunk, FileEntry, Manifest};
use crate::repository::{Note, ReadError, ReadFrom, Repository, StoredFile, WriteError};
use crate::storage::Staged;

/// Stores chunks: shares what is stored already and right, stages what is not.
pub(super) struct ObjectWriter<'a> {
    repository: &'a Repository,
    request: &'a Request<'a>,
    keys: &'a Keys,
    recipients: Vec<Fingerprint>,
    memory: &'a Memory,
    ancestors: &'a Ancestors,
    /// The packs whose chunks are shared.
    well_used: HashSet<Digest>,
    encoders: Mutex<Vec<Encoder<'a>>>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    staged: HashMap<Digest, (Staged, u64)>,
    /// Where the chunks of large files are.
    whole: HashMap<ChunkKey, Digest>,
    /// Where the content of small files is.
    small: HashMap<ChunkKey, Small>,
    packer: Packer,
    proven: HashSet<Digest>,
    repaired: Vec<Digest>,
    /// Objects that should have been shared, and are not right.
    wrong: HashSet<Digest>,
    /// Where content was that is in one of those.
    before: Vec<(ChunkKey, Digest)>,
}

/// Where the content of a small file is.
#[derive(Clone, Copy)]
enum Small {
    /// Stored already.
    At(Place),
    /// On its way into a pack.
    In(Slot),
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> ObjectWriter<'a> {
    pub fn new(
        repository: &'a Repository,
        request: &'a Request<'a>,
        keys: &'a Keys,
        memory: &'a Memory,
        ancestors: &'a Ancestors,
    ) -> Self {
        let well_used = repository.catalogue().well_used_packs(&request.set.name);
        let (encoders, written) = (Mutex::default(), Mutex::default());
        let recipients = keys.fingerprints();
        Self { repository, request, keys, recipients, memory, ancestors, well_used, encoders, written }
    }

    /// The object that holds a chunk of a large file.
    fn place(&self, key: ChunkKey, content: &[u8]) -> Result<Digest, ArchiveError> {
        if let Some(object) = locked(&self.written).whole.get(&key) {
            return Ok(*object);
        }
        let shared = self.repository.catalogue().chunk(&self.recipients, None, &key);
        let object = match shared {
            Some(shared) if self.is_right(shared.object, key)? => shared.object,
            _ => self.put(self.encode(|encoder| encoder.encode(content))?)?,
        };
        locked(&self.written).whole.insert(key, object);
        Ok(object)
    }

    /// Where the content of a small file is: shared, or on its way into a pack.
    fn place_small(&self, key: ChunkKey, content: &[u8]) -> Result<Small, ArchiveError> {
        if let Some(known) = locked(&self.written).small.get(&key) {
            return Ok(*known);
        }
        for shared in self.shared(&key) {
            if self.is_right(shared.object, key)? {
                let place = Small::At(shared);
                locked(&self.written).small.insert(key, place);
                return Ok(place);
            }
        }
        let frame = self.encode(|encoder| encoder.compress(content))?;
        let (slot, full) = {
            let mut written = locked(&self.written);
            // The same content may have come from another thread meanwhile.
            if let Some(known) = written.small.get(&key) {
                return Ok(*known);
            }
            let (slot, full) = written.packer.push(&frame, content.len());
            written.small.insert(key, Small::In(slot));
            (Small::In(slot), full)
        };
        full.map_or(Ok(()), |full| self.store_pack(full))?;
        Ok(slot)
    }

    /// Where small content may be shared from: well used packs of the set, and objects of their own.
    fn shared(&self, key: &ChunkKey) -> impl Iterator<Item = Place> + use<> {
        let catalogue = self.repository.catalogue();
        let packed = catalogue.chunk(&self.recipients, Some(&self.request.set.name), key);
        let packed = packed.filter(|place| self.well_used.contains(&place.object));
        packed.into_iter().chain(catalogue.chunk(&self.recipients, None, key))
    }

    fn store_pack(&self, pack: FullPack) -> Result<(), ArchiveError> {
        let encoded = self.encode(|encoder| encoder.seal(pack.frames.clone()))?;
        let name = self.put(encoded)?;
        locked(&self.written).packer.name(&pack, name);
        Ok(())
    }

    /// Stores the pack that is still open.
    fn store_last_pack(&self) -> Result<(), ArchiveError> {
        let last = locked(&self.written).packer.finish();
        last.map_or(Ok(()), |pack| self.store_pack(pack))
    }

    fn encode<T>(&self, work: impl FnOnce(&mut Encoder<'a>) -> std::io::Result<T>) -> Result<T, ArchiveError> {
        let encoder = locked(&self.encoders).pop();
        let encoder = encoder.map_or_else(|| Encoder::new(self.keys.recipients()), Ok);
        let mut encoder = encoder.map_err(ArchiveError::Compress)?;
        let encoded = work(&mut encoder).map_err(ArchiveError::Compress)?;
        locked(&self.encoders).push(encoder);
        Ok(encoded)
    }

    /// Whether an object that has the content with this key is right, or is again: a pack of which the rest can be had.
    fn is_right(&self, object: Digest, key: ChunkKey) -> Result<bool, ArchiveError> {
        {
            let mut written = locked(&self.written);
            if written.proven.contains(&object) {
                return Ok(true);
            }
            if written.wrong.contains(&object) {
                written.before.push((key, object));
                return Ok(false);
            }
        }
        let right = match self.repository.read_object(&object, ReadFrom::Disk) {
            Ok(_) => true,
            Err(error) => match rebuild(self.repository, &object, &[], std::slice::from_ref(self.request.set)) {
                Some((stored, _)) => {
                    self.mend(&Encoded { name: object, stored }, error).map_err(ArchiveError::Write)?;
                    locked(&self.written).repaired.push(object);
                    true
                }
                None => false,
            },
        };
        let mut written = locked(&self.written);
        if right {
            written.proven.insert(object);
        } else {
            written.wrong.insert(object);
            written.before.push((key, object));
        }
        Ok(right)
    }

    /// Stages an object, unless it is there already; returns its name.
    fn put(&self, encoded: Encoded) -> Result<Digest, ArchiveError> {
        let known = self.repository.catalogue().object(&encoded.name).is_some();
        if known {
            // There is a file of that name: a leftover that is right, or damage that is healed here.
            let right = match self.repository.read_object(&encoded.name, ReadFrom::Disk) {
                Ok(_) => true,
                Err(error) => {
                    self.mend(&encoded, error).map_err(ArchiveError::Write)?;
                    false
                }
            };
            let mut written = locked(&self.written);
            written.proven.insert(encoded.name);
            if !right {
                written.repaired.push(encoded.name);
            }
            return Ok(encoded.name);
        }
        let stored_bytes = encoded.stored.len() as u64;
        let staged = self.repository.stage(&encoded).map_err(|error| ArchiveError::Write(error.into()))?;
        let twice = locked(&self.written).staged.insert(encoded.name, (staged, stored_bytes));
        // The same content, met by two threads at once: one copy is enough.
        self.repository.discard(twice.into_iter().map(|(staged, _)| staged).collect());
        Ok(encoded.name)
    }

    /// Puts the right bytes in the place of an object. What is damaged is kept; what cannot be read can only be replaced.
    fn mend(&self, right: &Encoded, error: ReadError) -> Result<(), WriteError> {
        let file = StoredFile::Object(right.name);
        let Ok(Damage { place, fault }) = damage_of(error) else {
            return self.repository.put_back(&file, &right.stored);
        };
        let note = Note {
            when: self.request.now,
            place,
            fault,
            expected_sha256: Some(right.name.to_string()),
            healed_from: Some("the source, by a backup".into()),
        };
        self.repository.mend(&file, &right.stored, &note)
    }

    /// Whether content that was stored already has to be stored again under another name.
    pub fn superseded(&self) -> Result<bool, ArchiveError> {
        if locked(&self.written).before.is_empty() {
            return Ok(false);
        }
        // Only now it is known which objects the content is in.
        self.store_last_pack()?;
        let written = locked(&self.written);
        let now = |key: &ChunkKey| {
            let small = written.small.get(key).and_then(|small| written.resolve(*small));
            small.map(|place| place.object).or_else(|| written.whole.get(key).copied())
        };
        Ok(written.before.iter().any(|(key, object)| now(key) != Some(*object)))
    }

    /// The objects that were repaired so far.
    pub fn repaired(&self) -> Vec<Digest> {
        locked(&self.written).repaired.clone()
    }

    /// Stores what is still open, and writes into these files where their content is.
    pub fn settle(&self, files: &mut [FileEntry]) -> Result<(), ArchiveError> {
        self.store_last_pack()?;
        let written = locked(&self.written);
        for chunk in files.iter_mut().flat_map(|file| &mut file.chunks).filter(|chunk| chunk.object == UNPLACED) {
            if let Some(place) = written.small.get(&chunk.blake3).and_then(|small| written.resolve(*small)) {
                (chunk.object, chunk.frame) = (place.object, place.frame);
            }
        }
        Ok(())
    }

    /// Stores the lines of a manifest's body, if they are kept as chunks: where they are.
    pub fn store_lines(&self, manifest: &Manifest) -> Result<Vec<Chunk>, ArchiveError> {
        let chunks = manifest.body.as_ref().map_or(Ok(Vec::new()), chunks_of_lines);
        chunks.map_err(ArchiveError::Compress)?.iter().map(|lines| self.store(lines)).collect()
    }

    /// Makes those objects durable and visible that are needed, and drops what was staged for nothing; returns the objects
    /// that were proven, and those that were repaired.
    pub fn publish(self, needed: &HashSet<Digest>) -> Result<(HashSet<Digest>, Vec<Digest>), ArchiveError> {
        let mut written = std::mem::take(&mut *locked(&self.written));
        let (needed, unneeded): (HashMap<_, _>, HashMap<_, _>) =
            written.staged.drain().partition(|(name, _)| needed.contains(name));
        self.repository.discard(unneeded.into_values().map(|(staged, _)| staged).collect());
        let absent = {
            let catalogue = self.repository.catalogue();
            catalogue.absent(catalogue.backups())
        };
        written.repaired.extend(needed.keys().filter(|name| absent.contains(name)));
        self.repository.publish_objects(needed).map_err(ArchiveError::Write)?;
        Ok((written.proven, written.repaired))
    }
}

impl Written {
    fn resolve(&self, small: Small) -> Option<Place> {
        match small {
            Small::At(place) => Some(place),
            Small::In(slot) => self.packer.place(slot),
        }
    }
}

impl Drop for ObjectWriter<'_> {
    fn drop(&mut self) {
        let staged = std::mem::take(&mut locked(&self.written).staged);
        self.repository.discard(staged.into_values().map(|(staged, _)| staged).collect());
    }
}

impl ContentStore for ObjectWriter<'_> {
    fn lengths(&self) -> &BTreeSet<u64> {
        self.ancestors.lengths()
    }

    fn store(&self, content: &[u8]) -> Result<Chunk, ArchiveError> {
        let blake3 = ChunkKey::of(content);
        Ok(Chunk { object: self.place(blake3, content)?, frame: None, at: 0, size_bytes: content.len() as u64, blake3 })
    }

    fn store_small(&self, content: &[u8]) -> Result<Chunk, ArchiveError> {
        let blake3 = ChunkKey::of(content);
        let place = match self.place_small(blake3, content)? {
            Small::At(place) => place,
            Small::In(_) => Place { object: UNPLACED, frame: None },
        };
        Ok(Chunk { object: place.object, frame: place.frame, at: 0, size_bytes: content.len() as u64, blake3 })
    }

    fn recognise(&self, path: &str, look: &Look) -> Option<FileEntry> {
        if look.identity.size_bytes < RECOGNISED_FROM_BYTES {
            return None;
        }
        let entry = self.memory.entry(path, look)?;
        let catalogue = self.repository.catalogue();
        let there = entry.chunks.iter().all(|chunk| catalogue.object(&chunk.object).is_some());
        there.then(|| entry.clone())
    }
}
