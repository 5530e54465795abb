//! The only code that touches repository bytes.
//!
//! Hazard: a file that is visible before it is durable is a lie after the next power cut. Whatever is published here
//! was written aside, synced, renamed into place, and its directory synced, before the call returned.

pub mod beneath;
#[cfg(feature = "chaos")]
pub mod chaos;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash_sweep;
pub mod disk;
pub mod faulty;
pub mod local;
mod path;
pub mod real_disk;
mod syncer;
pub mod vacant;

use std::io;

pub use path::{StoragePath, StoragePathError};

use crate::files::NotPlain;

/// A place that holds a repository. Every call blocks; all may be made from many threads at once.
pub trait Storage: Send + Sync + 'static {
    /// Writes `bytes` aside for `path`: neither durable nor visible yet.
    fn stage(&self, path: &StoragePath, bytes: &[u8]) -> Result<Staged, StorageError>;

    /// Makes all of these durable, then visible, then makes their visibility durable; in that order, with as few
    /// syncs as it takes. A path that exists already is left as it is and reported as [`Put::Existed`]: the answer has
    /// one entry a file, in order. After an error some may be visible; none is torn, and what was not published is gone.
    fn publish(&self, staged: Vec<Staged>) -> Result<Vec<Put>, StorageError>;

    /// Drops what was staged. Best effort: what remains is cleared by [`Storage::clear_temporary`].
    fn discard(&self, staged: Vec<Staged>);

    /// Publishes one file that must not exist yet.
    fn put_new(&self, path: &StoragePath, bytes: &[u8]) -> Result<Put, StorageError> {
        let staged = self.stage(path, bytes)?;
        let put = self.publish(vec![staged])?;
        Ok(put.first().copied().unwrap_or(Put::Existed))
    }

    /// Replaces `path` whole, or creates it. `Durable`: after a crash it is the old or the new one. `Lazy`
    /// overwrites in place and skips the syncs: after a kill the file may be torn, after a power cut also empty or old,
    /// so only what can be rebuilt, and carries a checksum, is written so.
    fn replace(&self, path: &StoragePath, bytes: &[u8], durability: Durability) -> Result<(), StorageError>;

    /// Moves whatever is at `path`, a file or anything else, to `aside`, where nothing may be yet, durably.
    fn set_aside(&self, path: &StoragePath, aside: &StoragePath) -> Result<(), StorageError>;

    /// The whole file; one of more than `limit_bytes` is refused ([`StorageErrorKind::TooLarge`]) without being read.
    fn read(&self, path: &StoragePath, limit_bytes: u64) -> Result<Vec<u8>, StorageError>;

    /// Bytes `offset..offset + length` of the file, fewer where it ends before.
    fn read_range(&self, path: &StoragePath, offset: u64, length: usize) -> Result<Vec<u8>, StorageError>;

    /// Lets go of what the system's page cache holds of a file, so that the next read is answered by the disk and not by
    /// memory that may be right where the disk is wrong. As far as the system goes along: pages that are not synced yet,
    /// or that somebody has mapped, stay; some filesystems (tmpfs, some network ones) know no difference; a drive may
    /// answer from a cache of its own. (`O_DIRECT` would be no stricter about the drive, fails on those filesystems, and
    /// wants aligned buffers.)
    fn drop_cache(&self, path: &StoragePath);

    /// The plain files directly in `directory`, temporary ones left out, in no order; none if there is no such directory.
    fn list(&self, directory: &StoragePath) -> Result<Vec<Listed>, StorageError>;

    /// The names of the directories directly in `directory`; none if there is no such directory.
    fn list_directories(&self, directory: &StoragePath) -> Result<Vec<String>, StorageError>;

    /// Removes these files and makes their absence durable. One that is absent already is no error.
    fn remove(&self, paths: &[StoragePath]) -> Result<(), StorageError> {
        self.remove_counted(paths, &mut Freed::default())
    }

    /// The same, and adds to `freed` what is gone by then: also after an error.
    fn remove_counted(&self, paths: &[StoragePath], freed: &mut Freed) -> Result<(), StorageError>;

    /// Creates the directory and those above it, durably. One that exists is no error.
    fn create_directory(&self, directory: &StoragePath) -> Result<(), StorageError>;

    /// Removes the temporary files that others left in `directory` or at the top, and returns how many. Also makes every
    /// name in `directory` durable: a process that was killed may have left some visible but not synced. It cannot tell
    /// the dead from the living, so it is for the repository's only writer, when it starts.
    fn clear_temporary(&self, directory: &StoragePath) -> Result<usize, StorageError>;

    /// Bytes that may still be written here.
    fn free_bytes(&self) -> Result<u64, StorageError>;

    /// Bytes that there are here, written or not.
    fn total_bytes(&self) -> Result<u64, StorageError>;

    /// Where this is, for messages: an absolute path or a URL.
    fn location(&self) -> String;
}

/// A file written aside, waiting for [`Storage::publish`].
#[must_use = "it stays a temporary file until it is published or discarded"]
#[derive(Debug)]
pub struct Staged {
    /// Where it will be.
    pub path: StoragePath,
    /// Where it is.
    temporary: String,
    /// How far its content is on its way to the disk.
    content: local::StagedContent,
}

/// What became of a published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now.
    Created,
    /// A file of that name was there, and was left as it is.
    Existed,
}

/// Whether a replacement must survive a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Synced before the call returns.
    Durable,
    /// Not synced: for what can be rebuilt.
    Lazy,
}

/// Files that were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// How many.
    pub files: usize,
    /// The bytes that were in them.
    pub bytes: u64,
}

impl std::ops::AddAssign for Freed {
    fn add_assign(&mut self, more: Self) {
        self.files += more.files;
        self.bytes += more.bytes;
    }
}

/// A file in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, without the directory. Names that are not valid storage segments are not listed.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
}

/// What kind of failure it was, as far as callers act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// No such file.
    NotFound,
    /// Permission denied.
    Denied,
    /// The filesystem is read-only.
    ReadOnly,
    /// No space, or no quota, left.
    NoSpace,
    /// The file is larger than the caller can accept.
    TooLarge,
    /// Not what is expected there: a symlink, a directory, a device.
    WrongType,
    /// Anything else, EIO and ESTALE among them: it may be different next time.
    Io,
}

/// A storage operation that failed: what was tried, where, and why.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}")]
pub struct StorageError {
    /// What was tried, a bare verb.
    pub action: &'static str,
    /// Where, in full.
    pub path: String,
    /// The kind of failure.
    pub kind: StorageErrorKind,
    /// The operating system's word.
    #[source]
    pub source: io::Error,
}

impl StorageError {
    /// The failure of `action` at `path`, its kind told from `source`.
    pub fn new(action: &'static str, path: impl Into<String>, source: io::Error) -> Self {
        Self { action, path: path.into(), kind: StorageErrorKind::of(&source), source }
    }
}

impl StorageErrorKind {
    /// What an operator does about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Denied => "chmod 755 the backup directory, and see that all in it belongs to who runs this",
            Self::ReadOnly => "mount its filesystem writable",
            Self::NoSpace => "free space on its disk",
            Self::WrongType => "something else is in its place: move that away",
            Self::NotFound => "make the directory that it is in, or name another in FIOVANA_BACKUP_DIRECTORY",
            Self::TooLarge | Self::Io => "see what is wrong with its disk",
        }
    }

    /// The kind of an operating-system error.
    pub fn of(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied => Self::Denied,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::FileTooLarge => Self::TooLarge,
            io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => Self::WrongType,
            _ if NotPlain::of(error).is_some() => Self::WrongType,
            // Where the kind has no stable name: a symlink that was not to be followed.
            _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => Self::WrongType,
            _ => Self::Io,
        }
    }
}
