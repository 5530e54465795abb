//! The documented variables, and their defaults.
//!
//! Hazard: a variable that is read and has no effect is worse than one that is refused.

mod common;

use std::path::Path;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use common::{Daemon, Installation, files, repository};
use serde_json::Value;

/// Without a replica: it would bring back what a test renames.
const SWEEP_EACH_SECOND: &str = "replicas = []\n[janitor]\ninterval = \"1s\"\n";

/// Makes so many more versions of the security set; returns their ids, oldest first.
fn versions(installation: &Installation, daemon: &Daemon, count: usize) -> Vec<String> {
    let version = |number| {
        files::write(&installation.path("config/security_config.json"), format!("{{\"version\": {number}}}"));
        daemon.backup("security")["id"].as_str().unwrap().to_owned()
    };
    (0..count).map(version).collect()
}

fn listed(daemon: &Daemon) -> Vec<String> {
    let mut ids: Vec<String> =
        daemon.list("security").iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect();
    ids.reverse();
    ids
}

/// Makes a backup seem to be from so many days ago; returns its new id.
fn age(backups: &Path, set: &str, id: &str, days: i64) -> String {
    let mut manifest = repository::manifest(backups, set, id);
    let created: DateTime<Utc> = manifest["envelope"]["created"].as_str().unwrap().parse().unwrap();
    let created = created - TimeDelta::days(days);
    manifest["envelope"]["created"] = Value::from(created.to_rfc3339_opts(SecondsFormat::Secs, true));
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let aged = format!("{}-{}", created.format("%Y%m%dT%H%M%SZ"), &files::sha256(&bytes)[..32]);
    files::write(&repository::manifest_path(backups, set, &aged), bytes);
    std::fs::remove_file(repository::manifest_path(backups, set, id)).unwrap();
    aged
}

#[test]
fn backups_are_in_the_backup_directory() {
    let installation = Installation::new();
    drop(installation.start());
    assert!(installation.path("backups/repository.json").is_file());

    let installation = Installation::new();
    let elsewhere = installation.path("some/where else");
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_DIRECTORY", &elsewhere)]);
    daemon.backup_when_free("security");
    assert!(elsewhere.join("repository.json").is_file());
    assert!(!installation.path("backups").exists());
}

#[test]
fn a_disabled_backup_system_schedules_nothing_and_still_backs_up_on_request() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    assert_eq!(daemon.status()["enabled"], false);
    daemon.backup("application");
    assert_eq!(daemon.list("application").len(), 1);
    assert_eq!(daemon.list("security").len(), 0);
    assert!(daemon.set("security")["next_run"].is_null());
    assert!(daemon.set("security")["last_attempt"].is_null());
}

#[test]
fn an_enabled_one_backs_up_each_set_at_once_and_on_schedule() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    assert_eq!(daemon.status()["enabled"], true);
    for (set, hours) in [("security", 1), ("application", 6), ("logs", 24)] {
        let set = daemon.set(set);
        assert_eq!(set["interval_seconds"], hours * 3600, "{set}");
        assert_eq!(set["backups"]["good"], 1, "{set}");
        let time = |field: &str| set[field].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
        assert_eq!(time("next_run") - time("last_attempt"), TimeDelta::hours(hours), "{set}");
    }
}

#[test]
fn ten_backups_are_kept_unless_another_number_is_given() {
    for (variables, kept) in
        [(vec![], 10), (vec![("FIOVANA_MAX_BACKUPS", "2")], 2), (vec![("FIOVANA_MAX_BACKUPS", "1")], 1)]
    {
        let installation = Installation::with_settings(SWEEP_EACH_SECOND);
        let daemon = installation.start_with(&variables);
        daemon.settle();
        let made = versions(&installation, &daemon, kept + 2);
        let left = daemon.wait("a cleanup", |daemon| Some(listed(daemon)).filter(|left| left.len() <= kept));
        assert_eq!(left.len(), kept);
        assert_eq!(left.last(), made.last());
        assert_eq!(daemon.set("security")["backups"]["good"], kept, "one at least is left that is good");
    }
}

#[test]
fn versions_are_kept_for_thirty_days_after_they_were_replaced_unless_another_number_is_given() {
    // Each but the last, which is of now, was made so many days ago, and replaced when the next one was made.
    for (variables, days, kept) in [
        // Where nobody says for how long, the newest three stay however old they are: there are more.
        (vec![], vec![50, 40, 32, 29, 28, 27], 5),
        (vec![("FIOVANA_RETENTION_DAYS", "36")], vec![50, 40, 35], 3),
        (vec![("FIOVANA_RETENTION_DAYS", "1")], vec![5, 3, 2], 2),
    ] {
        let installation = Installation::with_settings(SWEEP_EACH_SECOND);
        let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
        let made = versions(&installation, &daemon, days.len() + 1);
        daemon.terminate();
        let backups = installation.path("backups");
        let aged = made.iter().zip(days).map(|(id, days)| age(&backups, "security", id, days));
        let mut expected: Vec<String> = aged.chain(made.last().cloned()).collect();
        expected.drain(..made.len() - kept);
        // It knows the manifests by the names they had, and would take them for lost.
        std::fs::remove_file(backups.join("state/verification-security.json")).unwrap();

        let daemon = installation.start_with(&variables);
        daemon.settle();
        let left = daemon.wait("a cleanup", |daemon| {
            let left = listed(daemon);
            // The first scheduled run may find the newest version in place or make another of it.
            (left.first() == expected.first()).then_some(left)
        });
        assert_eq!(left[..kept], expected);
    }
}

#[test]
fn the_recovery_flag_starts_in_recovery_mode() {
    let installation = Installation::new();
    assert_eq!(common::code(installation.run(&["init"]).status), 0);
    let daemon = installation.start_listening(&[("FIOVANA_RECOVERY_MODE", "true")]);
    let mode = daemon.wait("recovery mode", |daemon| {
        let mode = daemon.status()["mode"].clone();
        (mode["name"] == "recovery").then_some(mode)
    });
    assert!(mode["cause"].is_string(), "{mode}");
    assert_eq!(daemon.get("/api/recovery").json()["name"], "recovery");
    assert!(daemon.said().contains("recovery"), "{}", daemon.said());
    let backup = daemon.backup("security");
    assert_eq!(backup["state"], "good");
    assert_eq!(daemon.list("security").len(), 1, "the flag suspends the schedules");
}
