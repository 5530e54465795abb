//! What differs between two states of a file.
//!
//! Hazards: a diff that shows a secret; one that never ends; and one that shows every line as changed because the file
//! was formatted anew. JSON is compared key by key, other text line by line, both redacted and bounded.

mod json;
mod text;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::secrets::{Redactor, Secrets, is_secret_file};

/// The largest content that is compared in detail.
pub const MAX_BYTES: usize = 1 << 20;

/// The most lines that are compared, on either side.
const MAX_LINES: usize = 10_000;

/// The most differences that are told of a file: keys, or lines.
const MAX_TOLD: usize = 500;

/// The most characters that are told of a value or a line.
const MAX_CHARACTERS: usize = 200;

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "form", rename_all = "snake_case")]
pub enum Difference {
    /// Keys of a JSON document.
    Keys {
        /// Which, in the order of their paths.
        changes: Vec<KeyChange>,
        /// How many more there are.
        more: usize,
    },
    /// Lines, in the unified form.
    Lines {
        /// The lines.
        lines: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// Content that is not shown: why.
    Unshown {
        /// Why.
        reason: String,
    },
}

/// A key that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyChange {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole document.
    pub path: String,
    /// Its value before, as JSON; absent if it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Its value after; absent if it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// What differs between two contents of the file at `path` that are not the same, and how many secrets of theirs are
/// hidden. A file that was not there is empty.
pub fn difference(path: &str, before: &[u8], after: &[u8], secrets: Secrets) -> (Difference, usize) {
    let mut redactor = Redactor::new(secrets);
    let difference = compare(is_secret_file(path), before, after, &mut redactor);
    (difference, redactor.count())
}

fn compare(is_secret: bool, before: &[u8], after: &[u8], redactor: &mut Redactor) -> Difference {
    if before.len().max(after.len()) > MAX_BYTES {
        return unshown(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    }
    let parse = |content: &[u8]| serde_json::from_slice::<serde_json::Value>(content).ok();
    if let (Some(before), Some(after)) = (parse(before), parse(after)) {
        let keys = json::compare(is_secret, &before, &after, redactor);
        // Else it was only formatted anew, and what differs is the text.
        if !matches!(&keys, Difference::Keys { changes, .. } if changes.is_empty()) {
            return keys;
        }
    }
    match (std::str::from_utf8(before), std::str::from_utf8(after)) {
        (Ok(before), Ok(after)) if !before.contains('\0') && !after.contains('\0') => {
            text::compare(is_secret, before, after, redactor)
        }
        _ => unshown(format!("it is no text: {} bytes before, {} after", before.len(), after.len())),
    }
}

fn unshown(reason: String) -> Difference {
    Difference::Unshown { reason }
}

/// The beginning of a text that may be endless.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(before: &[u8], after: &[u8]) -> Difference {
        super::difference("a", before, after, Secrets::Hidden).0
    }

    #[test]
    fn documents_are_compared_by_key_and_everything_else_by_line() {
        assert!(matches!(difference(b"{\"a\": 1}", b"{\"a\": 2}"), Difference::Keys { .. }));
        assert!(matches!(difference(b"{\"a\": 1}", b"{\"a\": "), Difference::Lines { .. }));
        assert!(matches!(difference(b"a", b""), Difference::Lines { .. }));
        assert!(matches!(difference(b"{\"a\":1}", b"{ \"a\": 1 }"), Difference::Lines { .. }), "formatted anew");
    }

    #[test]
    fn what_is_no_text_or_too_much_is_not_shown() {
        assert!(matches!(difference(b"\0", b"a"), Difference::Unshown { .. }));
        assert!(matches!(difference(b"\xff", b"a"), Difference::Unshown { .. }));
        assert!(matches!(difference(&vec![b'a'; MAX_BYTES + 1], b"a"), Difference::Unshown { .. }));
        let lines = "a\n".repeat(MAX_LINES + 1);
        assert!(matches!(difference(lines.as_bytes(), b"b"), Difference::Unshown { .. }));
    }
}
