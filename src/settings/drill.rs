//! How often restores are rehearsed.
//!
//! Hazard: a set that nobody thought of is never rehearsed. Every priority has an interval, said or not.

use std::time::Duration;

use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, prevailing};
use super::stated::Stated;
use super::values::time;
use crate::core::BackupPriority;

const DAY: Duration = Duration::from_secs(86_400);
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// How often restores are rehearsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrillSettings {
    intervals: [Duration; BackupPriority::ALL.len()],
}

impl DrillSettings {
    /// The time between two drills of a set of this priority.
    pub const fn interval(&self, priority: BackupPriority) -> Duration {
        self.intervals[priority as usize]
    }
}

/// What was said in `[drill]`, by priority.
pub(super) struct StatedDrill([Stated<Duration>; BackupPriority::ALL.len()]);

impl StatedDrill {
    pub(super) fn read(mut section: Section, errors: &mut Vec<SettingsError>) -> Self {
        let intervals = BackupPriority::ALL.map(|priority| section.take(priority.as_str(), time(SHORTEST..=LONGEST)));
        section.finish(errors);
        Self(intervals)
    }

    /// Daily for what an application does not start without, weekly for the rest.
    pub(super) fn decide(&self, ledger: &mut Ledger) -> DrillSettings {
        let intervals = BackupPriority::ALL.map(|priority| {
            let built_in = if priority == BackupPriority::Critical { DAY } else { 7 * DAY };
            ledger.note(format!("drill.{priority}"), prevailing(&[&self.0[priority as usize]], built_in))
        });
        DrillSettings { intervals }
    }
}
