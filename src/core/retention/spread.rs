//! Thinning out a history so that what is left covers it.
//!
//! Hazard: what is deleted today cannot be kept tomorrow. Versions come one by one, and each time one must go; a choice
//! that looks even now may leave a hole a week later.
//!
//! This is online checkpointing: keep n of a growing history, dropping only from what is left. With even spacing as the
//! aim, Bringmann, Doerr, Neumann and Sliacan ("Online Checkpointing with Improved Worst-Case Guarantees", ICALP 2013)
//! show that n slots can stay within a factor of 1.59 of the ideal at every moment, and Bar-On and others ("Tight Bounds
//! on Online Checkpointing Algorithms", ICALP 2018) that ln 4 is the best there is. Backups want spacing that grows with
//! age: the same game on a logarithmic scale. Neil Fraser's logarithmic backup rotation plays it greedily, as is done
//! here: the version goes whose two neighbours are closest, as the ratio of their ages.
//!
//! Greed alone opens a gap at the far end, and when the oldest version expires, the history ends at the near side of
//! that gap. So no gap may grow beyond [`LONGEST_GAP`] of the window while there is another choice.
//!
//! Reached with a new version every hour, ten slots and thirty days, at every hour from the thirtieth day on (the tests
//! hold it): the oldest version kept was superseded at least 18 days ago, the one just superseded is there, and the gap
//! beyond a kept version is at most 3.1 times the time since it was made. With times that scatter by a tenth of an hour
//! it is 5 times.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use chrono::TimeDelta;

/// The longest gap between two kept versions, as a part of the window, while there is another choice.
const LONGEST_GAP: f64 = 0.4;

/// A version that is kept so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Its name.
    pub at: usize,
    /// For how long it has been superseded.
    pub age: TimeDelta,
    /// Whether it may go.
    pub removable: bool,
}

/// What the absence of a version would cost; the least goes first.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cost {
    too_long: bool,
    ratio: f64,
    place: usize,
    /// The neighbours it was reckoned with: outdated once they are gone.
    neighbours: (usize, usize),
}

impl Eq for Cost {}

impl Ord for Cost {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_ratio = self.too_long.cmp(&other.too_long).then(self.ratio.total_cmp(&other.ratio));
        by_ratio.then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Names `excess` of these points (oldest first, the last being the current version), or as many as may go.
///
/// The oldest stays, and the one before the current version: what was changed last can be undone. Only when nothing else
/// is left do they go, the oldest first.
pub(super) fn thin(points: &[Point], excess: usize, window: TimeDelta, spacing: TimeDelta) -> Vec<usize> {
    let mut row = Row::new(points, window, spacing);
    let mut gone = Vec::with_capacity(excess);
    while gone.len() < excess
        && let Some(place) = row.cheapest()
    {
        row.remove(place);
        gone.push(place);
    }
    let last = (0..points.len()).filter(|place| points[*place].removable && !row.is_gone(*place));
    let last: Vec<usize> = last.take(excess - gone.len()).collect();
    gone.into_iter().chain(last).map(|place| points[place].at).collect()
}

/// The points as a chain from which links are taken.
struct Row<'a> {
    points: &'a [Point],
    older: Vec<usize>,
    newer: Vec<usize>,
    costs: BinaryHeap<Reverse<Cost>>,
    longest_gap_seconds: f64,
    spacing_seconds: f64,
}

impl<'a> Row<'a> {
    fn new(points: &'a [Point], window: TimeDelta, spacing: TimeDelta) -> Self {
        let mut row = Self {
            points,
            older: (0..points.len()).map(|place| place.saturating_sub(1)).collect(),
            newer: (1..=points.len()).collect(),
            costs: BinaryHeap::with_capacity(points.len()),
            longest_gap_seconds: LONGEST_GAP * seconds(window),
            spacing_seconds: seconds(spacing).max(1.0),
        };
        (0..points.len()).for_each(|place| row.reckon(place));
        row
    }

    /// Notes what the absence of the point at `place` would cost, if it is one of those in between that may go.
    fn reckon(&mut self, place: usize) {
        let in_between = place > 0 && place + 2 < self.points.len();
        if !in_between || !self.points[place].removable {
            return;
        }
        let neighbours = (self.older[place], self.newer[place]);
        let [older, newer] = [neighbours.0, neighbours.1].map(|place| seconds(self.points[place].age).max(0.0));
        let ratio = (older + self.spacing_seconds) / (newer + self.spacing_seconds);
        let too_long = older - newer > self.longest_gap_seconds;
        self.costs.push(Reverse(Cost { too_long, ratio, place, neighbours }));
    }

    fn cheapest(&mut self) -> Option<usize> {
        loop {
            let Reverse(cost) = self.costs.pop()?;
            if cost.neighbours == (self.older[cost.place], self.newer[cost.place]) {
                return Some(cost.place);
            }
        }
    }

    fn is_gone(&self, place: usize) -> bool {
        self.newer[place] == usize::MAX
    }

    fn remove(&mut self, place: usize) {
        let (older, newer) = (self.older[place], self.newer[place]);
        self.newer[older] = newer;
        self.older[newer] = older;
        // Its own costs are outdated for good.
        (self.older[place], self.newer[place]) = (usize::MAX, usize::MAX);
        self.reckon(older);
        self.reckon(newer);
    }
}

fn seconds(time: TimeDelta) -> f64 {
    time.as_seconds_f64()
}

#[cfg(test)]
mod tests;
