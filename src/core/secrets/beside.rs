//! Things that have a name and a value, in two members: `{"name": "DB_PASSWORD", "value": …}`.
//!
//! Hazard: the name is harmless, and so is that of the value; and they may stand in either order, in lines that are far
//! from each other.

use std::ops::Range;

use super::names::{is_naming, names_a_secret};
use super::patterns::{PATTERNS, Patterns};
use super::signs::{column, each_bracket, indent, is_element};

/// How many lines before and behind the name of a secret are looked at.
const MAX_GROUP_LINES: usize = 256;

/// A name that is a value, and names what stands beside it.
pub(super) struct Naming<'l> {
    /// The member that holds it: `name`, `id`.
    pub member: &'l str,
    /// From the member to the end of its value.
    pub span: Range<usize>,
    /// Whether it is that of a secret.
    pub names_a_secret: bool,
}

/// The first name of a secret in a line or, if there is none, of anything.
pub(super) fn naming<'l>(line: &'l str, patterns: &Patterns) -> Option<Naming<'l>> {
    let mut first = None;
    for name in patterns.name.find_iter(line).filter(|name| is_naming(name.as_str())) {
        let behind = &line[name.end()..];
        let length = match patterns.separator.captures(behind) {
            None if is_element(&line[..name.start()]) && behind.starts_with('>') => 1,
            Some(separator) if separator.get(1).is_none() => separator.get(0).map_or(0, |separator| separator.len()),
            _ => continue,
        };
        let start = name.end() + length;
        let Some(value) = patterns.named.captures(&line[start..]).and_then(|captures| captures.get(1)) else {
            continue;
        };
        let span = name.start()..start + value.end();
        let names_a_secret = names_a_secret(name.as_str(), Some(value.as_str().trim()));
        let found = Naming { member: name.as_str(), span, names_a_secret };
        if found.names_a_secret {
            return Some(found);
        }
        first = first.or(Some(found));
    }
    first
}

/// What a line is to the lines around it.
struct Layout<'l> {
    indent: usize,
    column: usize,
    brackets: Vec<(usize, isize)>,
    is_empty: bool,
    /// Whether another document or table begins.
    is_heading: bool,
    naming: Option<Naming<'l>>,
}

impl<'l> Layout<'l> {
    fn of(line: &'l str, patterns: &Patterns) -> Self {
        let text = line.trim();
        Self {
            indent: indent(line),
            column: column(line),
            brackets: each_bracket(line).collect(),
            is_empty: text.is_empty(),
            is_heading: text.starts_with("---") || (text.starts_with('[') && text.ends_with(']')),
            naming: naming(line, patterns),
        }
    }

    /// Whether it is the first line of an item whose names stand in this column.
    fn begins_an_item(&self, column: usize) -> bool {
        self.indent < column && self.column == column
    }

    /// Whether it cannot be of the same thing as a line whose names stand in this column.
    fn is_outside(&self, column: usize) -> bool {
        if self.is_empty { column == 0 } else { self.column < column || self.is_heading }
    }

    /// Whether it names another thing.
    fn is_another(&self, naming: &Naming<'_>, column: usize) -> bool {
        self.column == column && self.naming.as_ref().is_some_and(|other| other.member == naming.member)
    }
}

/// Of each line, whether it stands beside the name of a secret: in the same brackets or, without any, in the same item.
pub(super) fn beside_a_name(lines: &[&str]) -> Vec<bool> {
    let Some(patterns) = PATTERNS.as_ref() else { return vec![true; lines.len()] };
    let layouts: Vec<Layout<'_>> = lines.iter().map(|line| Layout::of(line, patterns)).collect();
    let mut beside = vec![false; lines.len()];
    for (at, line) in layouts.iter().enumerate() {
        let Some(naming) = line.naming.as_ref().filter(|naming| naming.names_a_secret) else { continue };
        if is_in_a_whole_element(lines[at], &naming.span) {
            continue;
        }
        let ahead = at.saturating_sub(MAX_GROUP_LINES)..at;
        let behind = at + 1..layouts.len().min(at + 1 + MAX_GROUP_LINES);
        let group = match opening(&layouts, at, naming.span.start) {
            Some(first) => first..closing(&layouts, at, naming.span.end) + 1,
            None => {
                let ends = |other: &Layout<'_>| other.is_outside(line.column) || other.is_another(naming, line.column);
                let begins = |other: usize| layouts[other].begins_an_item(line.column);
                let last = behind.take_while(|other| !ends(&layouts[*other]) && !begins(*other)).last().unwrap_or(at);
                // Nothing stands before the first line of an item.
                let before = ahead.rev().take_while(|other| !begins(other + 1) && !ends(&layouts[*other]));
                before.last().unwrap_or(at)..last + 1
            }
        };
        group.filter(|other| *other != at).for_each(|other| beside[other] = true);
    }
    beside
}

/// Whether what is there is an attribute of an element that begins and ends on this line.
fn is_in_a_whole_element(line: &str, place: &Range<usize>) -> bool {
    let (ahead, behind) = (&line[..place.start], &line[place.end..]);
    let is_attribute = ahead.rfind('<').is_some_and(|at| !ahead[at..].contains('>') && ahead[at..].contains(' '));
    is_attribute && (behind.contains("/>") || behind.contains("</"))
}

/// The line of the bracket that is open at this place of a line; `None` if there is none near.
fn opening(layouts: &[Layout<'_>], at: usize, place: usize) -> Option<usize> {
    let mut depth = 0;
    (0..=at).rev().take(MAX_GROUP_LINES).find(|line| {
        let brackets = layouts[*line].brackets.iter().rev().filter(|(bracket, _)| *line < at || *bracket < place);
        brackets.into_iter().any(|(_, change)| {
            depth += change;
            depth > 0
        })
    })
}

/// The line where it closes; the last that is near if it does not.
fn closing(layouts: &[Layout<'_>], at: usize, place: usize) -> usize {
    let near = at..layouts.len().min(at + MAX_GROUP_LINES);
    let mut depth = 0;
    let closed = near.clone().find(|line| {
        let brackets = layouts[*line].brackets.iter().filter(|(bracket, _)| *line > at || *bracket >= place);
        brackets.into_iter().any(|(_, change)| {
            depth += change;
            depth < 0
        })
    });
    closed.unwrap_or(near.end.saturating_sub(1))
}
