//! Appends to the log.
//!
//! Hazard: a record is acknowledged only once it is on disk, while others write to, rename and empty the same file.
//! Before each append it is made sure that the path still names the open file and that our last record is where it
//! was; whenever that is in doubt, and after every failure, the file is looked at anew instead of trusting memory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::AuditError;
use super::key::Authenticator;
use super::lines::Forward;
use super::opening::{Finding, Memory, Opening, Position, locate};
use super::record::{Batch, Entry, Head, Line};
use super::segments::{Tip, identity};

mod merge;

/// The log, open for appending. One process appends to a log at a time; others may write lines of their own to it.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    memory: Arc<dyn Memory>,
    authenticator: Authenticator,
    position: Position,
    /// The last record known to be durable, or remembered elsewhere.
    acknowledged: Option<Head>,
    /// Up to here the file was looked at.
    seen_bytes: u64,
    /// The last append failed: what it left in the file is not known.
    unsettled: bool,
    foreign_lines: u64,
    /// Found since somebody last asked.
    news: Vec<Finding>,
}

/// Records that did not get into the log.
#[derive(Debug, thiserror::Error)]
#[error("append to the log")]
pub struct Unwritten {
    /// Why not.
    pub source: AuditError,
    /// They, with the places in the chain that they were to have; some may be in the file, not known to be durable.
    pub batch: Batch,
}

impl AuditLog {
    /// Opens the log, or creates it (mode 0600) and the directories it is in. `expected` is the head that is remembered
    /// elsewhere, if any.
    ///
    /// The chain goes on after the last record of the live file or, if that holds none, of the files rotated away from
    /// it (`.1`, `-20261123`). If `expected` is later than that, or another record stands in its place, it goes on after
    /// `expected`. What `memory` does not take for a record of ours is none.
    /// Nothing is written yet: what there is to tell goes in front of the first entry, with its timestamp.
    pub fn open(path: &Path, expected: Option<Head>, memory: Arc<dyn Memory>) -> Result<(Self, Opening), AuditError> {
        let authenticator = memory.authenticator();
        let position = locate(path, expected, &authenticator, false)?;
        let (seen_bytes, size_bytes) = (position.seen_bytes(), position.size_bytes);
        let mut log = Self {
            path: path.to_owned(),
            memory,
            authenticator,
            position,
            acknowledged: expected,
            seen_bytes,
            unsettled: false,
            foreign_lines: 0,
            news: Vec::new(),
        };
        log.look_at_lines_up_to(size_bytes)?;
        log.news.clear();
        let opening = Opening { findings: log.position.findings.clone() };
        Ok((log, opening))
    }

    /// Appends all entries with one write and one fdatasync, and returns the head after each.
    ///
    /// After an error nothing is acknowledged, though some records may have got into the file. Either append the entries
    /// again: what was left half-written is told of by the next append that succeeds. Or keep the batch elsewhere, drop
    /// this, and [merge](Self::merge) it into the log when that can be opened again.
    pub fn append(&mut self, entries: &[Entry]) -> Result<Vec<Head>, Box<Unwritten>> {
        let Some(first) = entries.first() else { return Ok(Vec::new()) };
        let looked = self.follow();
        let notices: Vec<Entry> = self.position.findings.iter().filter_map(|finding| finding.entry(first)).collect();
        let key = self.authenticator.key();
        let batch = match Batch::after(self.position.follows, notices.iter().chain(entries), key) {
            Ok(batch) => batch,
            Err(error) => {
                let source = AuditError::at("encode a record for", &self.path)(error);
                return Err(Box::new(Unwritten { source, batch: Batch::default() }));
            }
        };
        if let Err(source) = looked.and_then(|()| self.write(&batch)) {
            return Err(Box::new(Unwritten { source, batch }));
        }
        self.position.findings.clear();
        Ok(batch.heads[notices.len()..].to_vec())
    }

    /// The last record of the chain, as far as it is known; `None` before the first.
    pub fn head(&self) -> Option<Head> {
        self.position.follows
    }

    /// How many lines others wrote behind our last record, from when it was opened to the last append.
    pub fn foreign_lines(&self) -> u64 {
        self.foreign_lines
    }

    /// Where the live file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Has the log tell this, too, in front of the next entry.
    pub fn announce(&mut self, finding: Finding) {
        self.position.findings.push(finding);
    }

    /// Looks whether the open file still is the log, and ends where we think it ends, as before an append; but leaves a
    /// rotation to the next append.
    pub fn look(&mut self) -> Result<(), AuditError> {
        let open = self.position.file.metadata().map_err(AuditError::at("stat", &self.path))?;
        let moved = match fs::symlink_metadata(&self.path) {
            Ok(at_path) => at_path.is_file() && identity(&at_path) != self.position.identity,
            Err(error) if error.kind() == ErrorKind::NotFound => true,
            Err(source) => return Err(AuditError::at("stat", &self.path)(source)),
        };
        if moved && open.nlink() > 0 { Ok(()) } else { self.follow() }
    }

    /// What was found while appending, since this was last asked: `Rotated`, `HeadMissing` and the like.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.news)
    }

    /// Makes sure that the open file is the one at the path, and that it ends where we think it ends.
    fn follow(&mut self) -> Result<(), AuditError> {
        let at_path = match fs::symlink_metadata(&self.path) {
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(source) => return Err(AuditError::at("stat", &self.path)(source)),
        };
        let in_place = at_path.as_ref().is_some_and(|metadata| identity(metadata) == self.position.identity);
        let holds_tip = self.holds_tip().map_err(AuditError::at("read", &self.path))?;
        if !in_place {
            let open = self.position.file.metadata().map_err(AuditError::at("stat", &self.path))?;
            return self.look_again(open.nlink() > 0 && holds_tip);
        }
        let size_bytes = at_path.map_or(0, |metadata| metadata.len());
        if self.unsettled || !holds_tip {
            return self.look_again(false);
        }
        let known = self.position.follows;
        if let Some(last) = self.look_at_lines_up_to(size_bytes)? {
            self.look_again(false)?;
            if self.position.follows != known {
                self.found(Finding::OtherWriter { last });
            }
        }
        Ok(())
    }

    fn holds_tip(&self) -> io::Result<bool> {
        self.position.tip.map_or(Ok(true), |tip| tip.is_in(&self.position.file))
    }

    fn look_again(&mut self, renamed_away: bool) -> Result<(), AuditError> {
        self.position = locate(&self.path, self.acknowledged, &self.authenticator, renamed_away)?;
        self.seen_bytes = self.position.seen_bytes();
        let continued = self.position.findings.iter().filter(|finding| **finding != Finding::Continued);
        self.news.extend(continued.cloned());
        self.look_at_lines_up_to(self.position.size_bytes)?;
        let records = self.position.records_after(self.acknowledged);
        if self.unsettled && records > 0 {
            self.found(Finding::Unacknowledged { records });
        }
        self.unsettled = false;
        Ok(())
    }

    fn found(&mut self, finding: Finding) {
        self.position.findings.push(finding.clone());
        self.news.push(finding);
    }

    /// Counts the lines that others appended, and returns the last that is ours.
    fn look_at_lines_up_to(&mut self, end: u64) -> Result<Option<Head>, AuditError> {
        let mut last = None;
        let mut forged_lines = 0;
        let mut lines = Forward::new(&self.position.file, self.seen_bytes, end);
        while let Some(line) = lines.next().map_err(AuditError::at("read", &self.path))? {
            match Line::of(line) {
                Line::Own(link) if self.authenticator.admits(&link, self.position.follows) => last = Some(link.head),
                Line::Own(_) => forged_lines += 1,
                Line::Foreign => self.foreign_lines += 1,
                Line::Blank | Line::Broken => {}
            }
        }
        self.seen_bytes = end;
        if forged_lines > 0 {
            self.found(Finding::Forged { lines: forged_lines });
        }
        Ok(last)
    }

    /// Writes the lines, behind a newline if the file does not end with one, makes them durable, and notes where they
    /// are.
    fn write(&mut self, batch: &Batch) -> Result<(), AuditError> {
        for finding in &self.position.findings {
            if let Finding::Rotated { after } = finding {
                self.memory.rotated(*after);
            }
        }
        self.unsettled = true;
        let write = || AuditError::at("write", &self.path);
        let mut file = &self.position.file;
        let newline: &[u8] = if ends_with_newline(file).map_err(write())? { b"" } else { b"\n" };
        let bytes = [newline, &batch.bytes].concat();
        write_at_once(file, &bytes).map_err(write())?;
        // The cursor of an appending file is where its last write ended, whoever wrote before.
        let end = file.stream_position().map_err(write())?;
        self.look_at_lines_up_to(end - bytes.len() as u64)?;
        self.seen_bytes = end;
        let offset = end - 1 - u64::from(batch.last_length_bytes);
        let head = batch.head();
        self.position.tip = head.map(|head| Tip { head, offset, length_bytes: batch.last_length_bytes });
        self.position.file.sync_data().map_err(AuditError::at("sync", &self.path))?;
        self.unsettled = false;
        self.position.follows = head;
        self.acknowledged = head;
        Ok(())
    }
}

impl Position {
    /// Everything up to the end of our last record was looked at; what is behind it is still to be counted.
    fn seen_bytes(&self) -> u64 {
        self.tip.map_or(0, |tip| tip.offset + u64::from(tip.length_bytes))
    }

    fn records_after(&self, acknowledged: Option<Head>) -> u64 {
        let last = self.tip.map_or(0, |tip| tip.head.seq);
        last.saturating_sub(acknowledged.map_or(0, |head| head.seq))
    }
}

fn ends_with_newline(file: &File) -> io::Result<bool> {
    let size_bytes = file.metadata()?.len();
    let mut last = [b'\n'];
    if size_bytes > 0 {
        file.read_at(&mut last, size_bytes - 1)?;
    }
    Ok(last == [b'\n'])
}

/// Writes with a single call, so that nobody's line gets into ours.
fn write_at_once(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    loop {
        match file.write(bytes) {
            Ok(written) if written == bytes.len() => return Ok(()),
            Ok(written) => {
                let message = format!("only {written} of {} bytes were taken: is the disk full?", bytes.len());
                return Err(io::Error::new(ErrorKind::WriteZero, message));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
impl AuditLog {
    /// Makes writing fail until the file is looked at anew.
    pub(super) fn lose_write_access(&mut self) {
        self.position.file = File::open(&self.path).unwrap();
    }
}
