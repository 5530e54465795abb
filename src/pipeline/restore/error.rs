//! Why files are not back, and in which state the live ones are.
//!
//! Hazard: an operator who does not know whether the live files were touched. Every error says.

use std::io;
use std::path::PathBuf;

use super::health::HealthError;
use crate::core::BackupId;
use crate::pipeline::Cancelled;
use crate::pipeline::archive::ArchiveError;
use crate::pipeline::content::ContentFault;
use crate::repository::{ReadError, WriteError};
use crate::source_path::SourcePathError;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The manifest cannot be had. No live file was touched.
    #[error("the manifest of {backup} cannot be used; no live file was touched")]
    Manifest {
        /// The backup.
        backup: BackupId,
        /// Why.
        #[source]
        source: ReadError,
    },
    /// The backup was deleted after it was picked. No live file was touched.
    #[error("backup {0} was deleted while the restore waited; no live file was touched: pick another backup")]
    Deleted(BackupId),
    /// The content cannot be had. No live file was touched.
    #[error("{path} cannot be restored from this backup; no live file was touched")]
    Content {
        /// The file.
        path: String,
        /// Why.
        #[source]
        fault: ContentFault,
    },
    /// The backup names a file as no backup does. No live file was touched.
    #[error("the backup has a file {0:?}, a name that belongs to restores under way; no live file was touched")]
    ReservedName(String),
    /// The content is not what the set expects. No live file was touched.
    #[error(
        "{path} is not valid JSON in backup {backup} ({fault}); no live file was touched: restore another backup, or say \
         that invalid files are wanted"
    )]
    Invalid {
        /// The backup.
        backup: BackupId,
        /// The file.
        path: String,
        /// What is wrong with it.
        fault: String,
    },
    /// The backup does not have this file.
    #[error("it does not have the file {path:?}: `fiovana-app show {backup}` lists what it has")]
    NoSuchFile {
        /// The backup.
        backup: BackupId,
        /// The file.
        path: String,
    },
    /// Two picks mean the same file.
    #[error("{0:?} is asked for twice")]
    Twice(String),
    /// A live log would have been replaced.
    #[error("{0} is a log: restore it elsewhere with --to DIR, or say that live logs may be replaced (--replace-logs)")]
    LiveLog(String),
    /// The source cannot be used. No live file was touched.
    #[error("nothing was restored, and no live file was touched")]
    Source(#[from] SourcePathError),
    /// The target could not be written. No live file was touched.
    #[error("{action} {}; no live file was touched", .path.display())]
    Stage {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Something of a file cannot be kept where it is restored to. No live file was touched.
    #[error("{action} {}; no live file was touched, and {flag} lets it go", .path.display())]
    Unkept {
        /// What was tried.
        action: &'static str,
        /// Of what.
        path: PathBuf,
        /// The flag that lets it go.
        flag: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file in a fresh directory could not be given its name; those before it were.
    #[error("write {}", .path.display())]
    Place {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another restore of the set has not ended. No live file was touched.
    #[error(
        "an earlier restore did not come to its end ({}), and what it left could not be settled; no live file was touched",
        .0.display()
    )]
    Unfinished(PathBuf),
    /// The live files could not be backed up first. No live file was touched.
    #[error("back up the live files first; none was touched")]
    Safety(#[source] ArchiveError),
    /// The backup of the live files did not read back. No live file was touched.
    #[error("the backup of the live files did not read back ({0}); none was touched")]
    SafetyUnproven(String),
    /// The record of the live files' backup could not be written. No live file was touched.
    #[error("record the backup of the live files; none was touched")]
    Record(#[source] WriteError),
    /// A file could not be put in its place.
    #[error("{action} {}", .path.display())]
    Replace {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A live file changed after it was backed up.
    #[error("{} changed while it was being replaced: try again when nobody writes to it", .0.display())]
    Changed(PathBuf),
    /// What is in the place of a file is not what was put there.
    #[error("{} does not read back as it was written", .0.display())]
    NotAsWritten(PathBuf),
    /// The application cannot live with it.
    #[error(transparent)]
    Health(#[from] HealthError),
    /// It went wrong, and the earlier files are back.
    #[error("rolled back, the earlier files are in their places again{}", aside(.set_aside))]
    RolledBack {
        /// What went wrong.
        #[source]
        cause: Box<RestoreError>,
        /// A backup of the earlier files.
        safety_backup: BackupId,
        /// Where files are that somebody else wrote meanwhile.
        set_aside: Vec<PathBuf>,
    },
    /// It went wrong, and so did going back: the journal is still there.
    #[error(
        "neither finished nor rolled back ({undo}): the next start of the service, or the next restore, settles it; the earlier \
         files are in backup {safety_backup}"
    )]
    Unsettled {
        /// What went wrong.
        #[source]
        cause: Box<RestoreError>,
        /// What kept it from going back.
        undo: String,
        /// A backup of the earlier files.
        safety_backup: BackupId,
    },
    /// The work was told to stop. No live file was touched.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

fn aside(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() {
        String::new()
    } else {
        format!("; what was written to them meanwhile is in {}", shown.join(", "))
    }
}

impl RestoreError {
    /// Whether it is encrypted, and no identity opens it.
    pub const fn needs_identity(&self) -> bool {
        match self {
            Self::Manifest { source, .. } => matches!(source, ReadError::NoIdentity(_)),
            Self::Content { fault, .. } => fault.needs_identity(),
            _ => false,
        }
    }

    /// Whether the backup itself is at fault: damaged, not merely unreadable.
    pub const fn is_damage(&self) -> bool {
        match self {
            Self::Manifest { source, .. } => source.is_damage(),
            Self::Content { fault, .. } => fault.is_damage(),
            Self::ReservedName(_) => true,
            _ => false,
        }
    }

    /// What the health command said, if it is the cause.
    pub fn health_output(&self) -> Option<&str> {
        match self {
            Self::RolledBack { cause, .. } | Self::Unsettled { cause, .. } => cause.health_output(),
            Self::Health(HealthError::Unhealthy { said, .. }) => Some(said),
            _ => None,
        }
    }

    /// Whether it failed for want of space.
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::RolledBack { cause, .. } | Self::Unsettled { cause, .. } => cause.is_no_space(),
            Self::Safety(error) => error.is_no_space(),
            Self::Record(error) => error.is_no_space(),
            Self::Stage { source, .. } | Self::Replace { source, .. } | Self::Place { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}
