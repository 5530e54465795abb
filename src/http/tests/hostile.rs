//! Requests that nobody sends by mistake.

use std::io::Write;

use crate::api::ProblemKind;

use super::fake::ID;
use super::tokens::token;
use super::{Door, Reply, request};

#[test]
fn no_encoding_of_a_path_leads_out_of_the_api() {
    let door = Door::open();
    for name in [
        "..",
        "../../etc/passwd",
        "%2e%2e",
        "%2E%2E%2Fetc%2Fpasswd",
        "..%2f..%2fetc%2fpasswd",
        "%252e%252e%252f",
        "..%5c..%5cwindows",
        "..\\..\\windows",
        "....//",
        "%2fetc%2fpasswd",
        "/etc/passwd",
        "%c0%ae%c0%ae%c0%af",
        "%u002e%u002e",
        "..;/",
        ".%00./",
        "security%00",
        "security%2f..",
        "security%0d%0aX-Evil:%201",
    ] {
        for (line, tail) in [
            ("GET /api/backup/", ""),
            ("POST /api/backup/", ""),
            ("POST /api/backup/", "/verify"),
            ("POST /api/recovery/", "/latest"),
            ("POST /api/recovery/security/", ""),
        ] {
            let reply = door.send(&format!("{line}{name}{tail}"), &[], "");
            assert!(matches!(reply.status, 400 | 404 | 405), "{line}{name}{tail}: {reply:?}");
            assert_eq!(reply.header("x-evil"), None);
        }
    }
    assert!(door.fake.calls().is_empty(), "{:?}", door.fake.calls());
}

#[test]
fn a_path_that_is_not_text_is_400() {
    let door = Door::open();
    for path in ["/api/backup/%ff", "/%c3%28", "/metrics%", "/api/backup/%zz", "/healthz?%fe", "/api/status%00"] {
        door.get(path).problem(ProblemKind::BadRequest);
    }
    // Raw bytes are refused by the parser itself, or by us.
    assert_eq!(door.raw(b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").status, 400);
}

#[test]
fn a_foreign_host_is_403_whatever_is_asked() {
    let door = Door::open();
    for host in
        ["evil.example", "evil.example:8080", "localhost.evil.example", "169.254.169.254", "[::2]", "user@localhost"]
    {
        for line in ["GET /api/status", "POST /api/backup/security", "GET /nowhere", "DELETE /api/status"] {
            let bytes = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            door.raw(bytes.as_bytes()).problem(ProblemKind::Forbidden);
        }
    }
    assert!(door.fake.calls().is_empty());
}

#[test]
fn every_own_name_at_any_port_is_let_in() {
    let door = Door::open();
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:65535", "[::1]"] {
        let bytes = format!("GET /api/status HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(door.raw(bytes.as_bytes()).status, 200, "{host}");
    }
}

#[test]
fn a_host_that_is_missing_or_not_one_is_400() {
    let door = Door::open();
    for hosts in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost\r\nHost: evil.example\r\n"] {
        let bytes = format!("GET /api/status HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        assert_eq!(door.raw(bytes.as_bytes()).status, 400, "{hosts}");
    }
    door.raw(b"GET /api/status HTTP/1.0\r\n\r\n").problem(ProblemKind::BadRequest);
    door.raw(b"GET /api/status HTTP/1.0\r\nHost: \xc3\xa9\r\n\r\n").problem(ProblemKind::BadRequest);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn an_absolute_target_cannot_smuggle_in_another_host() {
    let door = Door::open();
    door.get("http://evil.example/api/status").problem(ProblemKind::Forbidden);
    assert_eq!(door.get("http://localhost:8080/api/status").status, 200);
    let reply = door.send("CONNECT evil.example:443", &[], "");
    assert!((400..500).contains(&reply.status), "{reply:?}");
    assert_eq!(door.fake.calls(), ["status"]);
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let door = Door::open();
    let restore = format!("POST /api/recovery/security/{ID}");
    for header in [
        "Origin: http://evil.example",
        "Origin: https://evil.example:8080",
        "Origin: null",
        "Origin: ",
        "Origin: http://localhost:3000",
        "Origin: http://localhost:8080.evil.example",
        "Origin: http://localhost:8080, http://evil.example",
        "Origin: localhost:8080",
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-site",
        "Sec-Fetch-Site: Same-Origin",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
        "Origin: http://localhost:8080\r\nOrigin: http://evil.example",
        "Origin: http://localhost:8080\r\nSec-Fetch-Site: cross-site",
    ] {
        for line in [
            "POST /api/backup/security",
            restore.as_str(),
            "POST /api/recovery/exit",
            "DELETE /api/status",
            // Nothing that it could read, but a place among the followers, and how long an answer takes.
            "GET /api/events",
            "GET /api/prune",
        ] {
            door.send(line, &[header], "").problem(ProblemKind::Forbidden);
        }
    }
    let framed = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"];
    door.send("GET /api/events", &framed, "").problem(ProblemKind::Forbidden);
    let posted = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];
    door.send("POST /api/backup/security", &posted, "").problem(ProblemKind::Forbidden);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn own_pages_programs_and_readers_are_let_in() {
    let door = Door::open();
    for header in ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none", "A: b"] {
        assert_eq!(door.send("POST /api/backup/security", &[header], "").status, 201, "{header}");
    }
    // A page changes something only by a request that no form of another page can be.
    let origin = "Origin: http://localhost:8080";
    for meant in
        ["Content-Type: application/json", "Content-Type: Application/JSON; charset=utf-8", "X-Fiovana-Request: 1"]
    {
        assert_eq!(door.send("POST /api/backup/security", &[origin, meant], "").status, 201, "{meant}");
    }
    // Who follows a link reads what is there; the page with the link does not.
    let followed = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"];
    let reply = door.send("GET /api/status", &followed, "");
    assert_eq!(reply.status, 200);
    assert!(!reply.headers.iter().any(|(name, _)| name.starts_with("access-control")));
}

#[test]
fn what_a_form_could_have_sent_changes_nothing() {
    let door = Door::open();
    let origin = "Origin: http://localhost:8080";
    for form in [
        "A: b",
        "Content-Type: application/x-www-form-urlencoded",
        "Content-Type: multipart/form-data; boundary=x",
        "Content-Type: text/plain; application/json",
        "Content-Type: application/jsonp",
    ] {
        for line in ["POST /api/backup/security", "PUT /api/backup/1/pin", "POST /api/recovery/exit"] {
            door.send(line, &[origin, form], "").problem(ProblemKind::Forbidden);
        }
        // It only looks.
        assert_eq!(door.send("GET /api/status", &[origin, form], "").status, 200);
    }
    assert_eq!(door.fake.calls(), ["status"; 5]);
}

#[test]
fn an_oversize_body_is_413_before_it_was_sent() {
    let door = Door::open();
    for line in ["POST /api/backup/security", "GET /healthz", "POST /nowhere"] {
        let head =
            format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n");
        door.raw(head.as_bytes()).problem(ProblemKind::TooLarge);
    }
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_body_of_unknown_length_is_413_once_it_is_too_long() {
    let door = Door::open();
    let mut stream = door.connect();
    let head = "POST /api/backup/security HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [b"1000\r\n".as_slice(), &[b' '; 0x1000], b"\r\n"].concat();
    // It hangs up when it has had enough.
    for _ in 0..64 {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    Reply::read(&mut stream).problem(ProblemKind::TooLarge);
    assert!(door.fake.calls().is_empty());
}

#[test]
fn a_head_that_is_none_or_says_two_things_never_reaches_the_service() {
    let door = Door::open();
    let long = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(200));
    let length_twice = "POST /api/backup/security HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
                        Content-Length: 3\r\n\r\n{}";
    let length_and_chunks = "POST /api/backup/security HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\
                             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nPOST /api/backup/logs HTTP/1.1\r\n\r\n";
    let folded = "GET /healthz HTTP/1.1\r\nHost: local\r\n host\r\n\r\n";
    for bytes in
        ["\r\n\r\n\0\0\0", "nonsense\r\n\r\n", "GET\r\n\r\n", &long, &many, length_twice, length_and_chunks, folded]
    {
        let mut stream = door.connect();
        let _ = stream.write_all(bytes.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let reply = Reply::read(&mut stream);
        assert!((400..500).contains(&reply.status), "{:?}: {reply:?}", &bytes[..bytes.len().min(80)]);
    }
    assert!(door.fake.calls().is_empty(), "{:?}", door.fake.calls());
    assert_eq!(door.get("/healthz").status, 200);
}

#[test]
fn a_refused_request_leaves_nothing_behind_that_is_taken_for_the_next() {
    let door = Door::open();
    let hidden = "POST /api/backup/logs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    // Who has hung up by half when they are looked for is nobody that is known: this one has a token.
    let bearer = format!("Authorization: Bearer {}\r\n", token(&door, "operate"));
    let mut bytes =
        format!("POST /nowhere HTTP/1.1\r\nHost: localhost\r\n{bearer}Content-Length: {}\r\n\r\n", hidden.len());
    bytes.push_str(hidden);
    let mut stream = door.connect();
    stream.write_all(bytes.as_bytes()).unwrap();
    // Whoever hangs up by half before the answer begins may get none.
    assert_eq!(stream.peek(&mut [0]).unwrap(), 1);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    Reply::read(&mut stream).problem(ProblemKind::NotFound);
    assert!(door.fake.calls().is_empty());
    assert_eq!(door.raw(&request("GET /healthz", &[], "")).status, 200);
}
