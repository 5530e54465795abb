//! The front door over a real socket, with a stand-in behind it.
//!
//! Hazard: a test that calls handlers in process never meets actix's parser, its dispatcher or its own error answers.

mod calls;
mod endurance;
mod failures;
mod fake;
mod hostile;
mod jobs;
mod openapi;
mod spellings;
mod strangers;
mod streams;
mod tokens;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;

use crate::api::{Problem, ProblemKind};
use crate::clock::SystemClock;

use super::auth::Rule;
use super::entrances::{Entrance, serve_at};
use super::limits::Limits;
use super::peers::Peers;
use super::peers::table::{Wanted, one};
use super::shared::Shared;
use super::users::LocalUsers;
use super::{Hosts, RequestObserver, api_routes, bind};
use crate::actors::service::Caller;
use crate::tokens::Tokens;
use fake::Fake;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Longer than anything takes; only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was observed: route, method, status.
#[derive(Default)]
struct Observed(Mutex<Vec<(String, String, u16)>>, Mutex<Vec<String>>);

impl RequestObserver for Observed {
    fn observed(&self, route: &str, method: &str, status: u16, seconds: f64) {
        assert!((0.0..60.0).contains(&seconds));
        self.0.lock().unwrap().push((route.to_owned(), method.to_owned(), status));
    }

    fn rejected(&self, caller: &Caller) {
        self.1.lock().unwrap().push(caller.correlation_id.clone());
    }
}

/// The number of the user that the service takes itself to run as.
const OWN: u32 = 998;
/// Those of a user that it trusts, and of one that it does not know.
const TRUSTED: u32 = 1000;
const STRANGER: u32 = 1001;

/// A running front door; stopped when dropped.
struct Door {
    address: SocketAddr,
    fake: Fake,
    observed: Arc<Observed>,
    directory: tempfile::TempDir,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
    user: Arc<AtomicU32>,
}

impl Door {
    fn open() -> Self {
        Self::with(Limits::DEFAULT)
    }

    /// On loopback, called by the service's own user.
    fn with(limits: Limits) -> Self {
        Self::serving(limits, LOOPBACK, Rule::Loopback { open_reading: true })
    }

    /// One that takes itself for reachable from elsewhere.
    fn off_loopback() -> Self {
        Self::serving(Limits::DEFAULT, [192, 0, 2, 7].into(), Rule::Tokens)
    }

    fn serving(limits: Limits, bound: IpAddr, rule: Rule) -> Self {
        let listener = bind(SocketAddr::from((LOOPBACK, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (fake, observed) = (Fake::default(), Arc::new(Observed::default()));
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::at(directory.path().join("api-tokens"));
        tokens.prepare().unwrap();
        let user = Arc::new(AtomicU32::new(OWN));
        let (sender, receiver) = mpsc::channel();
        let (api, observer, seen) = (fake.clone(), Arc::clone(&observed), Arc::clone(&user));
        let thread = std::thread::spawn(move || {
            actix_rt::System::new().block_on(async {
                let users = Arc::new(LocalUsers::new(OWN, "fiovana", 65_534).trusting([TRUSTED]));
                let admission = (Hosts::of_api(bound), rule, users);
                let shared = Shared::new(api, tokens, Arc::new(SystemClock::start()), observer, admission, limits);
                let entrance = [Entrance::Plain(listener)];
                let table = move |wanted: &mut Wanted| {
                    wanted.values_mut().for_each(|found| *found = one(1, seen.load(Ordering::SeqCst), 7));
                    Ok(())
                };
                let peers = rule.knows_users().then(|| Peers::looking(1024, Box::new(table)).unwrap());
                let shared = Data::new(shared);
                let server = serve_at(entrance, &shared, api_routes::<Fake>(), limits, peers.as_ref()).unwrap();
                sender.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        let server = receiver.recv_timeout(PATIENCE).unwrap();
        Self { address, fake, observed, directory, server, thread: Some(thread), user }
    }

    /// From now on connections are this user's.
    fn called_by(self, uid: u32) -> Self {
        self.user.store(uid, Ordering::SeqCst);
        self
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends these bytes and reads until the server closes.
    fn raw(&self, bytes: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        Reply::read(&mut stream)
    }

    /// Sends a request as a program would: one Host, and nothing else but what is given.
    fn send(&self, line: &str, headers: &[&str], body: &str) -> Reply {
        self.raw(&request(line, headers, body))
    }

    fn get(&self, path: &str) -> Reply {
        self.send(&format!("GET {path}"), &[], "")
    }

    /// `curl -X POST URL`: no body, no length, no type.
    fn post(&self, path: &str) -> Reply {
        self.send(&format!("POST {path}"), &[], "")
    }

    fn observed(&self) -> Vec<(String, String, u16)> {
        self.observed.0.lock().unwrap().clone()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.server.stop(false));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || ended.is_none_or(|ended| ended.is_ok()));
    }
}

fn request(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\nHost: localhost:8080\r\nConnection: close\r\n");
    if !body.is_empty() {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A server that refuses a body closes before reading it: what it said before counts.
        let ended = stream.read_to_end(&mut bytes);
        assert!(ended.is_ok() || !bytes.is_empty(), "{ended:?}");
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Self { status, headers, body: body.to_owned() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(given, _)| given == name);
        let value = values.next().map(|(_, value)| value.as_str());
        assert_eq!(values.next(), None, "{name} twice");
        value
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem this is, which must be one of `kind` in every respect.
    #[track_caller]
    fn problem(&self, kind: ProblemKind) -> Problem {
        assert_eq!(self.status, kind.status(), "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let problem: Problem = serde_json::from_value(self.json()).unwrap();
        assert_eq!((problem.kind, problem.status, problem.title.as_str()), (kind, kind.status(), kind.title()));
        assert_eq!(problem.correlation_id.as_deref(), self.header("x-request-id"));
        assert!(problem.correlation_id.is_some() && !problem.detail.is_empty());
        assert!(self.body.ends_with("}\n"));
        problem
    }
}
