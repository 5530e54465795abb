//! Reading a backup back.
//!
//! Hazard: a backup that was written is not yet one that can be read. Damage is told from what merely could not be
//! read just now: only the first is a loss.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};

use super::content::{ChunkReader, ContentFault, FileSink, read_files};
use super::parallel::{self, Share};
use super::{Cancelled, Progress};
use crate::core::scrub::Shard;
use crate::core::{BackupId, ChunkKey, Digest};
use crate::repository::catalogue::{Backup, Finding};
use crate::repository::object::ObjectFault;
use crate::repository::wire::{Chunk, Envelope, FileEntry, Frame};
use crate::repository::{ReadError, ReadFrom, Repository, StoredFile, WriteError, layout};

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is as its hash says.
    Intact,
    /// This is absent or wrong, one line each, by its place in the repository; never empty.
    Damaged(Vec<Damage>),
    /// Something could not be read, which proves nothing: why.
    Unreadable(String),
}

/// A loss.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// What was lost: a path in the repository.
    pub place: String,
    /// What is wrong with it.
    pub fault: String,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// What a verification found, and how much it read.
#[derive(Debug)]
pub struct Verification {
    /// What was found.
    pub verdict: Verdict,
    /// Bytes of content that were read.
    pub content_bytes: u64,
    /// What was damaged, and was healed before the verdict.
    pub healed: Vec<Damage>,
}

impl Verification {
    /// What was found, with nothing healed.
    pub const fn of(verdict: Verdict, content_bytes: u64) -> Self {
        Self { verdict, content_bytes, healed: Vec::new() }
    }
}

/// What is damaged of the small documents: what the repository says of itself, pins, lists of pruned sequences. What
/// cannot be read proves nothing.
pub fn documents(repository: &Repository) -> Vec<Damage> {
    let shards = repository.shards().into_iter().map(|(shard, _)| shard);
    let files = shards.filter(|shard| !matches!(shard, Shard::Objects(_))).flat_map(|s| repository.stored_files(&s));
    files
        .filter(StoredFile::is_document)
        .filter_map(|file| damage_of(repository.read_stored(&file, ReadFrom::Disk).err()?).ok())
        .collect()
}

/// The loss that an error is; why not, if something could merely not be read.
pub(super) fn damage_of(error: ReadError) -> Result<Damage, String> {
    match error {
        ReadError::Absent(place) => Ok(Damage { place, fault: "absent".into() }),
        ReadError::Damaged(place, fault) => Ok(Damage { place, fault }),
        ReadError::Unreadable(place, error) => Err(format!("{place}: {}", error.source)),
        error @ ReadError::NoIdentity(_) => Err(error.to_string()),
    }
}

/// Reads the whole backup: the manifest, every object decompressed, every file hashed.
pub fn verify(repository: &Repository, backup: &Backup, progress: &Progress) -> Result<Verification, Cancelled> {
    let manifest = match repository.read_manifest(backup) {
        Ok(content) => content.manifest,
        Err(error) => return Ok(Verification::of(manifest_verdict(error), 0)),
    };
    if !repository.keys().open_what_is_for(&manifest.envelope.recipients) {
        return verify_stored(repository, &manifest.envelope, progress);
    }
    let files = manifest.files();
    progress.expect(files.iter().map(|file| file.size_bytes).sum());
    let share = Share::of(files.iter().map(|file| file.size_bytes));
    let reader = ChunkReader::new(repository, ReadFrom::Disk);
    let all = Mutex::new(Findings::default());
    parallel::for_each(share.files, files, |file| {
        let mut findings = Findings::default();
        read_files(&reader, &[file], share.threads, progress, &mut findings)?;
        all.lock().unwrap_or_else(PoisonError::into_inner).merge(findings);
        Ok(())
    })?;
    let findings = all.into_inner().unwrap_or_else(PoisonError::into_inner);
    let named = manifest.envelope.recipients.is_empty();
    Ok(if named { findings } else { findings.unnamed(&layout::manifest(&backup.set, backup.id).to_string()) }
        .conclude())
}

/// Reads every object of a backup that cannot be opened here: its stored bytes are what they were, which is all that can
/// be told without an identity.
fn verify_stored(repository: &Repository, envelope: &Envelope, progress: &Progress) -> Result<Verification, Cancelled> {
    progress.expect(envelope.stored_bytes);
    let all = Mutex::new(Findings::default());
    parallel::for_each(parallel::threads(), &envelope.objects, |object| {
        let read = repository.read_object(&object.name, ReadFrom::Disk);
        progress.advance(object.stored_bytes)?;
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.content_bytes += object.stored_bytes;
        if let Err(error) = read {
            all.add(error.into());
        }
        Ok(())
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner).conclude())
}

/// Reads a fresh backup back: the manifest, and every object that is not `proven` already; new ones are decompressed
/// and compared with the hash of the content they were made from.
pub fn read_back(
    repository: &Repository,
    backup: &Backup,
    proven: &HashSet<Digest>,
    progress: &Progress,
) -> Result<Verification, Cancelled> {
    let manifest = match repository.read_manifest(backup) {
        Ok(content) => content.manifest,
        Err(error) => return Ok(Verification::of(manifest_verdict(error), 0)),
    };
    if !repository.keys().open_what_is_for(&manifest.envelope.recipients) {
        return verify_stored(repository, &manifest.envelope, progress);
    }
    let chunks: BTreeMap<(Digest, Option<Frame>), Chunk> = manifest
        .files()
        .iter()
        .flat_map(|file| &file.chunks)
        .filter(|chunk| !proven.contains(&chunk.object))
        .map(|chunk| ((chunk.object, chunk.frame), *chunk))
        .collect();
    progress.expect(chunks.values().map(|chunk| chunk.size_bytes).sum());
    let reader = ChunkReader::new(repository, ReadFrom::Disk);
    let mut findings = Findings::default();
    parallel::ordered(
        if chunks.len() <= 4 { 0 } else { parallel::threads() },
        |emit| {
            for chunk in chunks.values() {
                if !emit(*chunk) {
                    break;
                }
            }
            Ok(())
        },
        |chunk| Ok::<_, Cancelled>((chunk, check_chunk(&reader, &chunk))),
        |(chunk, result)| {
            progress.advance(chunk.size_bytes)?;
            findings.content_bytes += chunk.size_bytes;
            if let Err(fault) = result {
                findings.add(fault);
            }
            Ok(())
        },
    )?;
    Ok(findings.conclude())
}

/// Remembers what a verification found. Damage to an object is damage to every backup that needs it, and the object is
/// no longer shared with new ones. What could not be read proves nothing, and is not remembered beyond this process.
pub fn record(
    repository: &Repository,
    backup: &Backup,
    verdict: &Verdict,
    now: DateTime<Utc>,
) -> Result<(), WriteError> {
    match verdict {
        Verdict::Intact => repository.record_finding(backup.id, Finding::Intact { checked: now }),
        Verdict::Unreadable(why) => match backup.finding {
            // Found damaged before: that it cannot be read now does not make it better.
            Finding::Damaged(_) => Ok(()),
            _ => repository.record_finding(backup.id, Finding::Unreadable(why.clone())),
        },
        Verdict::Damaged(damages) => {
            let objects: HashSet<Digest> =
                damages.iter().filter_map(|damage| layout::object_name(&damage.place)).collect();
            repository.distrust_objects(&objects);
            let what = damages.first().map_or_else(String::new, |damage| format!("{}: {}", damage.place, damage.fault));
            let sharing: Vec<BackupId> = repository.catalogue().needing(&objects).map(|backup| backup.id).collect();
            for id in sharing.into_iter().filter(|id| *id != backup.id).chain([backup.id]) {
                repository.record_finding(id, Finding::Damaged(what.clone()))?;
            }
            Ok(())
        }
    }
}

fn check_chunk(reader: &ChunkReader<'_>, chunk: &Chunk) -> Result<(), ContentFault> {
    let content = reader.read(chunk)?;
    if ChunkKey::of(&content) == chunk.blake3 {
        Ok(())
    } else {
        Err(ContentFault::Content { object: chunk.object, fault: ObjectFault::Content })
    }
}

fn manifest_verdict(error: ReadError) -> Verdict {
    damage_of(error).map_or_else(Verdict::Unreadable, |damage| Verdict::Damaged(vec![damage]))
}

#[derive(Default)]
struct Findings {
    damages: std::collections::BTreeSet<Damage>,
    unreadable: Option<String>,
    content_bytes: u64,
}

impl Findings {
    fn merge(&mut self, other: Self) {
        self.damages.extend(other.damages);
        self.unreadable = self.unreadable.take().or(other.unreadable);
        self.content_bytes += other.content_bytes;
    }

    /// The same without the names of files, which nobody shall read who finds this written down.
    fn unnamed(mut self, manifest: &str) -> Self {
        let unnamed = |damage: Damage| match StoredFile::at(&damage.place) {
            Some(_) => damage,
            None => Damage { place: manifest.to_owned(), fault: "the SHA-256 of one of its files is another".into() },
        };
        self.damages = self.damages.into_iter().map(unnamed).collect();
        self
    }

    fn add(&mut self, fault: ContentFault) {
        let damage = match fault {
            ContentFault::Object(error) => match damage_of(error) {
                Ok(damage) => damage,
                Err(why) => {
                    self.unreadable = Some(why);
                    return;
                }
            },
            error if error.needs_identity() => {
                self.unreadable = Some(error.to_string());
                return;
            }
            ContentFault::Content { object, fault } => {
                Damage { place: layout::object(&object).to_string(), fault: fault.to_string() }
            }
            ContentFault::File(path) => Damage { place: path, fault: "its SHA-256 is not the manifest's".into() },
        };
        self.damages.insert(damage);
    }

    /// Damage outweighs what could not be read: it is certain.
    fn conclude(self) -> Verification {
        let verdict = if !self.damages.is_empty() {
            Verdict::Damaged(self.damages.into_iter().collect())
        } else if let Some(why) = self.unreadable {
            Verdict::Unreadable(why)
        } else {
            Verdict::Intact
        };
        Verification::of(verdict, self.content_bytes)
    }
}

impl FileSink for Findings {
    type Error = Cancelled;

    fn begin(&mut self, _file: &FileEntry) -> Result<(), Cancelled> {
        Ok(())
    }

    fn content(&mut self, content: &[u8]) -> Result<(), Cancelled> {
        self.content_bytes += content.len() as u64;
        Ok(())
    }

    fn end(&mut self, _file: &FileEntry) -> Result<(), Cancelled> {
        Ok(())
    }

    fn fault(&mut self, _file: &FileEntry, fault: ContentFault) -> Result<(), Cancelled> {
        self.add(fault);
        Ok(())
    }
}
