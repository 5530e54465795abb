//! What is said of a backup: its kind, its state, its place in the order.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Orders the backups of one set; the clock never does. The first backup of a set has 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence of a set's first backup.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One unbroken history of a repository by one writer; the order of backups is `(timeline, sequence)`. The term and the
/// idea are PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(pub u32);

impl Timeline {
    /// The timeline that every repository begins on.
    pub const FIRST: Self = Self(1);
}

impl Default for Timeline {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// Its time had come.
    Scheduled,
    /// Somebody asked for it.
    Manual,
    /// The live files as they were before a restore replaced them: may be partial or empty, never `latest`.
    PreRestore,
}

impl BackupKind {
    /// Whether it is a version of the set, rather than its live files as they were before a restore.
    pub const fn is_version(self) -> bool {
        !matches!(self, Self::PreRestore)
    }

    /// The name used in manifests, metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::PreRestore => "pre_restore",
        }
    }
}

impl fmt::Display for BackupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of a backup's bytes and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    /// Bytes verified and content valid.
    Good,
    /// Intact, but some content is invalid (a `.json` file that does not parse): kept, never counted as good.
    Suspect,
    /// Not read back yet.
    Unverified,
    /// Something it needs is absent or wrong, and could not be healed.
    Damaged,
}

impl BackupState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Good, Self::Suspect, Self::Unverified, Self::Damaged];

    /// The name used in metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Suspect => "suspect",
            Self::Unverified => "unverified",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for BackupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
