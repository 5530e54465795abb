//! Names of backup sets.
//!
//! Hazard: a name becomes a directory and a URL segment; one that could climb out of the repository or shadow a
//! route must not exist. A [`SetName`] cannot hold such a name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Names that mean something else in a URL or a command.
pub const RESERVED: [&str; 7] = ["list", "latest", "enter", "plan", "apply", "exit", "all"];

/// The longest name, in bytes.
pub const MAX_LENGTH: usize = 32;

/// The name of a backup set: `[a-z][a-z0-9_-]{0,31}`, none of [`RESERVED`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(String);

/// Why a text cannot name a set.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SetNameError {
    /// It does not have the form of a name.
    #[error("{0:?} is no set name: use 1 to 32 of a-z, 0-9, _ and -, starting with a letter")]
    Form(String),
    /// The name means something else.
    #[error("{0:?} is reserved: choose another set name")]
    Reserved(String),
}

impl SetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SetName {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<Self, SetNameError> {
        let well_formed = text.len() <= MAX_LENGTH
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !well_formed {
            // Shown shortened: the text may come from anywhere.
            return Err(SetNameError::Form(text.chars().take(48).collect()));
        }
        if RESERVED.contains(&text) {
            return Err(SetNameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for SetName {
    type Error = SetNameError;

    fn try_from(text: String) -> Result<Self, SetNameError> {
        text.parse()
    }
}

impl From<SetName> for String {
    fn from(name: SetName) -> Self {
        name.0
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_lower_case_word() {
        for good in ["a", "security", "db-1", "x_2", &"a".repeat(32)] {
            assert_eq!(good.parse::<SetName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "1a", "A", "a.b", "..", "a/b", "-a", "é", "a b", &"a".repeat(33)] {
            assert!(matches!(bad.parse::<SetName>(), Err(SetNameError::Form(_))), "{bad}");
        }
    }

    #[test]
    fn a_word_of_the_api_is_no_name() {
        for word in RESERVED {
            assert_eq!(word.parse::<SetName>(), Err(SetNameError::Reserved(word.to_owned())));
        }
    }
}
