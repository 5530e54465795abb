//! Working as whoever the settings and the repository belong to.
//!
//! Hazard: root runs one command on the repository of a service, and the service cannot read its own files any more; or
//! root runs one in a directory of a stranger's, and does what the stranger's settings say. What `core::owner` decides is
//! done here: root becomes the owner, for good, before anything that the owner could have written is read; anybody else is
//! told whose it is.

use std::fs::{Metadata, symlink_metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::Failure;
use super::emergency::Salvaged;
use super::switch_user::become_user;
use crate::core::owner::{Acting, Owner, Whose, acting};
use crate::files::Trust;
use crate::files::system::User;
use crate::repository::layout;
use crate::settings::{Settings, Sources};

/// Magic numbers of filesystems that keep no owners (statfs(2), `linux/magic.h`): everything on them seems to be whose
/// they were mounted for. FAT, exFAT, NTFS.
const OWNERLESS_FILESYSTEMS: [u32; 4] = [0x4D44, 0x2011_BAB0, 0x5346_544E, 0x7366_746E];

/// Something that belongs to somebody else.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The repository, and this is not root, who could become anybody.
    #[error("{} belongs to {owner}, and this is {me}: run it as that user: sudo -u {} {program}", .directory.display(), .owner.for_sudo())]
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
    /// The settings belong to one user, and the repository that they name to another.
    #[error(
        "the settings file {} is {author}'s to write, and the repository {} that it names belongs to {owner}: root uses \
         settings for the repository of who could have written them only; name settings of root's with --config, or \
         give both to one user", .settings_file.display(), .directory.display()
    )]
    Mixed {
        /// The settings file.
        settings_file: PathBuf,
        /// Who could have written it.
        author: User,
        /// The backup directory.
        directory: PathBuf,
        /// Whose that is.
        owner: User,
    },
    /// Root may not become that user here.
    #[error("{} belongs to {owner}, and root could not become that user: run it as that user: sudo -u {} {program}", .place.display(), .owner.for_sudo())]
    Become {
        /// The backup directory, or the settings file.
        place: PathBuf,
        /// Whose it is.
        owner: User,
        /// What was typed.
        program: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The settings that `sources` ask for, read as whoever could have written them, and for whoever owns the repository. To be
/// called before anything of the repository is opened, and while there is one thread only. Whoever needs nothing but to
/// `look` may do so wherever he can.
pub fn settings(sources: &Sources, look: bool) -> Result<Settings, Failure> {
    let author = become_author(sources)?;
    let settings = Settings::load(sources)?;
    match act_as_owner(&settings, look) {
        Ok(false) => Ok(settings),
        Ok(true) => Ok(Settings::load(sources)?),
        Err(Failure::Owner(OwnerError::NotOurs { directory, owner, me, program })) => Err(match author {
            Some(settings_file) => OwnerError::Mixed { settings_file, author: me, directory, owner },
            None => OwnerError::NotOurs { directory, owner, me, program },
        }
        .into()),
        Err(failure) => Err(failure),
    }
}

/// The same of settings that may be broken. A stranger's are used only where no repository of another user's is in the
/// place that is known without them.
pub fn salvage(sources: &Sources, look: bool) -> Result<Salvaged, Failure> {
    let salvaged = Salvaged::from(sources);
    let is_elsewhere = whose(&salvaged.settings.backup.backup_directory) == Whose::Nobodys;
    let changed = is_elsewhere && become_author(sources)?.is_some() || act_as_owner(&salvaged.settings, look)?;
    Ok(if changed { Salvaged::from(sources) } else { salvaged })
}

/// Root becomes the one user, besides root, who could have written the settings file. Returns that file, if so.
pub fn become_author(sources: &Sources) -> Result<Option<PathBuf>, Failure> {
    let author = |file: &PathBuf| Some((file.clone(), Trust::here().sole_stranger(file)?));
    let file = sources.file().filter(|_| geteuid().is_root());
    let Some((file, author)) = file.as_ref().and_then(author) else { return Ok(None) };
    switch(author, &file)?;
    Ok(Some(file))
}

/// Goes on as whoever may write the repository of these settings. Returns whether this is another user now.
fn act_as_owner(settings: &Settings, look: bool) -> Result<bool, Failure> {
    let directory = &settings.backup.backup_directory;
    match acting(geteuid().as_raw(), whose(directory)) {
        Acting::AsIs => Ok(false),
        Acting::Refuse(_) if look && crate::files::open_plain(&directory.join(layout::REPOSITORY)).is_ok() => Ok(false),
        Acting::Refuse(owner) => Err(OwnerError::NotOurs {
            directory: directory.clone(),
            owner: User::of(owner.uid),
            me: User::me(),
            program: typed(),
        }
        .into()),
        Acting::Become(owner) => {
            switch(owner, directory)?;
            Ok(true)
        }
    }
}

fn switch(owner: Owner, place: &Path) -> Result<(), OwnerError> {
    become_user(owner).map_err(|source| OwnerError::Become {
        place: place.to_owned(),
        owner: User::of(owner.uid),
        program: typed(),
        source,
    })
}

/// The user that a service with these settings runs as, as far as this process can tell: root would become that user.
pub fn user_of_service(settings: &Settings) -> u32 {
    let me = geteuid().as_raw();
    match acting(me, whose(&settings.backup.backup_directory)) {
        Acting::Become(owner) => owner.uid,
        Acting::AsIs | Acting::Refuse(_) => me,
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

/// What was typed, for a message.
fn typed() -> String {
    std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
