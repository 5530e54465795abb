//! What differs between two backups of a set, or between one and what is live.
//!
//! Hazard: a file that is too large, damaged or unreadable must not keep the others from being compared: it is named,
//! with the reason. What is shown was hashed on the way, like everything that comes out of a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use super::content::{ChunkReader, ContentFault, FileSink, read_files};
use super::source::{Found, SourceDirectory, SourceError};
use super::{Cancelled, Progress};
use crate::core::diff::{Difference, MAX_BYTES, difference};
use crate::core::entry_path::bytes_of;
use crate::core::secrets::Secrets;
use crate::core::{Digest, Sha256};
use crate::repository::kept::Kept;
use crate::repository::wire::{Body, FileEntry};
use crate::repository::{ReadError, ReadFrom, Repository, catalogue::Backup};
use crate::settings::SetSettings;

/// One of the two sides.
pub enum Side<'a> {
    /// A backup.
    Backup(&'a Backup),
    /// The files as they are now.
    Live(&'a SetSettings),
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The manifest cannot be had.
    #[error("read the manifest of a backup")]
    Manifest(#[from] ReadError),
    /// The live files cannot be told.
    #[error("look at the live files")]
    Source(#[from] SourceError),
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDifference {
    /// Its path below the set's source.
    pub path: String,
    /// Whether it is there before, and after.
    pub presence: (bool, bool),
    /// What differs.
    pub difference: Difference,
    /// How many secrets in it are hidden.
    pub hidden: usize,
}

/// What of two sides is compared, and how it is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// This file; `None`: all.
    pub only: Option<&'a str>,
    /// Whether secrets are hidden.
    pub secrets: Secrets,
}

/// The files that differ, by path, of those that either side knows of.
pub fn compare(
    repository: &Repository,
    before: &Side<'_>,
    after: &Side<'_>,
    Wanted { only, secrets }: Wanted<'_>,
) -> Result<Vec<FileDifference>, CompareError> {
    let (before, after) = (Files::of(repository, before, only)?, Files::of(repository, after, only)?);
    let paths: BTreeSet<&str> = before.paths().chain(after.paths()).collect();
    Ok(paths.into_iter().filter_map(|path| compare_file(path, &before, &after, secrets)).collect())
}

fn compare_file(path: &str, before: &Files<'_>, after: &Files<'_>, secrets: Secrets) -> Option<FileDifference> {
    let (a, b) = (before.state(path), after.state(path));
    let presence = (!matches!(a, State::Absent), !matches!(b, State::Absent));
    let (difference, hidden) = match (a, b) {
        (State::Absent, State::Absent) => return None,
        (State::Unreadable(reason), _) | (_, State::Unreadable(reason)) => (Difference::Unshown { reason }, 0),
        (State::Held(a), State::Held(b)) if (a.sha256, a.is_symlink) == (b.sha256, b.is_symlink) => return None,
        (a, b) => match (before.content(path, &a), after.content(path, &b)) {
            (Ok(a), Ok(b)) => difference(path, &a, &b, secrets),
            (Err(reason), _) | (_, Err(reason)) => (Difference::Unshown { reason }, 0),
        },
    };
    Some(FileDifference { path: path.to_owned(), presence, difference, hidden })
}

/// What one side has of a file.
enum State {
    Absent,
    Unreadable(String),
    Held(Held),
}

struct Held {
    sha256: Digest,
    size_bytes: u64,
    /// At hand already; else it is in the backup.
    content: Option<Vec<u8>>,
    /// Whether it is a symlink, and the content says where to.
    is_symlink: bool,
}

impl Held {
    /// A symlink, as a line that says so.
    fn symlink(target: &str) -> Self {
        let content = format!("symlink to {target}\n").into_bytes();
        let sha256 = Digest::of_symlink(&bytes_of(target));
        Self { sha256, size_bytes: content.len() as u64, content: Some(content), is_symlink: true }
    }
}

/// One side's files.
enum Files<'a> {
    Stored { reader: ChunkReader<'a>, body: Box<Body>, only: Option<String> },
    Live { source: SourceDirectory, paths: BTreeMap<String, Found> },
}

impl<'a> Files<'a> {
    fn of(repository: &'a Repository, side: &Side<'_>, only: Option<&str>) -> Result<Self, CompareError> {
        match side {
            Side::Backup(backup) => {
                let body = Box::new(repository.read_opened_manifest(backup)?.manifest.body.unwrap_or_default());
                let (reader, only) = (ChunkReader::new(repository, ReadFrom::Anywhere), only.map(str::to_owned));
                Ok(Self::Stored { reader, body, only })
            }
            Side::Live(set) => {
                let source = SourceDirectory::open(&set.source)?;
                let paths = match only {
                    Some(path) => BTreeMap::from([(path.to_owned(), source.look_at(path))]),
                    None => source.look(&set.files)?,
                };
                Ok(Self::Live { source, paths })
            }
        }
    }

    fn paths(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        match self {
            Self::Stored { body, only, .. } => {
                let paths = body.kept().map(|kept| kept.path().as_str());
                Box::new(paths.filter(move |path| only.as_ref().is_none_or(|only| only == path)))
            }
            Self::Live { paths, .. } => Box::new(paths.keys().map(String::as_str)),
        }
    }

    fn state(&self, path: &str) -> State {
        match self {
            Self::Stored { body, .. } => State::Held(match body.kept_at(path) {
                None => return State::Absent,
                Some(Kept::Symlink(link)) => Held::symlink(&link.target),
                Some(kept) => {
                    let (sha256, size_bytes) = (kept.digest(), kept.size_bytes());
                    Held { sha256, size_bytes, content: None, is_symlink: false }
                }
            }),
            Self::Live { source, paths } => match paths.get(path) {
                None | Some(Found::Missing | Found::Directory(_)) => State::Absent,
                Some(Found::Unreadable(why) | Found::NoContent(why)) => State::Unreadable(why.clone()),
                Some(Found::Symlink(_, target)) => State::Held(Held::symlink(target)),
                Some(Found::File(_)) => match source.open_file(path) {
                    Ok(Ok((file, _))) => {
                        read_live(file).map_or_else(|why| State::Unreadable(why.to_string()), State::Held)
                    }
                    Ok(Err(error)) => State::Unreadable(error.to_string()),
                    Err(error) => State::Unreadable(error.to_string()),
                },
            },
        }
    }

    /// The content of a file in this state, or why it is not shown.
    fn content(&self, path: &str, state: &State) -> Result<Vec<u8>, String> {
        let State::Held(held) = state else { return Ok(Vec::new()) };
        if held.size_bytes > MAX_BYTES as u64 {
            return Err(format!("it is larger than {} MiB", MAX_BYTES >> 20));
        }
        match (self, &held.content) {
            (_, Some(content)) => Ok(content.clone()),
            (Self::Stored { reader, body, .. }, None) => match body.kept_at(path).and_then(Kept::file) {
                Some(file) => stored_content(reader, file),
                None => Ok(Vec::new()),
            },
            (Self::Live { .. }, None) => Err("it changed while it was read".into()),
        }
    }
}

/// Hashes a live file; keeps its content if that is small enough to be compared.
fn read_live(file: std::fs::File) -> std::io::Result<Held> {
    let mut content = Vec::new();
    let mut hasher = Sha256::new();
    (&file).take(MAX_BYTES as u64 + 1).read_to_end(&mut content)?;
    hasher.update(&content);
    let mut size_bytes = content.len() as u64;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match (&file).read(&mut buffer)? {
            0 => break,
            count => {
                hasher.update(&buffer[..count]);
                size_bytes += count as u64;
            }
        }
    }
    let sha256 = hasher.finish();
    Ok(Held { sha256, size_bytes, content: (size_bytes <= MAX_BYTES as u64).then_some(content), is_symlink: false })
}

/// The content of a file in a backup, checked as in a restore.
fn stored_content(reader: &ChunkReader<'_>, file: &FileEntry) -> Result<Vec<u8>, String> {
    let mut content = Content::default();
    match read_files(reader, &[file], 0, &Progress::default(), &mut content) {
        Ok(()) => Ok(content.0),
        Err(Unhad(why)) => Err(why),
    }
}

/// A file's content in memory.
#[derive(Default)]
struct Content(Vec<u8>);

/// Why content could not be had.
struct Unhad(String);

impl From<Cancelled> for Unhad {
    fn from(cancelled: Cancelled) -> Self {
        Self(cancelled.to_string())
    }
}

impl FileSink for Content {
    type Error = Unhad;

    fn begin(&mut self, _: &FileEntry) -> Result<(), Unhad> {
        Ok(())
    }

    fn content(&mut self, content: &[u8]) -> Result<(), Unhad> {
        self.0.extend_from_slice(content);
        Ok(())
    }

    fn end(&mut self, _: &FileEntry) -> Result<(), Unhad> {
        Ok(())
    }

    fn fault(&mut self, _: &FileEntry, fault: ContentFault) -> Result<(), Unhad> {
        Err(Unhad(fault.to_string()))
    }
}
