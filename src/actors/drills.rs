//! What is known of drills, across restarts.
//!
//! Hazard: a drill that nobody remembers is held again at every start, or never. What became of each set's last drill
//! is here and on disk; and no two are held at once, since they share one scratch directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

use crate::core::SetName;
use crate::core::schedule::RunHistory;
use crate::repository::Repository;
use crate::storage::{Durability, StorageError};

const DRILLS: &str = "drills";

/// The drills of every set.
pub struct Drills {
    records: Mutex<BTreeMap<SetName, DrillRecord>>,
    turns: Arc<Turns<()>>,
}

/// What is remembered of a set's drills.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillRecord {
    /// When they were held. One that was never concluded counts as failed.
    pub history: RunHistory,
    /// Why the last one failed, if it did.
    pub failure: Option<String>,
}

impl DrillRecord {
    /// How the last one ended: `passed`, `failed`, or `interrupted` if it did not end; `None` if there was none.
    pub fn outcome(&self) -> Option<&'static str> {
        let last = self.history.last_attempt?;
        Some(match self.failure {
            Some(_) => "failed",
            None if self.history.last_success == Some(last) => "passed",
            None => "interrupted",
        })
    }
}

impl Drills {
    /// As the repository remembers them. A lost record costs one drill too many of each set.
    pub fn recall(repository: &Repository) -> Self {
        let records = repository.load_state(DRILLS).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
        Self { records: Mutex::new(records), turns: Arc::default() }
    }

    /// What is remembered of a set.
    pub fn of(&self, set: &SetName) -> DrillRecord {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).get(set).cloned().unwrap_or_default()
    }

    /// Remembers what became of a drill, for as long as this process lives.
    pub fn note(&self, set: &SetName, change: impl FnOnce(RunHistory) -> RunHistory, failure: Option<String>) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let record = records.entry(set.clone()).or_default();
        *record = DrillRecord { history: change(record.history), failure };
    }

    /// Writes down what is remembered, not synced.
    pub fn save(&self, repository: &Repository) -> Result<(), StorageError> {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner).clone();
        repository.save_private_state(DRILLS, &records, Durability::Lazy)
    }

    /// Waits until no drill is held. What is returned goes into the work, and is dropped with it.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        self.turns.clone().lock_owned().await
    }

    /// The same without waiting; `None` if one is held.
    pub fn turn_at_once(&self) -> Option<OwnedMutexGuard<()>> {
        self.turns.clone().try_lock_owned().ok()
    }
}
