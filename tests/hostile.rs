//! Requests that nobody sends by mistake, to the real program: what it answers, what they cost it, what it leaves alone.
//!
//! Hazard: one request that leads out of a directory, stays for ever or takes all memory is enough, and whoever sends it
//! has all the time in the world. Each attack ends with the service as it was: answering, no larger than it may be, and
//! nothing changed but what it wrote itself.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use common::{Daemon, Installation, files};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

/// Longer than anything takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that the program may ever have needed: a build for tests, on a machine of any size.
const MOST_MEMORY_MIB: u64 = 400;
/// What stands in a file beside the service's own, and in none of its answers.
const SECRET: &str = "the secret beside";

/// An installation under attack, and what was there before.
struct Siege {
    installation: Installation,
    daemon: Daemon,
    statuses: BTreeSet<u16>,
    before: BTreeMap<PathBuf, String>,
}

impl Siege {
    fn begin(settings: &str) -> Self {
        let installation = Installation::with_settings(settings);
        std::fs::create_dir(installation.path("beside")).unwrap();
        std::fs::DirBuilder::new().mode(0o700).create(installation.path("run")).unwrap();
        files::write(&installation.path("beside/secret.json"), format!("{{\"secret\": \"{SECRET}\"}}"));
        let before = around(&installation);
        let daemon = installation.start();
        daemon.settle();
        let statuses = documented(&daemon.get("/api/openapi.json").json());
        Self { installation, daemon, statuses, before }
    }

    /// Sends these bytes alone on a connection; the status and all that came, which may be nothing.
    fn send(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect();
        // It may hang up in the middle of what it does not want.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        assert!(!text.contains(SECRET), "{}", String::from_utf8_lossy(bytes));
        (status, text)
    }

    /// The same, answered with something that is documented and no success.
    fn refused(&self, bytes: &[u8]) -> (u16, String) {
        let (status, text) = self.send(bytes);
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
        // What is no HTTP, or takes too long or too much to be one, is answered by the parser itself, or cut off.
        assert!(matches!(status, 0 | 400..500), "{status} for {shown:?}: {text}");
        let is_documented = matches!(status, 0 | 400 | 408 | 431) || self.statuses.contains(&status);
        assert!(is_documented, "{status} is not documented: {shown:?}");
        (status, text)
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.daemon.authority()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Whether all is as it was, but for what the service itself writes.
    fn end(self) {
        assert_eq!(self.daemon.get("/healthz").status, 200);
        assert_eq!(self.daemon.get("/api/status").status, 200);
        let made = self.daemon.backup_when_free("security");
        assert_eq!(made["state"], "good", "{made}");
        let peak = self.daemon.peak_memory_mib();
        println!("peak memory of the service: {peak} MiB");
        assert!(peak < MOST_MEMORY_MIB, "{peak} MiB");
        assert_eq!(around(&self.installation), self.before);
        assert_eq!(common::code(self.daemon.terminate()), 0);
    }
}

/// Everything beside the repository and the logs.
fn around(installation: &Installation) -> BTreeMap<PathBuf, String> {
    let all = ["config", "beside"].map(|directory| files::snapshot(&installation.path(directory)));
    all.into_iter().flatten().collect()
}

/// Every status that the API's document names.
fn documented(document: &Value) -> BTreeSet<u16> {
    let calls = document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    let answers = calls.filter_map(|call| call["responses"].as_object());
    answers.flat_map(|answers| answers.keys()).filter_map(|status| status.parse().ok()).collect()
}

fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}{length}\r\n{body}").into_bytes()
}

fn operate_token(installation: &Installation) -> String {
    let text = String::from_utf8(files::read(&installation.path("backups/state/api-tokens"))).unwrap();
    let line = text.lines().find(|line| line.starts_with("operate")).unwrap();
    line.split_whitespace().nth(2).unwrap().to_owned()
}

/// Ways out of a directory, as they come over the wire.
const WAYS_OUT: [&str; 24] = [
    "..",
    "../beside/secret.json",
    "../../beside/secret.json",
    "%2e%2e%2fbeside%2fsecret.json",
    "%2E%2E%2F%2E%2E%2Fbeside%2Fsecret.json",
    "..%2f..%2f..%2fbeside%2fsecret.json",
    "%252e%252e%252fbeside%252fsecret.json",
    "..%5cbeside%5csecret.json",
    "..\\beside\\secret.json",
    "....//beside/secret.json",
    "..;/beside/secret.json",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "/etc/passwd",
    "%c0%ae%c0%ae%c0%afetc%c0%afpasswd",
    "%e0%80%ae%e0%80%ae/",
    "%u002e%u002e/",
    "%ef%bc%8e%ef%bc%8e%ef%bc%8fbeside",
    "security_config.json%00.png",
    "%0d%0aX-Evil:%20yes",
    "./security_config.json/../../beside/secret.json",
    "~root",
    "file:///etc/passwd",
    "%",
];

#[test]
fn no_name_in_any_encoding_leads_out_of_the_repository() {
    let siege = Siege::begin("");
    let id = siege.daemon.backup_when_free("security")["id"].as_str().unwrap().to_owned();
    let token = operate_token(&siege.installation);
    let bearer = format!("Authorization: Bearer {token}\r\n");
    for way in WAYS_OUT {
        for line in [
            format!("GET /api/backup/{way}"),
            format!("POST /api/backup/{way}"),
            format!("GET /api/backup/{id}/files/{way}"),
            format!("GET /api/backup/{way}/files/security_config.json"),
            format!("GET /api/backup/{way}/diff?against=live"),
            format!("GET /api/backup/{id}/diff?against={way}"),
            format!("POST /api/backup/{way}/verify"),
            format!("PUT /api/backup/{way}/pin"),
            format!("DELETE /api/backup/{way}/pin"),
            format!("POST /api/backup/{way}/forget"),
            format!("POST /api/drill/{way}"),
            format!("POST /api/recovery/{way}/{id}"),
            format!("POST /api/recovery/security/{way}"),
            format!("GET /api/jobs/{way}"),
            format!("GET /api/backup/list?set={way}"),
        ] {
            let (_, text) = siege.refused(&request(&line, &bearer, ""));
            assert!(!text.to_ascii_lowercase().contains("\r\nx-evil"), "{line}: {text}");
        }
        let escaped = serde_json::to_string(way).unwrap();
        for body in [format!("{{\"file\": {escaped}}}"), format!("{{\"files\": [{escaped}]}}")] {
            siege.refused(&request(&format!("POST /api/recovery/security/{id}"), &bearer, &body));
        }
    }
    siege.end();
}

#[test]
fn bodies_that_are_huge_or_no_json_are_refused_and_change_nothing() {
    let siege = Siege::begin("");
    let deep = format!("{{\"a\": {}", "[".repeat(60_000));
    let long = format!("{{\"a\": \"{}\"}}", "x".repeat(60_000));
    let bodies = [
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}{}",
        "{\"a\": 1}",
        "{\"confirm\": 5}",
        "{\"confirm\": \"a\", \"confirm\": \"b\"}",
        "{\"\\ud800\": 1}",
        "\u{feff}{}",
        "<xml/>",
        "file=../x",
        &deep,
        &long,
    ];
    for call in ["/api/backup/security", "/api/prune", "/api/recovery/apply", "/api/recovery/security/latest"] {
        for body in bodies {
            siege.refused(&request(&format!("POST {call}"), "", body));
        }
        for length in
            ["65537", "99999999999", "18446744073709551615", "18446744073709551616", "-1", "0x10", "1e3", "+2"]
        {
            siege.refused(&request(&format!("POST {call}"), &format!("Content-Length: {length}\r\n"), ""));
        }
        let chunked = request(&format!("POST {call}"), "Transfer-Encoding: chunked\r\n", "");
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        let too_long = [chunked.clone(), chunk.clone(), chunk, b"0\r\n\r\n".to_vec()];
        assert_eq!(siege.refused(&too_long.concat()).0, 413);
        for size in ["FFFFFFFFFFFFFFFFF", "-1", "zz", "1;x=y\r\nab"] {
            siege.refused(&[chunked.clone(), format!("{size}\r\n\r\n0\r\n\r\n").into_bytes()].concat());
        }
    }
    let bytes = [request("POST /api/backup/security", "Content-Length: 4\r\n", ""), vec![b'{', 0xff, 0, b'}']].concat();
    siege.refused(&bytes);
    siege.end();
}

#[test]
fn heads_that_flood_repeat_or_contradict_themselves_are_refused() {
    let siege = Siege::begin("");
    let flood = |count: usize| (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>();
    let long = |bytes: usize| format!("X: {}\r\n", "x".repeat(bytes));
    for headers in [
        flood(200),
        flood(10_000),
        long(200_000),
        long(8_000_000),
        "Host: localhost\r\n".into(),
        "Host: evil.example\r\n".into(),
        "Content-Length: 2\r\nContent-Length: 3\r\n".into(),
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n".into(),
        "Transfer-Encoding: gzip, chunked, chunked\r\n".into(),
        "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n".into(),
        "Authorization: Basic dXNlcjpwYXNz\r\n".into(),
        "Origin: http://evil.example\r\n".into(),
        "Sec-Fetch-Site: cross-site\r\n".into(),
        "Bad Name: x\r\n".into(),
        ": x\r\n".into(),
        "X: a\0b\r\n".into(),
        "X: a\r\n folded\r\n".into(),
    ] {
        siege.refused(&request("POST /api/backup/security", &headers, ""));
    }
    let long_path = format!("GET /api/backup/{}", "a".repeat(200_000));
    for line in [long_path.as_str(), "GET", "GET  ", "\0\0", "GET / HTTP/9.9\r\n\r\nGET", "CONNECT evil.example:443"] {
        siege.refused(&request(line, "", ""));
    }
    let tls = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, b'\r', b'\n', b'\r', b'\n'];
    siege.refused(&tls);
    siege.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    for method in ["TRACE", "PATCH", "OPTIONS", "PROPFIND", "post", "BREW"] {
        for path in ["/api/status", "/api/backup/security", "/api/recovery/apply", "/metrics", "/healthz", "/nowhere"] {
            let (status, text) = siege.refused(&request(&format!("{method} {path}"), "", ""));
            assert!(status != 405 || text.contains("\r\nallow: "), "{method} {path}: {text}");
        }
    }
    siege.end();
}

/// Who sends a byte now and then.
struct Dripping(Vec<TcpStream>);

impl Dripping {
    fn begin(siege: &Siege, count: usize, head: &str) -> Self {
        let begun = |_| {
            let mut stream = siege.connect();
            stream.write_all(head.as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        };
        Self((0..count).map(begun).collect())
    }

    /// Sends each of them a byte; keeps those that are still waited for.
    fn drip(&mut self) {
        self.0.retain_mut(|stream| {
            let answered = !matches!(stream.read(&mut [0; 512]), Err(error) if error.kind() == ErrorKind::WouldBlock);
            !answered && stream.write_all(b"x").is_ok()
        });
    }
}

#[test]
fn who_sends_a_byte_now_and_then_is_not_waited_for_and_holds_nobody_up() {
    let siege = Siege::begin("");
    let mut slow = [
        Dripping::begin(&siege, 200, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "),
        Dripping::begin(
            &siege,
            200,
            "POST /api/backup/security HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n{",
        ),
        Dripping::begin(&siege, 50, "GET /api/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n"),
    ];
    common::wait_for(
        || "every slow client to be turned away".to_owned(),
        || {
            slow.iter_mut().for_each(Dripping::drip);
            let (seconds, answer) = common::timed(|| siege.daemon.get("/api/status").status);
            assert!(answer == 200 && seconds < 5.0, "{answer} after {seconds} s");
            // The rhythm of the attack: nothing is waited for.
            sleep(Duration::from_millis(200));
            slow.iter().all(|slow| slow.0.is_empty()).then_some(())
        },
    );
    siege.end();
}

#[test]
fn ten_thousand_idle_connections_hold_nobody_up_and_leave_the_service_as_it_was() {
    const CONNECTIONS: usize = 10_000;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let siege = Siege::begin("[http]\nunix_socket = \"run/api.sock\"\n");
    let address = siege.daemon.authority().parse().unwrap();
    let mut idle: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    while idle.len() < CONNECTIONS {
        idle.push(TcpStream::connect_timeout(&address, PATIENCE).unwrap());
        if idle.len().is_multiple_of(1000) {
            // Through the same door, past all who sit in it.
            let (seconds, answer) = common::timed(|| siege.daemon.get("/api/status").status);
            println!("{} idle connections: answered after {seconds:.3} s", idle.len());
            assert!(answer == 200 && seconds < 5.0, "{answer} after {seconds} s");
        }
    }
    let mut beside = UnixStream::connect(siege.installation.path("run/api.sock")).unwrap();
    beside.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    beside.write_all(&request("GET /api/status", "", "")).unwrap();
    let mut answer = String::new();
    beside.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(idle);
    siege.end();
}
