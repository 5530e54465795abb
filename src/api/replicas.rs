//! The replicas, as documents.
//!
//! Hazard: a second copy that nobody could tell is missing.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::ReplicaName;

/// A replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: ReplicaName,
    /// Where it is, or should be.
    pub path: String,
    /// Whether it is open.
    pub reachable: bool,
    /// How many backups it lacks, as far as is known.
    pub lag: u64,
    /// When it last had all it was to have.
    pub last_success: Option<DateTime<Utc>>,
    /// Whether it would be lost with the disk of the backup directory; true also while that is not known.
    pub same_disk: bool,
    /// Why it is behind, if it is.
    pub fault: Option<String>,
}

/// A replica that was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplicaCreated {
    /// Its name.
    pub name: ReplicaName,
    /// Where it is.
    pub path: String,
    /// The repository that it is a replica of.
    pub id: String,
    /// Whether it would be lost with the disk of the backup directory.
    pub same_disk: bool,
}
