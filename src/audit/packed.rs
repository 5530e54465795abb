//! Rotated files that were compressed with gzip.
//!
//! Hazard: a few bytes can unpack to more than any disk holds. A file is unpacked as it is read, a line at a time, in
//! bounded memory and up to a bound; nothing is written.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};

use flate2::read::MultiGzDecoder;

use super::lines::Forward;
use super::record::Line;

/// The ending of their names.
pub(super) const GZIP: &str = ".gz";

/// No log that rotation makes unpacks to more.
const MAX_UNPACKED_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 16 << 30 };

/// The content of a compressed file.
pub(super) struct Unpacked<'f> {
    content: MultiGzDecoder<BufReader<&'f File>>,
    left_bytes: u64,
}

impl Read for Unpacked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        let left = self.left_bytes.checked_sub(read as u64);
        self.left_bytes =
            left.ok_or_else(|| io::Error::other(format!("it unpacks to more than {MAX_UNPACKED_BYTES} bytes")))?;
        Ok(read)
    }
}

/// The lines of a compressed file, first to last.
pub(super) fn lines(file: &File) -> io::Result<Forward<Unpacked<'_>>> {
    let mut rewound = file;
    rewound.rewind()?;
    let content = MultiGzDecoder::new(BufReader::new(file));
    Ok(Forward::over(Unpacked { content, left_bytes: MAX_UNPACKED_BYTES }))
}

/// The number of its first record; `None` if it has none.
pub(super) fn first_seq(file: &File) -> io::Result<Option<u64>> {
    let mut lines = lines(file)?;
    while let Some(line) = lines.next()? {
        if let Line::Own(link) = Line::of(line) {
            return Ok(Some(link.head.seq));
        }
    }
    Ok(None)
}
