//! What the Janitor found, for everybody to see.
//!
//! Hazard: a plan that waits for a person, or a clock that lies, is of no use as a line in a log of last night. It is
//! here as long as it is true: for the status, the metrics and the mode.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::SetName;
use crate::core::retention::Hold;

/// What the Janitor found.
#[derive(Debug, Default)]
pub struct Upkeep {
    held: Mutex<BTreeMap<SetName, Hold>>,
    clock_suspect: Mutex<bool>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upkeep {
    /// The plan of a set that waits for a person, if there is one.
    pub fn held(&self, set: &SetName) -> Option<Hold> {
        locked(&self.held).get(set).cloned()
    }

    /// Notes whether the clock is told to be suspect; whether that is news.
    pub fn clock_told(&self, suspect: bool) -> bool {
        std::mem::replace(&mut *locked(&self.clock_suspect), suspect) != suspect
    }

    /// Notes that a set's plan waits, or that none does; whether that is news.
    pub fn hold(&self, set: &SetName, hold: Option<Hold>) -> bool {
        let mut held = locked(&self.held);
        let before = match &hold {
            Some(hold) => held.insert(set.clone(), hold.clone()),
            None => held.remove(set),
        };
        before != hold
    }
}
