//! What opens, closes and separates things in a line.

use std::ops::Range;

/// Whether a text has only signs that open and close, and separate.
pub(super) fn is_structure(text: &str) -> bool {
    text.chars().all(is_sign)
}

/// Whether this opens, closes or separates something.
pub(super) fn is_sign(c: char) -> bool {
    c.is_whitespace() || "[]{}(),.;:\"'<>/\\-|`".contains(c)
}

/// A part of a line without the spaces around it.
pub(super) fn trimmed(line: &str, span: Range<usize>) -> Range<usize> {
    let text = &line[span.clone()];
    let start = span.start + text.len() - text.trim_start().len();
    start..(span.start + text.trim_end().len()).max(start)
}

/// The same without the signs around it, too.
pub(super) fn without_signs(line: &str, span: Range<usize>) -> Range<usize> {
    let text = &line[span.clone()];
    let start = span.start + text.len() - text.trim_start_matches(is_sign).len();
    start..(span.start + text.trim_end_matches(is_sign).len()).max(start)
}

/// How many more brackets open than close in a text, quotations aside.
pub(super) fn brackets(text: &str) -> isize {
    each_bracket(text).map(|(_, change)| change).sum()
}

/// Where brackets open (1) and close (-1), quotations aside.
pub(super) fn each_bracket(text: &str) -> impl Iterator<Item = (usize, isize)> {
    let mut quote = None;
    text.char_indices().filter_map(move |(at, c)| {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{' | '(') => return Some((at, 1)),
            (None, ']' | '}' | ')') => return Some((at, -1)),
            (None, _) => {}
        }
        None
    })
}

/// How much a line is indented.
pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Where the first name of a line is: behind its indentation, and what begins an item of a list or an object.
pub(super) fn column(line: &str) -> usize {
    line.len() - line.trim_start_matches(|c: char| c.is_whitespace() || "-{[(".contains(c)).len()
}

/// Whether what follows is the name of an element of XML, with or without a prefix.
pub(super) fn is_element(ahead: &str) -> bool {
    let prefix =
        ahead.strip_suffix(':').map(|ahead| ahead.trim_end_matches(|c: char| c.is_alphanumeric() || "_.-".contains(c)));
    prefix.unwrap_or(ahead).ends_with('<')
}

/// Where the end of the element with this name is.
pub(super) fn end_of_element(text: &str, name: &str) -> Option<usize> {
    let ends = text.match_indices("</").filter(|(at, _)| {
        let closing = &text[at + 2..];
        let closing = &closing[..closing.find('>').unwrap_or(closing.len())];
        closing.trim_end().rsplit(':').next() == Some(name)
    });
    ends.last().map(|(at, _)| at)
}
