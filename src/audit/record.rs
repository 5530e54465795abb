//! What is recorded, and how one record is one line.
//!
//! Hazard: the chain is over bytes, so a record has exactly one spelling, a line must stay short enough to be written
//! and read back whole, and a line of ours must be told from everybody else's.

use std::io;

use chrono::{DateTime, SubsecRound, Utc};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::key::Key;
use crate::core::printable;
use crate::core::{BackupId, Digest, SetName};

/// The longest line, its newline included. Longer texts in a record are shortened, and say so.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

/// The event of the records that the log writes itself, to tell where and why a chain or a file of it starts.
pub const CHAIN_STARTED: &str = "ChainStarted";

/// The `prev` of the first record ever.
pub(super) const NOTHING_BEFORE: Digest = Digest::from_bytes([0; 32]);

/// How each line of ours begins.
const BEGINNING: &[u8] = b"{\"seq\":";
/// How each line of ours ends, but for the 64 digits and what closes them.
const ENDING: &[u8] = b",\"prev\":\"";
const ENDING_LENGTH: usize = ENDING.len() + 64 + b"\"}".len();
/// What stands in front of that in an authenticated record, but for the 64 digits and the quotation mark behind them.
const MAC: &[u8] = b",\"mac\":\"";
const MAC_LENGTH: usize = MAC.len() + 64 + b"\"".len();

/// The longest `principal` and `correlation_id`, which come from outside.
const MAX_NAME_BYTES: usize = 1024;
/// The limits tried in turn on each text in the details, until the line is short enough.
const TEXT_LIMITS_BYTES: [usize; 4] = [8192, 1024, 128, 16];

/// What is to be recorded, before it has a place in the chain.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub struct Entry {
    /// When it happened; kept to the millisecond.
    #[serde(with = "milliseconds")]
    pub timestamp: DateTime<Utc>,
    /// What happened: `BackupCompleted`.
    pub event: &'static str,
    /// The component that did it.
    pub actor: &'static str,
    /// Who asked for it: `scheduler`, `cli:1000`, the name of a token.
    pub principal: String,
    /// The backup set concerned.
    pub set: Option<SetName>,
    /// The backup concerned.
    pub backup_id: Option<BackupId>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else is worth knowing.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// What ties the records, log lines and answers of one operation together.
    pub correlation_id: String,
}

/// How a recorded event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// As it should.
    Success,
    /// It did not.
    Failure,
    /// Neither: a fact.
    Info,
}

/// A line of the log. The order of the fields is the order in the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AuditRecord)]
pub struct Record {
    /// Its place in the chain: 1, 2, 3…, over all files.
    pub seq: u64,
    /// RFC 3339, UTC, milliseconds.
    #[serde(with = "milliseconds")]
    pub timestamp: DateTime<Utc>,
    /// What happened: `BackupCompleted`.
    pub event: String,
    /// The component that did it.
    pub actor: String,
    /// Who asked for it: `scheduler`, `cli:1000`, the name of a token.
    pub principal: String,
    /// The backup set concerned.
    pub set: Option<SetName>,
    /// The backup concerned.
    pub backup_id: Option<BackupId>,
    /// How it ended.
    pub outcome: Outcome,
    /// What else is worth knowing.
    #[schema(value_type = Object)]
    pub details: Map<String, Value>,
    /// What ties the records, log lines and answers of one operation together.
    pub correlation_id: String,
    /// HMAC-SHA-256 of the line as it would be without this member and its newline. Records that earlier versions wrote have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub mac: Option<Digest>,
    /// SHA-256 of the previous record's line without its newline; 64 zeros for the first record.
    pub prev: Digest,
}

/// The last record of a chain: whoever remembers it elsewhere can tell whether anything up to it was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// SHA-256 of its line, without the newline.
    pub hash: Digest,
}

impl Record {
    /// The record that `entry` becomes after `previous`.
    pub(super) fn after(previous: Option<Head>, entry: &Entry) -> Self {
        Self {
            seq: previous.map_or(1, |head| head.seq.saturating_add(1)),
            timestamp: entry.timestamp.trunc_subsecs(3),
            event: entry.event.to_owned(),
            actor: entry.actor.to_owned(),
            principal: shortened(&entry.principal, MAX_NAME_BYTES),
            set: entry.set.clone(),
            backup_id: entry.backup_id,
            outcome: entry.outcome,
            details: entry.details.clone(),
            correlation_id: shortened(&entry.correlation_id, MAX_NAME_BYTES),
            mac: None,
            prev: previous.map_or(NOTHING_BEFORE, |head| head.hash),
        }
    }

    /// The same with another place in the chain.
    pub(super) fn moved_after(self, previous: Option<Head>) -> Self {
        Self {
            seq: previous.map_or(1, |head| head.seq.saturating_add(1)),
            prev: previous.map_or(NOTHING_BEFORE, |head| head.hash),
            ..self
        }
    }

    /// Its line with the newline, authenticated where there is a key, at most [`MAX_LINE_BYTES`]: texts in the details
    /// give way, and in the end all details.
    pub(super) fn into_line(mut self, key: Option<&Key>) -> serde_json::Result<Vec<u8>> {
        // The place is kept free: the digits come last.
        self.mac = key.map(|_| NOTHING_BEFORE);
        let mut line = self.shortened_line()?;
        if let Some(key) = key {
            authenticate(&mut line, key);
        }
        Ok(line)
    }

    fn shortened_line(&mut self) -> serde_json::Result<Vec<u8>> {
        let mut line = self.line()?;
        for limit_bytes in TEXT_LIMITS_BYTES {
            if line.len() <= MAX_LINE_BYTES {
                return Ok(line);
            }
            self.details.values_mut().for_each(|value| shorten_texts(value, limit_bytes));
            line = self.line()?;
        }
        if line.len() > MAX_LINE_BYTES {
            let length_bytes = line.len();
            self.details.clear();
            self.details.insert("shortened".to_owned(), format!("left out: a line of {length_bytes} bytes").into());
            line = self.line()?;
        }
        Ok(line)
    }

    fn line(&self) -> serde_json::Result<Vec<u8>> {
        let line = serde_json::to_string(self)?;
        Ok(format!("{}\n", printable::json(&line)).into_bytes())
    }
}

/// Puts its authentication into a line that has a place for it.
fn authenticate(line: &mut [u8], key: &Key) {
    let end = line.trim_ascii_end().len();
    let Some((parts, _)) = mac_of(&line[..end]) else { return };
    let (digits_at, mac) = (parts[0].len() + MAC.len(), key.mac(parts).to_string());
    line[digits_at..digits_at + mac.len()].copy_from_slice(mac.as_bytes());
}

/// The parts of a record's text that are authenticated, and their authentication; `None` where there is none.
fn mac_of(text: &[u8]) -> Option<([&[u8]; 2], Digest)> {
    let prev_at = text.len().checked_sub(ENDING_LENGTH)?;
    let mac_at = prev_at.checked_sub(MAC_LENGTH)?;
    let digits = text[mac_at..prev_at].strip_prefix(MAC)?.strip_suffix(b"\"")?;
    let mac = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(([&text[..mac_at], &text[prev_at..]], mac))
}

/// Records on their way to a file, each with its place in the chain.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) bytes: Vec<u8>,
    /// The head after each record.
    pub(super) heads: Vec<Head>,
    /// The length of the last line, without the newline.
    pub(super) last_length_bytes: u32,
}

impl Batch {
    /// The records that `entries` become after `previous`.
    pub fn after<'e>(
        previous: Option<Head>,
        entries: impl IntoIterator<Item = &'e Entry>,
        key: Option<&Key>,
    ) -> io::Result<Self> {
        let mut batch = Self::default();
        for entry in entries {
            let line = Record::after(batch.head().or(previous), entry).into_line(key)?;
            batch.push(&line);
        }
        Ok(batch)
    }

    /// Adds a record's line, with its newline.
    pub(super) fn push(&mut self, line: &[u8]) {
        let text = line.trim_ascii_end();
        if let Line::Own(link) = Line::of(text) {
            self.heads.push(link.head);
        }
        self.last_length_bytes = text.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(b'\n');
    }

    /// Their lines.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The number of the first; `None` if there is none.
    pub fn first_seq(&self) -> Option<u64> {
        self.heads.first().map(|head| head.seq)
    }

    /// The last.
    pub fn head(&self) -> Option<Head> {
        self.heads.last().copied()
    }
}

/// What a line of the file is to us.
#[derive(Debug)]
pub(super) enum Line<'a> {
    /// Nothing.
    Blank,
    /// Somebody else's.
    Foreign,
    /// It begins or ends as ours do, but is no whole record: torn by a crash, or altered.
    Broken,
    /// A record of ours.
    Own(Link<'a>),
}

/// What the chain needs of a record.
#[derive(Debug)]
pub(super) struct Link<'a> {
    /// Its number and hash.
    pub head: Head,
    /// The hash it gives for the record before it.
    pub prev: Digest,
    /// The record's text, without what somebody else wrote in front of it and without the newline.
    pub text: &'a [u8],
}

impl Link<'_> {
    /// The whole record; `None` if a field was altered into something that is none.
    pub fn record(&self) -> Option<Record> {
        serde_json::from_slice(self.text).ok()
    }

    /// What is authenticated, and by what; `None` where the record carries no authentication.
    pub fn mac(&self) -> Option<([&[u8]; 2], Digest)> {
        mac_of(self.text)
    }
}

/// The number that a broken line of ours claims to have, if that much of it is left.
pub(super) fn claimed_seq(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(BEGINNING)?.split(|byte| *byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl<'a> Line<'a> {
    /// Tells what `line`, without its newline, is.
    ///
    /// Another writer that writes a line in pieces may have written the first of them just before our record: then
    /// the record is the end of the line.
    pub fn of(line: &'a [u8]) -> Self {
        if line.is_empty() {
            return Self::Blank;
        }
        let ends_like_ours = line.len().checked_sub(ENDING_LENGTH).is_some_and(|at| line[at..].starts_with(ENDING));
        if ends_like_ours {
            let places = line.windows(BEGINNING.len()).enumerate().filter(|(_, text)| *text == BEGINNING);
            if let Some(link) = places.map(|(at, _)| &line[at..]).find_map(link) {
                return Self::Own(link);
            }
        }
        if ends_like_ours || line.starts_with(BEGINNING) { Self::Broken } else { Self::Foreign }
    }
}

/// The record that `text` is. Only what the chain needs is looked at, so that a field we do not know yet, or a name
/// that is no longer allowed, does not make an old record somebody else's line.
fn link(text: &[u8]) -> Option<Link<'_>> {
    #[derive(Deserialize)]
    struct Needed {
        seq: u64,
        prev: Digest,
        #[serde(rename = "event")]
        _event: IgnoredAny,
        #[serde(rename = "correlation_id")]
        _correlation_id: IgnoredAny,
    }
    let Needed { seq, prev, .. } = serde_json::from_slice(text).ok()?;
    Some(Link { head: Head { seq, hash: Digest::of(text) }, prev, text })
}

fn shorten_texts(value: &mut Value, limit_bytes: usize) {
    match value {
        Value::String(text) => *text = shortened(text, limit_bytes),
        Value::Array(values) => values.iter_mut().for_each(|value| shorten_texts(value, limit_bytes)),
        Value::Object(values) => values.values_mut().for_each(|value| shorten_texts(value, limit_bytes)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn shortened(text: &str, limit_bytes: usize) -> String {
    if text.len() <= limit_bytes {
        return text.to_owned();
    }
    format!("{}… [shortened from {} bytes]", &text[..text.floor_char_boundary(limit_bytes)], text.len())
}

mod milliseconds {
    use chrono::{DateTime, SecondsFormat, Utc};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        DateTime::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::entry;

    fn line_of(entry: &Entry) -> Vec<u8> {
        Record::after(None, entry).into_line(None).unwrap()
    }

    #[test]
    fn a_record_has_exactly_one_spelling() {
        let mut entry = entry("BackupCompleted");
        entry.set = Some("security".parse().unwrap());
        entry.backup_id = Some("20261123T101500Z-3f9c2ab1".parse().unwrap());
        entry.details.insert("files".to_owned(), 4.into());
        let expected = concat!(
            r#"{"seq":1,"timestamp":"1970-01-01T00:00:00.000Z","event":"BackupCompleted","actor":"archiver","#,
            r#""principal":"scheduler","set":"security","backup_id":"20261123T101500Z-3f9c2ab1","outcome":"success","#,
            r#""details":{"files":4},"correlation_id":"c-1","#,
            r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line_of(&entry)).unwrap(), expected);
    }

    #[test]
    fn a_line_reads_back_as_the_record_it_was() {
        let line = line_of(&entry("ServiceStarted"));
        let Line::Own(link) = Line::of(line.trim_ascii_end()) else { panic!("not ours") };
        assert_eq!(link.record(), Some(Record::after(None, &entry("ServiceStarted"))));
        assert_eq!(link.head.hash, Digest::of(line.trim_ascii_end()));
    }

    #[test]
    fn a_record_behind_a_piece_of_a_foreign_line_is_still_ours() {
        let line = line_of(&entry("ServiceStarted"));
        for piece in ["12:00 user logged", "{\"seq\":7,", "{\"seq\":7,\"details\":{\"seq\":8}}"] {
            let glued = [piece.as_bytes(), line.trim_ascii_end()].concat();
            let Line::Own(link) = Line::of(&glued) else { panic!("not ours behind {piece}") };
            assert_eq!(link.text, line.trim_ascii_end());
        }
    }

    #[test]
    fn no_entry_makes_a_line_longer_than_the_bound() {
        let long = "\u{1}é".repeat(200_000);
        let texts = Value::Array((0..3000).map(|_| Value::from("é".repeat(3000))).collect());
        let numbers = Value::Array((0..100_000).map(Value::from).collect());
        for (name, details) in [("text", long.clone().into()), ("texts", texts), ("numbers", numbers)] {
            let mut entry = entry("BackupFailed");
            entry.principal = long.clone();
            entry.correlation_id = long.clone();
            entry.details.insert("error".to_owned(), details);
            let line = line_of(&entry);
            assert!(line.len() <= MAX_LINE_BYTES, "{name}: {}", line.len());
            assert!(String::from_utf8(line.clone()).unwrap().contains("shortened"), "{name}");
            assert!(matches!(Line::of(line.trim_ascii_end()), Line::Own(_)), "{name}");
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        assert!(matches!(Line::of(b""), Line::Blank));
        assert!(matches!(Line::of(b"{\"event\":\"login\"}"), Line::Foreign));
        assert!(matches!(Line::of(b"{\"seq\":12,\"timest"), Line::Broken));
        let line = line_of(&entry("ServiceStarted"));
        assert!(matches!(Line::of(&line[1..line.len() - 1]), Line::Broken));
    }
}
