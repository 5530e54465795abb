//! Reading a set's files, honestly.
//!
//! Hazard: files change while they are read, and a mixture of old and new restores perfectly and is wrong. Everything
//! is looked at before and after; what moved is read again, a bounded number of times; a file that never stood still
//! is reported, not guessed at. A file that holds still is stored whole. Only a log, in a set that says it holds logs, may
//! grow meanwhile: the copy of one that did ends at the last line that was whole when the log was first seen.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::archive::ArchiveError;
use super::lineage::{Beginnings, Stops};
use super::parallel::{self, Share};
use super::source::{Found, Look, SourceDirectory, look_again, tick_nanoseconds};
use super::{Cancelled, Progress};
use crate::core::content::{is_compressed, is_validated, json_fault};
use crate::core::entry_path::escape;
use crate::core::{BackupKind, Digest, EntryPath, Timestamp};
use crate::repository::object::CHUNK_BYTES;
use crate::repository::wire::{Attributes, Chunk, FileEntry, UnreadableFile};
use crate::settings::SetSettings;

/// How often a set that moves is looked at, and how long it is left alone before the second time; doubled each time.
const MAX_ROUNDS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// How far back the end of a log's last whole line is looked for; beyond it the log is no log of lines.
const MAX_LINE_BYTES: u64 = CHUNK_BYTES as u64;

/// How much of a log's beginning is read again afterwards, to see that it was not rewritten meanwhile.
const HEAD_BYTES: usize = 4096;

/// Where the content goes.
pub trait ContentStore: Sync {
    /// Stores a chunk of at most [`CHUNK_BYTES`].
    fn store(&self, content: &[u8]) -> Result<Chunk, ArchiveError>;

    /// The entry of a file that is known to be as it was when it was last captured.
    fn recognise(&self, path: &str, look: &Look) -> Option<FileEntry>;

    /// The lengths at which the beginnings of logs are to be hashed.
    fn lengths(&self) -> &BTreeSet<u64>;
}

/// A set as it was found.
#[derive(Debug, Default)]
pub struct Captured {
    /// The files, by path.
    pub files: Vec<FileEntry>,
    /// The hashes of the beginnings of each log.
    pub beginnings: BTreeMap<String, Beginnings>,
    /// How each file looked, and the kernel's tick before it was read.
    pub looks: BTreeMap<String, (Look, i64)>,
    /// Files that were not there, and patterns that match none.
    pub missing: Vec<EntryPath>,
    /// Files that could not be read.
    pub unreadable: Vec<UnreadableFile>,
    /// Whether there was a moment at which all files were as captured.
    pub consistent: bool,
}

/// Reads a set.
pub fn capture(
    source: &SourceDirectory,
    set: &SetSettings,
    kind: BackupKind,
    store: &dyn ContentStore,
    progress: &Progress,
) -> Result<Captured, ArchiveError> {
    let mut held: BTreeMap<String, Held> = BTreeMap::new();
    let mut pause = FIRST_PAUSE;
    for round in 1..=MAX_ROUNDS {
        let tick = tick_nanoseconds();
        let before = source.look(&set.files)?;
        check_size(set, &before, progress)?;
        held.retain(|path, held| before.get(path).is_some_and(|found| held.still(found)));
        let unread: Vec<(&String, &Look)> = before
            .iter()
            .filter_map(|(path, found)| if let Found::File(look) = found { Some((path, look)) } else { None })
            .filter(|(path, _)| !held.contains_key(*path))
            .collect();
        let share = Share::of(unread.iter().map(|(_, look)| look.identity.size_bytes));
        let task = Task { source, set, kind, store, progress, threads: share.threads };
        let read = Mutex::new(&mut held);
        parallel::for_each(share.files, &unread, |(path, look)| {
            let mut look = **look;
            let outcome = task.read_file(path, &mut look)?;
            let held = Held { look, tick, outcome };
            read.lock().unwrap_or_else(PoisonError::into_inner).insert((*path).clone(), held);
            Ok::<_, ArchiveError>(())
        })?;
        let after = source.look(&set.files)?;
        let still = before.len() == after.len()
            && before.iter().all(|(path, found)| match (held.get(path), after.get(path)) {
                (Some(held), Some(after)) => held.outcome != Outcome::Moved && held.still(after),
                (None, after) => Some(found) == after,
                (Some(_), None) => false,
            });
        if still || round == MAX_ROUNDS {
            return Ok(gather(set, before, held, still));
        }
        held.retain(|_, held| held.outcome != Outcome::Moved);
        std::thread::sleep(pause);
        pause *= 2;
    }
    unreachable!("the last round returns")
}

/// What came of reading a file that looked like this.
struct Held {
    look: Look,
    tick: i64,
    outcome: Outcome,
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Whole(Box<FileEntry>, Beginnings, Growth),
    Unreadable(String),
    Moved,
}

/// Whether a file may grow at its end while it is read, and be none the worse for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Growth {
    Allowed,
    Refused,
}

impl Held {
    /// Whether what is found now is what was read.
    fn still(&self, found: &Found) -> bool {
        let growth = if let Outcome::Whole(_, _, growth) = &self.outcome { *growth } else { Growth::Refused };
        matches!(found, Found::File(look) if unmoved(growth, &self.look, look))
    }
}

/// Whether a file that looked like `before` holds at `after` what it held then.
fn unmoved(growth: Growth, before: &Look, after: &Look) -> bool {
    let (old, new) = (&before.identity, &after.identity);
    before == after
        || growth == Growth::Allowed
            && (old.device, old.inode) == (new.device, new.inode)
            && old.size_bytes < new.size_bytes
}

fn check_size(set: &SetSettings, found: &BTreeMap<String, Found>, progress: &Progress) -> Result<(), ArchiveError> {
    let sizes = found.values().map(|found| if let Found::File(look) = found { look.identity.size_bytes } else { 0 });
    let size_bytes = sizes.fold(0, u64::saturating_add);
    progress.expect(size_bytes);
    match set.max_size_mb {
        Some(limit_mb) if size_bytes > limit_mb.saturating_mul(1 << 20) => {
            Err(ArchiveError::TooLarge { size_bytes, limit_mb })
        }
        _ => Ok(()),
    }
}

fn gather(
    set: &SetSettings,
    before: BTreeMap<String, Found>,
    held: BTreeMap<String, Held>,
    consistent: bool,
) -> Captured {
    let mut captured = Captured { consistent, ..Captured::default() };
    let mut unreadable =
        |path: String, reason| captured.unreadable.push(UnreadableFile { path: EntryPath::from_text(path), reason });
    for (path, found) in &before {
        match found {
            Found::Missing => captured.missing.push(EntryPath::from_text(path.as_str())),
            Found::Unreadable(reason) => unreadable(path.clone(), reason.clone()),
            Found::File(_) => {}
        }
    }
    let unmatched = set.files.unmatched(before.keys().map(String::as_str));
    captured.missing.extend(unmatched.into_iter().map(|pattern| EntryPath::from_bytes(pattern.as_bytes())));
    captured.missing.sort_unstable();
    for (path, held) in held {
        match held.outcome {
            Outcome::Whole(entry, beginnings, _) => {
                if set.kind.is_logs() {
                    captured.beginnings.insert(path.clone(), beginnings);
                }
                captured.files.push(*entry);
                captured.looks.insert(path, (held.look, held.tick));
            }
            Outcome::Unreadable(reason) => unreadable(path, reason),
            Outcome::Moved => unreadable(path, "it kept changing while it was read".into()),
        }
    }
    captured
}

/// What reading a file takes.
struct Task<'a> {
    source: &'a SourceDirectory,
    set: &'a SetSettings,
    kind: BackupKind,
    store: &'a dyn ContentStore,
    progress: &'a Progress,
    /// Threads that store the chunks of one file.
    threads: usize,
}

impl Task<'_> {
    /// Reads one file that looked like `look`. Of one that has grown until it is opened, that look counts.
    fn read_file(&self, path: &str, look: &mut Look) -> Result<Outcome, ArchiveError> {
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
        let fault =
            if is_validated(path, self.set.validate) { content_fault(file, &content.only_chunk)? } else { None };
        let xattrs = read_xattrs(file)?;
        let after = look_again(file)?;
        let rewritten = logs && !head.starts_with(&read_head(file, end)?);
        if content.size_bytes != end || rewritten || !unmoved(growth, look, &after) {
            return Ok(None);
        }
        let entry = FileEntry {
            path: EntryPath::from_text(path),
            size_bytes: end,
            attributes: Attributes {
                mode: look.mode,
                uid: look.uid,
                gid: look.gid,
                user: None,
                group: None,
                modified: Timestamp::from_nanoseconds(look.identity.modified_nanoseconds),
                xattrs,
            },
            sha256: content.sha256,
            fault,
            lineage: None,
            chunks: content.chunks,
        };
        Ok(Some((entry, content.beginnings, growth)))
    }

    /// Whether the copy of this file, read just now, ends at a whole line: only that of a log that grew while it was read,
    /// and never one that is made because the file is about to be replaced.
    fn ends_at_a_line(&self, file: &File, look: &Look, growth: Growth) -> io::Result<bool> {
        let cut = growth == Growth::Allowed && self.kind.is_version();
        Ok(cut && look_again(file)?.identity.size_bytes > look.identity.size_bytes)
    }

    fn read_content(&self, file: &File, end: u64, lengths: &BTreeSet<u64>) -> Result<Content, ReadFailure> {
        if end <= CHUNK_BYTES as u64 {
            let content = read_chunk(file, 0, end)?;
            self.progress.advance(content.len() as u64)?;
            let chunks = if content.is_empty() { vec![] } else { vec![self.store.store(&content)?] };
            let mut stops = Stops::new(lengths);
            stops.update(&content);
            let (size_bytes, sha256, beginnings) = stops.finish();
            return Ok(Content { sha256, size_bytes, beginnings, chunks, only_chunk: Some(content) });
        }
        let mut chunks = Vec::with_capacity(usize::try_from(end / CHUNK_BYTES as u64).unwrap_or(0) + 1);
        let mut at = 0;
        let (size_bytes, sha256, beginnings) = parallel::ordered(
            self.threads,
            |emit| {
                let mut stops = Stops::new(lengths);
                let mut offset = 0;
                while offset < end {
                    let content = read_chunk(file, offset, end - offset)?;
                    self.progress.advance(content.len() as u64)?;
                    stops.update(&content);
                    offset += content.len() as u64;
                    if content.is_empty() || !emit(content) {
                        break;
                    }
                }
                Ok(stops.finish())
            },
            |content: Vec<u8>| Ok::<_, ReadFailure>(self.store.store(&content)?),
            |chunk| {
                chunks.push(Chunk { at, ..chunk });
                at += chunk.size_bytes;
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
        let ahead_nanoseconds = look.identity.changed_nanoseconds.saturating_sub(tick_nanoseconds());
        // Further ahead than a few ticks it is no fresh change but a clock that was set back.
        if !(0..=TICK.as_nanos() as i64 * i64::from(TICKS)).contains(&ahead_nanoseconds) {
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

/// Extended attributes, values in hexadecimal. A filesystem without any has none.
fn read_xattrs(file: &File) -> io::Result<BTreeMap<String, String>> {
    const MAX_LIST_BYTES: usize = 64 << 10;
    let mut names = vec![0; MAX_LIST_BYTES];
    let length = match rustix::fs::flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut xattrs = BTreeMap::new();
    let mut value = vec![0; MAX_LIST_BYTES];
    for name in names[..length].split(|byte| *byte == 0) {
        // Security labels belong to the place a file is in, not to the file.
        if name.is_empty() || name.starts_with(b"security.") || name.starts_with(b"trusted.") {
            continue;
        }
        match rustix::fs::fgetxattr(file, name, &mut value[..]) {
            Ok(length) => drop(xattrs.insert(escape(name), base16ct::lower::encode_string(&value[..length]))),
            Err(rustix::io::Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(xattrs)
}
