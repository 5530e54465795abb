//! The OpenAPI document against the running service, by Schemathesis: thousands of requests that the document allows, and
//! as many that it does not.
//!
//! Hazard: a document that was checked by those who wrote it promises what they meant, not what is answered.

mod common;

use std::path::PathBuf;
use std::process::Command;

use common::{Installation, files};

/// Of two options only one may be given, and the document has no words for that.
const EXCEPTIONS: &str = r#"
[[operations]]
include-path = "/api/prune"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "409", "5xx"]
"#;

/// Where `tests/run` installs it.
fn schemathesis() -> PathBuf {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
    let program = target.join("schemathesis/bin/schemathesis");
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
    let mut command = Command::new(schemathesis());
    common::clear_environment(&mut command);
    command.current_dir(installation.root());
    command.args(["run", &format!("http://{}/api/openapi.json", daemon.authority())]);
    command.args(["--header", &format!("Authorization: Bearer {token}")]);
    // Events are followed for ever.
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
