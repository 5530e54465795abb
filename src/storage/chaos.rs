//! A process that dies at a chosen operation, for crash tests; compiled only with the feature `chaos`, which no release
//! has.
//!
//! Hazard: a crash at a random moment mostly meets the long steps; the dangerous ones are short.

use std::sync::atomic::{AtomicU64, Ordering};

/// Operations yet to be let through; far more than there ever are until it is armed.
static LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

/// From now on `FIOVANA_CHAOS_ABORT_AT` operations are let through, and the next one is not.
pub fn arm() {
    if let Some(operations) = std::env::var("FIOVANA_CHAOS_ABORT_AT").ok().and_then(|text| text.parse().ok()) {
        LEFT.store(operations, Ordering::SeqCst);
    }
}

/// An operation that changes something on a disk is about to be done.
pub(super) fn operation() {
    if LEFT.fetch_sub(1, Ordering::SeqCst) == 0 {
        std::process::abort();
    }
}
