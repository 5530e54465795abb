//! The Auditor: writes the hash-chained log.
//!
//! Hazard: a record that is acknowledged must be on disk, and a log that syncs once a record is slow. Records that
//! arrive while a write is under way wait and share the next one; each is answered once its own is durable. Whoever is
//! too many waits for a place in the queue: nothing is dropped.

mod memory;
mod writer;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix::prelude::*;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::post::Unopened;
use super::problems::chain;
use super::supervision::Child;
use super::world::World;
use crate::audit::Entry;
use crate::core::repeated::Repeated;
use writer::{RETRY, Writer};

/// The most records that wait for the log, with somebody waiting for them.
const MAX_WAITING: usize = 10_000;
/// Whose mail they are.
const NAME: &str = "auditor";
/// The most records in one write.
const MAX_BATCH: usize = 1024;
/// How many messages may wait for this actor: none is sent to it.
pub const MAILBOX: usize = 16;

/// The log file and the records that wait for it. Both outlive any instance of the actor: what waits is written
/// whoever asked for it, and a write that is under way goes on.
#[derive(Clone)]
pub struct AuditFile {
    path: PathBuf,
    writer: Arc<Mutex<Writer>>,
    queue: Arc<Mutex<Queue>>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Whether a writer is at work.
    writing: bool,
    /// What is in the way of what waits.
    trouble: Repeated,
}

/// A record that is not durable yet, and who waits for it.
struct Waiting {
    entry: Entry,
    reply: Option<oneshot::Sender<Result<(), Unrecorded>>>,
    _place: Option<OwnedSemaphorePermit>,
    _unopened: Unopened,
}

/// A record that is not durable.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Unrecorded {
    /// Neither the log nor the repository could be written: why. The record waits for either to come back.
    #[error("{0}")]
    Unwritable(String),
    /// Too many records wait already, and nothing can be written.
    #[error("too many records wait for an audit log that cannot be written")]
    Overflow,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AuditFile {
    /// The log at `path`; opened when the first record comes.
    pub fn at(path: PathBuf) -> Self {
        Self { path, writer: Arc::default(), queue: Arc::default(), places: Arc::new(Semaphore::new(MAX_WAITING)) }
    }

    /// Makes a record durable; returns when it is. Where too many wait already, waits for a place.
    pub async fn record(&self, world: &Arc<World>, entry: Entry) -> Result<(), Unrecorded> {
        let places = self.places.clone();
        let place = match places.clone().try_acquire_owned() {
            Ok(place) => Some(place),
            Err(_) if world.audit().failing => return Err(Unrecorded::Overflow),
            Err(_) => places.acquire_owned().await.ok(),
        };
        let (reply, durable) = oneshot::channel();
        locked(&self.queue).waiting.push_back(Waiting {
            entry,
            reply: Some(reply),
            _place: place,
            _unopened: world.mail(NAME).one_more(),
        });
        self.write(world);
        durable.await.unwrap_or(Err(Unrecorded::Overflow))
    }

    /// Makes a record durable, and does not wait. It takes no place: an operation has but a few such records, and one that
    /// it waits for.
    pub fn mention(&self, world: &Arc<World>, entry: Entry) {
        locked(&self.queue).waiting.push_back(Waiting {
            entry,
            reply: None,
            _place: None,
            _unopened: world.mail(NAME).one_more(),
        });
        self.write(world);
    }

    /// Has somebody write what waits, and try a log that failed.
    fn write(&self, world: &Arc<World>) {
        let is_needed = !locked(&self.queue).waiting.is_empty() || world.audit().failing;
        if is_needed {
            self.work(world, false);
        }
    }

    /// The same, and has the log looked at, whether anything waits or not.
    fn watch(&self, world: &Arc<World>) {
        self.work(world, true);
    }

    fn work(&self, world: &Arc<World>, look: bool) {
        if std::mem::replace(&mut locked(&self.queue).writing, true) {
            return;
        }
        let (world, file) = (world.clone(), self.clone());
        // Nobody waits for the writer: it answers each record itself.
        drop(tokio::task::spawn_blocking(move || {
            let _end = EndOfWriting(&file.queue);
            if look {
                locked(&file.writer).look(&world, &file.path);
            }
            file.write_all(&world);
        }));
    }

    /// Writes what waits, batch by batch, until nothing does or nothing can be written.
    fn write_all(&self, world: &Arc<World>) {
        locked(&self.writer).settle(world, &self.path);
        loop {
            // What is being written stays in the queue: should the writer fail in the middle, the next one finds it.
            let entries: Vec<Entry> =
                locked(&self.queue).waiting.iter().take(MAX_BATCH).map(|waiting| waiting.entry.clone()).collect();
            if entries.is_empty() {
                return;
            }
            let recorded = locked(&self.writer).record(world, &self.path, &entries);
            let mut queue = locked(&self.queue);
            match recorded {
                Ok(()) => {
                    queue.trouble.over();
                    entries.iter().for_each(|entry| world.metrics.observe_audit_record(entry.event));
                    for waiting in queue.waiting.drain(..entries.len()) {
                        waiting.reply.map(|reply| reply.send(Ok(())));
                    }
                }
                Err(error) => {
                    let why = chain(&error);
                    if let Some(times) = queue.trouble.again(&why) {
                        tracing::error!(waiting = queue.waiting.len(), times, "{why}");
                    }
                    let replies = queue.waiting.iter_mut().filter_map(|waiting| waiting.reply.take());
                    replies.for_each(|reply| drop(reply.send(Err(Unrecorded::Unwritable(why.clone())))));
                    return;
                }
            }
        }
    }
}

/// Lets the next writer begin, however this one ends.
struct EndOfWriting<'a>(&'a Mutex<Queue>);

impl Drop for EndOfWriting<'_> {
    fn drop(&mut self) {
        locked(self.0).writing = false;
    }
}

/// The actor: sees to it that what waits is written, whatever became of those who wrote before.
pub struct Auditor {
    world: Arc<World>,
    file: AuditFile,
}

impl Auditor {
    /// An auditor of this file.
    pub fn new(world: Arc<World>, file: AuditFile) -> Self {
        Self { world, file }
    }
}

impl Actor for Auditor {
    type Context = Context<Self>;
}

impl Supervised for Auditor {}

impl Child for Auditor {
    fn begin(&mut self, ctx: &mut Context<Self>) {
        self.file.watch(&self.world);
        // What a failing log left waiting, and what came between a writer's last look and its end.
        ctx.run_later(RETRY, |auditor, ctx| auditor.begin(ctx));
    }
}
