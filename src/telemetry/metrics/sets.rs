//! The series of a set, from its first scrape to its last.
//!
//! Hazard: a set that is new and has no series alerts nobody when it never succeeds; one that is gone and keeps its
//! series alerts for ever.

use std::collections::HashMap;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};

use super::{Counts, Metrics, OUTCOMES};
use crate::core::retention::DeleteReason;
use crate::core::{BackupKind, SetName};

impl Metrics {
    /// Makes the series of sets that are new, and ends those of sets that are gone.
    pub fn follow_sets(&self, before: &[SetName], after: &[SetName]) {
        before.iter().filter(|set| !after.contains(set)).for_each(|set| self.counts.end_set(set.as_str()));
        after.iter().filter(|set| !before.contains(set)).for_each(|set| self.counts.begin_set(set.as_str()));
    }
}

impl Counts {
    /// Makes the series of a set exist before anything happened to it.
    pub(super) fn begin_set(&self, set: &str) {
        for kind in [BackupKind::Scheduled, BackupKind::Manual] {
            for outcome in OUTCOMES {
                self.runs.with_label_values(&[set, kind.as_str(), outcome]);
            }
        }
        self.backup_duration.with_label_values(&[set]);
        self.restore_duration.with_label_values(&[set]);
        self.drill_duration.with_label_values(&[set]);
        for outcome in ["completed", "rolled_back", "failed"] {
            self.restores.with_label_values(&[set, outcome]);
        }
        for reason in DeleteReason::CODES {
            self.cleanup_deleted.with_label_values(&[set, reason]);
        }
    }

    fn end_set(&self, set: &str) {
        forget(&self.runs, set);
        forget(&self.backup_duration, set);
        forget(&self.restores, set);
        forget(&self.restore_duration, set);
        forget(&self.drill_duration, set);
        forget(&self.cleanup_deleted, set);
    }
}

/// Removes every series with this `set`.
fn forget<B: MetricVecBuilder>(metrics: &MetricVec<B>, set: &str) {
    for family in metrics.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            if labels.get("set") == Some(&set) {
                // It can only be gone already.
                let _ = metrics.remove(&labels);
            }
        }
    }
}
