//! Tokens, as they are presented.

use super::fake::ID;
use super::{Door, Reply};
use crate::api::ProblemKind;

/// The token with this right in the door's own file.
pub fn token(door: &Door, right: &str) -> String {
    let text = std::fs::read_to_string(door.directory.path().join("api-tokens")).unwrap();
    let line = text.lines().find(|line| line.starts_with(right)).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

fn get_as(door: &Door, authorization: &str) -> Reply {
    door.send("GET /api/status", &[&format!("Authorization: {authorization}")], "")
}

#[test]
fn a_token_gives_the_caller_its_name() {
    let door = Door::open();
    let header = format!("Authorization: bearer {}", token(&door, "operate"));
    assert_eq!(door.send("POST /api/backup/security", &[&header], "").status, 201);
    assert_eq!(door.fake.caller().principal, "token:cli");
}

#[test]
fn a_token_that_is_nobodys_is_refused_even_where_none_is_needed() {
    let door = Door::open();
    assert_eq!(door.get("/api/status").status, 200);
    let reply = get_as(&door, "Bearer nonsense");
    reply.problem(ProblemKind::Unauthorized);
    assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
    assert_eq!(*door.observed.1.lock().unwrap(), [reply.header("x-request-id").unwrap()]);
    for other in ["nonsense", "Basic dXNlcjpwYXNz", "", "Bearer"] {
        get_as(&door, other).problem(ProblemKind::Unauthorized);
    }
    let good = format!("Authorization: Bearer {}", token(&door, "operate"));
    door.send("GET /api/status", &[&good, &good], "").problem(ProblemKind::Unauthorized);
    assert_eq!(door.fake.calls(), ["status"]);
}

#[test]
fn a_token_to_look_with_does_nothing() {
    let door = Door::open();
    let header = format!("Authorization: Bearer {}", token(&door, "read"));
    assert_eq!(door.send("GET /api/status", &[&header], "").status, 200);
    door.send("POST /api/backup/security", &[&header], "").problem(ProblemKind::Forbidden);
    assert_eq!(door.fake.calls(), ["status"]);
}

#[test]
fn after_ten_wrong_tokens_the_rest_is_only_turned_away_and_right_ones_still_pass() {
    let door = Door::open();
    for _ in 0..10 {
        get_as(&door, "Bearer wrong").problem(ProblemKind::Unauthorized);
    }
    let reply = get_as(&door, "Bearer wrong");
    reply.problem(ProblemKind::TooManyRequests);
    assert_eq!(reply.header("retry-after"), Some("60"));
    assert_eq!(door.observed.1.lock().unwrap().len(), 10);
    assert_eq!(get_as(&door, &format!("Bearer {}", token(&door, "read"))).status, 200);
}

#[test]
fn a_bearer_may_call_the_service_by_any_name() {
    let door = Door::open();
    let token = token(&door, "read");
    let call = |authorization: &str| {
        let head =
            format!("GET /api/status HTTP/1.1\r\nHost: backups.example\r\n{authorization}Connection: close\r\n\r\n");
        door.raw(head.as_bytes())
    };
    call("").problem(ProblemKind::Forbidden);
    assert_eq!(call(&format!("Authorization: Bearer {token}\r\n")).status, 200);
}

#[test]
fn while_the_file_cannot_be_used_nobody_is_believed() {
    let door = Door::open();
    let good = format!("Bearer {}", token(&door, "operate"));
    std::fs::remove_file(door.directory.path().join("api-tokens")).unwrap();
    get_as(&door, &good).problem(ProblemKind::Unavailable);
    assert_eq!(door.get("/api/status").status, 200);
}

#[test]
fn what_files_hold_is_shown_to_who_may_operate_and_to_nobody_else() {
    let door = Door::open();
    let path = format!("/api/backup/{ID}/diff");
    door.get(&path).problem(ProblemKind::Unauthorized);
    assert!(door.fake.calls().is_empty());
    let header = format!("Authorization: Bearer {}", token(&door, "operate"));
    for (query, after) in [("", "live"), ("?against=live", "live"), ("?against=2026", "2026")] {
        let reply = door.send(&format!("GET {path}{query}"), &[&header], "");
        assert_eq!((reply.status, &reply.json()["after"]), (200, &after.into()), "{query}");
    }
    let with_secrets = format!("{path}?show_secrets=true");
    door.get(&with_secrets).problem(ProblemKind::Unauthorized);
    let to_look = format!("Authorization: Bearer {}", token(&door, "read"));
    door.send(&format!("GET {with_secrets}"), &[&to_look], "").problem(ProblemKind::Forbidden);
    assert!(!door.fake.calls().contains(&"with secrets".to_owned()));
    assert_eq!(door.send(&format!("GET {with_secrets}"), &[&header], "").status, 200);
    assert!(door.fake.calls().contains(&"with secrets".to_owned()));
    assert_eq!(door.fake.caller().principal, "token:cli");
    for query in ["?against=../x", "?with=live", "?show_secrets=", "?show_secrets=1"] {
        door.send(&format!("GET {path}{query}"), &[&header], "").problem(ProblemKind::BadRequest);
    }
}
