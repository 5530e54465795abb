//! Bringing the backups of a repository back from a replica.
//!
//! Hazard: a repository that was lost is needed at once, by people who must not have to copy by hand. A replica is the
//! same tree, so this is replication the other way round, with every check that it makes on the way.

use chrono::{DateTime, Utc};

use super::Progress;
use super::heal::{Copy, Pharmacy, heal};
use super::replicate::{self, Next, ReplicateError, Run};
use super::verify::Damage;
use crate::core::SetName;
use crate::repository::{Repository, StoredFile, WriteError};

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refilled {
    /// Backups.
    pub copied: usize,
    /// Backups that the replica cannot give either.
    pub skipped: usize,
}

/// Gives `repository` every backup that it lacks and the replica has, whatever sets are configured, pins and what was
/// deleted on purpose included. To be begun again if it fails: what came back stays.
pub fn refill(replica: &Repository, repository: &Repository, now: DateTime<Utc>) -> Result<Refilled, ReplicateError> {
    let sets: Vec<SetName> = replica.catalogue().sets().map(|(set, _)| set.clone()).collect();
    let (mut run, progress) = (Run::default(), Progress::default());
    loop {
        match replicate::step(replica, repository, &sets, &mut run, now, &progress)? {
            Next::Step => {}
            Next::Heal(damages) => heal_from(replica, repository, &damages, now)?,
            Next::Nothing => break,
        }
    }
    replicate::settle(replica, repository, &sets)?;
    Ok(Refilled { copied: run.copied, skipped: run.skipped.len() })
}

/// Heals what is left of `repository`, as far as the replica can.
pub(super) fn heal_from(
    replica: &Repository,
    repository: &Repository,
    damages: &[Damage],
    now: DateTime<Utc>,
) -> Result<(), WriteError> {
    let copies = [Copy { name: "replica".into(), repository: replica }];
    let pharmacy = Pharmacy { copies: &copies, sets: &[] };
    let files = damages.iter().filter_map(|damage| StoredFile::at(&damage.place));
    files.map(|file| heal(repository, &file, &pharmacy, now)).try_for_each(|healing| healing.map(drop))
}
