//! Whether a stranger could change where a path leads.
//!
//! Hazard: whoever may write in a directory can move what is in it and put something else in its place, a directory of
//! their own or a link; a service that runs as root then reads, or writes, there. So every directory on the way to a
//! source belongs to somebody who is trusted with that source, and nobody else can write in it:
//!
//! - Trusted are root, the user of this service, and the owner of the source: its files are that user's own.
//! - A group counts as its members. One that is not listed, or has a member who is not, counts as strangers.
//! - With an ACL (acl(5)) each of its entries counts for itself.
//! - A sticky directory may be written by anybody: they can move only what is theirs. What is looked up in it must be
//!   root's or the service's own; the source's owner does not count there, since anybody could have made the source.
//! - The root directory of a container may belong to a user who has no number in it. Whoever that is, is above us.

use super::accounts::{Accounts, Members};

/// What may be written by whom, of a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// The owner's number.
    pub uid: u32,
    /// The group's.
    pub gid: u32,
    /// Permission bits, the sticky bit among them.
    pub mode: u32,
    /// Its access control list.
    pub acl: Acl,
    /// Whether it is a root directory that belongs to a user outside of this user namespace, and that we cannot write.
    pub is_outsiders_root: bool,
}

/// A POSIX access control list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Acl {
    /// There is none: the permission bits say all.
    #[default]
    None,
    /// These are granted write access, beside the owner and everybody, for whom the permission bits speak.
    Writers(Vec<Writer>),
    /// It cannot be read.
    Unknown,
}

/// Somebody who can write in a directory and does not own it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A user, by an ACL.
    User(u32),
    /// A group; `by_acl` if not as the directory's own.
    Group {
        /// Its number.
        gid: u32,
        /// Whether an ACL says so.
        by_acl: bool,
    },
    /// Any user.
    Everybody,
    /// Whoever an ACL names that cannot be read.
    Unknown,
}

/// A directory on the way, and whose the thing is that is looked up in it; nobody's if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The directory.
    pub directory: Directory,
    /// The owner of what is looked up in it, a directory or a link.
    pub next: Option<u32>,
}

/// Who is trusted with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trusted {
    /// The user of this service; nobody who has a number of its own, in a user namespace that maps none.
    pub service: Option<u32>,
    /// The owner of the source.
    pub owner: Option<u32>,
}

/// Why a directory cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is this stranger's.
    Owned(u32),
    /// Strangers can write in it.
    Writable(Writer),
    /// Strangers can write in it, and what is looked up there is this stranger's.
    Squattable(u32),
}

impl Trusted {
    /// Whether this user may own what leads to the source, or write there.
    fn with_source(self, uid: u32) -> bool {
        self.anywhere(uid) || self.owner == Some(uid)
    }

    /// Whether this user's links count, and what is this user's where strangers may have made something.
    pub const fn anywhere(self, uid: u32) -> bool {
        uid == 0 || matches!(self.service, Some(service) if service == uid)
    }
}

/// The first directory on the way that a stranger could change, by its index, and why.
pub fn first_fault(way: &[Step], trusted: Trusted, accounts: &Accounts) -> Option<(usize, Fault)> {
    way.iter().enumerate().find_map(|(index, step)| Some((index, fault(step, trusted, accounts)?)))
}

fn fault(step: &Step, trusted: Trusted, accounts: &Accounts) -> Option<Fault> {
    let directory = &step.directory;
    if !(trusted.with_source(directory.uid) || directory.is_outsiders_root) {
        return Some(Fault::Owned(directory.uid));
    }
    let with_source = |uid| trusted.with_source(uid);
    let is_stranger = |writer: &Writer| match writer {
        Writer::User(uid) => !trusted.with_source(*uid),
        Writer::Group { gid, .. } => match accounts.members(*gid) {
            Members::Only(members) => !members.into_iter().all(with_source),
            Members::NoAccount | Members::Unknown => true,
        },
        Writer::Everybody | Writer::Unknown => true,
    };
    let stranger = directory.writers().into_iter().find(is_stranger)?;
    match step.next {
        _ if directory.mode & STICKY == 0 => Some(Fault::Writable(stranger)),
        Some(owner) if !trusted.anywhere(owner) => Some(Fault::Squattable(owner)),
        _ => None,
    }
}

const STICKY: u32 = 0o1000;
const GROUP_WRITE: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;

impl Directory {
    /// Everybody but its owner who can write in it.
    fn writers(&self) -> Vec<Writer> {
        let mut writers = Vec::new();
        if self.mode & OTHERS_WRITE != 0 {
            writers.push(Writer::Everybody);
        }
        // With an ACL these bits are its mask (acl(5)): without them no entry grants anything.
        if self.mode & GROUP_WRITE != 0 {
            match &self.acl {
                Acl::None => writers.push(Writer::Group { gid: self.gid, by_acl: false }),
                Acl::Writers(named) => writers.extend(named),
                Acl::Unknown => writers.push(Writer::Unknown),
            }
        }
        writers
    }
}

impl Acl {
    /// Of the extended attribute `system.posix_acl_access` (linux/posix_acl_xattr.h): a version, then entries of a tag,
    /// permissions and a number, all little-endian.
    pub fn parse(attribute: &[u8], gid: u32) -> Self {
        const VERSION: u32 = 2;
        const WRITE: u16 = 2;
        const USER: u16 = 0x02;
        const OWNING_GROUP: u16 = 0x04;
        const GROUP: u16 = 0x08;
        const MASK: u16 = 0x10;
        let Some((version, entries)) = attribute.split_first_chunk::<4>() else { return Self::Unknown };
        let (entries, rest) = entries.as_chunks::<8>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return Self::Unknown;
        }
        let entry = |[a, b, c, d, id @ ..]: &[u8; 8]| {
            (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]), u32::from_le_bytes(*id))
        };
        let entries: Vec<(u16, u16, u32)> = entries.iter().map(entry).collect();
        let masked = entries.iter().any(|(tag, permissions, _)| *tag == MASK && permissions & WRITE == 0);
        let writers = entries.into_iter().filter(|(_, permissions, _)| permissions & WRITE != 0 && !masked);
        let writers = writers.filter_map(|(tag, _, id)| match tag {
            USER => Some(Writer::User(id)),
            OWNING_GROUP => Some(Writer::Group { gid, by_acl: false }),
            GROUP => Some(Writer::Group { gid: id, by_acl: true }),
            _ => None,
        });
        Self::Writers(writers.collect())
    }
}

#[cfg(test)]
mod tests;
