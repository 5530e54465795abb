//! Records that could not be written to the log, and are kept elsewhere until they can.
//!
//! Hazard: a record that is written twice under two numbers, or a number that means two records. What is kept are the
//! very lines that the log is to get: each has its place in the chain already, whoever remembers a later head
//! remembers them too, and merging them is copying lines that are not there yet.

use std::path::PathBuf;

use super::record::{Head, Line, NOTHING_BEFORE};

/// A file of kept lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// Its lines.
    pub bytes: Vec<u8>,
}

impl Kept {
    /// Its lines, without newlines.
    pub(super) fn lines(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
    }
}

/// What the first of the kept records follows; `None` if it is the first of all, or there is none.
pub fn base(kept: &[Kept]) -> Option<Head> {
    let first = kept.iter().flat_map(Kept::lines).next()?;
    match Line::of(first) {
        Line::Own(link) if link.prev != NOTHING_BEFORE => {
            Some(Head { seq: link.head.seq.saturating_sub(1), hash: link.prev })
        }
        _ => None,
    }
}

/// The first of the kept records.
pub(super) fn first(kept: &[Kept]) -> Option<Head> {
    kept.iter().flat_map(Kept::lines).find_map(head_of)
}

/// The last of the kept records.
pub fn head(kept: &[Kept]) -> Option<Head> {
    kept.iter().rev().flat_map(|kept| kept.lines().rev()).find_map(head_of)
}

fn head_of(line: &[u8]) -> Option<Head> {
    if let Line::Own(link) = Line::of(line) { Some(link.head) } else { None }
}
