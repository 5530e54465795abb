//! Replicas in trouble, and two at once that want to write: the real program.
//!
//! Hazard: a second copy that takes the first down with it, or two processes that heal the same place, each sure of itself.

mod common;
#[path = "repository/small_disk.rs"]
mod small_disk;

use std::path::Path;
use std::process::Command;

use common::{Daemon, Installation, audit, code, files};
use rustix::process::Signal;
use serde_json::Value;
use small_disk::{fill, on_a_small_disk};

fn replica_in(path: &Path) -> String {
    format!("[[replicas]]\nname = \"usb\"\npath = {path:?}\n")
}

fn caught_up(daemon: &Daemon) {
    daemon.wait("the replica to have all backups", |daemon| {
        let replica = daemon.status()["replicas"][0].clone();
        (replica["reachable"] == true && replica["lag"] == 0 && replica["fault"].is_null()).then_some(())
    });
}

/// Waits until status and mode say what is wrong with the replica.
fn is_reported(daemon: &Daemon, words: &str) {
    daemon.wait("the fault to be told", |daemon| {
        let status = daemon.status();
        let fault = status["replicas"][0]["fault"].as_str().unwrap_or_default().to_lowercase();
        let reasons = status["mode"]["reasons"].to_string();
        (fault.contains(words) && reasons.contains("replica_lagging")).then_some(())
    });
}

fn change_and_back_up(installation: &Installation, daemon: &Daemon, version: u32) {
    files::write(&installation.path("config/security_config.json"), format!("{{\"version\": {version}}}"));
    let backup = daemon.backup_when_free("security");
    assert_eq!(backup["state"], "good", "{backup}");
}

/// The faults that were told of replicas, and how often one caught up.
fn told(installation: &Installation) -> (Vec<Value>, usize) {
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    let lagging = records.iter().filter(|record| record["event"] == "ReplicaLagging");
    let caught_up = records.iter().filter(|record| record["event"] == "ReplicaCaughtUp").count();
    (lagging.map(|record| record["details"]["fault"].clone()).collect(), caught_up)
}

#[test]
fn a_full_replica_is_reported_and_no_backup_fails_for_it() {
    on_a_small_disk("a_full_replica_is_reported_and_no_backup_fails_for_it", 32, |disk| {
        let installation = Installation::with_settings(&replica_in(&disk.join("replica")));
        let daemon = installation.start();
        daemon.settle();
        caught_up(&daemon);
        fill(&disk.join("filler"));
        for version in 0..3 {
            change_and_back_up(&installation, &daemon, version);
        }
        is_reported(&daemon, "no space left");
        std::fs::remove_file(disk.join("filler")).unwrap();
        caught_up(&daemon);
        assert_eq!(code(daemon.terminate()), 0);
        assert_eq!(told(&installation), (vec!["no_space".into()], 1));
    });
}

#[test]
fn a_read_only_replica_is_reported_open_or_not_and_no_backup_fails_for_it() {
    on_a_small_disk("a_read_only_replica_is_reported_open_or_not_and_no_backup_fails_for_it", 32, |disk| {
        let remount = |how: &str| {
            let done = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(disk).status();
            assert!(done.unwrap().success());
        };
        let installation = Installation::with_settings(&replica_in(&disk.join("replica")));
        let daemon = installation.start();
        daemon.settle();
        caught_up(&daemon);
        // While it is in use its lock is open for writing, and the kernel refuses (EBUSY); another test takes the right to write.
        assert_eq!(code(daemon.terminate()), 0);
        remount("ro");
        let daemon = installation.start();
        change_and_back_up(&installation, &daemon, 1);
        is_reported(&daemon, "read-only");
        remount("rw");
        caught_up(&daemon);
        assert_eq!(code(daemon.terminate()), 0);
        assert_eq!(told(&installation), (vec!["read_only".into()], 1));
    });
}

#[test]
fn a_replica_that_can_be_written_no_more_while_it_is_in_use_is_told_once_and_no_backup_fails_for_it() {
    let installation = Installation::unprivileged();
    let daemon = installation.start();
    daemon.settle();
    caught_up(&daemon);
    let replica = installation.path("backups/replica");
    change_writing(&replica, false);
    for version in 0..3 {
        change_and_back_up(&installation, &daemon, version);
        is_reported(&daemon, "denied");
    }
    assert_eq!(daemon.status()["mode"]["name"], "degraded");
    change_writing(&replica, true);
    caught_up(&daemon);
    daemon.wait("all to be well", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
    let listed = daemon.list("security");
    for backup in &listed {
        let manifest = format!("manifests/security/{}.json", backup["id"].as_str().unwrap());
        assert!(replica.join(&manifest).exists(), "{manifest}");
    }
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(told(&installation), (vec!["read_only".into()], 1));
}

/// Takes the right to write from a directory and every one in it, or gives it back.
fn change_writing(directory: &Path, allowed: bool) {
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            change_writing(&entry.path(), allowed);
        }
    }
    files::set_mode(directory, if allowed { 0o700 } else { 0o500 });
}

#[test]
fn a_second_process_neither_scrubs_nor_heals_what_another_one_holds() {
    let scrub = "[scrub]\nwithin = \"1s\"\n";
    let installation = Installation::with_settings(scrub);
    let daemon = installation.start();
    daemon.settle();
    caught_up(&daemon);
    let lock: Value = serde_json::from_slice(&files::read(&installation.path("backups/lock"))).unwrap();
    daemon.signal(Signal::STOP);
    let document = installation.path("backups/RESTORE.txt");
    let right = files::read(&document);
    files::write(&document, "damaged");
    let before = files::snapshot(&installation.path("backups"));
    for arguments in [&[][..], &["verify", "--all"], &["backup", "security"]] {
        let output = installation.run(arguments);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(code(output.status), 1, "{arguments:?}: {said}");
        assert!(said.contains(&format!("process {}", lock["pid"])), "{arguments:?} does not name it: {said}");
    }
    assert_eq!(files::snapshot(&installation.path("backups")), before, "somebody else wrote");
    daemon.signal(Signal::CONT);
    daemon.wait("the one that holds it to heal it", |_| (files::read(&document) == right).then_some(()));
}

#[test]
fn a_replica_has_one_writer_also_if_its_original_was_copied() {
    let shared = tempfile::tempdir().unwrap();
    let settings = replica_in(&shared.path().join("replica"));
    let installation = Installation::with_settings(&settings);
    let daemon = installation.start();
    daemon.settle();
    caught_up(&daemon);
    let twin = Installation::with_settings(&settings);
    let copied = Command::new("cp").arg("-a").arg(installation.path("backups")).arg(twin.path("backups")).status();
    assert!(copied.unwrap().success());
    let second = twin.start();
    is_reported(&second, "in use by process");
    assert_eq!(second.backup_when_free("security")["state"], "good");
    assert_eq!(code(daemon.terminate()), 0);
    caught_up(&second);
}
