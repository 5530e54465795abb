//! State files: what is remembered between runs.
//!
//! Hazard: a state file that was torn or tampered with must not be believed. Each is two lines: a header with the
//! SHA-256 of the second and the file's own path, and the value. What does not check is reported as damaged, and the caller decides what its
//! loss means; it never means that something may be deleted.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::encryption::{Keys, Recipients};
use super::{Repository, layout};
use crate::core::{Digest, SetName};
use crate::storage::{Durability, Storage, StorageError, StorageErrorKind, StoragePath};

const VERSION: u32 = 1;
const MAX_STATE_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    /// The file's own path: one that was moved to another's place says nothing there.
    path: String,
    sha256: Digest,
    /// Whether the value is an age file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    encrypted: bool,
}

/// What is in a state file.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded<T> {
    /// There is none.
    Absent,
    /// There is one, and it cannot be believed: why, in a few words.
    Damaged(String),
    /// Its value.
    Value(T),
}

impl<T> Loaded<T> {
    /// The value, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Damaged(_) => None,
        }
    }
}

/// Reads a state file. Only a failure to read it is an error; one that none of `keys` opens is as good as damaged.
pub(super) fn load<T: DeserializeOwned>(
    storage: &dyn Storage,
    keys: &Keys,
    path: &StoragePath,
) -> Result<Loaded<T>, StorageError> {
    // Some hold a key, which is not to stay in memory.
    let bytes = match storage.read(path, MAX_STATE_BYTES) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(Loaded::Absent),
        Err(error) => return Err(error),
    };
    Ok(parse(path, keys, &bytes).map_or_else(|fault| Loaded::Damaged(fault.to_owned()), Loaded::Value))
}

/// Reads a state file of the whole repository in `storage`, whatever state that is in; `name` is a plain word.
pub fn load_from<T: DeserializeOwned>(
    storage: &dyn Storage,
    keys: &Keys,
    name: &'static str,
) -> Result<Loaded<T>, StorageError> {
    load(storage, keys, &layout::state(name))
}

impl Repository {
    /// What a state file of the whole repository says; `name` is a plain word.
    pub fn load_state<T: DeserializeOwned>(&self, name: &'static str) -> Result<Loaded<T>, StorageError> {
        load(self.storage.as_ref(), &self.keys(), &layout::state(name))
    }

    /// Replaces a state file of the whole repository; `name` is a plain word.
    pub fn save_state<T: Serialize>(
        &self,
        name: &'static str,
        value: &T,
        durability: Durability,
    ) -> Result<(), StorageError> {
        self.save(&layout::state(name), value, None, durability)
    }

    /// The same for a value that names files or shows what they hold: encrypted where backups are, and not written where they
    /// should be and cannot.
    pub fn save_private_state<T: Serialize>(
        &self,
        name: &'static str,
        value: &T,
        durability: Durability,
    ) -> Result<(), StorageError> {
        self.save_private(&layout::state(name), value, durability)
    }

    /// What a set's state file says; `name` is a plain word.
    pub fn load_set_state<T: DeserializeOwned>(
        &self,
        name: &'static str,
        set: &SetName,
    ) -> Result<Loaded<T>, StorageError> {
        load(self.storage.as_ref(), &self.keys(), &layout::set_state(name, set))
    }

    /// Replaces a set's state file; `name` is a plain word.
    pub fn save_set_state<T: Serialize>(
        &self,
        name: &'static str,
        set: &SetName,
        value: &T,
        durability: Durability,
    ) -> Result<(), StorageError> {
        self.save(&layout::set_state(name, set), value, None, durability)
    }

    /// The same for a value that names files or shows what they hold: see [`Repository::save_private_state`].
    pub fn save_private_set_state<T: Serialize>(
        &self,
        name: &'static str,
        set: &SetName,
        value: &T,
        durability: Durability,
    ) -> Result<(), StorageError> {
        self.save_private(&layout::set_state(name, set), value, durability)
    }

    fn save_private<T: Serialize>(
        &self,
        path: &StoragePath,
        value: &T,
        durability: Durability,
    ) -> Result<(), StorageError> {
        let keys = self.keys();
        match keys.recipients() {
            None if keys.is_secret() => Ok(()),
            recipients => self.save(path, value, recipients, durability),
        }
    }

    fn save<T: Serialize>(
        &self,
        path: &StoragePath,
        value: &T,
        recipients: Option<&Recipients>,
        durability: Durability,
    ) -> Result<(), StorageError> {
        if self.is_vacant() {
            let why = io::Error::other("the repository is not in its place");
            return Err(StorageError::new("write", format!("{}/{path}", self.location()), why));
        }
        let bytes =
            render(path, value, recipients).map_err(|error| StorageError::new("write", path.as_str(), error))?;
        match durability {
            Durability::Durable => self.replace_at_all_costs(path, &bytes),
            Durability::Lazy => self.storage.replace(path, &bytes, durability),
        }
    }
}

/// The bytes of the state file at `path` that says `value`, to these recipients only where there are any.
fn render<T: Serialize>(
    path: &StoragePath,
    value: &T,
    recipients: Option<&Recipients>,
) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let value = Zeroizing::new(serde_json::to_vec(value)?);
    let value = match recipients {
        Some(recipients) => Zeroizing::new(recipients.seal(&value)?),
        None => value,
    };
    let encrypted = recipients.is_some();
    let header = Header { version: VERSION, path: path.to_string(), sha256: Digest::of(&value), encrypted };
    let mut bytes = Zeroizing::new(serde_json::to_vec(&header)?);
    bytes.push(b'\n');
    bytes.extend_from_slice(&value);
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(path: &StoragePath, keys: &Keys, bytes: &[u8]) -> Result<T, &'static str> {
    let newline = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no header")?;
    let (header, value) = (&bytes[..newline], &bytes[newline + 1..]);
    let header: Header = serde_json::from_slice(header).map_err(|_| "its header is no header")?;
    if header.version != VERSION {
        return Err("it is of another version");
    }
    if header.path != path.as_str() {
        return Err("it belongs elsewhere");
    }
    if header.sha256 != Digest::of(value) {
        return Err("its content does not hash to what its header says");
    }
    let opened = if header.encrypted { Some(keys.open(value).map_err(|_| "it is encrypted")?) } else { None };
    serde_json::from_slice(opened.as_deref().unwrap_or(value)).map_err(|_| "its content is not what belongs there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_altered_dropped_or_added_byte_is_damage() {
        let path = StoragePath::new("state/x.json").unwrap();
        let bytes = render(&path, &vec![1, 2, 3], None).unwrap();
        assert_eq!(parse(&path, &Keys::default(), &bytes), Ok(vec![1, 2, 3]));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(parse::<Vec<u32>>(&path, &Keys::default(), &flipped).is_err(), "flip {at}");
            assert!(parse::<Vec<u32>>(&path, &Keys::default(), &bytes[..at]).is_err(), "cut {at}");
        }
        assert!(parse::<Vec<u32>>(&path, &Keys::default(), &[&bytes[..], b" "].concat()).is_err());
        assert!(parse::<String>(&path, &Keys::default(), &bytes).is_err());
        assert!(parse::<Vec<u32>>(&StoragePath::new("state/y.json").unwrap(), &Keys::default(), &bytes).is_err());
    }
}
