//! Text that a terminal shows as it is.
//!
//! Hazard: a name from a stranger's disk may hold bytes that move the cursor, forge a line, or turn around the order in
//! which the rest is read (Unicode TR 36, "Bidirectional Text Spoofing"). Such characters are shown, never sent.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character does something other than be seen: a control character, C1 among them; one that orders text by
/// direction; a separator of lines; one without a width.
pub fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text with these characters shown: `\n`, `\u{1b}`, `\u{202e}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_invisible(character).then(|| character.escape_default().to_string()))
}

/// Lines of text with these characters shown; line breaks, tabs and, `with_colours`, the sequences that set colours
/// (ECMA-48 SGR) stay.
pub fn plain_lines(text: &str, with_colours: bool) -> Cow<'_, str> {
    if !text.chars().any(|character| is_invisible(character) && !matches!(character, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let length = match colour_length(rest).filter(|_| with_colours) {
            Some(length) => length,
            None => character.len_utf8(),
        };
        match &rest[..length] {
            "\n" | "\t" => shown.push(character),
            one if one.len() == character.len_utf8() => shown += &plain(one),
            colour => shown += colour,
        }
        rest = &rest[length..];
    }
    Cow::Owned(shown)
}

/// A JSON text, or a line of a log, with these characters as JSON escapes them: `\u202e`. The value is the same. Of the
/// ASCII ones only line breaks stay, which JSON has between its tokens only.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        (is_invisible(character) && character != '\n').then(|| {
            character.encode_utf16(&mut [0; 2]).iter().fold(String::new(), |mut shown, unit| {
                let _ = write!(shown, "\\u{unit:04x}");
                shown
            })
        })
    })
}

fn escaped(text: &str, escape: impl Fn(char) -> Option<String>) -> Cow<'_, str> {
    // Nearly every text is plain.
    let Some(first) = text.char_indices().find(|(_, character)| escape(*character).is_some()) else {
        return Cow::Borrowed(text);
    };
    let (before, rest) = text.split_at(first.0);
    let mut shown = String::with_capacity(text.len() + 8);
    shown += before;
    for character in rest.chars() {
        match escape(character) {
            Some(escape) => shown += &escape,
            None => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// The length of the sequence that sets a colour with which a text begins.
fn colour_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\x1b[")?;
    let end = parameters.find(|character: char| !character.is_ascii_digit() && character != ';')?;
    parameters[end..].starts_with('m').then_some("\x1b[".len() + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_drives_a_terminal_or_turns_text_around_is_shown() {
        let hostile = "a\u{1b}[2Jb\nc\u{9b}d\u{202e}e\u{2066}f\u{7f}g\u{2028}h\u{e0041}";
        assert_eq!(plain(hostile), "a\\u{1b}[2Jb\\nc\\u{9b}d\\u{202e}e\\u{2066}f\\u{7f}g\\u{2028}h\\u{e0041}");
        assert!(matches!(plain("größe 日本 🙂 नमस्ते"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_has_the_same_value_and_only_what_can_be_seen() {
        let value = "a\u{1b}b\u{9b}c\u{202e}\u{7f}\u{e0041}\n\\";
        let text = serde_json::to_string(value).unwrap();
        let shown = json(&text);
        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), value);
        assert!(shown.is_ascii() && !shown.chars().any(is_invisible), "{shown}");
    }

    #[test]
    fn of_lines_only_breaks_tabs_and_wanted_colours_stay() {
        let text = "\x1b[31mred\x1b[0m\tone\ntwo \x1b[2J \x1b]0;title\x07\u{202e}\n";
        let shown = "\x1b[31mred\x1b[0m\tone\ntwo \\u{1b}[2J \\u{1b}]0;title\\u{7}\\u{202e}\n";
        assert_eq!(plain_lines(text, true), shown);
        assert!(!plain_lines(text, false).contains('\x1b'));
    }
}
