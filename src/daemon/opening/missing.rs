//! A repository that is not where it should be, in words.
//!
//! Hazard: `no backups`, said of a disk that is not mounted. Whoever looks for the repository is told where it was
//! expected, what the audit log and the replicas know of it, and what to do.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use super::Need;
use super::known::{Known, known_elsewhere, known_here};
use super::remedy::{Left, Remedy, remedy};
use crate::actors::AUDIT_LOG;
use crate::core::BackupState;
use crate::daemon::storage;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::settings::Settings;

/// A repository that is not there.
#[derive(Debug)]
pub struct Missing {
    directory: PathBuf,
    audit_log: PathBuf,
    known: Known,
    elsewhere: Option<PathBuf>,
    /// The replicas of the settings.
    sought: Vec<PathBuf>,
    /// Those that it comes back from.
    copies: Vec<Stock>,
}

/// What a replica has.
#[derive(Debug)]
struct Stock {
    path: PathBuf,
    backups: usize,
    newest: Option<DateTime<Utc>>,
}

/// The replicas of the settings that can be opened, each with its id.
pub fn replicas(settings: &Settings) -> Vec<(PathBuf, String)> {
    let id = |path: &Path| Some(Repository::document_of(storage(path).ok()?.as_ref()).ok()?.id);
    settings.replicas.iter().filter_map(|replica| Some((replica.path.clone(), id(&replica.path)?))).collect()
}

impl Missing {
    /// Looks for what is known of the repository of these settings, which is not there.
    pub fn look(settings: &Settings) -> Self {
        let known = known_here(settings);
        let copies = match remedy(Need::Emergency, &Left::Nothing, &known, false, &replicas(settings)) {
            Remedy::FoundAgain { replicas, .. } => replicas.into_iter().map(Stock::of).collect(),
            Remedy::Begin | Remedy::Wait { .. } => vec![],
        };
        Self {
            directory: settings.backup.backup_directory.clone(),
            audit_log: settings.log_directory.join(AUDIT_LOG),
            elsewhere: (known == Known::Never).then(|| known_elsewhere(settings)).flatten(),
            known,
            sought: settings.replicas.iter().map(|replica| replica.path.clone()).collect(),
            copies,
        }
    }

    /// Whether there never was one, as far as can be told.
    pub fn is_none_yet(&self) -> bool {
        self.known == Known::Never && self.copies.is_empty()
    }

    /// Whether a replica has it.
    pub fn can_come_back(&self) -> bool {
        !self.copies.is_empty()
    }

    /// Where it was expected.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The replicas that it would come back from, and what they have.
    pub fn copies(&self) -> String {
        self.copies.iter().map(Stock::tell).collect::<Vec<_>>().join(", ")
    }

    /// For a command: what is missing, and what to do.
    pub fn to_command(&self) -> String {
        let next = match (self.is_none_yet(), self.copies.is_empty()) {
            (true, _) => "start the service once, or run `fiovana-app init`".to_owned(),
            (_, false) => format!(
                "mount its disk, or run `fiovana-app recover`, which brings it back from {}; `fiovana-app init` begins \
                 a new one",
                self.copies()
            ),
            (_, true) => format!(
                "mount its disk, or one of a replica ({}), from which `fiovana-app recover` brings it back; \
                 `fiovana-app init` begins a new one",
                self.sought()
            ),
        };
        format!("{}: {next}", self.what())
    }

    /// For the service, which waits for it.
    pub fn to_service(&self) -> String {
        let next = match (&self.known, self.copies.is_empty()) {
            (Known::Never, true) => {
                "see that backup.backup_directory is right; a start without FIOVANA_RECOVERY_MODE begins a repository"
                    .to_owned()
            }
            (_, false) => format!(
                "mount its disk and start again, or bring it back from {}: stop the service, and run \
                 `fiovana-app recover`, or start it with FIOVANA_RECOVERY_MODE=true; `fiovana-app init` begins a new one",
                self.copies()
            ),
            (_, true) => format!(
                "nothing of it is in the replicas either ({}): bring one of them back (mount its disk, or copy it \
                 there) and start again; `fiovana-app init` begins a new one, once the service is stopped",
                self.sought()
            ),
        };
        let what = self.what();
        format!("{what}; nothing can be backed up or restored, and nothing was begun in its place: {next}")
    }

    fn sought(&self) -> String {
        self.sought.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }

    fn what(&self) -> String {
        let (directory, log) = (self.directory.display(), self.audit_log.display());
        match (&self.known, &self.elsewhere) {
            (Known::Never, Some(place)) => format!(
                "there is no repository in {directory}, and none was ever known there; the audit log {log} last knew \
                 one in {}: see that backup.backup_directory is right",
                place.display()
            ),
            (Known::Never, None) if self.copies.is_empty() => {
                format!("there is no repository in {directory}, and none was ever known there")
            }
            (Known::Never, None) => format!("there is no repository in {directory}, and replicas have one"),
            (Known::As(Some(id)), _) => {
                format!(
                    "the repository in {directory} is gone, which the audit log {log}, or the note beside it, knows as {id}"
                )
            }
            (Known::As(None), _) => format!("the repository in {directory} is gone, which the audit log {log} knows"),
            (Known::Unreadable, _) => format!(
                "there is no repository in {directory}, and the audit log {log}, which would tell whether there was \
                 one, cannot be read"
            ),
        }
    }
}

impl Stock {
    fn of(path: PathBuf) -> Self {
        let opened = storage(&path).ok().and_then(|there| Repository::open(there, false).ok());
        let Some((repository, _)) = opened else { return Self { path, backups: 0, newest: None } };
        let catalogue = repository.catalogue();
        let whole = || catalogue.backups().filter(|backup| backup.state() != BackupState::Damaged);
        Self { path, backups: whole().count(), newest: whole().map(Backup::created).max() }
    }

    fn tell(&self) -> String {
        let path = self.path.display();
        match self.newest {
            None => format!("{path} (no backups)"),
            Some(newest) => format!(
                "{path} ({} {}, the newest of {} UTC)",
                self.backups,
                if self.backups == 1 { "backup" } else { "backups" },
                newest.format("%Y-%m-%d %H:%M:%S")
            ),
        }
    }
}
