//! What is known of a repository: every start of the service names one in the audit log, or says that there was none, and
//! a small file beside the log has the id of each that was made or opened.
//!
//! Hazard: the directory says nothing of what it held before it was emptied, or before its disk went.

use std::io;
use std::path::PathBuf;

use super::remembered::remembered;
use crate::actors::AUDIT_LOG;
use crate::actors::problems::chain;
use crate::audit::{AuditError, Authenticator, Record, Wanted, read_records};
use crate::settings::{Settings, resolved};

/// How many starts of the service are looked at.
const MAX_STARTS: usize = 1000;

/// What the audit log knows of a repository in a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// There never was one.
    Never,
    /// There was one, and its id, if that is told.
    As(Option<String>),
    /// The log cannot be read.
    Unreadable,
}

/// What the audit log knows of a repository in the backup directory.
pub fn known_here(settings: &Settings) -> Known {
    // It is noted each time one is opened, and so never older than the last start.
    if let Some(id) = remembered(settings) {
        return Known::As(Some(id));
    }
    let Some(starts) = starts(settings) else { return Known::Unreadable };
    let directory = &settings.backup.backup_directory;
    let locations = [directory.clone(), resolved(directory)].map(|place| place.display().to_string());
    let is_here = |record: &&Record| said(record, "repository").is_some_and(|place| locations.contains(&place));
    let mut here = starts.iter().rev().filter(is_here);
    here.find(|record| found_one(record)).map_or(Known::Never, |record| Known::As(said(record, "repository_id")))
}

/// Where the audit log last knew a repository, if that is another place than the backup directory.
pub fn known_elsewhere(settings: &Settings) -> Option<PathBuf> {
    let starts = starts(settings)?;
    let last = starts.iter().rev().find(|record| found_one(record))?;
    let place = PathBuf::from(said(last, "repository")?);
    (place != settings.backup.backup_directory).then_some(place)
}

/// The last starts of the service, oldest first; none if the log cannot be read.
fn starts(settings: &Settings) -> Option<Vec<Record>> {
    let starts = Wanted { event: Some("ServiceStarted".to_owned()), limit: MAX_STARTS, ..Wanted::default() };
    // Whether they are ours only the repository could tell.
    match read_records(&settings.log_directory.join(AUDIT_LOG), &[], &starts, &Authenticator::default()) {
        Ok(records) => Some(records),
        Err(AuditError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Some(vec![]),
        Err(error) => {
            tracing::warn!("{}", chain(&error));
            None
        }
    }
}

fn said(record: &Record, key: &str) -> Option<String> {
    record.details.get(key).and_then(|value| value.as_str()).map(str::to_owned)
}

/// Whether this start came upon a repository.
fn found_one(record: &Record) -> bool {
    record.details.get("repository_id").is_none_or(|id| !id.is_null())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;
    use serde_json::json;

    use super::*;
    use crate::audit::{AuditLog, Entry, Outcome};
    use crate::settings::Sources;

    #[test]
    fn a_repository_is_known_however_long_ago_the_service_started() {
        let scratch = tempfile::tempdir().unwrap();
        let sources = Sources { working_directory: scratch.path().to_owned(), ..Sources::default() };
        let settings = Settings::load(&sources).unwrap();
        std::fs::create_dir_all(&settings.log_directory).unwrap();
        assert_eq!(known_here(&settings), Known::Never);
        let mut log = AuditLog::open(&settings.log_directory.join(AUDIT_LOG), None, Arc::new(Authenticator::default()))
            .unwrap()
            .0;
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
        assert_eq!(known_elsewhere(&settings), Some("elsewhere".into()));
        log.append(&[started(&here, Some("a")), started(&here, None)]).unwrap();
        log.append(&vec![entry("BackupUnchanged", json!({})); 2000]).unwrap();
        assert_eq!(known_here(&settings), Known::As(Some("a".to_owned())));
        assert_eq!(known_elsewhere(&settings), None, "the last one that was found is here");
    }
}
