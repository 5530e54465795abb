//! The socket of this machine.
//!
//! Hazard: a socket that anybody can put in its place is anybody's service, and one that anybody can open is anybody's
//! restore. It is made in a directory that only its owner and root can write in, opened for its owner alone, and whoever
//! comes in is asked of the kernel (`SO_PEERCRED`), for permissions can be changed later.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// Why there can be no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// The operating system refused something.
    #[error("{action} the socket {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The socket.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others could put another in its place.
    #[error(
        "{} is no place for a socket: others can write in it (mode {mode:04o}, owner {owner}): give it a directory of its \
         own, mode 0700",
        .directory.display()
    )]
    Exposed {
        /// Where it was to be.
        directory: PathBuf,
        /// The permission bits of that.
        mode: u32,
        /// The owner's number.
        owner: u32,
    },
    /// Something else is there.
    #[error("{} is there, and is no socket of this user: set [http].unix_socket to another path", .0.display())]
    NotOurs(PathBuf),
    /// It is in use.
    #[error("another process answers on {}: stop it, or set [http].unix_socket to another path", .0.display())]
    InUse(PathBuf),
}

/// A socket that is listened on; its file is removed when this is dropped.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

impl Socket {
    /// Listens at `path`, for this process's user. One that was left there by a process that is gone is removed.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |action| move |source| SocketError::Io { action, path: path.to_owned(), source };
        let directory = path.parent().unwrap_or(Path::new("/"));
        let metadata = directory.metadata().map_err(failed("look at the directory of"))?;
        let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
        if mode & 0o022 != 0 || !is_trusted(owner) {
            return Err(SocketError::Exposed { directory: directory.to_owned(), mode, owner });
        }
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed("make"))?;
        let own = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, own).map_err(failed("close to others"))?;
        let inode = path.symlink_metadata().map_err(failed("look at"))?.ino();
        listener.set_nonblocking(true).map_err(failed("prepare"))?;
        Ok(Self { listener, path: path.to_owned(), inode })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|there| there.ino() == self.inode) {
            // A stale one is removed at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket of ours on which nobody listens.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |action, source| SocketError::Io { action, path: path.to_owned(), source };
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
        Ok(there) if !there.file_type().is_socket() || !is_trusted(there.uid()) => {
            return Err(SocketError::NotOurs(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(|error| failed("remove the stale", error))
        }
        Err(error) => Err(failed("try", error)),
        Ok(_) => Err(SocketError::InUse(path.to_owned())),
    }
}

/// Whether a file of this user's is no stranger's: this process's own, or root's, who may anyway.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_directory() -> tempfile::TempDir {
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
    }

    #[test]
    fn a_socket_is_its_owners_alone_and_goes_with_the_service() {
        let directory = own_directory();
        let path = directory.path().join("api.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(UnixStream::connect(&path).is_ok());
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_one_that_answers_is_not() {
        let directory = own_directory();
        let path = directory.path().join("api.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let socket = Socket::bind(&path).unwrap();
        assert!(matches!(Socket::bind(&path), Err(SocketError::InUse(_))));
        assert!(UnixStream::connect(&path).is_ok(), "the one in use was taken away");
        drop(socket);
    }

    #[test]
    fn what_is_no_socket_is_left_alone_and_a_link_is_not_followed() {
        let directory = own_directory();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        std::fs::File::create(&file).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert!(matches!(Socket::bind(path), Err(SocketError::NotOurs(_))), "{}", path.display());
        }
        assert!(file.exists() && link.is_symlink());
    }

    #[test]
    fn a_directory_that_others_can_write_in_is_refused() {
        let directory = own_directory();
        for mode in [0o1777, 0o770, 0o702] {
            std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = Socket::bind(&directory.path().join("api.sock"));
            assert!(matches!(refused, Err(SocketError::Exposed { .. })), "{mode:o}");
        }
        assert!(matches!(Socket::bind(&directory.path().join("absent/api.sock")), Err(SocketError::Io { .. })));
    }
}
