//! Every route in every spelling, asked for by who has no right to it.
//!
//! Hazard: a route that answers to a spelling which the check of rights does not know. The routes come from the table
//! that they are registered from, so a new one is tried, too.

use std::collections::BTreeSet;

use actix_web::http::Method;

use super::super::auth::Need;
use super::super::routes::calls;
use super::fake::{Fake, ID};
use super::tokens::token;
use super::{Door, Reply, STRANGER};
use crate::api::ProblemKind;

/// A call of the table: method, path with something in each place, need, body.
struct Asked {
    method: Method,
    path: String,
    need: Need,
    body: String,
}

fn asked() -> Vec<Asked> {
    let all = calls::<Fake>().into_iter().map(|call| {
        let set_or_id = if call.method == Method::POST { "security" } else { ID };
        let path = call.path.replace("{set_or_id}", set_or_id).replace("{set}", "security");
        let id = if call.path.starts_with("/api/jobs/") { "0123456789abcdef" } else { ID };
        let path = path.replace("{id}", id).replace("{name:.+}", "conf.d/app.json");
        assert!(!path.contains('{'), "{path}: say what stands there");
        let body = if call.needs_body { format!("{{\"digest\":\"{}\"}}", "0".repeat(64)) } else { String::new() };
        Asked { method: call.method, path, need: call.need, body }
    });
    all.collect()
}

fn escape(text: &str, pick: impl Fn(usize, char) -> bool) -> String {
    let escaped = text.chars().enumerate().map(|(at, character)| match pick(at, character) {
        true => format!("%{:02x}", u32::from(character)),
        false => character.to_string(),
    });
    escaped.collect()
}

/// The same escapes in capital digits.
fn capital_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |whole, part| {
        let (digits, rest) = part.split_at(2);
        whole + "%" + &digits.to_uppercase() + rest
    })
}

/// The path as a router, a proxy or a filesystem somewhere might take for the same.
fn spellings(path: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut last_of_segment = 0;
    for (at, character) in path.char_indices() {
        // One character of each segment: its second, which is no slash.
        if character == '/' {
            last_of_segment = at;
        } else if at == last_of_segment + 1 {
            let once = escape(path, |here, _| here == at);
            all.extend([capital_escapes(&once), once.replace('%', "%25"), once.replace('%', "%2525"), once]);
        }
    }
    let (letters, everything) =
        (escape(path, |_, character| character != '/'), escape(path, |at, character| at > 0 || character != '/'));
    all.extend([letters.replace('%', "%25"), capital_escapes(&letters), letters, everything]);
    for slash in ["//", "/./", "/../", "/x/../", "/%2e/", "/%2e%2e/", "/;/", "/;x=y/", "\\", "/\\", "%2f", "%2F", "%5c"]
    {
        all.insert(path.replace('/', slash));
        all.insert(format!("/{}", path[1..].replace('/', slash)));
        let (before, last) = path.rsplit_once('/').unwrap();
        all.insert(format!("{before}{slash}{last}"));
    }
    for head in ["/.", "/..", "/%2e", "/x/..", "/api/..", "//localhost", "/healthz/..", "/healthz/../..", "/;"] {
        all.insert(format!("{head}{path}"));
    }
    for tail in [
        "/", "//", "/.", "/..", "%2f", ".", "..", ";", ";x=y", "%20", "+", "%00", "%0a", "?", "?x=y", "#", "#x", "%3f",
        "%23", "/%2e", "~", "*",
    ] {
        all.insert(format!("{path}{tail}"));
    }
    all.insert(path.to_uppercase());
    all.insert(path.replace('a', "A"));
    all.insert(path.replace("/api", "/Api"));
    for letter in ['a', 'e', 'i'] {
        // Full width, what decodes to it in ISO 8859-1, in two bytes where one would do, and as IIS once had it.
        all.insert(path.replace(letter, &format!("%EF%BD%{:02X}", 0x80 + (letter as u32 - 0x60))));
        all.insert(path.replace(letter, &format!("%c1%{:02x}", 0x80 + (letter as u32 & 0x3f))));
        all.insert(path.replace(letter, &format!("%u00{:02x}", letter as u32)));
    }
    let mut absolute = BTreeSet::new();
    for spelling in all.iter().chain([&path.to_owned()]) {
        absolute.insert(format!("http://localhost:8080{spelling}"));
    }
    for host in ["http://evil.example", "HTTP://LOCALHOST", "https://127.0.0.1:1", "http://user@localhost", "http:"] {
        absolute.insert(format!("{host}{path}"));
    }
    all.extend(absolute);
    all.insert(path.to_owned());
    all
}

/// Asks for every call in every spelling. Where it is answered with success, `may` says whether that was right.
fn try_everything(door: &Door, headers: &[&str], may: impl Fn(Need) -> bool) {
    // It would be followed for ever.
    door.fake.feed().close();
    let allowed: Vec<(Method, String)> =
        asked().into_iter().filter(|call| may(call.need)).map(|call| (call.method, call.path)).collect();
    let mut tried = 0;
    for call in asked() {
        for spelling in spellings(&call.path) {
            tried += 1;
            let reply = door.send(&format!("{} {spelling}", call.method), headers, &call.body);
            if reply.status >= 400 {
                is_told(&reply, &spelling);
                continue;
            }
            let target = spelling.split(['?', '#']).next().unwrap_or_default();
            let read = target.split_once("://").map_or(target, |(_, rest)| rest.find('/').map_or("", |at| &rest[at..]));
            let is_allowed = allowed.iter().any(|(method, path)| *method == call.method && path == read);
            assert!(is_allowed, "{} {spelling}: {reply:?}", call.method);
        }
    }
    assert!(tried > asked().len() * 100, "{tried} were tried");
}

/// A refusal is a problem, unless the parser itself could make nothing of the target.
fn is_told(reply: &Reply, spelling: &str) {
    let kinds = [400, 401, 403, 404, 405];
    assert!(kinds.contains(&reply.status), "{spelling}: {reply:?}");
    let is_problem = reply.header("content-type") == Some("application/problem+json");
    assert!(is_problem || reply.status == 400 && reply.body.is_empty(), "{spelling}: {reply:?}");
}

#[test]
fn content_has_no_spelling_in_which_it_needs_no_token() {
    let door = Door::open();
    try_everything(&door, &[], |need| need != Need::Content);
    let mut shown = door.fake.calls();
    shown.retain(|call| call.starts_with("download") || call.starts_with("diff"));
    assert!(shown.is_empty(), "{shown:?}");
}

#[test]
fn a_stranger_on_this_machine_has_no_more_than_an_overview_in_any_spelling() {
    let door = Door::open().called_by(STRANGER);
    try_everything(&door, &[], |need| matches!(need, Need::Nothing | Need::Overview));
    let overview = ["list ", "status", "metrics"];
    let mut done = door.fake.calls();
    done.retain(|call| !overview.iter().any(|look| call.starts_with(look)));
    assert!(done.is_empty(), "{done:?}");
}

#[test]
fn off_loopback_nothing_has_a_spelling_in_which_it_needs_no_token() {
    let door = Door::off_loopback();
    try_everything(&door, &[], |need| need == Need::Nothing);
    assert!(door.fake.calls().is_empty(), "{:?}", door.fake.calls());
}

#[test]
fn a_token_to_look_with_changes_and_shows_nothing_in_any_spelling() {
    for door in [Door::open(), Door::off_loopback()] {
        let header = format!("Authorization: Bearer {}", token(&door, "read"));
        let looks = [Need::Nothing, Need::Overview, Need::Details];
        try_everything(&door, &[&header], |need| looks.contains(&need));
        let looked =
            ["list ", "show ", "status", "metrics", "recovery", "prune plan", "timelines", "audit ", "follow "];
        let mut done = door.fake.calls();
        done.retain(|call| !looked.iter().any(|look| call.starts_with(look)));
        assert!(done.is_empty(), "{done:?}");
    }
}

#[test]
fn every_call_is_answered_in_its_own_spelling_to_who_may_have_it() {
    for door in [Door::open(), Door::off_loopback()] {
        door.fake.feed().close();
        let header = format!("Authorization: Bearer {}", token(&door, "operate"));
        for call in asked() {
            let reply = door.send(&format!("{} {}", call.method, call.path), &[&header], &call.body);
            let is_no_job = call.path.starts_with("/api/jobs/") && reply.status == 404;
            assert!(reply.status < 300 || is_no_job, "{} {}: {reply:?}", call.method, call.path);
        }
    }
}

#[test]
fn a_target_that_escapes_what_never_needs_it_is_400_whoever_asks() {
    for door in [Door::open(), Door::off_loopback()] {
        let header = format!("Authorization: Bearer {}", token(&door, "operate"));
        for headers in [&[][..], &[header.as_str()]] {
            for path in [
                &format!("/api/backup/{ID}/%66iles/security_config.json"),
                &format!("/api/backup/{ID}/d%69ff"),
                &format!("/api/backup/{ID}/files/security%5Fconfig.json"),
                "/%68ealthz",
                "/api/backup/list?set=%73ecurity",
                "/nowhere/%41",
            ] {
                let problem = door.send(&format!("GET {path}"), headers, "").problem(ProblemKind::BadRequest);
                assert!(problem.detail.contains("without %XX"), "{path}: {}", problem.detail);
            }
        }
        assert!(door.fake.calls().is_empty(), "{:?}", door.fake.calls());
    }
}

#[test]
fn what_no_route_claims_needs_the_right_to_change_something() {
    let door = Door::off_loopback();
    let [read, operate] = ["read", "operate"].map(|right| format!("Authorization: Bearer {}", token(&door, right)));
    for line in ["GET /nowhere", "GET /", "POST /nowhere", "DELETE /api/status", "GET /api/recovery/enter"] {
        door.send(line, &[], "").problem(ProblemKind::Unauthorized);
        door.send(line, &[&read], "").problem(ProblemKind::Forbidden);
        assert!(matches!(door.send(line, &[&operate], "").status, 404 | 405), "{line}");
    }
}
