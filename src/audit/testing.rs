//! What the tests of the log share.
//!
//! Hazard: a test that builds its log in another way than the service does proves nothing about the service's.

use std::path::{Path, PathBuf};

use chrono::DateTime;
use tempfile::TempDir;

use super::{
    AuditLog, ChainReport, Entry, Finding, Head, Opening, Outcome, Record, Wanted, read_records, verify_chain,
};

/// An entry of this event, at the epoch.
pub fn entry(event: &'static str) -> Entry {
    Entry {
        timestamp: DateTime::UNIX_EPOCH,
        event,
        actor: "archiver",
        principal: "scheduler".to_owned(),
        set: None,
        backup_id: None,
        outcome: Outcome::Success,
        details: serde_json::Map::new(),
        correlation_id: "c-1".to_owned(),
    }
}

/// A scratch directory with a log's path in it.
pub struct Scratch {
    directory: TempDir,
    /// The live file.
    pub path: PathBuf,
}

impl Scratch {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("security_audit.log");
        Self { directory, path }
    }

    /// The path of another file in the directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Opens the log, and drops what was found.
    pub fn open(&self, expected: Option<Head>) -> AuditLog {
        AuditLog::open(&self.path, expected).unwrap().0
    }

    /// Opens the log, and says what was found.
    pub fn findings(&self, expected: Option<Head>) -> (AuditLog, Vec<Finding>) {
        let (log, Opening { findings }) = AuditLog::open(&self.path, expected).unwrap();
        (log, findings)
    }

    pub fn verify(&self, anchors: &[Head]) -> ChainReport {
        verify_chain(&self.path, &[], anchors).unwrap()
    }

    /// All records, oldest first.
    pub fn records(&self) -> Vec<Record> {
        read_records(&self.path, &[], &Wanted { after: Some(0), limit: 1000, ..Wanted::default() }).unwrap()
    }

    /// The `reason` of each `ChainStarted`, oldest first.
    pub fn reasons(&self) -> Vec<String> {
        let records = self.records().into_iter().filter(|record| record.event == super::CHAIN_STARTED);
        records.map(|record| record.details["reason"].as_str().unwrap().to_owned()).collect()
    }

    pub fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    pub fn put(&self, bytes: &[u8]) {
        put(&self.path, bytes);
    }
}

/// Writes a file for a test; durability is of no interest there.
#[expect(clippy::disallowed_methods, reason = "a scratch file of a test")]
pub fn put(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

/// Appends `events` one by one, and returns the head after each.
pub fn append_each(log: &mut AuditLog, events: &[&'static str]) -> Vec<Head> {
    events.iter().flat_map(|event| log.append(&[entry(event)]).unwrap()).collect()
}
