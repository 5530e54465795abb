//! Times of files: every time that `statx` can tell, and nothing rounded.
//!
//! Hazard: a time that a type cannot hold comes back as another. File systems hold signed 64-bit seconds; most date types
//! do not.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

const NANOSECONDS: u32 = 1_000_000_000;

/// A time: whole seconds since the Unix epoch, rounded down, and nanoseconds on top of them.
///
/// In text it is a decimal number of seconds with nine digits after the point, as `touch -d @…` takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

/// Why a text is no time.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected seconds since 1970 with nine digits after the point")]
pub struct TimestampSyntax;

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self { seconds: 0, nanoseconds: 0 };

    /// This many seconds and, on top of them, nanoseconds; `None` for a second or more of those.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        if nanoseconds < NANOSECONDS { Some(Self { seconds, nanoseconds }) } else { None }
    }

    /// The time so many nanoseconds after the Unix epoch.
    pub const fn from_nanoseconds(nanoseconds: i64) -> Self {
        let per_second = NANOSECONDS as i64;
        Self { seconds: nanoseconds.div_euclid(per_second), nanoseconds: nanoseconds.rem_euclid(per_second) as u32 }
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Nanoseconds on top of the seconds.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn total_nanoseconds(self) -> i128 {
        self.seconds as i128 * NANOSECONDS as i128 + self.nanoseconds as i128
    }

    /// As a date, for people: the first or the last one there is where it lies beyond.
    pub fn to_date(self) -> DateTime<Utc> {
        let beyond = if self.seconds < 0 { DateTime::<Utc>::MIN_UTC } else { DateTime::<Utc>::MAX_UTC };
        DateTime::from_timestamp(self.seconds, self.nanoseconds).unwrap_or(beyond)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(date: DateTime<Utc>) -> Self {
        // A leap second is told as a billion nanoseconds and more.
        Self { seconds: date.timestamp(), nanoseconds: date.timestamp_subsec_nanos().min(NANOSECONDS - 1) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Below zero the fraction counts the other way.
        let (sign, whole, fraction) = match (self.seconds < 0, self.nanoseconds) {
            (false, nanoseconds) => ("", self.seconds.unsigned_abs(), nanoseconds),
            (true, 0) => ("-", self.seconds.unsigned_abs(), 0),
            (true, nanoseconds) => ("-", self.seconds.unsigned_abs() - 1, NANOSECONDS - nanoseconds),
        };
        write!(f, "{sign}{whole}.{fraction:09}")
    }
}

impl FromStr for Timestamp {
    type Err = TimestampSyntax;

    fn from_str(text: &str) -> Result<Self, TimestampSyntax> {
        let number = text.strip_prefix('-');
        let (whole, fraction) = number.unwrap_or(text).split_once('.').ok_or(TimestampSyntax)?;
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() != 9 {
            return Err(TimestampSyntax);
        }
        let whole: i128 = whole.parse().map_err(|_| TimestampSyntax)?;
        let fraction: i128 = fraction.parse().map_err(|_| TimestampSyntax)?;
        let per_second = i128::from(NANOSECONDS);
        let total =
            whole.checked_mul(per_second).and_then(|whole| whole.checked_add(fraction)).ok_or(TimestampSyntax)?;
        let total = if number.is_some() { -total } else { total };
        let seconds = i64::try_from(total.div_euclid(per_second)).map_err(|_| TimestampSyntax)?;
        let nanoseconds = u32::try_from(total.rem_euclid(per_second)).map_err(|_| TimestampSyntax)?;
        Self::new(seconds, nanoseconds).ok_or(TimestampSyntax)
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampSyntax;

    fn try_from(text: String) -> Result<Self, TimestampSyntax> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_read_as_touch_takes_them() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "0.000000000"),
            (1_795_428_900, 123, "1795428900.000000123"),
            (-1, 500_000_000, "-0.500000000"),
            (-2, 0, "-2.000000000"),
            (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
            (i64::MIN, 0, "-9223372036854775808.000000000"),
            (i64::MIN, 1, "-9223372036854775807.999999999"),
        ] {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        for text in ["", "1", "1.5", "1.0000000000", "+1.000000000", "9223372036854775808.000000000", "1e9.000000000"] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_comes_back(seconds: i64, nanoseconds in 0u32..NANOSECONDS) {
            let time = Timestamp::new(seconds, nanoseconds).unwrap();
            prop_assert_eq!(time.to_string().parse(), Ok(time));
            let _ = time.to_date();
        }
    }
}
