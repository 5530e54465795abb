//! What is known to be damaged, and how far everything was read again, as documents.
//!
//! Hazard: damage that was found once and is seen by nobody.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The most damaged places that a status lists.
pub const MAX_DAMAGED_SHOWN: usize = 100;

/// What is damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamageStatus {
    /// How many places are known to be damaged, here and in replicas.
    pub known: u64,
    /// Some of them, by name.
    pub places: Vec<DamagedPlace>,
    /// How many damaged files are kept in quarantine, here and in the replicas that can be reached.
    pub quarantined: u64,
    /// Their bytes.
    pub quarantined_bytes: u64,
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamagedPlace {
    /// A path in the repository, or `replica NAME: ` and a path there.
    pub place: String,
    /// What is wrong with it.
    pub fault: String,
    /// When it was found.
    pub since: DateTime<Utc>,
}

/// How far everything was read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScrubStatus {
    /// Whether that is done at all.
    pub enabled: bool,
    /// When that was read which was read longest ago; absent if something never was.
    pub oldest_check: Option<DateTime<Utc>>,
    /// By when everything will have been read again.
    pub complete_by: Option<DateTime<Utc>>,
}
