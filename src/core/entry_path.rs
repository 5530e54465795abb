//! Paths of entries, and other names that are bytes, as text.
//!
//! Hazard: a file name is any bytes but NUL and `/`; JSON, terminals and URLs take text. A lossy conversion gives two
//! files one name, or restores a file under another. This one is reversible: UTF-8 stands as it is; a backslash is `\\`;
//! every byte that is no UTF-8, and every ASCII control character, is `\0` and three octal digits, which is what
//! `printf %b` (POSIX) undoes. So the text is one line, and no two byte strings share one.

use std::borrow::{Borrow, Cow};
use std::ffi::OsString;
use std::fmt;
use std::ops::Deref;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The longest path of an entry, in bytes, the longest of its segments, and the most segments it has.
pub const MAX_PATH_BYTES: usize = 4096;
/// The longest segment.
pub const MAX_SEGMENT_BYTES: usize = 255;
/// The most segments.
pub const MAX_PATH_SEGMENTS: usize = 128;

/// The text of bytes: see the head of this file.
pub fn escape(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(bytes.len());
    // Writing to a string never fails.
    let octal = |text: &mut String, byte: u8| _ = write!(text, "\\0{byte:03o}");
    for part in bytes.utf8_chunks() {
        for character in part.valid().chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                control if control.is_ascii_control() => octal(&mut text, control as u8),
                other => text.push(other),
            }
        }
        part.invalid().iter().for_each(|byte| octal(&mut text, *byte));
    }
    text
}

/// The bytes that a text stands for; `None` if [`escape`] does not write it.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let bytes = unescape_any(text)?;
    // One text for each byte string, or two entries could have one path.
    (escape(&bytes) == text).then_some(bytes)
}

fn unescape_any(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'\\', [b'\\', after @ ..]) => {
                bytes.push(b'\\');
                rest = after;
            }
            (b'\\', [b'0', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            (b'\\', _) => return None,
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(bytes)
}

/// The path of an entry below the source of its set, in its text form.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryPath(String);

impl EntryPath {
    /// The path that these bytes are.
    pub fn from_bytes(path: &[u8]) -> Self {
        Self(escape(path))
    }

    /// The path that this text stands for. What is no text form has no bytes, and is refused as unsafe.
    pub fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes, as a file system takes them; as they stand if the text is no text form.
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        bytes_of(&self.0)
    }

    /// The path, as a file system takes it.
    pub fn to_path(&self) -> PathBuf {
        path_of(&self.0)
    }

    /// Whether it may be an entry of a set: relative, of plain segments, leading nowhere else, within the limits.
    pub fn is_safe(&self) -> bool {
        is_safe_text(&self.0)
    }
}

/// The bytes that the text of a path stands for; as they stand if it is no text form.
pub fn bytes_of(text: &str) -> Cow<'_, [u8]> {
    if !text.contains('\\') {
        return Cow::Borrowed(text.as_bytes());
    }
    unescape(text).map_or(Cow::Borrowed(text.as_bytes()), Cow::Owned)
}

/// The path, as a file system takes it, that a text stands for.
pub fn path_of(text: &str) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes_of(text).into_owned()))
}

/// Whether a text is the path of an entry: see [`EntryPath::is_safe`].
pub fn is_safe_text(text: &str) -> bool {
    unescape(text).is_some_and(|bytes| is_safe_path(&bytes))
}

/// Whether these bytes may be the path of an entry.
pub fn is_safe_path(path: &[u8]) -> bool {
    path.len() <= MAX_PATH_BYTES
        && path.split(|byte| *byte == b'/').count() <= MAX_PATH_SEGMENTS
        && path.split(|byte| *byte == b'/').all(|segment| {
            !segment.is_empty()
                && segment.len() <= MAX_SEGMENT_BYTES
                && !matches!(segment, b"." | b"..")
                && !segment.contains(&0)
        })
}

impl Deref for EntryPath {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for EntryPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for EntryPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for EntryPath {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for EntryPath {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl PartialEq<String> for EntryPath {
    fn eq(&self, other: &String) -> bool {
        self.0 == *other
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<EntryPath> for String {
    fn from(path: EntryPath) -> Self {
        path.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn utf8_stands_as_it_is_and_everything_else_is_octal() {
        for (bytes, text) in [
            (&b"etc/a b.json"[..], "etc/a b.json"),
            ("\u{fc}ml\u{e4}ut/\u{6587}".as_bytes(), "\u{fc}ml\u{e4}ut/\u{6587}"),
            (b"a\\b", "a\\\\b"),
            (b"new\nline\x7f", "new\\0012line\\0177"),
            (b"latin-\xe9", "latin-\\0351"),
            (b"-n", "-n"),
        ] {
            assert_eq!(escape(bytes), text);
            assert_eq!(unescape(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn a_text_that_is_not_the_one_for_its_bytes_is_refused() {
        for text in ["\\", "a\\n", "\\0101", "\\0400", "\\012", "\\x41", "new\nline", "\\0303\\0274"] {
            assert_eq!(unescape(text), None, "{text:?}");
            assert!(!EntryPath::from_text(text).is_safe(), "{text:?}");
        }
    }

    #[test]
    fn a_path_is_refused_just_beyond_each_bound() {
        let deep = |segments: usize| vec!["a"; segments].join("/");
        let long = |bytes: usize| (0..bytes).map(|at| if at % 200 == 199 { '/' } else { 'x' }).collect::<String>();
        let ok = [deep(MAX_PATH_SEGMENTS), "x".repeat(MAX_SEGMENT_BYTES), long(3998)];
        let refused = [deep(MAX_PATH_SEGMENTS + 1), "x".repeat(MAX_SEGMENT_BYTES + 1), long(MAX_PATH_BYTES + 1)];
        assert!(ok.iter().all(|path| is_safe_path(path.as_bytes())));
        assert!(refused.iter().all(|path| !is_safe_path(path.as_bytes())));
        assert!(is_safe_path(long(MAX_PATH_BYTES - 1).as_bytes()) && is_safe_path(b"\xff"));
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_and_order_of_text_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let text = escape(&bytes);
            prop_assert!(!text.contains(|c: char| c.is_ascii_control()));
            prop_assert_eq!(unescape(&text), Some(bytes));
        }
    }
}
