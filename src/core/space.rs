//! Whether there is space enough.
//!
//! Hazard: a disk that is full stops every backup at once. Early enough, a person can still choose what to do.

/// A disk's space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that there are.
    pub total_bytes: u64,
}

impl Space {
    /// Whether less is free than so many MiB, or than so many percent of all.
    pub fn is_low(self, min_free_mb: u64, min_free_percent: u32) -> bool {
        let below_mb = u128::from(self.free_bytes) < u128::from(min_free_mb) << 20;
        let below_percent =
            u128::from(self.free_bytes) * 100 < u128::from(self.total_bytes) * u128::from(min_free_percent);
        below_mb || below_percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_low_below_either_threshold_and_a_threshold_of_zero_is_none() {
        let space = Space { free_bytes: 300 << 20, total_bytes: 10_000 << 20 };
        assert!(!space.is_low(300, 3));
        assert!(space.is_low(301, 0));
        assert!(space.is_low(0, 4));
        assert!(!Space { free_bytes: 0, total_bytes: 0 }.is_low(0, 99));
        assert!(Space { free_bytes: u64::MAX - 1, total_bytes: u64::MAX }.is_low(u64::MAX, 0));
    }
}
