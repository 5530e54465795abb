//! Hanging up, crowding in, dawdling and panicking.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::FutureExt;

use crate::actors::service::Caller;
use crate::api::ProblemKind;

use super::super::limits::Limits;
use super::fake::{ID, Stage};
use super::{Door, PATIENCE, Reply, request};

/// Short for a timer of actix's own: see [`Limits`].
const SHORT: Duration = Duration::from_secs(2);

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
fn a_client_that_hangs_up_has_left_unless_it_asked_for_a_job() {
    let door = Door::open();
    let left = |caller: &Caller| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(PATIENCE, caller.presence.left()).await.is_ok() })
    };
    // An ordinary close, as when somebody presses Ctrl-C under curl.
    let mut client = door.connect();
    client.write_all(&request("POST /api/backup/slow", &[], "")).unwrap();
    assert_eq!(door.fake.stage(), Stage::Begun);
    let asked = door.fake.caller();
    drop(client);
    assert!(left(&asked), "nobody noticed");

    let job = door.send("POST /api/backup/slow", &["Prefer: respond-async"], "");
    assert_eq!((job.status, door.fake.stage()), (202, Stage::Begun));
    assert!(door.fake.caller().presence.left().now_or_never().is_none());
    for _ in 0..2 {
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
    let door = Door::with(Limits { head_timeout: SHORT, ..Limits::DEFAULT });
    assert_eq!(door.raw(b"GET /healthz HTTP/1.1\r\nHost: local").status, 408);
}

#[test]
fn an_idle_connection_is_closed() {
    let door = Door::with(Limits { keep_alive: SHORT, ..Limits::DEFAULT });
    let mut stream = door.connect();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.ends_with(b"ok\n"));
}

/// A request whose body nobody wants, up to and with its answer.
fn unwanted_body(door: &Door) -> TcpStream {
    let mut stream = door.connect();
    stream
        .write_all(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
        .unwrap();
    assert!(stream.peek(&mut [0]).unwrap() > 0);
    stream
}

#[test]
fn a_body_that_goes_on_after_its_answer_is_not_read_for_ever() {
    let door = Door::with(Limits { linger: SHORT, ..Limits::DEFAULT });
    let mut silent = unwanted_body(&door);
    assert_eq!(Reply::read(&mut silent).status, 404, "closed, though its end never came");

    let mut endless = unwanted_body(&door);
    endless.set_write_timeout(Some(PATIENCE)).unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let refused = (0..1 << 20).find_map(|_| endless.write_all(&chunk).err()).expect("64 GiB were read");
    assert!(matches!(refused.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{refused}");
}

#[test]
fn a_body_that_was_read_keeps_its_connection() {
    let door = Door::open();
    let mut stream = door.connect();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for head in ["POST /api/backup/security", "POST /api/recovery/plan", "POST /api/prune"] {
        let body = "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        stream.write_all(format!("{head} HTTP/1.1\r\nHost: localhost\r\n{body}").as_bytes()).unwrap();
        let heads: Vec<String> =
            answers.by_ref().lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
        assert!(!heads.is_empty() && !heads.iter().any(|line| line == "connection: close"), "{head}: {heads:?}");
        let length = heads.iter().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        answers.read_exact(&mut vec![0; length.parse().unwrap()]).unwrap();
    }
}

/// Whether the server has hung up.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let read = stream.read(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !matches!(read, Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn who_only_sits_there_gives_way_to_who_asks_for_something() {
    let door = Door::with(Limits { workers: 1, connections: 4, ..Limits::DEFAULT });
    let mut idle: Vec<TcpStream> = (0..20).map(|_| door.connect()).collect();
    idle[19].write_all(b"GET /healthz HTTP/1.1\r\nHost: local").unwrap();
    for _ in 0..3 {
        assert_eq!(door.get("/api/status").status, 200);
    }
    let closed: Vec<bool> = idle.iter_mut().map(is_closed).collect();
    let first_open = closed.iter().position(|closed| !closed).unwrap();
    assert!((16..=17).contains(&first_open) && closed[first_open..].iter().all(|closed| !closed), "{closed:?}");
    idle[19].write_all(b"host\r\nConnection: close\r\n\r\n").unwrap();
    assert_eq!(Reply::read(&mut idle[19]).status, 200, "the last to come had its say");
}

#[test]
fn where_something_is_under_way_on_each_connection_a_newcomer_is_told_so_at_once() {
    let door = Door::with(Limits { workers: 1, connections: 2, ..Limits::DEFAULT });
    let mut busy = [door.connect(), door.connect()];
    for stream in &mut busy {
        stream.write_all(&request("POST /api/backup/slow", &[], "")).unwrap();
        assert_eq!(door.fake.stage(), Stage::Begun);
    }
    for line in ["GET /healthz", "GET /api/status"] {
        let reply = door.send(line, &[], "");
        reply.problem(ProblemKind::Unavailable);
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    // Who says nothing is told, too.
    Reply::read(&mut door.connect()).problem(ProblemKind::Unavailable);
    door.fake.let_go();
    door.fake.let_go();
    for stream in &mut busy {
        assert_eq!(Reply::read(stream).status, 201);
    }
    assert_eq!(door.get("/healthz").status, 200);
    let refused = ("unmatched".to_owned(), "other".to_owned(), 503);
    assert_eq!(door.observed().iter().filter(|one| **one == refused).count(), 3);
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
