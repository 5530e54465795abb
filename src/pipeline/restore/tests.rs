//! A restore that dies, or fails, at every operation.
//!
//! Hazard: a power cut between any two steps. Whatever comes back must become all of the earlier files or all of the new
//! ones, by one look at the next start, which may itself be cut off anywhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::journal::{Change, Journal, Token};
use super::transaction::Transaction;
use super::{RestoreError, leftover};
use crate::core::{BackupId, Digest, EntryPath};
use crate::pipeline::content::FileSink;
use crate::pipeline::stage::{Lost, Rules, STAGED_PREFIX, Stage};
use crate::repository::wire::{Attributes, FileEntry, HardLinkEntry, SymlinkEntry};
use crate::storage::disk::Disk;
use crate::storage::faulty::{CrashKeep, Lacking, Meddling, Simulated};

const REPOSITORY: &str = "0123456789abcdef";
pub(super) const KEEPS: [CrashKeep; 5] =
    [CrashKeep::Lose, CrashKeep::Keep, CrashKeep::Torn, CrashKeep::Torn, CrashKeep::Torn];

type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(named: &[(&str, &str)]) -> Files {
    named.iter().map(|(path, content)| (path.into(), content.as_bytes().to_vec())).collect()
}

fn earlier() -> Files {
    files(&[("a.json", "earlier a"), ("d/b.json", "earlier b"), ("gone.json", "earlier"), ("other", "not concerned")])
}

fn new() -> Files {
    files(&[
        ("a.json", "new a, longer"),
        ("d/b.json", "new b"),
        ("d/came.json", "new c"),
        ("n/again", "new a, longer"),
        ("n/link", "elsewhere"),
        ("n/m/came.json", "new d"),
        ("other", "not concerned"),
    ])
}

/// A source directory before a restore, all of it durable.
fn before() -> Simulated {
    let disk = Simulated::new();
    earlier().iter().for_each(|(path, content)| disk.write_raw(path, content).unwrap());
    disk
}

pub(super) fn seed() -> u64 {
    std::env::var("FIOVANA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123)
}

fn live(disk: &Simulated) -> Files {
    disk.files().into_iter().filter(|(path, _)| !is_ours(path)).collect()
}

fn is_ours(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with(STAGED_PREFIX)
}

fn stage_file(stage: &mut Stage, path: &str) -> Result<(), RestoreError> {
    let content = &new()[Path::new(path)];
    let entry = FileEntry {
        path: EntryPath::from_text(path),
        size_bytes: content.len() as u64,
        attributes: Attributes { mode: 0o640, uid: 7, gid: 8, ..Attributes::default() },
        sha256: Digest::of(content),
        fault: None,
        lineage: None,
        chunks: vec![],
    };
    stage.begin(&entry)?;
    stage.content(content)?;
    stage.end(&entry)
}

fn stage_all(disk: &Simulated, token: &Token) -> Result<Stage, RestoreError> {
    let rules = Rules { owner: Lost::Refused, xattrs: Lost::Refused, set_id: true, privileged: false };
    let mut stage = Stage::new(Arc::new(disk.clone()), Path::new("/source"), token.clone(), rules).over_live_files();
    for path in ["a.json", "d/b.json", "d/came.json", "n/m/came.json"] {
        stage_file(&mut stage, path)?;
    }
    stage.sync()?;
    let (again, link) = (EntryPath::from_text("n/again"), EntryPath::from_text("n/link"));
    let linked = HardLinkEntry { path: again, to: EntryPath::from_text("a.json") };
    if !stage.hard_link(&linked, Digest::of(&new()[Path::new("a.json")]))? {
        stage_file(&mut stage, "n/again")?;
        stage.sync()?;
    }
    let (target, attributes) = ("elsewhere".to_owned(), Attributes::default());
    stage.symlink(&SymlinkEntry { path: link, target, attributes })?;
    Ok(stage)
}

/// All of a restore that touches the source: its answer, once it is closed.
fn restore(disk: &Simulated, healthy: bool) -> Result<(), RestoreError> {
    let token = Token::new(REPOSITORY);
    let stage = stage_all(disk, &token)?;
    let id = BackupId::new(chrono::DateTime::UNIX_EPOCH, Digest::of(b"safety"));
    let set = "security".parse().unwrap();
    let mut journal = Journal::new(REPOSITORY, &set, ("c0ffee", "cli:0"), vec![id], id, token);
    let saved: Files = disk.files().into_iter().collect();
    let old = |path: &str| saved.get(Path::new(path)).map(|content| Digest::of(content));
    let staged = stage.files().iter().map(|file| (file.target.as_str(), Some(file.sha256), file.replaces));
    journal.changes = staged
        .chain([("gone.json", None, true)])
        .map(|(target, new, replaces)| Change {
            target: target.to_owned(),
            new,
            replaces,
            old: old(target),
            old_bytes: None,
        })
        .collect();
    journal.directories = stage.made().map(|path| path.to_str().unwrap().to_owned()).collect();
    let mut transaction = Transaction::begin(Arc::new(disk.clone()), Path::new("/source"), journal)?;
    stage.hand_over();
    let judge = |_: &Journal| if healthy { Ok(()) } else { Err(RestoreError::NotAsWritten("unhealthy".into())) };
    let result = transaction.carry_out(judge);
    if !matches!(result, Err(RestoreError::Unsettled { .. })) {
        // As in the service: what cannot be closed is closed at the next start.
        let _ = transaction.close();
    }
    result
}

/// What the next start does; how many restores it settled.
fn start(disk: &Simulated) -> std::io::Result<usize> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = leftover::settle(&disk, Path::new("/source"), REPOSITORY, 0)?;
    if let Some(what) = found.unsettled.first() {
        return Err(std::io::Error::other(what.clone()));
    }
    let count = found.settled.len();
    found.settled.into_iter().try_for_each(|transaction| transaction.close().map(drop))?;
    Ok(count)
}

fn assert_settled(disk: &Simulated, acknowledged: Option<bool>, context: &str) {
    start(disk).unwrap_or_else(|error| panic!("{context}: {error}"));
    let found = live(disk);
    match acknowledged {
        Some(true) => assert_eq!(found, new(), "{context}: acknowledged and not there"),
        Some(false) => assert_eq!(found, earlier(), "{context}: refused and changed"),
        None => assert!(found == earlier() || found == new(), "{context}: of two times: {found:?}"),
    }
    assert_eq!(disk.files().len(), found.len(), "{context}: leftovers in {:?}", disk.files());
    assert_eq!(start(disk).unwrap(), 0, "{context}: settled twice");
}

#[test]
fn a_restore_replaces_adds_and_removes_and_leaves_nothing_beside() {
    let disk = before();
    restore(&disk, true).unwrap();
    assert_eq!(live(&disk), new());
    assert_eq!(disk.files().len(), new().len());
    let metadata = disk.metadata(Path::new("a.json")).unwrap();
    assert_eq!((metadata.mode, metadata.uid, metadata.gid), (0o640, 7, 8));
    assert_eq!(live(&disk.after_crash(0, CrashKeep::Lose)), new(), "acknowledged and not durable");
}

#[test]
fn a_restore_that_is_not_accepted_is_rolled_back_to_the_very_files() {
    let disk = before();
    assert!(matches!(restore(&disk, false), Err(RestoreError::RolledBack { .. })));
    assert_eq!(live(&disk), earlier());
    assert_eq!(disk.files().len(), earlier().len());
    assert_eq!(disk.metadata(Path::new("a.json")).unwrap().mode, 0o600);
    assert_eq!(live(&disk.after_crash(0, CrashKeep::Lose)), earlier(), "rolled back and not durable");
}

/// Filesystems, by what they cannot do.
const FILESYSTEMS: [&[Lacking]; 4] =
    [&[], &[Lacking::Exchange], &[Lacking::Links], &[Lacking::Links, Lacking::Exchange]];

#[test]
fn a_crash_at_any_operation_becomes_all_earlier_or_all_new_at_the_next_start() {
    for (healthy, lacks) in [true, false].into_iter().flat_map(|healthy| FILESYSTEMS.map(|lacks| (healthy, lacks))) {
        let whole = before().lacking(lacks);
        let _ = restore(&whole, healthy);
        for crash in 0..=whole.operations() {
            let dying = before().lacking(lacks);
            dying.crash_after(crash);
            let acknowledged = match restore(&dying, healthy) {
                Ok(()) => Some(true),
                _ if !healthy => Some(false),
                Err(_) => None,
            };
            let context = format!("{lacks:?}, healthy {healthy}, crash after {crash} of {}", whole.operations());
            assert_settled(&dying.after_kill().lacking(lacks), acknowledged, &format!("{context}, killed"));
            for (number, keep) in KEEPS.into_iter().enumerate() {
                let seed = seed().wrapping_add((crash * KEEPS.len() + number) as u64);
                let context = format!("{context}, {keep:?}, seed {seed}");
                assert_settled(&dying.after_crash(seed, keep).lacking(lacks), acknowledged, &context);
            }
        }
    }
}

#[test]
fn a_start_that_settles_a_restore_may_itself_die_anywhere() {
    FILESYSTEMS.into_iter().for_each(a_start_may_die_anywhere);
}

fn a_start_may_die_anywhere(lacks: &[Lacking]) {
    let whole = before().lacking(lacks);
    restore(&whole, true).unwrap();
    for crash in 0..whole.operations() {
        let dying = before().lacking(lacks);
        dying.crash_after(crash);
        let _ = restore(&dying, true);
        let left = dying.after_crash(seed().wrapping_add(crash as u64), CrashKeep::Torn);
        for second in 0.. {
            let starting = left.after_kill().lacking(lacks);
            starting.crash_after(second);
            let done = start(&starting).is_ok();
            let seed = seed().wrapping_add((crash * 1000 + second) as u64);
            for keep in [CrashKeep::Lose, CrashKeep::Torn] {
                let context =
                    format!("{lacks:?}, crash after {crash}, then {second} of the start, {keep:?}, seed {seed}");
                assert_settled(&starting.after_crash(seed, keep).lacking(lacks), None, &context);
            }
            if done {
                break;
            }
        }
    }
}

#[test]
fn a_failure_of_any_operation_leaves_the_earlier_files_or_says_that_it_is_unsettled() {
    let whole = before();
    restore(&whole, true).unwrap();
    for errno in [Errno::IO, Errno::NOSPC] {
        for (operation, once) in (0..whole.operations()).flat_map(|operation| [(operation, true), (operation, false)]) {
            let disk = before();
            if once {
                disk.fail_once(operation, errno)
            } else {
                disk.fail_from(operation, errno)
            }
            let result = restore(&disk, true);
            disk.stop_failing();
            let context = format!("{errno} at operation {operation}, once {once}: {result:?}");
            match &result {
                Ok(()) => assert_eq!(live(&disk), new(), "{context}"),
                Err(RestoreError::Unsettled { .. }) => {}
                Err(_) => assert_eq!(live(&disk), earlier(), "{context}"),
            }
            let acknowledged = match &result {
                Ok(()) => Some(true),
                Err(RestoreError::Unsettled { .. }) => None,
                Err(_) => Some(false),
            };
            assert_settled(&disk, acknowledged, &context);
        }
    }
}

/// A source directory in which a restore died right before its journal could say committed.
fn half_done() -> Simulated {
    let whole = before();
    restore(&whole, true).unwrap();
    let found = (0..whole.operations()).rev().find_map(|crash| {
        let dying = before();
        dying.crash_after(crash);
        let _ = restore(&dying, true);
        let left = dying.after_kill();
        let journal = left.files().into_iter().any(|(path, bytes)| {
            path.to_string_lossy().contains("journal-")
                && String::from_utf8_lossy(&bytes).contains("\"committed\":false")
        });
        (journal && live(&left) == new()).then_some(left)
    });
    found.expect("a moment at which all is placed and nothing is committed")
}

#[test]
fn what_another_program_writes_during_a_restore_is_never_lost() {
    let written = b"written by the application".to_vec();
    let ways: [fn(PathBuf, Vec<u8>) -> Meddling; 2] = [Meddling::Overwrites, Meddling::Replaces];
    for (lacks, healthy) in FILESYSTEMS.into_iter().flat_map(|lacks| [(lacks, true), (lacks, false)]) {
        let whole = before().lacking(lacks);
        let _ = restore(&whole, healthy);
        let staged = before().lacking(lacks);
        let stage = stage_all(&staged, &Token::new(REPOSITORY)).unwrap();
        let begun = staged.operations();
        drop(stage);
        for (target, way) in ["a.json", "gone.json", "d/came.json"].into_iter().flat_map(|to| ways.map(|way| (to, way)))
        {
            // What was written before the live files are backed up is in that backup.
            for operation in begun..whole.operations() {
                let disk = before().lacking(lacks);
                let meddling = way(target.into(), written.clone());
                let context = format!("{lacks:?}, healthy {healthy}, {meddling:?} at {operation}");
                disk.meddle_at(operation, meddling);
                let result = restore(&disk, healthy);
                assert!(!matches!(result, Err(RestoreError::Unsettled { .. })), "{context}: {result:?}");
                let found = disk.files();
                let beside = format!("{target}.changed-during-restore");
                let places: Vec<_> =
                    found.iter().filter(|(_, bytes)| *bytes == written).map(|(path, _)| path).collect();
                assert!(
                    places.iter().any(|path| **path == *target || **path == *beside),
                    "{context}: {result:?}: {found:?}"
                );
                assert_eq!(start(&disk).unwrap(), 0, "{context}");
                assert!(disk.files().iter().all(|(path, _)| !is_ours(path)), "{context}: {found:?}");
                // What it did not touch is of one time.
                let others = |files: Files| -> Files {
                    files
                        .into_iter()
                        .filter(|(path, _)| !(path.to_string_lossy().starts_with(target) || path.ends_with("n/again")))
                        .collect()
                };
                let expected = if result.is_ok() { new() } else { earlier() };
                assert_eq!(others(live(&disk)), others(expected), "{context}: {result:?}");
            }
        }
    }
}

#[test]
fn what_somebody_wrote_meanwhile_is_set_aside_and_not_lost() {
    let disk = half_done();
    disk.write_raw("a.json", b"written by the application").unwrap();
    start(&disk).unwrap();
    let mut expected = earlier();
    // The second name of the new file, into which it wrote, is not ours any more either.
    for path in ["a.json.changed-during-restore", "n/again"] {
        expected.insert(path.into(), b"written by the application".to_vec());
    }
    assert_eq!(live(&disk), expected);
}

#[test]
fn a_damaged_journal_is_not_obeyed_and_everything_stays() {
    let disk = half_done();
    let (journal, bytes) =
        disk.files().into_iter().find(|(path, _)| path.to_string_lossy().contains("journal-")).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let damaged = disk.after_kill();
        damaged.flip_bit(&journal, at, 0).unwrap();
        let before = damaged.files();
        let there: Arc<dyn Disk> = Arc::new(damaged.clone());
        let found = leftover::settle(&there, Path::new("/source"), REPOSITORY, 0).unwrap();
        assert_eq!((found.settled.len(), found.unsettled.len()), (0, 1), "byte {at}");
        assert!(found.unsettled[0].contains("pre_restore"), "{}", found.unsettled[0]);
        assert_eq!(damaged.files(), before, "byte {at}");
    }
}

#[test]
fn a_journal_that_somebody_else_may_have_written_is_not_obeyed() {
    let disk = half_done();
    let before = disk.files();
    let there: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = leftover::settle(&there, Path::new("/source"), REPOSITORY, 1000).unwrap();
    assert_eq!((found.settled.len(), found.unsettled.len()), (0, 1));
    assert!(found.unsettled[0].contains("it belongs to uid 0, and this is uid 1000"), "{}", found.unsettled[0]);
    assert_eq!(disk.files(), before);
    let journal = before.iter().map(|(path, _)| path).find(|path| path.to_string_lossy().contains("journal-")).unwrap();
    disk.link(journal, Path::new("second-name")).unwrap();
    let found = leftover::settle(&there, Path::new("/source"), REPOSITORY, 0).unwrap();
    assert!(found.unsettled[0].contains("it has a second name"), "{}", found.unsettled[0]);
    assert_eq!(live(&disk).len(), live(&half_done()).len() + 1);
}

#[test]
fn the_journal_of_another_repository_is_left_to_its_own_service() {
    let disk = half_done();
    let before = disk.files();
    let there: Arc<dyn Disk> = Arc::new(disk.clone());
    let found = leftover::settle(&there, Path::new("/source"), "another repository", 0).unwrap();
    assert_eq!((found.settled.len(), found.unsettled.len()), (0, 1));
    assert_eq!(disk.files(), before);
}

#[test]
fn a_restore_does_not_begin_while_another_of_the_set_is_unsettled() {
    let disk = half_done();
    let before = disk.files();
    assert!(matches!(restore(&disk, true), Err(RestoreError::Unfinished(_))));
    assert_eq!(disk.files(), before);
}
