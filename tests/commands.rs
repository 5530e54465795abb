//! The command line, with the service running and without.
//!
//! Hazard: two front doors that disagree, and a script that sees 0 where something is wrong.

mod common;

use std::process::Output;

use common::{Installation, SECURITY, code, files};
use serde_json::Value;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const PROBLEMS: i32 = 3;
const INTEGRITY: i32 = 4;

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {:?} {:?}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })
}

/// The document that a command prints, which must end with this code.
fn document(installation: &Installation, arguments: &[&str], expected: i32) -> Value {
    let output = installation.run(&[arguments, &["--json"]].concat());
    assert_eq!(code(output.status), expected, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    json(&output)
}

fn every_command_works(installation: &Installation) {
    let backup = document(installation, &["backup", "security"], DONE);
    let id = backup["id"].as_str().unwrap();
    let list = document(installation, &["list", "--set", "security"], DONE);
    assert_eq!(list["backups"][0]["id"], id);
    assert_eq!(document(installation, &["show", id], DONE)["files"], backup["files"]);
    assert_eq!(document(installation, &["verify", id], DONE)["verdict"], "intact");
    document(installation, &["verify", "--all"], DONE);
    assert!(document(installation, &["status"], DONE)["sets"].is_array());

    let elsewhere = installation.path(format!("restored-{id}"));
    document(installation, &["restore", "security", id, "--to", elsewhere.to_str().unwrap()], DONE);
    for name in SECURITY {
        assert_eq!(files::read(&elsewhere.join(name)), files::read(&installation.path("config").join(name)));
    }
    let live = installation.path("config/security_config.json");
    let content = files::read(&live);
    std::fs::remove_file(&live).unwrap();
    let restored = document(installation, &["restore", "security", "latest"], DONE);
    assert_eq!(restored["restored"].as_array().unwrap().len(), SECURITY.len());
    assert_eq!(files::read(&live), content);

    for arguments in [&["show", "19990101T000000Z-00000000"][..], &["backup", "nosuch"]] {
        let output = installation.run(arguments);
        assert_eq!(code(output.status), FAILED, "{arguments:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1, "one clear line: {arguments:?}");
    }
}

#[test]
fn every_command_works_while_the_service_runs() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    every_command_works(&installation);
    assert_eq!(daemon.get("/readyz").status, 200);
}

#[test]
fn every_command_works_without_the_service() {
    let installation = Installation::new();
    let output = installation.run(&["list"]);
    assert_eq!(code(output.status), FAILED, "there is no repository yet");
    assert!(!installation.path("backups").exists(), "only init and the service create one");
    assert_eq!(code(installation.run(&["init"]).status), DONE);
    every_command_works(&installation);
}

#[test]
fn a_backup_with_missing_files_is_done_with_problems() {
    let installation = Installation::new();
    std::fs::remove_file(installation.path("config/app_config.json")).unwrap();
    assert_eq!(code(installation.run(&["init"]).status), DONE);
    assert_eq!(document(&installation, &["backup", "application"], PROBLEMS)["missing"][0], "app_config.json");
}

#[test]
fn a_damaged_backup_fails_verification_and_restore_with_a_code_of_its_own() {
    let installation = Installation::new();
    assert_eq!(code(installation.run(&["init"]).status), DONE);
    let backup = document(&installation, &["backup", "security"], DONE);
    let id = backup["id"].as_str().unwrap();
    let backups = installation.path("backups");
    let manifest = common::repository::manifest(&backups, "security", id);
    std::fs::remove_file(common::repository::object_path(&backups, common::repository::objects(&manifest)[0])).unwrap();
    let _ = std::fs::remove_dir_all(backups.join("replica"));
    // No live file has its content any more, and there is no replica.
    for file in backup["files"].as_array().unwrap() {
        files::write(&installation.path("config").join(file["path"].as_str().unwrap()), b"{}");
    }
    let before = files::snapshot(&installation.path("config"));
    for arguments in [&["verify", id][..], &["verify", "--all"], &["restore", "security", id]] {
        let output = installation.run(arguments);
        assert_eq!(code(output.status), INTEGRITY, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(files::snapshot(&installation.path("config")), before, "no live file was touched");
}

#[test]
fn log_lines_are_for_people_unless_json_is_asked_for() {
    let installation = Installation::new();
    let daemon = installation.start();
    let listening = format!("listening on http://{}", daemon.authority());
    assert!(daemon.said().lines().any(|line| line.ends_with(&listening)), "{}", daemon.said());
    drop(daemon);

    let installation = Installation::with_settings("[logging]\nformat = \"json\"\n");
    let daemon = installation.start();
    daemon.settle();
    let lines: Vec<Value> = daemon.said().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let completed = lines.iter().find(|line| line["event"] == "BackupCompleted" && line["set"] == "security");
    assert!(completed.is_some_and(|line| line["correlation_id"].is_string()), "{lines:#?}");
}
