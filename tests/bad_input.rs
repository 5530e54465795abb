//! What is refused: over HTTP, at the start, on the command line.
//!
//! Hazard: a refusal that changes something, or that leaves an operator guessing. Each gets one clear line and the right
//! status or exit code, and leaves every byte as it was.

mod common;

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::process::Output;

use common::files::{self, snapshot};
use common::{Daemon, Installation, code};

/// Backups that retention gives up meanwhile would look like a change.
const NO_CLEANUP: &str = "[backup]\nauto_cleanup = false\n";

const FAILED: i32 = 1;
const USAGE: i32 = 2;

/// Backups, and the files they are of: what no refusal may change.
fn what_matters(installation: &Installation) -> [std::collections::BTreeMap<std::path::PathBuf, String>; 3] {
    ["backups/manifests", "backups/objects", "config"].map(|directory| snapshot(&installation.path(directory)))
}

/// POSTs, expects this problem with this in its text, and that nothing changed.
fn refused(installation: &Installation, daemon: &Daemon, path: &str, status: u16, problem: &str, words: &str) {
    let before = what_matters(installation);
    let answer = daemon.post(path);
    assert_eq!(answer.problem(status), problem, "{path}: {}", answer.text);
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(words), "{path}: {words:?} is not in {detail:?}");
    assert_eq!(what_matters(installation), before, "{path} changed something");
}

#[test]
fn an_unknown_set_or_id_a_malformed_id_and_another_sets_id_are_refused() {
    let installation = Installation::with_settings(NO_CLEANUP);
    let daemon = installation.start();
    daemon.settle();
    let security = daemon.backup("security");
    let id = security["id"].as_str().unwrap();
    let of_application = format!("/api/recovery/application/{id}");
    for (path, status, problem, words) in [
        ("/api/backup/nosuch", 404, "not-found", "application, "),
        ("/api/backup/UPPER", 400, "bad-request", "starting with a letter"),
        ("/api/backup/..%2f..%2fetc", 400, "bad-request", "is no set name"),
        ("/api/backup/%ff", 400, "bad-request", "UTF-8"),
        ("/api/recovery/nosuch/20261123T101500Z-3f9c2ab1", 404, "not-found", "nosuch"),
        ("/api/recovery/security/19990101T000000Z-00000000", 404, "not-found", "19990101T000000Z-00000000"),
        ("/api/recovery/security/not-an-id", 400, "bad-request", "not-an-id"),
        ("/api/recovery/security/..%2f..%2fetc%2fpasswd", 400, "bad-request", "20261123T101500Z-3f9c2ab1"),
        (of_application.as_str(), 409, "set-mismatch", "security"),
        ("/api/recovery/logs/latest", 422, "target", "is a log"),
    ] {
        if path.contains("logs") {
            daemon.backup("logs");
        }
        refused(&installation, &daemon, path, status, problem, words);
    }
    for (path, status, problem) in [
        ("/api/backup/19990101T000000Z-00000000", 404, "not-found"),
        ("/api/backup/not-an-id", 400, "bad-request"),
        ("/api/backup/%ff", 400, "bad-request"),
        ("/api/backup/list?set=nosuch", 404, "not-found"),
        ("/api/backup/list?limit=0", 400, "bad-request"),
        ("/api/backup/list?limt=5", 400, "bad-request"),
        ("/api/nothing", 404, "not-found"),
    ] {
        let answer = daemon.get(path);
        assert_eq!(answer.problem(status), problem, "{path}: {}", answer.text);
    }
    assert_eq!(daemon.get("/api/backup/security").status, 400, "a set's name is no id");
    assert_eq!(daemon.post("/api/status").problem(405), "method-not-allowed");
}

#[test]
fn what_is_no_plain_file_is_named_and_a_source_that_is_no_directory_is_refused() {
    let notes = "[sets.notes]\nsource = \"./notes\"\nfiles = [\"*\"]\n";
    let installation = Installation::with_settings(&format!("{NO_CLEANUP}{notes}"));
    let notes = installation.path("notes");
    std::fs::create_dir(&notes).unwrap();
    files::write(&notes.join("a.txt"), "a");
    let daemon = installation.start();
    daemon.settle();

    let live = installation.path("config/security_config.json");
    std::fs::remove_file(&live).unwrap();
    symlink("/etc/passwd", &live).unwrap();
    let left_out = |set: &str, word: &str| {
        let backup = daemon.backup(set);
        let unreadable = backup["unreadable"].as_array().unwrap();
        assert_eq!(unreadable.len(), 1, "{backup}");
        assert!(unreadable[0]["reason"].as_str().unwrap().contains(word), "{backup}");
    };
    left_out("security", "a symlink to /etc/passwd");
    std::fs::remove_file(&live).unwrap();
    std::fs::create_dir(&live).unwrap();
    left_out("security", "a directory");

    let nameless = notes.join(OsStr::from_bytes(b"bad-\xff.txt"));
    files::write(&nameless, "x");
    let backup = daemon.backup("notes");
    assert_eq!((backup["files"].as_array().unwrap().len(), &backup["state"]), (2, &"good".into()), "{backup}");

    std::fs::rename(&notes, installation.path("elsewhere")).unwrap();
    symlink("elsewhere", &notes).unwrap();
    refused(&installation, &daemon, "/api/backup/notes", 422, "source", "elsewhere now, and led to");
    std::fs::remove_file(&notes).unwrap();
    refused(&installation, &daemon, "/api/backup/notes", 422, "source", "notes");
}

#[test]
fn what_patterns_reach_and_cannot_look_into_is_named_and_what_they_do_not_reach_is_left_alone() {
    let sites = "[sets.sites]\nsource = \"./sites\"\nfiles = [\"*.conf\", \"*/*.conf\", \"deep/**\"]\n";
    let installation = Installation::unprivileged();
    files::write(&installation.path("config/fiovana.toml"), format!("{NO_CLEANUP}{sites}"));
    let sites = installation.path("sites");
    for directory in ["a", "elsewhere/of/others", "closed"] {
        std::fs::create_dir_all(sites.join(directory)).unwrap();
    }
    for file in ["top.conf", "a/a.conf", "elsewhere/of/others/x.conf", "closed/c.conf"] {
        files::write(&sites.join(file), file);
    }
    symlink("elsewhere/of/others", sites.join("linked")).unwrap();
    symlink("top.conf", sites.join("no-directory")).unwrap();
    // Neither is reached by a pattern.
    files::write(&sites.join("elsewhere/of").join(OsStr::from_bytes(b"bad-\xff")), "x");
    let deepest = sites.join("deep").join(["d"; 40].join("/"));
    std::fs::create_dir_all(&deepest).unwrap();
    files::write(&deepest.join("d.conf"), "deep");
    files::set_mode(&sites.join("closed"), 0o000);
    let daemon = installation.start();

    let backup = daemon.backup_when_free("sites");
    let names = |list: &str| -> Vec<String> {
        let texts = backup[list].as_array().unwrap().iter();
        texts.map(|one| one["path"].as_str().or(one.as_str()).unwrap().to_owned()).collect()
    };
    assert_eq!(names("files"), ["a/a.conf", "top.conf"], "{backup}");
    let unread = names("unreadable");
    assert!(unread.len() == 3 && unread[0].starts_with("closed/") && unread[2] == "linked/", "{backup}");
    assert!(unread[1].starts_with("deep/d/d/") && unread[1].ends_with("/d/"), "{backup}");
    let mode = &daemon.status()["mode"];
    assert_eq!(mode["name"], "normal", "{mode}");
}

#[test]
fn a_restore_over_what_is_no_plain_file_is_refused() {
    let installation = Installation::with_settings(NO_CLEANUP);
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup("security")["id"].as_str().unwrap().to_owned();
    let live = installation.path("config/security_config.json");
    let path = format!("/api/recovery/security/{id}");
    std::fs::remove_file(&live).unwrap();
    std::fs::create_dir(&live).unwrap();
    refused(&installation, &daemon, &path, 422, "target", "security_config.json");
}

/// One line that begins like this and says each of these.
fn assert_one_clear_line(output: &Output, words: &[&str]) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line:\n{stderr}");
    for word in words {
        assert!(lines[0].contains(word), "{word:?} is not in {:?}", lines[0]);
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("RUST_BACKTRACE"), "{stderr}");
}

/// The start fails with this exit code and one line that says all this, and leaves everything as it was.
fn start_refused<V: AsRef<OsStr>>(installation: &Installation, variables: &[(&str, V)], expected: i32, words: &[&str]) {
    let before = snapshot(installation.root());
    let output = installation.run_with(&[], variables);
    assert_one_clear_line(&output, words);
    assert_eq!(code(output.status), expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(snapshot(installation.root()), before, "something was changed");
}

#[test]
fn a_variable_that_makes_no_sense_stops_the_start() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    for (name, value, words) in [
        ("FIOVANA_BACKUP_ENABLED", bytes(b"maybe"), ["enabled: maybe", "give true or false"]),
        ("FIOVANA_MAX_BACKUPS", bytes(b"0"), ["max_backups: 0", "from 1 to"]),
        ("FIOVANA_MAX_BACKUPS", bytes(b"-1"), ["max_backups: -1", "from 1 to"]),
        ("FIOVANA_MAX_BACKUPS", bytes(b"many"), ["max_backups: many", "whole number"]),
        ("FIOVANA_RETENTION_DAYS", bytes(b"0"), ["retention_days: 0", "from 1 to"]),
        ("FIOVANA_RETENTION_DAYS", bytes(b"30d"), ["retention_days: 30d", "whole number"]),
        ("FIOVANA_BACKUP_DIRECTORY", bytes(b"\xff"), ["backup_directory", "UTF-8"]),
        ("FIOVANA_HTTP_BIND", bytes(b"8080"), ["http.bind: 8080", "127.0.0.1:8080"]),
        ("FIOVANA_CONFIG", bytes(b"/nowhere/f.toml"), ["/nowhere/f.toml", "No such file"]),
        ("FIOVANA_CONFIG", bytes(b"config"), ["config", "is a directory"]),
    ] {
        let [first, second] = words;
        start_refused(&Installation::new(), &[(name, value)], USAGE, &[name, first, second]);
    }
}

#[test]
fn settings_that_make_no_sense_stop_the_start() {
    for (toml, words) in [
        ("[backup]\nmax_backup = 5\n", ["max_backup", "max_backups"]),
        ("[backups]\nmax_backups = 5\n", ["backups", "backup"]),
        ("[backup]\nmax_backups = 0\n", ["max_backups: 0", "from 1 to"]),
        ("[backup]\nbackup_interval_hours = 0\n", ["backup_interval_hours: 0", "from 1 to"]),
        ("[backup]\nencryption_enabled = true\n", ["no key", "key init"]),
        ("[sets.security]\ninterval = \"0s\"\n", ["sets.security.interval", "from 1s"]),
        ("[sets.list]\nsource = \"x\"\nfiles = [\"a\"]\n", ["list", "reserved"]),
        ("[sets.Bad]\nsource = \"x\"\nfiles = [\"a\"]\n", ["Bad", "starting with a letter"]),
        ("[sets.x]\nsource = \"config\"\nfiles = [\"app_config.json\"]\n", ["sets.x.files", "application"]),
        ("[sets.x]\nsource = \"backups\"\nfiles = [\"*\"]\n", ["sets.x.source", "backup directory"]),
        ("[sets.x]\nsource = \"x\"\nfiles = [\"../a\"]\n", ["sets.x.files", ".."]),
        ("[sets.x]\nfiles = [\"a\"]\n", ["sets.x.source", "nothing"]),
        ("max_backups = ", ["fiovana.toml", "line 1"]),
    ] {
        start_refused::<&str>(&Installation::with_settings(toml), &[], USAGE, &words);
    }
}

#[test]
fn a_port_that_is_taken_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let bind = [("FIOVANA_HTTP_BIND", address.as_str())];
    let installation = Installation::new();
    start_refused(&installation, &bind, FAILED, &[&address, "in use"]);

    let daemon = installation.start();
    daemon.settle();
    assert_eq!(code(daemon.terminate()), 0);
    start_refused(&installation, &bind, FAILED, &[&address, "in use"]);
}

#[test]
fn a_second_instance_is_refused_and_names_the_first() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let output = installation.run(&[]);
    assert_one_clear_line(&output, &["in use", daemon.authority()]);
    assert_eq!(code(output.status), FAILED);
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn a_backup_directory_that_cannot_be_one_stops_the_start() {
    let installation = Installation::new();
    files::write(&installation.path("backups"), "a file");
    start_refused::<&str>(&installation, &[], FAILED, &[installation.path("backups").to_str().unwrap()]);

    let installation = Installation::new();
    let nowhere = [("FIOVANA_BACKUP_DIRECTORY", "/proc/fiovana-backups")];
    start_refused(&installation, &nowhere, FAILED, &["/proc/fiovana-backups"]);
}

#[test]
fn a_read_only_backup_directory_stops_the_start_and_says_what_to_do() {
    let installation = Installation::unprivileged();
    let backups = installation.path("backups");
    std::fs::create_dir(&backups).unwrap();
    files::set_mode(&backups, 0o555);
    start_refused::<&str>(&installation, &[], FAILED, &[backups.to_str().unwrap(), "denied"]);

    files::set_mode(&backups, 0o755);
    if rustix::process::geteuid().is_root() {
        files::give_away(&backups, common::UNPRIVILEGED);
    }
    let daemon = installation.start();
    daemon.settle();
    assert_eq!(code(daemon.terminate()), 0);
    files::set_mode(&backups.join("lock"), 0o444);
    start_refused::<&str>(&installation, &[], FAILED, &[backups.join("lock").to_str().unwrap(), "denied"]);
}

#[test]
fn a_repository_of_a_newer_format_is_left_untouched() {
    let installation = Installation::new();
    drop(installation.start());
    let document = installation.path("backups/repository.json");
    let text = String::from_utf8(files::read(&document)).unwrap();
    let (lines, _) = text.trim_end().rsplit_once('\n').unwrap();
    let newer = format!("{}\n", lines.replacen("\"format\": 2", "\"format\": 3", 1));
    files::write(&document, format!("{newer}  \"sha256\": \"{}\" }}\n", files::sha256(newer.as_bytes())));
    start_refused::<&str>(&installation, &[], FAILED, &["format 3", "newer fiovana-app"]);
}

#[test]
fn a_command_line_that_makes_no_sense_is_refused() {
    let installation = Installation::new();
    let before = snapshot(installation.root());
    for arguments in [
        &["bakcup", "security"][..],
        &["backup"],
        &["backup", "No Such"],
        &["backup", "security", "application"],
        &["restore", "security"],
        &["restore", "security", "../../etc/passwd"],
        &["show", "not-an-id"],
        &["verify"],
        &["--no-such-option"],
        &["list", "--limit", "0"],
    ] {
        let output = installation.run(arguments);
        assert_eq!(code(output.status), USAGE, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
    let mut command = installation.command::<&str>(&["backup"], &[]);
    assert_eq!(code(command.arg(OsStr::from_bytes(b"\xff")).output().unwrap().status), USAGE);
    assert_eq!(snapshot(installation.root()), before);
}
