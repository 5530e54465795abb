//! What to read again next, and by when everything will have been read.
//!
//! Hazard: bytes that nobody reads rot unseen until they are needed. Everything stored is divided into shards, each of
//! which remembers when it was read last; the one that was read longest ago comes first. A lost memory costs reading
//! again; a shard that was read in the future, as a clock told it that was set back since, counts as never read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::SetName;
use super::schedule::is_ahead;

/// A part of a repository that is read in one go. There are few of them however much is stored, so that what is
/// remembered of them stays small.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Shard {
    /// What the repository says of itself.
    Top,
    /// The manifests of a set, and what stands beside them.
    Set(SetName),
    /// The objects whose names begin with this byte.
    Objects(u8),
}

/// A text names no shard.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected the name of a shard")]
pub struct ShardSyntax;

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("top"),
            Self::Set(set) => write!(f, "set {set}"),
            Self::Objects(first) => write!(f, "objects {first:02x}"),
        }
    }
}

impl FromStr for Shard {
    type Err = ShardSyntax;

    fn from_str(text: &str) -> Result<Self, ShardSyntax> {
        let shard = match text.split_once(' ') {
            None => Some(Self::Top),
            Some(("set", name)) => name.parse().ok().map(Self::Set),
            Some(("objects", first)) => u8::from_str_radix(first, 16).ok().map(Self::Objects),
            Some(_) => None,
        };
        shard.filter(|shard| shard.to_string() == text).ok_or(ShardSyntax)
    }
}

impl TryFrom<String> for Shard {
    type Error = ShardSyntax;

    fn try_from(text: String) -> Result<Self, ShardSyntax> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

/// When each shard of a place was read last, whole; one that is not in here never was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Checked(BTreeMap<Shard, DateTime<Utc>>);

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read this shard now.
    Read(Shard),
    /// Nothing is due before this time.
    At(DateTime<Utc>),
}

/// How often everything is to be read, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Everything within this time.
    pub within: Duration,
    /// At most so many bytes a second; `None`: as fast as it goes.
    pub bytes_per_second: Option<u64>,
}

impl Pace {
    /// The time between two readings of a shard. Shorter than what was promised by an eighth, which is there for
    /// downtime, for backups that go first, and for the reading itself.
    fn interval(&self) -> TimeDelta {
        let interval = self.within - self.within / 8;
        // Centuries, where the settings allow no more than a year.
        TimeDelta::from_std(interval).unwrap_or(TimeDelta::MAX)
    }

    /// How long reading so many bytes takes at least.
    pub fn duration(&self, bytes: u64) -> Duration {
        match self.bytes_per_second {
            Some(rate) if rate > 0 => Duration::from_secs_f64(bytes as f64 / rate as f64),
            _ => Duration::ZERO,
        }
    }

    fn due(&self, checked: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
        checked.map_or(now, |checked| checked.checked_add_signed(self.interval()).unwrap_or(now))
    }
}

impl Checked {
    /// When this shard was read last, as far as that can be so at `now`.
    pub fn get(&self, shard: &Shard, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.0.get(shard).copied().filter(|checked| !is_ahead(*checked, now))
    }

    /// Notes that a shard was read, whole.
    pub fn note(&mut self, shard: Shard, at: DateTime<Utc>) {
        self.0.insert(shard, at);
    }

    /// Forgets shards that are no more.
    pub fn retain(&mut self, shards: &[Shard]) {
        self.0.retain(|shard, _| shards.contains(shard));
    }

    /// What to do next: the shard that was read longest ago, if it is due. `None` if there is no shard.
    pub fn next(&self, shards: &[Shard], pace: &Pace, now: DateTime<Utc>) -> Option<Next> {
        let oldest = shards.iter().min_by_key(|shard| self.get(shard, now))?;
        let due = pace.due(self.get(oldest, now), now);
        Some(if due <= now { Next::Read(oldest.clone()) } else { Next::At(due) })
    }

    /// When the shard that was read longest ago was read; `None` if one never was.
    pub fn oldest(&self, shards: &[Shard], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        shards.iter().map(|shard| self.get(shard, now)).min().flatten()
    }

    /// By when every shard, given with its bytes, will have been read from now on, if nothing goes first.
    pub fn complete_by(&self, shards: &[(Shard, u64)], pace: &Pace, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut due: Vec<_> =
            shards.iter().map(|(shard, bytes)| (pace.due(self.get(shard, now), now), *bytes)).collect();
        due.sort_unstable();
        due.into_iter().fold(now, |free, (due, bytes)| {
            let reading = TimeDelta::from_std(pace.duration(bytes)).unwrap_or(TimeDelta::MAX);
            free.max(due).checked_add_signed(reading).unwrap_or(DateTime::<Utc>::MAX_UTC)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WEEK: Pace = Pace { within: Duration::from_secs(7 * 86_400), bytes_per_second: None };

    fn hour(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_428_900 + hour * 3600, 0).unwrap()
    }

    fn all() -> Vec<Shard> {
        let sets = ["logs", "security"].map(|name| Shard::Set(name.parse().unwrap()));
        [Shard::Top].into_iter().chain(sets).chain((0..=255).map(Shard::Objects)).collect()
    }

    #[test]
    fn a_shard_reads_back_as_written_and_nothing_else_is_one() {
        for shard in all() {
            assert_eq!(shard.to_string().parse(), Ok(shard));
        }
        for text in ["", "top ", "set", "set UP", "objects 1", "objects 0g", "objects 001", "objects +1"] {
            assert_eq!(text.parse::<Shard>(), Err(ShardSyntax), "{text}");
        }
    }

    #[test]
    fn what_was_never_read_comes_first_then_what_was_read_longest_ago() {
        let shards = all();
        let mut checked = Checked::default();
        let mut order = Vec::new();
        for number in 0..shards.len() {
            let now = hour(0) + TimeDelta::seconds(number as i64);
            let Some(Next::Read(shard)) = checked.next(&shards, &WEEK, now) else { panic!("nothing is due") };
            checked.note(shard.clone(), now);
            order.push(shard);
        }
        assert_eq!(order, shards);
        assert_eq!(checked.next(&shards, &WEEK, hour(1)), Some(Next::At(hour(7 * 21))), "seven eighths of a week");
        assert_eq!(checked.next(&shards, &WEEK, hour(7 * 21)), Some(Next::Read(order[0].clone())));
        assert_eq!(checked.oldest(&shards, hour(1)), Some(hour(0)));
    }

    #[test]
    fn the_end_is_told_from_what_is_due_and_how_fast_it_is_read() {
        let shards = [(Shard::Top, 0), (Shard::Objects(0), 3600 * 1000), (Shard::Objects(1), 3600 * 1000)];
        let pace = Pace { bytes_per_second: Some(1000), ..WEEK };
        let mut checked = Checked::default();
        assert_eq!(checked.complete_by(&shards, &pace, hour(0)), hour(2));
        checked.note(Shard::Objects(0), hour(0));
        assert_eq!(checked.complete_by(&shards, &pace, hour(1)), hour(7 * 21 + 1));
    }

    #[test]
    fn a_shard_that_was_read_in_the_future_counts_as_never_read() {
        let mut checked = Checked::default();
        checked.note(Shard::Top, hour(24 * 365 * 10));
        assert_eq!(checked.next(&[Shard::Top], &WEEK, hour(0)), Some(Next::Read(Shard::Top)));
        assert_eq!(checked.oldest(&[Shard::Top], hour(0)), None);
        assert_eq!(checked.complete_by(&[(Shard::Top, 0)], &WEEK, hour(0)), hour(0));
        // Read again, it is due in its turn.
        checked.note(Shard::Top, hour(0));
        assert_eq!(checked.next(&[Shard::Top], &WEEK, hour(0)), Some(Next::At(hour(7 * 21))));
    }

    proptest! {
        /// Whatever is read when, and however often the service is away for less than the eighth: nothing is older than promised.
        #[test]
        fn everything_is_read_within_the_promised_time(pauses in proptest::collection::vec(1i64..20, 1..200)) {
            let shards = all();
            let mut checked = Checked::default();
            let mut now = hour(0);
            for pause in pauses {
                while let Some(Next::Read(shard)) = checked.next(&shards, &WEEK, now) {
                    checked.note(shard, now);
                }
                now += TimeDelta::hours(pause);
                let oldest = checked.oldest(&shards, now).unwrap();
                prop_assert!(now - oldest <= TimeDelta::days(7), "{}", now - oldest);
            }
        }
    }
}
