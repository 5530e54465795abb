//! Finds where the chain goes on, and says what was found.
//!
//! Hazard: after a crash, a rotation or a manipulation the file may hold less, more or something else than what is
//! remembered. A number of a record is never used twice: where records that once were known are gone, the chain goes
//! on after the highest of them, so that the gap stays to be seen by everyone.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::key::Authenticator;
use super::lines::Backward;
use super::record::{CHAIN_STARTED, Entry, Head, Line, Outcome, Record};
use super::segments::{self, FileEnd, Identity, Segment, Segments, Tip, identity};
use super::verify::Break;
use super::{AuditError, packed};
use crate::core::Digest;

/// How far back from the end a remembered record is looked for. It normally is the last one, or a few before it.
pub(super) const SEARCHED_BYTES: u64 = 16 * 1024 * 1024;

/// What was found when the log was opened, in the order it is recorded.
#[derive(Debug)]
pub struct Opening {
    /// `Fresh`, `Continued`, `Rotated`, or `HeadMissing` in an empty file; then whatever else there is to say. All but
    /// `Continued` and `HeadUnchecked` are told by a [`CHAIN_STARTED`] record of the log's own, written with the next
    /// entry.
    pub findings: Vec<Finding>,
}

/// Something noticed about the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no record yet, here or rotated away.
    Fresh,
    /// The chain goes on in the file it was in.
    Continued,
    /// The file was renamed away or emptied by others; the chain goes on in a new one.
    Rotated {
        /// The record that the new file follows.
        after: Head,
    },
    /// A crash, or a full disk, left part of a line. It stays where it is.
    TornTail {
        /// The length of what was left.
        bytes: u64,
    },
    /// A record that is known to have been written is not there, or is another. Somebody removed or changed it, or a
    /// copying rotation lost it.
    HeadMissing {
        /// What should be there.
        expected: Head,
        /// The last record that is.
        found: Option<Head>,
    },
    /// Whether the remembered record is there could not be told: it lies in a file that cannot be read, or too far back.
    HeadUnchecked {
        /// What should be there.
        expected: Head,
    },
    /// An append failed after its records, or some of them, had got into the file. Nobody was told that they were
    /// durable, and they may follow once more.
    Unacknowledged {
        /// How many.
        records: u64,
    },
    /// Another process of ours appended records that continue our chain.
    OtherWriter {
        /// The last of them.
        last: Head,
    },
    /// From here on records are authenticated.
    KeyBegun {
        /// Names the key.
        key: Digest,
        /// The last record before: the log up to it was taken as it was found.
        after: Option<Head>,
        /// Keys that authenticated those before, and are lost.
        lost: Vec<Digest>,
    },
    /// The key was lost, and came from a replica.
    KeyRecovered {
        /// Names the key.
        key: Digest,
        /// Where the replica is.
        from: String,
    },
    /// Lines claim to be records of ours and were not written by a holder of the key. They stay where they are, and are
    /// no part of the chain.
    Forged {
        /// How many.
        lines: u64,
    },
}

impl Finding {
    /// Whether it tells of something that rotation and crashes do not do.
    pub const fn is_alarming(&self) -> bool {
        matches!(self, Self::HeadMissing { .. } | Self::OtherWriter { .. } | Self::Forged { .. })
    }

    /// The entry that tells of it in the log, at the time and under the correlation id of `cause`, if it is one to tell.
    pub(super) fn entry(&self, cause: &Entry) -> Option<Entry> {
        let (reason, outcome, more) = match self {
            Self::Fresh => ("fresh", Outcome::Info, json!({})),
            Self::Rotated { after } => ("rotated", Outcome::Info, json!({ "after": after })),
            Self::TornTail { bytes } => ("torn_line", Outcome::Info, json!({ "bytes": bytes })),
            Self::HeadMissing { expected, found } => {
                ("head_missing", Outcome::Failure, json!({ "expected": expected, "found": found }))
            }
            Self::Unacknowledged { records } => ("write_failed", Outcome::Info, json!({ "unacknowledged": records })),
            Self::OtherWriter { last } => ("other_writer", Outcome::Failure, json!({ "last": last })),
            Self::KeyBegun { key, after, lost } if lost.is_empty() => {
                ("key_begun", Outcome::Info, json!({ "key": key, "after": after }))
            }
            Self::KeyBegun { key, after, lost } => {
                ("key_lost", Outcome::Failure, json!({ "key": key, "after": after, "lost": lost }))
            }
            Self::KeyRecovered { key, from } => ("key_recovered", Outcome::Info, json!({ "key": key, "from": from })),
            Self::Forged { lines } => ("forged", Outcome::Failure, json!({ "lines": lines })),
            Self::Continued | Self::HeadUnchecked { .. } => return None,
        };
        let mut details = Map::from_iter([("reason".to_owned(), Value::from(reason))]);
        if let Value::Object(more) = more {
            details.extend(more);
        }
        Some(Entry {
            timestamp: cause.timestamp,
            event: CHAIN_STARTED,
            actor: "auditor",
            principal: "service".to_owned(),
            set: None,
            backup_id: None,
            outcome,
            details,
            correlation_id: cause.correlation_id.clone(),
        })
    }
}

/// The record behind which this one says that a file was begun after a rotation. Believed only of records that were there
/// before there was a key: afterwards what counts is what is remembered elsewhere.
pub(super) fn rotated_after(record: &Record) -> Option<Head> {
    if record.details.get("reason")? != "rotated" {
        return None;
    }
    Head::deserialize(record.details.get("after")?).ok()
}

/// The breaks that this record accepts, by their keys; believed of the same records only.
pub(super) fn accepted(record: &Record) -> Vec<&str> {
    if record.details.get("reason").is_none_or(|reason| reason != ACCEPTED) {
        return vec![];
    }
    let keys = record.details.get("breaks").and_then(Value::as_array);
    keys.into_iter().flatten().filter_map(|accepted| accepted.get("key")?.as_str()).collect()
}

/// The `reason` of a record in which a person accepts breaks of the chain.
const ACCEPTED: &str = "accepted";

/// What such a record says of the breaks it accepts.
pub fn acceptance(breaks: &[Break]) -> Map<String, Value> {
    let breaks: Vec<Value> =
        breaks.iter().map(|found| json!({ "key": found.key(), "what": found.to_string() })).collect();
    Map::from_iter([("reason".to_owned(), ACCEPTED.into()), ("breaks".to_owned(), breaks.into())])
}

/// What a log has remembered elsewhere, where whoever writes only the log does not reach.
pub trait Memory: fmt::Debug + Send + Sync {
    /// Tells which records are ours.
    fn authenticator(&self) -> Authenticator;

    /// Remembers, durably, that a file legitimately begins behind this record: told before it does.
    fn rotated(&self, after: Head);
}

/// Remembers nothing else.
impl Memory for Authenticator {
    fn authenticator(&self) -> Authenticator {
        self.clone()
    }

    fn rotated(&self, _after: Head) {}
}

/// Where a log goes on.
#[derive(Debug)]
pub(super) struct Position {
    pub file: File,
    pub identity: Identity,
    /// How large the file was when it was looked at.
    pub size_bytes: u64,
    /// The last record in the live file.
    pub tip: Option<Tip>,
    /// What the next record follows.
    pub follows: Option<Head>,
    pub findings: Vec<Finding>,
}

/// Opens the live file, and finds where the chain goes on. `renamed_away` says that the file that holds `expected` was
/// seen to live on under another name, which need not be one that we would find it by.
pub(super) fn locate(
    path: &Path,
    expected: Option<Head>,
    authenticator: &Authenticator,
    renamed_away: bool,
) -> Result<Position, AuditError> {
    let file = open_or_create(path)?;
    let metadata = file.metadata().map_err(AuditError::at("stat", path))?;
    let end = segments::file_end(&file, metadata.len(), authenticator).map_err(AuditError::at("read", path))?;
    let FileEnd { tip, torn_bytes } = end;
    let live = Segment { path: path.to_owned(), file: file.try_clone().map_err(AuditError::at("open", path))?, tip };
    let mut chain = Chain { live, path, authenticator, rotated: None, unpacked: None };

    let last = chain.last_record(expected)?;
    let doubt = match expected {
        Some(expected) if !renamed_away => chain.doubt_about(expected, last)?,
        _ => None,
    };
    // What is remembered counts for more than what stands in its place.
    let follows = expected.max_by_seq(last);
    let lost = matches!(doubt, Some(Finding::HeadMissing { .. }));
    let mut findings = match (tip, follows) {
        (Some(_), _) => vec![Finding::Continued],
        // An empty file in the place of lost records was not rotated: nothing may make its beginning look legitimate.
        (None, Some(_)) if lost => vec![],
        (None, Some(after)) => vec![Finding::Rotated { after }],
        (None, None) => vec![Finding::Fresh],
    };
    findings.extend(doubt);
    if torn_bytes > 0 {
        findings.push(Finding::TornTail { bytes: torn_bytes });
    }
    Ok(Position { file, identity: identity(&metadata), size_bytes: metadata.len(), tip, follows, findings })
}

/// Whether the log has this record, or may have it in a file that was rotated away: not if another stands in its place, or
/// the log ends before it.
pub fn may_have(path: &Path, record: Head, authenticator: &Authenticator) -> bool {
    let file = match segments::open(path, OpenOptions::new().read(true)) {
        Ok(Some(file)) => file,
        // Nothing was written since it was rotated away; if it was deleted, whoever writes it notices.
        Ok(None) => return true,
        Err(_) => return false,
    };
    let looked = || -> Result<bool, AuditError> {
        let read = || AuditError::at("read", path);
        let size_bytes = file.metadata().map_err(read())?.len();
        let tip = segments::file_end(&file, size_bytes, authenticator).map_err(read())?.tip;
        let live = Segment { path: path.to_owned(), file: file.try_clone().map_err(read())?, tip };
        let mut chain = Chain { live, path, authenticator, rotated: None, unpacked: None };
        let last = chain.last_record(Some(record))?;
        Ok(!matches!(chain.doubt_about(record, last)?, Some(Finding::HeadMissing { .. })))
    };
    // What cannot be read is told of by whoever writes it.
    looked().unwrap_or(true)
}

/// The later of two places in the chain.
pub trait MaxBySeq {
    /// The later of the two; this one if they are equally late.
    fn max_by_seq(self, other: Self) -> Self;
}

impl MaxBySeq for Option<Head> {
    fn max_by_seq(self, other: Self) -> Self {
        match (self, other) {
            (Some(this), Some(other)) if other.seq > this.seq => Some(other),
            (this, other) => this.or(other),
        }
    }
}

/// The live file, and the rotated ones once they are needed.
struct Chain<'p> {
    live: Segment,
    path: &'p Path,
    authenticator: &'p Authenticator,
    rotated: Option<Segments>,
    unpacked: Option<Unpacked>,
}

/// What the compressed files hold.
#[derive(Clone, Copy, Default)]
struct Unpacked {
    /// Their last record.
    last: Option<Head>,
    /// Whether the remembered record is in one of them.
    has_expected: bool,
    /// Whether there is one that cannot be read.
    unreadable: bool,
}

impl Chain<'_> {
    fn rotated(&mut self) -> Result<&Segments, AuditError> {
        if self.rotated.is_none() {
            self.rotated = Some(Segments::rotated(self.path, self.authenticator)?);
        }
        Ok(self.rotated.get_or_insert_default())
    }

    /// Reads the compressed files: all of them to their end, which is for when nothing else has what is looked for.
    fn unpacked(&mut self, expected: Option<Head>) -> Result<Unpacked, AuditError> {
        if let Some(unpacked) = self.unpacked {
            return Ok(unpacked);
        }
        let authenticator = self.authenticator;
        let rotated = self.rotated()?;
        let mut unpacked = Unpacked { unreadable: !rotated.compressed.is_empty(), ..Unpacked::default() };
        for (path, file) in &rotated.packed {
            match packed::last(path, file, authenticator, expected) {
                Ok((last, found)) => {
                    unpacked.last = unpacked.last.max_by_seq(last);
                    unpacked.has_expected |= found;
                }
                Err(_) => unpacked.unreadable = true,
            }
        }
        self.unpacked = Some(unpacked);
        Ok(unpacked)
    }

    /// The last record of the live file, or else of the rotated ones.
    fn last_record(&mut self, expected: Option<Head>) -> Result<Option<Head>, AuditError> {
        if let Some(tip) = self.live.tip {
            return Ok(Some(tip.head));
        }
        let plain = self.rotated()?.files.last().and_then(|segment| segment.tip).map(|tip| tip.head);
        if plain.is_some() && plain.map(|last| last.seq) >= expected.map(|expected| expected.seq) {
            return Ok(plain);
        }
        Ok(plain.max_by_seq(self.unpacked(expected)?.last))
    }

    /// What is to be said if `expected` cannot be shown to be in the chain that ends with `last`.
    fn doubt_about(&mut self, expected: Head, last: Option<Head>) -> Result<Option<Finding>, AuditError> {
        let missing = Finding::HeadMissing { expected, found: last };
        let unchecked = Finding::HeadUnchecked { expected };
        if last.is_none_or(|last| last.seq < expected.seq) {
            // A rotated file that cannot be read may hold what the empty live file lost.
            let may_be_there = self.live.tip.is_none() && self.unpacked(Some(expected))?.unreadable;
            return Ok(Some(if may_be_there { unchecked } else { missing }));
        }
        let mut left_bytes = SEARCHED_BYTES;
        let authenticator = self.authenticator;
        let mut searched = search(&self.live, expected, authenticator, &mut left_bytes)?;
        if searched == Search::NotReached {
            for segment in self.rotated()?.files.iter().rev() {
                searched = search(segment, expected, authenticator, &mut left_bytes)?;
                if searched != Search::NotReached {
                    break;
                }
            }
        }
        Ok(match searched {
            Search::Found => None,
            Search::Another => Some(missing),
            Search::NotReached if self.unpacked.is_some_and(|unpacked| unpacked.has_expected) => None,
            Search::NotReached => Some(unchecked),
        })
    }
}

#[derive(PartialEq, Eq)]
enum Search {
    Found,
    Another,
    NotReached,
}

/// Looks for `expected` in a file, from its end, for as many bytes as are left.
fn search(
    segment: &Segment,
    expected: Head,
    authenticator: &Authenticator,
    left_bytes: &mut u64,
) -> Result<Search, AuditError> {
    let read = |error: io::Error| AuditError::at("read", &segment.path)(error);
    let Some(tip) = segment.tip.filter(|_| *left_bytes > 0) else { return Ok(Search::NotReached) };
    let mut lines = Backward::new(&segment.file, tip.offset + u64::from(tip.length_bytes));
    while let Some((_, line)) = lines.next().map_err(read)? {
        match Line::of(&line) {
            Line::Own(link) if !authenticator.admits(&link, Some(expected)) => {}
            Line::Own(link) if link.head == expected => return Ok(Search::Found),
            Line::Own(link) if link.head.seq <= expected.seq => return Ok(Search::Another),
            _ => {}
        }
        *left_bytes = left_bytes.saturating_sub(line.len() as u64 + 1);
        if *left_bytes == 0 {
            break;
        }
    }
    Ok(Search::NotReached)
}

fn open_or_create(path: &Path) -> Result<File, AuditError> {
    let options = || OpenOptions::new().read(true).append(true).mode(0o600).clone();
    if let Some(file) = segments::open(path, &mut options())? {
        return Ok(file);
    }
    create_directories(segments::directory_of(path))?;
    let created = segments::open(path, options().create(true))?;
    let file = created.ok_or_else(|| AuditError::at("create", path)(io::ErrorKind::NotFound.into()))?;
    sync_directory(segments::directory_of(path))?;
    Ok(file)
}

/// Creates the directory and those above it, so that a power cut does not take them away again.
fn create_directories(directory: &Path) -> Result<(), AuditError> {
    let missing: Vec<PathBuf> = directory
        .ancestors()
        .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
        .map(Into::into)
        .collect();
    std::fs::create_dir_all(directory).map_err(AuditError::at("create", directory))?;
    missing.iter().try_for_each(|created| sync_directory(segments::directory_of(created)))
}

pub(super) fn sync_directory(directory: &Path) -> Result<(), AuditError> {
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(AuditError::at("sync", directory))
}
