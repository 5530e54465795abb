//! Numbers of records that should be in a place and are not.
//!
//! Hazard: a single broken line that stands for a whole gap hides how much is gone, and accepting the line would accept
//! the gap, however large it becomes. Each line takes the place of one record; the rest is missing.

/// Numbers, as ascending inclusive ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    ranges: Vec<(u64, u64)>,
    whole: bool,
}

impl Gap {
    /// No numbers.
    pub const fn empty() -> Self {
        Self { ranges: Vec::new(), whole: true }
    }

    /// These numbers; none if the last is before the first.
    pub fn new(from: u64, to: u64) -> Self {
        Self { ranges: if from <= to { vec![(from, to)] } else { vec![] }, whole: true }
    }

    /// Whether nothing was taken out.
    pub const fn is_untouched(&self) -> bool {
        self.whole
    }

    /// What is left.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Takes a number out; whether it was there.
    pub fn take(&mut self, seq: u64) -> bool {
        let Some(at) = self.ranges.iter().position(|(from, to)| (*from..=*to).contains(&seq)) else { return false };
        let (from, to) = self.ranges.remove(at);
        let (left, right) = ((from < seq).then(|| (from, seq - 1)), (seq < to).then(|| (seq + 1, to)));
        self.ranges.splice(at..at, left.into_iter().chain(right));
        self.whole = false;
        true
    }

    /// Takes the first number out.
    pub fn take_first(&mut self) -> Option<u64> {
        let seq = self.ranges.first()?.0;
        self.take(seq);
        Some(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_nothing_else() {
        let mut gap = Gap::new(5, 9);
        assert!(gap.is_untouched());
        assert!(gap.take(7) && !gap.take(7) && !gap.take(4) && !gap.take(10));
        assert_eq!(gap.ranges(), [(5, 6), (8, 9)]);
        assert_eq!((gap.take_first(), gap.take_first(), gap.take_first()), (Some(5), Some(6), Some(8)));
        assert_eq!((gap.ranges(), gap.is_untouched()), (&[(9, 9)][..], false));
        assert!(gap.take(9) && gap.take_first().is_none());
        assert_eq!(Gap::new(3, 2), Gap::empty());
        assert!(Gap::new(0, u64::MAX).take(u64::MAX));
    }
}
