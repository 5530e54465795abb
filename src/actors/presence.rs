//! Whether a caller still waits for its answer.
//!
//! Hazard: a restore that happens although whoever asked for it gave up and left while it waited for its turn. Work
//! that has begun is finished all the same.

use std::future::pending;

use tokio::sync::watch;

/// Whether a caller still waits. The default is a caller that never leaves.
#[derive(Clone, Debug, Default)]
pub struct Presence(Option<watch::Receiver<()>>);

/// Keeps a caller present until this is dropped.
#[derive(Debug)]
pub struct Present {
    _caller: watch::Sender<()>,
}

impl Presence {
    /// A caller that is present as long as the guard.
    pub fn guarded() -> (Present, Self) {
        let (sender, receiver) = watch::channel(());
        (Present { _caller: sender }, Self(Some(receiver)))
    }

    /// Comes when the caller has left.
    pub async fn left(&self) {
        match self.0.clone() {
            Some(mut caller) => while caller.changed().await.is_ok() {},
            None => pending().await,
        }
    }
}
