//! The audit log of the real program: proved, broken, unwritable, killed.
//!
//! Hazard: a log that can be changed unseen, that stops the service when its disk is full, or that loses what was
//! answered. A failure prints the seed; `FIOVANA_TEST_SEED=SEED` replays its choices.

mod common;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use common::{Daemon, Installation, audit, code, files, repository};
use serde_json::Value;

const LOG: &str = "logs/security_audit.log";

/// What `audit verify` says: its exit code, and its report.
fn verify(installation: &Installation) -> (i32, Value) {
    let output = installation.run(&["audit", "verify", "--json"]);
    let report = serde_json::from_slice(&output.stdout);
    (code(output.status), report.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

/// What the check of src/audit/README.md says, as printed.
fn shell_check(installation: &Installation) -> String {
    let page = include_str!("../src/audit/README.md");
    let script = page.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    let output = Command::new("sh").arg("-c").arg(script).current_dir(installation.root()).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(code(output.status), if output.stdout.is_empty() { 0 } else { 4 });
    String::from_utf8(output.stdout).unwrap()
}

/// An installation whose service has run, and left a log of a few records.
fn used() -> Installation {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    daemon.backup("security");
    assert!(daemon.terminate().success());
    installation
}

/// Puts something in the log's place that cannot be written, whoever is asked to.
fn obstruct(installation: &Installation) {
    let log = installation.path(LOG);
    if log.exists() {
        std::fs::rename(&log, installation.path("logs/security_audit.log.1")).unwrap();
    }
    std::fs::create_dir(&log).unwrap();
}

/// Puts the log back.
fn clear(installation: &Installation) {
    let (log, aside) = (installation.path(LOG), installation.path("logs/security_audit.log.1"));
    std::fs::remove_dir(&log).unwrap();
    if aside.exists() {
        std::fs::rename(&aside, &log).unwrap();
    }
}

fn kept(installation: &Installation) -> Vec<PathBuf> {
    let state = installation.path("backups/state").read_dir().unwrap().map(|entry| entry.unwrap().path());
    state.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")).collect()
}

fn wait_until_writable(daemon: &Daemon) {
    daemon.wait("the log to be written again", |daemon| (daemon.status()["audit"]["writable"] == true).then_some(()));
}

#[test]
fn a_whole_log_is_proved_by_the_program_and_by_ten_lines_of_shell() {
    let installation = used();
    let (exit, report) = verify(&installation);
    assert_eq!((exit, &report["first_break"]), (0, &Value::Null), "{report}");
    assert!(report["anchors_matched"].as_u64().unwrap() >= 3, "{report}");
    assert_eq!(shell_check(&installation), "");
}

#[test]
fn what_is_altered_dropped_swapped_or_cut_off_is_named_alike_by_the_program_and_the_shell() {
    let installation = used();
    let log = installation.path(LOG);
    let whole = String::from_utf8(files::read(&log)).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let last = lines.len();
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed: Vec<String> = lines.iter().map(|line| line.to_string()).collect();
        change(&mut changed);
        files::write(&log, changed.concat());
        let (exit, report) = verify(&installation);
        assert_eq!(exit, 4, "{report}");
        let told = report["first_break"].clone();
        (told["line"].as_u64().unwrap() as usize, shell_check(&installation))
    };
    let place = |line: usize| format!("broken at ./logs/security_audit.log:{line}\n");
    for at in [1, 4, last - 2] {
        let altered = with(&|lines| lines[at] = lines[at].replace("\"outcome\":\"", "\"outcome\":\"x"));
        assert_eq!(altered, (at + 1, place(at + 1)), "altered");
        let torn = with(&|lines| lines[at] = lines[at].replacen("\"event\"", "event", 1));
        assert_eq!(torn.0, at + 1, "torn");
        assert!(torn.1 == place(at + 1) || torn.1 == place(at + 2), "{}", torn.1);
        let dropped = with(&|lines| drop(lines.remove(at)));
        assert_eq!(dropped, (at + 1, place(at + 1)), "dropped");
        let swapped = with(&|lines| lines.swap(at, at + 1));
        assert_eq!(swapped, (at + 1, place(at + 1)), "swapped");
    }
    let cut = with(&|lines| lines.truncate(last - 2));
    assert_eq!(cut, (last - 1, "broken at the end\n".to_owned()));
    let text = installation.run(&["audit", "verify"]);
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.contains("BROKEN") && said.contains("the log ends with record"), "{said}");
    files::write(&log, &whole);
    assert_eq!((verify(&installation).0, shell_check(&installation)), (0, String::new()));
}

#[test]
fn whoever_rewrites_the_log_and_the_repository_is_found_by_a_replica_without_the_service() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    daemon.backup("security");
    daemon.wait("the replica to have it", |daemon| {
        let replica = daemon.status()["replicas"][0].clone();
        (replica["lag"] == 0 && !replica["last_success"].is_null()).then_some(())
    });
    assert!(daemon.terminate().success());
    std::fs::remove_file(installation.path("backups/state/audit_head.json")).unwrap();
    std::fs::remove_dir_all(installation.path("backups/manifests")).unwrap();
    std::fs::create_dir(installation.path("backups/manifests")).unwrap();
    let log = installation.path(LOG);
    let whole = String::from_utf8(files::read(&log)).unwrap();
    files::write(&log, whole.split_inclusive('\n').next().unwrap());
    let (exit, report) = verify(&installation);
    assert_eq!((exit, &report["first_break"]["line"]), (4, &2.into()), "{report}");
    std::fs::remove_dir_all(installation.path("backups/replica")).unwrap();
    let blind = installation.run(&["audit", "verify"]);
    assert_eq!(code(blind.status), 0, "{blind:?}");
    let said = String::from_utf8_lossy(&blind.stderr).into_owned();
    assert!(said.contains("backups/replica") && said.contains("without what this replica remembers"), "{said}");
}

#[test]
fn a_rotated_file_that_was_compressed_is_proved_alike_by_the_program_and_the_shell() {
    let installation = used();
    let (log, rotated) = (installation.path(LOG), installation.path("logs/security_audit.log.1"));
    std::fs::rename(&log, &rotated).unwrap();
    let daemon = installation.start();
    daemon.backup_when_free("security");
    assert!(daemon.terminate().success());
    let gzip = || assert!(Command::new("gzip").arg(&rotated).status().unwrap().success());
    gzip();
    let (exit, report) = verify(&installation);
    assert_eq!((exit, report["files"].as_array().unwrap().len()), (0, 2), "{report}");
    assert_eq!((&report["first_seq"], report["unreadable"].as_array().unwrap().len()), (&1.into(), 0), "{report}");
    assert_eq!(shell_check(&installation), "");
    assert!(Command::new("gunzip").arg(installation.path("logs/security_audit.log.1.gz")).status().unwrap().success());
    let text = String::from_utf8(files::read(&rotated)).unwrap();
    let modified = rotated.metadata().unwrap().modified().unwrap();
    files::write(&rotated, text.replacen("BackupStarted", "BackupStopped", 1));
    OpenOptions::new().write(true).open(&rotated).unwrap().set_modified(modified).unwrap();
    gzip();
    let (exit, report) = verify(&installation);
    let line = report["first_break"]["line"].as_u64().unwrap();
    assert_eq!(exit, 4, "{report}");
    assert_eq!(shell_check(&installation), format!("broken at ./logs/security_audit.log.1.gz:{line}\n"));
}

#[test]
fn a_break_counts_once_across_restarts_until_it_is_accepted_and_no_other_is_accepted_with_it() {
    let installation = Installation::with_settings("[audit]\ncheck_interval = \"1s\"\n");
    let daemon = installation.start();
    daemon.settle();
    daemon.kill();
    let log = installation.path(LOG);
    let tamper = |from: &str, to: &str| {
        let text = String::from_utf8(files::read(&log)).unwrap();
        assert!(text.contains(from));
        files::write(&log, text.replacen(from, to, 1));
    };
    tamper("\"mode\":\"", "\"mode\":\"un");
    let ok = |daemon: &Daemon| daemon.get("/metrics").text.contains("fiovana_audit_chain_ok 1");
    let failures = || {
        let text = String::from_utf8(files::read(&log)).unwrap();
        text.lines().filter(|line| line.contains("\"IntegrityCheckFailed\"") && line.contains("\"audit\"")).count()
    };
    for round in 0..2 {
        let daemon = installation.start();
        daemon.wait("the break to be found", |daemon| (!ok(daemon) && failures() == 1).then_some(()));
        assert_eq!(daemon.status()["audit"]["chain_ok"], false);
        if round == 1 {
            // Known, and looked at several times: still one.
            let records =
                |daemon: &Daemon| daemon.get("/api/audit?event=IntegrityCheckFailed").json()["records"].clone();
            assert_eq!(records(&daemon).as_array().unwrap().len(), 1);
            let answer = daemon.post("/api/audit/accept");
            assert_eq!(
                (answer.status, answer.json()["accepted"].as_array().unwrap().len()),
                (200, 1),
                "{}",
                answer.text
            );
            assert!(ok(&daemon) && daemon.status()["audit"]["chain_ok"] == true);
            assert_eq!(daemon.post("/api/audit/accept").json()["accepted"].as_array().unwrap().len(), 0);
        }
        assert!(daemon.terminate().success());
    }
    let (exit, report) = verify(&installation);
    assert_eq!((exit, &report["accepted"]), (0, &1.into()), "{report}");
    tamper("\"mode\":\"un", "\"mode\":\"in");
    assert_eq!(verify(&installation).0, 4, "the same record, altered once more, was not accepted");
    let accepted = installation.run(&["audit", "accept"]);
    assert_eq!(code(accepted.status), 0, "{accepted:?}");
    assert_eq!(verify(&installation).0, 0);
}

#[test]
fn while_the_log_cannot_be_written_the_service_goes_on_and_afterwards_every_record_is_there_once() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    daemon.backup("security");
    obstruct(&installation);
    let ids: Vec<String> = (0..3).map(|_| daemon.backup("application")["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(daemon.status()["audit"]["writable"], false);
    let metrics = daemon.get("/metrics").text;
    assert!(!metrics.contains("fiovana_audit_write_failures_total 0"), "{metrics}");
    assert!(!kept(&installation).is_empty());
    let page = daemon.get("/api/audit?event=BackupCompleted&set=application").json();
    let told = |page: &Value| -> Vec<String> {
        let records = page["records"].as_array().unwrap().iter();
        records.map(|record| record["backup_id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(told(&page).ends_with(&ids), "what is kept is shown: {page}");
    clear(&installation);
    wait_until_writable(&daemon);
    assert!(kept(&installation).is_empty());
    daemon.backup("security");
    assert!(daemon.terminate().success());
    let records = audit::chained_records(&installation.path(LOG));
    for id in ids {
        let of_backup = |record: &&Value| record["event"] == "BackupCompleted" && record["backup_id"] == id.as_str();
        assert_eq!(records.iter().filter(of_backup).count(), 1, "{id}");
    }
    assert_eq!((verify(&installation).0, shell_check(&installation)), (0, String::new()));
}

#[test]
fn a_log_that_is_rotated_or_lost_while_it_cannot_be_written_is_told_from_one_another() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    obstruct(&installation);
    daemon.backup("application");
    // Whoever cleared the place left the old file as rotation does.
    std::fs::remove_dir(installation.path(LOG)).unwrap();
    wait_until_writable(&daemon);
    daemon.backup("application");
    assert_eq!(verify(&installation).0, 0);
    std::fs::remove_file(installation.path("logs/security_audit.log.1")).unwrap();
    assert_eq!(verify(&installation).0, 0, "the oldest file may go");
    obstruct(&installation);
    daemon.backup("application");
    std::fs::remove_dir(installation.path(LOG)).unwrap();
    std::fs::remove_file(installation.path("logs/security_audit.log.1")).unwrap();
    wait_until_writable(&daemon);
    assert_eq!(verify(&installation).0, 4, "a log that is gone is no rotation");
}

/// Backs up until the service is gone, and notes what it acknowledges: that must be told of exactly once.
fn back_up_until_gone(daemon: &Daemon, acknowledged: &Mutex<Vec<String>>) {
    while let Ok(answer) = daemon.try_post("/api/backup/security") {
        match answer.status {
            201 => acknowledged.lock().unwrap().push(answer.json()["id"].as_str().unwrap().to_owned()),
            status => assert!([409, 503].contains(&status), "{}", answer.text),
        }
    }
}

#[test]
fn no_acknowledged_record_is_lost_or_repeated_by_kill_9_whether_the_log_can_be_written_or_not() {
    let seed = std::env::var("FIOVANA_TEST_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("FIOVANA_TEST_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let installation = Installation::with_settings("[backup]\nmax_backups = 1000000\n");
    // The repository and the log are begun, so that a log that cannot be written is known to have been there.
    drop(installation.start());
    let acknowledged = Mutex::new(Vec::new());
    let mut obstructed = false;
    for _round in 0..if common::long() { 400 } else { 25 } {
        if rng.bool() {
            if obstructed {
                clear(&installation)
            } else {
                obstruct_or_create(&installation)
            }
            obstructed = !obstructed;
        }
        let daemon = installation.start();
        let delay = Duration::from_micros(rng.u64(..60_000));
        let (toggle, enough) = (rng.bool(), acknowledged.lock().unwrap().len() + rng.usize(..4));
        std::thread::scope(|scope| {
            let kill = daemon.killed_when_dropped();
            scope.spawn(|| back_up_until_gone(&daemon, &acknowledged));
            // Sleeps that are meant: they choose the moment of what happens.
            std::thread::sleep(delay);
            if toggle {
                if obstructed {
                    clear(&installation)
                } else {
                    obstruct_or_create(&installation)
                }
                obstructed = !obstructed;
            }
            daemon.wait("backups", |_| (acknowledged.lock().unwrap().len() >= enough).then_some(()));
            std::thread::sleep(delay);
            drop(kill);
        });
        let (exit, report) = verify(&installation);
        // A log out of reach cannot be judged; what is there must be whole.
        assert!(exit == 0 || obstructed, "{report}");
    }
    if obstructed {
        clear(&installation);
    }
    let daemon = installation.start();
    daemon.backup_when_free("security");
    wait_until_writable(&daemon);
    assert!(daemon.terminate().success());
    let (exit, report) = verify(&installation);
    assert_eq!(exit, 0, "{report}");
    assert!(kept(&installation).is_empty());
    let text = String::from_utf8_lossy(&files::read(&installation.path(LOG))).into_owned();
    let records: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() >= 20, "only {} backups were acknowledged", acknowledged.len());
    for id in acknowledged {
        let of_backup = |record: &&Value| record["event"] == "BackupCompleted" && record["backup_id"] == id.as_str();
        assert_eq!(records.iter().filter(of_backup).count(), 1, "{id}");
    }
}

/// The log may not have been begun.
fn obstruct_or_create(installation: &Installation) {
    std::fs::create_dir_all(installation.path("logs")).unwrap();
    obstruct(installation);
}

#[test]
fn records_are_shown_by_filter_and_page_and_as_they_come() {
    let installation = used();
    let daemon = installation.start();
    daemon.settle();
    let page = daemon.get("/api/audit?after=0&limit=3").json();
    let numbers = |page: &Value| -> Vec<u64> {
        page["records"].as_array().unwrap().iter().map(|record| record["seq"].as_u64().unwrap()).collect()
    };
    assert_eq!((numbers(&page), &page["next"]), (vec![1, 2, 3], &3.into()));
    assert_eq!(numbers(&daemon.get("/api/audit?after=3&limit=2").json()), [4, 5]);
    assert_eq!(daemon.get("/api/audit?limit=0").problem(400), "bad-request");
    let started = |event: &str| numbers(&daemon.get(&format!("/api/audit?event={event}")).json());
    assert!(!started("ServiceStarted").is_empty());
    assert_eq!(started("servicestarted"), started("ServiceStarted"));
    assert_eq!(daemon.get("/api/audit?sett=x").problem(400), "bad-request");
    assert!(daemon.get("/api/audit?event=Nothing").json()["records"].as_array().unwrap().is_empty());
    let tail = installation.run(&["audit", "tail", "--event", "ServiceStarted", "--json"]);
    let lines = String::from_utf8(tail.stdout).unwrap();
    assert_eq!(lines.lines().count(), 2, "{lines}");
    let mut follow =
        installation.command::<&str>(&["audit", "tail", "-f", "--event", "BackupCompleted", "--json"], &[]);
    let mut follow = follow.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut seen = std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().unwrap()));
    let id = daemon.backup("security")["id"].as_str().unwrap().to_owned();
    let found = seen.find(|line| line.as_ref().unwrap().contains(&id));
    follow.kill().unwrap();
    follow.wait().unwrap();
    assert!(found.is_some());
}

#[test]
fn lines_of_others_and_a_log_rotated_by_ourselves_leave_the_chain_whole() {
    let installation = Installation::with_settings("[audit]\nsole_writer = true\nrotate_size_mb = 1\nkeep_files = 2\n");
    let daemon = installation.start();
    daemon.settle();
    let log = installation.path(LOG);
    let fill = |log: &Path| {
        let mut other = OpenOptions::new().append(true).open(log).unwrap();
        other.write_all("somebody else's line\n".repeat(60_000).as_bytes()).unwrap();
    };
    for _ in 0..4 {
        fill(&log);
        daemon.backup("security");
        daemon.backup("security");
    }
    assert!(daemon.terminate().success());
    let (exit, report) = verify(&installation);
    assert_eq!(exit, 0, "{report}");
    assert_eq!(report["files"].as_array().unwrap().len(), 3, "{report}");
    assert!(report["anchors_before_first"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn an_answer_its_records_and_its_log_lines_have_one_id() {
    let installation = Installation::with_settings("[logging]\nformat = \"json\"\nlevel = \"debug\"\n");
    let daemon = installation.start();
    daemon.settle();
    let url = format!("http://{}/api/backup/security", daemon.authority());
    let answer = ureq::post(&url).header("X-Request-Id", "ticket-4711").send_empty().unwrap();
    assert_eq!(answer.headers()["x-request-id"], "ticket-4711");
    let page = daemon.get("/api/audit").json();
    let events: Vec<&str> = page["records"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|record| record["correlation_id"] == "ticket-4711")
        .map(|record| record["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["BackupStarted", "IntegrityCheckPassed", "BackupCompleted"]);
    for event in events {
        daemon.wait("its log line", |daemon| {
            let line = |line: &str| line.contains(&format!("\"{event}\"")) && line.contains("\"ticket-4711\"");
            daemon.said().lines().any(line).then_some(())
        });
    }
}

#[test]
fn a_log_that_was_rewritten_is_told_from_one_that_grew_or_was_rotated_and_what_it_was_is_pinned() {
    let installation = Installation::new();
    std::fs::create_dir(installation.path("logs")).unwrap();
    let log = |name: &str| installation.path("logs").join(name);
    let lines = |from: u32, to: u32| (from..to).map(|line| format!("line {line} of a log\n")).collect::<String>();
    files::write(&log("error.log"), lines(0, 100));
    // Several chunks, so that the length it had is in the middle of one.
    files::write(&log("operation_audit.log"), lines(0, 100_000));
    let daemon = installation.start();
    daemon.settle();
    let back_up = || daemon.backup_when_free("logs")["id"].as_str().unwrap().to_owned();
    let lineage = |id: &str, name: &str| -> Value {
        let backups = installation.path("backups");
        let files = repository::files(&backups, &repository::manifest(&backups, "logs", id));
        files.iter().find(|file| file["path"] == name).unwrap()["lineage"].clone()
    };
    let is = |id: &str, name: &str| lineage(id, name)["is"].as_str().unwrap().to_owned();
    let pinned = |id: &str| daemon.get(&format!("/api/backup/{id}")).json()["pinned"] == true;

    files::write(&log("error.log"), lines(0, 150));
    files::write(&log("operation_audit.log"), lines(0, 200_000));
    let grown = back_up();
    assert_eq!((is(&grown, "error.log"), is(&grown, "operation_audit.log")), ("appended".into(), "appended".into()));
    assert_eq!(is(&grown, "security_audit.log"), "appended");

    // By renaming, to a file that the set does not have; and by copying and truncating.
    std::fs::rename(log("error.log"), log("error.log.1")).unwrap();
    files::write(&log("error.log"), lines(150, 160));
    std::fs::copy(log("operation_audit.log"), log("operation_audit.log-20261123")).unwrap();
    files::write(&log("operation_audit.log"), lines(200_000, 200_001));
    let rotated = back_up();
    for name in ["error.log", "operation_audit.log"] {
        assert_eq!(is(&rotated, name), "rotated", "{name}");
    }
    assert!(!pinned(&grown));

    // One byte, in the middle, and longer than before.
    files::write(&log("error.log"), lines(150, 200).replacen("line 155", "line 555", 1));
    let rewritten = back_up();
    assert_eq!(is(&rewritten, "error.log"), "rewritten");
    assert_eq!(lineage(&rewritten, "error.log")["previous"], rotated.as_str());
    assert!(pinned(&rotated) && !pinned(&rewritten));
    let told = daemon.get("/api/audit?event=SourceRewritten").json();
    let told = told["records"].as_array().unwrap();
    assert_eq!((told.len(), &told[0]["details"]["path"]), (1, &"error.log".into()), "{told:?}");
    assert_eq!(is(&back_up(), "error.log"), "appended", "told once");
    assert!(daemon.get("/metrics").text.contains("fiovana_integrity_failures_total 0"));

    // Dropped, and nothing left but a compressed file that nobody here can look into.
    files::write(&log("error.log.1.xz"), b"\xfd7zXZ\0compressed");
    files::write(&log("error.log"), lines(300, 301));
    assert_eq!(is(&back_up(), "error.log"), "unproven");
}

#[test]
fn a_mode_that_was_asked_for_changes_in_the_name_of_whoever_asked() {
    let me = format!("uid:{}", rustix::process::geteuid().as_raw());
    let installation = Installation::with_settings("[logging]\nformat = \"json\"\n");
    let daemon = installation.start();
    daemon.settle();
    for (call, id, begins, ends) in
        [("enter", "into-4712", "normal", "recovery"), ("exit", "out-of-4713", "recovery", "normal")]
    {
        let url = format!("http://{}/api/recovery/{call}", daemon.authority());
        ureq::post(&url).header("X-Request-Id", id).send_empty().unwrap();
        daemon.wait("the mode to change", |daemon| {
            let page = daemon.get("/api/audit?event=ModeChanged").json();
            let records = page["records"].as_array().unwrap();
            let theirs: Vec<&Value> = records.iter().filter(|record| record["correlation_id"] == id).collect();
            assert!(theirs.iter().all(|record| record["principal"] == me.as_str()), "{theirs:?}");
            let changed = |record: &&Value| {
                let details = &record["details"];
                details["from"] == begins && details["to"] == ends
            };
            theirs.iter().any(changed).then_some(())
        });
        let line = |line: &str| line.contains("\"ModeChanged\"") && line.contains(&format!("\"{id}\""));
        daemon.wait("its log line", |daemon| daemon.said().lines().any(line).then_some(()));
    }
}
