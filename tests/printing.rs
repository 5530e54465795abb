//! What a terminal is sent.
//!
//! Hazard: whoever can name a file can put into that name what moves a cursor, sets a title, forges a line of a log, or
//! turns around what an operator reads. Nothing that this program prints, logs or answers does that.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use common::disaster::text;
use common::files::{read, write};
use common::{Installation, code, http};

/// A line break, an escape sequence, the same of C1, a change of direction, an isolate, a tag, and a byte that is no text.
const NAMES: [&[u8]; 5] = [
    b"line\nfiovana-app: all is well",
    "title\u{1b}]0;gone\u{7}\u{9b}2J".as_bytes(),
    "turned\u{202e}gnp.exe\u{2066}".as_bytes(),
    "tag\u{e0041}\u{2028}\u{7f}\r".as_bytes(),
    b"bytes\xff\x1b[2J",
];

/// Fails at the first character that does anything but be seen; line breaks excepted.
fn assert_plain(what: &str, bytes: &[u8]) {
    let shown = String::from_utf8(bytes.to_vec()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let is_hostile = |character: &char| {
        character.is_control() && *character != '\n'
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || matches!(character, '\u{e0000}'..='\u{e007f}')
    };
    let found = shown.chars().find(is_hostile);
    assert_eq!(found, None, "{what}: {}", shown.escape_debug());
    assert!(!shown.contains("\nfiovana-app: all is well"), "{what} has a forged line: {shown}");
}

/// An installation whose set `t` has files with such names, of which some change, vanish or cannot be backed up.
fn hostile(format: &str) -> Installation {
    let installation = Installation::with_settings(&format!(
        "replicas = []\n[logging]\nformat = \"{format}\"\n[sets.t]\nsource = \"./src\"\nfiles = [\"**\"]\n"
    ));
    for name in NAMES {
        let name = OsStr::from_bytes(name);
        let place = installation.path("src").join(name);
        fs::create_dir_all(&place).unwrap();
        write(&place.join(name), "{\"a\": 1");
        let link = [b"link-", name.as_bytes()].concat();
        symlink(name, place.join(OsStr::from_bytes(&link))).unwrap();
        let socket = [b"s", name.as_bytes()].concat();
        drop(std::os::unix::net::UnixListener::bind(place.join(OsStr::from_bytes(&socket))).unwrap());
    }
    installation
}

#[test]
fn names_that_drive_a_terminal_are_shown_by_every_command_answer_and_line_of_the_log() {
    for format in ["human", "json"] {
        let installation = hostile(format);
        let daemon = installation.start();
        daemon.settle();
        assert!(daemon.post("/api/backup/t").status < 300);
        for name in NAMES {
            let name = OsStr::from_bytes(name);
            write(&installation.path("src").join(name).join(name), "{\"b\":\u{1b}[2J\u{202e} 2");
        }
        assert!(daemon.post("/api/backup/t").status < 300);
        let newest = daemon.list("t")[0]["id"].as_str().unwrap().to_owned();
        let commands: [&[&str]; 12] = [
            &["status"],
            &["list", "--set", "t"],
            &["show", &newest],
            &["diff", &newest],
            &["config", "check"],
            &["config", "show"],
            &["verify", "--all"],
            &["drill", "t"],
            &["audit", "tail"],
            &["audit", "verify"],
            &["backup", "t"],
            &["recover", "--dry-run"],
        ];
        for (command, json) in commands.iter().flat_map(|command| [(command, false), (command, true)]) {
            let arguments = [*command, if json { &["--json"] } else { &[] }].concat();
            let output = installation.run(&arguments);
            assert_ne!(code(output.status), 2, "{arguments:?} is no command: {}", text(&output));
            assert_plain(&format!("{arguments:?}"), &[output.stdout, output.stderr].concat());
        }
        for path in ["/api/status", "/api/backup/list?set=t", "/api/audit", "/api/jobs"] {
            assert_plain(path, daemon.get(path).text.as_bytes());
        }
        let hostile_path = "/api/backup/%1b%5b2J%e2%80%ae";
        let answer = http::post(&format!("http://{}{hostile_path}", daemon.authority())).unwrap();
        assert_plain(hostile_path, answer.text.as_bytes());
        let said = daemon.said();
        assert!(said.contains("t"), "{said}");
        assert_plain("the log", said.as_bytes());
        assert_plain("the audit log", &read(&installation.path("logs/security_audit.log")));
        daemon.terminate();
    }
}
