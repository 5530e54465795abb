//! Whether nobody but those who are trusted could have written a file, or put it where it is.
//!
//! Hazard: a check of a path and an opening of it are two, and between them a stranger changes where the path leads. So
//! each step is opened beneath the one before, links are followed by us, each directory and link on the way is looked at
//! ([`super::standing`]), and the file itself is looked at once it is open.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, Stat, accessat, fstat, lgetxattr, openat, readlinkat};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid, getgroups};

use super::plain::{NotPlain, require_plain};
use super::standing::{Doubt, Standing, Trusted};
use super::system::{User, accounts, is_outsider};
use crate::core::accounts::{Accounts, Members};
use crate::core::owner::Owner;

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;
/// A place on the way, without opening what is there.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Who is trusted to have written a file.
#[derive(Clone, Debug)]
pub struct Trust {
    users: Vec<u32>,
    own_groups: Vec<u32>,
    accounts: Accounts,
}

/// Something that is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distrusted {
    /// The file that was asked for.
    pub path: PathBuf,
    /// What is not trusted: the file, or a directory or link on the way to it.
    pub place: PathBuf,
    /// Why.
    pub doubt: Doubt,
    /// How it stands.
    pub standing: Standing,
}

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not there, is no plain file, or cannot be opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Somebody who is not trusted could have written it.
    #[error(transparent)]
    Distrusted(#[from] Distrusted),
}

impl std::error::Error for Distrusted {}

impl std::fmt::Display for Distrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, place, me) = (self.path.display(), self.place.display(), User::me());
        let them = match self.place == self.path {
            true => String::new(),
            false => format!(", who can put another file in the place of {path}"),
        };
        match self.doubt {
            Doubt::Owner(uid) => write!(
                f,
                "{place} belongs to {}{them}, and this is {me}: `chown {} {place}`, or use a file in another place",
                User::of(uid),
                me.for_chown()
            ),
            Doubt::Writable => {
                let mode = self.standing.mode & 0o7777;
                write!(f, "{place} can be written by others (mode {mode:04o}){them}: `chmod go-w {place}`")
            }
        }
    }
}

impl Trust {
    /// The user of this process, and root.
    pub fn here() -> Self {
        let own_groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
        Self {
            users: vec![geteuid().as_raw(), 0],
            own_groups: own_groups.map(rustix::process::Gid::as_raw).collect(),
            accounts: accounts(),
        }
    }

    /// These, and this user.
    pub fn and(mut self, uid: u32) -> Self {
        self.users.push(uid);
        self
    }

    /// As whom to ask the rules.
    pub fn trusted(&self) -> Trusted<'_> {
        Trusted { users: &self.users, own_groups: &self.own_groups, accounts: &self.accounts }
    }

    /// Opens the plain file at `path` for reading. Waits for nothing.
    pub fn open(&self, path: &Path) -> Result<File, Refusal> {
        // Looked at before it is opened as well: whose it is says more than that it cannot be read.
        let look = |standing| match self.trusted().doubt(standing) {
            Some(doubt) => Err(Distrusted { path: path.into(), place: path.into(), doubt, standing }),
            None => Ok(()),
        };
        let reached = self.reach(path)?;
        let standing_before = reached.standing;
        let file = reached.open(|| look(standing_before))?;
        look(standing(&fstat(&file).map_err(io::Error::from)?, path))?;
        Ok(file)
    }

    /// The same of a file that whoever opens it looks at: only that nobody could have put another in its place is seen to.
    pub fn open_in_place(&self, path: &Path) -> Result<File, Refusal> {
        self.reach(path)?.open(|| Ok(()))
    }

    /// The one user who could have written the file at `path` besides those who are trusted; none if nobody could, or more
    /// than one.
    pub fn sole_stranger(&self, path: &Path) -> Option<Owner> {
        let (doubt, standing) = self.first_doubt(path)?;
        let uid = match doubt {
            Doubt::Owner(uid) => uid,
            Doubt::Writable => match self.accounts.members(standing.gid) {
                Members::Only(members) => members.into_iter().find(|member| !self.users.contains(member))?,
                Members::NoAccount | Members::Unknown => return None,
            },
        };
        self.clone().and(uid).first_doubt(path).is_none().then_some(Owner { uid, gid: standing.gid })
    }

    fn first_doubt(&self, path: &Path) -> Option<(Doubt, Standing)> {
        let Reached { distrusted, standing, .. } = self.reach(path).ok()?;
        let on_the_way = distrusted.first().map(|found| (found.doubt, found.standing));
        on_the_way.or_else(|| Some((self.trusted().doubt(standing)?, standing)))
    }

    fn reach(&self, path: &Path) -> io::Result<Reached> {
        let path = std::path::absolute(path)?;
        let mut walk = Walk { trust: self, path: &path, way: vec![Place::top()?], links: 0, distrusted: Vec::new() };
        let mut ahead: VecDeque<OsString> = names(&path);
        while let Some(name) = ahead.pop_front() {
            match walk.step(&name, ahead.is_empty())? {
                Step::On => {}
                Step::To(target) => ahead = names(&target).into_iter().chain(ahead).collect(),
                Step::There(standing) => {
                    let directory = walk.way.pop().ok_or(Errno::NOENT)?.directory;
                    return Ok(Reached { directory, name, standing, distrusted: walk.distrusted });
                }
            }
        }
        Err(NotPlain::Directory.into())
    }
}

/// Where a path leads: a name in a directory, what is there, and what is not trusted on the way.
struct Reached {
    directory: OwnedFd,
    name: OsString,
    standing: Standing,
    distrusted: Vec<Distrusted>,
}

impl Reached {
    /// Opens what is there, if it is trusted where it is, and `look` finds nothing wrong with it.
    fn open(self, look: impl FnOnce() -> Result<(), Distrusted>) -> Result<File, Refusal> {
        if let Some(first) = self.distrusted.into_iter().next() {
            return Err(first.into());
        }
        look()?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file: File = match openat(&self.directory, &self.name, flags, Mode::empty()) {
            Ok(opened) => opened.into(),
            Err(Errno::NXIO) => return Err(io::Error::from(NotPlain::Special).into()),
            Err(error) => return Err(io::Error::from(error).into()),
        };
        require_plain(&file)?;
        Ok(file)
    }
}

/// A directory on the way.
struct Place {
    directory: OwnedFd,
    path: PathBuf,
}

impl Place {
    fn top() -> io::Result<Self> {
        Ok(Self { directory: openat(CWD, "/", HANDLE, Mode::empty())?, path: "/".into() })
    }
}

/// On the way to a file.
struct Walk<'a> {
    trust: &'a Trust,
    path: &'a Path,
    /// From the top to where we are.
    way: Vec<Place>,
    links: usize,
    distrusted: Vec<Distrusted>,
}

/// What a step led to.
enum Step {
    /// A directory.
    On,
    /// A link: where it leads.
    To(PathBuf),
    /// The end of the way, and how what is there stands.
    There(Standing),
}

impl Walk<'_> {
    fn step(&mut self, name: &OsStr, is_last: bool) -> io::Result<Step> {
        if name == ".." {
            self.way.truncate((self.way.len() - 1).max(1));
            return Ok(Step::On);
        }
        let Some(Place { directory, path }) = self.way.last() else { return Err(Errno::NOENT.into()) };
        let (found, here) = (openat(directory, name, HANDLE, Mode::empty())?, path.join(name));
        let (stat, above) = (fstat(&found)?, fstat(directory)?);
        let way_in = standing(&above, path);
        let doubt = self.trust.trusted().doubt_on_the_way(way_in);
        if let Some(doubt) = doubt.filter(|_| !is_top_of_a_container(&self.way, way_in)) {
            self.note(path.clone(), doubt, way_in);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Ok(Step::To(self.follow(&found, here, &stat)?)),
            FileType::RegularFile if is_last => Ok(Step::There(standing(&stat, &here))),
            FileType::Directory if is_last => Err(NotPlain::Directory.into()),
            _ if is_last => Err(NotPlain::Special.into()),
            FileType::Directory => {
                self.way.push(Place { directory: found, path: here });
                Ok(Step::On)
            }
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Where a link leads. It cannot be written, so that who made it is all that counts.
    fn follow(&mut self, link: &OwnedFd, here: PathBuf, stat: &Stat) -> io::Result<PathBuf> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if !self.trust.users.contains(&stat.st_uid) {
            self.note(here, Doubt::Owner(stat.st_uid), standing(stat, Path::new("")));
        }
        let target = PathBuf::from(OsString::from_vec(readlinkat(link, "", Vec::new())?.into_bytes()));
        if target.is_absolute() {
            self.way = vec![Place::top()?];
        }
        Ok(target)
    }

    fn note(&mut self, place: PathBuf, doubt: Doubt, standing: Standing) {
        self.distrusted.push(Distrusted { path: self.path.to_owned(), place, doubt, standing });
    }
}

/// Whether the last of these is the top of a container: it belongs to somebody who is nobody in here, and is not ours to
/// write. Whoever could change it is outside, and could do anything.
fn is_top_of_a_container(way: &[Place], standing: Standing) -> bool {
    let [top] = way else { return false };
    is_outsider(standing.uid) && accessat(&top.directory, ".", Access::WRITE_OK, AtFlags::EACCESS).is_err()
}

/// How something stands whose path is `place`.
pub fn standing(stat: &Stat, place: &Path) -> Standing {
    let is_open_to_the_group = stat.st_mode & 0o020 != 0;
    let acl = || lgetxattr(place, "system.posix_acl_access", &mut [0; 0]);
    Standing {
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        has_acl: is_open_to_the_group && acl().is_ok_and(|bytes| bytes > 0),
    }
}

/// The names in a path, one after the other.
fn names(path: &Path) -> VecDeque<OsString> {
    let named = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    named.collect()
}
