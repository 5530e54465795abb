//! Reading single values.
//!
//! Hazard: a lenient reader turns `retention_days = "no"` into 0 days. A value is what its key needs, in its type and
//! range, or it is refused with what would be allowed.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use config::{Value, ValueKind};

use crate::core::secrets::shown_value;

use super::duration::parse_duration;
use super::file_patterns::FilePatterns;
use super::origin::Shown;
use super::sources::Sources;

/// The longest value shown in a message, in characters.
const SHOWN_CHARACTERS: usize = 100;

/// What a layer says, before it is understood.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    /// A value of the settings file.
    Toml(&'a Value),
    /// The text of a variable.
    Variable(&'a str),
}

/// A value, or what is allowed instead.
pub(super) type Read<T> = Result<T, String>;

impl Raw<'_> {
    /// The text, if it is text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Toml(Value { kind: ValueKind::String(text), .. }) => Some(text),
            Self::Toml(_) => None,
            Self::Variable(text) => Some(text),
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Toml(Value { kind: ValueKind::I64(number), .. }) => Some(*number),
            Self::Toml(_) => None,
            Self::Variable(text) => text.trim().parse().ok(),
        }
    }

    /// The value as a message shows it: shortened, on one line, with secrets hidden.
    pub fn shown(&self) -> String {
        let text = match self {
            Self::Toml(value) => toml_text(value),
            Self::Variable(text) if text.trim() == *text => (*text).to_owned(),
            Self::Variable(text) => format!("{text:?}"),
        };
        one_line(&shown_value("", &text))
    }
}

/// `text` shortened and without line breaks or other control characters.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            _ if index == SHOWN_CHARACTERS => return line + "…",
            control if control.is_control() => line.extend(control.escape_default()),
            other => line.push(other),
        }
    }
    line
}

fn toml_text(value: &Value) -> String {
    match &value.kind {
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => format!("[{}]", items.iter().map(toml_text).collect::<Vec<_>>().join(", ")),
        ValueKind::Table(_) => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// `true` or `false`; a variable may also say 1/0, yes/no, on/off.
pub(super) fn flag(raw: &Raw) -> Read<bool> {
    match raw {
        Raw::Toml(Value { kind: ValueKind::Boolean(flag), .. }) => Ok(*flag),
        Raw::Toml(_) => Err("give true or false".to_owned()),
        Raw::Variable(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("give true or false (or 1/0, yes/no, on/off)".to_owned()),
        },
    }
}

/// A whole number in `range`.
pub(super) fn whole<T: TryFrom<i64>>(range: RangeInclusive<i64>) -> impl Fn(&Raw) -> Read<T> {
    move |raw| {
        let number = raw.integer().filter(|number| range.contains(number));
        let fitting = number.and_then(|number| T::try_from(number).ok());
        fitting.ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
    }
}

/// A duration in `range`.
pub(super) fn time(range: RangeInclusive<Duration>) -> impl Fn(&Raw) -> Read<Duration> {
    move |raw| {
        let duration = raw.text().and_then(|text| parse_duration(text.trim())).filter(|time| range.contains(time));
        duration.ok_or_else(|| {
            let (least, most) = (range.start().shown(), range.end().shown());
            format!(r#"give a whole number and a unit (ms, s, m, h, d) such as "90s" or "6h", from {least} to {most}"#)
        })
    }
}

/// A directory, made absolute.
pub(super) fn directory(sources: &Sources) -> impl Fn(&Raw) -> Read<PathBuf> {
    |raw| path(raw, sources).ok_or_else(|| "give the path of a directory".to_owned())
}

/// A file, made absolute.
pub(super) fn file(sources: &Sources) -> impl Fn(&Raw) -> Read<PathBuf> {
    |raw| path(raw, sources).ok_or_else(|| "give the path of a file".to_owned())
}

/// Where a Unix socket is to be, made absolute.
pub(super) fn socket(sources: &Sources) -> impl Fn(&Raw) -> Read<PathBuf> {
    /// What fits into the address of a socket, unix(7).
    const MOST_BYTES: usize = 107;
    |raw| {
        let path = path(raw, sources).filter(|path| path.as_os_str().len() <= MOST_BYTES);
        path.ok_or_else(|| {
            format!("give the path of a socket to be, of at most {MOST_BYTES} bytes once it is absolute")
        })
    }
}

fn path(raw: &Raw, sources: &Sources) -> Option<PathBuf> {
    let path = raw.text().filter(|path| !path.is_empty() && !path.contains('\0'));
    path.map(|path| sources.absolute(Path::new(path)))
}

/// One of the words that `T` is spelt with.
pub(super) fn word<T: FromStr>(allowed: &'static str) -> impl Fn(&Raw) -> Read<T> {
    move |raw| raw.text().and_then(|text| text.parse().ok()).ok_or_else(|| format!("give {allowed}"))
}

/// A list of what `T` is spelt with, not empty.
pub(super) fn list<T: FromStr>(allowed: &'static str) -> impl Fn(&Raw) -> Read<Vec<T>> {
    move |raw| {
        let Raw::Toml(Value { kind: ValueKind::Array(items), .. }) = raw else { return Err(allowed.to_owned()) };
        let read = |item: &Value| Raw::Toml(item).text().and_then(|text| text.parse().ok());
        let list: Option<Vec<T>> = items.iter().map(read).collect();
        list.filter(|list| !list.is_empty()).ok_or_else(|| allowed.to_owned())
    }
}

/// An address with a port.
pub(super) fn address(raw: &Raw) -> Read<SocketAddr> {
    let address = raw.text().and_then(|text| text.trim().parse().ok());
    address.ok_or_else(|| "give an address and a port such as 127.0.0.1:8080".to_owned())
}

/// A program by its absolute path, and its arguments; or nothing.
pub(super) fn command(raw: &Raw) -> Read<Vec<String>> {
    const ALLOWED: &str = r#"give a list of an absolute path and arguments such as ["/usr/bin/true", "-x"], or []"#;
    let Raw::Toml(Value { kind: ValueKind::Array(items), .. }) = raw else { return Err(ALLOWED.to_owned()) };
    let words = items.iter().map(|item| match &item.kind {
        ValueKind::String(word) if !word.contains('\0') => Ok(word.clone()),
        _ => Err(ALLOWED.to_owned()),
    });
    let words = words.collect::<Read<Vec<_>>>()?;
    let absolute = words.first().is_none_or(|program| Path::new(program).is_absolute());
    if absolute { Ok(words) } else { Err(ALLOWED.to_owned()) }
}

/// What a list of file names and globs looks like.
const ALLOWED_FILES: &str = r#"give a list of file names and globs such as ["app.json", "*.toml"]"#;

/// At least one file name or glob.
pub(super) fn files(raw: &Raw) -> Read<FilePatterns> {
    let patterns = file_patterns(raw)?;
    if patterns.is_empty() { Err(ALLOWED_FILES.to_owned()) } else { Ok(patterns) }
}

/// Any number of file names and globs.
pub(super) fn file_patterns(raw: &Raw) -> Read<FilePatterns> {
    let Raw::Toml(Value { kind: ValueKind::Array(items), .. }) = raw else { return Err(ALLOWED_FILES.to_owned()) };
    let texts = items.iter().map(|item| match &item.kind {
        ValueKind::String(text) => Ok(text.as_str()),
        _ => Err(ALLOWED_FILES.to_owned()),
    });
    FilePatterns::new(texts.collect::<Read<Vec<_>>>()?).map_err(|error| error.to_string())
}
