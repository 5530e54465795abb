//! What a backup can bring back, of whatever kind, by path.
//!
//! Hazard: code that knows one kind of entry forgets the others: they are not kept by retention, not compared, not
//! offered for recovery. Whoever asks what a backup has asks here.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::wire::{Body, FileEntry, HardLinkEntry, SymlinkEntry};
use crate::core::entry_path::{bytes_of, escape};
use crate::core::{Digest, EntryPath};

/// An entry that stands for a file: all but directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept<'b> {
    /// A plain file.
    File(&'b FileEntry),
    /// A symlink.
    Symlink(&'b SymlinkEntry),
    /// A further name of a plain file.
    HardLink(&'b HardLinkEntry, &'b FileEntry),
}

impl<'b> Kept<'b> {
    /// Its path below the set's source.
    pub const fn path(self) -> &'b EntryPath {
        match self {
            Self::File(file) => &file.path,
            Self::Symlink(link) => &link.path,
            Self::HardLink(link, _) => &link.path,
        }
    }

    /// The plain file that it is a name of.
    pub const fn file(self) -> Option<&'b FileEntry> {
        match self {
            Self::File(file) | Self::HardLink(_, file) => Some(file),
            Self::Symlink(_) => None,
        }
    }

    /// The same with this path of its own, if it is a name of a plain file.
    pub fn as_file(self) -> Option<Cow<'b, FileEntry>> {
        match self {
            Self::File(file) => Some(Cow::Borrowed(file)),
            Self::HardLink(link, file) => Some(Cow::Owned(FileEntry { path: link.path.clone(), ..file.clone() })),
            Self::Symlink(_) => None,
        }
    }

    /// What tells it from any other: the SHA-256 of its content, or [`Digest::of_symlink`].
    pub fn digest(self) -> Digest {
        match self {
            Self::File(file) | Self::HardLink(_, file) => file.sha256,
            Self::Symlink(link) => Digest::of_symlink(&bytes_of(&link.target)),
        }
    }

    /// The length of its content; a symlink has none.
    pub const fn size_bytes(self) -> u64 {
        match self {
            Self::File(file) | Self::HardLink(_, file) => file.size_bytes,
            Self::Symlink(_) => 0,
        }
    }

    /// Whether its content is valid.
    pub const fn is_valid(self) -> bool {
        match self {
            Self::File(file) | Self::HardLink(_, file) => file.fault.is_none(),
            Self::Symlink(_) => true,
        }
    }
}

/// As many links as Linux follows.
const MAX_LINKS: usize = 40;

/// The names that a path consists of.
fn names(path: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec)
}

impl Body {
    /// Every entry but directories, kind by kind.
    pub fn kept(&self) -> impl Iterator<Item = Kept<'_>> {
        let links = self.hard_links.iter().filter_map(|link| Some(Kept::HardLink(link, self.file(&link.to)?)));
        self.files.iter().map(Kept::File).chain(self.symlinks.iter().map(Kept::Symlink)).chain(links)
    }

    /// The entry of this path, unless it is a directory's.
    pub fn kept_at(&self, path: &str) -> Option<Kept<'_>> {
        let symlink = || self.symlinks.iter().find(|link| link.path == *path).map(Kept::Symlink);
        let hard_link = || {
            let link = self.hard_links.iter().find(|link| link.path == *path)?;
            Some(Kept::HardLink(link, self.file(&link.to)?))
        };
        self.file(path).map(Kept::File).or_else(symlink).or_else(hard_link)
    }

    /// The paths of the entries that one means who means this path: itself, the symlinks at it and on the way to it, and
    /// what they lead to, as far as the backup has it.
    pub fn reached_by(&self, path: &str) -> Vec<&EntryPath> {
        let mut entries = Vec::new();
        let mut ahead: VecDeque<Vec<u8>> = names(&bytes_of(path)).collect();
        let mut reached: Vec<Vec<u8>> = Vec::new();
        while let Some(name) = ahead.pop_front() {
            if name == b".." {
                reached.pop();
                continue;
            }
            reached.push(name);
            match self.kept_at(&escape(&reached.join(&b'/'))) {
                Some(Kept::Symlink(link)) if entries.len() < MAX_LINKS => {
                    entries.push(&link.path);
                    reached.pop();
                    let target = bytes_of(&link.target);
                    if target.starts_with(b"/") {
                        break;
                    }
                    names(&target).collect::<Vec<_>>().into_iter().rev().for_each(|name| ahead.push_front(name));
                }
                Some(kept) if ahead.is_empty() => entries.push(kept.path()),
                _ => {}
            }
        }
        entries
    }

    /// The plain file of this path.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        let at = self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        self.files.get(at)
    }
}
