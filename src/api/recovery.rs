//! The recovery plan, as a document, and what came of it.
//!
//! Hazard: a plan that is applied to something else than it was shown for. A plan has a digest, and is applied by it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ModeDocument, Problem, RestoreOutcome};
use crate::core::recovery_plan::{Entry, Plan};
use crate::core::{Digest, SetName};

/// Recovery at a glance: the mode, and what would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryDocument {
    /// The mode, what for, how far, and what needs a person.
    #[serde(flatten)]
    pub mode: ModeDocument,
    /// What applying now would do.
    pub plan: PlanDocument,
}

/// What to plan for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanOptions {
    /// These sets wholly, files that are valid and differ included; `all` is every set. None named: of every set what is
    /// missing or invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// As things were then: from the newest good backup before this moment, files that are valid and differ included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// What would be done about each file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanDocument {
    /// What applying it takes: changes exactly when an entry does.
    pub digest: Digest,
    /// What it was made for.
    pub asked: PlanOptions,
    /// How many files it restores.
    pub restores: usize,
    /// How many files are in a way that it does not mend.
    pub problems: usize,
    /// The files: how each is now, what would be done, and why.
    pub entries: Vec<Entry>,
}

impl PlanDocument {
    /// The document of a plan.
    pub fn new(plan: Plan, asked: PlanOptions) -> Self {
        Self {
            digest: plan.digest(),
            asked,
            restores: plan.restores().count(),
            problems: plan.entries.iter().filter(|entry| entry.is_problem()).count(),
            entries: plan.entries,
        }
    }
}

/// Which plan to apply, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyOptions {
    /// The digest of the plan that was shown. It must be asked for as that was.
    #[schema(value_type = Digest, required)]
    pub digest: Option<Digest>,
    /// The sets that it was made for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<String>,
    /// The moment that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// Whether files are restored whose owner cannot be kept.
    #[serde(default)]
    pub ignore_ownership: bool,
}

impl ApplyOptions {
    /// What the plan was made for.
    pub fn asked(&self) -> PlanOptions {
        PlanOptions { sets: self.sets.clone(), at: self.at }
    }
}

/// What came of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApplyOutcome {
    /// The plan's digest.
    pub plan: Digest,
    /// What was restored, set by set.
    pub restored: Vec<RestoreOutcome>,
    /// Sets of which nothing was restored, and why.
    pub failed: Vec<FailedRestore>,
    /// Whether all is well now: live files are whole, and each set has a good backup that was just read.
    pub validated: bool,
    /// What is not well, by name.
    pub losses: Vec<String>,
    /// The mode after it.
    pub mode: ModeDocument,
    /// How long it took, validation included.
    pub duration_seconds: f64,
}

/// A set of which nothing was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedRestore {
    /// The set.
    pub set: SetName,
    /// Why.
    pub problem: Problem,
}
