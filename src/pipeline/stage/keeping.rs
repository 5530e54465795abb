//! Giving what is restored its owner, mode, extended attributes and times.
//!
//! Hazard: a file that more people may read than before. What a new file inherits from its directory and the backup does not
//! have is taken away; what gives rights is given only in place, and only where nobody but root could have asked for it;
//! what cannot be kept is refused, or let go if that was asked for, and told.

use std::io;

use rustix::io::Errno;

use crate::core::entry_path::bytes_of;
use crate::repository::wire::Attributes;
use crate::storage::disk::DiskFile;

const ACCESS_LIST: &[u8] = b"system.posix_acl_access";
const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";
/// Set-user-id and set-group-id.
const SET_ID: u32 = 0o6000;
const GROUP: u32 = 0o070;

/// Whether an extended attribute of this name gives rights that only root can give.
pub fn is_privileged(name: &[u8]) -> bool {
    name.starts_with(b"security.") || name.starts_with(b"trusted.")
}

/// What has attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A plain file.
    File,
    /// A directory.
    Directory,
    /// A symlink, which has an owner and a time only.
    Symlink,
}

/// What is done about what cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is an error.
    Refused,
    /// It is let go, and told.
    LetGo,
}

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Where an owner cannot be.
    pub owner: Lost,
    /// Where an extended attribute cannot be.
    pub xattrs: Lost,
    /// Whether set-id bits are given.
    pub set_id: bool,
    /// Whether extended attributes are given that only root can give.
    pub privileged: bool,
}

/// What was not kept, by the number of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LetGo {
    pub owners: usize,
    pub xattrs: usize,
    pub times: usize,
    pub set_id: usize,
    pub privileged: usize,
    pub hard_links: usize,
    pub directories: usize,
}

impl LetGo {
    /// A sentence for each kind.
    pub fn sentences(&self) -> Vec<String> {
        let told = [
            (self.owners, "owners that cannot be kept here: what is restored belongs to who restores it"),
            (self.xattrs, "extended attributes or access control lists that cannot be kept here"),
            (self.times, "modification times that this filesystem does not keep exactly"),
            (self.set_id, "set-id bits, which are restored in place only, and where the owner is kept"),
            (
                self.privileged,
                "security.* or trusted.* attributes, which root restores in place from a repository of root's",
            ),
            (self.hard_links, "hard links that cannot be made here: each name has a file of its own"),
            (
                self.directories,
                "directories that were there, and keep their modes and owners though the backup has others",
            ),
        ];
        told.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} with {what}")).collect()
    }
}

/// Something that cannot be kept: what was tried, why not, and what lets it go.
pub type Unkept = (&'static str, io::Error, Option<&'static str>);

/// Gives attributes, and counts what was let go.
pub struct Keeping {
    /// What is to be kept.
    pub rules: Rules,
    /// What was not.
    pub let_go: LetGo,
}

impl Keeping {
    /// Gives what was made these attributes; the mode that it was given.
    pub fn attribute(&mut self, made: &mut dyn DiskFile, kept: &Attributes, what: What) -> Result<u32, Unkept> {
        let owner_is_kept = self.owner(made, kept)?;
        let mut mode = kept.mode;
        if what != What::Symlink {
            // While nobody else may open it: an attribute that gives more than the mode does is gone before that does.
            for list in [ACCESS_LIST, DEFAULT_LIST] {
                if !kept.xattrs.keys().any(|name| *bytes_of(name) == *list) {
                    made.remove_xattr(list)
                        .map_err(|error| ("take an inherited access control list from", error, None))?;
                }
            }
            // Before the mode, which may forbid writing them; lists and what the owner's change would take away, after it.
            self.xattrs(made, kept, |name| !is_list(name) && !is_privileged(name))?;
            if what == What::File && mode & SET_ID != 0 && !(self.rules.set_id && owner_is_kept) {
                mode &= !SET_ID;
                self.let_go.set_id += 1;
            }
            made.set_mode(mode).map_err(|error| ("keep the mode of", error, None))?;
            if !self.xattrs(made, kept, is_list)? {
                // What the mode says of the group is what the list allowed at most.
                mode &= !GROUP;
                made.set_mode(mode).map_err(|error| ("keep the mode of", error, None))?;
            }
            if self.rules.privileged {
                self.xattrs(made, kept, is_privileged)?;
            } else if kept.xattrs.keys().any(|name| is_privileged(&bytes_of(name))) {
                self.let_go.privileged += 1;
            }
        }
        let exact = made.set_modified(kept.modified);
        self.let_go.times += usize::from(!exact.map_err(|error| ("keep the modification time of", error, None))?);
        Ok(mode)
    }

    fn owner(&mut self, made: &mut dyn DiskFile, kept: &Attributes) -> Result<bool, Unkept> {
        match made.set_owner(kept.uid, kept.gid) {
            Ok(()) => Ok(true),
            Err(error) if self.rules.owner == Lost::LetGo && cannot(&error) => {
                self.let_go.owners += 1;
                Ok(false)
            }
            Err(error) => {
                let flag = cannot(&error).then_some("--ignore-ownership");
                Err(("keep the owner of", error, flag))
            }
        }
    }

    /// Sets those extended attributes of which `which` is true; whether all were.
    fn xattrs(&mut self, made: &mut dyn DiskFile, kept: &Attributes, which: fn(&[u8]) -> bool) -> Result<bool, Unkept> {
        const ACTION: &str = "keep the extended attributes of";
        let mut all = true;
        for (name, value) in &kept.xattrs {
            let name = bytes_of(name);
            if !which(&name) {
                continue;
            }
            let value =
                base16ct::lower::decode_vec(value).map_err(|_| (ACTION, io::ErrorKind::InvalidData.into(), None))?;
            match made.set_xattr(&name, &value) {
                Ok(()) => {}
                Err(error) if self.rules.xattrs == Lost::LetGo && cannot(&error) => all = false,
                Err(error) => {
                    let flag = cannot(&error).then_some("--ignore-xattrs");
                    return Err((ACTION, error, flag));
                }
            }
        }
        self.let_go.xattrs += usize::from(!all);
        Ok(all)
    }
}

fn is_list(name: &[u8]) -> bool {
    name == ACCESS_LIST || name == DEFAULT_LIST
}

/// Whether this cannot be done here, or not by this user, rather than having failed: user namespaces and FUSE answer with
/// other words than EPERM.
fn cannot(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        matches!(errno, Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
    })
}
