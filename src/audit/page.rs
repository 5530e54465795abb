//! Reads records back.
//!
//! Hazard: a log of years does not fit into an answer. A page is bounded, and found from the end of the log, where
//! readers mostly look.

use std::collections::VecDeque;
use std::path::Path;

use super::AuditError;
use super::lines::Backward;
use super::record::{Line, Record};
use super::segments::Segments;

/// The most records in a page.
pub const MAX_PAGE_RECORDS: usize = 1000;

/// A page of records, newest last, from the rotated files and the live one: the newest `limit` of all, or with `after`
/// the first `limit` of those with a higher number. At most [`MAX_PAGE_RECORDS`], whatever the limit. None if there
/// is no log. A record altered into something that cannot be read is left out; verification names it.
pub fn read_records(path: &Path, after: Option<u64>, limit: usize) -> Result<Vec<Record>, AuditError> {
    let limit = limit.min(MAX_PAGE_RECORDS);
    let mut page = VecDeque::new();
    'files: for segment in Segments::all(path)?.files.iter().rev() {
        let Some(tip) = segment.tip else { continue };
        let mut lines = Backward::new(&segment.file, tip.offset + u64::from(tip.length_bytes));
        while let Some((_, line)) = lines.next().map_err(AuditError::at("read", &segment.path))? {
            let Line::Own(link) = Line::of(&line) else { continue };
            let full = page.len() >= limit;
            if after.map_or(full, |after| link.head.seq <= after) {
                break 'files;
            }
            let Some(record) = link.record() else { continue };
            page.push_front(record);
            page.truncate(limit);
        }
    }
    Ok(page.into())
}
