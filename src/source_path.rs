//! Where a set's files are, and the way there.
//!
//! Hazard: whoever can change a directory above a source can put a link, or a directory of their own, in its place; a
//! service that runs as root then backs up, or replaces, files that are not the set's.
//!
//! The path is resolved once, when the settings are loaded. A link on the way counts only if root or the user of this
//! service owns it. From then on the source is that place: each use walks there anew, one directory after the other,
//! every one opened beneath the one before and never by way of a link that the kernel follows; whether each can be
//! trusted is judged ([`core::trust`](crate::core::trust)) by what was opened. What is opened in the end is used by its
//! descriptor, so that nothing which is moved afterwards leads elsewhere.
//!
//! The source itself may belong to anybody, and anybody may write in it: what is beneath it is opened beneath it, with no
//! link followed, so a stranger there can change what is backed up and what is restored of the set, and nothing else.

mod judgement;
mod walk;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, Gid, Mode, OFlags, Uid, fchown, fstat, fsync, mkdirat, openat};
use rustix::io::Errno;

use judgement::{Judge, fault_of};
use walk::{HANDLE, Stop, Way};

/// A directory opened to read it.
const READ: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The path of a source, as it was written and as it was resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePath {
    written: PathBuf,
    real: PathBuf,
    trusts_parents: bool,
    /// Whose links and directories count as this service's.
    user: u32,
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourcePathError {
    /// It is not there, or cannot be reached.
    #[error("open the source directory {}", .source_path.display())]
    Io {
        /// The source.
        source_path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("the source {} is not a directory{}", .source_path.display(), at(.source_path, .place))]
    NotADirectory {
        /// The source.
        source_path: PathBuf,
        /// What is no directory: the source, or something above it.
        place: PathBuf,
    },
    /// A link on the way is a stranger's.
    #[error(
        "the source {} leads through the link {}, which belongs to {owner}: links count only if root or the user of this \
         service owns them; name the directory that is meant, or chown -h the link",
        .source_path.display(), .link.display()
    )]
    StrangersLink {
        /// The source.
        source_path: PathBuf,
        /// The link.
        link: PathBuf,
        /// Whose it is.
        owner: String,
    },
    /// A link leads elsewhere than it did.
    #[error(
        "the source {} leads to {} now, and led to {} when the settings were loaded: reload the settings if that is meant",
        .source_path.display(), .now.display(), .before.display()
    )]
    Moved {
        /// The source.
        source_path: PathBuf,
        /// Where it led.
        before: PathBuf,
        /// Where it leads.
        now: PathBuf,
    },
    /// A stranger could put something else in its place.
    #[error(
        "the source {} is not safe: {} {fault}, so that something else could be put in its place: {remedy}, or say \
         trust_parents = true in the set's section",
        .source_path.display(), .place.display()
    )]
    Untrusted {
        /// The source.
        source_path: PathBuf,
        /// The directory that is to blame.
        place: PathBuf,
        /// Whose it is, or who can write there, with its owner and mode.
        fault: String,
        /// What to do about it.
        remedy: String,
    },
}

fn at(source: &Path, place: &Path) -> String {
    if source == place { String::new() } else { format!(": {} is none", place.display()) }
}

impl SourcePathError {
    /// Whether there is nothing where the source should be.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether what is there is not believed, whatever it is.
    pub fn is_distrust(&self) -> bool {
        matches!(self, Self::StrangersLink { .. } | Self::Moved { .. } | Self::Untrusted { .. })
    }
}

/// A source directory that was reached safely, held open.
#[derive(Debug)]
pub struct OpenSource {
    directory: OwnedFd,
    path: PathBuf,
}

impl OpenSource {
    /// Where it was when it was opened, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same directory once more.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { directory: self.directory.try_clone()?, path: self.path.clone() })
    }

    /// The path by which this process, and one that it starts, reaches this very directory while it is open.
    pub fn path_by_descriptor(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.directory.as_raw_fd()).into()
    }
}

impl AsFd for OpenSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl From<OpenSource> for OwnedFd {
    fn from(source: OpenSource) -> Self {
        source.directory
    }
}

impl SourcePath {
    /// Resolves an absolute path, as far as there is something to resolve. What is wrong with it, each use says.
    pub fn find(written: PathBuf, trusts_parents: bool) -> Self {
        Self { written, real: PathBuf::new(), trusts_parents, user: 0 }.seen_by(rustix::process::geteuid().as_raw())
    }

    /// The same as a service of another user finds it.
    pub fn seen_by(self, user: u32) -> Self {
        let real = Way::walk(&self.written, &Judge::new(user, self.trusts_parents)).real();
        Self { real, user, ..self }
    }

    /// As it was written, made absolute.
    pub fn written(&self) -> &Path {
        &self.written
    }

    /// Where it leads.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Whether strangers may change what is above it.
    pub const fn trusts_parents(&self) -> bool {
        self.trusts_parents
    }

    /// Whether it may be used, as far as it is there.
    pub fn check(&self) -> Result<(), SourcePathError> {
        match self.open() {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Opens the directory.
    pub fn open(&self) -> Result<OpenSource, SourcePathError> {
        let way = self.way()?;
        let reached = if way.stop.is_none() { way.into_reached() } else { None };
        let directory = reached.ok_or_else(|| self.failed(Errno::NOENT.into()))?;
        Ok(OpenSource { directory, path: self.real.clone() })
    }

    /// Opens the directory, or, while it is not there, the nearest one above it, in which it would be made.
    pub fn open_nearest(&self) -> Result<OpenSource, SourcePathError> {
        let way = self.way()?;
        let path = way.path();
        let directory = way.into_reached().ok_or_else(|| self.failed(Errno::NOENT.into()))?;
        Ok(OpenSource { directory, path })
    }

    /// Opens the directory, and makes it first if it is not there. What root makes belongs to the owner of the directory
    /// that it is made in, as if that user had made it.
    pub fn open_or_make(&self) -> Result<OpenSource, SourcePathError> {
        let way = self.way()?;
        if way.stop.is_some() {
            self.make(&way).map_err(|error| self.failed(error))?;
        }
        self.open()
    }

    fn make(&self, way: &Way) -> io::Result<()> {
        let mut above = way.reached().try_clone_to_owned()?;
        for name in &way.rest {
            let is_new = match mkdirat(&above, name, Mode::from_raw_mode(0o700)) {
                Err(Errno::EXIST) => false,
                made => made.map(|()| true)?,
            };
            let directory = openat(&above, name, HANDLE, Mode::empty())?;
            if is_new && rustix::process::geteuid().is_root() {
                let owner = fstat(&above)?;
                give_away(&directory, Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid))?;
            }
            // The name is durable with the directory that it is in; one that cannot be read cannot be synced.
            if let Ok(named) = openat(&above, ".", READ, Mode::empty()) {
                fsync(named)?;
            }
            above = directory;
        }
        Ok(())
    }

    /// The way there, which can be trusted, to its end or to where nothing is yet.
    fn way(&self) -> Result<Way, SourcePathError> {
        let judge = Judge::new(self.user, self.trusts_parents);
        let way = Way::walk(&self.written, &judge);
        let source_path = || self.real.clone();
        match &way.stop {
            None | Some(Stop::Missing) => {}
            Some(Stop::StrangersLink { link, owner }) => {
                let (link, owner) = (link.clone(), judge.accounts().user(*owner));
                return Err(SourcePathError::StrangersLink { source_path: self.written.clone(), link, owner });
            }
            Some(Stop::NotADirectory(place)) => {
                return Err(SourcePathError::NotADirectory { source_path: source_path(), place: place.clone() });
            }
            Some(Stop::Failed(errno)) => return Err(self.failed((*errno).into())),
        }
        if let Some(fault) = fault_of(&way, &judge) {
            return Err(SourcePathError::Untrusted {
                source_path: self.written.clone(),
                place: fault.place,
                fault: fault.what,
                remedy: fault.remedy,
            });
        }
        let now = way.real();
        if now == self.real {
            return Ok(way);
        }
        Err(SourcePathError::Moved { source_path: self.written.clone(), before: source_path(), now })
    }

    fn failed(&self, source: io::Error) -> SourcePathError {
        SourcePathError::Io { source_path: self.real.clone(), source }
    }
}

/// Gives a directory of root's own away that is empty: if its name meant another one meanwhile, nothing is lost with it.
fn give_away(directory: &OwnedFd, user: Uid, group: Gid) -> io::Result<()> {
    let directory = openat(directory, ".", READ, Mode::empty())?;
    let is_entry = |entry: &rustix::fs::DirEntry| !matches!(entry.file_name().to_bytes(), b"." | b"..");
    let mut entries = Dir::read_from(&directory)?;
    let is_empty = !entries.any(|entry| entry.is_ok_and(|entry| is_entry(&entry)));
    if is_empty && fstat(&directory)?.st_uid == 0 {
        fchown(&directory, Some(user), Some(group))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
