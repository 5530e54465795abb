//! What the backup and recovery procedures promise, called as they are written there.
//!
//! Hazard: a documented command that does not work is found out during an outage. Each curl line is given to a shell as
//! it stands in the document, only with the port of the service under test and with a real id.

mod common;

use std::process::Command;

use common::http::Answer;
use common::{APPLICATION, Daemon, Installation, SECURITY, audit, code, files, repository};
use serde_json::Value;

const BACK_UP_SECURITY: &str = "curl -X POST http://localhost:8080/api/backup/security";
const BACK_UP_APPLICATION: &str = "curl -X POST http://localhost:8080/api/backup/application";
const BACK_UP_LOGS: &str = "curl -X POST http://localhost:8080/api/backup/logs";
const LIST: &str = "curl http://localhost:8080/api/backup/list";
const DETAILS: &str = "curl http://localhost:8080/api/backup/{backup_id}";
const RECOVER_SECURITY: &str = "curl -X POST http://localhost:8080/api/recovery/security/{backup_id}";
const RECOVER_APPLICATION: &str = "curl -X POST http://localhost:8080/api/recovery/application/{backup_id}";

fn curl(daemon: &Daemon, line: &str) -> Answer {
    let line = line.replace("localhost:8080", &format!("localhost:{}", daemon.port()));
    let script = format!("{line} --silent --show-error --write-out '\\n%{{http_code}} %{{content_type}}'");
    let mut bash = Command::new("bash");
    common::clear_environment(&mut bash);
    let output = bash.args(["-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let (text, result) = said.rsplit_once('\n').unwrap();
    let (status, content_type) = result.split_once(' ').unwrap();
    let (status, content_type) = (status.parse().unwrap(), content_type.to_owned());
    Answer { status, content_type, text: text.to_owned(), retry_after: None }
}

fn sha256sum(installation: &Installation, file: &str) -> String {
    let output = Command::new("sha256sum").arg(installation.path(file)).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

fn id(backup: &Value) -> &str {
    backup["id"].as_str().unwrap_or_else(|| panic!("no id in {backup}"))
}

fn with_id(line: &str, backup: &Value) -> String {
    line.replace("{backup_id}", id(backup))
}

fn paths(backup: &Value) -> Vec<&str> {
    backup["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

fn ids(list: &Value) -> Vec<&str> {
    list["backups"].as_array().unwrap().iter().map(id).collect()
}

/// The recorded SHA-256 of a file: as the API tells it, and as the manifest on disk does.
fn recorded(installation: &Installation, backup: &Value, path: &str) -> String {
    let told = backup["files"].as_array().unwrap().iter().find(|file| file["path"] == path).unwrap()["sha256"].clone();
    let set = backup["set"].as_str().unwrap();
    let manifest = repository::manifest(&installation.path("backups"), set, id(backup));
    let files = repository::files(&installation.path("backups"), &manifest);
    assert_eq!(files.iter().find(|file| file["path"] == path).unwrap()["sha256"], told);
    told.as_str().unwrap().to_owned()
}

fn assert_backed_up(answer: &Answer, set: &str, files: &[&str], missing: &[&str]) -> Value {
    assert_eq!((answer.status, answer.content_type.as_str()), (201, "application/json"), "{}", answer.text);
    let backup = answer.json();
    assert_eq!((&backup["set"], &backup["kind"], &backup["state"]), (&set.into(), &"manual".into(), &"good".into()));
    assert_eq!((&backup["pinned"], &backup["consistent"]), (&false.into(), &true.into()));
    assert_eq!(paths(&backup), files);
    assert_eq!(backup["missing"], Value::from(missing.to_vec()));
    let sizes = backup["files"].as_array().unwrap().iter().map(|file| file["size_bytes"].as_u64().unwrap());
    assert_eq!(backup["size_bytes"], sizes.sum::<u64>());
    backup
}

#[test]
fn manual_backups_and_their_status_work_as_documented() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let security = assert_backed_up(&curl(&daemon, BACK_UP_SECURITY), "security", &SECURITY, &[]);
    let application = assert_backed_up(&curl(&daemon, BACK_UP_APPLICATION), "application", &APPLICATION, &[]);
    let missing = ["error.log", "operation_audit.log"];
    let logs = assert_backed_up(&curl(&daemon, BACK_UP_LOGS), "logs", &["security_audit.log"], &missing);

    let listed = curl(&daemon, LIST);
    assert_eq!((listed.status, listed.content_type.as_str()), (200, "application/json"));
    let listed = listed.json();
    for backup in [&security, &application, &logs] {
        assert!(ids(&listed).contains(&id(backup)), "{listed}");
        let details = curl(&daemon, &with_id(DETAILS, backup));
        assert_eq!((details.status, details.content_type.as_str()), (200, "application/json"));
        // It may have been read again since.
        let but_for_when = |backup: &Value| {
            let mut backup = backup.clone();
            backup.as_object_mut().unwrap().remove("verified").expect("when it was read");
            backup
        };
        assert_eq!(but_for_when(&details.json()), but_for_when(backup));
    }
    let times = listed["backups"].as_array().unwrap().iter().map(|backup| backup["created"].as_str().unwrap());
    assert!(times.is_sorted_by(|newer, older| newer >= older), "newest first: {listed}");
}

#[test]
fn a_deleted_configuration_file_comes_back_with_the_manifests_hash() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let backup = curl(&daemon, BACK_UP_SECURITY).json();
    let expected = recorded(&installation, &backup, "security_config.json");
    std::fs::remove_file(installation.path("config/security_config.json")).unwrap();

    let answer = curl(&daemon, &with_id(RECOVER_SECURITY, &backup));
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"), "{}", answer.text);
    let outcome = answer.json();
    assert_eq!((&outcome["set"], &outcome["backup"]), (&"security".into(), &backup["id"]));
    let restored = outcome["restored"].as_array().unwrap();
    assert_eq!(restored.iter().map(|file| file["path"].as_str().unwrap()).collect::<Vec<_>>(), SECURITY);
    assert_eq!(sha256sum(&installation, "config/security_config.json"), expected);
    for path in SECURITY {
        assert_eq!(sha256sum(&installation, &format!("config/{path}")), recorded(&installation, &backup, path));
    }
}

#[test]
fn a_changed_configuration_is_put_back_and_kept_in_a_safety_backup() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let backup = curl(&daemon, BACK_UP_APPLICATION).json();
    let live = installation.path("config/app_config.json");
    let (good, bad) = (files::read(&live), b"{\"broken\": ".to_vec());
    files::write(&live, &bad);

    let outcome = curl(&daemon, &with_id(RECOVER_APPLICATION, &backup)).json();
    assert_eq!(files::read(&live), good);
    let safety = outcome["safety_backup"].as_str().unwrap();
    let kept = repository::content(&installation.path("backups"), "application", safety);
    assert!(kept.contains(&("app_config.json".to_owned(), bad)));
    assert_eq!(daemon.get(&format!("/api/backup/{safety}")).json()["kind"], "pre_restore");
}

#[test]
fn every_operation_that_the_procedures_name_is_in_the_chained_audit_log() {
    // A scrub would repair the damage before the restore meets it.
    let installation =
        Installation::with_settings("[backup]\nintegrity_checks = false\n[janitor]\ninterval = \"1s\"\n");
    let daemon = installation.start_with(&[("FIOVANA_MAX_BACKUPS", "1")]);
    daemon.settle();
    let live = installation.path("config/security_config.json");
    let original = files::read(&live);
    let mut backup = Value::Null;
    for version in ["{\"version\": 1}", "{\"version\": 2}"] {
        files::write(&live, version);
        backup = daemon.backup("security");
    }
    assert_eq!(curl(&daemon, &with_id(RECOVER_SECURITY, &backup)).status, 200);
    let log = installation.path("logs/security_audit.log");
    daemon.wait("a cleanup", |_| {
        (audit::count(&audit::chained_records(&log), "CleanupCompleted", "security") > 0).then_some(())
    });

    std::fs::rename(installation.path("config"), installation.path("away")).unwrap();
    assert_eq!(curl(&daemon, BACK_UP_SECURITY).problem(422), "source");
    std::fs::rename(installation.path("away"), installation.path("config")).unwrap();
    files::write(&live, original);

    damage_an_object(&installation, &backup);
    let answer = curl(&daemon, &with_id(RECOVER_SECURITY, &backup));
    assert_eq!(answer.problem(422), "integrity");
    daemon.wait("what exactly is damaged to be found out", |_| {
        (audit::count(&audit::chained_records(&log), "IntegrityCheckFailed", "security") > 0).then_some(())
    });

    assert_eq!(code(daemon.terminate()), 0);
    let records = audit::chained_records(&log);
    for (event, outcome) in [
        ("BackupStarted", "info"),
        ("BackupCompleted", "success"),
        ("BackupFailed", "failure"),
        ("IntegrityCheckFailed", "failure"),
        ("RestoreStarted", "info"),
        ("RestoreCompleted", "success"),
        ("RestoreFailed", "failure"),
        ("CleanupStarted", "info"),
        ("CleanupCompleted", "success"),
    ] {
        let of_security = records.iter().filter(|record| record["event"] == event && record["set"] == "security");
        let outcomes: Vec<&Value> = of_security.map(|record| &record["outcome"]).collect();
        assert!(!outcomes.is_empty(), "no {event} in {:?}", audit::events(&records));
        assert!(outcomes.iter().all(|found| **found == outcome), "{event}: {outcomes:?}");
    }
    let completed =
        records.iter().find(|record| record["event"] == "BackupCompleted" && record["backup_id"] == backup["id"]);
    assert_eq!(completed.unwrap()["details"]["manifest_sha256"], backup["manifest_sha256"]);
    assert_eq!(audit::events(&records).first(), Some(&"ChainStarted"));
    assert_eq!(audit::events(&records).last(), Some(&"ServiceStopped"));
}

fn damage_an_object(installation: &Installation, backup: &Value) {
    let backups = installation.path("backups");
    let manifest = repository::manifest(&backups, "security", id(backup));
    let path = repository::object_path(&backups, repository::objects(&manifest)[0]);
    let mut bytes = files::read(&path);
    *bytes.last_mut().unwrap() ^= 1;
    files::set_mode(&path, 0o600);
    files::write(&path, bytes);
}
