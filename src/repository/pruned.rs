//! Which sequences were deleted on purpose.
//!
//! Hazard: after a deletion an absent backup and a lost one look the same. The list is written before anything is
//! deleted; a sequence that is neither present nor listed is a loss.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::documents::{PrunedDocument, PrunedDocument1, PrunedTimeline};
use super::wire::{FORMAT, FORMAT_1};
use crate::core::{Position, Sequence, SetName, Timeline};

/// The backups of one set that were deleted on purpose, by their places in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// None is empty.
    timelines: BTreeMap<Timeline, Ranges>,
}

impl Pruned {
    /// Adds a place.
    pub fn insert(&mut self, position: Position) {
        self.timelines.entry(position.timeline).or_default().insert(position.sequence);
    }

    /// This list and `other`, without what `other` lists and is `present` (ascending) here all the same.
    pub fn and(&self, other: &Self, present: &[Position]) -> Self {
        let mut both = self.clone();
        for (timeline, theirs) in &other.timelines {
            let here = present.iter().filter(|position| position.timeline == *timeline);
            let here: Vec<Sequence> = here.map(|position| position.sequence).collect();
            let ours = both.timelines.entry(*timeline).or_default();
            *ours = ours.and(theirs, &here);
        }
        both.timelines.retain(|_, ranges| *ranges != Ranges::default());
        both
    }

    /// Whether it is listed.
    pub fn contains(&self, position: Position) -> bool {
        self.timelines.get(&position.timeline).is_some_and(|ranges| ranges.contains(position.sequence))
    }

    /// Remembers when a version was superseded, for the time when what superseded it is gone.
    pub fn remember_superseded(&mut self, position: Position, at: DateTime<Utc>) {
        self.timelines.entry(position.timeline).or_default().remember_superseded(position.sequence, at);
        self.timelines.retain(|_, ranges| *ranges != Ranges::default());
    }

    /// When a version was superseded, if that is remembered.
    pub fn superseded(&self, position: Position) -> Option<DateTime<Utc>> {
        self.timelines.get(&position.timeline)?.superseded.get(&position.sequence).copied()
    }

    /// The last place listed.
    pub fn last(&self) -> Option<Position> {
        self.highest().map(|(timeline, sequence)| Position { timeline, sequence }).max()
    }

    /// The highest sequence listed of each timeline.
    pub fn highest(&self) -> impl Iterator<Item = (Timeline, Sequence)> {
        self.timelines.iter().filter_map(|(timeline, ranges)| Some((*timeline, ranges.highest()?)))
    }

    /// The sequences of a timeline from `first` to `last` that are neither listed nor in `present` (ascending): lost. At
    /// most `limit`.
    pub fn lost(
        &self,
        timeline: Timeline,
        (first, last): (Sequence, Sequence),
        present: &[Sequence],
        limit: usize,
    ) -> Vec<Sequence> {
        match self.timelines.get(&timeline) {
            Some(ranges) => ranges.lost((first, last), present, limit),
            None => Ranges::default().lost((first, last), present, limit),
        }
    }

    /// The document that says this of a set.
    pub fn to_document(&self, set: &SetName) -> PrunedDocument {
        let timelines = self.timelines.iter().map(|(timeline, ranges)| {
            let (pruned, superseded) = (ranges.ranges.clone(), ranges.superseded.clone());
            PrunedTimeline { timeline: *timeline, pruned, superseded }
        });
        PrunedDocument { format: FORMAT, set: set.clone(), timelines: timelines.collect() }
    }

    /// What a document says of `set`; why not, if it says something impossible.
    pub fn from_document(set: &SetName, document: PrunedDocument) -> Result<Self, &'static str> {
        if document.format != FORMAT {
            return Err("it is of another format");
        }
        if document.set != *set {
            return Err("it is another set's");
        }
        if !document.timelines.is_sorted_by(|one, next| one.timeline < next.timeline) {
            return Err("its timelines are out of order");
        }
        let lists = document.timelines.into_iter().map(|each| Ok((each.timeline, Ranges::from_list(each)?)));
        let timelines: BTreeMap<Timeline, Ranges> = lists.collect::<Result<_, &'static str>>()?;
        Ok(Self { timelines: timelines.into_iter().filter(|(_, ranges)| *ranges != Ranges::default()).collect() })
    }

    /// The document of format 1, which knows the first timeline only.
    pub fn to_document_1(&self, set: &SetName) -> PrunedDocument1 {
        let first = self.to_document(set).timelines.into_iter().find(|list| list.timeline == Timeline::FIRST);
        let PrunedTimeline { pruned, superseded, .. } = first.unwrap_or_default();
        PrunedDocument1 { format: FORMAT_1, set: set.clone(), pruned, superseded }
    }

    /// The same of a document of format 1.
    pub fn from_document_1(set: &SetName, document: PrunedDocument1) -> Result<Self, &'static str> {
        if document.format != FORMAT_1 {
            return Err("it is of another format");
        }
        let PrunedDocument1 { pruned, superseded, .. } = document;
        let list = PrunedTimeline { timeline: Timeline::FIRST, pruned, superseded };
        Self::from_document(set, PrunedDocument { format: FORMAT, set: document.set, timelines: vec![list] })
    }
}

/// The sequences of one timeline that were deleted on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges {
    ranges: Vec<(Sequence, Sequence)>,
    /// When versions were superseded by what is listed here.
    superseded: BTreeMap<Sequence, DateTime<Utc>>,
}

impl Ranges {
    fn insert(&mut self, sequence: Sequence) {
        self.superseded.remove(&sequence);
        let at = self.ranges.partition_point(|(_, last)| last.next() < sequence);
        match self.ranges.get_mut(at) {
            Some((first, last)) if *first <= sequence && sequence <= *last => {}
            Some((_, last)) if last.next() == sequence => {
                *last = sequence;
                self.join_with_next(at);
            }
            Some((first, _)) if sequence.next() == *first => *first = sequence,
            _ => self.ranges.insert(at, (sequence, sequence)),
        }
    }

    fn join_with_next(&mut self, at: usize) {
        if let Some((first, last)) = self.ranges.get(at + 1).copied()
            && self.ranges[at].1.next() == first
        {
            self.ranges[at].1 = last;
            self.ranges.remove(at + 1);
        }
    }

    fn and(&self, other: &Self, present: &[Sequence]) -> Self {
        let mut ranges = self.ranges.clone();
        for (first, last) in &other.ranges {
            let mut next = *first;
            for here in present.iter().filter(|here| first <= *here && *here <= last) {
                if next < *here {
                    ranges.push((next, Sequence(here.0 - 1)));
                }
                next = here.next();
            }
            if next <= *last {
                ranges.push((next, *last));
            }
        }
        ranges.sort_unstable();
        let mut joined: Vec<(Sequence, Sequence)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match joined.last_mut() {
                Some((_, end)) if first <= end.next() => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        let mut both = Self { ranges: joined, superseded: BTreeMap::new() };
        // Each knows of versions that the other lacks; of one that both have, ours is what was seen here.
        other.superseded.iter().chain(&self.superseded).for_each(|(at, when)| both.remember_superseded(*at, *when));
        both
    }

    fn contains(&self, sequence: Sequence) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < sequence);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= sequence)
    }

    fn remember_superseded(&mut self, sequence: Sequence, at: DateTime<Utc>) {
        if !self.contains(sequence) {
            self.superseded.insert(sequence, at);
        }
    }

    fn highest(&self) -> Option<Sequence> {
        self.ranges.last().map(|(_, last)| *last)
    }

    fn lost(&self, (first, last): (Sequence, Sequence), present: &[Sequence], limit: usize) -> Vec<Sequence> {
        let mut lost = Vec::new();
        let mut next = first;
        while next <= last && lost.len() < limit {
            let at = self.ranges.partition_point(|(_, last)| *last < next);
            match self.ranges.get(at) {
                Some((first, last)) if *first <= next => next = last.next(),
                _ => {
                    if present.binary_search(&next).is_err() {
                        lost.push(next);
                    }
                    next = next.next();
                }
            }
        }
        lost
    }

    fn from_list(list: PrunedTimeline) -> Result<Self, &'static str> {
        let each = list.pruned.iter().all(|(first, last)| first <= last);
        let apart = list.pruned.windows(2).all(|pair| pair[0].1.next() < pair[1].0);
        if each && apart {
            Ok(Self { ranges: list.pruned, superseded: list.superseded })
        } else {
            Err("its ranges are out of order")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(sequence: u64) -> Position {
        Position::first(sequence)
    }

    #[test]
    fn each_timeline_has_a_list_of_its_own() {
        let set: SetName = "security".parse().unwrap();
        let [first, second] = [Position::first(3), Position { timeline: Timeline(2), sequence: Sequence(3) }];
        let mut pruned = Pruned::default();
        pruned.insert(second);
        assert!(pruned.contains(second) && !pruned.contains(first));
        assert_eq!(pruned.lost(Timeline(2), (Sequence(2), Sequence(4)), &[Sequence(4)], 9), [Sequence(2)]);
        assert_eq!(pruned.lost(Timeline::FIRST, (Sequence(3), Sequence(3)), &[], 9), [Sequence(3)]);
        pruned.insert(first);
        pruned.remember_superseded(Position::first(2), DateTime::UNIX_EPOCH);
        let text = serde_json::to_vec(&pruned.to_document(&set)).unwrap();
        assert_eq!(Pruned::from_document(&set, serde_json::from_slice(&text).unwrap()), Ok(pruned.clone()));
        assert_eq!(
            Pruned::default().and(&pruned, &[first]).highest().collect::<Vec<_>>(),
            [(Timeline(2), Sequence(3))]
        );
        let mut reversed = pruned.to_document(&set);
        reversed.timelines.reverse();
        assert!(Pruned::from_document(&set, reversed).is_err());
    }

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_set_would_hold(sequences in proptest::collection::vec(1u64..60, 0..80)) {
            let mut pruned = Pruned::default();
            let mut plain = BTreeSet::new();
            for sequence in sequences {
                pruned.insert(at(sequence));
                plain.insert(sequence);
            }
            for sequence in 1..61 {
                prop_assert_eq!(pruned.contains(at(sequence)), plain.contains(&sequence));
            }
            prop_assert_eq!(pruned.last().map(|last| last.sequence.0), plain.last().copied());
            let [set, other] = ["security", "logs"].map(|name| name.parse::<SetName>().unwrap());
            prop_assert_eq!(Pruned::from_document(&set, pruned.to_document(&set)), Ok(pruned.clone()));
            prop_assert!(Pruned::from_document(&other, pruned.to_document(&set)).is_err());
            let range = (Sequence::FIRST, Sequence(20));
            let lost = pruned.lost(Timeline::FIRST, range, &[Sequence(7), Sequence(9)], usize::MAX);
            let expected: Vec<_> = (1..=20).filter(|s| !plain.contains(s) && *s != 7 && *s != 9).map(Sequence).collect();
            prop_assert_eq!(lost, expected);
        }

        #[test]
        fn two_lists_together_hold_what_plain_sets_would_hold(
            here in proptest::collection::btree_set(1u64..40, 0..30),
            there in proptest::collection::btree_set(1u64..40, 0..30),
            present in proptest::collection::btree_set(1u64..40, 0..10),
        ) {
            let list = |sequences: &BTreeSet<u64>| {
                let mut list = Pruned::default();
                sequences.iter().for_each(|sequence| list.insert(at(*sequence)));
                list
            };
            let present_ones: Vec<Position> = present.iter().copied().map(at).collect();
            let expected: BTreeSet<u64> = here.iter().chain(there.difference(&present)).copied().collect();
            prop_assert_eq!(list(&here).and(&list(&there), &present_ones), list(&expected));
        }
    }
}
