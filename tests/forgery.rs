//! The audit log of the real program, forged by whoever can write the log's directory and nothing else.
//!
//! Hazard: every hash can be computed by anybody, and every statement that the log makes of itself be written by anybody.
//! What is forged is named, while the service runs, while it does not, and after it was killed; the service does not go
//! on over it as if nothing were; and what rotation, crashes and the application do is no forgery.

mod common;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use common::files::{read, sha256, write};
use common::repository::newest_row;
use common::{Daemon, Installation, code};
use rustix::process::Signal;
use serde_json::{Value, json};

const LOG: &str = "logs/security_audit.log";

/// Checked often; and no number of breaks leads to recovery mode, in which nothing is degraded.
const SETTINGS: &str = "[audit]\ncheck_interval = \"1s\"\n[recovery]\nintegrity_failures = 1000\n";

/// What `audit verify` says: its exit code, and its report.
fn verify(installation: &Installation) -> (i32, Value) {
    let output = installation.run(&["audit", "verify", "--json"]);
    let report = serde_json::from_slice(&output.stdout);
    (code(output.status), report.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

fn assert_whole(installation: &Installation, what: &str) {
    let (exit, report) = verify(installation);
    assert_eq!((exit, report["breaks"].as_array().unwrap().len()), (0, 0), "{what}: {report}");
}

fn lines(installation: &Installation) -> Vec<String> {
    let text = String::from_utf8(read(&installation.path(LOG))).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn put(installation: &Installation, lines: &[String]) {
    write(&installation.path(LOG), lines.join("\n") + "\n");
}

fn append(installation: &Installation, line: &str) {
    let mut log = OpenOptions::new().append(true).open(installation.path(LOG)).unwrap();
    log.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A record like the last one, that goes on with the chain; everything is right but for its authentication.
fn forged_record(last: &str, event: &str, details: &Value) -> String {
    let mut record: Value = serde_json::from_str(last).unwrap();
    let (seq, prev) = (record["seq"].as_u64().unwrap() + 1, sha256(last.as_bytes()));
    let mac = record["mac"].take();
    format!(
        "{{\"seq\":{seq},\"timestamp\":{},\"event\":\"{event}\",\"actor\":\"auditor\",\"principal\":\"service\",\"set\":null,\
         \"backup_id\":null,\"outcome\":\"info\",\"details\":{details},\"correlation_id\":\"c\",\"mac\":{mac},\
         \"prev\":\"{prev}\"}}",
        record["timestamp"]
    )
}

fn altered(line: &str) -> String {
    let altered = line.replacen("\"outcome\":\"", "\"outcome\":\"x", 1);
    assert_ne!(altered, line);
    altered
}

/// Writes the `prev` of each record from this line on anew.
fn chain_anew(lines: &mut [String], from: usize) {
    for at in from..lines.len() {
        let (body, _) = lines[at].split_at(lines[at].len() - 66);
        lines[at] = format!("{body}{}\"}}", sha256(lines[at - 1].as_bytes()));
    }
}

/// A forgery: what it does to the lines, and which fault it is told as, on which line.
type Forgery = (&'static str, fn(&mut Vec<String>), &'static [&'static str], fn(usize) -> usize);

const FORGERIES: [Forgery; 9] = [
    ("alter", |lines| lines[3] = altered(&lines[3]), &["altered"], |_| 4),
    (
        "alter the last",
        |lines| *lines.last_mut().unwrap() = altered(lines.last().unwrap()),
        &["altered"],
        |count| count,
    ),
    ("remove", |lines| _ = lines.remove(3), &["missing"], |_| 4),
    ("reorder", |lines| lines.swap(3, 4), &["reordered"], |_| 4),
    ("cut", |lines| lines.truncate(lines.len() - 2), &["truncated", "missing"], |count| count - 1),
    (
        "append",
        |lines| lines.push(forged_record(lines.last().unwrap(), "RestoreCompleted", &json!({}))),
        &["forged"],
        |count| count + 1,
    ),
    (
        "accept",
        |lines| {
            lines[3] = altered(&lines[3]);
            let key = format!("altered:4:{}", sha256(lines[3].as_bytes()));
            let details = json!({ "reason": "accepted", "breaks": [{ "key": key, "what": "" }] });
            lines.push(forged_record(lines.last().unwrap(), "ChainStarted", &details));
        },
        &["altered"],
        |_| 4,
    ),
    (
        "rotate",
        |lines| {
            let fourth: Value = serde_json::from_str(&lines[3]).unwrap();
            let details = json!({ "reason": "rotated", "after": { "seq": 3, "hash": fourth["prev"] } });
            lines.drain(..3);
            lines.push(forged_record(lines.last().unwrap(), "ChainStarted", &details));
        },
        &["missing"],
        |_| 1,
    ),
    (
        "chain anew",
        |lines| {
            let at = lines.len() - 2;
            lines[at] = altered(&lines[at]);
            chain_anew(lines, at + 1);
        },
        &["altered", "forged"],
        |count| count - 1,
    ),
];

/// Whether `audit verify` tells of the forgery, by what it is and where.
fn assert_told(installation: &Installation, forgery: &Forgery, count: usize, when: &str) {
    let (name, _, faults, line) = forgery;
    let (exit, report) = verify(installation);
    let first = &report["first_break"];
    let fault = first["fault"].as_object().map(|fault| fault.keys().next().unwrap().clone()).unwrap_or_default();
    assert!(exit == 4 && faults.contains(&fault.as_str()), "{name} {when}: {report}");
    assert_eq!(first["line"], line(count), "{name} {when}: {report}");
}

/// Whether the service says so wherever it can; and that it is over once it is accepted.
fn assert_told_by_the_service(daemon: &Daemon, name: &str) {
    let is_told = |daemon: &Daemon| {
        let (status, metrics) = (daemon.status(), daemon.get("/metrics").text);
        let reasons = status["mode"]["reasons"].as_array().unwrap().iter();
        reasons.map(|reason| reason["code"].as_str().unwrap()).any(|code| code == "audit_chain_broken")
            && metrics.contains("fiovana_audit_chain_ok 0")
            && metrics.contains("fiovana_degraded{reason=\"audit_chain_broken\"} 1")
            && status["audit"]["chain_ok"] == false
    };
    daemon.wait(&format!("{name} to be told"), |daemon| is_told(daemon).then_some(()));
}

fn accept(daemon: &Daemon, name: &str) {
    let accepted = daemon.post("/api/audit/accept");
    assert!(accepted.status == 200 && !accepted.json()["accepted"].as_array().unwrap().is_empty(), "{name}");
    daemon.wait(&format!("{name} to be over"), |daemon| {
        let whole = daemon.get("/metrics").text.contains("fiovana_audit_chain_ok 1");
        (whole && daemon.status()["mode"]["name"] == "normal").then_some(())
    });
}

fn run(daemon: &Daemon) {
    daemon.settle();
    daemon.backup_when_free("security");
    daemon.backup_when_free("application");
}

/// Copies the logs and the backups, as they are.
fn copy(from: &Path, to: &Path) {
    for name in ["logs", "backups"] {
        let _ = fs::remove_dir_all(to.join(name));
        let copied = Command::new("cp").arg("-a").args([from.join(name), to.join(name)]).status().unwrap();
        assert!(copied.success());
    }
}

/// Forges while nothing runs, each way after another; `end` ends the service.
fn forge_between_runs(end: fn(Daemon)) {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    run(&daemon);
    end(daemon);
    let as_it_was = tempfile::tempdir().unwrap();
    copy(installation.root(), as_it_was.path());
    for forgery in &FORGERIES {
        let name = forgery.0;
        copy(as_it_was.path(), installation.root());
        let mut text = lines(&installation);
        let count = text.len();
        forgery.1(&mut text);
        put(&installation, &text);
        assert_told(&installation, forgery, count, "while stopped");
        let daemon = installation.start();
        assert_told_by_the_service(&daemon, name);
        daemon.backup_when_free("security");
        assert!(daemon.terminate().success());
        assert_told(&installation, forgery, count, "after the service went on");
        let daemon = installation.start();
        accept(&daemon, name);
        assert!(daemon.terminate().success());
        assert_whole(&installation, name);
    }
}

#[test]
fn what_is_forged_while_the_service_is_stopped_is_named() {
    forge_between_runs(|daemon| assert!(daemon.terminate().success()));
}

#[test]
fn what_is_forged_after_the_service_was_killed_is_named() {
    forge_between_runs(Daemon::kill);
}

#[test]
fn what_is_forged_while_the_service_runs_is_named() {
    for forgery in &FORGERIES {
        let name = forgery.0;
        let installation = Installation::with_settings(SETTINGS);
        let daemon = installation.start();
        run(&daemon);
        let mut text = lines(&installation);
        let count = text.len();
        forgery.1(&mut text);
        if name == "append" {
            append(&installation, text.last().unwrap());
        } else {
            put(&installation, &text);
        }
        assert_told_by_the_service(&daemon, name);
        daemon.backup_when_free("security");
        assert_told(&installation, forgery, count, "while the service runs");
        accept(&daemon, name);
        assert_whole(&installation, name);
    }
}

/// How others rotate a log: what is done to it, the live file being the argument.
type Rotation = (&'static str, fn(&Path));

fn older(log: &Path, number: u32) -> std::path::PathBuf {
    log.with_extension(format!("log.{number}"))
}

fn rename(log: &Path) {
    fs::rename(log, older(log, 1)).unwrap();
}

fn copy_and_truncate(log: &Path) {
    fs::copy(log, older(log, 1)).unwrap();
    OpenOptions::new().write(true).open(log).unwrap().set_len(0).unwrap();
}

fn compress(log: &Path, program: &[&str]) {
    let status = Command::new(program[0]).args(&program[1..]).arg(older(log, 1)).status().unwrap();
    assert!(status.success());
}

const ROTATIONS: [Rotation; 7] = [
    ("rename", rename),
    ("rename and create", |log| {
        rename(log);
        write(log, "");
    }),
    ("copy and truncate", copy_and_truncate),
    ("rename and gzip", |log| {
        rename(log);
        compress(log, &["gzip"]);
    }),
    ("rename and xz", |log| {
        rename(log);
        compress(log, &["xz"]);
    }),
    ("rename and zstd", |log| {
        rename(log);
        compress(log, &["zstd", "--rm", "-q"]);
    }),
    ("copy, truncate and gzip", |log| {
        copy_and_truncate(log);
        compress(log, &["gzip"]);
    }),
];

fn assert_trusted_by_the_service(daemon: &Daemon, what: &str) {
    let metrics = daemon.get("/metrics").text;
    assert!(metrics.contains("fiovana_audit_chain_ok 1"), "{what}: {}", daemon.said());
    assert_eq!(daemon.status()["mode"]["name"], "normal", "{what}");
}

#[test]
fn what_rotation_does_to_the_log_is_no_forgery_whether_the_service_runs_or_not() {
    for (name, rotate) in ROTATIONS {
        for running in [true, false] {
            let what = format!("{name}, running: {running}");
            let installation = Installation::with_settings(SETTINGS);
            let log = installation.path(LOG);
            let mut daemon = installation.start();
            run(&daemon);
            if running {
                rotate(&log);
            } else {
                assert!(daemon.terminate().success());
                rotate(&log);
                assert_whole(&installation, &format!("{what}, before the start"));
                daemon = installation.start();
            }
            daemon.backup_when_free("security");
            assert_trusted_by_the_service(&daemon, &what);
            assert!(daemon.terminate().success());
            let (exit, report) = verify(&installation);
            assert_eq!(
                (exit, &report["first_seq"], &report["accepted"]),
                (0, &json!(1), &json!(0)),
                "{what}: {report}"
            );
            // Nor is it that the rotated file is deleted in the end.
            for file in fs::read_dir(log.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()) {
                if file.to_string_lossy().contains("security_audit.log.1") {
                    fs::remove_file(file).unwrap();
                }
            }
            let (exit, report) = verify(&installation);
            assert_eq!((exit, report["first_seq"].as_u64() > Some(1)), (0, true), "{what}: {report}");
        }
    }
}

#[test]
fn a_rotated_file_that_cannot_be_looked_into_is_said_to_be_unreadable_and_not_forged() {
    for (ending, content) in [(".bz2", "whatever"), (".xz", "no such thing"), (".gz", "no such thing")] {
        for running in [true, false] {
            let what = format!("{ending}, running: {running}");
            let installation = Installation::with_settings(SETTINGS);
            let log = installation.path(LOG);
            let hide = |number: u32| {
                fs::rename(&log, installation.path("aside")).unwrap();
                write(&log.with_extension(format!("log.{number}{ending}")), content);
            };
            let mut daemon = installation.start();
            run(&daemon);
            // Once at the beginning of the chain, once in the middle, between two files that can be read.
            for number in [3, 1] {
                if running {
                    hide(number);
                } else {
                    assert!(daemon.terminate().success());
                    hide(number);
                    assert_eq!(verify(&installation).0, 3, "{what}");
                    daemon = installation.start();
                }
                daemon.backup_when_free("security");
                if number == 3 {
                    fs::rename(&log, older(&log, 2)).unwrap();
                    daemon.backup_when_free("security");
                }
            }
            assert_trusted_by_the_service(&daemon, &what);
            assert!(daemon.terminate().success());
            let (exit, report) = verify(&installation);
            assert_eq!((exit, report["unread"].as_array().unwrap().len()), (3, 1), "{what}: {report}");
            // What is cut off beside it is still told.
            let mut text = lines(&installation);
            text.pop();
            put(&installation, &text);
            assert_eq!(verify(&installation).0, 4, "{what}");
        }
    }
}

#[test]
fn records_behind_the_remembered_one_are_believed_after_a_crash_and_forged_ones_among_them_are_not() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    daemon.settle();
    let head = installation.path("backups/state/audit_head.json");
    let remembered = read(&head);
    run(&daemon);
    let manifests = installation.path("backups/manifests/security");
    daemon.kill();
    // As a power cut leaves it: older than the log, or torn, or empty.
    let count = lines(&installation).len();
    for state in [remembered.clone(), remembered[..40].to_vec(), Vec::new()] {
        write(&head, &state);
        assert_whole(&installation, "after a crash");
        let daemon = installation.start();
        daemon.backup_when_free("application");
        assert_trusted_by_the_service(&daemon, "after a crash");
        daemon.kill();
        assert_whole(&installation, "after the next start");
    }
    assert!(manifests.is_dir() && lines(&installation).len() > count);
    write(&head, &remembered);
    let last = lines(&installation).pop().unwrap();
    append(&installation, &forged_record(&last, "BackupCompleted", &json!({})));
    let (exit, report) = verify(&installation);
    assert_eq!((exit, report["first_break"]["fault"]["forged"]["lines"].as_u64()), (4, Some(1)), "{report}");
}

#[test]
fn a_torn_line_and_lines_of_the_application_are_no_forgery() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    daemon.settle();
    for line in
        ["12:00:00 alice logged in", "{\"event\":\"login\"}", "{\"seq\":7,\"message\":\"of the application\"}", ""]
    {
        append(&installation, line);
        daemon.backup_when_free("security");
    }
    daemon.kill();
    let whole = read(&installation.path(LOG));
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    write(&installation.path(LOG), [&whole[..], &whole[last..last + 60]].concat());
    assert_whole(&installation, "a torn line");
    let daemon = installation.start();
    daemon.backup_when_free("security");
    assert_trusted_by_the_service(&daemon, "a torn line");
    assert!(daemon.terminate().success());
    assert_whole(&installation, "after the next start");
}

#[test]
fn a_log_that_is_deleted_or_no_file_any_more_is_told_at_once_and_never_waited_for() {
    type PutThere = fn(&Path);
    let obstacles: [(&str, PutThere); 4] = [
        ("deleted", |_| ()),
        ("a directory", |log| fs::create_dir(log).unwrap()),
        ("a pipe", |log| {
            assert!(Command::new("mkfifo").arg(log).status().unwrap().success());
        }),
        ("a symbolic link", |log| std::os::unix::fs::symlink("/dev/null", log).unwrap()),
    ];
    for (name, put_there) in obstacles {
        for running in [true, false] {
            let what = format!("{name}, running: {running}");
            // Not by the check from time to time.
            let installation = Installation::with_settings("[recovery]\nintegrity_failures = 1000\n");
            let log = installation.path(LOG);
            let mut daemon = installation.start();
            run(&daemon);
            if !running {
                assert!(daemon.terminate().success());
                fs::remove_file(&log).unwrap();
                put_there(&log);
                assert_eq!(verify(&installation).0, 4, "{what}");
                daemon = installation.start();
            } else {
                fs::remove_file(&log).unwrap();
                put_there(&log);
            }
            // Nobody asks for anything that would be recorded.
            assert_told_by_the_service(&daemon, &what);
            assert_eq!(verify(&installation).0, 4, "{what}");
            assert!(daemon.terminate().success());
        }
    }
}

/// What the repository or its replica remembers of the log: two state files, and the head, which in a replica is a row.
fn memory(installation: &Installation, place: &str) -> Vec<std::path::PathBuf> {
    let root = installation.path(place);
    let state = |file: &str| root.join("state").join(file);
    let mut files = vec![state("audit_key.json"), state("audit_marks.json")];
    let is_head = |name: &str| name.starts_with("audit_head.");
    let names =
        fs::read_dir(&root).into_iter().flatten().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    match place {
        "backups" => files.push(state("audit_head.json")),
        _ => files.extend(names.filter(|name| is_head(name)).map(|name| root.join(name))),
    }
    files
}

fn wait_for_replica(daemon: &Daemon) {
    daemon.wait("the replica to follow the log", |daemon| {
        let sequence = |path: &Path| -> Option<u64> {
            let text = String::from_utf8(fs::read(path).ok()?).ok()?;
            serde_json::from_str::<Value>(text.lines().nth(1)?).ok()?["seq"].as_u64()
        };
        let status = daemon.status();
        let log = Path::new(status["audit"]["path"].as_str()?);
        let backups = log.parent()?.parent()?.join("backups");
        let follows = newest_row(&backups.join("replica"), "audit_head")?.1["seq"].as_u64()?;
        (follows >= sequence(&backups.join("state/audit_head.json"))?).then_some(())
    });
}

#[test]
fn with_the_state_lost_the_key_and_what_was_accepted_come_from_a_replica() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    run(&daemon);
    let mut text = lines(&installation);
    text[3] = altered(&text[3]);
    put(&installation, &text);
    accept(&daemon, "an alteration");
    rename(&installation.path(LOG));
    daemon.backup_when_free("security");
    wait_for_replica(&daemon);
    assert!(daemon.terminate().success());
    fs::remove_dir_all(installation.path("backups/state")).unwrap();
    fs::remove_file(older(&installation.path(LOG), 1)).unwrap();
    assert_whole(&installation, "before the start");
    let daemon = installation.start_listening::<&str>(&[]);
    daemon.wait("the log to be written", |_| {
        lines(&installation).iter().any(|line| line.contains("\"key_recovered\"")).then_some(())
    });
    assert!(daemon.terminate().success());
    assert_whole(&installation, "after the start");
    let secrets = ["backups", "backups/replica"].map(|place| {
        let text = String::from_utf8(read(&memory(&installation, place)[0])).unwrap();
        serde_json::from_str::<Value>(text.lines().nth(1).unwrap()).unwrap()["key"].as_str().unwrap().to_owned()
    });
    assert!(secrets[0] == secrets[1] && secrets[0].len() == 64);
    let everything = [read(&installation.path(LOG)), daemon_output(&installation)].concat();
    assert!(!String::from_utf8_lossy(&everything).contains(&secrets[0]), "the key is told nowhere");
}

/// What commands say that show everything there is to show of the log.
fn daemon_output(installation: &Installation) -> Vec<u8> {
    let shown = [&["audit", "verify", "--json"][..], &["audit", "tail", "--json"], &["status", "--json"]];
    shown.iter().flat_map(|arguments| installation.run(arguments).stdout).collect()
}

#[test]
fn with_the_state_and_all_replicas_lost_one_acceptance_covers_what_is_found_by_name() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    run(&daemon);
    wait_for_replica(&daemon);
    assert!(daemon.terminate().success());
    for place in ["backups", "backups/replica"] {
        memory(&installation, place).iter().for_each(|file| fs::remove_file(file).unwrap());
    }
    assert_eq!(verify(&installation).0, 3, "without the key nothing is proved");
    let daemon = installation.start();
    assert_told_by_the_service(&daemon, "a lost key");
    let (exit, report) = verify(&installation);
    assert_eq!(exit, 4);
    assert!(report["first_break"]["fault"]["key_lost"].is_object(), "{report}");
    accept(&daemon, "a lost key");
    wait_for_replica(&daemon);
    assert!(daemon.terminate().success());
    assert_whole(&installation, "after it was accepted");
    // What is forged before the new key began is held by the hashes, what is forged after it by the new key.
    let mut text = lines(&installation);
    text[3] = altered(&text[3]);
    put(&installation, &text);
    assert_eq!(verify(&installation).0, 4);
}

/// Rewrites the value of a state file, with its checksum, as its writer would.
fn rewrite_state(path: &Path, change: impl FnOnce(&mut Value)) {
    let text = String::from_utf8(read(path)).unwrap();
    let (header, value) = text.split_once('\n').unwrap();
    let (mut header, mut value): (Value, Value) =
        (serde_json::from_str(header).unwrap(), serde_json::from_str(value).unwrap());
    change(&mut value);
    let value = value.to_string();
    header["sha256"] = sha256(value.as_bytes()).into();
    write(path, format!("{header}\n{value}"));
}

#[test]
fn whoever_rewrites_the_log_and_the_state_of_the_repository_is_found_by_a_replica() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    run(&daemon);
    wait_for_replica(&daemon);
    assert!(daemon.terminate().success());
    let as_it_was = tempfile::tempdir().unwrap();
    copy(installation.root(), as_it_was.path());
    let [key, marks, head] = &memory(&installation, "backups")[..] else { unreachable!() };
    type Forge<'a> = &'a dyn Fn(&mut Vec<String>);
    let forge: [(&str, Forge<'_>); 4] = [
        ("an acceptance", &|lines| {
            lines[3] = altered(&lines[3]);
            let accepted = format!("altered:4:{}", sha256(lines[3].as_bytes()));
            rewrite_state(marks, |value| {
                value["accepted"] =
                    json!([{ "key": accepted, "what": "", "by": "", "when": "2026-01-01T00:00:00Z", "at": 5 }]);
            });
        }),
        ("a rotation", &|lines| {
            let fourth: Value = serde_json::from_str(&lines[3]).unwrap();
            lines.drain(..3);
            rewrite_state(marks, |value| value["rotations"] = json!([{ "seq": 3, "hash": fourth["prev"] }]));
        }),
        ("a later beginning of the key", &|lines| {
            lines[3] = altered(&lines[3]);
            chain_anew(lines, 4);
            let last = lines.last().unwrap();
            let seq = serde_json::from_str::<Value>(last).unwrap()["seq"].clone();
            let hash = sha256(last.as_bytes());
            rewrite_state(key, |value| value["after"] = json!({ "seq": seq, "hash": hash }));
            rewrite_state(head, |value| value["hash"] = hash.into());
        }),
        ("a second baseline", &|lines| {
            lines[3] = altered(&lines[3]);
            chain_anew(lines, 4);
            // As a version that knew no keys would have written it.
            for at in 0..lines.len() {
                let mac = lines[at].find(",\"mac\":").unwrap();
                lines[at].replace_range(mac..mac + 74, "");
                chain_anew(lines, at.max(1));
            }
            [key, marks, head].iter().for_each(|file| fs::remove_file(file).unwrap());
            fs::remove_dir_all(installation.path("backups/manifests")).unwrap();
            fs::create_dir(installation.path("backups/manifests")).unwrap();
        }),
    ];
    for (name, forge) in forge {
        copy(as_it_was.path(), installation.root());
        let mut text = lines(&installation);
        forge(&mut text);
        put(&installation, &text);
        assert_eq!(verify(&installation).0, 4, "{name}: before the start");
        let daemon = installation.start_listening::<&str>(&[]);
        daemon.wait(name, |daemon| daemon.get("/metrics").text.contains("fiovana_audit_chain_ok 0").then_some(()));
        assert!(daemon.terminate().success());
        assert_eq!(verify(&installation).0, 4, "{name}: what the replica remembers was not overwritten");
    }
}

#[test]
fn the_first_start_after_an_upgrade_takes_the_log_as_it_is_once_and_says_so() {
    let installation = Installation::with_settings("[backup]\nenabled = false\n[audit]\ncheck_interval = \"1s\"\n");
    let daemon = installation.start();
    rename(&installation.path(LOG));
    for signals in 1..=3 {
        daemon.signal(Signal::HUP);
        let is_recorded = |_: &Daemon| installation.path(LOG).exists() && lines(&installation).len() > signals;
        daemon.wait("the signal to be recorded", |daemon| is_recorded(daemon).then_some(()));
    }
    daemon.kill();
    let to_an_old_one = |log: &Path, mut prev: String| {
        let text = String::from_utf8(read(log)).unwrap();
        let old = text.lines().map(|line| {
            let mac = line.find(",\"mac\":").unwrap();
            let line = format!("{},\"prev\":\"{prev}\"}}", &line[..mac]);
            prev = sha256(line.as_bytes());
            line
        });
        let old: Vec<String> = old.collect();
        write(log, old.join("\n") + "\n");
        (prev, old.len())
    };
    // As an earlier version left it: with a rotation that only the log tells of.
    let (log, rotated) = (installation.path(LOG), older(&installation.path(LOG), 1));
    let (hash, _) = to_an_old_one(&rotated, "0".repeat(64));
    let text = String::from_utf8(read(&log)).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let before = first["details"]["after"]["hash"].as_str().unwrap();
    write(&log, text.replace(before, &hash));
    let (hash, _) = to_an_old_one(&log, hash);
    for place in ["backups", "backups/replica"] {
        memory(&installation, place).iter().for_each(|file| drop(fs::remove_file(file)));
    }
    let last: Value = serde_json::from_str(&lines(&installation).pop().unwrap()).unwrap();
    assert_whole(&installation, "before the first start");
    assert!(installation.start().terminate().success());
    let said = lines(&installation).into_iter().find(|line| line.contains("\"key_begun\"")).expect("a record of it");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["details"]["after"], json!({ "seq": last["seq"], "hash": hash }));
    fs::remove_file(&rotated).unwrap();
    assert_whole(&installation, "after the first start, with the rotated file gone");
    let mut text = lines(&installation);
    text[0] = altered(&text[0]);
    put(&installation, &text);
    assert_eq!(verify(&installation).0, 4, "what was there then was altered since");
    fs::remove_dir_all(installation.path("backups/state")).unwrap();
    let daemon = installation.start_listening::<&str>(&[]);
    daemon.wait("the lost key to be told", |daemon| {
        daemon.get("/metrics").text.contains("fiovana_audit_chain_ok 0").then_some(())
    });
    assert!(daemon.terminate().success());
    assert_eq!(verify(&installation).0, 4, "there is no second baseline");
}

#[test]
fn a_host_that_cannot_open_its_backups_authenticates_records_and_a_replica_holds_the_key_only_encrypted() {
    let settings = format!("{SETTINGS}[backup]\nencryption_enabled = true\n[encryption]\nwrite_only = true\n");
    let installation = Installation::with_settings(&settings);
    assert_eq!(code(installation.run(&["key", "init"]).status), 0);
    let recipient = installation.run(&["key", "show"]).stdout;
    let recipient = String::from_utf8(recipient).unwrap();
    let recipient = recipient.split_whitespace().find(|word| word.starts_with("age1")).unwrap();
    write(&installation.path("fiovana-app.recipients"), format!("{recipient}\n"));
    let identity = read(&installation.path("fiovana-app.key"));
    fs::remove_file(installation.path("fiovana-app.key")).unwrap();
    let daemon = installation.start();
    run(&daemon);
    daemon.kill();
    let daemon = installation.start();
    daemon.backup_when_free("security");
    wait_for_replica(&daemon);
    assert_trusted_by_the_service(&daemon, "without the identity");
    assert!(daemon.terminate().success());
    assert_whole(&installation, "without the identity");
    let document = |place: &str| {
        let text = String::from_utf8(read(&memory(&installation, place)[0])).unwrap();
        serde_json::from_str::<Value>(text.lines().nth(1).unwrap()).unwrap()
    };
    let (own, given) = (document("backups"), document("backups/replica"));
    assert!(own["id"] == given["id"] && own["key"].is_string() && given["key"].is_null(), "{given}");
    // With the state lost, whoever has the identity gets the key back.
    fs::remove_dir_all(installation.path("backups/state")).unwrap();
    assert_eq!(verify(&installation).0, 3, "without the identity nothing is proved");
    write(&installation.path("fiovana-app.key"), identity);
    common::files::set_mode(&installation.path("fiovana-app.key"), 0o600);
    assert_whole(&installation, "with the identity");
    let daemon = installation.start_listening::<&str>(&[]);
    daemon.wait("the log to be written", |_| {
        lines(&installation).iter().any(|line| line.contains("\"key_recovered\"")).then_some(())
    });
    assert!(daemon.terminate().success());
    assert_eq!(document("backups")["key"], own["key"]);
}

#[test]
fn what_was_recorded_while_the_repository_was_away_is_told_as_one_break_and_accepted_at_once() {
    let installation = Installation::with_settings("");
    let daemon = installation.start();
    run(&daemon);
    assert!(daemon.terminate().success());
    fs::rename(installation.path("backups"), installation.path("aside")).unwrap();
    let daemon = installation.start_listening::<&str>(&[]);
    let starts = || lines(&installation).iter().filter(|line| line.contains("\"ServiceStarted\"")).count();
    daemon.wait("records", |_| (starts() == 2).then_some(()));
    assert!(daemon.terminate().success());
    fs::remove_dir_all(installation.path("backups")).unwrap();
    fs::rename(installation.path("aside"), installation.path("backups")).unwrap();
    let daemon = installation.start();
    daemon.wait("the break to be told", |daemon| {
        daemon.get("/metrics").text.contains("fiovana_audit_chain_ok 0").then_some(())
    });
    let (exit, report) = verify(&installation);
    assert_eq!((exit, report["breaks"].as_array().unwrap().len()), (4, 1), "{report}");
    // One break is no reason for recovery mode.
    daemon.wait("degraded mode", |daemon| {
        let mode = daemon.status()["mode"]["name"].clone();
        assert_ne!(mode, "recovery");
        (mode == "degraded").then_some(())
    });
    accept(&daemon, "what was recorded meanwhile");
    assert!(daemon.terminate().success());
    assert_whole(&installation, "once it was accepted");
}
