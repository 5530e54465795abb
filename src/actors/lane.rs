//! The write lane: archiving, healing and deletion never overlap.
//!
//! Hazard: an actor that is restarted while its blocking work goes on would write beside its own ghost. The lane is
//! held by the work: the pass goes into the blocking task and is given back when that ends, whoever still listens.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The one lane of a repository. First come, first served.
#[derive(Clone, Debug)]
pub struct WriteLane(Arc<Semaphore>);

/// The right to write, until it is dropped. To be moved into the work.
#[derive(Debug)]
pub struct LanePass {
    _permit: OwnedSemaphorePermit,
}

/// The lane is closed: the service is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the service is stopping")]
pub struct LaneClosed;

impl WriteLane {
    /// An empty lane.
    pub fn open() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Waits for the lane.
    pub async fn enter(&self) -> Result<LanePass, LaneClosed> {
        let permit = self.0.clone().acquire_owned().await.map_err(|_| LaneClosed)?;
        Ok(LanePass { _permit: permit })
    }

    /// Lets nobody in any more. Who is in stays.
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether nobody is in.
    pub fn is_free(&self) -> bool {
        self.0.available_permits() > 0
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
