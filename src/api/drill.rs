//! Drills, as documents.
//!
//! Hazard: a rehearsal that could not be held looks like one that passed. A verdict is always given, with its reason.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::{BackupId, SetName};

/// What came of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DrillOutcome {
    /// The set.
    pub set: SetName,
    /// The backup that was restored.
    pub backup: BackupId,
    /// How it ended.
    pub verdict: DrillVerdict,
    /// Why it did not pass, if so.
    pub failure: Option<String>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// Files that came back; 0 if it did not pass.
    pub files: u64,
    /// Their bytes.
    pub size_bytes: u64,
    /// How long it took.
    pub duration_seconds: f64,
}

/// How a drill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillVerdict {
    /// Every file came back as it was.
    Passed,
    /// A restore would fail now, or the drill proves nothing; the backup itself may be whole.
    Failed,
    /// The backup is damaged.
    Damaged,
}
