//! A terminal, for the program to print on.
//!
//! Hazard: what only a terminal is shown (columns, colours, bars, questions) is what a pipe never proves. The program gets
//! a real one, as wide as wanted, and what is compared is what a person sees when it has ended: a bar that was wiped is
//! gone, one that was left behind is there.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// How long a command may be silent.
const DEADLINE: Duration = Duration::from_secs(60);

/// What every question ends with.
const QUESTION: &str = "[y/N] ";

/// What clears a line.
const WIPE: &str = "\r\u{1b}[2K";

/// What a terminal shows at the end.
pub struct Shown {
    /// The text; colours are in it as they were sent.
    pub text: String,
    /// The exit code.
    pub code: i32,
}

/// Runs a command on a terminal with so many columns; every question is answered so.
pub fn show(mut command: Command, columns: u16, reply: &str) -> Shown {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    tcsetwinsize(&ours, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let theirs = File::options().read(true).write(true).open(path).unwrap();
    let end = || Stdio::from(theirs.try_clone().unwrap());
    command.stdin(end()).stdout(end()).stderr(end());
    let mut child = command.spawn().unwrap();
    // The terminal is at its end once nobody else has it open.
    drop((command, theirs));
    let mut ours = File::from(ours);
    let sent = read_aside(ours.try_clone().unwrap());
    let mut bytes = Vec::new();
    let mut answered = 0;
    loop {
        match sent.recv_timeout(DEADLINE) {
            Ok(more) => bytes.extend(more),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("silent for {DEADLINE:?} after {:?}", String::from_utf8_lossy(&bytes));
            }
        }
        if String::from_utf8_lossy(&bytes).matches(QUESTION).count() > answered {
            answered += 1;
            ours.write_all(format!("{reply}\n").as_bytes()).unwrap();
        }
    }
    let code = super::common::code(child.wait().unwrap());
    Shown { text: screen(&String::from_utf8(bytes).unwrap()), code }
}

/// What arrives, as it does. A terminal that nobody writes to any more is an error to read from (EIO, pty(7)).
fn read_aside(mut from: File) -> Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if send.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    receive
}

/// What is on the screen, and above it, after all of this was sent. Lines are as long as they were sent.
fn screen(sent: &str) -> String {
    let lines = sent.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        // A bar wipes its line before it draws itself anew, and at its end.
        let left = line.rsplit_once(WIPE).map_or(line, |(_, left)| left);
        assert!(!left.contains('\r'), "something was written over: {line:?}");
        left
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_bar_that_was_wiped_is_not_seen_and_one_that_was_left_is() {
    assert_eq!(screen("one\r\n\r\u{1b}[2Kbar 1\r\u{1b}[2Kbar 2\r\u{1b}[2Kdone\r\n"), "one\ndone\n");
    assert_eq!(screen("\r\u{1b}[2Kbar 1\r\ndone\r\n"), "bar 1\ndone\n");
}
