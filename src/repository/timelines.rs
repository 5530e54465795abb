//! The timelines of a repository: one unbroken history each, by one writer.
//!
//! Hazard: after an older copy of a repository was put back, or a machine was cloned, the same sequence means two backups.
//! Each history has a number of its own, and a new one counts on above every sequence known anywhere. The term and the idea
//! are PostgreSQL's ("Timelines", in its chapter on continuous archiving).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::documents::TimelinesDocument;
pub use super::documents::{Departure, DeparturePoint, TimelineEntry};
use super::generations::Row;
use super::wire::FORMAT;
use super::{Repository, WriteError, layout};
use crate::core::{Sequence, SetName, Timeline};
use crate::storage::StoragePath;

/// How many there may be.
const MOST_TIMELINES: usize = 1000;

/// The longest description of a host.
const MOST_HOST_BYTES: usize = 4096;
/// So much of one is written: a character has four bytes at most.
const MOST_HOST_CHARACTERS: usize = MOST_HOST_BYTES / 4;

/// What is known of the timelines of a repository. One without a document is on the first.
#[derive(Clone, Debug, Default)]
pub struct KnownTimelines {
    entries: Vec<TimelineEntry>,
    pub(super) row: Row,
    /// Whether there is a document that could not be understood.
    pub(super) in_doubt: bool,
}

impl KnownTimelines {
    pub(super) const fn new(entries: Vec<TimelineEntry>, row: Row, in_doubt: bool) -> Self {
        Self { entries, row, in_doubt }
    }

    /// Takes note that the newest document is gone, or damaged.
    pub(super) fn miss(&mut self) {
        if !self.in_doubt {
            (self.row, self.in_doubt) = (self.row.with_next_missed(), true);
        }
    }

    /// Those that the document lists, ascending.
    pub fn entries(&self) -> &[TimelineEntry] {
        &self.entries
    }

    /// The newest.
    pub fn newest(&self) -> Timeline {
        self.entries.last().map_or(Timeline::FIRST, |newest| newest.timeline)
    }

    /// Up to which sequence of each set the newest timeline takes those of older ones for another history.
    pub fn departed(&self) -> BTreeMap<SetName, (Timeline, Sequence)> {
        let newest = self.entries.last();
        let sets = newest.and_then(|entry| Some((entry.timeline, &entry.departure.as_ref()?.sets)));
        let points = sets.into_iter().flat_map(|(timeline, sets)| sets.iter().map(move |set| (timeline, set)));
        points.map(|(timeline, (set, point))| (set.clone(), (timeline, point.above))).collect()
    }

    /// The first sequence of a set that each timeline may give, where that is not 1.
    pub(super) fn first_sequences(&self, set: &SetName) -> BTreeMap<Timeline, Sequence> {
        let first = |entry: &TimelineEntry| {
            let point = entry.departure.as_ref()?.sets.get(set)?;
            Some((entry.timeline, point.above.next()))
        };
        self.entries.iter().filter_map(first).collect()
    }

    pub(super) fn to_document(&self, repository: &str) -> TimelinesDocument {
        TimelinesDocument { format: FORMAT, repository: repository.to_owned(), timelines: self.entries.clone() }
    }
}

/// What a document says of this repository; why not, if it says something impossible.
pub(super) fn entries_of(repository: &str, document: TimelinesDocument) -> Result<Vec<TimelineEntry>, &'static str> {
    let entries = document.timelines;
    let is_whole = |entry: &TimelineEntry| {
        let is_writer = entry.writer.len() == 32 && entry.writer.bytes().all(|byte| byte.is_ascii_hexdigit());
        let departs = |departure: &Departure| {
            departure.departs_from < entry.timeline && departure.sets.values().all(|point| point.last <= point.above)
        };
        is_writer
            && entry.host.len() <= MOST_HOST_BYTES
            && entry.timeline >= Timeline::FIRST
            && entry.departure.as_ref().is_none_or(departs)
            && entry.departure.is_some() == (entry.timeline > Timeline::FIRST)
    };
    match () {
        () if document.format != FORMAT => Err("it is of another format"),
        () if document.repository != repository => Err("it is another repository's"),
        () if entries.is_empty() || entries.len() > MOST_TIMELINES => Err("it lists no timeline, or more than 1,000"),
        () if !entries.is_sorted_by(|one, next| one.timeline < next.timeline) => Err("its timelines are out of order"),
        () if !entries.iter().all(is_whole) => Err("it says of a timeline what no document says"),
        () => Ok(entries),
    }
}

/// The one who writes a timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// A random id: 32 hexadecimal digits.
    pub id: String,
    /// What describes it; nothing is decided by it.
    pub host: String,
}

impl Repository {
    /// Begins a timeline by this writer, beside those that are `known`, here or elsewhere. Backups are made on it from now on.
    pub fn begin_timeline(
        &self,
        timeline: Timeline,
        writer: &Writer,
        mut known: Vec<TimelineEntry>,
        departure: Departure,
        now: DateTime<Utc>,
    ) -> Result<(), WriteError> {
        let host: String = writer.host.chars().take(MOST_HOST_CHARACTERS).collect();
        let by =
            |began| TimelineEntry { timeline, writer: writer.id.clone(), host: host.clone(), began, departure: None };
        if known.is_empty() {
            // The first one needs no document until there is another.
            known.push(TimelineEntry { timeline: Timeline::FIRST, ..by(self.document().created) });
        }
        known.push(TimelineEntry { departure: Some(departure), ..by(super::backup_time(now)) });
        self.write_timelines(known)
    }

    /// Adds a timeline, on which backups are made from now on; or takes over those of a copy. Nothing is done where these
    /// are known.
    pub fn write_timelines(&self, entries: Vec<TimelineEntry>) -> Result<(), WriteError> {
        let known = self.catalogue().timelines().clone();
        if known.entries == entries {
            return Ok(());
        }
        let document = KnownTimelines { entries, ..known.clone() }.to_document(self.id());
        let entries = entries_of(self.id(), document.clone())
            .map_err(|fault| WriteError::Misplaced { path: layout::TIMELINES.to_owned(), fault: fault.to_owned() })?;
        let document = serde_json::to_vec(&document)?;
        let row = self.write_generation(&StoragePath::root(), layout::TIMELINES, &known.row, &document)?;
        self.catalogue_mut().adopt_timelines(KnownTimelines::new(entries, row, false));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::DateTime;

    use super::*;
    use crate::core::Position;
    use crate::core::timeline::DepartureReason;
    use crate::repository::encryption::Keys;
    use crate::repository::{manifest, wire};
    use crate::storage::Storage;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    fn entry(timeline: u32, departure: Option<Departure>) -> TimelineEntry {
        let (writer, host) = (format!("{timeline:032x}"), "host".to_owned());
        TimelineEntry { timeline: Timeline(timeline), writer, host, began: DateTime::UNIX_EPOCH, departure }
    }

    fn departure(set: &SetName, last: u64, above: u64) -> Option<Departure> {
        let sets = BTreeMap::from([(set.clone(), DeparturePoint { last: Sequence(last), above: Sequence(above) })]);
        let (reason, departs_from) = (DepartureReason::RolledBack, Timeline::FIRST);
        Some(Departure { reason, departs_from, audit_head: None, sets })
    }

    #[test]
    fn a_timeline_that_departs_counts_on_above_what_is_known_and_misses_nothing_below() {
        let set: SetName = "security".parse().unwrap();
        let disk = Simulated::new();
        let storage: Arc<dyn Storage> = Arc::new(Local::on(Arc::new(disk.clone()), "simulated".into()));
        Repository::create(storage.clone(), DateTime::UNIX_EPOCH).unwrap();
        let repository = Repository::open(storage.clone(), false).unwrap().0;
        let publish = |repository: &Repository, position: Position| {
            let mut manifest: wire::Manifest = manifest::tests::manifest_of(&set, "a.json");
            (manifest.envelope.timeline, manifest.envelope.sequence) = (position.timeline, position.sequence);
            repository.publish_manifest(manifest, &Keys::default()).unwrap();
        };
        (1..=3).for_each(|sequence| publish(&repository, Position::first(sequence)));
        repository.write_timelines(vec![entry(1, None), entry(2, departure(&set, 3, 20))]).unwrap();
        assert_eq!(disk.files().iter().filter(|(path, _)| path.to_str() == Some("timelines.1.json")).count(), 1);
        let reopened = Repository::open(storage.clone(), false).unwrap().0;
        for repository in [&repository, &reopened] {
            let catalogue = repository.catalogue();
            assert_eq!(catalogue.timeline(), Timeline(2));
            assert_eq!(catalogue.set(&set).unwrap().next_sequence(), Sequence(21));
        }
        let on_second = |sequence| Position { timeline: Timeline(2), sequence: Sequence(sequence) };
        [21, 23].into_iter().for_each(|sequence| publish(&reopened, on_second(sequence)));
        let lost = reopened.catalogue().set(&set).unwrap().lost(9);
        assert_eq!(lost, [on_second(22)]);
        assert!(reopened.catalogue().set(&set).unwrap().is_lost(on_second(22)));
        reopened.list_as_pruned(&set, &lost).unwrap();
        let again = Repository::open(storage, false).unwrap().0;
        assert_eq!(again.catalogue().set(&set).unwrap().lost(9), []);
        assert_eq!(again.catalogue().set(&set).unwrap().next_sequence(), Sequence(24));
    }

    #[test]
    fn a_document_that_says_what_none_says_is_refused() {
        let set: SetName = "security".parse().unwrap();
        let document = |timelines| TimelinesDocument { format: FORMAT, repository: "r".into(), timelines };
        let good = vec![entry(1, None), entry(2, departure(&set, 3, 20))];
        assert_eq!(entries_of("r", document(good.clone())), Ok(good.clone()));
        assert!(entries_of("another", document(good.clone())).is_err());
        let with = |change: &dyn Fn(&mut Vec<TimelineEntry>)| {
            let mut entries = good.clone();
            change(&mut entries);
            entries_of("r", document(entries))
        };
        assert!(with(&|entries| entries.reverse()).is_err());
        assert!(with(&|entries| entries.clear()).is_err());
        assert!(with(&|entries| entries[1].departure = departure(&set, 21, 20)).is_err());
        assert!(with(&|entries| entries[1].departure = None).is_err());
        assert!(with(&|entries| entries[0].writer = "x".into()).is_err());
        assert!(with(&|entries| entries[0].timeline = Timeline(2)).is_err());
        let many = |count: u32| {
            let later = (2..=count).map(|number| entry(number, departure(&set, 1, 1)));
            entries_of("r", document([entry(1, None)].into_iter().chain(later).collect()))
        };
        assert!(many(1000).is_ok() && many(1001).is_err());
    }
}
