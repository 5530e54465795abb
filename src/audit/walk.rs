//! The walk along a chain: does each record follow the one before it, and are the remembered ones there?
//!
//! Hazard: a proof that names the wrong culprit sends the operator to the wrong line. Where two neighbours contradict
//! each other, the anchors and the record after them tell which of the two was changed.

use serde::Serialize;

use super::gap::Gap;
use super::record::{Head, Link, NOTHING_BEFORE};
use super::trust::Trust;
use crate::core::Digest;

/// The most faults that are told apart; a log with more is past telling, and not whole.
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
    /// Lines claim to be records, and were not written by a holder of the key.
    Forged {
        /// The number that the first of them claims.
        seq: u64,
        /// How many there are, one after the other.
        lines: u64,
        /// The record that they stand behind; 0 for none.
        after: u64,
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
    /// Records were authenticated with a key that is lost, or that another took the place of: nothing proves them.
    KeyLost {
        /// Names the key.
        key: Digest,
        /// The last record before the key at hand.
        to: u64,
    },
}

/// The most lines between two records that are told apart; the rest is told as one.
const MAX_LOOSE: usize = 10_000;

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
    /// The log says that a person accepted it, and is taken at its word.
    pub accepted: bool,
}

impl Found {
    /// What tells it from any other, also from one that is made later in the same place.
    pub fn key(&self) -> String {
        key(self.fault, self.evidence)
    }
}

/// What tells a fault from any other: `altered:5:3f9c…`.
pub(super) fn key(fault: Fault, found: Option<Digest>) -> String {
    let hash = found.map(|hash| hash.to_string()).unwrap_or_default();
    match fault {
        Fault::Altered { seq } => format!("altered:{seq}:{hash}"),
        Fault::Forged { seq, lines, after } => format!("forged:{seq}+{lines}@{after}:{hash}"),
        Fault::Reordered { seq } => format!("reordered:{seq}:{hash}"),
        Fault::Missing { from, to } => format!("missing:{from}-{to}"),
        // Once the chain goes on, it is a gap like any other.
        Fault::Truncated { expected, found } => format!("missing:{}-{expected}", found.unwrap_or(0).saturating_add(1)),
        Fault::KeyLost { key, .. } => format!("key_lost:{key}"),
    }
}

/// A line that is no record of ours, and may be in the place of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loose {
    pub place: Place,
    /// The hash of it.
    pub hash: Digest,
    /// The number that it claims to have.
    pub claims: Option<u64>,
    /// Whether it is whole but for its authentication: not what a crash leaves.
    pub forged: bool,
}

/// A record that was passed.
#[derive(Clone, Copy, Debug)]
struct Step {
    head: Head,
    place: Place,
    /// An anchor says that it is what it was.
    anchored: bool,
}

/// Forged lines, one after the other.
#[derive(Clone, Copy, Debug)]
struct Run {
    first: Loose,
    lines: u64,
    /// Of the one line; of several, of their hashes.
    hash: Digest,
}

impl Run {
    fn extend(run: &mut Option<Self>, line: &Loose) {
        let longer = match run {
            None => Self { first: *line, lines: 1, hash: line.hash },
            Some(run) => Self {
                lines: run.lines + 1,
                hash: Digest::of(&[run.hash, line.hash].map(|hash| *hash.as_bytes()).concat()),
                ..*run
            },
        };
        *run = Some(longer);
    }
}

/// How far the walk has come.
#[derive(Debug, Default)]
pub(super) struct Walk {
    trust: Trust,
    /// By number.
    anchors: Vec<Head>,
    next_anchor: usize,
    last: Option<Step>,
    /// The lines since the last record that are none.
    loose: Vec<Loose>,
    /// Forged ones beyond those.
    more_loose: Option<Run>,
    /// What the first record follows, while nothing explains where that is.
    follows_unseen: Option<Head>,
    /// The later of two records that contradict each other, while the earlier one is blamed.
    suspect: Option<Step>,
    /// Whether a file could not be read, and records may be in it.
    unread_files: bool,
    /// The last record before the place where a file could not be read on.
    cut_after: Option<u64>,
    pub first_seq: Option<u64>,
    pub records: u64,
    pub anchors_matched: u64,
    pub anchors_before_first: u64,
    /// In the order they were met, at most [`MAX_FAULTS`] but for those that are accepted.
    pub faults: Vec<Found>,
    /// How many of them were not accepted when they were met.
    open_faults: usize,
    /// Whether there are more.
    pub more_faults: bool,
    /// Records that may be in files that cannot be read, as inclusive ranges.
    pub unread: Vec<(u64, u64)>,
    /// The last record before each fault, at most [`MAX_FAULTS`].
    pub pins: Vec<Head>,
}

impl Walk {
    /// A walk that is to meet what is trusted. `unread_files` says whether there are files that cannot be read at all.
    pub fn new(trust: &Trust, unread_files: bool) -> Self {
        let mut anchors = trust.anchors.clone();
        anchors.sort_by_key(|anchor| anchor.seq);
        Self { anchors, trust: trust.clone(), unread_files, ..Self::default() }
    }

    /// The last record that was met.
    pub fn head(&self) -> Option<Head> {
        self.last.map(|step| step.head)
    }

    /// A line that is no record of ours, but is or was like one.
    pub fn loose_line(&mut self, line: Loose) {
        if self.loose.len() < MAX_LOOSE {
            self.loose.push(line);
        } else if line.forged {
            Run::extend(&mut self.more_loose, &line);
        }
    }

    /// A file could not be read to its end.
    pub fn cut(&mut self) {
        self.unread_files = true;
        self.cut_after = Some(self.head().map_or(0, |head| head.seq));
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

    /// The next record. `begins_a_file` says whether the log itself says that a file legitimately begins with it; it is
    /// asked only where the log is taken at its word.
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
        self.loose.clear();
    }

    /// The end of the last file, `place` being behind its last line.
    pub fn end(&mut self, place: Place) {
        let found = self.head().map(|head| head.seq);
        let next = found.map_or(1, |seq| seq.saturating_add(1));
        let expected = self.anchors[self.next_anchor..].last().map(|anchor| anchor.seq);
        let mut gap = expected.map_or_else(Gap::empty, |expected| Gap::new(next, expected));
        self.blame_loose(&mut gap);
        self.loose.clear();
        if let Some((_, expected)) = gap.ranges().last().copied() {
            let before_rotation = found.is_none() || self.head().is_some_and(|head| self.is_rotation(head));
            match self.unread_files && (before_rotation || self.cut_after == found) {
                true => self.unread.push((next, expected)),
                false if gap.is_untouched() => self.blame(Fault::Truncated { expected, found }, place, None),
                false => self.blame_missing(&gap, place, None),
            }
        }
        let to = self.trust.authenticator.after().map_or(0, |after| after.seq);
        for key in std::mem::take(&mut self.trust.other_keys) {
            self.blame(Fault::KeyLost { key, to }, Place { file: 0, line: 1 }, None);
        }
    }

    fn begin(&mut self, link: &Link<'_>, place: Place, begins_a_file: impl FnOnce() -> bool) {
        let (seq, evidence) = (link.head.seq, Some(link.head.hash));
        let before = Head { seq: seq.saturating_sub(1), hash: link.prev };
        let mut gap = match seq {
            1 if link.prev == NOTHING_BEFORE => Gap::empty(),
            0 | 1 => return self.blame(Fault::Altered { seq }, place, evidence),
            _ if self.is_rotation(before) || self.trust.credulous && begins_a_file() => Gap::empty(),
            _ => {
                // Of what was rotated away nothing can be told; what came after that should be here.
                let rotated = self.trust.rotations.range(..before.seq).next_back();
                Gap::new(rotated.map_or(1, |(seq, _)| seq + 1), before.seq)
            }
        };
        self.blame_loose(&mut gap);
        let known = self.faults.len();
        self.blame_missing(&gap, place, evidence);
        self.follows_unseen = (known == 0 && self.faults.len() == 1).then_some(before);
    }

    fn follow(&mut self, last: Step, link: &Link<'_>, step: Step) {
        let seq = link.head.seq;
        let next = last.head.seq.saturating_add(1);
        let evidence = Some(step.head.hash);
        let mut gap = if seq > next { Gap::new(next, seq - 1) } else { Gap::empty() };
        self.blame_loose(&mut gap);
        if seq > next {
            let before = Head { seq: seq - 1, hash: link.prev };
            let at_a_rotation = self.is_rotation(last.head) || self.cut_after == Some(last.head.seq);
            if self.unread_files && gap.is_untouched() && at_a_rotation && self.is_rotation(before) {
                self.unread.push((next, before.seq));
            } else {
                self.blame_missing(&gap, step.place, evidence);
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

    fn is_rotation(&self, after: Head) -> bool {
        self.trust.rotations.get(&after.seq) == Some(&after)
    }

    /// Blames the lines that are no records: for the records of `gap` that they are in the place of, or for being there at
    /// all.
    fn blame_loose(&mut self, gap: &mut Gap) {
        let loose = std::mem::take(&mut self.loose);
        let mut taken = vec![false; loose.len()];
        // Those that say whose place they are in choose first.
        for (line, taken) in loose.iter().zip(&mut taken) {
            if let Some(seq) = line.claims.filter(|seq| gap.take(*seq)) {
                *taken = true;
                self.blame(Fault::Altered { seq }, line.place, Some(line.hash));
            }
        }
        let mut forged = None;
        for (line, taken) in loose.iter().zip(taken) {
            if line.forged && !taken {
                Run::extend(&mut forged, line);
                continue;
            }
            self.blame_run(forged.take());
            if !taken && let Some(seq) = gap.take_first() {
                self.blame(Fault::Altered { seq }, line.place, Some(line.hash));
            }
        }
        let more = self.more_loose.take();
        [forged, more].into_iter().for_each(|run| self.blame_run(run));
    }

    fn blame_run(&mut self, run: Option<Run>) {
        if let Some(Run { first, lines, hash }) = run {
            let (seq, after) = (first.claims.unwrap_or(0), self.head().map_or(0, |head| head.seq));
            self.blame(Fault::Forged { seq, lines, after }, first.place, Some(hash));
        }
    }

    fn blame_missing(&mut self, gap: &Gap, place: Place, evidence: Option<Digest>) {
        for (from, to) in gap.ranges().iter().copied() {
            self.blame(Fault::Missing { from, to }, place, evidence);
        }
    }

    /// Notes a fault, once.
    fn blame(&mut self, fault: Fault, place: Place, evidence: Option<Digest>) {
        let found = Found { fault, place, evidence, accepted: false };
        if self.faults.iter().any(|known| known.fault == fault && known.evidence == evidence) {
            return;
        }
        if !self.trust.accepted.contains(&found.key()) {
            if self.open_faults >= MAX_FAULTS {
                self.more_faults = true;
                return;
            }
            self.open_faults += 1;
        }
        if self.pins.len() < MAX_FAULTS {
            self.pins.extend(self.head());
        }
        self.faults.push(found);
    }
}
