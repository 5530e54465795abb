//! Stories that are interrupted everywhere, and what must be true of whatever comes back.
//!
//! Hazard: the moment nobody thought of. A story is told once to count its disk operations, and then again for each of
//! them, with the machine dying there.

use std::collections::{BTreeMap, BTreeSet};

use fiovana_app::core::{BackupId, BackupState, Position, SetName};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::Repository;
use fiovana_app::repository::catalogue::Backup;
use fiovana_app::repository::state::Loaded;
use fiovana_app::storage::faulty::{CrashKeep, Simulated};
use rustix::io::Errno;

use super::site::{self, back_up_now, backups, content, restored, temporaries};
use super::source::Source;
use super::{Files, Place, long, seed};

/// What was promised to whoever asked, and what may be besides.
#[derive(Clone, Default)]
pub struct Promise {
    /// Backups that were acknowledged.
    pub acknowledged: BTreeMap<BackupId, Files>,
    /// Of those, the ones whose deletion began: whole, or absent and listed as pruned.
    pub doomed: BTreeMap<BackupId, (SetName, Position)>,
    /// Of those, the ones whose deletion was acknowledged: absent, and listed as pruned.
    pub deleted: BTreeSet<BackupId>,
    /// What a backup that nobody heard of may hold.
    pub making: Vec<Files>,
    /// Whether each of these is pinned; one of two values while that is being changed.
    pub pinned: BTreeMap<BackupId, Vec<bool>>,
    /// The values that the state file [`STATE`] may have; it is absent or one of those.
    pub state: Vec<Option<String>>,
}

/// The state file that stories write.
pub const STATE: &str = "mode";

impl Promise {
    /// Notes that a backup was acknowledged.
    pub fn acknowledge(&mut self, backup: &Backup, files: Files) {
        self.acknowledged.insert(backup.id, files);
    }

    /// Notes that a backup is about to be deleted.
    pub fn doom(&mut self, backup: &Backup) {
        self.doomed.insert(backup.id, (backup.set.clone(), backup.position().expect("its sequence")));
    }
}

/// A story: what is there before, and what is done. It ends at the first step that fails.
pub struct Story<'a> {
    /// The disk before.
    pub base: Simulated,
    /// What was promised before.
    pub promise: Promise,
    /// The source of the backup that must work afterwards.
    pub source: &'a Source,
    /// What is done.
    pub tell: &'a dyn Fn(&Repository, &mut Promise) -> Told,
}

/// How a story ended.
pub type Told = Result<(), Box<dyn std::error::Error>>;

impl Story<'_> {
    fn told_on(&self, disk: &Simulated) -> Promise {
        let mut promise = self.promise.clone();
        // However it ends: what was promised until then holds.
        let _ = (self.tell)(&site::open(disk).0, &mut promise);
        promise
    }

    /// The operations that the story takes; those of opening come first.
    pub fn operations(&self) -> std::ops::Range<usize> {
        let disk = self.base.after_kill();
        drop(site::open(&disk));
        let opening = disk.operations();
        let disk = self.base.after_kill();
        self.told_on(&disk);
        opening..disk.operations() + 1
    }

    /// Interrupts the story at each operation by a power cut, and by a kill, and judges what comes back.
    pub fn crash_everywhere(&self) {
        let torn = if long() { 40 } else { 2 };
        let keeps = [CrashKeep::Lose, CrashKeep::Keep].into_iter().chain([CrashKeep::Torn].repeat(torn));
        let keeps: Vec<CrashKeep> = keeps.collect();
        let operations = self.operations();
        assert!(operations.len() > 4, "the story does nothing");
        for crash in operations {
            let disk = self.base.after_kill();
            disk.crash_after(crash);
            let promise = self.told_on_dying(&disk, crash);
            for (number, keep) in keeps.iter().enumerate() {
                let seed = seed().wrapping_add((crash * 1000 + number) as u64);
                let _place = Place::new(format!("power cut after {crash} operations, {keep:?}, torn by seed {seed}"));
                self.judge(&disk.after_crash(seed, *keep), &promise);
            }
            let _place = Place::new(format!("kill after {crash} operations"));
            self.judge(&disk.after_kill(), &promise);
            self.judge_what_a_kill_left_visible(&disk.after_kill());
        }
    }

    /// Lets each operation of the story fail once, and judges what is said and what is left.
    pub fn fail_everywhere(&self, errno: Errno) {
        let operations = self.operations();
        let mut failures = 0;
        for operation in operations.start..operations.end - 1 {
            let _place = Place::new(format!("{errno} at operation {operation}"));
            let disk = self.base.after_kill();
            let repository = site::open(&disk).0;
            disk.fail_once(operation, errno);
            let mut promise = self.promise.clone();
            let told = (self.tell)(&repository, &mut promise);
            // Content that two threads meet at once may be staged once or twice: the story may end before its last operation.
            disk.stop_failing();
            if let Err(error) = told {
                failures += 1;
                assert_clear(error.as_ref(), errno);
                promise.making.clear();
            }
            judge_backups(&repository, &promise);
            back_up_now(&repository, &self.source.set, 900);
            promise.making.push(self.source.files());
            self.judge(&disk.after_kill(), &promise);
            self.judge(&disk.after_crash(0, CrashKeep::Lose), &promise);
        }
        assert!(failures > 0, "no failure was told");
    }

    fn told_on_dying(&self, disk: &Simulated, crash: usize) -> Promise {
        let _place = Place::new(format!("the story itself, dying after {crash} operations"));
        self.told_on(disk)
    }

    /// What the next process sees after a kill it may answer for: it must survive a power cut from then on.
    fn judge_what_a_kill_left_visible(&self, disk: &Simulated) {
        let seen: BTreeSet<BackupId> = backups(&site::open(disk).0).iter().map(|backup| backup.id).collect();
        let left = site::open(&disk.after_crash(seed(), CrashKeep::Lose)).0;
        let still: BTreeSet<BackupId> = backups(&left).iter().map(|backup| backup.id).collect();
        assert_eq!(seen, still, "a backup was seen after the kill and is gone after the power cut");
    }

    /// Everything that must be true of a disk when it is used again.
    pub fn judge(&self, disk: &Simulated, promise: &Promise) {
        let (repository, report) = site::open(disk);
        // Findings are written without a sync: what is lost of them is found again by reading.
        let faults: Vec<_> = report.faults.iter().filter(|fault| !fault.starts_with("state/verification-")).collect();
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(temporaries(disk), Vec::<String>::new());
        judge_backups(&repository, promise);
        judge_state(&repository, promise);
        let next = back_up_now(&repository, &self.source.set, 1000);
        assert_eq!(content(&repository, &next), self.source.files(), "the next backup");
        let newest = backups(&repository).iter().filter(|b| b.set == next.set).filter_map(Backup::position).max();
        assert_eq!(next.position(), newest, "the next backup comes after all others");
        site::collect_all(&repository);
        let reopened = site::open(&disk.after_crash(0, CrashKeep::Lose)).0;
        assert!(reopened.catalogue().get(next.id).is_some(), "the next backup is not durable");
    }

    /// Restores, for real, what the whole story leaves behind.
    pub fn restore_the_outcome(&self) {
        let disk = self.base.after_kill();
        let promise = self.told_on(&disk);
        let repository = site::open(&disk.after_crash(0, CrashKeep::Lose)).0;
        for backup in backups(&repository) {
            assert_eq!(restored(&repository, &backup), promise.acknowledged[&backup.id], "{}", backup.id);
        }
    }
}

/// An operator must be able to tell what went wrong from the error alone.
fn assert_clear(error: &(dyn std::error::Error + 'static), errno: Errno) {
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    let says = if errno == Errno::NOSPC { "no space left" } else { "Input/output error" };
    let chain = chain.join(": ");
    assert!(chain.to_lowercase().contains(&says.to_lowercase()), "unclear: {chain}");
}

fn judge_backups(repository: &Repository, promise: &Promise) {
    let found: BTreeMap<BackupId, Backup> = backups(repository).into_iter().map(|b| (b.id, b)).collect();
    let mut sequences = BTreeSet::new();
    for (id, backup) in &found {
        assert_ne!(backup.state(), BackupState::Damaged, "{id}: {:?}", backup.finding);
        assert_eq!(site::verdict(repository, backup), Verdict::Intact, "{id}");
        let content = content(repository, backup);
        match promise.acknowledged.get(id) {
            Some(files) => assert!(content == *files, "{id} was acknowledged with other content"),
            None => {
                assert!(promise.making.contains(&content), "{id} holds what nobody backed up: {:?}", content.keys())
            }
        }
        assert!(sequences.insert((backup.set.clone(), backup.position())), "{id} shares its sequence with another");
        assert!(!promise.deleted.contains(id), "{id} was deleted and is there");
        if let Some(allowed) = promise.pinned.get(id) {
            assert!(allowed.contains(&backup.pinned), "{id}: pinned is {}", backup.pinned);
        }
    }
    let catalogue = repository.catalogue();
    for id in promise.acknowledged.keys().filter(|id| !found.contains_key(id)) {
        let (set, sequence) = promise.doomed.get(id).unwrap_or_else(|| panic!("{id} was acknowledged and is gone"));
        let index = catalogue.set(set).expect("its set");
        assert!(index.pruned.contains(*sequence), "{id} is gone and not listed as pruned");
    }
    for (set, index) in catalogue.sets() {
        assert_eq!(index.lost(10), [], "{set} misses backups that nobody deleted");
    }
}

fn judge_state(repository: &Repository, promise: &Promise) {
    if promise.state.is_empty() {
        return;
    }
    let found = match repository.load_state::<String>(STATE).expect("read the state") {
        Loaded::Absent => None,
        Loaded::Value(value) => Some(value),
        Loaded::Damaged(fault) => panic!("the state is damaged: {fault}"),
    };
    assert!(promise.state.contains(&found), "the state is {found:?}");
}
