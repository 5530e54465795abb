//! A directory tree that remembers which of its content and names a power cut would spare.
//!
//! Hazard: a model kinder than real disks hides bugs. Here nothing is durable but what was synced: content by a sync of
//! the file, names by a sync of the directory they are in; and what was not synced reaches the disk in any order.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::CrashKeep;
use crate::storage::disk::{DiskEntry, DiskKind, DiskMetadata, FileId};

/// A file or directory, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(usize);

const ROOT: NodeId = NodeId(0);

type Names = BTreeMap<String, NodeId>;

#[derive(Clone)]
enum Node {
    File(FileNode),
    Directory { live: Names, durable: Names, mode: u32 },
}

#[derive(Clone, Default)]
pub(super) struct FileNode {
    /// Whether it is a symlink, and its bytes are the target.
    is_symlink: bool,
    pub(super) live: Content,
    pub(super) durable: Content,
    /// A sync failed. As on Linux, the next one will claim success for content that is not on the disk.
    pub(super) sync_failed: bool,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A name in a directory.
type Place = (NodeId, String);

/// A change of names that is not durable yet.
#[derive(Clone)]
enum Change {
    Link(Place, NodeId),
    Unlink(Place),
    Rename(Place, Place, NodeId),
    /// What is at each of two names from now on.
    Exchange((Place, NodeId), (Place, NodeId)),
}

#[derive(Clone, Copy)]
enum Side {
    Live,
    Durable,
}

/// The tree.
#[derive(Clone)]
pub(super) struct Image {
    nodes: Vec<Node>,
    unsynced: Vec<Change>,
}

impl Image {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::directory(0o700)], unsynced: Vec::new() }
    }

    pub(super) fn create_file(&mut self, path: &Path, mode: u32) -> io::Result<NodeId> {
        let file = FileNode { live: Content { mode, ..Content::default() }, ..FileNode::default() };
        self.create(path, Node::File(file))
    }

    pub(super) fn create_directory(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        self.create(path, Node::directory(mode)).map(drop)
    }

    pub(super) fn create_symlink(&mut self, path: &Path, target: &Path) -> io::Result<NodeId> {
        let bytes = target.as_os_str().as_encoded_bytes().to_vec();
        let content = Content { bytes, ..Content::default() };
        let node = FileNode { is_symlink: true, live: content.clone(), durable: content, sync_failed: false };
        self.create(path, Node::File(node))
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let place = self.place(path)?;
        if self.at(&place).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.nodes.push(node);
        let id = NodeId(self.nodes.len() - 1);
        self.change(Change::Link(place, id));
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let moved = self.at(&from).ok_or(ErrorKind::NotFound)?;
        match self.at(&to).map(|id| self.kind(id)) {
            Some(_) if !replace => return Err(ErrorKind::AlreadyExists.into()),
            Some(DiskKind::Directory) => return Err(ErrorKind::IsADirectory.into()),
            _ => {}
        }
        if self.at(&to) != Some(moved) {
            self.change(Change::Rename(from, to, moved));
        }
        Ok(())
    }

    pub(super) fn exchange(&mut self, one: &Path, other: &Path) -> io::Result<()> {
        let (one, other) = (self.place(one)?, self.place(other)?);
        let at_one = self.at(&one).ok_or(ErrorKind::NotFound)?;
        let at_other = self.at(&other).ok_or(ErrorKind::NotFound)?;
        if at_one != at_other {
            self.change(Change::Exchange((one, at_other), (other, at_one)));
        }
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        let linked = self.at(&from).ok_or(ErrorKind::NotFound)?;
        if self.at(&to).is_some() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.kind(linked) == DiskKind::Directory {
            return Err(ErrorKind::PermissionDenied.into());
        }
        self.change(Change::Link(to, linked));
        Ok(())
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        match self.at(&place).map(|id| self.kind(id)) {
            None => Err(ErrorKind::NotFound.into()),
            Some(DiskKind::Directory) => Err(ErrorKind::IsADirectory.into()),
            Some(_) => {
                self.change(Change::Unlink(place));
                Ok(())
            }
        }
    }

    pub(super) fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        if !self.live_names(self.find(path)?)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.remove_tree(path)
    }

    pub(super) fn set_directory_mode(&mut self, id: NodeId, to: u32) -> io::Result<()> {
        match &mut self.nodes[id.0] {
            Node::Directory { mode, .. } => *mode = to,
            Node::File(_) => return Err(ErrorKind::NotADirectory.into()),
        }
        Ok(())
    }

    /// Takes a directory away, and all that is below it.
    pub(super) fn remove_tree(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        self.at(&place).ok_or(ErrorKind::NotFound)?;
        self.change(Change::Unlink(place));
        Ok(())
    }

    pub(super) fn sync_directory(&mut self, path: &Path) -> io::Result<()> {
        let id = self.find(path)?;
        self.live_names(id)?;
        let mut later: Vec<Change> = Vec::new();
        for change in std::mem::take(&mut self.unsynced) {
            if !change.is_in(id) {
                later.push(change);
                continue;
            }
            // A rename across directories is durable with either; what was to happen at its two places before is over.
            if matches!(change, Change::Rename(..) | Change::Exchange(..)) {
                later.retain(|earlier| !change.places().any(|place| earlier.is_at(place)));
            }
            self.apply(&change, Side::Durable);
        }
        self.unsynced = later;
        Ok(())
    }

    /// Makes what is at `path` durable under this name, whatever was not synced there; no matter how it came about.
    pub(super) fn settle(&mut self, path: &Path) -> io::Result<()> {
        let place = self.place(path)?;
        let id = self.at(&place);
        self.unsynced.retain(|change| !change.is_at(&place));
        self.apply(&id.map_or(Change::Unlink(place.clone()), |id| Change::Link(place, id)), Side::Durable);
        if let Some(Node::File(file)) = id.map(|id| &mut self.nodes[id.0]) {
            file.durable.clone_from(&file.live);
        }
        Ok(())
    }

    /// Puts a file there, with the directories above it, or replaces its content: durably.
    pub(super) fn write(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        let above: Vec<&Path> = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty()).collect();
        for directory in above.into_iter().rev() {
            match self.create_directory(directory, 0o700) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => self.settle(directory)?,
            }
        }
        let id = match self.find(path) {
            Ok(id) => id,
            Err(_) => self.create_file(path, 0o600)?,
        };
        self.file_mut(id)?.live.bytes = content.to_vec();
        self.settle(path)
    }

    pub(super) fn metadata(&self, path: &Path) -> io::Result<DiskMetadata> {
        let id = self.find(path)?;
        let file = FileId { device: 1, inode: id.0 as u64 };
        Ok(match &self.nodes[id.0] {
            Node::Directory { mode, .. } => {
                DiskMetadata { kind: DiskKind::Directory, size_bytes: 0, mode: *mode, uid: 0, gid: 0, links: 1, file }
            }
            Node::File(FileNode { is_symlink, live: Content { bytes, mode, uid, gid }, .. }) => DiskMetadata {
                kind: self.kind(id),
                size_bytes: if *is_symlink { 0 } else { bytes.len() as u64 },
                mode: *mode,
                uid: *uid,
                gid: *gid,
                links: self.files().iter().filter(|(_, named)| *named == id).count() as u64,
                file,
            },
        })
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DiskEntry>> {
        let entry = |(name, id): (&String, &NodeId)| {
            let size_bytes = self.file(*id).map_or(0, |file| file.live.bytes.len() as u64);
            DiskEntry { name: name.clone(), kind: self.kind(*id), size_bytes }
        };
        Ok(self.live_names(self.find(path)?)?.iter().map(entry).collect())
    }

    /// Every file that has a name, ordered by path.
    pub(super) fn files(&self) -> Vec<(PathBuf, NodeId)> {
        let mut files = Vec::new();
        let mut directories = vec![(PathBuf::new(), ROOT)];
        while let Some((path, id)) = directories.pop() {
            for (name, child) in self.live_names(id).into_iter().flatten() {
                let found = (path.join(name), *child);
                if self.kind(*child) == DiskKind::Directory { directories.push(found) } else { files.push(found) }
            }
        }
        files.sort_by(|a, b| a.0.cmp(&b.0));
        files
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.files().iter().filter_map(|(_, id)| self.file(*id).ok()).map(|file| file.live.bytes.len() as u64).sum()
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut found = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { return Err(ErrorKind::InvalidInput.into()) };
            let name = name.to_str().ok_or(ErrorKind::InvalidInput)?;
            found = *self.live_names(found)?.get(name).ok_or(ErrorKind::NotFound)?;
        }
        Ok(found)
    }

    pub(super) fn file(&self, id: NodeId) -> io::Result<&FileNode> {
        match &self.nodes[id.0] {
            Node::File(file) => Ok(file),
            Node::Directory { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    pub(super) fn file_mut(&mut self, id: NodeId) -> io::Result<&mut FileNode> {
        match &mut self.nodes[id.0] {
            Node::File(file) => Ok(file),
            Node::Directory { .. } => Err(ErrorKind::IsADirectory.into()),
        }
    }

    /// The tree after a power cut, all of it durable.
    pub(super) fn after_crash(&self, random: &mut fastrand::Rng, keep: CrashKeep) -> Self {
        let mut image = self.clone();
        for change in std::mem::take(&mut image.unsynced) {
            let reached_the_disk = match keep {
                CrashKeep::Lose => false,
                CrashKeep::Keep => true,
                CrashKeep::Torn => random.bool(),
            };
            if reached_the_disk {
                image.apply(&change, Side::Durable);
            }
        }
        for node in &mut image.nodes {
            match node {
                Node::Directory { live, durable, .. } => live.clone_from(durable),
                Node::File(file) => {
                    let content = file.surviving(random, keep);
                    file.live.clone_from(&content);
                    (file.durable, file.sync_failed) = (content, false);
                }
            }
        }
        image
    }

    fn kind(&self, id: NodeId) -> DiskKind {
        match &self.nodes[id.0] {
            Node::Directory { .. } => DiskKind::Directory,
            Node::File(file) if file.is_symlink => DiskKind::Symlink,
            Node::File(_) => DiskKind::File,
        }
    }

    fn live_names(&self, id: NodeId) -> io::Result<&Names> {
        match &self.nodes[id.0] {
            Node::Directory { live, .. } => Ok(live),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn place(&self, path: &Path) -> io::Result<Place> {
        let name = path.file_name().and_then(|name| name.to_str()).ok_or(ErrorKind::InvalidInput)?;
        let directory = self.find(path.parent().ok_or(ErrorKind::InvalidInput)?)?;
        self.live_names(directory)?;
        Ok((directory, name.to_owned()))
    }

    fn at(&self, (directory, name): &Place) -> Option<NodeId> {
        self.live_names(*directory).ok()?.get(name).copied()
    }

    fn change(&mut self, change: Change) {
        self.apply(&change, Side::Live);
        self.unsynced.push(change);
    }

    fn apply(&mut self, change: &Change, side: Side) {
        let mut set = |(directory, name): &Place, id: Option<NodeId>| {
            let Node::Directory { live, durable, .. } = &mut self.nodes[directory.0] else { return };
            let names = if matches!(side, Side::Live) { live } else { durable };
            match id {
                Some(id) => names.insert(name.clone(), id),
                None => names.remove(name),
            };
        };
        match change {
            Change::Link(place, id) => set(place, Some(*id)),
            Change::Unlink(place) => set(place, None),
            Change::Rename(from, to, id) => {
                set(from, None);
                set(to, Some(*id));
            }
            Change::Exchange((one, at_one), (other, at_other)) => {
                set(one, Some(*at_one));
                set(other, Some(*at_other));
            }
        }
    }
}

impl Node {
    fn directory(mode: u32) -> Self {
        Self::Directory { live: Names::new(), durable: Names::new(), mode }
    }
}

impl FileNode {
    /// What a power cut leaves of the content.
    fn surviving(&self, random: &mut fastrand::Rng, keep: CrashKeep) -> Content {
        let mut content = self.live.clone();
        match keep {
            CrashKeep::Lose => return self.durable.clone(),
            CrashKeep::Torn if self.live != self.durable => {
                let torn_at = random.usize(..=content.bytes.len());
                match random.u8(..4) {
                    0 => return self.durable.clone(),
                    1 => content.bytes.truncate(torn_at),
                    2 => content.bytes[torn_at..].fill(0),
                    _ => {}
                }
            }
            CrashKeep::Torn | CrashKeep::Keep => {}
        }
        content
    }
}

impl Change {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let (first, second) = match self {
            Self::Link(place, _) | Self::Unlink(place) => (place, None),
            Self::Rename(from, to, _) | Self::Exchange((from, _), (to, _)) => (from, Some(to)),
        };
        std::iter::once(first).chain(second)
    }

    fn is_in(&self, directory: NodeId) -> bool {
        self.places().any(|(in_directory, _)| *in_directory == directory)
    }

    fn is_at(&self, place: &Place) -> bool {
        self.places().any(|changed| changed == place)
    }
}
