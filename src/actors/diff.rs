//! Differences, as documents.
//!
//! Hazard: a difference without an end, or one asked of something that is not there. Files beyond a bound are counted;
//! what cannot be compared is said once, as everywhere.

use super::{problems, view};
use crate::api::{DiffDocument, FileChange, FileDiff, Problem, ProblemKind};
use crate::core::secrets::Secrets;
use crate::core::{BackupId, BackupRef, SetName};
use crate::pipeline::compare::{CompareError, FileDifference, Side, Wanted, compare};
use crate::repository::Repository;
use crate::settings::{SetSettings, Settings};

/// The most files that a difference tells of.
const MAX_FILES: usize = 1000;

/// What differs between a backup and another of its set, or what is live if none is given.
pub fn diff(
    repository: &Repository,
    settings: &Settings,
    (before, after): (&BackupRef, Option<&BackupRef>),
    secrets: Secrets,
) -> Result<DiffDocument, Problem> {
    let older = view::resolve(repository, None, &before.to_string())?;
    let wanted = Wanted { only: None, secrets };
    let (files, after) = match after {
        Some(reference) => {
            let newer = view::resolve(repository, Some(&older.set), &reference.to_string())?;
            (files(repository, &Side::Backup(&older), &Side::Backup(&newer), wanted)?, newer.id.to_string())
        }
        None => {
            let live = Side::Live(set(settings, &older.set)?);
            (files(repository, &Side::Backup(&older), &live, wanted)?, "live".to_owned())
        }
    };
    let (more, shown) = (files.len().saturating_sub(MAX_FILES), files.into_iter().take(MAX_FILES));
    let before = older.id.to_string();
    Ok(DiffDocument { set: older.set, before, after, files: shown.map(file_diff).collect(), more })
}

/// What a restore of one file of a set from this backup would change in it; `None` if nothing.
pub fn change_of(
    repository: &Repository,
    settings: &Settings,
    (name, path): (&SetName, &str),
    backup: BackupId,
) -> Result<Option<FileDiff>, Problem> {
    let backup = view::resolve(repository, Some(name), &backup.to_string())?;
    let wanted = Wanted { only: Some(path), ..Wanted::default() };
    let files = files(repository, &Side::Live(set(settings, name)?), &Side::Backup(&backup), wanted)?;
    Ok(files.into_iter().next().map(file_diff))
}

fn files(
    repository: &Repository,
    before: &Side<'_>,
    after: &Side<'_>,
    wanted: Wanted<'_>,
) -> Result<Vec<FileDifference>, Problem> {
    compare(repository, before, after, wanted).map_err(|error| {
        let damaged = matches!(&error, CompareError::Manifest(error) if error.is_damage());
        let kind = if damaged { ProblemKind::Integrity } else { ProblemKind::Source };
        Problem::new(kind, format!("compare: {}", problems::chain(&error)))
    })
}

fn set<'s>(settings: &'s Settings, name: &SetName) -> Result<&'s SetSettings, Problem> {
    let known = || settings.sets.iter().map(|set| set.name.clone());
    let found = settings.sets.iter().find(|set| set.name == *name);
    found.ok_or_else(|| problems::unknown_set(name.as_str(), known()))
}

fn file_diff(file: FileDifference) -> FileDiff {
    let change = match file.presence {
        (false, _) => FileChange::Added,
        (_, false) => FileChange::Removed,
        (true, true) => FileChange::Changed,
    };
    FileDiff { path: file.path, change, hidden: file.hidden, difference: file.difference }
}
