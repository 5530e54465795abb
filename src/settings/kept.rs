//! The last settings that loaded, kept for the day on which the settings file cannot be understood.
//!
//! Hazard: an emergency start with defaults looks for the backups in the wrong place. So the text of the last settings
//! file that was accepted is kept in two places that are far apart: in the repository's `state/`, and as a settings file
//! beside the audit log. Only the owner may read either.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{MAX_SETTINGS_BYTES, Settings};
use crate::files::{read_plain, replace};

/// The name of the copy beside the audit log.
pub const KEPT: &str = "fiovana-app.settings.toml";

/// A settings file that was accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSettings {
    /// Where it was.
    pub file: PathBuf,
    /// What it said.
    pub text: String,
}

impl KeptSettings {
    /// What is to be kept of these settings: nothing, if no file was in use.
    pub fn of(settings: &Settings) -> Option<Self> {
        Some(Self { file: settings.settings_file.clone()?, text: settings.settings_text.clone()? })
    }

    /// Puts the copy into `directory`, durably and whole; does nothing if it is there already.
    pub fn keep_in(&self, directory: &Path) -> io::Result<()> {
        let place = directory.join(KEPT);
        if read_plain(&place, MAX_SETTINGS_BYTES).is_ok_and(|there| there == self.text.as_bytes()) {
            return Ok(());
        }
        replace(&place, self.text.as_bytes(), 0o600)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_copy_is_replaced_whole_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["[http]\n", "", "[backup]\n"] {
            let kept = KeptSettings { file: "/etc/fiovana.toml".into(), text: text.to_owned() };
            kept.keep_in(directory.path()).unwrap();
            let place = directory.path().join(KEPT);
            assert_eq!(std::fs::read_to_string(&place).unwrap(), text);
            assert_eq!(place.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
        }
    }
}
