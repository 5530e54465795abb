//! Whether the history here is the newest that is known, and where a new one departs from it.
//!
//! Hazard: after an older copy of a repository was put back, it goes on as if nothing had been: the next backup takes the
//! place of one that somebody was told is safe. What the audit log and the replicas know is held against what is here;
//! where they know more, a new history begins above everything that is known. The term and the idea are PostgreSQL's
//! ("Timelines", in its chapter on continuous archiving).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{BackupId, Position, Sequence, SetName, Timeline};

/// Why a timeline departs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DepartureReason {
    /// An older copy of the repository was put back.
    RolledBack,
    /// Another writer goes on with the older one.
    Cloned,
    /// The repository came to another writer.
    Moved,
    /// Nothing but the repository was left of its writer.
    BareHost,
}

impl DepartureReason {
    const ALL: [Self; 4] = [Self::RolledBack, Self::Cloned, Self::Moved, Self::BareHost];

    /// Its stable code, as the repository has it.
    pub const fn code(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            Self::Cloned => "cloned",
            Self::Moved => "moved",
            Self::BareHost => "bare_host",
        }
    }

    /// The reason of this code; `None` if there is none.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// What happened, for people.
    pub const fn description(self) -> &'static str {
        match self {
            Self::RolledBack => "an older copy of the repository was put back",
            Self::Cloned => "another copy of this repository goes on with the older one",
            Self::Moved => "the repository came to another writer",
            Self::BareHost => "nothing but the repository was left of its writer",
        }
    }
}

/// A backup that somebody else knows of: the audit log, or a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its set.
    pub set: SetName,
    /// Its id.
    pub id: BackupId,
    /// Its place in the order of its set.
    pub position: Position,
}

/// Everything that others know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// The backups.
    pub told: Vec<Told>,
    /// The highest sequence of each set, as far as it is not that of a backup.
    pub highest: BTreeMap<SetName, Sequence>,
    /// The newest timeline.
    pub timeline: Timeline,
}

/// What is here of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetHere {
    /// The backups, in whatever state, as far as their places are known.
    pub backups: BTreeMap<BackupId, Position>,
    /// The newest place of a backup that is here, or was deleted from here on purpose.
    pub newest: Option<Position>,
    /// The highest sequence that was given here.
    pub highest: Sequence,
}

/// What is here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// The sets of which something is known.
    pub sets: BTreeMap<SetName, SetHere>,
    /// The timeline that backups are made on.
    pub timeline: Timeline,
    /// Up to which sequence of each set that timeline takes older ones for another history.
    pub departed: BTreeMap<SetName, Sequence>,
}

/// Where a new history of a set departs from the one that was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The last sequence that is here.
    pub last: Sequence,
    /// The highest one known anywhere.
    pub above: Sequence,
}

impl Here {
    /// The backups of those `told` that follow what is here, or stand in the place of another one that is here: then the
    /// history here is not the newest. None that was `let_go` of on purpose, and none of a history that is known to be
    /// another one. One that is missed before the newest that is here was lost, which is told elsewhere.
    pub fn behind<'t>(&self, told: &'t [Told], let_go: impl Fn(&Told) -> bool) -> Vec<&'t Told> {
        let nothing = SetHere::default();
        let is_ahead = |told: &&Told| {
            let here = self.sets.get(&told.set).unwrap_or(&nothing);
            let is_taken = || here.backups.iter().any(|(id, position)| *position == told.position && *id != told.id);
            !here.backups.contains_key(&told.id)
                && !self.is_departed(told)
                && !let_go(told)
                && (Some(told.position) > here.newest || is_taken())
        };
        told.iter().filter(is_ahead).collect()
    }

    /// Whether a backup is of the history that the present one departed from.
    pub fn is_departed(&self, told: &Told) -> bool {
        let above = self.departed.get(&told.set).copied().unwrap_or(Sequence(0));
        told.position.timeline < self.timeline && told.position.sequence <= above
    }

    /// Where a new history departs from the one here, of every set that anybody knows of.
    pub fn departure(&self, elsewhere: &Elsewhere) -> BTreeMap<SetName, Point> {
        let told = || elsewhere.told.iter().map(|told| (&told.set, told.position.sequence));
        let highest = || elsewhere.highest.iter().map(|(set, highest)| (set, *highest));
        let sets: BTreeSet<&SetName> = self.sets.keys().chain(told().chain(highest()).map(|(set, _)| set)).collect();
        let point = |set: &SetName| {
            let here = self.sets.get(set).cloned().unwrap_or_default();
            let known = told().chain(highest()).filter(|(of, _)| *of == set).map(|(_, sequence)| sequence);
            let last = here.backups.values().map(|position| position.sequence).max().unwrap_or(Sequence(0));
            let above = known.chain([last, here.highest]).max().unwrap_or(last);
            Point { last, above }
        };
        sets.into_iter().map(|set| (set.clone(), point(set))).collect()
    }

    /// The number of a new timeline: above all that are known.
    pub fn next_timeline(&self, elsewhere: &Elsewhere) -> Timeline {
        let told = elsewhere.told.iter().map(|told| told.position.timeline).max().unwrap_or_default();
        Timeline(self.timeline.max(told).max(elsewhere.timeline).0.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Digest;
    use chrono::DateTime;

    fn set() -> SetName {
        "security".parse().unwrap()
    }

    fn told(timeline: u32, sequence: u64, name: &str) -> Told {
        let position = Position { timeline: Timeline(timeline), sequence: Sequence(sequence) };
        Told { set: set(), id: BackupId::new(DateTime::UNIX_EPOCH, Digest::of(name.as_bytes())), position }
    }

    fn here(backups: &[Told]) -> Here {
        let newest = backups.iter().map(|told| told.position).max();
        let highest = backups.iter().map(|told| told.position.sequence).max().unwrap_or(Sequence(0));
        let backups = backups.iter().map(|told| (told.id, told.position)).collect();
        let sets = BTreeMap::from([(set(), SetHere { backups, newest, highest })]);
        Here { sets, timeline: Timeline::FIRST, departed: BTreeMap::new() }
    }

    fn sequences(behind: &[&Told]) -> Vec<u64> {
        behind.iter().map(|told| told.position.sequence.0).collect()
    }

    #[test]
    fn who_has_what_others_know_is_the_newest_and_so_is_who_lost_an_older_one() {
        let all = [told(1, 1, "a"), told(1, 2, "b"), told(1, 3, "c")];
        assert_eq!(here(&all).behind(&all, |_| false), Vec::<&Told>::new());
        let lost = here(&[all[0].clone(), all[2].clone()]);
        assert_eq!(lost.behind(&all, |_| false), Vec::<&Told>::new());
    }

    #[test]
    fn who_lacks_the_newest_that_others_know_is_behind_unless_it_was_let_go() {
        let all = [told(1, 1, "a"), told(1, 2, "b"), told(1, 3, "c")];
        let behind = here(&all[..1]);
        assert_eq!(sequences(&behind.behind(&all, |_| false)), [2, 3]);
        assert_eq!(sequences(&behind.behind(&all, |told| told.position.sequence == Sequence(3))), [2]);
        assert_eq!(sequences(&Here::default().behind(&all, |_| false)), [1, 2, 3], "a set of which nothing is here");
    }

    #[test]
    fn each_reason_has_one_code_wherever_it_is_written() {
        for reason in DepartureReason::ALL {
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.code());
            assert_eq!(DepartureReason::of_code(reason.code()), Some(reason));
        }
        assert_eq!(DepartureReason::of_code("unknown"), None);
    }

    #[test]
    fn who_gave_a_place_again_is_behind() {
        let elsewhere = [told(1, 1, "a"), told(1, 2, "b")];
        let forked = here(&[told(1, 1, "a"), told(1, 2, "another"), told(1, 3, "c")]);
        assert_eq!(sequences(&forked.behind(&elsewhere, |_| false)), [2]);
    }

    #[test]
    fn a_new_history_goes_on_above_everything_and_what_it_departed_from_is_no_news() {
        let all = [told(1, 1, "a"), told(1, 2, "b"), told(1, 7, "c")];
        let behind = here(&all[..1]);
        let elsewhere = Elsewhere { told: all.to_vec(), timeline: Timeline(3), ..Elsewhere::default() };
        let departure = behind.departure(&elsewhere);
        assert_eq!(departure[&set()], Point { last: Sequence(1), above: Sequence(7) });
        assert_eq!(behind.next_timeline(&elsewhere), Timeline(4));
        let highest = BTreeMap::from([(set(), Sequence(9))]);
        assert_eq!(behind.departure(&Elsewhere { highest, ..elsewhere })[&set()].above, Sequence(9));
        let departed = BTreeMap::from([(set(), departure[&set()].above)]);
        let gone_on = Here { timeline: Timeline(4), departed, ..behind };
        assert_eq!(gone_on.behind(&all, |_| false), Vec::<&Told>::new());
        assert_eq!(sequences(&gone_on.behind(&[told(1, 8, "d"), told(5, 9, "e")], |_| false)), [8, 9]);
    }
}
