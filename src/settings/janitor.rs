//! How what is old is cleaned up, and when space is short.
//!
//! Hazard: a threshold of zero never warns, and a grace of zero forgives nothing. Both may be said, and neither is built
//! in.

use std::time::Duration;

use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, prevailing};
use super::stated::{MOST_MEGABYTES, SECOND, Stated, YEAR};
use super::values::{time, whole};

/// How what is old is cleaned up, and when space is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JanitorSettings {
    /// The time between two sweeps.
    pub interval: Duration,
    /// For how long an object that no backup needs is kept.
    pub grace: Duration,
    /// With less free than this, in MiB, a warning is given; 0 is never.
    pub min_free_mb: u64,
    /// With less of the disk free than this, in percent, a warning is given; 0 is never.
    pub min_free_percent: u32,
}

/// What was said in `[janitor]`.
pub(super) struct StatedJanitor {
    interval: Stated<Duration>,
    grace: Stated<Duration>,
    min_free_mb: Stated<u64>,
    min_free_percent: Stated<u32>,
}

impl StatedJanitor {
    /// Reads the section.
    pub fn read(mut section: Section, errors: &mut Vec<SettingsError>) -> Self {
        let stated = Self {
            interval: section.take("interval", time(SECOND..=YEAR)),
            grace: section.take("grace", time(Duration::ZERO..=YEAR)),
            min_free_mb: section.take("min_free_mb", whole(0..=MOST_MEGABYTES)),
            min_free_percent: section.take("min_free_percent", whole(0..=99)),
        };
        section.finish(errors);
        stated
    }

    /// What holds.
    pub fn decide(&self, ledger: &mut Ledger) -> JanitorSettings {
        let hour = Duration::from_secs(3600);
        JanitorSettings {
            interval: ledger.note("janitor.interval", prevailing(&[&self.interval], hour)),
            grace: ledger.note("janitor.grace", prevailing(&[&self.grace], hour)),
            min_free_mb: ledger.note("janitor.min_free_mb", prevailing(&[&self.min_free_mb], 256)),
            min_free_percent: ledger.note("janitor.min_free_percent", prevailing(&[&self.min_free_percent], 2)),
        }
    }
}
