//! Proves the chain, or names the first record that breaks it.
//!
//! Hazard: a chain alone proves only that somebody computed it; whoever can write the file can compute another. A record
//! is ours only if it is authenticated, and the proof is against what was remembered elsewhere (state, replicas,
//! manifests) when it was written. What the log says of itself proves nothing. Rotated files that cannot be read or are
//! gone cannot be judged: the report says where the readable chain begins, and how many anchors lie before.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::kept::{self, Kept};
use super::key::Key;
use super::lines::Forward;
use super::record::{CHAIN_STARTED, Head, Line, Link, Record, claimed_seq};
use super::segments::{Segment, Segments};
use super::trust::{MAX_MARKS, Trust};
pub use super::walk::Fault;
use super::walk::{Found, Loose, Place, Walk, key};
use super::{AuditError, opening, packed};
use crate::core::Digest;
use crate::files::NotPlain;

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The files read, oldest first.
    pub files: Vec<PathBuf>,
    /// Rotated files that were not read, because they are compressed otherwise than with gzip, xz or zstd.
    pub compressed: Vec<PathBuf>,
    /// Compressed files that could not be read to their end.
    pub unreadable: Vec<Unreadable>,
    /// Records that may be in files that cannot be read, as inclusive ranges.
    pub unread: Vec<(u64, u64)>,
    /// What is in the place of the log, if it is no file.
    pub obstacle: Option<NotPlain>,
    /// Names the key that records were authenticated with; `None` if none is at hand.
    pub key: Option<Digest>,
    /// Records that carry an authentication for which no key is at hand.
    pub unproven: u64,
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
    /// The first place where the chain is not what it was, and nobody accepted that.
    pub first_break: Option<Break>,
    /// All such places, in the order of the files; at most 100.
    pub breaks: Vec<Break>,
    /// Whether there are more.
    pub more_breaks: bool,
    /// Breaks that a person accepted.
    pub accepted: u64,
    /// The last record before each break: what is in front of a gap is held by nothing behind it.
    #[serde(skip)]
    pub pins: Vec<Head>,
    /// What the log says of itself, where it was taken at its word.
    #[serde(skip)]
    pub said: Said,
}

/// What a log says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The records behind which files were begun.
    pub rotations: Vec<Head>,
    /// The breaks that were accepted, by their keys.
    pub accepted: Vec<String>,
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

impl ChainReport {
    /// Whether everything that could be read is what was written.
    pub fn is_whole(&self) -> bool {
        self.first_break.is_none() && !self.more_breaks && self.obstacle.is_none()
    }

    /// Whether everything that is there could be read and proved.
    pub fn is_complete(&self) -> bool {
        self.unreadable.is_empty() && self.compressed.is_empty() && self.unproven == 0
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
            Self::Forged { seq, lines: 1, .. } => write!(f, "record {seq} was not written by a holder of the key"),
            Self::Forged { seq, lines, .. } => {
                write!(f, "record {seq} and {} lines after it were not written by a holder of the key", lines - 1)
            }
            Self::Missing { from, to } if from == to => write!(f, "record {from} is missing before this line"),
            Self::Missing { from, to } => write!(f, "records {from} to {to} are missing before this line"),
            Self::Reordered { seq } => write!(f, "record {seq} is not where it belongs"),
            Self::Truncated { expected, found: Some(found) } => {
                write!(f, "the log ends with record {found}, but record {expected} had been written")
            }
            Self::Truncated { expected, found: None } => {
                write!(f, "the log holds no record, but record {expected} had been written")
            }
            Self::KeyLost { key, to } => {
                let name = &key.to_string()[..16];
                write!(f, "the key {name} is lost: whether records up to {to} are what was written cannot be proved")
            }
        }
    }
}

/// Reads the chain over the rotated files, the live one and what was `kept` elsewhere, in bounded memory, and holds it
/// against what is trusted. Both must have been collected before the call, the trust first. Files may grow meanwhile.
pub fn verify_chain(path: &Path, kept: &[Kept], trust: &Trust) -> Result<ChainReport, AuditError> {
    let segments = Segments::all(path, trust.authenticator())?;
    let mut reading = Reading {
        trust,
        files: Vec::new(),
        unreadable: Vec::new(),
        walk: Walk::default(),
        end: Place { file: 0, line: 1 },
        bytes: 0,
        foreign_lines: 0,
        broken_lines: 0,
        unproven: 0,
        first_kept: kept::first(kept),
        forked: false,
        said: Said::default(),
    };
    let sources = reading.in_order(&segments);
    reading.walk = Walk::new(trust, !reading.unreadable.is_empty() || !segments.compressed.is_empty());
    for source in sources {
        match source {
            Source::Plain(Segment { path, file, .. }) => {
                let read = reading.file(path, Forward::new(file, 0, u64::MAX));
                read.map_err(AuditError::at("read", path))?;
            }
            Source::Packed(path, file) => {
                let read = packed::lines(path, file).and_then(|lines| reading.file(path, lines));
                read.unwrap_or_else(|error| {
                    reading.walk.cut();
                    reading.unreadable(path, &error);
                });
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
    Ok(reading.report(path, segments))
}

/// A file of the chain.
enum Source<'s> {
    Plain(&'s Segment),
    Packed(&'s Path, &'s File),
}

/// How far the reading has come.
struct Reading<'t> {
    trust: &'t Trust,
    files: Vec<PathBuf>,
    unreadable: Vec<Unreadable>,
    walk: Walk,
    end: Place,
    bytes: u64,
    foreign_lines: u64,
    broken_lines: u64,
    unproven: u64,
    first_kept: Option<Head>,
    /// The log went on without the kept records, because it could not be read when they were kept.
    forked: bool,
    said: Said,
}

impl Reading<'_> {
    /// The files in the order of their records. A compressed one is placed by its first record, and any other by its last:
    /// no file has records from between those of another.
    fn in_order<'s>(&mut self, segments: &'s Segments) -> Vec<Source<'s>> {
        let plain = segments.files.iter();
        let mut sources: Vec<_> =
            plain.map(|segment| (segment.tip.map(|tip| tip.head.seq), Source::Plain(segment))).collect();
        for (path, file) in &segments.packed {
            match packed::first_seq(path, file, self.trust.authenticator()) {
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
            Line::Own(link) if self.trust.authenticator().admits(&link, self.walk.head()) => self.record(&link),
            Line::Own(link) => self.loose_line(line, Some(link.head.seq), true),
            Line::Broken => {
                self.broken_lines += 1;
                self.loose_line(line, claimed_seq(line), false);
            }
            Line::Foreign => self.foreign_lines += 1,
            Line::Blank => {}
        }
        self.end.line += 1;
    }

    fn record(&mut self, link: &Link<'_>) {
        let without_key = self.trust.authenticator().key().is_none();
        self.unproven += u64::from(without_key && link.mac().is_some());
        self.forked |= self.first_kept.is_some_and(|kept| kept.seq == link.head.seq && kept != link.head);
        self.walk.record(link, self.end, || begins_a_file(link));
        if self.trust.credulous {
            self.listen(link);
        }
    }

    fn loose_line(&mut self, line: &[u8], claims: Option<u64>, forged: bool) {
        self.walk.loose_line(Loose { place: self.end, hash: Digest::of(line), claims, forged });
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
        let Some(record) = link.chain_started() else { return };
        if let Some(after) = opening::rotated_after(&record) {
            self.walk.rotated(after);
            self.said.rotations.push(after);
            bound(&mut self.said.rotations);
        }
        let accepted = opening::accepted(&record);
        self.walk.accept(|found| accepted.contains(&found.key().as_str()));
        self.said.accepted.extend(accepted.into_iter().map(str::to_owned));
        bound(&mut self.said.accepted);
    }

    fn report(self, live: &Path, segments: Segments) -> ChainReport {
        let Self { files, unreadable, walk, bytes, foreign_lines, broken_lines, trust, .. } = self;
        let told = |found: &Found| Break {
            fault: found.fault,
            file: files.get(found.place.file).map_or_else(|| live.to_owned(), Clone::clone),
            line: found.place.line,
            found: found.evidence,
        };
        let is_open = |found: &&Found| !found.accepted && !trust.accepted.contains(&found.key());
        let breaks: Vec<Break> = walk.faults.iter().filter(is_open).map(told).collect();
        ChainReport {
            compressed: segments.compressed,
            unreadable,
            obstacle: segments.obstacle,
            key: trust.authenticator().key().map(Key::id),
            unproven: self.unproven,
            records: walk.records,
            foreign_lines,
            broken_lines,
            first_seq: walk.first_seq,
            head: walk.head(),
            anchors_matched: walk.anchors_matched,
            anchors_before_first: walk.anchors_before_first,
            bytes,
            first_break: breaks.first().cloned(),
            more_breaks: walk.more_faults,
            accepted: (walk.faults.len() - breaks.len()) as u64,
            breaks,
            files,
            unread: walk.unread,
            pins: walk.pins,
            said: self.said,
        }
    }
}

/// Lets go of the oldest of more than are remembered.
fn bound<T>(list: &mut Vec<T>) {
    list.drain(..list.len().saturating_sub(MAX_MARKS));
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
