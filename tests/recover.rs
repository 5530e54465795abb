//! From a disaster to a validated restore, with one command.
//!
//! Hazard: the moment the product exists for is rehearsed in parts only. Here the real program is broken, started in
//! recovery mode as the procedures say, and brought back by `recover` alone.

mod common;

use std::path::Path;
use std::process::Output;

use common::disaster::{self, back_up, backed_up, configuration, text};
use common::{Daemon, Installation, code, files, repository};
use serde_json::Value;

const DONE: i32 = 0;
const USAGE: i32 = 2;
const PROBLEMS: i32 = 3;

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn in_recovery_mode(installation: &Installation) -> Daemon {
    installation.start_with(&disaster::RECOVERY_MODE)
}

fn digest(plan: &Value) -> String {
    plan["digest"].as_str().unwrap().to_owned()
}

fn entry<'p>(plan: &'p Value, path: &str) -> &'p Value {
    plan["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == path).unwrap()
}

fn survives(disaster: &str, strike: impl Fn(&Installation)) {
    disaster::survives(disaster, &backed_up(), strike);
}

#[test]
fn one_file_corrupted_is_one_command() {
    survives("one file corrupted", |installation| {
        files::write(&installation.path("config/security_config.json"), "{\"level\": ");
    });
}

#[test]
fn all_configuration_deleted_is_one_command() {
    survives("all configuration deleted", |installation| {
        disaster::delete_configuration(installation);
    });
}

#[test]
fn the_configuration_directory_gone_is_one_command() {
    survives("the configuration directory gone", |installation| {
        std::fs::remove_dir_all(installation.path("config")).unwrap();
    });
}

#[test]
fn bit_rot_in_the_newest_backup_and_the_file_gone_is_one_command() {
    survives("bit rot in the repository", |installation| {
        let backups = installation.path("backups");
        let listed = json(&installation.run(&["list", "--set", "security", "--json"]));
        let newest = listed["backups"][0]["id"].as_str().unwrap();
        let manifest = repository::manifest_path(&backups, "security", newest);
        let mut bytes = files::read(&manifest);
        bytes[20] ^= 1;
        files::write(&manifest, bytes);
        std::fs::remove_file(installation.path("config/security_config.json")).unwrap();
    });
}

#[test]
fn bit_rot_that_nobody_had_noticed_is_found_before_the_plan_is_shown() {
    let installation = backed_up();
    let live = installation.path("config/app_config.json");
    let older = files::read(&live);
    let newer = br#"{"version": 2}"#;
    files::write(&live, newer);
    let backup = json(&installation.run(&["backup", "application", "--json"]));
    let backups = installation.path("backups");
    let manifest = repository::manifest(&backups, "application", backup["id"].as_str().unwrap());
    let entries = repository::files(&backups, &manifest);
    let file = entries.iter().find(|file| file["path"] == "app_config.json");
    let object = repository::object_path(&backups, file.unwrap()["chunks"][0]["object"].as_str().unwrap());
    let mut bytes = files::read(&object);
    bytes[5] ^= 1;
    files::write(&object, bytes);
    std::fs::remove_file(&live).unwrap();
    let _daemon = in_recovery_mode(&installation);
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), DONE, "{}", text(&output));
    let back = files::read(&live);
    assert!(back == older || back == newer, "from an older copy, or from a healed one");
}

#[test]
fn a_dry_run_changes_nothing_with_the_service_running_and_without() {
    let installation = backed_up();
    std::fs::remove_file(installation.path("config/app_config.json")).unwrap();
    let before = files::snapshot(installation.root());
    let output = installation.run(&["recover", "--dry-run"]);
    assert_eq!(code(output.status), DONE, "{}", text(&output));
    assert!(text(&output).contains("application/app_config.json  missing"), "{}", text(&output));
    assert_eq!(files::snapshot(installation.root()), before);
    let daemon = in_recovery_mode(&installation);
    let before = files::snapshot(&installation.path("config"));
    let plan = json(&installation.run(&["recover", "--dry-run", "--json"]));
    assert_eq!(plan["restores"], 1, "{plan}");
    assert_eq!(files::snapshot(&installation.path("config")), before);
    assert_eq!(daemon.get("/api/recovery").json()["plan"]["digest"], plan["digest"]);
}

#[test]
fn nobody_is_asked_where_nobody_is() {
    let installation = backed_up();
    std::fs::remove_file(installation.path("config/app_config.json")).unwrap();
    let output = installation.run(&["recover"]);
    assert_eq!(code(output.status), USAGE, "{}", text(&output));
    assert!(text(&output).contains("add --yes to agree"), "{}", text(&output));
    assert!(!installation.path("config/app_config.json").exists());
}

#[test]
fn a_degraded_service_has_the_plan_ready_and_recovers_without_entering_recovery_mode() {
    let installation = backed_up();
    files::write(&installation.path("config/user_preferences.json"), "{");
    let daemon = installation.start();
    let recovery = daemon.get("/api/recovery").json();
    assert_eq!(recovery["name"], "degraded", "{recovery}");
    assert_eq!(recovery["reasons"][0]["code"], "live_files_invalid", "{recovery}");
    assert_eq!(entry(&recovery["plan"], "user_preferences.json")["action"], "restore", "{recovery}");
    daemon.settle();
    let done = installation.run(&["recover", "--yes", "--json"]);
    assert_eq!(code(done.status), DONE, "{}", text(&done));
    assert_eq!(json(&done)["outcome"]["restored"][0]["restored"][0]["path"], "user_preferences.json");
    daemon.wait("all to be well", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
    let again = installation.run(&["recover", "--yes"]);
    assert_eq!(code(again.status), DONE, "{}", text(&again));
    assert!(text(&again).contains("nothing to restore"), "{}", text(&again));
}

#[test]
fn without_a_service_the_command_is_one_for_as_long_as_it_takes() {
    let installation = backed_up();
    let before = configuration(&installation);
    std::fs::remove_dir_all(installation.path("config")).unwrap();
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), DONE, "{}", text(&output));
    assert_eq!(configuration(&installation), before);
}

#[test]
fn a_plan_that_is_no_longer_true_is_refused_and_the_new_one_shown() {
    let installation = backed_up();
    let daemon = in_recovery_mode(&installation);
    std::fs::remove_file(installation.path("config/app_config.json")).unwrap();
    let shown = daemon.post("/api/recovery/plan").json();
    std::fs::remove_file(installation.path("config/workspace_config.json")).unwrap();
    let apply = |digest: &str| daemon.post_json("/api/recovery/apply", &format!("{{\"digest\":\"{digest}\"}}"));
    let refused = apply(&digest(&shown));
    assert_eq!(refused.problem(409), "stale-plan", "{}", refused.text);
    assert!(!installation.path("config/app_config.json").exists(), "something was done all the same");
    let plan = &refused.json()["plan"];
    assert_eq!(plan["restores"], 2, "{plan}");
    let applied = apply(&digest(plan));
    assert_eq!((applied.status, &applied.json()["validated"]), (200, &true.into()), "{}", applied.text);
    assert_eq!(daemon.post("/api/recovery/apply").problem(400), "bad-request");
}

#[test]
fn valid_files_come_back_as_of_a_moment_only_if_asked_for() {
    let installation = backed_up();
    let live = installation.path("config/app_config.json");
    let good = files::read(&live);
    let listed = json(&installation.run(&["list", "--set", "application", "--json"]));
    let moment = listed["backups"][0]["created"].as_str().unwrap().to_owned();
    files::write(&live, "{\"mistaken\": true}");
    assert_eq!(code(installation.run(&["backup", "application"]).status), DONE);

    let output = installation.run(&["recover", "--yes"]);
    assert!(text(&output).contains("nothing to restore"), "{}", text(&output));
    assert_ne!(files::read(&live), good, "a valid file was replaced unasked");
    let output = installation.run(&["recover", "--yes", "--at", &moment]);
    assert_eq!(code(output.status), DONE, "{}", text(&output));
    assert_eq!(files::read(&live), good);

    files::write(&live, "{\"mistaken\": 2}");
    let output = installation.run(&["recover", "--yes", "--set", "application"]);
    assert_eq!(code(output.status), DONE, "{}", text(&output));
    assert_eq!(files::read(&live), b"{\"mistaken\": true}", "the newest good backup has it");

    let unchanged = files::snapshot(&installation.path("config"));
    let output = installation.run(&["recover", "--dry-run", "--at", "2h ago"]);
    assert!(text(&output).starts_with("as of "), "{}", text(&output));
    assert_eq!(files::snapshot(&installation.path("config")), unchanged);

    for refused in [&["recover", "--at", "3 o'clock"][..], &["recover", "--at", "2999-01-01"]] {
        assert_eq!(code(installation.run(refused).status), USAGE);
    }
    let lost = installation.run(&["recover", "--dry-run", "--at", "2001-01-01"]);
    assert_eq!(code(lost.status), DONE, "valid files are kept: {}", text(&lost));
    std::fs::remove_file(&live).unwrap();
    let lost = installation.run(&["recover", "--dry-run", "--at", "2001-01-01"]);
    assert_eq!(code(lost.status), PROBLEMS, "{}", text(&lost));
    assert!(text(&lost).contains("no good copy from before 2001-01-01"), "{}", text(&lost));
}

#[test]
fn a_loss_is_named_and_recovery_mode_is_left_only_with_it_accepted() {
    // A replica would repair what is destroyed here.
    let installation = Installation::with_settings("replicas = []\n");
    back_up(&installation);
    let backups = installation.path("backups");
    for set in ["security", "application"] {
        for backup in json(&installation.run(&["list", "--set", set, "--json"]))["backups"].as_array().unwrap() {
            destroy_file(&backups, set, backup["id"].as_str().unwrap(), "app_config.json");
        }
    }
    std::fs::remove_file(installation.path("config/app_config.json")).unwrap();
    std::fs::remove_file(installation.path("config/security_config.json")).unwrap();
    let _daemon = in_recovery_mode(&installation);
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), PROBLEMS, "{}", text(&output));
    assert!(installation.path("config/security_config.json").exists(), "what was not lost is back");
    let said = text(&output);
    assert!(said.contains("application/app_config.json: LOST: missing; no good copy is left"), "{said}");
    let command = said.lines().find(|line| line.contains("recovery exit --acknowledge")).unwrap();
    let accepted: Vec<&str> = command.split('\'').skip(1).step_by(2).collect();
    assert!(accepted.contains(&"application/app_config.json"), "{command}");
    let mut exit = vec!["recovery", "exit"];
    accepted.iter().for_each(|loss| exit.extend(["--acknowledge", loss]));
    let left = installation.run(&exit);
    assert_eq!(code(left.status), DONE, "{}", text(&left));
}

/// Removes an object that only this file of a backup needs.
fn destroy_file(backups: &Path, set: &str, id: &str, path: &str) {
    let manifest = repository::manifest(backups, set, id);
    let entries = repository::files(backups, &manifest);
    for chunk in entries.iter().filter(|file| file["path"] == path).flat_map(|file| file["chunks"].as_array().unwrap())
    {
        // Another backup may share it.
        let _ = std::fs::remove_file(repository::object_path(backups, chunk["object"].as_str().unwrap()));
    }
}
