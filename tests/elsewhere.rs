//! Commands that ask a service on another machine.
//!
//! Hazard: an operator who believes to work on another machine and works on this one; and a token that leaves its file
//! for a list of processes, a log or an untrusted connection.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use common::files::{self, set_mode};
use common::{Daemon, Installation, code};
use serde_json::Value;

const FAILED: i32 = 1;
const USAGE: i32 = 2;

/// A machine that has nothing but the program, and asks `daemon`, which wants a token.
struct Desk {
    place: tempfile::TempDir,
    url: String,
}

impl Desk {
    fn of(installation: &Installation, daemon: &Daemon) -> Self {
        let desk = Self { place: tempfile::tempdir().unwrap(), url: format!("http://127.0.0.1:{}", daemon.port()) };
        let tokens = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
        let line = tokens.lines().find(|line| line.starts_with("operate")).unwrap();
        desk.token_file("token", line.split_whitespace().nth(2).unwrap());
        desk
    }

    fn token_file(&self, name: &str, token: &str) -> PathBuf {
        let path = self.place.path().join(name);
        files::write(&path, format!("{token}\n"));
        set_mode(&path, 0o600);
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(common::PROGRAM);
        common::clear_environment(&mut command);
        command.current_dir(self.place.path()).args(arguments).stdin(Stdio::null());
        command
    }

    /// With the right address and token, by the environment.
    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.env("FIOVANA_URL", &self.url).env("FIOVANA_TOKEN_FILE", "token").output().unwrap()
    }

    fn document(&self, arguments: &[&str]) -> Value {
        let output = self.ask(&[arguments, &["--json"]].concat());
        assert_eq!(code(output.status), 0, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// One line on standard error and this exit code; the line.
    fn refusal(&self, arguments: &[&str], expected: i32) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(code(output.status), expected, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let lines: Vec<&str> = said.lines().filter(|line| !line.starts_with("fiovana-app: warning")).collect();
        assert_eq!(lines.len(), 1, "{said}");
        lines[0].to_owned()
    }
}

#[test]
fn every_command_that_needs_no_files_works_on_a_service_elsewhere() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "0.0.0.0:0"), ("FIOVANA_BACKUP_ENABLED", "false")]);
    let desk = Desk::of(&installation, &daemon);
    let backup = desk.document(&["backup", "application"]);
    let id = backup["id"].as_str().unwrap();
    assert_eq!(desk.document(&["list", "--set", "application", "--limit", "1"])["backups"][0]["id"], id);
    assert_eq!(desk.document(&["show", id])["files"], backup["files"]);
    assert_eq!(desk.document(&["verify", id])["verdict"], "intact");
    assert_eq!(desk.document(&["diff", id])["files"].as_array().unwrap().len(), 0);
    assert_eq!(desk.document(&["pin", id])["pinned"], true);
    assert_eq!(desk.document(&["unpin", id])["pinned"], false);
    assert_eq!(desk.document(&["status"])["sets"].as_array().unwrap().len(), 4);
    assert_eq!(desk.document(&["drill", "application"])["verdict"], "passed");
    desk.document(&["prune", "--dry-run"]);
    assert_eq!(desk.document(&["recovery", "status"])["name"], "normal");

    let live = installation.path("config/app_config.json");
    let content = files::read(&live);
    std::fs::remove_file(&live).unwrap();
    assert_eq!(desk.document(&["restore", "application", id, "--file", "app_config.json"])["set"], "application");
    assert_eq!(files::read(&live), content);
    std::fs::remove_file(&live).unwrap();
    desk.document(&["recover", "--yes"]);
    assert_eq!(files::read(&live), content);

    let tail = desk.ask(&["audit", "tail", "--event", "BackupCompleted", "--set", "application", "--json"]);
    let records = String::from_utf8(tail.stdout).unwrap();
    let of_token = records.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert!(of_token.into_iter().any(|record| record["principal"] == "token:cli"), "{records}");
    let left: Vec<_> = std::fs::read_dir(desk.place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["token"], "nothing is made here");
}

#[test]
fn what_needs_files_says_so_and_does_nothing_here() {
    let installation = Installation::new();
    let daemon = installation.start();
    let desk = Desk::of(&installation, &daemon);
    let url = desk.url.as_str();
    for arguments in
        [&["init"][..], &["audit", "verify"], &["config", "show"], &["restore", "security", "latest", "--to", "x"]]
    {
        let said = desk.refusal(&[arguments, &["--url", url]].concat(), USAGE);
        assert!(said.contains("needs the files") && said.contains(url), "{said}");
    }
    assert!(desk.refusal(&["--url", url], USAGE).contains("without a command"));
    assert!(desk.refusal(&["list", "--token-file", "token"], USAGE).contains("--url"));
    let output = desk.command(&["config", "check"]).env("FIOVANA_URL", "8080").output().unwrap();
    assert_eq!(code(output.status), USAGE);
    assert!(String::from_utf8_lossy(&output.stderr).contains("variable FIOVANA_URL"));
}

#[test]
fn a_token_that_is_absent_wrong_or_open_to_others_is_one_clear_line() {
    let installation = Installation::new();
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", "0.0.0.0:0")]);
    let desk = Desk::of(&installation, &daemon);
    let url = desk.url.as_str();
    assert!(desk.refusal(&["status", "--url", url], FAILED).contains("wants a token"));
    desk.token_file("wrong", &"0".repeat(64));
    let wrong = desk.refusal(&["status", "--url", url, "--token-file", "wrong"], FAILED);
    assert!(wrong.contains("does not know the token") && !wrong.contains("0000"), "{wrong}");
    set_mode(&desk.token_file("open", &"1".repeat(64)), 0o644);
    assert!(desk.refusal(&["status", "--url", url, "--token-file", "open"], FAILED).contains("chmod 600"));
    assert!(desk.refusal(&["status", "--url", url, "--token-file", "absent"], FAILED).contains("absent"));
    let in_address = desk.command(&["status", "--url", "http://x:s3cr3ts3cr3t@127.0.0.1"]).output().unwrap();
    assert_eq!(code(in_address.status), USAGE);

    let json = desk.command(&["status", "--url", url, "--json"]).output().unwrap();
    let problem: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(problem["type"], "urn:fiovana:problem:unauthorized");
    drop(daemon);
    assert!(desk.refusal(&["status", "--url", url], FAILED).contains("nothing answers at"));
}

/// A server with a certificate that nobody knows; killed when this is dropped.
struct Stranger(Child);

impl Stranger {
    fn start(place: &Path) -> (Self, String) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                "key",
                "-out",
                "certificate",
            ])
            .current_dir(place)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-key", "key", "-cert", "certificate", "-www"])
            .current_dir(place)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines().map_while(Result::ok);
        let accepts = lines.find(|line| line.starts_with("ACCEPT ")).unwrap();
        let url = format!("https://localhost:{}", accepts.rsplit(':').next().unwrap());
        std::thread::spawn(move || lines.for_each(drop));
        (Self(server), url)
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_certificate_that_nobody_vouches_for_ends_it_before_the_token_is_sent() {
    let installation = Installation::new();
    let daemon = installation.start();
    let desk = Desk::of(&installation, &daemon);
    let (_server, url) = Stranger::start(desk.place.path());
    let arguments = ["status", "--url", &url, "--token-file", "token"];
    let untrusted = desk.refusal(&arguments, FAILED);
    assert!(untrusted.contains("no trusted connection") && untrusted.contains("SSL_CERT_FILE"), "{untrusted}");

    let trusted = desk.command(&arguments).env("SSL_CERT_FILE", "certificate").output().unwrap();
    let said = String::from_utf8(trusted.stderr).unwrap();
    assert!(said.contains("is no fiovana-app"), "a known certificate, but another kind of service: {said}");

    let plain = url.replace("https:", "http:");
    desk.refusal(&["status", "--url", &plain], FAILED);
    let tls_to_plain = desk.url.replace("http:", "https:");
    let said = desk.refusal(&["status", "--url", &tls_to_plain], FAILED);
    assert!(said.contains("write http://"), "{said}");
}
