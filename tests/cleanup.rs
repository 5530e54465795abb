//! What is deleted, held, pinned and given up, by the real program.
//!
//! Hazard: a cleanup that does what it was told, when what it was told is wrong.

mod common;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use common::audit::{chained_records, count};
use common::{Daemon, Installation, code, files, repository};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const DONE: i32 = 0;
const FAILED: i32 = 1;
const PROBLEMS: i32 = 3;

fn json(installation: &Installation, arguments: &[&str], expected: i32) -> Value {
    let output = installation.run(&[arguments, &["--json"]].concat());
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(code(output.status), expected, "{arguments:?}: {said}{complained}");
    serde_json::from_str(&said).unwrap_or(Value::Null)
}

/// Makes so many versions of the security set, each with nothing of the one before; returns their ids, oldest first.
fn versions(installation: &Installation, daemon: &Daemon, count: usize) -> Vec<String> {
    let version = |number| {
        let all = installation.path("config").read_dir().unwrap().map(|entry| entry.unwrap().path());
        for file in all.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
            files::write(&file, format!("{{\"version\": {number}, \"of\": {file:?}}}"));
        }
        daemon.backup("security")["id"].as_str().unwrap().to_owned()
    };
    (0..count).map(version).collect()
}

fn plan_of<'a>(plan: &'a Value, set: &str) -> &'a Value {
    plan["sets"].as_array().unwrap().iter().find(|plan| plan["set"] == set).unwrap()
}

/// Makes a backup seem to be from so many days later.
fn postdate(installation: &Installation, set: &str, id: &str, days: i64) {
    let backups = installation.path("backups");
    let mut manifest = repository::manifest(&backups, set, id);
    let created: DateTime<Utc> = manifest["envelope"]["created"].as_str().unwrap().parse().unwrap();
    let created = created + TimeDelta::days(days);
    manifest["envelope"]["created"] = Value::from(created.to_rfc3339_opts(SecondsFormat::Secs, true));
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let dated = format!("{}-{}", created.format("%Y%m%dT%H%M%SZ"), &files::sha256(&bytes)[..32]);
    files::write(&repository::manifest_path(&backups, set, &dated), bytes);
    std::fs::remove_file(repository::manifest_path(&backups, set, id)).unwrap();
}

#[test]
fn a_cleanup_of_more_than_half_waits_until_somebody_confirms_it() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    let made = versions(&installation, &daemon, 6);
    daemon.terminate();

    let daemon = installation.start_with(&[("FIOVANA_MAX_BACKUPS", "1")]);
    let held = daemon.wait("the cleanup to be held", |daemon| {
        let held = daemon.set("security")["held"].clone();
        (held["deletions"].as_u64() >= Some(5)).then_some(held)
    });
    assert_eq!(held["reason"], "large_share", "{held}\n{}", daemon.said());
    daemon.settle();
    assert!(daemon.list("security").len() >= made.len(), "nothing was deleted");

    json(&installation, &["pin", &made[1]], DONE);
    json(&installation, &["prune", "--confirm", "0123456789abcdef"], FAILED);
    let plan = json(&installation, &["prune", "--dry-run"], DONE);
    let security = plan_of(&plan, "security");
    let pinned = security["backups"].as_array().unwrap().iter().find(|backup| backup["id"] == made[1].as_str());
    assert_eq!(pinned.unwrap()["reason"], "pinned", "{}", daemon.said());
    let digest = security["held"]["digest"].as_str().unwrap();
    json(&installation, &["prune"], PROBLEMS);
    json(&installation, &["prune", "--confirm", digest], DONE);
    let left = daemon.list("security");
    let ids: Vec<_> = left.iter().map(|backup| backup["id"].as_str().unwrap()).collect();
    assert!(ids.len() == 2 && ids[1] == made[1], "the newest and the pinned one: {ids:?}\n{}", daemon.said());
    let set = daemon.set("security");
    assert!(set["held"].is_null(), "{set}\n{}", daemon.said());
    let log = chained_records(&installation.path("logs/security_audit.log"));
    assert!(count(&log, "CleanupHeld", "security") > 0 && count(&log, "Pinned", "security") == 1);
}

#[test]
fn without_auto_cleanup_nothing_goes_unless_it_is_confirmed() {
    let settings = "[backup]\nauto_cleanup = false\nmax_backups = 3\n[janitor]\ninterval = \"1s\"\ngrace = \"0s\"\n";
    let installation = Installation::with_settings(settings);
    let daemon = installation.start();
    daemon.settle();
    let made = versions(&installation, &daemon, 3);
    let held = daemon.wait("the cleanup to be planned", |daemon| {
        let held = daemon.set("security")["held"].clone();
        (held["reason"] == "not_automatic").then_some(held)
    });
    assert_eq!(daemon.list("security").len(), made.len() + 1);
    let before = stored(&installation.path("backups"));
    let done = json(&installation, &["prune", "--confirm", held["digest"].as_str().unwrap()], DONE);
    assert_eq!(daemon.list("security").len(), 3);
    let after = stored(&installation.path("backups"));
    let gone: u64 = before.iter().filter(|(path, _)| !after.contains_key(*path)).map(|(_, bytes)| bytes).sum();
    assert!(done["objects"].as_u64() > Some(0), "{done}");
    assert_eq!(done["freed_bytes"], gone, "what it says is free is what is gone");
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let told = records.iter().filter(|record| record["event"] == "CleanupCompleted");
    let told = told.filter(|record| record["details"]["replica"].is_null());
    assert_eq!(told.filter_map(|record| record["details"]["freed_bytes"].as_u64()).sum::<u64>(), gone);
}

/// Manifests and objects, with their sizes.
fn stored(backups: &Path) -> BTreeMap<String, u64> {
    let mut stored = BTreeMap::new();
    let mut directories = vec![backups.join("manifests"), backups.join("objects")];
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            match metadata.is_dir() {
                true => directories.push(entry.path()),
                false => drop(stored.insert(entry.path().display().to_string(), metadata.len())),
            }
        }
    }
    stored
}

#[test]
fn what_is_due_goes_within_the_interval_though_nothing_is_backed_up() {
    let installation = Installation::with_settings("[backup]\nmax_backups = 2\n[janitor]\ninterval = \"1s\"\n");
    let daemon = installation.start();
    daemon.settle();
    let first = daemon.list("security")[0]["id"].as_str().unwrap().to_owned();
    json(&installation, &["pin", &first], DONE);
    versions(&installation, &daemon, 2);
    assert_eq!(daemon.list("security").len(), 3);
    json(&installation, &["unpin", &first], DONE);
    daemon.wait("the first to go", |daemon| (daemon.list("security").len() == 2).then_some(()));
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let unpinned = records.iter().find(|record| record["event"] == "Unpinned").unwrap();
    assert_eq!(unpinned["principal"], "token:cli", "{unpinned}");
}

#[test]
fn the_quarantine_is_cleared_only_by_somebody_who_names_what_is_in_it() {
    let installation = Installation::with_settings("[janitor]\ninterval = \"1s\"\ngrace = \"0s\"\n");
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    let backups = installation.path("backups");
    daemon.wait("the replica to have it", |_| {
        repository::manifest_path(&backups.join("replica"), "security", &id).exists().then_some(())
    });
    let manifest = repository::manifest(&backups, "security", &id);
    let object = repository::object_path(&backups, repository::objects(&manifest)[0]);
    let right = files::read(&object);
    let mut damaged = right.clone();
    damaged[7] ^= 1;
    files::write(&object, &damaged);
    // Whoever reads it first heals it: this, or a scrub.
    installation.run(&["verify", &id]);
    daemon.wait("the object to be healed", |_| (files::read(&object) == right).then_some(()));

    let shown = json(&installation, &["prune", "--dry-run"], DONE)["quarantine"].clone();
    assert_eq!((&shown["files"], &shown["bytes"]), (&Value::from(1), &Value::from(damaged.len())));
    json(&installation, &["prune"], DONE);
    json(&installation, &["prune", "--clear-quarantine", "0123456789abcdef"], FAILED);
    assert_eq!(daemon.status()["damage"]["quarantined"], 1);
    let done = json(&installation, &["prune", "--clear-quarantine", shown["digest"].as_str().unwrap()], DONE);
    assert_eq!(done["quarantine_cleared"], 1);
    assert!(done["freed_bytes"].as_u64() > Some(damaged.len() as u64), "the file and its note: {done}");
    assert_eq!(backups.join("quarantine").read_dir().unwrap().count(), 0);
    assert_eq!(daemon.status()["damage"]["quarantined"], 0);
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let cleared: Vec<_> = records.iter().filter(|record| record["event"] == "QuarantineCleared").collect();
    assert_eq!((cleared.len(), &cleared[0]["details"]["count"]), (1, &Value::from(1)));
    assert_eq!(cleared[0]["principal"], "token:cli", "{}", cleared[0]);
}

#[test]
fn a_clock_that_contradicts_the_newest_backup_freezes_deletion_until_it_is_accepted() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    let made = versions(&installation, &daemon, 3);
    daemon.terminate();
    postdate(&installation, "security", &made[2], 400);

    let daemon = installation.start_with(&[("FIOVANA_MAX_BACKUPS", "1")]);
    daemon.wait("the clock to be doubted", |daemon| {
        let reasons = daemon.status()["mode"]["reasons"].to_string();
        (reasons.contains("clock_suspect") && daemon.get("/metrics").text.contains("\nfiovana_clock_suspect 1"))
            .then_some(())
    });
    let id = daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    let manifest = repository::manifest(&installation.path("backups"), "security", &id);
    assert_eq!(manifest["envelope"]["clock_suspect"], true);
    let plan = json(&installation, &["prune", "--dry-run"], DONE);
    assert_eq!(plan_of(&plan, "security")["frozen"], "the clock is suspect");

    json(&installation, &["clock", "accept"], DONE);
    daemon.wait("the clock to be believed", |daemon| {
        daemon.get("/metrics").text.contains("\nfiovana_clock_suspect 0").then_some(())
    });
    let plan = json(&installation, &["prune", "--dry-run"], DONE);
    assert!(plan_of(&plan, "security")["frozen"].is_null(), "{plan}");
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let told: Vec<_> = records.iter().filter(|record| record["event"] == "ClockSuspect").collect();
    assert_eq!((told.len(), &told[1]["details"]["accepted"]), (2, &Value::Bool(true)));
}

#[test]
fn what_is_damaged_is_given_up_only_once_it_is_confirmed_and_what_is_good_never() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    let made = versions(&installation, &daemon, 2);
    daemon.terminate();
    let manifest = repository::manifest_path(&installation.path("backups"), "security", &made[0]);
    files::write(&manifest, "{}");

    json(&installation, &["forget", &made[1]], FAILED);
    let shown = json(&installation, &["forget", &made[0]], PROBLEMS);
    assert_eq!((&shown["done"], &shown["sequences"][0]), (&Value::Bool(false), &Value::from(1)));
    assert!(manifest.exists());
    let digest = shown["digest"].as_str().unwrap();
    let done = json(&installation, &["forget", &made[0], "--confirm", digest], DONE);
    assert_eq!(done["done"], true);
    assert!(!manifest.exists());
    let plan = json(&installation, &["prune", "--dry-run"], DONE);
    assert!(plan["garbage"]["blocked"].is_null() && plan["garbage"]["objects"].as_u64() > Some(0), "{plan}");
    json(&installation, &["forget", "security:1"], FAILED);
}
