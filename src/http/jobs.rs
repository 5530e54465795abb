//! Long work: every call that may take long is a job, whether its client waits for it or not.
//!
//! Hazard: jobs pile up: those under way, those that are done, and what came of them. Under way are at most as many as
//! operations are allowed; of those that ended the last are kept, in a bounded number and a bounded size.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::sync::watch;

use crate::actors::service::Caller;
use crate::api::{JobDocument, JobId, JobList, JobOperation, JobProgress, JobState, Problem, ProblemKind};

/// How many jobs that ended are kept.
const KEPT: usize = 64;
/// How many bytes their results may have together; the newest is kept whatever it has.
const KEPT_BYTES: usize = 16 << 20;

/// The jobs under way, and the last that ended.
#[derive(Default)]
pub(super) struct Jobs(Mutex<Known>);

#[derive(Default)]
struct Known {
    /// In the order in which they began.
    under_way: Vec<UnderWay>,
    /// In the order in which they ended: the longest must not be the first to be forgotten.
    ended: VecDeque<Ended>,
}

struct Job {
    id: JobId,
    operation: JobOperation,
    caller: Caller,
    started: DateTime<Utc>,
}

struct UnderWay {
    job: Job,
    /// Dropped at the end, which is how whoever waits for that learns of it.
    end: watch::Sender<()>,
}

struct Ended {
    job: Job,
    at: DateTime<Utc>,
    result: Result<Box<RawValue>, Problem>,
}

/// Comes when a job has ended.
pub(super) struct End(Option<watch::Receiver<()>>);

impl End {
    /// Waits for it.
    pub async fn come(self) {
        if let Some(mut end) = self.0 {
            while end.changed().await.is_ok() {}
        }
    }
}

impl Jobs {
    /// Notes that a job begins.
    pub fn begin(&self, operation: JobOperation, caller: Caller, started: DateTime<Utc>) -> JobId {
        let id = JobId(fastrand::u64(..));
        let job = Job { id, operation, caller, started };
        self.locked().under_way.push(UnderWay { job, end: watch::Sender::new(()) });
        id
    }

    /// Notes what came of it.
    pub fn end<T: Serialize>(&self, id: JobId, at: DateTime<Utc>, result: &Result<T, Problem>) {
        let mut known = self.locked();
        let Some(place) = known.under_way.iter().position(|under_way| under_way.job.id == id) else { return };
        let UnderWay { job, end: _end } = known.under_way.remove(place);
        let result = match result {
            Ok(result) => to_raw_value(result).map_err(Problem::unexpected),
            Err(problem) => Err(problem.clone()),
        };
        // As the call's own answer would name it.
        let of_this_request = |problem| Problem { correlation_id: Some(job.caller.correlation_id.clone()), ..problem };
        let result = result.map_err(of_this_request);
        known.ended.push_back(Ended { job, at, result });
        forget_the_oldest(&mut known.ended);
    }

    /// The job with this name.
    pub fn get(&self, id: JobId) -> Result<JobDocument, Problem> {
        let known = self.locked();
        let under_way = known.under_way.iter().find(|under_way| under_way.job.id == id);
        let ended = || known.ended.iter().find(|ended| ended.job.id == id);
        under_way.map(UnderWay::document).or_else(|| Some(ended()?.document(true))).ok_or_else(|| unknown(id))
    }

    /// What comes when the job with this name has ended.
    pub fn end_of(&self, id: JobId) -> Result<End, Problem> {
        let known = self.locked();
        if let Some(under_way) = known.under_way.iter().find(|under_way| under_way.job.id == id) {
            return Ok(End(Some(under_way.end.subscribe())));
        }
        known.ended.iter().find(|ended| ended.job.id == id).map(|_| End(None)).ok_or_else(|| unknown(id))
    }

    /// All there are, without their results: those under way, then those that ended, each newest first.
    pub fn list(&self) -> JobList {
        let known = self.locked();
        let under_way = known.under_way.iter().rev().map(UnderWay::document);
        JobList { jobs: under_way.chain(known.ended.iter().rev().map(|ended| ended.document(false))).collect() }
    }

    fn locked(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unknown(id: JobId) -> Problem {
    let detail = format!("there is no job {id}: the last {KEPT} are kept, until a restart; the audit log tells of all");
    Problem::new(ProblemKind::NotFound, detail)
}

impl Job {
    fn document(&self, state: JobState) -> JobDocument {
        let (done_bytes, total_bytes) = self.caller.progress.bytes();
        JobDocument {
            id: self.id,
            operation: self.operation,
            state,
            principal: self.caller.principal.clone(),
            correlation_id: self.caller.correlation_id.clone(),
            started: self.started,
            ended: None,
            progress: JobProgress { done_bytes, total_bytes },
            result: None,
            problem: None,
        }
    }
}

impl UnderWay {
    fn document(&self) -> JobDocument {
        self.job.document(JobState::Running)
    }
}

impl Ended {
    fn document(&self, with_result: bool) -> JobDocument {
        let (state, result, problem) = match &self.result {
            Ok(result) => (JobState::Succeeded, with_result.then(|| result.clone()), None),
            Err(problem) => (JobState::Failed, None, Some(problem.clone())),
        };
        JobDocument { ended: Some(self.at), result, problem, ..self.job.document(state) }
    }

    fn result_bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |result| result.get().len())
    }
}

/// Forgets jobs, those first that ended first, until what is left is within bounds.
fn forget_the_oldest(ended: &mut VecDeque<Ended>) {
    let mut bytes: usize = ended.iter().map(Ended::result_bytes).sum();
    while ended.len() > KEPT || ended.len() > 1 && bytes > KEPT_BYTES {
        let Some(forgotten) = ended.pop_front() else { return };
        bytes -= forgotten.result_bytes();
    }
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

    #[test]
    fn the_longest_job_is_not_the_first_to_be_forgotten() {
        let jobs = Jobs::default();
        let begin = || jobs.begin(JobOperation::Verify, caller(), DateTime::UNIX_EPOCH);
        let longest = begin();
        (0..KEPT).for_each(|_| jobs.end(begin(), DateTime::UNIX_EPOCH, &Ok(0)));
        jobs.end(longest, DateTime::UNIX_EPOCH, &Ok(0));
        assert_eq!(jobs.get(longest).unwrap().state, JobState::Succeeded);
        assert_eq!(jobs.list().jobs[0].id, longest);
    }
}
