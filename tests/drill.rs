//! Drills of the real program: on schedule, on request, failing, killed.
//!
//! Hazard: a rehearsal that always passes, leaves copies of secrets behind, or touches what it rehearses for.

mod common;

use common::{Daemon, Installation, audit, code, files, repository};
use serde_json::Value;

/// Drills every second; nothing but what is asked for is backed up twice.
const OFTEN: &str = r#"
[drill]
critical = "1s"
"#;

const HUGE: &str = r#"
[sets.huge]
source = "./huge"
files = ["*.bin"]
"#;

fn held(daemon: &Daemon, outcome: &str) -> Value {
    daemon.wait("a drill", |daemon| {
        let set = daemon.set("security");
        (set["last_drill_outcome"] == outcome).then_some(set)
    })
}

fn metric(daemon: &Daemon, name: &str, label: &str) -> f64 {
    let metrics = daemon.get("/metrics").text;
    let line = metrics.lines().find(|line| line.starts_with(&format!("fiovana_{name}{{")) && line.contains(label));
    let line = line.unwrap_or_else(|| panic!("no {name} with {label} in\n{metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Flips a bit of an object of the set's newest good backup; returns the object's name.
fn damage_latest(installation: &Installation, daemon: &Daemon, set: &str) -> String {
    let backups = installation.path("backups");
    let latest = daemon.set(set)["latest"].as_str().unwrap().to_owned();
    let name = repository::objects(&repository::manifest(&backups, set, &latest))[0].to_owned();
    let path = repository::object_path(&backups, &name);
    let mut stored = files::read(&path);
    stored[0] ^= 1;
    files::write(&path, stored);
    name
}

#[test]
fn drills_are_held_on_schedule_told_and_remembered_across_a_restart() {
    let installation = Installation::with_settings(OFTEN);
    let source = files::snapshot(&installation.path("config"));
    let daemon = installation.start();
    let set = held(&daemon, "passed");
    assert!(!set["last_drill"].is_null() && !set["next_drill"].is_null(), "{set}");
    assert!(metric(&daemon, "backup_last_drill_timestamp_seconds", r#"set="security""#) > 0.0);
    assert!(metric(&daemon, "drill_duration_seconds_count", r#"set="security""#) >= 1.0);
    assert!(metric(&daemon, "integrity_checks_total", r#"kind="drill",outcome="passed""#) >= 1.0);
    // Weekly, and not before the service has settled.
    assert!(daemon.set("application")["last_drill"].is_null());
    daemon.terminate();
    assert!(!installation.path("backups/state/drill").exists());
    assert_eq!(files::snapshot(&installation.path("config")), source);
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    let passed = records.iter().find(|record| record["event"] == "DrillPassed").unwrap();
    assert_eq!((&passed["set"], &passed["outcome"]), (&"security".into(), &"success".into()), "{passed}");
    assert_eq!(passed["details"]["files"], 4, "{passed}");

    files::write(&installation.path("config/fiovana.toml"), "");
    let daemon = installation.start();
    assert_eq!(daemon.set("security")["last_drill_outcome"], "passed");
    assert!(metric(&daemon, "backup_last_drill_timestamp_seconds", r#"set="security""#) > 0.0);
}

#[test]
fn a_drill_of_a_damaged_backup_fails_names_the_object_and_shows() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let object = damage_latest(&installation, &daemon, "application");
    let answer = daemon.post("/api/drill/application");
    assert_eq!(answer.status, 200, "{}", answer.text);
    let outcome = answer.json();
    assert_eq!(outcome["verdict"], "damaged", "{outcome}");
    assert!(outcome["failure"].as_str().unwrap().contains(&object), "{outcome}");
    let set = daemon.set("application");
    assert_eq!(set["last_drill_outcome"], "failed", "{set}");
    assert!(set["last_drill_error"].as_str().unwrap().contains(&object), "{set}");
    assert_eq!(metric(&daemon, "integrity_checks_total", r#"kind="drill",outcome="failed""#), 1.0);
    daemon.terminate();
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    assert_eq!(audit::count(&records, "DrillFailed", "application"), 1);
    assert_eq!(audit::count(&records, "IntegrityCheckFailed", "application"), 1, "the damage counts, and once");
}

#[test]
fn a_target_that_cannot_be_written_fails_the_drill_and_is_no_integrity_failure() {
    use std::os::unix::fs::PermissionsExt;
    let installation = Installation::unprivileged();
    let daemon = installation.start();
    daemon.settle();
    std::fs::set_permissions(installation.path("config"), PermissionsExt::from_mode(0o555)).unwrap();
    let outcome = daemon.post("/api/drill/security").json();
    std::fs::set_permissions(installation.path("config"), PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(outcome["verdict"], "failed", "{outcome}");
    let failure = outcome["failure"].as_str().unwrap();
    assert!(failure.contains("config: it cannot be written") && failure.ends_with("denied (os error 13)"), "{failure}");
    let metrics = daemon.get("/metrics").text;
    assert!(metrics.contains("\nfiovana_integrity_failures_total 0\n"), "{metrics}");
    assert_eq!(daemon.post("/api/drill/security").json()["verdict"], "passed");
}

#[test]
fn a_drill_that_is_killed_leaves_nothing_after_the_next_start() {
    let installation = Installation::with_settings(HUGE);
    std::fs::create_dir(installation.path("huge")).unwrap();
    files::write_huge(&installation.path("huge/a.bin"));
    let source = files::snapshot(&installation.path("huge"));
    let scratch = installation.path("backups/state/drill");
    let daemon = installation.start();
    daemon.settle();
    let restored = scratch.join("restored");
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| daemon.try_post("/api/drill/huge"));
        daemon.wait("the drill to restore", |_| restored.exists().then_some(()));
        daemon.kill_by_reference();
        assert!(asked.join().unwrap().is_err(), "it was killed in its drill");
    });
    assert!(scratch.exists());
    let daemon = installation.start();
    daemon.wait("the scratch directory to be cleared", |_| (!scratch.exists()).then_some(()));
    assert_eq!(files::snapshot(&installation.path("huge")), source);
    assert_eq!(daemon.set("huge")["last_drill_outcome"], "interrupted");
    assert_eq!(daemon.post("/api/drill/huge").json()["verdict"], "passed");
    assert!(!scratch.exists());
}

#[test]
fn a_drill_is_held_from_the_command_line_with_the_service_and_without() {
    // A scrub would repair the damage before the drill meets it.
    let installation = Installation::with_settings("[backup]\nintegrity_checks = false\n");
    assert_eq!(code(installation.run(&["init"]).status), 0);
    let output = installation.run(&["drill", "security"]);
    assert_eq!(code(output.status), 1, "there is no backup yet");
    assert_eq!(code(installation.run(&["backup", "all"]).status), 3, "there are no logs");
    let output = installation.run(&["drill", "--all", "--json"]);
    assert_eq!(code(output.status), 0, "{output:?}");
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let drilled: Vec<&str> =
        all["done"].as_array().unwrap().iter().map(|outcome| outcome["set"].as_str().unwrap()).collect();
    assert!(drilled.contains(&"security") && drilled.contains(&"application"), "{all}");
    assert!(all["done"].as_array().unwrap().iter().all(|outcome| outcome["verdict"] == "passed"), "{all}");

    let daemon = installation.start();
    daemon.settle();
    let output = installation.run(&["drill", "security"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("security  passed  ") && text.contains("4 files"), "{text}");
    damage_latest(&installation, &daemon, "security");
    assert_eq!(code(installation.run(&["drill", "security"]).status), 4);
}

#[test]
fn where_checks_are_turned_off_no_drill_is_due_and_one_can_be_asked_for() {
    let installation = Installation::with_settings("[backup]\nintegrity_checks = false\n[drill]\ncritical = \"1s\"\n");
    let daemon = installation.start();
    daemon.settle();
    assert!(daemon.set("security")["next_drill"].is_null());
    assert_eq!(daemon.post("/api/drill/security").json()["verdict"], "passed");
    assert_eq!(daemon.post("/api/drill/nonsense").problem(404), "not-found");
}
