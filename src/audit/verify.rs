//! Proves the chain, or names the first record that breaks it.
//!
//! Hazard: a chain alone proves only that somebody computed it; whoever can write the file can compute another. The
//! proof is against anchors: heads that were remembered elsewhere (state, replicas, manifests) when they were written.
//! What no anchor reaches is only as good as the file. Rotated files that cannot be read or are gone cannot be judged:
//! the report says where the readable chain begins, and how many anchors lie before.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kept::{self, Kept};
use super::lines::Forward;
use super::record::{CHAIN_STARTED, Head, Line, Link, Record};
use super::segments::{Segment, Segments};
pub use super::walk::Fault;
use super::walk::{Found, Place, Walk};
use super::{AuditError, opening, packed};
use crate::core::Digest;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The files read, oldest first.
    pub files: Vec<PathBuf>,
    /// Rotated files that were not read, because they are compressed otherwise than by gzip.
    pub compressed: Vec<PathBuf>,
    /// Compressed files that could not be read to their end.
    pub unreadable: Vec<Unreadable>,
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
    /// Bytes that were read.
    pub bytes: u64,
    /// The first place where the chain is not what it was, and nobody said in the log that this is known.
    pub first_break: Option<Break>,
    /// All such places, in the order of the files; at most 100.
    pub breaks: Vec<Break>,
    /// Breaks that a later record accepts.
    pub accepted: u64,
}

/// A compressed file that could not be read to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The file.
    pub file: PathBuf,
    /// Why not.
    pub reason: String,
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
    /// The SHA-256 of the line that is there; `None` behind the last.
    pub found: Option<Digest>,
}

impl Break {
    /// What tells this break from any other, also from one that is made later in the same place: `altered:5:3f9c…`.
    pub fn key(&self) -> String {
        key(self.fault, self.found)
    }
}

fn key(fault: Fault, found: Option<Digest>) -> String {
    let hash = found.map(|hash| hash.to_string()).unwrap_or_default();
    match fault {
        Fault::Altered { seq } => format!("altered:{seq}:{hash}"),
        Fault::Reordered { seq } => format!("reordered:{seq}:{hash}"),
        Fault::Missing { from, to } => format!("missing:{from}-{to}"),
        // Once the chain goes on, it is a gap like any other.
        Fault::Truncated { expected, found } => format!("missing:{}-{expected}", found.unwrap_or(0) + 1),
    }
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

/// Reads the chain over the rotated files, the live one and what was `kept` elsewhere, in bounded memory, and holds it
/// against `anchors`. Both must have been collected before the call, the anchors first. Files may grow meanwhile.
pub fn verify_chain(path: &Path, kept: &[Kept], anchors: &[Head]) -> Result<ChainReport, AuditError> {
    let segments = Segments::all(path)?;
    let mut reading = Reading {
        walk: Walk::new(anchors),
        end: Place { file: 0, line: 1 },
        first_kept: kept::first(kept),
        ..Reading::default()
    };
    for source in reading.in_order(&segments) {
        match source {
            Source::Plain(Segment { path, file, .. }) => {
                let read = reading.file(path, Forward::new(file, 0, u64::MAX));
                read.map_err(AuditError::at("read", path))?;
            }
            Source::Packed(path, file) => {
                let read = packed::lines(file).and_then(|lines| reading.file(path, lines));
                read.unwrap_or_else(|error| reading.unreadable(path, &error));
            }
        }
    }
    // Those for which the log has others of the same number will get new ones.
    let kept = if reading.forked { &[] } else { kept };
    for kept in kept {
        reading.begin_file(&kept.path);
        kept.lines().for_each(|line| reading.kept_line(line));
    }
    reading.walk.end(reading.end);
    Ok(reading.report(path, segments.compressed))
}

/// A file of the chain.
enum Source<'s> {
    Plain(&'s Segment),
    Packed(&'s Path, &'s File),
}

/// How far the reading has come.
#[derive(Default)]
struct Reading {
    files: Vec<PathBuf>,
    unreadable: Vec<Unreadable>,
    walk: Walk,
    end: Place,
    bytes: u64,
    foreign_lines: u64,
    broken_lines: u64,
    first_kept: Option<Head>,
    /// The log went on without the kept records, because it could not be read when they were kept.
    forked: bool,
}

impl Reading {
    /// The files in the order of their records. A compressed one is placed by its first record, and any other by its last:
    /// no file has records from between those of another.
    fn in_order<'s>(&mut self, segments: &'s Segments) -> Vec<Source<'s>> {
        let plain = segments.files.iter();
        let mut sources: Vec<_> =
            plain.map(|segment| (segment.tip.map(|tip| tip.head.seq), Source::Plain(segment))).collect();
        for (path, file) in &segments.packed {
            match packed::first_seq(file) {
                Ok(first) => sources.push((first, Source::Packed(path, file))),
                Err(error) => self.unreadable(path, &error),
            }
        }
        sources.sort_by_key(|(seq, _)| *seq);
        sources.into_iter().map(|(_, source)| source).collect()
    }

    /// Reads a file to its end.
    fn file<R: Read>(&mut self, path: &Path, mut lines: Forward<R>) -> io::Result<()> {
        self.begin_file(path);
        while let Some(line) = lines.next()? {
            self.line(line);
        }
        Ok(())
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.unreadable.push(Unreadable { file: path.to_owned(), reason: error.to_string() });
    }

    fn begin_file(&mut self, path: &Path) {
        self.end = Place { file: self.files.len(), line: 1 };
        self.files.push(path.to_owned());
    }

    fn line(&mut self, line: &[u8]) {
        self.bytes += line.len() as u64 + 1;
        match Line::of(line) {
            Line::Own(link) => {
                self.forked |= self.first_kept.is_some_and(|kept| kept.seq == link.head.seq && kept != link.head);
                self.walk.record(&link, self.end, || begins_a_file(&link));
                self.listen(&link);
            }
            Line::Broken => {
                self.broken_lines += 1;
                self.walk.broken_line(self.end, line);
            }
            Line::Foreign => self.foreign_lines += 1,
            Line::Blank => {}
        }
        self.end.line += 1;
    }

    /// A record that was kept elsewhere and has been merged since is in the log already.
    fn kept_line(&mut self, line: &[u8]) {
        let merged = match Line::of(line) {
            Line::Own(link) => self.walk.head().is_some_and(|head| link.head.seq <= head.seq),
            _ => false,
        };
        if merged { self.end.line += 1 } else { self.line(line) }
    }

    /// What the log says of itself.
    fn listen(&mut self, link: &Link<'_>) {
        if self.walk.faults.is_empty() {
            return;
        }
        let Some(record) = link.chain_started() else { return };
        if let Some(after) = opening::rotated_after(&record) {
            self.walk.rotated(after);
        }
        let accepted = opening::accepted(&record);
        self.walk.accept(|found| accepted.contains(&key(found.fault, found.evidence).as_str()));
    }

    fn report(self, live: &Path, compressed: Vec<PathBuf>) -> ChainReport {
        let Self { files, unreadable, walk, bytes, foreign_lines, broken_lines, .. } = self;
        let told = |found: &Found| Break {
            fault: found.fault,
            file: files.get(found.place.file).map_or_else(|| live.to_owned(), Clone::clone),
            line: found.place.line,
            found: found.evidence,
        };
        let breaks: Vec<Break> = walk.faults.iter().filter(|found| !found.accepted).map(told).collect();
        ChainReport {
            compressed,
            unreadable,
            records: walk.records,
            foreign_lines,
            broken_lines,
            first_seq: walk.first_seq,
            head: walk.head(),
            anchors_matched: walk.anchors_matched,
            anchors_before_first: walk.anchors_before_first,
            bytes,
            first_break: breaks.first().cloned(),
            accepted: (walk.faults.len() - breaks.len()) as u64,
            breaks,
            files,
        }
    }
}

/// Whether this record tells that a file begins with it because the one before was rotated away.
fn begins_a_file(link: &Link<'_>) -> bool {
    link.chain_started().is_some_and(|record| opening::rotated_after(&record).is_some())
}

impl Link<'_> {
    /// The record, if it is one that the log wrote of itself.
    fn chain_started(&self) -> Option<Record> {
        // Reading the whole record is for the few that may be one.
        let mentioned = self.text.windows(CHAIN_STARTED.len()).any(|text| text == CHAIN_STARTED.as_bytes());
        if mentioned { self.record().filter(|record| record.event == CHAIN_STARTED) } else { None }
    }
}
