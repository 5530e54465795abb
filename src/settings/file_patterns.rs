//! Which files a set names.
//!
//! Hazard: a pattern that climbs out of its source backs up, and later *restores*, what nobody meant. Patterns are
//! plain relative paths and globs; whatever could point elsewhere is refused here, once.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::origin::Shown;
use crate::core::entry_path::escape;

/// The most patterns a set may name.
pub const MAX_PATTERNS: usize = 1000;

/// The longest pattern, in bytes.
pub const MAX_PATTERN_BYTES: usize = 4096;

/// Characters that make a pattern a glob.
const GLOB_CHARACTERS: [char; 4] = ['*', '?', '[', '{'];

/// The files of a set, relative to its source: literal names, and globs in which `*` and `?` stop at `/` and `**`
/// does not. A file whose name is exactly the text of a glob (`app[1].conf`) is meant as well. What is excluded is not
/// of the set, whatever else names it.
#[derive(Clone, Debug)]
pub struct FilePatterns {
    literals: Vec<String>,
    globs: Vec<String>,
    matcher: GlobSet,
    /// Whether it is no news if a glob matches nothing.
    may_match_nothing: bool,
    /// Whether the names are texts of paths, and what is at each is meant, whatever it is.
    exact: bool,
    excluded: Option<Box<FilePatterns>>,
}

/// Why a text is no file pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{pattern:?} {fault}")]
pub struct FilePatternError {
    /// The pattern, shortened.
    pattern: String,
    /// What is wrong with it, and what to do.
    fault: String,
}

impl FilePatterns {
    /// The patterns, each kept once.
    ///
    /// Refused: absolute paths, empty, `.` and `..` segments, NUL, backslashes, malformed globs, and more than
    /// [`MAX_PATTERNS`]; an empty list is not.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Result<Self, FilePatternError> {
        let (mut literals, mut globs, mut builder) = (Vec::new(), Vec::new(), GlobSetBuilder::new());
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let refused =
                |fault: &str| FilePatternError { pattern: pattern.chars().take(80).collect(), fault: fault.to_owned() };
            if let Some(fault) = fault(pattern) {
                return Err(refused(fault));
            }
            let kept = if pattern.contains(GLOB_CHARACTERS) { &mut globs } else { &mut literals };
            if kept.iter().any(|known| known == pattern) {
                continue;
            }
            kept.push(pattern.to_owned());
            if pattern.contains(GLOB_CHARACTERS) {
                builder.add(glob(pattern).map_err(|error| refused(&format!("is no glob: {}", error.kind())))?);
            }
            if literals.len() + globs.len() > MAX_PATTERNS {
                return Err(refused("is one too many: use a glob"));
            }
        }
        let unusable = |error: globset::Error| FilePatternError {
            pattern: globs.first().cloned().unwrap_or_default(),
            fault: format!("and the other globs cannot be used together: {}", error.kind()),
        };
        let matcher = builder.build().map_err(unusable)?;
        Ok(Self { literals, globs, matcher, may_match_nothing: false, exact: false, excluded: None })
    }

    /// Literal names only.
    fn of_literals(literals: Vec<String>) -> Self {
        let (globs, matcher) = (Vec::new(), GlobSet::empty());
        Self { literals, globs, matcher, may_match_nothing: false, exact: false, excluded: None }
    }

    /// The same, for globs that need not match anything.
    pub(super) fn that_may_match_nothing(self) -> Self {
        Self { may_match_nothing: true, ..self }
    }

    /// The same without the files that `excluded` names; refused if that is a file named literally.
    pub fn without(self, excluded: Self) -> Result<Self, FilePatternError> {
        if let Some(named) = self.literals().find(|literal| excluded.is_match(literal)) {
            let fault = "is named in files as well: leave it out of one of the two".to_owned();
            return Err(FilePatternError { pattern: named.to_owned(), fault });
        }
        Ok(Self { excluded: Some(Box::new(excluded)), ..self })
    }

    /// One file whose name is meant literally, even if it looks like a glob.
    pub(super) fn literally(name: &str) -> Result<Self, FilePatternError> {
        match fault(name) {
            Some(fault) => Err(FilePatternError { pattern: name.to_owned(), fault: fault.to_owned() }),
            None => Ok(Self::of_literals(vec![name.to_owned()])),
        }
    }

    /// Exactly what is at these paths, given as the texts that manifests have; a symlink is meant itself.
    pub fn exactly(paths: Vec<String>) -> Self {
        Self { exact: true, ..Self::of_literals(paths) }
    }

    /// Whether what is at each path is meant, whatever it is.
    pub const fn is_exact(&self) -> bool {
        self.exact
    }

    /// The names that are no globs, as the texts of paths.
    pub fn literal_paths(&self) -> impl Iterator<Item = String> {
        self.literals().map(|name| if self.exact { name.to_owned() } else { escape(name.as_bytes()) })
    }

    /// The names that are no globs, in the order given.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.literals.iter().map(String::as_str)
    }

    /// The globs, in the order given.
    pub fn globs(&self) -> &[String] {
        &self.globs
    }

    /// The same with what is excluded.
    pub fn with_excluded(&self) -> Self {
        Self { excluded: None, ..self.clone() }
    }

    /// How many of these paths each pattern means, in the order given, literal names first.
    pub fn counts<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Vec<(&str, usize)> {
        let mut counts: Vec<(&str, usize)> =
            self.literals().chain(self.globs.iter().map(String::as_str)).map(|pattern| (pattern, 0)).collect();
        for path in paths {
            let globs: BTreeSet<usize> = self.matcher.matches(path).into_iter().collect();
            for (index, (pattern, count)) in counts.iter_mut().enumerate() {
                let of_glob = index.checked_sub(self.literals.len()).is_some_and(|index| globs.contains(&index));
                *count += usize::from(of_glob || *pattern == path);
            }
        }
        counts
    }

    /// What is excluded, in the order given.
    pub fn excluded(&self) -> Option<&Self> {
        self.excluded.as_deref()
    }

    /// Whether this path, which is named, is excluded.
    pub fn is_excluded(&self, relative: &str) -> bool {
        self.excluded.as_ref().is_some_and(|excluded| excluded.is_match(relative))
    }

    /// The globs that match none of these paths, in the order given; those that need not are not among them.
    pub fn unmatched<'p>(&self, paths: impl IntoIterator<Item = &'p str>) -> Vec<&str> {
        if self.may_match_nothing || self.globs.is_empty() {
            return Vec::new();
        }
        let mut matched: BTreeSet<usize> = BTreeSet::new();
        for path in paths {
            matched.extend(self.matcher.matches(path));
            matched.extend(self.globs.iter().position(|glob| glob == path));
            if matched.len() == self.globs.len() {
                break;
            }
        }
        let globs = self.globs.iter().enumerate();
        globs.filter(|(index, _)| !matched.contains(index)).map(|(_, glob)| glob.as_str()).collect()
    }

    /// Whether any pattern is a glob.
    pub fn has_globs(&self) -> bool {
        !self.globs.is_empty()
    }

    /// Whether no file is named at all.
    pub fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.globs.is_empty()
    }

    /// Whether the set holds the file of this path, relative to its source.
    pub fn is_match(&self, relative: &str) -> bool {
        self.is_named(relative) && !self.is_excluded(relative)
    }

    /// Whether a name or a glob means this path, excluded or not.
    pub fn is_named(&self, relative: &str) -> bool {
        self.literals.iter().any(|literal| literal == relative) || self.is_glob_match(relative)
    }

    /// Whether a glob matches this path, or is spelt like it.
    pub(super) fn is_glob_match(&self, relative: &str) -> bool {
        self.matcher.is_match(relative) || self.globs.iter().any(|glob| glob == relative)
    }

    /// Whether a pattern may name something inside `directory`, a relative path. In doubt it may.
    pub fn may_reach_into(&self, directory: &str) -> bool {
        let inside = |literal: &String| {
            literal.strip_prefix(directory).is_some_and(|rest| directory.is_empty() || rest.starts_with('/'))
        };
        self.literals.iter().chain(&self.globs).any(inside)
            || self.globs.iter().any(|pattern| glob_reaches_into(pattern, directory))
    }
}

impl PartialEq for FilePatterns {
    /// The matcher follows from the globs.
    fn eq(&self, other: &Self) -> bool {
        self.literals == other.literals && self.globs == other.globs && self.excluded == other.excluded
    }
}

impl Eq for FilePatterns {}

impl Shown for FilePatterns {
    fn shown(&self) -> String {
        self.literals().chain(self.globs.iter().map(String::as_str)).collect::<Vec<_>>().join(", ")
    }
}

/// What is wrong with a pattern, apart from the syntax of a glob.
fn fault(pattern: &str) -> Option<&'static str> {
    match pattern {
        "" => Some("is empty: name a file"),
        _ if pattern.len() > MAX_PATTERN_BYTES => Some("is longer than 4096 bytes"),
        _ if pattern.starts_with('/') => Some("is absolute: name it relative to the source"),
        _ if pattern.contains('\0') => Some("contains a NUL byte"),
        _ if pattern.contains('\\') => Some("contains a backslash: separate directories with /"),
        _ if pattern.split('/').any(|segment| segment == "..") => Some("contains ..: files must be inside the source"),
        _ if pattern.split('/').any(|segment| segment.is_empty() || segment == ".") => {
            Some("contains an empty or . segment: leave it out")
        }
        _ => None,
    }
}

fn glob(pattern: &str) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(true).build()
}

/// Whether a glob may match a path below `directory`: segment by segment, as far as both go.
fn glob_reaches_into(pattern: &str, directory: &str) -> bool {
    // An alternation may hold a separator, so its segments mean nothing by themselves.
    if pattern.contains('{') {
        return true;
    }
    let mut directories = directory.split('/').filter(|segment| !segment.is_empty());
    for segment in pattern.split('/') {
        let Some(name) = directories.next() else { return true };
        if segment.contains("**") {
            return true;
        }
        if glob(segment).is_ok_and(|glob| !glob.compile_matcher().is_match(name)) {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> FilePatterns {
        FilePatterns::new(list).unwrap()
    }

    #[test]
    fn a_literal_is_matched_exactly_and_a_star_stops_at_a_separator() {
        let files = patterns(&["a.json", "sub/b.json", "*.log", "deep/**/x", "a.json", "*.log"]);
        assert_eq!(files.literals().collect::<Vec<_>>(), ["a.json", "sub/b.json"]);
        assert_eq!(files.globs(), ["*.log", "deep/**/x"]);
        assert!(files.has_globs() && !files.is_empty() && !patterns(&["a"]).has_globs());
        for inside in ["a.json", "sub/b.json", "error.log", "deep/x", "deep/1/2/x"] {
            assert!(files.is_match(inside), "{inside}");
        }
        for outside in ["a_json", "b.json", "sub/error.log", "A.json", "deeper/x", ""] {
            assert!(!files.is_match(outside), "{outside}");
        }
    }

    #[test]
    fn a_pattern_that_could_point_elsewhere_is_refused() {
        let long = "x".repeat(MAX_PATTERN_BYTES + 1);
        let refused =
            ["", "/etc/passwd", "..", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "a\0b", "a\\b", "[", "{a", &long];
        for pattern in refused {
            assert!(FilePatterns::new([pattern]).is_err(), "{pattern:?}");
        }
        for fine in ["..a", "a..b", ".hidden", "a b", "é", "{a,b}.json", "[ab].json"] {
            assert!(FilePatterns::new([fine]).is_ok(), "{fine:?}");
        }
        let many = (0..=MAX_PATTERNS).map(|number| number.to_string());
        assert!(FilePatterns::new(many).is_err());
    }

    #[test]
    fn what_may_reach_into_a_directory_is_known_segment_by_segment() {
        for (pattern, directory) in [
            ("backups/a", "backups"),
            ("*/a", "backups"),
            ("**", "a/b"),
            ("**/x", "a"),
            ("b*/*/c", "backups/x"),
            ("a/**", "a"),
            ("[/]b", "x"),
            ("{a/b,c}", "a"),
        ] {
            assert!(patterns(&[pattern]).may_reach_into(directory), "{pattern} {directory}");
        }
        for (pattern, directory) in [
            ("a.json", "backups"),
            ("*.json", "backups"),
            ("backups.json", "backups"),
            ("x*/a", "backups"),
            ("x/**", "backups"),
            ("*/a", "a/b"),
        ] {
            assert!(!patterns(&[pattern]).may_reach_into(directory), "{pattern} {directory}");
        }
        assert!(patterns(&["a"]).may_reach_into(""), "everything is inside the source itself");
    }
}
