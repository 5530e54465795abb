//! Lines that are no longer than the terminal.
//!
//! Hazard: a terminal breaks lines where they happen to end, in the middle of words and back at its left edge; and a
//! command that was broken into two lines runs its first half as soon as it is pasted. Lines are broken between words,
//! what follows is indented, and a command is one word.

/// How much deeper than its line what follows is.
const DEEPER: usize = 2;

/// So many spaces are a gap between columns.
const GAP: usize = 2;

/// What a line begins with that is to be typed.
const TYPED: [&str; 2] = ["fiovana-app ", "tar "];

/// `text` with every line that is longer than so many columns broken between words, where that is possible. What follows
/// stands below the last column of its line, if there are columns, and otherwise so much deeper than the line.
pub fn fold(text: &str, columns: Option<usize>, deeper: usize) -> String {
    let Some(columns) = columns else { return text.to_owned() };
    text.split_inclusive('\n').map(|line| folded(line, columns, deeper)).collect()
}

/// The same for a sentence, or several.
pub fn sentence(text: &str, columns: Option<usize>) -> String {
    fold(text, columns, DEEPER)
}

/// A sentence in lines of at most so many columns, unless one of its words is longer.
pub fn broken(text: &str, columns: usize) -> Vec<String> {
    fold(text, Some(columns), 0).lines().map(str::to_owned).collect()
}

/// A word, and the spaces before it.
#[derive(Clone, Copy)]
struct Word<'t> {
    spaces: usize,
    text: &'t str,
}

impl Word<'_> {
    /// Whether it says what the line is: `error:`, perhaps in a colour that ends behind it.
    fn is_label(&self) -> bool {
        self.text.trim_end_matches("\u{1b}[0m").ends_with(':')
    }
}

fn folded(line: &str, columns: usize, deeper: usize) -> String {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
    if width(line) <= columns {
        return format!("{line}{end}");
    }
    let words = words(line);
    let indent = words.first().map_or(0, |word| word.spaces);
    let (hang, gap) = match last_column(&words, columns) {
        Some((start, _)) if start <= columns / 2 => (start, None),
        Some((_, at)) => (indent + DEEPER, Some(at)),
        None if words.first().is_some_and(Word::is_label) => (indent + DEEPER, None),
        None => (indent + deeper, None),
    };
    let mut text = String::new();
    let mut column = 0;
    for (at, word) in words.iter().enumerate() {
        let next = column + word.spaces;
        let is_over = next + width(word.text) > columns || gap == Some(at);
        if at > 0 && is_over && hang < next {
            text.push('\n');
            text.push_str(&" ".repeat(hang));
            column = hang;
        } else {
            text.push_str(&" ".repeat(word.spaces));
            column = next;
        }
        text.push_str(word.text);
        column += width(word.text);
    }
    text + end
}

/// Where a column begins that can go on below itself, and with which word: the last that begins in the first half of the
/// terminal, and if there is none, the first.
fn last_column(words: &[Word<'_>], columns: usize) -> Option<(usize, usize)> {
    let mut column = 0;
    let mut starts = Vec::new();
    for (at, word) in words.iter().enumerate() {
        column += word.spaces;
        if at > 0 && word.spaces >= GAP {
            starts.push((column, at));
        }
        column += width(word.text);
    }
    let roomy = starts.iter().rev().find(|(start, _)| *start <= columns / 2);
    roomy.or(starts.first()).copied()
}

/// Units, which are nothing without their number.
const UNITS: [&str; 11] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "s", "min", "h", "d", "ago"];

/// Whether a word is part of the one before it: a time of its date, a unit of its number.
fn is_part(before: &str, word: &str) -> bool {
    let bare = word.trim_end_matches(|character: char| ",;:.)".contains(character));
    let last = before.rsplit(' ').next().unwrap_or_default().trim_start_matches('(');
    let is_number = last.starts_with(|character: char| character.is_ascii_digit());
    let is_time = bare.len() == 8 && bare.as_bytes().get(2) == Some(&b':') && last.len() == 10 && is_number;
    is_time || (bare == "ago" && UNITS.contains(&last)) || (is_number && UNITS.contains(&bare))
}

/// The words of a line. What stands in backquotes is one, and so is a command that the line begins with, up to a gap.
fn words(line: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let text = rest.trim_start_matches(' ');
        let spaces = rest.len() - text.len();
        let is_typed = words.is_empty() && TYPED.iter().any(|program| text.starts_with(program));
        let mut length = if is_typed { text.find("  ").unwrap_or(text.len()) } else { word_length(text) };
        while let Some(next) = text[length..].strip_prefix(' ') {
            let next = &next[..word_length(next)];
            if next.is_empty() || !is_part(&text[..length], next) {
                break;
            }
            length += 1 + next.len();
        }
        words.push(Word { spaces, text: &text[..length] });
        rest = &text[length..];
    }
    words
}

fn word_length(text: &str) -> usize {
    let mut is_quoted = false;
    for (at, character) in text.char_indices() {
        match character {
            '`' => is_quoted = !is_quoted,
            ' ' if !is_quoted => return at,
            _ => {}
        }
    }
    match is_quoted {
        // A quotation that does not end is none.
        true => text.find(' ').unwrap_or(text.len()),
        false => text.len(),
    }
}

/// How many columns a text takes: escape sequences for colours take none.
pub fn width(text: &str) -> usize {
    let mut columns = 0;
    let mut is_escape = false;
    for character in text.chars() {
        match (is_escape, character) {
            (_, '\u{1b}') => is_escape = true,
            (true, 'm') => is_escape = false,
            (true, _) => {}
            (false, _) => columns += 1,
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn narrow(text: &str) -> String {
        sentence(text, Some(30))
    }

    #[test]
    fn sentences_are_broken_between_words_and_indented() {
        assert_eq!(narrow("short\n"), "short\n");
        assert_eq!(
            narrow("  missing: one that is longer than the line\nnext\n"),
            "  missing: one that is longer\n    than the line\nnext\n"
        );
        assert_eq!(sentence("piped lines stay as long as they are", None), "piped lines stay as long as they are");
        assert_eq!(
            fold("error: a page of help has no hanging lines", Some(30), 0),
            "error: a page of help has no\n  hanging lines"
        );
        assert_eq!(fold("a page of help has no hanging lines", Some(30), 0), "a page of help has no hanging\nlines");
    }

    #[test]
    fn what_has_no_place_to_be_broken_is_left_whole() {
        let id = "x".repeat(64);
        assert_eq!(narrow(&id), id);
        assert_eq!(narrow("read again since 2026-11-23 10:15:00"), "read again since\n  2026-11-23 10:15:00");
        assert_eq!(narrow("four files, stored as they are 1.8 KiB"), "four files, stored as they are\n  1.8 KiB");
        assert_eq!(narrow("it had all of them until then (2 min ago)"), "it had all of them until then\n  (2 min ago)");
        assert_eq!(narrow(&format!("Manifest  {id}")), format!("Manifest  {id}"));
        assert_eq!(narrow(&format!("restored from {id}")), format!("restored from\n  {id}"));
    }

    #[test]
    fn a_command_is_one_word() {
        let typed = "  fiovana-app restore security latest";
        assert_eq!(narrow(typed), typed);
        assert_eq!(
            narrow("look at it: `fiovana-app prune --dry-run` shows it"),
            "look at it:\n  `fiovana-app prune --dry-run`\n  shows it"
        );
        assert_eq!(
            narrow("one ` alone is no quotation, and ends nothing"),
            "one ` alone is no quotation,\n  and ends nothing"
        );
        assert_eq!(narrow("  fiovana-app verify --all     all of them"), "  fiovana-app verify --all\n    all of them");
    }

    #[test]
    fn a_column_goes_on_below_itself() {
        assert_eq!(
            narrow("Created   2026-11-23 10:15:00 UTC (3 h ago)"),
            "Created   2026-11-23 10:15:00\n          UTC (3 h ago)"
        );
        assert_eq!(
            narrow("      --token-file <FILE>  File with the token"),
            "      --token-file <FILE>\n        File with the token"
        );
    }

    #[test]
    fn colours_take_no_columns() {
        let painted = "\u{1b}[31mred\u{1b}[0m and so on up to thirty....";
        assert_eq!(width(painted), 30);
        assert_eq!(narrow(painted), painted);
    }
}
