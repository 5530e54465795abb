//! The operating system's filesystem.
//!
//! Hazard: a path that is resolved twice may lead to two places. Nothing here ever follows a symlink or leaves the
//! directory it was opened on.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self as sys, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::beneath::Root;
use super::disk::{Disk, DiskEntry, DiskFile, DiskKind, DiskMetadata, FileId};
use crate::core::Timestamp;

/// A directory of the real filesystem and what is beneath it.
pub struct RealDisk {
    root: Root,
}

impl RealDisk {
    /// Holds the directory `root` open; it must exist. If it is renamed afterwards, this disk goes with it.
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: Root::open(root)? })
    }

    /// A directory that is open already.
    pub fn of(root: OwnedFd) -> Self {
        Self { root: Root::of(root) }
    }

    /// As [`RealDisk::open`], resolving paths as on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn open_walking(root: &Path) -> io::Result<Self> {
        Ok(Self { root: Root::open(root)?.walking() })
    }

    /// Opens for reading. `NONBLOCK`, or a pipe put in the way would hold us until somebody writes to it.
    fn open_to_read(&self, path: &Path) -> io::Result<File> {
        let file = self.root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())?;
        match kind_of(&sys::fstat(&file)?) {
            DiskKind::File => Ok(File::from(file)),
            DiskKind::Directory => Err(Errno::ISDIR.into()),
            DiskKind::Symlink | DiskKind::Other => Err(io::Error::new(io::ErrorKind::IsADirectory, "not a plain file")),
        }
    }

    fn open_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        Ok(self.root.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?)
    }
}

impl Disk for RealDisk {
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        may_die_here();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        Ok(Box::new(RealFile(self.root.open_at(path, flags, Mode::from_raw_mode(mode))?.into())))
    }

    fn overwrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        may_die_here();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = File::from(self.root.open_at(path, flags, Mode::empty())?);
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.write_all_at(bytes, 0)?;
        // Truncated only where it must be: a file that was truncated to nothing is written out at once by ext4.
        if found.len() > bytes.len() as u64 { file.set_len(bytes.len() as u64) } else { Ok(()) }
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        may_die_here();
        self.open_to_read(path)?.sync_all()
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        may_die_here();
        Ok(sys::fsync(self.open_directory(path)?)?)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        may_die_here();
        let (from_directory, from) = self.root.open_parent(from)?;
        let (to_directory, to) = self.root.open_parent(to)?;
        match sys::renameat_with(&from_directory, from, &to_directory, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => link_and_unlink(&from_directory, from, &to_directory, to),
            renamed => Ok(renamed?),
        }
    }

    fn rename_over(&self, from: &Path, to: &Path) -> io::Result<()> {
        may_die_here();
        let (from_directory, from) = self.root.open_parent(from)?;
        let (to_directory, to) = self.root.open_parent(to)?;
        Ok(sys::renameat(&from_directory, from, &to_directory, to)?)
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        may_die_here();
        let (one_directory, one) = self.root.open_parent(one)?;
        let (other_directory, other) = self.root.open_parent(other)?;
        match sys::renameat_with(&one_directory, one, &other_directory, other, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Err(io::ErrorKind::Unsupported.into()),
            exchanged => Ok(exchanged?),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        may_die_here();
        let (from_directory, from) = self.root.open_parent(from)?;
        let (to_directory, to) = self.root.open_parent(to)?;
        Ok(sys::linkat(&from_directory, from, &to_directory, to, AtFlags::empty())?)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        may_die_here();
        let (directory, name) = self.root.open_parent(path)?;
        Ok(sys::unlinkat(&directory, name, AtFlags::empty())?)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        may_die_here();
        let (directory, name) = self.root.open_parent(path)?;
        sys::symlinkat(target, &directory, name)?;
        Ok(Box::new(RealSymlink { directory, name: name.to_owned() }))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let link = self.root.open_at(path, OFlags::PATH, Mode::empty())?;
        let target = sys::readlinkat(&link, "", Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(target.into_bytes())))
    }

    fn create_directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        may_die_here();
        let (directory, name) = self.root.open_parent(path)?;
        Ok(sys::mkdirat(&directory, name, Mode::from_raw_mode(mode))?)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        may_die_here();
        let (directory, name) = self.root.open_parent(path)?;
        Ok(sys::unlinkat(&directory, name, AtFlags::REMOVEDIR)?)
    }

    fn open_directory(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(RealDisk::open_directory(self, path)?.into())))
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = self.open_to_read(path)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match file.read_at(&mut buffer[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn read_known(&self, path: &Path, limit_bytes: u64) -> io::Result<(DiskMetadata, Vec<u8>)> {
        let file = self.open_to_read(path)?;
        let mut bytes = Vec::new();
        (&file).take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok((metadata_of(&sys::fstat(&file)?), bytes))
    }

    fn drop_cache(&self, path: &Path) {
        // Whatever is wrong with it, reading it will say.
        if let Ok(file) = self.open_to_read(path) {
            let _ = sys::fadvise(file, 0, None, sys::Advice::DontNeed);
        }
    }

    fn metadata(&self, path: &Path) -> io::Result<DiskMetadata> {
        Ok(metadata_of(&sys::fstat(self.root.open_at(path, OFlags::PATH, Mode::empty())?)?))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let directory = self.open_directory(path)?;
        let mut entries = Vec::new();
        for entry in sys::Dir::read_from(&directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if matches!(name, "." | "..") {
                continue;
            }
            match sys::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    let kind = kind_of(&stat);
                    entries.push(DiskEntry { name: name.to_owned(), kind, size_bytes: size_of(kind, &stat) });
                }
                Err(Errno::NOENT) => {} // removed since
                Err(error) => return Err(error.into()),
            }
        }
        Ok(entries)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let filesystem = sys::fstatvfs(self.root.directory())?;
        Ok(filesystem.f_bavail.saturating_mul(filesystem.f_frsize))
    }

    fn total_bytes(&self) -> io::Result<u64> {
        let filesystem = sys::fstatvfs(self.root.directory())?;
        Ok(filesystem.f_blocks.saturating_mul(filesystem.f_frsize))
    }
}

/// `rename_new` on filesystems without `RENAME_NOREPLACE`: `linkat` refuses an existing name just as well. It takes two
/// steps, so a crash between them leaves the file under both names, whole; the first one is then a leftover.
fn link_and_unlink(
    from_directory: &OwnedFd,
    from: &std::ffi::OsStr,
    to_directory: &OwnedFd,
    to: &std::ffi::OsStr,
) -> io::Result<()> {
    sys::linkat(from_directory, from, to_directory, to, AtFlags::empty())?;
    Ok(sys::unlinkat(from_directory, from, AtFlags::empty())?)
}

fn metadata_of(stat: &Stat) -> DiskMetadata {
    let kind = kind_of(stat);
    DiskMetadata {
        kind,
        size_bytes: size_of(kind, stat),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: stat.st_nlink,
        file: FileId { device: stat.st_dev, inode: stat.st_ino },
    }
}

fn kind_of(stat: &Stat) -> DiskKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => DiskKind::File,
        FileType::Directory => DiskKind::Directory,
        FileType::Symlink => DiskKind::Symlink,
        _ => DiskKind::Other,
    }
}

fn size_of(kind: DiskKind, stat: &Stat) -> u64 {
    if kind == DiskKind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 }
}

/// Before each operation that changes something: where a crash test ends the process.
fn may_die_here() {
    #[cfg(feature = "chaos")]
    super::chaos::operation();
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        may_die_here();
        self.0.write_all(bytes)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        may_die_here();
        let end = self.0.stream_position()?.saturating_add(length);
        self.0.set_len(end)?;
        self.0.seek(SeekFrom::Start(end)).map(drop)
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        Ok(sys::fchown(&self.0, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    fn set_mode(&mut self, mode: u32) -> io::Result<()> {
        Ok(sys::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    fn set_modified(&mut self, modified: Timestamp) -> io::Result<bool> {
        sys::futimens(&self.0, &modified_at(modified))?;
        Ok(is_modified_at(&sys::fstat(&self.0)?, modified))
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(sys::fsetxattr(&self.0, name, value, sys::XattrFlags::empty())?)
    }

    fn remove_xattr(&mut self, name: &[u8]) -> io::Result<()> {
        match sys::fremovexattr(&self.0, name) {
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
            removed => Ok(removed?),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        may_die_here();
        self.0.sync_all()
    }
}

/// A symlink, named in the directory that it is in.
struct RealSymlink {
    directory: OwnedFd,
    name: OsString,
}

impl DiskFile for RealSymlink {
    fn write_all(&mut self, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn skip(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_owner(&mut self, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        Ok(sys::chownat(&self.directory, &self.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn set_mode(&mut self, _: u32) -> io::Result<()> {
        Ok(())
    }

    fn set_modified(&mut self, modified: Timestamp) -> io::Result<bool> {
        let times = modified_at(modified);
        sys::utimensat(&self.directory, &self.name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(is_modified_at(&sys::statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW)?, modified))
    }

    fn set_xattr(&mut self, _: &[u8], _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn remove_xattr(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_modified_at(stat: &Stat, modified: Timestamp) -> bool {
    (stat.st_mtime, u64::from(modified.nanoseconds())) == (modified.seconds(), stat.st_mtime_nsec)
}

fn modified_at(modified: Timestamp) -> Timestamps {
    let last_modification = Timespec { tv_sec: modified.seconds(), tv_nsec: modified.nanoseconds().into() };
    Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: sys::UTIME_OMIT }, last_modification }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::ReadWriteFlags;

    /// Whether reading the file would be answered from memory; `None` if this filesystem does not tell.
    fn is_cached(path: &Path) -> Option<bool> {
        let file = File::open(path).unwrap();
        let mut buffer = [0; 1];
        let buffers = &mut [io::IoSliceMut::new(&mut buffer)];
        match rustix::io::preadv2(&file, buffers, 0, ReadWriteFlags::NOWAIT) {
            Ok(read) => Some(read == 1),
            Err(Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    #[test]
    fn after_its_cache_was_dropped_a_synced_file_is_read_from_the_medium() {
        let scratch = tempfile::TempDir::new().unwrap();
        let path = scratch.path().join("f");
        let disk = RealDisk::open(scratch.path()).unwrap();
        let mut file = disk.create(Path::new("f"), 0o600).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        file.sync().unwrap();
        const TMPFS: i64 = 0x0102_1994;
        if is_cached(&path) != Some(true) || sys::statfs(scratch.path()).unwrap().f_type == TMPFS {
            return; // nothing to see on this filesystem
        }
        // The kernel passes over pages that it has in hand for something else just now.
        let dropped = (0..1000).any(|_| {
            disk.drop_cache(Path::new("f"));
            is_cached(&path) == Some(false)
        });
        assert!(dropped);
        let mut buffer = [0; 1];
        assert_eq!((disk.read_at(Path::new("f"), 99_999, &mut buffer).unwrap(), buffer), (1, [7]));
        disk.drop_cache(Path::new("absent"));
    }

    #[test]
    fn without_the_flag_a_rename_still_refuses_an_existing_name() {
        let scratch = tempfile::TempDir::new().unwrap();
        let disk = RealDisk::open(scratch.path()).unwrap();
        for name in ["a", "b"] {
            disk.create(Path::new(name), 0o600).unwrap().write_all(name.as_bytes()).unwrap();
        }
        let directory = disk.root.directory();
        let rename = |to: &str| link_and_unlink(directory, "a".as_ref(), directory, to.as_ref());
        assert_eq!(rename("b").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(disk.list(Path::new("")).unwrap().len(), 2);
        rename("c").unwrap();
        let mut buffer = [0; 2];
        assert_eq!((disk.read_at(Path::new("c"), 0, &mut buffer).unwrap(), buffer), (1, [b'a', 0]));
        assert_eq!(disk.metadata(Path::new("a")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
