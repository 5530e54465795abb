//! Where the secrets of a text are, line by line, whatever its format.
//!
//! Hazard: a format that nobody thought of. So nothing is parsed: what formats have in common is enough. A name stands
//! before its value, after a few signs or a space; what belongs to a value is indented, quoted, in brackets or in an
//! element; a thing that has a name and a value has them beside each other.
//!
//! In doubt a line is hidden from the value to its end. The time is linear in the length of the text: of a long line only
//! the beginning is looked at and shown, and a group has a bounded number of lines.

use std::ops::Range;

use super::beside::{beside_a_name, naming};
use super::names::{is_directive, is_plainly_secret_name, is_secret_name};
use super::open::{End, Next, Open};
use super::patterns::{PATTERNS, Patterns};
use super::signs::{brackets, column, end_of_element, is_element, is_sign, is_structure, trimmed, without_signs};
use super::{forms, random};

/// How many bytes of a line are looked at; the rest is hidden.
const MAX_LINE_BYTES: usize = 8 << 10;

/// What is known of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'n> {
    /// The name of the whole, if it has one.
    pub name: Option<&'n str>,
    /// Whether all that is assigned in it is secret, and all that stands alone.
    pub is_secret: bool,
    /// Whether what looks like chance is a name in it, and not a secret: of a directory, of a host.
    pub has_random_names: bool,
}

/// What of each line is secret, in order; the whole line if a span covers it.
pub(super) fn secrets(text: &str, about: About<'_>) -> Vec<Vec<Range<usize>>> {
    let beginnings: Vec<&str> = text.lines().map(|line| &line[..line.floor_char_boundary(MAX_LINE_BYTES)]).collect();
    let beside = beside_a_name(&beginnings);
    let mut open = Open::default();
    let mut secrets = Vec::with_capacity(beginnings.len());
    for (at, (line, beginning)) in text.lines().zip(beginnings).enumerate() {
        let was_open = open.takes(beginning);
        let found = scan(beginning, about.is_secret || beside[at], about);
        if !open.is_within() {
            open.opens(found.open);
        }
        let mut hidden = if was_open { whole(beginning) } else { found.hidden };
        if beginning.len() < line.len() {
            hidden.push(beginning.len()..line.len());
        }
        secrets.push(merged(hidden));
    }
    secrets
}

/// Everything of a line but its indentation; nothing if it only closes something.
fn whole(line: &str) -> Vec<Range<usize>> {
    if is_structure(line) { Vec::new() } else { vec![trimmed(line, 0..line.len())] }
}

fn merged(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// What was found in a line.
#[derive(Debug, Default)]
struct Found {
    hidden: Vec<Range<usize>>,
    open: Open,
}

/// What is secret in a line, and what goes on below it. If it stands `beside` the name of a secret, whatever it assigns is.
fn scan(line: &str, beside: bool, about: About<'_>) -> Found {
    let Some(patterns) = PATTERNS.as_ref() else { return Found { hidden: whole(line), ..Found::default() } };
    let mut found = Found::default();
    for named in patterns.name.find_iter(line) {
        assigned(line, named.range(), patterns, &mut found);
    }
    if let Some(naming) = naming(line, patterns).filter(|naming| beside || naming.names_a_secret) {
        let behind = &line[naming.span.end..];
        let closing = if behind.starts_with("</") { behind.find('>').map_or(0, |at| at + 1) } else { 0 };
        found.hidden.push(without_signs(line, naming.span.end + closing..line.len()));
        let before = &line[..naming.span.start];
        if let Some(at) = before.find(['=', ':', '>']) {
            found.hidden.push(without_signs(line, at + 1..before.len()));
        }
    } else if beside {
        match patterns.assignment.find(line) {
            Some(assignment) => value(line, assignment.end(), patterns, &mut found),
            None => found.hidden.extend(whole(line)),
        }
    }
    pem(line, &mut found);
    found.open.table = table(line);
    found.hidden.extend(forms::spans(line));
    if !about.has_random_names {
        found.hidden.extend(random::spans(line, about.name));
    }
    found.hidden.retain(|span| !is_structure(&line[span.clone()]));
    found
}

/// Hides what is assigned to the name there, if that says that it is a secret.
fn assigned(line: &str, name: Range<usize>, patterns: &Patterns, found: &mut Found) {
    let (text, ahead, behind) = (&line[name.clone()], &line[..name.start], &line[name.end..]);
    if !is_secret_name(text) {
        return;
    }
    let is_flag = ahead.ends_with('-') && !text.ends_with("-stdin");
    if is_element(ahead) {
        return element(line, name, found);
    }
    if behind.trim_matches(|c: char| c.is_whitespace() || "\"',])\\".contains(c)).is_empty() {
        // A flag whose argument is below it, or a name alone, as .netrc may have it.
        let is_alone = matches!(ahead.trim(), "" | "?") && behind.trim().is_empty();
        if is_flag || (is_alone && is_plainly_secret_name(text) && text.bytes().all(|byte| byte.is_ascii_lowercase())) {
            found.open.next = Some(Next::Always);
        }
        return;
    }
    if let Some(rest) = behind.strip_prefix(',').filter(|_| is_flag || ahead.ends_with(['{', '('])) {
        return value(line, line.len() - rest.len(), patterns, found);
    }
    let Some(separator) = patterns.separator.captures(behind) else { return };
    let is_space = separator.get(1).is_some();
    let begins = ahead.trim().is_empty() && is_directive(text);
    if is_space && !(is_flag || begins || is_plainly_secret_name(text)) {
        return;
    }
    let length = separator.get(0).map_or(0, |separator| separator.len());
    value(line, name.end + length, patterns, found);
}

/// Hides the value that begins there, and sees whether it goes on below.
fn value(line: &str, start: usize, patterns: &Patterns, found: &mut Found) {
    let span = trimmed(line, start..line.len());
    let text = &line[span.clone()];
    let open = &mut found.open;
    if text.starts_with(['[', '{', '(']) || text.ends_with(['[', '{', '(']) {
        open.brackets = open.brackets.max(usize::try_from(brackets(text)).unwrap_or(0));
    }
    if text.is_empty() {
        (open.column, open.is_list, open.next) = (Some(column(line)), true, Some(Next::UnlessAssigned));
        return;
    }
    if patterns.block.is_match(text) {
        open.column = Some(column(line));
        return;
    }
    if text == "\\" {
        open.next = Some(Next::Always);
        return;
    }
    if patterns.harmless.is_match(text) {
        return;
    }
    open.column = Some(column(line));
    if text.ends_with('\\') {
        open.next = Some(Next::Always);
    }
    if let Some(word) = patterns.heredoc.captures(text).and_then(|captures| captures.get(1)) {
        open.end.get_or_insert_with(|| End::Line(word.as_str().to_owned()));
    }
    found.hidden.push(match patterns.quoted.captures(text).and_then(|captures| captures.get(1)) {
        Some(quote) => {
            let inside = span.start + quote.end();
            match end_of_quote(&line[inside..], quote.as_str()) {
                Some(length) => {
                    let rest = &line[inside + length + quote.len()..];
                    if is_structure(rest) { inside..inside + length } else { span }
                }
                None => {
                    open.end.get_or_insert(End::Text(delimiter(quote.as_str())));
                    inside..span.end
                }
            }
        }
        None => span,
    });
}

/// Where a quotation ends: a quote that stands twice, or behind a backslash, does not end it.
fn end_of_quote(text: &str, quote: &str) -> Option<usize> {
    if quote.len() > 1 {
        return text.find(quote);
    }
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        let is_quote = quote.starts_with(c);
        let is_doubled = at > 0 && rest.peek().is_some_and(|(_, next)| quote.starts_with(*next));
        if (c == '\\' && quote != "'") || (is_quote && is_doubled) {
            rest.next();
        } else if is_quote {
            return Some(at);
        }
    }
    None
}

fn delimiter(quote: &str) -> &'static str {
    ["\"\"\"", "'''", "\"", "'"].into_iter().find(|delimiter| *delimiter == quote).unwrap_or("`")
}

/// Hides what is in the element whose name is there.
fn element(line: &str, name: Range<usize>, found: &mut Found) {
    let (text, behind) = (&line[name.clone()], &line[name.end..]);
    let inside = behind.find('>').map_or(line.len(), |at| name.end + at + 1);
    let attributes = name.end..inside;
    if line[attributes.clone()].contains('=') {
        found.hidden.push(trimmed(line, name.end..line.len()));
    }
    if line[attributes].ends_with("/>") {
        return;
    }
    match end_of_element(&line[inside..], text) {
        Some(length) => found.hidden.push(inside..inside + length),
        None => {
            found.hidden.push(trimmed(line, inside..line.len()));
            found.open.column = Some(column(line));
            // Elsewhere it is a place for a value, as in `--token <token>`.
            let begins = line[..name.start]
                .rsplit('<')
                .nth(1)
                .is_some_and(|ahead| ahead.trim_end().is_empty() || ahead.trim_end().ends_with('>'));
            if begins && behind.contains('>') {
                found.open.end.get_or_insert_with(|| End::Element(text.to_owned()));
            }
        }
    }
}

/// The separator of the head of a table with a secret column, and how many it has.
fn table(line: &str) -> Option<(char, usize)> {
    let is_head = |separator: &char| {
        // A table that is drawn with lines has one at either end of a row, too.
        let row = if *separator == '|' { line.trim().trim_matches('|') } else { line };
        let columns = || row.split(*separator).map(|column| column.trim_matches(|c: char| is_sign(c) || c == '#'));
        let is_name =
            |column: &str| !column.is_empty() && column.chars().all(|c| c.is_alphanumeric() || "_-. ".contains(c));
        columns().count() > 1 && columns().all(is_name) && columns().any(is_secret_name)
    };
    let separator = [',', ';', '\t', '|'].into_iter().find(is_head)?;
    Some((separator, line.matches(separator).count()))
}

/// Hides what is in the armour of PEM or the like, on this line and below.
fn pem(line: &str, found: &mut Found) {
    const ENDS: [(&str, &str); 2] = [("-----BEGIN", "-----END"), ("---- BEGIN", "---- END")];
    for (begin, end) in ENDS {
        if let Some(at) = line.find(begin) {
            let inside = &line[at..];
            // Behind the end there is the rest of its line, with the dashes that close it.
            let close = inside.rfind(end).map(|close| {
                let label = &inside[close + end.len()..];
                close + end.len() + label.find("----").map_or(label.len(), |dashes| dashes + 4)
            });
            found.hidden.push(at..at + close.unwrap_or(inside.len()));
            if close.is_none() {
                found.open.end = Some(End::Text(end));
            }
        }
    }
}
