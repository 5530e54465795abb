//! Turns: one piece of work at a time on each set, in the order of arrival.
//!
//! Hazard: a caller that is told "busy" has to try again, and a script does not. So callers wait, for a bounded time and
//! in a bounded number. Those that wait for a backup share one run that began after all of them arrived: it has
//! everything they wrote before they called. A turn is held by the work, not by the actor: whoever comes after a restart
//! of the actor waits for work that outlives it.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::core::SetName;

/// How long a call waits for its turn.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How many calls may wait for one set.
pub const MOST_WAITING: usize = 64;

/// Why a call did not get its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// It waited for [`PATIENCE`].
    TooLong,
    /// [`MOST_WAITING`] others wait already.
    TooMany,
}

/// The turns at every set. A run results in `R`. Clones are handles to the same turns.
#[derive(Debug)]
pub struct Turns<R>(Arc<Mutex<BTreeMap<SetName, Line<R>>>>);

impl<R> Clone for Turns<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Default for Turns<R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// Those at one set.
#[derive(Debug)]
struct Line<R> {
    /// Has one permit.
    gate: Arc<Semaphore>,
    /// How many calls wait.
    waiting: usize,
    /// How many shared runs have begun.
    begun: u64,
    /// The number of the shared run that ended last, and its result; kept only while calls wait.
    ended: watch::Sender<Option<(u64, R)>>,
}

impl<R> Default for Line<R> {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(1)), waiting: 0, begun: 0, ended: watch::Sender::new(None) }
    }
}

/// The right to work on a set, until this is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

/// A run whose result is shared with the calls that arrived before it began.
#[derive(Debug)]
pub struct SharedRun {
    set: SetName,
    number: u64,
}

/// What a call that would share a run gets.
#[derive(Debug)]
pub enum Share<R> {
    /// The turn: the caller does the run, and reports its result to [`Turns::end`] before it gives the turn back.
    Run(Turn, SharedRun),
    /// The result of a run that began after the call arrived.
    Result(R),
}

impl<R: Clone> Turns<R> {
    /// The turn, if it is free.
    pub fn at_once(&self, set: &SetName) -> Option<Turn> {
        let gate = self.line(set, |line| Arc::clone(&line.gate));
        gate.try_acquire_owned().ok().map(|permit| Turn { _permit: permit })
    }

    /// The turn, for work that shares nothing.
    pub async fn alone(&self, set: &SetName) -> Result<Turn, NoTurn> {
        let waiting = self.join(set)?;
        timeout(PATIENCE, waiting.turn()).await.map_err(|_| NoTurn::TooLong)
    }

    /// The turn, or the result of a run that began after this was called. A call does not give up while such a run is
    /// under way.
    pub async fn share(&self, set: &SetName) -> Result<Share<R>, NoTurn> {
        let waiting = self.join(set)?;
        tokio::select! {
            biased;
            result = waiting.result() => Ok(Share::Result(result)),
            turn = waiting.turn() => {
                let number = self.line(set, |line| {
                    line.begun += 1;
                    line.begun
                });
                Ok(Share::Run(turn, SharedRun { set: set.clone(), number }))
            }
            () = waiting.deadline() => Err(NoTurn::TooLong),
        }
    }

    /// Hands the result of a run to the calls that wait and arrived before it began.
    pub fn end(&self, run: SharedRun, result: &R) {
        self.line(&run.set, |line| {
            if line.waiting > 0 {
                line.ended.send_replace(Some((run.number, result.clone())));
            }
        });
    }

    fn join(&self, set: &SetName) -> Result<Waiting<R>, NoTurn> {
        self.line(set, |line| {
            if line.waiting >= MOST_WAITING {
                return Err(NoTurn::TooMany);
            }
            line.waiting += 1;
            let (gate, arrived, ended) = (Arc::clone(&line.gate), line.begun, line.ended.subscribe());
            Ok(Waiting { turns: self.clone(), set: set.clone(), gate, arrived, ended })
        })
    }
}

impl<R> Turns<R> {
    fn line<T>(&self, set: &SetName, look: impl FnOnce(&mut Line<R>) -> T) -> T {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        look(lines.entry(set.clone()).or_default())
    }
}

/// A call that waits, until this is dropped.
struct Waiting<R> {
    turns: Turns<R>,
    set: SetName,
    gate: Arc<Semaphore>,
    /// How many shared runs had begun when it arrived.
    arrived: u64,
    ended: watch::Receiver<Option<(u64, R)>>,
}

impl<R: Clone> Waiting<R> {
    async fn turn(&self) -> Turn {
        match Arc::clone(&self.gate).acquire_owned().await {
            Ok(permit) => Turn { _permit: permit },
            // Nobody closes a gate.
            Err(_) => pending().await,
        }
    }

    /// The result of a run that began after the call arrived, once one has ended.
    async fn result(&self) -> R {
        let mut ended = self.ended.clone();
        let is_newer = |ended: &Option<(u64, R)>| ended.as_ref().is_some_and(|(number, _)| *number > self.arrived);
        let result = ended.wait_for(is_newer).await.ok().and_then(|ended| Some(ended.as_ref()?.1.clone()));
        match result {
            Some(result) => result,
            // The sender lives as long as the turns.
            None => pending().await,
        }
    }

    /// Comes after [`PATIENCE`], but for a call whose result is on its way.
    async fn deadline(&self) {
        sleep(PATIENCE).await;
        if self.turns.line(&self.set, |line| line.begun > self.arrived) {
            pending().await
        }
    }
}

impl<R> Drop for Waiting<R> {
    fn drop(&mut self) {
        self.turns.line(&self.set, |line| {
            line.waiting -= 1;
            if line.waiting == 0 {
                line.ended.send_replace(None);
            }
        });
    }
}

#[cfg(test)]
mod tests;
