//! One writer: the lock of a repository.
//!
//! Hazard: two processes that write one repository lose each other's work. The lock is an flock, so that it goes with
//! the process that held it, however that ended; what is written in the file only says who that is.

use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::layout;
use crate::files::plain::{Links, open_with};
use crate::storage::StorageErrorKind;

const MAX_LOCK_BYTES: u64 = 4096;

/// Magic numbers of network filesystems (statfs(2), `linux/magic.h`), on which an flock or a rename may not be what it
/// seems: NFS, SMB1, CIFS, SMB2, AFS, Coda, NCP.
const NETWORK_FILESYSTEMS: [u32; 7] = [0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x5346_414F, 0x7375_7245, 0x564C];

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// Where its API listens, if it has one: `127.0.0.1:8080`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it. What the file says of it, if that can be read.
    #[error("the repository is in use by {}", describe(.0.as_ref()))]
    Held(Option<Holder>),
    /// The filesystem cannot give what the repository needs.
    #[error("{} is on a network filesystem: put the backup directory on a local disk", .0.display())]
    Network(PathBuf),
    /// The lock file could not be opened or written.
    #[error("lock {} ({})", .0.display(), StorageErrorKind::of(.1).advice())]
    Io(PathBuf, #[source] io::Error),
}

fn describe(holder: Option<&Holder>) -> String {
    match holder {
        Some(Holder { pid, host, api: Some(api) }) => format!("process {pid} on {host}, which listens on {api}"),
        Some(Holder { pid, host, api: None }) => format!("process {pid} on {host}"),
        None => "another process".into(),
    }
}

/// A lock that is held until it is dropped, or the process ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    holder: Holder,
    follows_a_crash: bool,
}

/// What this host calls itself.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl Lock {
    /// Takes the lock of the repository at `root`, or says who has it. Does not wait.
    pub fn acquire(root: &Path) -> Result<Self, LockError> {
        let path = root.join(layout::LOCK);
        let io = |error| LockError::Io(path.clone(), error);
        refuse_network(root)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = open_with(&path, &mut options, Links::Refuse).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        // A holder that ends in good order empties the file.
        let follows_a_crash = file.metadata().map_err(io)?.len() > 0;
        let host = host_name();
        let holder = Holder { pid: std::process::id(), host, api: None };
        let mut lock = Self { file, path: path.clone(), holder, follows_a_crash };
        // Nobody depends on the text: a full disk must not keep the service down.
        let _ = lock.write_holder();
        Ok(lock)
    }

    /// The same where nothing can be written: keeps out whoever could, and cannot say where to be found. Where there is
    /// no lock file, the directory stands for it.
    pub fn acquire_read_only(root: &Path) -> Result<Self, LockError> {
        let path = root.join(layout::LOCK);
        let io = |error| LockError::Io(path.clone(), error);
        refuse_network(root)?;
        let opened = open_with(&path, OpenOptions::new().read(true), Links::Refuse).map(|file| (file, path.clone()));
        let (mut file, path) = opened.or_else(|_| File::open(root).map(|file| (file, root.to_owned()))).map_err(io)?;
        let io = |error| LockError::Io(path.clone(), error);
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Held(read_holder(&mut file))),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let host = host_name();
        let holder = Holder { pid: std::process::id(), host, api: None };
        Ok(Self { file, path, holder, follows_a_crash: false })
    }

    /// What to hold against what is there later.
    pub fn place(&self, root: &Path) -> Option<HeldPlace> {
        let (directory, lock) = (Identity::of(&root.metadata().ok()?), Identity::of(&self.file.metadata().ok()?));
        Some(HeldPlace { root: root.to_owned(), directory, lock_path: self.path.clone(), lock })
    }

    /// Whether the last holder ended without giving the lock back: killed, or with the machine.
    pub const fn follows_a_crash(&self) -> bool {
        self.follows_a_crash
    }

    /// Tells others where this process's API listens.
    pub fn announce(&mut self, api: String) -> Result<(), LockError> {
        self.holder.api = Some(api);
        self.write_holder().map_err(|error| LockError::Io(self.path.clone(), error))
    }

    fn write_holder(&mut self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // If this fails the next holder only looks more closely than it must.
        let _ = self.file.set_len(0);
    }
}

/// Which file or directory it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Where a lock is held, and what was there then.
#[derive(Clone, Debug)]
pub struct HeldPlace {
    root: PathBuf,
    directory: Identity,
    lock_path: PathBuf,
    lock: Identity,
}

impl HeldPlace {
    /// What is in the place of what was locked, if that is something else. A lock file that is merely gone takes nothing
    /// away from a repository that is there.
    pub fn displaced(&self) -> Option<&'static str> {
        let is = |path: &Path, known| match path.symlink_metadata() {
            Ok(found) => Some(Identity::of(&found) == known),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // Out of reach for a moment is not gone.
            Err(_) => Some(true),
        };
        let there = self.root.metadata().map(|found| Identity::of(&found) == self.directory);
        let is_gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        match (there, is(&self.lock_path, self.lock)) {
            (Err(error), _) if is_gone(&error) => Some("is gone"),
            (Ok(false), _) => Some("is not the directory any more that the service works with"),
            (Ok(true), Some(false)) => Some("was locked anew by another process"),
            (Ok(true), None) if is(&self.root.join(layout::REPOSITORY), self.lock).is_none() => Some("was emptied"),
            _ => None,
        }
    }
}

/// Who holds the lock of the repository at `root` right now; `None` if nobody does, or nothing can be learnt.
pub fn holder(root: &Path) -> Option<Holder> {
    let mut file = open_with(&root.join(layout::LOCK), OpenOptions::new().read(true), Links::Refuse).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_holder(&mut file),
        _ => None,
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = Vec::new();
    file.rewind().ok()?;
    file.take(MAX_LOCK_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn refuse_network(root: &Path) -> Result<(), LockError> {
    let facts = rustix::fs::statfs(root).map_err(|error| LockError::Io(root.to_owned(), error.into()))?;
    if NETWORK_FILESYSTEMS.contains(&(facts.f_type as u32)) { Err(LockError::Network(root.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_once_and_names_its_holder() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(holder(root.path()), None);
        let mut lock = Lock::acquire(root.path()).unwrap();
        lock.announce("127.0.0.1:8080".into()).unwrap();
        let Err(LockError::Held(Some(found))) = Lock::acquire(root.path()) else { panic!("taken twice") };
        assert_eq!((found.pid, found.api.as_deref()), (std::process::id(), Some("127.0.0.1:8080")));
        assert_eq!(holder(root.path()), Some(found));
        drop(lock);
        assert_eq!(holder(root.path()), None);
        Lock::acquire(root.path()).unwrap();
    }

    #[test]
    fn a_holder_that_did_not_give_the_lock_back_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        assert!(!Lock::acquire(root.path()).unwrap().follows_a_crash());
        assert!(!Lock::acquire(root.path()).unwrap().follows_a_crash());
        std::fs::File::create(root.path().join("lock")).unwrap().write_all(b"{\"pid\":1").unwrap();
        assert!(Lock::acquire(root.path()).unwrap().follows_a_crash());
    }

    #[test]
    fn where_nothing_can_be_written_the_lock_still_keeps_others_out() {
        for with_file in [true, false] {
            let root = tempfile::tempdir().unwrap();
            if with_file {
                drop(Lock::acquire(root.path()).unwrap());
            }
            let lock = Lock::acquire_read_only(root.path()).unwrap();
            assert!(matches!(Lock::acquire_read_only(root.path()), Err(LockError::Held(None))));
            drop(lock);
            Lock::acquire_read_only(root.path()).unwrap();
        }
    }

    #[test]
    fn what_is_in_the_place_of_what_was_locked_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let (root, away) = (scratch.path().join("backups"), scratch.path().join("away"));
        std::fs::create_dir(&root).unwrap();
        let lock = Lock::acquire(&root).unwrap();
        File::create(root.join(layout::REPOSITORY)).unwrap();
        let place = lock.place(&root).unwrap();
        assert_eq!(place.displaced(), None);
        std::fs::rename(&root, &away).unwrap();
        assert_eq!(place.displaced(), Some("is gone"));
        std::fs::create_dir(&root).unwrap();
        assert_eq!(place.displaced(), Some("is not the directory any more that the service works with"));
        std::fs::remove_dir(&root).unwrap();
        std::fs::rename(&away, &root).unwrap();
        assert_eq!(place.displaced(), None, "it came back");
        std::fs::remove_file(root.join(layout::LOCK)).unwrap();
        assert_eq!(place.displaced(), None, "the repository is there");
        let other = Lock::acquire(&root).unwrap();
        assert_eq!(place.displaced(), Some("was locked anew by another process"));
        drop(other);
        std::fs::remove_file(root.join(layout::LOCK)).unwrap();
        std::fs::remove_file(root.join(layout::REPOSITORY)).unwrap();
        assert_eq!(place.displaced(), Some("was emptied"));
    }

    #[test]
    fn a_symlink_in_the_place_of_the_lock_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path().join("elsewhere"), root.path().join("lock")).unwrap();
        assert!(matches!(Lock::acquire(root.path()), Err(LockError::Io(..))));
        assert!(!root.path().join("elsewhere").exists());
    }
}
