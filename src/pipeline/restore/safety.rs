//! The files as they are before a restore replaces them.
//!
//! Hazard: a restore of the wrong backup that cannot be undone. Exactly the files that will be replaced or removed are
//! backed up first, read back, and listed as missing where there is none: restoring that backup brings back each of
//! them, and the absence of those that were absent.

use chrono::{DateTime, Utc};

use super::RestoreError;
use crate::core::BackupKind;
use crate::pipeline::Progress;
use crate::pipeline::archive::{self, ArchiveError, Archived};
use crate::pipeline::source::SourceDirectory;
use crate::pipeline::verify::{self, Verdict};
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Finding};
use crate::settings::{FilePatterns, SetSettings};

/// Backs up these files of a set and reads the backup back. It may hold any part of them, or none.
pub(super) fn back_up(
    repository: &Repository,
    source: &SourceDirectory,
    set: &SetSettings,
    paths: Vec<String>,
    now: DateTime<Utc>,
    progress: &Progress,
) -> Result<Backup, RestoreError> {
    // However large what is live has become: it is backed up before it is replaced.
    let set = &SetSettings { files: FilePatterns::exactly(paths), max_size_mb: None, ..set.clone() };
    let request = archive::Request {
        set,
        kind: BackupKind::PreRestore,
        read_everything: true,
        read_sources_every_runs: 1,
        now,
        clock_suspect: false,
        audit_head: None,
    };
    let archived = match archive::archive_from(source, repository, &request, progress) {
        // What is kept back for the moment when nothing else is left is there for this.
        Err(ArchiveError::NoSpace { .. }) if repository.release_reserve() => {
            archive::archive_from(source, repository, &request, progress)
        }
        archived => archived,
    };
    let created = match archived.map_err(RestoreError::Safety)? {
        Archived::Created(created) => created,
        Archived::Unchanged { backup, .. } => return Ok(backup),
    };
    match verify::read_back(repository, &created.backup, &created.proven, progress)?.verdict {
        Verdict::Intact => {}
        Verdict::Damaged(damages) => {
            let first = damages.first().map(|damage| format!("{}: {}", damage.place, damage.fault));
            return Err(RestoreError::SafetyUnproven(first.unwrap_or_default()));
        }
        Verdict::Unreadable(why) => return Err(RestoreError::SafetyUnproven(why)),
    }
    let intact = Finding::Intact { checked: now };
    repository.record_finding(created.backup.id, intact).map_err(RestoreError::Record)?;
    Ok(created.backup)
}
