//! A secret of several lines, while it goes on.
//!
//! Hazard: one that is thought to have ended is shown from there on. What has an end of its own goes on to that; what is
//! indented goes on while it is, over lines that are empty.

use super::patterns::PATTERNS;
use super::signs::{brackets, end_of_element, indent};

/// A secret that goes on below.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// Lines that are indented more than this column belong to it.
    pub column: Option<usize>,
    /// So do lines there that begin with a dash.
    pub is_list: bool,
    /// The next line that is not empty belongs to it: always, or unless something else begins there.
    pub next: Option<Next>,
    /// How many brackets are open.
    pub brackets: usize,
    /// What it ends with.
    pub end: Option<End>,
    /// The separator of a table with a secret column, and how many a row has.
    pub table: Option<(char, usize)>,
}

/// Whether the next line belongs to a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Whatever it is.
    Always,
    /// Unless it assigns something else.
    UnlessAssigned,
}

/// What a secret ends with.
#[derive(Debug)]
pub(super) enum End {
    /// A text.
    Text(&'static str),
    /// A line.
    Line(String),
    /// The end of the element with this name.
    Element(String),
}

impl Open {
    /// Whether this line belongs to it.
    pub fn takes(&mut self, line: &str) -> bool {
        if let Some(end) = &self.end {
            if end.is_in(line) {
                self.end = None;
            }
            return true;
        }
        if self.brackets > 0 {
            self.brackets = self.brackets.saturating_add_signed(brackets(line));
            return true;
        }
        let text = line.trim();
        if text.is_empty() {
            return false;
        }
        let indent = indent(line);
        if let Some((separator, count)) = self.table {
            if line.matches(separator).count() == count {
                self.next = None;
                return true;
            }
            self.table = None;
        }
        match self.next.take() {
            Some(Next::UnlessAssigned) if self.column.is_none_or(|of| indent <= of) && begins_something(text) => {}
            None => {}
            Some(_) => {
                self.next = text.ends_with('\\').then_some(Next::Always);
                return true;
            }
        }
        match self.column {
            Some(column) if indent > column || (self.is_list && indent == column && text.starts_with('-')) => true,
            _ => {
                self.column = None;
                false
            }
        }
    }

    /// Whether the next line belongs to it whatever is in this one.
    pub fn is_within(&self) -> bool {
        self.end.is_some() || self.brackets > 0
    }

    /// Another one that begins in a line, too.
    pub fn opens(&mut self, other: Self) {
        if let Some(column) = other.column {
            // What is open already has less of an indentation.
            self.is_list = if self.column.is_some() { self.is_list } else { other.is_list };
            self.column = Some(self.column.map_or(column, |open| open.min(column)));
        }
        self.next = other.next.or(self.next);
        self.brackets += other.brackets;
        self.end = other.end.or(self.end.take());
        self.table = other.table.or(self.table);
    }
}

impl End {
    fn is_in(&self, line: &str) -> bool {
        match self {
            Self::Text(text) => line.contains(text),
            Self::Line(end) => line.trim() == end,
            Self::Element(name) => end_of_element(line, name).is_some(),
        }
    }
}

/// Whether a line begins with a name and something that is assigned to it, or with an item of a list or a section.
fn begins_something(text: &str) -> bool {
    PATTERNS.as_ref().is_some_and(|patterns| patterns.assignment.is_match(text)) || text.starts_with(['[', '#', '-'])
}
