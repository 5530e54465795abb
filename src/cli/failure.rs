//! Why a command was not done.
//!
//! Hazard: an operator at 3 a.m. who reads `os error 11`. Every failure is one line that says what happened, where,
//! and what to do.

use crate::actors::problems::chain;
use std::io;

use super::exit::Exit;
use super::remote::RemoteError;
use crate::api::{Problem, ProblemKind};
use crate::daemon;
use crate::keys::KeyError;
use crate::settings::SettingsErrors;

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The service said no.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsErrors),
    /// The repository could not be opened here.
    #[error(transparent)]
    Daemon(daemon::Failure),
    /// The service that holds the repository could not be asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The keys cannot be used, or changed.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The working directory is gone, or not ours to see.
    #[error("find the working directory: change to one that exists")]
    WorkingDirectory(#[source] io::Error),
    /// The machinery for asking could not be started.
    #[error("start the command")]
    Runtime(#[source] io::Error),
    /// What was found could not be printed.
    #[error("write to standard output")]
    Output(#[source] io::Error),
}

impl From<daemon::Failure> for Failure {
    fn from(failure: daemon::Failure) -> Self {
        match failure {
            daemon::Failure::Settings(errors) => Self::Settings(errors),
            other => Self::Daemon(other),
        }
    }
}

impl Failure {
    /// The exit code it leads to.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Problem(problem) => Exit::of_problem(problem.kind),
            Self::Settings(errors) if errors.is_of_a_stranger() => Exit::Failed,
            Self::Settings(_) | Self::Daemon(daemon::Failure::Keys(_)) => Exit::Usage,
            _ => Exit::Failed,
        }
    }

    /// The same as a document: `--json` never leaves a program with nothing to read.
    pub fn problem(&self) -> Problem {
        let kind = match self {
            Self::Problem(problem) => return problem.clone(),
            _ if self.exit() == Exit::Usage => ProblemKind::BadRequest,
            Self::Daemon(_) | Self::Remote(_) => ProblemKind::Unavailable,
            _ => ProblemKind::Internal,
        };
        Problem::new(kind, chain(self))
    }

    /// What to print: one line a problem, each with its causes; then advice.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = chain(self).lines().map(without_number).map(str::to_owned).collect();
        if let Self::Problem(problem) = self {
            if let (Some(last), Some(next)) = (lines.last_mut(), next_step(problem)) {
                last.push_str("; ");
                last.push_str(next);
            }
            if !problem.good_backups.is_empty() {
                let ids: Vec<String> = problem.good_backups.iter().map(ToString::to_string).collect();
                lines.push(format!("good backups: {}", ids.join(", ")));
            }
        }
        lines
    }
}

/// What to do about a problem whose own words do not say it, because it is not only commands that meet it.
fn next_step(problem: &Problem) -> Option<&'static str> {
    match problem.kind {
        ProblemKind::Keys => Some(problem.kind.advice()),
        ProblemKind::WrongMode => Some("`fiovana-app recovery status` says what the mode waits for"),
        ProblemKind::Integrity if problem.good_backups.is_empty() => {
            Some("`fiovana-app list` shows which backups are good")
        }
        _ => None,
    }
}

/// A line without the number of its error, which says nothing that its words do not.
fn without_number(line: &str) -> &str {
    match line.rsplit_once(" (os error ") {
        Some((said, number)) if number.strip_suffix(')').is_some_and(|digits| digits.parse::<i32>().is_ok()) => said,
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_backups_are_advice_on_a_second_line() {
        let mut problem = Problem::new(ProblemKind::Integrity, "backup 2026 is damaged");
        problem.good_backups = vec!["20261123T101500Z-3f9c2ab1".parse().unwrap()];
        let failure = Failure::from(problem);
        assert_eq!(failure.lines(), ["backup 2026 is damaged", "good backups: 20261123T101500Z-3f9c2ab1"]);
        assert_eq!(failure.exit(), Exit::Integrity);
    }

    #[test]
    fn the_number_of_an_error_is_not_for_people() {
        let failure = Failure::WorkingDirectory(io::Error::from_raw_os_error(2));
        let expected = "find the working directory: change to one that exists: No such file or directory";
        assert_eq!(failure.lines(), [expected]);
        assert_eq!(without_number("it said (os error x)"), "it said (os error x)");
    }

    #[test]
    fn a_failure_says_what_to_do() {
        for (kind, expected) in [
            (ProblemKind::Keys, "`fiovana-app config show`"),
            (ProblemKind::WrongMode, "`fiovana-app recovery status`"),
            (ProblemKind::Integrity, "`fiovana-app list`"),
        ] {
            let lines = Failure::from(Problem::new(kind, "no")).lines();
            assert!(lines.len() == 1 && lines[0].starts_with("no; ") && lines[0].contains(expected), "{lines:?}");
        }
    }

    #[test]
    fn causes_follow_what_they_caused() {
        let failure = Failure::Output(io::Error::other("disk full"));
        assert_eq!(failure.lines(), ["write to standard output: disk full"]);
    }
}
