//! Every crash, at every operation, of any sequence of writes.
//!
//! Hazard: a protocol that is right in all the places somebody thought of.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use rustix::io::Errno;

use super::faulty::{CrashKeep, Simulated};
use super::local::Local;
use super::syncer::Syncer;
use super::{Durability, Put, Storage, StorageError, StorageErrorKind, StoragePath};

const PATHS: [&str; 5] = ["top", "a/1", "a/2", "a/b/3", "c/4"];
const DIRECTORIES: [&str; 4] = ["a", "a/b", "c", "absent"];

/// A call of the storage; files are told by their index in [`PATHS`].
#[derive(Clone, Debug)]
enum Step {
    Put(usize),
    Publish(Vec<usize>),
    Discard(Vec<usize>),
    Replace(usize),
    Remove(Vec<usize>),
    CreateDirectory,
}

fn any_step() -> impl Strategy<Value = Step> {
    let file = 0..PATHS.len();
    let files = || prop::collection::vec(0..PATHS.len(), 1..5);
    prop_oneof![
        3 => file.clone().prop_map(Step::Put),
        3 => files().prop_map(Step::Publish),
        1 => files().prop_map(Step::Discard),
        3 => file.prop_map(Step::Replace),
        2 => files().prop_map(Step::Remove),
        1 => Just(Step::CreateDirectory),
    ]
}

fn path(file: usize) -> StoragePath {
    StoragePath::new(PATHS[file]).unwrap()
}

/// Different in each step and file, and without zeros, so that whatever is torn shows.
fn bytes(step: usize, file: usize) -> Vec<u8> {
    format!("step {step}, file {file}; ").repeat(3).into_bytes()
}

/// What may be at each path: one thing after an acknowledged step, old or new after one that was not.
#[derive(Clone, Default)]
struct Model(BTreeMap<usize, Vec<Option<Vec<u8>>>>);

impl Model {
    fn allowed(&self, file: usize) -> Vec<Option<Vec<u8>>> {
        self.0.get(&file).cloned().unwrap_or_else(|| vec![None])
    }

    fn exists(&self, file: usize) -> bool {
        self.allowed(file).iter().any(Option::is_some)
    }

    /// `file` is `content` now if the step was acknowledged, else it may be.
    fn becomes(&mut self, file: usize, content: Option<Vec<u8>>, acknowledged: bool) {
        let mut allowed = if acknowledged { Vec::new() } else { self.allowed(file) };
        allowed.push(content);
        self.0.insert(file, allowed);
    }

    /// Notes what step number `number` did, or may have done.
    fn note(&mut self, number: usize, step: &Step, acknowledged: bool) {
        match step {
            Step::Put(file) => self.note(number, &Step::Publish(vec![*file]), acknowledged),
            Step::Publish(files) => {
                let before = self.clone();
                for file in files.iter().filter(|file| !before.exists(**file)) {
                    self.becomes(*file, Some(bytes(number, *file)), acknowledged);
                }
            }
            Step::Replace(file) => self.becomes(*file, Some(bytes(number, *file)), acknowledged),
            Step::Remove(files) => files.iter().for_each(|file| self.becomes(*file, None, acknowledged)),
            Step::Discard(_) | Step::CreateDirectory => {}
        }
    }

    /// What is wrong with `storage`, if anything.
    fn fault(&self, storage: &dyn Storage) -> Option<String> {
        (0..PATHS.len()).find_map(|file| {
            let found = match storage.read(&path(file), 1000) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind == StorageErrorKind::NotFound => None,
                Err(error) => return Some(format!("{error}: {:?}", error.source)),
            };
            let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
            let allowed = self.allowed(file);
            let expected = || allowed.iter().map(text).collect::<Vec<_>>();
            (!allowed.contains(&found)).then(|| format!("{} is {:?}, not {:?}", PATHS[file], text(&found), expected()))
        })
    }
}

fn perform(storage: &dyn Storage, number: usize, step: &Step) -> Result<(), StorageError> {
    let stage = |files: &[usize]| {
        let mut staged = Vec::new();
        for file in files {
            match storage.stage(&path(*file), &bytes(number, *file)) {
                Ok(one) => staged.push(one),
                Err(error) => {
                    storage.discard(staged);
                    return Err(error);
                }
            }
        }
        Ok(staged)
    };
    match step {
        Step::Put(file) => storage.put_new(&path(*file), &bytes(number, *file)).map(drop),
        Step::Publish(files) => storage.publish(stage(files)?).map(drop),
        Step::Discard(files) => stage(files).map(|staged| storage.discard(staged)),
        Step::Replace(file) => storage.replace(&path(*file), &bytes(number, *file), Durability::Durable),
        Step::Remove(files) => storage.remove(&files.iter().map(|file| path(*file)).collect::<Vec<_>>()),
        Step::CreateDirectory => storage.create_directory(&StoragePath::new("a/b").unwrap()),
    }
}

fn local(disk: &Simulated, threads: usize) -> Local {
    Local::with_syncer(Arc::new(disk.clone()), "/simulated".to_owned(), Syncer::start(threads))
}

/// Performs the steps up to the first that fails.
fn perform_all(storage: &dyn Storage, steps: &[Step], model: &mut Model) {
    for (number, step) in steps.iter().enumerate() {
        let acknowledged = perform(storage, number, step).is_ok();
        model.note(number, step, acknowledged);
        if !acknowledged {
            return;
        }
    }
}

fn clear_all(storage: &dyn Storage) {
    for directory in DIRECTORIES {
        storage.clear_temporary(&StoragePath::new(directory).unwrap()).unwrap();
    }
}

fn temporaries(disk: &Simulated) -> usize {
    disk.files().iter().filter(|(path, _)| path.to_string_lossy().contains(".tmp-")).count()
}

/// Performs the steps on a disk that dies after each possible number of operations, and judges what comes back.
fn sweep(steps: &[Step], threads: usize, judge: impl Fn(&Simulated, &Model, usize)) {
    let whole = Simulated::new();
    perform_all(&local(&whole, threads), steps, &mut Model::default());
    for crash in 0..=whole.operations() {
        let disk = Simulated::new();
        disk.crash_after(crash);
        let mut model = Model::default();
        perform_all(&local(&disk, threads), steps, &mut model);
        judge(&disk, &model, crash);
    }
}

fn assert_sound(disk: &Simulated, model: &Model, context: &str) {
    let storage = local(disk, 0);
    assert_eq!(model.fault(&storage), None, "{context}");
    clear_all(&storage);
    assert_eq!(temporaries(disk), 0, "{context}");
    assert_eq!(model.fault(&storage), None, "after clearing, {context}");
    for file in 0..PATHS.len() {
        let put = storage.put_new(&path(file), b"the next life").unwrap();
        assert_eq!(put == Put::Existed, storage.read(&path(file), 100).unwrap() != b"the next life", "{context}");
    }
}

fn after_any_power_cut_all_is_whole(steps: &[Step], threads: usize, seed: u64) {
    sweep(steps, threads, |disk, model, crash| {
        for keep in [CrashKeep::Lose, CrashKeep::Keep, CrashKeep::Torn, CrashKeep::Torn] {
            let seed = seed.wrapping_add(crash as u64);
            let context = format!("crash after {crash} operations, {keep:?}, seed {seed}");
            assert_sound(&disk.after_crash(seed, keep), model, &context);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_a_power_cut_at_any_operation_each_file_is_whole_or_absent(
        steps in prop::collection::vec(any_step(), 1..7), seed: u64,
    ) {
        after_any_power_cut_all_is_whole(&steps, 0, seed);
    }

    #[test]
    fn after_a_kill_at_any_operation_what_the_next_process_sees_survives_a_power_cut(
        steps in prop::collection::vec(any_step(), 1..7), seed: u64,
    ) {
        sweep(&steps, 0, |disk, model, crash| {
            let disk = disk.after_kill();
            let storage = local(&disk, 0);
            let context = format!("kill after {crash} operations, seed {seed}");
            assert_eq!(model.fault(&storage), None, "{context}");
            clear_all(&storage);
            let mut seen = Model::default();
            for file in 0..PATHS.len() {
                seen.becomes(file, storage.read(&path(file), 1000).ok(), true);
            }
            storage.put_new(&path(0), b"syncs the top").unwrap();
            if !seen.exists(0) {
                seen.becomes(0, Some(b"syncs the top".to_vec()), true);
            }
            for keep in [CrashKeep::Lose, CrashKeep::Torn] {
                assert_eq!(seen.fault(&local(&disk.after_crash(seed, keep), 0)), None, "{context}, {keep:?}");
            }
        });
    }

    #[test]
    fn a_failed_operation_leaves_each_file_whole_or_absent_and_nothing_beside_it(
        steps in prop::collection::vec(any_step(), 1..5), seed: u64, no_space: bool,
    ) {
        let errno = if no_space { Errno::NOSPC } else { Errno::IO };
        let whole = Simulated::new();
        perform_all(&local(&whole, 0), &steps, &mut Model::default());
        for operation in 0..whole.operations() {
            let (disk, mut model) = (Simulated::new(), Model::default());
            disk.fail_once(operation, errno);
            perform_all(&local(&disk, 0), &steps, &mut model);
            for keep in [CrashKeep::Lose, CrashKeep::Torn] {
                let context = format!("{errno} at operation {operation}, {keep:?}, seed {seed}");
                assert_sound(&disk.after_crash(seed, keep), &model, &context);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn syncing_in_the_background_promises_no_less(steps in prop::collection::vec(any_step(), 1..5), seed: u64) {
        after_any_power_cut_all_is_whole(&steps, 2, seed);
    }
}

#[test]
fn a_file_alone_is_put_with_five_operations_and_no_more() {
    let disk = Simulated::new();
    let storage = local(&disk, 0);
    storage.put_new(&path(1), b"makes the directory").unwrap();
    let before = disk.operations();
    storage.put_new(&path(2), b"alone").unwrap();
    assert_eq!(disk.operations() - before, 5, "create, write, sync, rename, sync the directory");
}

#[test]
fn a_full_disk_fails_the_write_and_keeps_nothing_of_it() {
    let disk = Simulated::new();
    let storage = local(&disk, 0);
    storage.put_new(&path(1), &[1; 600]).unwrap();
    disk.set_capacity(Some(1000));
    assert_eq!(storage.free_bytes().unwrap(), 400);
    assert_eq!(storage.put_new(&path(2), &[2; 600]).unwrap_err().kind, StorageErrorKind::NoSpace);
    assert_eq!(storage.replace(&path(1), &[3; 600], Durability::Durable).unwrap_err().kind, StorageErrorKind::NoSpace);
    assert_eq!((storage.free_bytes().unwrap(), temporaries(&disk)), (400, 0));
    storage.remove(&[path(1)]).unwrap();
    assert_eq!(storage.put_new(&path(2), &[2; 600]).unwrap(), Put::Created);
}

#[test]
fn a_batch_that_fails_in_the_middle_leaves_no_temporary_file() {
    let disk = Simulated::new();
    let storage = local(&disk, 0);
    storage.create_directory(&StoragePath::new("a/b").unwrap()).unwrap();
    let staged: Vec<_> = (0..4).map(|file| storage.stage(&path(file), b"x").unwrap()).collect();
    disk.fail_once(disk.operations() + 2, Errno::IO); // the first sync and rename succeed
    assert_eq!(storage.publish(staged).unwrap_err().kind, StorageErrorKind::Io);
    assert_eq!((temporaries(&disk), disk.files().len()), (0, 1));
}
