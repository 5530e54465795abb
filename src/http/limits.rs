//! Every bound of the front door.
//!
//! Hazard: whatever has no bound, somebody exceeds, if only by a script with a typing error.

use std::time::Duration;

use super::connections::Most;

/// How many connections the kernel keeps for us that were not let in yet: beyond them, who knocks must knock again.
pub(super) const BACKLOG: i32 = 1024;

/// What requests may take. Heads are bounded by actix: 96 headers, 128 KiB.
///
/// `head_timeout`, `keep_alive` and `linger` are timers of actix, which counts from a time that it looks up every half
/// second, and forgets a timer that is over when it is set (actix-http 3.20, `h1/timer.rs`): none may be as short as that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Threads that answer.
    pub workers: usize,
    /// Connections at a time. Who comes then takes the place of who was idle for longest.
    pub connections: usize,
    /// Beyond them, who is being told that something is under way on each. Further ones are hung up on.
    pub refusals: usize,
    /// Beyond these, who is being looked up. Further ones wait in the kernel's queue.
    pub newcomers: usize,
    /// Threads for questions that may touch the disk.
    pub blocking_threads: usize,
    /// Operations at a time.
    pub operations: usize,
    /// Files that are handed out at a time.
    pub downloads: usize,
    /// Who follows what happens, at a time.
    pub followers: usize,
    /// Who waits for the end of long work by its job, at a time: fewer than the connections that commands have.
    pub waiters: usize,
    /// How long a client may ask us to wait, and no longer than a graceful stop does.
    pub longest_wait: Duration,
    /// How long who follows may hear nothing.
    pub heartbeat: Duration,
    /// How long a client may take nothing of a long answer.
    pub body_patience: Duration,
    /// A request's body.
    pub body_bytes: usize,
    /// How long a request's head may take to arrive.
    pub head_timeout: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a connection may be idle.
    pub keep_alive: Duration,
    /// How long a client may go on sending what nobody will read, after it was answered.
    pub linger: Duration,
    /// How long the kernel keeps what a client does not take.
    pub delivery: Duration,
    /// How long a graceful stop waits for answers under way.
    pub shutdown_seconds: u64,
}

impl Limits {
    /// Generous for people and scripts on one machine.
    pub const DEFAULT: Self = Self {
        workers: 2,
        connections: 4096,
        refusals: 512,
        newcomers: 128,
        blocking_threads: 16,
        operations: 32,
        downloads: 8,
        followers: 32,
        waiters: 32,
        longest_wait: Duration::from_secs(30),
        heartbeat: Duration::from_secs(15),
        body_patience: Duration::from_secs(30),
        body_bytes: 64 * 1024,
        head_timeout: Duration::from_secs(10),
        body_timeout: Duration::from_secs(10),
        keep_alive: Duration::from_secs(30),
        linger: Duration::from_secs(2),
        delivery: Duration::from_secs(30),
        shutdown_seconds: 30,
    };

    /// The same for a process that may have so many files open: half of them are left to its work.
    pub fn within(open_files: u64) -> Self {
        let half = usize::try_from(open_files / 2).unwrap_or(usize::MAX);
        let connections = Self::DEFAULT.connections.min(half - half / 8).max(Self::DEFAULT.workers);
        Self { connections, refusals: Self::DEFAULT.refusals.min(half / 8), ..Self::DEFAULT }
    }

    /// The connections of each worker: an eighth is for users that the service knows, where it can know any.
    pub fn most(self, knows_users: bool) -> Most {
        let each = self.connections / self.workers;
        let reserved = if knows_users { each / 8 } else { 0 };
        Most { general: each - reserved, reserved, refusals: self.refusals / self.workers }
    }

    /// Everything that may be open for each worker at a time.
    pub fn accepted(self) -> usize {
        (self.connections + self.refusals + self.newcomers) / self.workers
    }

    /// For an entrance beside that of the API: a few known clients.
    pub fn beside(self) -> Self {
        Self {
            workers: 1,
            connections: 64,
            refusals: 8,
            newcomers: 8,
            blocking_threads: self.blocking_threads / 2,
            ..self
        }
    }
}
