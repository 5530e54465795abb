//! Long work: every call that may take long is a job, whether its client waits for it or not.
//!
//! Hazard: jobs pile up: those under way, those that are done, and what came of them. Under way are at most as many as
//! operations are allowed; of those that ended the last are kept, in a bounded number and a bounded size.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, LOCATION};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::api::Api;
use super::shared::{Shared, broken_off};
use crate::actors::service::Caller;
use crate::api::{JobDocument, JobId, JobList, JobOperation, JobProgress, JobState, Problem, ProblemKind};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How many jobs that ended are kept.
const KEPT: usize = 64;
/// How many bytes their results may have together; the newest is kept whatever it has.
const KEPT_BYTES: usize = 16 << 20;

/// Whether the client waits for the work it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// It does.
    ForTheResult,
    /// It said `Prefer: respond-async` (RFC 7240).
    ForNothing,
}

impl FromRequest for Waits {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let given = request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
        let mut preferences = given.flat_map(|value| value.split(',')).map(|one| one.split(';').next().unwrap_or(one));
        let asynchronous = preferences.any(|preference| preference.trim().eq_ignore_ascii_case("respond-async"));
        ready(Ok(if asynchronous { Self::ForNothing } else { Self::ForTheResult }))
    }
}

/// What a call that works answers with.
pub(super) enum Worked<T> {
    /// The result.
    Done(T),
    /// It is under way.
    Begun(Box<JobDocument>),
}

impl<T> Worked<T> {
    /// The answer: `done` says how a result is told.
    pub fn answer(self, done: impl FnOnce(&T) -> Result<HttpResponse, Problem>) -> Result<HttpResponse, Problem> {
        let job = match self {
            Self::Done(result) => return done(&result),
            Self::Begun(job) => job,
        };
        let location = format!("/api/jobs/{}", job.id);
        let mut response = super::handlers::document(StatusCode::ACCEPTED, &*job)?;
        let headers = response.headers_mut();
        headers.insert(LOCATION, location.try_into().map_err(Problem::unexpected)?);
        headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static("respond-async"));
        Ok(response)
    }
}

impl<A: Api> Shared<A> {
    /// Does long work, to its end, even if whoever asked for it hangs up. Refused if too much is under way.
    pub async fn work<T, W>(
        &self,
        operation: JobOperation,
        caller: Caller,
        waits: Waits,
        work: impl FnOnce(A, Caller) -> W,
    ) -> Result<Worked<T>, Problem>
    where
        T: Serialize + 'static,
        W: Future<Output = Result<T, Problem>> + 'static,
    {
        let permit = self.admit_operation()?;
        let id = self.jobs.begin(operation, caller.clone(), self.clock.now());
        let (work, jobs, clock) = (work(self.api.clone(), caller), Arc::clone(&self.jobs), Arc::clone(&self.clock));
        let task = actix_rt::spawn(async move {
            let _permit = permit;
            let result = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(broken_off()));
            jobs.end(id, clock.now(), &result);
            result
        });
        match waits {
            Waits::ForTheResult => Ok(Worked::Done(task.await.map_err(|_| broken_off())??)),
            Waits::ForNothing => Ok(Worked::Begun(Box::new(self.jobs.get(id)?))),
        }
    }
}

/// The jobs under way, and the last that ended.
#[derive(Default)]
pub(super) struct Jobs(Mutex<VecDeque<Job>>);

struct Job {
    id: JobId,
    operation: JobOperation,
    caller: Caller,
    started: DateTime<Utc>,
    end: Option<End>,
}

struct End {
    at: DateTime<Utc>,
    result: Result<Box<RawValue>, Problem>,
}

impl Jobs {
    fn begin(&self, operation: JobOperation, caller: Caller, started: DateTime<Utc>) -> JobId {
        let id = JobId(fastrand::u64(..));
        self.locked().push_back(Job { id, operation, caller, started, end: None });
        id
    }

    fn end<T: Serialize>(&self, id: JobId, at: DateTime<Utc>, result: &Result<T, Problem>) {
        let result = match result {
            Ok(result) => to_raw_value(result).map_err(Problem::unexpected),
            Err(problem) => Err(problem.clone()),
        };
        let mut jobs = self.locked();
        if let Some(job) = jobs.iter_mut().find(|job| job.id == id) {
            job.end = Some(End { at, result });
        }
        forget_the_oldest(&mut jobs);
    }

    /// The job with this name.
    pub fn get(&self, id: JobId) -> Result<JobDocument, Problem> {
        let jobs = self.locked();
        jobs.iter().find(|job| job.id == id).map(|job| job.document(true)).ok_or_else(|| {
            let detail = format!("there is no job {id}: the last {KEPT} are kept; the audit log tells of all");
            Problem::new(ProblemKind::NotFound, detail)
        })
    }

    /// All there are, without their results, newest first.
    pub fn list(&self) -> JobList {
        JobList { jobs: self.locked().iter().rev().map(|job| job.document(false)).collect() }
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    fn document(&self, with_result: bool) -> JobDocument {
        let (done_bytes, total_bytes) = self.caller.progress.bytes();
        let (state, result, problem) = match self.end.as_ref().map(|end| &end.result) {
            None => (JobState::Running, None, None),
            Some(Ok(result)) => (JobState::Succeeded, with_result.then(|| result.clone()), None),
            Some(Err(problem)) => (JobState::Failed, None, Some(problem.clone())),
        };
        JobDocument {
            id: self.id,
            operation: self.operation,
            state,
            principal: self.caller.principal.clone(),
            correlation_id: self.caller.correlation_id.clone(),
            started: self.started,
            ended: self.end.as_ref().map(|end| end.at),
            progress: JobProgress { done_bytes, total_bytes },
            result,
            problem,
        }
    }

    fn result_bytes(&self) -> Option<usize> {
        let end = self.end.as_ref()?;
        Some(end.result.as_ref().map_or(0, |result| result.get().len()))
    }
}

/// Forgets jobs that ended, those first that began first, until what is left is within bounds.
fn forget_the_oldest(jobs: &mut VecDeque<Job>) {
    let (mut ended, mut bytes) = (0, 0);
    let mut keeps: Vec<bool> = jobs
        .iter()
        .rev()
        .map(|job| match job.result_bytes() {
            None => true,
            Some(more) => {
                (ended, bytes) = (ended + 1, bytes + more);
                ended == 1 || ended <= KEPT && bytes <= KEPT_BYTES
            }
        })
        .collect();
    jobs.retain(|_| keeps.pop().unwrap_or(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Caller {
        Caller::new("somebody")
    }

    #[test]
    fn of_the_jobs_that_ended_the_last_are_kept_and_all_that_are_under_way() {
        let jobs = Jobs::default();
        let under_way = jobs.begin(JobOperation::Restore, caller(), DateTime::UNIX_EPOCH);
        let ids: Vec<JobId> = (0..1000u32)
            .map(|number| {
                let id = jobs.begin(JobOperation::Backup, caller(), DateTime::UNIX_EPOCH);
                jobs.end(id, DateTime::UNIX_EPOCH, &Ok(number));
                id
            })
            .collect();
        assert_eq!(jobs.list().jobs.len(), KEPT + 1);
        assert_eq!(jobs.get(under_way).unwrap().state, JobState::Running);
        assert_eq!(jobs.get(ids[999]).unwrap().result.unwrap().get(), "999");
        assert_eq!(jobs.get(ids[1000 - KEPT]).unwrap().state, JobState::Succeeded);
        assert_eq!(jobs.get(ids[999 - KEPT]).unwrap_err().kind, ProblemKind::NotFound);
    }

    #[test]
    fn large_results_are_kept_within_bounds_and_the_newest_always() {
        let jobs = Jobs::default();
        let large = "x".repeat(KEPT_BYTES / 2);
        let ids: Vec<JobId> = (0..3)
            .map(|_| {
                let id = jobs.begin(JobOperation::Backup, caller(), DateTime::UNIX_EPOCH);
                jobs.end(id, DateTime::UNIX_EPOCH, &Ok(&large));
                id
            })
            .collect();
        assert!(jobs.get(ids[2]).is_ok() && jobs.get(ids[1]).is_err());
    }
}
