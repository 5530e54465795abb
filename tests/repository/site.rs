//! A repository on a disk, simulated or real, and what is done with it.
//!
//! Hazard: the steps between a request and its acknowledgement are the service's; a test that takes fewer of them
//! promises more than was meant, and one that takes more proves less.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use age::x25519::Identity;
use chrono::{DateTime, TimeDelta, Utc};
use fiovana_app::core::BackupKind;
use fiovana_app::core::retention::Guards;
use fiovana_app::pipeline::archive::{self, ArchiveError, Archived, Created};
use fiovana_app::pipeline::restore::{self, Pick, RestoreError, Rules};
use fiovana_app::pipeline::verify::{self, Verdict};
use fiovana_app::pipeline::{Progress, sweep};
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::encryption::{Keys, Recipients, Sealing};
use fiovana_app::repository::object::{Decoder, decrypt};
use fiovana_app::repository::{OpenError, OpenReport, ReadFrom, Repository, WriteError};
use fiovana_app::settings::SetSettings;
use fiovana_app::storage::faulty::Simulated;
use fiovana_app::storage::local::Local;
use fiovana_app::storage::{Freed, Storage};

use super::Files;
use super::source::files_in;

/// Why a backup was not acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// None was made.
    #[error("back up")]
    Archive(#[source] ArchiveError),
    /// It did not read back.
    #[error("it did not read back: {0:?}")]
    ReadBack(Verdict),
}

/// The hour number `hour` of these tests.
pub fn hour(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_428_900, 0).expect("a time") + TimeDelta::hours(hour)
}

/// A disk with an empty repository on it, all of it durable.
pub fn new_disk() -> Simulated {
    static NEW: LazyLock<Simulated> = LazyLock::new(|| {
        let disk = Simulated::new();
        Repository::create(storage_on(&disk), hour(0)).expect("create a repository");
        disk
    });
    NEW.after_kill()
}

/// The storage that is on a disk.
pub fn storage_on(disk: &Simulated) -> Arc<dyn Storage> {
    Arc::new(Local::on(Arc::new(disk.clone()), "/simulated".to_owned()))
}

/// The keys of every repository here: none, or with `FIOVANA_TEST_ENCRYPTED` one that encrypts and opens everything, so
/// that what holds in the clear is shown to hold encrypted.
pub fn keys() -> Keys {
    static IDENTITY: LazyLock<Option<Identity>> = LazyLock::new(|| {
        let wanted = std::env::var_os("FIOVANA_TEST_ENCRYPTED").is_some();
        wanted.then(Identity::generate)
    });
    let Some(identity) = &*IDENTITY else { return Keys::default() };
    let recipients = Recipients::new([identity.to_public()]).expect("a recipient");
    Keys::new(Sealing::For(recipients), [identity.clone()])
}

/// Opens the repository as its only writer does.
pub fn open(disk: &Simulated) -> (Repository, OpenReport) {
    try_open(storage_on(disk)).expect("open the repository")
}

/// The same where it need not succeed.
pub fn try_open(storage: Arc<dyn Storage>) -> Result<(Repository, OpenReport), OpenError> {
    let (repository, report) = Repository::open(storage, true)?;
    repository.set_keys(keys());
    Ok((repository, report))
}

/// Creates and opens a repository in a real directory.
pub fn create_in(directory: &Path) -> Repository {
    let storage = Arc::new(Local::open(directory).expect("open the directory"));
    Repository::create(storage.clone(), hour(0)).expect("create a repository");
    try_open(storage).expect("open the repository").0
}

/// Makes a backup without reading it back.
pub fn archive(
    repository: &Repository,
    set: &SetSettings,
    kind: BackupKind,
    now: DateTime<Utc>,
) -> Result<Archived, ArchiveError> {
    let request = archive::Request {
        set,
        kind,
        read_everything: false,
        read_sources_every_runs: u32::MAX,
        now,
        clock_suspect: false,
        audit_head: None,
    };
    archive::archive(repository, &request, &Progress::default())
}

/// Makes a backup as the service does: archived, read back, what was found recorded. Acknowledged when this returns it.
pub fn back_up(
    repository: &Repository,
    set: &SetSettings,
    kind: BackupKind,
    now: DateTime<Utc>,
) -> Result<Backup, Refused> {
    let created = match archive(repository, set, kind, now).map_err(Refused::Archive)? {
        Archived::Unchanged { backup, .. } => return Ok(backup),
        Archived::Created(created) => created,
    };
    read_back(repository, &created, now)
}

/// Reads a new backup back, and records what was found.
pub fn read_back(repository: &Repository, created: &Created, now: DateTime<Utc>) -> Result<Backup, Refused> {
    let read = verify::read_back(repository, &created.backup, &created.proven, &Progress::default());
    let verdict = read.expect("nobody cancelled it").verdict;
    // As in the service: a record that cannot be written is a warning, and found out again after the next start.
    let _ = verify::record(repository, &created.backup, &verdict, now);
    match verdict {
        Verdict::Intact => Ok(created.backup.clone()),
        verdict => Err(Refused::ReadBack(verdict)),
    }
}

/// Makes a backup by hand that must succeed.
pub fn back_up_now(repository: &Repository, set: &SetSettings, at_hour: i64) -> Backup {
    back_up(repository, set, BackupKind::Manual, hour(at_hour)).expect("a backup")
}

/// Reads a backup whole.
pub fn verdict(repository: &Repository, backup: &Backup) -> Verdict {
    verify::verify(repository, backup, &Progress::default()).expect("nobody cancelled it").verdict
}

/// Reads every backup whole and records what was found, as the service does after its start and in scrubs.
pub fn verify_all(repository: &Repository, now: DateTime<Utc>) -> Vec<(Backup, Verdict)> {
    let look = |backup: Backup| {
        let verdict = verdict(repository, &backup);
        verify::record(repository, &backup, &verdict, now).expect("record what was found");
        (backup, verdict)
    };
    backups(repository).into_iter().map(look).collect()
}

/// Every backup.
pub fn backups(repository: &Repository) -> Vec<Backup> {
    repository.catalogue().backups().cloned().collect()
}

/// The content of a backup, put together from its chunks as FORMAT.md says.
pub fn content(repository: &Repository, backup: &Backup) -> Files {
    let manifest = repository.read_manifest(backup).expect("its manifest").manifest;
    let mut decoder = Decoder::new().expect("a decoder");
    let mut files = Files::new();
    for file in manifest.files() {
        let mut bytes = Vec::new();
        for chunk in &file.chunks {
            let stored = repository.read_object(&chunk.object, ReadFrom::Anywhere).expect("its object");
            bytes.extend(
                decoder.decode(&decrypt(stored, &repository.keys()).expect("its frames"), chunk).expect("its content"),
            );
        }
        files.insert(file.path.to_string(), bytes);
    }
    files
}

/// Restores a backup for real, elsewhere, and reads what is there: also after a failure.
pub fn restore(repository: &Repository, backup: &Backup) -> (Result<(), RestoreError>, Files) {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let restored = restore::restore_to(
        repository,
        &[Pick::whole(backup.clone())],
        directory.path(),
        Rules::default(),
        &Progress::default(),
    );
    (restored.map(drop), files_in(directory.path()))
}

/// Restores a backup that must restore.
pub fn restored(repository: &Repository, backup: &Backup) -> Files {
    let (result, files) = restore(repository, backup);
    result.expect("a restore");
    files
}

/// Deletes what retention lets go of, batch after batch.
pub fn sweep_all(repository: &Repository, set: &SetSettings, now: DateTime<Utc>) -> usize {
    let plan = sweep::plan(repository, set, &Guards::default(), now);
    let approved = plan.deletions().map(|(id, _)| id).collect();
    let mut deleted = 0;
    loop {
        let freed = &mut Freed::default();
        let swept = sweep::sweep(repository, set, &approved, &Guards::default(), now, freed).expect("sweep");
        deleted += swept.len();
        if swept.is_empty() {
            return deleted;
        }
    }
}

/// Deletes what nothing refers to, batch after batch.
pub fn collect_all(repository: &Repository) -> usize {
    collect_garbage(repository).expect("collect")
}

/// The same, as far as the disk lets it.
pub fn collect_garbage(repository: &Repository) -> Result<usize, WriteError> {
    let mut freed = Freed::default();
    let plan = sweep::garbage(repository, Duration::ZERO, None, hour(0), &mut Freed::default())?;
    let garbage: Vec<_> = plan.collectable().collect();
    garbage.chunks(sweep::BATCH).try_for_each(|batch| sweep::collect(repository, batch, &mut freed))?;
    Ok(freed.files)
}

/// Temporary files that somebody left on a disk.
pub fn temporaries(disk: &Simulated) -> Vec<String> {
    let paths = disk.files().into_iter().map(|(path, _)| path.to_string_lossy().into_owned());
    paths.filter(|path| path.contains(".tmp-")).collect()
}
