//! A set's source directory, and the files of it that belong to the set.
//!
//! Hazard: whoever can plant a symlink below the source could have any file of the machine copied into a backup.
//! Every path is opened beneath the source with no symlink followed (openat2(2), `RESOLVE_BENEATH`).

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, statat};
use rustix::io::Errno;

use super::stage::STAGED_PREFIX;
use crate::settings::FilePatterns;

/// The most files that a set may have, and the deepest directory that patterns look into.
const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 32;

/// Why a set's files could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source directory cannot be opened.
    #[error("open the source directory {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// The source directory is a symlink, or no directory.
    #[error("the source {} is not a directory, or is a symlink: name the directory itself", .0.display())]
    NotADirectory(PathBuf),
    /// A file of the set is no plain file.
    #[error("{} is {what}: only plain files are backed up, and no symlink is followed", .path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file of the set has a name that no document can hold.
    #[error("{} has a name that is not valid UTF-8: rename it", .0.display())]
    NotUtf8(PathBuf),
    /// The patterns match too much.
    #[error("the set has more than {MAX_FILES} files in {}: narrow its patterns", .0.display())]
    TooMany(PathBuf),
}

/// What tells that a file has not changed: its place, its size and its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The filesystem.
    pub device: u64,
    /// The file on it.
    pub inode: u64,
    /// Its length.
    pub size_bytes: u64,
    /// When its content changed, in nanoseconds since the Unix epoch.
    pub modified_nanoseconds: i64,
    /// When anything about it changed, likewise; no program can set it.
    pub changed_nanoseconds: i64,
}

/// What is known of a plain file before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Tells it from any other state of any file.
    pub identity: Identity,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What is at the path of a file of the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A plain file.
    File(Look),
    /// Nothing.
    Missing,
    /// Something that cannot be looked at: why.
    Unreadable(String),
}

/// Whether this path of something that could not be read is a directory's, whose files nobody knows.
pub fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}

/// An open source directory.
#[derive(Debug)]
pub struct SourceDirectory {
    directory: OwnedFd,
    path: PathBuf,
}

impl SourceDirectory {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory, path: path.to_owned() }),
            Err(Errno::NOTDIR | Errno::LOOP) => Err(SourceError::NotADirectory(path.to_owned())),
            Err(error) => Err(SourceError::Directory(path.to_owned(), error.into())),
        }
    }

    /// Looks at every file of the set: those it names, and those its patterns match, by path; and at directories that they
    /// reach and that cannot be looked into, by paths with a slash at their end ([`is_directory`]).
    pub fn look(&self, files: &FilePatterns) -> Result<BTreeMap<String, Found>, SourceError> {
        let mut found = BTreeMap::new();
        for name in files.literals() {
            found.insert(name.to_owned(), self.look_at(name)?);
        }
        // A file that is spelt like a glob is that file.
        for name in files.globs().iter().filter(|name| !files.is_excluded(name)) {
            match self.look_at(name)? {
                Found::Missing => {}
                is_there => drop(found.insert(name.clone(), is_there)),
            }
        }
        if files.has_globs() {
            self.walk("", 0, files, &mut found)?;
        }
        Ok(found)
    }

    /// Looks at one file.
    pub fn look_at(&self, path: &str) -> Result<Found, SourceError> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match self.open_beneath(path, flags) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(Found::Missing),
            Err(Errno::LOOP | Errno::XDEV) => {
                return Err(self.wrong(path, "reached by a symlink"));
            }
            Err(Errno::NOTDIR) => return Err(self.wrong(path, "inside something that is no directory")),
            Err(error) => return Ok(Found::Unreadable(io::Error::from(error).to_string())),
        };
        match rustix::fs::fstat(&file) {
            Ok(stat) => self.plain(path, &stat).map(Found::File),
            Err(error) => Ok(Found::Unreadable(io::Error::from(error).to_string())),
        }
    }

    /// Opens one file for reading, and looks at what was opened.
    pub fn open_file(&self, path: &str) -> Result<io::Result<(File, Look)>, SourceError> {
        // Not blocking, should it have turned into a pipe meanwhile.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = self.open_beneath(path, flags).and_then(|file| Ok((rustix::fs::fstat(&file)?, file)));
        match opened {
            Ok((stat, file)) => Ok(Ok((File::from(file), self.plain(path, &stat)?))),
            Err(Errno::LOOP) => Err(self.wrong(path, "a symlink")),
            Err(error) => Ok(Err(error.into())),
        }
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // With NO_SYMLINKS a symlink in the last place is refused as well, unless O_PATH and O_NOFOLLOW ask for itself.
        loop {
            match rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }

    fn plain(&self, path: &str, stat: &rustix::fs::Stat) -> Result<Look, SourceError> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(look_of(stat)),
            FileType::Symlink => Err(self.wrong(path, "a symlink")),
            FileType::Directory => Err(self.wrong(path, "a directory")),
            _ => Err(self.wrong(path, "a device, a pipe or a socket")),
        }
    }

    fn wrong(&self, path: &str, what: &'static str) -> SourceError {
        SourceError::WrongType { path: self.path.join(path), what }
    }

    /// Collects what the patterns find in `directory`, a path with a slash at its end unless it is the source itself, and
    /// below. What they may reach and cannot be looked into is found, too: what is below it is not backed up, and that must
    /// not go unsaid.
    fn walk(
        &self,
        directory: &str,
        depth: usize,
        files: &FilePatterns,
        found: &mut BTreeMap<String, Found>,
    ) -> Result<(), SourceError> {
        let entries = match self.entries(directory) {
            Ok(entries) => entries,
            // Gone, or another, since it was seen: the second look will tell.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) if directory.is_empty() => {
                return Err(SourceError::Directory(self.path.clone(), error.into()));
            }
            Err(error) => {
                found.insert(directory.to_owned(), Found::Unreadable(io::Error::from(error).to_string()));
                return Ok(());
            }
        };
        for (name, kind) in entries {
            let Ok(name) = name.to_str() else {
                let shown = format!("{directory}{}", name.to_string_lossy());
                if kind == FileType::Directory && files.may_reach_into(&shown) || files.is_match(&shown) {
                    return Err(SourceError::NotUtf8(
                        self.path.join(directory).join(OsStr::from_bytes(name.to_bytes())),
                    ));
                }
                continue;
            };
            let path = format!("{directory}{name}");
            let is_reached = || files.may_reach_into(&path);
            match kind {
                FileType::Directory if is_reached() && depth < MAX_DEPTH => {
                    self.walk(&format!("{path}/"), depth + 1, files, found)?;
                }
                FileType::Directory if is_reached() => {
                    let why = format!("more than {MAX_DEPTH} directories deep: make a set of its own of it");
                    found.insert(format!("{path}/"), Found::Unreadable(why));
                }
                FileType::Directory => {}
                _ if files.is_match(&path) => {
                    let at = self.look_at(&path)?;
                    found.entry(path).or_insert(at);
                }
                FileType::Symlink if is_reached() && self.leads_to_a_directory(&path) => {
                    let why = "a symlink to a directory, and none is followed: name the directory itself".to_owned();
                    found.insert(format!("{path}/"), Found::Unreadable(why));
                }
                _ => {}
            }
            if found.len() > MAX_FILES {
                return Err(SourceError::TooMany(self.path.clone()));
            }
        }
        Ok(())
    }

    /// What is in a directory, but for what a restore has left there.
    fn entries(&self, directory: &str) -> rustix::io::Result<Vec<(CString, FileType)>> {
        let place = if directory.is_empty() { "." } else { directory };
        let opened =
            self.open_beneath(place, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC)?;
        let mut entries = Vec::new();
        for entry in rustix::fs::Dir::read_from(&opened)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") || name.to_bytes().starts_with(STAGED_PREFIX.as_bytes()) {
                continue;
            }
            let kind = match entry.file_type() {
                // Not every filesystem tells.
                FileType::Unknown => match statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error),
                },
                kind => kind,
            };
            entries.push((name.to_owned(), kind));
        }
        Ok(entries)
    }

    fn leads_to_a_directory(&self, path: &str) -> bool {
        let target = statat(&self.directory, path, AtFlags::empty());
        target.is_ok_and(|target| FileType::from_raw_mode(target.st_mode) == FileType::Directory)
    }
}

/// What an open file is like now.
pub fn look_again(file: &File) -> io::Result<Look> {
    Ok(look_of(&rustix::fs::fstat(file)?))
}

fn look_of(stat: &rustix::fs::Stat) -> Look {
    let nanoseconds = |seconds: i64, rest: u64| seconds.saturating_mul(1_000_000_000).saturating_add_unsigned(rest);
    Look {
        identity: Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified_nanoseconds: nanoseconds(stat.st_mtime, stat.st_mtime_nsec),
            changed_nanoseconds: nanoseconds(stat.st_ctime, stat.st_ctime_nsec),
        },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
    }
}

/// The kernel's time of the last tick: a file changed from now on gets no earlier time of change.
pub fn tick_nanoseconds() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}
