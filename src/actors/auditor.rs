//! The Auditor: writes the hash-chained log.
//!
//! Hazard: a record that is acknowledged must be on disk, and a log that syncs once a record is slow. Records that
//! arrive while a write is under way wait and share the next one; each is answered once its own is durable.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use super::problems::chain;
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

/// The log file and the records that wait for it. Both outlive any instance of the actor: what waits is written
/// whoever asked for it, and a write that is under way goes on.
#[derive(Clone)]
pub struct AuditFile {
    path: PathBuf,
    log: Arc<Mutex<Option<AuditLog>>>,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether a writer is at work.
    writing: bool,
}

/// A record that is not durable yet, and who waits for it.
struct Waiting {
    entry: Entry,
    reply: Option<oneshot::Sender<Result<(), Unrecorded>>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AuditFile {
    /// The log at `path`; opened when the first record comes.
    pub fn at(path: PathBuf) -> Self {
        Self { path, log: Arc::default(), queue: Arc::default() }
    }

    /// Whether there is something to write and nobody at it; then the caller must [`AuditFile::write_all`].
    fn begin_writing(&self) -> bool {
        let mut queue = locked(&self.queue);
        let begin = !queue.writing && !queue.waiting.is_empty();
        queue.writing |= begin;
        begin
    }

    /// Writes what waits, batch by batch, until nothing does or the log fails.
    fn write_all(&self, world: &World) {
        let _end = EndOfWriting(&self.queue);
        loop {
            let mut batch: Vec<Waiting> = {
                let mut queue = locked(&self.queue);
                let length = queue.waiting.len().min(MAX_BATCH);
                queue.waiting.drain(..length).collect()
            };
            if batch.is_empty() {
                return;
            }
            let entries: Vec<Entry> = batch.iter().map(|waiting| waiting.entry.clone()).collect();
            match self.append(world, &entries) {
                Ok(head) => {
                    world.set_audit(AuditView { head, failing: false });
                    for Waiting { entry, reply } in batch {
                        world.metrics.observe_audit_record(entry.event);
                        reply.map(|reply| reply.send(Ok(())));
                    }
                }
                Err(error) => {
                    let why = chain(&error);
                    tracing::error!(waiting = batch.len(), "the audit log cannot be written: {why}");
                    world.metrics.observe_audit_failure();
                    world.set_audit(AuditView { failing: true, ..world.audit() });
                    for waiting in &mut batch {
                        let reply = waiting.reply.take();
                        reply.map(|reply| reply.send(Err(Unrecorded::Unwritable(why.clone()))));
                    }
                    let mut queue = locked(&self.queue);
                    batch.into_iter().rev().for_each(|waiting| queue.waiting.push_front(waiting));
                    return;
                }
            }
        }
    }

    /// Writes a batch; opens the log if that is still to be done, or failed before.
    fn append(&self, world: &World, entries: &[Entry]) -> Result<Option<Head>, AuditError> {
        let mut log = locked(&self.log);
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

/// Lets the next writer begin, however this one ends.
struct EndOfWriting<'a>(&'a Mutex<Queue>);

impl Drop for EndOfWriting<'_> {
    fn drop(&mut self) {
        locked(self.0).writing = false;
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
    /// The writer failed in the middle: the record may or may not be there.
    #[error("the write to the audit log was interrupted")]
    Interrupted,
}

/// The actor.
pub struct Auditor {
    world: Arc<World>,
    file: AuditFile,
}

impl Auditor {
    /// An auditor of this file.
    pub fn new(world: Arc<World>, file: AuditFile) -> Self {
        Self { world, file }
    }

    fn write(&self) {
        if self.file.begin_writing() {
            let (world, file) = (self.world.clone(), self.file.clone());
            // Nobody waits for the writer: it answers each record itself.
            drop(tokio::task::spawn_blocking(move || file.write_all(&world)));
        }
    }
}

impl Actor for Auditor {
    type Context = Context<Self>;
}

impl Supervised for Auditor {}

impl Child for Auditor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.write();
        // What a failing log left waiting, and what came between a writer's last look and its end.
        ctx.run_later(RETRY, |auditor, ctx| auditor.begin(ctx));
    }
}

impl Handler<Record> for Auditor {
    type Result = ResponseFuture<Result<(), Unrecorded>>;

    fn handle(&mut self, Record(entry): Record, _ctx: &mut Self::Context) -> Self::Result {
        let (reply, durable) = oneshot::channel();
        {
            let mut queue = locked(&self.file.queue);
            if queue.waiting.len() >= MAX_WAITING {
                return Box::pin(async { Err(Unrecorded::Overflow) });
            }
            queue.waiting.push_back(Waiting { entry, reply: Some(reply) });
        }
        self.write();
        Box::pin(async move { durable.await.unwrap_or(Err(Unrecorded::Interrupted)) })
    }
}
