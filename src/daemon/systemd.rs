//! What the service manager is told.
//!
//! Hazard: a manager that thinks a dead service alive, or kills one that is busy. It is told by the protocol of
//! sd_notify(3), and nothing is told where `NOTIFY_SOCKET` is not set.

use std::time::Duration;

use sd_notify::NotifyState;

/// The service is up, or up again after a reload.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The settings are being loaded anew; to be followed by [`ready`]. `Type=notify-reload` wants to know since when, so
/// that it takes no earlier readiness for the end of this reload.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("tell the service manager of a reload: {error}"),
    }
}

/// What the service is at.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// The service ends in good order.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("stopping: work under way is finished first")]);
}

/// All is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How long the manager waits for [`alive`] before it kills the service, if it does.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|patience| !patience.is_zero())
}

fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("tell the service manager: {error}");
    }
}
