//! Verifications, as documents.
//!
//! Hazard: what could not be read is no loss, and what is lost is no hiccup: a verdict tells them apart.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::core::{BackupId, SetName};

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VerifyOutcome {
    /// The backup.
    pub backup: BackupId,
    /// Its set.
    pub set: SetName,
    /// What was found.
    pub verdict: VerifyVerdict,
    /// What is absent or wrong.
    pub damages: Vec<DamageDocument>,
    /// What was absent or wrong, and is right again.
    #[serde(default)]
    pub healed: Vec<DamageDocument>,
    /// Why something could not be read, if so.
    pub unreadable: Option<String>,
    /// Bytes of content that were read.
    pub content_bytes: u64,
}

/// The sum of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerifyVerdict {
    /// Everything is as its hash says.
    Intact,
    /// Something is absent or wrong.
    Damaged,
    /// Something could not be read, which proves nothing.
    Unreadable,
}

/// A loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DamageDocument {
    /// A path in the repository, or of a file in the backup.
    pub place: String,
    /// What is wrong with it.
    pub fault: String,
}
