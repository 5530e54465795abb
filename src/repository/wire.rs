//! The documents of format 1, as they stand in files. `FORMAT.md` is their law.
//!
//! Hazard: what is written here is read years later by programs we have not written yet. A field is never renamed,
//! never changes its meaning; new ones are optional.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::encryption::Fingerprint;
use crate::core::{BackupId, BackupKind, ChunkKey, Digest, Sequence, SetName};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// `repository.json`: written last when a repository is created; without it there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryDocument {
    /// The format of everything below.
    pub format: u32,
    /// 32 random hexadecimal digits that name this repository.
    pub id: String,
    /// When it was created.
    pub created: DateTime<Utc>,
}

/// A manifest: the document that *is* a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What is needed to list, keep, copy and check the backup: names no file, shows no content.
    pub envelope: Envelope,
    /// The files; `None` where they are encrypted and no identity opens them.
    pub body: Option<Body>,
}

impl Manifest {
    /// The files, as far as they can be read: for whoever gains by each it knows, and loses nothing by the others.
    pub fn files(&self) -> &[FileEntry] {
        self.body.as_ref().map_or(&[], |body| &body.files)
    }
}

/// The part of a manifest that stays readable without a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The format of this document.
    pub format: u32,
    /// The set that was backed up.
    pub set: SetName,
    /// Its place among the set's backups.
    pub sequence: Sequence,
    /// When it was made, as the clock told it.
    pub created: DateTime<Utc>,
    /// Whether the clock was in doubt then.
    pub clock_suspect: bool,
    /// Why it was made.
    pub kind: BackupKind,
    /// Whether all files stood still together while they were read.
    pub consistent: bool,
    /// Whether all content was valid when it was captured.
    pub valid: bool,
    /// Bytes of all files, as they are restored.
    pub size_bytes: u64,
    /// Bytes of all objects, as they are stored; shared ones are counted in full.
    pub stored_bytes: u64,
    /// Every object it needs, each once.
    pub objects: Vec<ObjectReference>,
    /// The head of the audit chain when it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_head: Option<AuditHead>,
    /// Fingerprints of the keys that open it; none: it is not encrypted.
    pub recipients: Vec<Fingerprint>,
    /// Of an encrypted backup: one more than that of the one before wherever a file of that one is not in this one, or may not be. The
    /// newest good backup of each generation has the newest good copy of some file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An object that a backup needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectReference {
    /// The SHA-256 of its stored bytes: its name.
    pub name: Digest,
    /// How many bytes are stored.
    pub stored_bytes: u64,
}

/// Where the audit chain stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// The last record's number.
    pub seq: u64,
    /// The SHA-256 of its line.
    pub hash: Digest,
}

/// The part of a manifest that says what was backed up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// The files, ordered by path, each path once.
    pub files: Vec<FileEntry>,
    /// Files that the set names and that were not there.
    pub missing: Vec<String>,
    /// Files that were there and could not be read.
    pub unreadable: Vec<UnreadableFile>,
}

/// A file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path below the set's source, with `/` between segments.
    pub path: String,
    /// Its length.
    pub size_bytes: u64,
    /// Its permission bits.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// When its content was last modified, to the nanosecond.
    pub modified: DateTime<Utc>,
    /// Extended attributes: name to value in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
    /// The SHA-256 of the whole file: what `sha256sum` prints for it.
    pub sha256: Digest,
    /// Why its content is not valid, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Of a log: what became of its last backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// Its content, in order.
    pub chunks: Vec<Chunk>,
}

/// What became of the last backup of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// That backup.
    pub previous: BackupId,
    /// What became of it.
    pub is: Continuation,
}

/// How a log relates to its last backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Continuation {
    /// The log begins with all of it.
    Appended,
    /// Another file begins with all of it: the log was rotated, by renaming or copying.
    Rotated,
    /// Rotation put another segment in its place, and dropped it.
    Expired,
    /// It may be in a compressed file beside the log.
    Unproven,
    /// It is nowhere: the log was rewritten.
    Rewritten,
    /// A word of a later version.
    #[serde(other)]
    Unknown,
}

/// A piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The object that holds it.
    pub object: Digest,
    /// Its length, before compression.
    pub size_bytes: u64,
    /// The BLAKE3 of its content: recognises content that is stored already. Not needed to restore.
    pub blake3: ChunkKey,
}

/// A file that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableFile {
    /// Its path below the set's source.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// `manifests/<set>/pruned.json`: the sequences that were deleted on purpose, as ranges. Written before anything is
/// deleted, so that a missing sequence that is not in here is a loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrunedDocument {
    /// The format of this document.
    pub format: u32,
    /// The set.
    pub set: SetName,
    /// Inclusive ranges of sequences, ascending, not touching each other.
    pub pruned: Vec<(Sequence, Sequence)>,
    /// When versions that are still there were superseded, by sequence, as far as those that superseded them are pruned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub superseded: BTreeMap<Sequence, DateTime<Utc>>,
}

/// Permission bits as people write them: `"0644"`.
mod octal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(mode: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{mode:04o}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(mode),
            _ => Err(D::Error::custom("expected permission bits in octal")),
        }
    }
}
