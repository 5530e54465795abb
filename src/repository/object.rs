//! Objects: chunks of content as stored.
//!
//! Hazard: bytes that come back from a disk may be any bytes. An object is trusted only after its stored bytes hash
//! to its name and its content has the length that was promised; nothing is allocated on the say-so of a header.

use super::encryption::{self, Keys, OpenFault, Recipients};
use super::wire::Chunk;
use crate::core::Digest;

/// The most content one object holds, and the size of every chunk of a file but its last.
///
/// Fixed, so that an appended, renamed or copy-truncated log shares all its whole chunks with the copy before. Measured
/// over half a gigabyte of logs on two cores (`cargo bench`): at 256 KiB a first backup took 1.3 times as long as at
/// 1 MiB and a restore 1.6 times, for four times the files; at 4 MiB a first backup took 0.9 times as long, with three
/// times the memory (107 MiB), and each append stored up to 4 MiB again.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The most content of a pack, and the most bytes of its frames.
pub const MAX_PACK_BYTES: usize = 1 << 20;

/// The most that a stored object can measure: incompressible content grows by a little.
pub const MAX_STORED_BYTES: u64 = (CHUNK_BYTES + CHUNK_BYTES / 64 + 1024) as u64;

/// Measured on JSON-lines logs: level 3 took 1.4 times as long for a first backup, and stored 8 % more.
const ZSTD_LEVEL: i32 = 1;

/// Content as it will be stored.
#[derive(Debug)]
pub struct Encoded {
    /// The SHA-256 of `stored`.
    pub name: Digest,
    /// The bytes of the object.
    pub stored: Vec<u8>,
}

/// Compresses chunks, and encrypts them where there are recipients; keeps its working memory between them. One for each
/// thread.
pub struct Encoder<'a> {
    compressor: zstd::bulk::Compressor<'static>,
    recipients: Option<&'a Recipients>,
}

impl<'a> Encoder<'a> {
    /// An encoder; fails only where memory does.
    pub fn new(recipients: Option<&'a Recipients>) -> std::io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(ZSTD_LEVEL)?, recipients })
    }

    /// The object that holds `content`.
    pub fn encode(&mut self, content: &[u8]) -> std::io::Result<Encoded> {
        let frame = self.compress(content)?;
        self.seal(frame)
    }

    /// The frame that holds `content`.
    pub fn compress(&mut self, content: &[u8]) -> std::io::Result<Vec<u8>> {
        self.compressor.compress(content)
    }

    /// The object that holds these frames.
    pub fn seal(&self, frames: Vec<u8>) -> std::io::Result<Encoded> {
        let stored = match self.recipients {
            Some(recipients) => recipients.seal(&frames)?,
            None => frames,
        };
        Ok(Encoded { name: Digest::of(&stored), stored })
    }
}

/// What is wrong with the bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ObjectFault {
    /// The stored bytes have another hash than the name.
    #[error("stored bytes do not hash to the object's name")]
    Hash,
    /// The bytes are what was written, and do not decompress to what the manifest says.
    #[error("content is not what the manifest says")]
    Content,
    /// The bytes are what was written, and may hold anything.
    #[error("{}", OpenFault::NoIdentity)]
    NoIdentity,
}

/// Decompresses chunks; keeps its working memory between them. One for each thread.
pub struct Decoder(zstd::bulk::Decompressor<'static>);

impl Decoder {
    /// A decoder; fails only where memory does.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(zstd::bulk::Decompressor::new()?))
    }

    /// The content of a chunk in an object that was decrypted: exactly as much as it says.
    pub fn decode(&mut self, frames: &[u8], chunk: &Chunk) -> Result<Vec<u8>, ObjectFault> {
        let capacity =
            usize::try_from(chunk.size_bytes).ok().filter(|size| *size <= CHUNK_BYTES).ok_or(ObjectFault::Content)?;
        let frame = match chunk.frame {
            None => frames,
            Some(frame) => {
                let (begin, length) = (frame.offset as usize, frame.length as usize);
                frames.get(begin..).and_then(|rest| rest.get(..length)).ok_or(ObjectFault::Content)?
            }
        };
        let content = self.0.decompress(frame, capacity);
        content.ok().filter(|content| content.len() == capacity).ok_or(ObjectFault::Content)
    }
}

/// The zstd frames of an object whose stored bytes have been found to hash to its name.
pub fn decrypt(stored: Vec<u8>, keys: &Keys) -> Result<Vec<u8>, ObjectFault> {
    if !encryption::is_sealed(&stored) {
        return Ok(stored);
    }
    keys.open(&stored).map_err(|fault| match fault {
        OpenFault::NoIdentity => ObjectFault::NoIdentity,
        OpenFault::Damaged => ObjectFault::Content,
    })
}

/// The same of what does not hash to its name: as far as it can be told to be what was written. What a frame of it holds
/// counts only if it hashes to what the manifest says.
pub fn decrypt_damaged(stored: Vec<u8>, keys: &Keys) -> Vec<u8> {
    if encryption::is_sealed(&stored) { keys.open_beginning(&stored) } else { stored }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ChunkKey;
    use crate::repository::wire::Frame;

    fn chunk(size_bytes: u64, frame: Option<Frame>) -> Chunk {
        Chunk { object: Digest::of(b""), frame, at: 0, size_bytes, blake3: ChunkKey::of(b"") }
    }

    #[test]
    fn content_comes_back_and_the_name_is_the_hash_of_the_stored_bytes() {
        for content in [&b""[..], b"x", &[7; CHUNK_BYTES]] {
            let encoded = Encoder::new(None).unwrap().encode(content).unwrap();
            assert_eq!(encoded.name, Digest::of(&encoded.stored));
            assert_eq!(
                Decoder::new().unwrap().decode(&encoded.stored, &chunk(content.len() as u64, None)).unwrap(),
                content
            );
        }
    }

    #[test]
    fn incompressible_content_stays_within_the_bound() {
        let mut random = fastrand::Rng::with_seed(7);
        let content: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(CHUNK_BYTES).collect();
        assert!(Encoder::new(None).unwrap().encode(&content).unwrap().stored.len() as u64 <= MAX_STORED_BYTES);
    }

    #[test]
    fn a_lie_about_the_length_is_a_fault_and_never_an_allocation() {
        let stored = Encoder::new(None).unwrap().encode(b"twelve bytes").unwrap().stored;
        let mut decoder = Decoder::new().unwrap();
        for size in [0, 11, 13, CHUNK_BYTES as u64 + 1, u64::MAX] {
            assert_eq!(decoder.decode(&stored, &chunk(size, None)), Err(ObjectFault::Content), "{size}");
        }
        assert_eq!(decoder.decode(b"no zstd frame", &chunk(12, None)), Err(ObjectFault::Content));
        let pack = [&stored[..], &stored].concat();
        let length = stored.len() as u32;
        for (offset, right) in [(0, true), (length, true), (1, false), (length + 1, false), (u32::MAX, false)] {
            let decoded = decoder.decode(&pack, &chunk(12, Some(Frame { offset, length })));
            assert_eq!(decoded.as_deref() == Ok(&b"twelve bytes"[..]), right, "{offset}");
        }
    }
}
