//! Actors made to fail, in every way, in the running program and under load.
//!
//! Hazard: a supervisor that was only reasoned about. Nothing that was acknowledged may be lost, the API must answer
//! all the time, each failure is counted once, and a crash loop ends in recovery mode and not in a spin.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, Ordering};

use common::disaster::{self, RECOVERY_MODE, backed_up, configuration, delete_configuration, text};
use common::{Daemon, Installation, SECURITY, audit, code, files, repository};
use serde_json::Value;

const ACTORS: [&str; 5] = ["archiver", "auditor", "janitor", "scheduler", "verifier"];
const FAULTS: [&str; 4] = ["panic", "error", "stop", "hang"];
/// A hang is found out only after a heartbeat, so there is one in so many.
const STRIKES_PER_HANG: usize = 10;

/// Hangs are found fast enough for a test.
const HEARTBEAT: &str = "[supervision]\nheartbeat = \"1s\"\n";

/// Restarts that are always granted, at once.
const TIRELESS: &str = "max_restarts = 1000\nwindow = \"1h\"\nbackoff_max = \"100ms\"\n";

fn strike(input: &mut ChildStdin, actor: &str, fault: &str) {
    writeln!(input, "{actor} {fault}").unwrap();
}

fn actor(daemon: &Daemon, name: &str) -> Value {
    let status = daemon.status();
    status["actors"].as_array().unwrap().iter().find(|actor| actor["name"] == name).unwrap().clone()
}

#[test]
fn whatever_fells_an_actor_the_api_answers_and_the_actor_is_back_and_counted() {
    let installation = Installation::with_settings(HEARTBEAT);
    let (daemon, mut input) = installation.start_with_input();
    daemon.settle();
    for name in ACTORS {
        for (before, fault) in FAULTS.into_iter().enumerate() {
            strike(&mut input, name, fault);
            daemon.wait("the actor to be back", |daemon| {
                assert_eq!(daemon.get("/healthz").status, 200);
                let actor = actor(daemon, name);
                (actor["restarts"] == before as u64 + 1 && actor["state"] == "up").then_some(())
            });
            daemon.backup("security");
        }
        let metrics = daemon.get("/metrics").text;
        for fault in FAULTS {
            let series = format!("fiovana_actor_restarts_total{{actor=\"{name}\",cause=\"{fault}\"}} 1");
            assert!(metrics.contains(&series), "{series} is not in\n{metrics}");
        }
    }
    assert_eq!(daemon.status()["mode"]["name"], "normal");
    assert!(daemon.terminate().success());
    audit::chained_records(&installation.path("logs/security_audit.log"));
}

#[test]
fn no_acknowledged_backup_is_lost_while_actors_fail_under_load() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let installation = Installation::with_settings(&format!("[backup]\nmax_backups = 100000\n{HEARTBEAT}{TIRELESS}"));
    let (daemon, mut input) = installation.start_with_input();
    daemon.settle();
    let over = AtomicBool::new(false);
    let strikes = if common::long() { 2000 } else { 200 };
    let mut struck: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let acknowledged: Vec<Value> = std::thread::scope(|scope| {
        let load = |set: &'static str| {
            let (daemon, over) = (&daemon, &over);
            scope.spawn(move || {
                let mut acknowledged = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let answer = daemon.post(&format!("/api/backup/{set}"));
                    match answer.status {
                        201 => acknowledged.push(answer.json()["id"].clone()),
                        // Busy, or an actor between two lives: said as a problem, with a reason.
                        409 | 503 => assert!(answer.json()["detail"].is_string(), "{}", answer.text),
                        status => panic!("{status}: {}", answer.text),
                    }
                    assert_eq!(daemon.get("/api/backup/list").status, 200);
                }
                acknowledged
            })
        };
        let loads = [load("security"), load("application")];
        for number in 1..=strikes {
            let name = ACTORS[random.usize(..ACTORS.len())];
            let fault = if number % STRIKES_PER_HANG == 0 { "hang" } else { FAULTS[random.usize(..FAULTS.len() - 1)] };
            let restarts = actor(&daemon, name)["restarts"].as_u64().unwrap();
            *struck.entry((name, fault)).or_default() += 1;
            strike(&mut input, name, fault);
            daemon.wait("the actor to be back", |daemon| {
                let actor = actor(daemon, name);
                (actor["restarts"].as_u64() > Some(restarts) && actor["state"] == "up").then_some(())
            });
        }
        over.store(true, Ordering::Relaxed);
        loads.into_iter().flat_map(|load| load.join().unwrap()).collect()
    });
    let metrics = daemon.get("/metrics").text;
    for (actor, fault) in ACTORS.iter().flat_map(|actor| FAULTS.map(|fault| (*actor, fault))) {
        let times = struck.get(&(actor, fault)).copied().unwrap_or(0);
        let series = format!("fiovana_actor_restarts_total{{actor=\"{actor}\",cause=\"{fault}\"}} {times}\n");
        assert!(metrics.contains(&series), "seed {seed}: {series} is not in\n{metrics}");
    }
    assert!(!acknowledged.is_empty(), "nothing was acknowledged: nothing was tested (seed {seed})");
    for id in &acknowledged {
        let backup = daemon.get(&format!("/api/backup/{}", id.as_str().unwrap()));
        assert_eq!(backup.json()["state"], "good", "seed {seed}: {}", backup.text);
    }
    let recorded = std::fs::read_to_string(installation.path("logs/security_audit.log")).unwrap();
    for id in &acknowledged {
        let completed = |line: &&str| line.contains("\"BackupCompleted\"") && line.contains(id.as_str().unwrap());
        assert!(recorded.lines().any(|line| completed(&line)), "seed {seed}: no record of {id}");
    }
    assert!(daemon.terminate().success());
    audit::chained_records(&installation.path("logs/security_audit.log"));
}

#[test]
fn work_that_outlives_its_actor_keeps_the_write_lane_and_the_actor_is_shown_as_stuck() {
    let installation = Installation::new();
    let (daemon, mut input) = installation.start_with_input();
    daemon.settle();
    strike(&mut input, "archiver", "ghost");
    strike(&mut input, "archiver", "panic");
    daemon.wait("the actor to be stuck", |daemon| (actor(daemon, "archiver")["state"] == "stuck").then_some(()));
    assert!(daemon.get("/metrics").text.contains("fiovana_actor_up{actor=\"archiver\"} 0"));
    let reasons = daemon.wait("a reason", |daemon| {
        let reasons = daemon.status()["mode"]["reasons"].clone();
        reasons[0]["code"].is_string().then_some(reasons)
    });
    assert_eq!(reasons[0]["code"], "actor_stuck");
    // Waits for the lane, and is done beside nobody.
    std::thread::scope(|scope| {
        let backup = scope.spawn(|| daemon.backup("security"));
        daemon.wait("the backup to wait", |daemon| (!daemon.set("security")["running_since"].is_null()).then_some(()));
        assert!(!backup.is_finished() && actor(&daemon, "archiver")["state"] == "stuck");
        writeln!(input, "ghosts end").unwrap();
        backup.join().unwrap();
    });
    assert_eq!(actor(&daemon, "archiver")["state"], "up");
    daemon.wait("mode normal", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
}

#[test]
fn a_supervisor_that_hangs_is_told_by_healthz_and_keeps_nobody_from_stopping() {
    let installation = Installation::new();
    let (daemon, mut input) = installation.start_with_input();
    daemon.settle();
    assert_eq!(daemon.get("/healthz").text, "ok\n");
    strike(&mut input, "supervisor", "hang");
    let answer = daemon.wait("healthz to fail", |daemon| {
        let answer = daemon.get("/healthz");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(answer.problem(503), "unavailable");
    assert!(answer.text.contains("the supervisor has not answered"), "{}", answer.text);
    assert_eq!(daemon.get("/metrics").status, 200);
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn an_actor_in_a_crash_loop_is_given_up_and_that_is_recovery_mode() {
    let installation = Installation::new();
    let (daemon, mut input) = installation.start_with_input();
    daemon.settle();
    daemon.wait("the janitor to be given up", |daemon| {
        strike(&mut input, "janitor", "panic");
        (actor(daemon, "janitor")["state"] == "gave_up").then_some(())
    });
    let mode = daemon.wait("recovery mode", |daemon| {
        let mode = daemon.status()["mode"].clone();
        (mode["name"] == "recovery").then_some(mode)
    });
    assert_eq!(mode["cause"], "actor_gave_up");
    daemon.backup("security");
    assert!(daemon.get("/metrics").text.contains("fiovana_mode{mode=\"recovery\"} 1"));
}

#[test]
fn an_actor_that_crashes_at_each_start_is_one_command_in_recovery_mode() {
    for actor in ["auditor", "janitor", "scheduler"] {
        let installation = Installation::with_settings("[supervision]\nmax_restarts = 1\n");
        disaster::back_up(&installation);
        let before = configuration(&installation);
        delete_configuration(&installation);
        let doomed = [RECOVERY_MODE[0], ("FIOVANA_CHAOS_PANIC_AT_START", actor)];
        disaster::recovers(&format!("the {actor} in a crash loop"), &installation, &before, || {
            let daemon = installation.start_with(&doomed);
            daemon.wait("the actor to be given up", |daemon| {
                (self::actor(daemon, actor)["state"] == "gave_up").then_some(())
            });
            daemon
        });
    }
}

#[test]
fn with_what_restores_in_a_crash_loop_the_service_is_up_and_files_are_got_out() {
    for actor in ["archiver", "verifier"] {
        let installation = backed_up();
        let doomed = [RECOVERY_MODE[0], ("FIOVANA_CHAOS_PANIC_AT_START", actor)];
        let daemon = installation.start_with(&doomed);
        let id = daemon.list("security")[0]["id"].as_str().unwrap().to_owned();
        let output = installation.run(&["restore", "security", &id, "--to", "out"]);
        assert_eq!(code(output.status), 0, "{actor}: {}", text(&output));
        SECURITY.iter().for_each(|name| assert!(installation.path("out").join(name).exists(), "{actor}: {name}"));
        assert_eq!(daemon.status()["mode"]["name"], "recovery");
    }
}

/// Two of the files of the set that is restored, one of which is gone.
const TWO: [&str; 2] = [SECURITY[0], SECURITY[1]];

fn live(installation: &Installation) -> Vec<Option<Vec<u8>>> {
    TWO.iter().map(|name| std::fs::read(installation.path("config").join(name)).ok()).collect()
}

fn beside(installation: &Installation) -> usize {
    let names = installation.path("config").read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with(".fiovana-restore-")).count()
}

/// The end that the audit log has of the newest restore: exactly one.
fn only_end(installation: &Installation) -> Value {
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    let begun = records.iter().rev().find(|record| record["event"] == "RestoreStarted").unwrap();
    let ends = ["RestoreCompleted", "RestoreRolledBack", "RestoreFailed"];
    let is_end = |record: &&Value| {
        ends.iter().any(|end| record["event"] == *end) && record["correlation_id"] == begun["correlation_id"]
    };
    let ends: Vec<&Value> = records.iter().filter(is_end).collect();
    assert_eq!(ends.len(), 1, "{begun}: {ends:?}");
    ends[0].clone()
}

#[test]
fn a_restore_that_dies_at_any_operation_is_all_done_or_all_undone_with_the_way_back_and_one_trail() {
    let installation = backed_up();
    let listed = installation.run(&["list", "--set", "security", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let id = listed["backups"][0]["id"].as_str().unwrap();
    let new = live(&installation);
    let restore = ["restore", "security", id, "--file", TWO[0], "--file", TWO[1]];
    let (mut in_an_emergency, mut of_two_times) = (false, false);
    for operation in 0.. {
        files::write(&installation.path("config").join(TWO[0]), format!("{{\"earlier\": {operation}}}"));
        let _ = std::fs::remove_file(installation.path("config").join(TWO[1]));
        let earlier = live(&installation);
        let died = installation.run_with(&restore, &[("FIOVANA_CHAOS_ABORT_AT", operation.to_string())]);
        let context = format!("abort at operation {operation}");
        if died.status.success() {
            assert!(operation > 30, "it does nothing: {operation}");
            assert!(in_an_emergency && of_two_times, "it never died where that is dangerous");
            return println!("{operation} operations");
        }
        assert_eq!(died.status.code(), None, "{context}: {}", text(&died));
        of_two_times |= live(&installation) != earlier && live(&installation) != new;
        let journal = installation.path("config/.fiovana-restore-journal-security.json").exists();
        if journal && !in_an_emergency {
            in_an_emergency = true;
            let daemon = installation.start_with(&RECOVERY_MODE);
            assert!(live(&installation) == earlier || live(&installation) == new, "{context}: of two times");
            let output = installation.run(&["recover", "--yes", "--set", "security"]);
            assert_eq!(code(output.status), 0, "{context}: {}", text(&output));
            assert_eq!(live(&installation), new, "{context}");
            daemon.terminate();
            continue;
        }
        assert_eq!(code(installation.run(&["status"]).status), 0, "{context}");
        let found = live(&installation);
        assert!(found == earlier || found == new, "{context}: of two times: {found:?}");
        assert_eq!(beside(&installation), 0, "{context}");
        let end = only_end(&installation);
        let safety = end["details"]["safety_backup"].as_str();
        assert_eq!(end["event"] == "RestoreCompleted", found == new, "{context}: {end}");
        assert!(safety.is_some() || !journal && found == earlier, "{context}: {end}");
        if let Some(safety) = safety {
            let kept = repository::content(&installation.path("backups"), "security", safety);
            assert!(kept == [(TWO[0].to_owned(), earlier[0].clone().unwrap())], "{context}: the way back is another");
        }
    }
}
