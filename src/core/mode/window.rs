//! How many integrity failures there were lately.
//!
//! Hazard: one damaged object is an accident, three within the hour are a dying disk. The difference is a count over
//! time that a restart must not reset, that a lying clock must not empty, and that must not grow.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The last few integrity failures. Holds no more of them than decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IntegrityWindow {
    limit: u32,
    window_minutes: u32,
    /// When they were found, in the order in which they were; at most `limit`.
    failures: VecDeque<DateTime<Utc>>,
}

/// What the failures within the window amount to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegrityVerdict {
    /// Fewer than lead to recovery.
    Tolerable {
        /// How many.
        failures: u32,
    },
    /// Enough for recovery.
    Repeated {
        /// How many were looked for, and found.
        failures: u32,
        /// Within how long.
        window_minutes: u32,
    },
}

impl IntegrityWindow {
    /// An empty window in which `limit` failures (at least one) within `window_minutes` amount to recovery.
    pub fn new(limit: u32, window_minutes: u32) -> Self {
        Self { limit: limit.max(1), window_minutes, failures: VecDeque::new() }
    }

    /// The same failures under other settings.
    #[must_use]
    pub fn with_settings(mut self, limit: u32, window_minutes: u32) -> Self {
        (self.limit, self.window_minutes) = (limit.max(1), window_minutes);
        self.forget_superfluous();
        self
    }

    /// Counts a failure found at `now`, and judges.
    ///
    /// Earlier failures stamped ahead of `now` were stamped by a clock since set back: they count as of now, so that
    /// they neither vanish nor stay for ever.
    pub fn record(&mut self, now: DateTime<Utc>) -> IntegrityVerdict {
        for failure in &mut self.failures {
            *failure = (*failure).min(now);
        }
        self.failures.push_back(now);
        self.forget_superfluous();
        self.verdict(now)
    }

    /// What the failures so far amount to at `now`.
    pub fn verdict(&self, now: DateTime<Utc>) -> IntegrityVerdict {
        let window = TimeDelta::minutes(self.window_minutes.into());
        let recent = self.failures.iter().filter(|at| now.signed_duration_since(**at) <= window).count();
        let failures = u32::try_from(recent).unwrap_or(u32::MAX);
        if failures >= self.limit {
            IntegrityVerdict::Repeated { failures, window_minutes: self.window_minutes }
        } else {
            IntegrityVerdict::Tolerable { failures }
        }
    }

    fn forget_superfluous(&mut self) {
        while self.failures.len() > self.limit as usize {
            self.failures.pop_front();
        }
    }
}
