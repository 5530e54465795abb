//! Log lines that nobody takes.
//!
//! Hazard: whoever starts the service and stops reading what it says stops the service: a write to a full pipe waits for
//! ever. And the error of a write that fails, told on the same output, is a panic.

mod common;

use std::fs::File;
use std::io::{PipeReader, Read, pipe};
use std::process::{Command, Stdio};

use common::{Daemon, Installation, code};

/// A ready service whose standard output and error are these.
fn unheard(installation: &Installation, [output, error]: [Stdio; 2]) -> Daemon {
    let mut command: Command = installation.command::<&str>(&[], &[]);
    command.stdout(output).stderr(error);
    let daemon = Daemon::spawn_unheard(command, installation.path("backups")).listening();
    daemon.wait("the service to be ready", |daemon| (daemon.get("/readyz").status == 200).then_some(()));
    daemon
}

fn dropped_lines(daemon: &Daemon) -> u64 {
    let metrics = daemon.get("/metrics").text;
    let line = metrics.lines().find_map(|line| line.strip_prefix("fiovana_log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("no such series in {metrics}")).parse().unwrap()
}

fn read_to_the_end(mut reader: PipeReader) -> String {
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    said
}

#[test]
fn a_reader_that_stalls_stops_neither_backups_nor_the_api_nor_a_stop() {
    let installation = Installation::with_settings("[logging]\nlevel = \"trace\"\n");
    let (reader, writer) = pipe().unwrap();
    let daemon = unheard(&installation, [writer.try_clone().unwrap().into(), writer.into()]);
    daemon.settle();
    for number in 0..500 {
        daemon.backup(["security", "application"][number % 2]);
        if number % 50 == 0 {
            assert_eq!(daemon.get("/healthz").text, "ok\n");
            assert_eq!(daemon.status()["mode"]["name"], "normal");
        }
    }
    assert_eq!(code(daemon.terminate()), 0);
    let said = read_to_the_end(reader);
    assert!(said.len() > 60_000, "the pipe was never full: {} bytes", said.len());
    assert!(said.contains("listening on http://"), "{said}");
}

#[test]
fn output_that_fails_costs_lines_that_are_counted_and_nothing_else() {
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(pipe().unwrap().1);
    let installation = Installation::new();
    for output in [[full(), full()], [closed(), closed()]] {
        let daemon = unheard(&installation, output);
        daemon.settle();
        daemon.backup("security");
        assert!(dropped_lines(&daemon) > 0);
        assert!(daemon.status()["log_lines_dropped"].as_u64() > Some(0));
        let status = installation.run(&["status"]);
        assert!(String::from_utf8_lossy(&status.stdout).contains("log lines were lost"), "{status:?}");
        assert_eq!(code(daemon.terminate()), 0);
    }
}

#[test]
fn what_is_said_last_is_read_last() {
    let installation = Installation::new();
    let (reader, writer) = pipe().unwrap();
    let daemon = unheard(&installation, [writer.try_clone().unwrap().into(), writer.into()]);
    daemon.settle();
    assert_eq!(dropped_lines(&daemon), 0);
    assert_eq!(code(daemon.terminate()), 0);
    let said = read_to_the_end(reader);
    assert!(said.lines().last().unwrap().ends_with("INFO stopped"), "{said}");
}
