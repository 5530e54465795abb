//! A whole restore, with its repository, that dies at every operation.
//!
//! Hazard: two halves that are each right and together wrong: live files replaced while the backup of what was there is
//! not durable yet. The repository and the live files are on one simulated disk here, which dies as one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::tests::{KEEPS, seed};
use super::{HealthCheck, Live, Pick, Place, RestoreError, Rules, leftover, restore_on};
use crate::core::content::{SetKind, Validation};
use crate::core::retention::Policy;
use crate::core::{BackupKind, BackupPriority, Digest};
use crate::pipeline::archive::{self, Archived};
use crate::pipeline::source::SourceDirectory;
use crate::pipeline::verify::{Verdict, verify};
use crate::pipeline::{Progress, restore};
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::settings::{FilePatterns, KeepAtLeast, SetSettings};
use crate::source_path::SourcePath;
use crate::storage::disk::{Disk, DiskEntry, DiskFile, DiskMetadata};
use crate::storage::faulty::Simulated;
use crate::storage::local::Local;

/// A directory of a simulated disk, as a disk.
struct Part(Simulated, &'static str);

impl Part {
    fn at(&self, path: &Path) -> PathBuf {
        Path::new(self.1).join(path).components().collect()
    }
}

impl Disk for Part {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(&self.at(path), mode)
    }
    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.0.overwrite(&self.at(path), bytes)
    }
    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.0.sync_file(&self.at(path))
    }
    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.0.sync_directory(&self.at(path))
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_new(&self.at(from), &self.at(to))
    }
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename_over(&self.at(from), &self.at(to))
    }
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        self.0.exchange(&self.at(one), &self.at(other))
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(&self.at(from), &self.at(to))
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.0.remove_file(&self.at(path))
    }
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.symlink(target, &self.at(path))
    }
    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.read_link(&self.at(path))
    }
    fn create_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.create_directory(&self.at(path), mode)
    }
    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.0.remove_directory(&self.at(path))
    }
    fn open_directory(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.0.open_directory(&self.at(path))
    }
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(&self.at(path), offset, buffer)
    }
    fn read_known(&self, path: &Path, limit_bytes: u64) -> io::Result<(DiskMetadata, Vec<u8>)> {
        self.0.read_known(&self.at(path), limit_bytes)
    }
    fn drop_cache(&self, path: &Path) {
        self.0.drop_cache(&self.at(path));
    }
    fn metadata(&self, path: &Path) -> io::Result<DiskMetadata> {
        self.0.metadata(&self.at(path))
    }
    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        self.0.list(&self.at(path))
    }
    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }
    fn total_bytes(&self) -> io::Result<u64> {
        self.0.total_bytes()
    }
}

type Files = BTreeMap<String, Vec<u8>>;

fn files(named: &[(&str, &str)]) -> Files {
    named.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
}

fn earlier() -> Files {
    files(&[("a.json", "{\"earlier\": 1}"), ("d/b.json", "{\"earlier\": 2}")])
}

fn new() -> Files {
    files(&[("a.json", "{\"new\": 1, \"longer\": true}"), ("d/b.json", "{\"new\": 2}"), ("d/came.json", "{}")])
}

fn hour(hour: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_428_900, 0).unwrap() + TimeDelta::hours(hour)
}

/// A disk with a repository that has a backup of the new files, and the earlier ones live.
struct Site {
    /// What captures read: the live files, as they are until the first is replaced.
    _source: tempfile::TempDir,
    set: SetSettings,
    disk: Simulated,
    backup: Backup,
}

impl Site {
    fn new() -> Self {
        let source = tempfile::tempdir().unwrap();
        let set = SetSettings {
            name: "security".parse().unwrap(),
            source: SourcePath::find(source.path().canonicalize().unwrap(), false),
            files: FilePatterns::new(["**"]).unwrap(),
            kind: SetKind::Files,
            priority: BackupPriority::Critical,
            interval: Duration::from_secs(3600),
            retention_days: 30,
            max_backups: 10,
            keep_at_least: KeepAtLeast { versions: 1, is_said: true },
            policy: Policy::Newest,
            validate: Validation::Json,
            max_size_mb: Some(100),
            enabled: true,
            pre_restore_days: 7,
            refused: None,
        };
        let lay_down = |files: &Files| {
            for (path, content) in files {
                let path = source.path().join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::File::create(path).and_then(|mut file| io::Write::write_all(&mut file, content)).unwrap();
            }
        };
        let disk = Simulated::new();
        earlier().iter().for_each(|(path, content)| disk.write_raw(format!("live/{path}"), content).unwrap());
        disk.create_directory(Path::new("backups"), 0o700).unwrap();
        disk.sync_directory(Path::new("")).unwrap();
        let storage = Arc::new(Local::on(Arc::new(Part(disk.clone(), "backups")), "/simulated".into()));
        Repository::create(storage, hour(0)).unwrap();
        lay_down(&new());
        let request = archive::Request {
            set: &set,
            kind: BackupKind::Manual,
            read_everything: true,
            read_sources_every_runs: 1,
            now: hour(1),
            clock_suspect: false,
            audit_head: None,
        };
        let Archived::Created(created) = archive::archive(&open(&disk), &request, &Progress::default()).unwrap() else {
            panic!("the first backup is one");
        };
        std::fs::remove_file(source.path().join("d/came.json")).unwrap();
        lay_down(&earlier());
        Self { _source: source, set, disk, backup: created.backup }
    }

    /// All of a restore, to the removal of its journal: its answer.
    fn restore(&self, disk: &Simulated, repository: &Repository) -> Result<restore::Restored, RestoreError> {
        let live = Live {
            set: &self.set,
            rules: Rules { ignore_ownership: true, ..Rules::default() },
            health: HealthCheck { command: &[], timeout: Duration::from_secs(60) },
            now: hour(2),
            correlation_id: "c0ffee",
            principal: "cli:0",
        };
        let target: Arc<dyn Disk> = Arc::new(Part(disk.clone(), "live"));
        let picks = [Pick::whole(self.backup.clone())];
        let source = SourceDirectory::open(&self.set.source).unwrap();
        let place = Place { disk: target, source, path: "/".into(), _held: None, is_new: false };
        let outcome = restore_on(|| Ok(place), repository, &picks, &live, &Progress::default());
        if let Some(transaction) = outcome.transaction {
            // What cannot be closed is closed at the next start.
            let _ = transaction.close();
        }
        outcome.result
    }

    /// Everything that must be true after the next start.
    fn judge(&self, disk: &Simulated, acknowledged: bool, context: &str) {
        let repository = open(disk);
        let target: Arc<dyn Disk> = Arc::new(Part(disk.clone(), "live"));
        let found = leftover::settle(&target, self.set.source.real(), repository.id(), 0).unwrap();
        assert!(found.unsettled.is_empty() && found.settled.len() <= 1, "{context}: {:?}", found.unsettled);
        let settled = found.settled.len();
        found.settled.into_iter().try_for_each(|transaction| transaction.close().map(drop)).unwrap();
        let live: Files = disk
            .files()
            .into_iter()
            .filter_map(|(path, bytes)| Some((path.strip_prefix("live").ok()?.to_str()?.to_owned(), bytes)))
            .collect();
        assert!(live == new() || live == earlier() && !acknowledged, "{context}: {:?}", live.keys());
        let backups: Vec<Backup> = repository.catalogue().backups().cloned().collect();
        for backup in &backups {
            let found = verify(&repository, backup, &Progress::default()).unwrap().verdict;
            assert_eq!(found, Verdict::Intact, "{context}: {}", backup.id);
        }
        assert!(backups.iter().any(|backup| backup.id == self.backup.id), "{context}: the backup is gone");
        let safety: Vec<_> = backups.iter().filter(|backup| backup.kind() == Some(BackupKind::PreRestore)).collect();
        if settled > 0 || live == new() {
            let body = &safety.first().unwrap_or_else(|| panic!("{context}: no way back")).content;
            let kept = body.iter().flat_map(|content| content.manifest.files());
            let kept: BTreeMap<_, _> = kept.map(|file| (file.path.to_string(), file.sha256)).collect();
            let wanted = earlier().into_iter().map(|(path, bytes)| (path, Digest::of(&bytes)));
            assert_eq!(kept, wanted.collect(), "{context}: the way back leads elsewhere");
        }
        assert!(safety.len() <= 1, "{context}");
    }
}

fn open(disk: &Simulated) -> Repository {
    let storage = Arc::new(Local::on(Arc::new(Part(disk.clone(), "backups")), "/simulated".into()));
    let (repository, report) = Repository::open(storage, true).unwrap();
    let faults = report.faults.iter().filter(|fault| !fault.starts_with("state/verification-"));
    assert_eq!(faults.count(), 0, "{:?}", report.faults);
    repository
}

#[test]
fn a_crash_at_any_operation_of_a_whole_restore_leaves_all_earlier_or_all_new_and_the_way_back() {
    let site = Site::new();
    let whole = site.disk.after_kill();
    let repository = open(&whole);
    let opening = whole.operations();
    site.restore(&whole, &repository).unwrap();
    assert!(whole.operations() - opening > 40, "it does nothing");
    for crash in opening..=whole.operations() {
        let dying = site.disk.after_kill();
        let repository = open(&dying);
        dying.crash_after(crash);
        let acknowledged = site.restore(&dying, &repository).is_ok();
        let context = format!("crash after {} of {}", crash - opening, whole.operations() - opening);
        site.judge(&dying.after_kill(), acknowledged, &format!("{context}, killed"));
        for (number, keep) in KEEPS.into_iter().enumerate() {
            let seed = seed().wrapping_add((crash * KEEPS.len() + number) as u64);
            site.judge(&dying.after_crash(seed, keep), acknowledged, &format!("{context}, {keep:?}, seed {seed}"));
        }
    }
}
