//! What each command prints: on a terminal, narrow or wide, and as JSON.
//!
//! Hazard: output that changes by accident breaks whoever reads it, a person or a script. It is held against files in
//! `tests/snapshots`, with whatever differs from run to run made equal; FIOVANA_TEST_ACCEPT=1 writes them anew.

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::files;
use common::{Installation, PROGRAM, code};
use serde_json::Value;

/// One whose `security` set has one good backup, and no service.
fn prepared() -> (Installation, String) {
    let installation = Installation::new();
    assert_eq!(code(installation.run(&["init"]).status), 0);
    let backup = installation.run(&["backup", "security", "--json"]);
    let backup: Value = serde_json::from_slice(&backup.stdout).unwrap();
    (installation, backup["id"].as_str().unwrap().to_owned())
}

/// What a terminal of so many columns shows.
fn on_a_terminal(installation: &Installation, columns: usize, line: &str, variables: &[(&str, &str)]) -> String {
    let mut command = Command::new("script");
    common::clear_environment(&mut command);
    command.current_dir(installation.root()).env("FIOVANA_HTTP_BIND", "127.0.0.1:0").env_remove("NO_COLOR");
    command.envs(variables.iter().copied());
    // Bars are drawn on standard error, as often as there is time to.
    let shell = format!("stty cols {columns} rows 24; {PROGRAM} {line} 2>messages; cat messages");
    let output = command.args(["-qec", &shell, "/dev/null"]).stdin(Stdio::null()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

/// `text` with every part that looks like `form` replaced by `form` itself: `9` is any digit, `x` any hexadecimal one.
fn alike(text: &str, form: &str) -> String {
    let form: Vec<char> = form.chars().collect();
    let fits = |(form, found): (&char, &char)| match form {
        '9' => found.is_ascii_digit(),
        'x' => matches!(found, '0'..='9' | 'a'..='f'),
        other => other == found,
    };
    let mut rest: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at + form.len() <= rest.len() {
        if form.iter().zip(&rest[at..]).all(fits) {
            rest.splice(at..at + form.len(), form.iter().copied());
            at += form.len();
        } else {
            at += 1;
        }
    }
    rest.into_iter().collect()
}

/// What is the same whenever and wherever it is printed.
fn normalised(installation: &Installation, text: &str) -> String {
    let here = installation.root().to_str().unwrap();
    let text = text.replace(here, &format!("/srv/{}", "a".repeat(here.len() - "/srv/".len())));
    let text = alike(&text, "99999999T999999Z-xxxxxxxx");
    let text = alike(&text, "9999-99-99 99:99:99");
    let text = alike(&text, &"x".repeat(64));
    let ages = ["99 min ago", "9 min ago", "99 s ago", "9 s ago"];
    let text = ages.iter().fold(text, |text, age| alike(&text, age).replace(age, "now"));
    let head = |line: &str| line.strip_suffix("AGE").map(|head| format!("{}  AGE", head.trim_end()));
    let lines = text.lines().map(|line| head(line).unwrap_or_else(|| line.to_owned()) + "\n");
    lines.collect::<String>().replace('\u{1b}', "<ESC>")
}

fn hold(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("FIOVANA_TEST_ACCEPT").is_some() {
        files::write(&path, text);
    }
    let expected = String::from_utf8(files::read(&path)).unwrap();
    assert!(expected == text, "{name} changed:\n{text}\ninstead of:\n{expected}");
}

/// The fields of a document, `.` between their names and `[]` for what is in a list, and their types.
fn fields(prefix: &str, value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().for_each(|(name, value)| fields(&format!("{prefix}.{name}"), value, into));
        }
        Value::Array(list) if !list.is_empty() => {
            list.iter().for_each(|value| fields(&format!("{prefix}[]"), value, into))
        }
        other => {
            let kind = match other {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "empty list",
                Value::Object(_) => "empty object",
            };
            into.insert(format!("{prefix}: {kind}\n"));
        }
    }
}

#[test]
fn every_command_prints_what_it_printed_before() {
    let (installation, id) = prepared();
    let mut text = String::new();
    for line in [
        "list",
        &format!("show {id}"),
        &format!("diff {id}"),
        &format!("verify {id}"),
        &format!("pin {id}"),
        &format!("unpin {id}"),
        "prune --dry-run",
        &format!("restore security {id} --to elsewhere"),
        &format!("export {id} security.tar.zst"),
        "recover --dry-run",
        "config check",
        "show 20000101",
        "backup nosuch",
        "bakcup security",
        "list --sett security",
    ] {
        for columns in [100, 40] {
            let _ = std::fs::remove_file(installation.path("security.tar.zst"));
            let _ = std::fs::remove_dir_all(installation.path("elsewhere"));
            let shown = on_a_terminal(&installation, columns, line, &[]);
            assert!(!shown.contains("panicked"), "{shown}");
            text += &format!("$ fiovana-app {line}    # {columns} columns\n{shown}\n");
        }
    }
    hold("terminal.txt", &normalised(&installation, &text));
}

#[test]
fn every_document_has_the_fields_it_had_before() {
    let (installation, id) = prepared();
    let mut text = String::new();
    let commands: [(&str, &[&str]); 16] = [
        ("backup SET", &["backup", "security"]),
        ("backup all", &["backup", "all"]),
        ("list", &["list"]),
        ("show ID", &["show", &id]),
        ("diff ID", &["diff", &id]),
        ("verify ID", &["verify", &id]),
        ("drill SET", &["drill", "security"]),
        ("prune --dry-run", &["prune", "--dry-run"]),
        ("prune", &["prune"]),
        ("restore SET ID", &["restore", "security", &id]),
        ("export ID FILE", &["export", &id, "out.tar.zst"]),
        ("recover --dry-run", &["recover", "--dry-run"]),
        ("status", &["status"]),
        ("audit verify", &["audit", "verify"]),
        ("config show", &["config", "show"]),
        ("config check", &["config", "check"]),
    ];
    for (name, arguments) in commands {
        let output = installation.run(&[arguments, &["--json"]].concat());
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().count(), 1, "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let mut found = BTreeSet::new();
        fields("", &serde_json::from_str(&lines).unwrap(), &mut found);
        text += &format!("$ fiovana-app {name} --json\n{}\n", found.into_iter().collect::<String>());
    }
    hold("json.txt", &text);
    for failing in [&["show", "20000101"][..], &["backup", "nosuch"], &["restore", "security", "20000101", "--to", "x"]]
    {
        let output = installation.run(&[failing, &["--json"]].concat());
        let problem: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(problem["type"], "urn:fiovana:problem:not-found", "{failing:?}");
    }
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let (installation, _) = prepared();
    assert!(on_a_terminal(&installation, 100, "list", &[]).contains("\x1b[32m"));
    assert!(!on_a_terminal(&installation, 100, "list", &[("NO_COLOR", "1")]).contains('\x1b'));
    let piped = installation.run(&["list"]).stdout;
    assert!(!piped.contains(&0x1b) && piped.starts_with(b"BACKUP"));
}

#[test]
fn a_beginning_that_fits_several_backups_lists_them() {
    let (installation, first) = prepared();
    files::write(&installation.path("config/security_config.json"), "{\"changed\": 1}");
    assert_eq!(code(installation.run(&["backup", "security"]).status), 0);
    let refused = installation.run(&["show", &first[..2]]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(code(refused.status) == 1 && said.contains(&first), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
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
    let (installation, id) = prepared();
    for arguments in [
        &["list"][..],
        &["show", &id],
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
