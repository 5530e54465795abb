//! A repository of which an older copy was put back, by the real program.
//!
//! Hazard: the same number then means two backups: the newer versions are deleted in favour of the older ones, `latest` is
//! older than what is live, and a replica is said to have what it never had.

mod common;

use std::path::Path;

use common::audit::chained_records;
use common::{Daemon, Installation, code, files, repository};
use serde_json::Value;

const ON_ANOTHER_DISK: &str =
    "[janitor]\ninterval = \"1s\"\ngrace = \"0s\"\n[[replicas]]\nname = \"usb\"\npath = \"usb\"\n";
const WITHOUT_REPLICA: &str = "replicas = []\n[janitor]\ninterval = \"1s\"\ngrace = \"0s\"\n";

/// Makes a version of the security set; its id.
fn version(installation: &Installation, daemon: &Daemon, number: u32) -> String {
    for name in common::SECURITY {
        files::write(&installation.path(format!("config/{name}")), format!("{{\"version\": {number}}}"));
    }
    daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned()
}

fn versions(installation: &Installation, daemon: &Daemon, numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| version(installation, daemon, number)).collect()
}

fn ids(daemon: &Daemon) -> Vec<String> {
    daemon.list("security").iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

fn good(daemon: &Daemon) -> Vec<String> {
    let all = daemon.list("security");
    let good = all.iter().filter(|backup| backup["state"] == "good");
    good.map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

fn latest_version(installation: &Installation, daemon: &Daemon) -> Value {
    let latest = daemon.set("security")["latest"].as_str().unwrap().to_owned();
    let content = repository::content(&installation.path("backups"), "security", &latest);
    let (_, bytes) = content.iter().find(|(path, _)| path == common::SECURITY[0]).unwrap();
    serde_json::from_slice::<Value>(bytes).unwrap()["version"].clone()
}

fn wait_for_replica(daemon: &Daemon) {
    daemon.wait("the replica to have everything", |daemon| {
        let replica = daemon.status()["replicas"][0].clone();
        (replica["reachable"] == true && replica["lag"] == 0 && replica["fault"].is_null()).then_some(())
    });
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args(["-a", "--"]).arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

fn put_back(snapshot: &Path, place: &Path) {
    std::fs::remove_dir_all(place).unwrap();
    copy(snapshot, place);
}

fn timeline(installation: &Installation, daemon: &Daemon) -> Value {
    let shown = daemon.get("/api/timeline").json();
    let output = installation.run(&["timeline", "--json"]);
    assert_eq!(code(output.status), 0, "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), shown);
    shown
}

/// Holds until it is accepted: nothing is deleted, and everybody is told.
fn is_held(installation: &Installation, daemon: &Daemon, number: u64, reason: &str) {
    let shown = timeline(installation, daemon);
    assert_eq!((&shown["timeline"], &shown["held"]), (&number.into(), &true.into()), "{shown}\n{}", daemon.said());
    let newest = shown["timelines"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&newest["timeline"], &newest["departure"]["reason"]), (&number.into(), &reason.into()), "{shown}");
    daemon.wait("the mode to say so", |daemon| {
        let mode = daemon.status()["mode"].clone();
        mode["reasons"].to_string().contains("repository_rolled_back").then_some(())
    });
    assert!(daemon.get("/metrics").text.contains("\nfiovana_repository_rolled_back 1"));
    let plan = daemon.get("/api/prune").json();
    let security = plan["sets"].as_array().unwrap().iter().find(|plan| plan["set"] == "security").unwrap();
    // The log was put back with the rest, which the replica tells, too.
    let frozen = security["frozen"].as_str().unwrap_or("");
    let in_recovery = frozen.contains("recovery") && daemon.said().contains("the audit log is not what");
    assert!(frozen.contains("departed from another") || in_recovery, "{plan}\n{}", daemon.said());
    let records = chained_records(&installation.path("logs/security_audit.log"));
    assert!(records.iter().any(|record| record["event"] == "TimelineBegan"), "{records:#?}");
}

fn accept(installation: &Installation, daemon: &Daemon) {
    let output = installation.run(&["timeline", "accept"]);
    assert_eq!(code(output.status), 0, "{}", String::from_utf8_lossy(&output.stderr));
    daemon.wait("the mode to be normal", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
    assert!(daemon.get("/metrics").text.contains("\nfiovana_repository_rolled_back 0"));
}

/// Sequences of one set, newest first, each with the timeline.
fn positions(installation: &Installation, daemon: &Daemon) -> Vec<(u64, u64)> {
    let envelope = |id: &String| {
        let manifest = repository::manifest(&installation.path("backups"), "security", id);
        let envelope = &manifest["envelope"];
        (envelope["timeline"].as_u64().unwrap(), envelope["sequence"].as_u64().unwrap())
    };
    good(daemon).iter().map(envelope).collect()
}

#[test]
fn what_the_audit_log_knows_makes_an_older_copy_begin_a_history_of_its_own() {
    let installation = Installation::with_settings(WITHOUT_REPLICA);
    let daemon = installation.start();
    daemon.settle();
    let before = versions(&installation, &daemon, 1..4);
    daemon.terminate();
    let backups = installation.path("backups");
    let snapshot = installation.path("snapshot");
    copy(&backups, &snapshot);
    let daemon = installation.start();
    let lost = versions(&installation, &daemon, 4..8);
    daemon.terminate();
    put_back(&snapshot, &backups);
    let daemon = installation.start();
    is_held(&installation, &daemon, 2, "rolled_back");
    // What is live is backed up at once: it is all that is left of the newest version.
    daemon.wait("the live version", |daemon| (latest_version(&installation, daemon) == 7).then_some(()));
    let new = version(&installation, &daemon, 9);
    assert_eq!(ids(&daemon)[0], new);
    assert_eq!(latest_version(&installation, &daemon), 9);
    let places = positions(&installation, &daemon);
    assert!(places[0].0 == 2 && places[0].1 > 7, "{places:?}");
    assert!(before.iter().all(|id| ids(&daemon).contains(id)) && lost.iter().all(|id| !ids(&daemon).contains(id)));
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let began = records.iter().find(|record| record["event"] == "TimelineBegan").unwrap();
    let missing: Vec<String> = serde_json::from_value(began["details"]["missing"]["security"].clone()).unwrap();
    assert!(lost.iter().all(|id| missing.contains(id)), "{began}");
    daemon.terminate();
    // It is no news at the next start, and waits still; without state/, too.
    std::fs::remove_dir_all(backups.join("state")).unwrap();
    std::fs::create_dir(backups.join("state")).unwrap();
    let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "")]);
    let shown = timeline(&installation, &daemon);
    assert_eq!((&shown["timeline"], &shown["held"]), (&2.into(), &true.into()), "{shown}");
}

#[test]
fn what_a_replica_has_comes_back_and_what_is_made_meanwhile_is_the_newest() {
    let settings = format!("[backup]\nmax_backups = 3\n{ON_ANOTHER_DISK}");
    for state in ["with state/", "without state/"] {
        let installation = Installation::with_settings(ON_ANOTHER_DISK);
        let daemon = installation.start();
        daemon.settle();
        versions(&installation, &daemon, 1..4);
        wait_for_replica(&daemon);
        daemon.terminate();
        let backups = installation.path("backups");
        copy(&backups, &installation.path("snapshot"));
        let daemon = installation.start();
        let newer = versions(&installation, &daemon, 4..8);
        wait_for_replica(&daemon);
        daemon.terminate();
        put_back(&installation.path("snapshot"), &backups);
        if state == "without state/" {
            std::fs::remove_dir_all(backups.join("state")).unwrap();
            std::fs::create_dir(backups.join("state")).unwrap();
        }
        files::write(&installation.path("config/fiovana.toml"), &settings);
        let daemon = installation.start();
        if daemon.status()["mode"]["name"] == "recovery" {
            // The mode was in state/.
            daemon.wait("recovery to be left", |_| {
                (code(installation.run(&["recovery", "exit"]).status) == 0).then_some(())
            });
        }
        is_held(&installation, &daemon, 2, "rolled_back");
        daemon.wait("everything to come back", |daemon| {
            let good = good(daemon);
            newer.iter().all(|id| good.contains(id)).then_some(())
        });
        let made = version(&installation, &daemon, 9);
        assert_eq!(good(&daemon)[0], made, "{state}");
        assert_eq!(latest_version(&installation, &daemon), 9);
        wait_for_replica(&daemon);
        let held = good(&daemon).len();
        assert!(held >= 8, "{held}: something was deleted before it was seen");
        accept(&installation, &daemon);
        daemon.terminate();
    }
}

#[test]
fn a_replica_alone_that_comes_back_later_tells_of_a_history_that_everything_else_forgot() {
    let installation = Installation::with_settings(ON_ANOTHER_DISK);
    let (usb, unplugged) = (installation.path("usb"), installation.path("unplugged"));
    let daemon = installation.start();
    daemon.settle();
    versions(&installation, &daemon, 1..3);
    wait_for_replica(&daemon);
    daemon.terminate();
    let everything = ["backups", "logs", "config"];
    for directory in everything {
        copy(&installation.path(directory), &installation.path(format!("{directory}.snapshot")));
    }
    let daemon = installation.start();
    let newer = versions(&installation, &daemon, 3..6);
    wait_for_replica(&daemon);
    daemon.terminate();
    for directory in everything {
        put_back(&installation.path(format!("{directory}.snapshot")), &installation.path(directory));
    }
    std::fs::rename(&usb, &unplugged).unwrap();
    let daemon = installation.start();
    // A replica that is away holds no backup up.
    let meanwhile = versions(&installation, &daemon, 11..14);
    assert_eq!(timeline(&installation, &daemon)["timeline"], 1);
    std::fs::rename(&unplugged, &usb).unwrap();
    daemon.wait("the other history to be found", |daemon| {
        (daemon.get("/api/timeline").json()["timeline"] == 2).then_some(())
    });
    is_held(&installation, &daemon, 2, "rolled_back");
    daemon.wait("everything to come back", |daemon| {
        let good = good(daemon);
        newer.iter().chain(&meanwhile).all(|id| good.contains(id)).then_some(())
    });
    daemon.wait("what is live to be the latest", |daemon| (latest_version(&installation, daemon) == 13).then_some(()));
    let last = version(&installation, &daemon, 20);
    assert_eq!(good(&daemon)[0], last);
    wait_for_replica(&daemon);
    for id in good(&daemon) {
        assert!(repository::manifest_path(&usb, "security", &id).exists(), "the replica is said to have {id}");
    }
    assert_eq!(code(installation.run(&["audit", "accept"]).status), 0);
    daemon.wait("recovery to be left", |_| (code(installation.run(&["recovery", "exit"]).status) == 0).then_some(()));
    accept(&installation, &daemon);
}

#[test]
fn a_repository_that_is_as_it_was_begins_no_other_history() {
    let installation = Installation::with_settings(WITHOUT_REPLICA);
    let daemon = installation.start();
    daemon.settle();
    versions(&installation, &daemon, 1..4);
    daemon.terminate();
    let daemon = installation.start();
    assert_eq!(timeline(&installation, &daemon)["timeline"], 1, "nothing was put back");
    let status = daemon.status();
    assert_eq!(status["mode"]["name"], "normal", "{status}");
}

/// The same machine again: everything as it is, in another place.
fn clone_of(installation: &Installation) -> Installation {
    let clone = Installation::new();
    for directory in ["backups", "logs", "config"] {
        let there = clone.path(directory);
        if there.exists() {
            std::fs::remove_dir_all(&there).unwrap();
        }
        copy(&installation.path(directory), &there);
    }
    clone
}

fn refused(daemon: &Daemon, other: &Installation) {
    daemon.wait("the replica to be refused by name", |daemon| {
        let fault = daemon.status()["replicas"][0]["fault"].as_str().unwrap_or("").to_owned();
        let place = other.path("backups").display().to_string();
        (fault.contains("a replica has one writer") && fault.contains(&place)).then_some(())
    });
}

#[test]
fn of_a_machine_and_its_clone_on_one_replica_neither_writes_there_until_somebody_decides() {
    let shared = tempfile::tempdir().unwrap();
    let usb = shared.path().join("usb");
    let settings = format!("[backup]\nmax_backups = 3\n[[replicas]]\nname = \"usb\"\npath = \"{}\"\n", usb.display());
    let one = Installation::with_settings(&settings);
    let daemon = one.start();
    daemon.settle();
    versions(&one, &daemon, 1..3);
    wait_for_replica(&daemon);
    daemon.terminate();
    let two = clone_of(&one);

    let daemon = one.start();
    let of_one = versions(&one, &daemon, 3..5);
    wait_for_replica(&daemon);
    daemon.terminate();
    let before = files::snapshot(&usb.join("manifests"));

    // The clone comes upon the claim of the other one.
    let daemon = two.start();
    refused(&daemon, &one);
    is_held(&two, &daemon, 2, "cloned");
    let of_two = versions(&two, &daemon, 11..17);
    assert!(of_one.iter().all(|id| !ids(&daemon).contains(id)), "the other's backups were taken for its own");
    daemon.terminate();
    // And so does the other one, which goes on where it was.
    let daemon = one.start();
    refused(&daemon, &two);
    versions(&one, &daemon, 5..7);
    assert_eq!(timeline(&one, &daemon)["timeline"], 1);
    assert!(of_two.iter().all(|id| !ids(&daemon).contains(id)));
    assert_eq!(files::snapshot(&usb.join("manifests")), before, "somebody wrote to a replica that is not theirs");

    // Somebody decides, and the other one is refused from then on.
    let output = one.run(&["timeline", "accept", "--replica", "usb"]);
    assert_eq!(code(output.status), 0, "{}", String::from_utf8_lossy(&output.stderr));
    wait_for_replica(&daemon);
    for id in good(&daemon) {
        assert!(repository::manifest_path(&usb, "security", &id).exists(), "{id}");
    }
    daemon.terminate();
    let daemon = two.start();
    refused(&daemon, &one);
    assert!(of_two.iter().all(|id| !repository::manifest_path(&usb, "security", id).exists()));
}

#[test]
fn who_lost_its_state_goes_on_with_its_replica() {
    let installation = Installation::with_settings(ON_ANOTHER_DISK);
    let daemon = installation.start();
    daemon.settle();
    versions(&installation, &daemon, 1..3);
    wait_for_replica(&daemon);
    daemon.terminate();
    std::fs::remove_file(installation.path("backups/state/writer.json")).unwrap();
    let daemon = installation.start();
    let made = version(&installation, &daemon, 3);
    daemon.wait("the replica to have it", |_| {
        repository::manifest_path(&installation.path("usb"), "security", &made).exists().then_some(())
    });
    assert_eq!(timeline(&installation, &daemon)["timeline"], 1);
}
