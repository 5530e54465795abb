//! The Auditor: writes the hash-chained log.
//!
//! Hazard: a record that is acknowledged must be on disk, and a log that syncs once a record is slow. Records that
//! arrive while a write is under way wait and share the next one; each is answered once its own is durable.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::supervision::Child;
use super::world::{AuditView, World};
use crate::audit::{AuditError, AuditLog, Entry, Head};
use crate::repository::wire::AuditHead;
use crate::storage::Durability;

/// The most records that wait for the log; beyond them the sender is refused.
pub const MAX_WAITING: usize = 10_000;
/// The most records in one write.
const MAX_BATCH: usize = 1024;
/// How long a log that could not be written is left alone.
const RETRY: Duration = Duration::from_secs(1);

const HEAD: &str = "audit_head";

/// The log file, which outlives any instance of the actor: a write that is under way goes on without it.
#[derive(Clone)]
pub struct AuditFile {
    path: PathBuf,
    log: Arc<Mutex<Option<AuditLog>>>,
}

impl AuditFile {
    /// The log at `path`; opened when the first record comes.
    pub fn at(path: PathBuf) -> Self {
        Self { path, log: Arc::default() }
    }

    /// Writes a batch; opens the log if that is still to be done, or failed before.
    fn append(&self, world: &World, entries: &[Entry]) -> Result<Option<Head>, AuditError> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.is_none() {
            let expected: Option<AuditHead> = world.repository.load_state(HEAD).ok().and_then(|loaded| loaded.value());
            let expected = expected.map(|head| Head { seq: head.seq, hash: head.hash });
            let (opened, opening) = AuditLog::open(&self.path, expected)?;
            tracing::debug!(path = %self.path.display(), ?opening, "audit log opened");
            *log = Some(opened);
        }
        let Some(log) = log.as_mut() else { return Ok(None) };
        match log.append(entries) {
            Err(AuditError::Io { source, .. })
                if source.kind() == ErrorKind::StorageFull && world.repository.release_reserve() =>
            {
                log.append(entries)?
            }
            result => result?,
        };
        for finding in log.take_findings() {
            tracing::info!(path = %self.path.display(), ?finding, "audit log");
        }
        let head = log.head();
        if let Some(head) = head {
            // Remembered without a sync: it only has to be newer than nothing.
            let remembered = AuditHead { seq: head.seq, hash: head.hash };
            let _ = world.repository.save_state(HEAD, &remembered, Durability::Lazy);
        }
        Ok(head)
    }
}

/// A record to be made durable; answered when it is.
#[derive(Message)]
#[rtype(result = "Result<(), Unrecorded>")]
pub struct Record(pub Entry);

/// A record that is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unrecorded {
    /// The log could not be written: why. The record waits for the log to come back.
    #[error("the audit log cannot be written: {0}")]
    Unwritable(String),
    /// Too many records wait already.
    #[error("too many records wait for the audit log")]
    Overflow,
}

/// A record that is not durable yet, and who waits for it.
type Waiting = (Entry, Option<oneshot::Sender<Result<(), Unrecorded>>>);

/// The actor.
pub struct Auditor {
    world: Arc<World>,
    file: AuditFile,
    waiting: Vec<Waiting>,
    writing: bool,
}

impl Auditor {
    /// An auditor of this file.
    pub fn new(world: Arc<World>, file: AuditFile) -> Self {
        Self { world, file, waiting: Vec::new(), writing: false }
    }

    fn write(&mut self, ctx: &mut Context<Self>) {
        if self.writing || self.waiting.is_empty() {
            return;
        }
        self.writing = true;
        let mut batch: Vec<_> = self.waiting.drain(..self.waiting.len().min(MAX_BATCH)).collect();
        let entries: Vec<Entry> = batch.iter().map(|(entry, _)| entry.clone()).collect();
        let (world, file) = (self.world.clone(), self.file.clone());
        let work = tokio::task::spawn_blocking(move || file.append(&world, &entries));
        let done = work.into_actor(self).map(move |result, auditor, ctx| {
            auditor.writing = false;
            let failure = match result {
                Ok(Ok(head)) => {
                    auditor.world.set_audit(AuditView { head, failing: false });
                    None
                }
                Ok(Err(error)) => Some(super::chain(&error)),
                Err(panic) => Some(panic.to_string()),
            };
            match failure {
                None => {
                    for (entry, reply) in batch {
                        auditor.world.metrics.observe_audit_record(entry.event);
                        reply.map(|reply| reply.send(Ok(())));
                    }
                    auditor.write(ctx);
                }
                Some(why) => {
                    tracing::error!(waiting = batch.len(), "the audit log cannot be written: {why}");
                    auditor.world.metrics.observe_audit_failure();
                    let view = auditor.world.audit();
                    auditor.world.set_audit(AuditView { failing: true, ..view });
                    for (_, reply) in &mut batch {
                        reply.take().map(|reply| reply.send(Err(Unrecorded::Unwritable(why.clone()))));
                    }
                    batch.append(&mut auditor.waiting);
                    auditor.waiting = batch;
                    ctx.run_later(RETRY, Self::write);
                }
            }
        });
        ctx.spawn(done);
    }
}

impl Actor for Auditor {
    type Context = Context<Self>;
}

impl Supervised for Auditor {}

impl Child for Auditor {}

impl Handler<Record> for Auditor {
    type Result = ResponseFuture<Result<(), Unrecorded>>;

    fn handle(&mut self, Record(entry): Record, ctx: &mut Self::Context) -> Self::Result {
        if self.waiting.len() >= MAX_WAITING {
            return Box::pin(async { Err(Unrecorded::Overflow) });
        }
        let (reply, durable) = oneshot::channel();
        self.waiting.push((entry, Some(reply)));
        self.write(ctx);
        // The sender is dropped only with this instance: the record was not acknowledged.
        Box::pin(async move { durable.await.unwrap_or_else(|_| Err(Unrecorded::Unwritable("restarted".into()))) })
    }
}
