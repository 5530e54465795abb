//! How far a long piece of work is, and the wish that it stop.
//!
//! Hazard: work that cannot be stopped holds up a shutdown. Every step of a chunk or a file asks here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Shared between the work, who watches it, and who may stop it.
#[derive(Debug, Default)]
pub struct Progress {
    done_bytes: AtomicU64,
    total_bytes: AtomicU64,
    cancelled: AtomicBool,
}

/// The work was told to stop, and stopped at a safe point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped on request")]
pub struct Cancelled;

impl Progress {
    /// Says how much more there will be: work may go on with another step.
    pub fn expect(&self, more_bytes: u64) {
        self.total_bytes.fetch_add(more_bytes, Ordering::Relaxed);
    }

    /// Says that so much more is done; an error if the work should stop.
    pub fn advance(&self, bytes: u64) -> Result<(), Cancelled> {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    /// Takes over how far the work is, as whoever does it tells.
    pub fn take_over(&self, done_bytes: u64, total_bytes: u64) {
        self.done_bytes.store(done_bytes, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }

    /// Asks the work to stop at the next safe point.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Bytes done, and bytes in all as far as is known.
    pub fn bytes(&self) -> (u64, u64) {
        (self.done_bytes.load(Ordering::Relaxed), self.total_bytes.load(Ordering::Relaxed))
    }
}
