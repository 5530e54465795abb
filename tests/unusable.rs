//! A backup directory that cannot be used.
//!
//! Hazard: `os error 13`, and no word of what to do; and an emergency start that ends with it, though it is there to come
//! up when nearly everything is broken.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::disaster::{RECOVERY_MODE, back_up, text};
use common::{Daemon, Installation, code, files};

/// What it is called, what is said of it, and how it is brought about.
type Trouble = (&'static str, &'static str, fn(&Path));

const TROUBLES: [Trouble; 7] = [
    ("no permission", "chmod 755", |backups| files::set_mode(backups, 0o000)),
    ("a file", "move that away", |backups| replace(backups, false)),
    ("a lock that is a directory", "move that away", |backups| replace(&backups.join("lock"), true)),
    ("a lock that is a link", "move that away", |backups| {
        std::fs::remove_file(backups.join("lock")).unwrap();
        std::os::unix::fs::symlink("nowhere", backups.join("lock")).unwrap();
    }),
    ("objects/00 a file", "move that away", |backups| replace(&backups.join("objects/00"), false)),
    ("manifests a file", "move that away", |backups| replace(&backups.join("manifests"), false)),
    ("repository.json a directory", "repository.json", |backups| {
        // What stands for it otherwise.
        std::fs::remove_dir_all(backups.join("replica")).unwrap();
        replace(&backups.join("repository.json"), true);
    }),
];

fn replace(path: &Path, by_directory: bool) {
    let is_directory = path.is_dir();
    if is_directory { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    if by_directory {
        std::fs::create_dir(path).unwrap();
    } else {
        files::write(path, "");
    }
}

#[test]
fn a_backup_directory_that_cannot_be_used_is_one_clear_line_and_an_emergency_start_comes_up() {
    for (trouble, expected, strike) in TROUBLES {
        let installation = Installation::unprivileged();
        back_up(&installation);
        let backups = installation.path("backups");
        let owner = backups.metadata().unwrap().uid();
        strike(&backups);
        if backups.is_dir() {
            files::give_away(&backups, owner);
        } else {
            std::os::unix::fs::lchown(&backups, Some(owner), Some(owner)).unwrap();
        }
        let refused = installation.run(&["backup", "security"]);
        let said = text(&refused);
        assert_ne!(code(refused.status), 0, "{trouble}: {said}");
        assert!(said.contains(expected), "{trouble}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{trouble}: {said}");
        let daemon = Daemon::spawn(installation.command(&[], &RECOVERY_MODE), installation.path("backups"));
        daemon.wait("it to come up", |daemon| daemon.said().contains("listening on").then_some(()));
        daemon
            .wait("it to say what to run", |daemon| daemon.said().contains("run `fiovana-app recover`").then_some(()));
        assert!(daemon.said().contains("found: "), "{trouble}: {}", daemon.said());
        assert_eq!(code(daemon.terminate()), 0, "{trouble}");
        if installation.path("backups").is_dir() {
            files::set_mode(&installation.path("backups"), 0o755);
        }
    }
}
