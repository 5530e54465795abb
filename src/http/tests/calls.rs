//! Every call, as the procedures write it.

use crate::api::{
    ApplyOutcome, BackupDetails, BackupList, DrillOutcome, ModeDocument, PlanDocument, ProblemKind, RecoveryDocument,
    RestoreOutcome, Status, VerifyOutcome,
};

use super::fake::ID;
use super::{Door, Reply};

#[track_caller]
fn document<T: serde::de::DeserializeOwned>(reply: &Reply) -> T {
    assert_eq!(reply.header("content-type"), Some("application/json"), "{reply:?}");
    assert!(reply.body.ends_with("}\n"), "a prompt would follow on the same line: {reply:?}");
    serde_json::from_value(reply.json()).unwrap()
}

#[test]
fn every_call_of_the_procedures_works_as_it_is_written() {
    let door = Door::open();
    for set in ["security", "application", "logs"] {
        assert_eq!(door.post(&format!("/api/backup/{set}")).status, 201);
    }
    assert_eq!(door.get("/api/backup/list").status, 200);
    assert_eq!(door.get(&format!("/api/backup/{ID}")).status, 200);
    for set in ["security", "application"] {
        assert_eq!(door.post(&format!("/api/recovery/{set}/{ID}")).status, 200);
    }
    let asked = [
        "backup security".to_owned(),
        "backup application".to_owned(),
        "backup logs".to_owned(),
        "list None None None".to_owned(),
        format!("show {ID}"),
        format!("restore security {ID} None false"),
        format!("restore application {ID} None false"),
    ];
    assert_eq!(door.fake.calls(), asked);
}

#[test]
fn a_backup_that_was_made_is_201_and_says_where_it_is() {
    let door = Door::open();
    let reply = door.post("/api/backup/security");
    let backup: BackupDetails = document(&reply);
    assert_eq!(reply.header("location"), Some(format!("/api/backup/{}", backup.summary.id).as_str()));
    let found: BackupDetails = document(&door.get(reply.header("location").unwrap()));
    assert_eq!(found, backup);
}

#[test]
fn a_list_is_asked_for_by_set_limit_and_place() {
    let door = Door::open();
    let list: BackupList = document(&door.get(&format!("/api/backup/list?set=security&limit=5&after={ID}")));
    assert_eq!(list.backups.len(), 1);
    assert_eq!(door.fake.calls(), [format!("list Some(\"security\") Some(5) Some(\"{ID}\")")]);
}

#[test]
fn a_drill_is_held_by_the_name_of_its_set() {
    let door = Door::open();
    let _: DrillOutcome = document(&door.post("/api/drill/security"));
    assert_eq!(door.post("/api/drill/Not%20a%20set").status, 400);
    assert_eq!(door.fake.calls(), ["drill security"]);
}

#[test]
fn a_backup_is_verified_by_any_reference() {
    let door = Door::open();
    let _: VerifyOutcome = document(&door.post(&format!("/api/backup/{ID}/verify")));
    let _: VerifyOutcome = document(&door.post("/api/backup/202611/verify"));
    assert_eq!(door.fake.calls(), [format!("verify {ID}"), "verify 202611".to_owned()]);
}

#[test]
fn a_restore_takes_latest_and_options() {
    let door = Door::open();
    let body = r#" {"file": "security_config.json", "replace_logs": true}"#;
    let outcome: RestoreOutcome = document(&door.send("POST /api/recovery/security/latest", &[], body));
    assert_eq!(outcome.set.as_str(), "security");
    assert_eq!(door.fake.calls(), ["restore security latest Some(\"security_config.json\") true"]);
}

#[test]
fn a_body_is_read_as_json_whatever_it_is_called() {
    let door = Door::open();
    // What `curl -d` says.
    let form = "Content-Type: application/x-www-form-urlencoded";
    let reply = door.send("POST /api/recovery/security/latest", &[form], r#"{"file":"a"}"#);
    assert_eq!(reply.status, 200);
    let chunked = "POST /api/recovery/security/latest HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n4\r\n{\"fi\r\n8\r\nle\":\"b\"}\r\n0\r\n\r\n";
    assert_eq!(door.raw(chunked.as_bytes()).status, 200);
    assert_eq!(
        door.fake.calls(),
        ["restore security latest Some(\"a\") false", "restore security latest Some(\"b\") false"]
    );
}

#[test]
fn a_plan_is_asked_for_and_applied_by_its_digest() {
    let door = Door::open();
    let body = r#"{"sets":["security"],"at":"2026-11-23T10:15:00Z"}"#;
    let plan: PlanDocument = document(&door.send("POST /api/recovery/plan", &[], body));
    assert_eq!(plan.asked.sets, ["security"]);
    let digest = plan.digest;
    let body = format!("{{\"digest\":\"{digest}\",\"ignore_ownership\":true}}");
    let outcome: ApplyOutcome = document(&door.send("POST /api/recovery/apply", &[], &body));
    assert_eq!(outcome.plan, digest);
    let calls = ["plan [\"security\"] Some(2026-11-23T10:15:00Z)".to_owned(), format!("apply Some({digest}) true")];
    assert_eq!(door.fake.calls(), calls);
    for (path, body) in [
        ("plan", r#"{"set":"security"}"#),
        ("plan", r#"{"at":"yesterday"}"#),
        ("apply", r#"{"digest":"abc"}"#),
        ("plan/security", ""),
    ] {
        let reply = door.send(&format!("POST /api/recovery/{path}"), &[], body);
        reply.problem(ProblemKind::BadRequest);
    }
}

#[test]
fn recovery_mode_is_shown_entered_and_left() {
    let door = Door::open();
    assert_eq!(document::<RecoveryDocument>(&door.get("/api/recovery")).mode.name, "normal");
    assert_eq!(document::<ModeDocument>(&door.post("/api/recovery/enter")).name, "recovery");
    assert_eq!(document::<ModeDocument>(&door.post("/api/recovery/exit")).name, "normal");
    let losses = r#"{"acknowledge":["logs/error.log","app_config.json"]}"#;
    assert_eq!(door.send("POST /api/recovery/exit", &[], losses).status, 200);
    assert_eq!(door.fake.calls(), ["recovery", "enter", "exit []", "exit [\"logs/error.log\", \"app_config.json\"]"]);
}

#[test]
fn status_metrics_and_health_are_told() {
    let door = Door::open();
    assert_eq!(document::<Status>(&door.get("/api/status")).version, "0.1.0");
    let metrics = door.get("/metrics");
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "fiovana_mode 1\n"));
    assert_eq!(metrics.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(door.get("/healthz").body, "ok\n");
    assert_eq!(door.get("/readyz").body, "ready\n");
}

#[test]
fn who_is_not_ready_says_why_and_is_still_alive() {
    let door = Door::open();
    door.fake.make_unready("mode recovery: run fiovana-app recover");
    let reply = door.get("/readyz");
    assert_eq!(reply.problem(ProblemKind::Unavailable).detail, "mode recovery: run fiovana-app recover");
    assert_eq!(door.get("/healthz").status, 200);
}

#[test]
fn who_is_stuck_is_not_alive_and_says_in_what() {
    let door = Door::open();
    door.fake.make_unwell("the supervisor has not answered for 21 s");
    let reply = door.get("/healthz");
    assert_eq!(reply.problem(ProblemKind::Unavailable).detail, "the supervisor has not answered for 21 s");
    assert_eq!(door.get("/readyz").status, 200);
}

#[test]
fn head_is_get_without_the_body() {
    let door = Door::open();
    for path in ["/healthz", "/api/backup/list", "/api/status"] {
        let (get, head) = (door.get(path), door.send(&format!("HEAD {path}"), &[], ""));
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), get.header("content-length"));
    }
}

#[test]
fn an_operation_knows_who_asked_for_it() {
    let door = Door::open();
    let reply = door.post("/api/backup/security");
    let caller = door.fake.caller();
    assert_eq!(caller.principal, "uid:998");
    assert_eq!(reply.header("x-request-id"), Some(caller.correlation_id.as_str()));
    assert!(caller.correlation_id.len() == 32 && caller.correlation_id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert_ne!(door.post("/api/backup/security").header("x-request-id"), Some(caller.correlation_id.as_str()));
}

#[test]
fn a_request_id_is_taken_over_if_it_can_stand_in_a_log() {
    let door = Door::open();
    let longest = "x".repeat(64);
    for id in ["a", "Ticket-7.b_2", &longest] {
        let reply = door.send("POST /api/backup/security", &[&format!("X-Request-Id: {id}")], "");
        assert_eq!(reply.header("x-request-id"), Some(id));
        assert_eq!(door.fake.caller().correlation_id, id);
    }
    let too_long = "x".repeat(65);
    for id in ["", "a b", "a\"b", "é", "a/b", &too_long] {
        let reply = door.send("GET /healthz", &[&format!("X-Request-Id: {id}")], "");
        assert_eq!(reply.header("x-request-id").map(str::len), Some(32), "{id}");
    }
    let reply = door.send("GET /healthz", &["X-Request-Id: a", "X-Request-Id: b"], "");
    assert_eq!(reply.header("x-request-id").map(str::len), Some(32));
}

#[test]
fn no_answer_is_kept_or_guessed_at() {
    let door = Door::open();
    for path in ["/api/status", "/metrics", "/healthz", "/api/backup/xyz", "/nowhere"] {
        let reply = door.get(path);
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(reply.header("x-request-id").is_some(), "{path}");
    }
}

#[test]
fn requests_are_counted_by_the_pattern_they_matched() {
    let door = Door::open();
    door.post("/api/backup/security");
    door.get(&format!("/api/backup/{ID}"));
    door.send("DELETE /api/status", &[], "");
    door.get("/api/backup/list?limit=x");
    door.get("/wp-login.php");
    door.send("MAKEUP1 /metrics", &[], "");
    door.raw(b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    let counted = [
        ("/api/backup/{set_or_id}", "POST", 201),
        ("/api/backup/{set_or_id}", "GET", 200),
        ("/api/status", "DELETE", 405),
        ("/api/backup/list", "GET", 400),
        ("unmatched", "GET", 404),
        ("/metrics", "other", 405),
        ("/healthz", "GET", 403),
    ];
    let counted = counted.map(|(route, method, status)| (route.to_owned(), method.to_owned(), status));
    assert_eq!(door.observed(), counted);
}
