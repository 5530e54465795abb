//! The rules of the house that no compiler keeps.
//!
//! Hazard: an architecture that is kept by memory is gone after a year. Each rule here is a function from source to
//! complaints, held against the whole crate by one test and proven able to fail by another.

#[path = "tidy/source.rs"]
mod source;

use std::io::Write;
use std::path::Path;

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

/// Imports that never exist.
const NEVER: [Never; 10] = [
    Never {
        who: Who::Only("core"),
        what: &["crate"],
        except: &["crate::core"],
        why: "core decides from what it is given and knows nothing else",
    },
    Never {
        who: Who::Only("core"),
        what: &[
            "std::fs",
            "std::net",
            "std::env",
            "std::process",
            "std::thread",
            "std::time::SystemTime",
            "std::time::Instant",
            "chrono::Utc::now",
            "Utc::now",
            "fastrand",
            "rustix",
            "tokio",
            "actix",
            "actix_rt",
            "actix_web",
            "tracing",
            "prometheus",
        ],
        except: &[],
        why: "core is pure: no files, clock, chance, threads, telemetry",
    },
    Never {
        who: Who::Only("settings"),
        what: &["crate"],
        except: &["crate::settings", "crate::core"],
        why: "settings are read before anything else exists",
    },
    Never {
        who: Who::Only("storage"),
        what: &["crate"],
        except: &["crate::storage", "crate::core"],
        why: "storage moves bytes and knows no backups",
    },
    Never {
        who: Who::Only("repository"),
        what: &["crate"],
        except: &["crate::repository", "crate::storage", "crate::core"],
        why: "the repository knows what is stored, not who asks",
    },
    Never {
        who: Who::Only("pipeline"),
        what: &[
            "crate::actors",
            "crate::telemetry",
            "crate::http",
            "crate::cli",
            "crate::daemon",
            "actix",
            "actix_web",
            "prometheus",
        ],
        except: &[],
        why: "use cases are plain functions, whoever calls them",
    },
    Never {
        who: Who::Only("audit"),
        what: &["crate"],
        except: &["crate::audit", "crate::core"],
        why: "the audit log records what it is told",
    },
    Never {
        who: Who::Only("actors"),
        what: &["crate::http", "crate::cli", "crate::daemon"],
        except: &[],
        why: "the service does not know its front doors",
    },
    Never {
        who: Who::Only("http"),
        what: &["crate::cli", "crate::storage", "crate::repository"],
        except: &[],
        why: "a front door goes through the service, and not through another door",
    },
    Never {
        who: Who::Only("cli"),
        what: &["crate::http", "crate::storage", "crate::repository"],
        except: &["crate::repository::lock"],
        why: "a front door goes through the service, and not through another door; who holds the lock it may ask",
    },
];

/// The only place that knows Prometheus.
const PROMETHEUS: Never = Never {
    who: Who::AllBut("telemetry"),
    what: &["prometheus"],
    except: &[],
    why: "events are counted in telemetry, and nowhere else",
};

/// The `unreachable!`s that are: the file, how many, and why nothing that comes from outside gets there.
const UNREACHABLE: [(&str, usize, &str); 2] = [
    ("src/repository/layout.rs", 1, "the paths are made of constants, digests, ids and set names"),
    ("src/pipeline/capture.rs", 1, "the loop's last round returns"),
];

struct Never {
    who: Who,
    what: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

enum Who {
    Only(&'static str),
    AllBut(&'static str),
}

impl Never {
    fn concerns(&self, layer: &str) -> bool {
        match self.who {
            Who::Only(only) => layer == only,
            Who::AllBut(other) => layer != other,
        }
    }

    fn forbids(&self, path: &str) -> bool {
        let within = |places: &[&str]| {
            places.iter().any(|place| path.strip_prefix(place).is_some_and(|r| r.is_empty() || r.starts_with("::")))
        };
        within(self.what) && !within(self.except)
    }
}

fn forbidden_imports<'r>(sources: &[Source], rules: impl IntoIterator<Item = &'r Never> + Clone) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in production(sources) {
        for rule in rules.clone().into_iter().filter(|rule| rule.concerns(source.layer())) {
            for (line, path) in paths(&source.text).into_iter().filter(|(_, path)| rule.forbids(path)) {
                complaints.push(format!("{}:{line}: {path}: {}", source.path, rule.why));
            }
        }
    }
    complaints
}

/// Every path of two or more segments in `code`, from its first one, groups taken apart, with its line. The name of
/// this crate counts as `crate`.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let rest = &code[at..];
        let word = word_of(rest);
        if word.is_empty() {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let before = code[..at].trim_end();
        if !before.ends_with("::") && !before.ends_with('.') {
            let line = 1 + code[..at].matches('\n').count();
            let mut tree = Vec::new();
            read_tree("", rest, &mut tree);
            let whole = tree.into_iter().filter(|path| path.contains("::"));
            found.extend(whole.map(|path| (line, path.replacen("fiovana_app::", "crate::", 1))));
        }
        at += word.len();
    }
    found
}

fn word_of(text: &str) -> &str {
    &text[..text.find(|character| !is_word(character)).unwrap_or(text.len())]
}

/// Reads `a::b::{c, d::e}` at the beginning of `text` into `found`; returns how much of it was read.
fn read_tree(prefix: &str, text: &str, found: &mut Vec<String>) -> usize {
    let trimmed = text.trim_start();
    let skipped = text.len() - trimmed.len();
    if let Some(mut group) = trimmed.strip_prefix('{') {
        let length = trimmed.len();
        loop {
            group = group[read_tree(prefix, group, found)..].trim_start();
            let Some(more) = group.strip_prefix(',') else { break };
            group = more;
        }
        return skipped + length - group.len() + usize::from(group.starts_with('}'));
    }
    let word = word_of(trimmed);
    if word.is_empty() {
        return skipped;
    }
    let path = if prefix.is_empty() { word.to_owned() } else { format!("{prefix}::{word}") };
    let after = &trimmed[word.len()..];
    if let Some(rest) = after.strip_prefix("::").filter(|rest| rest.starts_with(|next| is_word(next) || next == '{')) {
        return skipped + word.len() + 2 + read_tree(&path, rest, found);
    }
    found.push(path);
    skipped + word.len()
}

/// `super` can reach what `crate` can: one that leaves its layer must be spelt `crate`, so that the rules see it.
fn supers_out_of_a_layer(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in production(sources) {
        let inside = source.path.split('/').count() - 2;
        let depth = if source.path.ends_with("/mod.rs") { inside } else { inside + 1 };
        for (line, path) in paths(&source.text) {
            let supers = path.split("::").take_while(|segment| *segment == "super").count();
            if supers >= depth && supers > 0 {
                complaints.push(format!("{}:{line}: {path}: spell it with crate::", source.path));
            }
        }
    }
    complaints
}

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
    complain(&forbidden_imports(&Source::all(root()), NEVER.iter().chain([&PROMETHEUS])));
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

    fn imports(path: &str, text: &str) -> Vec<String> {
        forbidden_imports(&source(path, text), NEVER.iter().chain([&PROMETHEUS]))
    }

    #[test]
    fn on_an_import_against_the_order() {
        for (path, text) in [
            ("src/core/mode.rs", "use crate::storage::Storage;"),
            ("src/core/mode.rs", "fn f() { std::fs::remove_file(p) }"),
            ("src/core/mode.rs", "use std::{collections::HashMap, fs};"),
            ("src/core/schedule.rs", "let now = Utc::now();"),
            ("src/core/schedule.rs", "use tokio::time::sleep;"),
            ("src/settings/mod.rs", "use crate::repository::Repository;"),
            ("src/storage/local.rs", "use crate::{core::Digest, repository::layout};"),
            ("src/repository/open.rs", "use crate::pipeline::Progress;"),
            ("src/pipeline/archive.rs", "use actix_web::web;"),
            ("src/pipeline/archive.rs", "fn f() -> crate::http::Problem {}"),
            ("src/audit/log.rs", "use crate::storage::Storage;"),
            ("src/actors/archiver.rs", "use crate::cli;"),
            ("src/http/handlers.rs", "use crate::repository::wire::Manifest;"),
            ("src/cli/commands.rs", "use fiovana_app::storage::Storage;"),
            ("src/cli/commands.rs", "use crate::repository::open;"),
            ("src/daemon.rs", "static A: prometheus::IntCounter = x;"),
        ] {
            assert_eq!(imports(path, text).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn and_accept_what_is_in_order() {
        for (path, text) in [
            ("src/core/mode.rs", "use crate::core::{Digest, backup::Sequence};"),
            ("src/core/mode.rs", "// use crate::storage::Storage;\nlet a = \"std::fs::read\";"),
            ("src/core/mode.rs", "#[cfg(test)]\nmod tests { use crate::storage::Storage; }"),
            ("src/repository/open.rs", "use crate::storage::Storage;"),
            ("src/cli/commands.rs", "use crate::repository::lock::holder;"),
            ("src/telemetry/metrics.rs", "use prometheus::Registry;"),
            ("src/daemon.rs", "use crate::{http, cli, repository::Repository};"),
        ] {
            assert_eq!(imports(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn on_a_way_out_of_a_layer_through_super() {
        for (path, text, complaints) in [
            ("src/core/mode.rs", "use super::super::storage::Storage;", 1),
            ("src/core/mod.rs", "use super::storage::Storage;", 1),
            ("src/core/mode.rs", "use super::Digest;", 0),
            ("src/core/mode/step.rs", "use super::super::Digest;", 0),
        ] {
            assert_eq!(supers_out_of_a_layer(&source(path, text)).len(), complaints, "{path}: {text}");
        }
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
