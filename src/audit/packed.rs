//! Rotated files that were compressed, with gzip, xz or zstd.
//!
//! Hazard: a few bytes can unpack to more than any disk holds, or ask for more memory than there is. A file is unpacked
//! as it is read, a line at a time, in bounded memory and up to a bound; nothing is written.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;

use super::key::Authenticator;
use super::lines::Forward;
use super::record::{Head, Line};

/// The endings of their names.
pub(super) const ENDINGS: [&str; 3] = [".gz", ".xz", ".zst"];

/// No log that rotation makes unpacks to more.
const MAX_UNPACKED_BYTES: u64 = if cfg!(test) { 1 << 20 } else { 16 << 30 };

/// `xz -9` asks for 65 MiB to unpack.
const MAX_XZ_MEMORY_KIB: u32 = 128 << 10;
/// The same for zstd, as a power of two: what `zstd -d` takes without being asked.
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// The content of a compressed file.
pub(super) struct Unpacked<'f> {
    content: Box<dyn Read + 'f>,
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

/// The lines of a compressed file, first to last; its name tells how it was compressed.
pub(super) fn lines<'f>(path: &Path, file: &'f File) -> io::Result<Forward<Unpacked<'f>>> {
    let mut rewound = file;
    rewound.rewind()?;
    let packed = BufReader::new(file);
    let content: Box<dyn Read + 'f> = match path.extension().and_then(|ending| ending.to_str()) {
        Some("xz") => Box::new(XzReader::new_mem_limit(packed, true, MAX_XZ_MEMORY_KIB)),
        Some("zst") => {
            let mut decoder = zstd::Decoder::with_buffer(packed)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        _ => Box::new(MultiGzDecoder::new(packed)),
    };
    Ok(Forward::over(Unpacked { content, left_bytes: MAX_UNPACKED_BYTES }))
}

/// The number of its first record; `None` if it has none.
pub(super) fn first_seq(path: &Path, file: &File, authenticator: &Authenticator) -> io::Result<Option<u64>> {
    let mut lines = lines(path, file)?;
    while let Some(line) = lines.next()? {
        if let Line::Own(link) = Line::of(line)
            && authenticator.admits(&link, None)
        {
            return Ok(Some(link.head.seq));
        }
    }
    Ok(None)
}

/// Its last record, and whether `wanted` is among its records.
pub(super) fn last(
    path: &Path,
    file: &File,
    authenticator: &Authenticator,
    wanted: Option<Head>,
) -> io::Result<(Option<Head>, bool)> {
    let (mut last, mut found) = (None, false);
    let mut lines = lines(path, file)?;
    while let Some(line) = lines.next()? {
        if let Line::Own(link) = Line::of(line)
            && authenticator.admits(&link, last)
        {
            found |= wanted == Some(link.head);
            last = Some(link.head);
        }
    }
    Ok((last, found))
}
