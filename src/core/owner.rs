//! As whom a process works on a repository.
//!
//! Hazard: what root writes in a repository of somebody else, its owner cannot read: the service that is started next
//! finds its own state damaged. So root works as the owner, and anybody else leaves a stranger's repository alone.

/// A user and a group, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Whose the place of a repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Nothing is there, or nothing that tells.
    Nobodys,
    /// There is a directory and no repository in it. It may have been made for somebody who may only write in it.
    Directory(Owner),
    /// There is a repository, or something that may not be looked into.
    Repository(Owner),
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acting {
    /// Go on.
    AsIs,
    /// Become this user first.
    Become(Owner),
    /// Leave it alone: it is this user's.
    Refuse(Owner),
}

/// As whom a process of this effective user goes on. It becomes somebody only as root, and never root, so that whoever
/// became somebody does not do so again.
pub const fn acting(effective_uid: u32, whose: Whose) -> Acting {
    match whose {
        Whose::Nobodys => Acting::AsIs,
        Whose::Directory(owner) | Whose::Repository(owner) if owner.uid == effective_uid => Acting::AsIs,
        Whose::Directory(owner) | Whose::Repository(owner) if effective_uid == 0 => Acting::Become(owner),
        Whose::Directory(_) => Acting::AsIs,
        Whose::Repository(owner) => Acting::Refuse(owner),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: Owner = Owner { uid: 998, gid: 997 };
    const ROOT: Owner = Owner { uid: 0, gid: 0 };

    #[test]
    fn root_works_as_the_owner_and_strangers_do_not_work_at_all() {
        for (uid, whose, expected) in [
            (0, Whose::Nobodys, Acting::AsIs),
            (0, Whose::Repository(ROOT), Acting::AsIs),
            (0, Whose::Repository(SERVICE), Acting::Become(SERVICE)),
            (0, Whose::Directory(SERVICE), Acting::Become(SERVICE)),
            (998, Whose::Repository(SERVICE), Acting::AsIs),
            (998, Whose::Directory(ROOT), Acting::AsIs),
            (998, Whose::Repository(ROOT), Acting::Refuse(ROOT)),
            (1000, Whose::Repository(SERVICE), Acting::Refuse(SERVICE)),
        ] {
            assert_eq!(acting(uid, whose), expected, "{uid} {whose:?}");
        }
    }

    #[test]
    fn whoever_became_the_owner_goes_on() {
        for uid in [0, 1, 998, 65_534] {
            for whose in [Whose::Directory(Owner { uid, gid: 0 }), Whose::Repository(Owner { uid, gid: 0 })] {
                if let Acting::Become(owner) = acting(0, whose) {
                    assert_eq!(acting(owner.uid, whose), Acting::AsIs, "{whose:?}");
                }
            }
        }
    }
}
