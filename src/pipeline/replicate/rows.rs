//! Tells a replica how its original is, and writes down there what is known of its backups.

use super::{ReplicateError, lag};
use crate::core::SetName;
use crate::repository::wire::AuditHead;
use crate::repository::{Repository, SetStatus, StatusDocument};

/// Tells the replica, in rows, what is known of its backups and how the original is: a row of which nothing changed is left
/// as it is.
pub fn tell(
    original: &Repository,
    replica: &Repository,
    sets: &[SetName],
    service: ServiceStatus,
) -> Result<(), ReplicateError> {
    if !replica.has_rows() {
        return Ok(());
    }
    let ServiceStatus { host, program, mode, audit_head } = service;
    let lag_backups = lag(original, replica, sets);
    let sets = original.catalogue().sets().map(|(set, index)| (set.clone(), SetStatus::of(index))).collect();
    replica.tell_verification()?;
    Ok(replica.tell_status(&StatusDocument { host, program, mode, lag_backups, audit_head, sets })?)
}

/// What a replica is told of the service that keeps it.
#[derive(Clone, Debug)]
pub struct ServiceStatus {
    /// What its host calls itself.
    pub host: String,
    /// The version of the program.
    pub program: String,
    /// The name of its mode.
    pub mode: String,
    /// Where the audit chain stands.
    pub audit_head: Option<AuditHead>,
}
