//! One set's backups, and what is known of those that are not there.
//!
//! Hazard: a backup that was lost and one that was deleted leave the same gap. What was given to a backup, and is neither
//! here nor listed as deleted, is lost, on each timeline for itself.

use std::collections::{BTreeMap, BTreeSet};

use super::catalogue::Backup;
use super::generations::Row;
use super::pins::Pins;
use super::pruned::Pruned;
use crate::core::{BackupId, Position, Sequence, Timeline};

/// One set's backups.
#[derive(Debug, Default)]
pub struct SetIndex {
    /// In order: by timeline and sequence, those of unknown place first.
    backups: Vec<Backup>,
    /// What was deleted on purpose.
    pub pruned: Pruned,
    /// Whether there is a list of that which could not be understood, so that this one may lack some.
    pub pruned_in_doubt: bool,
    pub(super) pruned_row: Row,
    /// Whether there is a list of pins that could not be understood.
    pub(super) pins_in_doubt: bool,
    pub(super) pins_row: Row,
    /// Backups that a file of format 1 pins.
    pub(super) pins_of_format_1: BTreeSet<BackupId>,
    /// The highest sequence ever given on each timeline, as far as is remembered.
    pub highest: BTreeMap<Timeline, Sequence>,
    /// The first sequence that a timeline may give, where that is not 1.
    pub(super) begins: BTreeMap<Timeline, Sequence>,
    /// The list of pins, as it was read or written last.
    pub listed_pins: Pins,
}

impl SetIndex {
    /// An empty one, of which timelines begin so.
    pub(super) fn beginning(begins: BTreeMap<Timeline, Sequence>) -> Self {
        Self { begins, ..Self::default() }
    }

    /// Its backups, oldest first.
    pub fn backups(&self) -> &[Backup] {
        &self.backups
    }

    pub(super) const fn backups_mut(&mut self) -> &mut Vec<Backup> {
        &mut self.backups
    }

    /// The backup that `latest` means.
    pub fn latest(&self) -> Option<&Backup> {
        self.backups.iter().rev().find(|backup| backup.is_good_version())
    }

    /// The sequence of the next backup: above every one that was ever given, on any timeline.
    pub fn next_sequence(&self) -> Sequence {
        let begun = self.begins.values().map(|first| Sequence(first.0.saturating_sub(1)));
        let given = self.given().map(|position| position.sequence);
        given.chain(begun).max().map_or(Sequence::FIRST, Sequence::next)
    }

    /// Remembers that a place was given.
    pub(super) fn note_given(&mut self, position: Position) {
        let highest = self.highest.entry(position.timeline).or_insert(position.sequence);
        *highest = position.sequence.max(*highest);
    }

    /// The highest places known of each timeline, from each source.
    fn given(&self) -> impl Iterator<Item = Position> {
        let at = |(timeline, sequence)| Position { timeline, sequence };
        let remembered = self.highest.iter().map(|(timeline, sequence)| (*timeline, *sequence));
        let present = self.backups.iter().filter_map(Backup::position);
        remembered.chain(self.pruned.highest()).map(at).chain(present)
    }

    /// Places that were given to backups which were neither kept nor deleted on purpose, at most `limit` of them. A damaged
    /// manifest may hide its place, so as many as there are of those may be listed here too.
    pub fn lost(&self, limit: usize) -> Vec<Position> {
        let mut highest: BTreeMap<Timeline, Sequence> = self.highest.clone();
        let mut present: BTreeMap<Timeline, Vec<Sequence>> = BTreeMap::new();
        for position in self.backups.iter().filter_map(Backup::position) {
            let highest = highest.entry(position.timeline).or_insert(position.sequence);
            *highest = position.sequence.max(*highest);
            present.entry(position.timeline).or_default().push(position.sequence);
        }
        let mut lost = Vec::new();
        for (timeline, last) in highest {
            let here = present.get(&timeline).map_or(&[][..], Vec::as_slice);
            let gone = self.pruned.lost(timeline, (self.first_of(timeline), last), here, limit - lost.len());
            lost.extend(gone.into_iter().map(|sequence| Position { timeline, sequence }));
        }
        lost
    }

    fn first_of(&self, timeline: Timeline) -> Sequence {
        self.begins.get(&timeline).copied().unwrap_or(Sequence::FIRST)
    }

    /// Whether this place was given to a backup that is neither here nor was deleted on purpose. A damaged manifest hides
    /// its place: that counts as lost, too.
    pub fn is_lost(&self, position: Position) -> bool {
        let given = self.given().filter(|given| given.timeline == position.timeline).map(|given| given.sequence);
        let last = given.max().unwrap_or(Sequence(0));
        (self.first_of(position.timeline)..=last).contains(&position.sequence)
            && !self.pruned.contains(position)
            && self.backups.iter().all(|b| b.content.is_none() || b.position() != Some(position))
    }

    /// What is pinned of what is here, listed or not.
    pub(super) fn pins(&self) -> Pins {
        let pinned = self.backups.iter().filter(|backup| backup.pinned).map(|backup| backup.id);
        Pins { pinned: pinned.collect(), unpinned: self.listed_pins.unpinned.clone() }
    }

    /// Believes a list of pins, which is that of this row.
    pub(super) fn adopt_pins(&mut self, pins: Pins, row: Row) {
        for backup in &mut self.backups {
            backup.pinned = pins.pinned.contains(&backup.id) || self.pins_of_format_1.contains(&backup.id);
        }
        (self.listed_pins, self.pins_row, self.pins_in_doubt) = (pins, row, false);
    }

    /// Takes a backup out.
    pub(super) fn remove(&mut self, id: BackupId) {
        self.backups.retain(|backup| backup.id != id);
    }

    /// Adds a backup in its place.
    pub(super) fn insert(&mut self, backup: Backup) {
        let key = |backup: &Backup| (backup.position(), backup.id);
        let at = self.backups.partition_point(|other| key(other) < key(&backup));
        self.backups.insert(at, backup);
    }
}
