//! Putting together what was read and what was found.

use std::collections::BTreeMap;

use super::attributes::{attributes_of, read_xattrs};
use super::names::Names;
use super::{Captured, Held, Outcome};
use crate::core::EntryPath;
use crate::pipeline::source::{Found, Look, SourceDirectory, plain};
use crate::repository::wire::{Attributes, DirectoryEntry, HardLinkEntry, SOURCE_ITSELF, SymlinkEntry, UnreadableFile};
use crate::settings::SetSettings;

/// What there is to put together.
pub(super) struct Gathering<'a> {
    pub source: &'a SourceDirectory,
    pub set: &'a SetSettings,
    pub held: BTreeMap<String, Held>,
    pub names: Names,
}

impl Gathering<'_> {
    /// The set as it was found.
    pub fn gather(self, before: BTreeMap<String, Found>, consistent: bool) -> Captured {
        let mut captured = Captured { consistent, ..Captured::default() };
        self.missing(&before, &mut captured);
        for (path, found) in before {
            let entry = EntryPath::from_text(path.as_str());
            match found {
                Found::File(_) => self.further_name(path, &mut captured),
                Found::Symlink(look, target) => {
                    let attributes = attributes_of(&look, BTreeMap::new());
                    captured.symlinks.push(SymlinkEntry { path: entry, target, attributes });
                }
                Found::Directory(look) => {
                    let attributes = self.directory(&path, &look);
                    captured.directories.push(DirectoryEntry { path: entry, attributes });
                }
                Found::Missing => {}
                Found::Unreadable(reason) => captured.lacks(path, reason),
                Found::NoContent(reason) => {
                    captured.lacks_content = true;
                    captured.lacks(path, reason);
                }
            }
        }
        for (path, held) in self.held {
            match held.outcome {
                Outcome::Whole(entry, beginnings, _) => {
                    if self.set.kind.is_logs() {
                        captured.beginnings.insert(path.clone(), beginnings);
                    }
                    captured.files.push(*entry);
                    captured.looks.insert(path, (held.look, held.tick));
                }
                Outcome::Unreadable(reason) => captured.lacks(path, reason),
                Outcome::Moved => captured.lacks(path, MOVED.into()),
            }
        }
        captured
    }

    /// Named files that are not there, and patterns that match nothing.
    fn missing(&self, before: &BTreeMap<String, Found>, captured: &mut Captured) {
        let is_there = |(path, found): &(&String, &Found)| **found != Found::Missing && *path != SOURCE_ITSELF;
        let there: Vec<String> = before.iter().filter(is_there).map(|(path, _)| plain(path)).collect();
        let missing = before.iter().filter(|(_, found)| **found == Found::Missing);
        captured.missing.extend(missing.map(|(path, _)| EntryPath::from_text(path.as_str())));
        let unmatched = self.set.files.unmatched(there.iter().map(String::as_str));
        captured.missing.extend(unmatched.into_iter().map(|pattern| EntryPath::from_bytes(pattern.as_bytes())));
        captured.missing.sort_unstable();
    }

    /// A name of a file that was read by another.
    fn further_name(&self, path: String, captured: &mut Captured) {
        let Some(first) = self.names.further.get(&path) else { return };
        match self.held.get(first).map(|held| &held.outcome) {
            Some(Outcome::Whole(..)) => {
                let (path, to) = (EntryPath::from_text(path), EntryPath::from_text(first.as_str()));
                captured.hard_links.push(HardLinkEntry { path, to });
            }
            Some(Outcome::Unreadable(reason)) => captured.lacks(path, reason.clone()),
            Some(Outcome::Moved) | None => captured.lacks(path, MOVED.into()),
        }
    }

    /// What is kept of a directory. Of one that may not be read, no extended attribute is known.
    fn directory(&self, path: &str, look: &Look) -> Attributes {
        let xattrs = self.source.open_to_read(path).and_then(|directory| read_xattrs(&directory).ok());
        attributes_of(look, xattrs.unwrap_or_default())
    }
}

const MOVED: &str = "it kept changing while it was read";

impl Captured {
    fn lacks(&mut self, path: String, reason: String) {
        self.unreadable.push(UnreadableFile { path: EntryPath::from_text(path), reason });
    }
}
