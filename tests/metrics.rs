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

/// What each set has from the first scrape: a name, and the labels besides `set`.
const OF_EACH_SET: [(&str, &str); 35] = [
    ("backup_set_info", ""),
    ("backup_expected_interval_seconds", ""),
    ("backup_next_run_timestamp_seconds", ""),
    ("backup_last_attempt_timestamp_seconds", ""),
    ("backup_last_success_timestamp_seconds", ""),
    ("backup_last_verified_timestamp_seconds", ""),
    ("backup_last_drill_timestamp_seconds", ""),
    ("drill_duration_seconds_count", ""),
    ("backup_newest_restorable_timestamp_seconds", ""),
    ("backup_oldest_restorable_timestamp_seconds", ""),
    ("backup_consecutive_failures", ""),
    ("backup_running_since_timestamp_seconds", ""),
    ("backup_runs_total", r#"outcome="completed",trigger="scheduled""#),
    ("backup_runs_total", r#"outcome="unchanged",trigger="scheduled""#),
    ("backup_runs_total", r#"outcome="failed",trigger="scheduled""#),
    ("backup_runs_total", r#"outcome="completed",trigger="manual""#),
    ("backup_runs_total", r#"outcome="failed",trigger="manual""#),
    ("backup_duration_seconds_count", ""),
    ("backup_size_bytes", ""),
    ("backup_stored_bytes", ""),
    ("backup_lost_sequences", ""),
    ("backups", r#"state="good""#),
    ("backups", r#"state="suspect""#),
    ("backups", r#"state="unverified""#),
    ("backups", r#"state="damaged""#),
    ("source_missing_files", ""),
    ("source_invalid_files", ""),
    ("restores_total", r#"outcome="completed""#),
    ("restores_total", r#"outcome="failed""#),
    ("restore_duration_seconds_count", ""),
    ("cleanup_held", ""),
    ("cleanup_deleted_total", r#"reason="same_version""#),
    ("cleanup_deleted_total", r#"reason="expired""#),
    ("cleanup_deleted_total", r#"reason="too_many""#),
    ("cleanup_deleted_total", r#"reason="pre_restore_expired""#),
];

/// What there is once, or for each actor, mode or kind of check.
const OF_THE_SERVICE: [(&str, &str); 41] = [
    ("backup_enabled", ""),
    ("mode", r#"mode="starting""#),
    ("mode", r#"mode="normal""#),
    ("mode", r#"mode="degraded""#),
    ("mode", r#"mode="recovery""#),
    ("mode", r#"mode="stopping""#),
    ("mode_persisted", ""),
    ("actor_up", r#"actor="supervisor""#),
    ("actor_up", r#"actor="scheduler""#),
    ("actor_up", r#"actor="archiver""#),
    ("actor_up", r#"actor="verifier""#),
    ("actor_up", r#"actor="janitor""#),
    ("actor_up", r#"actor="auditor""#),
    ("actor_mailbox_messages", r#"actor="supervisor""#),
    ("actor_mailbox_messages", r#"actor="scheduler""#),
    ("actor_mailbox_messages", r#"actor="archiver""#),
    ("actor_mailbox_messages", r#"actor="verifier""#),
    ("actor_mailbox_messages", r#"actor="janitor""#),
    ("actor_mailbox_messages", r#"actor="auditor""#),
    ("actor_restarts_total", r#"actor="archiver",cause="panic""#),
    ("integrity_checks_total", r#"kind="read_back",outcome="passed""#),
    ("integrity_checks_total", r#"kind="drill",outcome="passed""#),
    ("integrity_checks_total", r#"kind="drill",outcome="failed""#),
    ("integrity_failures_total", ""),
    ("repairs_total", r#"source="source""#),
    ("integrity_checks_total", r#"kind="scrub",outcome="passed""#),
    ("repairs_total", r#"source="replica""#),
    ("repairs_total", r#"source="memory""#),
    ("scrub_oldest_check_timestamp_seconds", ""),
    ("audit_head_sequence", ""),
    ("audit_chain_ok", ""),
    ("audit_write_failures_total", ""),
    ("notifications_total", r#"outcome="told""#),
    ("notifications_total", r#"outcome="timed_out""#),
    ("repository_bytes", ""),
    ("repository_objects", ""),
    ("repository_free_bytes", ""),
    ("clock_suspect", ""),
    ("repository_rolled_back", ""),
    ("log_lines_dropped_total", ""),
    ("build_info", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\",sha256=")),
];

/// The value of the first series of ours of this name that has all these labels, whatever their order.
fn value(metrics: &str, name: &str, labels: &str) -> Option<f64> {
    let of_name = |line: &&str| {
        let rest = line.strip_prefix("fiovana_").and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    let wanted = |line: &&str| labels.split(',').all(|label| line.contains(label));
    metrics.lines().filter(of_name).find(wanted)?.rsplit_once(' ')?.1.parse().ok()
}

#[test]
fn a_cold_service_has_every_series_of_every_configured_set() {
    let installation = Installation::with_settings(SETTINGS);
    let daemon = installation.start();
    let answer = daemon.get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.content_type.starts_with("text/plain; version=0.0.4"), "{}", answer.content_type);
    let mut wanted: Vec<(&str, String)> = OF_THE_SERVICE.map(|(name, labels)| (name, labels.to_owned())).to_vec();
    for set in SETS {
        let of_set = |labels: &str| format!("set=\"{set}\",{labels}").trim_end_matches(',').to_owned();
        wanted.extend(OF_EACH_SET.map(|(name, labels)| (name, of_set(labels))));
    }
    wanted.retain(|(name, labels)| value(&answer.text, name, labels).is_none());
    assert!(wanted.is_empty(), "missing: {wanted:#?}\nin\n{}", answer.text);
    assert!(answer.text.contains("\nprocess_resident_memory_bytes "), "{}", answer.text);
}

#[test]
fn what_was_true_before_a_restart_is_told_at_once_after_it() {
    const TRUE_STILL: [(&str, &str); 7] = [
        ("backup_last_success_timestamp_seconds", ""),
        ("backup_newest_restorable_timestamp_seconds", ""),
        ("backup_next_run_timestamp_seconds", ""),
        ("backup_last_verified_timestamp_seconds", ""),
        ("backup_size_bytes", ""),
        ("backup_stored_bytes", ""),
        ("backups", r#"state="good""#),
    ];
    let told = |metrics: &str| {
        TRUE_STILL.map(|(name, labels)| {
            let of_security = format!("set=\"security\",{labels}");
            value(metrics, name, of_security.trim_end_matches(',')).unwrap()
        })
    };
    let installation = Installation::new();
    let daemon = installation.start();
    let before = told(&daemon.settle().get("/metrics").text);
    assert!(before.iter().all(|value| *value > 0.0), "{before:?}");
    daemon.terminate();
    assert_eq!(told(&installation.start().get("/metrics").text), before);
}
