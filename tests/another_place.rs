//! Backups that go on in another directory, by the real program.
//!
//! Hazard: a directory that was named because the old disk is full, and in which nothing is begun; or one in which all is
//! begun anew, and nobody remembers where the old backups are.

mod common;

use common::{Daemon, Installation, code};

const REPLICA_ELSEWHERE: &str = "[[replicas]]\nname = \"usb\"\npath = \"usb\"\n";

fn location(daemon: &Daemon) -> String {
    daemon.status()["repository"]["location"].as_str().unwrap().to_owned()
}

fn earlier(daemon: &Daemon) -> String {
    daemon.status()["repository"]["earlier"].as_str().unwrap_or("").to_owned()
}

#[test]
fn another_directory_that_is_named_is_begun_in_at_once_and_the_old_one_is_told_and_can_come_along() {
    let installation = Installation::with_settings(REPLICA_ELSEWHERE);
    let daemon = installation.start();
    daemon.settle();
    let old = daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    daemon.wait("the replica", |daemon| (daemon.status()["replicas"][0]["lag"] == 0).then_some(()));
    assert_eq!(earlier(&daemon), "");
    daemon.terminate();
    let (before, place) = (installation.path("backups"), installation.path("larger"));
    let elsewhere = [("FIOVANA_BACKUP_DIRECTORY", "larger")];
    for start in 0..2 {
        let daemon = installation.start_with(&elsewhere);
        assert_eq!(location(&daemon), place.display().to_string());
        let told = earlier(&daemon);
        let command = format!("cp -a {} {}", before.display(), place.display());
        assert!(told.contains(&command), "start {start}: {told}");
        assert_eq!(daemon.said().lines().filter(|line| line.contains("an earlier repository")).count(), 1);
        let output = installation.run_with(&["status"], &elsewhere);
        assert!(String::from_utf8_lossy(&output.stdout).replace("\n    ", " ").contains("an earlier repository is in"));
        let made = daemon.backup_when_free("security");
        assert_eq!(made["state"], "good", "{made}");
        daemon.wait("the replica of the old one to be refused", |daemon| {
            daemon.status()["replicas"][0]["fault"].as_str().unwrap_or("").contains("another one's").then_some(())
        });
        daemon.terminate();
    }
    std::fs::rename(&place, installation.path("larger.begun")).unwrap();
    let copied = std::process::Command::new("cp").arg("-a").args([&before, &place]).status().unwrap();
    assert!(copied.success());
    let daemon = installation.start_with(&elsewhere);
    assert_eq!(earlier(&daemon), "");
    assert!(daemon.list("security").iter().any(|backup| backup["id"] == old));
}

#[test]
fn the_same_directory_found_empty_is_held_whoever_named_it() {
    let installation = Installation::new();
    let named = [("FIOVANA_BACKUP_DIRECTORY", "here")];
    let daemon = installation.start_with(&named);
    daemon.settle();
    daemon.terminate();
    std::fs::remove_dir_all(installation.path("here")).unwrap();
    let daemon = installation.start_with(&named);
    let mode = daemon.status()["mode"].clone();
    assert_eq!(mode["cause"], "repository_missing", "{mode}");
    let output = installation.run_with(&["backup", "security"], &named);
    assert_ne!(code(output.status), 0);
}
