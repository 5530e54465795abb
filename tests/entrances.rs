//! The ways in beside the API's address: metrics alone, a socket of this machine, TLS.
//!
//! Hazard: a door that was meant for Prometheus or for one user, and through which everybody comes to everything.

mod common;

use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::audit::chained_records;
use common::{Daemon, Installation, code, files, http};
use rustix::process::Signal;

/// What the service says stands between these two.
fn said_between(daemon: &Daemon, before: &str, after: &str) -> String {
    daemon.wait(before, |daemon| {
        let said = daemon.said();
        let (_, rest) = said.split_once(before)?;
        Some(rest.split_once(after)?.0.to_owned())
    })
}

fn metrics_address(daemon: &Daemon) -> String {
    said_between(daemon, "metrics are at http://", "/metrics")
}

fn refusal(installation: &Installation) -> String {
    let refused = installation.run(&[]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    said
}

fn curl(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "-m", "20", "-w", "\n%{http_code}", "--noproxy", "*"]).args(arguments);
    command
}

fn status(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap().rsplit('\n').next().unwrap()
}

#[test]
fn metrics_at_an_address_of_their_own_need_no_token_and_lead_nowhere_else() {
    let installation = Installation::with_settings("[http]\nmetrics_bind = \"127.0.0.1:0\"\n");
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "0.0.0.0:0")]);
    let metrics = metrics_address(&daemon);
    let get = |path: &str| http::get(&format!("http://{metrics}{path}")).unwrap();
    assert!(get("/metrics").text.contains("fiovana_build_info"));
    assert_eq!((get("/healthz").status, get("/readyz").status), (200, 200));
    for path in ["/api/status", "/api/backup/list", "/api/openapi.json", "/"] {
        assert_eq!(get(path).problem(404), "not-found", "{path}");
    }
    let posted = http::post(&format!("http://{metrics}/api/backup/security")).unwrap();
    assert_eq!(posted.problem(404), "not-found");
    assert_eq!(daemon.get("/metrics").problem(401), "unauthorized");
    let foreign = curl(&["-H", "Host: evil.example", &format!("http://{metrics}/metrics")]).output().unwrap();
    assert_eq!(status(&foreign), "403");
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn an_address_for_metrics_that_is_taken_stops_a_start_and_does_not_stop_an_emergency() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let installation = Installation::with_settings(&format!("[http]\nmetrics_bind = \"{address}\"\n"));
    assert!(refusal(&installation).contains("set [http].metrics_bind to another"));
    let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "true")]);
    assert!(daemon.said().contains("found: serve metrics on"), "{}", daemon.said());
}

fn installation_with_socket(mode: u32) -> (Installation, PathBuf) {
    let installation = Installation::with_settings("[http]\nunix_socket = \"run/api.sock\"\n");
    let directory = installation.path("run");
    std::fs::DirBuilder::new().mode(0o700).create(&directory).unwrap();
    files::set_mode(&directory, mode);
    (installation, directory.join("api.sock"))
}

fn at_socket(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = curl(arguments);
    command.arg("--unix-socket").arg(socket);
    command
}

#[test]
fn the_services_own_user_may_do_everything_on_its_socket_and_is_named_in_the_log() {
    let (installation, socket) = installation_with_socket(0o700);
    let killed = installation.start();
    assert_eq!(socket.metadata().unwrap().mode() & 0o777, 0o600);
    killed.kill();
    assert!(socket.metadata().unwrap().file_type().is_socket(), "nothing stale is left to be removed");
    let daemon = installation.start();
    daemon.settle();
    let made = at_socket(&socket, &["-X", "POST", "http://localhost/api/backup/security"]).output().unwrap();
    assert_eq!(status(&made), "201", "{}", String::from_utf8_lossy(&made.stdout));
    let text = String::from_utf8(made.stdout.clone()).unwrap();
    let backup: serde_json::Value = serde_json::from_str(text.rsplit_once('\n').unwrap().0).unwrap();
    let content = format!("http://localhost/api/backup/{}/files/security_config.json", backup["id"].as_str().unwrap());
    assert_eq!(status(&at_socket(&socket, &[&content]).output().unwrap()), "200");
    assert_eq!(code(daemon.terminate()), 0);
    assert!(!socket.exists());
    let own = format!("uid:{}", rustix::process::geteuid().as_raw());
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let completed = records.iter().filter(|record| record["event"] == "BackupCompleted");
    assert!(completed.into_iter().any(|record| record["principal"] == own.as_str()), "{own}");
}

#[test]
fn another_user_is_turned_away_from_the_socket_and_audited_though_its_permissions_were_changed() {
    const STRANGER: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("only root can be somebody else");
    }
    let (installation, socket) = installation_with_socket(0o755);
    let daemon = installation.start();
    files::set_mode(installation.root(), 0o755);
    let attempt = || at_socket(&socket, &["-X", "POST", "http://localhost/api/backup/security"]).uid(STRANGER).output();
    assert_eq!(status(&attempt().unwrap()), "000");
    files::set_mode(&socket, 0o666);
    for _ in 0..10 {
        assert_eq!(status(&attempt().unwrap()), "403");
    }
    assert_eq!(status(&attempt().unwrap()), "429");
    assert_eq!(code(daemon.terminate()), 0);
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let rejected: Vec<_> = records.iter().filter(|record| record["event"] == "AuthRejected").collect();
    assert!(rejected.iter().all(|record| record["principal"] == format!("uid:{STRANGER}")), "{rejected:?}");
    assert_eq!(rejected.len(), 10);
}

#[test]
fn a_socket_where_others_can_write_stops_a_start() {
    let (installation, socket) = installation_with_socket(0o777);
    let said = refusal(&installation);
    assert!(said.contains("others can write in it") && said.trim().lines().count() == 1, "{said}");
    assert!(!socket.exists());
}

/// A command of the program that is asked to reach the service through its socket.
fn command_at(program: &Path, socket: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    common::clear_environment(&mut command);
    // Where nothing of the service is to be found.
    command.current_dir("/").args(arguments).arg(format!("--url=unix:{}", socket.display()));
    command
}

/// The one line that a command says, which fails with this code.
fn line(mut command: Command, expected: i32) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((code(output.status), said.lines().count()), (expected, 1), "{said}");
    said
}

#[test]
fn commands_reach_the_service_through_its_socket_and_need_no_token() {
    let (installation, socket) = installation_with_socket(0o700);
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "0.0.0.0:0"), ("FIOVANA_BACKUP_ENABLED", "false")]);
    let document = |arguments: &[&str]| {
        let output = command_at(Path::new(common::PROGRAM), &socket, arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let backup = document(&["backup", "application"]);
    let id = backup["id"].as_str().unwrap();
    assert_eq!(document(&["show", id])["files"], backup["files"]);
    assert_eq!(document(&["verify", id])["verdict"], "intact");
    assert_eq!(document(&["diff", id])["files"].as_array().unwrap().len(), 0);
    assert_eq!(document(&["pin", id])["pinned"], true);
    assert_eq!(document(&["restore", "application", id])["set"], "application");

    let mut by_variable = installation.command(
        "status --json".split(' ').collect::<Vec<_>>().as_slice(),
        &[
            ("FIOVANA_URL", format!("unix://{}", socket.display())),
            ("FIOVANA_TOKEN_FILE", "/nowhere/and/not/read".to_owned()),
        ],
    );
    assert!(by_variable.output().unwrap().status.success());
    assert_eq!(code(daemon.terminate()), 0);
    let own = format!("uid:{}", rustix::process::geteuid().as_raw());
    let records = chained_records(&installation.path("logs/security_audit.log"));
    let restored = records.iter().find(|record| record["event"] == "RestoreCompleted").unwrap();
    assert_eq!(restored["principal"], own.as_str());
}

#[test]
fn whatever_is_wrong_with_a_socket_is_one_clear_line_that_says_what_to_do() {
    let place = tempfile::tempdir().unwrap();
    let status = |path: &Path| command_at(Path::new(common::PROGRAM), path, &["status"]);
    let (absent, left, file) = (place.path().join("absent"), place.path().join("left"), place.path().join("file"));
    assert!(line(status(&absent), 1).contains("there is no socket"));
    drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
    assert!(line(status(&left), 1).contains("start it again"));
    files::write(&file, "");
    assert!(line(status(&file), 1).contains("is no socket"));
    assert!(line(status(&file.join("below")), 1).contains("there is no socket"));
    assert!(line(status(&place.path().join("x".repeat(200))), 1).contains("nothing answers at unix:/"));
    let mut with_token = status(&left);
    with_token.args(["--token-file", "token"]);
    assert!(line(with_token, 2).contains("asks the system who you are"));
}

#[test]
fn a_command_of_another_user_is_told_whom_the_socket_lets_in() {
    const STRANGER: u32 = 65_534;
    if !rustix::process::geteuid().is_root() {
        return eprintln!("only root can be somebody else");
    }
    let (installation, socket) = installation_with_socket(0o700);
    let _daemon = installation.start();
    // Where anybody can reach it.
    let program = installation.path("fiovana-app");
    std::fs::copy(common::PROGRAM, &program).unwrap();
    files::set_mode(installation.root(), 0o755);
    let attempt = || {
        let mut command = command_at(&program, &socket, &["status"]);
        command.uid(STRANGER).gid(STRANGER);
        line(command, 1)
    };
    let expected = "user 65534 is not let in at";
    assert!(attempt().contains(expected));
    // By the service itself, though the system would.
    files::set_mode(socket.parent().unwrap(), 0o755);
    files::set_mode(&socket, 0o666);
    assert!(attempt().contains(expected));
}

/// Makes a certificate for this machine, and its key.
fn certify(certificate: &Path, key: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out"])
        .arg(certificate)
        .arg("-keyout")
        .arg(key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    files::set_mode(key, 0o600);
}

#[test]
fn the_api_is_encrypted_takes_up_a_new_certificate_at_a_hangup_and_keeps_the_old_one_if_that_is_no_good() {
    let toml = "[http]\ntls_certificate = \"tls.crt\"\ntls_key = \"tls.key\"\n";
    let installation = Installation::with_settings(toml);
    let (certificate, key, old) =
        (installation.path("tls.crt"), installation.path("tls.key"), installation.path("old.crt"));
    certify(&certificate, &key);
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "0.0.0.0:0")]);
    assert!(!daemon.said().contains("without encryption"), "{}", daemon.said());
    let port = said_between(&daemon, "listening on https://0.0.0.0:", ";");
    let url = format!("https://localhost:{port}/healthz");
    let trusting = |certificate: &Path| curl(&["--cacert", certificate.to_str().unwrap(), &url]).output().unwrap();
    assert_eq!(status(&trusting(&certificate)), "200");
    let status_url = format!("https://localhost:{port}/api/status");
    let without_token = curl(&["--cacert", certificate.to_str().unwrap(), &status_url]).output().unwrap();
    assert_eq!(status(&without_token), "401");
    assert!(!curl(&[&url]).output().unwrap().status.success(), "curl believed anybody");
    assert!(
        !curl(&[&format!("http://localhost:{port}/healthz")]).output().unwrap().status.success(),
        "it is not encrypted"
    );
    let command = installation.run(&["status"]);
    assert_eq!(command.status.code(), Some(0), "{}", String::from_utf8_lossy(&command.stderr));

    std::fs::copy(&certificate, &old).unwrap();
    certify(&certificate, &key);
    daemon.signal(Signal::HUP);
    daemon.wait("the new certificate", |daemon| daemon.said().contains("certificate was read again").then_some(()));
    assert_eq!((status(&trusting(&certificate)), status(&trusting(&old))), ("200", "000"));

    files::set_mode(&key, 0o640);
    daemon.signal(Signal::HUP);
    daemon.wait("the refusal", |daemon| daemon.said().contains("certificate stays as it was").then_some(()));
    assert_eq!(status(&trusting(&certificate)), "200");
    assert_eq!(code(daemon.terminate()), 0);

    assert!(refusal(&installation).contains("chmod 600"));
    files::set_mode(&key, 0o600);
    certify(&old, &installation.path("other.key"));
    std::fs::copy(installation.path("other.key"), &key).unwrap();
    assert!(refusal(&installation).contains("is not that of the certificate"));
    files::write(&certificate, "nonsense");
    assert!(refusal(&installation).contains("holds no certificate in PEM"));
    std::fs::remove_file(&certificate).unwrap();
    assert!(refusal(&installation).contains("No such file"));
    let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "1"), ("FIOVANA_HTTP_BIND", "0.0.0.0:0")]);
    assert!(daemon.said().contains("on loopback only") && daemon.authority().starts_with("127."), "{}", daemon.said());
}
