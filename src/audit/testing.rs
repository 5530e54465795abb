//! What the tests of the log share.
//!
//! Hazard: a test that builds its log in another way than the service does proves nothing about the service's.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chrono::DateTime;
use tempfile::TempDir;

use super::{
    AuditLog, Authenticator, ChainReport, Entry, Finding, Head, Kept, Key, KeyDocument, Known, Marks, Memory, Opening,
    Outcome, Record, Trust, Wanted, read_records, verify_chain,
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

/// A scratch directory with a log's path in it, and what the repository remembers of the log.
pub struct Scratch {
    directory: TempDir,
    /// The live file.
    pub path: PathBuf,
    pub memory: Arc<Remembered>,
}

/// What is remembered of a log.
#[derive(Debug, Default)]
pub struct Remembered {
    pub key: Option<KeyDocument>,
    pub marks: Mutex<Marks>,
}

impl Memory for Remembered {
    fn authenticator(&self) -> Authenticator {
        self.key.as_ref().and_then(KeyDocument::authenticator).unwrap_or_default()
    }

    fn rotated(&self, after: Head) {
        self.marks.lock().unwrap().add(Marks { rotations: vec![after], ..Marks::default() });
    }
}

impl Remembered {
    /// A fresh key, for what follows `after`.
    pub fn with_key(after: Option<Head>) -> Self {
        let key = KeyDocument::begin(Key::generate().unwrap(), after, vec![], DateTime::UNIX_EPOCH);
        Self { key: Some(key), marks: Mutex::default() }
    }

    /// What follows from it and from these records, which were there once.
    pub fn trust(&self, anchors: &[Head]) -> Trust {
        let (key, marks) = (self.key.clone(), Some(self.marks.lock().unwrap().clone()));
        Trust::of(Known { key, marks, anchors: anchors.to_vec(), ..Known::default() }, &[])
    }
}

impl Scratch {
    pub fn new() -> Self {
        Self::remembering(Arc::new(Remembered::with_key(None)))
    }

    /// As it was before records were authenticated.
    pub fn without_key() -> Self {
        Self::remembering(Arc::default())
    }

    fn remembering(memory: Arc<Remembered>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("security_audit.log");
        Self { directory, path, memory }
    }

    /// The same, where something else is remembered.
    pub fn with(self, memory: Remembered) -> Self {
        Self { memory: Arc::new(memory), ..self }
    }

    pub fn authenticator(&self) -> Authenticator {
        self.memory.authenticator()
    }

    /// The path of another file in the directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Opens the log, and drops what was found.
    pub fn open(&self, expected: Option<Head>) -> AuditLog {
        self.findings(expected).0
    }

    /// Opens the log, and says what was found.
    pub fn findings(&self, expected: Option<Head>) -> (AuditLog, Vec<Finding>) {
        let (log, Opening { findings }) = AuditLog::open(&self.path, expected, self.memory.clone()).unwrap();
        (log, findings)
    }

    pub fn verify(&self, anchors: &[Head]) -> ChainReport {
        self.verify_with(&[], anchors)
    }

    /// The same, where records are kept elsewhere.
    pub fn verify_with(&self, kept: &[Kept], anchors: &[Head]) -> ChainReport {
        verify_chain(&self.path, kept, &self.memory.trust(anchors)).unwrap()
    }

    /// All records, oldest first.
    pub fn records(&self) -> Vec<Record> {
        self.page(&Wanted { after: Some(0), limit: 1000, ..Wanted::default() })
    }

    /// A page of records.
    pub fn page(&self, wanted: &Wanted) -> Vec<Record> {
        read_records(&self.path, &[], wanted, &self.authenticator()).unwrap()
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
