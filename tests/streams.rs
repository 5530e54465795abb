//! The content of files and live events, from the real service.
//!
//! Hazard: a file that was damaged on disk and looks whole to who downloads it; and a follower who keeps the service
//! from stopping.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use common::{Daemon, Installation, code, files, http, repository};
use serde_json::Value;

/// A token that may do everything.
fn token(installation: &Installation) -> String {
    let text = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
    text.lines().find(|line| line.starts_with("operate")).unwrap().split_whitespace().nth(2).unwrap().to_owned()
}

/// The head and the body that came, which may be less than was announced.
fn download(daemon: &Daemon, token: &str, path: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(daemon.authority()).unwrap();
    let head =
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

#[test]
fn a_file_comes_as_it_was_backed_up_and_a_damaged_one_is_never_taken_for_whole() {
    let installation = Installation::with_settings(
        "[sets.data]\nsource = \"data\"\nfiles = [\"*.bin\"]\nvalidate = \"none\"\nreplicate = false\n",
    );
    let content: Vec<u8> =
        (0..3_000_000u32).flat_map(|number| (number.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()).collect();
    std::fs::create_dir(installation.path("data")).unwrap();
    files::write(&installation.path("data/large.bin"), &content);
    files::write(&installation.path("data/small.bin"), "small");
    let daemon = installation.start();
    daemon.settle();
    let backup = daemon.backup_when_free("data");
    let (id, token) = (backup["id"].as_str().unwrap(), token(&installation));
    let path = |name: &str| format!("/api/backup/{id}/files/{name}");

    let (head, body) = download(&daemon, &token, &path("large.bin"));
    assert!(head.starts_with("HTTP/1.1 200") && body == content, "{head}");
    let recorded = backup["files"].as_array().unwrap().iter().find(|file| file["path"] == "large.bin").unwrap();
    assert!(head.contains(&format!("etag: {}\r\n", recorded["sha256"])), "{head}");
    for absent in ["..%2f..%2fstate%2fapi-tokens", "../repository.json", "large", "%2fetc%2fpasswd"] {
        let answer = http::get_as(&format!("http://{}{}", daemon.authority(), path(absent)), &token).unwrap();
        assert_eq!(answer.problem(404), "not-found", "{absent}");
    }
    assert_eq!(daemon.get(&path("small.bin")).problem(401), "unauthorized");

    let manifest = repository::manifest(&installation.path("backups"), "data", id);
    let files = repository::files(&installation.path("backups"), &manifest);
    let last_object = |name: &str| {
        let file = files.iter().find(|file| file["path"] == name).unwrap();
        file["chunks"].as_array().unwrap().last().unwrap()["object"].as_str().unwrap().to_owned()
    };
    for name in ["large.bin", "small.bin"] {
        let object = repository::object_path(&installation.path("backups"), &last_object(name));
        let mut bytes = files::read(&object);
        *bytes.last_mut().unwrap() ^= 1;
        files::set_mode(&object, 0o600);
        files::write(&object, bytes);
    }
    let (head, body) = download(&daemon, &token, &path("large.bin"));
    assert!(head.contains(&format!("content-length: {}\r\n", content.len())), "{head}");
    assert!(body.len() < content.len() && content.starts_with(&body), "{} bytes", body.len());
    let answer = http::get_as(&format!("http://{}{}", daemon.authority(), path("small.bin")), &token).unwrap();
    // It may have been healed from the live file meanwhile, for what was damaged was looked for.
    assert!(answer.status == 200 && answer.text == "small" || answer.problem(422) == "integrity", "{}", answer.text);
}

#[test]
fn a_follower_hears_of_every_record_and_does_not_keep_the_service_from_stopping() {
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let mut stream = TcpStream::connect(daemon.authority()).unwrap();
    stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with(": live") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0);
    }
    let backup = daemon.backup("security");
    daemon.signal_to_end();
    let events: Vec<Value> = lines
        .lines()
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("data: ").map(|data| serde_json::from_str(data).unwrap()))
        .collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    let completed = events.iter().find(|event| event["event"] == "BackupCompleted").unwrap();
    assert_eq!(completed["backup_id"], backup["id"]);
    assert_eq!((names[0], names.last()), ("BackupStarted", Some(&"ServiceStopped")), "{names:?}");
    assert_eq!(code(daemon.end()), 0);
    let recorded = common::audit::chained_records(&installation.path("logs/security_audit.log"));
    for event in &events {
        let same = |record: &&Value| {
            ["event", "timestamp", "correlation_id", "details"].iter().all(|f| record[*f] == event[*f])
        };
        assert!(recorded.iter().any(|record| same(&record)), "{event} is not in the log");
    }
}
