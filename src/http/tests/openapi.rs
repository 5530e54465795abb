//! The document, held against what is answered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::limits::Limits;
use super::Door;
use crate::api::ProblemKind;

fn document(door: &Door) -> Value {
    let reply = door.get("/api/openapi.json");
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    reply.json()
}

/// Every call of the document: method, path, description.
fn calls(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, call)| (method.to_uppercase(), path.clone(), call.clone()))
    });
    calls.collect()
}

/// Every `$ref` in it.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
            Some(target) if name == "$ref" => drop(found.insert(target.to_owned())),
            _ => references(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_refers_to_nothing_that_it_does_not_have_and_has_nothing_that_nobody_refers_to() {
    let document = document(&Door::open());
    assert_eq!(document["openapi"], "3.1.0");
    let mut referred = BTreeSet::new();
    references(&document, &mut referred);
    let mut defined = BTreeSet::new();
    for kind in ["schemas", "responses"] {
        let names = document["components"][kind].as_object().unwrap().keys();
        defined.extend(names.map(|name| format!("#/components/{kind}/{name}")));
    }
    assert_eq!(referred, defined);
}

#[test]
fn every_call_says_how_every_problem_before_it_is_understood_is_answered() {
    let document = document(&Door::open());
    let mut ids = BTreeSet::new();
    for (method, path, call) in calls(&document) {
        assert!(ids.insert(call["operationId"].as_str().unwrap().to_owned()), "{method} {path}: its id is another's");
        for status in [400, 401, 403, 408, 413, 429, 500, 503] {
            assert!(call["responses"][status.to_string()].is_object(), "{method} {path}: {status}");
        }
    }
}

#[test]
fn every_call_of_the_document_is_answered_as_it_says() {
    let door = Door::open();
    // It would be followed for ever.
    door.fake.feed().close();
    let begun = door.send("POST /api/backup/security", &["Prefer: respond-async"], "");
    let authorization = format!("Authorization: Bearer {}", super::tokens::token(&door, "operate"));
    let digest = format!("{{\"digest\":\"{}\"}}", "0".repeat(64));
    let calls = calls(&document(&door));
    assert!(calls.len() > 25);
    for (method, path, call) in calls {
        let path = path.replace("/api/jobs/{id}", begun.header("location").unwrap());
        let set_or_id = if method == "POST" { "logs" } else { "2026" };
        let path = path
            .replace("{set}", "security")
            .replace("{set_or_id}", set_or_id)
            .replace("{id}", "2026")
            .replace("{name}", "app.json");
        let body = if path.ends_with("/apply") { digest.as_str() } else { "" };
        let reply = door.send(&format!("{method} {path}"), &[&authorization], body);
        assert!(reply.status < 300, "{method} {path}: {reply:?}");
        let media_type = reply.header("content-type").unwrap().split(';').next().unwrap().to_owned();
        let documented = &call["responses"][reply.status.to_string()]["content"][&media_type];
        assert!(documented.is_object(), "{method} {path}: {media_type} is not in the document");
    }
}

#[test]
fn what_may_be_preferred_is_in_the_document_of_every_call_that_heeds_it() {
    let document = document(&Door::open());
    let longest = format!("at most {}", Limits::DEFAULT.longest_wait.as_secs());
    for (method, path, call) in calls(&document) {
        let parameters = call["parameters"].as_array().cloned().unwrap_or_default();
        let prefer = parameters.iter().find(|parameter| parameter["name"] == "Prefer");
        let told = prefer.map(|prefer| prefer["description"].as_str().unwrap());
        assert_eq!(
            told.is_some_and(|told| told.contains("respond-async")),
            call["responses"]["202"].is_object(),
            "{path}"
        );
        assert_eq!(
            told.is_some_and(|told| told.contains("wait=N") && told.contains(&longest)),
            told.is_some(),
            "{path}"
        );
        assert!(told.is_some() || (method, path.as_str()) != ("GET".into(), "/api/jobs/{id}"));
    }
}

#[test]
fn every_type_of_problem_is_in_the_readme_with_what_to_do() {
    let page = include_str!("../README.md");
    let told: Vec<&str> = page.lines().filter(|line| line.starts_with("| `urn:fiovana:problem:")).collect();
    let row =
        |kind: &ProblemKind| format!("| `{}` | {} | {} | {} |", kind.urn(), kind.status(), kind.title(), kind.advice());
    assert_eq!(told, ProblemKind::ALL.iter().map(row).collect::<Vec<_>>());
}
