//! Opening the repository, or whatever is in its place.
//!
//! Hazard: a repository that was lost and is begun anew hides the loss; one that is begun beneath the mount point of a
//! disk that is merely not mounted becomes a second one. What is left, what the audit log knows and what replicas there
//! are decide what to do ([`remedy`]); where nothing may be begun, the service comes up without a repository and says so.

mod known;
mod missing;
mod remedy;
mod remembered;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Failure, create_directory, emergency, storage, twin};
use crate::actors::problems::chain;
use crate::actors::{Opening, Role};
use crate::clock::Clock;
use crate::core::mode::RecoveryCause;
use crate::keys::{self, KeyError};
use crate::pipeline::refill::refill;
use crate::repository::lock::{Lock, LockError};
use crate::repository::place::refuse_foreign;
use crate::repository::{OpenError, Repository, layout};
use crate::settings::Settings;
use crate::storage::Storage;
use crate::telemetry::Event;
use emergency::found;
use known::known_elsewhere;
pub use known::{Known, known_here};
pub use missing::Missing;
use remedy::{Left, Remedy, remedy};
use remembered::elsewhere;
pub use remembered::remember;

/// How badly a repository is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// As on any day: what is gone stays so until somebody asks for it.
    Ordinary,
    /// Somebody asked for everything that can be had to be brought back.
    Emergency,
}

/// A repository to work with.
pub struct Opened {
    /// Keeps all others out; none where the backup directory cannot be used at all.
    pub lock: Option<Lock>,
    /// The repository.
    pub repository: Repository,
    /// How that came to be.
    pub opening: Opening,
}

/// Takes the lock and opens the repository. The service, which must come up, gets one whatever is there; a command gets
/// what there is, and in an emergency what there can be made of it.
pub fn open(settings: &Settings, clock: &dyn Clock, role: Role, need: Need) -> Result<Opened, Failure> {
    let directory = &settings.backup.backup_directory;
    let emergency = need == Need::Emergency;
    if role == Role::Command && !emergency && !directory.exists() {
        return Err(explain(settings, OpenError::Absent(directory.display().to_string())));
    }
    // Whoever recovers does so with what keys there are; whoever merely starts is told what is wrong with them, and nothing is
    // begun.
    let found_wrong = |error: &KeyError| found(&chain(error));
    let is_start = role == Role::Daemon && !emergency;
    let keys = if is_start { keys::load(settings)? } else { keys::salvage(settings, found_wrong) };
    let comes_up = |failure: &Failure| match failure {
        Failure::Lock(LockError::Held(_) | LockError::Network(_)) => false,
        // Its disk is not mounted, and somebody else's files are beneath.
        Failure::Repository(OpenError::Foreign { .. }) if role == Role::Daemon => {
            emergency || known_here(settings) != Known::Never
        }
        _ => emergency && role == Role::Daemon,
    };
    let (lock, place) = match take(directory, emergency) {
        Err(failure) if comes_up(&failure) => {
            let (repository, opening) = without(directory, failure)?;
            repository.set_keys(keys);
            return Ok(Opened { lock: None, repository, opening });
        }
        taken => taken?,
    };
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
        Err(error) if role == Role::Command && !emergency => return Err(explain(settings, error)),
        Err(error @ OpenError::Storage(_)) if emergency && role == Role::Daemon => without(directory, error.into())?,
        Err(error) => instead(settings, &place, (error, lock.follows_a_crash()), need, clock.now())?,
    };
    let mut opening = opening;
    if !repository.is_vacant() {
        opening.earlier = earlier(settings, repository.id());
        opening.earlier.iter().for_each(|earlier| tracing::warn!("{earlier}"));
        remember(settings, repository.id());
    }
    repository.set_keys(keys);
    repository.restock_reserve();
    if emergency {
        emergency::survey(settings, &repository);
    }
    Ok(Opened { lock: Some(lock), repository, opening })
}

/// Where another repository is that was used before this one, and how to bring it along; as long as it is there.
fn earlier(settings: &Settings, id: &str) -> Option<String> {
    let here = settings.backup.backup_directory.display();
    let places = elsewhere(settings).into_iter().filter(|(_, theirs)| theirs != id);
    let mut there = places.filter(|(place, theirs)| {
        let document = storage(place).ok().and_then(|there| Repository::document_of(there.as_ref()).ok());
        document.is_some_and(|document| document.id == *theirs)
    });
    let (place, _) = there.next()?;
    let place = place.display();
    Some(format!(
        "an earlier repository is in {place}: to go on with it, set backup_directory back; to bring it along, stop the \
         service, move {here} away, and copy it here (`cp -a {place} {here}`); to be rid of this, move or remove it"
    ))
}

/// Takes the backup directory for this process alone.
fn take(directory: &Path, emergency: bool) -> Result<(Lock, Arc<dyn Storage>), Failure> {
    create_directory(directory)?;
    let place = storage(directory)?;
    refuse_foreign(directory, place.as_ref())?;
    let lock = if emergency { emergency::lock(directory)? } else { Lock::acquire(directory)? };
    Ok((lock, place))
}

/// What an emergency start comes up with where the backup directory cannot be used: nothing, and why.
fn without(directory: &Path, why: Failure) -> Result<(Repository, Opening), Failure> {
    let Some(near) = directory.ancestors().find_map(|place| storage(place).ok()) else { return Err(why) };
    let what = format!(
        "{}; nothing can be backed up or restored until that is mended and the service started again",
        chain(&why)
    );
    found(&what);
    let opening = Opening { alarm: Some(RecoveryCause::RepositoryMissing), missing: Some(what), ..Opening::default() };
    Ok((Repository::vacant_at(directory.display().to_string(), near, None), opening))
}

/// Why a command cannot have the repository, and what to do.
pub fn explain(settings: &Settings, error: OpenError) -> Failure {
    match error {
        OpenError::Absent(_) => Missing::look(settings).into(),
        OpenError::Damaged { .. } | OpenError::Headless(_) => Failure::RepositoryDamaged(error),
        error => error.into(),
    }
}

/// A repository in the place of one that cannot be opened. A creation that was killed may have left something to `clear`.
fn instead(
    settings: &Settings,
    place: &Arc<dyn Storage>,
    (error, clear): (OpenError, bool),
    need: Need,
    now: DateTime<Utc>,
) -> Result<(Repository, Opening), Failure> {
    let left = match &error {
        OpenError::Absent(_) => Left::Nothing,
        OpenError::Damaged { .. } | OpenError::Headless(_) => Left::Headless(error.to_string()),
        _ => return Err(error.into()),
    };
    let known = known_here(settings);
    let is_another_place = settings.names_backup_directory() && known_elsewhere(settings).is_some();
    match remedy(need, &left, &known, is_another_place, &missing::replicas(settings)) {
        Remedy::Begin => {
            Repository::create(place.clone(), now)?;
            Ok((Repository::open(place.clone(), clear)?.0, Opening::default()))
        }
        Remedy::Wait { id } => {
            let missing = Missing::look(settings).to_service();
            found(&missing);
            let alarm = Some(RecoveryCause::RepositoryMissing);
            let opening = Opening { alarm, missing: Some(missing), ..Opening::default() };
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
            Ok((repository, Opening { alarm, told, ..Opening::default() }))
        }
    }
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
