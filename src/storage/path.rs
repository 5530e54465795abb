//! Paths inside a repository.
//!
//! Hazard: a name taken from a manifest or a directory listing must never lead outside. A [`StoragePath`] is a
//! sequence of plain segments and cannot say `..`.

use std::fmt;

/// A relative path of segments of `[A-Za-z0-9_.-]`, none starting with a dot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoragePath(String);

/// Why a text is not a storage path.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is no storage path")]
pub struct StoragePathError(String);

impl StoragePath {
    /// The path that `text` says.
    pub fn new(text: impl Into<String>) -> Result<Self, StoragePathError> {
        let text = text.into();
        if text.split('/').all(is_segment) { Ok(Self(text)) } else { Err(StoragePathError(text)) }
    }

    /// The top directory.
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// `name` inside this directory.
    pub fn join(&self, name: &str) -> Result<Self, StoragePathError> {
        if self.0.is_empty() { Self::new(name) } else { Self::new(format!("{}/{name}", self.0)) }
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory and the name; the directory is `None` at the top.
    pub fn split(&self) -> (Option<Self>, &str) {
        match self.0.rsplit_once('/') {
            Some((directory, name)) => (Some(Self(directory.to_owned())), name),
            None => (None, &self.0),
        }
    }
}

/// Whether a file or directory of this name may be in a repository.
pub(super) fn is_segment(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

impl fmt::Display for StoragePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_segments_make_a_path() {
        for good in ["lock", "objects/ab/abcd", "manifests/a-b_c/x.json"] {
            assert_eq!(StoragePath::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "a b", "a\0b", "é"] {
            assert!(StoragePath::new(bad).is_err(), "{bad}");
        }
    }
}
