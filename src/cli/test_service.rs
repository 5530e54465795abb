//! A service that answers from a script, for tests.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::Serialize;

use super::remote::Remote;
use crate::api::Problem;
use crate::repository::lock::Holder;

/// What is answered to a request (`POST /api/backup/security`): a status and a body. None: the connection is closed.
pub type Script = fn(&str) -> Option<(u16, String)>;

/// The script's service. Its thread ends with the test.
pub struct TestService {
    address: String,
    requests: Receiver<Asked>,
}

/// What was asked.
struct Asked {
    request: String,
    prefer: String,
    body: String,
}

/// A document as an answer.
pub fn answer(status: u16, document: &impl Serialize) -> Option<(u16, String)> {
    Some((status, serde_json::to_string(document).unwrap()))
}

/// A problem as an answer.
pub fn refusal(problem: &Problem) -> Option<(u16, String)> {
    answer(problem.status, problem)
}

impl TestService {
    pub fn start(mut script: impl FnMut(&str) -> Option<(u16, String)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (send, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(asked) = read_request(&mut stream) else { continue };
                if asked.request == "GET /healthz" {
                    respond(&mut stream, 200, "ok");
                    continue;
                }
                let scripted = script(&asked.request);
                // Before the answer, so that who has the answer finds the request noted.
                if send.send(asked).is_err() {
                    return;
                }
                if let Some((status, text)) = scripted {
                    respond(&mut stream, status, &text);
                }
            }
        });
        Self { address, requests }
    }

    /// Who holds the repository.
    pub fn holder(&self) -> Holder {
        Holder { pid: 4711, host: "here".into(), api: Some(self.address.clone()) }
    }

    pub fn remote(&self) -> Remote {
        Remote::reach(Path::new("/backups"), self.holder(), Duration::from_secs(5)).unwrap().hurried()
    }

    /// What was asked so far, signs of life left out: the request and its body.
    pub fn requests(&self) -> Vec<(String, String)> {
        self.requests.try_iter().map(|asked| (asked.request, asked.body)).collect()
    }

    /// The same, with what was preferred.
    pub fn preferences(&self) -> Vec<(String, String)> {
        self.requests.try_iter().map(|asked| (asked.request, asked.prefer)).collect()
    }
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let request = first.strip_suffix(" HTTP/1.1\r\n")?.to_owned();
    let (mut length, mut prefer) = (0, String::new());
    loop {
        let mut header = String::new();
        lines.read_line(&mut header).unwrap();
        if header == "\r\n" {
            break;
        }
        match header.to_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap(),
            Some(("prefer", value)) => prefer = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).unwrap();
    Some(Asked { request, prefer, body: String::from_utf8(body).unwrap() })
}

fn respond(stream: &mut TcpStream, status: u16, body: &str) {
    let length = body.len();
    let response = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(response.as_bytes()).unwrap();
}
