//! Packs: small chunks that are kept together in one object.
//!
//! Hazard: a pack is kept whole for the sake of any of its chunks, so a few chunks that stay would keep many that went.
//! A chunk of a pack is shared only while most of the pack is in use.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::encryption::MAX_SEALING_BYTES;
use super::object::MAX_PACK_BYTES;
use super::wire::{Chunk, Envelope, FileEntry, Frame};
use crate::core::Digest;

/// The object of a chunk whose pack has no name yet.
pub const UNPLACED: Digest = Digest::from_bytes([0; 32]);

/// Where content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The object.
    pub object: Digest,
    /// The frame in it, where that is a pack.
    pub frame: Option<Frame>,
}

impl Place {
    /// Where a chunk is.
    pub const fn of(chunk: &Chunk) -> Self {
        Self { object: chunk.object, frame: chunk.frame }
    }
}

/// Gathers frames into packs, in the order in which they come.
#[derive(Debug)]
pub struct Packer {
    /// Every pack, the one that is still open last.
    packs: Vec<Pack>,
    /// The frames of the open one, and how much content they hold.
    frames: Vec<u8>,
    content_bytes: usize,
}

#[derive(Debug, Default)]
struct Pack {
    chunks: usize,
    name: Option<Digest>,
}

/// Where a frame was put: its pack has a name only once it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pack: usize,
    frame: Frame,
}

/// A pack that nothing more fits into, to be stored and then named.
#[derive(Debug, PartialEq, Eq)]
pub struct FullPack {
    /// Its frames, one after the other.
    pub frames: Vec<u8>,
    number: usize,
}

impl Default for Packer {
    fn default() -> Self {
        Self { packs: vec![Pack::default()], frames: Vec::new(), content_bytes: 0 }
    }
}

impl Packer {
    /// Adds the frame of a chunk of so many bytes; returns where it is, and the pack before it if it did not fit there.
    pub fn push(&mut self, frame: &[u8], content_bytes: usize) -> (Slot, Option<FullPack>) {
        let fits =
            self.content_bytes + content_bytes <= MAX_PACK_BYTES && self.frames.len() + frame.len() <= MAX_PACK_BYTES;
        let full = if fits { None } else { self.finish() };
        // A frame, and all before it in a pack, are little more than a mebibyte.
        let place = Frame { offset: self.frames.len() as u32, length: frame.len() as u32 };
        self.frames.extend(frame);
        self.content_bytes += content_bytes;
        let number = self.packs.len() - 1;
        self.packs[number].chunks += 1;
        (Slot { pack: number, frame: place }, full)
    }

    /// The open pack, if there is anything in it; the next frame begins another.
    pub fn finish(&mut self) -> Option<FullPack> {
        let number = self.packs.len() - 1;
        if self.packs[number].chunks == 0 {
            return None;
        }
        self.packs.push(Pack::default());
        self.content_bytes = 0;
        Some(FullPack { frames: std::mem::take(&mut self.frames), number })
    }

    /// Notes the object that holds a pack.
    pub fn name(&mut self, pack: &FullPack, name: Digest) {
        self.packs[pack.number].name = Some(name);
    }

    /// The place of a frame, once its pack has a name. A chunk that was left alone in a pack is an object of its own.
    pub fn place(&self, slot: Slot) -> Option<Place> {
        let pack = &self.packs[slot.pack];
        Some(Place { object: pack.name?, frame: (pack.chunks > 1).then_some(slot.frame) })
    }
}

/// The packs that a backup with this envelope and these files uses at least half of. Of an encrypted pack, what encrypting
/// adds is nobody's, and the most there can be of it is taken off.
pub fn well_used(envelope: &Envelope, files: &[FileEntry]) -> HashSet<Digest> {
    let mut used: HashMap<Digest, BTreeSet<Frame>> = HashMap::new();
    for chunk in files.iter().flat_map(|file| &file.chunks) {
        if let Some(frame) = chunk.frame {
            used.entry(chunk.object).or_default().insert(frame);
        }
    }
    let sealing_bytes = if envelope.recipients.is_empty() { 0 } else { MAX_SEALING_BYTES };
    let packs = envelope.objects.iter().filter_map(|object| Some((object, used.get(&object.name)?)));
    let well_used = packs.filter(|(object, frames)| {
        let used_bytes: u64 = frames.iter().map(|frame| u64::from(frame.length)).sum();
        2 * used_bytes >= object.stored_bytes.saturating_sub(sealing_bytes)
    });
    well_used.map(|(object, _)| object.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{ChunkKey, SetName};
    use crate::repository::manifest::tests::manifest_of;
    use crate::repository::wire::ObjectReference;

    #[test]
    fn frames_lie_one_after_the_other_and_no_pack_holds_more_than_it_may() {
        let (mut packer, mut full, mut slots) = (Packer::default(), Vec::new(), Vec::new());
        let mut random = fastrand::Rng::with_seed(17);
        for number in 0..400_u32 {
            let content_bytes = random.usize(1..=MAX_PACK_BYTES / 20);
            let frame = vec![(number % 251) as u8; random.usize(1..=content_bytes)];
            let (slot, before) = packer.push(&frame, content_bytes);
            full.extend(before.map(|pack| (pack, Vec::new())));
            slots.push((slot, frame, content_bytes));
        }
        full.extend(packer.finish().map(|pack| (pack, Vec::new())));
        assert_eq!(packer.finish(), None, "nothing is left");
        assert_eq!(packer.place(slots[0].0), None, "it has no name yet");
        full.iter().for_each(|(pack, _)| packer.name(pack, Digest::of(&pack.frames)));
        for (slot, frame, content_bytes) in slots {
            let place = packer.place(slot).unwrap();
            let (pack, contents) = full.iter_mut().find(|(pack, _)| Digest::of(&pack.frames) == place.object).unwrap();
            let (offset, length) = place.frame.unwrap().into();
            assert_eq!(pack.frames[offset as usize..][..length as usize], frame);
            contents.push(content_bytes);
        }
        assert!(full.len() > 5);
        for pair in full.windows(2) {
            let [(pack, contents), (_, next)] = pair else { panic!() };
            let content_bytes = contents.iter().sum::<usize>();
            assert!(pack.frames.len() <= MAX_PACK_BYTES && content_bytes <= MAX_PACK_BYTES);
            assert!(content_bytes + next[0] > MAX_PACK_BYTES, "the next would have fitted");
        }
    }

    #[test]
    fn a_chunk_that_is_alone_is_an_object_of_its_own_however_large() {
        for length in [1, MAX_PACK_BYTES, MAX_PACK_BYTES + 40] {
            let mut packer = Packer::default();
            let (small, none) = packer.push(&[1], 1);
            assert_eq!(none, None);
            let (alone, before) = packer.push(&vec![2; length], MAX_PACK_BYTES);
            let (before, pack) = (before.unwrap(), packer.finish().unwrap());
            assert_eq!((before.frames.len(), pack.frames.len()), (1, length));
            packer.name(&before, Digest::of(b"before"));
            packer.name(&pack, Digest::of(b"alone"));
            assert_eq!(packer.place(small), Some(Place { object: Digest::of(b"before"), frame: None }));
            assert_eq!(packer.place(alone), Some(Place { object: Digest::of(b"alone"), frame: None }));
        }
    }

    #[test]
    fn a_pack_is_well_used_from_half_of_its_bytes_on_each_frame_counted_once() {
        let set: SetName = "security".parse().unwrap();
        let object = Digest::of(b"pack");
        let mut manifest = manifest_of(&set, "a.json");
        let chunk = |offset, length| Chunk {
            object,
            frame: Some(Frame { offset, length }),
            at: 0,
            size_bytes: 9,
            blake3: ChunkKey::of(b"content"),
        };
        manifest.body.as_mut().unwrap().files[0].chunks = vec![chunk(0, 30), chunk(0, 30), chunk(70, 20)];
        let mut is_well_used = |stored_bytes, recipients: &[&str]| {
            manifest.envelope.objects = vec![ObjectReference { name: object, stored_bytes }];
            manifest.envelope.recipients = recipients.iter().map(|name| (*name).to_owned()).collect();
            well_used(&manifest.envelope, manifest.files()).contains(&object)
        };
        assert!(is_well_used(100, &[]));
        assert!(!is_well_used(101, &[]));
        assert!(is_well_used(100 + MAX_SEALING_BYTES, &["recipient"]));
        assert!(!is_well_used(101 + MAX_SEALING_BYTES, &["recipient"]));
    }
}
