//! What differs, and what of it is never shown.
//!
//! Hazard: a password in a terminal's scrollback, a log or an audit record.

mod common;

use std::process::Output;

use common::{Installation, code, files, http};
use serde_json::Value;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn backup(installation: &Installation) -> String {
    json(&installation.run(&["backup", "application", "--json"]))["id"].as_str().unwrap().to_owned()
}

#[test]
fn keys_are_compared_with_what_is_live_and_with_another_backup_and_secrets_are_hidden() {
    let installation = Installation::new();
    let live = installation.path("config/app_config.json");
    assert_eq!(code(installation.run(&["init"]).status), 0);
    files::write(&live, r#"{"level": 1, "db": {"password": "hunter2", "host": "a"}, "old": []}"#);
    let first = backup(&installation);
    let same = installation.run(&["diff", &first]);
    assert_eq!((code(same.status), text(&same).contains("no difference")), (0, true), "{}", text(&same));

    files::write(&live, r#"{"level": 2, "db": {"password": "hunter3", "host": "a"}, "tokens": ["hunter4"]}"#);
    let against_live = installation.run(&["diff", &first, "live"]);
    assert_eq!(code(against_live.status), 0, "{}", text(&against_live));
    let said = text(&against_live);
    for line in [
        "app_config.json\n",
        "  /db/password: \"(hidden #1)\" -> \"(hidden #2)\"\n",
        "  /level: 1 -> 2\n",
        "  /old: removed []\n",
        "  /tokens: added \"(hidden #3)\"\n",
    ] {
        assert!(said.contains(line), "{line:?} in {said}");
    }

    let second = backup(&installation);
    std::fs::remove_file(&live).unwrap();
    let between = json(&installation.run(&["diff", &first, &second, "--json"]));
    assert_eq!((&between["files"][0]["form"], &between["files"][0]["change"]), (&"keys".into(), &"changed".into()));
    let gone = json(&installation.run(&["diff", &second, "--json"]));
    assert_eq!((&gone["files"][0]["form"], &gone["files"][0]["change"]), (&"lines".into(), &"removed".into()));
    let recovered = installation.run(&["recover", "--yes", "--set", "application"]);
    assert_eq!(code(recovered.status), 0, "{}", text(&recovered));
    let audit = String::from_utf8(files::read(&installation.path("logs/security_audit.log"))).unwrap();
    let all = format!("{said}{between}{gone}{}{audit}", text(&recovered));
    assert!(!all.contains("hunter"), "{all}");
}

#[test]
fn before_a_valid_file_is_replaced_what_would_change_is_shown() {
    let installation = Installation::new();
    let live = installation.path("config/app_config.json");
    assert_eq!(code(installation.run(&["init"]).status), 0);
    files::write(&live, r#"{"level": 1, "secret": "hunter2"}"#);
    backup(&installation);
    files::write(&live, r#"{"level": 2, "secret": "hunter3"}"#);
    let plan = installation.run(&["recover", "--dry-run", "--set", "application"]);
    assert_eq!(code(plan.status), 0, "{}", text(&plan));
    assert!(text(&plan).contains("  /level: 2 -> 1\n"), "{}", text(&plan));
    assert!(!text(&plan).contains("hunter"), "{}", text(&plan));
}

#[test]
fn the_api_shows_what_files_hold_to_who_may_operate_only() {
    let installation = Installation::new();
    let daemon = installation.start();
    let id = daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    let path = format!("/api/backup/{id}/diff?against=live");
    assert_eq!(daemon.get(&path).problem(401), "unauthorized");
    files::write(&installation.path("config/security_config.json"), "{\"password\": \"hunter2\"}");
    let tokens = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
    let token = tokens.lines().find(|line| line.starts_with("operate")).unwrap().split_whitespace().nth(2).unwrap();
    let shown = http::get_as(&format!("http://{}{path}", daemon.authority()), token).unwrap();
    assert_eq!((shown.status, &shown.json()["files"][0]["path"]), (200, &"security_config.json".into()));
    assert!(!shown.text.contains("hunter2"), "{}", shown.text);
    assert_eq!(code(installation.run(&["diff", &id]).status), 0, "on the machine itself it works meanwhile");
}

#[test]
fn secrets_are_shown_to_who_asks_for_them_and_that_is_on_record() {
    let installation = Installation::new();
    let live = installation.path("config/app_config.json");
    assert_eq!(code(installation.run(&["init"]).status), 0);
    files::write(&live, r#"{"password": "hunter2"}"#);
    let first = backup(&installation);
    files::write(&live, r#"{"password": "hunter3"}"#);
    let hidden = installation.run(&["diff", &first]);
    assert!(text(&hidden).contains("`--show-secrets` shows it"), "{}", text(&hidden));
    let records = || {
        let log = String::from_utf8(files::read(&installation.path("logs/security_audit.log"))).unwrap();
        let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records.filter(|record| record["event"] == "SecretsShown").collect::<Vec<_>>()
    };
    assert!(records().is_empty());

    let shown = installation.run(&["diff", &first, "--show-secrets"]);
    assert_eq!(code(shown.status), 0, "{}", text(&shown));
    assert!(text(&shown).contains("  /password: \"hunter2\" -> \"hunter3\"\n"), "{}", text(&shown));
    assert!(!text(&shown).contains("(hidden"), "{}", text(&shown));

    let daemon = installation.start();
    let shown = json(&installation.run(&["diff", &first, "live", "--show-secrets", "--json"]));
    assert_eq!(shown["files"][0]["changes"][0]["after"], "\"hunter3\"");
    let tokens = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
    let token =
        |right: &str| tokens.lines().find(|line| line.starts_with(right)).unwrap().split_whitespace().nth(2).unwrap();
    let url = format!("http://{}/api/backup/{first}/diff?show_secrets=true", daemon.authority());
    let refused = http::get_as(&url, token("read")).unwrap();
    assert_eq!((refused.status, refused.text.contains("hunter")), (403, false), "{}", refused.text);
    let shown = http::get_as(&url, token("operate")).unwrap();
    assert_eq!((shown.status, shown.text.contains("hunter2")), (200, true), "{}", shown.text);
    assert_eq!(daemon.get(&format!("/api/backup/{first}/diff?show_secrets=true")).problem(401), "unauthorized");

    let records = records();
    let by: Vec<&str> = records.iter().map(|record| record["principal"].as_str().unwrap()).collect();
    assert_eq!(by.len(), 3, "{records:?}");
    assert!(by[0].starts_with("cli:") && by[2].starts_with("token:"), "{by:?}");
    assert!(records.iter().all(|record| record["backup_id"] == first.as_str() && record["set"] == "application"));
    assert!(records.iter().all(|record| record["details"]["against"] == "live"), "{records:?}");
    assert!(!format!("{records:?}").contains("hunter"));
}
