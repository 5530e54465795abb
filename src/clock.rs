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
    started: std::time::Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the edge where time is read")]
impl SystemClock {
    /// A clock whose uptime begins now.
    pub fn start() -> Self {
        Self { started: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the edge where time is read")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
