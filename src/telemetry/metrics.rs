//! All metrics, and the only place that speaks Prometheus.
//!
//! Hazard: an alert on a series that does not exist never fires. Every series of every configured set is there from
//! the first scrape; a timestamp of 0 means never. Events count; states are set from facts at each scrape.

mod sets;

use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use prometheus::{
    Encoder, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

use super::facts::{Facts, SetFacts};
use super::{Check, Event, Occurrence, dropped_lines};
use crate::core::mode::{DegradedReason, Mode};
use crate::core::{BackupKind, BackupState, Sha256};

/// Why metrics could not be registered or rendered.
#[derive(Debug, thiserror::Error)]
#[error("metrics")]
pub struct MetricsError(#[from] prometheus::Error);

/// The registered metrics.
pub struct Metrics {
    registry: Registry,
    /// One scrape at a time sets states and renders them.
    scrape: Mutex<()>,
    states: States,
    counts: Counts,
}

/// Set from facts at each scrape.
struct States {
    enabled: IntGauge,
    set_info: IntGaugeVec,
    per_set: Vec<(GaugeVec, SetValue)>,
    backups: IntGaugeVec,
    mode: IntGaugeVec,
    degraded: IntGaugeVec,
    mode_persisted: IntGauge,
    actor_up: IntGaugeVec,
    actor_mailbox_messages: IntGaugeVec,
    scrub_interval: IntGauge,
    repository_bytes: IntGauge,
    repository_objects: IntGauge,
    repository_free_bytes: IntGauge,
    scrub_oldest_check: prometheus::Gauge,
    audit_head_sequence: IntGauge,
    audit_chain_ok: IntGauge,
    clock_suspect: IntGauge,
    repository_rolled_back: IntGauge,
    replica_lag: IntGaugeVec,
    replica_same_disk: IntGaugeVec,
    log_lines_dropped: prometheus::IntCounter,
}

/// Counted from events.
struct Counts {
    runs: IntCounterVec,
    backup_duration: HistogramVec,
    integrity_checks: IntCounterVec,
    integrity_failures: prometheus::IntCounter,
    repairs: IntCounterVec,
    restores: IntCounterVec,
    restore_duration: HistogramVec,
    drill_duration: HistogramVec,
    cleanup_deleted: IntCounterVec,
    mode_transitions: IntCounterVec,
    actor_restarts: IntCounterVec,
    audit_records: IntCounterVec,
    audit_write_failures: prometheus::IntCounter,
    notifications: IntCounterVec,
    http_requests: IntCounterVec,
    http_duration: HistogramVec,
}

/// What became of the attempt to tell a person something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notified {
    /// The program ended well.
    Told,
    /// It could not be run, or ended otherwise.
    Failed,
    /// It was killed, as its time was over.
    TimedOut,
    /// Too much was waiting: it was not run.
    Dropped,
}

impl Notified {
    const ALL: [Self; 4] = [Self::Told, Self::Failed, Self::TimedOut, Self::Dropped];

    const fn code(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Dropped => "dropped",
        }
    }
}

/// What a gauge shows of a set.
type SetValue = fn(&SetFacts) -> f64;

/// A gauge that each set has: name, help, value.
type SetGauge = (&'static str, &'static str, SetValue);

const SET_GAUGES: [SetGauge; 18] = [
    ("backup_expected_interval_seconds", "Seconds between two scheduled backups; 0 without a schedule.", |set| {
        set.interval_seconds as f64
    }),
    ("backup_next_run_timestamp_seconds", "When the next backup is due.", |set| seconds(set.next_run)),
    ("backup_last_attempt_timestamp_seconds", "When the last run started.", |set| seconds(set.last_attempt)),
    ("backup_last_success_timestamp_seconds", "When the last successful run started.", |set| seconds(set.last_success)),
    ("backup_last_verified_timestamp_seconds", "When a backup was last found intact.", |set| {
        seconds(set.last_verified)
    }),
    ("backup_last_drill_timestamp_seconds", "When the last drill that passed started.", |set| seconds(set.last_drill)),
    ("drill_expected_interval_seconds", "Seconds between two rehearsed restores; 0 without a schedule.", |set| {
        set.drill_interval_seconds as f64
    }),
    ("drill_failed", "1 if the last rehearsed restore failed.", |set| f64::from(u8::from(set.drill_failed))),
    ("backup_newest_restorable_timestamp_seconds", "When the newest good backup was made.", |set| {
        seconds(set.newest_restorable)
    }),
    ("backup_oldest_restorable_timestamp_seconds", "When the oldest good backup was made.", |set| {
        seconds(set.oldest_restorable)
    }),
    ("backup_consecutive_failures", "Runs that failed since the last that did not.", |set| {
        f64::from(set.consecutive_failures)
    }),
    ("backup_running_since_timestamp_seconds", "Since when a run is under way; 0 if none is.", |set| {
        seconds(set.running_since)
    }),
    ("backup_size_bytes", "Bytes of the files in the newest backup.", |set| set.size_bytes as f64),
    ("backup_stored_bytes", "Bytes of the objects of the newest backup.", |set| set.stored_bytes as f64),
    ("source_missing_files", "Files that the newest backup misses.", |set| set.missing_files as f64),
    ("source_invalid_files", "Files with invalid content in the newest backup.", |set| set.invalid_files as f64),
    ("backup_lost_sequences", "Backups that are neither there nor were deleted on purpose.", |set| {
        set.lost_sequences as f64
    }),
    ("cleanup_held", "Backups whose deletion waits for a person.", |set| set.held_deletions as f64),
];

fn seconds(time: Option<DateTime<Utc>>) -> f64 {
    time.map_or(0.0, |time| time.timestamp_millis() as f64 / 1000.0)
}

const OUTCOMES: [&str; 3] = ["completed", "unchanged", "failed"];
/// A drill also fails where nothing stored is damaged.
const DRILL_FAILED: &str = "failed";
const REPAIR_SOURCES: [&str; 4] = ["memory", "replica", "source", "itself"];
const CHECK_OUTCOMES: [&str; 3] = ["passed", "damaged", "unreadable"];
const DURATION_BUCKETS: [f64; 12] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// Registers metrics under the common prefix.
struct Registrar(Registry);

impl Registrar {
    fn add<M: prometheus::core::Collector + Clone + 'static>(&self, metric: M) -> Result<M, prometheus::Error> {
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn opts(name: &str, help: &str) -> Opts {
        Opts::new(format!("fiovana_{name}"), help)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::with_opts(Self::opts(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Self::opts(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<prometheus::IntCounter, prometheus::Error> {
        self.add(prometheus::IntCounter::with_opts(Self::opts(name, help))?)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Self::opts(name, help), labels)?)
    }

    fn histograms(&self, name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(format!("fiovana_{name}"), help).buckets(DURATION_BUCKETS.to_vec());
        self.add(HistogramVec::new(opts, labels)?)
    }
}

impl Metrics {
    /// All metrics, with their series for these sets and actors.
    pub fn new(sets: &[crate::core::SetName], actors: &[&'static str]) -> Result<Self, MetricsError> {
        let registrar = Registrar(Registry::new());
        let states = States::register(&registrar)?;
        let counts = Counts::register(&registrar)?;
        counts.begin_at_zero(sets, actors);
        let build = registrar.gauges(
            "build_info",
            "The running version, and what computes SHA-256 on this processor.",
            &["version", "sha256"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), Sha256::implementation()]).set(1);
        registrar.0.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self { registry: registrar.0, scrape: Mutex::new(()), states, counts })
    }

    /// Everything in Prometheus' text format 0.0.4.
    pub fn render(&self, facts: &Facts) -> Result<String, MetricsError> {
        let _one_at_a_time = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.states.set(facts);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Counts a request.
    pub fn observe_request(&self, route: &str, method: &str, status: u16, seconds: f64) {
        self.counts.http_requests.with_label_values(&[route, method, &status.to_string()]).inc();
        self.counts.http_duration.with_label_values(&[route]).observe(seconds);
    }

    /// Counts a record that could not be written.
    pub fn observe_audit_failure(&self) {
        self.counts.audit_write_failures.inc();
    }

    /// Counts a record that is durable.
    pub fn observe_audit_record(&self, event: &str) {
        self.counts.audit_records.with_label_values(&[event]).inc();
    }

    /// Counts an attempt to tell a person.
    pub fn observe_notification(&self, outcome: Notified) {
        self.counts.notifications.with_label_values(&[outcome.code()]).inc();
    }

    /// Counts an occurrence.
    pub fn observe(&self, occurrence: &Occurrence) {
        let counts = &self.counts;
        let set = occurrence.set.as_ref().map_or("", |set| set.as_str());
        match &occurrence.event {
            Event::BackupCompleted { kind, duration_seconds, .. } => {
                counts.runs.with_label_values(&[set, kind.as_str(), "completed"]).inc();
                counts.backup_duration.with_label_values(&[set]).observe(*duration_seconds);
            }
            Event::BackupUnchanged { duration_seconds } => {
                counts.runs.with_label_values(&[set, BackupKind::Scheduled.as_str(), "unchanged"]).inc();
                counts.backup_duration.with_label_values(&[set]).observe(*duration_seconds);
            }
            Event::BackupFailed { kind, .. } => counts.runs.with_label_values(&[set, kind.as_str(), "failed"]).inc(),
            Event::IntegrityCheckPassed { check, .. } => {
                counts.integrity_checks.with_label_values(&[check.code(), "passed"]).inc();
            }
            Event::IntegrityCheckFailed { check, damages, .. } => {
                let outcome = if damages.is_empty() { "unreadable" } else { "damaged" };
                counts.integrity_checks.with_label_values(&[check.code(), outcome]).inc();
                counts.integrity_failures.inc_by(damages.len() as u64);
            }
            Event::RepairCompleted { source, places } => {
                counts.repairs.with_label_values(&[source]).inc_by(places.len() as u64);
            }
            Event::DrillPassed { duration_seconds, .. } => {
                counts.integrity_checks.with_label_values(&[Check::Drill.code(), "passed"]).inc();
                counts.drill_duration.with_label_values(&[set]).observe(*duration_seconds);
            }
            Event::DrillFailed { duration_seconds, .. } => {
                counts.integrity_checks.with_label_values(&[Check::Drill.code(), DRILL_FAILED]).inc();
                counts.drill_duration.with_label_values(&[set]).observe(*duration_seconds);
            }
            Event::RestoreCompleted { duration_seconds, .. } => {
                counts.restores.with_label_values(&[set, "completed"]).inc();
                if let Some(seconds) = duration_seconds {
                    counts.restore_duration.with_label_values(&[set]).observe(*seconds);
                }
            }
            Event::RestoreRolledBack { .. } => counts.restores.with_label_values(&[set, "rolled_back"]).inc(),
            Event::RestoreFailed { .. } => counts.restores.with_label_values(&[set, "failed"]).inc(),
            Event::CleanupCompleted { replica: None, deleted, .. } => {
                for (_, reason) in deleted {
                    counts.cleanup_deleted.with_label_values(&[set, reason]).inc();
                }
            }
            Event::ModeChanged { from, to, cause, .. } => {
                counts.mode_transitions.with_label_values(&[from, to, cause]).inc();
            }
            Event::ActorRestarted { actor, cause, .. } => {
                counts.actor_restarts.with_label_values(&[actor, cause]).inc();
            }
            Event::ServiceStarted { .. }
            | Event::ServiceStopped { .. }
            | Event::ChainAccepted { .. }
            | Event::SourceRewritten { .. }
            | Event::SourceChangedUnseen { .. }
            | Event::BackupStarted { .. }
            | Event::RestoreStarted { .. }
            | Event::CleanupStarted { .. }
            | Event::RepairFailed { .. }
            | Event::CleanupFailed { .. }
            | Event::CleanupCompleted { replica: Some(_), .. }
            | Event::ReplicaLagging { .. }
            | Event::ReplicaCaughtUp { .. }
            | Event::CleanupHeld { .. }
            | Event::KeyChanged { .. }
            | Event::RepositoryUpgraded { .. }
            | Event::ClockSuspect { .. }
            | Event::TimelineBegan { .. }
            | Event::TimelineAccepted { .. }
            | Event::Pinned
            | Event::Unpinned
            | Event::Forgotten { .. }
            | Event::QuarantineCleared { .. }
            | Event::SecretsShown { .. }
            | Event::AuthRejected
            | Event::SettingsReloaded { .. }
            | Event::SettingsRejected { .. }
            | Event::ActorGaveUp { .. } => {}
        }
    }
}

impl States {
    fn register(registrar: &Registrar) -> Result<Self, prometheus::Error> {
        let per_set = SET_GAUGES
            .iter()
            .map(|(name, help, value)| {
                Ok((registrar.add(GaugeVec::new(Registrar::opts(name, help), &["set"])?)?, *value))
            })
            .collect::<Result<_, prometheus::Error>>()?;
        Ok(Self {
            enabled: registrar.gauge("backup_enabled", "Whether there are schedules and sweeps.")?,
            set_info: registrar.gauges("backup_set_info", "A configured set.", &["set", "priority"])?,
            per_set,
            backups: registrar.gauges("backups", "Backups by state.", &["set", "state"])?,
            mode: registrar.gauges("mode", "1 for the mode the service is in.", &["mode"])?,
            degraded: registrar.gauges("degraded", "1 for each reason why a person is needed.", &["reason"])?,
            mode_persisted: registrar.gauge("mode_persisted", "Whether the mode would survive a restart.")?,
            actor_up: registrar.gauges("actor_up", "Whether the actor is up.", &["actor"])?,
            actor_mailbox_messages: registrar.gauges(
                "actor_mailbox_messages",
                "Messages that the actor has not begun with.",
                &["actor"],
            )?,
            scrub_interval: registrar.gauge(
                "scrub_expected_interval_seconds",
                "Seconds in which everything stored is to be read again; 0 if nothing is.",
            )?,
            repository_bytes: registrar.gauge("repository_bytes", "Stored bytes of all objects.")?,
            repository_objects: registrar.gauge("repository_objects", "Objects in the repository.")?,
            repository_free_bytes: registrar.gauge("repository_free_bytes", "Bytes that may still be written.")?,
            repository_rolled_back: registrar.gauge(
                "repository_rolled_back",
                "Whether the history departed from another, and nobody has seen that yet.",
            )?,
            clock_suspect: registrar.gauge("clock_suspect", "Whether the clock is not believed.")?,
            scrub_oldest_check: registrar.add(prometheus::Gauge::with_opts(Registrar::opts(
                "scrub_oldest_check_timestamp_seconds",
                "When that was read again which was read longest ago; 0 if something never was.",
            ))?)?,
            audit_head_sequence: registrar.gauge("audit_head_sequence", "The number of the last audit record.")?,
            audit_chain_ok: registrar
                .gauge("audit_chain_ok", "Whether the audit chain was whole when last checked.")?,
            replica_lag: registrar.gauges("replica_lag_backups", "Backups that the replica lacks.", &["replica"])?,
            replica_same_disk: registrar.gauges(
                "replica_same_disk",
                "1 if the replica is on the disk of the backup directory, or that is not known.",
                &["replica"],
            )?,
            log_lines_dropped: registrar
                .counter("log_lines_dropped_total", "Log lines that nobody took, or that could not be written.")?,
        })
    }

    fn set(&self, facts: &Facts) {
        self.enabled.set(facts.enabled.into());
        self.set_info.reset();
        self.backups.reset();
        self.per_set.iter().for_each(|(gauge, _)| gauge.reset());
        for set in &facts.sets {
            let name = set.name.as_str();
            self.set_info.with_label_values(&[name, set.priority.as_str()]).set(1);
            for state in BackupState::ALL {
                let count = set.backups.get(&state).copied().unwrap_or(0);
                self.backups.with_label_values(&[name, state.as_str()]).set(count as i64);
            }
            for (gauge, value) in &self.per_set {
                gauge.with_label_values(&[name]).set(value(set));
            }
        }
        for mode in Mode::NAMES {
            self.mode.with_label_values(&[mode]).set((mode == facts.mode).into());
        }
        for reason in DegradedReason::ALL {
            self.degraded.with_label_values(&[reason.code()]).set(facts.reasons.contains(reason).into());
        }
        self.mode_persisted.set(facts.mode_persisted.into());
        for (actor, up) in &facts.actors {
            self.actor_up.with_label_values(&[actor]).set((*up).into());
        }
        for (actor, waiting) in &facts.mailboxes {
            self.actor_mailbox_messages.with_label_values(&[actor]).set(*waiting as i64);
        }
        self.scrub_interval.set(facts.scrub_interval_seconds as i64);
        self.repository_bytes.set(facts.repository_bytes as i64);
        self.repository_objects.set(facts.repository_objects as i64);
        self.repository_free_bytes.set(facts.free_bytes.map_or(-1, |bytes| bytes as i64));
        self.clock_suspect.set(facts.clock_suspect.into());
        self.repository_rolled_back.set(facts.rolled_back.into());
        self.scrub_oldest_check.set(seconds(facts.scrub_oldest_check));
        self.audit_head_sequence.set(facts.audit_head_sequence as i64);
        self.audit_chain_ok.set(facts.audit_chain_ok.into());
        self.replica_lag.reset();
        self.replica_same_disk.reset();
        for replica in &facts.replicas {
            let name = [replica.name.as_str()];
            self.replica_lag.with_label_values(&name).set(replica.lag_backups as i64);
            self.replica_same_disk.with_label_values(&name).set(replica.same_disk.into());
        }
        self.log_lines_dropped.reset();
        self.log_lines_dropped.inc_by(dropped_lines());
    }
}

impl Counts {
    fn register(registrar: &Registrar) -> Result<Self, prometheus::Error> {
        Ok(Self {
            runs: registrar.counters("backup_runs_total", "Backup runs.", &["set", "trigger", "outcome"])?,
            backup_duration: registrar.histograms("backup_duration_seconds", "How long runs took.", &["set"])?,
            integrity_checks: registrar.counters(
                "integrity_checks_total",
                "Checks of backups.",
                &["kind", "outcome"],
            )?,
            integrity_failures: registrar.counter("integrity_failures_total", "Stored files found absent or wrong.")?,
            repairs: registrar.counters("repairs_total", "Stored files made good.", &["source"])?,
            restores: registrar.counters("restores_total", "Restores.", &["set", "outcome"])?,
            restore_duration: registrar.histograms("restore_duration_seconds", "How long restores took.", &["set"])?,
            drill_duration: registrar.histograms("drill_duration_seconds", "How long drills took.", &["set"])?,
            cleanup_deleted: registrar.counters("cleanup_deleted_total", "Backups deleted.", &["set", "reason"])?,
            mode_transitions: registrar.counters(
                "mode_transitions_total",
                "Changes of mode.",
                &["from", "to", "cause"],
            )?,
            actor_restarts: registrar.counters("actor_restarts_total", "Restarts of actors.", &["actor", "cause"])?,
            audit_records: registrar.counters("audit_records_total", "Audit records made durable.", &["event"])?,
            audit_write_failures: registrar.counter("audit_write_failures_total", "Failed writes to the audit log.")?,
            notifications: registrar.counters("notifications_total", "Runs of notify.command.", &["outcome"])?,
            http_requests: registrar.counters("http_requests_total", "Requests.", &["route", "method", "status"])?,
            http_duration: registrar.histograms(
                "http_request_duration_seconds",
                "How long requests took.",
                &["route"],
            )?,
        })
    }

    /// Makes the series that alerts will ask for exist before anything happened.
    fn begin_at_zero(&self, sets: &[crate::core::SetName], actors: &[&'static str]) {
        sets.iter().for_each(|set| self.begin_set(set.as_str()));
        for check in Check::ALL {
            for outcome in CHECK_OUTCOMES {
                self.integrity_checks.with_label_values(&[check.code(), outcome]);
            }
        }
        self.integrity_checks.with_label_values(&[Check::Drill.code(), DRILL_FAILED]);
        for actor in actors {
            for cause in ["stop", "error", "panic", "hang"] {
                self.actor_restarts.with_label_values(&[actor, cause]);
            }
        }
        for outcome in Notified::ALL {
            self.notifications.with_label_values(&[outcome.code()]);
        }
        for source in REPAIR_SOURCES {
            self.repairs.with_label_values(&[source]);
        }
    }
}
