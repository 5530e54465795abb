//! Who has no Prometheus is told by a program of their own.
//!
//! Hazard: a failure that nobody hears of; and a program that tells of it and fails, hangs, or is told too much.

mod common;

use common::files::{read, write};
use common::{Daemon, Installation};

/// An installation whose program writes what it is told into a file.
fn with_program() -> Installation {
    let installation = Installation::new();
    let script = installation.path("tell");
    write(&script, "#!/bin/sh\n{ env | sort; echo; } >> \"$1\"\n");
    common::files::set_mode(&script, 0o755);
    let told = installation.path("told");
    notify_by(&installation, &format!("command = [{script:?}, {told:?}]\n"));
    installation
}

fn notify_by(installation: &Installation, section: &str) {
    write(&installation.path("config/fiovana.toml"), format!("[notify]\n{section}"));
}

/// Moves all files of a set away, which fails every backup of it, and puts them back.
fn with_failing_backups(installation: &Installation, daemon: &Daemon, body: impl FnOnce()) {
    let (config, away) = (installation.path("config"), installation.path("away"));
    std::fs::create_dir_all(&away).unwrap();
    let files = || common::APPLICATION.iter();
    files().for_each(|file| std::fs::rename(config.join(file), away.join(file)).unwrap());
    daemon.wait("a failed backup", |daemon| {
        let answer = daemon.post("/api/backup/application");
        assert_ne!(answer.status, 201, "{}", answer.text);
        (answer.status != 409).then_some(())
    });
    body();
    files().for_each(|file| std::fs::rename(away.join(file), config.join(file)).unwrap());
}

/// Waits until the program was told something with all of these variables, and returns all it was told with it.
fn told(installation: &Installation, daemon: &Daemon, wanted: &[&str]) -> String {
    daemon.wait(&format!("{wanted:?} to be told"), |_| {
        let told = std::fs::read_to_string(installation.path("told")).unwrap_or_default();
        let mut each = told.split("\n\n");
        each.find(|told| wanted.iter().all(|line| told.lines().any(|told| told == *line))).map(str::to_owned)
    })
}

fn count(daemon: &Daemon, outcome: &str) -> u64 {
    let name = format!("fiovana_notifications_total{{outcome=\"{outcome}\"}} ");
    let metrics = daemon.get("/metrics").text;
    metrics.lines().find_map(|line| line.strip_prefix(name.as_str())).unwrap().parse().unwrap()
}

#[test]
fn a_failure_is_told_with_set_and_sentence_once_and_so_is_its_end() {
    let installation = with_program();
    let daemon = installation.start_with(&[("API_TOKEN", "hush")]);
    daemon.settle();
    with_failing_backups(&installation, &daemon, || {
        let failure = told(
            &installation,
            &daemon,
            &["FIOVANA_EVENT=BackupFailed", "FIOVANA_STATE=trouble", "FIOVANA_SET=application", "FIOVANA_TIMES=1"],
        );
        assert!(failure.contains("\nFIOVANA_SUMMARY=backup failed: "), "{failure}");
        assert!(failure.contains("\nFIOVANA_CORRELATION_ID=") && failure.contains("\nFIOVANA_TIME=20"), "{failure}");
        assert!(!failure.contains("hush") && !failure.contains("FIOVANA_HTTP_BIND"), "{failure}");
        for _ in 0..3 {
            assert_ne!(daemon.post("/api/backup/application").status, 201);
        }
    });
    daemon.backup_when_free("application");
    told(&installation, &daemon, &["FIOVANA_EVENT=BackupCompleted", "FIOVANA_STATE=over", "FIOVANA_SET=application"]);
    let all = String::from_utf8(read(&installation.path("told"))).unwrap();
    assert_eq!(all.matches("FIOVANA_EVENT=BackupFailed\n").count(), 1, "{all}");
    // What a program was told is there before it has ended, which is when it counts.
    daemon.wait("both to be counted", |daemon| (count(daemon, "told") >= 2).then_some(()));
    assert_eq!(count(&daemon, "failed") + count(&daemon, "timed_out") + count(&daemon, "dropped"), 0);
}

#[test]
fn recovery_mode_and_what_makes_the_service_degraded_are_told_with_what_to_do() {
    let installation = with_program();
    let daemon = installation.start();
    daemon.settle();
    std::fs::remove_file(installation.path("config/security_config.json")).unwrap();
    daemon.wait("the loss to be seen", |daemon| (daemon.status()["mode"]["name"] == "degraded").then_some(()));
    let degraded = told(&installation, &daemon, &["FIOVANA_EVENT=ModeChanged", "FIOVANA_STATE=trouble"]);
    assert!(degraded.contains("security/security_config.json: missing: restore"), "{degraded}");
    assert_eq!(daemon.post("/api/recovery/security/latest").status, 200);
    told(&installation, &daemon, &["FIOVANA_EVENT=ModeChanged", "FIOVANA_STATE=over"]);
    assert_eq!(daemon.post("/api/recovery/enter").status, 200);
    daemon.wait("recovery mode to be told", |_| {
        let told = String::from_utf8(read(&installation.path("told"))).unwrap();
        told.contains("FIOVANA_SUMMARY=mode normal -> recovery (assessing): operator_request").then_some(())
    });
}

#[test]
fn a_program_that_hangs_fails_or_is_not_there_is_counted_and_holds_up_nothing() {
    let installation = Installation::new();
    let daemon_told = |section: &str, outcome: &str, said: &str| {
        notify_by(&installation, section);
        let daemon = installation.start();
        daemon.settle();
        with_failing_backups(&installation, &daemon, || {
            daemon.backup("security");
            daemon.wait(outcome, |daemon| (count(daemon, outcome) > 0).then_some(()));
            daemon.wait(said, |daemon| daemon.said().contains(said).then_some(()));
        });
        assert!(daemon.terminate().success());
    };
    daemon_told("command = [\"/bin/sleep\", \"1000\"]\ntimeout = \"1s\"\n", "timed_out", "did not end within 1s");
    daemon_told("command = [\"/bin/sh\", \"-c\", \"exit 3\"]\n", "failed", "ended with exit code 3");
    daemon_told("command = [\"/nonexistent/tell\"]\n", "failed", "run notify.command /nonexistent/tell");
}

#[test]
fn a_stop_does_not_wait_for_a_program_that_hangs_and_leaves_none_behind() {
    let installation = Installation::new();
    let pid = installation.path("pid");
    let script = format!("echo $$ > {pid:?}.new; mv {pid:?}.new {pid:?}; sleep 1000 & wait");
    notify_by(&installation, &format!("command = [\"/bin/sh\", \"-c\", {script:?}]\ntimeout = \"10m\"\n"));
    let daemon = installation.start();
    daemon.settle();
    with_failing_backups(&installation, &daemon, || {
        daemon.wait("the program", |_| pid.exists().then_some(()));
    });
    assert!(daemon.terminate().success());
    let group = String::from_utf8(read(&pid)).unwrap();
    common::wait_for(
        || format!("the group of {group} to be gone"),
        || {
            let left = std::process::Command::new("pgrep").args(["-g", group.trim()]).output().unwrap();
            left.stdout.is_empty().then_some(())
        },
    );
}
