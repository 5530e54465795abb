//! Reads records back.
//!
//! Hazard: a log of years does not fit into an answer. A page is bounded, and found from the end of the log, where
//! readers mostly look.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::Path;

use chrono::{DateTime, TimeDelta, Utc};

use super::AuditError;
use super::kept::Kept;
use super::key::{Authenticator, Standing};
use super::lines::Backward;
use super::record::{Head, Line, Link, Record};
use super::segments::Segments;
use crate::core::SetName;

/// The most records in a page.
pub const MAX_PAGE_RECORDS: usize = 1000;

/// The clock may have been set back for a while; records of so much before a moment end the search for it.
const CLOCK_SLACK: TimeDelta = TimeDelta::days(1);

/// Which records are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Only those of this event, in capitals or not.
    pub event: Option<String>,
    /// Only those about this set.
    pub set: Option<SetName>,
    /// Only those of this moment or later.
    pub since: Option<DateTime<Utc>>,
    /// Only those with a higher number, the oldest of them first; else the newest of all.
    pub after: Option<u64>,
    /// At most so many, and [`MAX_PAGE_RECORDS`].
    pub limit: usize,
}

impl Wanted {
    fn wants(&self, record: &Record) -> bool {
        self.event.as_ref().is_none_or(|event| event.eq_ignore_ascii_case(&record.event))
            && self.set.as_ref().is_none_or(|set| Some(set) == record.set.as_ref())
            && self.since.is_none_or(|since| record.timestamp >= since)
    }
}

/// A page of records, newest last, from the rotated files, the live one and what was `kept` elsewhere. None if there
/// is no log. A record altered into something that cannot be read, or that is not ours, is left out; verification names
/// it.
pub fn read_records(
    path: &Path,
    kept: &[Kept],
    wanted: &Wanted,
    authenticator: &Authenticator,
) -> Result<Vec<Record>, AuditError> {
    let limit = wanted.limit.min(MAX_PAGE_RECORDS);
    let mut page = Page { wanted, limit, authenticator, newer: None, records: VecDeque::new() };
    // A log that cannot even be read hides neither what was rotated away nor what is kept.
    let merged = Segments::all(path, authenticator)
        .and_then(|segments| match segments.obstacle {
            Some(found) => Err(AuditError::NotAFile { path: path.to_owned(), found }),
            None => Ok(segments),
        })
        .or_else(|error| if kept.is_empty() { Err(error) } else { Segments::rotated(path, authenticator) })?;
    let last = merged.files.iter().rev().find_map(|segment| segment.tip).map_or(0, |tip| tip.head.seq);
    for line in kept.iter().rev().flat_map(|kept| kept.lines().rev()) {
        let Line::Own(link) = Line::of(line) else { continue };
        if link.head.seq > last && page.add(&link).is_break() {
            return Ok(page.records.into());
        }
    }
    'files: for segment in merged.files.iter().rev() {
        let Some(tip) = segment.tip else { continue };
        let mut lines = Backward::new(&segment.file, tip.offset + u64::from(tip.length_bytes));
        while let Some((_, line)) = lines.next().map_err(AuditError::at("read", &segment.path))? {
            let Line::Own(link) = Line::of(&line) else { continue };
            if page.add(&link).is_break() {
                break 'files;
            }
        }
    }
    Ok(page.records.into())
}

/// The last record of a log that may not be writable.
pub fn last_head(path: &Path, authenticator: &Authenticator) -> Result<Option<Head>, AuditError> {
    let segments = Segments::all(path, authenticator)?;
    match segments.obstacle {
        Some(found) => Err(AuditError::NotAFile { path: path.to_owned(), found }),
        None => Ok(segments.files.last().and_then(|segment| segment.tip).map(|tip| tip.head)),
    }
}

/// Records, gathered from the newest to the oldest.
struct Page<'w> {
    wanted: &'w Wanted,
    limit: usize,
    authenticator: &'w Authenticator,
    /// The record that was met last: the next one that is ours is older.
    newer: Option<Head>,
    records: VecDeque<Record>,
}

impl Page<'_> {
    /// Adds a record if it is wanted; breaks where no older one is.
    fn add(&mut self, link: &Link<'_>) -> ControlFlow<()> {
        if !self.is_ours(link) {
            return ControlFlow::Continue(());
        }
        self.newer = Some(link.head);
        let full = self.records.len() >= self.limit;
        if self.wanted.after.map_or(full, |after| link.head.seq <= after) {
            return ControlFlow::Break(());
        }
        let record = link.record();
        if let (Some(since), Some(record)) = (self.wanted.since, &record)
            && record.timestamp < since - CLOCK_SLACK
        {
            return ControlFlow::Break(());
        }
        if let Some(record) = record.filter(|record| self.wanted.wants(record)) {
            self.records.push_front(record);
            self.records.truncate(self.limit);
        }
        ControlFlow::Continue(())
    }

    /// Whether the record is ours, as far as that can be told from the newest on: one that could be from before there was a
    /// key comes only behind all that are authenticated.
    fn is_ours(&self, link: &Link<'_>) -> bool {
        let older = |newer: Head| !self.authenticator.covers(newer.seq.saturating_sub(1));
        match self.authenticator.judge(link) {
            Standing::Authentic => true,
            Standing::Unproven => self.newer.is_none_or(older),
            Standing::Forged => false,
        }
    }
}
