//! Every actor of the running service fails in every way in which actors fail.
//!
//! Hazard: supervision that was never seen to work does not. Needs the feature `chaos`; `tests/run` gives it.
#![cfg(feature = "chaos")]

mod common;

use common::{Daemon, Installation, audit, code};
use serde_json::Value;

const ACTORS: [&str; 5] = ["archiver", "auditor", "janitor", "scheduler", "verifier"];
const FAULTS: [&str; 3] = ["panic", "error", "stop"];

fn actor(daemon: &Daemon, name: &str) -> Value {
    let status = daemon.status();
    status["actors"].as_array().unwrap().iter().find(|actor| actor["name"] == name).unwrap().clone()
}

#[test]
fn an_actor_that_fails_comes_back_and_the_service_answers_all_the_while() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    for name in ACTORS {
        for (restarts, fault) in (1..).zip(FAULTS) {
            daemon.instruct(&format!("{name} {fault}"));
            let back = daemon.wait(&format!("{name} to come back after {fault}"), |daemon| {
                assert_eq!(daemon.get("/healthz").status, 200);
                Some(actor(daemon, name)).filter(|actor| actor["restarts"] == restarts && actor["state"] == "up")
            });
            assert!(back["last_error"].is_string(), "{back}");
            let answer = daemon.post("/api/backup/security");
            assert_eq!(answer.status, 201, "after {name} {fault}: {}", answer.text);
        }
    }
    assert_eq!(daemon.status()["mode"]["name"], "normal");
    assert_eq!(code(daemon.terminate()), 0);
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    for name in ACTORS {
        let told = |fault: &&str| {
            records.iter().any(|record| {
                let details = &record["details"];
                record["event"] == "ActorRestarted" && details["actor"] == name && details["cause"] == **fault
            })
        };
        assert!(FAULTS.iter().all(told), "{name}: {:?}", audit::events(&records));
    }
}

#[test]
fn an_actor_that_fails_again_and_again_leads_to_recovery_mode_and_the_service_still_answers() {
    let installation = Installation::with_settings("[supervision]\nmax_restarts = 2\n");
    let daemon = installation.start();
    daemon.settle();
    for restarts in 1..=2 {
        daemon.instruct("janitor panic");
        daemon.wait("the janitor to come back", |daemon| {
            (actor(daemon, "janitor")["restarts"] == restarts).then_some(())
        });
    }
    daemon.instruct("janitor panic");
    daemon.wait("recovery mode", |daemon| (daemon.status()["mode"]["name"] == "recovery").then_some(()));
    assert_eq!(actor(&daemon, "janitor")["state"], "gave_up");
    assert_eq!(daemon.backup("security")["state"], "good");
}
