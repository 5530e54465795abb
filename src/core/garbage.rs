//! Which objects may be collected.
//!
//! Hazard: an object looks like garbage when the manifest that needs it cannot be seen, or is about to be written. So
//! nothing is collected while any manifest is in doubt, and only what has been garbage for a while.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{BackupId, Digest, Position, SetName};

/// Why it cannot be told which objects are needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectionBlock {
    /// The mode is recovery.
    Recovery,
    /// The clock is suspect: no age can be told.
    ClockSuspect,
    /// The history departed from another, and nobody has seen that yet.
    RolledBack,
    /// A manifest was removed, but perhaps not durably.
    DeletionUnfinished(BackupId),
    /// A manifest cannot be read.
    ManifestUnreadable(BackupId),
    /// A manifest is missing that nobody deleted.
    BackupLost(SetName, Position),
    /// There is no manifest at all, and nothing is remembered of any.
    NoBackups,
}

impl fmt::Display for CollectionBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recovery => f.write_str("the mode is recovery"),
            Self::ClockSuspect => f.write_str("the clock is suspect"),
            Self::RolledBack => f.write_str("the history departed from another: see `fiovana-app timeline`"),
            Self::DeletionUnfinished(id) => write!(f, "the deletion of {id} is not finished"),
            Self::ManifestUnreadable(id) => write!(
                f,
                "the manifest of {id} cannot be read, and may need any object: bring it back, or give it up with \
                 `fiovana-app forget {id}`"
            ),
            Self::NoBackups => f.write_str(
                "there is no backup at all, and nothing tells of one: if there were any, bring their manifests back from a \
                 replica before the next backup",
            ),
            Self::BackupLost(set, position) => write!(
                f,
                "backup {position} of {set} is lost, and may need any object: bring it back, or give it up with \
                 `fiovana-app forget {set}:{position}`"
            ),
        }
    }
}

/// What is to become of an object that no manifest refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GarbageDecision {
    /// It goes.
    Collect,
    /// It has not been garbage for long enough.
    Wait {
        /// Since when it is known to be garbage.
        since: DateTime<Utc>,
    },
}

/// What is to become of each object that no manifest refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarbagePlan {
    /// One decision for each.
    pub decisions: BTreeMap<Digest, GarbageDecision>,
    /// Why none goes, if so.
    pub blocked: Option<CollectionBlock>,
}

impl GarbagePlan {
    /// The objects to delete.
    pub fn collectable(&self) -> impl Iterator<Item = Digest> {
        self.decisions.iter().filter(|(_, decision)| **decision == GarbageDecision::Collect).map(|(name, _)| *name)
    }

    /// Since when the objects that stay are known to be garbage: to be remembered for the next plan.
    pub fn waiting(&self) -> BTreeMap<Digest, DateTime<Utc>> {
        let since = |(name, decision): (&Digest, &GarbageDecision)| match decision {
            GarbageDecision::Wait { since } => Some((*name, *since)),
            GarbageDecision::Collect => None,
        };
        self.decisions.iter().filter_map(since).collect()
    }
}

/// Plans the collection of objects that no manifest refers to. `since` says of some since when they are known to be
/// garbage; one of which nothing is known, or that would have been garbage only in the future, is from `now` on.
pub fn plan(
    unreferenced: impl Iterator<Item = Digest>,
    since: &BTreeMap<Digest, DateTime<Utc>>,
    grace: Duration,
    blocked: Option<CollectionBlock>,
    now: DateTime<Utc>,
) -> GarbagePlan {
    let decide = |name: Digest| {
        let since = since.get(&name).copied().unwrap_or(now).min(now);
        let waited = now.signed_duration_since(since).to_std().unwrap_or_default();
        let over = blocked.is_none() && waited >= grace;
        (name, if over { GarbageDecision::Collect } else { GarbageDecision::Wait { since } })
    };
    let decisions = unreferenced.map(decide).collect();
    GarbagePlan { decisions, blocked }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn object(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn minute(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn garbage_goes_once_its_grace_is_over() {
        let first = plan([object(1)].into_iter(), &BTreeMap::new(), HOUR, None, minute(0));
        assert_eq!(first.collectable().count(), 0);
        let second = plan([object(1), object(2)].into_iter(), &first.waiting(), HOUR, None, minute(60));
        assert_eq!(second.collectable().collect::<Vec<_>>(), [object(1)]);
        assert_eq!(second.waiting(), BTreeMap::from([(object(2), minute(60))]));
    }

    #[test]
    fn what_was_needed_meanwhile_begins_anew() {
        let first = plan([object(1)].into_iter(), &BTreeMap::new(), HOUR, None, minute(0));
        let needed = plan([].into_iter(), &first.waiting(), HOUR, None, minute(30));
        let again = plan([object(1)].into_iter(), &needed.waiting(), HOUR, None, minute(60));
        assert_eq!(again.collectable().count(), 0);
    }

    #[test]
    fn a_clock_that_went_back_makes_garbage_younger_and_never_older() {
        let since = BTreeMap::from([(object(1), minute(1000))]);
        let back = plan([object(1)].into_iter(), &since, HOUR, None, minute(10));
        assert_eq!(back.waiting()[&object(1)], minute(10));
    }

    #[test]
    fn nothing_goes_while_a_manifest_is_in_doubt() {
        let id = BackupId::new(minute(0), object(9));
        for block in [
            CollectionBlock::Recovery,
            CollectionBlock::ClockSuspect,
            CollectionBlock::RolledBack,
            CollectionBlock::DeletionUnfinished(id),
            CollectionBlock::ManifestUnreadable(id),
            CollectionBlock::BackupLost("security".parse().unwrap(), Position::first(7)),
        ] {
            let since = BTreeMap::from([(object(1), minute(0))]);
            let blocked = plan([object(1)].into_iter(), &since, HOUR, Some(block.clone()), minute(1000));
            assert_eq!((blocked.collectable().count(), blocked.waiting()), (0, since), "{block}");
        }
    }
}
