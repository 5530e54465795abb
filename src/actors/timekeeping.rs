//! Keeps an eye on the clock.
//!
//! Hazard: a clock that was wrong for an hour, and believed for that hour, has deleted what it made look old. It is looked
//! at before every plan and every batch; what it said when it was believed is remembered across restarts.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::core::clock_sanity::{ClockFault, Witnesses, is_absence, judge};
use crate::repository::Repository;
use crate::storage::{Durability, StorageError};

const CLOCK: &str = "clock";

/// For how long after an absence nothing is deleted for its age alone.
const SETTLING: TimeDelta = TimeDelta::days(1);

/// What is remembered of the clock. Lost, the newest backup still bears witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct ClockDocument {
    last_seen: Option<DateTime<Utc>>,
    /// Backups dated between the two times are no witnesses: somebody accepted the first when the second was known.
    #[serde(default)]
    accepted: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// When it was noticed that more time had passed than the shortest retention, until a day after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    returned: Option<DateTime<Utc>>,
}

#[derive(Debug, Default)]
struct Kept {
    document: ClockDocument,
    anchor: Option<(DateTime<Utc>, Duration)>,
    fault: Option<ClockFault>,
}

/// What is known of the clock.
#[derive(Debug, Default)]
pub struct Timekeeping(Mutex<Kept>);

impl Timekeeping {
    /// With what the repository remembers.
    pub fn recall(repository: &Repository) -> Self {
        let document = repository.load_state(CLOCK).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
        Self(Mutex::new(Kept { document, ..Kept::default() }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the clock, which says `now`: why it is not believed, if it is not. `shortest` is the shortest retention.
    pub fn look(
        &self,
        repository: &Repository,
        now: DateTime<Utc>,
        uptime: Duration,
        shortest: TimeDelta,
    ) -> Option<ClockFault> {
        let mut kept = self.kept();
        let witnesses = Witnesses {
            newest_backup: newest_backup(repository, kept.document.accepted),
            last_seen: kept.document.last_seen,
            anchor: kept.anchor,
        };
        kept.fault = judge(now, uptime, &witnesses).err();
        if kept.fault.is_none() {
            if is_absence(now, &witnesses, shortest) {
                kept.document.returned = Some(now);
            }
            // Nothing is over by a clock that went back since.
            kept.document.returned = kept.document.returned.filter(|returned| now - *returned < SETTLING);
            kept.anchor = Some((now, uptime));
            kept.document.last_seen = kept.document.last_seen.max(Some(now));
        }
        kept.fault
    }

    /// Whether the service, as the clock was last believed, had been away for longer than the shortest retention, and has not
    /// run for a day since.
    pub fn was_away(&self) -> bool {
        self.kept().document.returned.is_some()
    }

    /// Why the clock was not believed when it was last looked at, if so.
    pub fn fault(&self) -> Option<ClockFault> {
        self.kept().fault
    }

    /// Remembers when the clock was last believed. Not synced: it costs a witness of some minutes.
    pub fn remember(&self, repository: &Repository) -> Result<(), StorageError> {
        let document = self.kept().document;
        repository.save_state(CLOCK, &document, Durability::Lazy)
    }

    /// Believes the clock from now on, whatever contradicts it. That all this time passed is no word on what it made old.
    pub fn accept(
        &self,
        repository: &Repository,
        now: DateTime<Utc>,
        uptime: Duration,
        shortest: TimeDelta,
    ) -> Result<(), StorageError> {
        let known = self.kept().document;
        let witnesses =
            Witnesses { newest_backup: newest_backup(repository, None), last_seen: known.last_seen, anchor: None };
        let returned = is_absence(now, &witnesses, shortest).then_some(now).or(known.returned);
        let latest = newest_backup(repository, None).into_iter().chain(known.last_seen).max();
        let outrun = latest.filter(|latest| *latest > now).map(|latest| (now, latest));
        let document = ClockDocument { last_seen: Some(now), accepted: outrun.or(known.accepted), returned };
        // Nobody who only looks waits for this.
        repository.save_state(CLOCK, &document, Durability::Durable)?;
        *self.kept() = Kept { document, anchor: Some((now, uptime)), fault: None };
        Ok(())
    }
}

/// The latest time of a backup that bears witness.
fn newest_backup(repository: &Repository, accepted: Option<(DateTime<Utc>, DateTime<Utc>)>) -> Option<DateTime<Utc>> {
    let catalogue = repository.catalogue();
    let trusted = catalogue.backups().filter_map(|backup| {
        let envelope = &backup.content.as_ref()?.manifest.envelope;
        (!envelope.clock_suspect).then_some(envelope.created)
    });
    let outrun = |time: &DateTime<Utc>| accepted.is_some_and(|(from, to)| *time > from && *time <= to);
    trusted.filter(|time| !outrun(time)).max()
}
