//! Whoever watches the supervisor.
//!
//! Hazard: a process that is there and does nothing. Work that blocks the thread of the actors blocks the supervisor,
//! which could then neither see it nor say so; a thread of its own ends the process instead, to be started anew, which
//! is safe at any moment. The service manager's watchdog is fed only while the supervisor answers, and hears of its
//! children.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::systemd;
use crate::actors::service::{ASKED_EVERY, Service};
use crate::telemetry::flush_log;

/// The time between two looks at the place of the repository.
const LOOK_AT_PLACE_EVERY: Duration = Duration::from_secs(2);
/// After this many heartbeats without a sign of life from the actors' thread the process ends.
const PATIENCE_HEARTBEATS: u32 = 6;

/// Watches for as long as the caller's thread runs actors; never returns. Tells the service manager what mode the
/// service is in whenever that changes.
pub async fn watch(service: Service, heartbeat: Duration) {
    let alive = end_if_silent_for(heartbeat * PATIENCE_HEARTBEATS);
    let every = systemd::watchdog().map_or(ASKED_EVERY, |patience| (patience / 3).min(ASKED_EVERY)).min(heartbeat);
    let mut told = String::new();
    loop {
        // The thread goes when this does: nobody is left to be told.
        let _ = alive.send(());
        if timeout(every, service.is_well()).await == Ok(true) {
            systemd::alive();
        }
        let status = status(&service);
        if status != told {
            systemd::status(&status);
            told = status;
        }
        sleep(every).await;
    }
}

/// Watches whether what was locked is still in its place, until it is not: whoever goes on with a directory that nobody
/// finds any more calls backups good that nobody will ever restore.
pub async fn watch_place(service: Service) {
    while service.is_in_place().await {
        sleep(LOOK_AT_PLACE_EVERY).await;
    }
}

/// One line on how the service is.
pub fn status(service: &Service) -> String {
    let mode = service.mode();
    let reasons = mode.reasons.iter().map(|reason| reason.code.as_str());
    let why: Vec<&str> = mode.cause.as_deref().into_iter().chain(reasons).collect();
    if why.is_empty() { format!("mode {}", mode.name) } else { format!("mode {}: {}", mode.name, why.join(", ")) }
}

/// Ends the process if nothing is sent for so long.
fn end_if_silent_for(patience: Duration) -> Sender<()> {
    let (alive, signs) = channel();
    std::thread::spawn(move || listen(&signs, patience));
    alive
}

fn listen(signs: &Receiver<()>, patience: Duration) {
    loop {
        match signs.recv_timeout(patience) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                tracing::error!(
                    "the actors have not moved for {} s: the process ends, so that it is started anew",
                    patience.as_secs()
                );
                flush_log();
                std::process::exit(1);
            }
        }
    }
}
