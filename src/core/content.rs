//! What a file's name and bytes say of its content.
//!
//! Hazard: a truncated or mangled configuration file backs up and restores perfectly, and helps nobody. Content is
//! judged when it is captured, and again when it is restored.

use serde::{Deserialize, Serialize};

/// Whether a set's files are expected to parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Validation {
    /// `.json` files must be one JSON document.
    #[default]
    Json,
    /// Nothing is expected of the content.
    None,
}

/// What a set holds. The settings say it; the name of a file never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SetKind {
    /// Files that are replaced or edited: a copy of one that changed while it was read is no copy.
    #[default]
    Files,
    /// Logs, which grow at their end and are rotated: growth while one is read is no change.
    Logs,
}

impl SetKind {
    /// Whether its files are logs.
    pub const fn is_logs(self) -> bool {
        matches!(self, Self::Logs)
    }
}

/// How compressed files begin: gzip, xz, zstd, bzip2. Cut short, they are worth nothing.
const COMPRESSED: [&[u8]; 4] = [&[0x1f, 0x8b], b"\xfd7zXZ\0", &[0x28, 0xb5, 0x2f, 0xfd], b"BZh"];

/// Whether content that begins like this is compressed.
pub fn is_compressed(beginning: &[u8]) -> bool {
    COMPRESSED.iter().any(|magic| beginning.starts_with(magic))
}

/// Whether `validation` expects something of this file's content.
pub fn is_validated(path: &str, validation: Validation) -> bool {
    validation == Validation::Json && path.ends_with(".json")
}

/// Why `content` is not one JSON document, on one line; `None` if it is.
pub fn json_fault(content: &[u8]) -> Option<String> {
    serde_json::from_slice::<serde::de::IgnoredAny>(content).err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_content_is_told_by_how_it_begins() {
        for compressed in [&b"\x1f\x8b\x08"[..], b"\xfd7zXZ\0\0", b"\x28\xb5\x2f\xfd", b"BZh9"] {
            assert!(is_compressed(compressed), "{compressed:?}");
        }
        for other in [&b""[..], b"\x1f", b"2026-11-23 started\n", b"{\"a\": 1}"] {
            assert!(!is_compressed(other), "{other:?}");
        }
    }

    #[test]
    fn only_whole_json_documents_are_valid() {
        assert_eq!(json_fault(b"{\"a\": [1, 2]}\n"), None);
        for broken in ["", "{", "{} {}", "{\"a\": }", "\0"] {
            assert!(json_fault(broken.as_bytes()).is_some(), "{broken:?}");
        }
    }
}
