//! A second reader of both formats, in another language, held against ours.
//!
//! Hazard: a reader and a writer that share a mistake agree. `independent_reader.py` is written from FORMAT.md alone; it must
//! restore every byte of whatever our writer makes, and call damaged exactly what our reader does.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use age::secrecy::ExposeSecret;
use age::x25519::Identity;
use fiovana_app::core::{BackupState, Digest};
use fiovana_app::repository::Repository;
use fiovana_app::repository::encryption::{Keys, Recipients, Sealing};
use fiovana_app::storage::local::Local;
use repository::site::{self, back_up_now};
use repository::source::{CHUNK_BYTES, Source, files_in, lines, write};
use repository::{Place, long, seed};

fn reader(repository: &Path, key: Option<&Path>, action: &[&str]) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent_reader.py");
    let mut command = Command::new("python3");
    command.arg(script).arg(repository);
    key.map(|key| command.arg("--key").arg(key));
    command.args(action).output().expect("run python3")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// What it restores of a backup.
fn restored(repository: &Path, key: Option<&Path>, set: &str, id: &str) -> repository::Files {
    let directory = tempfile::tempdir().expect("a scratch directory");
    let target = directory.path().join("restored");
    let output = reader(repository, key, &["restore", set, id, target.to_str().expect("its path")]);
    assert!(output.status.success(), "{set} {id}: {}", text(&output));
    files_in(&target)
}

#[test]
fn it_verifies_and_restores_every_frozen_repository() {
    for name in ["format-1", "format-2", "format-2-packs"] {
        let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen").join(name);
        let place = frozen.join("repository");
        assert!(reader(&place, None, &["verify"]).status.success());
        let listed = text(&reader(&place, None, &["list"]));
        let mut hashes = String::new();
        let mut backups: Vec<[&str; 2]> = listed
            .lines()
            .map(|line| line.split(' ').take(2).collect::<Vec<_>>().try_into().expect("a line"))
            .collect();
        backups.sort_by_key(|[_, id]| id.to_owned());
        for [set, id] in &backups {
            for (path, content) in restored(&place, None, set, id) {
                hashes += &format!("{}  {id}/{path}\n", Digest::of(&content));
            }
        }
        assert_eq!(hashes, fs::read_to_string(frozen.join("restored.sha256")).expect("the hashes"));
        let pinned = usize::from(name != "format-2-packs");
        assert_eq!(listed.lines().filter(|line| line.ends_with(" pinned")).count(), pinned, "{listed}");
    }
}

const LONG_NAME: &str = "a-directory-of-a-long-name-a-directory-of-a-long-name-a-directory-of-a-long-name-a-directory-of-a-\
                         long-name-a-directory-of-a-long-name-a-directory-of-a-long-name-a-directory-of-a-long-name-a-\
                         directory-of-a-long-name-a-directory-";

/// A repository in a directory, with this many backups of files that change at random, some with names that need care.
fn grow(
    directory: &Path,
    keys: Keys,
    random: &mut fastrand::Rng,
    backups: i64,
) -> (Repository, Vec<repository::Files>) {
    let repository = site::create_in(directory);
    repository.set_keys(keys);
    let source = Source::new("security");
    let names =
        ["a.json", "-n", "deep/er/with space", "back\\slash", "new\nline", "empty", "large.bin", "\u{fc}ml\u{e4}ut"];
    let mut versions = Vec::new();
    for number in 1..=backups {
        for name in names {
            let bytes = match name {
                "empty" => 0,
                "large.bin" => random.usize(CHUNK_BYTES - 1..3 * CHUNK_BYTES),
                _ => random.usize(0..5000),
            };
            if random.u8(..3) > 0 {
                source.write(name, &lines(random.u64(..), bytes));
            }
        }
        // Enough entries that their lines are kept elsewhere.
        if number > 1 {
            let long = [LONG_NAME; 14].join("/");
            (0..300_u32).for_each(|at| source.write(&format!("{long}/{at}"), &at.to_be_bytes()));
        }
        source.write("always", &[number as u8]);
        let backup = back_up_now(&repository, &source.set, number);
        let manifest = &backup.content.as_ref().expect("its manifest").manifest;
        assert_eq!(!manifest.lines.is_empty(), number > 1);
        assert!(manifest.chunks().any(|chunk| chunk.frame.is_some()), "small files are in packs");
        versions.push(source.files());
    }
    (repository, versions)
}

/// Keys, and the file that the commands `age` and `python3` take them from.
fn keys(directory: &Path) -> (Keys, PathBuf) {
    let identity = Identity::generate();
    let file = directory.join("key");
    write(&file, identity.to_string().expose_secret().as_bytes());
    let recipients = Recipients::new([identity.to_public()]).expect("a recipient");
    (Keys::new(Sealing::For(recipients), [identity]), file)
}

#[test]
fn it_restores_random_repositories_plain_and_encrypted_to_the_last_byte() {
    for round in 0..if long() { 20 } else { 2 } {
        let _place = Place::new(format!("round {round} of seed {}", seed()));
        let mut random = fastrand::Rng::with_seed(seed() ^ round);
        let (place, beside) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let (keys, key) = keys(beside.path());
        let (keys, key) = if round % 2 == 0 { (Keys::default(), None) } else { (keys, Some(key)) };
        let (repository, versions) = grow(place.path(), keys, &mut random, 3);
        let key = key.as_deref();
        let output = reader(place.path(), key, &["verify"]);
        assert!(output.status.success(), "{}", text(&output));
        let backups = site::backups(&repository);
        assert_eq!(backups.len(), versions.len());
        for (backup, files) in backups.iter().zip(&versions) {
            let found = restored(place.path(), key, "security", &backup.id.to_string());
            assert!(found.keys().eq(files.keys()), "{:?}", found.keys());
            assert!(found == *files, "{} is not what was backed up", backup.id);
        }
    }
}

#[test]
fn it_takes_a_second_file_for_an_object_that_is_right() {
    let mut random = fastrand::Rng::with_seed(seed());
    let place = tempfile::tempdir().expect("a directory");
    let (repository, versions) = grow(place.path(), Keys::default(), &mut random, 1);
    let backup = &site::backups(&repository)[0];
    for object in &backup.content.as_ref().expect("its manifest").manifest.envelope.objects {
        let first = place.path().join(fiovana_app::repository::layout::object(&object.name).as_str());
        let second = first.with_file_name(format!("{}.2", object.name));
        fs::rename(&first, &second).expect("rename");
        write(&first.with_file_name(format!("{}.1", object.name)), b"damaged, too");
        let output = reader(place.path(), None, &["verify"]);
        assert!(output.status.success(), "{}", text(&output));
        write(&first, b"damaged");
    }
    assert!(restored(place.path(), None, "security", &backup.id.to_string()) == versions[0]);
    let object = &backup.content.as_ref().expect("its manifest").manifest.envelope.objects[0];
    let first = place.path().join(fiovana_app::repository::layout::object(&object.name).as_str());
    write(&first.with_file_name(format!("{}.2", object.name)), b"damaged as well");
    assert!(!reader(place.path(), None, &["verify"]).status.success());
}

#[test]
fn it_calls_damaged_what_our_reader_calls_damaged() {
    let mut random = fastrand::Rng::with_seed(seed());
    let place = tempfile::tempdir().expect("a directory");
    grow(place.path(), Keys::default(), &mut random, 3);
    let whole = files_in(place.path());
    let stored = |path: &&String| path.starts_with("objects/") || path.starts_with("manifests/");
    let mut targets: Vec<&String> = whole.keys().filter(stored).collect();
    random.shuffle(&mut targets);
    targets.truncate(if long() { usize::MAX } else { 12 });
    for path in targets {
        for kind in ["flip", "truncate", "delete"] {
            let _place = Place::new(format!("{kind} {path}"));
            let copy = tempfile::tempdir().expect("a directory");
            whole.iter().for_each(|(path, content)| write(&copy.path().join(path), content));
            let (damaged, content) = (copy.path().join(path), &whole[path]);
            match kind {
                "flip" => {
                    let mut content = content.clone();
                    let at = random.usize(..content.len());
                    content[at] ^= 1 << random.u8(..8);
                    write(&damaged, &content);
                }
                "truncate" => write(&damaged, &content[..content.len() - 1]),
                _ => fs::remove_file(&damaged).expect("remove"),
            }
            let storage = Arc::new(Local::open(copy.path()).expect("open the directory"));
            let (repository, _) = Repository::open(storage, false).expect("open");
            let ours: BTreeSet<String> = site::verify_all(&repository, site::hour(9))
                .iter()
                .filter_map(|(backup, _)| repository.catalogue().get(backup.id).cloned())
                .filter(|backup| backup.state() == BackupState::Damaged)
                // The other reader lists what is there, and has no memory of what was.
                .filter(|backup| copy.path().join(format!("manifests/security/{}.json", backup.id)).exists())
                .map(|backup| backup.id.to_string())
                .collect();
            let output = reader(copy.path(), None, &["verify"]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let theirs: BTreeSet<String> = said
                .lines()
                .filter_map(|line| Some(line.strip_prefix("security ")?.split_once(':')?.0.to_owned()))
                .collect();
            assert_eq!(theirs, ours, "{said}");
            assert_eq!(output.status.success(), ours.is_empty());
        }
    }
}

#[test]
fn it_says_what_it_does_and_refuses_what_is_no_repository() {
    let nowhere = tempfile::tempdir().expect("a directory");
    let help = reader(nowhere.path(), None, &["--help"]);
    assert!(help.status.success() && text(&help).contains("verify"), "{}", text(&help));
    let refused = reader(nowhere.path(), None, &["verify"]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused));
}
