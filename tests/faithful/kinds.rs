//! Directories, hard links, holes, times and rights come back as they were.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::UNPRIVILEGED;
use crate::common::files::{read, write};
use crate::common::repository;
use crate::place::{DONE, Place};

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap_or_else(|error| panic!("{path:?}: {error}")).mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Runs a program that must succeed; what it printed.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The `--to` of a restore of the newest backup.
fn restored_to(place: &Place, name: &str) -> PathBuf {
    let out = place.0.path(name);
    place.run(&["restore", "t", "latest", "--to", text(&out)], DONE);
    out
}

#[test]
fn directories_come_back_with_their_modes_owners_and_times_and_the_empty_ones_too() {
    let place = Place::new(r#""**""#, "");
    place.write("keys/deep/id", "secret");
    fs::create_dir_all(place.source("empty/er")).unwrap();
    set_mode(&place.source("keys"), 0o700);
    set_mode(&place.source("keys/deep"), 0o2750);
    set_mode(&place.source("empty/er"), 0o1777);
    set_mode(&place.source(""), 0o711);
    if is_root() {
        std::os::unix::fs::chown(place.source("keys"), Some(UNPRIVILEGED), Some(UNPRIVILEGED)).unwrap();
    }
    run("touch", &["-d", "@1000000000.123456789", text(&place.source("keys")), text(&place.source("empty"))]);
    let look = |root: &Path, path: &str| {
        let found = root.join(path).metadata().unwrap();
        (found.mode(), found.uid(), found.gid(), found.mtime(), found.mtime_nsec())
    };
    let directories = ["", "keys", "keys/deep", "empty", "empty/er"];
    let before = directories.map(|path| look(&place.source(""), path));
    let backup = place.back_up(DONE);
    assert_eq!(backup["directories"].as_array().unwrap().len(), directories.len(), "{backup}");
    let out = restored_to(&place, "out");
    assert_eq!(directories.map(|path| look(&out, path)), before);
    assert_eq!(place.document(&["drill", "t"], DONE)["verdict"], "passed");

    // In place, what is gone comes back; what is there keeps what it has, and that is told.
    fs::remove_dir_all(place.source("keys")).unwrap();
    fs::remove_dir_all(place.source("empty")).unwrap();
    set_mode(&place.source(""), 0o755);
    let restored = place.document(&["restore", "t", "latest"], DONE);
    assert_eq!(directories[1..].iter().map(|path| look(&place.source(""), path)).collect::<Vec<_>>(), before[1..]);
    assert_eq!(mode(&place.source("")), 0o755);
    assert!(restored["not_kept"][0].as_str().unwrap().starts_with("1 with directories that were there"), "{restored}");
    // The whole source is gone.
    fs::remove_dir_all(place.source("")).unwrap();
    place.run(&["restore", "t", "latest"], DONE);
    let without_time = |(mode, uid, gid, ..): (u32, u32, u32, i64, i64)| (mode, uid, gid);
    assert_eq!(without_time(look(&place.source(""), "")), without_time(before[0]));
    assert_eq!(read(&place.source("keys/deep/id")), b"secret");
}

#[test]
fn a_restore_that_is_rolled_back_leaves_no_directory_that_it_made() {
    let place = Place::new(r#""**""#, "");
    place.write("a", "a");
    place.write("d/e/b", "b");
    set_mode(&place.source("d/e"), 0o555);
    place.back_up(DONE);
    set_mode(&place.source("d/e"), 0o755);
    fs::remove_dir_all(place.source("d")).unwrap();
    let settings = "replicas = []\n[sets.t]\nsource = \"./src\"\nfiles = [\"**\"]\n[recovery]\nhealth_command = [\"/bin/false\"]\n";
    write(&place.0.path("config/fiovana.toml"), settings);
    place.run(&["restore", "t", "latest"], 1);
    assert_eq!(fs::read_dir(place.source("")).unwrap().count(), 1, "more than the file a");
}

#[test]
fn hard_links_of_a_set_come_back_as_names_of_one_file() {
    let place = Place::new(r#""**""#, "");
    place.write("a", "shared");
    place.write("d/other", "other");
    fs::hard_link(place.source("a"), place.source("d/b")).unwrap();
    fs::hard_link(place.source("a"), place.source("z")).unwrap();
    let backup = place.back_up(DONE);
    let links: Vec<&str> =
        backup["files"].as_array().unwrap().iter().filter_map(|f| f["hard_link_to"].as_str()).collect();
    assert_eq!((links, backup["size_bytes"].as_u64()), (vec!["a", "a"], Some(11)), "{backup}");
    let inode = |root: &Path, path: &str| root.join(path).metadata().unwrap().ino();
    let one = |root: &Path| ["d/b", "z"].iter().all(|path| inode(root, path) == inode(root, "a"));
    assert!(one(&restored_to(&place, "out")));
    // One of the names alone is a file of its own.
    let alone = place.0.path("alone");
    place.run(&["restore", "t", "latest", "--file", "z", "--to", text(&alone)], DONE);
    assert_eq!(read(&alone.join("z")), b"shared");
    // In place, over names of another file, and undone.
    for path in ["a", "d/b", "z"] {
        fs::remove_file(place.source(path)).unwrap();
    }
    place.write("a", "changed");
    fs::hard_link(place.source("a"), place.source("z")).unwrap();
    let restored = place.document(&["restore", "t", "latest"], DONE);
    assert!(one(&place.source("")) && read(&place.source("d/b")) == b"shared");
    place.undo(&restored);
    assert_eq!((read(&place.source("a")), read(&place.source("z"))), (b"changed".to_vec(), b"changed".to_vec()));
    assert!(!place.source("d/b").exists() && inode(&place.source(""), "a") == inode(&place.source(""), "z"));
}

#[test]
fn holes_cost_nothing_and_come_back_as_holes() {
    let place = Place::new(r#""**""#, "");
    let sparse = place.source("sparse");
    place.write("sparse", "at the beginning");
    let file = fs::OpenOptions::new().write(true).open(&sparse).unwrap();
    use std::os::unix::fs::FileExt;
    file.set_len(200 << 20).unwrap();
    file.write_all_at(b"in the middle", (100 << 20) + 70_000).unwrap();
    fs::File::create(place.source("all-hole")).unwrap().set_len(5 << 20).unwrap();
    fs::File::create(place.source("small")).unwrap().set_len(3000).unwrap();
    let backup = place.back_up(DONE);
    assert!(backup["stored_bytes"].as_u64().unwrap() < 64 << 10, "{backup}");
    let out = restored_to(&place, "out");
    place.run(&["restore", "t", "latest"], DONE);
    for root in [out, place.source("")] {
        for path in ["sparse", "all-hole", "small"] {
            run("cmp", &[text(&root.join(path)), text(&place.source(path))]);
            assert!(root.join(path).metadata().unwrap().blocks() < 2048, "{path} is allocated in {root:?}");
        }
    }
}

#[test]
fn times_come_back_exactly_or_it_is_told() {
    let place = Place::new(r#""**""#, "");
    let times = ["@-1.5", "@0.000000001", "@13569465600.987654321", "@7000000000.5", "@-2000000000"];
    for (number, time) in times.iter().enumerate() {
        place.write(&number.to_string(), "x");
        run("touch", &["-d", time, text(&place.source(&number.to_string()))]);
    }
    place.back_up(DONE);
    let out = restored_to(&place, "out");
    for (number, given) in times.iter().enumerate() {
        let time = |root: &Path| run("stat", &["-c", "%.9Y", text(&root.join(number.to_string()))]);
        assert_eq!(time(&out), time(&place.source("")), "{given}");
    }
    // A filesystem that keeps others.
    if Path::new("/dev/shm").is_dir() {
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        let out = other.path().join("out");
        let restored = place.document(&["restore", "t", "latest", "--to", text(&out)], DONE);
        let exact = (0..times.len()).all(|number| {
            let time = |root: &Path| run("stat", &["-c", "%.9Y", text(&root.join(number.to_string()))]);
            time(&out) == time(&place.source(""))
        });
        assert_eq!(restored["not_kept"].is_null(), exact, "{restored}");
    }
}

#[test]
fn a_restored_file_gets_no_right_from_the_directory_it_is_put_in() {
    let place = Place::new(r#""**""#, "");
    place.write("keys/id", "secret");
    set_mode(&place.source("keys/id"), 0o640);
    place.back_up(DONE);
    let grant = format!("d:u:{UNPRIVILEGED}:rw");
    run("setfacl", &["-m", &grant, text(&place.source("keys"))]);
    fs::remove_file(place.source("keys/id")).unwrap();
    place.run(&["restore", "t", "latest"], DONE);
    let list = |path: &str| run("getfacl", &["-npc", text(&place.source(path))]);
    assert!(!list("keys/id").contains(&format!("user:{UNPRIVILEGED}")), "{}", list("keys/id"));
    assert_eq!(mode(&place.source("keys/id")), 0o640);
    // One that the backup has comes back, the default of a directory, too.
    run("setfacl", &["-m", &format!("u:{UNPRIVILEGED}:r"), text(&place.source("keys/id"))]);
    let before = (list("keys"), list("keys/id"), mode(&place.source("keys/id")));
    place.back_up(DONE);
    fs::remove_dir_all(place.source("keys")).unwrap();
    place.run(&["restore", "t", "latest"], DONE);
    assert_eq!((list("keys"), list("keys/id"), mode(&place.source("keys/id"))), before);
}

#[test]
fn what_gives_rights_is_given_in_place_by_root_only_and_never_elsewhere() {
    if !is_root() {
        return; // Only root has any.
    }
    let place = Place::new(r#""**""#, "");
    for file in ["capable", "set-id"] {
        place.write(file, "#!/bin/true");
    }
    run(
        "setfattr",
        &[
            "-n",
            "security.capability",
            "-v",
            "0x0100000200040000000000000000000000000000",
            text(&place.source("capable")),
        ],
    );
    set_mode(&place.source("set-id"), 0o4755);
    let id = place.back_up(DONE)["id"].as_str().unwrap().to_owned();
    let capability = |path: &Path| run("getfattr", &["-d", "-m", "security.capability", "-e", "hex", text(path)]);
    assert!(!capability(&place.source("capable")).is_empty());
    for file in ["capable", "set-id"] {
        fs::remove_file(place.source(file)).unwrap();
    }
    place.run(&["restore", "t", "latest"], DONE);
    assert!(!capability(&place.source("capable")).is_empty());
    assert_eq!(mode(&place.source("set-id")), 0o4755);
    let out = place.0.path("out");
    let restored = place.document(&["restore", "t", "latest", "--to", text(&out)], DONE);
    assert_eq!((capability(&out.join("capable")).as_str(), mode(&out.join("set-id"))), ("", 0o755));
    let told = restored["not_kept"].to_string();
    assert!(told.contains("set-id bits") && told.contains("security.*"), "{told}");
    let archive = place.0.path("out.tar.zst");
    let exported = place.run(&["export", &id, text(&archive)], DONE);
    assert!(exported.contains("set-id bits") && exported.contains("security.*"), "{exported}");
    fs::create_dir(place.0.path("unpacked")).unwrap();
    run(
        "tar",
        &["--zstd", "--xattrs", "--xattrs-include=*", "-xpf", text(&archive), "-C", text(&place.0.path("unpacked"))],
    );
    let unpacked = place.0.path("unpacked");
    assert_eq!((capability(&unpacked.join("capable")).as_str(), mode(&unpacked.join("set-id"))), ("", 0o755));
    // A manifest that somebody else could have written gives nobody a right.
    set_mode(&place.0.path("backups/manifests/t"), 0o777);
    fs::remove_file(place.source("capable")).unwrap();
    let restored = place.document(&["restore", "t", "latest"], DONE);
    assert_eq!(capability(&place.source("capable")), "");
    assert!(restored["not_kept"].to_string().contains("security.*"), "{restored}");
}

#[test]
fn an_ordinary_user_gets_attributes_back_on_a_file_that_nobody_may_write() {
    let place = Place::unprivileged(r#""**""#);
    place.write("locked", "x");
    run("setfattr", &["-n", "user.note", "-v", "kept", text(&place.source("locked"))]);
    set_mode(&place.source("locked"), 0o444);
    place.give_away();
    place.back_up(DONE);
    let note = |path: &Path| run("getfattr", &["--only-values", "-n", "user.note", text(path)]);
    let out = restored_to(&place, "out");
    assert_eq!((note(&out.join("locked")), mode(&out.join("locked"))), ("kept".to_owned(), 0o444));
    assert_eq!(place.document(&["drill", "t"], DONE)["verdict"], "passed");
    fs::remove_file(place.source("locked")).unwrap();
    place.run(&["restore", "t", "latest"], DONE);
    assert_eq!((note(&place.source("locked")), mode(&place.source("locked"))), ("kept".to_owned(), 0o444));
}

#[test]
fn a_target_that_cannot_hold_attributes_is_refused_with_the_flag_that_lets_them_go() {
    let Some(_) = is_root().then_some(()) else { return };
    let other = tempfile::tempdir().unwrap();
    // A filesystem with neither user attributes nor lists.
    if !Command::new("mount").args(["-t", "ramfs", "none", text(other.path())]).status().unwrap().success() {
        return;
    }
    let place = Place::new(r#""**""#, "");
    place.write("noted", "x");
    run("setfattr", &["-n", "user.note", "-v", "kept", text(&place.source("noted"))]);
    place.back_up(DONE);
    let out = other.path().join("out");
    let refused = place.0.run(&["restore", "t", "latest", "--to", text(&out)]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    let left = out.read_dir().map_or(0, Iterator::count);
    let let_go = place.0.run(&["restore", "t", "latest", "--ignore-xattrs", "--to", text(&out)]);
    let content = fs::read(out.join("noted"));
    run("umount", &[text(other.path())]);
    assert!(said.contains("--ignore-xattrs") && left == 0, "{said}");
    assert!(String::from_utf8_lossy(&let_go.stdout).contains("not kept: 1 with extended attributes"), "{let_go:?}");
    assert_eq!(content.unwrap(), b"x");
}

#[test]
fn the_names_of_owners_are_kept_beside_their_numbers() {
    let place = Place::new(r#""**""#, "");
    place.write("d/file", "x");
    place.link("link", "d/file");
    if is_root() {
        for path in ["d", "d/file", "link"] {
            std::os::unix::fs::lchown(place.source(path), Some(1), Some(1)).unwrap();
        }
    }
    let id = place.back_up(DONE)["id"].as_str().unwrap().to_owned();
    let backups = place.0.path("backups");
    let lines = repository::lines(&backups, &repository::manifest(&backups, "t", &id));
    let (user, group) = (if is_root() { "1" } else { "" }, if is_root() { "1" } else { "" });
    let name = |list: &str, number: &str| match number {
        "" => run("id", &[if list == "passwd" { "-un" } else { "-gn" }]).trim().to_owned(),
        number => run("getent", &[list, number]).split(':').next().unwrap().to_owned(),
    };
    let owned: Vec<_> = lines
        .iter()
        .filter_map(|line| line.as_object()?.values().next()?.get("attributes"))
        .map(|attributes| (attributes["user"].as_str().unwrap(), attributes["group"].as_str().unwrap()))
        .collect();
    let expected = (name("passwd", user), name("group", group));
    let theirs = owned.iter().filter(|found| **found == (expected.0.as_str(), expected.1.as_str())).count();
    assert!(theirs >= 3, "{owned:?}");
}
