//! Reading one file of a set.
//!
//! Hazard: a file that is written while it is read. What was opened must look, before and after, as what was found; only a
//! log may have grown meanwhile.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::attributes::{attributes_of, read_xattrs};
use super::holes::{is_sparse, next_part, whole_block};
use super::names::Names;
use super::{ContentStore, Growth, Outcome, unmoved};
use crate::core::content::{is_compressed, is_validated, json_fault};
use crate::core::{BackupKind, Digest, EntryPath};
use crate::pipeline::archive::ArchiveError;
use crate::pipeline::content::zeros;
use crate::pipeline::lineage::{Beginnings, Stops};
use crate::pipeline::source::{Look, SourceDirectory, look_again, tick};
use crate::pipeline::{Cancelled, Progress, parallel};
use crate::repository::object::CHUNK_BYTES;
use crate::repository::wire::{Chunk, FileEntry};
use crate::settings::SetSettings;

/// How much of a log's beginning is read again afterwards, to see that it was not rewritten meanwhile.
const HEAD_BYTES: usize = 4096;

/// How far back the end of a log's last whole line is looked for; beyond it the log is no log of lines.
const MAX_LINE_BYTES: u64 = CHUNK_BYTES as u64;

/// What reading a file takes.
pub(super) struct Task<'a> {
    pub source: &'a SourceDirectory,
    pub set: &'a SetSettings,
    pub kind: BackupKind,
    pub store: &'a dyn ContentStore,
    pub progress: &'a Progress,
    pub names: &'a Names,
    /// Threads that store the chunks of one file.
    pub threads: usize,
}

impl Task<'_> {
    /// Reads one file that looked like `look`. Of one that has grown until it is opened, that look counts.
    pub fn read_file(&self, path: &str, look: &mut Look) -> Result<Outcome, ArchiveError> {
        if let Some(entry) = self.store.recognise(path, look) {
            self.progress.advance(look.identity.size_bytes)?;
            let beginnings = Beginnings::from([(entry.size_bytes, entry.sha256)]);
            return Ok(Outcome::Whole(Box::new(entry), beginnings, Growth::Refused));
        }
        let logs = self.set.kind.is_logs();
        if !logs {
            settle(look);
        }
        let growth = if logs { Growth::Allowed } else { Growth::Refused };
        // What is something else by now was another thing when it was looked at.
        let Ok(opened) = self.source.open_file(path) else { return Ok(Outcome::Moved) };
        let file = match opened {
            Ok((file, opened)) if unmoved(growth, look, &opened) => {
                *look = opened;
                file
            }
            Ok(_) => return Ok(Outcome::Moved),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Outcome::Moved),
            Err(error) => return Ok(Outcome::Unreadable(error.to_string())),
        };
        match self.read_open_file(&file, path, look) {
            Ok(Some((entry, beginnings, growth))) => Ok(Outcome::Whole(Box::new(entry), beginnings, growth)),
            Ok(None) => Ok(Outcome::Moved),
            Err(ReadFailure::Source(error)) => Ok(Outcome::Unreadable(error.to_string())),
            Err(ReadFailure::Archive(error)) => Err(error),
        }
    }

    /// Reads an open file to the end it had in `look`; `None` if it moved meanwhile.
    fn read_open_file(
        &self,
        file: &File,
        path: &str,
        look: &Look,
    ) -> Result<Option<(FileEntry, Beginnings, Growth)>, ReadFailure> {
        let logs = self.set.kind.is_logs();
        let mut end = look.identity.size_bytes;
        let head = if logs { read_head(file, end)? } else { Vec::new() };
        // Compressed content that still grows has no line to end at.
        let growth = if logs && !is_compressed(&head) { Growth::Allowed } else { Growth::Refused };
        let nowhere = BTreeSet::new();
        let lengths = if logs { self.store.lengths() } else { &nowhere };
        let mut content = self.read_content(file, end, lengths)?;
        if self.ends_at_a_line(file, look, growth)? {
            let line_end = last_line_end(file, end)?;
            if line_end < end {
                end = line_end;
                content = self.read_content(file, end, lengths)?;
            }
        }
        let fault = if self.is_validated(path) { content_fault(file, &content.only_chunk)? } else { None };
        let xattrs = read_xattrs(file)?;
        let after = look_again(file)?;
        let rewritten = logs && !head.starts_with(&read_head(file, end)?);
        if content.size_bytes != end || rewritten || !unmoved(growth, look, &after) {
            return Ok(None);
        }
        // Only now: what is not kept after all would lie in a pack for nothing.
        let chunks = match content.only_chunk {
            Some(content) if !content.is_empty() => vec![self.store.store_small(&content)?],
            _ => content.chunks,
        };
        let entry = FileEntry {
            path: EntryPath::from_text(path),
            size_bytes: end,
            attributes: attributes_of(look, xattrs),
            sha256: content.sha256,
            fault,
            lineage: None,
            chunks,
        };
        Ok(Some((entry, content.beginnings, growth)))
    }

    /// Whether the copy of this file, read just now, ends at a whole line: only that of a log that grew while it was read,
    /// and never one that is made because the file is about to be replaced.
    fn ends_at_a_line(&self, file: &File, look: &Look, growth: Growth) -> io::Result<bool> {
        let cut = growth == Growth::Allowed && self.kind.is_version();
        Ok(cut && look_again(file)?.identity.size_bytes > look.identity.size_bytes)
    }

    /// Whether something is expected of a file's content, under any of its names.
    fn is_validated(&self, path: &str) -> bool {
        is_validated(path, self.set.validate) || self.names.validated.contains(path)
    }

    fn read_content(&self, file: &File, end: u64, lengths: &BTreeSet<u64>) -> Result<Content, ReadFailure> {
        let sparse = is_sparse(file, end)?;
        if end <= CHUNK_BYTES as u64 && !sparse {
            let content = read_chunk(file, 0, end)?;
            self.progress.advance(content.len() as u64)?;
            let mut stops = Stops::new(lengths);
            stops.update(&content);
            let (size_bytes, sha256, beginnings) = stops.finish();
            return Ok(Content { sha256, size_bytes, beginnings, chunks: Vec::new(), only_chunk: Some(content) });
        }
        let mut chunks = Vec::with_capacity(usize::try_from(end / CHUNK_BYTES as u64).unwrap_or(0) + 1);
        let (size_bytes, sha256, beginnings) = parallel::ordered(
            self.threads,
            |emit| {
                let mut stops = Stops::new(lengths);
                let mut offset = 0;
                while offset < end {
                    let part = if sparse { next_part(file, offset, end)? } else { whole_block(offset, end) };
                    for zeros in zeros(part.start - offset) {
                        self.progress.advance(zeros.len() as u64)?;
                        stops.update(zeros);
                    }
                    offset = part.start;
                    let content = read_chunk(file, offset, part.end - offset)?;
                    self.progress.advance(content.len() as u64)?;
                    stops.update(&content);
                    let (at, is_short) = (offset, (content.len() as u64) < part.end - offset);
                    offset += content.len() as u64;
                    if !content.is_empty() && !emit((at, content)) || is_short {
                        break;
                    }
                }
                Ok(stops.finish())
            },
            |(at, content): (u64, Vec<u8>)| Ok::<_, ReadFailure>(Chunk { at, ..self.store.store(&content)? }),
            |chunk| {
                chunks.push(chunk);
                Ok(())
            },
        )?;
        Ok(Content { sha256, size_bytes, beginnings, chunks, only_chunk: None })
    }
}

/// A file changed within the tick that it is looked at in could change again and look the same: let the tick pass.
fn settle(look: &Look) {
    const TICKS: u32 = 4;
    const TICK: Duration = Duration::from_millis(4);
    for _ in 0..TICKS {
        let ahead_nanoseconds = look.identity.changed.total_nanoseconds() - tick().total_nanoseconds();
        // Further ahead than a few ticks it is no fresh change but a clock that was set back.
        if !(0..=TICK.as_nanos() as i128 * i128::from(TICKS)).contains(&ahead_nanoseconds) {
            return;
        }
        std::thread::sleep(TICK);
    }
}

enum ReadFailure {
    Source(io::Error),
    Archive(ArchiveError),
}

impl From<io::Error> for ReadFailure {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl From<ArchiveError> for ReadFailure {
    fn from(error: ArchiveError) -> Self {
        Self::Archive(error)
    }
}

impl From<Cancelled> for ReadFailure {
    fn from(cancelled: Cancelled) -> Self {
        Self::Archive(cancelled.into())
    }
}

struct Content {
    sha256: Digest,
    size_bytes: u64,
    beginnings: Beginnings,
    /// Its chunks, stored, where there are several.
    chunks: Vec<Chunk>,
    /// The content, where it is no more than one chunk.
    only_chunk: Option<Vec<u8>>,
}

/// At most a chunk from `offset`, and no more than `rest`; less only where the file ends.
fn read_chunk(file: &File, offset: u64, rest: u64) -> io::Result<Vec<u8>> {
    let length = rest.min(CHUNK_BYTES as u64);
    let mut content = Vec::with_capacity(length as usize);
    Positioned { file, offset }.take(length).read_to_end(&mut content)?;
    Ok(content)
}

/// A file read from a place of one's own, without moving anybody else's.
struct Positioned<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Where the last whole line of a log of `size_bytes` ends; its end, if there is no line at all within reach.
fn last_line_end(file: &File, size_bytes: u64) -> io::Result<u64> {
    const BLOCK_BYTES: u64 = 16 << 10;
    let mut end = size_bytes;
    while end > 0 && size_bytes - end < MAX_LINE_BYTES {
        let start = end.saturating_sub(BLOCK_BYTES);
        let block = read_chunk(file, start, end - start)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(size_bytes)
}

fn read_head(file: &File, end: u64) -> io::Result<Vec<u8>> {
    read_chunk(file, 0, end.min(HEAD_BYTES as u64))
}

fn content_fault(file: &File, content: &Option<Vec<u8>>) -> io::Result<Option<String>> {
    match content {
        Some(content) => Ok(json_fault(content)),
        None => {
            let reader = io::BufReader::with_capacity(CHUNK_BYTES, Positioned { file, offset: 0 });
            match serde_json::from_reader::<_, serde::de::IgnoredAny>(reader) {
                Ok(_) => Ok(None),
                Err(error) if error.is_io() => Err(error.into()),
                Err(error) => Ok(Some(error.to_string())),
            }
        }
    }
}
