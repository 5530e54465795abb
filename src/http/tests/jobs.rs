//! Long work, waited for and not.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};

use crate::api::{BackupDetails, JobDocument, JobList, JobOperation, JobState, ProblemKind};

use super::super::limits::Limits;
use super::fake::{ID, Stage};
use super::{Door, PATIENCE, Reply, request};

fn begin(door: &Door, path: &str) -> Reply {
    door.send(&format!("POST {path}"), &["Prefer: respond-async"], "")
}

fn document<T: serde::de::DeserializeOwned>(reply: &Reply) -> T {
    serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {reply:?}"))
}

/// The job as it is once it ended.
fn ended(door: &Door, path: &str) -> JobDocument {
    // Each asks over a connection of its own: many times longer than any work here takes.
    let asked = (0..10_000).map(|_| document::<JobDocument>(&door.get(path)));
    asked.into_iter().find(|job| job.state != JobState::Running).unwrap()
}

#[test]
fn who_prefers_not_to_wait_gets_a_job_that_tells_what_came_of_it() {
    let door = Door::open();
    let reply = begin(&door, "/api/backup/slow");
    assert_eq!((reply.status, reply.header("preference-applied")), (202, Some("respond-async")));
    let job: JobDocument = document(&reply);
    let path = format!("/api/jobs/{}", job.id);
    assert_eq!(reply.header("location"), Some(path.as_str()));
    assert_eq!((job.operation, job.state, job.ended), (JobOperation::Backup, JobState::Running, None));
    assert_eq!(Some(job.correlation_id.as_str()), reply.header("x-request-id"));
    assert_eq!(door.fake.stage(), Stage::Begun);
    assert_eq!(document::<JobDocument>(&door.get(&path)).state, JobState::Running);

    door.fake.let_go();
    let job = ended(&door, &path);
    assert_eq!((job.state, job.ended.is_some(), job.problem), (JobState::Succeeded, true, None));
    let result: BackupDetails = serde_json::from_str(job.result.unwrap().get()).unwrap();
    assert_eq!(result, document(&door.get(&format!("/api/backup/{ID}"))));
}

/// Asks for something and leaves the answer for later.
fn ask(door: &Door, line: &str, headers: &[&str]) -> TcpStream {
    let mut stream = door.connect();
    stream.write_all(&request(line, headers, "")).unwrap();
    stream
}

/// Asks for a job at once so many times, each to be answered at its end.
fn crowd(door: &Door, path: &str, count: usize) -> Receiver<Reply> {
    let (send, replies) = channel();
    for _ in 0..count {
        let (mut stream, send) = (ask(door, &format!("GET {path}"), &["Prefer: wait=30"]), send.clone());
        std::thread::spawn(move || send.send(Reply::read(&mut stream)));
    }
    replies
}

/// The next of them.
fn next(replies: &Receiver<Reply>) -> (Option<String>, JobState) {
    let reply = replies.recv_timeout(PATIENCE).unwrap();
    (reply.header("preference-applied").map(str::to_owned), document::<JobDocument>(&reply).state)
}

#[test]
fn who_waits_for_a_while_gets_the_result_if_it_is_there_by_then_and_else_a_job() {
    let door = Door::open();
    let done = door.send("POST /api/backup/security", &["Prefer: respond-async, wait=20"], "");
    assert_eq!((done.status, done.header("preference-applied")), (201, Some("wait=20")));
    assert_eq!(
        (done.header("location").unwrap(), done.header("vary")),
        (format!("/api/backup/{ID}").as_str(), Some("prefer"))
    );
    assert_eq!(document::<BackupDetails>(&done), document(&door.get(&format!("/api/backup/{ID}"))));

    let mut late = ask(&door, "POST /api/backup/slow", &["Prefer: respond-async, wait=20"]);
    assert_eq!(door.fake.stage(), Stage::Begun);
    door.fake.let_go();
    assert_eq!(Reply::read(&mut late).status, 201);

    let begun = door.send("POST /api/backup/slow", &["Prefer: respond-async, wait=0"], "");
    assert_eq!((begun.status, begun.header("preference-applied")), (202, Some("respond-async, wait=0")));
    let begun = door.send("POST /api/backup/slow", &["Prefer: wait=1", "Prefer: respond-async"], "");
    assert_eq!((begun.status, begun.header("preference-applied")), (202, Some("respond-async, wait=1")));
    (0..2).for_each(|_| door.fake.let_go());

    let refused = door.send("POST /api/backup/kind-0", &["Prefer: respond-async, wait=20"], "");
    refused.problem(ProblemKind::ALL[0]);
}

#[test]
fn who_does_not_say_respond_async_gets_the_result_however_short_the_wait() {
    let door = Door::open();
    let mut waiting = ask(&door, "POST /api/backup/slow", &["Prefer: wait=0"]);
    assert_eq!(door.fake.stage(), Stage::Begun);
    door.fake.let_go();
    let reply = Reply::read(&mut waiting);
    assert_eq!((reply.status, reply.header("preference-applied")), (201, None));
}

#[test]
fn a_job_is_waited_for_to_its_end_or_for_as_long_as_was_asked() {
    let door = Door::open();
    let path = begin(&door, "/api/backup/slow").header("location").unwrap().to_owned();
    let get = format!("GET {path}");
    for (wait, applied) in [("Prefer: wait=0", "wait=0"), ("Prefer: wait=1, respond-async", "wait=1")] {
        let reply = door.send(&get, &[wait], "");
        assert_eq!((reply.header("preference-applied"), reply.header("vary")), (Some(applied), Some("prefer")));
        assert_eq!(document::<JobDocument>(&reply).state, JobState::Running);
    }
    let malformed = door.send(&get, &["Prefer: wait=soon"], "");
    assert_eq!((malformed.status, malformed.header("preference-applied")), (200, None));

    // Longer than a test is patient: only the end of the job can be why it comes.
    let mut waiting = ask(&door, &get, &["Prefer: wait=99999"]);
    door.fake.let_go();
    let reply = Reply::read(&mut waiting);
    assert_eq!(reply.header("preference-applied"), Some("wait=30"));
    assert_eq!(document::<JobDocument>(&reply).state, JobState::Succeeded);
    let reply = door.send(&get, &["Prefer: wait=99999"], "");
    assert_eq!(document::<JobDocument>(&reply).state, JobState::Succeeded);
    door.send("GET /api/jobs/0123456789abcdef", &["Prefer: wait=30"], "").problem(ProblemKind::NotFound);
}

#[test]
fn who_waits_keeps_nobody_from_anything_and_beyond_the_bound_is_answered_at_once() {
    let door = Door::with(Limits { waiters: 8, blocking_threads: 2, ..Limits::DEFAULT });
    let path = begin(&door, "/api/backup/slow").header("location").unwrap().to_owned();
    let replies = crowd(&door, &path, 12);
    for _ in 0..4 {
        assert_eq!(next(&replies), (None, JobState::Running));
    }
    // Eight wait: every worker, and every thread that may block, is free.
    for _ in 0..4 {
        assert_eq!(door.get("/api/status").status, 200);
        assert_eq!(door.post("/api/backup/security").status, 201);
    }
    door.fake.let_go();
    for _ in 0..8 {
        assert_eq!(next(&replies), (Some("wait=30".into()), JobState::Succeeded));
    }
    assert_eq!(next(&crowd(&door, &path, 1)), (Some("wait=30".into()), JobState::Succeeded), "nobody waits any more");
}

#[test]
fn a_stop_waits_no_longer_for_who_waits_than_for_the_work() {
    let mut door = Door::with(Limits { waiters: 1, ..Limits::DEFAULT });
    let path = begin(&door, "/api/backup/slow").header("location").unwrap().to_owned();
    let replies = crowd(&door, &path, 2);
    assert_eq!(next(&replies), (None, JobState::Running), "the other waits");
    drop(door.server.stop(true));
    door.fake.let_go();
    // The worker that it ran on may have stopped before; then it is told to have been broken off.
    assert_ne!(next(&replies).1, JobState::Running);
    door.thread.take().unwrap().join().unwrap();
}

#[test]
fn every_call_that_may_take_long_is_a_job_waited_for_or_not() {
    let door = Door::open();
    let apply = format!("{{\"digest\":\"{}\"}}", "0".repeat(64));
    let calls = [
        ("/api/backup/security", "", JobOperation::Backup),
        ("/api/backup/2026/verify", "", JobOperation::Verify),
        ("/api/drill/security", "", JobOperation::Drill),
        ("/api/recovery/security/latest", "", JobOperation::Restore),
        ("/api/recovery/apply", &apply, JobOperation::Apply),
        ("/api/prune", "", JobOperation::Prune),
    ];
    for (path, body, operation) in calls {
        let waited = door.send(&format!("POST {path}"), &[], body);
        assert!(waited.status < 300, "{waited:?}");
        let reply = door.send(&format!("POST {path}"), &["Prefer: respond-async"], body);
        let job = ended(&door, reply.header("location").unwrap());
        assert_eq!((job.operation, job.result.unwrap().get()), (operation, waited.body.trim_end()));
    }
    let list: JobList = document(&door.get("/api/jobs"));
    let told: Vec<JobOperation> = list.jobs.iter().rev().map(|job| job.operation).collect();
    assert_eq!(told, calls.map(|(_, _, operation)| [operation, operation]).concat());
    assert!(list.jobs.iter().all(|job| job.state == JobState::Succeeded && job.result.is_none()));
}

#[test]
fn a_job_that_fails_or_panics_says_so() {
    let door = Door::open();
    let reply = begin(&door, "/api/backup/kind-0");
    let job = ended(&door, reply.header("location").unwrap());
    let problem = job.problem.unwrap();
    assert_eq!((job.state, problem.kind), (JobState::Failed, ProblemKind::ALL[0]));
    assert_eq!(problem.correlation_id.as_deref(), reply.header("x-request-id"), "as the call would have answered");
    let reply = begin(&door, "/api/recovery/panic/latest");
    let job = ended(&door, reply.header("location").unwrap());
    assert_eq!((job.state, job.problem.unwrap().kind), (JobState::Failed, ProblemKind::Internal));
}

#[test]
fn jobs_under_way_are_bounded_like_all_operations() {
    let door = Door::with(Limits { operations: 1, ..Limits::DEFAULT });
    assert_eq!(begin(&door, "/api/backup/slow").status, 202);
    let reply = begin(&door, "/api/backup/logs");
    reply.problem(ProblemKind::Unavailable);
    assert_eq!(reply.header("retry-after"), Some("1"));
    assert_eq!(document::<JobList>(&door.get("/api/jobs")).jobs.len(), 1);
    door.fake.let_go();
}

#[test]
fn who_does_not_wait_is_told_of_a_malformed_request_at_once() {
    let door = Door::open();
    for (path, body) in [
        ("/api/prune", "{\"confirm\":\"\"}"),
        ("/api/recovery/apply", ""),
        ("/api/recovery/security/latest", "{\"fiel\":\"a\"}"),
        ("/api/backup/Security", ""),
    ] {
        let reply = door.send(&format!("POST {path}"), &["Prefer: respond-async"], body);
        reply.problem(ProblemKind::BadRequest);
    }
    assert!(door.fake.calls().is_empty() && document::<JobList>(&door.get("/api/jobs")).jobs.is_empty());
}

#[test]
fn a_job_that_is_none_is_400_or_404() {
    let door = Door::open();
    door.get("/api/jobs/0123456789abcdef").problem(ProblemKind::NotFound);
    for id in ["1", "0123456789ABCDEF", "..%2f..%2fetc%2fpasswd"] {
        door.get(&format!("/api/jobs/{id}")).problem(ProblemKind::BadRequest);
    }
    for header in ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site"] {
        let reply = door.send("POST /api/backup/security", &[header, "Prefer: respond-async"], "");
        reply.problem(ProblemKind::Forbidden);
    }
    assert!(door.fake.calls().is_empty());
}
