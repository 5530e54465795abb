//! Coming up when nearly everything is broken.
//!
//! Hazard: the service that is to bring everything back refuses to start because of what it is to mend. Everything that
//! is not as it should be is said and gone around, and nothing that can be kept is replaced.

mod salvage;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use super::Failure;
use crate::actors::problems::chain;
use crate::core::BackupState;
use crate::http;
use crate::private_file::PrivateFileError;
use crate::repository::Repository;
use crate::repository::lock::{Lock, LockError};
use crate::repository::reserve::MIN_FREE_BYTES;
use crate::settings::Settings;
use crate::tokens::Tokens;
pub use salvage::Salvaged;

/// Where to listen, in this order, until one address can be had.
pub fn addresses(wanted: SocketAddr) -> [SocketAddr; 3] {
    [wanted, SocketAddr::new(wanted.ip(), 0), (Ipv4Addr::LOCALHOST, 0).into()]
}

/// Takes the address of the settings, or another one.
pub fn listen(wanted: SocketAddr) -> Result<TcpListener, Failure> {
    let mut refused = None;
    for address in addresses(wanted) {
        match http::bind(address) {
            Ok(listener) => {
                if let Some(error) = &refused {
                    found(&format!("{wanted} cannot be listened on ({error}): another port is used"));
                }
                return Ok(listener);
            }
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let source = refused.unwrap_or_else(|| io::ErrorKind::AddrInUse.into());
    Err(Failure::Bind { address: wanted, source })
}

/// Takes the lock, also where nothing can be written.
pub fn lock(directory: &Path) -> Result<Lock, LockError> {
    match Lock::acquire(directory) {
        Err(LockError::Io(_, error))
            if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
        {
            found(&format!(
                "{} cannot be written ({error}): backups can be looked at, and got out with `fiovana-app restore SET ID \
                 --to DIR`; a restore in place needs it writable",
                directory.display()
            ));
            Lock::acquire_read_only(directory)
        }
        // The directory stands for a lock that is something else.
        Err(refused @ LockError::Io(..)) => {
            found(&chain(&refused));
            Lock::acquire_read_only(directory)
        }
        locked => locked,
    }
}

/// Looks at what can be opened: says what is not as it should be, and makes room if there is none.
pub fn survey(settings: &Settings, repository: &Repository) {
    if repository.free_bytes().is_ok_and(|free| free < MIN_FREE_BYTES) {
        let released = repository.release_reserve();
        found(&format!(
            "the disk of {} is full: {}",
            repository.location(),
            if released { "the space kept back for this was given up" } else { "no space was kept back; free some" }
        ));
    }
    let damaged = repository.catalogue().backups().filter(|backup| backup.state() == BackupState::Damaged).count();
    if damaged > 0 {
        found(&format!("damaged backups: {damaged}; `fiovana-app list` names them, and others are used"));
    }
    for set in &settings.sets {
        match set.source.open() {
            Ok(_) => {}
            Err(error) if error.is_missing() => {
                let place = set.source.written().display();
                found(&format!("the directory of the set {} is missing: {place}", set.name));
            }
            Err(error) => found(&format!("the set {} cannot be used: {}", set.name, chain(&error))),
        }
    }
}

/// Puts tokens that cannot be understood aside, and makes new ones: nobody could have used them.
pub fn replace_tokens(path: &Path, tokens: &Tokens) -> Result<(), PrivateFileError> {
    let aside = path.with_extension("damaged");
    if std::fs::rename(path, &aside).is_ok() {
        found(&format!(
            "{} cannot be used: new tokens were made, and it is kept as {}",
            path.display(),
            aside.display()
        ));
    }
    tokens.prepare()
}

/// Says what was found.
pub fn found(what: &str) {
    tracing::warn!("found: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_port_is_sought_where_only_this_machine_sees_it() {
        let wanted = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(
            addresses(wanted).map(|address| address.to_string()),
            ["127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:0"]
        );
    }
}
