//! What commands are about, as it is typed.
//!
//! Hazard: a name that climbs out of a path or an address. What is no name and no id is refused here, before anything is
//! opened or sent.

use std::str::FromStr;

use crate::api::MAX_LIST;
use crate::core::backup_id::BackupIdSyntax;
use crate::core::set_name::SetNameError;
use crate::core::{BackupRef, SetName};

/// What a backup is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// The live files.
    Live,
    /// Another backup.
    Backup(BackupRef),
}

impl FromStr for Against {
    type Err = BackupIdSyntax;

    fn from_str(text: &str) -> Result<Self, BackupIdSyntax> {
        if text == "live" { Ok(Self::Live) } else { text.parse().map(Self::Backup) }
    }
}

/// One set, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sets {
    /// Every enabled set.
    All,
    /// This one.
    One(SetName),
}

impl std::fmt::Display for Sets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::One(set) => set.fmt(f),
        }
    }
}

impl FromStr for Sets {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<Self, SetNameError> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// A damaged backup, or a lost one; in the form in which the API takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgettable(pub String);

impl FromStr for Forgettable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let checked = match text.split_once(':') {
            Some((set, sequence)) => {
                set.parse::<SetName>().map_err(|error| error.to_string())?;
                sequence.parse::<u64>().map(drop).map_err(|_| "give a lost backup as SET:SEQUENCE".to_owned())
            }
            None => text.parse::<BackupRef>().map(drop).map_err(|error| error.to_string()),
        };
        checked.map(|()| Self(text.to_owned()))
    }
}

/// How many are to be listed at most.
pub fn page_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (1..=MAX_LIST).contains(size));
    size.ok_or_else(|| format!("give a whole number from 1 to {MAX_LIST}"))
}
