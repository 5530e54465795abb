//! Walking a path, one directory after the other.
//!
//! Hazard: between a look at a path and its use, each name on it may come to mean something else. Here every directory is
//! opened beneath the one that was opened before it, and looked at by its descriptor; a link is read, never followed by
//! the kernel.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat};
use rustix::io::{Errno, retry_on_intr};

use super::judgement::Judge;
use crate::core::trust::{Directory, Step};

/// As many links as Linux follows (path_resolution(7)), and more directories than any path that is meant has.
const MOST_LINKS: usize = 40;
const MOST_DIRECTORIES: usize = 256;

/// A directory opened to look at it and to open what is in it; with `DIRECTORY` what is to be mounted there is mounted.
pub(super) const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How far a path led.
pub(super) struct Way {
    /// The directories from the root directory to the one that was reached, by name.
    reached: Vec<Reached>,
    /// Every directory that something was looked up in, in order.
    pub(super) steps: Vec<(PathBuf, Step)>,
    /// What is left of the path, if it did not lead to its end.
    pub(super) rest: Vec<OsString>,
    /// Why it did not.
    pub(super) stop: Option<Stop>,
}

struct Reached {
    name: OsString,
    descriptor: OwnedFd,
    directory: Directory,
}

/// Why a path led no further.
pub(super) enum Stop {
    /// There is nothing of the next name.
    Missing,
    /// What is there is no directory.
    NotADirectory(PathBuf),
    /// It is a link that does not count.
    StrangersLink { link: PathBuf, owner: u32 },
    /// It cannot be looked at.
    Failed(Errno),
}

/// What is left to do: a name to look up, or one directory up, or back to the root directory.
enum Piece {
    Name(OsString),
    Up,
    Root,
}

/// What a name is.
enum Named {
    Directory(OwnedFd, Stat),
    Link(OwnedFd, Stat),
    Other,
}

impl Way {
    /// Walks an absolute path. It always ends somewhere.
    pub(super) fn walk(path: &Path, judge: &Judge) -> Self {
        let mut way = Self { reached: vec![], steps: vec![], rest: vec![], stop: None };
        let mut pieces = pieces(path);
        let mut links = 0;
        let opened = retry_on_intr(|| openat(CWD, "/", HANDLE, Mode::empty())).and_then(|root| {
            let stat = fstat(&root)?;
            Ok((root, stat))
        });
        match opened {
            Ok((root, stat)) => way.enter(OsString::new(), root, &stat, judge),
            Err(errno) => way.stop = Some(Stop::Failed(errno)),
        }
        while way.stop.is_none()
            && let Some(piece) = pieces.pop_front()
        {
            match piece {
                Piece::Root => way.reached.truncate(1),
                Piece::Up if way.reached.len() > 1 => drop(way.reached.pop()),
                Piece::Up => {}
                Piece::Name(name) => match way.advance(&name, judge, &mut links) {
                    Ok(None) => {}
                    Ok(Some(target)) => {
                        for piece in self::pieces(&target).into_iter().rev() {
                            pieces.push_front(piece);
                        }
                    }
                    Err(stop) => {
                        way.stop = Some(stop);
                        pieces.push_front(Piece::Name(name));
                    }
                },
            }
        }
        way.rest = plain(pieces);
        way
    }

    /// The path without links, as far as it led, and what is left of it.
    pub(super) fn real(&self) -> PathBuf {
        let mut path = self.path();
        path.extend(&self.rest);
        path
    }

    /// The directory that was reached.
    pub(super) fn reached(&self) -> BorrowedFd<'_> {
        self.reached.last().map_or(CWD, |last| last.descriptor.as_fd())
    }

    /// The same to keep; of a way to its end.
    pub(super) fn into_reached(mut self) -> Option<OwnedFd> {
        Some(self.reached.pop()?.descriptor)
    }

    /// Whose the directory is that was reached.
    pub(super) fn owner(&self) -> Option<u32> {
        Some(self.reached.last()?.directory.uid)
    }

    /// Its path.
    pub(super) fn path(&self) -> PathBuf {
        Path::new("/").join(self.reached.iter().skip(1).map(|reached| &reached.name).collect::<PathBuf>())
    }

    fn enter(&mut self, name: OsString, descriptor: OwnedFd, stat: &Stat, judge: &Judge) {
        let directory = judge.look(descriptor.as_fd(), stat, self.reached.is_empty());
        self.reached.push(Reached { name, descriptor, directory });
    }

    /// Goes into the directory of this name; or tells where the link of this name leads.
    fn advance(&mut self, name: &OsStr, judge: &Judge, links: &mut usize) -> Result<Option<PathBuf>, Stop> {
        let Some(last) = self.reached.last() else { return Err(Stop::Failed(Errno::NOENT)) };
        let (directory, place) = (last.directory.clone(), self.path());
        let named = open(last.descriptor.as_fd(), name);
        let next = match &named {
            Ok(Named::Directory(_, stat) | Named::Link(_, stat)) => Some(stat.st_uid),
            _ => None,
        };
        self.steps.push((place.clone(), Step { directory, next }));
        match named {
            Ok(Named::Directory(..)) if self.reached.len() > MOST_DIRECTORIES => Err(Stop::Failed(Errno::NAMETOOLONG)),
            Ok(Named::Directory(descriptor, stat)) => {
                self.enter(name.to_owned(), descriptor, &stat, judge);
                Ok(None)
            }
            Ok(Named::Link(link, stat)) => {
                *links += 1;
                if *links > MOST_LINKS {
                    return Err(Stop::Failed(Errno::LOOP));
                }
                if !judge.counts(stat.st_uid) {
                    return Err(Stop::StrangersLink { link: place.join(name), owner: stat.st_uid });
                }
                let target = readlinkat(&link, "", Vec::new()).map_err(Stop::Failed)?;
                Ok(Some(PathBuf::from(OsStr::from_bytes(target.to_bytes()))))
            }
            Ok(Named::Other) => Err(Stop::NotADirectory(place.join(name))),
            Err(Errno::NOENT) => Err(Stop::Missing),
            Err(errno) => Err(Stop::Failed(errno)),
        }
    }
}

fn open(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Named> {
    match retry_on_intr(|| openat(directory, name, HANDLE, Mode::empty())) {
        Ok(there) => {
            let stat = fstat(&there)?;
            Ok(Named::Directory(there, stat))
        }
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let there = retry_on_intr(|| openat(directory, name, flags, Mode::empty()))?;
            let stat = fstat(&there)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => Ok(Named::Link(there, stat)),
                // It became one just now.
                FileType::Directory => Ok(Named::Directory(there, stat)),
                _ => Ok(Named::Other),
            }
        }
        Err(errno) => Err(errno),
    }
}

fn pieces(path: &Path) -> VecDeque<Piece> {
    let piece = |component| match component {
        Component::RootDir | Component::Prefix(_) => Some(Piece::Root),
        Component::ParentDir => Some(Piece::Up),
        Component::Normal(name) => Some(Piece::Name(name.to_owned())),
        Component::CurDir => None,
    };
    path.components().filter_map(piece).collect()
}

/// The names that are left, `..` taken as text: there is nothing yet that it could lead out of.
fn plain(pieces: VecDeque<Piece>) -> Vec<OsString> {
    let mut names = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Name(name) => names.push(name),
            Piece::Up => drop(names.pop()),
            Piece::Root => names.clear(),
        }
    }
    names
}
