//! Bodies of format 2: one line of JSON for each entry, compressed.
//!
//! Hazard: a body says what is restored where, and comes from a place that anybody may have written to. It is bounded
//! before it is decompressed, and each rule of the format is checked before anything of it is believed.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use serde::{Deserialize, Serialize};

use super::object::CHUNK_BYTES;
use super::wire::{
    Attributes, Body, Chunk, DirectoryEntry, FileEntry, HardLinkEntry, SOURCE_ITSELF, SymlinkEntry, UnreadableFile,
};
use crate::core::{BackupKind, ChunkKey, Digest, EntryPath, entry_path};

/// What is wrong with a manifest file.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// Its bytes do not hash to its id.
    #[error("its bytes do not hash to its id")]
    Hash,
    /// It is no manifest document.
    #[error("it is no manifest")]
    Syntax(#[source] serde_json::Error),
    /// It is of a format that this program does not know.
    #[error("it is of format {0}, which needs a newer fiovana-app")]
    Format(u32),
    /// It says something impossible.
    #[error("{0}")]
    Content(String),
}

/// The most entries of a backup.
pub const MAX_ENTRIES: usize = 1_000_000;

/// The most bytes of all lines of a body.
pub const MAX_BODY_BYTES: u64 = 512 << 20;

/// The longest target of a symlink, in bytes: what Linux takes.
pub const MAX_TARGET_BYTES: usize = 4095;

/// The most extended attributes of an entry, and the longest value: what Linux takes.
pub const MAX_XATTRS: usize = 1024;
const MAX_XATTR_BYTES: usize = 64 << 10;

/// The longest text: a reason, a fault, a name of a user.
const MAX_TEXT_BYTES: usize = 4096;

/// From so many bytes of lines on they are kept as chunks, which later manifests share as far as nothing changed: some
/// thousand entries.
pub const LISTED_FROM_BYTES: usize = 1 << 20;

/// Level 3: a body is written once and read at every start.
const ZSTD_LEVEL: i32 = 3;

/// One line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line<E> {
    File(E),
    Directory(DirectoryEntry),
    Symlink(SymlinkEntry),
    HardLink(HardLinkEntry),
    Missing(Path),
    Unreadable(UnreadableFile),
    /// The lines that this chunk holds.
    Lines(Chunk),
}

#[derive(Serialize, Deserialize)]
struct Path {
    path: EntryPath,
}

impl<E: AsRef<FileEntry>> Line<E> {
    fn path(&self) -> Option<&EntryPath> {
        match self {
            Self::File(file) => Some(&file.as_ref().path),
            Self::Directory(entry) => Some(&entry.path),
            Self::Symlink(entry) => Some(&entry.path),
            Self::HardLink(entry) => Some(&entry.path),
            Self::Missing(entry) => Some(&entry.path),
            Self::Unreadable(entry) => Some(&entry.path),
            Self::Lines(_) => None,
        }
    }
}

impl AsRef<Self> for FileEntry {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The line of each entry, in the order of paths, with that path.
pub(super) fn lines(body: &Body) -> serde_json::Result<Vec<(&EntryPath, Vec<u8>)>> {
    // Of files only references: their chunks are most of a body.
    let mut lines: Vec<(&EntryPath, Vec<u8>)> = Vec::with_capacity(body.len());
    let mut add = |path, line: Line<&FileEntry>| -> serde_json::Result<()> {
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        lines.push((path, text));
        Ok(())
    };
    body.files.iter().try_for_each(|entry| add(&entry.path, Line::File(entry)))?;
    body.directories.iter().try_for_each(|entry| add(&entry.path, Line::Directory(entry.clone())))?;
    body.symlinks.iter().try_for_each(|entry| add(&entry.path, Line::Symlink(entry.clone())))?;
    body.hard_links.iter().try_for_each(|entry| add(&entry.path, Line::HardLink(entry.clone())))?;
    body.missing.iter().try_for_each(|path| add(path, Line::Missing(Path { path: path.clone() })))?;
    body.unreadable.iter().try_for_each(|entry| add(&entry.path, Line::Unreadable(entry.clone())))?;
    lines.sort_by(|a, b| a.0.cmp(b.0));
    Ok(lines)
}

/// The lines of a body in chunks, if they are kept so. A chunk ends after one entry in 256, told by its path: what comes and
/// goes elsewhere moves no end.
pub fn chunks_of_lines(body: &Body) -> std::io::Result<Vec<Vec<u8>>> {
    let lines = lines(body)?;
    if lines.iter().map(|(_, line)| line.len()).sum::<usize>() < LISTED_FROM_BYTES {
        return Ok(Vec::new());
    }
    let (mut chunks, mut begun) = (Vec::new(), Vec::new());
    for (path, line) in lines {
        if begun.len() + line.len() > CHUNK_BYTES {
            chunks.extend(pieces(&std::mem::take(&mut begun)));
        }
        begun.extend(line);
        if ChunkKey::of(path.as_bytes()).as_bytes()[0] == 0 {
            chunks.extend(pieces(&std::mem::take(&mut begun)));
        }
    }
    chunks.extend(pieces(&begun));
    Ok(chunks)
}

/// A line that is larger than a chunk ends in another one.
fn pieces(text: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    text.chunks(CHUNK_BYTES).map(<[u8]>::to_vec)
}

/// What stands in the manifest: the lines themselves, or where they are.
pub(super) fn render(body: &Body, listed: &[Chunk]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    if listed.is_empty() {
        lines(body)?.into_iter().for_each(|(_, line)| text.extend(line));
    }
    for chunk in listed {
        serde_json::to_writer(&mut text, &Line::<&FileEntry>::Lines(*chunk))?;
        text.push(b'\n');
    }
    zstd::encode_all(text.as_slice(), ZSTD_LEVEL)
}

/// What a manifest holds of a body.
pub(super) enum Rendered {
    /// All of it.
    Whole(Body),
    /// Where its lines are.
    Listed(Vec<Chunk>),
}

/// What stands in a manifest, decrypted.
pub(super) fn parse(compressed: &[u8]) -> Result<Rendered, ManifestFault> {
    let content = |text: &str| ManifestFault::Content(text.to_owned());
    let mut text = Vec::new();
    let decoder = zstd::Decoder::new(compressed).map_err(|_| content("its body is not compressed as it must be"))?;
    let read = decoder.take(MAX_BODY_BYTES + 1).read_to_end(&mut text);
    read.map_err(|_| content("its body does not decompress"))?;
    if text.len() as u64 > MAX_BODY_BYTES {
        return Err(content("its body is larger than a body can be"));
    }
    if !text.starts_with(b"{\"lines\":") {
        return parse_lines(&text).map(Rendered::Whole);
    }
    let mut listed = Vec::new();
    for line in split(&text)? {
        match serde_json::from_slice::<Line<FileEntry>>(line).map_err(ManifestFault::Syntax)? {
            Line::Lines(chunk) => listed.push(chunk),
            _ => return Err(content("its body has entries beside the chunks of its lines")),
        }
    }
    let total = listed.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.size_bytes));
    if !listed.iter().all(is_possible) || total.is_none_or(|total| total > MAX_BODY_BYTES) {
        return Err(content("its body is larger than a body can be"));
    }
    Ok(Rendered::Listed(listed))
}

fn split(text: &[u8]) -> Result<impl Iterator<Item = &[u8]>, ManifestFault> {
    if !text.is_empty() && !text.ends_with(b"\n") {
        return Err(ManifestFault::Content("its body ends in the middle of a line".into()));
    }
    Ok(text.split_inclusive(|byte| *byte == b'\n'))
}

/// The body that these lines are.
pub(super) fn parse_lines(text: &[u8]) -> Result<Body, ManifestFault> {
    let content = |text: String| ManifestFault::Content(text);
    let mut body = Body::default();
    let mut previous: Option<EntryPath> = None;
    for (number, line) in split(text)?.enumerate() {
        if number >= MAX_ENTRIES {
            return Err(content("it has more entries than a backup can have".into()));
        }
        let line: Line<FileEntry> = serde_json::from_slice(line).map_err(ManifestFault::Syntax)?;
        let Some(path) = line.path() else { return Err(content("its lines are listed in its lines".into())) };
        if previous.as_ref().is_some_and(|previous| previous >= path) {
            return Err(content(format!("the path {:?} is out of order or there twice", shortened(path))));
        }
        previous = Some(path.clone());
        match line {
            Line::File(entry) => body.files.push(entry),
            Line::Directory(entry) => body.directories.push(entry),
            Line::Symlink(entry) => body.symlinks.push(entry),
            Line::HardLink(entry) => body.hard_links.push(entry),
            Line::Missing(entry) => body.missing.push(entry.path),
            Line::Unreadable(entry) => body.unreadable.push(entry),
            Line::Lines(_) => {}
        }
    }
    Ok(body)
}

/// Whether a chunk can be one, whatever it holds.
fn is_possible(chunk: &Chunk) -> bool {
    let frame_fits = |frame: super::wire::Frame| {
        u64::from(frame.offset) + u64::from(frame.length) <= super::object::MAX_PACK_BYTES as u64 && frame.length > 0
    };
    (1..=CHUNK_BYTES as u64).contains(&chunk.size_bytes) && chunk.frame.is_none_or(frame_fits)
}

/// Whether everything that a body says is possible; what is not, if so.
pub(super) fn check(body: &Body, objects: &HashSet<Digest>, kind: BackupKind) -> Result<(), ManifestFault> {
    let fault = |text: String| Err(ManifestFault::Content(text));
    if body.len() > MAX_ENTRIES {
        return fault("it has more entries than a backup can have".into());
    }
    let kept = body.files.iter().map(|entry| (&entry.path, Some(&entry.attributes)));
    let kept = kept.chain(body.symlinks.iter().map(|entry| (&entry.path, Some(&entry.attributes))));
    let kept = kept.chain(body.hard_links.iter().map(|entry| (&entry.path, None)));
    let kept: HashMap<&str, _> = kept.map(|(path, attributes)| (path.as_str(), attributes)).collect();
    let directories = body.directories.iter().filter(|entry| entry.path != *SOURCE_ITSELF);
    let all = kept.keys().copied().chain(directories.map(|entry| entry.path.as_str()));
    for path in all {
        if !entry_path::is_safe_text(path) {
            return fault(format!("the path {:?} is not allowed", shortened(path)));
        }
        if path.match_indices('/').any(|(end, _)| kept.contains_key(&path[..end])) {
            return fault(format!("{:?} is inside what is no directory", shortened(path)));
        }
    }
    let attributes = kept.values().filter_map(|attributes| *attributes);
    if !attributes.chain(body.directories.iter().map(|entry| &entry.attributes)).all(are_possible) {
        return fault("the attributes of an entry are none that there can be".into());
    }
    for file in &body.files {
        let mut end = Some(0u64);
        for chunk in &file.chunks {
            let follows = end.is_some_and(|end| chunk.at >= end) && is_possible(chunk);
            end = chunk.at.checked_add(chunk.size_bytes).filter(|_| follows && objects.contains(&chunk.object));
        }
        if end.is_none_or(|end| end > file.size_bytes) || file.size_bytes > i64::MAX as u64 {
            return fault(format!("the chunks of {:?} do not make up the file", shortened(&file.path)));
        }
    }
    for link in &body.symlinks {
        let target = entry_path::unescape(&link.target);
        if target.is_none_or(|target| target.is_empty() || target.len() > MAX_TARGET_BYTES || target.contains(&0)) {
            return fault(format!("the target of {:?} is none that a symlink can have", shortened(&link.path)));
        }
    }
    let files: HashSet<&str> = body.files.iter().map(|file| file.path.as_str()).collect();
    if let Some(link) = body.hard_links.iter().find(|link| link.to >= link.path || !files.contains(link.to.as_str())) {
        return fault(format!("{:?} is a link to no file before it", shortened(&link.path)));
    }
    let texts = body.unreadable.iter().map(|entry| entry.reason.as_str());
    let texts = texts.chain(body.files.iter().filter_map(|file| file.fault.as_deref()));
    if texts.into_iter().any(|text| text.len() > MAX_TEXT_BYTES) {
        return fault("it has a text that is longer than one can be".into());
    }
    // To be restored, these are removed.
    let unsafe_missing = body.missing.iter().find(|path| !path.is_safe());
    match unsafe_missing.filter(|_| kind == BackupKind::PreRestore) {
        Some(path) => fault(format!("the path {:?} is not allowed", shortened(path))),
        None => Ok(()),
    }
}

fn are_possible(attributes: &Attributes) -> bool {
    let name = |name: &Option<String>| name.as_ref().is_none_or(|name| name.len() <= MAX_TEXT_BYTES);
    let xattr = |(name, value): (&String, &String)| {
        let name = entry_path::unescape(name);
        name.is_some_and(|name| (1..=255).contains(&name.len()) && !name.contains(&0))
            && value.len() <= 2 * MAX_XATTR_BYTES
            && base16ct::lower::decode_vec(value).is_ok()
    };
    name(&attributes.user)
        && name(&attributes.group)
        && attributes.xattrs.len() <= MAX_XATTRS
        && attributes.xattrs.iter().all(xattr)
}

pub(super) fn shortened(path: &str) -> String {
    path.chars().take(120).collect()
}
