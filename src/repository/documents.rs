//! The small documents that change: what was deleted on purpose, what is pinned, and whose history this is.
//!
//! Hazard: they are read years later by programs we have not written yet. As with manifests, a field is never renamed and
//! never changes its meaning; `FORMAT.md` is their law.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::wire::AuditHead;
use crate::core::timeline::DepartureReason;
use crate::core::{BackupId, Sequence, SetName, Timeline};

/// `pruned.<n>.json`: the sequences of a set that were deleted on purpose, as ranges.
/// Written before anything is deleted, so that a missing sequence that is not in here is a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedDocument {
    /// The format of this document.
    pub format: u32,
    /// The set.
    pub set: SetName,
    /// By timeline, ascending.
    pub timelines: Vec<PrunedTimeline>,
}

/// The part of a set's list that belongs to a timeline.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedTimeline {
    /// The timeline.
    pub timeline: Timeline,
    /// Inclusive ranges of sequences, ascending, not touching each other.
    pub pruned: Vec<(Sequence, Sequence)>,
    /// When versions that are still there were superseded, by sequence, as far as those that superseded them are pruned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub superseded: BTreeMap<Sequence, DateTime<Utc>>,
}

/// `pruned.json` of format 1, which knows no timelines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedDocument1 {
    /// The format of this document.
    pub format: u32,
    /// The set.
    pub set: SetName,
    /// As in [`PrunedTimeline`].
    pub pruned: Vec<(Sequence, Sequence)>,
    /// As in [`PrunedTimeline`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub superseded: BTreeMap<Sequence, DateTime<Utc>>,
}

/// `pins.<n>.json`: which backups of a set retention must leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinsDocument {
    /// The format of this document.
    pub format: u32,
    /// The set.
    pub set: SetName,
    /// The backups that are pinned.
    pub pinned: BTreeSet<BackupId>,
    /// Those whose pin was taken away, the last 1,000: in a copy that was not there then, they still are pinned.
    pub unpinned: BTreeSet<BackupId>,
}

/// `timelines.<n>.json`: the timelines of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelinesDocument {
    /// The format of this document.
    pub format: u32,
    /// The repository.
    pub repository: String,
    /// Ascending by number.
    pub timelines: Vec<TimelineEntry>,
}

/// A timeline: who writes it, and where it departs from another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// Its number.
    pub timeline: Timeline,
    /// The random id of its writer: 32 hexadecimal digits.
    pub writer: String,
    /// What describes the writer; nothing is decided by it.
    pub host: String,
    /// When it began, as the clock told it.
    pub began: DateTime<Utc>,
    /// Where it departs from an older one; the first does from none.
    #[serde(flatten)]
    pub departure: Option<Departure>,
}

/// Where a timeline departs from an older one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// Why there is a new one.
    pub reason: DepartureReason,
    /// The older timeline.
    pub departs_from: Timeline,
    /// The last audit record of the older history, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<AuditHead>,
    /// By set.
    pub sets: BTreeMap<SetName, DeparturePoint>,
}

/// Where the history of a set departs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeparturePoint {
    /// The last sequence that the older timeline gave to this history.
    pub last: Sequence,
    /// The highest one known anywhere then: the new timeline gives higher ones.
    pub above: Sequence,
}
