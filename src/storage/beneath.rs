//! Opening paths beneath a directory.
//!
//! Hazard: whoever may write somewhere in the tree can put a symlink in our way between two calls. So every path is
//! resolved by the kernel in one step from a directory held open, follows no symlink and leads nowhere outside.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::{Errno, retry_on_intr};

/// A directory held open, beneath which everything is opened.
pub struct Root {
    directory: OwnedFd,
    resolver: Resolver,
}

/// Who walks the path.
enum Resolver {
    /// The kernel, by `openat2` (Linux 5.6); where there is none, or a sandbox denies it, we do.
    Kernel,
    /// We do, directory by directory, each opened without following a symlink.
    Walk,
}

/// A directory opened only to name things in it.
const HANDLE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

impl Root {
    /// Holds `root` open. A symlink in `root` itself is followed: it is the operator's choice.
    pub(super) fn open(root: &Path) -> rustix::io::Result<Self> {
        Ok(Self::of(retry_on_intr(|| openat(CWD, root, HANDLE, Mode::empty()))?))
    }

    /// A directory that is open already, if only for its path.
    pub fn of(directory: OwnedFd) -> Self {
        let resolver = match openat2(&directory, ".", HANDLE, Mode::empty(), RESOLVE) {
            Err(Errno::NOSYS | Errno::PERM) => Resolver::Walk,
            _ => Resolver::Kernel,
        };
        Self { directory, resolver }
    }

    /// This root on a kernel without `openat2`.
    #[cfg(test)]
    pub(super) fn walking(self) -> Self {
        Self { resolver: Resolver::Walk, ..self }
    }

    /// Opens `path`, the root where it is empty. A symlink at its end is an error, unless `flags` say `PATH`.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let names = plain_names(path)?;
        let path = if names.is_empty() { Path::new(".") } else { path };
        match self.resolver {
            Resolver::Kernel => self.resolve(path, flags, mode),
            Resolver::Walk => self.walk(&names, flags, mode),
        }
    }

    /// Opens the directory that `path` is in, and tells its name there.
    pub(super) fn open_parent<'p>(&self, path: &'p Path) -> rustix::io::Result<(OwnedFd, &'p OsStr)> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
        Ok((self.open_at(parent, HANDLE, Mode::empty())?, name))
    }

    /// The directory itself, for questions about its filesystem.
    pub fn directory(&self) -> &OwnedFd {
        &self.directory
    }

    fn resolve(&self, path: &Path, flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        // The kernel asks to be asked again if something was moved meanwhile.
        let ask = || match openat2(&self.directory, path, flags, mode, RESOLVE) {
            Err(Errno::AGAIN) => Err(Errno::INTR),
            opened => opened,
        };
        retry_on_intr(ask)
    }

    fn walk(&self, names: &[&OsStr], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        let Some((last, above)) = names.split_last() else {
            return retry_on_intr(|| openat(&self.directory, ".", flags, mode));
        };
        let mut reached = None;
        for name in above {
            let from = reached.as_ref().unwrap_or(&self.directory).as_fd();
            reached = Some(retry_on_intr(|| openat(from, *name, HANDLE | OFlags::NOFOLLOW, Mode::empty()))?);
        }
        let from = reached.as_ref().unwrap_or(&self.directory).as_fd();
        retry_on_intr(|| openat(from, *last, flags, mode))
    }
}

/// The names a path consists of; `.`, `..` and `/` are refused.
fn plain_names(path: &Path) -> rustix::io::Result<Vec<&OsStr>> {
    path.components()
        .map(|component| match component {
            Component::Normal(name) => Ok(name),
            _ => Err(Errno::INVAL),
        })
        .collect()
}
