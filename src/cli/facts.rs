//! What is known of one thing, a line each.
//!
//! Hazard: a name that is far from what it names. What is too long for a line goes on below itself, beside its name.

use super::output::Look;
use super::table::Cell;

/// Names, and what is known under each.
#[derive(Debug, Default)]
pub struct Facts(Vec<(&'static str, Cell)>);

impl Facts {
    /// Adds one.
    pub fn add(&mut self, name: &'static str, value: impl Into<Cell>) {
        self.0.push((name, value.into()));
    }

    /// The facts as text, each on a line of its own.
    pub fn render(&self, look: &Look) -> String {
        let width = self.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        self.0.iter().map(|(name, value)| format!("{name:width$}  {}\n", value.painted(look))).collect()
    }
}
