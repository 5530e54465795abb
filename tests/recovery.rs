//! Into recovery mode by damage, through a kill, and out again.
//!
//! Hazard: a recovery mode that is missed, forgotten by a restart, or entered again for what was dealt with.

mod common;

use std::path::{Path, PathBuf};

use common::{Installation, audit, files};
use serde_json::Value;

/// An installation with a set whose files have objects of their own, as small ones have not.
fn with_large_files(settings: &str) -> Installation {
    let set = "[sets.large]\nsource = \"./large\"\nfiles = [\"**\"]\nreplicate = true\n";
    let installation = Installation::with_settings(&format!("{settings}{set}"));
    std::fs::create_dir(installation.path("large")).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for name in ["a", "b", "c"] {
        let content: Vec<u8> = (0..(1 << 20) + 17).map(|_| random.u8(..)).collect();
        files::write(&installation.path("large").join(name), content);
    }
    installation
}

/// The objects of a backup of that set.
fn objects(backups: &Path, id: &str) -> Vec<PathBuf> {
    let manifest = std::fs::read(backups.join(format!("manifests/large/{id}.json"))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let names =
        manifest["envelope"]["objects"].as_array().unwrap().iter().map(|object| object["name"].as_str().unwrap());
    names.map(|name| backups.join("objects").join(&name[..2]).join(name)).collect()
}

#[test]
fn three_damaged_objects_are_recovery_mode_until_a_validation_passed_whatever_is_killed() {
    let installation = with_large_files("");
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup("large")["id"].as_str().unwrap().to_owned();
    for object in objects(&installation.path("backups"), &id).iter().take(3) {
        let mut bytes = std::fs::read(object).unwrap();
        bytes[5] ^= 1;
        files::write(object, &bytes);
    }
    let found = daemon.post(&format!("/api/backup/{id}/verify")).json();
    assert_eq!((&found["verdict"], found["healed"].as_array().unwrap().len()), (&"intact".into(), 3), "{found}");
    let mode = daemon.wait("recovery mode", |daemon| {
        let mode = daemon.status()["mode"].clone();
        (mode["name"] == "recovery").then_some(mode)
    });
    assert_eq!(mode["cause"], "integrity_failures");
    let metrics = daemon.get("/metrics").text;
    assert!(metrics.contains("fiovana_mode{mode=\"recovery\"} 1"), "{metrics}");
    assert!(metrics.contains("fiovana_integrity_failures_total 3"), "{metrics}");
    daemon.kill();

    let daemon = installation.start();
    assert_eq!(daemon.status()["mode"]["name"], "recovery", "a kill ended it");
    assert_eq!(
        daemon.get(&format!("/api/backup/{id}")).json()["state"],
        "good",
        "it was healed, and counted all the same"
    );
    let left = daemon.post("/api/recovery/exit");
    assert_eq!((left.status, &left.json()["name"]), (200, &"normal".into()), "{}", left.text);
    daemon.kill();

    let daemon = installation.start();
    assert_eq!(daemon.status()["mode"]["name"], "normal", "what was dealt with counted again");
}

#[test]
fn damage_found_thrice_within_the_hour_is_one_audited_transition_that_freezes_deletion_and_stops_no_backup() {
    let installation = with_large_files("[backup]\nmax_backups = 2\n");
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup("large")["id"].as_str().unwrap().to_owned();
    // One by one, each found by a look of its own.
    for object in objects(&installation.path("backups"), &id).iter().take(3) {
        let mut bytes = std::fs::read(object).unwrap();
        bytes[5] ^= 1;
        files::write(object, &bytes);
        daemon.post(&format!("/api/backup/{id}/verify"));
    }
    daemon.wait("recovery mode", |daemon| (daemon.status()["mode"]["name"] == "recovery").then_some(()));
    let metrics = daemon.get("/metrics").text;
    assert!(metrics.contains("fiovana_mode{mode=\"recovery\"} 1"), "{metrics}");

    // Capture goes on, and one backup more than is to be kept is not one less.
    let kept: Vec<String> = daemon.list("security").iter().map(|backup| backup["id"].to_string()).collect();
    for round in 0..3 {
        files::write(&installation.path("config/security_config.json"), format!("{{\"round\": {round}}}"));
        daemon.backup_when_free("security");
    }
    let pruned = installation.run(&["prune", "--json"]);
    let there: Vec<String> = daemon.list("security").iter().map(|backup| backup["id"].to_string()).collect();
    assert!(kept.iter().all(|id| there.contains(id)), "deleted in recovery: {kept:?} {there:?} {pruned:?}");
    assert_eq!(there.len(), kept.len() + 3, "a backup was refused, or one was deleted");
    let frozen = || {
        let plan = installation.run(&["prune", "--dry-run", "--json"]);
        let plan: Value = serde_json::from_slice(&plan.stdout).unwrap();
        plan["sets"].as_array().unwrap().iter().find(|plan| plan["set"] == "security").unwrap()["frozen"].clone()
    };
    assert!(frozen().is_string(), "{}", frozen());
    assert_eq!(daemon.post("/api/recovery/exit").status, 200);
    assert!(frozen().is_null(), "{}", frozen());

    assert!(daemon.terminate().success());
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    let recovery = Value::from("recovery");
    let changes = records.iter().filter(|record| record["event"] == "ModeChanged").map(|record| &record["details"]);
    let changes: Vec<&Value> = changes.collect();
    let entered = |change: &&&Value| change["to"] == recovery && change["from"] != recovery;
    let entries: Vec<_> = changes.iter().filter(entered).collect();
    assert_eq!((entries.len(), &entries[0]["cause"]), (1, &"integrity_failures".into()), "{changes:#?}");
    let left =
        records.iter().position(|record| record["details"]["from"] == recovery && record["details"]["to"] != recovery);
    let cleaned = records.iter().position(|record| record["event"] == "CleanupCompleted");
    assert!(cleaned.is_none_or(|cleaned| Some(cleaned) > left), "{records:#?}");
}
