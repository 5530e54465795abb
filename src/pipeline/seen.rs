//! How the large files of a set looked when they were last captured, so that they need not be read again each time.
//!
//! Hazard: a file changed through a mapping, or on a filesystem that keeps no honest times, looks as it did, and every
//! backup from then on holds what it was. So a look is believed only by scheduled runs, for less than a day, and only on
//! local filesystems known to stamp every change; and whenever a file is read all the same, and is another under an
//! unchanged look, that is told.

use std::collections::BTreeMap;
use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::capture::Captured;
use super::source::{Found, Identity, Look, SourceDirectory};
use crate::core::{BackupId, Digest, SetName, Sha256, Timestamp};
use crate::repository::Repository;
use crate::storage::Durability;

/// Files from this size on are recognised without reading, if nothing about them changed.
pub const RECOGNISED_FROM_BYTES: u64 = 1 << 20;

/// For how long a look is believed.
const BELIEVED_FOR: TimeDelta = TimeDelta::hours(24);

const SEEN: &str = "seen";

/// What is remembered of a set's files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SeenFiles {
    /// The backup that has them.
    pub backup: Option<BackupId>,
    /// Runs since everything was read, that one included.
    #[serde(default)]
    runs: u32,
    /// When that was.
    #[serde(default)]
    read: Option<DateTime<Utc>>,
    files: BTreeMap<String, Seen>,
}

/// How a file looked, and what it held.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    identity: Identity,
    tick: Timestamp,
    #[serde(default)]
    sha256: Option<Digest>,
}

impl Seen {
    /// Whether a file with this identity is as it was, as far as that tells. One that had changed within the tick of the
    /// earlier look may have changed again since without a trace ("racily clean" in git's index).
    fn is_same(&self, identity: &Identity) -> bool {
        let latest = self.identity.changed.max(self.identity.modified);
        self.identity == *identity && latest < self.tick
    }
}

/// What is to be remembered of the files that were captured.
pub fn seen_of(captured: &Captured) -> BTreeMap<String, Seen> {
    let hashes: BTreeMap<&str, Digest> = captured.files.iter().map(|file| (file.path.as_str(), file.sha256)).collect();
    let large = captured.looks.iter().filter(|(_, (look, _))| look.identity.size_bytes >= RECOGNISED_FROM_BYTES);
    large
        .map(|(path, (look, tick))| {
            let sha256 = hashes.get(path.as_str()).copied();
            (path.clone(), Seen { identity: look.identity, tick: *tick, sha256 })
        })
        .collect()
}

impl SeenFiles {
    /// What is remembered of a set; nothing, whatever is wrong with it: then everything is read.
    pub fn load(repository: &Repository, set: &SetName) -> Self {
        repository.load_set_state(SEEN, set).ok().and_then(|loaded| loaded.value()).unwrap_or_default()
    }

    /// Remembers these files of a backup, after a run that read everything, or recognised some of it.
    pub fn remember(
        &self,
        repository: &Repository,
        set: &SetName,
        backup: BackupId,
        files: BTreeMap<String, Seen>,
        read: Option<DateTime<Utc>>,
    ) {
        if files.is_empty() && self.files.is_empty() {
            return;
        }
        let (runs, read) = read.map_or((self.runs.saturating_add(1), self.read), |now| (1, Some(now)));
        // Losing it costs one reading of everything.
        let document = Self { backup: Some(backup), runs, read, files };
        let _ = repository.save_private_set_state(SEEN, set, &document, Durability::Lazy);
    }

    /// Whether it may spare a run at `now` the reading of files.
    pub fn is_believed(&self, most_runs: u32, now: DateTime<Utc>) -> bool {
        let is_fresh = |read: DateTime<Utc>| (TimeDelta::zero()..BELIEVED_FOR).contains(&(now - read));
        self.runs < most_runs && self.read.is_some_and(is_fresh)
    }

    /// Whether a file looks as it did.
    pub fn has(&self, path: &str, look: &Look) -> bool {
        self.files.get(path).is_some_and(|seen| seen.is_same(&look.identity))
    }

    /// The files that were read, look as they did, and hold something else.
    pub fn changed_unseen(&self, captured: &Captured) -> Vec<String> {
        let changed = captured.files.iter().filter(|file| {
            let look = captured.looks.get(file.path.as_str());
            let seen = self.files.get(file.path.as_str());
            look.zip(seen).is_some_and(|((look, _), seen)| {
                seen.is_same(&look.identity) && seen.sha256.is_some_and(|sha256| sha256 != file.sha256)
            })
        });
        changed.map(|file| file.path.to_string()).collect()
    }

    /// The live files that look as they did and hold something else: each that may be recognised is read. What cannot be
    /// read, or changes meanwhile, tells nothing.
    pub fn changed_live(&self, source: &SourceDirectory) -> Vec<String> {
        let changed = self.files.iter().filter(|(path, seen)| {
            let Some(expected) = seen.sha256 else { return false };
            let Ok(Ok((file, look))) = source.open_file(path) else { return false };
            let same = |look: &Look| seen.is_same(&look.identity);
            let differs = same(&look) && hash_of(file).is_ok_and(|hash| hash != expected);
            differs && matches!(source.look_at(path), Found::File(look) if same(&look))
        });
        changed.map(|(path, _)| path.clone()).collect()
    }
}

fn hash_of(mut file: impl io::Read) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 18];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(&block[..read]),
        }
    }
}

/// Has the next run of a set read everything.
pub fn forget_looks(repository: &Repository, set: &SetName) {
    // What is not forgotten is believed for a day at most.
    let _ = repository.save_private_set_state(SEEN, set, &SeenFiles::default(), Durability::Lazy);
}
