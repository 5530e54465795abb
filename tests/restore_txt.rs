//! `backups/RESTORE.txt`: the way back when there is no program.
//!
//! Hazard: instructions that nobody follows rot. The lines that stand in the file are run here by a shell with real
//! sha256sum, jq and zstd, and what they bring back is compared byte for byte.

mod common;
#[path = "common/instructions.rs"]
mod instructions;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::{Installation, code, files, repository};
use instructions::{run, steps};

const SETTINGS: &str = r#"
[sets.notes]
source = "./notes"
files = ["**"]
replicate = true
"#;

fn awkward_files() -> BTreeMap<&'static str, Vec<u8>> {
    let mut rng = fastrand::Rng::with_seed(1);
    let large = (0..(3 << 20) + 17).map(|_| rng.u8(..)).collect();
    BTreeMap::from([
        ("empty", Vec::new()),
        ("large.bin", large),
        ("deep/er/with space.txt", b"space\n".to_vec()),
        ("deep/quote's \"and\" $HOME `id` \\n.txt", b"quoting\n".to_vec()),
        ("ümläut/文.txt", "文\n".into()),
        ("no newline", b"\0\xff".to_vec()),
        ("-n -rf", b"like an option\n".to_vec()),
        ("back\\slash\\0101", b"backslashes\n".to_vec()),
        ("new\nline\n/ends with\n", b"lines\n".to_vec()),
    ])
}

/// These files, and so many symlinks, with so much to say of each, that the list of all is kept in objects.
fn populate(notes: &Path, wanted: &BTreeMap<&str, Vec<u8>>) {
    for (path, content) in wanted {
        let path = notes.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        files::write(&path, content);
    }
    for at in 0..LINKS {
        std::os::unix::fs::symlink(target(at), notes.join(format!("link-{at}"))).unwrap();
    }
}

const LINKS: usize = 300;

fn target(at: usize) -> String {
    format!("{}nowhere-{at}", "./".repeat(1900))
}

/// Whether all of that is there.
fn judge(to: &Path, wanted: &BTreeMap<&str, Vec<u8>>) {
    for (path, content) in wanted {
        assert!(files::read(&to.join(path)) == *content, "{path}");
    }
    for at in 0..LINKS {
        assert_eq!(std::fs::read_link(to.join(format!("link-{at}"))).unwrap(), Path::new(&target(at)));
    }
}

#[test]
fn the_lines_of_restore_txt_bring_every_byte_back() {
    let installation = Installation::with_settings(SETTINGS);
    let wanted = awkward_files();
    populate(&installation.path("notes"), &wanted);
    let daemon = installation.start();
    let backup = daemon.settle().backup("notes");
    let id = backup["id"].as_str().unwrap();
    let copy = repository::manifest_path(&installation.path("backups/replica"), "notes", id);
    daemon.wait("the replica to have it", |_| copy.exists().then_some(()));
    assert_eq!(code(daemon.terminate()), 0);
    follow(&installation, &installation.path("backups"), &wanted, id, true);
    // The replica does, when it is all that is left.
    let replica = installation.path("elsewhere");
    std::fs::rename(installation.path("backups/replica"), &replica).unwrap();
    std::fs::remove_dir_all(installation.path("backups")).unwrap();
    std::fs::remove_dir_all(installation.path("restored here")).unwrap();
    follow(&installation, &replica, &wanted, id, true);
    // And where every object is damaged or gone, and a second file for it is right.
    std::fs::remove_dir_all(installation.path("restored here")).unwrap();
    for (at, name) in repository::objects(&repository::manifest(&replica, "notes", id)).into_iter().enumerate() {
        let path = repository::object_path(&replica, name);
        let second = |number: u32| path.with_file_name(format!("{name}.{number}"));
        std::fs::rename(&path, second(2)).unwrap();
        files::write(&second(1), "damaged, too");
        if at % 2 == 0 {
            files::write(&path, "damaged");
        }
    }
    follow(&installation, &replica, &wanted, id, false);
}

/// Follows the instructions that stand in `backups`.
fn follow(
    installation: &Installation,
    backups: &Path,
    wanted: &BTreeMap<&str, Vec<u8>>,
    id: &str,
    all_are_right: bool,
) {
    let to = installation.path("restored here");
    let manifest = repository::manifest_path(Path::new(""), "notes", id);
    let manifest = manifest.to_str().unwrap();
    let text = String::from_utf8(files::read(&backups.join("RESTORE.txt"))).unwrap();
    let steps: [String; 9] = steps(&text).try_into().unwrap();
    let [choose, say, check_manifest, check_objects, functions, list, bring_back, check_files, attributes] = steps;
    let run = |step: &str| run(&format!("KEY=\n{functions}\n{step}"), backups, manifest, &to);

    assert!(run(&choose).lines().any(|line| line == manifest));
    assert!(say.contains("M=manifests/") && say.contains("TO="), "the two variables that are given here: {say}");
    let digits = run(&check_manifest);
    let (whole, named) = digits.split_once('\n').unwrap();
    assert!(whole.starts_with(named.trim_end()) && id.ends_with(named.trim_end()), "{digits}");
    if all_are_right {
        assert!(repository::has_long_body(&repository::manifest(backups, "notes", id)));
        let frames = repository::packs(backups, &repository::manifest(backups, "notes", id));
        assert_eq!(frames.values().map(BTreeSet::len).collect::<Vec<_>>(), [7], "the small files are in one pack");
        let objects = run(&check_objects);
        assert!(objects.lines().count() >= 5 && objects.lines().all(|line| line.ends_with(": OK")), "{objects}");
    }
    run(&list);
    run(&bring_back);
    let checked = run(&check_files);
    assert_eq!(checked.lines().filter(|line| line.starts_with("OK ")).count(), wanted.len(), "{checked}");
    run(&attributes);

    judge(&to, wanted);
    let plain = files::snapshot(&to).values().filter(|shown| shown.contains("bytes")).count();
    assert_eq!(plain, wanted.len(), "nothing else came back");
}

const ENCRYPTED: &str = r#"
[backup]
encryption_enabled = true
[sets.notes]
source = "./notes"
files = ["**"]
"#;

#[test]
fn an_encrypted_backup_comes_back_with_age_and_the_file_of_the_key() {
    let installation = Installation::with_settings(ENCRYPTED);
    let wanted = awkward_files();
    populate(&installation.path("notes"), &wanted);
    assert_eq!(code(installation.run(&["key", "init"]).status), 0);
    let daemon = installation.start();
    let backup = daemon.settle().backup("notes");
    assert_eq!(code(daemon.terminate()), 0);
    let (backups, to) = (installation.path("backups"), installation.path("restored here"));
    let manifest = repository::manifest_path(Path::new(""), "notes", backup["id"].as_str().unwrap());
    let text = String::from_utf8(files::read(&backups.join("RESTORE.txt"))).unwrap();
    let [_, say, _, check_objects, functions, list, bring_back, check_files, _] =
        <[String; 9]>::try_from(steps(&text)).unwrap();
    assert!(say.contains("KEY="), "the variable that is given here: {say}");
    let key = format!("KEY={:?}\n{functions}\n", installation.path("fiovana-app.key"));
    let run = |step: &str| run(&format!("{key}{step}"), &backups, manifest.to_str().unwrap(), &to);
    assert!(run(&check_objects).lines().all(|line| line.ends_with(": OK")));
    run(&list);
    run(&bring_back);
    let checked = run(&check_files);
    assert_eq!(checked.lines().filter(|line| line.starts_with("OK ")).count(), wanted.len(), "{checked}");
    judge(&to, &wanted);
}
