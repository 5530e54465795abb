//! Files that the last backup of a set lacks, and the one before it had.
//!
//! Hazard: a filesystem that is no longer mounted, or a slip with `rm`, and every backup from then on is "good" and lacks
//! most of the files. What is gone is named until it is back, or until a backup was made by hand after it was told.

use std::collections::BTreeSet;

use super::source::plain;
use crate::core::{BackupId, BackupKind, BackupState};
use crate::repository::catalogue::{Backup, SetIndex};
use crate::repository::wire::Body;
use crate::settings::SetSettings;

/// What a backup lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fewer {
    /// The backup that has it.
    pub before: BackupId,
    /// How many files that one has.
    pub files_before: usize,
    /// The files that are gone, by path.
    pub gone: Vec<String>,
}

/// The most files that a sentence names.
const MAX_NAMED: usize = 5;

impl Fewer {
    /// `2 files fewer than before: a, b; backup 20261123T101500Z-3f9c2ab1 has them`
    pub fn sentence(&self) -> String {
        let named: Vec<&str> = self.gone.iter().take(MAX_NAMED).map(String::as_str).collect();
        let more = match self.gone.len() - named.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let files = if self.gone.len() == 1 { "1 file".to_owned() } else { format!("{} files", self.gone.len()) };
        format!("{files} fewer than before: {}{more}; backup {} has them", named.join(", "), self.before)
    }

    /// Whether more than half of the files are gone.
    pub const fn is_most(&self) -> bool {
        self.gone.len() * 2 > self.files_before
    }
}

/// What the newest version of a set lacks. Logs come and go; what the set no longer names is not missed.
pub fn fewer_now(index: &SetIndex, set: &SetSettings) -> Option<Fewer> {
    let newest = index.backups().iter().rev().find(|backup| is_version(backup))?;
    fewer(index, set, newest)
}

/// What this version lacks.
pub fn fewer(index: &SetIndex, set: &SetSettings, backup: &Backup) -> Option<Fewer> {
    if set.kind.is_logs() || !is_version(backup) {
        return None;
    }
    let position = backup.position()?;
    let earlier = index.backups().iter().rev().filter(|other| other.position().is_some_and(|other| other < position));
    let before = earlier.into_iter().find(|other| is_version(other))?;
    let (body, earlier) = (body(backup)?, body_of_intact(before)?);
    let there: BTreeSet<&str> = body.kept().map(|kept| kept.path().as_str()).collect();
    // Unreadable, and whatever is in a directory that is, is told by itself.
    let unread: Vec<&str> = body.unreadable.iter().map(|file| file.path.as_str()).collect();
    let is_unread =
        |path: &str| unread.iter().any(|unread| *unread == path || unread.ends_with('/') && path.starts_with(unread));
    let had = || earlier.kept().map(|kept| kept.path().as_str()).filter(|path| set.files.is_match(&plain(path)));
    let gone: Vec<String> = had().filter(|path| !there.contains(path) && !is_unread(path)).map(str::to_owned).collect();
    (!gone.is_empty()).then(|| Fewer { before: before.id, files_before: had().count(), gone })
}

fn is_version(backup: &Backup) -> bool {
    body(backup).is_some() && backup.kind() != Some(BackupKind::PreRestore)
}

fn body(backup: &Backup) -> Option<&Body> {
    backup.content.as_ref()?.manifest.body.as_ref()
}

fn body_of_intact(backup: &Backup) -> Option<&Body> {
    body(backup).filter(|_| matches!(backup.state(), BackupState::Good | BackupState::Suspect))
}
