//! What recovery would do, file by file, and why.
//!
//! Hazard: a recovery that makes things worse: that brings back a copy nobody vouches for, or replaces a file that was
//! fine. A file is restored because it is missing or invalid, or because somebody asked for it; always from a good
//! copy of that very file; and a digest makes what was shown what is done.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BackupId, BackupKind, BackupState, Digest, Position, SetName};

/// What the operator asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Only these sets; all of them if empty.
    pub sets: BTreeSet<SetName>,
    /// Whether files that differ from their copies are restored although they are valid.
    pub replace_valid: bool,
    /// As things were then: only backups count that were made no later.
    pub at: Option<DateTime<Utc>>,
}

/// What is known of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetFacts {
    /// Its name.
    pub set: SetName,
    /// Its backups.
    pub backups: Vec<BackupFacts>,
    /// Whether there are backups that do not tell what they hold.
    pub has_mute_backups: bool,
    /// Its files: those it names, and those its backups have.
    pub files: Vec<FileFacts>,
}

/// What is known of a backup whose manifest can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackupFacts {
    /// Its id.
    pub id: BackupId,
    /// Its place among the set's backups.
    pub position: Position,
    /// When it was made, as the clock then told it.
    pub created: DateTime<Utc>,
    /// What is known of its bytes and content.
    pub state: BackupState,
    /// Why it was made.
    pub kind: BackupKind,
}

/// What is known of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its path below the set's source.
    pub path: String,
    /// Whether it is a log, which grows by itself and is never put back by a plan.
    pub is_log: bool,
    /// Whether it must be there: the set names it, whatever backups say.
    pub is_named: bool,
    /// What is live.
    pub live: Live,
    /// Its copies.
    pub copies: Vec<FileCopy>,
    /// The backups, as indexes, that found it there and could not read it.
    pub unread: Vec<usize>,
}

/// A copy of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileCopy {
    /// Which of the set's backups has it: an index.
    pub backup: usize,
    /// Its SHA-256.
    pub sha256: Digest,
    /// Its length.
    pub size_bytes: u64,
    /// Whether its content was valid when it was captured.
    pub is_valid: bool,
}

/// What is where a file should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Live {
    /// A file that is valid, or of which nothing is expected; its SHA-256, if that was looked at.
    Whole(Option<Digest>),
    /// A file that does not parse.
    Invalid {
        /// Why.
        fault: String,
        /// Its SHA-256.
        sha256: Digest,
    },
    /// Nothing.
    Missing,
    /// Something that cannot be read now, which proves nothing: why.
    Unreadable(String),
    /// Something that is no file: what.
    Obstructed(String),
}

/// What would be done about every file, in the order of the facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The files.
    pub entries: Vec<Entry>,
    /// Backups that nobody has read yet, and that may have better copies than those chosen, or the only ones.
    pub unproven: Vec<BackupId>,
}

/// What would be done about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlanEntry)]
pub struct Entry {
    /// Its set.
    pub set: SetName,
    /// Its path below the set's source.
    pub path: String,
    /// How it is now.
    pub live: LiveState,
    /// What would be done.
    #[serde(flatten)]
    pub action: Action,
    /// Why, in words.
    pub reason: String,
}

/// How a live file compares with its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LiveState {
    /// As in the backup.
    Same,
    /// Valid, and not as in the backup; or in no backup.
    Differs,
    /// There; more was not asked.
    Present,
    /// Not there.
    Missing,
    /// It does not parse.
    Invalid,
    /// It cannot be read now.
    Unreadable,
    /// Something that is no file is in its place.
    Obstructed,
}

impl LiveState {
    /// The name used in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Differs => "differs",
            Self::Present => "present",
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Unreadable => "unreadable",
            Self::Obstructed => "obstructed",
        }
    }
}

/// What would be done about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "action", rename_all = "snake_case")]
#[schema(as = PlannedAction)]
pub enum Action {
    /// Put this copy in its place.
    Restore(Chosen),
    /// Leave it as it is.
    Keep,
    /// Read its copies first: none of them is known to be good yet.
    Verify,
    /// Nothing is done unasked: the newest good backup does not have it either, and files of different moments are not mixed.
    Absent,
    /// Nothing can be done: no good copy is left.
    Lost,
    /// Nothing can be done before a person has cleared the place.
    Blocked,
}

/// The copy to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ChosenCopy)]
pub struct Chosen {
    /// The backup that has it.
    pub backup: BackupId,
    /// When that was made.
    pub created: DateTime<Utc>,
    /// The copy's SHA-256.
    pub sha256: Digest,
    /// Its length.
    pub size_bytes: u64,
    /// The SHA-256 of the live file that it replaces, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Digest>,
}

impl Action {
    /// The name used in documents.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Restore(_) => "restore",
            Self::Keep => "keep",
            Self::Verify => "verify",
            Self::Absent => "absent",
            Self::Lost => "lost",
            Self::Blocked => "blocked",
        }
    }
}

impl Entry {
    /// The copy to restore, if one is.
    pub const fn chosen(&self) -> Option<&Chosen> {
        if let Action::Restore(chosen) = &self.action { Some(chosen) } else { None }
    }

    /// Whether the live file is not as it must be, whatever can be done about it.
    pub const fn is_fault(&self) -> bool {
        matches!(self.live, LiveState::Missing | LiveState::Invalid | LiveState::Obstructed)
            && !matches!(self.action, Action::Keep)
    }

    /// Whether something is wrong that this plan does not mend.
    pub const fn is_problem(&self) -> bool {
        matches!(self.action, Action::Lost | Action::Blocked | Action::Verify | Action::Absent)
            || matches!(self.live, LiveState::Unreadable)
    }
}

impl Plan {
    /// What ties what is applied to what was shown: the SHA-256 of the entries as JSON. It changes exactly when an entry
    /// does. The live content is part of it where it would be replaced, and nowhere else: what is kept may go on changing.
    pub fn digest(&self) -> Digest {
        // Plain data with text for keys: writing it cannot fail.
        Digest::of(&serde_json::to_vec(&self.entries).unwrap_or_default())
    }

    /// The files to restore.
    pub fn restores(&self) -> impl Iterator<Item = (&Entry, &Chosen)> {
        self.entries.iter().filter_map(|entry| Some((entry, entry.chosen()?)))
    }

    /// The backups that should be read before this plan is believed.
    pub fn to_prove(&self) -> BTreeSet<BackupId> {
        self.restores().map(|(_, chosen)| chosen.backup).chain(self.unproven.iter().copied()).collect()
    }
}

/// What would be done. Logs are kept; what is missing or invalid is restored from the newest good copy of that file;
/// what is valid is kept, unless it was asked for. Only good backups that were made on schedule or by hand count.
pub fn plan(sets: &[SetFacts], ask: &Ask) -> Plan {
    let mut plan = Plan::default();
    for facts in sets.iter().filter(|facts| ask.sets.is_empty() || ask.sets.contains(&facts.set)) {
        let view = SetView::new(facts, ask);
        let entries: Vec<Entry> = facts.files.iter().filter_map(|file| view.entry(file)).collect();
        if ask.replace_valid || entries.iter().any(Entry::is_fault) {
            plan.unproven.extend(view.unproven());
        }
        plan.entries.extend(entries);
    }
    plan
}

/// A set, as it matters to what was asked.
struct SetView<'a> {
    facts: &'a SetFacts,
    ask: &'a Ask,
    /// The newest good version that counts.
    reference: Option<&'a BackupFacts>,
}

impl<'a> SetView<'a> {
    fn new(facts: &'a SetFacts, ask: &'a Ask) -> Self {
        let in_time = |backup: &&BackupFacts| ask.at.is_none_or(|at| backup.created <= at);
        let good = facts.backups.iter().filter(|backup| is_good_version(backup)).filter(in_time);
        Self { facts, ask, reference: good.max_by_key(|backup| backup.position) }
    }

    /// Versions nobody has read, which may count once somebody has.
    fn unproven(&self) -> impl Iterator<Item = BackupId> {
        let in_time = |backup: &&BackupFacts| self.ask.at.is_none_or(|at| backup.created <= at);
        let unread =
            |backup: &&BackupFacts| backup.state == BackupState::Unverified && backup.kind != BackupKind::PreRestore;
        self.facts.backups.iter().filter(unread).filter(in_time).map(|backup| backup.id)
    }

    /// The newest copy among the backups that `counts`.
    fn newest(
        &self,
        file: &'a FileFacts,
        counts: impl Fn(&BackupFacts) -> bool,
    ) -> Option<(&'a BackupFacts, &'a FileCopy)> {
        let copies = file.copies.iter().filter(|copy| copy.is_valid);
        let placed = copies.filter_map(|copy| Some((self.facts.backups.get(copy.backup)?, copy)));
        placed.filter(|(backup, _)| counts(backup)).max_by_key(|(backup, _)| backup.position)
    }

    /// The newest good copy that counts: never one of a backup after the reference, whatever the clock said.
    fn newest_good(&self, file: &'a FileFacts) -> Option<(&'a BackupFacts, &'a FileCopy)> {
        let last = self.reference?.position;
        self.newest(file, |backup| is_good_version(backup) && backup.position <= last)
    }

    fn entry(&self, file: &FileFacts) -> Option<Entry> {
        let (live, action, reason) = self.decide(file)?;
        Some(Entry { set: self.facts.set.clone(), path: file.path.clone(), live, action, reason })
    }

    fn decide(&self, file: &FileFacts) -> Option<(LiveState, Action, String)> {
        let good = self.newest_good(file);
        let in_reference =
            good.is_some_and(|(backup, _)| self.reference.is_some_and(|reference| reference.id == backup.id));
        let known = !file.copies.is_empty() || self.facts.has_mute_backups;
        Some(match &file.live {
            _ if file.is_log && file.copies.is_empty() => return None,
            Live::Missing if !(known && (file.is_named || in_reference)) => return None,
            Live::Missing if file.is_log => {
                (LiveState::Missing, Action::Keep, "a log: left to whoever writes it".into())
            }
            _ if file.is_log => (LiveState::Present, Action::Keep, "a log: what is live goes on".into()),
            Live::Missing => match good.filter(|_| self.is_absent_in_reference(file)) {
                Some((backup, _)) => (LiveState::Missing, Action::Absent, self.absent(file, backup)),
                None => self.bring_back(file, good, LiveState::Missing, "missing", None),
            },
            Live::Invalid { fault, sha256 } => {
                self.bring_back(file, good, LiveState::Invalid, &format!("invalid: {fault}"), Some(*sha256))
            }
            Live::Unreadable(why) => {
                (LiveState::Unreadable, Action::Keep, format!("cannot be read now, which proves nothing: {why}"))
            }
            Live::Obstructed(_) if !known && !file.is_named => return None,
            Live::Obstructed(what) => (LiveState::Obstructed, Action::Blocked, format!("{what}: move it away first")),
            Live::Whole(None) => (LiveState::Present, Action::Keep, "there".into()),
            Live::Whole(Some(sha256)) => match good {
                Some((_, copy)) if copy.sha256 == *sha256 => (LiveState::Same, Action::Keep, "as in the backup".into()),
                Some((backup, copy)) if self.ask.replace_valid && in_reference => (
                    LiveState::Differs,
                    Action::Restore(chosen(backup, copy, Some(*sha256))),
                    "differs, and was asked for".into(),
                ),
                Some(_) => (LiveState::Differs, Action::Keep, "differs, and is valid".into()),
                None => (LiveState::Differs, Action::Keep, format!("valid; {}", self.no_copy())),
            },
        })
    }

    /// Whether the newest good version saw that the file was not there.
    fn is_absent_in_reference(&self, file: &FileFacts) -> bool {
        let at = |index: usize| self.facts.backups.get(index).map(|backup| backup.id);
        let reference = self.reference.map(|reference| reference.id);
        let mut known = file.copies.iter().map(|copy| copy.backup).chain(file.unread.iter().copied());
        !known.any(|index| at(index) == reference)
    }

    fn absent(&self, file: &FileFacts, holder: &BackupFacts) -> String {
        let (set, path) = (&self.facts.set, &file.path);
        let reference = self.reference.map_or_else(String::new, |reference| reference.id.to_string());
        let id = holder.id;
        format!(
            "missing, as it was in {reference}, the newest good backup; {id} has it, of an earlier moment: \
             `fiovana-app restore {set} {id} --file {path}` if that is wanted"
        )
    }

    /// A file that is not as it must be.
    fn bring_back(
        &self,
        file: &FileFacts,
        good: Option<(&BackupFacts, &FileCopy)>,
        live: LiveState,
        what: &str,
        replaces: Option<Digest>,
    ) -> (LiveState, Action, String) {
        if let Some((backup, copy)) = good {
            let earlier = match self.reference {
                Some(reference) if reference.id != backup.id => {
                    format!("; not in {}, the newest good backup: this copy is of an earlier moment", reference.id)
                }
                _ => String::new(),
            };
            return (live, Action::Restore(chosen(backup, copy, replaces)), format!("{what}{earlier}"));
        }
        let unproven: BTreeSet<BackupId> = self.unproven().collect();
        if self.newest(file, |backup| unproven.contains(&backup.id)).is_some() {
            return (live, Action::Verify, format!("{what}; its copies have not been read yet"));
        }
        let safety = self.newest(file, |backup| {
            backup.kind == BackupKind::PreRestore && matches!(backup.state, BackupState::Good | BackupState::Suspect)
        });
        let safety =
            safety.map_or_else(String::new, |(backup, _)| format!("; the safety backup {} has one", backup.id));
        (live, Action::Lost, format!("{what}; {}{safety}", self.no_copy()))
    }

    fn no_copy(&self) -> String {
        match self.ask.at {
            Some(at) => format!("no good copy from before {}", at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            None => "no good copy is left".into(),
        }
    }
}

fn is_good_version(backup: &BackupFacts) -> bool {
    backup.state == BackupState::Good && backup.kind != BackupKind::PreRestore
}

fn chosen(backup: &BackupFacts, copy: &FileCopy, replaces: Option<Digest>) -> Chosen {
    Chosen { backup: backup.id, created: backup.created, sha256: copy.sha256, size_bytes: copy.size_bytes, replaces }
}

#[cfg(test)]
mod tests;
