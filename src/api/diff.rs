//! What differs, as a document.
//!
//! Hazard: it shows what files hold. Secrets are hidden before it is made.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::core::SetName;
use crate::core::diff::Difference;

/// What to compare a backup with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// Another backup of its set, or `live`, which it also is if nothing is said.
    #[param(pattern = "^([0-9]{1,8}|[0-9]{8}T[0-9]{0,6}|[0-9]{8}T[0-9]{6}Z(-[0-9a-f]{0,8})?|latest|live)$")]
    pub against: Option<String>,
    /// Whether secrets are shown, which is recorded in the audit log; otherwise each reads `(hidden #1)`.
    pub show_secrets: Option<bool>,
}

/// What differs between two states of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiffDocument {
    /// The set.
    pub set: SetName,
    /// The id of a backup.
    pub before: String,
    /// The id of another, or `live`.
    pub after: String,
    /// The files that differ, by path.
    pub files: Vec<FileDiff>,
    /// How many more there are.
    pub more: usize,
}

/// What differs in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDiff {
    /// Its path below the set's source.
    pub path: String,
    /// What became of it.
    pub change: FileChange,
    /// How many secrets in it are hidden: `(hidden #1)` is the same one wherever it stands in this file.
    #[serde(default)]
    pub hidden: usize,
    /// In detail.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It was not there before.
    Added,
    /// It is not there after.
    Removed,
    /// Its content is another.
    Changed,
}
