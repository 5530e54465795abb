//! The real program and its replicas.
//!
//! Hazard: a second copy that is only thought to be there, or that takes the first down with it.

mod common;

use std::path::{Path, PathBuf};

use common::{Daemon, Installation, SECURITY, audit, code, files, repository};
use serde_json::Value;

const ELSEWHERE: &str = "[[replicas]]\nname = \"usb\"\npath = \"./usb/replica\"\n";

/// What the status says of the only replica.
fn replica(daemon: &Daemon) -> Value {
    daemon.status()["replicas"][0].clone()
}

fn wait_for_fault(daemon: &Daemon, words: &str) {
    daemon.wait("the fault to be told", |daemon| {
        let replica = replica(daemon);
        replica["fault"].as_str().is_some_and(|fault| fault.contains(words)).then_some(())
    });
    daemon.wait("the mode to say so", |daemon| {
        daemon.status()["mode"]["reasons"].to_string().contains("replica_lagging").then_some(())
    });
}

fn caught_up(daemon: &Daemon) -> Value {
    daemon.wait("the replica to have all backups", |daemon| {
        let replica = replica(daemon);
        (replica["reachable"] == true && replica["lag"] == 0 && replica["fault"].is_null()).then_some(replica)
    })
}

fn manifests(repository: &Path, set: &str) -> Vec<PathBuf> {
    let directory = repository.join("manifests").join(set).read_dir();
    let names = directory.into_iter().flatten().map(|entry| entry.unwrap().file_name().into());
    let mut names: Vec<PathBuf> = names.filter(|name: &PathBuf| name.to_str().unwrap().starts_with("20")).collect();
    names.sort();
    names
}

fn events(installation: &Installation, name: &str) -> usize {
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    audit::events(&records).into_iter().filter(|event| *event == name).count()
}

#[test]
fn by_default_what_matters_is_kept_twice_and_the_copy_restores_when_the_original_is_gone() {
    let installation = Installation::new();
    let daemon = installation.start();
    let backup = daemon.settle().backup("security");
    caught_up(&daemon);
    assert!(daemon.get("/metrics").text.contains("fiovana_replica_same_disk{replica=\"local\"} 1"));
    assert!(daemon.get("/metrics").text.contains("fiovana_replica_lag_backups{replica=\"local\"} 0"));
    assert_eq!(daemon.status()["mode"]["name"], "normal", "a copy that is behind for a moment needs nobody");
    assert_eq!(code(daemon.terminate()), 0);
    let (backups, copy) = (installation.path("backups"), installation.path("backups/replica"));
    for set in ["security", "application"] {
        assert_eq!(manifests(&backups, set), manifests(&copy, set), "{set}");
    }
    assert!(!copy.join("manifests/logs").exists(), "logs are of priority medium");
    assert_eq!(files::read(&backups.join("repository.json")), files::read(&copy.join("repository.json")));
    let id = backup["id"].as_str().unwrap();
    assert_eq!(repository::content(&backups, "security", id), repository::content(&copy, "security", id));

    let wanted: Vec<_> = SECURITY.map(|file| files::read(&installation.path("config").join(file))).into();
    let elsewhere = installation.path("elsewhere");
    std::fs::rename(&copy, &elsewhere).unwrap();
    std::fs::remove_dir_all(&backups).unwrap();
    SECURITY.iter().for_each(|file| std::fs::remove_file(installation.path("config").join(file)).unwrap());
    let here = [("FIOVANA_BACKUP_DIRECTORY", &elsewhere)];
    let restored = installation.run_with(&["restore", "security", id], &here);
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    for (file, content) in SECURITY.iter().zip(wanted) {
        assert!(files::read(&installation.path("config").join(file)) == content, "{file}");
    }
}

#[test]
fn a_replica_killed_in_the_middle_is_whole_and_taken_up_again() {
    let installation =
        Installation::with_settings("[sets.huge]\nsource = \"./huge\"\nfiles = [\"*\"]\nreplicate = true\n");
    std::fs::create_dir(installation.path("huge")).unwrap();
    files::write_huge(&installation.path("huge/a.bin"));
    let daemon = installation.begin();
    let objects = installation.path("backups/replica/objects");
    let some = || {
        objects.read_dir().is_ok_and(|mut all| all.any(|one| one.unwrap().path().read_dir().unwrap().next().is_some()))
    };
    daemon.wait("the replica to get objects", |_| some().then_some(()));
    daemon.kill();
    let daemon = installation.start();
    daemon.settle();
    caught_up(&daemon);
    let newest = daemon.list("huge")[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(code(daemon.terminate()), 0);
    let copy = repository::content(&installation.path("backups/replica"), "huge", &newest);
    assert!(copy == [("a.bin".to_owned(), files::read(&installation.path("huge/a.bin")))]);
}

#[test]
fn a_disk_that_is_not_mounted_is_missed_and_never_filled_beneath_its_mount_point() {
    let installation = Installation::with_settings(ELSEWHERE);
    std::fs::create_dir(installation.path("usb")).unwrap();
    let daemon = installation.start();
    daemon.settle();
    caught_up(&daemon);
    // The disk goes: its directory is empty.
    std::fs::rename(installation.path("usb/replica"), installation.path("away")).unwrap();
    std::fs::create_dir(installation.path("usb/replica")).unwrap();
    wait_for_fault(&daemon, "mount its disk, or begin it anew");
    assert_eq!(daemon.backup("security")["state"], "good");
    daemon.wait("the lag", |daemon| (replica(daemon)["lag"] == 1).then_some(()));
    assert_eq!(code(daemon.terminate()), 0);
    // Nor after a restart.
    let daemon = installation.start();
    wait_for_fault(&daemon, "mount its disk");
    assert_eq!(installation.path("usb/replica").read_dir().unwrap().count(), 0);
    // It comes back, and gets what it missed.
    std::fs::remove_dir(installation.path("usb/replica")).unwrap();
    std::fs::rename(installation.path("away"), installation.path("usb/replica")).unwrap();
    caught_up(&daemon);
    assert_eq!(
        manifests(&installation.path("backups"), "security"),
        manifests(&installation.path("usb/replica"), "security")
    );
    // Gone for good: the operator says so, and the service need not be stopped for it.
    std::fs::remove_dir_all(installation.path("usb/replica")).unwrap();
    wait_for_fault(&daemon, "mount its disk");
    let begun = installation.run(&["init", "--replica", "usb"]);
    assert!(begun.status.success(), "{}", String::from_utf8_lossy(&begun.stderr));
    caught_up(&daemon);
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!((events(&installation, "ReplicaLagging"), events(&installation, "ReplicaCaughtUp")), (2, 2));
}

#[test]
fn another_ones_repository_is_left_alone() {
    let stranger = Installation::new();
    assert!(stranger.run(&["init"]).status.success());
    let theirs = stranger.path("backups");
    let installation = Installation::with_settings(&format!("[[replicas]]\nname = \"usb\"\npath = {theirs:?}\n"));
    let before = files::snapshot(&theirs);
    // Somebody says that there is none yet: a copy of one, and the log lost, would look the same.
    assert!(installation.run(&["init"]).status.success());
    let daemon = installation.start();
    daemon.settle();
    wait_for_fault(&daemon, "another one's");
    assert_eq!(daemon.backup("security")["state"], "good");
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(files::snapshot(&theirs), before);
    assert_eq!(events(&installation, "ReplicaLagging"), 1, "once, not with every attempt");
}

#[test]
fn a_replica_that_cannot_be_written_is_reported_and_no_backup_fails_for_it() {
    let installation = Installation::unprivileged();
    std::fs::create_dir(installation.path("usb")).unwrap();
    files::write(&installation.path("config/fiovana.toml"), ELSEWHERE);
    if rustix::process::geteuid().is_root() {
        files::give_away(installation.root(), common::UNPRIVILEGED);
    }
    let daemon = installation.start();
    daemon.settle();
    caught_up(&daemon);
    let shut = ["objects", "manifests/security", "manifests/application"]
        .map(|one| installation.path("usb/replica").join(one));
    let deep: Vec<PathBuf> = shut[0].read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    let all = || shut.iter().chain(&deep);
    all().for_each(|directory| files::set_mode(directory, 0o500));
    files::write(&installation.path("config/security_config.json"), "{\"changed\": true}");
    assert_eq!(daemon.backup("security")["state"], "good");
    wait_for_fault(&daemon, "ermission denied");
    all().for_each(|directory| files::set_mode(directory, 0o700));
    caught_up(&daemon);
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn a_replica_forgets_by_its_own_rule_and_tells_of_it() {
    let rule = format!("{ELSEWHERE}max_backups = 2\n");
    let installation = Installation::with_settings(&rule);
    std::fs::create_dir(installation.path("usb")).unwrap();
    let daemon = installation.start();
    daemon.settle();
    for round in 0..4 {
        files::write(&installation.path("config/security_config.json"), format!("{{\"round\": {round}}}"));
        daemon.backup("security");
    }
    caught_up(&daemon);
    let usb = installation.path("usb/replica");
    daemon.wait("the replica to forget", |_| (manifests(&usb, "security").len() == 2).then_some(()));
    assert_eq!(manifests(&installation.path("backups"), "security").len(), 5);
    assert_eq!(replica(&daemon)["lag"], 0, "what it let go of is not missed");
    let newest = daemon.list("security").into_iter().take(2);
    let mut newest: Vec<PathBuf> =
        newest.map(|backup| format!("{}.json", backup["id"].as_str().unwrap()).into()).collect();
    newest.sort();
    assert_eq!(manifests(&usb, "security"), newest);
    assert_eq!(code(daemon.terminate()), 0);
    assert!(events(&installation, "CleanupCompleted") > 0);
}

#[test]
fn a_cleanup_that_would_take_much_of_a_replica_waits_until_it_is_confirmed() {
    let installation = Installation::with_settings(ELSEWHERE);
    std::fs::create_dir(installation.path("usb")).unwrap();
    let daemon = installation.start();
    daemon.settle();
    for round in 0..5 {
        files::write(&installation.path("config/security_config.json"), format!("{{\"round\": {round}}}"));
        daemon.backup_when_free("security");
    }
    caught_up(&daemon);
    assert_eq!(code(daemon.terminate()), 0);
    files::write(&installation.path("config/fiovana.toml"), format!("{ELSEWHERE}max_backups = 1\n"));
    let daemon = installation.start();
    let held = daemon
        .wait("the cleanup to be held", |daemon| Some(daemon.set("security")["held"].clone()).filter(|h| !h.is_null()));
    assert_eq!((&held["reason"], &held["deletions"]), (&"large_share".into(), &5.into()), "{held}");
    let usb = installation.path("usb/replica");
    assert_eq!(manifests(&usb, "security").len(), 6);
    let confirmed = installation.run(&["prune", "--confirm", held["digest"].as_str().unwrap()]);
    assert!(confirmed.status.success(), "{}", String::from_utf8_lossy(&confirmed.stderr));
    daemon.wait("the replica to forget", |_| (manifests(&usb, "security").len() == 1).then_some(()));
    assert!(daemon.set("security")["held"].is_null());
    assert_eq!(manifests(&installation.path("backups"), "security").len(), 6);
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(events(&installation, "CleanupHeld"), 1);
}

#[test]
fn a_pin_that_was_taken_away_goes_from_a_replica_that_was_not_there_and_one_that_was_lost_stays() {
    let installation = Installation::with_settings(ELSEWHERE);
    std::fs::create_dir(installation.path("usb")).unwrap();
    let daemon = installation.start();
    daemon.settle();
    let ids = ["security", "application"].map(|set| daemon.backup(set)["id"].as_str().unwrap().to_owned());
    ids.iter().for_each(|id| assert!(installation.run(&["pin", id]).status.success()));
    let (usb, away) = (installation.path("usb/replica"), installation.path("away"));
    let is_pinned = |set: &str, id: &str| {
        let list = repository::newest_generation(&usb, set, "pins");
        let list: Option<Value> = list.map(|list| serde_json::from_slice(&files::read(&usb.join(list))).unwrap());
        list.is_some_and(|list| list["pinned"].as_array().unwrap().iter().any(|pinned| pinned == id))
    };
    daemon.wait("the pins to be copied", |_| {
        (is_pinned("security", &ids[0]) && is_pinned("application", &ids[1])).then_some(())
    });
    std::fs::rename(&usb, &away).unwrap();
    wait_for_fault(&daemon, "mount its disk");
    assert!(installation.run(&["unpin", &ids[0]]).status.success());
    assert_eq!(code(daemon.terminate()), 0);
    // With all that is remembered of it.
    std::fs::remove_file(installation.path("backups/manifests/application/pins.1.json")).unwrap();
    std::fs::remove_file(installation.path("backups/state/verification-application.json")).unwrap();
    std::fs::rename(&away, &usb).unwrap();
    let daemon = installation.start();
    daemon.wait("the pin to go", |_| (!is_pinned("security", &ids[0])).then_some(()));
    caught_up(&daemon);
    assert!(is_pinned("application", &ids[1]), "a loss was mirrored");
}
