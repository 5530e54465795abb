//! kill -9 of the real program at random moments, and orderly ends.
//!
//! Hazard: a backup that was acknowledged and is gone after a crash. Whatever was answered with 201 must be there
//! afterwards, byte for byte, with nobody's help.
//!
//! A failure prints the seed; `FIOVANA_TEST_SEED=SEED` replays its choices (the kernel's scheduling is its own).

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use common::{Daemon, Installation, audit, code, files, repository, wait_for};
use fastrand::Rng;
use serde_json::Value;

const SETTINGS: &str = r#"
[sets.notes]
source = "./notes"
files = ["**"]
interval = "1d"
max_backups = 1000000
"#;

const ROUNDS: usize = 30;
const LONG_ROUNDS: usize = 3000;
/// So many acknowledged backups are checked in each round, and all of them in the end.
const CHECKED_EACH_ROUND: usize = 12;

type Content = BTreeMap<String, Vec<u8>>;

/// A backup that was acknowledged, and what it must hold.
#[derive(Clone)]
struct Acknowledged {
    id: String,
    content: Content,
}

fn seed() -> u64 {
    let given = std::env::var("FIOVANA_TEST_SEED").ok();
    let seed = given.map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FIOVANA_TEST_SEED={seed}");
    seed
}

/// Some small files, some that do not change, an empty one, and one of several chunks now and then.
fn next_content(rng: &mut Rng, previous: &Content) -> Content {
    let mut content = previous.clone();
    let mut random = |length: usize| -> Vec<u8> { (0..length).map(|_| rng.u8(..)).collect() };
    content.insert("empty".into(), Vec::new());
    content.insert("small.bin".into(), random(200));
    content.entry("constant.bin".into()).or_insert_with(|| random(70_000));
    if rng.u8(..8) == 0 {
        let length = rng.usize(1..3 << 20);
        content.insert("large.bin".into(), (0..length).map(|_| rng.u8(..)).collect());
    }
    content
}

/// Backs up one content after the other until the service is gone.
fn back_up_until_killed(
    installation: &Installation,
    daemon: &Daemon,
    mut rng: Rng,
    acknowledged: &Mutex<Vec<Acknowledged>>,
) {
    let mut content = acknowledged.lock().unwrap().last().map(|last| last.content.clone()).unwrap_or_default();
    let notes = installation.path("notes");
    // What was written last may not have been acknowledged: it is not part of what is built upon.
    std::fs::remove_dir_all(&notes).unwrap();
    std::fs::create_dir(&notes).unwrap();
    loop {
        content = next_content(&mut rng, &content);
        content.iter().for_each(|(name, bytes)| files::write(&notes.join(name), bytes));
        match daemon.try_post("/api/backup/notes") {
            Err(_) => return,
            Ok(answer) if answer.status == 201 => {
                let id = answer.json()["id"].as_str().unwrap().to_owned();
                acknowledged.lock().unwrap().push(Acknowledged { id, content: content.clone() });
            }
            // A scheduled run is in the way, or the service is just going.
            Ok(answer) => assert!([409, 503].contains(&answer.status), "{}", answer.text),
        }
    }
}

fn kill_while_it_starts(installation: &Installation, rng: &mut Rng) {
    let daemon = installation.begin();
    std::thread::sleep(Duration::from_micros(rng.u64(..60_000)));
    daemon.kill();
}

fn assert_whole(installation: &Installation, daemon: &Daemon, backup: &Acknowledged) {
    let stored: Content = repository::content(&installation.path("backups"), "notes", &backup.id).into_iter().collect();
    assert_eq!(stored.keys().collect::<Vec<_>>(), backup.content.keys().collect::<Vec<_>>());
    assert!(stored == backup.content, "{} holds other bytes than those acknowledged", backup.id);
    let told = daemon.get(&format!("/api/backup/{}", backup.id));
    assert_eq!((told.status, &told.json()["state"]), (200, &"good".into()), "{}", told.text);
}

/// The records of a log that may have lines torn by crashes: those that are whole must be chained.
fn assert_chained_over_crashes(installation: &Installation) -> Vec<Value> {
    let text = String::from_utf8_lossy(&files::read(&installation.path("logs/security_audit.log"))).into_owned();
    let mut records = Vec::new();
    let mut prev = "0".repeat(64);
    for line in text.lines() {
        let Ok(record) = serde_json::from_str::<Value>(line) else { continue };
        assert_eq!((&record["seq"], &record["prev"]), (&(records.len() + 1).into(), &prev.into()), "{line}");
        prev = files::sha256(line.as_bytes());
        records.push(record);
    }
    records
}

#[test]
fn every_acknowledged_backup_survives_kill_9_at_any_moment_with_nobodys_help() {
    let mut rng = Rng::with_seed(seed());
    let installation = Installation::with_settings(SETTINGS);
    std::fs::create_dir(installation.path("notes")).unwrap();
    let acknowledged = Mutex::new(Vec::new());
    for _round in 0..if common::long() { LONG_ROUNDS } else { ROUNDS } {
        if rng.u8(..4) == 0 {
            kill_while_it_starts(&installation, &mut rng);
        }
        let daemon = installation.start();
        let all = acknowledged.lock().unwrap().clone();
        let newest = all.iter().rev().take(CHECKED_EACH_ROUND / 2);
        let others = (0..CHECKED_EACH_ROUND / 2).filter_map(|_| rng.choice(&all));
        newest.chain(others).for_each(|backup| assert_whole(&installation, &daemon, backup));

        let (writer, delay) = (rng.fork(), Duration::from_micros(rng.u64(..60_000)));
        let enough = all.len() + rng.usize(..4);
        std::thread::scope(|scope| {
            let kill = daemon.killed_when_dropped();
            scope.spawn(|| back_up_until_killed(&installation, &daemon, writer, &acknowledged));
            daemon.wait("backups", |_| (acknowledged.lock().unwrap().len() >= enough).then_some(()));
            // A sleep that is meant: it chooses the moment of the crash.
            std::thread::sleep(delay);
            drop(kill);
        });
    }
    let daemon = installation.start();
    let all = acknowledged.into_inner().unwrap();
    assert!(all.len() >= ROUNDS / 2, "only {} backups were acknowledged", all.len());
    all.iter().for_each(|backup| assert_whole(&installation, &daemon, backup));
    for backup in (0..5).filter_map(|_| rng.choice(&all)) {
        let answer = daemon.post(&format!("/api/recovery/notes/{}", backup.id));
        assert_eq!(answer.status, 200, "{}", answer.text);
        let restored = |name: &String| files::read(&installation.path("notes").join(name));
        assert!(backup.content.iter().all(|(name, bytes)| restored(name) == *bytes), "{} restored wrongly", backup.id);
    }
    assert_eq!(daemon.set("notes")["lost_sequences"], Value::from(Vec::<u64>::new()));
    let records = assert_chained_over_crashes(&installation);
    for backup in &all {
        let recorded = |r: &Value| r["event"] == "BackupCompleted" && r["backup_id"] == backup.id.as_str();
        assert!(records.iter().any(recorded), "{} was acknowledged and is not in the audit log", backup.id);
    }
}

#[test]
fn sigterm_ends_the_service_in_order() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    assert_eq!(code(daemon.terminate()), 0);
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    assert_eq!(audit::events(&records).last(), Some(&"ServiceStopped"));
}

#[test]
fn sigterm_during_a_backup_ends_in_order_and_leaves_the_backup_whole_or_absent() {
    let installation = Installation::with_settings(SETTINGS);
    std::fs::create_dir(installation.path("notes")).unwrap();
    files::write_huge(&installation.path("notes/huge.bin"));
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    let answer = std::thread::scope(|scope| {
        let request = scope.spawn(|| daemon.try_post("/api/backup/notes"));
        daemon.wait("the backup to run", |daemon| {
            assert!(!request.is_finished(), "it ended too soon to be interrupted: {:?}", daemon.said());
            (!daemon.set("notes")["running_since"].is_null()).then_some(())
        });
        daemon.signal_to_end();
        request.join().unwrap()
    });
    assert_eq!(code(daemon.terminate()), 0);
    let events = audit::chained_records(&installation.path("logs/security_audit.log"));
    assert_eq!(audit::events(&events).last(), Some(&"ServiceStopped"));

    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    let there = daemon.list("notes");
    match answer {
        Ok(answer) if answer.status == 201 => assert_eq!(there.len(), 1),
        Ok(answer) => assert_eq!(answer.problem(503), "unavailable"),
        Err(_) => assert!(there.len() <= 1),
    }
    for backup in there {
        assert_eq!(backup["state"], "good");
        repository::content(&installation.path("backups"), "notes", backup["id"].as_str().unwrap());
    }
}

#[test]
fn a_restart_repeats_no_scheduled_run() {
    let installation = Installation::new();
    let log = installation.path("logs/security_audit.log");
    let daemon = installation.start();
    let before = daemon.settle().set("security");
    assert_eq!(code(daemon.terminate()), 0);
    let runs = audit::count(&audit::chained_records(&log), "BackupStarted", "security");

    let daemon = installation.start();
    // Whatever was due at the start goes first, so this is answered after it.
    daemon.backup_when_free("application");
    let after = daemon.set("security");
    for field in ["last_attempt", "last_success", "next_run", "latest", "backups"] {
        assert_eq!(after[field], before[field], "{field}");
    }
    assert_eq!(audit::count(&audit::chained_records(&log), "BackupStarted", "security"), runs);
}

#[test]
fn a_run_that_came_due_during_downtime_is_made_up_for_once() {
    let installation = Installation::with_settings("[sets.security]\ninterval = \"2s\"\n");
    let daemon = installation.start();
    let before = daemon.settle().set("security");
    assert_eq!(code(daemon.terminate()), 0);
    let due: chrono::DateTime<chrono::Utc> = before["next_run"].as_str().unwrap().parse().unwrap();
    let overdue = due + chrono::TimeDelta::seconds(2);
    wait_for(|| "the run to be overdue".into(), || (now() > overdue).then_some(()));

    files::write(&installation.path("config/fiovana.toml"), "[sets.security]\ninterval = \"1h\"\n");
    // With a longer interval it is not due yet.
    let daemon = installation.start();
    daemon.backup_when_free("application");
    assert_eq!(daemon.set("security")["last_attempt"], before["last_attempt"]);
    assert_eq!(code(daemon.terminate()), 0);

    files::write(&installation.path("config/fiovana.toml"), "[sets.security]\ninterval = \"2s\"\n");
    let daemon = installation.start();
    daemon.wait("the run to be made up for", |daemon| {
        (daemon.set("security")["last_success"] != before["last_success"]).then_some(())
    });
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
