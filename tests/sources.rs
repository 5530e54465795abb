//! Where sources may be, and what becomes of one whose way a stranger can change.
//!
//! Hazard: a service that runs as root is led to files that are nobody's business, or made to write over them, by whoever
//! can write one directory above a source; or it refuses what everybody has, and the rule is switched off. Most of this
//! needs other users, and so root; what needs a namespace passes where none can be had.

mod common;

use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::disaster::text;
use common::{Daemon, Installation, code, files};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::{Gid, Signal, Uid};
use serde_json::Value;
use tempfile::TempDir;

const APP: u32 = 61_001;
const MALLORY: u32 = 61_666;
/// A user with a group of its own, on every Linux.
const DAEMON: u32 = 1;

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const PROBLEMS: i32 = 3;

const OURS: &str = "{\"ours\": true}";
const SECRET: &str = "{\"secret\": \"of root\"}";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A directory that everybody can enter.
fn ground() -> TempDir {
    ground_in(&std::env::temp_dir())
}

fn ground_in(place: &Path) -> TempDir {
    let ground = tempfile::tempdir_in(place.canonicalize().unwrap()).unwrap();
    files::set_mode(ground.path(), 0o755);
    ground
}

/// Makes a directory, and those above it.
fn make(path: &Path, mode: u32, owner: u32) -> PathBuf {
    std::fs::create_dir_all(path).unwrap();
    if is_root() {
        chown(path, Some(owner), Some(owner)).unwrap();
    }
    files::set_mode(path, mode);
    path.to_owned()
}

/// Settings of sets with one file each.
fn settings(sources: &[(&str, PathBuf)]) -> String {
    let set = |(name, source): &(&str, PathBuf)| {
        format!("[sets.{name}]\nsource = \"{}\"\nfiles = [\"a.json\"]\n", source.display())
    };
    format!("replicas = []\n{}", sources.iter().map(set).collect::<String>())
}

/// Does as another user, and says whether it could be done.
fn as_user(user: u32, script: &str) -> bool {
    let user = user.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "sh", "-ec", script]);
    command.status().unwrap().success()
}

/// The hashes of what the backups of a set have.
fn backed_up(installation: &Installation, set: &str) -> Vec<Value> {
    let listed = installation.run(&["list", "--set", set, "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let ids = listed["backups"].as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap().to_owned());
    let hashes = ids.flat_map(|id| {
        let shown: Value = serde_json::from_slice(&installation.run(&["show", &id, "--json"]).stdout).unwrap();
        shown["files"].as_array().unwrap().iter().map(|file| file["sha256"].clone()).collect::<Vec<_>>()
    });
    hashes.collect()
}

/// Backs a set up, loses its file, and restores it.
fn comes_back(set: &str, source: &Path, run: impl Fn(&[&str]) -> Output) {
    let file = source.join("a.json");
    files::write(&file, OURS);
    let output = run(&["backup", set]);
    assert!(output.status.success(), "{set}: {}", text(&output));
    files::write(&file, "{\"other\": 1}");
    let output = run(&["restore", set, "latest"]);
    assert!(output.status.success(), "{set}: {}", text(&output));
    assert_eq!(files::read(&file), OURS.as_bytes(), "{set}");
}

#[test]
fn sources_in_ordinary_places_are_backed_up_and_restored() {
    let (ground, in_tmp) = (ground(), ground());
    let at = |path: &str| ground.path().join(path);
    let mut places = vec![("tmp", in_tmp.path().to_owned())];
    places.push(("app", make(&make(&at("srv"), 0o755, 0).join("app"), 0o750, APP)));
    for (name, mode) in [("home-closed", 0o700), ("home-open", 0o755), ("home-group", 0o775)] {
        let home = make(&at(name), mode, DAEMON);
        places.push((name, make(&home.join(".config"), mode, DAEMON)));
    }
    // As the kubelet lays a volume out; and what it links to as a source.
    let volume = make(&at("volume"), 0o755, 0);
    make(&volume.join("..2026_11_23"), 0o755, 0);
    symlink("..2026_11_23", volume.join("..data")).unwrap();
    places.push(("kubernetes", volume.join("..data")));
    let wide = make(&at("wide"), 0o777, 0);
    places.push(("wide", wide));
    symlink("srv", at("link-above")).unwrap();
    make(&at("srv/other"), 0o755, 0);
    places.push(("linked", at("link-above/other")));
    let (etc, srv) = (is_root().then(|| ground_in(Path::new("/etc"))), is_root().then(|| ground_in(Path::new("/srv"))));
    for (name, place) in [("etc", etc.as_ref()), ("srv", srv.as_ref())] {
        places.extend(place.map(|place| (name, make(&place.path().join("app"), 0o755, 0))));
    }
    let installation = Installation::with_settings(&settings(&places));
    let checked = installation.run(&["config", "check"]);
    assert_eq!(code(checked.status), 0, "{}", text(&checked));
    assert_eq!(code(installation.run(&["init"]).status), 0);
    for (name, source) in &places {
        comes_back(name, source, |arguments| installation.run(arguments));
    }
    let shown = text(&installation.run(&["config", "show"]));
    for line in [
        ("sets.kubernetes.source ", "..data"),
        ("sets.kubernetes.source_resolved ", "..2026_11_23"),
        ("sets.linked.source_resolved ", "srv/other"),
    ] {
        let said = shown.lines().find(|said| said.starts_with(line.0)).unwrap_or_else(|| panic!("{line:?}: {shown}"));
        assert!(said.contains(line.1), "{said}");
    }
    assert!(!shown.contains("sets.tmp.source_resolved"), "{shown}");
}

/// The program, run by a shell that first does what `script` says; `"$@"` is the program and its arguments.
fn after(script: &str, wrapper: &[&str], installation: &Installation, program: &str, arguments: &[&str]) -> Output {
    let plain = installation.command::<&str>(arguments, &[]);
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).args(["sh", "-ec", script, "sh", program]).args(arguments);
    command.current_dir(installation.root()).env("FIOVANA_HTTP_BIND", "127.0.0.1:0");
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.output().unwrap()
}

#[test]
fn a_source_that_is_a_bind_mount_or_below_one_is_an_ordinary_place() {
    let can_mount =
        || Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|output| output.status.success());
    if !is_root() || !can_mount() {
        return;
    }
    let ground = ground();
    let real = make(&ground.path().join("real/inner"), 0o755, APP);
    make(&ground.path().join("real"), 0o755, APP);
    let mounted = make(&ground.path().join("mounted"), 0o755, 0);
    let places = [("mount", mounted.clone()), ("below", mounted.join("inner"))];
    let installation = Installation::with_settings(&settings(&places));
    assert_eq!(code(installation.run(&["init"]).status), 0);
    let script =
        format!("mount --bind '{}' '{}'; exec \"$@\"", ground.path().join("real").display(), mounted.display());
    for (set, seen_here) in [("mount", real.parent().unwrap()), ("below", &real)] {
        comes_back(set, seen_here, |arguments| {
            after(&script, &["unshare", "-m"], &installation, common::PROGRAM, arguments)
        });
    }
}

#[test]
fn in_a_container_whose_root_directory_is_nobodys_sources_are_used_and_no_other_directory_is_excused() {
    let user = APP.to_string();
    let wrapper = ["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups", "unshare", "-rm"];
    let works = |wrapper: &[&str]| {
        Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output().is_ok_and(|output| output.status.success())
    };
    if !is_root() || !works(&wrapper) {
        return;
    }
    let root = ground();
    let at = |path: &str| root.path().join(path);
    for directory in ["usr", "proc", "dev"] {
        make(&at(directory), 0o755, 0);
    }
    for link in ["lib", "lib64", "bin"] {
        symlink(format!("usr/{link}"), at(link)).unwrap();
    }
    let data = make(&at("data"), 0o755, APP);
    make(&at("data/source"), 0o755, APP);
    make(&at("of-nobody/source"), 0o755, APP);
    make(&at("of-nobody"), 0o755, 0);
    std::fs::copy(common::PROGRAM, data.join("program")).unwrap();
    let places = [("inside", "/data/source".into()), ("other", "/of-nobody/source".into())];
    files::write(&data.join("settings.toml"), settings(&places));
    chown(data.join("settings.toml"), Some(APP), Some(APP)).unwrap();
    for place in ["data/source", "of-nobody/source"] {
        files::write(&at(place).join("a.json"), OURS);
        chown(at(place).join("a.json"), Some(APP), Some(APP)).unwrap();
    }
    let script = format!(
        "cd '{}'; for d in usr proc dev; do mount --rbind /$d $d; done; \
         exec chroot . /usr/bin/env -C /data FIOVANA_CONFIG=/data/settings.toml \"$@\"",
        root.path().display()
    );
    let anywhere = Installation::new();
    let run = |arguments: &[&str]| after(&script, &wrapper, &anywhere, "/data/program", arguments);
    let output = run(&["init"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    comes_back("inside", &at("data/source"), run);
    let refused = run(&["backup", "other"]);
    assert_eq!(code(refused.status), FAILED, "{}", text(&refused));
    assert!(text(&refused).contains("/of-nobody (uid 65534"), "{}", text(&refused));
}

/// A source of root's below two directories, backed up while all was well; and what a stranger would like to reach.
struct Field {
    ground: TempDir,
    installation: Installation,
    victim: PathBuf,
    untouched: (std::collections::BTreeMap<PathBuf, String>, i64),
}

impl Field {
    /// The directory above a source belongs to this user, and so does the source.
    fn of(owner: u32, trust_parents: bool) -> Self {
        let ground = ground();
        let at = |path: &str| ground.path().join(path);
        let source = make(&at("w/parent/source"), 0o755, owner);
        make(&at("w/parent"), 0o755, owner);
        make(&at("w"), 0o755, 0);
        files::write(&source.join("a.json"), OURS);
        let good = make(&at("good"), 0o755, 0);
        files::write(&good.join("a.json"), OURS);
        let victim = make(&at("victim/source"), 0o700, 0);
        files::write(&victim.join("a.json"), SECRET);
        let mut said = settings(&[("good", good), ("x", source)]);
        if trust_parents {
            said += "trust_parents = true\n";
        }
        let installation = Installation::with_settings(&said);
        assert_eq!(code(installation.run(&["init"]).status), 0);
        let output = installation.run(&["backup", "x"]);
        assert_eq!(code(output.status), 0, "{}", text(&output));
        let untouched = touch_of(&victim);
        Self { ground, installation, victim, untouched }
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.ground.path().join(relative)
    }

    /// Nothing was written where the stranger would have it, and nothing taken from there.
    fn stands(&self, context: &str) {
        assert_eq!(touch_of(&self.victim), self.untouched, "{context}");
        let ours = Value::from(files::sha256(OURS.as_bytes()));
        for hash in backed_up(&self.installation, "x") {
            assert_eq!(hash, ours, "{context}");
        }
    }
}

/// The set's newest backup.
fn newest(installation: &Installation) -> String {
    let listed = installation.run(&["list", "--set", "x", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed["backups"][0]["id"].as_str().unwrap().to_owned()
}

/// What is in a directory, and when a name in it was last made or removed.
fn touch_of(directory: &Path) -> (std::collections::BTreeMap<PathBuf, String>, i64) {
    let changed = directory.metadata().unwrap();
    (files::snapshot(directory), changed.ctime() * 1_000_000_000 + changed.ctime_nsec())
}

/// What a stranger does, or could do, to the way to the source `w/parent/source`; and what is said of it.
type Strike = (&'static str, fn(&Field), &'static [&'static str]);

const STRIKES: [Strike; 9] = [
    (
        "everybody may write above it",
        |field| files::set_mode(&field.path("w/parent"), 0o777),
        &["w/parent (root (uid 0), root (gid 0), mode 0777) can be written by everybody", "chmod o-w"],
    ),
    (
        "a group with others may write two above it",
        |field| {
            chown(field.path("w"), Some(0), Some(DAEMON)).unwrap();
            files::set_mode(&field.path("w"), 0o775);
        },
        &["mode 0775) can be written by its group, in which are others", "chmod g-w"],
    ),
    (
        "the directory above it is a stranger's",
        |field| chown(field.path("w/parent"), Some(MALLORY), None).unwrap(),
        &["w/parent (uid 61666", "belongs to uid 61666", "chown root"],
    ),
    (
        "a stranger moved the directory above it and put a link there",
        |field| {
            files::set_mode(&field.path("w"), 0o777);
            assert!(as_user(
                MALLORY,
                &format!("cd '{}'; mv parent away; ln -s ../victim parent", field.path("w").display())
            ));
            files::set_mode(&field.path("w"), 0o755);
        },
        &["leads through the link", "w/parent, which belongs to uid 61666"],
    ),
    (
        "a stranger put a directory there, with a link for the source",
        |field| {
            files::set_mode(&field.path("w"), 0o777);
            let script = "mv parent away; mkdir parent; ln -s ../../victim/source parent/source";
            assert!(as_user(MALLORY, &format!("cd '{}'; {script}", field.path("w").display())));
            files::set_mode(&field.path("w"), 0o755);
        },
        &["leads through the link", "parent/source, which belongs to uid 61666"],
    ),
    (
        "in a sticky directory a stranger has what the source was in",
        |field| {
            std::fs::rename(field.path("w/parent"), field.path("w/away")).unwrap();
            files::set_mode(&field.path("w"), 0o1777);
            let script = "mkdir -p parent/source; echo '{}' > parent/source/a.json";
            assert!(as_user(MALLORY, &format!("cd '{}'; {script}", field.path("w").display())));
        },
        &["mode 1777) lets others put something there, as uid 61666 did"],
    ),
    (
        "in a sticky directory a stranger has a link",
        |field| {
            std::fs::rename(field.path("w/parent"), field.path("w/away")).unwrap();
            files::set_mode(&field.path("w"), 0o1777);
            assert!(as_user(MALLORY, &format!("ln -s ../victim '{}'", field.path("w/parent").display())));
        },
        &["w/parent, which belongs to uid 61666"],
    ),
    (
        "what the source was is a link of root's own, to elsewhere",
        |field| {
            std::fs::rename(field.path("w/parent"), field.path("w/away")).unwrap();
            symlink("../victim", field.path("w/parent")).unwrap();
        },
        // The settings are loaded with each command: they resolve it, and a service that runs does not (below).
        &[],
    ),
    (
        "a stranger may write above it by an ACL",
        |field| {
            let entry = |tag: u16, permissions: u16, id: u32| {
                [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
            };
            let none = u32::MAX;
            let entries = [(1, 7, none), (2, 7, MALLORY), (4, 5, none), (0x10, 7, none), (0x20, 5, none)];
            let entries = entries.map(|(tag, permissions, id)| entry(tag, permissions, id)).concat();
            let acl = [&2u32.to_le_bytes()[..], &entries].concat();
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(field.path("w/parent"), "system.posix_acl_access", &acl, flags).unwrap();
        },
        &["can be written by uid 61666, by its ACL", "setfacl -x u:61666"],
    ),
];

#[test]
fn a_source_that_a_stranger_can_replace_is_neither_read_nor_written_and_the_line_says_why() {
    if !is_root() {
        return;
    }
    for (name, strike, words) in STRIKES.iter().filter(|(.., words)| !words.is_empty()) {
        let field = Field::of(0, false);
        let run = |arguments: &[&str]| field.installation.run(arguments);
        let id = newest(&field.installation);
        strike(&field);
        for arguments in [&["backup", "x"][..], &["restore", "x", "latest"], &["diff", &id, "live"]] {
            let output = run(arguments);
            let said = text(&output);
            if code(output.status) == USAGE {
                panic!("{name}: {arguments:?}: {said}");
            }
            assert_eq!(code(output.status), FAILED, "{name}: {arguments:?}: {said}");
            assert!(words.iter().all(|word| said.contains(word)), "{name}: {arguments:?}: {said}");
            assert_eq!(said.trim_end().lines().count(), 1, "{name}: {said}");
        }
        let drilled = run(&["drill", "x"]);
        assert_ne!(code(drilled.status), 0, "{name}: {}", text(&drilled));
        assert!(text(&drilled).contains(words[0]), "{name}: {}", text(&drilled));
        let recovered = run(&["recover", "--set", "x", "--yes"]);
        assert_ne!(code(recovered.status), 0, "{name}: {}", text(&recovered));
        let checked = run(&["config", "check"]);
        assert_eq!(code(checked.status), PROBLEMS, "{name}: {}", text(&checked));
        assert!(words.iter().all(|word| text(&checked).contains(word)), "{name}: {}", text(&checked));
        let other = run(&["backup", "good"]);
        assert_eq!(code(other.status), 0, "{name}: {}", text(&other));
        field.stands(name);
    }
}

fn reason(daemon: &Daemon) -> Option<String> {
    let status = daemon.status();
    let reasons = status["mode"]["reasons"].as_array().unwrap().clone();
    let found = reasons.into_iter().find(|reason| reason["code"] == "source_unsafe");
    found.map(|reason| reason["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_running_service_goes_on_without_such_a_set_says_so_and_takes_it_up_again() {
    if !is_root() {
        return;
    }
    for (name, strike, words) in STRIKES {
        let field = Field::of(0, false);
        let daemon = field.installation.start();
        daemon.settle();
        assert_eq!(reason(&daemon), None, "{name}");
        strike(&field);
        let words: &[&str] = if words.is_empty() { &["w/parent/source now", "reload the settings"] } else { words };
        let id = daemon.list("x")[0]["id"].as_str().unwrap().to_owned();
        for call in ["/api/backup/x".to_owned(), format!("/api/recovery/x/{id}")] {
            let answer = daemon.post(&call);
            assert!((400..500).contains(&answer.status), "{name}: {}", answer.text);
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            assert!(words.iter().any(|word| detail.contains(word)) || detail.contains("victim"), "{name}: {detail}");
        }
        daemon.signal(Signal::HUP);
        daemon.backup_when_free("good");
        field.stands(name);
    }
    // The reason stands while its cause does.
    let field = Field::of(0, false);
    files::set_mode(&field.path("w/parent"), 0o777);
    let daemon = field.installation.start();
    daemon.settle();
    let detail = daemon.wait("the reason", reason);
    assert!(detail.contains("set x: the source ") && detail.contains("chmod o-w"), "{detail}");
    assert!(daemon.said().contains("can be written by everybody"), "{}", daemon.said());
    daemon.backup_when_free("good");
    files::set_mode(&field.path("w/parent"), 0o755);
    daemon.signal(Signal::HUP);
    daemon.wait("the reason to go", |daemon| reason(daemon).is_none().then_some(()));
    daemon.backup_when_free("x");
}

#[test]
fn whoever_trusts_those_above_a_source_says_so_and_is_believed_but_no_link_of_theirs_is() {
    if !is_root() {
        return;
    }
    for (name, strike, _) in [STRIKES[0], STRIKES[1], STRIKES[2], STRIKES[8]] {
        let field = Field::of(0, true);
        strike(&field);
        let checked = field.installation.run(&["config", "check"]);
        assert_eq!(code(checked.status), 0, "{name}: {}", text(&checked));
        comes_back("x", &field.path("w/parent/source"), |arguments| field.installation.run(arguments));
    }
    let (name, strike, words) = STRIKES[6];
    let field = Field::of(0, true);
    strike(&field);
    let output = field.installation.run(&["backup", "x"]);
    assert_eq!(code(output.status), FAILED, "{name}: {}", text(&output));
    assert!(text(&output).contains(words[0]), "{name}: {}", text(&output));
    field.stands(name);
}

/// Exchanges two names again and again, as another user, until it is dropped.
struct Racer(Arc<AtomicBool>, Option<std::thread::JoinHandle<u64>>);

impl Racer {
    fn start(user: u32, one: PathBuf, other: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let race = move || {
            let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
            // Of this thread alone.
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            let mut rounds = 0;
            while !told.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                rounds += 1;
                std::thread::yield_now();
            }
            rounds
        };
        Self(stop, Some(std::thread::spawn(race)))
    }

    fn end(mut self) -> u64 {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap()
    }
}

#[test]
fn the_owner_of_a_source_who_swaps_it_for_a_link_all_the_time_reaches_nothing_of_root_s() {
    const ROUNDS: usize = 8;
    if !is_root() {
        return;
    }
    // The source itself is swapped, or the directory that it is in; with the parents judged, and without.
    for (swapped, evil, target) in
        [("w/parent/source", "w/parent/evil", "../../victim/source"), ("w/parent", "w/evil", "../victim")]
    {
        for trust_parents in [false, true] {
            let field = Field::of(APP, trust_parents);
            chown(field.path("w"), Some(APP), Some(APP)).unwrap();
            let (one, other) = (field.path(swapped), field.path(evil));
            symlink(target, &other).unwrap();
            lchown(&other, Some(APP), Some(APP)).unwrap();
            let daemon = field.installation.start();
            daemon.settle();
            let id = daemon.list("x")[0]["id"].as_str().unwrap().to_owned();
            let racer = Racer::start(APP, one, other);
            let context = format!("{swapped:?} is swapped, trust_parents {trust_parents}");
            for _ in 0..ROUNDS {
                daemon.post("/api/backup/x");
                daemon.post(&format!("/api/recovery/x/{id}"));
                daemon.get(&format!("/api/backup/{id}/diff?against=live"));
            }
            drop(daemon);
            for _ in 0..ROUNDS / 2 {
                field.installation.run(&["backup", "x"]);
                field.installation.run(&["restore", "x", &id]);
            }
            assert!(racer.end() > 1000, "{context}: it was no race");
            field.stands(&context);
        }
    }
}
