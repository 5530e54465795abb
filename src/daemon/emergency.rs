//! Coming up when nearly everything is broken.
//!
//! Hazard: the service that is to bring everything back refuses to start because of what it is to mend; or mends by
//! beginning anew, and so hides the loss. What was found decides how to come up ([`remedy`]); everything that is not as
//! it should be is said, and nothing that can be kept is replaced.

mod salvage;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Failure, storage};
use crate::actors::AUDIT_LOG;
use crate::actors::problems::chain;
use crate::audit::{AuditError, Record, Wanted, read_records};
use crate::core::BackupState;
use crate::http;
use crate::pipeline::refill::refill;
use crate::repository::lock::{Lock, LockError};
use crate::repository::reserve::MIN_FREE_BYTES;
use crate::repository::{OpenError, Repository};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::tokens::{Tokens, TokensError};
pub use salvage::Salvaged;

/// What there is in the place of a repository that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nothing of it.
    Nothing,
    /// Backups, or the damaged file that makes them a repository: what is wrong.
    Headless(String),
}

/// What the audit log knows of a repository in this place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// There never was one.
    Never,
    /// There was one, and its id, if that is told.
    As(Option<String>),
    /// The log cannot be read.
    Unreadable,
}

/// What to do about a repository that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Begin one: there never was any.
    Begin,
    /// Make it one again, under this id if it is known, and bring back from these replicas what it lacks.
    FoundAgain {
        /// The id that it had.
        id: Option<String>,
        /// The directories of replicas.
        replicas: Vec<PathBuf>,
    },
    /// Nothing is left to bring back: beginning anew would hide the loss.
    Refuse,
}

/// How to come up. `replicas` are those that can be opened, in the order of the settings, each with its id. The audit
/// log's word on the id stands above theirs.
pub fn remedy(left: &Left, known: &Known, replicas: &[(PathBuf, String)]) -> Remedy {
    let told = if let Known::As(id) = known { id.clone() } else { None };
    let id = told.or_else(|| replicas.first().map(|(_, id)| id.clone()));
    let ours = replicas.iter().filter(|(_, theirs)| id.as_ref() == Some(theirs));
    let replicas: Vec<PathBuf> = ours.map(|(path, _)| path.clone()).collect();
    match (left, known) {
        (Left::Nothing, Known::Never) if replicas.is_empty() => Remedy::Begin,
        (Left::Nothing, _) if replicas.is_empty() => Remedy::Refuse,
        (Left::Nothing | Left::Headless(_), _) => Remedy::FoundAgain { id, replicas },
    }
}

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
        locked => locked,
    }
}

/// A repository in the place of one that cannot be opened: what is left of it, with what replicas have.
pub fn repository(settings: &Settings, error: OpenError, now: DateTime<Utc>) -> Result<Repository, Failure> {
    let left = match &error {
        OpenError::Absent(_) => Left::Nothing,
        OpenError::Damaged { .. } | OpenError::Headless(_) => Left::Headless(error.to_string()),
        _ => return Err(error.into()),
    };
    let directory = &settings.backup.backup_directory;
    let place = storage(directory)?;
    let replicas: Vec<(PathBuf, String)> = settings.replicas.iter().filter_map(|replica| twin(&replica.path)).collect();
    match remedy(&left, &known_here(settings), &replicas) {
        Remedy::Begin => {
            found(&format!(
                "no repository in {}, and none was known there: an empty one is begun",
                directory.display()
            ));
            Repository::create(place.clone(), now)?;
            Ok(Repository::open(place, false)?.0)
        }
        Remedy::Refuse => Err(Failure::NothingLeft {
            directory: directory.clone(),
            replicas: settings.replicas.iter().map(|replica| replica.path.clone()).collect(),
        }),
        Remedy::FoundAgain { id, replicas } => {
            found(&match &left {
                Left::Nothing => format!("the repository in {} is gone", directory.display()),
                Left::Headless(fault) => fault.clone(),
            });
            found_again(&place, id, &replicas, now)
        }
    }
}

fn found_again(
    place: &Arc<dyn Storage>,
    id: Option<String>,
    replicas: &[PathBuf],
    now: DateTime<Utc>,
) -> Result<Repository, Failure> {
    let is_known = id.is_some();
    Repository::found_again(place, &id.unwrap_or_else(Repository::new_id), now)?;
    let (repository, _) = Repository::open(place.clone(), false)?;
    found(&match is_known {
        true => format!("{} is a repository again, under the id that it had", repository.location()),
        false => {
            format!("{} is a repository again, under a new id: the old one is told nowhere", repository.location())
        }
    });
    for replica in replicas {
        let (replica, _) = Repository::open(storage(replica)?, false)?;
        match refill(&replica, &repository, now) {
            Ok(refilled) => found(&format!(
                "{} backups were brought back from the replica {}{}",
                refilled.copied,
                replica.location(),
                if refilled.skipped > 0 {
                    format!("; {} are damaged there, too", refilled.skipped)
                } else {
                    String::new()
                }
            )),
            // What came back is there, and the rest is where it was.
            Err(error) => {
                found(&format!("not everything came back from {}: {}", replica.location(), chain(&error)));
            }
        }
    }
    // What was recalled while it was empty is not what is true now.
    Ok(Repository::open(place.clone(), false)?.0)
}

fn twin(path: &Path) -> Option<(PathBuf, String)> {
    let id = Repository::id_of(storage(path).ok()?.as_ref()).ok()?;
    Some((path.to_owned(), id))
}

/// What the audit log knows of a repository in the backup directory.
pub fn known_here(settings: &Settings) -> Known {
    let location = settings.backup.backup_directory.display().to_string();
    let recent = Wanted { limit: RECENT_RECORDS, ..Wanted::default() };
    let records = match read_records(&settings.log_directory.join(AUDIT_LOG), &[], &recent) {
        Ok(records) => records,
        Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Known::Never,
        Err(error) => {
            tracing::warn!("{}", chain(&error));
            return Known::Unreadable;
        }
    };
    let said = |record: &Record, key| record.details.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    let here = records.iter().rev().find(|record| said(record, "repository").as_ref() == Some(&location));
    here.map_or(Known::Never, |record| Known::As(said(record, "repository_id")))
}

/// How far back the audit log is searched for the repository.
const RECENT_RECORDS: usize = 1000;

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
        found(&format!("{damaged} backups are damaged: `fiovana-app list` names them; others are used"));
    }
    for set in settings.sets.iter().filter(|set| !set.source.is_dir()) {
        found(&format!("the directory of the set {} is missing: {}", set.name, set.source.display()));
    }
}

/// Puts tokens that cannot be understood aside, and makes new ones: nobody could have used them.
pub fn replace_tokens(path: &Path, tokens: &Tokens) -> Result<(), TokensError> {
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

    fn replica(path: &str, id: &str) -> (PathBuf, String) {
        (path.into(), id.to_owned())
    }

    fn found_again(id: Option<&str>, replicas: &[&str]) -> Remedy {
        Remedy::FoundAgain { id: id.map(str::to_owned), replicas: replicas.iter().map(PathBuf::from).collect() }
    }

    #[test]
    fn a_repository_that_was_there_is_never_begun_anew() {
        for known in [Known::As(Some("a".into())), Known::As(None), Known::Unreadable] {
            assert_eq!(remedy(&Left::Nothing, &known, &[]), Remedy::Refuse, "{known:?}");
        }
        assert_eq!(remedy(&Left::Nothing, &Known::As(Some("a".into())), &[replica("/b", "b")]), Remedy::Refuse);
        assert_eq!(remedy(&Left::Nothing, &Known::Never, &[]), Remedy::Begin);
    }

    #[test]
    fn what_is_left_gets_the_id_that_it_had_and_what_replicas_of_it_have() {
        let headless = Left::Headless("damaged".into());
        let replicas = [replica("/b", "b"), replica("/a", "a"), replica("/a2", "a")];
        assert_eq!(remedy(&headless, &Known::As(Some("a".into())), &replicas), found_again(Some("a"), &["/a", "/a2"]));
        assert_eq!(remedy(&Left::Nothing, &Known::Never, &replicas), found_again(Some("b"), &["/b"]));
        assert_eq!(remedy(&headless, &Known::Unreadable, &[]), found_again(None, &[]));
        assert_eq!(remedy(&headless, &Known::Never, &[]), found_again(None, &[]));
    }

    #[test]
    fn another_port_is_sought_where_only_this_machine_sees_it() {
        let wanted = "127.0.0.1:8080".parse().unwrap();
        assert_eq!(
            addresses(wanted).map(|address| address.to_string()),
            ["127.0.0.1:8080", "127.0.0.1:0", "127.0.0.1:0"]
        );
    }
}
