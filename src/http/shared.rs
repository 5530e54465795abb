//! What all requests share, and how they have work done.
//!
//! Hazard: actix drops a handler whose client hangs up, in the middle of whatever it awaits, and closes the connection
//! without an answer if it panics. So no work is done in a handler itself: operations run as tasks of their own and
//! questions on blocking threads, both to their end, and a panic in either is an answer like any other.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::api::{Problem, ProblemKind};
use crate::clock::Clock;

use super::RequestObserver;
use super::admission::Hosts;
use super::api::Api;
use super::limits::Limits;

/// What all requests share.
pub(super) struct Shared<A> {
    api: A,
    operations: Arc<Semaphore>,
    pub clock: Arc<dyn Clock>,
    pub observer: Arc<dyn RequestObserver>,
    pub hosts: Hosts,
    pub limits: Limits,
}

impl<A: Api> Shared<A> {
    pub fn new(
        api: A,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn RequestObserver>,
        bound: IpAddr,
        limits: Limits,
    ) -> Self {
        let operations = Arc::new(Semaphore::new(limits.operations));
        Self { api, operations, clock, observer, hosts: Hosts { bound }, limits }
    }

    /// Runs an operation to its end, even if whoever asked for it hangs up. Refused if too many are under way.
    pub async fn operate<T, W>(&self, operation: impl FnOnce(A) -> W) -> Result<T, Problem>
    where
        T: 'static,
        W: Future<Output = Result<T, Problem>> + 'static,
    {
        let permit =
            Arc::clone(&self.operations).try_acquire_owned().map_err(|_| overloaded(self.limits.operations))?;
        let work = operation(self.api.clone());
        let task = actix_rt::spawn(async move {
            let _permit = permit;
            work.await
        });
        task.await.map_err(|_| broken_off())?
    }

    /// Asks something that may block.
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(A) -> T + Send + 'static) -> Result<T, Problem> {
        let api = self.api.clone();
        actix_rt::task::spawn_blocking(move || question(api)).await.map_err(|_| broken_off())
    }
}

fn overloaded(operations: usize) -> Problem {
    Problem::new(ProblemKind::Unavailable, format!("{operations} operations are under way: try again when one is done"))
}

fn broken_off() -> Problem {
    let detail = "the work broke off: the log says where; a backup or restore that was begun is whole or has no effect";
    Problem::new(ProblemKind::Internal, detail)
}
