//! Brings records that were kept elsewhere into the log.
//!
//! Hazard: a crash in the middle leaves some of them in the log, and the next attempt must neither repeat nor forget
//! any. The lines are the same here and there, so a look at the end of the log tells how far the last attempt came.
//! Only if the log went on without them, because it could not even be read when they were kept, do they get new
//! numbers; each then says which number and hash it had.

use serde::Deserialize;
use serde_json::json;

use super::super::kept::Kept;
use super::super::lines::Backward;
use super::super::opening::SEARCHED_BYTES;
use super::super::record::{Batch, Head, Line, Link, Record};
use super::super::segments::{Segment, Segments};
use super::super::{AuditError, KEPT_AS};
use super::AuditLog;

/// What became of kept records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// How many were written now; those that a former attempt had written are not counted.
    pub written: usize,
    /// Whether they got new numbers.
    pub renumbered: bool,
}

impl AuditLog {
    /// Appends the kept records that are not in the log yet; durable when this returns. The log is to be opened afresh
    /// for it, the record that the first of them follows being the expected one.
    pub fn merge(&mut self, kept: &[Kept]) -> Result<Merged, AuditError> {
        let lines: Vec<&[u8]> = kept.iter().flat_map(Kept::lines).collect();
        let heads: Vec<Option<Head>> = lines.iter().map(|line| link(line).map(|link| link.head)).collect();
        let rest = &lines[self.merged_already(&heads)?..];
        let Some(first) = rest.first() else { return Ok(Merged { written: 0, renumbered: false }) };
        let ours = |line: &&[u8]| link(line).is_none_or(|link| self.authenticator.admits(&link, Some(link.head)));
        let fits = link(first).is_some_and(|link| self.goes_on_with(&link)) && rest.iter().all(ours);
        let batch = if fits { verbatim(rest) } else { self.renumbered(rest)? };
        self.write(&batch)?;
        Ok(Merged { written: rest.len(), renumbered: !fits })
    }

    fn goes_on_with(&self, link: &Link<'_>) -> bool {
        match self.position.follows {
            None => link.head.seq == 1,
            Some(last) => link.head.seq == last.seq + 1 && link.prev == last.hash,
        }
    }

    /// How many of the kept lines, from the first, an earlier attempt brought into the log.
    fn merged_already(&self, kept: &[Option<Head>]) -> Result<usize, AuditError> {
        let Some(first) = kept.iter().flatten().next() else { return Ok(0) };
        if self.position.follows.is_none_or(|last| last.seq < first.seq) {
            return Ok(0);
        }
        let file = self.position.file.try_clone().map_err(AuditError::at("open", &self.path))?;
        let live = Segment { path: self.path.clone(), file, tip: self.position.tip };
        let rotated = Segments::rotated(&self.path, &self.authenticator)?.files;
        let mut merged = 0;
        let mut left_bytes = SEARCHED_BYTES;
        'files: for segment in rotated.iter().chain([&live]).rev() {
            let Some(tip) = segment.tip else { continue };
            let mut lines = Backward::new(&segment.file, tip.offset + u64::from(tip.length_bytes));
            while let Some((_, line)) = lines.next().map_err(AuditError::at("read", &segment.path))? {
                if let Line::Own(link) = Line::of(&line) {
                    let names = [Some(link.head), kept_as(&link)];
                    let at = kept.iter().rposition(|kept| kept.is_some() && names.contains(kept));
                    merged = merged.max(at.map_or(0, |at| at + 1));
                    if link.head.seq < first.seq || merged > 0 {
                        break 'files;
                    }
                }
                left_bytes = left_bytes.saturating_sub(line.len() as u64 + 1);
                if left_bytes == 0 {
                    break 'files;
                }
            }
        }
        Ok(merged)
    }

    fn renumbered(&self, lines: &[&[u8]]) -> Result<Batch, AuditError> {
        let mut batch = Batch::default();
        for line in lines {
            let Some((was, record)) = link(line).and_then(|link| Some((link.head, link.record()?))) else { continue };
            let mut record = record.moved_after(batch.head().or(self.position.follows));
            record.details.insert(KEPT_AS.to_owned(), json!(was));
            let key = self.authenticator.key();
            let line = record
                .into_line(key)
                .map_err(|error| AuditError::at("encode a record for", &self.path)(error.into()))?;
            batch.push(&line);
        }
        Ok(batch)
    }
}

fn verbatim(lines: &[&[u8]]) -> Batch {
    let mut batch = Batch::default();
    lines.iter().for_each(|line| batch.push(line));
    batch
}

fn link<'l>(line: &'l [u8]) -> Option<Link<'l>> {
    if let Line::Own(link) = Line::of(line) { Some(link) } else { None }
}

/// The number and hash that a record had while it was kept elsewhere.
fn kept_as(link: &Link<'_>) -> Option<Head> {
    let mentioned = link.text.windows(KEPT_AS.len()).any(|text| text == KEPT_AS.as_bytes());
    let record: Record = if mentioned { link.record()? } else { return None };
    record.details.get(KEPT_AS).and_then(|was| Head::deserialize(was).ok())
}
