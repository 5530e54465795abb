//! What the tests of the repository share: a source with files, a disk with a repository, and a look at both that trusts
//! nothing.
//!
//! Hazard: a test that asks the code under test what is right proves nothing. What was backed up is remembered here as
//! plain maps of bytes, read from the source by plain means, and compared byte for byte.

#![allow(dead_code, reason = "each test program uses a part of this")]

pub mod damage;
pub mod site;
pub mod small_disk;
pub mod source;
pub mod stories;
pub mod sweep;

use std::collections::BTreeMap;
use std::fmt::Display;

/// Files by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// Whether the long forms of the tests were asked for: `FIOVANA_TEST_LONG`, as `tests/run --long` does.
pub fn long() -> bool {
    std::env::var_os("FIOVANA_TEST_LONG").is_some()
}

/// The seed of everything random here: `FIOVANA_TEST_SEED`, or the same one each time.
pub fn seed() -> u64 {
    std::env::var("FIOVANA_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123)
}

/// Says where a test was when it failed.
pub struct Place(String);

impl Place {
    /// `place` is printed if this is dropped by a failure.
    pub fn new(place: impl Display) -> Self {
        Self(place.to_string())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed at: {} (FIOVANA_TEST_SEED={})", self.0, seed());
        }
    }
}
