//! A repository that goes while the service runs.
//!
//! Hazard: a service that works on with a directory that nobody finds any more calls backups good that nobody will
//! restore, and a command that does not find the service becomes a second writer.

mod common;

use std::net::TcpListener;
use std::path::Path;

use common::disaster::{back_up, text};
use common::{Daemon, Installation, code, files};

/// A running service with backups, at an address that its commands know, too.
fn running() -> (Installation, Daemon, String) {
    let installation = Installation::new();
    back_up(&installation);
    let bind = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", &bind)]);
    daemon.settle();
    (installation, daemon, bind)
}

fn notices(daemon: &Daemon) {
    daemon.wait("recovery mode", |daemon| (daemon.status()["mode"]["name"] == "recovery").then_some(()));
    let mode = daemon.status()["mode"].clone();
    assert_eq!(mode["cause"], "repository_missing", "{mode}");
    for path in ["/api/backup/list", "/api/backup/security"] {
        let answer = if path.ends_with("list") { daemon.get(path) } else { daemon.post(path) };
        assert_eq!(answer.status, 503, "{path}: {}", answer.text);
        assert!(answer.text.contains("under the running service"), "{path}: {}", answer.text);
    }
}

/// How often the service has said so, as an error.
fn times_said(daemon: &Daemon) -> usize {
    daemon.said().lines().filter(|line| line.contains("ERROR") && line.contains("under the running service")).count()
}

#[test]
fn what_is_removed_under_a_running_service_is_missed_and_nobody_writes_in_its_place() {
    let (installation, daemon, bind) = running();
    let at = [("FIOVANA_HTTP_BIND", bind.as_str())];
    std::fs::remove_dir_all(installation.path("backups")).unwrap();
    // Also before it is noticed, a command finds the service or does nothing.
    let output = installation.run_with(&["backup", "security"], &at);
    assert_ne!(code(output.status), 0, "{}", text(&output));
    notices(&daemon);
    for (arguments, expected) in [
        (&["status"][..], 1),
        (&["list"], 1),
        (&["backup", "security"], 1),
        (&["prune"], 1),
        (&["recover", "--yes"], 1),
        (&["init"], 1),
    ] {
        let output = installation.run_with(arguments, &at);
        let said = text(&output);
        assert_eq!(code(output.status), expected, "{arguments:?}: {said}");
        assert!(!said.contains("the service is not running"), "{arguments:?}: {said}");
        assert!(!installation.path("backups").exists(), "{arguments:?} began something");
    }
    assert_eq!(times_said(&daemon), 1, "{}", daemon.said());
    assert_eq!(code(daemon.terminate()), 0);
    let verified = installation.run(&["audit", "verify"]);
    assert!(!text(&verified).contains("BROKEN"), "{}", text(&verified));
    let daemon = installation.start();
    let mode = daemon.status()["mode"].clone();
    assert_eq!(mode["cause"], "repository_missing", "{mode}");
}

#[test]
fn a_stranger_in_its_place_is_left_alone() {
    let (installation, daemon, _) = running();
    let (backups, away) = (installation.path("backups"), installation.path("away"));
    std::fs::rename(&backups, &away).unwrap();
    std::fs::create_dir(&backups).unwrap();
    let theirs = |directory: &Path| files::snapshot(directory);
    files::write(&backups.join("theirs"), "a stranger's");
    let before = theirs(&backups);
    notices(&daemon);
    assert_eq!(theirs(&backups), before);
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(theirs(&backups), before);
    // It was only moved.
    std::fs::remove_dir_all(&backups).unwrap();
    std::fs::rename(&away, &backups).unwrap();
    let daemon = installation.start();
    assert_ne!(daemon.status()["mode"]["cause"], "repository_missing");
    assert_eq!(daemon.list("security").len(), 2);
}

/// Starts the service where the backups are gone; it must miss them.
fn is_missed(installation: &Installation) {
    let daemon = installation.start();
    let mode = daemon.status()["mode"].clone();
    assert_eq!(mode["cause"], "repository_missing", "{mode}");
    assert!(!installation.path("backups/repository.json").exists());
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn what_a_command_made_is_missed_though_no_service_ever_ran() {
    let installation = Installation::new();
    for arguments in [&["init"][..], &["backup", "security"]] {
        assert_eq!(code(installation.run(arguments).status), 0);
        let away = installation.path("away");
        std::fs::rename(installation.path("backups"), &away).unwrap();
        is_missed(&installation);
        std::fs::remove_dir_all(installation.path("backups")).unwrap();
        std::fs::rename(&away, installation.path("backups")).unwrap();
    }
    let daemon = installation.start();
    assert_ne!(daemon.status()["mode"]["cause"], "repository_missing");
}

#[test]
fn what_is_known_of_a_repository_outlives_the_rotation_of_the_log() {
    let installation = Installation::new();
    back_up(&installation);
    // Every segment that told of a start was dropped by whoever rotates.
    std::fs::remove_file(installation.path("logs/security_audit.log")).unwrap();
    std::fs::remove_dir_all(installation.path("backups")).unwrap();
    is_missed(&installation);
}

#[test]
fn what_cannot_be_written_anywhere_is_said_more_and_more_rarely() {
    let installation = Installation::new();
    back_up(&installation);
    std::fs::remove_dir_all(installation.path("backups")).unwrap();
    let log = installation.path("logs/security_audit.log");
    std::fs::remove_file(&log).unwrap();
    std::fs::create_dir(&log).unwrap();
    let daemon = installation.start();
    daemon.wait("the eighth try", |daemon| daemon.said().contains("times=8").then_some(()));
    let said = daemon.said();
    let lines = said.lines().filter(|line| line.contains("ERROR") && line.contains("cannot be written")).count();
    assert!(lines <= 7, "{lines} lines: {said}");
}
