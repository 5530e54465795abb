//! What a replica is to be given, and when it may be begun.
//!
//! Hazard: a copy that follows its original faithfully follows it into loss. A replica is only ever given what it has
//! not: that the original lacks something is never a reason to do anything. And a replica that was there and is gone
//! is a disk that is not mounted: begun anew beneath the mount point, it would fill the wrong disk and hide the loss.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BackupId, BackupState, Position};

/// The name of a replica: 1 to 32 of `a-z`, `0-9`, `_` and `-`, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplicaName(String);

/// Why a text cannot name a replica.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a replica is named with 1 to 32 of a-z, 0-9, _ and -, starting with a letter")]
pub struct ReplicaNameSyntax;

impl ReplicaName {
    const MAX_LENGTH: usize = 32;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ReplicaName {
    type Err = ReplicaNameSyntax;

    fn from_str(text: &str) -> Result<Self, ReplicaNameSyntax> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        let well_formed = text.len() <= Self::MAX_LENGTH
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(letters);
        if well_formed { Ok(Self(text.to_owned())) } else { Err(ReplicaNameSyntax) }
    }
}

impl TryFrom<String> for ReplicaName {
    type Error = ReplicaNameSyntax;

    fn try_from(text: String) -> Result<Self, ReplicaNameSyntax> {
        text.parse()
    }
}

impl From<ReplicaName> for String {
    fn from(name: ReplicaName) -> Self {
        name.0
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A backup of the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its id.
    pub id: BackupId,
    /// Its place among those of its set.
    pub position: Position,
    /// What is known of its bytes.
    pub state: BackupState,
}

/// The backups of one set that a replica lacks and is to be given, newest first: those matter most if there is no time
/// for all. None that is damaged, and none that the replica let go of by its own rule (or that was deleted from the
/// original on purpose).
pub fn wanted(
    originals: &[Original],
    has: impl Fn(BackupId) -> bool,
    let_go: impl Fn(Position) -> bool,
) -> Vec<Original> {
    let mut wanted: Vec<Original> = originals
        .iter()
        .filter(|original| original.state != BackupState::Damaged && !has(original.id) && !let_go(original.position))
        .copied()
        .collect();
    wanted.sort_unstable_by_key(|original| std::cmp::Reverse((original.position, original.id)));
    wanted
}

/// What is remembered of a replica that there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Whether it was on the same disk as the original.
    pub same_disk: bool,
}

/// Whether a replica may be begun where none is. One that was never there may. One that was, and is gone, only if it
/// is the built-in one inside the backup directory and was on that very disk: any other is probably a disk that is not
/// mounted, and an operator has to say that it is to be begun anew.
pub const fn may_begin(known: Option<Known>, is_built_in_place: bool) -> bool {
    match known {
        None => true,
        Some(Known { same_disk }) => is_built_in_place && same_disk,
    }
}

/// How long to leave a replica alone that failed so many times in a row.
pub fn patience(failures: u32) -> Duration {
    const FIRST: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(300);
    let doublings = failures.saturating_sub(1).min(16);
    FIRST.saturating_mul(1 << doublings).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Digest;
    use chrono::DateTime;
    use std::collections::BTreeSet;

    fn original(sequence: u64, state: BackupState) -> Original {
        let id = BackupId::new(DateTime::UNIX_EPOCH, Digest::of(&sequence.to_le_bytes()));
        Original { id, position: Position::first(sequence), state }
    }

    #[test]
    fn what_is_lacking_is_wanted_newest_first_and_damage_never() {
        let originals: Vec<Original> = [(1, BackupState::Good), (2, BackupState::Damaged), (3, BackupState::Suspect)]
            .into_iter()
            .chain([(4, BackupState::Unverified), (5, BackupState::Good), (6, BackupState::Good)])
            .map(|(sequence, state)| original(sequence, state))
            .collect();
        let has = BTreeSet::from([originals[4].id]);
        let wanted = wanted(&originals, |id| has.contains(&id), |position| position == Position::first(1));
        assert_eq!(wanted.iter().map(|original| original.position.sequence.0).collect::<Vec<_>>(), [6, 4, 3]);
    }

    #[test]
    fn a_replica_that_was_elsewhere_and_is_gone_is_not_begun_again() {
        let [same, other] = [true, false].map(|same_disk| Some(Known { same_disk }));
        assert!(may_begin(None, true) && may_begin(None, false) && may_begin(same, true));
        assert!(!may_begin(other, true) && !may_begin(same, false) && !may_begin(other, false));
    }

    #[test]
    fn patience_doubles_up_to_a_bound() {
        assert_eq!([1, 2, 3].map(|failures| patience(failures).as_secs()), [2, 4, 8]);
        assert_eq!(patience(u32::MAX), Duration::from_secs(300));
    }

    #[test]
    fn a_name_is_a_short_lower_case_word() {
        assert!(["usb", "a", "disk_2-b"].iter().all(|name| name.parse::<ReplicaName>().is_ok()));
        assert!(
            ["", "2", "Usb", "a b", "../x", &"a".repeat(33)].iter().all(|name| name.parse::<ReplicaName>().is_err())
        );
    }
}
