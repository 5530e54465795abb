//! Restores that meet a hostile manifest, a full disk, a client that leaves, or somebody else who wants the set.
//!
//! Hazard: a restore is the one thing that writes where the application lives. Whatever it is given, and whatever happens
//! around it, it writes below the set's source directory, all or nothing, and one at a time.

mod common;
#[path = "repository/small_disk.rs"]
mod small_disk;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use common::disaster::{backed_up, text};
use common::{Installation, audit, code, files, repository};
use serde_json::{Value, json};
use small_disk::{fill, on_a_small_disk};

const FAILED: i32 = 1;
const INTEGRITY: i32 = 4;

fn parsed(output: &std::process::Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(output)))
}

fn newest(installation: &Installation, set: &str) -> String {
    let listed = parsed(&installation.run(&["list", "--set", set, "--json"]));
    listed["backups"][0]["id"].as_str().unwrap().to_owned()
}

/// What is done to a manifest.
type Change<'c> = &'c dyn Fn(&mut Value);

/// Puts a manifest like this one, but for a change, into the repository, under the id that its bytes have.
fn forge(installation: &Installation, id: &str, change: Change<'_>) -> String {
    let backups = installation.path("backups");
    let mut manifest = repository::manifest(&backups, "security", id);
    manifest["body"] = json!({"files": repository::files(&backups, &manifest), "missing": []});
    change(&mut manifest);
    let lines = |list: &str, line: &dyn Fn(&Value) -> Value| -> Vec<Value> {
        manifest["body"][list].as_array().unwrap().iter().map(line).collect()
    };
    let files = lines("files", &|file| json!({"file": file}));
    let mut lines = [files, lines("missing", &|path| json!({"missing": {"path": path}}))].concat();
    let path = |line: &Value| line.as_object().unwrap().values().next().unwrap()["path"].as_str().unwrap().to_owned();
    lines.sort_by_key(path);
    manifest["body"] = repository::body(&lines);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let forged = format!("{}-{}", &id[..16], &files::sha256(&bytes)[..32]);
    files::write(&repository::manifest_path(&backups, "security", &forged), bytes);
    forged
}

#[test]
fn a_manifest_that_names_what_no_backup_does_is_refused_as_damage_and_nothing_is_touched() {
    let installation = backed_up();
    let id = newest(&installation, "security");
    let journal = installation.path("config/.fiovana-restore-journal-application.json");
    files::write(&installation.path("outside.json"), "{}");
    let name = |paths: &'static [&'static str]| {
        move |manifest: &mut Value| {
            for (number, path) in paths.iter().enumerate() {
                manifest["body"]["files"][number]["path"] = json!(path);
            }
        }
    };
    let lacks = |path: &'static str| {
        move |manifest: &mut Value| {
            manifest["envelope"]["kind"] = json!("pre_restore");
            manifest["body"]["missing"] = json!([path]);
        }
    };
    let deep = |manifest: &mut Value| manifest["body"]["files"][0]["path"] = json!("a/".repeat(10_000) + "b");
    let hostile: [(Change<'_>, &str); 9] = [
        (&name(&["../outside.json"]), "is not allowed"),
        (&name(&["/etc/outside.json"]), "is not allowed"),
        (&deep, "is not allowed"),
        (&name(&["a.json", "a.json"]), "there twice"),
        (&name(&["a", "a.json", "a/b"]), "inside what is no directory"),
        (&name(&[".fiovana-restore-journal-application.json"]), "belongs to restores under way"),
        (&name(&[".fiovana-restore-0123456789abcdef01234567-0.new"]), "belongs to restores under way"),
        (&lacks("../outside.json"), "is not allowed"),
        (&lacks(".fiovana-restore-journal-application.json"), "belongs to restores under way"),
    ];
    let forged = hostile.map(|(change, words)| (forge(&installation, &id, change), words));
    files::write(&journal, "somebody's");
    let before = files::snapshot(&installation.path("config"));
    for (forged, words) in &forged {
        for to in [&[][..], &["--to", "out"]] {
            let output = installation.run(&[&["restore", "security", forged][..], to].concat());
            assert_eq!(code(output.status), INTEGRITY, "{words}: {}", text(&output));
            assert!(text(&output).contains(words), "{words}: {}", text(&output));
        }
    }
    assert_eq!(files::snapshot(&installation.path("config")), before);
    assert_eq!(files::read(&installation.path("outside.json")), b"{}");
    assert!(!installation.path("out").exists() || installation.path("out").read_dir().unwrap().next().is_none());
    std::fs::remove_file(journal).unwrap();
    assert_eq!(code(installation.run(&["restore", "security", &id]).status), 0, "the good one restores");
}

#[test]
fn a_directory_that_became_a_symlink_leads_nowhere_and_what_is_no_file_is_not_replaced() {
    let installation = Installation::with_settings("[sets.deep]\nsource = \"deep\"\nfiles = [\"**\"]\n");
    let (inside, outside) = (installation.path("deep/d"), installation.path("outside"));
    std::fs::create_dir_all(&inside).unwrap();
    std::fs::create_dir(&outside).unwrap();
    files::write(&inside.join("x.json"), "{}");
    assert_eq!(code(installation.run(&["init"]).status), 0);
    assert_eq!(code(installation.run(&["backup", "deep"]).status), 0);
    std::fs::remove_dir_all(&inside).unwrap();
    symlink(&outside, &inside).unwrap();
    let output = installation.run(&["restore", "deep", "latest"]);
    assert_eq!(code(output.status), FAILED, "{}", text(&output));
    assert_eq!(outside.read_dir().unwrap().count(), 0, "it was followed");

    std::fs::remove_file(&inside).unwrap();
    std::fs::create_dir(&inside).unwrap();
    let pipe = inside.join("x.json");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
    let output = installation.run(&["restore", "deep", "latest"]);
    assert_eq!(code(output.status), FAILED, "{}", text(&output));
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_target_disk_that_is_full_costs_the_restore_and_nothing_else() {
    on_a_small_disk("a_target_disk_that_is_full_costs_the_restore_and_nothing_else", 16, |disk| {
        let live = disk.join("live");
        std::fs::create_dir(&live).unwrap();
        let set = format!("[sets.large]\nsource = {live:?}\nfiles = [\"*\"]\n");
        let installation = Installation::with_settings(&set);
        let write = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            for (name, bytes) in [("large.bin", 5 << 20), ("small.bin", 100)] {
                files::write(
                    &live.join(name),
                    std::iter::repeat_with(|| random.u8(..)).take(bytes).collect::<Vec<u8>>(),
                );
            }
        };
        write(1);
        let backed_up = files::snapshot(&live);
        assert_eq!(code(installation.run(&["init"]).status), 0);
        assert_eq!(code(installation.run(&["backup", "large"]).status), 0);
        let id = newest(&installation, "large");
        write(2);
        let filler = disk.join("somebody else's");
        fill(&filler);
        let before = files::snapshot(&live);
        let output = installation.run(&["restore", "large", &id]);
        let said = text(&output);
        assert_eq!(code(output.status), FAILED, "{said}");
        assert!(said.contains("No space left") && said.contains("no live file was touched"), "{said}");
        assert_eq!(files::snapshot(&live), before, "{said}");
        std::fs::remove_file(&filler).unwrap();
        assert_eq!(code(installation.run(&["restore", "large", &id]).status), 0);
        assert_eq!(files::snapshot(&live), backed_up);
    });
}

/// Restores wait, their files in place and not accepted yet, until the file `go` is there.
const HELD: &str = "[recovery]\nhealth_timeout = \"10m\"\nhealth_command = [\"/bin/sh\", \"-c\", \"until [ -e ../go ]; do sleep 0.05; done\"]\n";

/// An installation whose restores are held, with a backup of what is not live any more: that, and where it belongs.
fn held(settings: &str) -> (Installation, String, Vec<u8>, PathBuf) {
    let installation = Installation::with_settings(&format!("{settings}{HELD}"));
    assert_eq!(code(installation.run(&["init"]).status), 0);
    assert_eq!(code(installation.run(&["backup", "security"]).status), 0);
    let live = installation.path("config/security_config.json");
    let good = files::read(&live);
    files::write(&live, "{\"mistaken\": true}");
    let id = newest(&installation, "security");
    (installation, id, good, live)
}

fn records(installation: &Installation) -> Vec<Value> {
    audit::chained_records(&installation.path("logs/security_audit.log"))
}

#[test]
fn a_client_that_leaves_in_the_middle_of_a_restore_leaves_it_to_be_finished_and_audited() {
    let (installation, id, good, live) = held("");
    let daemon = installation.start();
    daemon.settle();
    let mut client = TcpStream::connect(daemon.authority()).unwrap();
    let host = daemon.authority();
    write!(client, "POST /api/recovery/security/{id} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n").unwrap();
    daemon.wait("the files to be in place", |_| (files::read(&live) == good).then_some(()));
    drop(client);
    files::write(&installation.path("go"), "");
    daemon.wait("the record of its end", |_| {
        let log = String::from_utf8_lossy(&files::read(&installation.path("logs/security_audit.log"))).into_owned();
        log.contains("\"RestoreCompleted\"").then_some(())
    });
    daemon.backup_when_free("security");
    assert_eq!(files::read(&live), good);
    assert!(daemon.terminate().success());
    let ends =
        records(&installation).into_iter().filter(|record| record["event"].as_str().unwrap().starts_with("Restore"));
    let ends: Vec<Value> = ends.map(|record| record["event"].clone()).collect();
    assert_eq!(ends, ["RestoreStarted", "RestoreCompleted"]);
}

#[expect(clippy::disallowed_methods, reason = "a deadline of a test")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[test]
fn while_a_set_is_restored_nobody_else_restores_it_or_backs_it_up() {
    let (installation, id, good, live) = held("[sets.security]\ninterval = \"1s\"\n");
    let daemon = installation.start();
    daemon.settle();
    let restore = format!("/api/recovery/security/{id}");
    let first = std::thread::scope(|scope| {
        let first = scope.spawn(|| daemon.post(&restore));
        daemon.wait("the files to be in place", |_| (files::read(&live) == good).then_some(()));
        let others = [restore.as_str(), "/api/backup/security"].map(|path| scope.spawn(|| daemon.post(path)));
        let command = scope.spawn(|| installation.run(&["restore", "security", &id]));
        daemon.wait("a scheduled run to be overdue", |daemon| {
            let since: DateTime<Utc> = daemon.set("security")["running_since"].as_str().unwrap().parse().unwrap();
            (now() - since > TimeDelta::seconds(2)).then_some(())
        });
        assert!(others.iter().all(|other| !other.is_finished()) && !command.is_finished(), "they did not wait");
        files::write(&installation.path("go"), "");
        for (other, status) in others.into_iter().zip([200, 201]) {
            let answer = other.join().unwrap();
            assert_eq!(answer.status, status, "{}", answer.text);
        }
        let output = command.join().unwrap();
        assert_eq!(code(output.status), 0, "{}", text(&output));
        first.join().unwrap()
    });
    assert_eq!(first.status, 200, "{}", first.text);
    daemon.backup_when_free("security");
    assert!(daemon.terminate().success());
    let records = records(&installation);
    let of = |event: &str| records.iter().position(|record| record["event"] == event).unwrap();
    let (begun, ended) = (of("RestoreStarted"), of("RestoreCompleted"));
    let between = records[begun..ended].iter().filter(|record| record["event"] == "BackupStarted");
    assert_eq!(between.filter(|record| record["set"] == "security").count(), 0, "they interleaved");
}

#[test]
fn two_commands_restore_one_after_the_other_or_one_is_told_who_is_in_the_way() {
    let (installation, id, good, live) = held("");
    let mut command = installation.command::<&str>(&["restore", "security", &id], &[]);
    let mut first = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    common::wait_for(|| "the files to be in place".into(), || (files::read(&live) == good).then_some(()));
    for other in [&["restore", "security", &id][..], &["backup", "security"]] {
        let output = installation.run(other);
        let said = text(&output);
        assert_eq!(code(output.status), FAILED, "{said}");
        assert!(said.contains(&format!("process {}", first.id())), "{said}");
    }
    files::write(&installation.path("go"), "");
    assert!(first.wait().unwrap().success());
    assert_eq!(files::read(&live), good);
}

/// A journal by which a start would take the live security configuration away, in the name of this repository.
fn forged_journal(installation: &Installation) -> Vec<u8> {
    let repository: Value =
        serde_json::from_slice(&files::read(&installation.path("backups/repository.json"))).unwrap();
    let live = files::read(&installation.path("config/security_config.json"));
    let id = newest(installation, "security");
    let journal = json!({
        "version": 1, "repository": repository["id"], "set": "security", "correlation_id": "c", "principal": "cli:0",
        "token": "a".repeat(24), "committed": false, "backups": [id], "safety_backup": id,
        "changes": [{
            "target": "security_config.json", "new": files::sha256(&live), "replaces": false, "old": null,
        }],
    });
    let document = serde_json::to_vec(&journal).unwrap();
    [format!("{}\n", files::sha256(&document)).as_bytes(), &document, b"\n"].concat()
}

#[test]
fn the_journal_of_another_user_is_not_obeyed_and_its_words_reach_no_terminal() {
    let installation = backed_up();
    let place = installation.path("config/.fiovana-restore-journal-security.json");
    let live = files::read(&installation.path("config/security_config.json"));
    let journal = forged_journal(&installation);
    // Of our own it would be obeyed: the file goes.
    files::write(&place, &journal);
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o600)).unwrap();
    installation.start().terminate();
    assert!(!installation.path("config/security_config.json").exists(), "the forged journal says nothing");
    for (owner, mode, links) in [(common::UNPRIVILEGED, 0o600, 1), (0, 0o622, 1), (0, 0o600, 2)] {
        files::write(&installation.path("config/security_config.json"), &live);
        files::write(&place, &journal);
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(mode)).unwrap();
        if links > 1 {
            std::fs::hard_link(&place, installation.path("config/another-name")).unwrap();
        }
        if owner != 0 && !rustix::process::geteuid().is_root() {
            continue;
        }
        if owner != 0 {
            std::os::unix::fs::chown(&place, Some(owner), Some(owner)).unwrap();
        }
        let daemon = installation.start();
        let said = daemon.wait("the journal to be told of", |daemon| {
            Some(daemon.said()).filter(|said| said.contains("is not believed"))
        });
        assert!(said.contains("is named like the journal of a restore"), "{said}");
        assert_eq!(files::read(&installation.path("config/security_config.json")), live, "{owner} {mode:o} {links}");
        daemon.terminate();
        std::fs::remove_file(&place).unwrap();
    }
}

#[test]
fn a_manifest_that_unpacks_to_more_than_one_may_hold_is_damage_and_costs_bounded_memory() {
    use base64::Engine as _;
    let installation = backed_up();
    let id = newest(&installation, "security");
    let backups = installation.path("backups");
    let mut manifest = repository::manifest(&backups, "security", &id);
    let mut packed = Vec::new();
    let lines = std::io::Read::take(std::io::repeat(b'\n'), 600 << 20);
    zstd::stream::copy_encode(lines, &mut packed, 1).unwrap();
    manifest["body"] = base64::engine::general_purpose::STANDARD.encode(&packed).into();
    let bytes = serde_json::to_vec(&manifest).unwrap();
    assert!(bytes.len() < 1 << 20, "it is small until it is unpacked");
    // One for each thread that reads.
    for number in 0..4 {
        manifest["envelope"]["sequence"] = (90 + number).into();
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let forged = format!("{}-{}", &id[..16], &files::sha256(&bytes)[..32]);
        files::write(&repository::manifest_path(&backups, "security", &forged), bytes);
    }
    let daemon = installation.start();
    let listed = daemon.list("security");
    let damaged = listed.iter().filter(|backup| backup["fault"].to_string().contains("larger than a body can be"));
    assert_eq!(damaged.count(), 4, "{listed:?}");
    // The lines of one body (512 MiB), for each of two threads, and what the service itself takes.
    let peak = daemon.peak_memory_mib();
    assert!(peak < 2 * 512 + 256, "{peak} MiB");
}
