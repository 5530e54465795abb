//! Backup ids, and the ways people refer to a backup.
//!
//! Hazard: an id arrives in URLs and file names. Only the exact form is accepted, so an id can never name anything
//! but a manifest.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::Digest;

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const TIME_LENGTH: usize = 16;
const HASH_BYTES: usize = 16;
/// Of a backup of format 1.
const SHORT_HASH_BYTES: usize = 4;
const ID_LENGTH: usize = TIME_LENGTH + 1 + 2 * HASH_BYTES;
const SHORT_ID_LENGTH: usize = TIME_LENGTH + 1 + 2 * SHORT_HASH_BYTES;

/// The UTC second of creation and the beginning of the manifest file's SHA-256: 32 digits of it, which nobody can
/// choose, or 8 in the name of a backup of format 1: `20261123T101500Z-3f9c2ab1`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId {
    created: DateTime<Utc>,
    manifest: [u8; HASH_BYTES],
    is_short: bool,
}

/// Why a text is not a backup id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no backup id: expected the form 20261123T101500Z-3f9c2ab1, or a unique beginning of it")]
pub struct BackupIdSyntax(String);

impl BackupIdSyntax {
    fn of(text: &str) -> Self {
        // Shown shortened: the text may come from anywhere.
        Self(text.chars().take(48).collect())
    }
}

impl BackupId {
    /// The id of the manifest with this hash, created at `created` (kept to the second; years 0000 to 9999).
    pub fn new(created: DateTime<Utc>, manifest: Digest) -> Self {
        let mut beginning = [0; HASH_BYTES];
        beginning.copy_from_slice(&manifest.as_bytes()[..HASH_BYTES]);
        Self { created: created.trunc_subsecs(0), manifest: beginning, is_short: false }
    }

    /// The id that the manifest has in format 1.
    pub fn of_format_1(created: DateTime<Utc>, manifest: Digest) -> Self {
        let mut id = Self::new(created, manifest);
        id.manifest[SHORT_HASH_BYTES..].fill(0);
        id.is_short = true;
        id
    }

    /// Whether it is the id of a backup of format 1.
    pub const fn is_of_format_1(&self) -> bool {
        self.is_short
    }

    /// The beginning of the id that is shown in tables, where a whole one has no room: enough to tell a backup from any
    /// other of the same second that was not made to be mistaken for it.
    pub fn shortened(&self) -> String {
        let mut text = self.to_string();
        text.truncate(SHORT_ID_LENGTH);
        text
    }

    const fn hash_bytes(&self) -> usize {
        if self.is_short { SHORT_HASH_BYTES } else { HASH_BYTES }
    }

    /// The second it was created in, UTC, as the clock then told it.
    pub const fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// Whether a manifest file with this hash may bear this id.
    pub fn binds(&self, manifest: Digest) -> bool {
        manifest.as_bytes().starts_with(&self.manifest[..self.hash_bytes()])
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = base16ct::lower::encode_string(&self.manifest[..self.hash_bytes()]);
        f.pad(&format!("{}-{hash}", self.created.format(TIME_FORMAT)))
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for BackupId {
    type Err = BackupIdSyntax;

    fn from_str(text: &str) -> Result<Self, BackupIdSyntax> {
        let syntax = || BackupIdSyntax::of(text);
        let is_short = text.len() == SHORT_ID_LENGTH;
        if !is_short && text.len() != ID_LENGTH || !is_beginning_of_an_id(text) {
            return Err(syntax());
        }
        let (time, hash) = text.split_at(TIME_LENGTH);
        let created = NaiveDateTime::parse_from_str(time, TIME_FORMAT).map_err(|_| syntax())?.and_utc();
        let mut manifest = [0; HASH_BYTES];
        base16ct::lower::decode(&hash[1..], &mut manifest).map_err(|_| syntax())?;
        // A leap second parses to a fraction of a second: not an id we ever made.
        if created.timestamp_subsec_nanos() == 0 { Ok(Self { created, manifest, is_short }) } else { Err(syntax()) }
    }
}

impl TryFrom<String> for BackupId {
    type Error = BackupIdSyntax;

    fn try_from(text: String) -> Result<Self, BackupIdSyntax> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.to_string()
    }
}

/// Whether `text` could be completed to an id.
fn is_beginning_of_an_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= ID_LENGTH
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            16 => byte == b'-',
            0..=14 => byte.is_ascii_digit(),
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

/// How somebody names a backup: in full, by a unique beginning, or as `latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupRef {
    /// The good `scheduled` or `manual` backup with the highest sequence; only where the set is known.
    Latest,
    /// A whole id, or the beginning of one.
    Prefix(String),
}

impl BackupRef {
    /// Whether `id` is meant by this beginning; never by `latest`.
    pub fn matches(&self, id: &BackupId) -> bool {
        match self {
            Self::Latest => false,
            Self::Prefix(prefix) => id.to_string().starts_with(prefix),
        }
    }
}

impl From<BackupId> for BackupRef {
    fn from(id: BackupId) -> Self {
        Self::Prefix(id.to_string())
    }
}

impl fmt::Display for BackupRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.pad("latest"),
            Self::Prefix(prefix) => f.pad(prefix),
        }
    }
}

impl FromStr for BackupRef {
    type Err = BackupIdSyntax;

    fn from_str(text: &str) -> Result<Self, BackupIdSyntax> {
        match text {
            "latest" => Ok(Self::Latest),
            _ if is_beginning_of_an_id(text) => Ok(Self::Prefix(text.to_owned())),
            _ => Err(BackupIdSyntax::of(text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "20261123T101500Z-3f9c2ab1";

    #[test]
    fn an_id_reads_back_as_written_in_both_lengths() {
        let long = format!("{TEXT}0123456789abcdef01234567");
        let (short_id, long_id): (BackupId, BackupId) = (TEXT.parse().unwrap(), long.parse().unwrap());
        assert_eq!((long_id.to_string(), long_id.shortened()), (long.clone(), TEXT.to_owned()));
        assert!(short_id != long_id && short_id.is_of_format_1() && !long_id.is_of_format_1());
        let prefix: BackupRef = TEXT.parse().unwrap();
        assert!(prefix.matches(&short_id) && prefix.matches(&long_id));
        assert!(long.parse::<BackupRef>().unwrap().matches(&long_id));
        let id: BackupId = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.created().to_rfc3339(), "2026-11-23T10:15:00+00:00");
    }

    #[test]
    fn an_id_is_bound_to_its_manifest() {
        let digest = Digest::of(b"manifest");
        let id = BackupId::new(DateTime::UNIX_EPOCH, digest);
        assert!(id.binds(digest) && BackupId::of_format_1(DateTime::UNIX_EPOCH, digest).binds(digest));
        assert!(!id.binds(Digest::of(b"another")));
        let mut begins_alike = *digest.as_bytes();
        begins_alike[15] ^= 1;
        assert!(!id.binds(Digest::from_bytes(begins_alike)), "the 32nd digit counts");
    }

    #[test]
    fn nothing_but_the_exact_form_is_an_id() {
        for text in [
            "",
            "latest",
            "20261123T101500Z-3f9c2ab",
            "20261123T101500Z-3f9c2ab11",
            "20261123T101500Z-3f9c2ab10123456789abcdef012345678",
            "20261123T101500Z-3F9C2AB1",
            "20261323T101500Z-3f9c2ab1",
            "20261123T101560Z-3f9c2ab1",
            "../../../etc/passwd000000",
            "20261123T101500Z/3f9c2ab1",
            "+0261123T101500Z-+f9c2ab1",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_reference_is_latest_or_a_beginning() {
        let id: BackupId = TEXT.parse().unwrap();
        assert_eq!("latest".parse(), Ok(BackupRef::Latest));
        assert!("202611".parse::<BackupRef>().unwrap().matches(&id));
        assert!(TEXT.parse::<BackupRef>().unwrap().matches(&id));
        assert!(!"202612".parse::<BackupRef>().unwrap().matches(&id));
        assert!(["", "x", "..", "2026-11"].iter().all(|t| t.parse::<BackupRef>().is_err()));
    }
}
