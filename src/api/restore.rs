//! Restores, as documents.
//!
//! Hazard: a restore that cannot be undone. What was done comes with the way back.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::backups::SymlinkDocument;
use crate::core::{BackupId, Digest, SetName};

/// How to restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Whether files are restored whose extended attributes cannot be kept.
    #[serde(default)]
    pub ignore_xattrs: bool,
    /// Whether files are restored that do not parse.
    #[serde(default)]
    pub allow_invalid: bool,
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// The symlinks that are back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symlinks: Vec<SymlinkDocument>,
    /// Files that were removed again, as a safety backup that was restored says that they were not there.
    #[serde(default)]
    pub removed: Vec<String>,
    /// Files that are not back, and why.
    pub skipped: Vec<SkippedDocument>,
    /// Files that were replaced although they could not be backed up before, and why they could not.
    #[serde(default)]
    pub unsaved: Vec<SkippedDocument>,
    /// Live files of the set that the backup does not have: they are as they were.
    #[serde(default)]
    pub left_alone: Vec<String>,
    /// What was not kept of what is back, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<String>,
    /// The backup of the live files as they were before; absent if none was touched.
    pub safety_backup: Option<BackupId>,
    /// How to undo it: a command.
    pub undo: Option<String>,
    /// How to undo it: the same as a call of the API, its path and its body.
    #[serde(default)]
    pub undo_call: Option<String>,
}

/// A file that is back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RestoredDocument {
    /// Its path below the target.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// What `sha256sum` prints for it.
    pub sha256: Digest,
}

/// A file, and what there is to say of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkippedDocument {
    /// Its path.
    pub path: String,
    /// Why.
    pub reason: String,
}
