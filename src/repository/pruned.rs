//! Which sequences were deleted on purpose.
//!
//! Hazard: after a deletion an absent backup and a lost one look the same. The list is written before anything is
//! deleted; a sequence that is neither present nor listed is a loss.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::wire::{FORMAT_1, PrunedDocument};
use crate::core::{Sequence, SetName};

/// The sequences of one set that were deleted on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    ranges: Vec<(Sequence, Sequence)>,
    /// When versions were superseded by what is listed here.
    superseded: BTreeMap<Sequence, DateTime<Utc>>,
}

impl Pruned {
    /// Adds a sequence.
    pub fn insert(&mut self, sequence: Sequence) {
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

    /// This list and `other`, without what `other` lists and is `present` (ascending) here all the same.
    pub fn and(&self, other: &Self, present: &[Sequence]) -> Self {
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

    /// Whether it is listed.
    pub fn contains(&self, sequence: Sequence) -> bool {
        let at = self.ranges.partition_point(|(_, last)| *last < sequence);
        self.ranges.get(at).is_some_and(|(first, _)| *first <= sequence)
    }

    /// Remembers when a version was superseded, for the time when what superseded it is gone.
    pub fn remember_superseded(&mut self, sequence: Sequence, at: DateTime<Utc>) {
        if !self.contains(sequence) {
            self.superseded.insert(sequence, at);
        }
    }

    /// When a version was superseded, if that is remembered.
    pub fn superseded(&self, sequence: Sequence) -> Option<DateTime<Utc>> {
        self.superseded.get(&sequence).copied()
    }

    /// The highest sequence listed.
    pub fn highest(&self) -> Option<Sequence> {
        self.ranges.last().map(|(_, last)| *last)
    }

    /// The sequences up to `highest` that are neither listed nor in `present` (ascending): lost. At most `limit`.
    pub fn lost(&self, present: &[Sequence], highest: Sequence, limit: usize) -> Vec<Sequence> {
        let mut lost = Vec::new();
        let mut next = Sequence::FIRST;
        while next <= highest && lost.len() < limit {
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

    /// The document that says this of a set.
    pub fn to_document(&self, set: &SetName) -> PrunedDocument {
        PrunedDocument {
            format: FORMAT_1,
            set: set.clone(),
            pruned: self.ranges.clone(),
            superseded: self.superseded.clone(),
        }
    }

    /// What a document says of `set`; why not, if it says something impossible.
    pub fn from_document(set: &SetName, document: PrunedDocument) -> Result<Self, &'static str> {
        if document.format != FORMAT_1 {
            return Err("it is of another format");
        }
        if document.set != *set {
            return Err("it is another set's");
        }
        let each = document.pruned.iter().all(|(first, last)| first <= last);
        let apart = document.pruned.windows(2).all(|pair| pair[0].1.next() < pair[1].0);
        if each && apart {
            Ok(Self { ranges: document.pruned, superseded: document.superseded })
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

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_set_would_hold(sequences in proptest::collection::vec(1u64..60, 0..80)) {
            let mut pruned = Pruned::default();
            let mut plain = BTreeSet::new();
            for sequence in sequences {
                pruned.insert(Sequence(sequence));
                plain.insert(sequence);
            }
            for sequence in 1..61 {
                prop_assert_eq!(pruned.contains(Sequence(sequence)), plain.contains(&sequence));
            }
            prop_assert_eq!(pruned.highest().map(|s| s.0), plain.last().copied());
            let [set, other] = ["security", "logs"].map(|name| name.parse::<SetName>().unwrap());
            prop_assert_eq!(Pruned::from_document(&set, pruned.to_document(&set)), Ok(pruned.clone()));
            prop_assert!(Pruned::from_document(&other, pruned.to_document(&set)).is_err());
            let lost = pruned.lost(&[Sequence(7), Sequence(9)], Sequence(20), usize::MAX);
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
                sequences.iter().for_each(|sequence| list.insert(Sequence(*sequence)));
                list
            };
            let present_ones: Vec<Sequence> = present.iter().copied().map(Sequence).collect();
            let expected: BTreeSet<u64> = here.iter().chain(there.difference(&present)).copied().collect();
            prop_assert_eq!(list(&here).and(&list(&there), &present_ones), list(&expected));
        }
    }
}
