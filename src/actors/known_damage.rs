//! What is known to be damaged.
//!
//! Hazard: damage that is counted twice looks like a dying disk, and damage that is not counted looks like health. Each
//! place counts once, when it is first found damaged, across restarts; one that was healed counts again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::repository::Repository;
use crate::storage::{Durability, StorageError};

const DAMAGES: &str = "damages";

/// The most places that are remembered. Where there are more, the repository is lost, and everybody knows.
const MAX_PLACES: usize = 10_000;

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// When it was found.
    pub since: DateTime<Utc>,
    /// What is wrong with it.
    pub fault: String,
}

/// The places that are damaged, by name.
#[derive(Debug, Default)]
pub struct KnownDamage(Mutex<BTreeMap<String, Known>>);

impl KnownDamage {
    /// What a repository remembers. A lost memory counts damage a second time.
    pub fn recall(repository: &Repository) -> Self {
        Self(Mutex::new(repository.load_state(DAMAGES).ok().and_then(|loaded| loaded.value()).unwrap_or_default()))
    }

    /// Everything that is known to be damaged.
    pub fn list(&self) -> BTreeMap<String, Known> {
        self.places().clone()
    }

    /// Notes that a place is damaged; whether that is news.
    pub fn note(&self, place: String, fault: &str, now: DateTime<Utc>) -> bool {
        let mut places = self.places();
        if places.contains_key(&place) || places.len() >= MAX_PLACES {
            return false;
        }
        places.insert(place, Known { since: now, fault: fault.to_owned() });
        true
    }

    /// Notes that places are right; whether one of them was known to be damaged.
    pub fn clear(&self, is_right: impl Fn(&str) -> bool) -> bool {
        let mut places = self.places();
        let before = places.len();
        places.retain(|place, _| !is_right(place));
        places.len() < before
    }

    /// Writes it down.
    pub fn save(&self, repository: &Repository) -> Result<(), StorageError> {
        let places = self.list();
        repository.save_state(DAMAGES, &places, Durability::Lazy)
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_once_and_again_after_it_was_right() {
        let (damage, now) = (KnownDamage::default(), DateTime::UNIX_EPOCH);
        let note = |place: &str| damage.note(place.to_owned(), "absent", now);
        assert!(note("objects/00/a") && note("objects/00/b"));
        assert!(!note("objects/00/a"));
        assert!(damage.clear(|place| place.ends_with('a')));
        assert!(!damage.clear(|place| place.ends_with('a')));
        assert!(note("objects/00/a") && !note("objects/00/b"));
        assert_eq!(damage.list().len(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let damage = KnownDamage::default();
        let news = (0..MAX_PLACES + 5).filter(|n| damage.note(n.to_string(), "absent", DateTime::UNIX_EPOCH)).count();
        assert_eq!(news, MAX_PLACES);
    }
}
