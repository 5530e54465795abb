//! What is captured is what was there, and what is restored is what was captured.
//!
//! Hazard: a backup that reads back, restores, passes its drill, and is not what the files were. Each test is one way in
//! which that happened.

mod common;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use common::files::{read, write};
use common::{Installation, code};
use serde_json::Value;

const DONE: i32 = 0;
const PROBLEMS: i32 = 3;

/// An installation with a set `t` of its own, whose source is `src`.
struct Place(Installation);

impl Place {
    /// With these file patterns, and these further lines in the set's section.
    fn new(files: &str, more: &str) -> Self {
        let settings = format!("replicas = []\n[sets.t]\nsource = \"./src\"\nfiles = [{files}]\n{more}\n");
        let place = Self(Installation::with_settings(&settings));
        fs::create_dir(place.0.path("src")).unwrap();
        assert_eq!(code(place.0.run(&["init"]).status), DONE);
        place
    }

    fn source(&self, file: &str) -> PathBuf {
        self.0.path("src").join(file)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::create_dir_all(self.source(file).parent().unwrap()).unwrap();
        write(&self.source(file), content);
    }

    /// Runs a command that must end with this exit code; what it printed.
    fn run(&self, arguments: &[&str], exit: i32) -> String {
        let output = self.0.run(arguments);
        assert_eq!(code(output.status), exit, "{arguments:?}: {}", both(&output));
        both(&output)
    }

    fn document(&self, arguments: &[&str], exit: i32) -> Value {
        let output = self.0.run(&[arguments, &["--json"]].concat());
        assert_eq!(code(output.status), exit, "{arguments:?}: {}", both(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn back_up(&self, exit: i32) -> Value {
        self.document(&["backup", "t"], exit)
    }

    /// What the newest backup has of a file.
    fn restored(&self, file: &str) -> Vec<u8> {
        let out = tempfile::tempdir().unwrap();
        let target = out.path().join("out");
        self.run(&["restore", "t", "latest", "--to", target.to_str().unwrap()], DONE);
        read(&target.join(file))
    }
}

fn both(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What no compressor makes smaller, with line ends in it and none at its end.
fn noise(bytes: usize) -> Vec<u8> {
    let mut content = vec![0; bytes];
    fastrand::Rng::with_seed(7).fill(&mut content);
    content[bytes / 2] = b'\n';
    content[bytes - 1] = 1;
    content
}

#[test]
fn a_file_that_holds_still_is_kept_to_its_last_byte_whatever_its_name_and_set() {
    let files = ["a.log.1.gz", "a.log", "b.log.2.xz", "c.jsonl", "app.log.conf", "my.log.json", "plain"];
    for kind in ["", r#"kind = "logs""#, r#"kind = "files""#] {
        let place = Place::new(r#""*""#, kind);
        for file in files {
            let json = br#"{"a":[1,2],"b":"no line end"}"#.to_vec();
            place.write(file, if file.ends_with(".json") { json } else { noise(70_000) });
        }
        let backup = place.back_up(DONE);
        assert_eq!(backup["state"], "good");
        for file in files {
            assert!(place.restored(file) == read(&place.source(file)), "{file}, {kind:?}");
        }
    }
    // The built-in set of logs, too.
    let place = Place::new(r#""*""#, "");
    fs::create_dir_all(place.0.path("logs")).unwrap();
    write(&place.0.path("logs/security_audit.log.1.gz"), noise(9000));
    write(&place.0.path("logs/error.log"), "started\nFATAL x");
    place.document(&["backup", "logs"], PROBLEMS);
    place.run(&["restore", "logs", "latest", "--to", "out"], DONE);
    for file in ["security_audit.log.1.gz", "error.log"] {
        assert!(read(&place.0.path("out").join(file)) == read(&place.0.path("logs").join(file)), "{file}");
    }
}

#[test]
fn a_log_is_cut_only_where_it_grew_while_it_was_read_and_only_in_a_set_of_logs() {
    let place = Place::new(r#""*.log""#, r#"kind = "logs""#);
    let lines = b"a whole line\n".repeat(4 << 20);
    place.write("a.log", &lines);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut log = fs::OpenOptions::new().append(true).open(place.source("a.log")).unwrap();
            while !over.load(Ordering::Relaxed) {
                log.write_all(b"half a line").unwrap();
                std::thread::yield_now();
            }
        });
        // Unless it stood still by chance while it was read, its copy ends where the last whole line did.
        let cut = |_: &i32| {
            place.back_up(DONE);
            place.restored("a.log") == lines
        };
        let seen = (0..20).find(cut);
        over.store(true, Ordering::Relaxed);
        assert!(seen.is_some(), "its copy always ended in half a line");
    });
}

#[test]
fn a_restore_over_a_log_and_its_undo_keep_the_line_that_has_no_end_yet() {
    let place = Place::new(r#""*.log""#, r#"kind = "logs""#);
    place.write("c.log", "start\nFATAL x");
    place.back_up(DONE);
    place.write("c.log", "start\nFATAL y and mo");
    let restored = place.document(&["restore", "t", "latest", "--replace-logs"], DONE);
    assert_eq!(read(&place.source("c.log")), b"start\nFATAL x");
    let undo = restored["undo"].as_str().unwrap().strip_prefix("fiovana-app ").unwrap().to_owned();
    place.run(&undo.split(' ').collect::<Vec<_>>(), DONE);
    assert_eq!(read(&place.source("c.log")), b"start\nFATAL y and mo");
}

#[test]
fn a_file_that_is_spelt_like_a_pattern_is_that_file_and_a_pattern_that_matches_nothing_is_told() {
    let place = Place::new(r#""app[1].conf", "plain.conf", "conf.d/*.conf""#, "");
    place.write("app[1].conf", "brackets");
    place.write("plain.conf", "plain");
    let backup = place.back_up(PROBLEMS);
    assert_eq!(backup["missing"], serde_json::json!(["conf.d/*.conf"]));
    assert_eq!(place.restored("app[1].conf"), b"brackets");
    assert!(place.run(&["status"], DONE).contains("t: missing: conf.d/*.conf"));
    let checked = place.run(&["config", "check"], DONE);
    assert!(checked.contains("conf.d/*.conf: nothing") && checked.contains("app[1].conf: 1 file"), "{checked}");
    place.write("conf.d/a.conf", "a");
    place.write("app1.conf", "what the pattern means");
    assert_eq!(place.back_up(DONE)["files"].as_array().unwrap().len(), 4);
}

#[test]
fn what_is_excluded_is_left_out_and_shown() {
    let place = Place::new(r#""**""#, r#"exclude = ["cache/**", "*.tmp"]"#);
    for file in ["a", "a.tmp", "cache/x", "cache/d/y", "d/b.tmp"] {
        place.write(file, file);
    }
    let backup = place.back_up(DONE);
    let files: Vec<&str> = backup["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(files, ["a", "d/b.tmp"]);
    let checked = place.document(&["config", "check"], DONE);
    let set = checked["sets"].as_array().unwrap().iter().find(|set| set["set"] == "t").unwrap();
    assert_eq!((set["files"].as_u64(), set["excluded"].as_u64()), (Some(2), Some(3)), "{set}");
    assert_eq!(set["excluded_files"], serde_json::json!(["a.tmp", "cache/d/y", "cache/x"]));
    // What is named and excluded is a slip.
    write(
        &place.0.path("config/fiovana.toml"),
        "replicas = []\n[sets.t]\nsource = \"./src\"\nfiles = [\"a\"]\nexclude = [\"?\"]\n",
    );
    assert!(place.run(&["config", "check"], 2).contains("sets.t.exclude"));
}

#[test]
fn files_that_are_gone_since_the_backup_before_are_told_until_one_is_made_by_hand() {
    let place = Place::new(r#""**""#, "");
    for file in ["a", "b", "mnt/c", "mnt/d", "mnt/e"] {
        place.write(file, file);
    }
    place.back_up(DONE);
    // As if what was mounted there no longer were.
    fs::remove_dir_all(place.source("mnt")).unwrap();
    let text = place.run(&["backup", "t"], PROBLEMS);
    assert!(text.contains("3 files fewer than before: mnt/c, mnt/d, mnt/e"), "{text}");
    let status = place.run(&["status"], DONE);
    assert!(status.contains("t: 3 files fewer than before") && status.contains("fewer_files"), "{status}");
    // Said and heard.
    place.back_up(DONE);
    assert!(!place.run(&["status"], DONE).contains("fewer"));
    // Less than half is told as well, and is no reason to call anybody.
    fs::remove_file(place.source("a")).unwrap();
    place.write("f", "new");
    place.write("g", "new");
    place.back_up(PROBLEMS);
    let status = place.run(&["status"], DONE);
    assert!(status.contains("t: 1 file fewer than before: a") && !status.contains("fewer_files"), "{status}");
}
