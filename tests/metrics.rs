//! What Prometheus sees of a service that has just started.
//!
//! Hazard: an alert on a series that is not there never fires.

mod common;

use common::Installation;

const SETTINGS: &str = r#"
[sets.absent]
source = "./nothing-here"
files = ["*.json"]
"#;

const SETS: [&str; 5] = ["absent", "application", "logs", "security", "service"];

/// What each set has from the first scrape, with the rest of its labels.
const OF_EACH_SET: [&str; 29] = [
    "backup_set_info{priority=",
    "backup_expected_interval_seconds{",
    "backup_next_run_timestamp_seconds{",
    "backup_last_attempt_timestamp_seconds{",
    "backup_last_success_timestamp_seconds{",
    "backup_last_verified_timestamp_seconds{",
    "backup_newest_restorable_timestamp_seconds{",
    "backup_oldest_restorable_timestamp_seconds{",
    "backup_consecutive_failures{",
    "backup_running_since_timestamp_seconds{",
    "backup_runs_total{outcome=\"completed\",trigger=\"scheduled\"",
    "backup_runs_total{outcome=\"unchanged\",trigger=\"scheduled\"",
    "backup_runs_total{outcome=\"failed\",trigger=\"scheduled\"",
    "backup_runs_total{outcome=\"completed\",trigger=\"manual\"",
    "backup_runs_total{outcome=\"failed\",trigger=\"manual\"",
    "backup_duration_seconds_count{",
    "backup_size_bytes{",
    "backup_stored_bytes{",
    "backup_lost_sequences{",
    "backups{state=\"good\"",
    "backups{state=\"suspect\"",
    "backups{state=\"unverified\"",
    "backups{state=\"damaged\"",
    "source_missing_files{",
    "source_invalid_files{",
    "restores_total{outcome=\"completed\"",
    "restores_total{outcome=\"failed\"",
    "restore_duration_seconds_count{",
    "cleanup_deleted_total{reason=",
];

/// What there is once, or for each actor, mode or kind of check.
const OF_THE_SERVICE: [&str; 21] = [
    "backup_enabled",
    "mode{mode=\"normal\"}",
    "mode{mode=\"degraded\"}",
    "mode{mode=\"recovery\"}",
    "mode_persisted",
    "actor_up{actor=\"supervisor\"}",
    "actor_up{actor=\"scheduler\"}",
    "actor_up{actor=\"archiver\"}",
    "actor_up{actor=\"verifier\"}",
    "actor_up{actor=\"janitor\"}",
    "actor_up{actor=\"auditor\"}",
    "actor_restarts_total{actor=\"archiver\",cause=\"panic\"}",
    "integrity_checks_total{kind=\"read_back\",outcome=\"passed\"}",
    "integrity_failures_total",
    "repairs_total{source=\"source\"}",
    "audit_head_sequence",
    "audit_write_failures_total",
    "repository_bytes",
    "repository_objects",
    "repository_free_bytes",
    "build_info{version=",
];

/// The value of the first series of ours that begins like this and has this label, if any is wanted.
fn value(metrics: &str, series: &str, label: &str) -> Option<f64> {
    let series = format!("fiovana_{series}");
    let line = metrics.lines().find(|line| {
        let name_ends = |rest: &str| series.contains('{') || rest.starts_with([' ', '{']);
        line.strip_prefix(&series).is_some_and(name_ends) && line.contains(label)
    })?;
    line.rsplit_once(' ').unwrap().1.parse().ok()
}

#[test]
fn a_cold_service_has_every_series_of_every_configured_set() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    let answer = daemon.get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.content_type.starts_with("text/plain; version=0.0.4"), "{}", answer.content_type);
    let absent = |series: &str, label: &str| value(&answer.text, series, label).is_none();
    let mut missing: Vec<String> = OF_THE_SERVICE.map(str::to_owned).into_iter().filter(|s| absent(s, "")).collect();
    for set in SETS {
        let label = format!("set=\"{set}\"");
        missing.extend(OF_EACH_SET.iter().filter(|s| absent(s, &label)).map(|series| format!("{series} … {label}")));
    }
    if !answer.text.contains("\nprocess_resident_memory_bytes ") {
        missing.push("process_resident_memory_bytes".into());
    }
    assert!(missing.is_empty(), "{missing:#?}\nin\n{}", answer.text);
}

#[test]
fn what_was_true_before_a_restart_is_told_at_once_after_it() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    const TRUE_STILL: [&str; 7] = [
        "backup_last_success_timestamp_seconds{",
        "backup_newest_restorable_timestamp_seconds{",
        "backup_next_run_timestamp_seconds{",
        "backup_last_verified_timestamp_seconds{",
        "backup_size_bytes{",
        "backup_stored_bytes{",
        "backups{state=\"good\"",
    ];
    let told = |metrics: &str| TRUE_STILL.map(|series| value(metrics, series, "set=\"security\"").unwrap());
    let before = told(&daemon.get("/metrics").text);
    assert!(before.iter().all(|value| *value > 0.0), "{before:?}");
    daemon.terminate();
    assert_eq!(told(&installation.start().get("/metrics").text), before);
}
