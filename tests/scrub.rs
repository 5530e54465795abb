//! Damage that nobody looks for, found and healed while the service runs.
//!
//! Hazard: bytes that rot between two readings nobody asked for.

mod common;

use std::path::Path;

use common::{Daemon, Installation, audit, files, repository};

const SCRUB_EACH_SECOND: &str = "[scrub]\nwithin = \"1s\"\nrate_mib_per_second = 0\n";

/// Turns a bit of a file; what it was.
fn damage(path: &Path) -> Vec<u8> {
    let right = files::read(path);
    let mut wrong = right.clone();
    wrong[7] ^= 1;
    files::write(path, &wrong);
    right
}

fn wait_for_healing(daemon: &Daemon, path: &Path, right: &[u8]) {
    daemon.wait(&format!("{} to be healed", path.display()), |_| (files::read(path) == right).then_some(()));
}

#[test]
fn a_damaged_object_or_manifest_here_or_in_the_replica_is_healed_by_the_next_scrub_and_audited() {
    let installation = Installation::with_settings(SCRUB_EACH_SECOND);
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    let backups = installation.path("backups");
    let manifest = repository::manifest(&backups, "security", &id);
    let object = repository::objects(&manifest)[0].to_owned();
    let replica = backups.join("replica");
    let copied = repository::manifest_path(&replica, "security", &id);
    daemon.wait("the replica to have it", |_| copied.exists().then_some(()));
    for place in [&backups, &replica] {
        for path in [repository::object_path(place, &object), repository::manifest_path(place, "security", &id)] {
            let right = damage(&path);
            wait_for_healing(&daemon, &path, &right);
        }
    }
    let path = repository::object_path(&backups, &object);
    let right = files::read(&path);
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    daemon.wait("the symlink to be replaced", |_| (!path.is_symlink() && path.is_file()).then_some(()));
    wait_for_healing(&daemon, &path, &right);
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    daemon.wait("the directory to be replaced", |_| path.is_file().then_some(()));
    wait_for_healing(&daemon, &path, &right);
    daemon.wait("the backup to be good", |daemon| {
        (daemon.get(&format!("/api/backup/{id}")).json()["state"] == "good").then_some(())
    });
    let metrics = daemon.get("/metrics").text;
    assert!(metrics.contains("fiovana_repairs_total{source=\"replica\"}"), "{metrics}");
    daemon.terminate();
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    let healed = records.iter().filter(|record| record["event"] == "RepairCompleted").count();
    assert!(healed >= 4, "{records:#?}");
    let quarantined = |place: &Path| place.join("quarantine").read_dir().unwrap().count();
    assert!(quarantined(&backups) >= 4 && quarantined(&replica) >= 4, "damaged bytes were thrown away");
}
