//! Finds where the chain goes on, and says what was found.
//!
//! Hazard: after a crash, a rotation or a manipulation the file may hold less, more or something else than what is
//! remembered. A number of a record is never used twice: where records that once were known are gone, the chain goes
//! on after the highest of them, so that the gap stays to be seen by everyone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::AuditError;
use super::lines::Backward;
use super::record::{CHAIN_STARTED, Entry, Head, Line, Outcome, Record};
use super::segments::{self, Identity, Segment, Segments, Tip, identity};
use super::verify::Break;

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
    /// Whether the remembered record is there could not be told: it lies in a compressed file, or too far back.
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
    /// Another process, or a forger, appended records that continue our chain.
    OtherWriter {
        /// The last of them.
        last: Head,
    },
}

impl Finding {
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

/// The record behind which this one says that a file was begun after a rotation.
pub(super) fn rotated_after(record: &Record) -> Option<Head> {
    if record.details.get("reason")? != "rotated" {
        return None;
    }
    Head::deserialize(record.details.get("after")?).ok()
}

/// The breaks that this record accepts, by their keys.
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

/// Where a log goes on.
#[derive(Debug)]
pub(super) struct Position {
    pub file: File,
    pub identity: Identity,
    /// The last record in the live file.
    pub tip: Option<Tip>,
    /// What the next record follows.
    pub follows: Option<Head>,
    pub findings: Vec<Finding>,
}

/// Opens the live file, and finds where the chain goes on. `renamed_away` says that the file that holds `expected` was
/// seen to live on under another name, which need not be one that we would find it by.
pub(super) fn locate(path: &Path, expected: Option<Head>, renamed_away: bool) -> Result<Position, AuditError> {
    let file = open_or_create(path)?;
    let metadata = file.metadata().map_err(AuditError::at("stat", path))?;
    let read = AuditError::at("read", path);
    let (tip, torn_bytes) = segments::last_record(&file, metadata.len()).map_err(read)?;
    let live = Segment { path: path.to_owned(), file: file.try_clone().map_err(AuditError::at("open", path))?, tip };
    let mut chain = Chain { live, path, rotated: None };

    let last = chain.last_record()?;
    let doubt = match expected {
        Some(expected) if !renamed_away => chain.doubt_about(expected, last)?,
        _ => None,
    };
    let follows = last.max_by_seq(expected);
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
    Ok(Position { file, identity: identity(&metadata), tip, follows, findings })
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
    rotated: Option<Segments>,
}

impl Chain<'_> {
    fn rotated(&mut self) -> Result<&Segments, AuditError> {
        if self.rotated.is_none() {
            self.rotated = Some(Segments::rotated(self.path)?);
        }
        Ok(self.rotated.get_or_insert_default())
    }

    /// The last record of the live file, or else of the rotated ones.
    fn last_record(&mut self) -> Result<Option<Head>, AuditError> {
        if let Some(tip) = self.live.tip {
            return Ok(Some(tip.head));
        }
        Ok(self.rotated()?.files.last().and_then(|segment| segment.tip).map(|tip| tip.head))
    }

    /// What is to be said if `expected` cannot be shown to be in the chain that ends with `last`.
    fn doubt_about(&mut self, expected: Head, last: Option<Head>) -> Result<Option<Finding>, AuditError> {
        let missing = Finding::HeadMissing { expected, found: last };
        let unchecked = Finding::HeadUnchecked { expected };
        let live_is_empty = self.live.tip.is_none();
        if last.is_none_or(|last| last.seq < expected.seq) {
            // A file that was compressed as it was rotated holds the records that the empty live file lost.
            let rotated = self.rotated()?;
            let compressed = live_is_empty && !(rotated.compressed.is_empty() && rotated.packed.is_empty());
            return Ok(Some(if compressed { unchecked } else { missing }));
        }
        let mut left_bytes = SEARCHED_BYTES;
        let mut searched = search(&self.live, expected, &mut left_bytes)?;
        if searched == Search::NotReached {
            for segment in self.rotated()?.files.iter().rev() {
                searched = search(segment, expected, &mut left_bytes)?;
                if searched != Search::NotReached {
                    break;
                }
            }
        }
        Ok(match searched {
            Search::Found => None,
            Search::Another => Some(missing),
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
fn search(segment: &Segment, expected: Head, left_bytes: &mut u64) -> Result<Search, AuditError> {
    let read = |error: io::Error| AuditError::at("read", &segment.path)(error);
    let Some(tip) = segment.tip.filter(|_| *left_bytes > 0) else { return Ok(Search::NotReached) };
    let mut lines = Backward::new(&segment.file, tip.offset + u64::from(tip.length_bytes));
    while let Some((_, line)) = lines.next().map_err(read)? {
        match Line::of(&line) {
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
