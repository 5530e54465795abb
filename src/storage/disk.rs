//! What a filesystem does, and no more: the operations whose order decides what survives a crash.
//!
//! Hazard: a protocol of writes, syncs and renames is right only if it is right after *each* of them. It is written
//! once against this trait, runs on the real disk, and is tested on a simulated one that crashes anywhere.

use crate::core::Timestamp;
use std::io;
use std::path::{Path, PathBuf};

/// A directory tree. Paths are relative to its root; no symlink is followed on the way, and nothing leads outside.
pub trait Disk: Send + Sync + 'static {
    /// Creates a new, empty file with these permission bits, less the process's umask; `AlreadyExists` if there is
    /// anything of that name.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file that is there this content and no other. Not atomic: a crash, and at a full disk this call itself,
    /// leaves any mixture of the old and the new.
    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Makes a file's content durable.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable; the root is the empty path.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Renames; `AlreadyExists` if there is anything at `to`.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames, replacing the file at `to`.
    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Swaps what is at two names in one step; `Unsupported` where the filesystem cannot.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Gives a file a second name; `AlreadyExists` if there is anything at `to`. Not every filesystem can, nor every user
    /// for every file. Renaming one of a file's names over another of them does nothing (rename(2)).
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates a symlink to `target`, whatever that is; `AlreadyExists` if there is anything of that name. Durable with its
    /// name. What is returned changes the symlink itself, and has no content of its own.
    fn symlink(&self, target: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// The target of a symlink.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;

    /// Creates one directory; `AlreadyExists` if there is anything of that name.
    fn create_directory(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Removes a directory with nothing in it.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;

    /// A directory that is there, to change what it is like. It has no content.
    fn open_directory(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Reads into `buffer` from `offset` until it is full or the file ends; returns how many bytes it read.
    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// What is known of a plain file, and all its bytes, by one descriptor; `FileTooLarge` beyond `limit_bytes`.
    fn read_known(&self, path: &Path, limit_bytes: u64) -> io::Result<(DiskMetadata, Vec<u8>)>;

    /// Lets go of what memory holds of a file's durable content, so that it is read from the medium next. No promise:
    /// see [`Storage::drop_cache`](super::Storage::drop_cache).
    fn drop_cache(&self, path: &Path);

    /// What is at `path`; a symlink is reported as such.
    fn metadata(&self, path: &Path) -> io::Result<DiskMetadata>;

    /// What is in a directory; the root is the empty path.
    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>>;

    /// Bytes that an ordinary user may still write.
    fn free_bytes(&self) -> io::Result<u64>;

    /// Bytes that the filesystem has, written or not.
    fn total_bytes(&self) -> io::Result<u64>;
}

/// A new file being written, or a directory or a symlink being changed.
pub trait DiskFile: Send {
    /// Appends all of `bytes`.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Appends so many zeros, as a hole where the filesystem has holes.
    fn skip(&mut self, length: u64) -> io::Result<()>;

    /// Sets owner and group. Order matters: this may clear set-id bits, so it comes before the mode.
    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()>;

    /// Sets the permission bits.
    fn set_mode(&mut self, mode: u32) -> io::Result<()>;

    /// Sets the modification time; whether the filesystem keeps exactly that one.
    fn set_modified(&mut self, modified: Timestamp) -> io::Result<bool>;

    /// Sets an extended attribute.
    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> io::Result<()>;

    /// Removes an extended attribute; that there is none is no error.
    fn remove_xattr(&mut self, name: &[u8]) -> io::Result<()>;

    /// Makes content and metadata durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskKind {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// A device, socket or pipe.
    Other,
}

/// What is known of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskMetadata {
    /// What it is.
    pub kind: DiskKind,
    /// The content's length; 0 for anything but files.
    pub size_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// How many names it has.
    pub links: u64,
    /// Which file it is.
    pub file: FileId,
}

/// Device and inode: the same for two names of one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileId {
    /// The number of the filesystem.
    pub device: u64,
    /// The number of the file there.
    pub inode: u64,
}

/// An entry of a directory. Names that are not UTF-8 are passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskEntry {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DiskKind,
    /// The content's length; 0 for anything but files.
    pub size_bytes: u64,
}
