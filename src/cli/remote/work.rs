//! Long work at a service: asked for once, followed to its end.
//!
//! Hazard: an answer that is late or lost invites to ask again, and work is done twice. So work is asked for once and
//! never again; what is asked again is only how it goes, and that so often and no more. Whatever is not known at the
//! end is said not to be.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::RequestBuilder;
use ureq::typestate::WithBody;

use super::connection::{Answered, Connection};
use super::trouble::{Answer, Refusal, RemoteError};
use crate::api::{JobDocument, JobId, JobProgress, JobState, ProblemKind};
use crate::pipeline::Progress;

/// How work is followed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long an answer may wait for the end of the work, in whole seconds: so often a bar moves.
    wait_seconds: u64,
    /// How long to pause where the service did not wait, or did not answer.
    pause: Duration,
    /// How often in a row it may fail to answer: a proxy or a network has so long to come back.
    tries: u32,
}

impl Pace {
    /// That of commands.
    pub const DEFAULT: Self = Self { wait_seconds: 1, pause: Duration::from_secs(1), tries: 5 };

    /// That of tests, for which nothing needs time.
    #[cfg(test)]
    pub const HURRIED: Self = Self { wait_seconds: 0, pause: Duration::ZERO, ..Self::DEFAULT };
}

/// How work was found.
#[derive(Debug)]
struct Look {
    job: JobDocument,
    /// Whether the service waited before it answered.
    has_waited: bool,
}

/// What a look leads to.
#[derive(Debug)]
enum Step {
    /// The work has ended.
    Ended(JobDocument),
    /// It is under way: look again, after a pause.
    Again { progress: Option<JobProgress>, pause: Duration },
    /// It cannot be followed any further.
    Leave(Why),
}

/// Why work is not followed any further.
#[derive(Debug)]
enum Why {
    Forgotten,
    Untold(Refusal),
    Lost(RemoteError),
}

/// What a look leads to that came after so many in a row that failed.
fn step(look: Result<Look, Refusal>, failures: u32, pace: Pace) -> Step {
    let again = Step::Again { progress: None, pause: pace.pause };
    match look {
        Ok(Look { job, .. }) if job.state != JobState::Running => Step::Ended(job),
        Ok(Look { job, has_waited }) => {
            let pause = if has_waited { Duration::ZERO } else { pace.pause };
            Step::Again { progress: Some(job.progress), pause }
        }
        Err(Refusal::Problem(problem)) if problem.kind == ProblemKind::NotFound => Step::Leave(Why::Forgotten),
        Err(refusal) if may_pass(&refusal) && failures + 1 < pace.tries => again,
        Err(Refusal::Remote(lost @ RemoteError::Lost { .. })) => Step::Leave(Why::Lost(lost)),
        Err(refusal) => Step::Leave(Why::Untold(refusal)),
    }
}

/// Whether the same question may be answered a moment later.
fn may_pass(refusal: &Refusal) -> bool {
    match refusal {
        Refusal::Problem(problem) => {
            matches!(problem.kind, ProblemKind::Unavailable | ProblemKind::TooManyRequests | ProblemKind::Timeout)
        }
        // What a proxy says while it does not reach the service.
        Refusal::Remote(RemoteError::Foreign { status, .. }) => *status >= 500,
        Refusal::Remote(error) => matches!(error, RemoteError::Lost { .. }),
    }
}

impl Connection {
    /// Asks for work, and follows it to its end: the result or the problem is what the call would have answered had it
    /// been waited for. `progress` takes over how far it is.
    pub fn work<T: DeserializeOwned>(
        &self,
        path: &str,
        send: impl FnOnce(RequestBuilder<WithBody>) -> Answered,
        progress: &Progress,
    ) -> Answer<T> {
        let prefer = format!("respond-async, wait={}", self.pace.wait_seconds);
        // Without a bound in time: whoever knows no such preference answers when the work is done.
        let answered = send(self.posting(path).header("Prefer", prefer));
        if !answered.as_ref().is_ok_and(|response| response.status() == 202) {
            return self.answer(answered);
        }
        let begun: JobDocument = self.answer(answered)?;
        tell(progress, begun.progress);
        let ended = self.follow(begun.id, progress)?;
        match (ended.result, ended.problem) {
            (_, Some(problem)) => Err(self.advised(problem).into()),
            (result, None) => self.document(result.as_ref().map_or("", |result| result.get()).as_bytes(), 200),
        }
    }

    /// The job as it is once it has ended.
    fn follow(&self, job: JobId, progress: &Progress) -> Result<JobDocument, RemoteError> {
        let mut failures = 0;
        loop {
            match step(self.look(job), failures, self.pace) {
                Step::Ended(ended) => return Ok(ended),
                Step::Again { progress: told, pause } => {
                    failures = if told.is_some() { 0 } else { failures + 1 };
                    told.inspect(|told| tell(progress, *told));
                    std::thread::sleep(pause);
                }
                Step::Leave(Why::Forgotten) => return Err(RemoteError::Forgotten { job }),
                Step::Leave(Why::Lost(lost)) => return Err(lost),
                Step::Leave(Why::Untold(refusal)) => {
                    return Err(RemoteError::Untold { peer: self.peer().clone(), job, cause: Box::new(refusal) });
                }
            }
        }
    }

    fn look(&self, job: JobId) -> Result<Look, Refusal> {
        let wait = Duration::from_secs(self.pace.wait_seconds);
        let request = self.getting(&format!("/api/jobs/{job}"));
        let request = request.header("Prefer", format!("wait={}", self.pace.wait_seconds));
        let answered = request.config().timeout_global(Some(self.patience() + wait)).build().call();
        let has_waited = answered.as_ref().is_ok_and(|response| response.headers().contains_key("Preference-Applied"));
        Ok(Look { job: self.answer(answered)?, has_waited })
    }
}

fn tell(progress: &Progress, told: JobProgress) {
    progress.take_over(told.done_bytes, told.total_bytes);
}

#[cfg(test)]
mod tests;
