//! What the settings are made from.
//!
//! Hazard: a settings file that was named but cannot be read must never be replaced in silence by defaults, and a
//! relative path must mean the same whoever prints it. The file is found by one rule, and every path is made absolute
//! here.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::error::SettingsError;
use super::origin::{Origin, Said};
use super::variables;
use crate::files::plain::read_up_to;
use crate::files::{NotPlain, Refusal, Trust};

/// The settings file that is used when none is named and it is there.
const DEFAULT_SETTINGS_FILE: &str = "config/fiovana.toml";

/// The largest settings file, in bytes.
pub const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// Everything that settings depend on besides the settings file; nothing of it is read from the process.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The settings file named by `--config`.
    pub config_argument: Option<PathBuf>,
    /// The environment variables.
    pub environment: BTreeMap<OsString, OsString>,
    /// What relative paths are relative to; absolute.
    pub working_directory: PathBuf,
}

/// The text of a settings file.
#[derive(Debug)]
pub(super) struct SettingsText {
    pub path: PathBuf,
    pub text: String,
}

impl Sources {
    /// Whether `FIOVANA_RECOVERY_MODE` asks for a start in recovery mode: any value but empty, `0`, `false`, `no` and
    /// `off`. Answers even when the settings cannot be loaded.
    pub fn recovery_mode(&self) -> bool {
        variables::recovery_mode(&self.environment)
    }

    /// The settings file that is in use, absolute.
    pub fn file(&self) -> Option<PathBuf> {
        Some(self.settings_file().ok()??.value)
    }

    /// `path` made absolute and free of `.` and `..`, by its text alone: links are not looked at.
    pub(super) fn absolute(&self, path: &Path) -> PathBuf {
        let mut absolute = PathBuf::new();
        for component in self.working_directory.join(path).components() {
            match component {
                Component::CurDir => {}
                Component::ParentDir => {
                    absolute.pop();
                }
                other => absolute.push(other),
            }
        }
        absolute
    }

    /// Where the settings file is by default; it need not exist.
    pub(super) fn default_settings_file(&self) -> PathBuf {
        self.absolute(Path::new(DEFAULT_SETTINGS_FILE))
    }

    /// The settings file, as [`Self::named_settings_file`] finds it, if its name can be written down.
    pub(super) fn settings_file(&self) -> Result<Option<Said<PathBuf>>, SettingsError> {
        let file = self.named_settings_file()?;
        match file {
            Some(Said { value: path, origin }) if path.file_name().is_some_and(|name| name.to_str().is_none()) => {
                Err(SettingsError::NoSettingsFile { path, origin, what: "not named in UTF-8" })
            }
            usable => Ok(usable),
        }
    }

    /// The settings file: `--config`, else `FIOVANA_CONFIG`, else the default one if it is there, else none.
    fn named_settings_file(&self) -> Result<Option<Said<PathBuf>>, SettingsError> {
        if let Some(path) = &self.config_argument {
            return Ok(Some(Said { value: self.absolute(path), origin: Origin::Argument("--config") }));
        }
        if let Some((name, value)) = variables::overriding(&self.environment, "settings_file") {
            return match value.to_str() {
                Some(path) => Ok(Some(Said { value: self.absolute(Path::new(path)), origin: Origin::Variable(name) })),
                None => Err(not_text("settings_file", name, value)),
            };
        }
        let default = self.default_settings_file();
        // A link that leads nowhere is there too: better refused than overlooked.
        Ok(default.symlink_metadata().is_ok().then(|| Said::built_in(default)))
    }
}

/// A variable whose value is not UTF-8.
pub(super) fn not_text(key: &str, name: &'static str, value: &OsStr) -> SettingsError {
    SettingsError::Value {
        key: key.to_owned(),
        value: format!("{value:?}"),
        origin: Origin::Variable(name),
        allowed: "give UTF-8 text".to_owned(),
    }
}

/// Reads the settings file.
pub(super) fn read_settings_file(file: &Said<PathBuf>) -> Result<SettingsText, SettingsError> {
    let path = file.value.clone();
    let unreadable = |cause| SettingsError::Unreadable { path: path.clone(), origin: file.origin.clone(), cause };
    let refused = |what| SettingsError::NoSettingsFile { path: path.clone(), origin: file.origin.clone(), what };

    let file = Trust::here().open(&path).map_err(|refusal| match refusal {
        Refusal::Distrusted(distrusted) => SettingsError::Distrusted(distrusted),
        Refusal::Io(error) => match NotPlain::of(&error) {
            Some(NotPlain::Directory) => refused("a directory"),
            Some(_) => refused("no regular file"),
            None => unreadable(error),
        },
    })?;
    let bytes = read_up_to(&file, MAX_SETTINGS_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => refused("larger than 1 MiB"),
        _ => unreadable(error),
    })?;
    let text =
        String::from_utf8(bytes).map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
    Ok(SettingsText { path, text })
}
