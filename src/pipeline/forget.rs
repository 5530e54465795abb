//! Giving up what is damaged or lost.
//!
//! Hazard: one backup whose manifest cannot be read, or is missing, holds every object back, for it may need any of
//! them. Only a person can say that it is gone for good; and must not be able to say so of what can still be restored.

use crate::core::retention::PlanDigest;
use crate::core::{BackupId, BackupState, Position, SetName};
use crate::repository::catalogue::Backup;
use crate::repository::{Repository, WriteError};

/// What somebody wants to give up.
#[derive(Clone, Debug)]
pub enum Forgettable {
    /// A backup that is there, in some state.
    Backup(Backup),
    /// A backup that is not there.
    Lost(SetName, Position),
}

/// What giving it up would mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surrender {
    /// The set.
    pub set: SetName,
    /// The backup, if there is something of it.
    pub backup: Option<BackupId>,
    /// Its place in the order, and that of others that may be the same one.
    pub positions: Vec<Position>,
    /// What is lost with it, one sentence each.
    pub gives_up: Vec<String>,
}

/// Why something is not given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It can be restored, or may turn out to be.
    #[error("backup {0} is {1}: only what is damaged or lost is given up; retention deletes the rest when it is due")]
    NotLost(BackupId, BackupState),
    /// Somebody protected it.
    #[error("backup {0} is pinned: unpin it first")]
    Pinned(BackupId),
    /// That sequence is not lost.
    #[error("backup {1} of {0} is not lost: `fiovana-app status` names those that are")]
    NoLoss(SetName, Position),
}

impl Surrender {
    /// What this is confirmed by.
    pub fn digest(&self) -> PlanDigest {
        let positions = self.positions.iter().map(|position| format!("{}:{position}", self.set));
        PlanDigest::of(self.backup.iter().map(ToString::to_string).chain(positions).chain(self.gives_up.clone()))
    }
}

/// What giving this up would mean; why it cannot be given up, if so.
pub fn plan(repository: &Repository, what: &Forgettable) -> Result<Surrender, Refusal> {
    let catalogue = repository.catalogue();
    let lost = |set: &SetName| catalogue.set(set).map_or_else(Vec::new, |index| index.lost(2));
    match what {
        Forgettable::Lost(set, position) => {
            let is_lost = catalogue.set(set).is_some_and(|index| index.is_lost(*position));
            if !is_lost {
                return Err(Refusal::NoLoss(set.clone(), *position));
            }
            let gives_up = vec![
                format!("backup {position} of {set}, of which nothing is left"),
                "objects that only it needed: they are collected from now on".into(),
            ];
            Ok(Surrender { set: set.clone(), backup: None, positions: vec![*position], gives_up })
        }
        Forgettable::Backup(backup) => {
            if backup.state() != BackupState::Damaged {
                return Err(Refusal::NotLost(backup.id, backup.state()));
            }
            if backup.pinned {
                return Err(Refusal::Pinned(backup.id));
            }
            let mut gives_up = vec![format!("backup {} of {} ({})", backup.id, backup.set, backup.created())];
            let positions = match backup.position() {
                Some(position) => {
                    let kept = backup.content.iter().flat_map(|content| content.manifest.kept());
                    gives_up.extend(kept.map(|kept| format!("what is left of {}", kept.path())));
                    vec![position]
                }
                None => {
                    gives_up.push("its manifest, which cannot be read, and the chance to mend it".into());
                    // Its manifest hides which of the lost sequences it is; where there is one of each, it is that.
                    let unreadable = catalogue.backups().filter(|b| b.set == backup.set && b.content.is_none()).count();
                    let lost = lost(&backup.set);
                    if unreadable == 1 && lost.len() == 1 { lost } else { vec![] }
                }
            };
            gives_up.push("objects that only it needed: they are collected from now on".into());
            Ok(Surrender { set: backup.set.clone(), backup: Some(backup.id), positions, gives_up })
        }
    }
}

/// Gives it up. The sequences are listed as pruned before anything goes.
pub fn forget(repository: &Repository, surrender: &Surrender) -> Result<(), WriteError> {
    repository.list_as_pruned(&surrender.set, &surrender.positions)?;
    repository.delete_backups(&surrender.set, &surrender.backup.into_iter().collect::<Vec<_>>())
}
