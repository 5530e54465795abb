//! What failed, as a problem that a person can act on.
//!
//! Hazard: the same failure under two names, or an internal word in an operator's face. Each error of the pipeline is
//! translated here, once.

use std::error::Error;

use super::turns::{MOST_WAITING, NoTurn, PATIENCE};
use crate::api::{Problem, ProblemKind};
use crate::core::mode::IllegalEvent;
use crate::core::{BackupId, SetName};
use crate::pipeline::archive::ArchiveError;
use crate::pipeline::content::ContentFault;
use crate::pipeline::export::ExportError;
use crate::pipeline::forget::Refusal;
use crate::pipeline::restore::RestoreError;
use crate::repository::catalogue::{Backup, Unresolved};
use crate::repository::{ReadError, Repository, WriteError};

/// The most backups that are offered instead of one that would not do.
const MAX_ALTERNATIVES: usize = 5;

/// An error and its causes on one line: `write to the repository: create objects/3f/…: permission denied`.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut last = text.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        // A transparent error says the same as its cause.
        if said != last {
            text.push_str(": ");
            text.push_str(&said);
        }
        last = said;
        source = cause.source();
    }
    text
}

/// Why no backup of `set` was made.
pub fn of_archive(set: &SetName, error: &ArchiveError) -> Problem {
    let kind = match error {
        ArchiveError::Source(_) | ArchiveError::NoFiles { .. } | ArchiveError::TooLarge { .. } => ProblemKind::Source,
        ArchiveError::NoSpace { .. } => ProblemKind::NoSpace,
        ArchiveError::Cancelled(_) => ProblemKind::Unavailable,
        ArchiveError::NoRecipients(_) => ProblemKind::Keys,
        ArchiveError::Write(_) | ArchiveError::Compress(_) => ProblemKind::Internal,
    };
    Problem::new(kind, format!("back up {set}: {}", chain(error)))
}

/// Why backups of `set` were not restored; names those that would do if one of these is damaged.
pub fn of_restore(repository: &Repository, set: &SetName, ids: &[BackupId], error: &RestoreError) -> Problem {
    let kind = match error {
        _ if error.is_damage() => ProblemKind::Integrity,
        _ if error.is_no_space() => ProblemKind::NoSpace,
        _ if error.needs_identity() => ProblemKind::Keys,
        RestoreError::NoSuchFile { .. } | RestoreError::Deleted(_) => ProblemKind::NotFound,
        RestoreError::Twice(_) => ProblemKind::BadRequest,
        RestoreError::Unfinished(_) | RestoreError::Changed(_) => ProblemKind::Busy,
        RestoreError::LiveLog(_)
        | RestoreError::Invalid { .. }
        | RestoreError::Stage { .. }
        | RestoreError::Place { .. }
        | RestoreError::Source(_)
        | RestoreError::Safety(_) => ProblemKind::Target,
        RestoreError::RolledBack { .. } => ProblemKind::RolledBack,
        RestoreError::Cancelled(_) => ProblemKind::Unavailable,
        _ => ProblemKind::Internal,
    };
    let from = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let why = match error {
        RestoreError::Stage { path, source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists => {
            format!("{} is there already, and nothing is written over: give another directory", path.display())
        }
        _ => chain(error),
    };
    let mut problem = Problem::new(kind, format!("restore {set} from {from}: {why}"));
    problem.good_backups = match error {
        RestoreError::NoSuchFile { path, .. } => alternatives(repository, set, ids, Some(path)),
        RestoreError::Invalid { .. } => alternatives(repository, set, ids, None),
        _ if error.is_damage() => alternatives(repository, set, ids, None),
        _ => vec![],
    };
    if let Some(said) = error.health_output().filter(|said| !said.is_empty()) {
        problem.detail = format!("{}; it said: {said}", problem.detail);
    }
    problem
}

/// Why a backup was not exported.
pub fn of_export(repository: &Repository, backup: &Backup, error: &ExportError) -> Problem {
    let detail = || format!("export {}: {}", backup.id, chain(error));
    match error {
        ExportError::Content { path, fault } => of_content(repository, backup, path, fault),
        ExportError::Io(_, error) if error.kind() == std::io::ErrorKind::StorageFull => {
            Problem::new(ProblemKind::NoSpace, detail())
        }
        ExportError::Taken(_) | ExportError::Io(..) => Problem::new(ProblemKind::Target, detail()),
    }
}

/// Why the manifest of a backup, of which a file is wanted, could not be had.
pub fn of_reading(repository: &Repository, backup: &Backup, path: &str, error: &ReadError) -> Problem {
    let needs_identity = matches!(error, ReadError::NoIdentity(_));
    unread(repository, backup, path, unread_kind(error.is_damage(), needs_identity), error)
}

/// Why the content of a file of a backup could not be had.
pub fn of_content(repository: &Repository, backup: &Backup, path: &str, fault: &ContentFault) -> Problem {
    unread(repository, backup, path, unread_kind(fault.is_damage(), fault.needs_identity()), fault)
}

const fn unread_kind(is_damage: bool, needs_identity: bool) -> ProblemKind {
    match (is_damage, needs_identity) {
        (true, _) => ProblemKind::Integrity,
        (false, true) => ProblemKind::Keys,
        (false, false) => ProblemKind::Internal,
    }
}

fn unread(repository: &Repository, backup: &Backup, path: &str, kind: ProblemKind, error: &dyn Error) -> Problem {
    let mut problem = Problem::new(kind, format!("read {path} of backup {}: {}", backup.id, chain(error)));
    if kind == ProblemKind::Integrity {
        problem.good_backups = alternatives(repository, &backup.set, &[backup.id], Some(path));
    }
    problem
}

/// The newest good backups of a set, other than these, that have the wanted file.
fn alternatives(
    repository: &Repository,
    set: &SetName,
    instead_of: &[BackupId],
    wanted: Option<&str>,
) -> Vec<BackupId> {
    let catalogue = repository.catalogue();
    let has_wanted = |backup: &&Backup| {
        let mut kept = backup.content.iter().flat_map(|content| content.manifest.kept());
        wanted.is_none_or(|path| kept.any(|kept| *kept.path() == path))
    };
    let backups = catalogue.set(set).map_or(&[][..], |index| index.backups());
    let others = backups.iter().rev().filter(|backup| backup.is_good_version() && !instead_of.contains(&backup.id));
    others.filter(has_wanted).take(MAX_ALTERNATIVES).map(|backup| backup.id).collect()
}

/// Why a reference names no backup.
pub fn of_unresolved(unresolved: &Unresolved) -> Problem {
    let kind = match unresolved {
        Unresolved::Unknown(_) | Unresolved::NoneGood(_) => ProblemKind::NotFound,
        Unresolved::LatestOfWhat => ProblemKind::BadRequest,
        Unresolved::Ambiguous { .. } => ProblemKind::Ambiguous,
        Unresolved::OtherSet { .. } => ProblemKind::SetMismatch,
    };
    Problem::new(kind, unresolved.to_string())
}

/// Why the mode did not change.
pub fn of_illegal(illegal: &IllegalEvent) -> Problem {
    Problem::new(ProblemKind::WrongMode, illegal.to_string())
}

/// Why something was not deleted, or not noted.
pub fn of_deletion(error: &WriteError) -> Problem {
    Problem::new(ProblemKind::Internal, chain(error))
}

/// Why something is not given up.
pub fn of_forget(refusal: &Refusal) -> Problem {
    let kind = match refusal {
        Refusal::NotLost(..) | Refusal::Pinned(_) => ProblemKind::Protected,
        Refusal::NoLoss(..) => ProblemKind::NotFound,
    };
    Problem::new(kind, refusal.to_string())
}

/// An actor did not answer.
pub fn of_silence(actor: &str) -> Problem {
    Problem::new(ProblemKind::Unavailable, format!("the {actor} is being restarted: try again in a few seconds"))
}

/// The service is stopping.
pub fn stopping() -> Problem {
    Problem::new(ProblemKind::Unavailable, "the service is stopping: try again when it is up")
}

/// A set that is busy.
pub fn busy(set: &SetName) -> Problem {
    Problem::new(ProblemKind::Busy, format!("{set} is being backed up or restored: try again when that is done"))
}

/// A call that did not get its turn at a set.
pub fn of_no_turn(set: &SetName, why: NoTurn) -> Problem {
    let detail = match why {
        NoTurn::TooLong => format!(
            "{set} has been backed up or restored for longer than the {} s that a call waits: try again when that is done",
            PATIENCE.as_secs()
        ),
        NoTurn::TooMany => format!("{MOST_WAITING} calls wait for {set} already: try again when they are done"),
    };
    Problem::new(ProblemKind::Busy, detail)
}

/// A caller that left before its turn at a set.
pub fn caller_left(set: &SetName) -> Problem {
    Problem::new(ProblemKind::Busy, format!("{set} was busy, and the caller left before its turn: nothing was done"))
}

/// A set that is not configured.
pub fn unknown_set(name: &str, known: impl Iterator<Item = SetName>) -> Problem {
    let known: Vec<String> = known.map(|set| set.to_string()).collect();
    let shown: String = name.chars().take(48).collect();
    let detail = format!("there is no backup set {shown:?}: the configured sets are {}", known.join(", "));
    Problem::new(ProblemKind::NotFound, detail)
}
