//! The real program under clocks that are wrong, or that went on while it was away.
//!
//! Hazard: a stamp of 2029 that stops all checking until then, and a quiet month after which the first sweep deletes what
//! nobody had a chance to see.

mod common;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Daemon, Installation, code, files, repository};
use serde_json::{Value, json};

/// Where Debian has the library that tells a program another time.
const LIBRARY: &str = "/usr/$LIB/faketime/libfaketime.so.1";

/// Variables under which the program takes it to be so many days later, or earlier. Only the clock on the wall is wrong.
fn days_off(days: i64) -> [(&'static str, String); 4] {
    [
        ("LD_PRELOAD", LIBRARY.to_owned()),
        ("FAKETIME", format!("{days:+}d")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}

/// Makes one version after the other of the security set, each with nothing of the one before.
fn versions(installation: &Installation, daemon: &Daemon, numbers: std::ops::Range<u32>) {
    for number in numbers {
        for name in common::SECURITY {
            files::write(&installation.path(format!("config/{name}")), format!("{{\"version\": {number}}}"));
        }
        daemon.backup_when_free("security");
    }
}

/// What the machine's own clock says.
#[expect(clippy::disallowed_methods, reason = "what a test holds the program's clock against")]
fn right_now() -> DateTime<Utc> {
    Utc::now()
}

fn count_of_good(daemon: &Daemon) -> u64 {
    daemon.set("security")["backups"]["good"].as_u64().unwrap()
}

fn held(daemon: &Daemon) -> Option<Value> {
    Some(daemon.set("security")["held"].clone()).filter(|held| !held.is_null())
}

fn metric(daemon: &Daemon, series: &str) -> f64 {
    let text = daemon.get("/metrics").text;
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} in {text}")).parse().unwrap()
}

#[test]
fn what_is_stamped_ahead_of_the_clock_is_due_now() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    daemon.terminate();
    let stamp = DateTime::parse_from_rfc3339("2099-01-01T00:00:00Z").unwrap();
    let attempt = json!({"last_attempt": stamp, "last_success": stamp, "consecutive_failures": 0});
    let backups = installation.path("backups");
    repository::write_state(&backups, "schedule", &json!({"security": attempt}));
    repository::write_state(&backups, "drills", &json!({"security": {"history": attempt, "failure": null}}));
    let shards = (0..256).map(|n| format!("objects {n:02x}")).chain(["top".into()]);
    let sets = ["security", "application", "logs", "service"].map(|set| format!("set {set}"));
    let checked: serde_json::Map<String, Value> = shards.chain(sets).map(|shard| (shard, json!(stamp))).collect();
    repository::write_state(
        &backups,
        "scrub",
        &json!({"": {"checked": checked, "under_way": null}, "local": {"checked": checked, "under_way": null}}),
    );
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "true")]);
    let now = || right_now().timestamp() as f64 + 60.0;
    daemon.wait("the security set to be backed up", |daemon| {
        let next = metric(daemon, "fiovana_backup_next_run_timestamp_seconds{set=\"security\"}");
        (next > 0.0 && next < now() + 3600.0).then_some(())
    });
    daemon.wait("everything to be read again", |daemon| {
        let oldest = metric(daemon, "fiovana_scrub_oldest_check_timestamp_seconds");
        (oldest > 0.0 && oldest < now()).then_some(())
    });
    let last = metric(&daemon, "fiovana_backup_last_drill_timestamp_seconds{set=\"security\"}");
    assert!(last < now(), "{last}");
    let next: DateTime<Utc> = serde_json::from_value(daemon.set("security")["next_drill"].clone()).unwrap();
    assert!(next < right_now() + TimeDelta::minutes(2), "{next}");
}

#[test]
fn no_time_is_written_down_while_the_clock_is_in_doubt() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    versions(&installation, &daemon, 1..2);
    daemon.terminate();
    let names = ["schedule", "scrub", "drills"];
    let states = names.map(|name| installation.path(format!("backups/state/{name}.json")));
    let before = states.each_ref().map(|path| std::fs::read(path).ok());
    let daemon = installation.start_with(&days_off(1000));
    daemon.wait("the clock to be doubted", |daemon| (metric(daemon, "fiovana_clock_suspect") == 1.0).then_some(()));
    daemon.wait("runs under that clock", |daemon| {
        let last: Option<DateTime<Utc>> =
            serde_json::from_value(daemon.set("security")["last_success"].clone()).unwrap();
        (last? > right_now() + TimeDelta::days(900)).then_some(())
    });
    versions(&installation, &daemon, 2..3);
    daemon.terminate();
    assert_eq!(states.each_ref().map(|path| std::fs::read(path).ok()), before);
}

/// Backed up sixty days ago and looked after until a day before the versions become too old; with how many good ones.
fn left_alone_for_the_last_31_days() -> (Installation, u64) {
    let installation = Installation::with_settings("[janitor]\ninterval = \"1s\"\n");
    // The shortest retention of a set is seven days, and that of the security set is thirty.
    let daemon = installation.start_with(&days_off(-60));
    daemon.settle();
    versions(&installation, &daemon, 1..6);
    daemon.terminate();
    let daemon = installation.start_with(&days_off(-31));
    daemon.settle();
    assert_eq!(metric(&daemon, "fiovana_clock_suspect"), 0.0, "{}", daemon.said());
    let kept = count_of_good(&daemon);
    daemon.terminate();
    (installation, kept)
}

#[test]
fn what_became_too_old_while_the_service_was_away_waits_for_a_person_and_the_newest_three_stay() {
    let (installation, kept) = left_alone_for_the_last_31_days();
    let daemon = installation.start_with(&days_off(-20));
    let hold = daemon.wait("the cleanup to be held", held);
    assert_eq!(hold["reason"], "absence", "{hold}");
    assert_eq!(count_of_good(&daemon), kept);
    let degraded = daemon.wait("the mode to say so", |daemon| {
        let reasons = daemon.status()["mode"]["reasons"].clone();
        reasons.to_string().contains("cleanup_held").then_some(reasons)
    });
    daemon.terminate();
    // It is so at the next start, too.
    let daemon = installation.start_with(&days_off(-20));
    let hold = daemon.wait("the cleanup to be held again", held);
    let digest = hold["digest"].as_str().unwrap();
    let output = installation.run_with(&["prune", "--confirm", digest], &days_off(-20));
    assert_eq!(code(output.status), 0, "{} {degraded}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(count_of_good(&daemon), 3);
    daemon.terminate();
}

#[test]
fn after_a_day_it_is_as_on_any_day() {
    let (installation, kept) = left_alone_for_the_last_31_days();
    for (days, expected) in [(-20, kept), (-18, 3)] {
        let daemon = installation.start_with(&days_off(days));
        daemon.settle();
        daemon.wait("the cleanup", |daemon| (held(daemon).is_some() == (expected == kept)).then_some(()));
        daemon.wait("what is left", |daemon| (count_of_good(daemon) == expected).then_some(()));
        daemon.terminate();
    }
}
