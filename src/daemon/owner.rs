//! Working on a repository as its owner.
//!
//! Hazard: root runs one command on the repository of a service, and the service cannot read its own files any more. What
//! `core::owner` decides is done here, before anything is opened: root becomes the owner, for good, and runs the same
//! program again with the same arguments and environment; anybody else is told whose the repository is.

use std::fs::{Metadata, read_to_string, symlink_metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::Failure;
use crate::core::owner::{Account, Acting, Owner, Whose, account, acting};
use crate::repository::layout;
use crate::settings::Settings;

/// This program, also where its path was replaced, or leads through directories that are root's alone.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Magic numbers of filesystems that keep no owners (statfs(2), `linux/magic.h`): everything on them seems to be whose
/// they were mounted for. FAT, exFAT, NTFS.
const OWNERLESS_FILESYSTEMS: [u32; 4] = [0x4D44, 0x2011_BAB0, 0x5346_544E, 0x7366_746E];

/// A repository that belongs to somebody else.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// And this is not root, who could become anybody.
    #[error("{} belongs to {owner}, and this is {me}: run it as that user: sudo -u {} {program}", .directory.display(), .owner.sudo())]
    NotOurs {
        /// The backup directory.
        directory: PathBuf,
        /// Whose it is.
        owner: User,
        /// Who this is.
        me: User,
        /// What was typed.
        program: String,
    },
    /// Root may not become that user here.
    #[error("{} belongs to {owner}, and root could not become that user: run it as that user: sudo -u {} {program}", .directory.display(), .owner.sudo())]
    Become {
        /// The backup directory.
        directory: PathBuf,
        /// Whose it is.
        owner: User,
        /// What was typed.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A user, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    name: Option<String>,
}

impl User {
    /// Whoever this process works as.
    pub fn me() -> Self {
        Self::of(geteuid().as_raw())
    }

    fn of(uid: u32) -> Self {
        Self { uid, name: known(uid).map(|account| account.name) }
    }

    /// What `sudo -u` calls them.
    pub fn sudo(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("'#{}'", self.uid))
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}

/// Goes on as whoever may write the repository of these settings. To be called before anything of it is opened, and while
/// there is one thread only. Whoever needs nothing but to `look` may do so wherever he can.
pub fn act_as_owner(settings: &Settings, look: bool) -> Result<(), Failure> {
    let directory = &settings.backup.backup_directory;
    match acting(geteuid().as_raw(), whose(directory)) {
        Acting::AsIs => Ok(()),
        Acting::Refuse(_) if look && std::fs::File::open(directory.join(layout::REPOSITORY)).is_ok() => Ok(()),
        Acting::Refuse(owner) => Err(OwnerError::NotOurs {
            directory: directory.clone(),
            owner: User::of(owner.uid),
            me: User::me(),
            program: typed(),
        }
        .into()),
        Acting::Become(owner) => Err(OwnerError::Become {
            directory: directory.clone(),
            owner: User::of(owner.uid),
            program: typed(),
            source: run_again_as(owner),
        }
        .into()),
    }
}

/// Whose the place of a repository is. The files say it before the directory does, which may have been made by another.
fn whose(directory: &Path) -> Whose {
    let owner = |found: &Metadata| Owner { uid: found.uid(), gid: found.gid() };
    let Ok(place) = directory.metadata() else { return Whose::Nobodys };
    if rustix::fs::statfs(directory).is_ok_and(|facts| OWNERLESS_FILESYSTEMS.contains(&(facts.f_type as u32))) {
        return Whose::Nobodys;
    }
    for file in [layout::REPOSITORY, layout::LOCK] {
        match symlink_metadata(directory.join(file)) {
            Ok(found) => return Whose::Repository(owner(&found)),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Whose::Repository(owner(&place)),
            Err(_) => {}
        }
    }
    Whose::Directory(owner(&place))
}

/// Becomes this user, and runs this program again; returns only if that fails.
fn run_again_as(owner: Owner) -> io::Error {
    let account = known(owner.uid);
    let gid = account.as_ref().map_or(owner.gid, |account| account.gid);
    let groups = account.map_or_else(|| vec![gid], |account| account.groups);
    let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
    let (gid, uid) = (Gid::from_raw(gid), Uid::from_raw(owner.uid));
    let changed = set_thread_groups(&groups)
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid));
    if let Err(error) = changed {
        return error.into();
    }
    let mut typed = std::env::args_os();
    let name = typed.next().unwrap_or_else(|| THIS_PROGRAM.into());
    let arguments: Vec<_> = typed.collect();
    let run = |program: &Path| Command::new(program).arg0(&name).args(&arguments).exec();
    // By its own path first, which is what it is then called in lists of processes.
    if let Ok(path) = std::env::current_exe() {
        let _ = run(&path);
    }
    run(Path::new(THIS_PROGRAM))
}

fn known(uid: u32) -> Option<Account> {
    account(&read_to_string("/etc/passwd").ok()?, &read_to_string("/etc/group").unwrap_or_default(), uid)
}

/// What was typed, for a message.
fn typed() -> String {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
