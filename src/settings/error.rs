//! What is wrong with the settings.
//!
//! Hazard: a service that starts on half-understood settings protects the wrong files. Every problem is found before
//! the start, all of them at once, one line each, and the line says what to write instead.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use super::origin::Origin;

use crate::files::system::User;
use crate::files::{Distrusted, Doubt};

/// One problem.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A value that is not allowed, or one that is missing (then `value` is `nothing`).
    #[error("{key}: {value} ({origin}) is not allowed: {allowed}")]
    Value {
        /// The dotted key; those of `[backup]` by the bare names of their fields.
        key: String,
        /// The value, shortened, on one line.
        value: String,
        /// Who said it.
        origin: Origin,
        /// What may be said instead.
        allowed: String,
    },
    /// A key that means nothing here.
    #[error("{key}: {value} ({origin}) is not a setting: {hint}")]
    UnknownKey {
        /// The dotted key.
        key: String,
        /// Its value, shortened, on one line.
        value: String,
        /// Where it stands.
        origin: Origin,
        /// The key that may have been meant, or those that are known there.
        hint: String,
    },
    /// The settings file is no TOML.
    #[error("{}{}: {message}", .path.display(), .place.map(|p| p.to_string()).unwrap_or_default())]
    Syntax {
        /// The settings file.
        path: PathBuf,
        /// Where in it, if the parser says.
        place: Option<Place>,
        /// What the parser expected.
        message: String,
    },
    /// The settings file cannot be read.
    #[error("read settings file {} ({origin})", .path.display())]
    Unreadable {
        /// The settings file.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// What was named as settings file cannot be one.
    #[error("settings file {} ({origin}) is {what}: name a TOML file", .path.display())]
    NoSettingsFile {
        /// The path.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
        /// What it is instead.
        what: &'static str,
    },
    /// Somebody else could have written the settings file.
    #[error("settings file: {}", told(.0))]
    Distrusted(Distrusted),
    /// Relative paths have nothing to be relative to.
    #[error("working directory {} is not an absolute path", .0.display())]
    WorkingDirectory(PathBuf),
}

/// Whoever can write the settings can have anything done: so it is done as that user, or not at all.
fn told(distrusted: &Distrusted) -> String {
    let Doubt::Owner(uid) = distrusted.doubt else { return distrusted.to_string() };
    let (place, owner, me) = (distrusted.place.display(), User::of(uid), User::me());
    format!(
        "{place} belongs to {owner}, and this is {me}: run it as that user (sudo -u {}), or name a settings file that only \
         you can write with --config",
        owner.for_sudo()
    )
}

/// A place in the settings file; both count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters; `None` if only the line is known.
    pub column: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " line {}", self.line)?;
        self.column.map_or(Ok(()), |column| write!(f, ", column {column}"))
    }
}

/// Every problem of the settings, in the order they were met; displayed one line each.
#[derive(Debug, Default)]
pub struct SettingsErrors(pub(super) Vec<SettingsError>);

impl SettingsErrors {
    /// The problems.
    pub fn summary(&self) -> String {
        let first = self.0.first().map(ToString::to_string).unwrap_or_default();
        match self.0.len() {
            0 | 1 => first,
            more => format!("{first}; and {} more", more - 1),
        }
    }

    /// Whether the settings file is another user's to write.
    pub fn is_of_a_stranger(&self) -> bool {
        let is_strangers = |error: &SettingsError| {
            matches!(error, SettingsError::Distrusted(Distrusted { doubt: Doubt::Owner(_), .. }))
        };
        self.0.iter().any(is_strangers)
    }

    /// Whether what the settings file says, and not only whose it is, is wrong.
    pub fn are_of_content(&self) -> bool {
        self.0.iter().any(|error| !matches!(error, SettingsError::Distrusted(_)))
    }

    /// Each problem.
    pub fn lines(&self) -> &[SettingsError] {
        &self.0
    }
}

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{error}")?;
            if let Some(cause) = error.source() {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl Error for SettingsErrors {}
