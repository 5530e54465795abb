//! Which versions go when there are too many.
//!
//! Hazard: of hourly versions, the newest ten reach ten hours back, and whoever notices a mistake the next day finds
//! nothing from before it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Which versions go when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Those that are missed least: what is left is dense near now and reaches far back.
    Spread,
    /// The oldest.
    Newest,
}

impl Policy {
    /// The name used in settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Newest => "newest",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a text is not a policy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected spread or newest")]
pub struct PolicySyntax;

impl FromStr for Policy {
    type Err = PolicySyntax;

    fn from_str(text: &str) -> Result<Self, PolicySyntax> {
        [Self::Spread, Self::Newest].into_iter().find(|policy| policy.as_str() == text).ok_or(PolicySyntax)
    }
}
