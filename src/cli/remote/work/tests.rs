//! Work at services that are slow, that break off, forget, and refuse to tell.

use chrono::DateTime;
use serde_json::value::to_raw_value;

use super::*;
use crate::actors::problems::chain;
use crate::api::{BackupDetails, JobOperation, Problem};
use crate::cli::remote::trouble::Peer;
use crate::cli::samples;
use crate::cli::test_service::{TestService, answer, refusal};

const JOB: JobId = JobId(0xab);
const BEGIN: &str = "POST /api/backup/security";
const LOOK: &str = "GET /api/jobs/00000000000000ab";

fn job(state: JobState, done_bytes: u64) -> JobDocument {
    JobDocument {
        id: JOB,
        operation: JobOperation::Backup,
        state,
        principal: "token:cli".into(),
        correlation_id: "1".into(),
        started: DateTime::UNIX_EPOCH,
        ended: None,
        progress: JobProgress { done_bytes, total_bytes: 8 },
        result: (state == JobState::Succeeded).then(|| to_raw_value(&samples::details()).unwrap()),
        problem: (state == JobState::Failed).then(|| Problem::new(ProblemKind::Busy, "logs is being backed up")),
    }
}

/// A service that begins a job, and answers what was given to each look at it.
fn service(mut looks: impl FnMut(usize) -> Option<(u16, String)> + Send + 'static) -> TestService {
    let mut looked = 0;
    TestService::start(move |request| {
        if request == BEGIN {
            return answer(202, &job(JobState::Running, 0));
        }
        assert_eq!(request, LOOK);
        looked += 1;
        looks(looked)
    })
}

fn backed_up(service: &TestService, progress: &Progress) -> Answer<BackupDetails> {
    service.remote().backup(&"security".parse().unwrap(), progress)
}

/// What it came to, and how often it was asked for work and for its job.
fn came_to(service: &TestService) -> (Answer<BackupDetails>, usize, usize) {
    let answer = backed_up(service, &Progress::default());
    let asked = service.requests();
    let count = |wanted: &str| asked.iter().filter(|(request, _)| request == wanted).count();
    (answer, count(BEGIN), count(LOOK))
}

#[test]
fn work_that_is_done_at_once_needs_no_job() {
    let service = TestService::start(|_| answer(201, &samples::details()));
    assert_eq!(backed_up(&service, &Progress::default()).unwrap(), samples::details());
    assert_eq!(service.preferences(), [(BEGIN.into(), "respond-async, wait=0".into())]);
    assert_eq!(Pace::DEFAULT.wait_seconds, 1);
}

#[test]
fn a_job_is_followed_to_its_end_and_comes_to_what_the_call_would_have_answered() {
    let service = service(|looked| answer(200, &job([JobState::Running, JobState::Succeeded][looked - 1], 5)));
    let progress = Progress::default();
    assert_eq!(backed_up(&service, &progress).unwrap(), samples::details());
    assert_eq!(progress.bytes(), (5, 8));
    let looks = [(LOOK.into(), "wait=0".into()), (LOOK.into(), "wait=0".into())];
    assert_eq!(service.preferences()[1..], looks);
}

#[test]
fn a_job_that_failed_is_the_problem_that_the_call_would_have_answered() {
    let service = service(|_| answer(200, &job(JobState::Failed, 0)));
    let Err(Refusal::Problem(problem)) = backed_up(&service, &Progress::default()) else { panic!("no problem") };
    assert_eq!(problem, Problem::new(ProblemKind::Busy, "logs is being backed up"));
}

#[test]
fn work_is_asked_for_once_though_nothing_is_answered() {
    let service = TestService::start(|_| None);
    let (answer, begun, looked) = came_to(&service);
    assert!(matches!(answer, Err(Refusal::Remote(RemoteError::Lost { .. }))));
    assert_eq!((begun, looked), (1, 0));
}

#[test]
fn a_connection_that_breaks_is_made_again_so_often_in_a_row_and_no_more() {
    let tries = usize::try_from(Pace::DEFAULT.tries).unwrap();
    let comes_back = service(move |looked| match looked % tries {
        0 if looked == 2 * tries => answer(200, &job(JobState::Succeeded, 8)),
        0 => answer(200, &job(JobState::Running, 8)),
        1 => refusal(&Problem::new(ProblemKind::Unavailable, "try again")),
        2 => Some((502, "<html>bad gateway".into())),
        _ => None,
    });
    let (answer, begun, looked) = came_to(&comes_back);
    assert_eq!((answer.unwrap(), begun, looked), (samples::details(), 1, 2 * tries));

    let (answer, begun, looked) = came_to(&service(|_| None));
    let Err(Refusal::Remote(lost @ RemoteError::Lost { .. })) = answer else { panic!("{answer:?}") };
    assert!(lost.to_string().contains("may have been done or not"), "{lost}");
    assert_eq!((begun, looked), (1, tries));
}

#[test]
fn a_job_that_is_not_known_any_more_is_one_line_that_says_what_to_look_at() {
    let gone = service(|_| refusal(&Problem::new(ProblemKind::NotFound, "there is no job")));
    let (answer, begun, looked) = came_to(&gone);
    let said = chain(&answer.unwrap_err());
    for part in ["job 00000000000000ab", "restarted", "may have been done or not", "fiovana-app status"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!((begun, looked, said.lines().count()), (1, 1, 1));
}

#[test]
fn a_service_that_does_not_tell_any_more_has_not_refused_the_work() {
    let silent = service(|_| refusal(&Problem::new(ProblemKind::Unauthorized, "send a token")));
    let (answer, ..) = came_to(&silent);
    let Err(Refusal::Remote(untold @ RemoteError::Untold { .. })) = answer else { panic!("{answer:?}") };
    let said = chain(&untold);
    assert!(said.contains("may have been done or not") && said.contains("send a token"), "{said}");
}

#[test]
fn a_service_that_does_not_wait_is_not_asked_without_a_pause() {
    for (has_waited, expected) in [(true, Duration::ZERO), (false, Pace::DEFAULT.pause)] {
        let look = Ok(Look { job: job(JobState::Running, 0), has_waited });
        let Step::Again { pause, .. } = step(look, 0, Pace::DEFAULT) else { panic!("it is under way") };
        assert_eq!(pause, expected);
    }
    let cause = Box::new(ureq::Error::ConnectionFailed);
    let lost = Err(Refusal::Remote(RemoteError::Lost { peer: Peer::Process(1), cause }));
    let Step::Again { pause, .. } = step(lost, 0, Pace::DEFAULT) else { panic!("it is tried again") };
    assert!(pause > Duration::ZERO);
}
