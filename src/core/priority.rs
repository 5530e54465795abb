//! How much a backup set matters.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The priority of a set. Orders the work: `Critical` is the least, so it sorts, and goes, first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackupPriority {
    /// Without it the application does not start safely.
    Critical,
    /// Without it users lose their work environment.
    High,
    /// Records: wanted, not needed to run.
    Medium,
    /// Nice to have.
    Low,
}

impl BackupPriority {
    /// Every priority, most important first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// The name used in settings, metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl fmt::Display for BackupPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not a priority.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected critical, high, medium or low")]
pub struct PrioritySyntax;

impl FromStr for BackupPriority {
    type Err = PrioritySyntax;

    fn from_str(text: &str) -> Result<Self, PrioritySyntax> {
        Self::ALL.into_iter().find(|p| p.as_str() == text).ok_or(PrioritySyntax)
    }
}
