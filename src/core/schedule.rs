//! When a set is backed up next.
//!
//! Hazard: a schedule kept in a timer forgets what a restart interrupts, and one kept in clock times believes every
//! clock. This one is a function of what was done and of what time it is now: a restart neither forgets nor repeats
//! a run, downtime is caught up by one run and not by as many as were missed, and a clock that jumps costs at most
//! one run too many, never one too few.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The wait after a first failure; it doubles with each further one, up to the set's interval.
pub const RETRY_INITIAL: Duration = Duration::from_secs(60);

/// What is stamped further than this ahead of the clock was stamped by a clock that has been set back since.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(1);

/// Whether this time lies so far ahead of the clock that it proves nothing.
pub fn is_ahead(stamp: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    stamp.signed_duration_since(now) > CLOCK_TOLERANCE
}

/// What is remembered of a set's runs, across restarts. All times are starts of attempts, so a slow run does not
/// push the later ones back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct RunHistory {
    /// When the last attempt started.
    pub last_attempt: Option<DateTime<Utc>>,
    /// When the last attempt that succeeded (or found nothing changed) started.
    pub last_success: Option<DateTime<Utc>>,
    /// How many attempts failed since.
    pub consecutive_failures: u32,
}

/// When a set is to be backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// At once.
    Now,
    /// At this time, which lies ahead.
    At(DateTime<Utc>),
}

impl Due {
    /// The time.
    pub fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Now => now,
            Self::At(at) => at,
        }
    }
}

impl RunHistory {
    /// An attempt starts. Persisted before the work, so that one that takes the process down is not repeated at once.
    #[must_use]
    pub fn started(self, at: DateTime<Utc>) -> Self {
        Self { last_attempt: Some(at), ..self }
    }

    /// The attempt that started at `at` succeeded, or found nothing changed.
    #[must_use]
    pub fn succeeded(self, at: DateTime<Utc>) -> Self {
        Self { last_attempt: Some(at), last_success: Some(at), consecutive_failures: 0 }
    }

    /// The attempt that started at `at` failed.
    #[must_use]
    pub fn failed(self, at: DateTime<Utc>) -> Self {
        let consecutive_failures = self.consecutive_failures.saturating_add(1);
        Self { last_attempt: Some(at), consecutive_failures, ..self }
    }

    /// What of it can be so at `now`: a time ahead of the clock was told by one that was wrong, and tells nothing.
    #[must_use]
    pub fn seen_at(self, now: DateTime<Utc>) -> Self {
        let seen = |time: Option<DateTime<Utc>>| time.filter(|time| !is_ahead(*time, now));
        Self { last_attempt: seen(self.last_attempt), last_success: seen(self.last_success), ..self }
    }

    /// Failures to wait for; an attempt that was never concluded (the process died in it) is one.
    fn failures(&self) -> u32 {
        match self.last_success == self.last_attempt {
            true => self.consecutive_failures,
            false => self.consecutive_failures.max(1),
        }
    }
}

/// When the next run is due: one interval after the last successful one started, sooner after failures, at once if
/// it never ran or is overdue.
///
/// A last attempt that lies ahead of the clock tells nothing of how long ago it was. The set is then due at once: the
/// run stamps the new time, so it is one run too many and no more, and none is missed.
pub fn due(history: &RunHistory, interval: Duration, now: DateTime<Utc>) -> Due {
    let Some(last) = history.last_attempt else { return Due::Now };
    if is_ahead(last, now) {
        return Due::Now;
    }
    let wait = match history.failures() {
        0 => interval,
        failures => retry_delay(failures, interval),
    };
    match later(last, wait) {
        next if next <= now => Due::Now,
        next => Due::At(next),
    }
}

/// The wait after this many failures in a row (at least one): doubling, never above the interval.
fn retry_delay(failures: u32, interval: Duration) -> Duration {
    RETRY_INITIAL.saturating_mul(1 << (failures - 1).min(30)).min(interval)
}

/// `wait` after `time`, or the end of time.
fn later(time: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(wait).ok().and_then(|wait| time.checked_add_signed(wait)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests;
