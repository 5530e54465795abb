//! Imports that never exist.
//!
//! Hazard: one convenient import turns layers into a ball. Each rule says who may not know what, and why.

use super::source::{Source, is_word, production};

/// Imports that never exist.
const NEVER: [Never; 13] = [
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
        who: Who::Only("files"),
        what: &["crate"],
        except: &["crate::files", "crate::core"],
        why: "files are opened for everybody, who know what is in them",
    },
    Never {
        who: Who::Only("settings"),
        what: &["crate"],
        except: &["crate::settings", "crate::source_path", "crate::core", "crate::files"],
        why: "settings are read before anything else exists",
    },
    Never {
        who: Who::Only("source_path"),
        what: &["crate"],
        except: &["crate::source_path", "crate::core", "crate::files"],
        why: "a path is resolved and opened whoever asks",
    },
    Never {
        who: Who::Only("storage"),
        what: &["crate"],
        except: &["crate::storage", "crate::core", "crate::files"],
        why: "storage moves bytes and knows no backups",
    },
    Never {
        who: Who::Only("repository"),
        what: &["crate"],
        except: &["crate::repository", "crate::storage", "crate::core", "crate::files"],
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
        except: &["crate::audit", "crate::core", "crate::files"],
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
        except: &["crate::repository::lock", "crate::repository::Repository", "crate::repository::catalogue::Backup"],
        why: "a front door goes through the service; where none runs, it hands the repository on and looks not inside",
    },
    Never {
        who: Who::AllBut("telemetry"),
        what: &["prometheus"],
        except: &[],
        why: "events are counted in telemetry, and nowhere else",
    },
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

/// What is imported against a rule.
pub fn forbidden(sources: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in production(sources) {
        for rule in NEVER.iter().filter(|rule| rule.concerns(source.layer())) {
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
pub fn supers_out_of_a_layer(sources: &[Source]) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Vec<Source> {
        vec![Source { path: path.to_owned(), text: text.to_owned() }]
    }

    fn imports(path: &str, text: &str) -> Vec<String> {
        forbidden(&source(path, text))
    }

    #[test]
    fn an_import_against_the_order_is_found() {
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
    fn an_import_in_order_is_not() {
        for (path, text) in [
            ("src/core/mode.rs", "use crate::core::{Digest, backup::Sequence};"),
            ("src/core/mode.rs", "// use crate::storage::Storage;\nlet a = \"std::fs::read\";"),
            ("src/core/mode.rs", "#[cfg(test)]\nmod tests { use crate::storage::Storage; }"),
            ("src/repository/open.rs", "use crate::storage::Storage;"),
            ("src/cli/commands.rs", "use crate::repository::{Repository, lock::holder};"),
            ("src/telemetry/metrics.rs", "use prometheus::Registry;"),
            ("src/daemon.rs", "use crate::{http, cli, repository::Repository};"),
        ] {
            assert_eq!(imports(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn a_way_out_of_a_layer_through_super_is_found() {
        for (path, text, complaints) in [
            ("src/core/mode.rs", "use super::super::storage::Storage;", 1),
            ("src/core/mod.rs", "use super::storage::Storage;", 1),
            ("src/core/mode.rs", "use super::Digest;", 0),
            ("src/core/mode/step.rs", "use super::super::Digest;", 0),
        ] {
            assert_eq!(supers_out_of_a_layer(&source(path, text)).len(), complaints, "{path}: {text}");
        }
    }
}
