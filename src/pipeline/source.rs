//! A set's source directory, and the files of it that belong to the set.
//!
//! Hazard: whoever can plant a symlink below the source could have any file of the machine copied into a backup.
//! Every path is opened beneath the source with no symlink followed (openat2(2), `RESOLVE_BENEATH`); the source itself, as
//! [`crate::source_path`] says. A symlink that a pattern matches is kept as what it is; one that the set names stands for what
//! it leads to, beneath the source ([`follow`]).

mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, statat};
use rustix::io::Errno;

use super::stage::STAGED_PREFIX;
use crate::core::Timestamp;
use crate::core::entry_path::{bytes_of, escape, path_of};
use crate::repository::wire::SOURCE_ITSELF;
use crate::settings::FilePatterns;
use crate::source_path::{OpenSource, SourcePath, SourcePathError};
use crate::storage::beneath::Root;

/// The most files that a set may have, and the deepest directory that patterns look into.
const MAX_FILES: usize = 100_000;
const MAX_DEPTH: usize = 32;

/// Why a set's files could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source directory cannot be opened, or must not be.
    #[error(transparent)]
    Path(#[from] SourcePathError),
    /// The source directory cannot be read.
    #[error("read the source directory {}", .0.display())]
    Directory(PathBuf, #[source] io::Error),
    /// A file of the set is no plain file.
    #[error("{} is {what}, not a plain file", .path.display())]
    WrongType {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
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
    /// When its content changed.
    pub modified: Timestamp,
    /// When anything about it changed; no program can set it.
    pub changed: Timestamp,
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
    /// How many names it has.
    pub links: u64,
}

/// What is at the path of a file of the set. Paths are the text of [`crate::core::EntryPath`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A plain file.
    File(Look),
    /// A symlink, and its target, escaped as paths are.
    Symlink(Look, String),
    /// A directory: one that a pattern matches, or that what is kept is in. The path of the source itself is
    /// [`SOURCE_ITSELF`].
    Directory(Look),
    /// Nothing.
    Missing,
    /// Something that cannot be looked at, or is of a kind that is not backed up: why.
    Unreadable(String),
    /// Nothing that has the content of the file that the set names: what is there instead.
    NoContent(String),
}

/// Whether this path of something that could not be read is a directory's, whose files nobody knows.
pub fn is_directory(path: &str) -> bool {
    path.ends_with('/')
}

/// A path, given as text, as patterns see it: what is no UTF-8 has a replacement character.
pub fn plain(path: &str) -> String {
    String::from_utf8_lossy(&bytes_of(path)).into_owned()
}

/// An open source directory.
pub struct SourceDirectory {
    beneath: Root,
    path: PathBuf,
}

impl SourceDirectory {
    /// Opens it.
    pub fn open(path: &SourcePath) -> Result<Self, SourceError> {
        Ok(Self::of(path.open()?))
    }

    /// What is open already.
    pub fn of(source: OpenSource) -> Self {
        let path = source.path().to_owned();
        Self { beneath: Root::of(source.into()), path }
    }

    /// Looks at every file of the set: those it names, with the links that lead to them, and those its patterns match, by
    /// path; and at directories that they reach and that cannot be looked into, by paths with a slash at their end
    /// ([`is_directory`]).
    pub fn look(&self, files: &FilePatterns) -> Result<BTreeMap<String, Found>, SourceError> {
        let mut found = BTreeMap::new();
        for name in files.literal_paths() {
            if files.is_exact() {
                let at = self.look_at_any(&name);
                found.insert(name, at);
            } else {
                self.find_named(name, &mut found);
            }
        }
        // A file that is spelt like a glob is that file.
        for name in files.globs().iter().filter(|name| !files.is_excluded(name)) {
            let name = escape(name.as_bytes());
            if self.look_at(&name) != Found::Missing {
                self.find_named(name, &mut found);
            }
        }
        if files.has_globs() {
            self.walk("", 0, files, &mut found)?;
        }
        self.add_directories(&mut found);
        Ok(found)
    }

    /// Adds the directories that what is kept is in.
    fn add_directories(&self, found: &mut BTreeMap<String, Found>) {
        let kept =
            found.iter().filter(|(_, at)| matches!(at, Found::File(_) | Found::Symlink(..) | Found::Directory(_)));
        let above = |path: &str| path.match_indices('/').map(|(end, _)| path[..end].to_owned()).collect::<Vec<_>>();
        let mut directories: BTreeSet<String> = kept.flat_map(|(path, _)| above(path)).collect();
        if !found.is_empty() {
            directories.insert(SOURCE_ITSELF.to_owned());
        }
        for directory in directories {
            if let Some(look) = self.look_at_directory(&directory) {
                found.entry(directory).or_insert(Found::Directory(look));
            }
        }
    }

    fn look_at_directory(&self, path: &str) -> Option<Look> {
        let opened = self.open_directory(path, OFlags::PATH).ok()?;
        Some(look_of(&rustix::fs::fstat(opened).ok()?))
    }

    /// Opens a directory of the set, or the source itself.
    fn open_directory(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path == SOURCE_ITSELF { "" } else { path };
        self.open_beneath(path, OFlags::DIRECTORY | flags)
    }

    /// Opens a directory of the set for reading what is kept of it; `None` if that may not be read.
    pub fn open_to_read(&self, path: &str) -> Option<File> {
        self.open_directory(path, OFlags::RDONLY).ok().map(File::from)
    }

    /// Looks at a file that the set names.
    fn find_named(&self, name: String, found: &mut BTreeMap<String, Found>) {
        match self.follow(&name) {
            Ok(reached) => {
                found.extend(reached.links);
                found.insert(reached.path, reached.at);
            }
            Err(instead) => drop(found.insert(name, Found::NoContent(format!("missing content: {instead}")))),
        }
    }

    /// Looks at what is at a path, and follows no link.
    pub fn look_at(&self, path: &str) -> Found {
        let unreadable = |error: Errno| Found::Unreadable(io::Error::from(error).to_string());
        let file = match self.open_beneath(path, OFlags::PATH) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Found::Missing,
            Err(Errno::LOOP | Errno::XDEV) => return Found::NoContent("reached by a symlink".into()),
            Err(Errno::NOTDIR) => return Found::NoContent("inside something that is no directory".into()),
            Err(error) => return unreadable(error),
        };
        let stat = match rustix::fs::fstat(&file) {
            Ok(stat) => stat,
            Err(error) => return unreadable(error),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Found::File(look_of(&stat)),
            FileType::Symlink => match rustix::fs::readlinkat(&file, "", Vec::new()) {
                Ok(target) => Found::Symlink(look_of(&stat), escape(target.to_bytes())),
                Err(error) => unreadable(error),
            },
            kind => Found::NoContent(what_is(kind).into()),
        }
    }

    /// The same where no file is expected: what is none is not backed up.
    fn look_at_any(&self, path: &str) -> Found {
        match self.look_at(path) {
            Found::NoContent(what) => Found::Unreadable(format!("{what}, which is not backed up")),
            at => at,
        }
    }

    /// Looks at a file that the set names: where it is after all links, and what is there.
    pub fn look_at_named(&self, path: &str) -> (String, Found) {
        match self.follow(path) {
            Ok(reached) => (reached.path, reached.at),
            Err(instead) => (path.to_owned(), Found::NoContent(instead)),
        }
    }

    /// Opens one file for reading, and looks at what was opened.
    pub fn open_file(&self, path: &str) -> Result<io::Result<(File, Look)>, SourceError> {
        // Not blocking, should it have turned into a pipe meanwhile.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = self.open_beneath(path, flags).and_then(|file| Ok((rustix::fs::fstat(&file)?, file)));
        match opened {
            Ok((stat, file)) => Ok(Ok((File::from(file), self.plain(path, &stat)?))),
            Err(Errno::LOOP) => Err(self.wrong(path, what_is(FileType::Symlink))),
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// The filesystem the source is on, if it stamps every change of a file: a local one on a disk. Memory, overlays, FUSE and
    /// network filesystems do not, or not in time.
    pub fn honest_device(&self) -> Option<u64> {
        // statfs(2): ext2 to ext4, XFS, btrfs, F2FS, ZFS, bcachefs.
        const HONEST: [u64; 6] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x2fc1_2fc1, 0xca45_1a4e];
        let filesystem = rustix::fs::fstatfs(self.beneath.directory()).ok()?;
        #[allow(clippy::unnecessary_cast, reason = "its type differs between architectures")]
        let magic = u64::from(filesystem.f_type as u32);
        HONEST
            .contains(&magic)
            .then(|| rustix::fs::fstat(self.beneath.directory()).ok())
            .flatten()
            .map(|stat| stat.st_dev)
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.beneath.open_at(&path_of(path), flags, Mode::empty())
    }

    fn plain(&self, path: &str, stat: &rustix::fs::Stat) -> Result<Look, SourceError> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(look_of(stat)),
            kind => Err(self.wrong(path, what_is(kind))),
        }
    }

    fn wrong(&self, path: &str, what: &'static str) -> SourceError {
        SourceError::WrongType { path: self.path.join(path_of(path)), what }
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
            let path = format!("{directory}{}", escape(name.to_bytes()));
            let plain = plain(&path);
            let is_reached = || files.may_reach_into(&plain);
            match kind {
                FileType::Directory if is_reached() && depth < MAX_DEPTH => {
                    if files.is_match(&plain)
                        && let Some(look) = self.look_at_directory(&path)
                    {
                        found.insert(path.clone(), Found::Directory(look));
                    }
                    self.walk(&format!("{path}/"), depth + 1, files, found)?;
                }
                FileType::Directory if is_reached() => {
                    let why = format!("more than {MAX_DEPTH} directories deep: make a set of its own of it");
                    found.insert(format!("{path}/"), Found::Unreadable(why));
                }
                FileType::Directory if files.is_match(&plain) => {
                    found.extend(self.look_at_directory(&path).map(|look| (path, Found::Directory(look))));
                }
                FileType::Directory => {}
                _ if files.is_match(&plain) => {
                    let at = self.look_at_any(&path);
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
        let opened = self.open_beneath(directory, OFlags::DIRECTORY | OFlags::RDONLY)?;
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
        let target = statat(self.beneath.directory(), path_of(path), AtFlags::empty());
        target.is_ok_and(|target| FileType::from_raw_mode(target.st_mode) == FileType::Directory)
    }
}

/// What a file that is no plain one is called.
const fn what_is(kind: FileType) -> &'static str {
    match kind {
        FileType::Symlink => "a symlink",
        FileType::Directory => "a directory",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        _ => "a device",
    }
}

/// What an open file is like now.
pub fn look_again(file: &File) -> io::Result<Look> {
    Ok(look_of(&rustix::fs::fstat(file)?))
}

fn look_of(stat: &rustix::fs::Stat) -> Look {
    Look {
        identity: Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime, stat.st_mtime_nsec),
            changed: time(stat.st_ctime, stat.st_ctime_nsec),
        },
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        links: stat.st_nlink,
    }
}

/// A time of the kernel, whose nanoseconds are always below a second.
fn time(seconds: i64, nanoseconds: u64) -> Timestamp {
    u32::try_from(nanoseconds).ok().and_then(|rest| Timestamp::new(seconds, rest)).unwrap_or_default()
}

/// The kernel's time of the last tick: a file changed from now on gets no earlier time of change.
pub fn tick() -> Timestamp {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    time(now.tv_sec, u64::try_from(now.tv_nsec).unwrap_or(0))
}
