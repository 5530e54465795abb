//! Users of this machine, known and not.
//!
//! Hazard: another user of the machine, to whom the port is as near as to root.

use super::super::auth::{Need, Rule};
use super::super::limits::Limits;
use super::super::routes::calls;
use super::fake::{Fake, ID};
use super::tokens::token;
use super::{Door, LOOPBACK, OWN, STRANGER, TRUSTED};
use crate::api::ProblemKind;

fn rejected(door: &Door) -> usize {
    door.observed.1.lock().unwrap().len()
}

#[test]
fn users_who_are_known_need_no_token_for_what_is_documented_and_are_named_in_the_log() {
    for user in [0, OWN, TRUSTED] {
        let door = Door::open().called_by(user);
        for line in [
            "POST /api/backup/security",
            "POST /api/recovery/security/latest",
            "POST /api/recovery/enter",
            "POST /api/prune",
            "POST /api/clock/accept",
            "GET /api/backup/list",
            &format!("GET /api/backup/{ID}"),
            "GET /api/audit",
        ] {
            assert!(door.send(line, &[], "").status < 300, "{user}: {line}");
        }
        assert_eq!(door.fake.caller().principal, format!("uid:{user}"));
        let problem = door.get(&format!("/api/backup/{ID}/files/app.json")).problem(ProblemKind::Unauthorized);
        assert!(problem.detail.contains("the content of files needs a token"), "{}", problem.detail);
        assert_eq!(rejected(&door), 0);
    }
}

#[test]
fn everybody_else_may_look_at_status_and_lists_and_needs_a_token_for_the_rest() {
    for user in [STRANGER, 65_534, u32::MAX] {
        let door = Door::open().called_by(user);
        for path in ["/api/status", "/api/backup/list", "/metrics", "/healthz", "/readyz", "/api/openapi.json"] {
            assert_eq!(door.get(path).status, 200, "{user}: {path}");
        }
        let looked = door.fake.calls();
        for call in calls::<Fake>() {
            if matches!(call.need, Need::Nothing | Need::Overview) {
                continue;
            }
            let path = call.path.replace("{name:.+}", "app.json").replace(['{', '}'], "");
            let reply = door.send(&format!("{} {path}", call.method), &[], "");
            let detail = reply.problem(ProblemKind::Unauthorized).detail;
            let file = door.directory.path().join("api-tokens").display().to_string();
            assert!(detail.contains("sudo -u fiovana curl") && detail.contains(&file), "{path}: {detail}");
            let is_content = call.need == Need::Content;
            assert!(detail.contains("[http].trusted_users") != is_content, "{path}: {detail}");
        }
        assert_eq!(door.fake.calls(), looked);

        let operate = format!("Authorization: Bearer {}", token(&door, "operate"));
        assert_eq!(door.send("POST /api/backup/security", &[&operate], "").status, 201);
        assert_eq!(door.fake.caller().principal, "token:cli");
    }
}

#[test]
fn without_open_reading_strangers_see_that_the_service_lives_and_no_more() {
    let door = Door::serving(Limits::DEFAULT, LOOPBACK, Rule::Loopback { open_reading: false }).called_by(STRANGER);
    assert_eq!((door.get("/healthz").status, door.get("/readyz").status), (200, 200));
    for path in ["/api/status", "/api/backup/list", "/metrics", "/api/openapi.json", "/nowhere"] {
        door.get(path).problem(ProblemKind::Unauthorized);
    }
    let read = format!("Authorization: Bearer {}", token(&door, "read"));
    assert_eq!(door.send("GET /api/status", &[&read], "").status, 200);
    let door = door.called_by(TRUSTED);
    assert_eq!(door.get("/api/status").status, 200);
}

#[test]
fn what_strangers_try_is_recorded_ten_times_a_minute_and_what_they_look_at_is_not() {
    let door = Door::open().called_by(STRANGER);
    door.get("/api/status");
    door.get("/api/audit").problem(ProblemKind::Unauthorized);
    assert_eq!(rejected(&door), 0);
    for _ in 0..20 {
        // Told every time how it is done.
        door.post("/api/recovery/enter").problem(ProblemKind::Unauthorized);
    }
    assert_eq!(rejected(&door), 10);
    // Another one is counted apart.
    let door = door.called_by(STRANGER + 1);
    door.get(&format!("/api/backup/{ID}/diff")).problem(ProblemKind::Unauthorized);
    assert_eq!(rejected(&door), 11);
}

#[test]
fn the_wrong_tokens_of_one_user_are_not_held_against_another() {
    let door = Door::open().called_by(STRANGER);
    let wrong = ["Authorization: Bearer wrong"];
    for _ in 0..10 {
        door.send("GET /api/status", &wrong, "").problem(ProblemKind::Unauthorized);
    }
    door.send("GET /api/status", &wrong, "").problem(ProblemKind::TooManyRequests);
    let door = door.called_by(0);
    door.send("GET /api/status", &wrong, "").problem(ProblemKind::Unauthorized);
}

#[test]
fn whom_a_proxy_speaks_for_is_a_stranger() {
    let door = Door::open().called_by(0);
    for header in
        ["Forwarded: for=10.0.0.7", "X-Forwarded-For: 127.0.0.1", "X-Real-IP: 10.0.0.7", "Via: 1.1 proxy", "via:"]
    {
        door.send("POST /api/backup/security", &[header], "").problem(ProblemKind::Unauthorized);
    }
    assert!(door.fake.calls().is_empty());
}
