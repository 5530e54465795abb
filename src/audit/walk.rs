//! The walk along a chain: does each record follow the one before it, and are the remembered ones there?
//!
//! Hazard: a proof that names the wrong culprit sends the operator to the wrong line. Where two neighbours contradict
//! each other, the anchors and the record after them tell which of the two was changed.

use serde::Serialize;

use super::record::{Head, Link, NOTHING_BEFORE};
use crate::core::Digest;

/// The most faults that are told apart; a log with more is past telling.
pub const MAX_FAULTS: usize = 100;

/// What is wrong with the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The record is not the one that was written.
    Altered {
        /// Its number.
        seq: u64,
    },
    /// Records are not there; the place is where the next one is.
    Missing {
        /// The first of them.
        from: u64,
        /// The last of them.
        to: u64,
    },
    /// The record is not where it belongs, or it is there twice.
    Reordered {
        /// Its number.
        seq: u64,
    },
    /// The chain ends before records that are known to have been written.
    Truncated {
        /// The last of those that are known.
        expected: u64,
        /// The last record that is there.
        found: Option<u64>,
    },
}

/// Where a line is: the number of the file, from 0, and of the line, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub file: usize,
    pub line: u64,
}

/// A fault, where it is, and what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub fault: Fault,
    pub place: Place,
    /// The hash of the line there; `None` behind the last line.
    pub evidence: Option<Digest>,
    /// A person has looked at it, and said so in the log.
    pub accepted: bool,
}

/// A record that was passed.
#[derive(Clone, Copy, Debug)]
struct Step {
    head: Head,
    place: Place,
    /// An anchor says that it is what it was.
    anchored: bool,
}

/// How far the walk has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// By number.
    anchors: Vec<Head>,
    next_anchor: usize,
    last: Option<Step>,
    /// The first broken line since the last record, and its hash.
    broken: Option<(Place, Digest)>,
    /// What the first record follows, while nothing explains where that is.
    follows_unseen: Option<Head>,
    /// The later of two records that contradict each other, while the earlier one is blamed.
    suspect: Option<Step>,
    pub first_seq: Option<u64>,
    pub records: u64,
    pub anchors_matched: u64,
    pub anchors_before_first: u64,
    /// In the order they were met, at most [`MAX_FAULTS`].
    pub faults: Vec<Found>,
}

impl Walk {
    /// A walk that is to meet these anchors, given in any order.
    pub fn new(anchors: &[Head]) -> Self {
        let mut anchors = anchors.to_vec();
        anchors.sort_by_key(|anchor| anchor.seq);
        Self { anchors, ..Self::default() }
    }

    /// The last record that was met.
    pub fn head(&self) -> Option<Head> {
        self.last.map(|step| step.head)
    }

    /// A line that was ours is no record.
    pub fn broken_line(&mut self, place: Place, line: &[u8]) {
        self.broken.get_or_insert_with(|| (place, Digest::of(line)));
    }

    /// The log itself says that a file was begun behind this record: what was missing before was rotated away.
    pub fn rotated(&mut self, after: Head) {
        if self.follows_unseen == Some(after) {
            self.follows_unseen = None;
            self.faults.remove(0);
        }
    }

    /// The log itself says that a person accepted what was found so far, as far as `accepts` knows it.
    pub fn accept(&mut self, accepts: impl Fn(&Found) -> bool) {
        self.faults.iter_mut().filter(|found| accepts(found)).for_each(|found| found.accepted = true);
    }

    /// The next record. `begins_a_file` says whether it is one with which a file legitimately begins after a rotation;
    /// it is asked of the first record only.
    pub fn record(&mut self, link: &Link<'_>, place: Place, begins_a_file: impl FnOnce() -> bool) {
        self.records += 1;
        let anchored = self.meet_anchors(link.head, place);
        let step = Step { head: link.head, place, anchored };
        self.settle_suspicion(link);
        match self.last {
            None => {
                self.first_seq = Some(link.head.seq);
                self.begin(link, place, begins_a_file);
            }
            Some(last) => self.follow(last, link, step),
        }
        // What comes too late leaves the end of the chain where it is.
        if self.last.is_none_or(|last| last.head.seq < link.head.seq) {
            self.last = Some(step);
        }
        self.broken = None;
    }

    /// The end of the last file, `place` being behind its last line.
    pub fn end(&mut self, place: Place) {
        let Some(expected) = self.anchors[self.next_anchor..].last().map(|anchor| anchor.seq) else { return };
        let found = self.head().map(|head| head.seq);
        match self.broken {
            Some(broken) => self.blame_broken(found.unwrap_or(0) + 1, broken),
            None => self.blame(Fault::Truncated { expected, found }, place, None),
        }
    }

    fn begin(&mut self, link: &Link<'_>, place: Place, begins_a_file: impl FnOnce() -> bool) {
        let seq = link.head.seq;
        match (seq, self.broken) {
            (1, _) if link.prev == NOTHING_BEFORE => return,
            (0 | 1, _) => self.blame(Fault::Altered { seq }, place, Some(link.head.hash)),
            _ if begins_a_file() => return,
            (_, Some(broken)) => self.blame_broken(seq - 1, broken),
            (_, None) => self.blame(Fault::Missing { from: 1, to: seq - 1 }, place, Some(link.head.hash)),
        }
        let first_of_all = self.faults.len() == 1 && seq > 1;
        self.follows_unseen = first_of_all.then(|| Head { seq: seq - 1, hash: link.prev });
    }

    fn follow(&mut self, last: Step, link: &Link<'_>, step: Step) {
        let seq = link.head.seq;
        let next = last.head.seq.saturating_add(1);
        let evidence = Some(step.head.hash);
        if seq > next {
            match self.broken {
                Some(broken) => self.blame_broken(next, broken),
                None => self.blame(Fault::Missing { from: next, to: seq - 1 }, step.place, evidence),
            }
        } else if seq < next {
            // What seemed to be missing comes later: it is the one in its place that is not where it belongs.
            let displaced = self.faults.iter_mut().find_map(|found| match found.fault {
                Fault::Missing { from, to } if (from..=to).contains(&seq) => Some((found, to)),
                _ => None,
            });
            match displaced {
                Some((found, to)) => found.fault = Fault::Reordered { seq: to.saturating_add(1) },
                None => self.blame(Fault::Reordered { seq }, step.place, evidence),
            }
        } else if link.prev != last.head.hash {
            if last.anchored {
                self.blame(Fault::Altered { seq }, step.place, evidence);
            } else {
                let known = self.faults.len();
                self.blame(Fault::Altered { seq: last.head.seq }, last.place, Some(last.head.hash));
                self.suspect = Some(step).filter(|step| !step.anchored && self.faults.len() > known);
            }
        }
    }

    /// If the record after the suspect does not acknowledge it either, the suspect is the one that was changed.
    fn settle_suspicion(&mut self, link: &Link<'_>) {
        let Some(suspect) = self.suspect.take() else { return };
        if link.head.seq == suspect.head.seq.saturating_add(1)
            && link.prev != suspect.head.hash
            && let Some(found) = self.faults.last_mut()
        {
            found.fault = Fault::Altered { seq: suspect.head.seq };
            found.place = suspect.place;
            found.evidence = Some(suspect.head.hash);
        }
    }

    /// Holds the record against the anchors up to it, and returns whether one of them confirms it.
    fn meet_anchors(&mut self, head: Head, place: Place) -> bool {
        let mut anchored = false;
        while let Some(anchor) = self.anchors.get(self.next_anchor).filter(|anchor| anchor.seq <= head.seq) {
            self.next_anchor += 1;
            if anchor.seq < head.seq {
                self.anchors_before_first += u64::from(self.last.is_none());
            } else if anchor.hash == head.hash {
                self.anchors_matched += 1;
                anchored = true;
            } else {
                self.blame(Fault::Altered { seq: head.seq }, place, Some(head.hash));
            }
        }
        anchored
    }

    fn blame_broken(&mut self, seq: u64, (place, line): (Place, Digest)) {
        self.blame(Fault::Altered { seq }, place, Some(line));
    }

    /// Notes a fault, once.
    fn blame(&mut self, fault: Fault, place: Place, evidence: Option<Digest>) {
        if self.faults.len() < MAX_FAULTS && self.faults.iter().all(|found| found.fault != fault) {
            self.faults.push(Found { fault, place, evidence, accepted: false });
        }
    }
}
