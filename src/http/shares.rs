//! Places for what takes long, and each caller's share of them.
//!
//! Hazard: places that are free to all are soon all of one caller's, who asks in a loop; an operator who must restore is then
//! told to come again. So no caller has more than a share, all others together leave some to operators, and an operator has
//! whatever is free.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::api::{Problem, ProblemKind};

/// Whose a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sharer {
    /// Root's, the service's own user's, or of somebody at its socket.
    Operator,
    /// That of this principal.
    Other(String),
}

/// A number of places of one kind.
#[derive(Debug)]
pub(super) struct Places {
    limit: usize,
    what: &'static str,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// None is 0.
    by_others: HashMap<String, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    sharer: Sharer,
}

impl Places {
    /// So many places, for what is told of those who have them.
    pub fn new(limit: usize, what: &'static str) -> Arc<Self> {
        Arc::new(Self { limit, what, taken: Mutex::default() })
    }

    /// A place for this caller; refused if there is none, or the caller has a share already.
    pub fn take(self: &Arc<Self>, sharer: Sharer) -> Result<Place, Problem> {
        let mut taken = self.locked();
        let (others, own) = match &sharer {
            Sharer::Operator => (0, 0),
            Sharer::Other(name) => (taken.by_others.values().sum(), taken.by_others.get(name).copied().unwrap_or(0)),
        };
        let (share, limit, what) = (self.share(), self.limit, self.what);
        if own >= share {
            let detail = format!("{own} {what} for this caller, and no more may: try again when one is done");
            return Err(Problem::new(ProblemKind::Unavailable, detail));
        }
        if taken.all >= limit || others >= limit - self.reserved() {
            let detail = format!("{} {what}, and no more may: try again when one is done", taken.all);
            return Err(Problem::new(ProblemKind::Unavailable, detail));
        }
        taken.all += 1;
        if let Sharer::Other(name) = &sharer {
            *taken.by_others.entry(name.clone()).or_default() += 1;
        }
        drop(taken);
        Ok(Place { places: Arc::clone(self), sharer })
    }

    /// What one caller may have who is no operator.
    fn share(&self) -> usize {
        (self.limit / 4).max(1)
    }

    /// What only operators may have.
    fn reserved(&self) -> usize {
        self.limit / 4
    }

    fn locked(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.locked();
        taken.all -= 1;
        if let Sharer::Other(name) = &self.sharer
            && let Some(own) = taken.by_others.get_mut(name)
        {
            *own -= 1;
            if *own == 0 {
                taken.by_others.remove(name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn other(name: &str) -> Sharer {
        Sharer::Other(name.to_owned())
    }

    fn all_of(places: &Arc<Places>, sharer: &Sharer) -> Vec<Place> {
        std::iter::from_fn(|| places.take(sharer.clone()).ok()).collect()
    }

    #[test]
    fn one_caller_has_a_share_all_others_leave_some_and_an_operator_has_the_rest() {
        let places = Places::new(8, "files are being handed out");
        let one = all_of(&places, &other("uid:1000"));
        let two = all_of(&places, &other("token:backup"));
        let three = all_of(&places, &other("uid:1001"));
        let four = all_of(&places, &other("uid:1002"));
        let operator = all_of(&places, &Sharer::Operator);
        assert_eq!([&one, &two, &three, &four, &operator].map(Vec::len), [2, 2, 2, 0, 2]);
        assert_eq!(places.take(Sharer::Operator).unwrap_err().kind, ProblemKind::Unavailable);
        drop(one);
        assert_eq!(all_of(&places, &other("uid:1002")).len(), 2);
        drop((two, three, four, operator));
        assert_eq!(all_of(&places, &Sharer::Operator).len(), 8);
        assert!(places.locked().by_others.is_empty() && places.locked().all == 0);
    }

    #[test]
    fn of_few_places_each_is_anybodys() {
        let places = Places::new(1, "operations are under way");
        let only = places.take(other("uid:1000")).unwrap();
        assert!(places.take(Sharer::Operator).is_err());
        drop(only);
        assert!(places.take(Sharer::Operator).is_ok());
    }
}
