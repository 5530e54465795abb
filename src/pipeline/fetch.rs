//! One file of a backup, chunk by chunk, at the pace of whoever wants it.
//!
//! Hazard: what was handed out cannot be taken back. Each chunk is handed out only after its object was found to be
//! right, and the last one only after the whole file was.

use super::content::{ChunkReader, ContentFault, zeros};
use crate::core::Sha256;
use crate::repository::wire::FileEntry;

/// A file that is being handed out.
pub struct Fetch {
    file: FileEntry,
    /// How many of its chunks were handed out.
    done: usize,
    /// How many bytes were handed out.
    at: u64,
    hasher: Sha256,
}

impl Fetch {
    /// This file, from its beginning.
    pub fn new(file: FileEntry) -> Self {
        Self { file, done: 0, at: 0, hasher: Sha256::new() }
    }

    /// The next chunk, or as much of a hole; `None` after the last. After a fault there is no more.
    pub fn next(&mut self, reader: &ChunkReader<'_>) -> Option<Result<Vec<u8>, ContentFault>> {
        if self.at == self.file.size_bytes {
            return None;
        }
        let chunk = self.file.chunks.get(self.done);
        let hole = chunk.map_or(self.file.size_bytes, |chunk| chunk.at).saturating_sub(self.at);
        let read = match chunk.filter(|_| hole == 0) {
            Some(chunk) => {
                self.done += 1;
                reader.read(chunk)
            }
            None => Ok(zeros(hole).next().unwrap_or_default().to_vec()),
        };
        let checked = read.and_then(|content| {
            self.hasher.update(&content);
            self.at += content.len() as u64;
            let is_last = self.at == self.file.size_bytes;
            if is_last && std::mem::take(&mut self.hasher).finish() != self.file.sha256 {
                return Err(ContentFault::File(self.file.path.to_string()));
            }
            Ok(content)
        });
        if checked.is_err() {
            self.at = self.file.size_bytes;
        }
        Some(checked)
    }
}
