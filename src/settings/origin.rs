//! Where a value comes from.
//!
//! Hazard: at 3 a.m. "retention is 14 days" is no help; "because /etc/fiovana.toml says so" is. A value travels with
//! its origin from the layer that said it to the message or table that shows it.

use std::fmt;
use std::path::PathBuf;

/// Who said a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is built in.
    BuiltIn,
    /// The settings file.
    File {
        /// The file, absolute.
        path: PathBuf,
        /// The key as an operator finds it there: `[backup].max_backups`.
        key: String,
    },
    /// An environment variable, by name.
    Variable(&'static str),
    /// An argument of the command line, as typed: `--config`.
    Argument(&'static str),
    /// A credential that systemd hands to the service.
    Credential,
    /// The running service, which began with it.
    Running,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built in"),
            Self::File { path, key } => write!(f, "{} {key}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Argument(name) => write!(f, "argument {name}"),
            Self::Credential => f.write_str("a credential of systemd"),
            Self::Running => f.write_str("in force until the next start"),
        }
    }
}

/// One effective value, for `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The dotted key: `backup.max_backups`, `sets.logs.interval`.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// Who said it.
    pub origin: Origin,
}

/// A value and who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said<T> {
    pub value: T,
    pub origin: Origin,
}

impl<T> Said<T> {
    /// A value that nobody had to say.
    pub fn built_in(value: T) -> Self {
        Self { value, origin: Origin::BuiltIn }
    }

    /// The same origin for what follows from the value.
    pub fn map<U>(self, then: impl FnOnce(T) -> U) -> Said<U> {
        Said { value: then(self.value), origin: self.origin }
    }
}

/// The value that holds: a variable's before all others, then the first that was said, else `built_in`.
pub(super) fn prevailing<T: Clone>(most_specific_first: &[&Option<Said<T>>], built_in: T) -> Said<T> {
    let said = || most_specific_first.iter().filter_map(|candidate| candidate.as_ref());
    let by_variable = said().find(|candidate| matches!(candidate.origin, Origin::Variable(_)));
    by_variable.or_else(|| said().next()).cloned().unwrap_or_else(|| Said::built_in(built_in))
}

/// Keeps every effective value with its origin.
#[derive(Default)]
pub(super) struct Ledger(pub Vec<Explained>);

impl Ledger {
    /// Notes the value under `key` and hands it on.
    pub fn note<T: Shown>(&mut self, key: impl Into<String>, said: Said<T>) -> T {
        self.0.push(Explained { key: key.into(), value: said.value.shown(), origin: said.origin });
        said.value
    }
}

/// How a value reads in `config show`: as it would be written in the settings file, without quotes.
pub(super) trait Shown {
    /// The text.
    fn shown(&self) -> String;
}

macro_rules! shown_as_displayed {
    ($($kind:ty),*) => { $(impl Shown for $kind { fn shown(&self) -> String { self.to_string() } })* };
}
shown_as_displayed!(
    bool,
    u32,
    u64,
    usize,
    std::net::SocketAddr,
    crate::core::BackupPriority,
    crate::core::retention::Policy
);

impl Shown for PathBuf {
    fn shown(&self) -> String {
        self.display().to_string()
    }
}
