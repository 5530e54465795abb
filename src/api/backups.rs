//! Backups, as documents.
//!
//! Hazard: an unreadable manifest must not hide a backup: what only it can tell is optional here.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::core::{BackupId, BackupKind, BackupRef, BackupState, Digest, SetName};

/// A backup, without its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupSummary {
    /// Its id.
    pub id: BackupId,
    /// Its set.
    pub set: SetName,
    /// Its place among the set's backups; absent if its manifest cannot be read.
    pub sequence: Option<u64>,
    /// Why it was made; absent if its manifest cannot be read.
    pub kind: Option<BackupKind>,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// What is known of it.
    pub state: BackupState,
    /// What is wrong with it, if anything is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// When it was last found intact.
    pub verified: Option<DateTime<Utc>>,
    /// Whether retention leaves it alone.
    pub pinned: bool,
    /// Whether all files stood still together while they were read.
    pub consistent: bool,
    /// Bytes of its files.
    pub size_bytes: u64,
    /// Bytes of its objects, shared ones counted in full.
    pub stored_bytes: u64,
    /// Fingerprints of the keys that open it; none: it is not encrypted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
}

/// A backup with its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupDetails {
    /// All but the files.
    #[serde(flatten)]
    pub summary: BackupSummary,
    /// The full SHA-256 of its manifest file; absent if that cannot be read.
    pub manifest_sha256: Option<Digest>,
    /// Its files, by path.
    pub files: Vec<FileDocument>,
    /// Its directories, by path; `.` is the set's source.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<DirectoryDocument>,
    /// Its symlinks, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symlinks: Vec<SymlinkDocument>,
    /// Files that the set names and that were not there, and patterns that matched none.
    pub missing: Vec<String>,
    /// Files of the set that could not be read.
    pub unreadable: Vec<UnreadableDocument>,
    /// Files that the backup before it has and this one lacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fewer: Vec<String>,
}

/// A file of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FileDocument {
    /// Its path below the set's source.
    pub path: String,
    /// The file of the backup that it is a further name of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hard_link_to: Option<String>,
    /// Its length.
    pub size_bytes: u64,
    /// What `sha256sum` prints for it.
    pub sha256: Digest,
    /// Permission bits in octal: `0644`.
    pub mode: String,
    /// When its content was last modified.
    pub modified: DateTime<Utc>,
    /// Why its content is not valid, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectoryDocument {
    /// Its path below the set's source.
    pub path: String,
    /// Permission bits in octal: `0755`.
    pub mode: String,
}

/// A symlink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SymlinkDocument {
    /// Its path below the set's source.
    pub path: String,
    /// Where it points, escaped as paths are.
    pub target: String,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UnreadableDocument {
    /// Its path below the set's source.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// Backups, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupList {
    /// A page of them.
    pub backups: Vec<BackupSummary>,
    /// The id to give as `after` for the next page; absent on the last.
    pub next: Option<BackupId>,
}

/// Which backups to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only this set's.
    #[param(inline, value_type = Option<SetName>)]
    pub set: Option<String>,
    /// At most so many: 1 to 1000; 100 if not given.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
    /// Only those after this one in the list.
    #[param(inline, value_type = Option<BackupRef>)]
    pub after: Option<String>,
}

/// The most backups on one page.
pub const MAX_LIST: usize = 1000;
