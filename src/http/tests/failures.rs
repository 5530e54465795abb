//! Every failure, in its one form.

use crate::api::ProblemKind;

use super::super::limits::Limits;
use super::fake::ID;
use super::{Door, bind};

#[test]
fn every_kind_of_problem_is_answered_as_what_it_is() {
    let door = Door::open();
    for (number, kind) in ProblemKind::ALL.iter().enumerate() {
        let operation = door.post(&format!("/api/backup/kind-{number}"));
        let question = door.get(&format!("/api/backup/list?set=kind-{number}"));
        for reply in [operation, question] {
            let problem = reply.problem(*kind);
            assert_eq!(problem.detail, "as asked");
            assert_eq!(problem.good_backups.len(), 1);
            assert_eq!(reply.json()["type"], kind.urn());
            let later = matches!(kind, ProblemKind::Busy | ProblemKind::Unavailable | ProblemKind::TooManyRequests);
            assert_eq!(reply.header("retry-after").is_some(), later);
        }
    }
}

#[test]
fn a_path_that_leads_nowhere_is_404() {
    let door = Door::open();
    for path in
        ["/", "/api", "/api/", "/api/backup", "/api/backup/", "/api/backup/list/", "/api//status", "/API/status"]
    {
        door.get(path).problem(ProblemKind::NotFound);
    }
    door.post("/api/recovery/security").problem(ProblemKind::NotFound);
    let long = door.get(&format!("/{}", "x".repeat(50_000))).problem(ProblemKind::NotFound);
    assert!(long.detail.len() < 200, "a problem is no echo");
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_wrong_method_is_405_and_the_right_ones_are_named() {
    let door = Door::open();
    let verify = format!("/api/backup/{ID}/verify");
    let restore = format!("/api/recovery/security/{ID}");
    let id = format!("/api/backup/{ID}");
    for (line, allowed) in [
        ("POST /api/backup/list".to_owned(), "GET, HEAD"),
        (format!("DELETE {id}"), "GET, HEAD, POST"),
        (format!("OPTIONS {id}"), "GET, HEAD, POST"),
        (format!("GET {verify}"), "POST"),
        (format!("GET {restore}"), "POST"),
        (format!("PUT {restore}"), "POST"),
        ("GET /api/recovery/enter".to_owned(), "POST"),
        ("HEAD /api/recovery/exit".to_owned(), "POST"),
        ("GET /api/recovery/plan".to_owned(), "POST"),
        ("GET /api/recovery/apply".to_owned(), "POST"),
        ("POST /api/recovery".to_owned(), "GET, HEAD"),
        ("POST /api/status".to_owned(), "GET, HEAD"),
        ("TRACE /metrics".to_owned(), "GET, HEAD"),
        ("POST /healthz".to_owned(), "GET, HEAD"),
        ("PATCH /readyz".to_owned(), "GET, HEAD"),
        ("NONSENSE /metrics".to_owned(), "GET, HEAD"),
    ] {
        let reply = door.send(&line, &[], "");
        assert_eq!((reply.status, reply.header("allow")), (405, Some(allowed)), "{line}");
        if !line.starts_with("HEAD") {
            reply.problem(ProblemKind::MethodNotAllowed);
        }
    }
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_malformed_id_or_set_is_400_and_goes_no_further() {
    let door = Door::open();
    for path in ["/api/backup/xyz", "/api/backup/3f9c2ab1", "/api/backup/20261123T101500Z-3F9C2AB1"] {
        door.get(path).problem(ProblemKind::BadRequest);
        door.post(&format!("{path}/verify")).problem(ProblemKind::BadRequest);
    }
    for set in ["Security", "1st", "a.b", "-a", "a%20b", "caf%C3%A9"] {
        door.post(&format!("/api/backup/{set}")).problem(ProblemKind::BadRequest);
        door.post(&format!("/api/recovery/{set}/{ID}")).problem(ProblemKind::BadRequest);
    }
    door.post("/api/recovery/security/newest").problem(ProblemKind::BadRequest);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_malformed_query_is_400() {
    let door = Door::open();
    for query in [
        "limit=x",
        "limit=-1",
        "limit=1.5",
        "limit=99999999999999999999999",
        "limit=",
        "set=",
        "set=A",
        "after=x",
        "sets=security",
        "set=security&set=logs",
        "set=%ff",
        "set=%2e%2e%2f",
    ] {
        door.get(&format!("/api/backup/list?{query}")).problem(ProblemKind::BadRequest);
    }
    let problem = door.get("/api/audit?set=logs&limit=abc&after=1").problem(ProblemKind::BadRequest);
    assert!(problem.detail.contains("\"limit=abc\" cannot be understood"), "{}", problem.detail);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_body_that_is_not_the_options_is_400() {
    let door = Door::open();
    for body in [
        "{",
        "[]",
        "[null,true]",
        "null",
        "\"file\"",
        "1",
        "file=a",
        "{\"fiel\":\"a\"}",
        "{\"file\":1}",
        "{\"file\":\"a\",\"file\":\"b\"}",
        "{} {}",
        "{\"replace_logs\":\"yes\"}",
        &format!("{{\"file\":{}", "[".repeat(10_000)),
    ] {
        let reply = door.send("POST /api/recovery/security/latest", &[], body);
        reply.problem(ProblemKind::BadRequest);
    }
    for path in ["/api/backup/security", "/api/recovery/enter", "/api/recovery/exit", "/api/backup/2026/verify"] {
        door.send(&format!("POST {path}"), &[], "{\"force\":true}").problem(ProblemKind::BadRequest);
    }
    assert!(door.fake.calls().is_empty());
    assert_eq!(door.send("POST /api/backup/security", &[], "{}").status, 201);
}

#[test]
fn a_body_may_be_as_large_as_the_bound_and_no_larger() {
    let door = Door::open();
    let padded = |bytes: usize| format!("{{}}{}", " ".repeat(bytes - 2));
    let bound = Limits::DEFAULT.body_bytes;
    assert_eq!(door.send("POST /api/recovery/enter", &[], &padded(bound)).status, 200);
    let reply = door.send("POST /api/recovery/enter", &[], &padded(bound + 1));
    reply.problem(ProblemKind::TooLarge);
    assert_eq!(door.fake.calls(), ["enter"]);
}

#[test]
fn an_address_in_use_is_told_at_once() {
    let door = Door::open();
    assert_eq!(bind(door.address).unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}
