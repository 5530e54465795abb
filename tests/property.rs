//! Any files, changed in any way, backed up, thinned out and restored at any moment: always what a plain copy would be.
//!
//! Hazard: sharing, recognising and forgetting are each right alone, and wrong together. The model is a map of copies; a
//! failure prints the steps, made as few as still fail.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;

use fiovana_app::core::content::{SetKind, Validation};
use fiovana_app::core::{BackupId, BackupKind, BackupState};
use fiovana_app::pipeline::archive::{ArchiveError, Archived};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::Repository;
use fiovana_app::storage::faulty::Simulated;
use proptest::prelude::*;
use repository::site::{self, hour};
use repository::source::{CHUNK_BYTES, Source, lines};
use repository::{Files, long};

/// Plain ones, a log and its rotated segments, a file in a directory, JSON that may or may not parse.
const PATHS: [&str; 7] = ["a.txt", "a.json", "b/c/d.bin", "audit.log", "audit.log.1", "copy", "ümlaut und leer.txt"];

#[derive(Clone, Debug)]
enum Step {
    Write { file: usize, seed: u64, bytes: usize },
    Append { file: usize, seed: u64, bytes: usize },
    Overwrite { file: usize, at: u16, byte: u8 },
    Truncate { file: usize, at: u16 },
    Rename { from: usize, to: usize },
    Copy { from: usize, to: usize },
    CopyTruncate { from: usize, to: usize },
    Remove { file: usize },
    BackUp { scheduled: bool },
    Restore { which: u16 },
    Sweep,
    Collect,
    Reopen,
}

fn any_size() -> impl Strategy<Value = usize> {
    let chunk = CHUNK_BYTES;
    prop_oneof![
        8 => 0..3000usize,
        1 => chunk - 2..chunk + 3,
        1 => chunk..2 * chunk + 5000,
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let file = || 0..PATHS.len();
    prop_oneof![
        3 => (file(), 0..5u64, any_size()).prop_map(|(file, seed, bytes)| Step::Write { file, seed, bytes }),
        2 => (file(), 0..5u64, any_size()).prop_map(|(file, seed, bytes)| Step::Append { file, seed, bytes }),
        2 => (file(), any::<u16>(), any::<u8>()).prop_map(|(file, at, byte)| Step::Overwrite { file, at, byte }),
        1 => (file(), any::<u16>()).prop_map(|(file, at)| Step::Truncate { file, at }),
        1 => (file(), file()).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => (file(), file()).prop_map(|(from, to)| Step::Copy { from, to }),
        1 => (file(), file()).prop_map(|(from, to)| Step::CopyTruncate { from, to }),
        1 => file().prop_map(|file| Step::Remove { file }),
        6 => any::<bool>().prop_map(|scheduled| Step::BackUp { scheduled }),
        2 => any::<u16>().prop_map(|which| Step::Restore { which }),
        1 => Just(Step::Sweep),
        1 => Just(Step::Collect),
        1 => Just(Step::Reopen),
    ]
}

/// What `at` of `u16::MAX` means in so many bytes.
fn place(at: u16, length: usize) -> usize {
    length * usize::from(at) / (usize::from(u16::MAX) + 1)
}

struct World {
    source: Source,
    disk: Simulated,
    repository: Repository,
    versions: HashMap<BackupId, Files>,
    hour: i64,
}

impl World {
    fn new(validate: Validation, kind: SetKind) -> Self {
        let mut source = Source::new("security");
        source.set.kind = kind;
        source.set.validate = validate;
        source.set.max_backups = 2;
        source.set.retention_days = 1;
        let disk = site::new_disk();
        let repository = site::open(&disk).0;
        Self { source, disk, repository, versions: HashMap::new(), hour: 1 }
    }

    fn perform(&mut self, step: &Step) {
        self.hour += 7;
        match *step {
            Step::BackUp { scheduled } => self.back_up(scheduled),
            Step::Restore { which } => self.restore(which),
            Step::Sweep => self.sweep(),
            Step::Collect => drop(site::collect_all(&self.repository)),
            Step::Reopen => self.repository = site::open(&self.disk).0,
            _ => self.change(step),
        }
    }

    /// Changes a file, if it is there.
    fn change(&self, step: &Step) {
        let there = |file: usize| fs::read(self.source.path(PATHS[file])).ok();
        match *step {
            Step::Write { file, seed, bytes } => self.source.write(PATHS[file], &generated(file, seed, bytes)),
            Step::Append { file, seed, bytes } if there(file).is_some() => {
                self.source.append(PATHS[file], &generated(file, seed, bytes));
            }
            Step::Append { .. } => {}
            Step::Overwrite { file, at, byte } => overwrite(&self.source, PATHS[file], at, byte),
            Step::Truncate { file, at } => {
                if let Some(content) = there(file) {
                    self.source.write(PATHS[file], &content[..place(at, content.len())]);
                }
            }
            Step::Rename { from, to } => {
                if let Some(content) = there(from) {
                    // So that the directory of the new name is there.
                    self.source.write(PATHS[to], &content);
                    fs::rename(self.source.path(PATHS[from]), self.source.path(PATHS[to])).expect("rename");
                }
            }
            Step::Copy { from, to } | Step::CopyTruncate { from, to } => {
                if let Some(content) = there(from) {
                    self.source.write(PATHS[to], &content);
                    if matches!(step, Step::CopyTruncate { .. }) {
                        self.source.write(PATHS[from], b"");
                    }
                }
            }
            Step::Remove { file } => drop(fs::remove_file(self.source.path(PATHS[file]))),
            _ => {}
        }
    }

    /// What a backup made now has to hold.
    fn expected(&self) -> Files {
        self.source.files()
    }

    fn back_up(&mut self, scheduled: bool) {
        let expected = self.expected();
        let kind = if scheduled { BackupKind::Scheduled } else { BackupKind::Manual };
        let now = hour(self.hour);
        match site::archive(&self.repository, &self.source.set, kind, now) {
            Ok(Archived::Created(created)) => {
                let backup = site::read_back(&self.repository, &created, now).expect("it reads back");
                assert_eq!(created.repaired, [], "nothing was damaged");
                self.versions.insert(backup.id, expected);
            }
            Ok(Archived::Unchanged { backup, repaired }) => {
                assert_eq!(repaired, [], "nothing was damaged");
                assert!(scheduled, "a manual run always makes one");
                assert!(self.versions[&backup.id] == expected, "a change went unseen");
            }
            Err(ArchiveError::NoFiles { .. }) => assert!(expected.is_empty()),
            Err(error) => panic!("{error}: {error:?}"),
        }
    }

    fn restore(&self, which: u16) {
        let backups = site::backups(&self.repository);
        if let Some(backup) = backups.get(place(which, backups.len())) {
            assert!(site::restored(&self.repository, backup) == self.versions[&backup.id], "{}", backup.id);
        }
    }

    fn sweep(&mut self) {
        let latest = || self.repository.catalogue().set(&self.source.set.name).and_then(|set| Some(set.latest()?.id));
        let (newest, files) = (latest(), self.restorable_files());
        site::sweep_all(&self.repository, &self.source.set, hour(self.hour));
        assert_eq!(latest(), newest, "the newest good backup is never deleted");
        if !self.source.set.kind.is_logs() {
            assert_eq!(self.restorable_files(), files, "the last good copy of a file is never deleted");
        }
        let left: BTreeSet<BackupId> = site::backups(&self.repository).iter().map(|backup| backup.id).collect();
        self.versions.retain(|id, _| left.contains(id));
    }

    /// The files of which there is a valid copy.
    fn restorable_files(&self) -> BTreeSet<String> {
        let backups = site::backups(&self.repository);
        let intact = backups.iter().filter(|b| matches!(b.state(), BackupState::Good | BackupState::Suspect));
        let entries = intact.flat_map(|backup| backup.content.as_ref().expect("its manifest").manifest.files());
        entries.filter(|file| file.fault.is_none()).map(|file| file.path.to_string()).collect()
    }

    /// Everything that is there is as the model has it, and the model has nothing else.
    fn check(&self) {
        let found: BTreeMap<BackupId, Files> = site::backups(&self.repository)
            .iter()
            .map(|backup| {
                assert_eq!(site::verdict(&self.repository, backup), Verdict::Intact);
                (backup.id, site::content(&self.repository, backup))
            })
            .collect();
        assert_eq!(found.len(), self.versions.len());
        for (id, files) in &found {
            assert!(*files == self.versions[id], "{id} is not the copy that was made");
        }
    }
}

/// In place, with the same size: what only times can tell.
fn overwrite(source: &Source, file: &str, at: u16, byte: u8) {
    use std::os::unix::fs::FileExt;
    let Ok(file) = fs::OpenOptions::new().write(true).open(source.path(file)) else { return };
    let length = usize::try_from(file.metadata().expect("its size").len()).expect("it is small");
    if length > 0 {
        file.write_all_at(&[byte], place(at, length) as u64).expect("overwrite");
    }
}

/// Logs and plain files have lines; some JSON parses; some logs end in the middle of a line.
fn generated(file: usize, seed: u64, bytes: usize) -> Vec<u8> {
    match (PATHS[file], seed) {
        ("a.json", 0 | 1) => format!(r#"{{"seed":{seed},"bytes":{bytes}}}"#).into_bytes(),
        (_, 0) => vec![b'x'; bytes],
        _ => {
            let mut lines = lines(seed, bytes);
            lines.truncate(bytes);
            lines
        }
    }
}

fn config() -> ProptestConfig {
    let cases = if long() { 3000 } else { 128 };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_sequence_of_changes_backups_sweeps_and_restores_equals_naive_copies(
        steps in prop::collection::vec(any_step(), 1..40), json: bool, logs: bool,
    ) {
        let mut world = World::new(
            if json { Validation::Json } else { Validation::None },
            if logs { SetKind::Logs } else { SetKind::Files },
        );
        steps.iter().for_each(|step| world.perform(step));
        world.perform(&Step::BackUp { scheduled: true });
        world.check();
        world.perform(&Step::Reopen);
        site::collect_all(&world.repository);
        world.check();
    }
}
