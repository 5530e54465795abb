//! What the running program does when it is told something from outside: signals, and the service manager.
//!
//! Hazard: a reload that is half in force, a stop that loses what was acknowledged, a manager that is told what is not so.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use common::{Daemon, Installation, audit, code, files};
use rustix::process::Signal;
use serde_json::Value;

/// The records of an event in the audit log.
fn records(installation: &Installation, event: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(installation.path("logs/security_audit.log")).unwrap_or_default();
    let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter(|record| record["event"] == event).collect()
}

fn wait_for_record(daemon: &Daemon, installation: &Installation, event: &str, count: usize) -> Value {
    daemon.wait(event, |_| records(installation, event).get(count - 1).cloned())
}

fn reason_codes(daemon: &Daemon) -> Vec<Value> {
    daemon.status()["mode"]["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].clone()).collect()
}

#[test]
fn a_hangup_takes_up_new_settings_whole_and_says_what_changed_and_what_waits_for_a_restart() {
    let installation =
        Installation::with_settings("[sets.old]\nsource = \"config\"\nfiles = [\"old.json\"]\ninterval = \"2h\"\n");
    files::write(&installation.path("config/old.json"), "{}");
    files::write(&installation.path("config/new.json"), "{}");
    let daemon = installation.start();
    daemon.settle();
    let toml = "[backup]\nbackup_directory = \"elsewhere\"\n[janitor]\ninterval = \"2h\"\n\
                [sets.new]\nsource = \"config\"\nfiles = [\"new.json\"]\n";
    files::write(&installation.path("config/fiovana.toml"), toml);
    daemon.signal(Signal::HUP);
    let record = wait_for_record(&daemon, &installation, "SettingsReloaded", 1);
    let changes = record["details"]["changes"].as_array().unwrap();
    let change = |key: &str| changes.iter().find(|change| change["key"] == key).unwrap_or_else(|| panic!("{record}"));
    assert_eq!((&change("janitor.interval")["from"], &change("janitor.interval")["to"]), (&"1h".into(), &"2h".into()));
    assert_eq!(change("janitor.interval")["needs_restart"], false);
    assert_eq!(change("backup.backup_directory")["needs_restart"], true);
    assert!(change("sets.new.source")["origin"].as_str().unwrap().contains("fiovana.toml"), "{record}");

    let metrics = daemon.get("/metrics").text;
    assert!(
        metrics.contains("fiovana_backup_runs_total{outcome=\"failed\",set=\"new\",trigger=\"manual\"} 0"),
        "{metrics}"
    );
    assert!(!metrics.contains("set=\"old\""), "{metrics}");
    // The scheduler was woken, and works in the directory that it began with.
    daemon.wait("a first backup of the new set", |daemon| daemon.list("new").first().cloned());
    assert!(!installation.path("elsewhere").exists());
    assert_eq!(daemon.post("/api/backup/old").status, 404);
    let kept = installation.path("logs/fiovana-app.settings.toml");
    daemon.wait("the settings to be kept", |_| (std::fs::read_to_string(&kept).ok()? == toml).then_some(()));
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_hangup_holds_sets_and_replicas_against_the_backup_directory_in_force_until_the_restart() {
    let installation = Installation::new();
    std::fs::create_dir(installation.path("elsewhere")).unwrap();
    let daemon = installation.start();
    daemon.settle();
    let elsewhere = "[backup]\nbackup_directory = \"elsewhere\"\n";
    let set = "[sets.inside]\nsource = \"backups/state\"\nfiles = [\"*.json\"]\n";
    files::write(&installation.path("config/fiovana.toml"), format!("{elsewhere}{set}"));
    daemon.signal(Signal::HUP);
    let refused = wait_for_record(&daemon, &installation, "SettingsRejected", 1);
    let why = refused["details"].to_string();
    assert!(why.contains("sets.inside.source") && why.contains("in force until the next start"), "{why}");

    files::write(&installation.path("config/fiovana.toml"), elsewhere);
    daemon.signal(Signal::HUP);
    wait_for_record(&daemon, &installation, "SettingsReloaded", 1);
    let replica = daemon.status()["replicas"][0]["path"].clone();
    assert_eq!(replica, installation.path("backups/replica").to_str().unwrap());
    daemon.backup_when_free("security");
    assert_eq!(installation.path("elsewhere").read_dir().unwrap().count(), 0, "nothing is there before the restart");
    // What was asked for already is no change.
    daemon.signal(Signal::HUP);
    let again = wait_for_record(&daemon, &installation, "SettingsReloaded", 2);
    assert_eq!(again["details"]["changes"].as_array().map(Vec::len), Some(0), "{again}");
}

#[test]
fn settings_that_cannot_be_understood_are_refused_and_those_in_force_stay() {
    let installation = Installation::with_settings("[backup]\nmax_backups = 7\n");
    let daemon = installation.start();
    daemon.settle();
    files::write(&installation.path("config/fiovana.toml"), "[backup]\nmax_backup = 8\n[http]\nbind = 4\n");
    daemon.signal(Signal::HUP);
    let record = wait_for_record(&daemon, &installation, "SettingsRejected", 1);
    assert_eq!(record["details"]["errors"].as_array().unwrap().len(), 2, "{record}");
    daemon.wait("the reason", |daemon| reason_codes(daemon).contains(&"settings_rejected".into()).then_some(()));
    daemon.backup("security");
    let kept = std::fs::read_to_string(installation.path("logs/fiovana-app.settings.toml")).unwrap();
    assert_eq!(kept, "[backup]\nmax_backups = 7\n");

    files::write(&installation.path("config/fiovana.toml"), "[backup]\nmax_backups = 8\n");
    daemon.signal(Signal::HUP);
    wait_for_record(&daemon, &installation, "SettingsReloaded", 1);
    daemon.wait("mode normal", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
}

#[test]
fn a_stop_that_comes_as_soon_as_the_address_is_known_is_orderly() {
    const STARTS: usize = 10;
    let installation = Installation::new();
    for _ in 0..STARTS {
        let daemon = installation.start_listening::<&str>(&[]);
        assert_eq!(code(daemon.terminate()), 0);
    }
    assert_eq!(records(&installation, "ServiceStarted").len(), STARTS);
    assert_eq!(records(&installation, "ServiceStopped").len(), STARTS);
}

#[test]
fn a_second_interrupt_stops_at_once_and_leaves_everything_whole() {
    let installation = Installation::with_settings("[sets.large]\nsource = \"large\"\nfiles = [\"*\"]\n");
    std::fs::create_dir(installation.path("large")).unwrap();
    let daemon = installation.start();
    daemon.settle();
    let id = daemon.backup("security")["id"].clone();
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(192 << 20).collect();
    files::write(&installation.path("large/noise.bin"), &noise);
    std::thread::scope(|scope| {
        scope.spawn(|| daemon.try_post("/api/backup/large"));
        daemon.wait("the backup to run", |daemon| (!daemon.set("large")["running_since"].is_null()).then_some(()));
        daemon.signal(Signal::INT);
        daemon.wait("the stop to begin", |daemon| daemon.said().contains("stopping:").then_some(()));
        daemon.signal(Signal::INT);
    });
    assert_eq!(code(daemon.end()), 0);
    let daemon = installation.start();
    let backup = daemon.post(&format!("/api/backup/{}/verify", id.as_str().unwrap())).json();
    assert_eq!(backup["verdict"], "intact", "{backup}");
    assert_eq!(daemon.status()["mode"]["name"], "normal");
    audit::chained_records(&installation.path("logs/security_audit.log"));
}

#[test]
fn what_an_orderly_stop_abandons_is_no_failure_and_is_taken_up_at_the_next_start() {
    let large = "[sets.large]\nsource = \"large\"\nfiles = [\"*\"]\npriority = \"low\"\n";
    let limit = "[backup.priority_levels.low]\nmax_size_mb = 100_000\n";
    let installation = Installation::with_settings(&format!("{large}{limit}"));
    std::fs::create_dir(installation.path("large")).unwrap();
    // More than is backed up within the time for which a stop waits.
    let huge = std::fs::File::create(installation.path("large/huge.bin")).unwrap();
    huge.set_len(20 << 30).unwrap();
    let daemon = installation.start();
    daemon.wait("the backup to run", |daemon| (!daemon.set("large")["running_since"].is_null()).then_some(()));
    assert_eq!(code(daemon.terminate()), 0);
    let failed: Vec<Value> =
        ["BackupFailed", "CleanupFailed"].iter().flat_map(|event| records(&installation, event)).collect();
    assert_eq!(failed, Vec::<Value>::new());
    let stopped = records(&installation, "ServiceStopped");
    // Others may have waited for it.
    let abandoned = stopped[0]["details"]["abandoned"].as_array().unwrap();
    assert!(abandoned.contains(&"large".into()), "{stopped:?}");
    std::fs::remove_dir_all(installation.path("large")).unwrap();
    std::fs::create_dir(installation.path("large")).unwrap();
    files::write(&installation.path("large/a.bin"), "small");
    let daemon = installation.start();
    daemon.wait("the backup to be taken up", |daemon| daemon.list("large").first().cloned());
    assert_eq!(daemon.set("large")["consecutive_failures"], 0);
}

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(socket)
    }

    /// The next message that has this line.
    fn told(&self, line: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("waited for {line}: {error}"));
            let message = String::from_utf8(buffer[..length].to_vec()).unwrap();
            if message.lines().any(|told| told == line) {
                return message;
            }
        }
    }
}

#[test]
fn the_service_manager_is_told_of_readiness_reloads_life_and_the_stop() {
    let installation = Installation::new();
    let socket = installation.path("notify");
    let manager = Manager::at(&socket);
    let watchdog = "900000".to_owned();
    let daemon =
        installation.start_with(&[("NOTIFY_SOCKET", socket.to_str().unwrap().to_owned()), ("WATCHDOG_USEC", watchdog)]);
    let ready = manager.told("READY=1");
    assert!(ready.contains("STATUS=mode normal"), "{ready}");
    manager.told("WATCHDOG=1");
    manager.told("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    let reloading = manager.told("RELOADING=1");
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse::<u64>().ok());
    assert!(since.is_some_and(|since| since > 0), "{reloading}");
    manager.told("READY=1");
    assert_eq!(daemon.post("/api/recovery/enter").status, 200);
    manager.told("STATUS=mode recovery: operator_request");
    daemon.signal_to_end();
    manager.told("STOPPING=1");
    assert_eq!(code(daemon.end()), 0);
}

#[test]
fn the_unit_file_is_one_that_systemd_understands_and_calls_safe() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fiovana-app.service");
    let analyze =
        |arguments: &[&str]| std::process::Command::new("systemd-analyze").args(arguments).arg(&unit).output();
    // Wants the program to be where it will be installed; nothing else may be wrong.
    let Ok(verified) = analyze(&["verify"]) else {
        println!("systemd-analyze is not here: nothing was tested");
        return;
    };
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    let about_us = complaints.lines().filter(|line| line.contains("fiovana-app.service"));
    let unexpected: Vec<_> = about_us.filter(|line| !line.contains("is not executable")).collect();
    assert!(unexpected.is_empty(), "{unexpected:?}");
    let security = analyze(&["security", "--offline=true", "--threshold=25"]).unwrap();
    assert!(security.status.success(), "{}", String::from_utf8_lossy(&security.stdout));
}
