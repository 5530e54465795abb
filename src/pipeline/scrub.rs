//! Reading stored bytes again, a bounded piece at a time.
//!
//! Hazard: a reading that keeps a backup waiting, or that begins anew each time it is interrupted. A batch is small,
//! gives way between two files, and says exactly how far it came.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::parallel;
use super::verify::{Damage, damage_of};
use crate::core::scrub::{Checked, Next, Pace, Shard};
use crate::repository::{ReadFrom, Repository, StoredFile};

/// The most bytes that one batch reads, and the most files.
const BATCH_BYTES: u64 = 256 << 20;
const BATCH_FILES: usize = 4096;

/// Where a rate is set, a batch reads what may be read within so many seconds.
const BATCH_SECONDS: u64 = 2;

/// How far the rotation over one repository has come.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rotation {
    /// When each shard was read last.
    pub checked: Checked,
    /// The shard that is half read, and the last file of it that was read.
    under_way: Option<(Shard, String)>,
}

/// What a batch came to.
#[derive(Debug, Default)]
pub struct Batch {
    /// Bytes that were read.
    pub read_bytes: u64,
    /// What is absent or wrong.
    pub damages: Vec<Damage>,
    /// What could not be read, which proves nothing: why.
    pub unreadable: Vec<String>,
    /// When there is more to read; `None`: at once.
    pub rest_until: Option<DateTime<Utc>>,
}

/// Reads some of what is due, oldest first, and notes how far it came. Between two files it ends early if it should
/// `give_way`; one is always read.
pub fn batch(
    repository: &Repository,
    rotation: &mut Rotation,
    pace: &Pace,
    now: DateTime<Utc>,
    give_way: &(dyn Fn() -> bool + Sync),
) -> Batch {
    let shards: Vec<Shard> = repository.shards().into_iter().map(|(shard, _)| shard).collect();
    rotation.checked.retain(&shards);
    let limit_bytes = pace.bytes_per_second.map_or(BATCH_BYTES, |rate| (rate * BATCH_SECONDS).min(BATCH_BYTES));
    let mut work: Vec<(Shard, Vec<StoredFile>)> = Vec::new();
    let (mut ahead, mut files, mut bytes) = (rotation.checked.clone(), 0, 0);
    let mut rest_until = None;
    while files < BATCH_FILES && bytes < limit_bytes {
        match ahead.next(&shards, pace, now) {
            Some(Next::Read(shard)) => {
                let some = remaining(repository, rotation, &shard);
                files += some.len();
                bytes += some
                    .iter()
                    .filter_map(StoredFile::object)
                    .filter_map(|name| repository.catalogue().object(&name))
                    .sum::<u64>();
                ahead.note(shard.clone(), now);
                work.push((shard, some));
            }
            Some(Next::At(at)) => {
                rest_until = Some(at);
                break;
            }
            None => break,
        }
    }
    let flat: Vec<&StoredFile> = work.iter().flat_map(|(_, files)| files).collect();
    let reading = read(repository, &flat, limit_bytes, give_way);
    if !advance(rotation, &work, &reading.done, now) {
        rest_until = None;
    }
    Batch { rest_until, ..reading.batch }
}

/// The files of a shard that were not read yet.
fn remaining(repository: &Repository, rotation: &Rotation, shard: &Shard) -> Vec<StoredFile> {
    let mut files = repository.stored_files(shard);
    if let Some((half_read, last)) = &rotation.under_way
        && half_read == shard
        && let Some(last) = files.iter().position(|file| file.path().as_str() == last)
    {
        files.drain(..=last);
    }
    files
}

struct Reading {
    batch: Batch,
    /// Whether each file was read.
    done: Vec<bool>,
}

fn read(
    repository: &Repository,
    files: &[&StoredFile],
    limit_bytes: u64,
    give_way: &(dyn Fn() -> bool + Sync),
) -> Reading {
    let done: Vec<AtomicBool> = files.iter().map(|_| AtomicBool::new(false)).collect();
    let read_bytes = AtomicU64::new(0);
    let found = Mutex::new(Batch::default());
    let indices: Vec<usize> = (0..files.len()).collect();
    let _ = parallel::for_each(parallel::threads(), &indices, |index| {
        let full = read_bytes.load(Ordering::Relaxed) >= limit_bytes;
        if *index > 0 && (full || give_way()) {
            return Err(());
        }
        match repository.read_stored(files[*index], ReadFrom::Disk) {
            Ok(bytes) => _ = read_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed),
            // Deleted on purpose between the list and the look.
            Err(_) if !repository.expects(files[*index]) => {}
            Err(error) => {
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                match damage_of(error) {
                    Ok(damage) => found.damages.push(damage),
                    Err(why) => found.unreadable.push(why),
                }
            }
        }
        done[*index].store(true, Ordering::Relaxed);
        Ok(())
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    Reading {
        batch: Batch { read_bytes: read_bytes.into_inner(), ..found },
        done: done.into_iter().map(AtomicBool::into_inner).collect(),
    }
}

/// Notes which shards were read whole, and how far the next one was; whether all were.
fn advance(rotation: &mut Rotation, work: &[(Shard, Vec<StoredFile>)], done: &[bool], now: DateTime<Utc>) -> bool {
    let mut done = done.iter();
    for (shard, files) in work {
        let read = done.by_ref().take(files.len()).take_while(|done| **done).count();
        if read < files.len() {
            if let Some(last) = read.checked_sub(1).and_then(|last| files.get(last)) {
                rotation.under_way = Some((shard.clone(), last.path().to_string()));
            }
            return false;
        }
        rotation.checked.note(shard.clone(), now);
        if rotation.under_way.as_ref().is_some_and(|(half_read, _)| half_read == shard) {
            rotation.under_way = None;
        }
    }
    true
}
