//! Bringing files back.
//!
//! Hazard: a restore that goes wrong half way leaves an application with neither its old nor its new configuration.
//! Everything is read, checked and written beside its target first; then the live files are backed up, as late as can
//! be; only then are they replaced, by a [`transaction`] that any failure and any crash leaves all done or all undone.
//! Nothing outside the target directory can be written.

mod error;
mod health;
mod journal;
pub mod leftover;
mod replacement;
mod safety;
mod selection;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod tests;
pub mod transaction;

use std::borrow::Cow;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::content::{ChunkReader, read_files};
use super::source::SourceDirectory;
use super::stage::{Directories, Keeping, Lost, Stage, Staged, in_the_way};
use super::{Progress, parallel, stage};
use crate::core::content::{SetKind, is_validated};
use crate::core::entry_path::{escape, path_of};
use crate::core::{BackupId, BackupKind, Digest};
use crate::files::trust::Trust;
use crate::repository::catalogue::{Backup, Content};
use crate::repository::kept::Kept;
use crate::repository::object::CHUNK_BYTES;
use crate::repository::wire::{DirectoryEntry, FileEntry};
use crate::repository::{ReadFrom, Repository, layout};
use crate::settings::SetSettings;
use crate::source_path::{OpenSource, SourcePath};
use crate::storage::disk::{Disk, DiskKind};
use crate::storage::real_disk::RealDisk;

pub use error::RestoreError;
pub use health::{HealthCheck, HealthError};
use journal::Change;
pub use journal::{Journal, Token};
use selection::Selection;
use transaction::Transaction;

/// What to take from one backup. Several of one set, with no path in common, are restored as one.
#[derive(Clone, Debug)]
pub struct Pick {
    /// The backup.
    pub backup: Backup,
    /// These files of it, by path; `None` is all it has.
    pub paths: Option<Vec<String>>,
}

impl Rules {
    /// What is done about an owner that cannot be kept.
    const fn owner(self) -> Lost {
        if self.ignore_ownership { Lost::LetGo } else { Lost::Refused }
    }

    /// The same about extended attributes.
    const fn xattrs(self) -> Lost {
        if self.ignore_xattrs { Lost::LetGo } else { Lost::Refused }
    }
}

impl Pick {
    /// A whole backup.
    pub const fn whole(backup: Backup) -> Self {
        Self { backup, paths: None }
    }
}

/// What a restore over live files may do that it does not do unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Replace live logs.
    pub replace_logs: bool,
    /// Go on where the owner of a file cannot be kept.
    pub ignore_ownership: bool,
    /// Go on where extended attributes cannot be kept.
    pub ignore_xattrs: bool,
    /// Restore files that do not parse. A safety backup is restored as it is, whatever this says.
    pub allow_invalid: bool,
}

/// A restore over a set's live files.
pub struct Live<'a> {
    /// The set.
    pub set: &'a SetSettings,
    /// What is allowed.
    pub rules: Rules,
    /// What judges the outcome.
    pub health: HealthCheck<'a>,
    /// The time now.
    pub now: DateTime<Utc>,
    /// What ties it to its audit records.
    pub correlation_id: &'a str,
    /// Who asked for it.
    pub principal: &'a str,
}

/// What was restored.
#[derive(Debug, Default)]
pub struct Restored {
    /// The files that are back, by path.
    pub files: Vec<RestoredFile>,
    /// The symlinks that are back, by path, and their targets.
    pub symlinks: Vec<(String, String)>,
    /// Files that are gone, as they were when the safety backup that was restored was made.
    pub removed: Vec<String>,
    /// Files that are not back, and why.
    pub skipped: Vec<(String, String)>,
    /// Files that were replaced although they could not be backed up before, and why they could not.
    pub unsaved: Vec<(String, String)>,
    /// Live files of the set that the backup does not have, and that are as they were.
    pub left_alone: Vec<String>,
    /// The live files as they were before.
    pub safety_backup: Option<BackupId>,
    /// What was not kept, in sentences.
    pub not_kept: Vec<String>,
}

/// A file that is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredFile {
    /// Its path below the target.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// How a restore over live files ended.
pub struct Outcome {
    /// What was restored, or why nothing was.
    pub result: Result<Restored, RestoreError>,
    /// Its journal, to be closed once the result was recorded; if there is any.
    pub transaction: Option<Transaction>,
}

/// Restores into a directory, which is created if it is not there. No file in it is replaced. Whatever the rules say, owners
/// that cannot be kept are let go, and nothing is given that only root can give.
pub fn restore_to(
    repository: &Repository,
    picks: &[Pick],
    directory: &Path,
    rules: Rules,
    progress: &Progress,
) -> Result<Restored, RestoreError> {
    let contents = read_manifests(repository, picks)?;
    let selection = Selection::of(picks.iter().zip(contents.iter().map(|content| &content.manifest)))?;
    let keep = stage::Rules { owner: Lost::LetGo, xattrs: rules.xattrs(), set_id: false, privileged: false };
    let (disk, is_new) = open_target(directory)?;
    let mut stage = Stage::new(disk, directory, Token::new(repository.id()), keep);
    if is_new {
        stage.made_root();
    }
    let directories = selection.directories();
    stage.make_directories(&directories)?;
    fill(&mut stage, repository, &selection, progress)?;
    stage.place_all()?;
    let (made, mut keeping) = stage.hand_over();
    made.finish(&directories, &mut keeping)?;
    let (files, symlinks) = (restored_files(&selection), restored_symlinks(&selection));
    Ok(Restored { files, symlinks, not_kept: keeping.let_go.sentences(), ..Restored::default() })
}

/// Restores over the live files of a set. The caller holds the write lane, and keeps the set occupied, until the
/// transaction is closed.
pub fn restore_live(repository: &Repository, picks: &[Pick], live: &Live<'_>, progress: &Progress) -> Outcome {
    #[cfg(feature = "chaos")]
    crate::storage::chaos::arm();
    restore_on(|| Place::open(&live.set.source), repository, picks, live, progress)
}

/// Where live files are replaced. All of a restore, from the look at what is there to the last rename, goes by one
/// directory that is held open: whatever its path leads to meanwhile, what is replaced is what was looked at and backed up.
struct Place {
    disk: Arc<dyn Disk>,
    source: SourceDirectory,
    /// Where programs find it.
    path: PathBuf,
    /// What keeps that path open.
    _held: Option<OpenSource>,
    /// Whether the directory was made for this.
    is_new: bool,
}

impl Place {
    fn open(source: &SourcePath) -> Result<Self, RestoreError> {
        let is_new = source.open().is_err_and(|error| error.is_missing());
        let open = source.open_or_make()?;
        let again = || {
            let failed = |error| RestoreError::Stage { action: "open", path: source.real().to_owned(), source: error };
            open.try_clone().map_err(failed)
        };
        let disk = Arc::new(RealDisk::of(again()?.into()));
        let (source, path) = (SourceDirectory::of(again()?), open.path_by_descriptor());
        Ok(Self { disk, source, path, _held: Some(open), is_new })
    }
}

/// The same in the place that `open` gives.
fn restore_on(
    open: impl FnOnce() -> Result<Place, RestoreError>,
    repository: &Repository,
    picks: &[Pick],
    live: &Live<'_>,
    progress: &Progress,
) -> Outcome {
    match prepare(open, repository, picks, live, progress) {
        Ok((restored, None)) => Outcome { result: Ok(restored), transaction: None },
        Ok((restored, Some(Prepared { place, mut transaction, directories, made, mut keeping }))) => {
            let healthy = |journal: &Journal| {
                made.finish(&directories, &mut keeping)?;
                Ok(health::judge(&live.health, &place.path, journal, progress)?)
            };
            let result = transaction.carry_out(healthy);
            let result = result.map(|()| Restored { not_kept: keeping.let_go.sentences(), ..restored });
            let unsettled = matches!(result, Err(RestoreError::Unsettled { .. }));
            Outcome { result, transaction: (!unsettled).then_some(transaction) }
        }
        Err(error) => Outcome { result: Err(error), transaction: None },
    }
}

/// What is ready to be put in place.
struct Prepared {
    place: Place,
    transaction: Transaction,
    /// What the backup has of directories, those that were made for this, and what is to be kept of them.
    directories: Vec<DirectoryEntry>,
    made: Directories,
    keeping: Keeping,
}

/// Everything up to the journal: no live file is touched.
fn prepare(
    open: impl FnOnce() -> Result<Place, RestoreError>,
    repository: &Repository,
    picks: &[Pick],
    live: &Live<'_>,
    progress: &Progress,
) -> Result<(Restored, Option<Prepared>), RestoreError> {
    let contents = read_manifests(repository, picks)?;
    let mut selection = Selection::of(picks.iter().zip(contents.iter().map(|content| &content.manifest)))?;
    let mut restored = Restored::default();
    selection.spare_logs(live.set.kind, live.rules, &mut restored)?;
    let place = open()?;
    let (root, disk) = (live.set.source.real(), place.disk.clone());
    let journal = journal::journal_name(&live.set.name);
    if disk.metadata(Path::new(&journal)).is_ok() {
        return Err(RestoreError::Unfinished(root.join(journal)));
    }
    let token = Token::new(repository.id());
    let keep = stage::Rules {
        owner: live.rules.owner(),
        xattrs: live.rules.xattrs(),
        set_id: true,
        privileged: may_give_rights(repository, picks),
    };
    let mut stage = Stage::new(disk.clone(), root, token.clone(), keep).over_live_files();
    if place.is_new {
        stage.made_root();
    }
    let directories = selection.directories();
    stage.make_directories(&directories)?;
    fill(&mut stage, repository, &selection, progress)?;
    if !live.rules.allow_invalid {
        refuse_invalid(picks, &selection, live.set, disk.as_ref(), &stage)?;
    }
    let removals = removable(&selection, disk.as_ref(), root)?;
    selection.tell_of_others(repository, &place.source, live, picks, &mut restored);
    if stage.files().is_empty() && removals.is_empty() && stage.made().next().is_none() {
        return Ok((restored, None));
    }
    let safety = safety::back_up(repository, &place.source, live.set, selection.paths(), live.now, progress)?;
    let backups = picks.iter().map(|pick| pick.backup.id).collect();
    let asked = (live.correlation_id, live.principal);
    let mut journal = Journal::new(repository.id(), &live.set.name, asked, backups, safety.id, token);
    journal.changes = changes(live.set.kind, stage.files(), &removals, &safety);
    journal.directories = stage.made().map(|path| escape(path.as_os_str().as_bytes())).collect();
    restored.unsaved = unsaved(&journal, &safety);
    (restored.files, restored.symlinks) = (restored_files(&selection), restored_symlinks(&selection));
    restored.removed = removals;
    restored.safety_backup = Some(safety.id);
    let transaction = Transaction::begin(disk, root, journal)?;
    let (made, keeping) = stage.hand_over();
    Ok((restored, Some(Prepared { place, transaction, directories, made, keeping })))
}

/// Whether these backups may give rights that only root can give: root restores, and nobody else could have written them.
fn may_give_rights(repository: &Repository, picks: &[Pick]) -> bool {
    let place = PathBuf::from(repository.location());
    let is_trusted = |pick: &Pick| {
        let manifest = place.join(layout::manifest(&pick.backup.set, pick.backup.id).as_str());
        Trust::here().open(&manifest).is_ok()
    };
    rustix::process::geteuid().is_root() && picks.iter().all(is_trusted)
}

fn read_manifests(repository: &Repository, picks: &[Pick]) -> Result<Vec<Content>, RestoreError> {
    let read = |pick: &Pick| {
        let id = pick.backup.id;
        repository.read_opened_manifest(&pick.backup).map_err(|source| match repository.catalogue().get(id) {
            Some(_) => RestoreError::Manifest { backup: id, source },
            None => RestoreError::Deleted(id),
        })
    };
    picks.iter().map(read).collect()
}

/// Reads every file, checks it, and writes it beside its target, durably; then links, which need no reading.
fn fill(
    stage: &mut Stage,
    repository: &Repository,
    selection: &Selection<'_>,
    progress: &Progress,
) -> Result<(), RestoreError> {
    let has = |backup: BackupId, path: &str| selection.entries.get(path).is_some_and(|(of, _)| *of == backup);
    let (mut files, mut hard_links, mut symlinks) = (Vec::new(), Vec::new(), Vec::new());
    for (backup, kept) in selection.entries.values().copied() {
        match kept {
            Kept::Symlink(link) => symlinks.push(link),
            Kept::HardLink(link, _) if has(backup, &link.to) => hard_links.push((link, kept)),
            Kept::File(_) | Kept::HardLink(..) => files.extend(kept.as_file()),
        }
    }
    let size = |files: &[Cow<'_, FileEntry>]| files.iter().map(|file| file.size_bytes).fold(0, u64::saturating_add);
    progress.expect(size(&files));
    let reader = ChunkReader::new(repository, ReadFrom::Anywhere);
    let read = |stage: &mut Stage, files: &[Cow<'_, FileEntry>]| {
        let files: Vec<&FileEntry> = files.iter().map(AsRef::as_ref).collect();
        read_files(&reader, &files, parallel::threads(), progress, stage)
    };
    read(stage, &files)?;
    stage.sync()?;
    let mut apart = Vec::new();
    for (link, kept) in hard_links {
        if !stage.hard_link(link, kept.digest())? {
            apart.extend(kept.as_file());
        }
    }
    // Where a file can have one name only, each name gets a file.
    read(stage, &apart)?;
    stage.sync()?;
    symlinks.into_iter().try_for_each(|link| stage.symlink(link))
}

fn restored_files(selection: &Selection<'_>) -> Vec<RestoredFile> {
    let restored = |(_, kept): &(BackupId, Kept<'_>)| {
        let path = kept.path().to_string();
        kept.file().map(|file| RestoredFile { path, size_bytes: file.size_bytes, sha256: file.sha256 })
    };
    selection.entries.values().filter_map(restored).collect()
}

fn restored_symlinks(selection: &Selection<'_>) -> Vec<(String, String)> {
    let symlink = |(_, kept): &(BackupId, Kept<'_>)| match kept {
        Kept::Symlink(link) => Some((link.path.to_string(), link.target.clone())),
        _ => None,
    };
    selection.entries.values().filter_map(symlink).collect()
}

/// A directory to restore to, and whether it was made for that; it is its maker's alone then.
fn open_target(root: &Path) -> Result<(Arc<dyn Disk>, bool), RestoreError> {
    let failed = |source| RestoreError::Stage { action: "open", path: root.to_owned(), source };
    root.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    let made = match std::fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        made => made.map(|()| true),
    };
    let is_new = made.map_err(failed)?;
    Ok((Arc::new(RealDisk::open(root).map_err(failed)?), is_new))
}

/// Parses what was written, as the set expects it to parse; a safety backup is what it is.
fn refuse_invalid(
    picks: &[Pick],
    selection: &Selection<'_>,
    set: &SetSettings,
    disk: &dyn Disk,
    stage: &Stage,
) -> Result<(), RestoreError> {
    let is_safety = |id: BackupId| {
        picks.iter().any(|pick| pick.backup.id == id && pick.backup.kind() == Some(BackupKind::PreRestore))
    };
    for staged in stage.files().iter().filter(|staged| is_validated(&staged.target, set.validate)) {
        let Some((backup, kept)) = selection.entries.get(staged.target.as_str()).copied() else { continue };
        if is_safety(backup) || kept.file().is_none() {
            continue;
        }
        let reader =
            std::io::BufReader::with_capacity(CHUNK_BYTES, DiskReader { disk, path: &staged.temporary, at: 0 });
        match serde_json::from_reader::<_, serde::de::IgnoredAny>(reader) {
            Ok(_) => {}
            Err(error) if error.is_io() => {
                return Err(stage.failed("read", &staged.temporary, error.into()));
            }
            Err(error) => {
                return Err(RestoreError::Invalid { backup, path: staged.target.clone(), fault: error.to_string() });
            }
        }
    }
    Ok(())
}

struct DiskReader<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    at: u64,
}

impl Read for DiskReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.disk.read_at(self.path, self.at, buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// Those of the files to remove that are there.
fn removable(selection: &Selection<'_>, disk: &dyn Disk, root: &Path) -> Result<Vec<String>, RestoreError> {
    let failed = |path: &str, source| RestoreError::Stage { action: "remove", path: root.join(path), source };
    let mut removable = Vec::new();
    for path in &selection.removals {
        match disk.metadata(&path_of(path)) {
            Ok(found) if matches!(found.kind, DiskKind::File | DiskKind::Symlink) => removable.push((*path).to_owned()),
            Ok(found) => return Err(failed(path, in_the_way(found.kind))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(path, error)),
        }
    }
    Ok(removable)
}

fn changes(kind: SetKind, staged: &[Staged], removals: &[String], safety: &Backup) -> Vec<Change> {
    let body = safety.content.as_ref().and_then(|content| content.manifest.body.as_ref());
    let change = |target: &str, new: Option<Digest>, replaces: bool| {
        let old = body.and_then(|body| body.kept_at(target));
        // A log may go on growing.
        let old_bytes = old.and_then(Kept::file).filter(|_| kind.is_logs()).map(|file| file.size_bytes);
        Change { target: target.to_owned(), new, replaces, old: old.map(Kept::digest), old_bytes }
    };
    let replacements = staged.iter().map(|file| change(&file.target, Some(file.sha256), file.replaces));
    let removals = removals.iter().map(|path| change(path, None, true));
    replacements.chain(removals).collect()
}

/// Files that are there and not in the safety backup.
fn unsaved(journal: &Journal, safety: &Backup) -> Vec<(String, String)> {
    let body = safety.content.as_ref().and_then(|content| content.manifest.body.as_ref());
    let unreadable = body.map_or(&[][..], |body| &body.unreadable);
    let reason = |path: &str| {
        let why = unreadable.iter().find(|file| file.path == *path).map(|file| file.reason.clone());
        why.unwrap_or_else(|| "it came while the others were backed up".into())
    };
    let unsaved = journal.changes.iter().filter(|change| change.replaces && change.old.is_none());
    unsaved.map(|change| (change.target.clone(), reason(&change.target))).collect()
}
