//! Whether the clock can be believed.
//!
//! Hazard: a clock that says 2090 makes every backup look old, and one that says 1970 makes none. Order is the sequence
//! and never the clock; but ages are told by it, so it is held against what is known: the newest backup, the time it
//! said when last seen, and the clock that never goes back. While it contradicts one of them, nothing is deleted.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// What two clocks may disagree by: time servers correct more than this only at the first start.
pub const TOLERANCE: TimeDelta = TimeDelta::minutes(10);

/// The longest time between two looks, the machine being off, that is taken for true. What was deleted by age after a
/// longer one could be a whole history.
pub const LONGEST_ABSENCE: TimeDelta = TimeDelta::days(30);

/// What the clock is held against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Witnesses {
    /// When the newest backup was made that was made by a clock in no doubt.
    pub newest_backup: Option<DateTime<Utc>>,
    /// What the clock said when it was last believed, by this process or one before.
    pub last_seen: Option<DateTime<Utc>>,
    /// The same in this process, with the time since its start then.
    pub anchor: Option<(DateTime<Utc>, Duration)>,
}

/// Why the clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockFault {
    /// What it says.
    pub says: DateTime<Utc>,
    /// What contradicts it.
    pub witness: Witness,
    /// What that says.
    pub expected: DateTime<Utc>,
}

/// What contradicts a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    /// The newest backup.
    NewestBackup,
    /// What the clock said before.
    LastSeen,
    /// The clock that never goes back.
    Monotonic,
}

impl fmt::Display for ClockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let witness = match self.witness {
            Witness::NewestBackup => "the newest backup was made at",
            Witness::LastSeen => "when last seen it said",
            Witness::Monotonic => "by the time that has passed it should say",
        };
        write!(f, "the clock says {}, and {witness} {}", self.says.to_rfc3339(), self.expected.to_rfc3339())
    }
}

/// Holds the clock, which says `now` this long after the process started, against what is known.
pub fn judge(now: DateTime<Utc>, uptime: Duration, witnesses: &Witnesses) -> Result<(), ClockFault> {
    let fault = |witness, expected| Err(ClockFault { says: now, witness, expected });
    if let Some((then, uptime_then)) = witnesses.anchor {
        let passed = TimeDelta::from_std(uptime.saturating_sub(uptime_then)).unwrap_or(TimeDelta::MAX);
        let expected = then.checked_add_signed(passed).unwrap_or(DateTime::<Utc>::MAX_UTC);
        return match now.signed_duration_since(expected).abs() > TOLERANCE {
            true => fault(Witness::Monotonic, expected),
            false => Ok(()),
        };
    }
    let known = [(Witness::NewestBackup, witnesses.newest_backup), (Witness::LastSeen, witnesses.last_seen)];
    let latest = known.into_iter().filter_map(|(witness, time)| Some((witness, time?))).max_by_key(|(_, time)| *time);
    match latest {
        Some((witness, latest)) if latest.signed_duration_since(now) > TOLERANCE => fault(witness, latest),
        Some((witness, latest)) if now.signed_duration_since(latest) > LONGEST_ABSENCE => fault(witness, latest),
        Some(_) | None => Ok(()),
    }
}

/// Whether more time has passed than the `shortest` retention since anything is known of the clock: what is deleted by age
/// now became old while nobody looked, or because the clock was set. Asked at a start, before the clock was believed.
pub fn is_absence(now: DateTime<Utc>, witnesses: &Witnesses, shortest: TimeDelta) -> bool {
    let latest = witnesses.newest_backup.max(witnesses.last_seen);
    witnesses.anchor.is_none() && latest.is_some_and(|latest| now.signed_duration_since(latest) > shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::days(day)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn witness(now: DateTime<Utc>, uptime: Duration, witnesses: Witnesses) -> Option<Witness> {
        judge(now, uptime, &witnesses).err().map(|fault| fault.witness)
    }

    #[test]
    fn a_clock_that_nothing_is_known_of_is_believed() {
        assert_eq!(witness(DateTime::UNIX_EPOCH, seconds(0), Witnesses::default()), None);
    }

    #[test]
    fn a_start_before_the_newest_backup_or_the_last_look_is_not_believed() {
        let known = Witnesses { newest_backup: Some(day(5)), last_seen: Some(day(3)), anchor: None };
        assert_eq!(witness(DateTime::UNIX_EPOCH, seconds(0), known), Some(Witness::NewestBackup));
        assert_eq!(witness(day(4), seconds(0), known), Some(Witness::NewestBackup));
        let known = Witnesses { last_seen: Some(day(7)), ..known };
        assert_eq!(witness(day(6), seconds(0), known), Some(Witness::LastSeen));
        assert_eq!(witness(day(7) - TimeDelta::minutes(9), seconds(0), known), None);
    }

    #[test]
    fn a_start_after_more_than_thirty_days_is_not_believed() {
        let known = Witnesses { newest_backup: Some(day(0)), last_seen: Some(day(3)), anchor: None };
        assert_eq!(witness(day(33), seconds(0), known), None);
        assert_eq!(witness(day(34), seconds(0), known), Some(Witness::LastSeen));
        assert_eq!(witness(day(31), seconds(0), Witnesses { last_seen: None, ..known }), Some(Witness::NewestBackup));
    }

    #[test]
    fn a_start_after_longer_than_the_shortest_retention_is_an_absence() {
        let week = TimeDelta::days(7);
        let known = Witnesses { newest_backup: Some(day(0)), last_seen: Some(day(3)), anchor: None };
        assert!(!is_absence(day(10), &known, week) && is_absence(day(11), &known, week));
        let known = Witnesses { last_seen: None, ..known };
        assert!(is_absence(day(8), &known, week), "what the clock said was lost");
        assert!(!is_absence(day(8), &Witnesses::default(), week), "nothing was ever known");
        let running = Witnesses { anchor: Some((day(0), seconds(0))), ..known };
        assert!(!is_absence(day(8), &running, week));
    }

    #[test]
    fn a_jump_while_it_runs_is_seen_either_way_and_over_when_it_is_taken_back() {
        let known = Witnesses { anchor: Some((day(0), seconds(100))), ..Witnesses::default() };
        let hour_later = seconds(3700);
        assert_eq!(witness(day(0) + TimeDelta::hours(1), hour_later, known), None);
        assert_eq!(witness(day(0) + TimeDelta::hours(2), hour_later, known), Some(Witness::Monotonic));
        assert_eq!(witness(day(0), hour_later, known), Some(Witness::Monotonic));
        assert_eq!(witness(day(0) + TimeDelta::minutes(55), hour_later, known), None);
    }

    #[test]
    fn the_end_of_time_is_no_panic() {
        let known = Witnesses { anchor: Some((DateTime::<Utc>::MAX_UTC, seconds(0))), ..Witnesses::default() };
        assert_eq!(witness(DateTime::<Utc>::MIN_UTC, Duration::MAX, known), Some(Witness::Monotonic));
    }
}
