//! Calls that meet: at the start of the service, at one set, at its stop.
//!
//! Hazard: the first call of a script comes while the first scheduled run is under way; one that is told "busy" is a
//! backup that nobody makes. Calls wait for their turn, in a bounded number and for a bounded time.

mod common;

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Output;
use std::thread::{ScopedJoinHandle, scope};

use common::audit::{chained_records, count};
use common::disaster::{backed_up, text};
use common::http::Answer;
use common::{Daemon, Installation, code, files};
use serde_json::Value;

const FAILED: i32 = 1;

const SETS: [&str; 3] = ["security", "application", "logs"];

fn newest(installation: &Installation, set: &str) -> String {
    let listed = installation.run(&["list", "--set", set, "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed["backups"][0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn twenty_calls_in_the_first_moment_of_the_service_are_all_done() {
    let installation = Installation::new();
    // It listens, and is not ready yet.
    let daemon = installation.start_listening::<&str>(&[]);
    let answers: Vec<(&str, Answer)> = scope(|scope| {
        let daemon = &daemon;
        let calls = (0..20).map(|number| SETS[number % SETS.len()]);
        let calls = calls.map(|set| scope.spawn(move || (set, daemon.post(&format!("/api/backup/{set}")))));
        calls.collect::<Vec<_>>().into_iter().map(|call| call.join().unwrap()).collect()
    });
    for (set, answer) in &answers {
        assert_eq!(answer.status, 201, "{set}: {}\n{}", answer.text, daemon.said());
        let backup = answer.json();
        assert_eq!(
            (&backup["set"], &backup["kind"], &backup["state"]),
            (&(*set).into(), &"manual".into(), &"good".into())
        );
    }
    assert!(daemon.terminate().success());
    let records = chained_records(&installation.path("logs/security_audit.log"));
    for set in SETS {
        let completed: Vec<&Value> =
            records.iter().filter(|record| record["event"] == "BackupCompleted" && record["set"] == set).collect();
        for (_, answer) in answers.iter().filter(|(of, _)| *of == set) {
            assert!(completed.iter().any(|record| record["backup_id"] == answer.json()["id"]), "{set}: not on record");
        }
    }
}

#[test]
fn every_documented_call_works_as_the_first_one() {
    let installation = backed_up();
    for path in [
        "/api/backup/security".to_owned(),
        "/api/backup/application".to_owned(),
        "/api/backup/logs".to_owned(),
        format!("/api/recovery/security/{}", newest(&installation, "security")),
        format!("/api/recovery/application/{}", newest(&installation, "application")),
    ] {
        let daemon = installation.start_listening::<&str>(&[]);
        let answer = daemon.post(&path);
        assert!([200, 201].contains(&answer.status), "{path}: {}\n{}", answer.text, daemon.said());
        assert!(daemon.terminate().success());
    }
}

#[test]
fn the_port_is_open_before_the_service_is_ready_and_a_call_waits_there() {
    let installation = Installation::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let command = installation.command(&[], &[("FIOVANA_HTTP_BIND", port.to_string())]);
    let daemon = Daemon::spawn(command, installation.path("backups"));
    daemon.wait("its port", |_| TcpStream::connect(port).ok());
    let answer = common::http::post(&format!("http://{port}/api/backup/security")).unwrap();
    assert_eq!(answer.status, 201, "{}\n{}", answer.text, daemon.said());
}

/// Restores wait, their files in place and not accepted yet, until the file `go` is there.
const HELD: &str = "\
[recovery]
health_command = [\"/bin/sh\", \"-c\", \"touch ../under-way; until [ -e ../go ]; do sleep 0.01; done\"]
health_timeout = \"10m\"
";

/// A service whose set `security` is being restored, which holds the write lane too.
struct Held {
    installation: Installation,
    daemon: Daemon,
    restore: String,
}

impl Held {
    fn new() -> Self {
        let installation = Installation::with_settings(HELD);
        assert_eq!(code(installation.run(&["init"]).status), 0);
        assert_eq!(code(installation.run(&["backup", "security"]).status), 0);
        files::write(&installation.path("config/security_config.json"), "{\"mistaken\": true}");
        let restore = format!("/api/recovery/security/{}", newest(&installation, "security"));
        let daemon = installation.start();
        daemon.settle();
        Self { installation, daemon, restore }
    }

    /// The restore, under way.
    fn hold<'scope>(&'scope self, scope: &'scope std::thread::Scope<'scope, '_>) -> ScopedJoinHandle<'scope, Answer> {
        let restore = scope.spawn(|| self.daemon.post(&self.restore));
        self.daemon.wait("the restore to be under way", |_| self.marker("under-way").exists().then_some(()));
        restore
    }

    fn marker(&self, name: &str) -> PathBuf {
        self.installation.path(name)
    }

    fn let_go(&self) {
        files::write(&self.marker("go"), "");
    }

    /// Until so many calls are under way.
    fn until_under_way(&self, calls: usize) {
        self.daemon.wait("the calls to be under way", |daemon| {
            let jobs = daemon.get("/api/jobs").json();
            let running = jobs["jobs"].as_array().unwrap().iter().filter(|job| job["state"] == "running").count();
            (running >= calls).then_some(())
        });
    }

    fn records(&self) -> Vec<Value> {
        chained_records(&self.installation.path("logs/security_audit.log"))
    }
}

#[test]
fn calls_and_commands_for_a_set_that_is_restored_wait_and_share_one_backup() {
    let held = Held::new();
    let begun = count(&held.records(), "BackupStarted", "security");
    scope(|scope| {
        let restore = held.hold(scope);
        let backups: Vec<_> = (0..20).map(|_| scope.spawn(|| held.daemon.post("/api/backup/security"))).collect();
        held.until_under_way(21);
        let command = scope.spawn(|| held.installation.run(&["backup", "security", "--json"]));
        held.until_under_way(22);
        held.let_go();
        assert_eq!(restore.join().unwrap().status, 200);
        let command: Output = command.join().unwrap();
        assert_eq!(code(command.status), 0, "{}", text(&command));
        let of_command: Value = serde_json::from_slice(&command.stdout).unwrap();
        for backup in backups {
            let answer = backup.join().unwrap();
            assert_eq!((answer.status, &answer.json()["id"]), (201, &of_command["id"]), "{}", answer.text);
        }
    });
    assert_eq!(count(&held.records(), "BackupStarted", "security"), begun + 1);
}

#[test]
fn calls_for_two_other_sets_wait_while_one_is_restored_and_are_done() {
    let held = Held::new();
    scope(|scope| {
        let restore = held.hold(scope);
        let others = ["application", "logs"].map(|set| scope.spawn(|| held.daemon.backup(set)));
        held.until_under_way(3);
        held.let_go();
        assert_eq!(restore.join().unwrap().status, 200);
        for other in others {
            assert_eq!(other.join().unwrap()["state"], "good");
        }
    });
}

#[test]
fn a_call_that_waited_for_half_a_minute_is_told_that_the_set_is_busy_and_when_to_come_back() {
    let held = Held::new();
    let begun = count(&held.records(), "BackupStarted", "security");
    scope(|scope| {
        let restore = held.hold(scope);
        let calls = [held.restore.as_str(), "/api/backup/security"].map(|path| scope.spawn(|| held.daemon.post(path)));
        let commands = [
            scope.spawn(|| held.installation.run(&["backup", "security"])),
            scope.spawn(|| held.installation.run(&["restore", "security", held.restore.rsplit_once('/').unwrap().1])),
        ];
        for call in calls {
            let answer = call.join().unwrap();
            assert_eq!(answer.problem(409), "busy");
            assert!(answer.json()["detail"].as_str().unwrap().contains("30 s"), "{}", answer.text);
            assert_eq!(answer.retry_after.as_deref(), Some("5"));
        }
        for command in commands {
            let output = command.join().unwrap();
            assert_eq!(code(output.status), FAILED, "{}", text(&output));
            assert!(text(&output).contains("try again when that is done"), "{}", text(&output));
        }
        held.let_go();
        assert_eq!(restore.join().unwrap().status, 200);
    });
    held.daemon.backup("security");
    assert_eq!(count(&held.records(), "BackupStarted", "security"), begun + 1, "who gave up left no backup behind");
}

#[test]
fn a_stop_answers_the_calls_that_wait_with_503() {
    let held = Held::new();
    scope(|scope| {
        let restore = held.hold(scope);
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| held.daemon.post("/api/backup/security"))).collect();
        held.until_under_way(4);
        held.daemon.signal_to_end();
        for call in waiting {
            let answer = call.join().unwrap();
            assert_eq!(answer.problem(503), "unavailable");
            assert!(answer.json()["detail"].as_str().unwrap().contains("stopping"), "{}", answer.text);
        }
        held.let_go();
        // Done, or abandoned: that is for the machine's speed to say.
        restore.join().unwrap();
    });
    let Held { installation, daemon, .. } = held;
    assert_eq!(code(daemon.end()), 0);
    chained_records(&installation.path("logs/security_audit.log"));
}
