//! The audit log, as documents.
//!
//! Hazard: a reader that loses its place sees a record twice, or never. A page says where the next begins.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::audit::Record;
use crate::core::SetName;

/// Which records to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only those of this event.
    #[param(pattern = "^[A-Za-z]+$")]
    pub event: Option<String>,
    /// Only those about this set.
    #[param(inline, value_type = Option<SetName>)]
    pub set: Option<String>,
    /// Only those of this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those with a higher number, the oldest of them first; else the newest of all.
    #[param(maximum = 9223372036854775807u64)]
    pub after: Option<u64>,
    /// At most so many: 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// The most records on one page.
pub const MAX_RECORDS: usize = crate::audit::MAX_PAGE_RECORDS;

/// Records, newest last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// A page of them.
    pub records: Vec<Record>,
    /// The number to give as `after` for those that follow: now, or once there are any.
    pub next: u64,
}

/// Breaks of the chain that were accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AcceptOutcome {
    /// What was accepted, each with its file and line; none if the chain was whole.
    pub accepted: Vec<String>,
}
