//! Commands that follow long work of a running service.
//!
//! Hazard: a command that is cut off, by a person or a restart, and leaves it open whether its work goes on, was done
//! or is to be asked for again.

mod common;

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use common::audit::{chained_records, count};
use common::{Daemon, Installation, code, files, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A restore that is under way until the test says otherwise: its health check waits for a file.
const HEALTH: &str = "\
[recovery]
health_timeout = \"10m\"
health_command = [\"/bin/sh\", \"-c\", \"touch ../under-way; until [ -e ../go ]; do sleep 0.01; done\"]
";

const RESTORE: [&str; 3] = ["restore", "security", "latest"];

/// What is said while work is followed on a terminal.
const HINT: &str = "restore (after Ctrl-C the service goes on)";

struct Restoring {
    installation: Installation,
    daemon: Daemon,
}

impl Restoring {
    fn new() -> Self {
        let installation = Installation::with_settings(HEALTH);
        let daemon = installation.start();
        daemon.settle();
        daemon.backup("security");
        Self { installation, daemon }
    }

    fn until_under_way(&self) {
        let marker = self.installation.path("under-way");
        self.daemon.wait("the restore to be under way", |_| marker.exists().then_some(()));
    }

    /// Lets the restore end.
    fn let_go(&self) {
        files::write(&self.installation.path("go"), "");
    }

    fn forget(&self) {
        for marker in ["under-way", "go"] {
            std::fs::remove_file(self.installation.path(marker)).unwrap();
        }
    }

    /// How often it was asked how a job goes.
    fn looks(&self) -> u64 {
        let metrics = self.daemon.get("/metrics").text;
        let lines = metrics.lines().filter(|line| line.starts_with("fiovana_http_requests_total{"));
        let looks = lines.filter(|line| line.contains("route=\"/api/jobs/{id}\""));
        looks.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }
}

/// A running command, and what it has said so far, on standard output and standard error together or apart.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (mut from, into) = (child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                into.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
        });
        Self { child, said }
    }

    /// The same on a terminal, which standard output then leads to.
    fn start_on_a_terminal(command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut on_terminal = Command::new("script");
        on_terminal.args(["-qefc", &line.join(" "), "/dev/null"]).current_dir(command.get_current_dir().unwrap());
        common::clear_environment(&mut on_terminal);
        on_terminal.stdin(Stdio::null());
        Self::start(on_terminal)
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// How it ended.
    fn status(&mut self) -> ExitStatus {
        let Self { child, said } = self;
        wait_for(|| format!("its end; it said {}", said.lock().unwrap()), || child.try_wait().unwrap())
    }

    /// Its exit code, all it said on standard output, and on standard error if that is not the same.
    fn end(mut self) -> (i32, String, String) {
        let status = self.status();
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        // What it said is read aside: until nothing more comes.
        let alone = || (Arc::strong_count(&self.said) == 1).then_some(());
        wait_for(|| "the end of what it said".into(), alone);
        (code(status), self.said(), errors)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn progress_is_shown_on_a_terminal_and_neither_in_a_pipe_nor_beside_a_document() {
    let restoring = Restoring::new();
    let command = |arguments: &[&str]| restoring.installation.command::<&str>(arguments, &[]);
    let to_its_end = |running: Running, shows: bool| {
        restoring.until_under_way();
        let looks = restoring.looks();
        let is_followed =
            |_: &Daemon| (restoring.looks() > looks && running.said().contains(HINT) == shows).then_some(());
        restoring.daemon.wait("the restore to be followed", is_followed);
        restoring.let_go();
        let ended = running.end();
        restoring.forget();
        ended
    };

    let (exit, shown, _) = to_its_end(Running::start_on_a_terminal(&command(&RESTORE)), true);
    assert!(exit == 0 && shown.contains("\u{1b}[2Krestored 4 files"), "the bar is wiped: {shown:?}");

    let (exit, piped, errors) = to_its_end(Running::start(command(&RESTORE)), false);
    assert!(exit == 0 && piped.starts_with("restored 4 files") && errors.is_empty(), "{piped}{errors}");

    let with_json = command(&["restore", "security", "latest", "--json"]);
    let (exit, shown, _) = to_its_end(Running::start_on_a_terminal(&with_json), false);
    assert!(exit == 0 && !shown.contains(HINT) && shown.lines().count() == 1, "{shown:?}");
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["restored"].as_array().unwrap().len(), 4);
}

/// The same command, which heeds SIGINT whether these tests do or not: what a shell runs in the background ignores it, and so
/// does whatever that starts (POSIX, Shell Command Language, 2.11).
fn interruptible(command: Command) -> Command {
    let mut heeding = Command::new("env");
    heeding.arg("--default-signal=INT").arg(command.get_program()).args(command.get_args());
    heeding.current_dir(command.get_current_dir().unwrap()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => heeding.env(name, value),
            None => heeding.env_remove(name),
        };
    }
    heeding
}

#[test]
fn an_interrupted_command_leaves_its_work_to_the_service() {
    let restoring = Restoring::new();
    let mut running = Running::start(interruptible(restoring.installation.command::<&str>(&RESTORE, &[])));
    restoring.daemon.wait("the job to be asked for", |_| (restoring.looks() > 0).then_some(()));
    running.signal(Signal::INT);
    assert_eq!(running.status().signal(), Some(Signal::INT.as_raw()));
    restoring.let_go();
    let job = restoring.daemon.wait("the job to end", |daemon| {
        let job = daemon.get("/api/jobs").json()["jobs"][0].clone();
        (job["state"] != "running").then_some(job)
    });
    assert_eq!((&job["operation"], &job["state"]), (&"restore".into(), &"succeeded".into()), "{job}");
    let Restoring { installation, daemon } = restoring;
    assert_eq!(code(daemon.terminate()), 0);
    let records = chained_records(&installation.path("logs/security_audit.log"));
    assert_eq!(count(&records, "RestoreCompleted", "security"), 1);
}

#[test]
fn a_service_that_is_restarted_under_a_command_is_one_clear_line_and_is_not_asked_again() {
    let restoring = Restoring::new();
    let address = restoring.daemon.authority().to_owned();
    let running = Running::start(restoring.installation.command::<&str>(&RESTORE, &[]));
    restoring.daemon.wait("the job to be asked for", |_| (restoring.looks() > 0).then_some(()));
    // However long the restart takes, it is over when the command looks again.
    running.signal(Signal::STOP);
    let Restoring { installation, daemon } = restoring;
    daemon.kill();
    files::write(&installation.path("go"), "");
    let daemon = installation.start_with(&[("FIOVANA_HTTP_BIND", address.as_str())]);
    running.signal(Signal::CONT);
    let (exit, said, errors) = running.end();
    assert_eq!((exit, said.as_str(), errors.lines().count()), (1, "", 1), "{errors}");
    assert!(errors.contains("is not known any more") && errors.contains("may have been done or not"), "{errors}");
    assert_eq!(daemon.get("/api/jobs").json()["jobs"].as_array().unwrap().len(), 0);
}
