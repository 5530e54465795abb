//! Differences as text.

use crate::api::{DiffDocument, FileChange, FileDiff};
use crate::cli::output::Look;
use crate::cli::table::{Cell, Tone};
use crate::core::diff::{Difference, KeyChange};
use crate::core::printable::plain;

/// What differs between two states of a set.
pub fn diff(document: &DiffDocument, look: &Look) -> String {
    let DiffDocument { set, before, after, files, more } = document;
    if files.is_empty() {
        return format!("{set}: no difference between {before} and {after}\n");
    }
    let mut text = format!("{set}: from {before} to {after}\n");
    text.extend(files.iter().map(|file| format!("\n{}", file_diff(file, usize::MAX, look))));
    if *more > 0 {
        text += &format!("\n{more} more files differ\n");
    }
    text
}

/// What differs in a file, in at most so many lines.
pub fn file_diff(file: &FileDiff, limit: usize, look: &Look) -> String {
    let change = match file.change {
        FileChange::Added => " (added)",
        FileChange::Removed => " (removed)",
        FileChange::Changed => "",
    };
    let mut text = format!("{}{change}\n", plain(&file.path));
    let hidden = match &file.difference {
        Difference::Keys { changes, more } => {
            changes.iter().take(limit).for_each(|change| text += &key(change));
            changes.len().saturating_sub(limit) + more
        }
        Difference::Lines { lines, more } => {
            lines.iter().take(limit).for_each(|told| text += &line(told, look));
            lines.len().saturating_sub(limit) + more
        }
        Difference::Unshown { reason } => {
            text += &format!("  not shown: {}\n", plain(reason));
            0
        }
    };
    if hidden > 0 {
        text += &format!("  … and {hidden} more\n");
    }
    text
}

fn key(change: &KeyChange) -> String {
    let KeyChange { path, before, after } = change;
    let path = if path.is_empty() { "/" } else { path };
    let said = match (before, after) {
        (Some(before), Some(after)) => format!("{path}: {before} -> {after}"),
        (None, Some(after)) => format!("{path}: added {after}"),
        (Some(before), None) => format!("{path}: removed {before}"),
        (None, None) => path.to_owned(),
    };
    format!("  {}\n", plain(&said))
}

fn line(line: &str, look: &Look) -> String {
    let tone = match line.as_bytes().first() {
        Some(b'+') => Tone::Good,
        Some(b'-') => Tone::Bad,
        _ => Tone::Plain,
    };
    format!("  {}\n", Cell::toned(line, tone).painted(look))
}
