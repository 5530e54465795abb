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
const ID_LENGTH: usize = TIME_LENGTH + 1 + 8;

/// `20261123T101500Z-3f9c2ab1`: the UTC second of creation and the first 8 digits of the manifest file's SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId {
    created: DateTime<Utc>,
    manifest: [u8; 4],
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
        let [a, b, c, d, ..] = *manifest.as_bytes();
        Self { created: created.trunc_subsecs(0), manifest: [a, b, c, d] }
    }

    /// The second it was created in, UTC, as the clock then told it.
    pub const fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// Whether a manifest file with this hash may bear this id.
    pub fn binds(&self, manifest: Digest) -> bool {
        manifest.as_bytes().starts_with(&self.manifest)
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}-{:08x}", self.created.format(TIME_FORMAT), u32::from_be_bytes(self.manifest));
        f.pad(&text)
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
        if text.len() != ID_LENGTH || !is_beginning_of_an_id(text) {
            return Err(syntax());
        }
        let (time, hash) = text.split_at(TIME_LENGTH);
        let created = NaiveDateTime::parse_from_str(time, TIME_FORMAT).map_err(|_| syntax())?.and_utc();
        let manifest = u32::from_str_radix(&hash[1..], 16).map_err(|_| syntax())?.to_be_bytes();
        // A leap second parses to a fraction of a second: not an id we ever made.
        if created.timestamp_subsec_nanos() == 0 { Ok(Self { created, manifest }) } else { Err(syntax()) }
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
    fn an_id_reads_back_as_written() {
        let id: BackupId = TEXT.parse().unwrap();
        assert_eq!(id.to_string(), TEXT);
        assert_eq!(id.created().to_rfc3339(), "2026-11-23T10:15:00+00:00");
    }

    #[test]
    fn an_id_is_bound_to_its_manifest() {
        let digest = Digest::of(b"manifest");
        let id = BackupId::new(DateTime::UNIX_EPOCH, digest);
        assert!(id.binds(digest));
        assert!(!id.binds(Digest::of(b"another")));
    }

    #[test]
    fn nothing_but_the_exact_form_is_an_id() {
        for text in [
            "",
            "latest",
            "20261123T101500Z-3f9c2ab",
            "20261123T101500Z-3f9c2ab11",
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
