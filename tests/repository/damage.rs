//! Damage, of every kind, to every kind of file.
//!
//! Hazard: a matrix with a hole. The files are taken from the disk itself, so that a new kind of file fails here first.

use fiovana_app::storage::faulty::Simulated;

use super::{long, seed};

/// What is done to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A bit of a byte turns.
    Flip { byte: usize, bit: u8 },
    /// It ends early.
    Truncate { bytes: usize },
    /// Something follows it.
    Extend { bytes: usize },
    /// It is gone.
    Delete,
    /// It and another of its kind change places.
    Swap { with: String },
    /// As long as before, and nothing but zeros.
    Zero,
}

/// What a file in a repository is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `repository.json`.
    Repository,
    /// The instructions for people.
    Instructions,
    /// A chunk of content.
    Object,
    /// A backup.
    Manifest,
    /// Which sequences were deleted on purpose.
    Pruned,
    /// Which backups are pinned.
    Pins,
    /// What a replica is told.
    Row,
    /// What is remembered between runs.
    State,
}

impl Kind {
    /// The kind of the file at this path.
    pub fn of(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').collect();
        match segments[..] {
            ["repository.json"] => Self::Repository,
            ["RESTORE.txt"] => Self::Instructions,
            [name] if ["audit_head.", "verification.", "status."].iter().any(|row| name.starts_with(row)) => Self::Row,
            ["objects", ..] => Self::Object,
            ["manifests", _, name] if name.starts_with("pruned.") => Self::Pruned,
            ["manifests", _, name] if name.starts_with("pins.") => Self::Pins,
            ["manifests", _, name] if name.ends_with(".json") => Self::Manifest,
            ["state", name] if name.ends_with(".json") => Self::State,
            _ => panic!("{path} is of no kind that is known here"),
        }
    }
}

/// The paths of all files of a disk.
pub fn paths(disk: &Simulated) -> Vec<String> {
    disk.files().into_iter().map(|(path, _)| path.to_string_lossy().into_owned()).collect()
}

/// The content of a file.
pub fn bytes(disk: &Simulated, path: &str) -> Option<Vec<u8>> {
    disk.files().into_iter().find(|(found, _)| found.to_string_lossy() == path).map(|(_, bytes)| bytes)
}

/// What is done to this file in turn: everything that changes it.
pub fn damages(disk: &Simulated, path: &str) -> Vec<Damage> {
    let content = bytes(disk, path).expect("it is there");
    let length = content.len();
    let mut random = fastrand::Rng::with_seed(seed() ^ length as u64);
    let mut damages = vec![Damage::Delete, Damage::Extend { bytes: 1 }];
    if long() || Kind::of(path) != Kind::Object {
        damages.push(Damage::Extend { bytes: 3 << 20 });
    }
    if length > 0 {
        let random_flips = if long() { 300 } else { 1 };
        let flips: Vec<usize> = std::iter::repeat_with(|| random.usize(..length)).take(random_flips).collect();
        let flips = flips.into_iter().chain([0, length - 1]);
        damages.extend(flips.map(|byte| Damage::Flip { byte, bit: random.u8(..8) }));
        damages.extend([0, length - 1].map(|bytes| Damage::Truncate { bytes }));
        damages.push(Damage::Zero);
    }
    damages.extend(other_of_its_kind(disk, path, &content).map(|with| Damage::Swap { with }));
    damages
}

/// Another file of the same kind and other content; the next one, so that each is the first of a pair once.
fn other_of_its_kind(disk: &Simulated, path: &str, content: &[u8]) -> Option<String> {
    let same = |found: &String| Kind::of(found) == Kind::of(path) && bytes(disk, found).is_some_and(|b| b != content);
    let all = paths(disk);
    let after = all.iter().skip_while(|found| *found != path).skip(1);
    after.chain(all.iter().take_while(|found| *found != path)).find(|found| same(found)).cloned()
}

impl Damage {
    /// Does it. Returns the files that were touched.
    pub fn apply(&self, disk: &Simulated, path: &str) -> Vec<String> {
        let content = bytes(disk, path).expect("it is there");
        let done = match self {
            Self::Flip { byte, bit } => disk.flip_bit(path, *byte, *bit),
            Self::Truncate { bytes } => disk.truncate(path, *bytes),
            Self::Extend { bytes } => disk.write_raw(path, &[&content[..], &vec![b'x'; *bytes]].concat()),
            Self::Delete => disk.remove_raw(path),
            Self::Zero => disk.write_raw(path, &vec![0; content.len()]),
            Self::Swap { with } => {
                let other = bytes(disk, with).expect("the other is there");
                disk.write_raw(path, &other).and_then(|()| disk.write_raw(with, &content))
            }
        };
        done.expect("damage");
        match self {
            Self::Swap { with } => vec![path.to_owned(), with.clone()],
            _ => vec![path.to_owned()],
        }
    }
}
