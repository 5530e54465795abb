//! A repository of format 1 that becomes one of format 2.
//!
//! Hazard: a program that knows only format 1 and meets half of format 2 takes what it cannot read for damage, or deletes
//! what it does not know is needed. So the one file that it looks at first says 2 before anything else does, and nothing
//! of format 1 changes.

#[path = "repository/mod.rs"]
mod repository;

use std::path::Path;

use fiovana_app::core::Digest;
use fiovana_app::repository::Repository;
use fiovana_app::storage::faulty::{CrashKeep, Simulated};
use repository::site::{self, back_up_now, hour};
use repository::source::{Source, files_in};
use repository::{Files, Place, seed};

fn frozen() -> Files {
    files_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/format-1/repository"))
}

fn disk() -> Simulated {
    let disk = site::new_disk();
    frozen().iter().for_each(|(path, content)| disk.write_raw(path, content).expect("write"));
    disk
}

fn on(disk: &Simulated) -> Files {
    disk.files().into_iter().map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes)).collect()
}

/// What the program of format 1 asks first: a sealed document, and whether its format is beyond 1.
fn is_refused_by_the_first_program(disk: &Simulated) -> bool {
    let document = on(disk).remove("repository.json").expect("it is there");
    let text = String::from_utf8(document).expect("text");
    let (lines, seal) = text.trim_end().rsplit_once('\n').expect("a seal on a line of its own");
    assert_eq!(
        seal,
        format!("  \"sha256\": \"{}\" }}", Digest::of(format!("{lines}\n").as_bytes())),
        "it is not sealed"
    );
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    value["format"].as_u64().expect("a format") > 1
}

/// Whether there is anything that format 1 does not know.
fn has_anything_of_format_2(disk: &Simulated) -> bool {
    let is_long = |name: &str| name.strip_suffix(".json").is_some_and(|id| id.len() == 49);
    on(disk).keys().any(|path| path.starts_with("manifests/") && path.rsplit('/').next().is_some_and(is_long))
}

#[test]
fn the_first_backup_upgrades_a_repository_and_touches_nothing_of_format_1() {
    let disk = disk();
    let repository = site::open(&disk).0;
    assert!(!is_refused_by_the_first_program(&disk) && !repository.take_upgrade(), "opening changes nothing");
    let before = on(&disk);
    let old: Vec<_> =
        site::backups(&repository).into_iter().map(|b| (b.clone(), site::content(&repository, &b))).collect();
    let source = Source::rich("security");
    let new = back_up_now(&repository, &source.set, 24 * 400);
    assert!(is_refused_by_the_first_program(&disk));
    assert!(repository.take_upgrade() && !repository.take_upgrade(), "it is told once");
    assert_eq!(repository.document().format, 2);
    let after = on(&disk);
    let kept = before.iter().filter(|(path, _)| path.starts_with("manifests/") || path.starts_with("objects/"));
    kept.for_each(|(path, content)| assert!(after.get(path) == Some(content), "{path} was touched"));
    let reopened = site::open(&disk).0;
    assert_eq!(reopened.id(), repository.id());
    assert!(reopened.take_upgrade(), "whoever died before it was on record tells it");
    reopened.upgrade_was_told().expect("a note");
    assert!(!site::open(&disk).0.take_upgrade());
    for (backup, files) in old {
        assert!(backup.id.is_of_format_1());
        assert_eq!(site::restored(&reopened, &backup), files, "{}", backup.id);
    }
    assert_eq!(site::restored(&reopened, &new), source.files());
    let index_order: Vec<_> = reopened.catalogue().set(&source.set.name).expect("its set").backups().to_vec();
    assert_eq!(index_order.last().map(|backup| backup.id), Some(new.id), "the new one is the newest");
}

#[test]
fn an_upgrade_that_dies_anywhere_never_shows_format_2_to_the_first_program() {
    let source = Source::new("security");
    source.write("a.json", b"{}");
    let base = disk();
    drop(site::open(&base));
    for crash in base.operations().. {
        let dying = base.after_kill();
        dying.crash_after(crash - base.operations() + dying.operations());
        let repository = Repository::open(site::storage_on(&dying), true).map(|(repository, _)| repository);
        let finished = repository.is_ok_and(|repository| {
            repository.set_keys(site::keys());
            site::back_up(&repository, &source.set, fiovana_app::core::BackupKind::Manual, hour(9600)).is_ok()
        });
        for keep in [CrashKeep::Lose, CrashKeep::Keep, CrashKeep::Torn] {
            let _place = Place::new(format!("power cut after {crash} operations, {keep:?}"));
            let disk = dying.after_crash(seed().wrapping_add(crash as u64), keep);
            assert!(is_refused_by_the_first_program(&disk) || !has_anything_of_format_2(&disk));
            let repository = site::open(&disk).0;
            let next = back_up_now(&repository, &source.set, 9700);
            assert_eq!(site::content(&repository, &next), source.files());
            assert!(site::backups(&repository).iter().filter(|backup| backup.id.is_of_format_1()).count() == 4);
        }
        if finished {
            break;
        }
    }
}
