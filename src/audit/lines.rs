//! Lines of a file that others write to, too.
//!
//! Hazard: the file may be huge, its lines may be longer than memory, and it may grow or shrink while it is read. Both
//! readers hold a bounded piece of it and read by position, so they never move the cursor of an appending file.
//! Of a line longer than [`KEPT_BYTES`] they give the end, where a record of ours would be.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use super::record::MAX_LINE_BYTES;

/// At least so much of a line's end is given.
const KEPT_BYTES: usize = 2 * MAX_LINE_BYTES;
/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;

/// Bytes `at..end` of a file.
pub(super) struct Section<'f> {
    file: &'f File,
    at: u64,
    end: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The lines of what is read, first to last.
pub(super) struct Forward<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

impl<'f> Forward<Section<'f>> {
    /// The lines in bytes `start..end` of a file; `u64::MAX` as the end reads whatever there is.
    pub fn new(file: &'f File, start: u64, end: u64) -> Self {
        Self::over(Section { file, at: start, end })
    }
}

impl<R: Read> Forward<R> {
    /// The lines of everything there is to read.
    pub fn over(reader: R) -> Self {
        Self { reader: BufReader::with_capacity(BLOCK_BYTES, reader), line: Vec::new() }
    }

    /// The next line without its newline; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        loop {
            let read = self.reader.by_ref().take(KEPT_BYTES as u64).read_until(b'\n', &mut self.line)?;
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
                return Ok(Some(&self.line));
            }
            if read == 0 {
                return Ok(if self.line.is_empty() { None } else { Some(&self.line) });
            }
            let excess = self.line.len().saturating_sub(KEPT_BYTES);
            self.line.drain(..excess);
        }
    }
}

/// The lines of a file, last to first.
pub(super) struct Backward<'f> {
    file: &'f File,
    /// Where `buffer` lies in the file; everything before is still to be read.
    start: u64,
    /// What was read and not yet given.
    buffer: Vec<u8>,
    /// Where the line to be given next ends.
    end: u64,
    finished: bool,
}

impl<'f> Backward<'f> {
    /// The lines in the first `end` bytes. What follows the last newline is the first line given, be it empty.
    pub fn new(file: &'f File, end: u64) -> Self {
        Self { file, start: end, buffer: Vec::new(), end, finished: false }
    }

    /// The line before, without its newline, and where in the file it ends; `None` once the first was given.
    pub fn next(&mut self) -> io::Result<Option<(u64, Vec<u8>)>> {
        if self.finished {
            return Ok(None);
        }
        let mut line_end = Vec::new();
        loop {
            if let Some(newline) = self.buffer.iter().rposition(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_off(newline + 1);
                self.buffer.pop();
                line.append(&mut line_end);
                let end = std::mem::replace(&mut self.end, self.start + newline as u64);
                return Ok(Some((end, line)));
            }
            self.buffer.append(&mut line_end);
            line_end = std::mem::take(&mut self.buffer);
            let excess = line_end.len().saturating_sub(KEPT_BYTES);
            line_end.drain(..excess);
            if self.start == 0 {
                self.finished = true;
                return Ok(Some((self.end, line_end)));
            }
            self.read_block_before()?;
        }
    }

    fn read_block_before(&mut self) -> io::Result<()> {
        let length = self.start.min(BLOCK_BYTES as u64);
        self.start -= length;
        self.buffer.resize(length as usize, 0);
        self.file.read_exact_at(&mut self.buffer, self.start)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn forward(bytes: &[u8]) -> Vec<Vec<u8>> {
        let file = file_of(bytes);
        let mut lines = Forward::new(&file, 0, u64::MAX);
        std::iter::from_fn(|| lines.next().unwrap().map(<[u8]>::to_vec)).collect()
    }

    fn backward(bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let file = file_of(bytes);
        let mut lines = Backward::new(&file, bytes.len() as u64);
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    #[test]
    fn both_directions_give_the_same_lines() {
        let medium = "m".repeat(BLOCK_BYTES);
        let texts = ["", "a", "a\n", "\n", "a\n\nb", "one\ntwo\nthree\n", &format!("x\n{medium}\n{medium}\ny\n")];
        for text in texts {
            let expected: Vec<_> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            let mut seen: Vec<_> = backward(text.as_bytes()).into_iter().map(|(_, line)| line).collect();
            seen.reverse();
            assert_eq!(seen, expected, "backward {}", text.len());
            let lines: Vec<_> = text.split_terminator('\n').map(|line| line.as_bytes().to_vec()).collect();
            assert_eq!(forward(text.as_bytes()), lines, "forward {}", text.len());
        }
    }

    #[test]
    fn a_line_is_told_with_the_place_where_it_ends() {
        let text = format!("one\n{}\nthree\n", "2".repeat(3 * BLOCK_BYTES / 2)).into_bytes();
        for (end, line) in backward(&text) {
            assert!(text[..end as usize].ends_with(&line), "{end}");
            assert!(end as usize == text.len() || text[end as usize] == b'\n', "{end}");
        }
    }

    #[test]
    fn of_a_line_longer_than_memory_the_end_is_given() {
        let text = format!("a\n{}the end\nz", "-".repeat(5 * KEPT_BYTES)).into_bytes();
        for long in [forward(&text)[1].clone(), backward(&text)[1].1.clone()] {
            assert!(long.ends_with(b"--the end"));
            assert!((KEPT_BYTES..=2 * KEPT_BYTES).contains(&long.len()), "{}", long.len());
        }
    }
}
