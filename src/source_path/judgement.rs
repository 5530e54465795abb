//! The facts that a way is judged by.
//!
//! Hazard: a fact that cannot be found out must not count for trust. What is not known, of an ACL, a group or a user that
//! has no number here, is a stranger's.

use std::cell::OnceCell;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Stat, accessat, getxattr};
use rustix::io::Errno;

use super::walk::Way;
use crate::core::accounts::Accounts;
use crate::core::trust::{Acl, Directory, Fault, Trusted, Writer, first_fault};
use crate::files::system::{accounts, is_outsider};

/// More than any ACL has.
const MOST_ACL_BYTES: usize = 64 << 10;

const GROUP_WRITE: u32 = 0o020;
const PERMISSIONS: u32 = 0o7777;

/// Who the service is, and what it trusts.
pub(super) struct Judge {
    service: Option<u32>,
    trusts_parents: bool,
    accounts: OnceCell<Accounts>,
}

/// A directory that is not trusted, and why.
pub(super) struct Distrusted {
    pub place: PathBuf,
    pub what: String,
    pub remedy: String,
}

impl Judge {
    pub(super) fn new(user: u32, trusts_parents: bool) -> Self {
        Self { service: (!is_outsider(user)).then_some(user), trusts_parents, accounts: OnceCell::new() }
    }

    /// The users and groups of this system.
    pub(super) fn accounts(&self) -> &Accounts {
        self.accounts.get_or_init(accounts)
    }

    /// Whether a link of this user counts.
    pub(super) fn counts(&self, owner: u32) -> bool {
        self.trusted(None).anywhere(owner)
    }

    /// What a directory says of itself.
    pub(super) fn look(&self, descriptor: BorrowedFd<'_>, stat: &Stat, is_root: bool) -> Directory {
        let mode = stat.st_mode & PERMISSIONS;
        let acl = if mode & GROUP_WRITE == 0 { Acl::None } else { acl(descriptor, stat.st_gid) };
        let is_outsiders_root = is_root && is_outsider(stat.st_uid) && !is_writable_root();
        Directory { uid: stat.st_uid, gid: stat.st_gid, mode, acl, is_outsiders_root }
    }

    fn trusted(&self, owner: Option<u32>) -> Trusted {
        Trusted { service: self.service, owner: owner.filter(|owner| !is_outsider(*owner)) }
    }
}

/// The first directory of a way that a stranger could change. Of a source that is not there, the owner of the directory
/// that it would be made in counts as the owner.
pub(super) fn fault_of(way: &Way, judge: &Judge) -> Option<Distrusted> {
    if judge.trusts_parents {
        return None;
    }
    let steps: Vec<_> = way.steps.iter().map(|(_, step)| step.clone()).collect();
    let (index, fault) = first_fault(&steps, judge.trusted(way.owner()), judge.accounts())?;
    let (place, step) = way.steps.get(index)?;
    let (what, remedy) = told(place, &step.directory, fault, judge.accounts());
    Some(Distrusted { place: place.clone(), what, remedy })
}

/// What is wrong with a directory, and what to do about it.
fn told(place: &Path, directory: &Directory, fault: Fault, accounts: &Accounts) -> (String, String) {
    let Directory { uid, gid, mode, .. } = directory;
    let (shown, user, group) = (place.display(), |uid| accounts.user(uid), |gid| accounts.group(gid));
    let whose = format!("({}, {}, mode {mode:04o})", user(*uid), group(*gid));
    let (what, remedy) = match fault {
        Fault::Owned(owner) => (
            format!("belongs to {}, who is neither root nor this service nor the owner of the source", user(owner)),
            format!("chown root {shown}"),
        ),
        Fault::Writable(Writer::User(uid)) => {
            (format!("can be written by {}, by its ACL", user(uid)), format!("setfacl -x u:{uid} {shown}"))
        }
        Fault::Writable(Writer::Group { gid, by_acl: true }) => {
            (format!("can be written by the group {}, by its ACL", group(gid)), format!("setfacl -x g:{gid} {shown}"))
        }
        Fault::Writable(Writer::Group { .. }) => {
            ("can be written by its group, in which are others".to_owned(), format!("chmod g-w {shown}"))
        }
        Fault::Writable(Writer::Everybody) => ("can be written by everybody".to_owned(), format!("chmod o-w {shown}")),
        Fault::Writable(Writer::Unknown) => {
            ("has an ACL that cannot be read".to_owned(), format!("setfacl -b {shown}"))
        }
        Fault::Squattable(owner) => (
            format!("lets others put something there, as {} did", user(owner)),
            "move the source to a directory of its own".to_owned(),
        ),
    };
    (format!("{whose} {what}"), remedy)
}

fn acl(directory: BorrowedFd<'_>, gid: u32) -> Acl {
    // A descriptor that was opened for its path only has no attributes of its own.
    let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let mut attribute = vec![0; MOST_ACL_BYTES];
    match getxattr(path, "system.posix_acl_access", &mut attribute[..]) {
        Ok(length) => Acl::parse(&attribute[..length], gid),
        Err(Errno::NODATA | Errno::NOTSUP) => Acl::None,
        Err(_) => Acl::Unknown,
    }
}

fn is_writable_root() -> bool {
    accessat(CWD, "/", Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}
