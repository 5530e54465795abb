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

/// Whether a file is a log by its name: `x.log`, `x.jsonl`, and their rotated segments (`x.log.1`, `x.log-20261123`).
///
/// A log only grows: growth during capture is no change, and a copy of it ends at its last whole line.
pub fn is_log(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    [".log", ".jsonl"].iter().any(|ending| match name.split_once(ending) {
        Some((stem, rest)) => !stem.is_empty() && (rest.is_empty() || rest.starts_with(['.', '-'])),
        None => false,
    })
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
    fn logs_are_told_by_their_names() {
        for log in ["error.log", "a/error.log", "error.log.1", "error.log-20261123", "audit.jsonl", "error.log.2.gz"] {
            assert!(is_log(log), "{log}");
        }
        for other in ["app_config.json", "catalog", ".log", "a.log/b.json", "error.logger"] {
            assert!(!is_log(other), "{other}");
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
