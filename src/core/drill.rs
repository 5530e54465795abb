//! When a set's restore is rehearsed next.
//!
//! Hazard: a rehearsal that starts together with the service takes the disk from the first backups, and one that is
//! kept in a timer is forgotten by a restart. This is a function of what was done and of what time it is now.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::schedule::{Due, RunHistory, due};

/// How long after its start the service begins to rehearse; less where a set's interval is shorter.
pub const SETTLING: Duration = Duration::from_secs(60);

/// What decides about a set.
#[derive(Clone, Copy, Debug)]
pub struct Rehearsal {
    /// Its drills so far.
    pub history: RunHistory,
    /// The time between two drills.
    pub interval: Duration,
    /// Whether there is a good backup to restore.
    pub has_good_backup: bool,
}

/// When the next drill is due: as a backup would be, but not before the service has settled. Never without a good
/// backup: that there is none is told elsewhere.
pub fn next(rehearsal: &Rehearsal, uptime: Duration, now: DateTime<Utc>) -> Option<Due> {
    if !rehearsal.has_good_backup {
        return None;
    }
    let settling = rehearsal.interval.min(SETTLING).saturating_sub(uptime);
    let settled = now + TimeDelta::from_std(settling).unwrap_or_default();
    Some(match due(&rehearsal.history, rehearsal.interval, now) {
        Due::Now if settled <= now => Due::Now,
        Due::Now => Due::At(settled),
        Due::At(at) => Due::At(at.max(settled)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn of(history: RunHistory) -> Rehearsal {
        Rehearsal { history, interval: DAY, has_good_backup: true }
    }

    #[test]
    fn a_set_that_was_never_rehearsed_is_due_once_the_service_has_settled() {
        let never = of(RunHistory::default());
        assert_eq!(next(&never, Duration::ZERO, now()), Some(Due::At(now() + SETTLING)));
        assert_eq!(next(&never, SETTLING, now()), Some(Due::Now));
        let often = Rehearsal { interval: Duration::from_secs(1), ..never };
        assert_eq!(next(&often, Duration::from_secs(1), now()), Some(Due::Now));
    }

    #[test]
    fn without_a_good_backup_there_is_nothing_to_rehearse() {
        let none = Rehearsal { has_good_backup: false, ..of(RunHistory::default()) };
        assert_eq!(next(&none, DAY, now()), None);
    }

    #[test]
    fn a_drill_that_failed_is_repeated_long_before_its_interval() {
        let failed = of(RunHistory::default().failed(now()));
        let Some(Due::At(at)) = next(&failed, DAY, now()) else { panic!("a wait was expected") };
        assert!(at < now() + DAY / 10, "{at}");
    }

    proptest! {
        #[test]
        fn a_drill_is_never_due_while_settling_nor_later_than_one_interval_after_it(
            ago in 0i64..10_000_000, passed: bool, uptime in 0u64..200, interval in 1u64..2_000_000,
        ) {
            let last = now() - TimeDelta::seconds(ago);
            let history = if passed { RunHistory::default().succeeded(last) } else { RunHistory::default().failed(last) };
            let (uptime, interval) = (Duration::from_secs(uptime), Duration::from_secs(interval));
            let at = match next(&Rehearsal { history, interval, has_good_backup: true }, uptime, now()) {
                Some(Due::Now) => now(),
                Some(Due::At(at)) => at,
                None => panic!("there is a good backup"),
            };
            let settled = now() + interval.min(SETTLING).saturating_sub(uptime);
            prop_assert!(at >= settled);
            prop_assert!(at <= settled.max(last + interval));
        }
    }
}
