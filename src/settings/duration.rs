//! Durations in words: `90s`, `15m`, `6h`, `7d`.
//!
//! Hazard: a bare number is read in whatever unit the reader has in mind. A duration without a unit does not exist.

use std::time::Duration;

use super::origin::Shown;

/// The units, smallest first, in milliseconds.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The duration that `text` says: a whole number directly followed by one of `ms s m h d`; `None` if it says none, or
/// one beyond 2^64 milliseconds.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, milliseconds) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(milliseconds).map(Duration::from_millis)
}

impl Shown for Duration {
    /// In the largest unit that says it exactly.
    fn shown(&self) -> String {
        let milliseconds = self.as_millis();
        let fits = |(_, unit): &(&str, u64)| milliseconds.is_multiple_of(u128::from(*unit)) && milliseconds > 0;
        let (name, unit) = UNITS.into_iter().rev().find(fits).unwrap_or(("s", 1000));
        format!("{}{name}", milliseconds / u128::from(unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_with_a_unit_is_a_duration() {
        let cases = [("100ms", 100), ("90s", 90_000), ("15m", 900_000), ("6h", 21_600_000), ("7d", 604_800_000)];
        for (text, milliseconds) in cases {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(Duration::from_millis(milliseconds).shown(), text);
        }
        assert_eq!(Duration::from_secs(86_400).shown(), "1d");
        assert_eq!(Duration::ZERO.shown(), "0s");
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "6", "h", "-1h", "+1h", "1.5h", "1h30m", "6 h", " 6h", "6H", "6w", "١h", "300000000000d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
