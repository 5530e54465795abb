//! The signals that the service obeys.
//!
//! Hazard: a signal that comes before it is watched for ends the process as a crash would. They are watched before anybody
//! can learn where the service is; one that comes early waits until the service is up.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Failure;

/// The signals, from when they are watched.
pub struct Signals {
    /// SIGTERM: stop.
    pub terminate: Signal,
    /// SIGINT: stop; while it stops, stop at once.
    pub interrupt: Signal,
    /// SIGHUP: load the settings anew.
    pub hangup: Signal,
}

impl Signals {
    /// Watches for them. To be called where a runtime runs.
    pub fn watch() -> Result<Self, Failure> {
        let watch = |kind| signal(kind).map_err(|error| Failure::System("watch signals", error));
        Ok(Self {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }
}
