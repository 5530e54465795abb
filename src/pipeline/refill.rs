//! Bringing the backups of a repository back from a replica.
//!
//! Hazard: a repository that was lost is needed at once, by people who must not have to copy by hand. A replica is the
//! same tree, so this is replication the other way round, with every check that it makes on the way.

use chrono::{DateTime, Utc};

use super::Progress;
use super::replicate::{self, Next, ReplicateError, Run};
use crate::core::SetName;
use crate::repository::Repository;

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
    while replicate::step(replica, repository, &sets, &mut run, now, &progress)? == Next::Step {}
    replicate::settle(replica, repository, &sets, None)?;
    Ok(Refilled { copied: run.copied, skipped: run.skipped.len() })
}
