//! What is said of a backup: its kind, its state, its place in the order.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// Orders the backups of one set; the clock never does. The first backup of a set has 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The sequence of a set's first backup.
    pub const FIRST: Self = Self(1);

    /// The one after this.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One unbroken history of a repository by one writer; the order of backups is `(timeline, sequence)`. The term and the
/// idea are PostgreSQL's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timeline(pub u32);

impl Timeline {
    /// The timeline that every repository begins on.
    pub const FIRST: Self = Self(1);
}

impl Default for Timeline {
    fn default() -> Self {
        Self::FIRST
    }
}

impl fmt::Display for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of a backup in the order of its set. Shown as `17`, and on a later timeline than the first as `2/17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The timeline that it was made on.
    pub timeline: Timeline,
    /// Its sequence there.
    pub sequence: Sequence,
}

impl Position {
    /// On the first timeline.
    pub const fn first(sequence: u64) -> Self {
        Self { timeline: Timeline::FIRST, sequence: Sequence(sequence) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.timeline {
            Timeline::FIRST => self.sequence.fmt(f),
            timeline => write!(f, "{timeline}/{}", self.sequence),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    /// From its text, or a number: the sequence on the first timeline.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Sequence(u64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Sequence(sequence) => Ok(Self::first(sequence)),
            Form::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

impl FromStr for Position {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        Ok(match text.split_once('/') {
            Some((timeline, sequence)) => {
                Self { timeline: Timeline(timeline.parse()?), sequence: Sequence(sequence.parse()?) }
            }
            None => Self::first(text.parse()?),
        })
    }
}

/// Why a backup was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupKind {
    /// Its time had come.
    Scheduled,
    /// Somebody asked for it.
    Manual,
    /// The live files as they were before a restore replaced them: may be partial or empty, never `latest`.
    PreRestore,
}

impl BackupKind {
    /// Whether it is a version of the set, rather than its live files as they were before a restore.
    pub const fn is_version(self) -> bool {
        !matches!(self, Self::PreRestore)
    }

    /// The name used in manifests, metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
            Self::PreRestore => "pre_restore",
        }
    }
}

impl fmt::Display for BackupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is known of a backup's bytes and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    /// Bytes verified and content valid.
    Good,
    /// Intact, but some content is invalid (a `.json` file that does not parse): kept, never counted as good.
    Suspect,
    /// Not read back yet.
    Unverified,
    /// Something it needs is absent or wrong, and could not be healed.
    Damaged,
}

impl BackupState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Good, Self::Suspect, Self::Unverified, Self::Damaged];

    /// The name used in metrics and documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Suspect => "suspect",
            Self::Unverified => "unverified",
            Self::Damaged => "damaged",
        }
    }
}

impl fmt::Display for BackupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_names_its_timeline_where_that_is_not_the_first() {
        let later = Position { timeline: Timeline(2), sequence: Sequence(17) };
        for (position, text) in [(Position::first(17), "17"), (later, "2/17")] {
            assert_eq!((position.to_string().as_str(), text.parse()), (text, Ok(position)));
            let json = serde_json::to_string(&position).unwrap();
            assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
        }
        assert_eq!(serde_json::from_str::<Position>("17").unwrap(), Position::first(17));
        assert!(["", "x", "1/", "/1", "1/2/3", "-1"].iter().all(|text| text.parse::<Position>().is_err()));
    }
}
