//! The OpenAPI document against the running service, by Schemathesis: thousands of requests that the document allows, and
//! as many that it does not.
//!
//! Hazard: a document that was checked by those who wrote it promises what they meant, not what is answered.

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use common::{Installation, files};

/// Of two options only one may be given, and the document has no words for that.
const EXCEPTIONS: &str = r#"
[[operations]]
include-path = "/api/prune"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "5xx"]
"#;

/// Holds what was told live, an event's document a line, against what the document at the path that is its argument says
/// of it; prints the names of the events.
const JUDGE: &str = r#"
import json, sys, jsonschema_rs
document = json.load(open(sys.argv[1]))
told = document["paths"]["/api/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
schema = {**told["contentSchema"], "components": document["components"]}
validator = jsonschema_rs.validator_for(schema)
for line in sys.stdin:
    validator.validate(json.loads(line))
    print(json.loads(line)["event"])
"#;

/// A program of those that `tests/run` installs with Schemathesis.
fn installed(program: &str) -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
    let program = target.join("schemathesis/bin").join(program);
    assert!(program.exists(), "{} is missing: run tests/run, which installs it from PyPI", program.display());
    program
}

#[test]
fn no_request_is_answered_otherwise_than_the_document_says() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let text = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
    let token = text.lines().find_map(|line| line.strip_prefix("operate")).unwrap().split_whitespace().nth(1).unwrap();
    let examples = if common::long() { "300" } else { "10" };
    let seed = std::env::var("FIOVANA_SCHEMATHESIS_SEED").unwrap_or_else(|_| "20261123".to_owned());
    files::write(&installation.path("schemathesis.toml"), EXCEPTIONS);
    let mut command = Command::new(installed("schemathesis"));
    common::clear_environment(&mut command);
    command.current_dir(installation.root());
    command.args(["run", &format!("http://{}/api/openapi.json", daemon.authority())]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    // Events are followed for ever: see below.
    command.args(["--exclude-path", "/api/events", "--phases", "examples,coverage,fuzzing", "--warnings", "off"]);
    command.args(["--continue-on-failure", "--request-timeout", "60", "--max-examples", examples, "--seed", &seed]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "FIOVANA_SCHEMATHESIS_SEED={seed}\n{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn what_is_told_live_is_what_the_document_says() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    files::write(&installation.path("openapi.json"), daemon.get("/api/openapi.json").text);
    let mut follow = Command::new("curl");
    follow.args(["-sN", "--noproxy", "*"]);
    follow.arg(format!("http://{}/api/events", daemon.authority())).stdout(Stdio::piped());
    let mut following = follow.spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), ": live");
    let id = daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    daemon.post(&format!("/api/backup/{id}/verify"));
    daemon.post("/api/drill/security");
    daemon.post(&format!("/api/recovery/security/{id}"));
    daemon.post("/api/prune");
    daemon.post("/api/recovery/enter");
    let mut told = String::new();
    while !told.contains("\"event\":\"ModeChanged\"") {
        let line = lines.next().expect("an event").unwrap();
        if let Some(document) = line.strip_prefix("data: ").filter(|document| !document.contains("\"missed\"")) {
            told.push_str(document);
            told.push('\n');
        }
    }
    following.kill().unwrap();
    following.wait().unwrap();
    let mut judge = Command::new(installed("python"));
    judge.args(["-c", JUDGE]).arg(installation.path("openapi.json"));
    let mut judging = judge.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    judging.stdin.take().unwrap().write_all(told.as_bytes()).unwrap();
    let judged = judging.wait_with_output().unwrap();
    assert!(judged.status.success(), "{told}\n{}", String::from_utf8_lossy(&judged.stderr));
    let names = String::from_utf8(judged.stdout).unwrap();
    for event in ["BackupCompleted", "IntegrityCheckPassed", "DrillPassed", "RestoreCompleted", "ModeChanged"] {
        assert!(names.lines().any(|name| name == event), "{event} is not among {names}");
    }
}
