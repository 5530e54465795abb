//! Restores, as documents.
//!
//! Hazard: a restore that cannot be undone. What was done comes with the way back.

use serde::{Deserialize, Serialize};

use crate::core::{BackupId, Digest, SetName};

/// How to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreOptions {
    /// Only this file.
    #[serde(default)]
    pub file: Option<String>,
    /// Only these files, and `file` if that is given too.
    #[serde(default)]
    pub files: Vec<String>,
    /// Whether live logs may be replaced.
    #[serde(default)]
    pub replace_logs: bool,
    /// Whether files are restored whose owner cannot be kept.
    #[serde(default)]
    pub ignore_ownership: bool,
}

impl RestoreOptions {
    /// The files asked for; `None` if none is named: all.
    pub fn paths(&self) -> Option<Vec<String>> {
        let mut paths = self.files.clone();
        paths.extend(self.file.clone());
        paths.sort_unstable();
        paths.dedup();
        (!paths.is_empty()).then_some(paths)
    }
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreOutcome {
    /// The set.
    pub set: SetName,
    /// The backup that was restored; the newest, if files came from several.
    pub backup: BackupId,
    /// Every backup that files came from.
    #[serde(default)]
    pub backups: Vec<BackupId>,
    /// Where the files are now.
    pub target: String,
    /// The files that are back.
    pub restored: Vec<RestoredDocument>,
    /// Files of the backup that were left alone.
    pub skipped: Vec<SkippedDocument>,
    /// The backup of the live files as they were before, if there were any.
    pub safety_backup: Option<BackupId>,
    /// How to undo it.
    pub undo: Option<String>,
}

/// A file that is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredDocument {
    /// Its path below the target.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// What `sha256sum` prints for it.
    pub sha256: Digest,
}

/// A file that was left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedDocument {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}
