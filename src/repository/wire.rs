//! The documents of format 2, as they stand in files; those of format 1 are read into the same types. `FORMAT.md` is their law.
//!
//! Hazard: what is written here is read years later by programs we have not written yet. A field is never renamed,
//! never changes its meaning; new ones are optional.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::encryption::Fingerprint;
use crate::core::{
    BackupId, BackupKind, ChunkKey, Digest, EntryPath, Position, Sequence, SetName, Timeline, Timestamp,
};

/// The format that this program writes, and the newest that it reads.
pub const FORMAT: u32 = 2;

/// The first format. It is read for ever, and written no more.
pub const FORMAT_1: u32 = 1;

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
    /// Where the lines of the body are kept, if they are many; none: in the manifest itself.
    pub lines: Vec<Chunk>,
}

impl Manifest {
    /// Every chunk that it needs, as far as that can be read: those of its own lines first.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        self.lines.iter().chain(self.files().iter().flat_map(|file| &file.chunks))
    }

    /// Everything but directories, as far as it can be read.
    pub fn kept(&self) -> impl Iterator<Item = super::kept::Kept<'_>> {
        self.body.iter().flat_map(Body::kept)
    }

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
    /// The timeline that it was made on. Format 1 knows only the first.
    #[serde(default)]
    pub timeline: Timeline,
    /// Its place among the set's backups of that timeline.
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

impl Envelope {
    /// Its place in the order of its set.
    pub const fn position(&self) -> Position {
        Position { timeline: self.timeline, sequence: self.sequence }
    }
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
    /// Names the key that authenticates records there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Digest>,
}

/// The part of a manifest that says what was there: every entry once, each list ordered by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Plain files.
    pub files: Vec<FileEntry>,
    /// Directories.
    pub directories: Vec<DirectoryEntry>,
    /// Symlinks.
    pub symlinks: Vec<SymlinkEntry>,
    /// Further names of plain files.
    pub hard_links: Vec<HardLinkEntry>,
    /// Files that the set names and that were not there.
    pub missing: Vec<EntryPath>,
    /// What was there and is not kept.
    pub unreadable: Vec<UnreadableFile>,
}

impl Body {
    /// How many entries there are, of whatever kind.
    pub fn len(&self) -> usize {
        self.files.len()
            + self.directories.len()
            + self.symlinks.len()
            + self.hard_links.len()
            + self.missing.len()
            + self.unreadable.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The paths of all entries, kind by kind.
    pub fn paths(&self) -> impl Iterator<Item = &EntryPath> {
        let kept = self.files.iter().map(|entry| &entry.path);
        let kept = kept.chain(self.directories.iter().map(|entry| &entry.path));
        let kept = kept.chain(self.symlinks.iter().map(|entry| &entry.path));
        let kept = kept.chain(self.hard_links.iter().map(|entry| &entry.path));
        kept.chain(&self.missing).chain(self.unreadable.iter().map(|entry| &entry.path))
    }
}

/// What is kept of an entry beside its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// Its permission bits.
    #[serde(with = "octal")]
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The owner's name where it was captured, escaped as paths are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The group's name where it was captured, escaped as paths are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// When it was last modified.
    pub modified: Timestamp,
    /// Extended attributes, access control lists among them: name, escaped as paths are, to value in hexadecimal.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xattrs: BTreeMap<String, String>,
}

/// A plain file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its path below the set's source.
    pub path: EntryPath,
    /// Its length.
    pub size_bytes: u64,
    /// What is kept of it beside its content.
    pub attributes: Attributes,
    /// The SHA-256 of the whole file: what `sha256sum` prints for it.
    pub sha256: Digest,
    /// Why its content is not valid, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Of a log: what became of its last backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lineage: Option<Lineage>,
    /// Its content, in order. What lies between two of them, before the first or after the last, is a hole: it reads as
    /// zeros.
    pub chunks: Vec<Chunk>,
}

/// A directory in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntry {
    /// Its path below the set's source; [`SOURCE_ITSELF`] is the source.
    pub path: EntryPath,
    /// What is kept of it.
    pub attributes: Attributes,
}

/// The path of the directory entry that is the set's source itself.
pub const SOURCE_ITSELF: &str = ".";

/// A symlink in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymlinkEntry {
    /// Its path below the set's source.
    pub path: EntryPath,
    /// Where it points, escaped as paths are: text that no reader follows.
    pub target: String,
    /// What is kept of it. Its mode has no meaning.
    pub attributes: Attributes,
}

/// A further name of a plain file in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardLinkEntry {
    /// Its path below the set's source.
    pub path: EntryPath,
    /// The path of the file that it is: one that comes before it.
    pub to: EntryPath,
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
    /// Where it is in that, if the object is a pack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// Where it is in the file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub at: u64,
    /// Its length, before compression.
    pub size_bytes: u64,
    /// The BLAKE3 of its content: recognises content that is stored already. Not needed to restore.
    pub blake3: ChunkKey,
}

/// A zstd frame within a pack, which is first decrypted if it is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u32, u32)", into = "(u32, u32)")]
pub struct Frame {
    /// Where it begins.
    pub offset: u32,
    /// How many bytes it has.
    pub length: u32,
}

impl From<(u32, u32)> for Frame {
    fn from((offset, length): (u32, u32)) -> Self {
        Self { offset, length }
    }
}

impl From<Frame> for (u32, u32) {
    fn from(frame: Frame) -> Self {
        (frame.offset, frame.length)
    }
}

/// Something that was there and is not kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableFile {
    /// Its path below the set's source; with a slash at its end, of a directory whose content is not known.
    pub path: EntryPath,
    /// Why.
    pub reason: String,
}

/// Permission bits as people write them: `"0644"`.
pub(super) mod octal {
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
