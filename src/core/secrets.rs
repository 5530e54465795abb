//! Recognising what must not be shown.
//!
//! Hazard: a diff that is pasted into a ticket with a password in it. What is secret by its name, by its form, or because
//! it looks like chance, is hidden together with everything below it; better too much than too little.
//!
//! A secret is shown as `(hidden #1)`: the same number stands for the same secret, so that a change is seen.

mod beside;
mod forms;
mod lines;
mod names;
mod open;
mod patterns;
mod random;
mod signs;

use std::collections::HashMap;

use lines::About;
pub use names::{is_secret_file, is_secret_name, names_a_secret, takes_a_secret};

/// Whether secrets are hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secrets {
    /// They are.
    #[default]
    Hidden,
    /// Everything is shown as it is.
    Shown,
}

/// Hides secrets in texts that are to be compared: equal ones stay equal, different ones different.
#[derive(Debug, Default)]
pub struct Redactor {
    secrets: Secrets,
    seen: HashMap<String, usize>,
}

impl Redactor {
    /// One that hides secrets, or does not.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, seen: HashMap::new() }
    }

    /// How many secrets were hidden, equal ones once.
    pub fn count(&self) -> usize {
        self.seen.len()
    }

    /// Whether everything is shown as it is.
    pub fn shows_all(&self) -> bool {
        self.secrets == Secrets::Shown
    }

    /// What is shown in the place of a secret: a number that tells it from others, and nothing else of it.
    pub fn hide(&mut self, secret: &str) -> String {
        if self.shows_all() {
            return secret.to_owned();
        }
        let next = self.seen.len() + 1;
        numbered(*self.seen.entry(secret.to_owned()).or_insert(next))
    }

    /// A text with its secrets hidden.
    pub fn text(&mut self, text: &str) -> String {
        self.shown(text, About::default())
    }

    /// The same of a text that holds secrets and little else: names are shown, and nothing that is said of them.
    pub fn secret_text(&mut self, text: &str) -> String {
        self.shown(text, About { is_secret: true, ..About::default() })
    }

    /// The same of the value of this name, if that does not say itself that it is a secret.
    pub fn value(&mut self, name: &str, value: &str) -> String {
        self.shown(value, About { name: Some(name), ..About::default() })
    }

    fn shown(&mut self, text: &str, about: About<'_>) -> String {
        if self.shows_all() {
            return text.to_owned();
        }
        let mut shown = String::with_capacity(text.len());
        for (line, secrets) in text.lines().zip(lines::secrets(text, about)) {
            let mut rest = 0;
            for secret in secrets {
                shown += &line[rest..secret.start];
                rest = secret.end;
                shown += &self.hide(&line[secret]);
            }
            shown += &line[rest..];
            shown.push('\n');
        }
        if !text.ends_with('\n') {
            shown.pop();
        }
        shown
    }
}

/// A setting of this name, with its secrets hidden. It may have paths and names of hosts, which may be anything.
pub fn shown_value(name: &str, value: &str) -> String {
    if is_secret_name(name) && !value.is_empty() {
        return HIDDEN.to_owned();
    }
    let mut redactor = Redactor::default();
    let shown = redactor.shown(value, About { name: Some(name), has_random_names: true, ..About::default() });
    // Compared with nothing, their numbers say nothing.
    (1..=redactor.count()).fold(shown, |shown, number| shown.replace(&numbered(number), HIDDEN))
}

/// What is shown of a secret that is compared with no other.
pub const HIDDEN: &str = "(hidden)";

fn numbered(number: usize) -> String {
    format!("(hidden #{number})")
}

#[cfg(test)]
mod tests;
