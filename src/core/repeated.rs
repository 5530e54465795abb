//! What is tried again and fails again, in the log.
//!
//! Hazard: a line a second, for ever, of the one thing that everybody knows by now, in which the next trouble drowns and
//! which fills the disk. The same thing is said again only when it has happened twice as often as when it was said last.

/// The most failures between two lines about them.
const MOST_BETWEEN: u64 = 4096;

/// How often the same thing went wrong in a row.
#[derive(Debug, Default)]
pub struct Repeated {
    what: Option<String>,
    times: u64,
}

impl Repeated {
    /// It went wrong: how often so far in just this way, if that is to be said.
    pub fn again(&mut self, what: &str) -> Option<u64> {
        if self.what.as_deref() != Some(what) {
            *self = Self { what: Some(what.to_owned()), times: 0 };
        }
        self.times = self.times.saturating_add(1);
        (self.times.is_power_of_two() && self.times < MOST_BETWEEN || self.times.is_multiple_of(MOST_BETWEEN))
            .then_some(self.times)
    }

    /// It went right.
    pub fn over(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_more_and_more_rarely_and_anything_else_at_once() {
        let mut repeated = Repeated::default();
        let said =
            |repeated: &mut Repeated, tries: u64| (1..=tries).filter(|_| repeated.again("full").is_some()).count();
        assert_eq!(said(&mut repeated, 60), 6);
        assert_eq!(repeated.again("gone"), Some(1));
        assert_eq!(repeated.again("full"), Some(1), "it changed and changed back");
        assert_eq!(said(&mut repeated, 20_000), 11 + 4, "never quite silent");
        repeated.over();
        assert_eq!(repeated.again("full"), Some(1));
    }
}
