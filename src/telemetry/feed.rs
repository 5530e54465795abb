//! What happens, live, for whoever follows it.
//!
//! Hazard: a follower that reads slowly, or never, must cost nothing. Nothing is kept for anybody: the last events are
//! kept once, in a bounded number and a bounded size, and each follower knows how far it is. Who falls behind what is
//! kept is told that, and how much was missed; the audit log has it all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, json};
use tokio::sync::watch;

use crate::audit::Entry;

/// How many events are kept.
const KEPT: usize = 1024;
/// How many bytes they may have together.
const KEPT_BYTES: usize = 4 << 20;
/// How many one of them may have; of a longer one the details are left out.
const MAX_EVENT_BYTES: usize = 64 << 10;

/// The last events.
pub struct Feed {
    /// Tells the events of this process from those of one before it.
    life: u32,
    last: Mutex<Last>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Last {
    events: VecDeque<Arc<Told>>,
    bytes: usize,
    /// How many there ever were, which is the number of the last.
    total: u64,
    closed: bool,
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// Where it is among the events: what to follow on after.
    pub id: String,
    /// Its name.
    pub event: &'static str,
    /// It, as JSON on one line.
    pub text: String,
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something happened.
    Event(Arc<Told>),
    /// Events are no longer here to be told.
    Gap {
        /// What to follow on after.
        id: String,
        /// How many; `None` if they were those of an earlier process.
        missed: Option<u64>,
    },
}

impl Default for Feed {
    fn default() -> Self {
        Self { life: fastrand::u32(..), last: Mutex::default(), changed: watch::Sender::default() }
    }
}

impl Feed {
    /// Tells everybody.
    pub fn publish(&self, entry: &Entry) {
        let text = serde_json::to_string(entry).ok().filter(|text| text.len() <= MAX_EVENT_BYTES);
        let text = text.unwrap_or_else(|| shortened(entry));
        let mut last = self.locked();
        last.bytes += text.len();
        last.total += 1;
        let told = Told { id: self.id(last.total), event: entry.event, text };
        last.events.push_back(Arc::new(told));
        while last.events.len() > KEPT || last.bytes > KEPT_BYTES {
            let Some(oldest) = last.events.pop_front() else { break };
            last.bytes -= oldest.text.len();
        }
        drop(last);
        self.changed.send_replace(());
    }

    /// Says that nothing more will happen.
    pub fn close(&self) {
        self.locked().closed = true;
        self.changed.send_replace(());
    }

    /// Follows what happens from now on, or after the event with this id.
    pub fn follow(self: &Arc<Self>, after: Option<&str>) -> Follower {
        let last = self.locked();
        let oldest = last.oldest();
        let (next, gap) = match after.map(|id| self.number(id).filter(|number| *number <= last.total)) {
            None => (last.total + 1, None),
            Some(Some(number)) if number + 1 >= oldest => (number + 1, None),
            Some(number) => (oldest, Some(self.gap(oldest, number.map(|number| oldest - number - 1)))),
        };
        drop(last);
        Follower { feed: self.clone(), changed: self.changed.subscribe(), next, gap, is_over: false }
    }

    /// That everything before `oldest` is gone.
    fn gap(&self, oldest: u64, missed: Option<u64>) -> News {
        News::Gap { id: self.id(oldest - 1), missed }
    }

    fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.life)
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (life, number) = id.split_once('-')?;
        (u32::from_str_radix(life, 16).ok()? == self.life).then(|| number.parse().ok())?
    }

    fn locked(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    /// The number of the oldest that is kept, or of the next if none is.
    fn oldest(&self) -> u64 {
        self.total + 1 - self.events.len() as u64
    }
}

fn shortened(entry: &Entry) -> String {
    let details = Map::from_iter([("shortened".to_owned(), json!("the audit log has it"))]);
    serde_json::to_string(&Entry { details, ..entry.clone() }).unwrap_or_default()
}

/// Somebody who follows what happens.
pub struct Follower {
    feed: Arc<Feed>,
    changed: watch::Receiver<()>,
    /// The number of the event to be told next.
    next: u64,
    /// What is to be told before it.
    gap: Option<News>,
    is_over: bool,
}

impl Follower {
    /// What happened next, once it did; `None` when nothing more will, and after who fell behind was told so: to come
    /// again is to go on after that.
    pub async fn next(&mut self) -> Option<News> {
        if let Some(gap) = self.gap.take() {
            return Some(gap);
        }
        while !self.is_over {
            self.changed.mark_unchanged();
            if let Some(news) = self.look() {
                return Some(news);
            }
            if !self.is_over {
                // The sender is in the feed, which lives as long as this.
                self.changed.changed().await.ok()?;
            }
        }
        None
    }

    fn look(&mut self) -> Option<News> {
        let last = self.feed.locked();
        let oldest = last.oldest();
        if self.next < oldest {
            self.is_over = true;
            return Some(self.feed.gap(oldest, Some(oldest - self.next)));
        }
        match last.events.get((self.next - oldest) as usize) {
            Some(event) => {
                self.next += 1;
                Some(News::Event(event.clone()))
            }
            None => {
                self.is_over = last.closed;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use futures_util::FutureExt;

    use super::*;
    use crate::audit::Outcome;

    fn publish(feed: &Feed, count: usize) {
        for number in 0..count {
            feed.publish(&entry(json!({ "number": number })));
        }
    }

    fn entry(details: serde_json::Value) -> Entry {
        Entry {
            timestamp: DateTime::UNIX_EPOCH,
            event: "BackupStarted",
            actor: "archiver",
            principal: "scheduler".to_owned(),
            set: None,
            backup_id: None,
            outcome: Outcome::Info,
            details: details.as_object().unwrap().clone(),
            correlation_id: "c".to_owned(),
        }
    }

    /// All that is told without waiting.
    fn told(follower: &mut Follower) -> Vec<News> {
        std::iter::from_fn(|| follower.next().now_or_never().flatten()).collect()
    }

    fn ids(news: &[News]) -> Vec<String> {
        let id = |news: &News| match news {
            News::Event(told) => told.id.clone(),
            News::Gap { id, .. } => format!("gap before what follows {id}"),
        };
        news.iter().map(id).collect()
    }

    #[test]
    fn who_follows_is_told_what_happens_from_then_on_and_who_comes_again_the_rest() {
        let feed = Arc::new(Feed::default());
        publish(&feed, 2);
        let mut follower = feed.follow(None);
        assert_eq!(told(&mut follower), []);
        publish(&feed, 3);
        let first = ids(&told(&mut follower));
        assert_eq!(first.len(), 3);
        assert_eq!(ids(&told(&mut feed.follow(Some(&first[0])))), first[1..]);
        assert_eq!(ids(&told(&mut feed.follow(Some(&feed.id(0))))).len(), 5);
    }

    #[test]
    fn who_falls_behind_is_told_how_much_was_missed_and_goes_on_after_it_when_coming_again() {
        let feed = Arc::new(Feed::default());
        let mut follower = feed.follow(None);
        publish(&feed, KEPT + 7);
        let news = told(&mut follower);
        let [News::Gap { id, missed: Some(7) }] = news.as_slice() else { panic!("{news:?}") };
        let rest = told(&mut feed.follow(Some(id)));
        assert_eq!(rest.len(), KEPT);
        assert!(rest.iter().all(|news| matches!(news, News::Event(_))));
        let late = told(&mut feed.follow(Some(&feed.id(3))));
        assert!(matches!(late[0], News::Gap { missed: Some(4), .. }) && late.len() == KEPT + 1, "{:?}", late[0]);
    }

    #[test]
    fn an_id_of_another_process_or_of_nobody_is_a_gap_and_then_all_there_is() {
        let feed = Arc::new(Feed::default());
        publish(&feed, 2);
        for id in ["", "x", "-1", "00000000-1", &feed.id(3), &feed.id(u64::MAX), "zz-0"] {
            let news = told(&mut feed.follow(Some(id)));
            assert!(matches!(news[0], News::Gap { missed: None, .. }) && news.len() == 3, "{id}: {news:?}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded_in_size_too_and_a_long_event_loses_its_details() {
        let feed = Arc::new(Feed::default());
        let mut follower = feed.follow(None);
        feed.publish(&entry(json!({ "long": "x".repeat(MAX_EVENT_BYTES) })));
        let news = told(&mut follower);
        let [News::Event(event)] = news.as_slice() else { panic!("{news:?}") };
        assert!(event.text.contains("the audit log has it") && event.text.len() < 300, "{}", event.text);
        for _ in 0..KEPT {
            feed.publish(&entry(json!({ "long": "x".repeat(MAX_EVENT_BYTES / 2) })));
        }
        let last = feed.locked();
        assert!(
            last.bytes <= KEPT_BYTES && last.bytes == last.events.iter().map(|told| told.text.len()).sum::<usize>()
        );
    }

    #[test]
    fn a_feed_that_is_closed_tells_what_is_left_and_ends() {
        let feed = Arc::new(Feed::default());
        let mut follower = feed.follow(None);
        publish(&feed, 1);
        feed.close();
        assert!(matches!(follower.next().now_or_never(), Some(Some(News::Event(_)))));
        assert_eq!(follower.next().now_or_never(), Some(None));
    }
}
