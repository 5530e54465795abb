//! The write lane: archiving, healing and deletion never overlap.
//!
//! Hazard: an actor that is restarted while its blocking work goes on would write beside its own ghost. The lane is
//! held by the work: the pass goes into the blocking task and is given back when that ends, whoever still listens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::supervision::{self, Instance};

/// The one lane of a repository. First come, first served.
#[derive(Clone, Debug)]
pub struct WriteLane {
    semaphore: Arc<Semaphore>,
    /// Who let the work in that is in the lane, and when.
    holder: Arc<Mutex<Option<(Instance, Instant)>>>,
}

/// The right to write, until it is dropped. To be moved into the work.
#[derive(Debug)]
pub struct LanePass {
    holder: Arc<Mutex<Option<(Instance, Instant)>>>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for LanePass {
    fn drop(&mut self) {
        // Before the permit goes, and with it the right to say who is in.
        *locked(&self.holder) = None;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lane is closed: the service is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the service is stopping")]
pub struct LaneClosed;

impl WriteLane {
    /// An empty lane.
    pub fn open() -> Self {
        Self { semaphore: Arc::new(Semaphore::new(1)), holder: Arc::default() }
    }

    /// Waits for the lane.
    pub async fn enter(&self) -> Result<LanePass, LaneClosed> {
        let permit = self.semaphore.clone().acquire_owned().await.map_err(|_| LaneClosed)?;
        *locked(&self.holder) = supervision::current().map(|instance| (instance, Instant::now()));
        Ok(LanePass { holder: self.holder.clone(), _permit: permit })
    }

    /// Lets nobody in any more. Who is in stays.
    pub fn close(&self) {
        self.semaphore.close();
    }

    /// The actor whose work is in, and for how long; `None` too if it was let in by no actor.
    pub fn holder(&self) -> Option<(Instance, Duration)> {
        locked(&self.holder).map(|(instance, since)| (instance, since.elapsed()))
    }

    /// Whether nobody is in.
    pub fn is_free(&self) -> bool {
        self.semaphore.available_permits() > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lane_stays_taken_while_the_work_lives_though_nobody_waits_for_it() {
        let lane = WriteLane::open();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let pass = lane.enter().await.unwrap();
        let work = tokio::task::spawn_blocking(move || {
            let _pass = pass;
            let _ = ended.recv();
        });
        assert!(!lane.is_free());
        drop(end);
        work.await.unwrap();
        drop(lane.enter().await.unwrap());
        assert!(lane.is_free());
    }

    #[tokio::test]
    async fn a_closed_lane_lets_nobody_in() {
        let lane = WriteLane::open();
        let pass = lane.enter().await.unwrap();
        lane.close();
        assert!(lane.enter().await.is_err());
        drop(pass);
    }
}
