//! Opening the repository, or whatever is in its place.
//!
//! Hazard: a repository that was lost and is begun anew hides the loss; one that is begun beneath the mount point of a
//! disk that is merely not mounted becomes a second one. What is left, what the audit log knows and what replicas there
//! are decide what to do ([`remedy`]); where nothing may be begun, the service comes up without a repository and says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Failure, create_directory, emergency, storage, twin};
use crate::actors::problems::chain;
use crate::actors::{AUDIT_LOG, Opening, Role};
use crate::audit::{AuditError, Record, Wanted, read_records};
use crate::clock::Clock;
use crate::core::mode::RecoveryCause;
use crate::keys::{self, KeyError};
use crate::pipeline::refill::refill;
use crate::repository::lock::Lock;
use crate::repository::{OpenError, Repository, layout};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::telemetry::Event;
use emergency::found;

/// A repository to work with.
pub struct Opened {
    /// Keeps all others out.
    pub lock: Lock,
    /// The repository.
    pub repository: Repository,
    /// How that came to be.
    pub opening: Opening,
}

/// What there is in the place of a repository that cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Left {
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
enum Remedy {
    /// Begin one: there never was any.
    Begin,
    /// Make it one again, under this id if it is known, and bring back from these replicas what it lacks.
    FoundAgain {
        /// The id that it had.
        id: Option<String>,
        /// The directories of replicas.
        replicas: Vec<PathBuf>,
    },
    /// Begin nothing: come up without one, which had this id if that is known.
    Wait {
        /// The id that it had.
        id: Option<String>,
    },
}

/// What to do. `replicas` are those that can be opened, in the order of the settings, each with its id; the audit log's
/// word on the id stands above theirs. A repository that is gone altogether is founded again only in an emergency, when
/// somebody asked for it: its disk may only have to be mounted.
fn remedy(emergency: bool, left: &Left, known: &Known, replicas: &[(PathBuf, String)]) -> Remedy {
    let told = if let Known::As(id) = known { id.clone() } else { None };
    let id = told.or_else(|| replicas.first().map(|(_, id)| id.clone()));
    let ours = replicas.iter().filter(|(_, theirs)| id.as_ref() == Some(theirs));
    let replicas: Vec<PathBuf> = ours.map(|(path, _)| path.clone()).collect();
    match (left, known) {
        (Left::Nothing, Known::Never) if !emergency => Remedy::Begin,
        (Left::Nothing, _) if replicas.is_empty() || !emergency => Remedy::Wait { id },
        (Left::Nothing | Left::Headless(_), _) => Remedy::FoundAgain { id, replicas },
    }
}

/// Takes the lock and opens the repository. The service, which must come up, gets one whatever is there; a command does
/// not.
pub fn open(settings: &Settings, clock: &dyn Clock, role: Role) -> Result<Opened, Failure> {
    let directory = &settings.backup.backup_directory;
    let emergency = role == Role::Daemon && settings.recovery_mode;
    if role == Role::Command && !directory.exists() {
        return Err(explain(settings, OpenError::Absent(directory.display().to_string())));
    }
    // Whoever recovers does so with what keys there are; whoever merely starts is told what is wrong with them, and nothing is
    // begun.
    let found_wrong = |error: &KeyError| found(&chain(error));
    let is_start = role == Role::Daemon && !emergency;
    let keys = if is_start { keys::load(settings)? } else { keys::salvage(settings, found_wrong) };
    create_directory(directory)?;
    let lock = if emergency { emergency::lock(directory)? } else { Lock::acquire(directory)? };
    let place = storage(directory)?;
    // In an emergency what replicas have is brought back at once.
    let opened = match emergency {
        true => Repository::open(place.clone(), lock.follows_a_crash()),
        false => twin::open(settings, place.clone(), lock.follows_a_crash()),
    };
    let (repository, opening) = match opened {
        Ok((repository, report)) => {
            if report.cleared > 0 {
                tracing::info!(files = report.cleared, "leftovers of interrupted writes were cleared");
            }
            report.faults.iter().for_each(|fault| tracing::warn!("{fault}"));
            (repository, Opening::default())
        }
        Err(error) if role == Role::Command => return Err(explain(settings, error)),
        Err(error) => instead(settings, &place, error, clock.now())?,
    };
    repository.set_keys(keys);
    repository.restock_reserve();
    if emergency {
        emergency::survey(settings, &repository);
    }
    Ok(Opened { lock, repository, opening })
}

/// Why a command cannot have the repository, and what to do.
pub fn explain(settings: &Settings, error: OpenError) -> Failure {
    let directory = settings.backup.backup_directory.clone();
    match error {
        OpenError::Absent(_) if known_here(settings) == Known::Never => Failure::NoRepository(directory),
        OpenError::Absent(_) => Failure::RepositoryGone(directory),
        OpenError::Damaged { .. } | OpenError::Headless(_) => Failure::RepositoryDamaged(error),
        error => error.into(),
    }
}

/// A repository in the place of one that cannot be opened.
fn instead(
    settings: &Settings,
    place: &Arc<dyn Storage>,
    error: OpenError,
    now: DateTime<Utc>,
) -> Result<(Repository, Opening), Failure> {
    let left = match &error {
        OpenError::Absent(_) => Left::Nothing,
        OpenError::Damaged { .. } | OpenError::Headless(_) => Left::Headless(error.to_string()),
        _ => return Err(error.into()),
    };
    let known = known_here(settings);
    let replicas: Vec<(PathBuf, String)> = settings.replicas.iter().filter_map(|replica| twin(&replica.path)).collect();
    match remedy(settings.recovery_mode, &left, &known, &replicas) {
        Remedy::Begin => {
            Repository::create(place.clone(), now)?;
            Ok((Repository::open(place.clone(), false)?.0, Opening::default()))
        }
        Remedy::Wait { id } => {
            let missing = missing(settings, &known, &replicas);
            found(&missing);
            let alarm = Some(RecoveryCause::RepositoryMissing);
            let opening = Opening { alarm, missing: Some(missing), told: vec![] };
            Ok((Repository::vacant(place.clone(), id), opening))
        }
        Remedy::FoundAgain { id, replicas } => {
            let alarm = Some(match &left {
                Left::Nothing => RecoveryCause::RepositoryMissing,
                Left::Headless(_) => RecoveryCause::RepositoryDamaged,
            });
            found(&match left {
                Left::Nothing => format!("the repository in {} is gone", place.location()),
                Left::Headless(fault) => fault,
            });
            let source = match (&id, &known) {
                (Some(_), Known::As(Some(_))) => "audit_log",
                (Some(_), _) => "replica",
                (None, _) => "new_id",
            };
            let mut told = vec![Event::RepairCompleted { source, places: vec![layout::REPOSITORY.to_owned()] }];
            let repository = found_again(place, id, &replicas, now, &mut told)?;
            Ok((repository, Opening { alarm, missing: None, told }))
        }
    }
}

/// What is missing, and what to do about it.
fn missing(settings: &Settings, known: &Known, replicas: &[(PathBuf, String)]) -> String {
    let directory = settings.backup.backup_directory.display();
    let paths = |paths: &mut dyn Iterator<Item = &PathBuf>| {
        paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let sought = paths(&mut settings.replicas.iter().map(|replica| &replica.path));
    let there = paths(&mut replicas.iter().map(|(path, _)| path));
    let what = match known {
        Known::Never => format!("there is no repository in {directory}, and none was ever known there"),
        Known::As(_) => format!("the repository in {directory} is gone"),
        Known::Unreadable => format!(
            "there is no repository in {directory}, and the audit log, which would tell whether there was one, cannot \
             be read"
        ),
    };
    let next = match (known, there.is_empty()) {
        (Known::Never, _) => {
            "see that backup.backup_directory is right; a start without FIOVANA_RECOVERY_MODE begins a repository"
                .into()
        }
        (_, false) => format!(
            "mount its disk and start again, or bring it back from {there}: stop the service, and start it with \
             FIOVANA_RECOVERY_MODE=true"
        ),
        (_, true) => format!(
            "nothing of it is in the replicas either ({sought}): bring one of them back (mount its disk, or copy it \
             there) and start again; `fiovana-app init` begins a new one, once the service is stopped"
        ),
    };
    format!("{what}; nothing can be backed up or restored, and nothing was begun in its place: {next}")
}

fn found_again(
    place: &Arc<dyn Storage>,
    id: Option<String>,
    replicas: &[PathBuf],
    now: DateTime<Utc>,
    told: &mut Vec<Event>,
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
    for path in replicas {
        let replica = storage(path).and_then(|there| Ok(Repository::open(there, false)?.0));
        match replica {
            Ok(replica) => bring_back(&replica, &repository, now, told),
            Err(error) => {
                fell_short(format!("nothing came back from {}: {}", path.display(), chain(&error)), told);
            }
        }
    }
    // What was recalled while it was empty is not what is true now.
    Ok(Repository::open(place.clone(), false)?.0)
}

/// The most places that one record names.
const MAX_TOLD_PLACES: usize = 256;

/// Brings back what the replica has. What cannot be stays where it is, and is told.
fn bring_back(replica: &Repository, repository: &Repository, now: DateTime<Utc>, told: &mut Vec<Event>) {
    let there = || -> Vec<String> {
        let catalogue = repository.catalogue();
        catalogue.backups().map(|backup| layout::manifest(&backup.set, backup.id).to_string()).collect()
    };
    let before = there();
    let refilled = refill(replica, repository, now);
    let back: Vec<String> = there().into_iter().filter(|place| !before.contains(place)).collect();
    let back = back.chunks(MAX_TOLD_PLACES);
    told.extend(back.map(|places| Event::RepairCompleted { source: "replica", places: places.to_vec() }));
    let failed = match refilled {
        Ok(refilled) => {
            found(&format!("{} backups were brought back from the replica {}", refilled.copied, replica.location()));
            let damaged = format!("{} backups are damaged in {}, too", refilled.skipped, replica.location());
            (refilled.skipped > 0).then_some(damaged)
        }
        Err(error) => Some(format!("not everything came back from {}: {}", replica.location(), chain(&error))),
    };
    if let Some(failed) = failed {
        fell_short(failed, told);
    }
}

fn fell_short(how: String, told: &mut Vec<Event>) {
    found(&how);
    told.push(Event::RepairFailed { places: vec![how] });
}

fn twin(path: &Path) -> Option<(PathBuf, String)> {
    let document = Repository::document_of(storage(path).ok()?.as_ref()).ok()?;
    Some((path.to_owned(), document.id))
}

/// What the audit log knows of a repository in the backup directory: every start of the service names one, or says that
/// there was none.
pub fn known_here(settings: &Settings) -> Known {
    let location = settings.backup.backup_directory.display().to_string();
    let starts = Wanted { event: Some("ServiceStarted".to_owned()), limit: MAX_STARTS, ..Wanted::default() };
    let records = match read_records(&settings.log_directory.join(AUDIT_LOG), &[], &starts) {
        Ok(records) => records,
        Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Known::Never,
        Err(error) => {
            tracing::warn!("{}", chain(&error));
            return Known::Unreadable;
        }
    };
    let said = |record: &Record, key| record.details.get(key).and_then(|value| value.as_str()).map(str::to_owned);
    let was_there = |record: &&Record| record.details.get("repository_id").is_none_or(|id| !id.is_null());
    let mut here = records.iter().rev().filter(|record| said(record, "repository").as_ref() == Some(&location));
    here.find(was_there).map_or(Known::Never, |record| Known::As(said(record, "repository_id")))
}

/// How many starts of the service are looked at.
const MAX_STARTS: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::{AuditLog, Entry, Outcome};
    use crate::settings::Sources;

    fn replica(path: &str, id: &str) -> (PathBuf, String) {
        (path.into(), id.to_owned())
    }

    fn found_again(id: Option<&str>, replicas: &[&str]) -> Remedy {
        Remedy::FoundAgain { id: id.map(str::to_owned), replicas: replicas.iter().map(PathBuf::from).collect() }
    }

    fn wait(id: Option<&str>) -> Remedy {
        Remedy::Wait { id: id.map(str::to_owned) }
    }

    fn known_as(id: &str) -> Known {
        Known::As(Some(id.to_owned()))
    }

    #[test]
    fn a_repository_is_known_however_long_ago_the_service_started() {
        let scratch = tempfile::tempdir().unwrap();
        let sources = Sources { working_directory: scratch.path().to_owned(), ..Sources::default() };
        let settings = Settings::load(&sources).unwrap();
        std::fs::create_dir_all(&settings.log_directory).unwrap();
        assert_eq!(known_here(&settings), Known::Never);
        let mut log = AuditLog::open(&settings.log_directory.join(AUDIT_LOG), None).unwrap().0;
        let here = settings.backup.backup_directory.display().to_string();
        let entry = |event, details: serde_json::Value| Entry {
            timestamp: DateTime::UNIX_EPOCH,
            event,
            actor: "supervisor",
            principal: "supervisor".to_owned(),
            set: None,
            backup_id: None,
            outcome: Outcome::Info,
            details: details.as_object().cloned().unwrap_or_default(),
            correlation_id: String::new(),
        };
        let started =
            |place: &str, id: Option<&str>| entry("ServiceStarted", json!({"repository": place, "repository_id": id}));
        log.append(&[started(&here, None), started("elsewhere", Some("b"))]).unwrap();
        assert_eq!(known_here(&settings), Known::Never, "a start that found none is no word of one");
        log.append(&[started(&here, Some("a")), started(&here, None)]).unwrap();
        log.append(&vec![entry("BackupUnchanged", json!({})); 2000]).unwrap();
        assert_eq!(known_here(&settings), known_as("a"));
    }

    #[test]
    fn a_repository_is_begun_only_by_a_normal_start_where_none_was_known() {
        let replicas = [vec![], vec![replica("/a", "a")], vec![replica("/b", "b")]];
        let known = [Known::Never, known_as("a"), Known::As(None), Known::Unreadable];
        let left = [Left::Nothing, Left::Headless("damaged".into())];
        for (emergency, left) in left.iter().flat_map(|left| [(false, left), (true, left)]) {
            for (known, replicas) in known.iter().flat_map(|known| replicas.iter().map(move |some| (known, some))) {
                let begun = remedy(emergency, left, known, replicas) == Remedy::Begin;
                let never = !emergency && *left == Left::Nothing && *known == Known::Never;
                assert_eq!(begun, never, "{emergency} {left:?} {known:?} {replicas:?}");
            }
        }
    }

    #[test]
    fn one_that_is_gone_comes_back_from_its_own_replicas_and_only_when_that_was_asked_for() {
        let (a, b) = (replica("/a", "a"), replica("/b", "b"));
        assert_eq!(remedy(false, &Left::Nothing, &known_as("a"), std::slice::from_ref(&a)), wait(Some("a")));
        assert_eq!(remedy(true, &Left::Nothing, &known_as("a"), &[a, b.clone()]), found_again(Some("a"), &["/a"]));
        assert_eq!(remedy(true, &Left::Nothing, &known_as("a"), std::slice::from_ref(&b)), wait(Some("a")));
        assert_eq!(
            remedy(true, &Left::Nothing, &Known::Never, std::slice::from_ref(&b)),
            found_again(Some("b"), &["/b"])
        );
        assert_eq!(remedy(true, &Left::Nothing, &Known::Never, &[]), wait(None));
    }

    #[test]
    fn what_is_left_gets_the_id_that_it_had_and_what_replicas_of_it_have() {
        let headless = Left::Headless("damaged".into());
        let replicas = [replica("/b", "b"), replica("/a", "a"), replica("/a2", "a")];
        for emergency in [false, true] {
            let remedy = |known: &Known, replicas: &[_]| remedy(emergency, &headless, known, replicas);
            assert_eq!(remedy(&known_as("a"), &replicas), found_again(Some("a"), &["/a", "/a2"]));
            assert_eq!(remedy(&Known::Unreadable, &[]), found_again(None, &[]));
            assert_eq!(remedy(&Known::Never, &[]), found_again(None, &[]));
        }
    }
}
