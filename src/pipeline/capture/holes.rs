//! Where a file has content, and where it has holes.
//!
//! Hazard: a file of many small holes would become a manifest of many small chunks. A hole counts from a length on; what is
//! shorter is read as the zeros that it reads as.

use std::fs::File;
use std::io;
use std::ops::Range;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::repository::object::CHUNK_BYTES;

/// The shortest hole that is kept as one.
const MIN_HOLE_BYTES: u64 = 64 << 10;

/// Whether a file of `end` bytes may have holes: it takes less of the disk than it measures.
pub(super) fn is_sparse(file: &File, end: u64) -> io::Result<bool> {
    const BLOCK_BYTES: u64 = 512;
    let stat = rustix::fs::fstat(file)?;
    Ok(u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES) < end)
}

/// The next part from `offset` on: to the next multiple of a chunk, or the end of the file.
pub(super) fn whole_block(offset: u64, end: u64) -> Range<u64> {
    offset..end.min((offset / CHUNK_BYTES as u64 + 1) * CHUNK_BYTES as u64)
}

/// The same of a file with holes: what lies before it is a hole, and it ends where the next begins. At the end of the file
/// it is empty.
pub(super) fn next_part(file: &File, offset: u64, end: u64) -> io::Result<Range<u64>> {
    let mut start = offset;
    if let Some(data) = data_from(file, offset, end)?
        && data - offset >= MIN_HOLE_BYTES.min(end - offset)
    {
        start = data;
    }
    if start == end {
        return Ok(end..end);
    }
    let block = whole_block(start, end);
    let mut at = start;
    while let Some(hole) = hole_from(file, at, block.end)? {
        let after = data_from(file, hole, end)?.unwrap_or(block.end);
        if after - hole >= MIN_HOLE_BYTES || after == end {
            return Ok(if hole > start { start..hole } else { block });
        }
        if after >= block.end {
            break;
        }
        at = after;
    }
    Ok(block)
}

/// Where content begins at or after `offset`: `end` if nowhere; `None` where the filesystem does not tell.
fn data_from(file: &File, offset: u64, end: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(Some(data.clamp(offset, end))),
        Err(Errno::NXIO) => Ok(Some(end)),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where a hole begins at or after `offset` and before `end`, if there is one.
fn hole_from(file: &File, offset: u64, end: u64) -> io::Result<Option<u64>> {
    match seek(file, SeekFrom::Hole(offset)) {
        Ok(hole) => Ok((hole < end).then_some(hole.max(offset))),
        Err(Errno::NXIO | Errno::INVAL | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
