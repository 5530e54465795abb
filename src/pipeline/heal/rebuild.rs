//! Making an object anew from what still has its content.
//!
//! Hazard: a pack is lost as one and holds many files. Each of its frames is taken from wherever it is still right, here, in
//! a copy or in a live file; and nothing counts before all of it hashes to its name. So what another version of zstd wrote
//! may not come out the same from live files, and what is encrypted never does.

use std::collections::BTreeMap;

use super::{Copy, Remedy};
use crate::core::entry_path::path_of;
use crate::core::{ChunkKey, Digest, SetName};
use crate::pipeline::content::ChunkReader;
use crate::pipeline::source::SourceDirectory;
use crate::repository::body::chunks_of_lines;
use crate::repository::object::{CHUNK_BYTES, Decoder, Encoder, MAX_STORED_BYTES};
use crate::repository::wire::{Chunk, Frame};
use crate::repository::{ReadFrom, Repository};
use crate::settings::SetSettings;

/// A piece of a file that an object holds.
struct Piece {
    set: SetName,
    path: String,
    chunk: Chunk,
}

/// The object's bytes, and what they were made from.
pub fn rebuild(
    repository: &Repository,
    name: &Digest,
    copies: &[Copy<'_>],
    sets: &[SetSettings],
) -> Option<(Vec<u8>, Remedy)> {
    if let Some(lines) = lines(repository, name) {
        return Some((lines, Remedy::Memory));
    }
    let pieces = pieces(repository, name);
    let (packed, whole): (Vec<Piece>, Vec<Piece>) = pieces.into_iter().partition(|piece| piece.chunk.frame.is_some());
    whole
        .iter()
        .find_map(|piece| whole_object(name, piece, sets))
        .or_else(|| pack(repository, name, &packed, copies, sets))
}

/// The object that holds lines of a manifest, if it is one: what they say is known.
fn lines(repository: &Repository, name: &Digest) -> Option<Vec<u8>> {
    let catalogue = repository.catalogue();
    let objects = [*name].into();
    let manifest = catalogue.needing(&objects).find_map(|backup| {
        let content = backup.content.clone()?;
        content.manifest.lines.iter().any(|chunk| chunk.object == *name).then_some(content)
    });
    drop(catalogue);
    let manifest = &manifest.as_ref()?.manifest;
    let chunks = chunks_of_lines(manifest.body.as_ref()?).ok()?;
    let at = manifest.lines.iter().position(|chunk| chunk.object == *name)?;
    let encoded = Encoder::new(None).ok()?.encode(chunks.get(at)?).ok()?;
    (encoded.name == *name).then_some(encoded.stored)
}

/// Whether a frame that is needed can still be read from a pack that is damaged.
pub fn holds_something(repository: &Repository, name: &Digest) -> bool {
    let reader = ChunkReader::new(repository, ReadFrom::Anywhere);
    let pieces = pieces(repository, name);
    pieces.iter().any(|piece| piece.chunk.frame.is_some() && reader.read(&piece.chunk).is_ok())
}

fn whole_object(name: &Digest, piece: &Piece, sets: &[SetSettings]) -> Option<(Vec<u8>, Remedy)> {
    let (content, path) = live_content(piece, sets)?;
    let encoded = Encoder::new(None).ok()?.encode(&content).ok()?;
    (encoded.name == *name).then_some((encoded.stored, Remedy::LiveFile(path)))
}

fn pack(
    repository: &Repository,
    name: &Digest,
    pieces: &[Piece],
    copies: &[Copy<'_>],
    sets: &[SetSettings],
) -> Option<(Vec<u8>, Remedy)> {
    let mut frames: BTreeMap<Frame, Vec<&Piece>> = BTreeMap::new();
    for piece in pieces {
        frames.entry(piece.chunk.frame?).or_default().push(piece);
    }
    let length = stored_bytes(repository, name)?;
    let here = repository.read_object_as_it_is(name).into_iter().map(|bytes| (None, bytes));
    let there = copies.iter().flat_map(|copy| {
        copy.repository.read_object_as_it_is(name).into_iter().map(|bytes| (Some(copy.name.as_str()), bytes))
    });
    let left: Vec<(Option<&str>, Vec<u8>)> = here.chain(there).collect();
    let nothing = (None, Vec::new());
    // What no manifest needs any more is in no file: of that, each copy's word is taken in turn.
    left.iter().chain([&nothing]).find_map(|(from, bytes)| {
        let mut bytes = bytes.clone();
        bytes.resize(length, 0);
        let mut remedy = from.map(|copy| Remedy::Copy(copy.to_owned()));
        for (frame, pieces) in &frames {
            let range = range_of(*frame);
            let chunk = &pieces.first()?.chunk;
            if holds(bytes.get(range.clone())?, chunk) {
                continue;
            }
            let (right, source) = right_frame(*frame, pieces, &left, sets)?;
            bytes.get_mut(range)?.copy_from_slice(&right);
            // Of several sources the one is told that an operator can look at.
            if matches!(source, Remedy::LiveFile(_)) || remedy.is_none() {
                remedy = Some(source);
            }
        }
        (Digest::of(&bytes) == *name).then_some((bytes, remedy.unwrap_or(Remedy::Itself)))
    })
}

/// The bytes of a frame, from a copy that has it or from a live file that has its content.
fn right_frame(
    frame: Frame,
    pieces: &[&Piece],
    left: &[(Option<&str>, Vec<u8>)],
    sets: &[SetSettings],
) -> Option<(Vec<u8>, Remedy)> {
    let chunk = &pieces.first()?.chunk;
    let stored = left.iter().find_map(|(from, bytes)| {
        let bytes = bytes.get(range_of(frame)).filter(|bytes| holds(bytes, chunk))?;
        Some((bytes.to_vec(), from.map_or(Remedy::Itself, |copy| Remedy::Copy(copy.to_owned()))))
    });
    stored.or_else(|| {
        pieces.iter().find_map(|piece| {
            let (content, path) = live_content(piece, sets)?;
            let made = Encoder::new(None).ok()?.compress(&content).ok()?;
            (made.len() == frame.length as usize).then_some((made, Remedy::LiveFile(path)))
        })
    })
}

const fn range_of(frame: Frame) -> std::ops::Range<usize> {
    frame.offset as usize..frame.offset as usize + frame.length as usize
}

fn holds(frame: &[u8], chunk: &Chunk) -> bool {
    let whole = Chunk { frame: None, ..*chunk };
    let content = Decoder::new().ok().and_then(|mut decoder| decoder.decode(frame, &whole).ok());
    content.is_some_and(|content| ChunkKey::of(&content) == chunk.blake3)
}

/// How long the object is, as far as a manifest says.
fn stored_bytes(repository: &Repository, name: &Digest) -> Option<usize> {
    let catalogue = repository.catalogue();
    let objects = [*name].into();
    let mut needed = catalogue.needing(&objects).filter_map(|backup| backup.content.as_ref());
    let objects = &needed.next()?.manifest.envelope.objects;
    let stored_bytes = objects.iter().find(|object| object.name == *name)?.stored_bytes;
    usize::try_from(stored_bytes).ok().filter(|_| stored_bytes <= MAX_STORED_BYTES)
}

/// What the object holds, each piece of each file once however many backups say so; the newest backups' word first.
fn pieces(repository: &Repository, name: &Digest) -> Vec<Piece> {
    let mut pieces: BTreeMap<(SetName, String, u64, Option<Frame>), Piece> = BTreeMap::new();
    let mut order = Vec::new();
    let catalogue = repository.catalogue();
    let objects = [*name].into();
    for backup in catalogue.needing(&objects) {
        let content = backup.content.iter();
        for file in content.flat_map(|content| content.manifest.files()) {
            for chunk in file.chunks.iter().filter(|chunk| chunk.object == *name) {
                let place = (backup.set.clone(), file.path.to_string(), chunk.at, chunk.frame);
                let piece = Piece { set: place.0.clone(), path: place.1.clone(), chunk: *chunk };
                if pieces.insert(place.clone(), piece).is_none() {
                    order.push(place);
                }
            }
        }
    }
    order.reverse();
    order.into_iter().filter_map(|place| pieces.remove(&place)).collect()
}

/// What a live file has where this piece was, if it is the same, and its path.
fn live_content(piece: &Piece, sets: &[SetSettings]) -> Option<(Vec<u8>, String)> {
    use std::os::unix::fs::FileExt;
    let set = sets.iter().find(|set| set.name == piece.set)?;
    let source = SourceDirectory::open(&set.source).ok()?;
    let (file, _) = source.open_file(&piece.path).ok()?.ok()?;
    let mut content = vec![0; usize::try_from(piece.chunk.size_bytes).ok()?.min(CHUNK_BYTES)];
    file.read_exact_at(&mut content, piece.chunk.at).ok()?;
    let path = set.source.real().join(path_of(&piece.path)).display().to_string();
    (ChunkKey::of(&content) == piece.chunk.blake3).then_some((content, path))
}
