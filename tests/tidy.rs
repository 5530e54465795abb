//! The rules of the house that no compiler keeps.
//!
//! Hazard: an architecture that is kept by memory is gone after a year. Each rule here is a function from source to
//! complaints, held against the whole crate by one test and proven able to fail by another.

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/source.rs"]
mod source;

use std::io::Write;
use std::path::Path;

use imports::{forbidden, supers_out_of_a_layer};
use source::{Source, is_word, production};

/// A file longer than this is probably two.
const LONG_LINES: usize = 400;

/// What may stand at the top, besides files whose names begin with a dot and what `.gitignore` names.
const TOP: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "clippy.toml",
    "config",
    "dashboards",
    "rustfmt.toml",
    "src",
    "tests",
];

/// The `unreachable!`s that are: the file, how many, and why nothing that comes from outside gets there.
const UNREACHABLE: [(&str, usize, &str); 2] = [
    ("src/repository/layout.rs", 1, "the paths are made of constants, digests, ids and set names"),
    ("src/pipeline/capture.rs", 1, "the loop's last round returns"),
];

fn headless_files(sources: &[Source]) -> Vec<String> {
    let headless = sources.iter().filter(|source| !source.text.starts_with("//! "));
    headless.map(|source| format!("{}: a file opens with //! and the hazard it handles", source.path)).collect()
}

fn panics(sources: &[Source], unreachable: &[(&str, usize, &str)]) -> Vec<String> {
    const PANICS: [&str; 6] = [".unwrap()", ".unwrap_err()", ".expect_err(", "panic!", "todo!", "unimplemented!"];
    let mut complaints = Vec::new();
    for source in production(sources) {
        for (number, line) in source.text.lines().enumerate() {
            let found = PANICS.iter().filter(|word| contains_word(line, word));
            let found = found.chain(expects(line).then_some(&".expect("));
            complaints.extend(found.map(|word| format!("{}:{}: {word} may end an actor", source.path, number + 1)));
        }
        let found = source.text.lines().filter(|line| contains_word(line, "unreachable!")).count();
        let allowed = unreachable.iter().find(|(path, ..)| *path == source.path).map_or(0, |(_, count, _)| *count);
        if found != allowed {
            let path = &source.path;
            complaints.push(format!("{path}: {found} unreachable! where {allowed} are accounted for in UNREACHABLE"));
        }
    }
    complaints
}

/// Whether a message is given to an `expect`: a method of that name that takes something else is none of this.
fn expects(line: &str) -> bool {
    // Of a literal only spaces are left; a long one begins on the next line.
    line.split(".expect(").skip(1).any(|argument| argument.is_empty() || argument.starts_with([' ', '&']))
}

/// Whether `word` is in `line`, and not as the end of a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| word.starts_with('.') || !line[..at].ends_with(is_word))
}

fn long_files(sources: &[Source]) -> Vec<String> {
    let lengths = sources.iter().map(|source| (source, source.text.lines().count()));
    let long = lengths.filter(|(_, lines)| *lines > LONG_LINES);
    long.map(|(source, lines)| format!("{}: {lines} lines: what is it two of?", source.path)).collect()
}

fn strangers_at_the_top(names: &[String], ignored: &str) -> Vec<String> {
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    let strangers = names.iter().filter(|name| {
        let name = name.as_str();
        !name.starts_with('.') && !TOP.contains(&name) && !is_ignored(name)
    });
    strangers.map(|name| format!("{name} does not belong at the top")).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn layers_import_only_what_lies_below_them() {
    complain(&forbidden(&Source::all(root())));
    complain(&supers_out_of_a_layer(&Source::all(root())));
}

#[test]
fn every_file_opens_with_the_hazard_it_handles() {
    complain(&headless_files(&Source::all(root())));
}

#[test]
fn nothing_that_comes_from_outside_can_panic() {
    complain(&panics(&Source::all(root()), &UNREACHABLE));
}

#[test]
fn long_files_are_pointed_out() {
    for complaint in long_files(&Source::all(root())) {
        // Past the test runner's capture: a warning is to be seen although the test passes.
        writeln!(std::io::stderr(), "warning: {complaint}").unwrap();
    }
}

#[test]
fn only_what_belongs_there_is_at_the_top() {
    let entries = root().read_dir().unwrap();
    let names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let ignored = std::fs::read_to_string(root().join(".gitignore")).unwrap();
    complain(&strangers_at_the_top(&names, &ignored));
}

mod the_rules_can_fail {
    use super::*;

    fn source(path: &str, text: &str) -> Vec<Source> {
        vec![Source { path: path.to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn on_a_file_without_its_hazard() {
        assert_eq!(headless_files(&source("src/a.rs", "use std::fs;\n//! late")).len(), 1);
        assert_eq!(headless_files(&source("src/a.rs", "//! Hazard: none.")).len(), 0);
    }

    #[test]
    fn on_a_panic() {
        for text in [
            "fn f() { x.unwrap() }",
            "fn f() { x.expect(\"y\") }",
            "fn f() { x.expect(\n\"y\") }",
            "fn f() { x.unwrap_err() }",
            "fn f() { x.expect_err(\"y\") }",
            "fn f() { panic!() }",
            "fn f() { std::todo!() }",
            "fn f() { unimplemented!() }",
            "fn f() { unreachable!() }",
        ] {
            assert_eq!(panics(&source("src/a.rs", text), &[]).len(), 1, "{text}");
        }
        for text in [
            "x.unwrap_or(1)",
            "#[expect(dead_code)]",
            "// x.unwrap()",
            "\"panic!\"",
            "my_panic!()",
            "progress.expect(bytes)",
        ] {
            assert_eq!(panics(&source("src/a.rs", text), &[]).len(), 0, "{text}");
        }
    }

    #[test]
    fn on_an_unreachable_that_is_no_longer_there() {
        let accounted = [("src/a.rs", 1, "a reason")];
        assert_eq!(panics(&source("src/a.rs", "fn f() { unreachable!() }"), &accounted).len(), 0);
        assert_eq!(panics(&source("src/a.rs", "fn f() {}"), &accounted).len(), 1);
    }

    #[test]
    fn on_a_long_file() {
        assert_eq!(long_files(&source("src/a.rs", &"\n".repeat(LONG_LINES + 1))).len(), 1);
        assert_eq!(long_files(&source("src/a.rs", &"\n".repeat(LONG_LINES))).len(), 0);
    }

    #[test]
    fn on_a_stranger_at_the_top() {
        let names = ["src", ".git", "target", "notes.md"].map(str::to_owned);
        assert_eq!(strangers_at_the_top(&names, "/target\n"), ["notes.md does not belong at the top"]);
    }
}
