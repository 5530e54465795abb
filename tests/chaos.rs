//! Actors made to fail, in every way, in the running program and under load.
//!
//! Hazard: a supervisor that was only reasoned about. Nothing that was acknowledged may be lost, the API must answer
//! all the time, each failure is counted once, and a crash loop ends in recovery mode and not in a spin.

mod common;

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Daemon, Installation, audit};
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
    daemon.backup_when_free("security");
    assert_eq!(actor(&daemon, "archiver")["state"], "up");
    daemon.wait("mode normal", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
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
