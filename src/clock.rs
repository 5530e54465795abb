//! The one place where time is read.
//!
//! Hazard: a decision that reads the clock itself cannot be rehearsed, and a wall clock may say anything. Edges hold a
//! clock and hand its time in.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// Tells the time.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The wall clock: may jump.
    fn now(&self) -> DateTime<Utc>;

    /// Time since this process started: never goes back.
    fn uptime(&self) -> Duration;
}

/// The system's clocks.
#[derive(Debug)]
pub struct SystemClock {
    started: Duration,
}

impl SystemClock {
    /// A clock whose uptime begins now.
    pub fn start() -> Self {
        Self { started: since_boot() }
    }
}

/// Time since the machine was started, the time it slept included: a laptop that wakes has not jumped.
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the edge where time is read")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn uptime(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }
}
