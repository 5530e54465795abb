//! What the Janitor found, for everybody to see.
//!
//! Hazard: a plan that waits for a person, or a clock that lies, is of no use as a line in a log of last night. It is
//! here as long as it is true: for the status, the metrics and the mode.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::core::retention::{Hold, PlanDigest};
use crate::core::{ReplicaName, SetName};

/// What the Janitor found.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// By set, and by replica where the plan is for one.
    held: Mutex<BTreeMap<(SetName, Option<ReplicaName>), Waiting>>,
    clock_suspect: Mutex<bool>,
}

/// A plan that waits for a person.
#[derive(Clone, Debug)]
struct Waiting {
    hold: Hold,
    /// Whether it waits no more for one, only to be carried out.
    is_confirmed: bool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upkeep {
    /// The plan of a set that waits for a person, if there is one, here or for a replica; that for here goes first.
    pub fn held(&self, set: &SetName) -> Option<Hold> {
        locked(&self.held).iter().find(|((of_set, _), _)| of_set == set).map(|(_, waiting)| waiting.hold.clone())
    }

    /// The plans for replicas that wait.
    pub fn held_for_replicas(&self) -> Vec<(SetName, Hold)> {
        let held = locked(&self.held);
        let for_replicas = held.iter().filter(|((_, replica), _)| replica.is_some());
        for_replicas.map(|((set, _), waiting)| (set.clone(), waiting.hold.clone())).collect()
    }

    /// Notes that somebody confirmed a plan; whether it is one for a replica.
    pub fn confirm(&self, digest: &PlanDigest) -> bool {
        let mut held = locked(&self.held);
        let of_replicas = held.iter_mut().filter(|((_, replica), _)| replica.is_some());
        let confirmed = of_replicas.filter(|(_, waiting)| waiting.hold.digest == *digest);
        confirmed.map(|(_, waiting)| waiting.is_confirmed = true).count() > 0
    }

    /// Whether somebody confirmed this plan for a set in a replica.
    pub fn is_confirmed(&self, set: &SetName, replica: &ReplicaName, hold: &Hold) -> bool {
        let waiting = locked(&self.held).get(&(set.clone(), Some(replica.clone()))).cloned();
        waiting.is_some_and(|waiting| waiting.is_confirmed && waiting.hold.digest == hold.digest)
    }

    /// Whether somebody confirmed a plan for a replica that was not carried out yet.
    pub fn has_confirmed(&self, replica: &ReplicaName) -> bool {
        let held = locked(&self.held);
        held.iter().any(|((_, of), waiting)| of.as_ref() == Some(replica) && waiting.is_confirmed)
    }

    /// Notes whether the clock is told to be suspect; whether that is news.
    pub fn clock_told(&self, suspect: bool) -> bool {
        std::mem::replace(&mut *locked(&self.clock_suspect), suspect) != suspect
    }

    /// Notes that a set's plan waits, here or for a replica, or that none does; whether that is news.
    pub fn hold(&self, set: &SetName, replica: Option<&ReplicaName>, hold: Option<Hold>) -> bool {
        let mut held = locked(&self.held);
        let of = (set.clone(), replica.cloned());
        let before = match &hold {
            Some(hold) => held.insert(of, Waiting { hold: hold.clone(), is_confirmed: false }),
            None => held.remove(&of),
        };
        before.map(|waiting| waiting.hold) != hold
    }
}
