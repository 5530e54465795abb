//! Tokens and the real service: on loopback it needs none, elsewhere everything does.
//!
//! Hazard: a setting that moves the port to where others can reach it, and no lock on the door.

mod common;

use std::os::unix::fs::PermissionsExt;

use common::audit::chained_records;
use common::files::read;
use common::{Daemon, Installation, http};

/// A token of the file that the service made.
fn token(installation: &Installation, right: &str) -> String {
    let text = String::from_utf8(read(&installation.path("backups/state/api-tokens"))).unwrap();
    let line = text.lines().find(|line| line.starts_with(right)).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

fn status_as(daemon: &Daemon, token: &str) -> u16 {
    http::get_as(&format!("http://{}/api/status", daemon.authority()), token).unwrap().status
}

#[test]
fn off_loopback_every_call_needs_a_token_and_the_command_line_has_one() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "0.0.0.0:0")]);
    assert!(daemon.said().contains("without encryption"), "{}", daemon.said());
    for path in ["/api/status", "/metrics", "/api/backup/list", "/nowhere"] {
        assert_eq!(daemon.get(path).problem(401), "unauthorized", "{path}");
    }
    assert_eq!(daemon.post("/api/backup/security").problem(401), "unauthorized");
    assert_eq!(daemon.get("/healthz").status, 200);
    assert_eq!(status_as(&daemon, &token(&installation, "read")), 200);
    assert_eq!(status_as(&daemon, "wrong"), 401);
    let command = daemon.wait("the first scheduled backup to be out of the way", |_| {
        let command = installation.run(&["backup", "security", "--json"]);
        (!String::from_utf8_lossy(&command.stderr).contains("is being backed up")).then_some(command)
    });
    assert_eq!(command.status.code(), Some(0), "{}", String::from_utf8_lossy(&command.stderr));
    assert_eq!(daemon.terminate().code(), Some(0));
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let of = |event: &str| records.iter().filter(|record| record["event"] == event).collect::<Vec<_>>();
    assert_eq!(of("AuthRejected").len(), 1);
    assert!(of("BackupCompleted").iter().any(|record| record["principal"] == "token:cli"));
    let tokens = [token(&installation, "read"), token(&installation, "operate")];
    let log = String::from_utf8(read(&installation.path("logs/security_audit.log"))).unwrap();
    assert!(tokens.iter().all(|token| !log.contains(token.as_str())), "a token is in the audit log");
}

#[test]
fn tokens_that_others_can_read_stop_a_start_off_loopback_and_are_not_believed_on_it() {
    let installation = Installation::new();
    let daemon = installation.start();
    let good = token(&installation, "operate");
    assert_eq!(status_as(&daemon, &good), 200);
    let file = installation.path("backups/state/api-tokens");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(status_as(&daemon, &good), 503);
    assert_eq!(daemon.get("/api/status").status, 200);
    let command = installation.run(&["status"]);
    assert_eq!(command.status.code(), Some(1));
    assert!(String::from_utf8(command.stderr).unwrap().contains("chmod 600"));
    drop(daemon);
    let refused = installation.run_with(&[], &[("FIOVANA_HTTP_BIND", "0.0.0.0:0")]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("needs tokens") && said.contains("chmod 600"), "{said}");
}
