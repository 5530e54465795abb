//! Rules, dashboard and metrics, held against each other and against a real Prometheus.
//!
//! Hazard: an alert on a series that was never exported stays silent for ever, and looks like health.

mod common;
#[path = "dashboards/shape.rs"]
mod shape;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::files::{read, write};
use common::{Daemon, Installation, http, wait_for};
use serde_json::Value;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    String::from_utf8(read(&project(path))).unwrap()
}

/// A tool of Debian's package `prometheus`.
fn tool(name: &str) -> Command {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(found.is_ok(), "the tests need {name}: apt-get install prometheus");
    Command::new(name)
}

fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// Every `fiovana_…` and `process_…` name in a text, without a histogram's endings.
fn series_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("fiovana_") || word.starts_with("process_"));
    ours.map(|word| word.trim_end_matches("_bucket").to_owned()).collect()
}

/// The names of the series that a scrape shows, without a histogram's endings.
fn scraped(metrics: &str) -> BTreeSet<String> {
    let samples = metrics.lines().filter(|line| !line.starts_with('#'));
    let names = samples.filter_map(|line| line.split(['{', ' ']).next());
    names.map(|name| name.trim_end_matches("_bucket").to_owned()).collect()
}

#[test]
fn every_alert_fires_when_it_should_and_keeps_silent_when_it_should() {
    let directory = project("dashboards");
    passes(tool("promtool").current_dir(&directory).args(["check", "rules", "alerts.yml"]));
    passes(tool("promtool").current_dir(&directory).args(["test", "rules", "alerts_test.yml"]));
    passes(tool("promtool").current_dir(project("config")).args(["check", "config", "prometheus.yml"]));
    let tests = text("dashboards/alerts_test.yml");
    for alert in alerts() {
        let name = format!("alertname: {alert}\n");
        let of_it = tests.split(name.as_str()).skip(1);
        let (fires, silent): (Vec<_>, Vec<_>) = of_it.partition(|rest| rest.trim_start().starts_with("exp_alerts:\n"));
        assert!(!fires.is_empty() && !silent.is_empty(), "{alert} is not tested both firing and silent");
    }
}

fn alerts() -> Vec<String> {
    let rules = text("dashboards/alerts.yml");
    rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).map(str::to_owned).collect()
}

#[test]
fn every_alert_says_how_bad_it_is_and_leads_to_its_section_of_the_runbook() {
    let (rules, runbook) = (text("dashboards/alerts.yml"), text("dashboards/RUNBOOK.md"));
    for (alert, rule) in alerts().iter().zip(rules.split("- alert: ").skip(1)) {
        assert!(
            ["critical", "warning", "info"].iter().any(|word| rule.contains(&format!("severity: {word}"))),
            "{rule}"
        );
        assert!(rule.contains("summary: \""), "{rule}");
        let anchor = format!("RUNBOOK.md#{}\"", alert.to_lowercase());
        assert!(rule.contains(&anchor), "{alert} does not lead to {anchor}");
        assert!(runbook.contains(&format!("\n### {alert}\n")), "RUNBOOK.md has no section for {alert}");
    }
}

#[test]
fn no_rule_and_no_panel_names_a_series_that_a_cold_service_does_not_export() {
    let installation = Installation::new();
    let daemon = installation.start();
    let metrics = daemon.get("/metrics").text;
    let exported = scraped(&metrics);
    for file in ["dashboards/alerts.yml", "dashboards/fiovana.json"] {
        let named = series_in(&text(file));
        assert!(named.len() > 15, "{file} names {} series only", named.len());
        let unknown: Vec<&String> = named.difference(&exported).collect();
        assert!(unknown.is_empty(), "{file} names series that are not exported: {unknown:?}");
    }
    let file = installation.path("metrics.txt");
    write(&file, &metrics);
    passes(tool("promtool").args(["check", "metrics"]).stdin(std::fs::File::open(&file).unwrap()));
}

#[test]
fn the_dashboard_has_the_shape_that_grafana_publishes() {
    let dashboard: Value = serde_json::from_str(&text("dashboards/fiovana.json")).unwrap();
    assert_eq!(shape::faults(&dashboard), Vec::<String>::new());
    type Spoil = fn(&mut Value);
    let spoilt: [(&str, Spoil); 6] = [
        ("unitt is unknown", |it| it["panels"][0]["fieldConfig"]["defaults"]["unitt"] = "short".into()),
        ("no overrides", |it| _ = it["panels"][0]["fieldConfig"].as_object_mut().unwrap().remove("overrides")),
        ("is none of", |it| it["templating"]["list"][0]["type"] = "list".into()),
        ("no schemaVersion", |it| _ = it.as_object_mut().unwrap().remove("schemaVersion")),
        ("thresholds are not in order", |it| {
            it["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] = 5.into();
        }),
        ("no w", |it| _ = it["panels"][1]["gridPos"].as_object_mut().unwrap().remove("w")),
    ];
    for (fault, spoil) in spoilt {
        let mut other = dashboard.clone();
        spoil(&mut other);
        let faults = shape::faults(&other);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{fault}: {faults:?}");
    }
}

#[test]
fn the_dashboard_has_its_variables_and_every_panel_a_question_a_unit_and_a_place_of_its_own() {
    let dashboard: Value = serde_json::from_str(&text("dashboards/fiovana.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let names: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["datasource", "instance", "set"]);
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let grid = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(grid("x") + grid("w") <= 24, "{panel}");
        for cell in
            (grid("x")..grid("x") + grid("w")).flat_map(|x| (grid("y")..grid("y") + grid("h")).map(move |y| (x, y)))
        {
            assert!(cells.insert(cell), "two panels at {cell:?}");
        }
        if panel["type"] != "row" {
            let defaults = &panel["fieldConfig"]["defaults"];
            assert!(defaults["unit"].is_string() && defaults["thresholds"]["steps"].is_array(), "{panel}");
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty());
            for target in targets {
                assert!(target["expr"].as_str().unwrap().contains("$instance"), "{target}");
                assert_eq!(target["datasource"]["uid"], "${datasource}");
            }
        }
    }
}

/// A Prometheus that scrapes a service every second with the project's own rules, but for their patience.
struct Prometheus {
    child: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn watching(daemon: &Daemon) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rules = text("dashboards/alerts.yml");
        let patience =
            |line: &str| if line.trim().starts_with("for: ") { "        for: 2s".to_owned() } else { line.to_owned() };
        let hasty: Vec<String> = rules.lines().map(patience).collect();
        write(&directory.path().join("alerts.yml"), hasty.join("\n"));
        let settings = text("config/prometheus.yml")
            .replace("15s", "1s")
            .replace("../dashboards/alerts.yml", "alerts.yml")
            .replace("127.0.0.1:8080", daemon.authority());
        write(&directory.path().join("prometheus.yml"), &settings);
        let address = free_address();
        let child = tool("prometheus")
            .current_dir(directory.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"])
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(directory.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, address, _directory: directory }
    }

    /// What it answers, once it is ready to.
    fn ask(&self, path: &str) -> Option<Value> {
        let answer = http::get(&format!("http://{}/api/v1/{path}", self.address)).ok()?;
        (answer.status == 200).then(|| answer.json()["data"].clone())
    }

    /// The state of an alert: `pending`, `firing`, or nothing.
    fn state(&self, alert: &str) -> Option<String> {
        let data = self.ask("alerts")?;
        let found = data["alerts"].as_array()?.iter().find(|found| found["labels"]["alertname"] == alert)?;
        found["state"].as_str().map(str::to_owned)
    }

    fn wait_for(&self, alert: &str, state: Option<&str>) {
        let what = || format!("{alert} to be {state:?}, and it is {:?}", self.state(alert));
        wait_for(what, || (self.state(alert).as_deref() == state).then_some(()));
    }

    fn wait_until_scraped(&self) {
        let seen = || {
            let data = self.ask("query?query=fiovana_build_info")?;
            data["result"].as_array().filter(|series| !series.is_empty()).map(|_| ())
        };
        wait_for(|| "the first scrape".to_owned(), seen);
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn a_real_prometheus_sees_recovery_mode_and_failing_backups_and_that_they_are_over() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let prometheus = Prometheus::watching(&daemon);
    prometheus.wait_until_scraped();
    assert_eq!(prometheus.state("RecoveryMode"), None);
    assert_eq!(prometheus.state("BackupFailing"), None);
    // A source that is not there fails the run.
    std::fs::rename(installation.path("config"), installation.path("away")).unwrap();
    assert_ne!(daemon.post("/api/backup/application").status, 201);
    prometheus.wait_for("BackupFailing", Some("pending"));
    prometheus.wait_for("BackupFailing", Some("firing"));
    std::fs::rename(installation.path("away"), installation.path("config")).unwrap();
    daemon.backup_when_free("application");
    prometheus.wait_for("BackupFailing", None);
    assert_eq!(daemon.post("/api/recovery/enter").status, 200);
    prometheus.wait_for("RecoveryMode", Some("firing"));
    assert_eq!(daemon.post("/api/recovery/exit").status, 200);
    prometheus.wait_for("RecoveryMode", None);
}
