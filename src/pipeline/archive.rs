//! Making a backup.
//!
//! Hazard: content that is shared with older backups is only as good as what is on the disk now. An object that
//! would be shared is read and hashed while the content is still in hand, and rewritten at once if it is not right.

mod memory;
mod objects;

use std::collections::{BTreeSet, HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::capture::{Captured, capture};
use super::lineage::{Ancestors, rewritten};
use super::seen::seen_of;
use super::source::{SourceDirectory, SourceError};
use super::{Cancelled, Progress};
use crate::core::entry_path::escape;
use crate::core::{BackupKind, BackupState, Digest, SetName};
use crate::files::system::accounts;
use crate::repository::catalogue::{Backup, Catalogue};
use crate::repository::encryption::{Fingerprint, Sealing};
use crate::repository::reserve::MIN_FREE_BYTES;
use crate::repository::wire::{
    Attributes, AuditHead, Body, DirectoryEntry, Envelope, FORMAT, FileEntry, Manifest, ObjectReference, SymlinkEntry,
};
use crate::repository::{Repository, WriteError, backup_time};
use crate::settings::SetSettings;
use memory::Memory;
use objects::ObjectWriter;

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
    let writer = ObjectWriter::new(repository, request, &keys, &memory, &ancestors);
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
        && !writer.superseded()?
        && let Some(same) = unchanged(repository, request.set, &keys.fingerprints(), &captured)
    {
        memory.remember(repository, request, same.id, seen_of(&captured));
        return Ok(Archived::Unchanged { backup: same, repaired: writer.repaired() });
    }
    if request.kind.is_version() {
        ancestors.judge(source, &mut captured);
        pin_what_was_rewritten(repository, &request.set.name, &captured.files)?;
    }
    writer.settle(&mut captured.files)?;
    let (seen, changed_unseen) = (seen_of(&captured), memory.seen.changed_unseen(&captured));
    let mut manifest = compose(repository, request, keys.fingerprints(), captured);
    manifest.lines = writer.store_lines(&manifest)?;
    let (proven, repaired) = writer.publish(&manifest.chunks().map(|chunk| chunk.object).collect())?;
    list_objects(repository, &mut manifest);
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
                && captured.hard_links == body.hard_links
                && captured.directories.len() == body.directories.len()
                && captured.directories.iter().zip(&body.directories).all(|(new, old)| same_directory(new, old))
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

fn same_directory(a: &DirectoryEntry, b: &DirectoryEntry) -> bool {
    a.path == b.path && same_attributes(&a.attributes, &b.attributes)
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

/// The manifest, but for the objects that it needs.
fn compose(
    repository: &Repository,
    request: &Request<'_>,
    recipients: Vec<Fingerprint>,
    captured: Captured,
) -> Manifest {
    let catalogue = repository.catalogue();
    let sequence = catalogue.set(&request.set.name).map_or(crate::core::Sequence::FIRST, |index| index.next_sequence());
    let timeline = catalogue.timeline();
    let envelope = Envelope {
        format: FORMAT,
        set: request.set.name.clone(),
        timeline,
        sequence,
        created: backup_time(request.now),
        clock_suspect: request.clock_suspect,
        kind: request.kind,
        consistent: captured.consistent,
        valid: is_valid(&captured),
        size_bytes: captured.files.iter().map(|file| file.size_bytes).sum(),
        stored_bytes: 0,
        objects: Vec::new(),
        audit_head: request.audit_head,
        generation: if recipients.is_empty() { 0 } else { generation(&catalogue, request, &captured) },
        recipients,
    };
    let Captured { files, directories, symlinks, hard_links, missing, unreadable, .. } = captured;
    let mut body = Body { files, directories, symlinks, hard_links, missing, unreadable };
    name_owners(&mut body);
    Manifest { envelope, body: Some(body), lines: Vec::new() }
}

/// Gives owners and groups the names that they have on this system now, each looked up once.
fn name_owners(body: &mut Body) {
    let accounts = accounts();
    let (mut users, mut groups) = (HashMap::new(), HashMap::new());
    let files = body.files.iter_mut().map(|entry| &mut entry.attributes);
    let directories = body.directories.iter_mut().map(|entry| &mut entry.attributes);
    let symlinks = body.symlinks.iter_mut().map(|entry| &mut entry.attributes);
    let shown = |name: &str| escape(name.as_bytes());
    for attributes in files.chain(directories).chain(symlinks) {
        let user = users.entry(attributes.uid).or_insert_with_key(|uid| accounts.user_name(*uid).map(shown));
        let group = groups.entry(attributes.gid).or_insert_with_key(|gid| accounts.group_name(*gid).map(shown));
        (attributes.user, attributes.group) = (user.clone(), group.clone());
    }
}

/// Lists the objects that a backup needs, each once.
fn list_objects(repository: &Repository, manifest: &mut Manifest) {
    let catalogue = repository.catalogue();
    let names: BTreeSet<Digest> = manifest.chunks().map(|chunk| chunk.object).collect();
    let stored_bytes = |name: &Digest| catalogue.object(name).unwrap_or(0);
    let objects = names.iter().map(|name| ObjectReference { name: *name, stored_bytes: stored_bytes(name) });
    manifest.envelope.objects = objects.collect();
    manifest.envelope.stored_bytes = names.iter().map(stored_bytes).sum();
}

/// The generation of a backup, which whoever cannot open it goes by: a new one unless it is certain that each file of the
/// one before is in it, and valid.
fn generation(catalogue: &Catalogue, request: &Request<'_>, captured: &Captured) -> u64 {
    let backups = catalogue.set(&request.set.name).map_or(&[][..], |index| index.backups());
    let before = backups.iter().rev().find_map(|backup| backup.content.as_deref());
    let Some(before) = before.map(|content| &content.manifest) else { return 1 };
    let files = captured.files.iter().filter(|file| file.fault.is_none()).map(|file| file.path.as_str());
    let has: HashSet<&str> = files
        .chain(captured.symlinks.iter().map(|link| link.path.as_str()))
        .chain(captured.hard_links.iter().map(|link| link.path.as_str()))
        .collect();
    let has_all = before.body.as_ref().is_some_and(|body| body.kept().all(|kept| has.contains(kept.path().as_str())));
    before.envelope.generation + u64::from(!has_all || before.envelope.generation == 0)
}
impl ArchiveError {
    /// Whether it failed for want of space.
    pub const fn is_no_space(&self) -> bool {
        matches!(self, Self::NoSpace { .. })
    }
}
