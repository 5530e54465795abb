//! Retention and collection over random histories: whatever came before, they eat nothing that is still needed.
//!
//! Hazard: each guard is right alone, and a damaged manifest, a wrong clock, a full hand of pins and a power cut come
//! together. What may not go is told here from the files on the disk; a failure prints the steps, made as few as still
//! fail, and the seed.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fiovana_app::core::retention::{Guards, Policy};
use fiovana_app::core::{BackupId, BackupKind, BackupState};
use fiovana_app::pipeline::sweep;
use fiovana_app::repository::{Repository, WriteError};
use fiovana_app::storage::Freed;
use fiovana_app::storage::faulty::{CrashKeep, Simulated};
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use repository::damage::{bytes, paths};
use repository::site::{self, hour};
use repository::source::Source;
use repository::{Place, long, seed};
use rustix::io::Errno;

const FILES: [&str; 3] = ["a.json", "b.json", "c.txt"];

#[derive(Clone, Debug)]
enum Step {
    BackUp {
        change: Change,
        kind: BackupKind,
    },
    /// What reads whole what it finds, as a scrub does, sees it.
    Damage {
        which: u16,
        how: Damage,
    },
    Pin {
        which: u16,
        pinned: bool,
    },
    Clock {
        hours: i64,
    },
    Settings {
        max_backups: usize,
        retention_days: u32,
        policy: Policy,
    },
    Sweep(Circumstances),
    Collect {
        grace_hours: u64,
        circumstances: Circumstances,
    },
    Restart,
}

/// One of few, so that content comes back.
#[derive(Clone, Debug)]
struct Change {
    file: usize,
    content: u8,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    Truncate,
    Remove,
}

/// What a cleanup meets with.
#[derive(Clone, Debug)]
struct Circumstances {
    /// Which of the guards holds; none, mostly.
    guard: u8,
    /// What is backed up between the plan and its execution.
    meanwhile: Option<Change>,
    trouble: Trouble,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    /// One operation of the disk fails.
    Error {
        after: usize,
    },
    /// The machine dies, at the latest at the end.
    PowerCut {
        after: usize,
        seed: u64,
        keep: CrashKeep,
    },
}

fn any_change() -> impl Strategy<Value = Change> {
    (0..FILES.len(), 0..5u8).prop_map(|(file, content)| Change { file, content })
}

fn any_circumstances() -> impl Strategy<Value = Circumstances> {
    let keep = prop_oneof![Just(CrashKeep::Lose), Just(CrashKeep::Keep), Just(CrashKeep::Torn)];
    let trouble = prop_oneof![
        4 => Just(Trouble::None),
        1 => (0..12usize).prop_map(|after| Trouble::Error { after }),
        1 => (0..12usize, any::<u64>(), keep).prop_map(|(after, seed, keep)| Trouble::PowerCut { after, seed, keep }),
    ];
    let guard = prop_oneof![6 => Just(0u8), 1 => 1..5u8];
    (guard, prop::option::weighted(0.3, any_change()), trouble).prop_map(|(guard, meanwhile, trouble)| Circumstances {
        guard,
        meanwhile,
        trouble,
    })
}

fn any_step() -> impl Strategy<Value = Step> {
    let kind = prop_oneof![
        3 => Just(BackupKind::Scheduled), 2 => Just(BackupKind::Manual), 1 => Just(BackupKind::PreRestore)
    ];
    let how = prop_oneof![Just(Damage::Flip), Just(Damage::Truncate), Just(Damage::Remove)];
    let policy = prop_oneof![Just(Policy::Spread), Just(Policy::Newest)];
    prop_oneof![
        12 => (any_change(), kind).prop_map(|(change, kind)| Step::BackUp { change, kind }),
        1 => (any::<u16>(), how).prop_map(|(which, how)| Step::Damage { which, how }),
        1 => (any::<u16>(), any::<bool>()).prop_map(|(which, pinned)| Step::Pin { which, pinned }),
        2 => prop_oneof![8 => 0..200i64, 1 => -90_000..90_000i64].prop_map(|hours| Step::Clock { hours }),
        1 => (1..6usize, 0..40u32, policy).prop_map(|(max_backups, retention_days, policy)| {
            Step::Settings { max_backups, retention_days, policy }
        }),
        4 => any_circumstances().prop_map(Step::Sweep),
        4 => (0..48u64, any_circumstances())
            .prop_map(|(grace_hours, circumstances)| Step::Collect { grace_hours, circumstances }),
        1 => Just(Step::Restart),
    ]
}

/// What is on the disk, and what of it may not go.
struct Facts {
    /// Manifests, pins and objects, with their sizes.
    stored: BTreeMap<String, u64>,
    /// The objects that are named in each manifest.
    needs: BTreeMap<String, BTreeSet<String>>,
    /// Pinned, the newest good one, or the newest valid copy of a file.
    irreplaceable: BTreeSet<BackupId>,
}

impl Facts {
    fn look(disk: &Simulated, repository: &Repository) -> Self {
        let is_stored = |path: &str| path.starts_with("objects/") || path.starts_with("manifests/");
        let stored: BTreeMap<String, u64> = paths(disk)
            .into_iter()
            .filter(|path| is_stored(path) && !path.contains(".tmp-"))
            .map(|path| (path.clone(), bytes(disk, &path).expect("it is there").len() as u64))
            .collect();
        let manifests = stored.keys().filter(|path| is_manifest(path));
        let needs = manifests.map(|path| (path.clone(), named_in(disk, path, &stored))).collect();
        Self { stored, needs, irreplaceable: irreplaceable(repository) }
    }

    /// The bytes of what is gone since `before`, documents of which there is a newer generation aside.
    fn freed_since(&self, before: &Self) -> u64 {
        let is_document = |path: &str| path.contains("/pruned.") || path.contains("/pins.");
        let gone = before.stored.iter().filter(|(path, _)| !self.stored.contains_key(*path) && !is_document(path));
        gone.map(|(_, bytes)| bytes).sum()
    }
}

fn is_manifest(path: &str) -> bool {
    path.starts_with("manifests/") && path.ends_with(".json") && !path.contains("/pruned.") && !path.contains("/pins.")
}

/// The stored objects whose names are in a manifest, wherever in it.
fn named_in(disk: &Simulated, manifest: &str, stored: &BTreeMap<String, u64>) -> BTreeSet<String> {
    let text = bytes(disk, manifest).expect("it is there");
    let text = String::from_utf8_lossy(&text);
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    stored.keys().filter(|path| path.starts_with("objects/") && text.contains(&name(path))).cloned().collect()
}

fn irreplaceable(repository: &Repository) -> BTreeSet<BackupId> {
    let backups = site::backups(repository);
    let pinned = backups.iter().filter(|backup| backup.pinned).map(|backup| backup.id);
    let newest_good = backups.iter().rfind(|backup| backup.is_good_version()).map(|backup| backup.id);
    let holds = |backup: &fiovana_app::repository::catalogue::Backup, file: &str| {
        let intact = matches!(backup.state(), BackupState::Good | BackupState::Suspect);
        let manifest = &backup.content.as_ref()?.manifest;
        let valid = manifest.files().iter().any(|entry| entry.path == file && entry.fault.is_none());
        (intact && valid && backup.kind() != Some(BackupKind::PreRestore)).then_some(backup.id)
    };
    let copies = FILES.iter().filter_map(|file| backups.iter().rev().find_map(|backup| holds(backup, file)));
    pinned.chain(newest_good).chain(copies).collect()
}

struct World {
    source: Source,
    disk: Simulated,
    repository: Repository,
    hour: i64,
    /// Objects that manifests needed which were damaged or lost since: whoever mends those needs them again.
    haunted: BTreeSet<String>,
}

impl World {
    fn new() -> Self {
        let source = Source::new("security");
        let disk = site::new_disk();
        let repository = site::open(&disk).0;
        Self { source, disk, repository, hour: 1, haunted: BTreeSet::new() }
    }

    fn perform(&mut self, step: &Step) {
        self.hour += 1;
        match step {
            Step::BackUp { change, kind } => self.back_up(change, *kind),
            Step::Damage { which, how } => self.damage(*which, *how),
            Step::Pin { which, pinned } => self.pin(*which, *pinned),
            Step::Clock { hours } => self.hour = (self.hour + hours).clamp(-400_000, 1_000_000),
            Step::Settings { max_backups, retention_days, policy } => {
                let set = &mut self.source.set;
                (set.max_backups, set.retention_days, set.policy) = (*max_backups, *retention_days, *policy);
            }
            Step::Sweep(circumstances) => self.sweep(circumstances),
            Step::Collect { grace_hours, circumstances } => self.collect(*grace_hours, circumstances),
            Step::Restart => self.restart(self.disk.after_kill()),
        }
    }

    /// One that does not come about, as something that it shares is damaged, is none of this test's business.
    fn back_up(&self, change: &Change, kind: BackupKind) {
        let content = match change.content {
            0 => "{ not quite JSON".to_owned(),
            number => format!(r#"{{"number":{number}}}"#),
        };
        self.source.write(FILES[change.file], content.as_bytes());
        if site::back_up(&self.repository, &self.source.set, kind, hour(self.hour)).is_err() {
            site::verify_all(&self.repository, hour(self.hour));
        }
    }

    fn damage(&mut self, which: u16, how: Damage) {
        let facts = Facts::look(&self.disk, &self.repository);
        let Some(path) = nth(which, facts.stored.keys().filter(|path| !path.contains("/pins."))) else { return };
        if let Some(needed) = facts.needs.get(path) {
            self.haunted.extend(needed.clone());
        }
        match how {
            Damage::Flip => self.disk.flip_bit(path, 0, 1),
            Damage::Truncate => self.disk.truncate(path, (facts.stored[path] / 2) as usize),
            Damage::Remove => self.disk.remove_raw(path),
        }
        .expect("damage");
        site::verify_all(&self.repository, hour(self.hour));
    }

    fn pin(&self, which: u16, pinned: bool) {
        let backups = site::backups(&self.repository);
        if let Some(backup) = nth(which, backups.iter()) {
            self.repository.set_pinned(&backup.set, backup.id, pinned).expect("pin");
        }
    }

    fn restart(&mut self, disk: Simulated) {
        self.repository = site::open(&disk).0;
        self.disk = disk;
        site::verify_all(&self.repository, hour(self.hour));
    }

    fn sweep(&mut self, circumstances: &Circumstances) {
        let (guards, now) = (circumstances.guards(), hour(self.hour));
        let set = self.source.set.clone();
        let approved = sweep::plan(&self.repository, &set, &guards, now).deletions().map(|(id, _)| id).collect();
        let delete = |repository: &Repository, freed: &mut Freed| {
            while !sweep::sweep(repository, &set, &approved, &guards, now, freed)?.is_empty() {}
            Ok(())
        };
        self.clean_up(circumstances, delete);
        if matches!(circumstances.trouble, Trouble::None) && circumstances.meanwhile.is_none() {
            let again = sweep::plan(&self.repository, &set, &guards, now);
            assert_eq!(again.deletions().count(), 0, "planned again, more goes");
        }
    }

    fn collect(&mut self, grace_hours: u64, circumstances: &Circumstances) {
        let (block, now) = (sweep::block(&circumstances.guards()), hour(self.hour));
        let grace = Duration::from_secs(grace_hours * 3600);
        let mut early = Freed::default();
        let Ok(plan) = sweep::garbage(&self.repository, grace, block.clone(), now, &mut early) else { return };
        let garbage: Vec<_> = plan.collectable().collect();
        assert!(block.is_none() || garbage.is_empty() && early == Freed::default(), "a guard holds");
        self.clean_up(circumstances, |repository, freed| {
            garbage.chunks(3).try_for_each(|batch| sweep::collect(repository, batch, freed))
        });
    }

    /// Deletes under these circumstances, and once more; judges what is left.
    fn clean_up(
        &mut self,
        circumstances: &Circumstances,
        delete: impl Fn(&Repository, &mut Freed) -> Result<(), WriteError>,
    ) {
        if let Some(change) = &circumstances.meanwhile {
            self.back_up(change, BackupKind::Scheduled);
        }
        let before = Facts::look(&self.disk, &self.repository);
        let operations = self.disk.operations();
        match circumstances.trouble {
            Trouble::None => {}
            Trouble::Error { after } => self.disk.fail_once(operations + after, Errno::IO),
            Trouble::PowerCut { after, .. } => self.disk.crash_after(operations + after),
        }
        let mut freed = Freed::default();
        let outcome = delete(&self.repository, &mut freed);
        if let Trouble::PowerCut { seed, keep, .. } = circumstances.trouble {
            self.restart(self.disk.after_crash(seed, keep));
            self.judge(&before);
            delete(&self.repository, &mut Freed::default()).expect("once more, after a power cut");
        } else {
            self.disk.stop_failing();
            let after = self.judge(&before);
            assert_eq!(freed.bytes, after.freed_since(&before), "said to be free, and what is gone");
            if circumstances.guard == 1 || circumstances.guard == 3 {
                assert_eq!(after.stored, before.stored, "a guard holds, and something went");
            }
            let mut more = Freed::default();
            delete(&self.repository, &mut more).expect("once more");
            if outcome.is_ok() {
                assert_eq!(more, Freed::default(), "done twice, it deletes twice");
            }
        }
        self.judge(&before);
    }

    fn judge(&self, before: &Facts) -> Facts {
        let after = Facts::look(&self.disk, &self.repository);
        let there: BTreeSet<BackupId> = site::backups(&self.repository).iter().map(|backup| backup.id).collect();
        for id in &before.irreplaceable {
            assert!(there.contains(id), "{id} was the last of its kind, or pinned, and is gone");
        }
        let still_needed = before.needs.iter().filter(|(manifest, _)| after.stored.contains_key(*manifest));
        let needed = still_needed.flat_map(|(_, objects)| objects).chain(&self.haunted);
        for object in needed.filter(|object| before.stored.contains_key(*object)) {
            assert!(after.stored.contains_key(object), "{object} is needed, and gone");
        }
        after
    }
}

impl Circumstances {
    fn guards(&self) -> Guards {
        let [recovery, live_suspect, clock_suspect, rolled_back] = [1, 2, 3, 4].map(|guard| self.guard == guard);
        Guards { recovery, live_suspect, clock_suspect, rolled_back, away: false }
    }
}

fn nth<T>(which: u16, mut all: impl Iterator<Item = T> + Clone) -> Option<T> {
    let count = all.clone().count();
    all.nth(count * usize::from(which) / (usize::from(u16::MAX) + 1))
}

fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() };
    match (std::env::var_os("PROPTEST_CASES"), long()) {
        (Some(_), _) => default,
        (None, true) => ProptestConfig { cases: 3000, ..default },
        (None, false) => ProptestConfig { cases: 48, ..default },
    }
}

#[test]
fn whatever_happened_before_and_meanwhile_a_cleanup_eats_nothing_that_is_needed_and_says_what_it_freed() {
    let _place = Place::new("a random history");
    let mut from = [0; 32];
    from[..8].copy_from_slice(&seed().to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config(), TestRng::from_seed(RngAlgorithm::ChaCha, &from));
    let ran = runner.run(&prop::collection::vec(any_step(), 1..40), |steps| {
        let mut world = World::new();
        steps.iter().for_each(|step| world.perform(step));
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}
