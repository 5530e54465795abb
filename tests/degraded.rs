//! What needs a person is said while it is true, and no longer.
//!
//! Hazard: a warning that nobody raises, or that stays until nobody believes it.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use common::{Daemon, Installation};

/// Waits until the service says this reason, and returns what it says of it.
fn reason(daemon: &Daemon, code: &str) -> String {
    daemon.wait(code, |daemon| {
        let mode = daemon.status()["mode"].clone();
        let reasons = mode["reasons"].as_array().unwrap();
        let reason = reasons.iter().find(|reason| reason["code"] == code)?;
        reason["detail"].as_str().map(str::to_owned)
    })
}

fn wait_until_normal(daemon: &Daemon) {
    daemon.wait("mode normal", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
}

fn permit(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_lost_live_file_is_told_by_name_until_it_is_back() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    std::fs::remove_file(installation.path("config/security_config.json")).unwrap();
    let detail = reason(&daemon, "live_files_missing");
    assert!(detail.contains("security/security_config.json"), "{detail}");
    assert_eq!(daemon.post("/api/recovery/security/latest").status, 200);
    wait_until_normal(&daemon);
}

#[test]
fn a_set_that_fails_again_and_again_is_told_with_its_error_until_a_run_succeeds() {
    let installation = Installation::with_settings("[sets.own]\nsource = \"own\"\nfiles = [\"*.json\"]\n");
    std::fs::create_dir(installation.path("own")).unwrap();
    let daemon = installation.start();
    for _ in 0..3 {
        daemon.wait("a failed run", |daemon| (daemon.post("/api/backup/own").status == 422).then_some(()));
    }
    let detail = reason(&daemon, "backups_failing");
    assert!(detail.starts_with("own (") && detail.contains("runs in a row"), "{detail}");
    common::files::write(&installation.path("own/a.json"), "{}");
    daemon.wait("a backup", |daemon| (daemon.post("/api/backup/own").status == 201).then_some(()));
    wait_until_normal(&daemon);
}

#[test]
fn a_mode_that_cannot_be_saved_is_told_and_saved_as_soon_as_it_can_be() {
    let installation = Installation::unprivileged();
    let daemon = installation.start();
    daemon.settle();
    let state = installation.path("backups/state");
    permit(&state, 0o500);
    assert_eq!(daemon.post("/api/recovery/enter").status, 200);
    let detail = reason(&daemon, "mode_not_persisted");
    assert!(detail.contains("backup directory"), "{detail}");
    let mode = daemon.status()["mode"].clone();
    assert_eq!((&mode["name"], &mode["persisted"]), (&"recovery".into(), &false.into()), "{mode}");
    assert!(daemon.get("/metrics").text.contains("fiovana_mode_persisted 0"));
    permit(&state, 0o700);
    daemon.wait("the mode to be saved", |daemon| {
        let mode = daemon.status()["mode"].clone();
        (mode["persisted"] == true && mode["reasons"].as_array().unwrap().is_empty()).then_some(())
    });
    daemon.kill();
    assert_eq!(installation.start().status()["mode"]["name"], "recovery");
}

#[test]
fn an_audit_log_that_cannot_be_written_is_told_until_it_can_be() {
    let installation = Installation::unprivileged();
    let daemon = installation.start();
    daemon.settle();
    let logs = installation.path("logs");
    std::fs::remove_file(logs.join("security_audit.log")).unwrap();
    permit(&logs, 0o500);
    let id = daemon.backup("security")["id"].clone();
    let detail = reason(&daemon, "audit_unwritable");
    assert!(detail.contains("logs/security_audit.log"), "{detail}");
    permit(&logs, 0o700);
    // It was deleted, which is told until a person has said that it is known.
    let detail = reason(&daemon, "audit_chain_broken");
    assert!(detail.contains("logs/security_audit.log") && detail.contains("audit accept"), "{detail}");
    assert_eq!(daemon.post("/api/audit/accept").status, 200);
    wait_until_normal(&daemon);
    let log = std::fs::read_to_string(logs.join("security_audit.log")).unwrap();
    let completed = |line: &str| line.contains("\"BackupCompleted\"") && line.contains(id.as_str().unwrap());
    assert!(log.lines().any(completed), "what came while it could not be written is lost:\n{log}");
}
