//! A backup directory that holds somebody else's files, and one that is merely not finished.
//!
//! Hazard: `/etc`, named by mistake as the backup directory, is filled with directories, or given to the service's user. And
//! a check that refuses too much keeps a new disk, or a damaged repository, from being used.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;

use common::{Daemon, Installation, code, files, run_to_its_end};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// An installation whose directory `backups` holds these files.
fn holding(names: &[&str]) -> Installation {
    let installation = Installation::new();
    for name in names {
        let path = installation.path("backups").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        files::write(&path, "mine");
    }
    installation
}

fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut ahead) = (BTreeMap::new(), vec![directory.to_owned()]);
    while let Some(place) = ahead.pop() {
        for entry in std::fs::read_dir(place).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(directory).unwrap().display().to_string();
            found.insert(name, if path.is_file() { files::read(&path) } else { Vec::new() });
            if path.is_dir() {
                ahead.push(path);
            }
        }
    }
    found
}

#[test]
fn a_directory_of_somebody_elses_files_is_refused_in_one_line_and_nothing_is_created_in_it() {
    let installation = holding(&["passwd", "hosts", "ssh/sshd_config", "state/known", ".hidden"]);
    let backups = installation.path("backups");
    let before = contents(&backups);
    let commands: [&[&str]; 5] = [&[], &["init"], &["backup", "security"], &["prune"], &["verify", "--all"]];
    for command in commands {
        let refused = installation.run(command);
        let said = said(&refused);
        assert_ne!(code(refused.status), 0, "{command:?}: {said}");
        let line = said
            .lines()
            .find(|line| line.contains("no part of a repository"))
            .unwrap_or_else(|| panic!("{command:?}: {said}"));
        for part in [backups.to_str().unwrap(), "hosts, passwd, ssh", "FIOVANA_BACKUP_DIRECTORY"] {
            assert!(line.contains(part), "{command:?}: {line}");
        }
        assert!(contents(&backups) == before, "{command:?} left something");
    }
    let recovered = installation.run(&["recover", "--yes"]);
    assert_ne!(code(recovered.status), 0, "{}", said(&recovered));
    assert!(contents(&backups) == before, "recover left something");
    let daemon = Daemon::spawn(installation.command(&[], &[("FIOVANA_RECOVERY_MODE", "true")]), backups.clone());
    daemon.wait("it to come up", |daemon| daemon.said().contains("listening on").then_some(()));
    assert!(daemon.said().contains("no part of a repository"), "{}", daemon.said());
    assert_eq!(code(daemon.terminate()), 0);
    assert!(contents(&backups) == before, "an emergency start left something");
}

#[test]
fn a_directory_that_only_a_filesystem_or_a_file_manager_put_something_in_is_taken() {
    for names in [&["lost+found/x"][..], &[".DS_Store", ".snapshots/1"], &["lost+found/x", ".tmp-1-0"]] {
        let installation = holding(names);
        let begun = installation.run(&["init"]);
        assert_eq!(code(begun.status), 0, "{names:?}: {}", said(&begun));
        assert!(installation.path("backups/repository.json").is_file());
        let daemon = installation.start();
        assert_eq!(daemon.post("/api/backup/security").status, 201, "{names:?}");
    }
}

#[test]
fn a_creation_that_was_killed_at_any_write_is_completed() {
    let whole = Installation::new();
    assert_eq!(code(whole.run(&["init"]).status), 0);
    // In the order in which they come to be.
    let shards: Vec<String> = (0..=u8::MAX).map(|first| format!("objects/{first:02x}")).collect();
    let mut steps = vec!["lock".to_owned(), "manifests".into(), "objects".into(), "quarantine".into(), "state".into()];
    steps.extend(shards);
    steps.extend([".tmp-1-0".into(), "RESTORE.txt".into(), ".tmp-1-1".into()]);
    let unknown: Vec<String> = contents(&whole.path("backups"))
        .into_keys()
        .filter(|name| !steps.contains(name) && name != "repository.json" && !name.starts_with("state/"))
        .collect();
    assert!(unknown.is_empty(), "init makes more than this test knows: {unknown:?}");
    for made in [0, 1, 2, 3, 4, 5, 6, 133, steps.len() - 3, steps.len() - 2, steps.len() - 1, steps.len()] {
        for by_the_service in [false, true] {
            let installation = Installation::new();
            let backups = installation.path("backups");
            std::fs::create_dir(&backups).unwrap();
            for step in &steps[..made] {
                let (from, to) = (whole.path("backups").join(step), backups.join(step));
                match step.as_str() {
                    "lock" => files::write(&to, r#"{"pid": 1, "host": "x"}"#),
                    "RESTORE.txt" => drop(std::fs::copy(from, to).unwrap()),
                    _ if step.starts_with(".tmp-") => files::write(&to, "hal"),
                    _ => std::fs::create_dir(to).unwrap(),
                }
            }
            if by_the_service {
                let daemon = installation.start();
                assert_eq!(daemon.get("/api/status").json()["mode"]["name"], "normal", "after {made} steps");
            } else {
                let begun = installation.run(&["init"]);
                assert_eq!(code(begun.status), 0, "after {made} steps: {}", said(&begun));
            }
            assert!(backups.join("repository.json").is_file(), "after {made} steps");
            assert!(!backups.join(".tmp-1-1").exists(), "after {made} steps");
        }
    }
}

#[test]
fn what_is_left_of_a_repository_is_damaged_and_never_refused() {
    let whole = Installation::new();
    let daemon = whole.start();
    assert_eq!(daemon.post("/api/backup/security").status, 201);
    assert_eq!(code(daemon.terminate()), 0);
    for lefts in [&["objects"][..], &["manifests"], &["RESTORE.txt"], &["manifests", "objects", "notes.txt"]] {
        let installation = Installation::new();
        let backups = installation.path("backups");
        std::fs::create_dir(&backups).unwrap();
        for left in lefts {
            let from = whole.path("backups").join(left);
            match from.is_dir() {
                true => copy_tree(&from, &backups.join(left)),
                false if from.is_file() => drop(std::fs::copy(from, backups.join(left)).unwrap()),
                false => files::write(&backups.join(left), "mine"),
            }
        }
        let refused = installation.run(&["init"]);
        assert!(said(&refused).contains("no repository.json: it was lost"), "{lefts:?}: {}", said(&refused));
        let daemon = installation.start_listening::<&str>(&[]);
        daemon.wait("recovery mode", |daemon| {
            (daemon.get("/api/status").json()["mode"]["name"] == "recovery").then_some(())
        });
        assert_eq!(code(daemon.terminate()), 0, "{lefts:?}");
    }
}

#[test]
fn a_place_that_the_log_knows_and_that_holds_other_files_is_a_repository_that_is_missing() {
    let installation = Installation::new();
    assert_eq!(code(installation.start().terminate()), 0);
    std::fs::rename(installation.path("backups"), installation.path("unmounted")).unwrap();
    std::fs::create_dir(installation.path("backups")).unwrap();
    files::write(&installation.path("backups/theirs"), "x");
    let daemon = Daemon::spawn(installation.command::<&str>(&[], &[]), installation.path("backups"));
    daemon.wait("it to come up", |daemon| daemon.said().contains("listening on").then_some(()));
    assert!(daemon.said().contains("no part of a repository"), "{}", daemon.said());
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(contents(&installation.path("backups")).len(), 1);
    let log = String::from_utf8(files::read(&installation.path("logs/security_audit.log"))).unwrap();
    assert!(log.contains("repository_missing"), "{log}");
}

#[test]
fn a_replica_is_begun_in_no_directory_of_somebody_elses_files() {
    let installation = Installation::with_settings("[[replicas]]\nname = \"usb\"\npath = \"./usb\"\n");
    std::fs::create_dir_all(installation.path("usb/photos")).unwrap();
    files::write(&installation.path("usb/photos/1.jpg"), "mine");
    let before = contents(&installation.path("usb"));
    let daemon = installation.start();
    assert_eq!(daemon.post("/api/backup/security").status, 201);
    let told = daemon.wait("the replica's trouble to be told", |daemon| {
        let status = daemon.get("/api/status").text;
        status.contains("no part of a replica").then_some(status)
    });
    assert!(told.contains("photos"), "{told}");
    let refused = run_to_its_end(installation.command::<&str>(&["init", "--replica", "usb"], &[]));
    assert_ne!(code(refused.status), 0);
    assert!(said(&refused).contains("no part of a replica (photos)"), "{}", said(&refused));
    assert!(contents(&installation.path("usb")) == before);
    for vacant in ["usb/photos/1.jpg", "usb/photos"] {
        let path = installation.path(vacant);
        if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) }.unwrap();
    }
    std::fs::create_dir(installation.path("usb/lost+found")).unwrap();
    let begun = run_to_its_end(installation.command::<&str>(&["init", "--replica", "usb"], &[]));
    assert_eq!(code(begun.status), 0, "{}", said(&begun));
}
