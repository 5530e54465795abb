//! What a person is to be told, and when.
//!
//! Hazard: a set that fails every minute, told every minute, is a person who no longer reads. The same trouble is told
//! again only after a while, and what happened meanwhile is counted; what is over is told to whoever was told of it, and
//! what is over before anybody was told is not told at all. What waits is bounded, and what found no place is counted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{BackupId, SetName};

/// The most notices that wait.
pub const MAX_WAITING: usize = 256;

/// Something that a person must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The event, as the audit log calls it.
    pub event: &'static str,
    /// What it is about: notices of the same trouble are told as one.
    pub trouble: Trouble,
    /// When it is to be told.
    pub urgency: Urgency,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// The backup concerned.
    pub backup: Option<BackupId>,
    /// One sentence.
    pub summary: String,
    /// What ties it to log lines and audit records.
    pub correlation_id: String,
}

/// What is in trouble. There are only so many: of each kind one for each set, reason, actor or replica.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Trouble {
    /// The event that tells of it.
    pub kind: &'static str,
    /// The set.
    pub set: Option<SetName>,
    /// What else tells it from others of its kind.
    pub of: String,
}

/// When something is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Each time: it happens seldom, and once is enough.
    EachTime,
    /// Now, and again after a while: as long as its cause lasts it comes again by itself.
    OnceInAWhile,
    /// The trouble is over.
    Over,
}

/// What is to be told, with what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// The last of them.
    pub notice: Notice,
    /// How many.
    pub times: u32,
    /// How many others, since the last telling, were not told for want of a place.
    pub untold: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Tell this.
    Tell(Box<Telling>),
    /// Wait until then, on the scale of the uptime, or until something new comes.
    Wait(Duration),
    /// Nothing waits.
    Nothing,
}

/// What waits to be told, and what was.
#[derive(Debug, Default)]
pub struct Notices {
    /// By when it last happened.
    waiting: VecDeque<(Notice, u32)>,
    told: BTreeMap<Trouble, Duration>,
    /// Told, and not over.
    open: BTreeSet<Trouble>,
    untold: u64,
}

impl Notices {
    /// Adds a notice; whether it has a place, or needs none.
    pub fn offer(&mut self, notice: Notice) -> bool {
        let mut times = 1;
        let same =
            |(other, _): &(Notice, u32)| other.trouble == notice.trouble && other.urgency == Urgency::OnceInAWhile;
        if notice.urgency != Urgency::EachTime
            && let Some(at) = self.waiting.iter().position(same)
            && let Some((_, before)) = self.waiting.remove(at)
        {
            times += before;
        }
        if notice.urgency == Urgency::Over && !self.open.remove(&notice.trouble) {
            return true;
        }
        if self.waiting.len() == MAX_WAITING {
            self.untold += 1;
            return false;
        }
        let times = if notice.urgency == Urgency::Over { 1 } else { times };
        self.waiting.push_back((notice, times));
        true
    }

    /// What is to be done now, `repeat` being the time after which the same is told again.
    pub fn next(&mut self, now: Duration, repeat: Duration) -> Next {
        self.told.retain(|_, told| *told + repeat > now);
        let due = |(notice, _): &(Notice, u32)| match notice.urgency {
            Urgency::OnceInAWhile => self.told.get(&notice.trouble).map_or(now, |told| *told + repeat),
            Urgency::EachTime | Urgency::Over => now,
        };
        let Some((at, when)) = self.waiting.iter().map(due).enumerate().min_by_key(|(at, when)| (*when, *at)) else {
            return Next::Nothing;
        };
        if when > now {
            return Next::Wait(when);
        }
        let Some((notice, times)) = self.waiting.remove(at) else { return Next::Nothing };
        if notice.urgency == Urgency::OnceInAWhile {
            self.told.insert(notice.trouble.clone(), now);
            self.open.insert(notice.trouble.clone());
        }
        Next::Tell(Box::new(Telling { notice, times, untold: std::mem::take(&mut self.untold) }))
    }

    /// Forgets everything: nobody is to be told any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn notice(of: &str, urgency: Urgency, summary: &str) -> Notice {
        Notice {
            event: "BackupFailed",
            trouble: Trouble { kind: "BackupFailed", set: None, of: of.to_owned() },
            urgency,
            at: DateTime::UNIX_EPOCH,
            backup: None,
            summary: summary.to_owned(),
            correlation_id: String::new(),
        }
    }

    fn failed(of: &str, summary: &str) -> Notice {
        notice(of, Urgency::OnceInAWhile, summary)
    }

    fn over(of: &str) -> Notice {
        notice(of, Urgency::Over, "over")
    }

    /// Everything that is told at this moment.
    fn told(notices: &mut Notices, now: Duration) -> Vec<(String, u32)> {
        let next = || match notices.next(now, HOUR) {
            Next::Tell(telling) => Some((telling.notice.summary, telling.times)),
            Next::Wait(_) | Next::Nothing => None,
        };
        std::iter::from_fn(next).collect()
    }

    fn said(tellings: &[(&str, u32)]) -> Vec<(String, u32)> {
        tellings.iter().map(|(summary, times)| ((*summary).to_owned(), *times)).collect()
    }

    #[test]
    fn what_comes_again_and_again_is_told_at_once_and_then_once_in_a_while_with_how_often() {
        let mut notices = Notices::default();
        notices.offer(failed("a", "1"));
        assert_eq!(told(&mut notices, MINUTE), said(&[("1", 1)]));
        for minute in 2..60 {
            notices.offer(failed("a", &minute.to_string()));
            assert_eq!(told(&mut notices, minute * MINUTE), said(&[]));
        }
        assert_eq!(notices.next(60 * MINUTE, HOUR), Next::Wait(61 * MINUTE));
        assert_eq!(told(&mut notices, 61 * MINUTE), said(&[("59", 58)]));
        assert_eq!(notices.next(200 * MINUTE, HOUR), Next::Nothing);
    }

    #[test]
    fn another_trouble_does_not_wait_for_the_first() {
        let mut notices = Notices::default();
        notices.offer(failed("a", "a"));
        notices.offer(failed("b", "b"));
        notices.offer(failed("a", "a again"));
        assert_eq!(told(&mut notices, MINUTE), said(&[("b", 1), ("a again", 2)]));
    }

    #[test]
    fn that_a_trouble_is_over_is_told_once_to_whoever_was_told_of_it_and_to_nobody_else() {
        let mut notices = Notices::default();
        notices.offer(over("a"));
        assert_eq!(told(&mut notices, MINUTE), said(&[]));
        notices.offer(failed("a", "never told"));
        notices.offer(over("a"));
        assert_eq!(told(&mut notices, MINUTE), said(&[]));
        notices.offer(failed("a", "told"));
        assert_eq!(told(&mut notices, MINUTE), said(&[("told", 1)]));
        notices.offer(failed("a", "held back, and over before it was told"));
        notices.offer(over("a"));
        notices.offer(over("a"));
        assert_eq!(told(&mut notices, 2 * MINUTE), said(&[("over", 1)]));
        assert_eq!(told(&mut notices, 3 * HOUR), said(&[]));
    }

    #[test]
    fn what_happens_seldom_is_told_each_time() {
        let mut notices = Notices::default();
        for summary in ["1", "2", "3"] {
            notices.offer(notice("recovery", Urgency::EachTime, summary));
        }
        assert_eq!(told(&mut notices, MINUTE), said(&[("1", 1), ("2", 1), ("3", 1)]));
    }

    #[test]
    fn what_waits_is_bounded_and_what_found_no_place_is_counted_in_the_next() {
        let mut notices = Notices::default();
        let placed = (0..MAX_WAITING + 5).filter(|n| notices.offer(failed(&n.to_string(), "one"))).count();
        assert_eq!(placed, MAX_WAITING);
        assert!(notices.offer(failed("7", "known already")), "what waits already needs no place");
        let Next::Tell(first) = notices.next(MINUTE, HOUR) else { panic!("nothing is told") };
        let Next::Tell(second) = notices.next(MINUTE, HOUR) else { panic!("nothing is told") };
        assert_eq!((first.untold, second.untold), (5, 0));
    }
}
