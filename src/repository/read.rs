//! Reading stored bytes that must be what they were.
//!
//! Hazard: a disk, a cable or a busy kernel can hand out a wrong byte once. A mismatch counts only when a second
//! reading shows it again; a failure to read never counts as damage.

use super::catalogue::Content;
use super::encryption::{Keys, OpenFault};
use super::layout::{self, MAX_SECOND_FILES};
use super::manifest::{self, MAX_MANIFEST_BYTES};
use super::object::{self, Decoder, MAX_STORED_BYTES, ObjectFault};
use super::wire::Manifest;
use crate::core::{BackupId, Digest, SetName};
use crate::storage::{Storage, StorageError, StorageErrorKind, StoragePath};

/// Why stored bytes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is absent.
    #[error("{0} is absent")]
    Absent(String),
    /// Its bytes are not what they were, seen twice.
    #[error("{0} is damaged: {1}")]
    Damaged(String, String),
    /// It is as it was, and encrypted, and no identity that opens it is at hand.
    #[error("{0}: {fault}", fault = OpenFault::NoIdentity)]
    NoIdentity(String),
    /// It could not be read, which proves nothing.
    #[error("read {0}")]
    Unreadable(String, #[source] StorageError),
}

impl ReadError {
    /// Whether this is a loss, rather than something that may go away by itself.
    pub const fn is_damage(&self) -> bool {
        matches!(self, Self::Absent(_) | Self::Damaged(..))
    }
}

/// Where bytes may be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// From memory if the system has them there: for who wants the content.
    Anywhere,
    /// From the disk, as far as [`Storage::drop_cache`] goes: for who wants to know what is stored. Leaves nothing in
    /// the cache either: reading a whole repository must not drive out what the application needs there.
    Disk,
}

/// What `check` makes of the file's bytes, read a second time, from the disk, if it finds fault with them.
pub(super) fn confirmed<T>(
    storage: &dyn Storage,
    path: &StoragePath,
    limit_bytes: u64,
    from: ReadFrom,
    check: impl Fn(Vec<u8>) -> Result<T, String>,
) -> Result<T, ReadError> {
    let look = |from| {
        if from == ReadFrom::Disk {
            storage.drop_cache(path);
        }
        let read = storage.read(path, limit_bytes);
        if from == ReadFrom::Disk {
            storage.drop_cache(path);
        }
        read.map(&check).map_err(|error| read_error(path, error))
    };
    match look(from)? {
        Ok(value) => Ok(value),
        Err(_) => look(ReadFrom::Disk)?.map_err(|fault| ReadError::Damaged(path.to_string(), fault)),
    }
}

/// The manifest that stands under this set and id.
pub(super) fn manifest(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    id: BackupId,
    from: ReadFrom,
) -> Result<Content, ReadError> {
    let content = confirmed(storage, &layout::manifest(set, id), MAX_MANIFEST_BYTES, from, decoded(keys, set, id))?;
    complete(storage, keys, set, id, from, content)
}

/// The same as far as it can be had: without its body where its lines cannot be read. Which objects it needs is known
/// nevertheless, so that those can be healed.
pub(super) fn manifest_or_envelope(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    id: BackupId,
) -> Result<Content, ReadError> {
    let from = ReadFrom::Anywhere;
    let content = confirmed(storage, &layout::manifest(set, id), MAX_MANIFEST_BYTES, from, decoded(keys, set, id))?;
    complete_if_possible(storage, keys, set, id, content)
}

fn decoded(keys: &Keys, set: &SetName, id: BackupId) -> impl Fn(Vec<u8>) -> Result<Content, String> {
    move |bytes| {
        let (manifest, digest) = manifest::decode(set, id, &bytes, keys).map_err(|fault| fault.to_string())?;
        Ok(Content { manifest, digest })
    }
}

/// The manifest that these bytes are, which stands under this set and id, with its lines as far as they can be read.
pub(super) fn opened(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    id: BackupId,
    bytes: &[u8],
) -> Result<Content, ReadError> {
    let place = layout::manifest(set, id).to_string();
    let decoded = manifest::decode(set, id, bytes, keys);
    let (manifest, digest) = decoded.map_err(|fault| ReadError::Damaged(place, fault.to_string()))?;
    complete_if_possible(storage, keys, set, id, Content { manifest, digest })
}

/// Without the body where objects that hold lines of it cannot be had; what they hold must be right.
fn complete_if_possible(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    id: BackupId,
    content: Content,
) -> Result<Content, ReadError> {
    match lines(storage, keys, ReadFrom::Anywhere, &content.manifest) {
        Ok(Some(lines)) => with_body(set, id, content, &lines),
        Ok(None) | Err(_) => Ok(content),
    }
}

/// The same, and an error where they cannot be had.
fn complete(
    storage: &dyn Storage,
    keys: &Keys,
    set: &SetName,
    id: BackupId,
    from: ReadFrom,
    content: Content,
) -> Result<Content, ReadError> {
    match lines(storage, keys, from, &content.manifest)? {
        Some(lines) => with_body(set, id, content, &lines),
        None => Ok(content),
    }
}

fn with_body(set: &SetName, id: BackupId, mut content: Content, lines: &[u8]) -> Result<Content, ReadError> {
    manifest::complete(&mut content.manifest, lines)
        .map_err(|fault| ReadError::Damaged(layout::manifest(set, id).to_string(), fault.to_string()))?;
    Ok(content)
}

/// The lines of a manifest that are kept in objects; `None` if they are not.
fn lines(
    storage: &dyn Storage,
    keys: &Keys,
    from: ReadFrom,
    manifest: &Manifest,
) -> Result<Option<Vec<u8>>, ReadError> {
    if manifest.lines.is_empty() {
        return Ok(None);
    }
    let (mut lines, mut last) = (Vec::new(), None::<(Digest, Vec<u8>)>);
    for chunk in &manifest.lines {
        let place = || layout::object(&chunk.object).to_string();
        let damaged = |fault: ObjectFault| ReadError::Damaged(place(), fault.to_string());
        if last.as_ref().is_none_or(|(name, _)| *name != chunk.object) {
            let stored = object(storage, &chunk.object, from)?;
            last = Some((chunk.object, object::decrypt(stored, keys).map_err(damaged)?));
        }
        let frames = last.as_ref().map_or(&[][..], |(_, frames)| frames);
        let mut decoder = Decoder::new().map_err(|_| damaged(ObjectFault::Content))?;
        lines.extend(decoder.decode(frames, chunk).map_err(damaged)?);
    }
    Ok(Some(lines))
}

/// The stored bytes of an object, which hash to its name: those of a second file for it, where the first is not right. A
/// mismatch is looked at a second time before it counts.
pub(super) fn object(storage: &dyn Storage, name: &Digest, from: ReadFrom) -> Result<Vec<u8>, ReadError> {
    let check = |stored: Vec<u8>| {
        if Digest::of(&stored) == *name { Ok(stored) } else { Err(ObjectFault::Hash.to_string()) }
    };
    let first = confirmed(storage, &layout::object(name), MAX_STORED_BYTES, from, check);
    let Err(error) = first else { return first };
    if !error.is_damage() {
        return Err(error);
    }
    let second = (1..=MAX_SECOND_FILES).map(|number| layout::second_object(name, number));
    // The first that is not there ends the row: each was made because those before it were not right.
    for path in second {
        match confirmed(storage, &path, MAX_STORED_BYTES, from, check) {
            Ok(stored) => return Ok(stored),
            Err(ReadError::Absent(_)) => break,
            Err(_) => {}
        }
    }
    Err(error)
}

/// The bytes of every file for an object that can be read, right or not.
pub(super) fn object_as_it_is(storage: &dyn Storage, name: &Digest) -> Vec<Vec<u8>> {
    let second = (1..=MAX_SECOND_FILES).map(|number| layout::second_object(name, number));
    let all = [layout::object(name)].into_iter().chain(second);
    all.filter_map(|path| storage.read(&path, MAX_STORED_BYTES).ok()).collect()
}

fn read_error(path: &StoragePath, error: StorageError) -> ReadError {
    let path = path.to_string();
    match error.kind {
        StorageErrorKind::NotFound => ReadError::Absent(path),
        StorageErrorKind::TooLarge => ReadError::Damaged(path, "it is larger than it can be".into()),
        StorageErrorKind::WrongType => ReadError::Damaged(path, "it is no plain file".into()),
        _ => ReadError::Unreadable(path, error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::storage::faulty::Simulated;
    use crate::storage::local::Local;

    /// What a look at a file says: this is on its disk, and that in the cache.
    fn look(from: ReadFrom, stored: &[u8], cached: &[u8]) -> Result<(), ReadError> {
        let (disk, path) = (Simulated::new(), StoragePath::new("f").unwrap());
        let storage = Local::on(Arc::new(disk.clone()), "simulated".into());
        disk.write_raw("f", stored).unwrap();
        disk.cache("f", cached);
        let check = |bytes: Vec<u8>| if bytes == b"right" { Ok(()) } else { Err("wrong".to_owned()) };
        confirmed(&storage, &path, 100, from, check)
    }

    #[test]
    fn what_is_wrong_in_memory_and_right_on_the_disk_is_no_damage() {
        for from in [ReadFrom::Anywhere, ReadFrom::Disk] {
            assert!(look(from, b"right", b"wrong").is_ok(), "{from:?}");
        }
    }

    #[test]
    fn what_is_right_in_memory_and_wrong_on_the_disk_is_damage_to_who_asks_for_the_disk() {
        assert!(look(ReadFrom::Anywhere, b"wrong", b"right").is_ok());
        assert!(look(ReadFrom::Disk, b"wrong", b"right").is_err_and(|error| error.is_damage()));
    }
}
