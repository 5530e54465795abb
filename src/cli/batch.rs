//! Several pieces of work in one command.
//!
//! Hazard: the first failure hides the rest. Each piece is tried, each result is told, and the worst decides the exit
//! code.

use serde::{Deserialize, Serialize};

use super::exit::Exit;
use crate::api::Problem;

/// What became of each piece; the document of `backup all` and `verify --all`.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch<T> {
    /// The results, in the order they were made.
    pub done: Vec<T>,
    /// What failed.
    pub failed: Vec<BatchFailure>,
}

/// A piece that failed.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchFailure {
    /// The set or the backup.
    pub name: String,
    /// Why.
    pub problem: Problem,
}

impl<T> Batch<T> {
    /// Nothing done yet.
    pub const fn new() -> Self {
        Self { done: Vec::new(), failed: Vec::new() }
    }

    /// The worst of everything.
    pub fn exit(&self, of_result: impl Fn(&T) -> Exit) -> Exit {
        let failed = self.failed.iter().map(|failure| Exit::of_problem(failure.problem.kind));
        self.done.iter().map(of_result).chain(failed).max().unwrap_or(Exit::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ProblemKind;

    #[test]
    fn the_worst_piece_decides() {
        let mut batch = Batch { done: vec![Exit::Done, Exit::Problems], failed: vec![] };
        assert_eq!(batch.exit(|exit| *exit), Exit::Problems);
        let problem = Problem::new(ProblemKind::Integrity, "damaged");
        batch.failed.push(BatchFailure { name: "security".into(), problem });
        assert_eq!(batch.exit(|exit| *exit), Exit::Integrity);
    }
}
