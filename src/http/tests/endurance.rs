//! Hanging up, crowding in, dawdling and panicking.

use std::io::{Read, Write};
use std::time::Duration;

use crate::api::ProblemKind;

use super::super::limits::Limits;
use super::fake::{ID, Stage};
use super::{Door, Reply, request};

/// Hangs up so hard that the server cannot miss it: closing with an answer unread resets the connection.
fn begin_and_hang_up(door: &Door, line: &str) {
    let mut stream = door.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    stream.write_all(&request(line, &[], "")).unwrap();
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    assert_eq!(door.fake.stage(), Stage::Begun);
}

#[test]
fn an_operation_goes_on_when_its_client_hangs_up() {
    let door = Door::open();
    for line in ["POST /api/backup/slow".to_owned(), format!("POST /api/recovery/slow/{ID}")] {
        begin_and_hang_up(&door, &line);
        // The workers have long seen the reset when they have answered others.
        for _ in 0..20 {
            assert_eq!(door.get("/api/status").status, 200);
        }
        door.fake.let_go();
        assert_eq!(door.fake.stage(), Stage::Ended);
    }
}

#[test]
fn one_operation_too_many_is_told_when_to_come_back() {
    let door = Door::with(Limits { operations: 1, ..Limits::DEFAULT });
    let mut first = door.connect();
    first.write_all(&request("POST /api/backup/slow", &[], "")).unwrap();
    assert_eq!(door.fake.stage(), Stage::Begun);
    for path in ["/api/backup/logs", "/api/backup/2026/verify", "/api/recovery/logs/latest", "/api/recovery/enter"] {
        let reply = door.post(path);
        reply.problem(ProblemKind::Unavailable);
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    assert_eq!(door.get("/api/backup/list").status, 200);
    door.fake.let_go();
    assert_eq!(Reply::read(&mut first).status, 201);
    assert_eq!(door.post("/api/backup/logs").status, 201);
}

#[test]
fn a_panic_is_an_answer_and_costs_nobody_else_anything() {
    let door = Door::with(Limits { operations: 1, ..Limits::DEFAULT });
    for _ in 0..3 {
        door.post("/api/backup/panic").problem(ProblemKind::Internal);
        door.post("/api/recovery/panic/latest").problem(ProblemKind::Internal);
        door.get("/api/backup/list?set=panic").problem(ProblemKind::Internal);
    }
    assert_eq!(door.post("/api/backup/security").status, 201);
}

#[test]
fn a_body_that_never_ends_is_not_waited_for() {
    let door = Door::with(Limits { body_timeout: Duration::from_millis(50), ..Limits::DEFAULT });
    let head =
        "POST /api/backup/security HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{";
    let problem = door.raw(head.as_bytes()).problem(ProblemKind::Timeout);
    assert!(problem.detail.contains("within"), "{}", problem.detail);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let door = Door::with(Limits { head_timeout: Duration::from_millis(50), ..Limits::DEFAULT });
    assert_eq!(door.raw(b"GET /healthz HTTP/1.1\r\nHost: local").status, 408);
}

#[test]
fn an_idle_connection_is_closed() {
    let door = Door::with(Limits { keep_alive: Duration::from_millis(50), ..Limits::DEFAULT });
    let mut stream = door.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"ok\n"));
}

#[test]
fn a_graceful_stop_waits_for_the_answer_under_way() {
    let mut door = Door::open();
    let mut stream = door.connect();
    stream.write_all(&request("POST /api/backup/slow", &[], "")).unwrap();
    assert_eq!(door.fake.stage(), Stage::Begun);
    drop(door.server.stop(true));
    door.fake.let_go();
    assert_eq!(Reply::read(&mut stream).status, 201);
    door.thread.take().unwrap().join().unwrap();
}
