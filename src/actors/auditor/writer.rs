//! Writes records where they can be written.
//!
//! Hazard: a log on a full or lost disk must neither stop the service nor cost a record. What the log does not take is
//! kept in the repository, each record with its place in the chain, and merged once the log can be written again. Until
//! then nothing is written to the log: the order of the chain is the order of the files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::super::problems::chain;
use super::super::world::{AuditView, World};
use super::memory::{Memory, remember_key};
use crate::audit::{self, AuditError, AuditLog, Batch, Entry, Finding, Head, MaxBySeq, Unwritten, kept};
use crate::core::repeated::Repeated;
use crate::pipeline::audit_trust::{kept_in, remembered};
use crate::repository::MAX_KEPT_BYTES;
use crate::repository::wire::AuditHead;
use crate::storage::{Durability, StorageError};

/// How long a log that could not be written is left alone.
pub const RETRY: Duration = Duration::from_secs(1);

/// How long it is before it is tried again to have a key: that may mean to read the whole log.
const RETRY_KEY: Duration = Duration::from_secs(10);

/// The log, and what is known of it. Nothing at first: the log is opened when the first record comes.
#[derive(Default)]
pub struct Writer {
    log: Option<AuditLog>,
    /// Since the log failed, if it did.
    fallback: Option<Fallback>,
    /// Whether it was looked whether an earlier process kept records.
    recalled: bool,
    /// What is remembered of the log; nothing until the key is there.
    memory: Option<Arc<Memory>>,
    /// When it is tried again to have a key, in uptime.
    next_key: Duration,
    /// Why there is none.
    keyless: Repeated,
}

/// Where the chain goes on while the log cannot be written.
struct Fallback {
    head: Option<Head>,
    /// Whether the log could be read when the first record was kept: otherwise it may have gone further than is known, and
    /// the kept records may get other numbers.
    certain: bool,
    kept_bytes: u64,
    /// When the log is tried again, in uptime.
    retry_at: Duration,
}

/// Why a record is neither in the log nor kept.
#[derive(Debug, thiserror::Error)]
pub enum Unrecordable {
    /// The repository did not take it either.
    #[error("keep a record in the repository, as the audit log cannot be written ({log})")]
    Unkept {
        /// What is wrong with the log.
        log: String,
        /// What is wrong with the repository.
        #[source]
        source: StorageError,
    },
    /// Enough was kept.
    #[error("{MAX_KEPT_BYTES} bytes of records are kept already, as the audit log cannot be written ({log})")]
    Full {
        /// What is wrong with the log.
        log: String,
    },
}

impl Writer {
    /// Makes these durable, in the log or in the repository, and tells the world where the chain stands.
    pub fn record(&mut self, world: &Arc<World>, path: &Path, entries: &[Entry]) -> Result<(), Unrecordable> {
        self.settle(world, path);
        if let Some(fallback) = &self.fallback {
            let key = self.memory.as_ref().and_then(|memory| memory.key());
            let batch = Batch::after(fallback.head, entries, key);
            return self.keep(world, "it failed before", batch.unwrap_or_default());
        }
        if self.log.is_none() {
            match self.open(world, path, remembered(&world.repository)) {
                Ok(log) => self.log = Some(log),
                Err(error) => {
                    self.fall_back(world, path, &error, None);
                    return self.record(world, path, entries);
                }
            }
        }
        let Some(log) = self.log.as_mut() else { return Ok(()) };
        let mut appended = log.append(entries);
        if let Err(unwritten) = &appended
            && is_full(unwritten)
            && world.repository.release_reserve()
        {
            appended = log.append(entries);
        }
        let head = log.head();
        for finding in log.take_findings() {
            tell(world, path, &finding);
        }
        match appended {
            Ok(_) => {
                self.remember(world, head);
                rotate_if_ours(world, path);
                Ok(())
            }
            Err(unwritten) => {
                let why = chain(&unwritten.source);
                self.fall_back(world, path, &unwritten.source, Some(head));
                self.keep(world, &why, unwritten.batch)
            }
        }
    }

    /// Looks whether the log still is what it was when it was last written.
    pub fn look(&mut self, world: &Arc<World>, path: &Path) {
        let Some(log) = self.log.as_mut() else { return };
        let (looked, head) = (log.look(), log.head());
        for finding in log.take_findings() {
            tell(world, path, &finding);
        }
        if let Err(error) = looked {
            self.fall_back(world, path, &error, Some(head));
        }
    }

    /// Brings what is kept into the log, if it is time to try.
    pub fn settle(&mut self, world: &Arc<World>, path: &Path) {
        if !self.recalled {
            self.recall(world);
        }
        let now = world.clock.uptime();
        if self.may_have_key(world) {
            // A log that was opened without a key takes anything for a record: it is opened anew with one.
            self.log = None;
        }
        if self.fallback.as_ref().is_none_or(|fallback| fallback.retry_at > now) {
            return;
        }
        match self.merge(world, path) {
            Ok(log) => {
                let head = log.head();
                (self.log, self.fallback) = (Some(log), None);
                self.remember(world, head);
                world.recheck_audit();
            }
            Err(why) => {
                tracing::debug!(path = %path.display(), "the audit log still cannot be written: {why}");
                world.metrics.observe_audit_failure();
                self.fallback.iter_mut().for_each(|fallback| fallback.retry_at = now + RETRY);
            }
        }
    }

    /// Whether records are kept, or may be.
    fn recall(&mut self, world: &Arc<World>) {
        match kept_in(&world.repository) {
            Ok(kept) => {
                self.recalled = true;
                if !kept.is_empty() {
                    let kept_bytes = kept.iter().map(|kept| kept.bytes.len() as u64).sum();
                    let head = kept::head(&kept);
                    self.fallback = Some(Fallback { head, certain: false, kept_bytes, retry_at: Duration::ZERO });
                }
            }
            Err(error) => tracing::warn!("see whether audit records are kept: {}", chain(&error)),
        }
    }

    /// From now on records are kept. `head` is where the chain stands, if the log could be read.
    fn fall_back(&mut self, world: &Arc<World>, path: &Path, error: &AuditError, head: Option<Option<Head>>) {
        tracing::error!(path = %path.display(), "the audit log cannot be written, records are kept in {}: {}",
            world.repository.location(), chain(error));
        world.metrics.observe_audit_failure();
        if matches!(error, AuditError::NotAFile { .. }) {
            world.doubt_audit();
        }
        let expected = remembered(&world.repository);
        let authenticator = self.memory.as_ref().map(|memory| audit::Memory::authenticator(&**memory));
        // A log that holds nothing may be one that is out of reach.
        let (head, certain) = match (head, audit::last_head(path, &authenticator.unwrap_or_default())) {
            (Some(head), _) => (head, true),
            (None, Ok(Some(last))) => (Some(last).max_by_seq(expected), true),
            (None, _) => (expected, false),
        };
        let retry_at = world.clock.uptime() + RETRY;
        self.log = None;
        self.fallback = Some(Fallback { head, certain, kept_bytes: 0, retry_at });
        self.show(world);
    }

    fn keep(&mut self, world: &World, log: &str, batch: Batch) -> Result<(), Unrecordable> {
        let Some(fallback) = self.fallback.as_mut() else { return Ok(()) };
        let Some(first_seq) = batch.first_seq() else { return Ok(()) };
        let bytes = batch.bytes().len() as u64;
        if fallback.kept_bytes + bytes > MAX_KEPT_BYTES {
            return Err(Unrecordable::Full { log: log.to_owned() });
        }
        let kept = world.repository.keep_audit_records(first_seq, batch.bytes());
        kept.map_err(|source| Unrecordable::Unkept { log: log.to_owned(), source })?;
        fallback.kept_bytes += bytes;
        fallback.head = batch.head();
        let certain = fallback.certain;
        if let Some(head) = batch.head().filter(|_| certain) {
            self.remember_lazily(world, head);
        }
        self.show(world);
        Ok(())
    }

    fn remember(&self, world: &World, head: Option<Head>) {
        if let Some(head) = head {
            self.remember_lazily(world, head);
        }
        self.show(world);
    }

    fn show(&self, world: &World) {
        let key = self.memory.as_ref().map(|memory| memory.key_id());
        // What is not marked yet could not be told from a forgery by whoever remembers the head.
        let is_marked = self.memory.as_ref().is_none_or(|memory| memory.is_marked());
        world.update_audit(|view| match (&self.fallback, &self.log) {
            (Some(fallback), _) => {
                let certain = fallback.certain && is_marked;
                *view = AuditView { head: fallback.head, certain, failing: true, key, ..*view };
            }
            (None, Some(log)) => {
                *view = AuditView { head: log.head(), certain: is_marked, failing: false, key, ..*view };
            }
            (None, None) => {}
        });
    }

    /// Opens the log, with a key if there can be one.
    fn open(&mut self, world: &Arc<World>, path: &Path, expected: Option<Head>) -> Result<AuditLog, AuditError> {
        let mut told = None;
        if self.may_have_key(world) {
            match remember_key(world, path) {
                Ok(Some((memory, finding))) => (self.memory, told) = (Some(Arc::new(memory)), finding),
                Ok(None) => self.do_without_key(world, "there is no repository"),
                Err(error) => self.do_without_key(world, &chain(&error)),
            }
        }
        let memory: Arc<dyn audit::Memory> = match &self.memory {
            Some(memory) => memory.clone(),
            None => Arc::new(audit::Authenticator::default()),
        };
        let (mut log, opening) = AuditLog::open(path, expected, memory)?;
        tracing::debug!(path = %path.display(), ?opening, "audit log opened");
        opening.findings.iter().chain(&told).for_each(|finding| tell(world, path, finding));
        told.into_iter().for_each(|finding| log.announce(finding));
        Ok(log)
    }

    /// Brings what is kept into the log, and forgets it once the head behind it is remembered.
    fn merge(&mut self, world: &Arc<World>, path: &Path) -> Result<AuditLog, String> {
        let kept = kept_in(&world.repository).map_err(|error| chain(&error))?;
        let mut log = self.open(world, path, kept::base(&kept)).map_err(|error| chain(&error))?;
        let merged = log.merge(&kept).map_err(|error| chain(&error))?;
        if let Some(head) = log.head() {
            let remembered = world.repository.remember_audit_head(self.anchor(head), Durability::Durable);
            remembered.map_err(|error| chain(&error))?;
        }
        world.repository.forget_audit_records().map_err(|error| chain(&error))?;
        tracing::info!(path = %path.display(), records = merged.written, renumbered = merged.renumbered,
            "the audit log can be written again: what was kept is in it");
        Ok(log)
    }

    /// Whether there is no key, and it is time to see to that.
    fn may_have_key(&self, world: &World) -> bool {
        self.memory.is_none() && self.next_key <= world.clock.uptime()
    }

    fn do_without_key(&mut self, world: &World, why: &str) {
        if let Some(times) = self.keyless.again(why) {
            tracing::error!(times, "audit records are not authenticated, and will have to be accepted: {why}");
        }
        self.next_key = world.clock.uptime() + RETRY_KEY;
    }

    fn anchor(&self, head: Head) -> AuditHead {
        AuditHead { seq: head.seq, hash: head.hash, key: self.memory.as_ref().map(|memory| memory.key_id()) }
    }

    /// Remembered without a sync: it only has to be newer than nothing.
    fn remember_lazily(&self, world: &World, head: Head) {
        let _ = world.repository.remember_audit_head(self.anchor(head), Durability::Lazy);
    }
}

fn tell(world: &World, path: &Path, finding: &Finding) {
    let path: PathBuf = path.to_owned();
    match finding {
        finding if finding.is_alarming() => {
            tracing::error!(path = %path.display(), ?finding, "the audit log is not what it was: run fiovana-app audit verify");
            world.doubt_audit();
        }
        Finding::Continued => {}
        _ => tracing::info!(path = %path.display(), ?finding, "audit log"),
    }
}

/// Rotates the log where nobody else does.
fn rotate_if_ours(world: &World, path: &Path) {
    let settings = world.settings().audit;
    if settings.sole_writer
        && let Err(error) = audit::rotate(path, settings.rotate_size_mb << 20, settings.keep_files)
    {
        tracing::warn!("{}", chain(&error));
    }
}

fn is_full(unwritten: &Unwritten) -> bool {
    match &unwritten.source {
        AuditError::Io { source, .. } => source.kind() == ErrorKind::StorageFull,
        AuditError::NotAFile { .. } => false,
    }
}
