//! The journal of a restore: what is about to be done to live files, said before it is done.
//!
//! Hazard: a process that dies among several renames leaves files of two times, and nobody knows which are which. One
//! small file in the source directory lists every change and is durable before the first; whoever starts next reads it
//! and brings all files to one side. What it says is obeyed, so it is believed only if nobody but this user can have
//! written it, its hash is right, and nothing it names can lie elsewhere.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::core::entry_path::{is_safe_text, path_of};
use crate::core::{BackupId, Digest, SetName};
use crate::pipeline::stage::STAGED_PREFIX;
use crate::storage::StorageErrorKind;
use crate::storage::disk::Disk;

const VERSION: u32 = 1;
const JOURNAL: &str = "journal-";
const MAX_JOURNAL_BYTES: u64 = 64 << 20;
/// Permission to write, for the group and everybody else.
const OTHERS_WRITE: u32 = 0o022;
/// The longest identifier or name in a journal.
const MAX_WORD_BYTES: usize = 256;

/// The files that a restore changes, and how to tell what it is a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journal {
    version: u32,
    /// The repository whose service restores; only that one settles what is left of it.
    pub repository: String,
    /// The set.
    pub set: SetName,
    /// What ties the restore to its audit records.
    pub correlation_id: String,
    /// Who asked for it.
    pub principal: String,
    /// Names what lies beside the targets.
    pub token: Token,
    /// Whether the new files are to stay.
    pub committed: bool,
    /// Where the new files come from.
    pub backups: Vec<BackupId>,
    /// The files as they were before.
    pub safety_backup: BackupId,
    /// The changes, by target.
    pub changes: Vec<Change>,
    /// The directories that were made for them, each after those that it is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub directories: Vec<String>,
}

/// What happens to one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its path below the source directory.
    pub target: String,
    /// The hash of the new file; none: it is removed.
    pub new: Option<Digest>,
    /// Whether there was a file.
    pub replaces: bool,
    /// The hash of the earlier file, as far as it could be read.
    pub old: Option<Digest>,
    /// How much of the earlier file that is the hash of, where the rest may have grown since; all of it if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_bytes: Option<u64>,
}

/// What the names of one restore's files have in common: eight digits of the repository, and sixteen of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// A token that no restore had before.
    pub fn new(repository: &str) -> Self {
        Self(format!("{}{:016x}", owner(repository), fastrand::u64(..)))
    }

    /// The name, beside its target, of new file number `number`.
    pub fn new_name(&self, number: usize) -> String {
        format!("{STAGED_PREFIX}{}-{number}.new", self.0)
    }

    fn old_name(&self, number: usize) -> String {
        format!("{STAGED_PREFIX}{}-{number}.old", self.0)
    }

    /// Never cleared: it is somebody's file.
    fn spare_name(&self, number: usize) -> String {
        format!("{STAGED_PREFIX}{}-{number}.changed", self.0)
    }

    fn draft_name(&self) -> String {
        format!("{STAGED_PREFIX}{}.new", self.0)
    }

    fn is_plain(&self) -> bool {
        self.0.len() == 24 && self.0.bytes().all(|byte| byte.is_ascii_alphanumeric())
    }
}

fn owner(repository: &str) -> String {
    format!("{:0<8.8}", repository)
}

/// Whether a file of this name was staged by a service of this repository, and waits to be put in place.
pub fn is_staged_by(repository: &str, name: &str) -> bool {
    let rest = name.strip_prefix(STAGED_PREFIX).and_then(|rest| rest.strip_suffix(".new"));
    rest.is_some_and(|rest| rest.starts_with(&owner(repository)) && !rest.starts_with(JOURNAL))
}

/// The name of a set's journal in its source directory.
pub fn journal_name(set: &SetName) -> String {
    format!("{STAGED_PREFIX}{JOURNAL}{set}.json")
}

/// Why a journal says nothing.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read just now.
    #[error("read it")]
    Io(#[from] io::Error),
    /// It is not what was written.
    #[error("{0}")]
    Damaged(&'static str),
    /// Somebody else may have written it.
    #[error("user number {owner} owns it, or others may write it")]
    Distrusted {
        /// Whose it is.
        owner: u32,
    },
}

impl Journal {
    /// A journal of no change yet.
    pub fn new(
        repository: &str,
        set: &SetName,
        (correlation_id, principal): (&str, &str),
        backups: Vec<BackupId>,
        safety_backup: BackupId,
        token: Token,
    ) -> Self {
        Self {
            version: VERSION,
            repository: repository.to_owned(),
            set: set.clone(),
            correlation_id: correlation_id.to_owned(),
            principal: principal.to_owned(),
            token,
            committed: false,
            backups,
            safety_backup,
            changes: vec![],
            directories: vec![],
        }
    }

    /// Where the new file of a change waits.
    pub fn new_path(&self, number: usize) -> PathBuf {
        path_of(&self.changes[number].target).with_file_name(self.token.new_name(number))
    }

    /// Where the earlier file of a change is kept.
    pub fn old_path(&self, number: usize) -> PathBuf {
        path_of(&self.changes[number].target).with_file_name(self.token.old_name(number))
    }

    /// Where a file is kept that somebody else wrote to the target of a change, if no better name is free.
    pub fn spare_path(&self, number: usize) -> PathBuf {
        path_of(&self.changes[number].target).with_file_name(self.token.spare_name(number))
    }

    /// Where the journal itself is.
    pub fn path(&self) -> PathBuf {
        journal_name(&self.set).into()
    }

    /// Where it is written before it is put there.
    pub fn draft_path(&self) -> PathBuf {
        self.token.draft_name().into()
    }

    /// Writes it, whole and synced, beside its place.
    pub fn write_draft(&self, disk: &dyn Disk) -> io::Result<()> {
        let document = serde_json::to_vec(self)?;
        let mut file = disk.create(&self.draft_path(), 0o600)?;
        let sealed = [format!("{}\n", Digest::of(&document)).as_bytes(), &document, b"\n"].concat();
        file.write_all(&sealed)?;
        file.sync()
    }

    /// Reads the journal of this name, as user number `me`.
    pub fn read(disk: &dyn Disk, name: &str, me: u32) -> Result<Self, JournalError> {
        let (found, bytes) = match disk.read_known(Path::new(name), MAX_JOURNAL_BYTES) {
            Err(error)
                if matches!(StorageErrorKind::of(&error), StorageErrorKind::WrongType | StorageErrorKind::TooLarge) =>
            {
                return Err(JournalError::Damaged("it is no plain file of a journal's size"));
            }
            read => read?,
        };
        match () {
            () if found.uid != me => Err(JournalError::Distrusted { owner: found.uid }),
            () if found.mode & OTHERS_WRITE != 0 || found.links != 1 => Err(JournalError::Distrusted { owner: me }),
            () => Self::parse(&bytes, name).map_err(JournalError::Damaged),
        }
    }

    fn parse(bytes: &[u8], name: &str) -> Result<Self, &'static str> {
        let (seal, document) = bytes.split_at_checked(65).ok_or("it is cut short")?;
        let document = document.strip_suffix(b"\n").ok_or("it is cut short")?;
        if seal != format!("{}\n", Digest::of(document)).as_bytes() {
            return Err("its hash is not that of what it says");
        }
        let journal: Self = serde_json::from_slice(document).map_err(|_| "it is of another version")?;
        let sound = journal.version == VERSION
            && journal_name(&journal.set) == name
            && journal.token.is_plain()
            && [&journal.repository, &journal.correlation_id, &journal.principal].into_iter().all(|word| is_word(word))
            && journal.changes.iter().all(|change| is_safe_text(&change.target))
            && journal.directories.iter().all(|path| is_safe_text(path));
        if sound { Ok(journal) } else { Err("it says what no journal says") }
    }
}

/// Whether a word may stand in a log: short, and of printable ASCII.
fn is_word(word: &str) -> bool {
    word.len() <= MAX_WORD_BYTES && word.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// The names of the journals in a source directory.
pub fn journals_in(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let is_journal = |name: &String| name.strip_prefix(STAGED_PREFIX).is_some_and(|rest| rest.starts_with(JOURNAL));
    Ok(disk.list(Path::new(""))?.into_iter().map(|entry| entry.name).filter(is_journal).collect())
}
