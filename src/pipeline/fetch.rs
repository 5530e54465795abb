//! One file of a backup, chunk by chunk, at the pace of whoever wants it.
//!
//! Hazard: what was handed out cannot be taken back. Each chunk is handed out only after its object was found to be
//! right, and the last one only after the whole file was.

use super::content::{ChunkReader, ContentFault};
use crate::core::Sha256;
use crate::repository::wire::FileEntry;
use crate::repository::{ReadFrom, Repository};

/// A file that is being handed out.
pub struct Fetch {
    file: FileEntry,
    /// How many of its chunks were handed out.
    done: usize,
    hasher: Sha256,
}

impl Fetch {
    /// This file, from its beginning.
    pub fn new(file: FileEntry) -> Self {
        Self { file, done: 0, hasher: Sha256::new() }
    }

    /// The next chunk; `None` after the last. After a fault there is no more.
    pub fn next(&mut self, repository: &Repository) -> Option<Result<Vec<u8>, ContentFault>> {
        let chunk = self.file.chunks.get(self.done)?;
        let read = ChunkReader::new(repository, ReadFrom::Anywhere).read(chunk);
        self.done += 1;
        let is_last = self.done == self.file.chunks.len();
        let checked = read.and_then(|content| {
            self.hasher.update(&content);
            if is_last && std::mem::take(&mut self.hasher).finish() != self.file.sha256 {
                return Err(ContentFault::File(self.file.path.clone()));
            }
            Ok(content)
        });
        if checked.is_err() {
            self.done = self.file.chunks.len();
        }
        Some(checked)
    }
}
