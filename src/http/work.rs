//! Long work, and who waits for it.
//!
//! Hazard: whoever waits is let wait for free, and by the thousand. Waiting holds neither a thread nor the work itself;
//! what is under way is bounded, and so are those who wait for somebody else's work. And whoever hung up while the work
//! waited for its turn does not want it any more: it does not begin then, unless it was to be followed as a job.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use futures_util::FutureExt;
use serde::Serialize;
use tokio::time::timeout;

use super::api::Api;
use super::jobs::Jobs;
use super::preferences::Preferences;
use super::shared::{Shared, broken_off};
use crate::actors::service::{Caller, Presence};
use crate::api::{JobDocument, JobId, JobOperation, Problem};
use crate::clock::Clock;

/// What a call that works answers with.
pub(super) struct Worked<T> {
    outcome: Outcome<T>,
    applied: Preferences,
}

enum Outcome<T> {
    Done(T),
    Begun(Box<JobDocument>),
}

impl<T> Worked<T> {
    /// The answer: `done` says how a result is told.
    pub fn answer(self, done: impl FnOnce(&T) -> Result<HttpResponse, Problem>) -> Result<HttpResponse, Problem> {
        let mut response = match self.outcome {
            Outcome::Done(result) => done(&result)?,
            Outcome::Begun(job) => begun(&job)?,
        };
        self.applied.tell(response.headers_mut());
        Ok(response)
    }
}

fn begun(job: &JobDocument) -> Result<HttpResponse, Problem> {
    let location = format!("/api/jobs/{}", job.id);
    let mut response = super::handlers::document(StatusCode::ACCEPTED, job)?;
    response.headers_mut().insert(LOCATION, location.try_into().map_err(Problem::unexpected)?);
    Ok(response)
}

/// Ends a job that nobody works on any more: at a stop its worker may be gone before those who wait for it.
struct BrokenOff<'a> {
    jobs: &'a Jobs,
    id: JobId,
    clock: &'a dyn Clock,
}

impl Drop for BrokenOff<'_> {
    fn drop(&mut self) {
        self.jobs.end::<()>(self.id, self.clock.now(), &Err(broken_off()));
    }
}

impl<A: Api> Shared<A> {
    /// Does long work, to its end, even if whoever asked for it hangs up. Refused if too much is under way. Whoever would
    /// rather not wait for it does so for as long as is preferred.
    pub async fn work<T, W>(
        &self,
        operation: JobOperation,
        caller: Caller,
        preferences: Preferences,
        work: impl FnOnce(A, Caller) -> W,
    ) -> Result<Worked<T>, Problem>
    where
        T: Serialize + 'static,
        W: Future<Output = Result<T, Problem>> + 'static,
    {
        let place = self.admit_operation(&caller)?;
        // Dropped with this future when the client hangs up.
        let (_present, presence) = Presence::guarded();
        let presence = if preferences.asynchronous { Presence::default() } else { presence };
        let caller = Caller { presence, ..caller };
        let id = self.jobs.begin(operation, caller.clone(), self.clock.now());
        let (work, jobs, clock) = (work(self.api.clone(), caller), Arc::clone(&self.jobs), Arc::clone(&self.clock));
        let mut task = actix_rt::spawn(async move {
            let _place = place;
            let unless_ended = BrokenOff { jobs: &jobs, id, clock: clock.as_ref() };
            let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(broken_off()));
            jobs.end(id, clock.now(), &result);
            std::mem::forget(unless_ended);
            result
        });
        let (ended, applied) = match preferences {
            Preferences { asynchronous: false, .. } => (Some(task.await), Preferences::default()),
            Preferences { wait: None, .. } => (None, preferences),
            Preferences { wait: Some(wait), .. } => match timeout(wait, &mut task).await {
                Ok(ended) => (Some(ended), Preferences { asynchronous: false, ..preferences }),
                Err(_) => (None, preferences),
            },
        };
        let outcome = match ended {
            Some(ended) => Outcome::Done(ended.map_err(|_| broken_off())??),
            None => Outcome::Begun(Box::new(self.jobs.get(id)?)),
        };
        Ok(Worked { outcome, applied })
    }

    /// The job as it is once it ended, or after the preferred wait; at once if too many wait. With it, what was applied.
    pub async fn job(
        &self,
        id: JobId,
        caller: &Caller,
        preferences: Preferences,
    ) -> Result<(JobDocument, Preferences), Problem> {
        let (Some(wait), Ok(_place)) = (preferences.wait, self.admit_waiter(caller)) else {
            return Ok((self.jobs.get(id)?, Preferences::default()));
        };
        // Whether it ended or not is in the document.
        let _ = timeout(wait, self.jobs.end_of(id)?.come()).await;
        Ok((self.jobs.get(id)?, Preferences { asynchronous: false, ..preferences }))
    }
}
