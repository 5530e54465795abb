//! Making a backup.
//!
//! Hazard: content that is shared with older backups is only as good as what is on the disk now. An object that
//! would be shared is read and hashed while the content is still in hand, and rewritten at once if it is not right.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};

use super::capture::{Captured, ContentStore, capture};
use super::lineage::{Ancestors, rewritten};
use super::seen::{RECOGNISED_FROM_BYTES, Seen, SeenFiles, seen_of};
use super::source::{Look, SourceDirectory, SourceError};
use super::verify::{Damage, damage_of};
use super::{Cancelled, Progress};
use crate::core::{BackupId, BackupKind, BackupState, ChunkKey, Digest, SetName, Timeline};
use crate::repository::catalogue::{Backup, Catalogue, Content};
use crate::repository::encryption::{Fingerprint, Keys, Sealing};
use crate::repository::object::{Encoded, Encoder};
use crate::repository::reserve::MIN_FREE_BYTES;
use crate::repository::wire::{
    Attributes, AuditHead, Body, Chunk, Envelope, FORMAT, FileEntry, Manifest, ObjectReference, SymlinkEntry,
};
use crate::repository::{Note, ReadError, ReadFrom, Repository, StoredFile, WriteError, backup_time};
use crate::settings::SetSettings;
use crate::storage::Staged;

/// What is asked for.
pub struct Request<'a> {
    /// The set.
    pub set: &'a SetSettings,
    /// Why.
    pub kind: BackupKind,
    /// Whether every file is read, whatever is known of it.
    pub read_everything: bool,
    /// Every so many runs everything is read even if it need not be.
    pub read_sources_every_runs: u32,
    /// The time now.
    pub now: DateTime<Utc>,
    /// Whether the clock is in doubt.
    pub clock_suspect: bool,
    /// Where the audit chain stands.
    pub audit_head: Option<AuditHead>,
}

/// What came of it.
#[derive(Debug)]
pub enum Archived {
    /// A new backup, durable and not yet read back.
    Created(Created),
    /// A scheduled run found everything as it is in a backup that there is: no new one was made.
    Unchanged {
        /// That backup.
        backup: Backup,
        /// Objects that were found damaged or absent, and rewritten from the content in hand.
        repaired: Vec<Digest>,
    },
}

/// A new backup.
#[derive(Debug)]
pub struct Created {
    /// The backup.
    pub backup: Backup,
    /// Its objects that were read and found right while it was made: shared ones.
    pub proven: HashSet<Digest>,
    /// Objects that were found damaged or absent, and rewritten from the content in hand.
    pub repaired: Vec<Digest>,
    /// Files that hold something else than before and look the same: recognised, they would not have been read.
    pub changed_unseen: Vec<String>,
}

/// Why no backup was made. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The source is not what it should be.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// There is nothing to back up.
    #[error(
        "there is no file of the set in {directory} ({missing} missing, {unreadable} unreadable): see that it is the right \
             directory, and that its patterns match"
    )]
    NoFiles {
        /// How many are missing.
        missing: usize,
        /// How many cannot be read.
        unreadable: usize,
        /// The source directory.
        directory: String,
    },
    /// The set is larger than its settings allow.
    #[error(
        "the set has {size_bytes} bytes, more than its max_size_mb = {limit_mb} allows: raise it, or take files out"
    )]
    TooLarge {
        /// What it has.
        size_bytes: u64,
        /// What is allowed.
        limit_mb: u64,
    },
    /// The repository's disk is full.
    #[error("no space left in {location} ({free_bytes} bytes free): free some, or lower retention_days or max_backups")]
    NoSpace {
        /// The repository.
        location: String,
        /// What is still free.
        free_bytes: u64,
    },
    /// The repository could not be written.
    #[error(transparent)]
    Write(WriteError),
    /// It is to be encrypted, and for whom is not known.
    #[error("{0}; nothing was backed up")]
    NoRecipients(String),
    /// Compression failed, for want of memory; or encryption, for want of random numbers.
    #[error("compress or encrypt")]
    Compress(#[source] std::io::Error),
    /// The work was told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Makes a backup of a set. It is durable when this returns, and not yet read back.
pub fn archive(repository: &Repository, request: &Request<'_>, progress: &Progress) -> Result<Archived, ArchiveError> {
    archive_from(&SourceDirectory::open(&request.set.source)?, repository, request, progress)
}

/// The same of a source that is open already.
pub fn archive_from(
    source: &SourceDirectory,
    repository: &Repository,
    request: &Request<'_>,
    progress: &Progress,
) -> Result<Archived, ArchiveError> {
    let no_space = |free_bytes| ArchiveError::NoSpace { location: repository.location(), free_bytes };
    if let Ok(free_bytes) = repository.free_bytes()
        && free_bytes < MIN_FREE_BYTES
        && request.kind != BackupKind::PreRestore
    {
        return Err(no_space(free_bytes));
    }
    make(source, repository, request, progress).map_err(|error| match error {
        ArchiveError::Write(error) if error.is_no_space() => no_space(repository.free_bytes().unwrap_or(0)),
        error => error,
    })
}

fn make(
    source: &SourceDirectory,
    repository: &Repository,
    request: &Request<'_>,
    progress: &Progress,
) -> Result<Archived, ArchiveError> {
    // One list of recipients from the first object to the manifest, whatever the settings become meanwhile.
    let keys = repository.keys();
    if let Sealing::Unavailable(why) = &keys.sealing {
        return Err(ArchiveError::NoRecipients(why.clone()));
    }
    let memory = Memory::recall(repository, request, source, &keys.fingerprints());
    let ancestors = Ancestors::of(repository, request.set);
    let writer = ObjectWriter::new(repository, &keys, &memory, &ancestors, request.now);
    let mut captured = capture(source, request.set, request.kind, &writer, progress)?;
    if captured.files.is_empty() && captured.symlinks.is_empty() && request.kind != BackupKind::PreRestore {
        return Err(ArchiveError::NoFiles {
            missing: captured.missing.len(),
            unreadable: captured.unreadable.len(),
            directory: request.set.source.real().display().to_string(),
        });
    }
    // What holds the same and has lost some of it is no reason not to make a backup.
    if request.kind == BackupKind::Scheduled
        && !writer.superseded()
        && let Some(same) = unchanged(repository, request.set, &keys.fingerprints(), &captured)
    {
        memory.remember(repository, request, same.id, seen_of(&captured));
        return Ok(Archived::Unchanged { backup: same, repaired: writer.repaired() });
    }
    if request.kind.is_version() {
        ancestors.judge(source, &mut captured);
        pin_what_was_rewritten(repository, &request.set.name, &captured.files)?;
    }
    let (proven, repaired) = writer.publish(&captured.files)?;
    let (seen, changed_unseen) = (seen_of(&captured), memory.seen.changed_unseen(&captured));
    let manifest = compose(repository, request, keys.fingerprints(), captured);
    let backup = repository.publish_manifest(manifest, &keys).map_err(ArchiveError::Write)?;
    // A backup of what a restore replaces is no look at the set.
    if request.kind != BackupKind::PreRestore {
        memory.remember(repository, request, backup.id, seen);
    }
    Ok(Archived::Created(Created { backup, proven, repaired, changed_unseen }))
}

/// The last backup of a log that was rewritten is kept, whatever retention says; before the one that replaces it exists.
fn pin_what_was_rewritten(repository: &Repository, set: &SetName, files: &[FileEntry]) -> Result<(), ArchiveError> {
    for (_, previous) in rewritten(files) {
        let unpinned = repository.catalogue().get(previous).is_some_and(|backup| !backup.pinned);
        if unpinned {
            repository.set_pinned(set, previous, true).map_err(ArchiveError::Write)?;
        }
    }
    Ok(())
}

/// The newest good backup, or else the newest intact one, if it holds exactly what was captured. An invalid file that
/// stays as it is makes one suspect backup, not one every hour. One for other recipients holds nothing for these.
fn unchanged(
    repository: &Repository,
    set: &SetSettings,
    recipients: &[Fingerprint],
    captured: &Captured,
) -> Option<Backup> {
    let catalogue = repository.catalogue();
    let index = catalogue.set(&set.name)?;
    let newest_intact = index.backups().iter().rev().find(|backup| {
        backup.kind() != Some(BackupKind::PreRestore)
            && matches!(backup.state(), BackupState::Good | BackupState::Suspect)
    });
    let same = |backup: &&Backup| {
        let manifest = backup.content.as_ref().map(|content| &content.manifest);
        let manifest = manifest.filter(|manifest| manifest.envelope.recipients == recipients);
        let manifest = manifest.filter(|manifest| manifest.envelope.valid == is_valid(captured));
        manifest.and_then(|manifest| manifest.body.as_ref()).is_some_and(|body| {
            captured.missing == body.missing
                && captured.unreadable.iter().map(|file| &file.path).eq(body.unreadable.iter().map(|file| &file.path))
                && captured.symlinks.len() == body.symlinks.len()
                && captured.symlinks.iter().zip(&body.symlinks).all(|(new, old)| same_symlink(new, old))
                && captured.files.len() == body.files.len()
                && captured.files.iter().zip(&body.files).all(|(new, old)| same_file(new, old))
        })
    };
    [index.latest(), newest_intact].into_iter().flatten().find(same).cloned()
}

/// Whether two entries would restore the same file, its modification time aside, and both or neither are valid: what
/// is expected of a file may have changed though it did not.
fn same_file(a: &FileEntry, b: &FileEntry) -> bool {
    a.fault.is_some() == b.fault.is_some()
        && (&a.path, a.sha256) == (&b.path, b.sha256)
        && same_attributes(&a.attributes, &b.attributes)
}

fn same_symlink(a: &SymlinkEntry, b: &SymlinkEntry) -> bool {
    (&a.path, &a.target) == (&b.path, &b.target) && same_attributes(&a.attributes, &b.attributes)
}

/// Whether an entry would come back the same, its modification time aside. Names of owners are those that the ids have at
/// the moment, and known only since format 2.
fn same_attributes(a: &Attributes, b: &Attributes) -> bool {
    (a.mode, a.uid, a.gid, &a.xattrs) == (b.mode, b.uid, b.gid, &b.xattrs)
}

/// Whether all content is there that the set names, and valid.
fn is_valid(captured: &Captured) -> bool {
    !captured.lacks_content && captured.files.iter().all(|file| file.fault.is_none())
}

fn compose(
    repository: &Repository,
    request: &Request<'_>,
    recipients: Vec<Fingerprint>,
    captured: Captured,
) -> Manifest {
    let catalogue = repository.catalogue();
    let sequence = catalogue.set(&request.set.name).map_or(crate::core::Sequence::FIRST, |index| index.next_sequence());
    let mut objects: BTreeMap<Digest, u64> = BTreeMap::new();
    for chunk in captured.files.iter().flat_map(|file| &file.chunks) {
        objects.entry(chunk.object).or_insert_with(|| catalogue.object(&chunk.object).unwrap_or(0));
    }
    let envelope = Envelope {
        format: FORMAT,
        set: request.set.name.clone(),
        timeline: Timeline::FIRST,
        sequence,
        created: backup_time(request.now),
        clock_suspect: request.clock_suspect,
        kind: request.kind,
        consistent: captured.consistent,
        valid: is_valid(&captured),
        size_bytes: captured.files.iter().map(|file| file.size_bytes).sum(),
        stored_bytes: objects.values().sum(),
        objects: objects.into_iter().map(|(name, stored_bytes)| ObjectReference { name, stored_bytes }).collect(),
        audit_head: request.audit_head,
        generation: if recipients.is_empty() { 0 } else { generation(&catalogue, request, &captured) },
        recipients,
    };
    let Captured { files, symlinks, missing, unreadable, .. } = captured;
    let body = Body { files, symlinks, missing, unreadable, ..Body::default() };
    Manifest { envelope, body: Some(body), lines: Vec::new() }
}

/// The generation of a backup, which whoever cannot open it goes by: a new one unless it is certain that each file of the
/// one before is in it, and valid.
fn generation(catalogue: &Catalogue, request: &Request<'_>, captured: &Captured) -> u64 {
    let backups = catalogue.set(&request.set.name).map_or(&[][..], |index| index.backups());
    let before = backups.iter().rev().find_map(|backup| backup.content.as_deref());
    let Some(before) = before.map(|content| &content.manifest) else { return 1 };
    let files = captured.files.iter().filter(|file| file.fault.is_none()).map(|file| file.path.as_str());
    let has: HashSet<&str> = files.chain(captured.symlinks.iter().map(|link| link.path.as_str())).collect();
    let has_all = before.body.as_ref().is_some_and(|body| body.kept().all(|kept| has.contains(kept.path().as_str())));
    before.envelope.generation + u64::from(!has_all || before.envelope.generation == 0)
}

/// What is known of files without reading them.
struct Memory {
    seen: SeenFiles,
    /// The backup that has them, if they may be recognised.
    content: Option<Arc<Content>>,
    /// The filesystem on which they may be.
    device: Option<u64>,
}

impl Memory {
    fn recall(
        repository: &Repository,
        request: &Request<'_>,
        source: &SourceDirectory,
        recipients: &[Fingerprint],
    ) -> Self {
        let seen = SeenFiles::load(repository, &request.set.name);
        let believed = !request.read_everything && seen.is_believed(request.read_sources_every_runs, request.now);
        let device = if believed { source.honest_device() } else { None };
        let content = if device.is_some() { recognisable(repository, request, seen.backup, recipients) } else { None };
        Self { seen, content, device }
    }

    /// The entry of a file that is exactly as it was then.
    fn entry(&self, path: &str, look: &Look) -> Option<&FileEntry> {
        let files = self.content.as_ref()?.manifest.files();
        let same = self.device == Some(look.identity.device) && self.seen.has(path, look);
        let at = files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        if same { files.get(at) } else { None }
    }

    fn remember(
        &self,
        repository: &Repository,
        request: &Request<'_>,
        backup: BackupId,
        files: BTreeMap<String, Seen>,
    ) {
        let read = self.content.is_none().then_some(request.now);
        self.seen.remember(repository, &request.set.name, backup, files, read);
    }
}

/// What this backup holds, if files may be taken from it unread.
fn recognisable(
    repository: &Repository,
    request: &Request<'_>,
    backup: Option<BackupId>,
    recipients: &[Fingerprint],
) -> Option<Arc<Content>> {
    let catalogue = repository.catalogue();
    let backup = catalogue.get(backup?)?;
    let content = backup.content.as_ref()?;
    let envelope = &content.manifest.envelope;
    let is_ours = envelope.set == request.set.name && envelope.recipients == recipients;
    (is_ours && backup.state() != BackupState::Damaged).then(|| content.clone())
}

/// Stores chunks: shares what is stored already and right, stages what is not.
struct ObjectWriter<'a> {
    repository: &'a Repository,
    keys: &'a Keys,
    recipients: Vec<Fingerprint>,
    memory: &'a Memory,
    ancestors: &'a Ancestors,
    now: DateTime<Utc>,
    encoders: Mutex<Vec<Encoder<'a>>>,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    staged: HashMap<Digest, (Staged, u64)>,
    stored: HashMap<ChunkKey, Digest>,
    proven: HashSet<Digest>,
    repaired: Vec<Digest>,
    /// Whether an object that should have been shared was not right, and another has its content now.
    superseded: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> ObjectWriter<'a> {
    fn new(
        repository: &'a Repository,
        keys: &'a Keys,
        memory: &'a Memory,
        ancestors: &'a Ancestors,
        now: DateTime<Utc>,
    ) -> Self {
        let (encoders, written) = (Mutex::default(), Mutex::default());
        Self { repository, keys, recipients: keys.fingerprints(), memory, ancestors, now, encoders, written }
    }

    /// The object that holds `content` with this key.
    fn place(&self, key: ChunkKey, content: &[u8]) -> Result<Digest, ArchiveError> {
        if let Some(object) = locked(&self.written).stored.get(&key) {
            return Ok(*object);
        }
        let shared = self.repository.catalogue().chunk(&self.recipients, &key);
        if let Some(shared) = shared
            && self.repository.read_object(&shared.object, ReadFrom::Disk).is_ok()
        {
            let mut written = locked(&self.written);
            written.proven.insert(shared.object);
            written.stored.insert(key, shared.object);
            return Ok(shared.object);
        }
        let object = self.write(content)?;
        let mut written = locked(&self.written);
        written.superseded |= shared.is_some_and(|shared| shared.object != object);
        written.stored.insert(key, object);
        Ok(object)
    }

    fn write(&self, content: &[u8]) -> Result<Digest, ArchiveError> {
        let encoder = locked(&self.encoders).pop();
        let mut encoder =
            encoder.map_or_else(|| Encoder::new(self.keys.recipients()), Ok).map_err(ArchiveError::Compress)?;
        let encoded = encoder.encode(content).map_err(ArchiveError::Compress)?;
        locked(&self.encoders).push(encoder);
        let known = self.repository.catalogue().object(&encoded.name).is_some();
        if known {
            // There is a file of that name: a leftover that is right, or damage that is healed here.
            let right = match self.repository.read_object(&encoded.name, ReadFrom::Disk) {
                Ok(_) => true,
                Err(error) => {
                    self.mend(&encoded, error).map_err(ArchiveError::Write)?;
                    false
                }
            };
            let mut written = locked(&self.written);
            written.proven.insert(encoded.name);
            if !right {
                written.repaired.push(encoded.name);
            }
            return Ok(encoded.name);
        }
        let stored_bytes = encoded.stored.len() as u64;
        let staged = self.repository.stage(&encoded).map_err(|error| ArchiveError::Write(error.into()))?;
        let twice = locked(&self.written).staged.insert(encoded.name, (staged, stored_bytes));
        // The same content, met by two threads at once: one copy is enough.
        self.repository.discard(twice.into_iter().map(|(staged, _)| staged).collect());
        Ok(encoded.name)
    }

    /// Puts the right bytes in the place of an object. What is damaged is kept; what cannot be read can only be replaced.
    fn mend(&self, right: &Encoded, error: ReadError) -> Result<(), WriteError> {
        let file = StoredFile::Object(right.name);
        let Ok(Damage { place, fault }) = damage_of(error) else {
            return self.repository.put_back(&file, &right.stored);
        };
        let note = Note {
            when: self.now,
            place,
            fault,
            expected_sha256: Some(right.name.to_string()),
            healed_from: Some("the source, by a backup".into()),
        };
        self.repository.mend(&file, &right.stored, &note)
    }

    /// Whether content that was stored already had to be stored again under another name.
    fn superseded(&self) -> bool {
        locked(&self.written).superseded
    }

    /// The objects that were repaired so far.
    fn repaired(&self) -> Vec<Digest> {
        locked(&self.written).repaired.clone()
    }

    /// Makes the objects of these files durable and visible, and drops what was staged for nothing; returns those that
    /// were proven, and those that were repaired.
    fn publish(self, files: &[FileEntry]) -> Result<(HashSet<Digest>, Vec<Digest>), ArchiveError> {
        let mut written = std::mem::take(&mut *locked(&self.written));
        let needed: HashSet<Digest> = files.iter().flat_map(|file| &file.chunks).map(|chunk| chunk.object).collect();
        let (needed, unneeded): (HashMap<_, _>, HashMap<_, _>) =
            written.staged.drain().partition(|(name, _)| needed.contains(name));
        self.repository.discard(unneeded.into_values().map(|(staged, _)| staged).collect());
        let absent = {
            let catalogue = self.repository.catalogue();
            catalogue.absent(catalogue.backups())
        };
        written.repaired.extend(needed.keys().filter(|name| absent.contains(name)));
        self.repository.publish_objects(needed).map_err(ArchiveError::Write)?;
        Ok((written.proven, written.repaired))
    }
}

impl Drop for ObjectWriter<'_> {
    fn drop(&mut self) {
        let staged = std::mem::take(&mut locked(&self.written).staged);
        self.repository.discard(staged.into_values().map(|(staged, _)| staged).collect());
    }
}

impl ContentStore for ObjectWriter<'_> {
    fn lengths(&self) -> &BTreeSet<u64> {
        self.ancestors.lengths()
    }

    fn store(&self, content: &[u8]) -> Result<Chunk, ArchiveError> {
        let blake3 = ChunkKey::of(content);
        Ok(Chunk { object: self.place(blake3, content)?, frame: None, at: 0, size_bytes: content.len() as u64, blake3 })
    }

    fn recognise(&self, path: &str, look: &Look) -> Option<FileEntry> {
        if look.identity.size_bytes < RECOGNISED_FROM_BYTES {
            return None;
        }
        let entry = self.memory.entry(path, look)?;
        let catalogue = self.repository.catalogue();
        let there = entry.chunks.iter().all(|chunk| catalogue.object(&chunk.object).is_some());
        there.then(|| entry.clone())
    }
}

impl ArchiveError {
    /// Whether it failed for want of space.
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}
