//! Into recovery mode by damage, through a kill, and out again.
//!
//! Hazard: a recovery mode that is missed, forgotten by a restart, or entered again for what was dealt with.

mod common;

use std::path::{Path, PathBuf};

use common::{Installation, files};
use serde_json::Value;

/// The objects of a backup.
fn objects(backups: &Path, id: &str) -> Vec<PathBuf> {
    let manifest = std::fs::read(backups.join(format!("manifests/security/{id}.json"))).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let names =
        manifest["envelope"]["objects"].as_array().unwrap().iter().map(|object| object["name"].as_str().unwrap());
    names.map(|name| backups.join("objects").join(&name[..2]).join(name)).collect()
}

#[test]
fn three_damaged_objects_are_recovery_mode_until_a_validation_passed_whatever_is_killed() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup("security")["id"].as_str().unwrap().to_owned();
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
