//! Where files that are got out may go.
//!
//! Hazard: files that are restored into the repository lie where its own are looked for, and one that has the name of one
//! of them takes its place. And what is got out belongs to whoever the command works as, who may not be who typed it.

use std::path::Path;

use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::api::{Problem, ProblemKind};
use crate::files::system::User;
use crate::settings::{Settings, resolved};

/// Refuses a target in the repository or one of its replicas, and one that could not be written.
pub fn check(target: &Path, settings: &Settings) -> Result<(), Problem> {
    let really = resolved(target);
    let replicas = settings.replicas.iter().map(|replica| replica.path.as_path());
    let kept = [settings.backup.backup_directory.as_path()].into_iter().chain(replicas);
    if let Some(place) = kept.into_iter().find(|place| really.starts_with(resolved(place))) {
        let why = format!(
            "{} is inside {}, where backups are kept: name a place outside of it",
            target.display(),
            place.display()
        );
        return Err(Problem::new(ProblemKind::BadRequest, why));
    }
    let Some(there) = really.ancestors().find(|above| above.exists()) else { return Ok(()) };
    match access(there, Access::WRITE_OK | Access::EXEC_OK) {
        Err(Errno::ACCESS) if there.is_dir() => {
            let me = User::me();
            let why = format!(
                "{} cannot be written by {me}, as whom this works because the repository is theirs: name a directory \
                 that {me} may write",
                there.display()
            );
            Err(Problem::new(ProblemKind::Target, why))
        }
        // Whoever writes says what else is in the way.
        _ => Ok(()),
    }
}
