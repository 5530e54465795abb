//! What there is to say instead of doing something: help, the version, or what was mistyped.
//!
//! Hazard: a script that asked for JSON, mistyped an option, and finds nothing to read. A usage error is a problem like
//! any other then; people see what clap says, as wide as their terminal is.

use std::ffi::OsString;
use std::io;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches};

use super::arguments::Arguments;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{Output, Page};
use crate::api::{Problem, ProblemKind};

/// Where there are fewer columns, what an option does is said below it.
const NARROW: usize = 72;

/// What there is to print instead of a command's result.
#[derive(Debug)]
pub struct Instead {
    pub(super) said: clap::Error,
    pub(super) json: bool,
}

/// Reads a command line, the program's name first. The error is what there is to print instead: help, version, or
/// what is wrong.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Arguments, Instead> {
    let words: Vec<OsString> = words.into_iter().collect();
    let json = words.iter().take_while(|word| *word != "--").any(|word| word == "--json");
    let is_narrow = Page::of(io::stdout()).width.is_some_and(|columns| columns < NARROW);
    let mut command = Arguments::command().next_line_help(is_narrow);
    let parsed = command.try_get_matches_from_mut(words).and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.map_err(|said| Instead { said, json })
}

/// Prints it.
pub fn explain(instead: &Instead, output: &mut Output<'_>) -> Exit {
    let Instead { said, json } = instead;
    if said.use_stderr() && *json {
        output.failure(&problem(said).into());
        return Exit::Usage;
    }
    let rendered = said.render();
    let text = |colour| if colour { rendered.ansi().to_string() } else { rendered.to_string() };
    match output.instead(said.use_stderr(), text) {
        Ok(()) if said.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
        Err(failure) => told(&failure, output),
    }
}

fn told(failure: &Failure, output: &mut Output<'_>) -> Exit {
    output.failure(failure);
    failure.exit()
}

/// What is wrong, on one line: what clap says first, and the suggestion that it makes.
fn problem(said: &clap::Error) -> Problem {
    let text = said.to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let mut detail = words.join(" ").trim_start_matches("error: ").to_owned();
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let suggested = kinds.iter().find_map(|kind| match said.get(*kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(several) => several.first().cloned(),
        _ => None,
    });
    detail += &suggested.map_or_else(|| "; see --help".to_owned(), |word| format!("; did you mean {word}?"));
    Problem::new(ProblemKind::BadRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::look;

    /// The exit, what is on standard output and what on standard error.
    fn explained(line: &str) -> (Exit, String, String) {
        let instead = parse(line.split_whitespace().map(OsString::from)).unwrap_err();
        let (mut results, mut messages) = (Vec::new(), Vec::new());
        let exit = explain(&instead, &mut Output::new(&mut results, &mut messages, look(), instead.json));
        (exit, String::from_utf8(results).unwrap(), String::from_utf8(messages).unwrap())
    }

    #[test]
    fn help_is_a_result_and_a_mistake_is_not() {
        let (exit, result, messages) = explained("fiovana-app list --help");
        assert!(exit == Exit::Done && result.contains("--limit") && messages.is_empty());
        let (exit, result, messages) = explained("fiovana-app list --sett logs");
        assert!(exit == Exit::Usage && result.is_empty() && messages.contains("--set"), "{messages}");
    }

    #[test]
    fn a_script_that_mistypes_gets_a_problem_that_says_what_was_meant() {
        for (line, expected) in [
            ("fiovana-app --json bakcup security", "unrecognized subcommand 'bakcup'; did you mean backup?"),
            ("fiovana-app list --sett logs --json", "unexpected argument '--sett' found; did you mean --set?"),
            (
                "fiovana-app restore security --json",
                "the following required arguments were not provided: <ID>; see --help",
            ),
        ] {
            let (exit, result, messages) = explained(line);
            let problem: Problem = serde_json::from_str(&result).unwrap();
            assert_eq!((exit, problem.kind, problem.detail.as_str()), (Exit::Usage, ProblemKind::BadRequest, expected));
            assert_eq!(messages, format!("fiovana-app: {expected}\n"));
        }
        assert!(explained("fiovana-app list --sett -- --json").1.is_empty(), "that was no option");
    }
}
