//! Reading a set's files, honestly.
//!
//! Hazard: files change while they are read, and a mixture of old and new restores perfectly and is wrong. Everything
//! is looked at before and after; what moved is read again, a bounded number of times; a file that never stood still
//! is reported, not guessed at. A file that holds still is stored whole. Only a log, in a set that says it holds logs, may
//! grow meanwhile: the copy of one that did ends at the last line that was whole when the log was first seen.

mod attributes;
mod gathering;
mod holes;
mod names;
mod reading;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Progress;
use super::archive::ArchiveError;
use super::lineage::Beginnings;
use super::parallel::{self, Share};
use super::source::{Found, Look, SourceDirectory, tick};
use crate::core::{BackupKind, EntryPath, Timestamp};
use crate::repository::wire::{Chunk, DirectoryEntry, FileEntry, HardLinkEntry, SymlinkEntry, UnreadableFile};
use crate::settings::SetSettings;
use gathering::Gathering;
use names::Names;
use reading::Task;

/// How often a set that moves is looked at, and how long it is left alone before the second time; doubled each time.
const MAX_ROUNDS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(5);

/// Where the content goes.
pub trait ContentStore: Sync {
    /// Stores a chunk of a file that is larger than one chunk.
    fn store(&self, content: &[u8]) -> Result<Chunk, ArchiveError>;

    /// Stores the content of a file that is no more than one chunk, together with that of others.
    fn store_small(&self, content: &[u8]) -> Result<Chunk, ArchiveError>;

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
    pub looks: BTreeMap<String, (Look, Timestamp)>,
    /// Files that were not there, and patterns that match none.
    pub missing: Vec<EntryPath>,
    /// Symlinks, by path.
    pub symlinks: Vec<SymlinkEntry>,
    /// Further names of files, by path.
    pub hard_links: Vec<HardLinkEntry>,
    /// Directories, by path.
    pub directories: Vec<DirectoryEntry>,
    /// What is not kept, and why.
    pub unreadable: Vec<UnreadableFile>,
    /// Whether a file that the set names has no content: something else is in its place.
    pub lacks_content: bool,
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
        let now = tick();
        let before = source.look(&set.files)?;
        check_size(set, &before, progress)?;
        let names = Names::of(&before, set.validate);
        held.retain(|path, held| before.get(path).is_some_and(|found| held.still(found)));
        let unread: Vec<(&String, &Look)> = before
            .iter()
            .filter_map(|(path, found)| if let Found::File(look) = found { Some((path, look)) } else { None })
            .filter(|(path, _)| !held.contains_key(*path) && !names.further.contains_key(*path))
            .collect();
        let share = Share::of(unread.iter().map(|(_, look)| look.identity.size_bytes));
        let task = Task { source, set, kind, store, progress, names: &names, threads: share.threads };
        let read = Mutex::new(&mut held);
        parallel::for_each(share.files, &unread, |(path, look)| {
            let mut look = **look;
            let outcome = task.read_file(path, &mut look)?;
            let held = Held { look, tick: now, outcome };
            read.lock().unwrap_or_else(PoisonError::into_inner).insert((*path).clone(), held);
            Ok::<_, ArchiveError>(())
        })?;
        let after = source.look(&set.files)?;
        let still = before.len() == after.len()
            && before.iter().all(|(path, found)| match (held.get(names.first_of(path)), after.get(path)) {
                (Some(held), Some(after)) => held.outcome != Outcome::Moved && held.still(after),
                (None, Some(after)) => is_same(found, after),
                (_, None) => false,
            });
        if still || round == MAX_ROUNDS {
            return Ok(Gathering { source, set, held, names }.gather(before, still));
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
    tick: Timestamp,
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

/// Whether what is no plain file is as it was. Files come and go in a directory; what is kept of it stays the same.
fn is_same(before: &Found, after: &Found) -> bool {
    let kept = |look: &Look| (look.identity.device, look.identity.inode, look.mode, look.uid, look.gid);
    match (before, after) {
        (Found::Directory(before), Found::Directory(after)) => kept(before) == kept(after),
        _ => before == after,
    }
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
