//! How fast the API answers, idle and while a large backup runs, beside the plainest handler there is.
//!
//! Each path has one client, which asks again as soon as it is answered, on one connection; all three at once.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix_web::{App, HttpServer, web};

use super::logs;
use super::measure::Table;

const PATHS: [&str; 3] = ["/api/backup/list", "/api/status", "/metrics"];
const SPELL: Duration = Duration::from_secs(3);

/// What clients met.
struct Load {
    per_second: f64,
    p50: f64,
    p99: f64,
}

/// The service with a set of `mib` MiB.
pub fn answers(root: &Path, mib: u64, table: &mut Table) {
    let service = Service::start(root, mib);
    let trivial = under_load(trivial(), &for_a_spell());
    let idle = under_load(service.address, &for_a_spell());
    let is_over = AtomicBool::new(false);
    let busy = std::thread::scope(|scope| {
        scope.spawn(|| {
            post(service.address, "/api/backup/bench");
            is_over.store(true, Ordering::Release);
        });
        under_load(service.address, &|| is_over.load(Ordering::Acquire))
    });
    for (index, path) in PATHS.iter().enumerate() {
        for (when, loads) in [("idle", &idle), ("in a backup", &busy)] {
            let (load, least) = (&loads[index], &trivial[index]);
            table.row(&format!("p50 of {path}, {when}"), load.p50, "a trivial handler, idle", least.p50);
            table.row(&format!("p99 of {path}, {when}"), load.p99, "a trivial handler, idle", least.p99);
            let throughput = format!("{:.0} a second, {:.0} by the trivial handler", load.per_second, least.per_second);
            table.note(&format!("{path}, {when}"), throughput);
        }
    }
}

/// The real program; killed when this is dropped.
struct Service {
    child: Child,
    address: SocketAddr,
}

impl Service {
    fn start(root: &Path, mib: u64) -> Self {
        let source = root.join("data");
        logs::generate(&source, mib);
        let settings = root.join("settings.toml");
        let text = "[backup.priority_levels.medium]\nenabled = false\n\
                    [sets.bench]\nsource = \"data\"\nfiles = [\"*.log\"]\npriority = \"medium\"\nvalidate = \"none\"\n";
        std::fs::write(&settings, text).expect("write settings");
        let child = Command::new(env!("CARGO_BIN_EXE_fiovana-app"))
            .args(["--config", "settings.toml"])
            .current_dir(root)
            .env("FIOVANA_HTTP_BIND", "127.0.0.1:0")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the service");
        Self { child, address: announced(&root.join("backups/lock")) }
    }
}

/// Where the service says that it is.
fn announced(lock: &Path) -> SocketAddr {
    let begun = Instant::now();
    loop {
        let holder = std::fs::read(lock).unwrap_or_default();
        let holder: serde_json::Value = serde_json::from_slice(&holder).unwrap_or_default();
        if let Some(address) = holder["api"].as_str().and_then(|address| address.parse().ok()) {
            return address;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the service does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A handler that does nothing, served like ours.
fn trivial() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let app = || App::new().default_service(web::to(async || "ok\n"));
        let server = HttpServer::new(app).workers(2).disable_signals().listen(listener).expect("listen");
        actix_rt::System::new().block_on(server.run()).expect("serve");
    });
    address
}

fn for_a_spell() -> impl Fn() -> bool + Sync {
    let begun = Instant::now();
    move || begun.elapsed() >= SPELL
}

/// What a client of each path meets until it is over.
fn under_load(address: SocketAddr, is_over: &(impl Fn() -> bool + Sync)) -> Vec<Load> {
    std::thread::scope(|scope| {
        let clients = PATHS.map(|path| scope.spawn(move || one_client(address, path, is_over)));
        clients.into_iter().map(|client| client.join().expect("a client")).collect()
    })
}

fn one_client(address: SocketAddr, path: &str, is_over: &impl Fn() -> bool) -> Load {
    let mut stream = BufReader::new(TcpStream::connect(address).expect("connect"));
    let begun = Instant::now();
    let mut seconds = Vec::new();
    while seconds.is_empty() || !is_over() {
        let asked = Instant::now();
        assert_eq!(ask(&mut stream, "GET", path), 200, "{path}");
        seconds.push(asked.elapsed().as_secs_f64());
    }
    let per_second = seconds.len() as f64 / begun.elapsed().as_secs_f64();
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| seconds[((seconds.len() - 1) as f64 * share) as usize];
    Load { per_second, p50: at(0.5), p99: at(0.99) }
}

fn post(address: SocketAddr, path: &str) {
    let mut stream = BufReader::new(TcpStream::connect(address).expect("connect"));
    // Where the set is being backed up already, that is waited for.
    loop {
        match ask(&mut stream, "POST", path) {
            409 => std::thread::sleep(Duration::from_millis(100)),
            status => return assert_eq!(status, 201, "{path}"),
        }
    }
}

/// Asks once, and reads the whole answer; its status.
fn ask(stream: &mut BufReader<TcpStream>, method: &str, path: &str) -> u16 {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.get_mut().write_all(head.as_bytes()).expect("ask");
    let (mut status, mut length, mut line) = (0, 0, String::new());
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an answer") > 0, "it hung up");
        let lower = line.to_ascii_lowercase();
        if let Some(rest) = lower.strip_prefix("http/1.1 ") {
            status = rest[..3].parse().expect("a status");
        } else if let Some(rest) = lower.strip_prefix("content-length: ") {
            length = rest.trim().parse().expect("a length");
        }
    }
    let read = std::io::copy(&mut stream.take(length), &mut std::io::sink()).expect("a body");
    assert_eq!(read, length);
    status
}
