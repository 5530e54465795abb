//! How a command behaves towards what is around it: pipes, shells, a service that dies.
//!
//! Hazard: a command that is right in itself, and breaks what it is part of.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use super::common::{Installation, code, files};
use super::stages::{BACKED_UP, TWO_VERSIONS};
use super::terminal;

/// What a terminal shows of this command with these variables.
fn shown(installation: &Installation, arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = installation.command::<&str>(arguments, &[]);
    command.env_remove("NO_COLOR").env("TERM", "xterm").envs(variables.iter().copied());
    terminal::show(command, 100, "").text
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let stage = BACKED_UP.stage();
    let installation = &stage.installation;
    assert!(shown(installation, &["list"], &[]).contains("\u{1b}[32m"));
    for arguments in [&["list"][..], &["list", "--help"], &["list", "--sett"]] {
        for variables in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            assert!(!shown(installation, arguments, &[variables]).contains('\u{1b}'), "{arguments:?} {variables:?}");
        }
        let piped = installation.run(arguments);
        assert!(![piped.stdout, piped.stderr].concat().contains(&0x1b), "{arguments:?}");
    }
}

#[test]
fn only_a_terminal_breaks_lines() {
    let stage = TWO_VERSIONS.stage();
    let refused = stage.installation.run(&["show", &stage.typed("{beginning}")[0]]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(code(refused.status) == 1 && said.lines().count() == 1, "{said}");
    assert!(stage.typed("{id} {older}").iter().all(|id| said.contains(id)), "{said}");
}

/// The program's output, of which one line is read before the pipe is closed.
fn first_line(mut command: Command) -> (String, Output) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    (line, child.wait_with_output().unwrap())
}

#[test]
fn a_pipe_that_closes_ends_it_quietly() {
    let stage = BACKED_UP.stage();
    let (installation, id) = (&stage.installation, &stage.typed("{id}")[0]);
    for arguments in [
        &["list"][..],
        &["show", id],
        &["config", "show"],
        &["audit", "tail"],
        &["man"],
        &["completions", "zsh"],
        &["--help"],
    ] {
        let (line, rest) = first_line(installation.command::<&str>(arguments, &[]));
        assert!(!line.is_empty(), "{arguments:?}");
        assert_eq!(code(rest.status), 0, "{arguments:?}");
        assert!(rest.stderr.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&rest.stderr));
    }
}

#[test]
fn a_service_that_dies_under_a_command_is_one_clear_line() {
    let installation = Installation::with_settings("[sets.huge]\nsource = \"./huge\"\nfiles = [\"*\"]\n");
    std::fs::create_dir(installation.path("huge")).unwrap();
    files::write_huge(&installation.path("huge/huge.bin"));
    let daemon = installation.start_with(&[("FIOVANA_BACKUP_ENABLED", "false")]);
    let mut command = installation.command::<&str>(&["backup", "huge"], &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    daemon.wait("the backup to run", |daemon| (!daemon.set("huge")["running_since"].is_null()).then_some(()));
    daemon.kill();
    let ended = child.wait_with_output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(code(ended.status), 1);
    assert!(said.lines().count() == 1 && said.contains("may have been done or not"), "{said}");
}

#[test]
fn bash_reads_the_completions_and_offers_what_there_is() {
    let installation = Installation::new();
    let script = installation.run(&["completions", "bash"]);
    files::write(&installation.path("completions"), &script.stdout);
    let offered = |words: &str| {
        let line = format!(
            "set -e; bash -n completions; . ./completions; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             $(complete -p fiovana-app | grep -o '_[a-z_]*') fiovana-app \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &line]).current_dir(installation.root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(offered("fiovana-app ver"), "verify\n");
    assert_eq!(offered("fiovana-app completions f"), "fish\n");
    assert!(offered("fiovana-app restore --t").contains("--to\n"));
    for shell in ["zsh", "fish"] {
        assert!(String::from_utf8(installation.run(&["completions", shell]).stdout).unwrap().contains("fiovana-app"));
    }
    let page = String::from_utf8(installation.run(&["man"]).stdout).unwrap();
    assert!(page.contains("\n.TH fiovana-app 1") && page.contains("\n.SH FIOVANA-APP AUDIT TAIL\n"), "{page}");
}
