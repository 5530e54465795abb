//! Holding restored files against their manifest.
//!
//! Hazard: code that compares with what it has just written finds what it has just written. The files are read anew,
//! from the disk as far as the system allows, with a reader that a restore does not use, and parsed as their readers
//! would.

use std::io::{self, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::de::IgnoredAny;

use super::DrillError;
use crate::core::content::{Validation, is_validated};
use crate::core::entry_path::path_of;
use crate::core::{Digest, EntryPath, Sha256};
use crate::pipeline::Progress;
use crate::repository::wire::{Body, FileEntry, SOURCE_ITSELF};
use crate::storage::disk::{Disk, DiskKind};
use crate::storage::real_disk::RealDisk;

const BUFFER_BYTES: usize = 1 << 20;

/// Whether these files below `root` are what the manifest says.
pub(super) fn compare(
    root: &Path,
    files: &[FileEntry],
    validation: Validation,
    progress: &Progress,
) -> Result<(), DrillError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| DrillError::Scratch { action, path, source }
    };
    let disk = RealDisk::open(root).map_err(failed("open", root))?;
    for file in files {
        progress.advance(0)?;
        let path = file.path.to_path();
        let place = root.join(&path);
        if file.attributes.mode & 0o400 == 0 {
            // It came back as it was: not to be read by its owner.
            std::fs::set_permissions(&place, PermissionsExt::from_mode(0o600)).map_err(failed("read", &place))?;
        }
        disk.drop_cache(&path);
        let (size_bytes, sha256, fault) = read(&disk, file, validation).map_err(failed("read", &place))?;
        let different = |what| DrillError::Different { path: file.path.to_string(), what };
        if size_bytes != file.size_bytes {
            return Err(different("it has another length"));
        }
        if sha256 != file.sha256 {
            return Err(different("it has another SHA-256"));
        }
        if let Some(fault) = fault {
            return Err(DrillError::Invalid { path: file.path.to_string(), fault });
        }
    }
    Ok(())
}

/// Whether the symlinks, hard links and directories below `root` are what the manifest says.
pub(super) fn compare_others(root: &Path, body: &Body) -> Result<(), DrillError> {
    let disk =
        RealDisk::open(root).map_err(|source| DrillError::Scratch { action: "open", path: root.to_owned(), source })?;
    let different = |path: &EntryPath, what| DrillError::Different { path: path.to_string(), what };
    for link in &body.symlinks {
        if disk.read_link(&link.path.to_path()).ok() != Some(path_of(&link.target)) {
            return Err(different(&link.path, "it is not the symlink that was backed up"));
        }
    }
    for directory in body.directories.iter().filter(|directory| directory.path != *SOURCE_ITSELF) {
        let there = disk.metadata(&directory.path.to_path()).ok();
        if there.is_none_or(|there| there.kind != DiskKind::Directory || there.mode != directory.attributes.mode) {
            return Err(different(&directory.path, "it is not the directory that was backed up"));
        }
    }
    let id = |path: &EntryPath| disk.metadata(&path.to_path()).ok().map(|there| there.file);
    for link in &body.hard_links {
        if id(&link.path).is_none() || id(&link.path) != id(&link.to) {
            return Err(different(&link.path, "it is not the same file as before"));
        }
    }
    Ok(())
}

/// The length and hash of a file, and why it does not parse if it should and does not.
fn read(disk: &RealDisk, file: &FileEntry, validation: Validation) -> io::Result<(u64, Digest, Option<String>)> {
    let path = file.path.to_path();
    let reader = HashingReader { disk, path: &path, offset: 0, hasher: Sha256::new() };
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    let mut fault = None;
    if is_validated(&file.path, validation) {
        match serde_json::from_reader::<_, IgnoredAny>(&mut reader) {
            Err(error) if error.is_io() => return Err(error.into()),
            parsed => fault = parsed.err().map(|error| error.to_string()),
        }
    }
    let mut rest = vec![0; BUFFER_BYTES];
    while reader.read(&mut rest)? > 0 {}
    let reader = reader.into_inner();
    Ok((reader.offset, reader.hasher.finish(), fault))
}

/// Reads a file from its beginning, and hashes what it reads.
struct HashingReader<'a> {
    disk: &'a RealDisk,
    path: &'a Path,
    offset: u64,
    hasher: Sha256,
}

impl Read for HashingReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.disk.read_at(self.path, self.offset, buffer)?;
        self.hasher.update(&buffer[..read]);
        self.offset += read as u64;
        Ok(read)
    }
}
