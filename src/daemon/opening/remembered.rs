//! Which repository belongs where, in a small file beside the audit log.
//!
//! Hazard: a repository that no start of the service is on record for, since a command made it or the log was rotated
//! away, and whose disk is not mounted one day: it would be begun anew. So whoever opens or makes one notes its id here,
//! away from the backups themselves.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{read_plain, replace};
use crate::settings::{Settings, resolved};

/// Its name in the log directory.
pub const REMEMBERED: &str = "fiovana-app.repositories.json";

/// The most that is read of it.
const MAX_BYTES: u64 = 64 << 10;

/// The ids, by where their repositories are.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    repositories: BTreeMap<PathBuf, String>,
}

impl Remembered {
    /// What the file says; nothing if it is not there, or nothing that can be understood.
    fn read(file: &Path) -> Self {
        let text = read_plain(file, MAX_BYTES);
        text.ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    fn write(&self, file: &Path) -> io::Result<()> {
        std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
        replace(file, &serde_json::to_vec_pretty(self)?, 0o600)
    }
}

/// The id of the repository that was last known in the backup directory.
pub fn remembered(settings: &Settings) -> Option<String> {
    Remembered::read(&file(settings)).repositories.remove(&resolved(&settings.backup.backup_directory))
}

/// The repositories that were known in other places than the backup directory.
pub fn elsewhere(settings: &Settings) -> Vec<(PathBuf, String)> {
    let here = resolved(&settings.backup.backup_directory);
    let known = Remembered::read(&file(settings)).repositories;
    known.into_iter().filter(|(place, _)| *place != here).collect()
}

/// Notes that the repository in the backup directory has this id.
pub fn remember(settings: &Settings, id: &str) {
    let (file, place) = (file(settings), resolved(&settings.backup.backup_directory));
    let mut known = Remembered::read(&file);
    if known.repositories.get(&place).is_some_and(|there| there == id) {
        return;
    }
    // Places that are no more, but for the one whose disk may be away.
    known.repositories.retain(|place, _| place.parent().is_some_and(Path::exists));
    known.repositories.insert(place, id.to_owned());
    if let Err(error) = known.write(&file) {
        // The audit log, which is told of each start, is there for the same.
        tracing::warn!("which repository this is is not noted in {}: {error}", file.display());
    }
}

fn file(settings: &Settings) -> PathBuf {
    settings.log_directory.join(REMEMBERED)
}
