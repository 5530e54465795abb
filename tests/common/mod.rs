//! The real program in a directory of its own, as a user has it.
//!
//! Hazard: a test that sleeps until things have probably happened fails on a busy machine and hides a slow program on
//! a fast one. Everything here is waited for by asking, up to a deadline that no healthy machine reaches.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub mod audit;
pub mod disaster;
pub mod files;
pub mod http;
pub mod repository;

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use http::Answer;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_fiovana-app");

const DEADLINE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(5);

/// The files of the security set, as the procedures list them.
pub const SECURITY: [&str; 4] =
    ["circuit_breaker_config.json", "magic_number_rules.json", "safe_mode_config.json", "security_config.json"];
/// Those of the application set.
pub const APPLICATION: [&str; 3] = ["app_config.json", "user_preferences.json", "workspace_config.json"];

/// Whether there is time for hours of it.
pub fn long() -> bool {
    std::env::var_os("FIOVANA_TEST_LONG").is_some()
}

/// Asks until there is an answer.
#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
pub fn wait_for<T>(what: impl Fn() -> String, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {}", what());
        std::thread::sleep(POLL);
    }
}

/// Seconds that `work` took, and what it returned.
#[expect(clippy::disallowed_methods, reason = "a bound of a test")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begun = Instant::now();
    let result = work();
    (begun.elapsed().as_secs_f64(), result)
}

/// The user of an installation without privileges. Not 65534, which stands for users that have no number of their own.
pub const UNPRIVILEGED: u32 = 64_534;

/// A directory with the sample configuration, in which the program can be started.
pub struct Installation {
    directory: TempDir,
    program: PathBuf,
    user: Option<u32>,
    backups: PathBuf,
}

impl Installation {
    /// A fresh one.
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// A fresh one in a directory of its own in this one.
    pub fn within(place: &Path) -> Self {
        let directory = tempfile::tempdir_in(place).unwrap();
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        files::copy_directory(&samples, &directory.path().join("config"));
        Self { directory, program: PROGRAM.into(), user: None, backups: "backups".into() }
    }

    /// A fresh one with this text as its settings file.
    pub fn with_settings(toml: &str) -> Self {
        let new = Self::new();
        files::write(&new.path("config/fiovana.toml"), toml);
        new
    }

    /// The same; its settings put the backups into the directory `backups`.
    pub fn with_backups_in(backups: &str, toml: &str) -> Self {
        Self { backups: backups.into(), ..Self::with_settings(toml) }
    }

    /// One whose programs run without privileges, even if the tests are run by root, whom no permission stops.
    pub fn unprivileged() -> Self {
        let new = Self::new();
        if rustix::process::geteuid().is_root() { new.given_to(UNPRIVILEGED) } else { new }
    }

    /// The same with programs that run as this user, whose it is. Only root can do that.
    pub fn given_to(mut self, user: u32) -> Self {
        // The user may not be able to reach the program where it was built.
        let program = self.path("fiovana-app");
        std::fs::copy(PROGRAM, &program).unwrap();
        files::give_away(self.root(), user);
        (self.program, self.user) = (program, Some(user));
        self
    }

    /// The directory itself, as the program sees it.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// Something in it.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root().join(relative)
    }

    /// The program with these arguments and variables and no other of its variables.
    pub fn command<V: AsRef<OsStr>>(&self, arguments: &[&str], variables: &[(&str, V)]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.root()).args(arguments).stdin(Stdio::null());
        clear_environment(&mut command);
        command.env("FIOVANA_HTTP_BIND", "127.0.0.1:0");
        command.envs(variables.iter().map(|(name, value)| (name, value.as_ref())));
        if let Some(user) = self.user {
            std::os::unix::process::CommandExt::uid(&mut command, user);
            std::os::unix::process::CommandExt::gid(&mut command, user);
        }
        command
    }

    /// The program with these arguments, as another user than the one whose the installation is.
    pub fn command_as(&self, user: u32, arguments: &[&str]) -> Command {
        let mut command = self.command::<&str>(arguments, &[]);
        std::os::unix::process::CommandExt::uid(&mut command, user);
        std::os::unix::process::CommandExt::gid(&mut command, user);
        command
    }

    /// What the program says with these arguments until it ends by itself.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with::<&str>(arguments, &[])
    }

    /// The same with these variables.
    pub fn run_with<V: AsRef<OsStr>>(&self, arguments: &[&str], variables: &[(&str, V)]) -> Output {
        run_to_its_end(self.command(arguments, variables))
    }

    /// The service just begun, about to do whatever it does first.
    pub fn begin(&self) -> Daemon {
        Daemon::spawn(self.command::<&str>(&[], &[]), self.path("backups"))
    }

    /// The running service, ready.
    pub fn start(&self) -> Daemon {
        self.start_with::<&str>(&[])
    }

    /// The running service with these variables, ready.
    pub fn start_with<V: AsRef<OsStr>>(&self, variables: &[(&str, V)]) -> Daemon {
        let daemon = self.start_listening(variables);
        daemon.wait("the service to be ready", |daemon| (daemon.get("/readyz").status == 200).then_some(()));
        daemon
    }

    /// The running service, ready, and its standard input.
    pub fn start_with_input(&self) -> (Daemon, ChildStdin) {
        let mut command = self.command::<&str>(&[], &[]);
        command.stdin(Stdio::piped());
        let mut daemon = Daemon::spawn(command, self.path("backups"));
        let input = daemon.child.stdin.take().unwrap();
        daemon.authority = daemon.wait("the lock to name the service's address", |daemon| daemon.announced());
        daemon.wait("the service to be ready", |daemon| (daemon.get("/readyz").status == 200).then_some(()));
        (daemon, input)
    }

    /// The running service with these variables, as soon as it listens.
    pub fn start_listening<V: AsRef<OsStr>>(&self, variables: &[(&str, V)]) -> Daemon {
        let named = |(name, value): &(&str, V)| (*name == "FIOVANA_BACKUP_DIRECTORY").then(|| PathBuf::from(value));
        let backups = variables.iter().find_map(named).unwrap_or_else(|| self.backups.clone());
        Daemon::spawn(self.command(&[], variables), self.path(backups)).listening()
    }
}

/// Variables of the machine that would change what is tested.
pub fn clear_environment(command: &mut Command) {
    let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        name.starts_with("fiovana_") || name.ends_with("_proxy") || name == "rust_log"
    });
    for name in ours.collect::<Vec<OsString>>() {
        command.env_remove(name);
    }
}

pub fn run_to_its_end(mut command: Command) -> Output {
    let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let (stdout, stderr) = (read_aside(child.stdout.take().unwrap()), read_aside(child.stderr.take().unwrap()));
    let status = wait_for_end(&mut child, || "it should have ended by itself".into());
    Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

/// Starts a program. One that was copied just now may still be open for writing, in a child of another test that is about
/// to become a program of its own.
fn spawn(command: &mut Command) -> Child {
    wait_for(
        || "the program to be free".to_owned(),
        || match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => None,
            spawned => Some(spawned.unwrap()),
        },
    )
}

fn read_aside(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
fn wait_for_end(child: &mut Child, complaint: impl Fn() -> String) -> ExitStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running after {DEADLINE:?}: {}", complaint());
        }
        std::thread::sleep(POLL);
    }
}

/// A running service; killed when this is dropped.
pub struct Daemon {
    child: Child,
    backups: PathBuf,
    authority: String,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    pub fn spawn(mut command: Command, backups: PathBuf) -> Self {
        let mut child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let said = Arc::new(Mutex::new(String::new()));
        collect(child.stdout.take().unwrap(), said.clone());
        collect(child.stderr.take().unwrap(), said.clone());
        Self { child, backups, authority: String::new(), said }
    }

    /// The same; what it says goes where the command says.
    pub fn spawn_unheard(mut command: Command, backups: PathBuf) -> Self {
        let child = command.spawn().unwrap();
        Self { child, backups, authority: String::new(), said: Arc::default() }
    }

    /// The same, as soon as it listens.
    pub fn listening(mut self) -> Self {
        self.authority = self.wait("the lock to name the service's address", |daemon| daemon.announced());
        self
    }

    /// `127.0.0.1:PORT`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Its port.
    pub fn port(&self) -> &str {
        self.authority.rsplit_once(':').unwrap().1
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// All that it has said on standard output and standard error so far.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Asks until there is an answer; says what the service said if there is none, or if it ended.
    pub fn wait<T>(&self, what: &str, mut ask: impl FnMut(&Self) -> Option<T>) -> T {
        wait_for(
            || format!("{what}; it said:\n{}", self.said()),
            || {
                assert!(self.is_alive(), "it ended while waited for {what}; it said:\n{}", self.said());
                ask(self)
            },
        )
    }

    fn is_alive(&self) -> bool {
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    fn announced(&self) -> Option<String> {
        let lock: Value = serde_json::from_slice(&std::fs::read(self.backups.join("lock")).ok()?).ok()?;
        (lock["pid"] == self.child.id()).then(|| lock["api"].as_str().map(str::to_owned)).flatten()
    }

    /// GET.
    pub fn get(&self, path: &str) -> Answer {
        http::get(&format!("http://{}{path}", self.authority)).unwrap_or_else(|error| self.fail(path, &error))
    }

    /// POST without a body.
    pub fn post(&self, path: &str) -> Answer {
        self.try_post(path).unwrap_or_else(|error| self.fail(path, &error))
    }

    /// POST with a JSON body.
    pub fn post_json(&self, path: &str, body: &str) -> Answer {
        let answered = http::post_json(&format!("http://{}{path}", self.authority), body);
        answered.unwrap_or_else(|error| self.fail(path, &error))
    }

    /// POST without a body to a service that may be killed meanwhile.
    pub fn try_post(&self, path: &str) -> Result<Answer, ureq::Error> {
        http::post(&format!("http://{}{path}", self.authority))
    }

    fn fail(&self, path: &str, error: &ureq::Error) -> ! {
        panic!("{path}: {error}; the service said:\n{}", self.said())
    }

    /// Backs up a set and returns the backup's document.
    pub fn backup(&self, set: &str) -> Value {
        let answer = self.post(&format!("/api/backup/{set}"));
        assert_eq!(answer.status, 201, "{}\n{}", answer.text, self.said());
        answer.json()
    }

    /// The same, as soon as a scheduled run of the set is not in the way.
    pub fn backup_when_free(&self, set: &str) -> Value {
        self.wait("the set to be free", |daemon| {
            let answer = daemon.post(&format!("/api/backup/{set}"));
            (answer.status != 409).then(|| answer.json())
        })
    }

    /// `/api/status`.
    pub fn status(&self) -> Value {
        let answer = self.get("/api/status");
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()
    }

    /// What `/api/status` says of a set.
    pub fn set(&self, name: &str) -> Value {
        let status = self.status();
        let set = status["sets"].as_array().unwrap().iter().find(|set| set["name"] == name);
        set.unwrap_or_else(|| panic!("no set {name} in {status}")).clone()
    }

    /// Every backup of a set, newest first.
    pub fn list(&self, set: &str) -> Vec<Value> {
        let answer = self.get(&format!("/api/backup/list?limit=1000&set={set}"));
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["backups"].as_array().unwrap().clone()
    }

    /// Waits until every set was tried once and nothing runs: what is done now is not in the way of the first runs.
    pub fn settle(&self) -> &Self {
        self.wait("the first backups", |daemon| {
            let status = daemon.status();
            let sets = status["sets"].as_array().unwrap();
            let settled = |set: &Value| !set["last_attempt"].is_null() && set["running_since"].is_null();
            sets.iter().all(settled).then_some(())
        });
        self
    }

    /// The most memory that it has had at a time (`VmHWM`, proc(5)).
    pub fn peak_memory_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// kill -9 when what is returned is dropped, by a test that fails too: clients that go on until the service is gone
    /// would do so for ever.
    pub fn killed_when_dropped(&self) -> impl Drop {
        struct Kill<'d>(&'d Daemon);
        impl Drop for Kill<'_> {
            fn drop(&mut self) {
                let _ = kill_process(self.0.pid(), Signal::KILL);
            }
        }
        Kill(self)
    }

    /// kill -9, and with it the clients that still wait for an answer.
    pub fn kill_by_reference(&self) {
        kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends SIGTERM.
    pub fn signal_to_end(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGTERM and waits for the end.
    pub fn terminate(self) -> ExitStatus {
        self.signal_to_end();
        self.end()
    }

    /// Waits for the end.
    pub fn end(mut self) -> ExitStatus {
        let said = self.said.clone();
        wait_for_end(&mut self.child, || format!("it said:\n{}", said.lock().unwrap()))
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let mut said = into.lock().unwrap();
            said.push_str(&String::from_utf8_lossy(&line));
            said.push('\n');
        }
    });
}

/// The exit code of a program that was not killed.
pub fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| panic!("killed by signal {:?}", status.signal()))
}
