//! Long answers: the content of files, and events.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use chrono::DateTime;
use serde_json::json;

use super::super::limits::Limits;
use super::tokens::token;
use super::{Door, Reply, request};
use crate::api::ProblemKind;
use crate::audit::{Entry, Outcome};

fn authorization(door: &Door, right: &str) -> String {
    format!("Authorization: Bearer {}", token(door, right))
}

/// The answer to a request for a file with the right to have it.
fn file(door: &Door, name: &str) -> Reply {
    door.send(&format!("GET /api/backup/2026/files/{name}"), &[&authorization(door, "operate")], "")
}

#[test]
fn a_file_is_sent_as_it_is_with_its_hash_and_nothing_that_a_browser_would_run() {
    let door = Door::open();
    let reply = file(&door, "app.html");
    assert_eq!((reply.status, reply.body.as_str(), reply.header("content-length")), (200, "content", Some("7")));
    assert_eq!(reply.header("content-type"), Some("application/octet-stream"));
    assert_eq!(reply.header("content-disposition"), Some("attachment"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("etag"), Some("\"ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73\""));
    let head = door.send("HEAD /api/backup/2026/files/app.html", &[&authorization(&door, "operate")], "");
    assert_eq!((head.status, head.body.as_str(), head.header("content-length")), (200, "", Some("7")));
    assert_eq!(head.header("etag"), reply.header("etag"));
    assert_eq!(file(&door, "empty").header("content-length"), Some("0"));
}

#[test]
fn a_files_name_goes_to_the_service_as_it_was_meant() {
    let door = Door::open();
    for name in ["conf.d/a.conf", "conf.d%2Fa.conf", "..%2F..%2fetc/passwd", "a%20b", "a%252Fb"] {
        assert_eq!(file(&door, name).status, 200, "{name}");
    }
    let asked = ["conf.d/a.conf", "conf.d/a.conf", "../../etc/passwd", "a b", "a%2Fb"];
    assert_eq!(door.fake.calls(), asked.map(|name| format!("download 2026 {name}")));
    file(&door, "absent").problem(ProblemKind::NotFound);
}

#[test]
fn content_needs_a_token_that_may_operate() {
    let door = Door::open();
    let path = "GET /api/backup/2026/files/app.html";
    door.send(path, &[], "").problem(ProblemKind::Unauthorized);
    door.send(path, &[&authorization(&door, "read")], "").problem(ProblemKind::Forbidden);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_damaged_file_is_a_problem_or_cut_off_but_never_taken_for_a_whole_one() {
    let door = Door::open();
    file(&door, "damaged").problem(ProblemKind::Integrity);
    let reply = file(&door, "damaged-later");
    let announced: usize = reply.header("content-length").unwrap().parse().unwrap();
    assert_eq!((reply.status, announced), (200, 2 << 20));
    assert!(reply.body.len() < announced, "{}", reply.body.len());
}

/// A client that asked for something long and reads none of it.
fn stall(door: &Door, line: &str) -> TcpStream {
    let mut stream = door.connect();
    stream.write_all(&request(line, &[&authorization(door, "operate")], "")).unwrap();
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    stream
}

/// The answers to downloads while there is one slot, which `stalled` holds, until there is one again.
fn until_the_slot_is_free(door: &Door) -> Vec<Reply> {
    let replies = (0..20_000).map(|_| file(door, "app.html"));
    let (refused, served): (Vec<Reply>, Vec<Reply>) = replies
        .scan(false, |over, reply| (!std::mem::replace(over, reply.status == 200)).then_some(reply))
        .partition(|reply| reply.status == 503);
    assert_eq!(served.len(), 1);
    refused
}

#[test]
fn the_kernel_gives_up_what_a_client_does_not_take() {
    let (delivery, body_patience) = (Duration::from_millis(300), Duration::from_secs(3600));
    let door = Door::with(Limits { downloads: 1, delivery, body_patience, ..Limits::DEFAULT });
    let stalled = stall(&door, "GET /api/backup/2026/files/large");
    until_the_slot_is_free(&door);
    drop(stalled);
}

#[test]
fn files_are_handed_out_to_a_bounded_number_and_not_for_ever_to_who_does_not_take_them() {
    let door = Door::with(Limits { downloads: 1, body_patience: Duration::from_millis(100), ..Limits::DEFAULT });
    let mut stalled = stall(&door, "GET /api/backup/2026/files/large");
    for reply in until_the_slot_is_free(&door) {
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let mut rest = Vec::new();
    let _ = stalled.read_to_end(&mut rest);
    assert!(rest.len() < 64 << 20, "it was cut off");
}

fn happen(door: &Door, count: usize) {
    for number in 0..count {
        let details = json!({ "number": number, "line": "a\nb" }).as_object().unwrap().clone();
        door.fake.feed().publish(&Entry {
            timestamp: DateTime::UNIX_EPOCH,
            event: "BackupStarted",
            actor: "archiver",
            principal: "scheduler".to_owned(),
            set: None,
            backup_id: None,
            outcome: Outcome::Info,
            details,
            correlation_id: "c".to_owned(),
        });
    }
}

/// Somebody who follows, past the head and the first sign of life.
struct Follower(BufReader<TcpStream>);

impl Follower {
    fn new(door: &Door, headers: &[&str]) -> Self {
        let mut stream = door.connect();
        stream.write_all(&request("GET /api/events", headers, "")).unwrap();
        let mut lines = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(lines.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: text/event-stream\r\n"), "{head}");
        let mut new = Self(lines);
        assert_eq!(new.next(), ": live\n\n");
        new
    }

    /// The next event, or comment; nothing at the end.
    fn next(&mut self) -> String {
        let mut size = String::new();
        self.0.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.0.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        String::from_utf8(chunk).unwrap()
    }
}

fn id(event: &str) -> &str {
    event.lines().find_map(|line| line.strip_prefix("id: ")).unwrap()
}

#[test]
fn what_happens_is_told_as_it_happens_and_who_comes_again_goes_on_where_it_was() {
    let door = Door::open();
    let mut follower = Follower::new(&door, &[]);
    happen(&door, 3);
    let events = [follower.next(), follower.next(), follower.next()];
    for (number, event) in events.iter().enumerate() {
        let [id, name, data] = event.trim_end().lines().collect::<Vec<_>>()[..] else { panic!("{event}") };
        assert!(id.starts_with("id: ") && name == "event: BackupStarted", "{event}");
        let data: serde_json::Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&data["event"], &data["details"]["number"]), (&"BackupStarted".into(), &number.into()));
    }
    let mut again = Follower::new(&door, &[&format!("Last-Event-ID: {}", id(&events[0]))]);
    assert_eq!([again.next(), again.next()], events[1..]);

    let mut stranger = Follower::new(&door, &["Last-Event-ID: of-an-earlier-process"]);
    let gap = stranger.next();
    assert!(gap.ends_with("event: gap\ndata: {\"missed\":null}\n\n"), "{gap}");
    assert_eq!([stranger.next(), stranger.next(), stranger.next()], events);

    door.fake.feed().close();
    assert_eq!([follower.next(), again.next(), stranger.next()], ["", "", ""]);
}

#[test]
fn who_hears_nothing_hears_that_it_is_alive_and_followers_are_bounded() {
    let limits = Limits { followers: 1, heartbeat: Duration::from_millis(20), ..Limits::DEFAULT };
    let door = Door::with(limits);
    let mut follower = Follower::new(&door, &[]);
    assert_eq!([follower.next(), follower.next()], [": alive\n\n", ": alive\n\n"]);
    let reply = door.get("/api/events");
    reply.problem(ProblemKind::Unavailable);
    assert_eq!(reply.header("retry-after"), Some("1"));
}

#[test]
fn a_page_of_another_site_cannot_follow_and_head_follows_nothing() {
    let door = Door::open();
    let bytes = b"GET /api/events HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    door.raw(bytes).problem(ProblemKind::Forbidden);
    let head = door.send("HEAD /api/events", &[], "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
}
