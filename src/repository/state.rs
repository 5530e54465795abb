//! State files: what is remembered between runs.
//!
//! Hazard: a state file that was torn or tampered with must not be believed. Each is two lines: a header with the
//! SHA-256 of the second, and the value. What does not check is reported as damaged, and the caller decides what its
//! loss means; it never means that something may be deleted.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::core::Digest;
use crate::storage::{Durability, Storage, StorageError, StorageErrorKind, StoragePath};

const VERSION: u32 = 1;
const MAX_STATE_BYTES: u64 = 64 << 20;

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    sha256: Digest,
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

/// Reads a state file. Only a failure to read it is an error.
pub fn load<T: DeserializeOwned>(storage: &dyn Storage, path: &StoragePath) -> Result<Loaded<T>, StorageError> {
    let bytes = match storage.read(path, MAX_STATE_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind == StorageErrorKind::NotFound => return Ok(Loaded::Absent),
        Err(error) => return Err(error),
    };
    Ok(parse(&bytes).map_or_else(|fault| Loaded::Damaged(fault.to_owned()), Loaded::Value))
}

/// Replaces a state file.
pub fn save<T: Serialize>(
    storage: &dyn Storage,
    path: &StoragePath,
    value: &T,
    durability: Durability,
) -> Result<(), StorageError> {
    let bytes = render(value).map_err(|error| StorageError::new("write", path.as_str(), error.into()))?;
    storage.replace(path, &bytes, durability)
}

fn render<T: Serialize>(value: &T) -> serde_json::Result<Vec<u8>> {
    let value = serde_json::to_vec(value)?;
    let mut bytes = serde_json::to_vec(&Header { version: VERSION, sha256: Digest::of(&value) })?;
    bytes.push(b'\n');
    bytes.extend_from_slice(&value);
    Ok(bytes)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, &'static str> {
    let newline = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no header")?;
    let (header, value) = (&bytes[..newline], &bytes[newline + 1..]);
    let header: Header = serde_json::from_slice(header).map_err(|_| "its header is no header")?;
    if header.version != VERSION {
        return Err("it is of another version");
    }
    if header.sha256 != Digest::of(value) {
        return Err("its content does not hash to what its header says");
    }
    serde_json::from_slice(value).map_err(|_| "its content is not what belongs there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_altered_dropped_or_added_byte_is_damage() {
        let bytes = render(&vec![1, 2, 3]).unwrap();
        assert_eq!(parse(&bytes), Ok(vec![1, 2, 3]));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(parse::<Vec<u32>>(&flipped).is_err(), "flip {at}");
            assert!(parse::<Vec<u32>>(&bytes[..at]).is_err(), "cut {at}");
        }
        assert!(parse::<Vec<u32>>(&[&bytes[..], b" "].concat()).is_err());
        assert!(parse::<String>(&bytes).is_err());
    }
}
