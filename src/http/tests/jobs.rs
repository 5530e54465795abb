//! Long work, waited for and not.

use crate::api::{BackupDetails, JobDocument, JobList, JobOperation, JobState, ProblemKind};

use super::super::limits::Limits;
use super::fake::{ID, Stage};
use super::{Door, Reply};

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

#[test]
fn the_preference_is_read_as_rfc_7240_has_it() {
    let door = Door::open();
    for headers in [
        &["Prefer: RESPOND-ASYNC"][..],
        &["Prefer: wait=10, respond-async"],
        &["Prefer: respond-async;x=y"],
        &["Prefer: return=minimal", "Prefer: respond-async"],
    ] {
        assert_eq!(door.send("POST /api/backup/2026/verify", headers, "").status, 202, "{headers:?}");
    }
    for header in ["Prefer: wait=10", "Prefer: respond-asynchronously", "Prefer: ", "Respond-Async: 1"] {
        assert_eq!(door.send("POST /api/backup/2026/verify", &[header], "").status, 200, "{header}");
    }
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
    assert_eq!((job.state, job.problem.unwrap().kind), (JobState::Failed, ProblemKind::ALL[0]));
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
