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
    /// Whether it can be opened here.
    pub access: Access,
}

/// Whether a backup can be opened here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It is not encrypted, or a key that opens it is at hand.
    Open,
    /// No key here opens it, and none is meant to: it cannot be rehearsed, and that is no failure.
    Sealed,
    /// A key that opened it was here, and is gone: a restore would fail, and somebody must be told.
    KeyGone,
}

impl Access {
    /// Whether what is for these `recipients` can be opened where a key `is_at_hand` that does. `seen` are the keys that
    /// ever were.
    pub fn to(recipients: &[String], is_at_hand: bool, seen: &[String], write_only: bool) -> Self {
        match recipients.iter().any(|recipient| seen.contains(recipient)) {
            _ if recipients.is_empty() || is_at_hand => Self::Open,
            true if !write_only => Self::KeyGone,
            _ => Self::Sealed,
        }
    }
}

/// When the next drill is due: as a backup would be, but not before the service has settled; at once if the key is gone
/// that opened the backup. Never without a good backup (that there is none is told elsewhere), or one that nobody here is
/// meant to open.
pub fn next(rehearsal: &Rehearsal, uptime: Duration, now: DateTime<Utc>) -> Option<Due> {
    if !rehearsal.has_good_backup || rehearsal.access == Access::Sealed {
        return None;
    }
    let is_news = rehearsal.access == Access::KeyGone && rehearsal.history.consecutive_failures == 0;
    let settling = rehearsal.interval.min(SETTLING).saturating_sub(uptime);
    let settled = now + TimeDelta::from_std(settling).unwrap_or_default();
    let due = if is_news { Due::Now } else { due(&rehearsal.history, rehearsal.interval, now) };
    Some(match due {
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
        Rehearsal { history, interval: DAY, has_good_backup: true, access: Access::Open }
    }

    #[test]
    fn what_no_key_here_was_ever_meant_to_open_is_not_rehearsed() {
        let keys = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let [nobody, one, two] = [keys(&[]), keys(&["one"]), keys(&["one", "two"])];
        assert_eq!(Access::to(&nobody, false, &one, true), Access::Open, "it is not encrypted");
        assert_eq!(Access::to(&two, true, &nobody, true), Access::Open);
        assert_eq!(Access::to(&two, false, &nobody, false), Access::Sealed);
        assert_eq!(Access::to(&two, false, &one, false), Access::KeyGone);
        assert_eq!(Access::to(&two, false, &one, true), Access::Sealed, "it was taken away on purpose");
        assert_eq!(Access::to(&one, false, &keys(&["another"]), false), Access::Sealed);
        let sealed = Rehearsal { access: Access::Sealed, ..of(RunHistory::default().failed(now())) };
        assert_eq!(next(&sealed, DAY, now()), None);
    }

    #[test]
    fn a_key_that_is_gone_is_found_out_at_once_and_then_no_more_often_than_any_failure() {
        let gone = |history| Rehearsal { access: Access::KeyGone, ..of(history) };
        assert_eq!(next(&gone(RunHistory::default().succeeded(now())), SETTLING, now()), Some(Due::Now));
        let failed = RunHistory::default().failed(now());
        assert_eq!(next(&gone(failed), SETTLING, now()), next(&of(failed), SETTLING, now()));
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
            let at = match next(&Rehearsal { interval, ..of(history) }, uptime, now()) {
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
