//! Repositories as released programs wrote them.
//!
//! Hazard: a program that reads only what it writes itself. Every released format has a repository here, written once and
//! never again, with the hashes that its files must have when they are restored.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fiovana_app::core::{BackupId, BackupState, Digest};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::repository::wire::FORMAT;
use fiovana_app::repository::{OpenError, Repository, layout};
use fiovana_app::storage::Storage;
use fiovana_app::storage::local::Local;
use repository::Files;
use repository::site::{self, back_up_now, hour};
use repository::source::{CHUNK_BYTES, Source, files_in, lines, write};

const REPOSITORY: &str = "repository";
/// As `sha256sum` prints it: hash, two spaces, `<backup id>/<file>`.
const HASHES: &str = "restored.sha256";

/// The newest plain one, of the format that is written now.
const NEWEST: &str = "format-2";

/// Every one, those of each format together.
const ALL: [&str; 3] = ["format-1", NEWEST, WITH_PACKS];

/// One with packs, and with a manifest whose lines are kept in objects.
const WITH_PACKS: &str = "format-2-packs";

fn frozen(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen").join(name)
}

/// A copy of a frozen repository, which tests may do anything to.
fn copy_of(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a scratch directory");
    let files = files_in(&frozen(name).join(REPOSITORY));
    assert!(!files.is_empty(), "there is no frozen repository {name}");
    files.iter().for_each(|(path, content)| write(&copy.path().join(path), content));
    copy
}

fn storage_in(directory: &Path) -> Arc<dyn Storage> {
    Arc::new(Local::open(directory).expect("open the directory"))
}

/// Hashes by `<backup id>/<file>`.
fn expected_hashes(name: &str) -> BTreeMap<String, String> {
    let list = fs::read_to_string(frozen(name).join(HASHES)).expect("the hashes");
    let lines = list.lines().map(|line| line.split_once("  ").expect("a line of sha256sum"));
    lines.map(|(hash, file)| (file.to_owned(), hash.to_owned())).collect()
}

/// What a hash list would say of everything that a repository restores.
fn hashes_of(repository: &Repository) -> BTreeMap<String, String> {
    let mut hashes = BTreeMap::new();
    for backup in site::backups(repository) {
        for (path, content) in site::restored(repository, &backup) {
            hashes.insert(format!("{}/{path}", backup.id), Digest::of(&content).to_string());
        }
    }
    hashes
}

#[test]
fn every_released_format_has_a_frozen_repository() {
    assert_eq!(NEWEST, format!("format-{FORMAT}"));
    for name in (1..=FORMAT).map(|format| format!("format-{format}")) {
        assert!(ALL.contains(&name.as_str()), "{name}");
    }
    for name in ALL {
        let kept = frozen(name).join(REPOSITORY).join(layout::REPOSITORY).is_file();
        assert!(kept && !expected_hashes(name).is_empty(), "tests/frozen/{name} is missing");
    }
}

#[test]
fn every_frozen_repository_verifies_and_restores_to_the_last_byte_and_is_not_touched_by_that() {
    for name in ALL {
        let copy = copy_of(name);
        let before = files_in(copy.path());
        let (repository, report) = Repository::open(storage_in(copy.path()), false).expect("open");
        assert_eq!(report.faults, Vec::<String>::new());
        for backup in site::backups(&repository) {
            assert_eq!(site::verdict(&repository, &backup), Verdict::Intact, "{}", backup.id);
        }
        assert_eq!(hashes_of(&repository), expected_hashes(name));
        assert!(files_in(copy.path()) == before, "reading changed the repository");
    }
}

#[test]
fn what_a_frozen_repository_says_of_its_backups_is_still_understood() {
    let copy = copy_of("format-1");
    let (repository, _) = Repository::open(storage_in(copy.path()), false).expect("open");
    let catalogue = repository.catalogue();
    let security = catalogue.set(&"security".parse().expect("a name")).expect("the set");
    let sequences: Vec<u64> = security.backups().iter().filter_map(|b| Some(b.position()?.sequence.0)).collect();
    assert_eq!(sequences, [1, 3, 4]);
    assert!(security.pruned.contains(fiovana_app::core::Position::first(2)) && security.lost(9).is_empty());
    let pinned: Vec<bool> = security.backups().iter().map(|backup| backup.pinned).collect();
    assert_eq!(pinned, [true, false, false]);
    let states: Vec<BackupState> = security.backups().iter().map(|backup| backup.state()).collect();
    assert_eq!(states, [BackupState::Good, BackupState::Good, BackupState::Suspect]);
    assert_eq!(security.latest().and_then(|backup| backup.position()).map(|s| s.sequence.0), Some(3));
    assert_eq!(catalogue.set(&"logs".parse().expect("a name")).map(|set| set.backups().len()), Some(1));
}

#[test]
fn the_frozen_repository_with_packs_has_them_and_a_long_body() {
    let copy = copy_of(WITH_PACKS);
    let (repository, _) = Repository::open(storage_in(copy.path()), false).expect("open");
    let (mut packs, mut long_bodies) = (HashSet::new(), 0);
    for backup in site::backups(&repository) {
        let manifest = &backup.content.as_ref().expect("its manifest").manifest;
        packs.extend(manifest.chunks().filter(|chunk| chunk.frame.is_some()).map(|chunk| chunk.object));
        long_bodies += usize::from(manifest.lines.len() > 1);
    }
    assert_eq!((packs.len(), long_bodies), (3, 1));
}

#[test]
fn a_frozen_repository_goes_on_being_used() {
    for name in ALL {
        let copy = copy_of(name);
        let (repository, _) = Repository::open(storage_in(copy.path()), true).expect("open");
        let source = Source::rich("security");
        let next = back_up_now(&repository, &source.set, 24 * 400);
        assert_eq!(site::restored(&repository, &next), source.files());
        let (reopened, _) = Repository::open(storage_in(copy.path()), true).expect("open again");
        let expected = expected_hashes(name);
        let still = hashes_of(&reopened);
        assert!(expected.iter().all(|(file, hash)| still.get(file) == Some(hash)), "an old backup changed");
    }
}

#[test]
fn a_repository_of_the_next_format_is_refused_and_not_touched() {
    let copy = copy_of(NEWEST);
    let path = copy.path().join(layout::REPOSITORY);
    let document = fs::read_to_string(&path).expect("read");
    let next = document.replacen(&format!("\"format\": {FORMAT}"), &format!("\"format\": {}", FORMAT + 1), 1);
    assert_ne!(next, document);
    let (lines, _) = next.trim_end().rsplit_once('\n').expect("a seal on a line of its own");
    let lines = format!("{lines}\n");
    let sealed = format!("{lines}  \"sha256\": \"{}\" }}\n", Digest::of(lines.as_bytes()));
    write(&path, sealed.as_bytes());
    let before = files_in(copy.path());
    for clear in [false, true] {
        match Repository::open(storage_in(copy.path()), clear) {
            Err(error @ OpenError::Newer { format, .. }) => {
                assert_eq!(format, FORMAT + 1);
                assert!(error.to_string().contains("newer fiovana-app"), "{error}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it opened"),
        }
    }
    let created = Repository::create(storage_in(copy.path()), hour(0));
    assert!(matches!(created, Err(OpenError::Headless(_) | OpenError::Exists(_))));
    assert!(files_in(copy.path()) == before, "something was touched");
}

#[test]
fn a_manifest_of_the_next_format_is_listed_as_unusable_and_outlives_everything_that_is_done() {
    let copy = copy_of(NEWEST);
    let text = format!(r#"{{"envelope":{{"format":{},"sealed_with":"something new"}},"core":[]}}"#, FORMAT + 1);
    let id = BackupId::new(hour(9000), Digest::of(text.as_bytes()));
    let set = "security".parse().expect("a name");
    let path = copy.path().join(layout::manifest(&set, id).to_string());
    write(&path, text.as_bytes());
    let (repository, _) = Repository::open(storage_in(copy.path()), true).expect("open");
    let backup = repository.catalogue().get(id).cloned().expect("it is listed");
    assert_eq!(backup.state(), BackupState::Damaged);
    let finding = format!("{:?}", backup.finding);
    assert!(finding.contains(&format!("format {}", FORMAT + 1)) && finding.contains("newer fiovana-app"), "{finding}");
    let (restored, files) = site::restore(&repository, &backup);
    assert!(restored.is_err() && files.is_empty());
    let source = Source::rich("security");
    back_up_now(&repository, &source.set, 9500);
    site::sweep_all(&repository, &source.set, hour(90_000));
    assert_eq!(site::collect_all(&repository), 0, "who knows what it needs");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
}

/// Writes `tests/frozen/format-<FORMAT>`: once, when the format is new. `cargo test --test frozen -- --ignored`
#[test]
#[ignore = "writes a fixture"]
fn freeze() {
    freeze_as(NEWEST, |repository| {
        freeze_security(repository);
        let logs = Source::new("logs");
        logs.write("security_audit.log", b"{\"seq\":1}\n{\"seq\":2}\n{\"torn");
        still(&logs);
        back_up_now(repository, &logs.set, 5);
    });
}

/// Writes `tests/frozen/format-2-packs`, once. `cargo test --test frozen -- --ignored freeze_packs`
#[test]
#[ignore = "writes a fixture"]
fn freeze_packs() {
    freeze_as(WITH_PACKS, |repository| {
        let source = Source::new("security");
        (0..60).for_each(|at| source.write(&format!("small/{at:02}.txt"), &lines(at, 300)));
        source.write("large.bin", &vec![7; CHUNK_BYTES + 5000]);
        still(&source);
        back_up_now(repository, &source.set, 1);
        // Few of them change, and then so many that the first pack is shared no more.
        (0..9).for_each(|at| source.write(&format!("small/{at:02}.txt"), &lines(100 + at, 300)));
        still(&source);
        back_up_now(repository, &source.set, 2);
        (0..55).for_each(|at| source.remove(&format!("small/{at:02}.txt")));
        still(&source);
        back_up_now(repository, &source.set, 3);
        source.write("small/new.txt", b"new");
        source.write("small/newer.txt", b"newer");
        still(&source);
        back_up_now(repository, &source.set, 4);
        let many = Source::new("many");
        many.write("file", b"what all of them lead to");
        let target = "./".repeat(1900) + "file";
        let link = |at: u32| std::os::unix::fs::symlink(&target, many.path(&format!("link-{at}")));
        (0..300).try_for_each(link).expect("link");
        still(&many);
        back_up_now(repository, &many.set, 5);
    });
}

fn freeze_as(name: &str, fill: impl FnOnce(&Repository)) {
    let directory = frozen(name);
    assert!(!directory.exists(), "{} exists: a released format is never written again", directory.display());
    let place = tempfile::tempdir().expect("a scratch directory");
    let repository = site::create_in(place.path());
    fill(&repository);
    drop(repository);
    let (repository, _) = Repository::open(storage_in(place.path()), false).expect("open");
    let hashes = hashes_of(&repository).into_iter().map(|(file, hash)| format!("{hash}  {file}\n"));
    write(&directory.join(HASHES), hashes.collect::<String>().as_bytes());
    let kept: Files = files_in(place.path()).into_iter().filter(|(path, _)| path != "state/reserve").collect();
    kept.iter().for_each(|(path, content)| write(&directory.join(REPOSITORY).join(path), content));
}

/// Four versions: a pinned one, one that was deleted, a good one, and one whose JSON does not parse.
fn freeze_security(repository: &Repository) {
    let source = Source::new("security");
    source.write("security_config.json", br#"{"require_2fa": false}"#);
    source.write("nested/shared.json", br#"{"require_2fa": false}"#);
    source.write("empty.txt", b"");
    source.write("ünïcode und leer.txt", "zwölf".as_bytes());
    source.write("large.bin", &(0..2_600_000u32).map(|at| (at / 4096 % 251) as u8).collect::<Vec<u8>>());
    still(&source);
    let first = back_up_now(repository, &source.set, 1);
    repository.set_pinned(&source.set.name, first.id, true).expect("pin");
    let second = back_up_now(repository, &source.set, 2);
    repository.delete_backups(&source.set.name, &[second.id]).expect("delete");
    source.write("security_config.json", br#"{"require_2fa": true}"#);
    still(&source);
    back_up_now(repository, &source.set, 3);
    source.write("security_config.json", br#"{"require_2fa": tru"#);
    still(&source);
    back_up_now(repository, &source.set, 4);
    site::collect_all(repository);
}

/// Gives every file one time, so that the fixture does not tell when it was made.
fn still(source: &Source) {
    let time = std::time::SystemTime::from(hour(0));
    for path in source.files().keys() {
        let file = fs::File::options().write(true).open(source.path(path)).expect("open");
        file.set_modified(time).expect("set the time");
    }
}
