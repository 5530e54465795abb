//! Who is told of what a person must hear of.
//!
//! Hazard: a person who is told the same thing every minute stops reading. How often is said here, and is never nothing.

use std::time::Duration;

use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, prevailing};
use super::stated::{SECOND, Stated};
use super::values::{command, time};

/// Who is told of what a person must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySettings {
    /// The program, with its arguments, that is run; empty: none is.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// What comes again and again is told no sooner than after this time.
    pub repeat: Duration,
}

/// What was said in `[notify]`.
pub(super) struct StatedNotify {
    command: Stated<Vec<String>>,
    timeout: Stated<Duration>,
    repeat: Stated<Duration>,
}

impl StatedNotify {
    /// Reads the section.
    pub fn read(mut section: Section, errors: &mut Vec<SettingsError>) -> Self {
        let stated = Self {
            command: section.take("command", command),
            timeout: section.take("timeout", time(SECOND..=Duration::from_secs(600))),
            repeat: section.take("repeat", time(SECOND..=Duration::from_secs(30 * 86_400))),
        };
        section.finish(errors);
        stated
    }

    /// What holds.
    pub fn decide(&self, ledger: &mut Ledger) -> NotifySettings {
        NotifySettings {
            command: ledger.note("notify.command", prevailing(&[&self.command], vec![])),
            timeout: ledger.note("notify.timeout", prevailing(&[&self.timeout], Duration::from_secs(30))),
            repeat: ledger.note("notify.repeat", prevailing(&[&self.repeat], Duration::from_secs(3600))),
        }
    }
}
