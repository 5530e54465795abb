//! A body that gives up what it holds when nobody takes anything of it.
//!
//! Hazard: a client that stops reading and does not hang up keeps whatever its answer needs, for ever, and nobody tells
//! the answer: it is simply not asked for more. So somebody else watches.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::web::Bytes;
use futures_util::Stream;

use crate::api::{Problem, ProblemKind};

/// A stream, until its client has taken nothing of it for too long.
pub(super) struct Patient<S>(Arc<Mutex<Watched<S>>>);

struct Watched<S> {
    stream: Option<Pin<Box<S>>>,
    /// How often something was handed out.
    given: u64,
    /// Whether the client is to take what was handed out; else it waits for us.
    is_up_to_the_client: bool,
}

impl<S: Stream + 'static> Patient<S> {
    /// Waits for so long; twice that at most.
    pub fn new(stream: S, patience: Duration) -> Self {
        let watched = Watched { stream: Some(Box::pin(stream)), given: 0, is_up_to_the_client: true };
        let watched = Arc::new(Mutex::new(watched));
        let watcher = Arc::downgrade(&watched);
        actix_rt::spawn(async move {
            let mut given = 0;
            loop {
                actix_rt::time::sleep(patience).await;
                let Some(watched) = watcher.upgrade() else { return };
                let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
                if watched.is_up_to_the_client && watched.given == given {
                    watched.stream = None;
                    return;
                }
                given = watched.given;
            }
        });
        Self(watched)
    }
}

impl<S: Stream<Item = Result<Bytes, Problem>>> Stream for Patient<S> {
    type Item = Result<Bytes, Problem>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stream) = watched.stream.as_mut() else {
            return Poll::Ready(Some(Err(Problem::new(ProblemKind::Timeout, "nothing was taken for too long"))));
        };
        let polled = stream.as_mut().poll_next(context);
        watched.is_up_to_the_client = polled.is_ready();
        watched.given += u64::from(polled.is_ready());
        polled
    }
}
