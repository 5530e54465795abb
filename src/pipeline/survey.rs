//! What the patterns of a set mean now.
//!
//! Hazard: a pattern with a slip in it backs up nothing, or the wrong files, and the settings are valid all the same.
//! What each one matches is shown before it is relied on.

use super::source::{Found, SourceDirectory, SourceError, plain};
use crate::settings::SetSettings;

/// The most names that a survey lists of one kind; the rest is counted.
pub const MAX_LISTED: usize = 20;

/// What a set would back up now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many files.
    pub files: usize,
    /// Each pattern, and how many files it means.
    pub patterns: Vec<(String, usize)>,
    /// Files that are matched and excluded: some of them, and how many there are.
    pub excluded: (Vec<String>, usize),
    /// What is there and cannot be backed up, and why.
    pub unreadable: Vec<(String, String)>,
    /// Files with names that logs have, in a set that does not say it holds logs.
    pub like_logs: Vec<String>,
}

/// Looks at the source of a set.
pub fn survey(set: &SetSettings) -> Result<Survey, SourceError> {
    let found = SourceDirectory::open(&set.source)?.look(&set.files.with_excluded())?;
    let mut survey = Survey::default();
    let mut files: Vec<&str> = Vec::new();
    for (path, found) in &found {
        match found {
            Found::File(_) | Found::Symlink(..) if set.files.is_excluded(&plain(path)) => {
                survey.excluded.1 += 1;
                if survey.excluded.0.len() < MAX_LISTED {
                    survey.excluded.0.push(path.clone());
                }
            }
            Found::File(_) | Found::Symlink(..) => files.push(path),
            Found::Missing | Found::Directory(_) => {}
            Found::Unreadable(why) | Found::NoContent(why) if survey.unreadable.len() < MAX_LISTED => {
                if !set.files.is_excluded(&plain(path)) {
                    survey.unreadable.push((path.clone(), why.clone()));
                }
            }
            Found::Unreadable(_) | Found::NoContent(_) => {}
        }
    }
    survey.files = files.len();
    let plain: Vec<String> = files.iter().map(|path| plain(path)).collect();
    let counts = set.files.counts(plain.iter().map(String::as_str));
    survey.patterns = counts.into_iter().map(|(pattern, count)| (pattern.to_owned(), count)).collect();
    if !set.kind.is_logs() {
        let like_logs = files.iter().filter(|path| looks_like_a_log(path)).take(MAX_LISTED);
        survey.like_logs = like_logs.map(|path| (*path).to_owned()).collect();
    }
    Ok(survey)
}

/// `x.log`, `x.jsonl` and their rotated segments. Good enough for advice, and for nothing else.
fn looks_like_a_log(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    [".log", ".jsonl"].iter().any(|ending| match name.split_once(ending) {
        Some((stem, rest)) => !stem.is_empty() && (rest.is_empty() || rest.starts_with(['.', '-'])),
        None => false,
    })
}
