//! What is captured is what was there, and what is restored is what was captured.
//!
//! Hazard: a backup that reads back, restores, passes its drill, and is not what the files were. Each test is one way in
//! which that happened.

mod common;
#[path = "common/instructions.rs"]
mod instructions;
#[path = "faithful/kinds.rs"]
mod kinds;
#[path = "faithful/links.rs"]
mod links;
#[path = "faithful/place.rs"]
mod place;
#[path = "faithful/round_trip.rs"]
mod round_trip;

use std::fs;
use std::io::Write;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use common::files::{read, write};
use place::{DONE, PROBLEMS, Place};

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
                // No faster than that: the end of the last whole line is looked for within reach.
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
        });
        // Unless it stood still by chance while it was read, its copy ends where the last whole line did.
        let cut = |_: &i32| {
            fs::OpenOptions::new()
                .write(true)
                .open(place.source("a.log"))
                .unwrap()
                .set_len(lines.len() as u64)
                .unwrap();
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

#[test]
fn what_cannot_be_backed_up_is_listed_with_its_reason_and_keeps_nothing_else_from_it() {
    let place = Place::new(r#""**""#, "");
    place.write("a", "a");
    place.write("d/b", "b");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.source("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.source("socket")).unwrap();
    write(&place.source("").join(std::ffi::OsStr::from_bytes(b"bad-\xff")), "x");
    let backup = place.back_up(PROBLEMS);
    assert_eq!(backup["state"], "good");
    // A name is what it is: bytes.
    assert_eq!(backup["files"].as_array().unwrap().len(), 3, "{backup}");
    let out = place.0.path("out");
    place.run(&["restore", "t", "latest", "--to", out.to_str().unwrap()], DONE);
    assert_eq!(read(&out.join(std::ffi::OsStr::from_bytes(b"bad-\xff"))), b"x");
    let reason = |path: &str| {
        let unreadable = backup["unreadable"].as_array().unwrap();
        let found = unreadable.iter().find(|file| file["path"] == path);
        found.unwrap_or_else(|| panic!("{path} is not in {backup}"))["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason("pipe").contains("a pipe") && reason("socket").contains("a socket"));
    assert!(place.run(&["status"], DONE).contains("t: unreadable: pipe"));
    // The same in the built-in sets: whoever may write logs cannot keep them from being backed up.
    fs::create_dir_all(place.0.path("logs")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.0.path("logs/security_audit.log.evil")).unwrap();
    assert_eq!(place.document(&["backup", "logs"], PROBLEMS)["state"], "good");
}

/// A process that changes a file through a mapping each time it is told to, and does not let go of it.
struct Mapping(std::process::Child);

impl Mapping {
    fn of(file: &std::path::Path) -> Self {
        const CHANGER: &str = "
import mmap, sys
file = open(sys.argv[1], 'r+b')
mapping = mmap.mmap(file.fileno(), 0)
for line in sys.stdin:
    mapping[100:101] = line[:1].encode()
    print('done', flush=True)
";
        let mut changer = Command::new("python3");
        changer.args(["-c", CHANGER]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(changer.spawn().unwrap())
    }

    fn write(&mut self, byte: char) {
        writeln!(self.0.stdin.as_mut().unwrap(), "{byte}").unwrap();
        let mut answer = String::new();
        BufReader::with_capacity(1, self.0.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_change_through_a_mapping_is_captured_by_hand_and_found_by_a_drill() {
    let place = Place::new(r#""data""#, "");
    place.write("data", noise(2 << 20));
    let mut mapping = Mapping::of(&place.source("data"));
    let audit = || String::from_utf8(read(&place.0.path("logs/security_audit.log"))).unwrap();
    mapping.write('A');
    place.back_up(DONE);
    // The page is writable already: nothing but its content tells.
    mapping.write('B');
    place.back_up(DONE);
    assert_eq!(place.restored("data")[100], b'B');
    mapping.write('C');
    let times_told = audit().matches("SourceChangedUnseen").count();
    assert_eq!(place.document(&["drill", "t"], DONE)["verdict"], "passed");
    assert!(audit().matches("SourceChangedUnseen").count() > times_told, "{}", audit());
}

#[test]
fn recover_does_not_mix_files_of_different_moments() {
    let place = Place::new(r#""a.db", "a.db-wal", "b""#, "");
    place.write("b", "b");
    place.write("a.db", "old pages");
    place.write("a.db-wal", "old log");
    place.back_up(DONE);
    // Checkpointed: the log is gone, and the database has what was in it.
    fs::remove_file(place.source("a.db-wal")).unwrap();
    place.write("a.db", "new pages");
    let newest = place.back_up(PROBLEMS);
    fs::remove_file(place.source("a.db")).unwrap();
    let plan = place.document(&["recover", "--dry-run"], PROBLEMS);
    let entry =
        |path: &str| plan["entries"].as_array().unwrap().iter().find(|entry| entry["path"] == path).unwrap().clone();
    assert_eq!((&entry("a.db")["action"], &entry("a.db")["backup"]), (&"restore".into(), &newest["id"]));
    assert_eq!(entry("a.db-wal")["action"], "absent");
    assert!(entry("a.db-wal")["reason"].as_str().unwrap().contains("--file a.db-wal"), "{plan}");
    place.0.run(&["recover", "--yes"]);
    assert_eq!(read(&place.source("a.db")), b"new pages");
    assert!(!place.source("a.db-wal").exists());
}
