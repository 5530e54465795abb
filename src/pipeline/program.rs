//! Running somebody else's program.
//!
//! Hazard: a program that hangs, or leaves children behind, must not hold up whoever runs it. It runs without a shell, in
//! a process group of its own, with little of this service's environment, for a bounded time.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// How often it is asked whether it is done.
const POLL: Duration = Duration::from_millis(10);
/// How long one that was killed is waited for: it may hang where no signal reaches it.
const DEATH: Duration = Duration::from_secs(1);
/// What it gets of this service's environment.
const INHERITED: [&str; 8] =
    ["PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// The program with these arguments, to be run in `directory` without input; its output is for the caller to settle.
pub fn prepare(program: &str, arguments: &[String], directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).process_group(0);
    command.env_clear().envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// How it ended; `None` if it had to be killed, with whatever it started, because the time was over or `cancelled`.
pub fn wait(child: &mut Child, timeout: Duration, cancelled: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    let ended = poll(child, timeout, cancelled)?;
    if ended.is_none() {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        poll(child, DEATH, || false)?;
    }
    Ok(ended)
}

fn poll(child: &mut Child, timeout: Duration, cancelled: impl Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    let polls = timeout.as_millis() / POLL.as_millis() + 1;
    for _ in 0..polls {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if cancelled() {
            break;
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

/// In words, how it ended within `timeout`.
pub fn told(ended: Option<ExitStatus>, timeout: Duration) -> String {
    let Some(status) = ended else { return format!("did not end within {timeout:?}") };
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, signal) => format!("was ended by signal {}", signal.unwrap_or(0)),
    }
}
