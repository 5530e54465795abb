//! The timelines of the repository, as documents.
//!
//! Hazard: a history that goes on from an older copy looks like any other. Each one is named with where, when and why it
//! departed from the one before.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::{ReplicaName, SetName};

/// The timelines of the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelinesDocument {
    /// The one that backups are made on.
    pub timeline: u32,
    /// Whether nothing is deleted until somebody has seen that it departed from another.
    pub held: bool,
    /// Those that are on record, oldest first; none while there is only the first.
    pub timelines: Vec<TimelineDocument>,
}

/// What somebody says of the newest timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AcceptTimelineOptions {
    /// The replica that is this service's, whoever claimed it; without it the newest timeline was seen.
    #[serde(default)]
    pub replica: Option<ReplicaName>,
}

/// One unbroken history by one writer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TimelineDocument {
    /// Its number.
    pub timeline: u32,
    /// The random id of its writer.
    pub writer: String,
    /// What describes the writer.
    pub host: String,
    /// When it began.
    pub began: DateTime<Utc>,
    /// Where it departs from an older one; absent of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub departure: Option<DepartureDocument>,
}

/// Where a timeline departs from an older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DepartureDocument {
    /// Why: `rolled_back`, `cloned`, `moved` or `bare_host`.
    pub reason: String,
    /// The older one.
    pub departs_from: u32,
    /// For each set the last sequence that was here then, and the highest that was known anywhere.
    pub sets: BTreeMap<SetName, (u64, u64)>,
}
