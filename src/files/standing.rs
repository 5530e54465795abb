//! Who could have written a file, or put another in its place.
//!
//! Hazard: settings, keys and sources that a stranger may write make a privileged process do what the stranger likes. So
//! a file counts only if those who are trusted own it and nobody else may write it, and the same holds for each directory
//! on the way to it. The rules are those of `safe.directory` of git and `StrictModes` of OpenSSH.

use crate::core::accounts::{Accounts, Members};

/// Permission to write, for the group and for everybody else; and the bit of directories in which names are their owners'.
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// What stat(2) says of a file or a directory, as far as it tells who may write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether an access control list lets in more users and groups than these: then the permissions of the group are the
    /// most that any of them has.
    pub has_acl: bool,
}

/// Why it is not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It belongs to this user.
    Owner(u32),
    /// Somebody else may write it.
    Writable,
}

/// Who is trusted.
#[derive(Clone, Debug)]
pub struct Trusted<'a> {
    /// These users.
    pub users: &'a [u32],
    /// The groups of this process.
    pub own_groups: &'a [u32],
    /// Who is in a group.
    pub accounts: &'a Accounts,
}

impl Trusted<'_> {
    /// Why a file is not trusted.
    pub fn doubt(&self, file: Standing) -> Option<Doubt> {
        match () {
            () if !self.users.contains(&file.uid) => Some(Doubt::Owner(file.uid)),
            () if self.others_write(file) => Some(Doubt::Writable),
            () => None,
        }
    }

    /// Why a directory is not trusted to lead to what is in it. In a sticky one a name is its owner's, and nobody else can
    /// put something in its place: what is there is to be looked at for itself.
    pub fn doubt_on_the_way(&self, directory: Standing) -> Option<Doubt> {
        let doubt = self.doubt(directory)?;
        (doubt != Doubt::Writable || directory.mode & STICKY == 0).then_some(doubt)
    }

    fn others_write(&self, file: Standing) -> bool {
        file.mode & OTHERS_WRITE != 0
            || file.mode & GROUP_WRITES != 0 && (file.has_acl || !self.is_private_group(file.gid))
    }

    /// Whether nobody but those who are trusted is in a group.
    fn is_private_group(&self, gid: u32) -> bool {
        match self.accounts.members(gid) {
            Members::Only(members) => members.iter().all(|member| self.users.contains(member)),
            Members::NoAccount => self.own_groups.contains(&gid),
            Members::Unknown => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: u32 = 1000;
    const EVE: u32 = 1001;

    fn accounts() -> Accounts {
        Accounts {
            passwd: "root:x:0:0::/root:\nada:x:1000:1000::/home/ada:\neve:x:1001:1001::/home/eve:\n".into(),
            group: "root:x:0:\nada:x:1000:\neve:x:1001:\nboth:x:50:ada,eve\nhers:x:60:ada\n".into(),
            nsswitch: String::new(),
        }
    }

    fn standing(uid: u32, gid: u32, mode: u32) -> Standing {
        Standing { uid, gid, mode, has_acl: false }
    }

    fn doubt(uid: u32, gid: u32, mode: u32) -> Option<Doubt> {
        let accounts = accounts();
        Trusted { users: &[ADA, 0], own_groups: &[ADA, 2000], accounts: &accounts }.doubt(standing(uid, gid, mode))
    }

    #[test]
    fn a_file_is_its_owners_and_nobody_else_may_write_it() {
        for (uid, gid, mode) in
            [(ADA, ADA, 0o600), (0, 0, 0o644), (ADA, EVE, 0o640), (ADA, ADA, 0o664), (0, 60, 0o660), (0, 2000, 0o664)]
        {
            assert_eq!(doubt(uid, gid, mode), None, "{uid} {gid} {mode:o}");
        }
        for (gid, mode) in [(ADA, 0o666), (ADA, 0o602), (EVE, 0o664), (50, 0o620), (3000, 0o664)] {
            assert_eq!(doubt(ADA, gid, mode), Some(Doubt::Writable), "{gid} {mode:o}");
        }
        for uid in [EVE, 65_534] {
            assert_eq!(doubt(uid, 0, 0o600), Some(Doubt::Owner(uid)));
        }
    }

    #[test]
    fn what_a_list_of_access_adds_is_somebody_else() {
        let accounts = accounts();
        let trusted = Trusted { users: &[ADA, 0], own_groups: &[ADA], accounts: &accounts };
        let with_acl = |mode| Standing { has_acl: true, ..standing(ADA, ADA, mode) };
        assert_eq!(trusted.doubt(with_acl(0o664)), Some(Doubt::Writable));
        assert_eq!(trusted.doubt(with_acl(0o644)), None);
    }

    #[test]
    fn in_a_sticky_directory_a_name_is_its_owners() {
        let accounts = accounts();
        let trusted = Trusted { users: &[ADA, 0], own_groups: &[ADA], accounts: &accounts };
        for (directory, expected) in [
            (standing(0, 0, 0o1777), None),
            (standing(0, 0, 0o777), Some(Doubt::Writable)),
            (standing(EVE, 0, 0o1777), Some(Doubt::Owner(EVE))),
            (standing(EVE, EVE, 0o755), Some(Doubt::Owner(EVE))),
            (standing(ADA, EVE, 0o755), None),
        ] {
            assert_eq!(trusted.doubt_on_the_way(directory), expected, "{directory:?}");
        }
    }
}
