//! The source of this crate as text that rules can be held against.
//!
//! Hazard: a rule that stumbles over a word in a comment, in a message or in a test is soon switched off. So comments
//! and literals are blanked, and what only tests compile is left out.

use std::path::Path;

/// A file below `src`.
#[derive(Clone, Debug)]
pub struct Source {
    /// `src/core/mode.rs`.
    pub path: String,
    /// As it is.
    pub text: String,
}

impl Source {
    /// Every Rust file below `src`, by path.
    pub fn all(root: &Path) -> Vec<Self> {
        let mut sources = Vec::new();
        let mut pending = vec![root.join("src")];
        while let Some(directory) = pending.pop() {
            for entry in directory.read_dir().unwrap().map(Result::unwrap) {
                let path = entry.path();
                if entry.file_type().unwrap().is_dir() {
                    pending.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    let text = std::fs::read_to_string(&path).unwrap();
                    sources.push(Self { path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text });
                }
            }
        }
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        sources
    }

    /// The part of the house it belongs to: `core`, `api`, `main`.
    pub fn layer(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap();
        below.split_once('/').map_or_else(|| below.strip_suffix(".rs").unwrap(), |(layer, _)| layer)
    }

    /// The directory that holds the files of its child modules.
    fn children(&self) -> String {
        let (directory, name) = self.path.rsplit_once('/').unwrap();
        match name {
            "mod.rs" | "lib.rs" | "main.rs" => directory.to_owned(),
            _ => self.path.strip_suffix(".rs").unwrap().to_owned(),
        }
    }
}

const TEST: &str = "#[cfg(test)]";

/// What only builds for chaos tests have counts as a test.
const CHAOS: &str = "#[cfg(feature = \"chaos\")]";

/// What of these files is compiled into the program: comments, literals and tests blanked, lines kept.
pub fn production(sources: &[Source]) -> Vec<Source> {
    let mut for_tests: Vec<String> = Vec::new();
    let mut kept = Vec::new();
    for source in sources {
        let (text, test_modules) = without_tests(&blank(&source.text.replace(CHAOS, TEST)));
        for_tests.extend(test_modules.iter().map(|module| format!("{}/{module}", source.children())));
        kept.push(Source { path: source.path.clone(), text });
    }
    let is_test = |path: &str| {
        for_tests.iter().any(|module| {
            let rest = path.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        })
    };
    kept.retain(|source| !is_test(&source.path));
    kept
}

/// `text` with spaces in place of comments and of what is between quotes.
fn blank(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(next) = rest.chars().next() {
        let length = opaque_length(rest, previous);
        if length == 0 {
            kept.push(next);
            previous = next;
            rest = &rest[next.len_utf8()..];
        } else {
            kept.extend(rest[..length].chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
            previous = ' ';
            rest = &rest[length..];
        }
    }
    kept
}

/// How long the comment or literal is that `rest` begins with; 0 if it begins with neither.
fn opaque_length(rest: &str, previous: char) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment_length(rest);
    }
    if !is_word(previous)
        && let Some(length) = raw_string_length(rest)
    {
        return length;
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    let mut after_quote = rest.chars().skip(1);
    let is_character = rest.starts_with('\'') && (after_quote.next() == Some('\\') || after_quote.next() == Some('\''));
    if is_character { quoted_length(rest, '\'') } else { 0 }
}

fn block_comment_length(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let step = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += step.0;
        at += step.1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let opening = ["r", "br", "cr"].into_iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let body = opening.trim_start_matches('#').strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(opening.len() - body.len() - 1));
    let end = body.find(&closing).map_or(body.len(), |at| at + closing.len());
    Some(rest.len() - body.len() + end)
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            end if end == quote => return at + end.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}

pub fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// `code` with every item under `#[cfg(test)]` blanked, and the modules that are in files of their own among them.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut kept, mut modules) = (String::new(), Vec::new());
    let mut rest = code;
    while let Some(at) = rest.find(TEST) {
        let item = &rest[at + TEST.len()..];
        let item = &item[..item_length(item)];
        modules.extend(declared_module(item));
        kept.push_str(&rest[..at]);
        kept.extend(item.chars().filter(|character| *character == '\n'));
        rest = &rest[at + TEST.len() + item.len()..];
    }
    kept.push_str(rest);
    (kept, modules)
}

/// How long the item, field or statement is that `code` begins with.
fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, character) in code.char_indices() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        let ends_here = (depth == 0 && matches!(character, ';' | ',' | '}')) || depth < 0;
        if ends_here {
            return at + usize::from(depth == 0);
        }
    }
    code.len()
}

/// `name`, if `item` is `mod name;` or `mod name { … }`, which may have files of its own, too.
fn declared_module(item: &str) -> Option<String> {
    let mut words = item.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let name = (words.next() == Some("mod")).then(|| words.next()).flatten()?;
    Some(name.trim_end_matches(';').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_else() {
        for (text, expected) in [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("b \" c", d)"#, r#"f(        , d)"#),
            (r##"f(r#"b " c"#, d)"##, "f(          , d)"),
            (r#"f('"', 'a', '\'')"#, "f(   ,    ,     )"),
            ("fn f<'a>(x: &'a str)", "fn f<'a>(x: &'a str)"),
            ("for_r(\"x\")", "for_r(   )"),
            ("r#type", "r#type"),
        ] {
            assert_eq!(blank(text), expected, "{text}");
        }
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() { c() }\n}\nfn d() {}\n";
        let sources = production(&[source("src/x.rs", text)]);
        assert_eq!(sources[0].text, "fn a() {}\n\n\n\n\nfn d() {}\n");

        let chaos = production(&[source("src/x.rs", "#[cfg(feature = \"chaos\")]\nfn a() {}\nfn b() {}")]);
        assert_eq!(chaos[0].text, "\n\nfn b() {}");

        let field = production(&[source("src/x.rs", "struct A { #[cfg(test)] b: C, d: E }")]);
        assert_eq!(field[0].text, "struct A {  d: E }");
    }

    #[test]
    fn files_of_test_modules_are_left_out() {
        let parent = source("src/x/mod.rs", "#[cfg(test)]\npub(crate) mod testing;\nmod kept;");
        let sibling = source("src/x.rs", "#[cfg(test)]\nmod tests;");
        let inline = source("src/y.rs", "#[cfg(test)]\nmod tests { mod deep; }");
        let files = [
            "src/y/tests/deep.rs",
            "src/x/testing.rs",
            "src/x/testing/deep.rs",
            "src/x/tests.rs",
            "src/x/kept.rs",
            "src/tests.rs",
        ];
        let mut sources = vec![parent, sibling, inline];
        sources.extend(files.map(|path| source(path, "")));
        let kept: Vec<_> = production(&sources).into_iter().map(|source| source.path).collect();
        assert_eq!(kept, ["src/x/mod.rs", "src/x.rs", "src/y.rs", "src/x/kept.rs", "src/tests.rs"]);
    }
}
