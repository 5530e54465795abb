//! Proves the chain, or names the first record that breaks it.
//!
//! Hazard: a chain alone proves only that somebody computed it; whoever can write the file can compute another. The
//! proof is against anchors: heads that were remembered elsewhere (state, replicas, manifests) when they were written.
//! What no anchor reaches is only as good as the file. Rotated files that are compressed or gone cannot be judged:
//! the report says where the readable chain begins, and how many anchors lie before.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::AuditError;
use super::lines::Forward;
use super::record::{CHAIN_STARTED, Head, Line, Link};
use super::segments::{Segment, Segments};
pub use super::walk::Fault;
use super::walk::{Place, Walk};

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The files read, oldest first.
    pub files: Vec<PathBuf>,
    /// Rotated files that were not read, because they are compressed.
    pub compressed: Vec<PathBuf>,
    /// Records of the chain.
    pub records: u64,
    /// Lines of others.
    pub foreign_lines: u64,
    /// Lines that a crash, a full disk or a manipulation left broken. In an unbroken chain they cost no record.
    pub broken_lines: u64,
    /// The number of the first readable record.
    pub first_seq: Option<u64>,
    /// The last readable record.
    pub head: Option<Head>,
    /// Anchors that a record was held against, and agreed.
    pub anchors_matched: u64,
    /// Anchors older than the first readable record: nothing can be said about them.
    pub anchors_before_first: u64,
    /// The first place where the chain is not what it was.
    pub first_break: Option<Break>,
}

/// A break of the chain, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Break {
    /// What is wrong.
    pub fault: Fault,
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: u64,
}

impl ChainReport {
    /// Whether everything that could be read is what was written.
    pub fn is_whole(&self) -> bool {
        self.first_break.is_none()
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.fault)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { seq } => write!(f, "record {seq} was altered"),
            Self::Missing { from, to } if from == to => write!(f, "record {from} is missing before this line"),
            Self::Missing { from, to } => write!(f, "records {from} to {to} are missing before this line"),
            Self::Reordered { seq } => write!(f, "record {seq} is not where it belongs"),
            Self::Truncated { expected, found: Some(found) } => {
                write!(f, "the log ends with record {found}, but record {expected} had been written")
            }
            Self::Truncated { expected, found: None } => {
                write!(f, "the log holds no record, but record {expected} had been written")
            }
        }
    }
}

/// Reads the chain over the rotated files and the live one, in bounded memory, and holds it against `anchors`, which
/// must have been collected before the call. Files may grow meanwhile.
pub fn verify_chain(path: &Path, anchors: &[Head]) -> Result<ChainReport, AuditError> {
    let segments = Segments::all(path)?;
    let mut walk = Walk::new(anchors);
    let mut end = Place { file: 0, line: 1 };
    let (mut foreign_lines, mut broken_lines) = (0, 0);
    for (file, segment) in segments.files.iter().enumerate() {
        let mut lines = Forward::new(&segment.file, 0, u64::MAX);
        end = Place { file, line: 1 };
        while let Some(line) = lines.next().map_err(AuditError::at("read", &segment.path))? {
            match Line::of(line) {
                Line::Own(link) => walk.record(&link, end, || begins_a_file(&link)),
                Line::Broken => {
                    broken_lines += 1;
                    walk.broken_line(end);
                }
                Line::Foreign => foreign_lines += 1,
                Line::Blank => {}
            }
            end.line += 1;
        }
    }
    walk.end(end);
    let files: Vec<PathBuf> = segments.files.into_iter().map(|Segment { path, .. }| path).collect();
    let first_break = walk.fault.map(|(fault, place)| {
        let file = files.get(place.file).map_or_else(|| path.to_owned(), Clone::clone);
        Break { fault, file, line: place.line }
    });
    Ok(ChainReport {
        compressed: segments.compressed,
        records: walk.records,
        foreign_lines,
        broken_lines,
        first_seq: walk.first_seq,
        head: walk.head(),
        anchors_matched: walk.anchors_matched,
        anchors_before_first: walk.anchors_before_first,
        first_break,
        files,
    })
}

/// Whether this record tells that a file begins with it because the one before was rotated away.
fn begins_a_file(link: &Link<'_>) -> bool {
    link.record().is_some_and(|record| {
        record.event == CHAIN_STARTED && record.details.get("reason").is_some_and(|reason| reason == "rotated")
    })
}
