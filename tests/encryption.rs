//! Encryption at rest, with the real program and the real `age`.
//!
//! Hazard: one name, one hash or one line in the clear is the leak that encryption was to prevent, and a backup that
//! only its maker can open is none. Everything that is stored is searched for what must not be there; what is
//! stored is opened by age alone.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use common::{Daemon, Installation, audit, code, files, repository};
use serde_json::Value;

const ON: &str = r#"
[backup]
encryption_enabled = true

[sets.notes]
source = "./notes"
files = ["**"]
priority = "critical"
validate = "none"

[drill]
critical = "1s"
"#;

const SECRET: &str = "the launch code is 00000000 and nobody may know it";

/// An installation that encrypts, with a key and something to hide.
fn encrypting() -> Installation {
    let installation = Installation::with_settings(ON);
    std::fs::create_dir(installation.path("notes")).unwrap();
    files::write(&installation.path("notes/launch-codes-of-1977.txt"), format!("{SECRET}\n").repeat(50_000));
    files::write(&installation.path("notes/small-secret-name.txt"), SECRET);
    let made = installation.run(&["key", "init"]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    installation
}

fn run(installation: &Installation, arguments: &[&str]) -> (i32, String) {
    let output = installation.run(arguments);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// What no file below `backups` may hold: names, content and hashes of whatever was backed up.
fn secrets(installation: &Installation) -> Vec<(String, Vec<u8>)> {
    let mut secrets = vec![("the secret".to_owned(), SECRET.as_bytes().to_vec())];
    for directory in ["config", "notes"] {
        for entry in std::fs::read_dir(installation.path(directory)).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_file() {
                continue;
            }
            let (name, content) = (path.file_name().unwrap().to_str().unwrap().to_owned(), files::read(&path));
            let (sha256, blake3) = (files::sha256(&content), blake3::hash(&content));
            secrets.push((format!("the SHA-256 of {name}"), sha256.into_bytes()));
            secrets.push((format!("the BLAKE3 of {name}"), blake3.to_hex().as_bytes().to_vec()));
            secrets.push((format!("the beginning of {name}"), content.iter().copied().take(24).collect()));
            secrets.push((format!("the name {name}"), name.into_bytes()));
        }
    }
    secrets
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// Every place below `directory` where something stands that may not, and how many files were looked at.
fn leaks(directory: &Path, secrets: &[(String, Vec<u8>)]) -> (Vec<String>, usize) {
    let files = files_below(directory);
    let mut leaks = Vec::new();
    for path in &files {
        let shown = path.to_string_lossy().into_owned();
        let bytes = [shown.as_bytes(), &files::read(path)].concat();
        for (what, secret) in secrets {
            if memchr::memmem::find(&bytes, secret).is_some() {
                leaks.push(format!("{what} in {shown}"));
            }
        }
    }
    (leaks, files.len())
}

fn events(installation: &Installation, event: &str) -> Vec<Value> {
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    records.into_iter().filter(|record| record["event"] == event).collect()
}

#[test]
fn nothing_of_what_is_backed_up_is_stored_in_the_clear_not_even_after_kills() {
    let installation = encrypting();
    let secrets = secrets(&installation);
    let (found, looked_at) = leaks(&installation.path("notes"), &secrets);
    assert!(found.len() > 3 && looked_at == 2, "what is searched for is found where it is: {found:?}");
    for round in 0..6 {
        let daemon = installation.start_listening::<&str>(&[]);
        if round % 2 == 0 {
            // Into the first backups, drills and copies.
            daemon
                .wait("a backup", |_| (files_below(&installation.path("backups/objects")).len() > round).then_some(()));
            daemon.kill();
        } else {
            daemon.settle().backup_when_free("notes");
            daemon.kill();
        }
        let (found, looked_at) = leaks(&installation.path("backups"), &secrets);
        assert!(found.is_empty() && looked_at > 5, "round {round}, {looked_at} files: {found:#?}");
    }
    let daemon = installation.start();
    daemon.settle();
    daemon.wait("a drill", |daemon| (daemon.set("notes")["last_drill_outcome"] == "passed").then_some(()));
    let latest = daemon.set("notes")["latest"].as_str().unwrap().to_owned();
    daemon.wait("the replica", |_| {
        repository::manifest_path(&installation.path("backups/replica"), "notes", &latest).exists().then_some(())
    });
    assert_eq!(code(daemon.terminate()), 0);
    let (found, _) = leaks(&installation.path("backups"), &secrets);
    assert!(found.is_empty(), "{found:#?}");
    assert!(!Path::new("/dev/shm").join(scratch_name(&installation)).exists(), "the drill's scratch is gone");
}

#[test]
fn what_recovery_finds_to_be_lost_is_told_and_not_written_down_in_the_clear() {
    let installation = encrypting();
    let secrets = secrets(&installation);
    let lost = "circuit_breaker_config.json";
    files::write(&installation.path("config").join(lost), "{ half a file");
    let daemon = installation.start();
    daemon.settle();
    assert_eq!(code(daemon.terminate()), 0);
    let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "true")]);
    let (exit, said) = run(&installation, &["recover", "--yes"]);
    assert_ne!(exit, 0, "there is nothing to bring {lost} back from: {said}");
    let told = daemon.get("/api/recovery").text;
    assert!(told.contains(&format!("security/{lost}")), "{told}");
    let (found, looked_at) = leaks(&installation.path("backups"), &secrets);
    assert!(found.is_empty() && looked_at > 5, "{found:#?}");
    assert_eq!(code(daemon.terminate()), 0);
}

fn scratch_name(installation: &Installation) -> String {
    let document: Value = serde_json::from_slice(&files::read(&installation.path("backups/repository.json"))).unwrap();
    format!("fiovana-app-drill-{}", document["id"].as_str().unwrap())
}

#[test]
fn an_encrypted_backup_is_listed_shown_verified_and_restored_like_any_other() {
    let installation = encrypting();
    let daemon = installation.start();
    daemon.settle();
    let backup = daemon.backup_when_free("notes");
    let id = backup["id"].as_str().unwrap().to_owned();
    assert_eq!((backup["state"].as_str(), backup["recipients"].as_array().unwrap().len()), (Some("good"), 1));
    assert_eq!(backup["files"].as_array().unwrap().len(), 2);
    assert!(backup["stored_bytes"].as_u64() < backup["size_bytes"].as_u64(), "it is compressed first: {backup}");
    files::write(&installation.path("notes/small-secret-name.txt"), "lost");
    assert_eq!(run(&installation, &["restore", "notes", &id]).0, 0);
    assert_eq!(files::read(&installation.path("notes/small-secret-name.txt")), SECRET.as_bytes());
    let (exit, said) = run(&installation, &["verify", "--all"]);
    assert_eq!(exit, 0, "{said}");
    assert!(run(&installation, &["list"]).1.contains("encrypted"));
    let (exit, said) = run(&installation, &["key", "check"]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(events(&installation, "KeyChanged").len(), 1, "that it was turned on is on record, once");
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn a_host_without_an_identity_backs_up_verifies_and_forgets_and_says_that_it_cannot_restore() {
    let installation = encrypting();
    let recipient = identity_line(&installation, "# public key: ");
    std::fs::rename(installation.path("fiovana-app.key"), installation.path("elsewhere.key")).unwrap();
    files::write(&installation.path("fiovana-app.recipients"), format!("{recipient}\n"));
    let daemon = installation.start();
    daemon.settle();
    let backup = daemon.backup_when_free("notes");
    assert_eq!(backup["state"], "good", "{backup}");
    // Equal content is stored once as long as the process lives.
    let objects = files_below(&installation.path("backups/objects")).len();
    let again = daemon.backup_when_free("notes");
    assert_eq!(files_below(&installation.path("backups/objects")).len(), objects);
    let (exit, said) = run(&installation, &["verify", again["id"].as_str().unwrap()]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(daemon.get("/metrics").status, 200);
    assert_eq!(code(daemon.terminate()), 0);

    // After a restart nothing of the files is known here any more.
    let daemon = installation.start();
    daemon.settle();
    assert_eq!(run(&installation, &["verify", "--all"]).0, 0);
    assert_eq!(run(&installation, &["prune", "--dry-run"]).0, 0);
    let (exit, said) = run(&installation, &["restore", "notes", "latest"]);
    assert!(exit == 1 && said.contains("no identity that opens it is at hand"), "{exit}: {said}");
    let (exit, said) = run(&installation, &["key", "check"]);
    assert!(exit == 1 && said.contains("no identity"), "{exit}: {said}");
    cannot_be_drilled_and_does_not_fail(&installation, &daemon);
    assert_eq!(code(daemon.terminate()), 0);
    assert!(events(&installation, "DrillFailed").is_empty());

    // The identity, brought here, opens everything.
    std::fs::rename(installation.path("elsewhere.key"), installation.path("fiovana-app.key")).unwrap();
    let to = installation.path("restored");
    let (exit, said) = run(&installation, &["restore", "notes", "latest", "--to", to.to_str().unwrap()]);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(files::read(&to.join("small-secret-name.txt")), SECRET.as_bytes());
}

/// A set that nobody here is meant to open is not rehearsed; who asks for it is told why.
fn cannot_be_drilled_and_does_not_fail(installation: &Installation, daemon: &Daemon) {
    let set = daemon.wait("the set to be known as sealed", |daemon| {
        let set = daemon.set("notes");
        (set["last_drill_outcome"] == "no_key").then_some(set)
    });
    assert!(set["next_drill"].is_null() && set["last_drill_error"].is_null(), "{set}");
    let (exit, said) = run(installation, &["drill", "notes"]);
    assert!(exit == 1 && said.contains("no key on this machine opens its backup"), "{exit}: {said}");
    let (exit, said) = run(installation, &["status"]);
    assert!(exit == 0 && said.contains("no key") && !said.contains("drills_failing"), "{exit}: {said}");
    let metrics = daemon.get("/metrics").text;
    for series in ["drill_expected_interval_seconds", "drill_failed"] {
        assert!(metrics.contains(&format!("fiovana_{series}{{set=\"notes\"}} 0\n")), "{metrics}");
    }
}

#[test]
fn a_key_that_is_gone_is_told_by_failing_drills_until_that_is_said_to_be_meant() {
    let installation = encrypting();
    let recipient = identity_line(&installation, "# public key: ");
    files::write(&installation.path("fiovana-app.recipients"), format!("{recipient}\n"));
    let daemon = installation.start();
    daemon.settle();
    daemon.wait("a drill", |daemon| (daemon.set("notes")["last_drill_outcome"] == "passed").then_some(()));
    assert_eq!(code(daemon.terminate()), 0);
    std::fs::rename(installation.path("fiovana-app.key"), installation.path("elsewhere.key")).unwrap();

    let daemon = installation.start();
    let failed = daemon.wait("a drill", |daemon| daemon.set("notes")["last_drill_error"].as_str().map(str::to_owned));
    assert!(failed.contains("no identity that opens it is at hand"), "{failed}");
    daemon.wait("the mode to tell", |daemon| {
        daemon.status()["mode"].to_string().contains("drills_failing").then_some(())
    });
    assert_eq!(code(daemon.terminate()), 0);
    let told = events(&installation, "DrillFailed").len();
    assert!(told >= 2, "{told}");

    let settings = String::from_utf8(files::read(&installation.path("config/fiovana.toml"))).unwrap();
    files::write(&installation.path("config/fiovana.toml"), format!("{settings}\n[encryption]\nwrite_only = true\n"));
    let daemon = installation.start();
    cannot_be_drilled_and_does_not_fail(&installation, &daemon);
    assert_eq!(daemon.settle().status()["mode"]["name"], "normal");
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(events(&installation, "DrillFailed").len(), told);
}

#[test]
fn what_only_an_older_backup_has_is_kept_by_a_host_that_cannot_look_into_it() {
    let installation = encrypting();
    let recipient = identity_line(&installation, "# public key: ");
    std::fs::remove_file(installation.path("fiovana-app.key")).unwrap();
    files::write(&installation.path("fiovana-app.recipients"), format!("{recipient}\n"));
    let id = |backup: Value| backup["id"].as_str().unwrap().to_owned();
    let daemon = installation.start();
    let with_both = id(daemon.settle().backup_when_free("notes"));
    std::fs::remove_file(installation.path("notes/launch-codes-of-1977.txt")).unwrap();
    let with_one = id(daemon.backup_when_free("notes"));
    files::write(&installation.path("notes/small-secret-name.txt"), "another secret");
    let newest = id(daemon.backup_when_free("notes"));
    assert_eq!(code(daemon.terminate()), 0);

    // Nothing of the files is known any more when there are too many.
    let daemon = installation.start_with(&[("FIOVANA_MAX_BACKUPS", "1")]);
    daemon.settle();
    let (exit, said) = run(&installation, &["prune"]);
    assert_eq!(exit, 0, "{said}");
    let left = daemon.wait("what is due to be deleted", |daemon| {
        let left: Vec<String> = daemon.list("notes").into_iter().map(id).collect();
        (!left.contains(&with_one)).then_some(left)
    });
    assert!(left.contains(&newest) && left.contains(&with_both), "{left:?}");
    assert_eq!(code(daemon.terminate()), 0);
}

fn identity_line(installation: &Installation, beginning: &str) -> String {
    let text = String::from_utf8(files::read(&installation.path("fiovana-app.key"))).unwrap();
    text.lines().find_map(|line| line.strip_prefix(beginning)).unwrap().to_owned()
}

#[test]
fn other_recipients_and_the_setting_itself_begin_each_set_anew_and_share_nothing() {
    let installation = encrypting();
    let settings = installation.path("config/fiovana.toml");
    files::write(&settings, ON.replace("encryption_enabled = true", "encryption_enabled = false"));
    let objects = |backup: &Value| -> Vec<String> {
        let id = backup["id"].as_str().unwrap();
        let manifest = repository::manifest(&installation.path("backups"), "notes", id);
        repository::objects(&manifest).into_iter().map(str::to_owned).collect()
    };
    let back_up = || {
        let daemon = installation.start();
        let backup = daemon.settle().backup_when_free("notes");
        assert_eq!(code(daemon.terminate()), 0);
        backup
    };
    let plain = back_up();
    assert!(plain["recipients"].is_null(), "{plain}");
    files::write(&settings, ON);
    let encrypted = back_up();
    let other = age::x25519::Identity::generate().to_public().to_string();
    assert_eq!(run(&installation, &["key", "add-recipient", &other]).0, 0);
    let for_two = back_up();
    assert_eq!(for_two["recipients"].as_array().unwrap().len(), 2);
    assert_eq!(run(&installation, &["key", "remove-recipient", &other]).0, 0);
    let for_one = back_up();
    assert_eq!(for_one["recipients"], encrypted["recipients"]);

    let all = [&plain, &encrypted, &for_two].map(objects);
    for (index, ours) in all.iter().enumerate() {
        let shared: Vec<_> = all[..index].iter().flatten().filter(|object| ours.contains(object)).collect();
        assert!(shared.is_empty(), "{index}: {shared:?}");
    }
    assert_eq!(objects(&for_one), all[1], "what was encrypted for the same ones is shared");
    assert_eq!(events(&installation, "KeyChanged").len(), 3);
    let (_, listed) = run(&installation, &["key", "list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let keys = listed["keys"].as_array().unwrap();
    let ours = keys.iter().find(|key| key["opens"] == true).unwrap();
    let theirs = keys.iter().find(|key| key["opens"] == false).unwrap();
    assert!(ours["backups"].as_u64() > theirs["backups"].as_u64(), "{listed}");
    assert_eq!((ours["encrypts"].as_bool(), theirs["encrypts"].as_bool()), (Some(true), Some(false)));
    assert!(listed["plain_backups"].as_u64().unwrap() >= 1);
}

/// Spoils the keys of an installation.
type Spoil = fn(&Installation);

#[test]
fn keys_that_cannot_be_used_are_one_clear_line_and_never_a_backup_in_the_clear() {
    let cases: [(&str, Spoil, &str); 6] = [
        ("no key", |i| std::fs::remove_file(i.path("fiovana-app.key")).unwrap(), "`fiovana-app key init` makes one"),
        ("too open", |i| files::set_mode(&i.path("fiovana-app.key"), 0o640), "chmod 600"),
        ("no key in it", |i| private(i, "# nothing\n"), "holds no key"),
        ("half a key", |i| private(i, "AGE-SECRET-KEY-1QQQQQQ\n"), "line 1: no identity"),
        ("a bad recipient", |i| files::write(&i.path("fiovana-app.recipients"), "age1\n"), "line 1: no recipient"),
        (
            "a key among the backups",
            |i| files::write(&i.path("config/fiovana.toml"), format!("{ON}\n[encryption]\nidentity = \"backups/k\"\n")),
            "keep the key away from the backups",
        ),
    ];
    for (what, spoil, words) in cases {
        let installation = encrypting();
        spoil(&installation);
        let start = installation.run(&[]);
        let said = String::from_utf8(start.stderr).unwrap();
        assert!(!start.status.success() && said.contains(words), "{what}: {said}");
        assert!(!said.contains("SECRET-KEY-1QQQ"), "{what}: a key is never shown: {said}");
        let (exit, said) = run(&installation, &["config", "check"]);
        assert!(exit == 2 && said.contains(words), "{what}: {exit} {said}");
    }
}

fn private(installation: &Installation, text: &str) {
    let path = installation.path("fiovana-app.key");
    files::write(&path, text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn in_recovery_mode_the_service_comes_up_without_its_keys_and_says_what_is_missing() {
    let installation = encrypting();
    let secrets = secrets(&installation);
    let daemon = installation.start();
    daemon.settle();
    assert_eq!(code(daemon.terminate()), 0);
    std::fs::remove_file(installation.path("fiovana-app.key")).unwrap();
    let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "true")]);
    assert!(daemon.said().contains("there is no key"), "{}", daemon.said());
    let answer = daemon.post("/api/backup/notes");
    assert!(answer.status == 422 && answer.text.contains("nothing was backed up"), "{}", answer.text);
    assert_eq!(code(daemon.terminate()), 0);
    let (found, _) = leaks(&installation.path("backups"), &secrets);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_key_is_made_for_its_owner_alone_and_never_written_over() {
    let installation = encrypting();
    let path = installation.path("fiovana-app.key");
    let before = files::read(&path);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    let (exit, said) = run(&installation, &["key", "init"]);
    assert!(exit == 1 && said.contains("never written over"), "{exit}: {said}");
    assert_eq!(files::read(&path), before);
    let recipient = identity_line(&installation, "# public key: ");
    let (exit, said) = run(&installation, &["key", "remove-recipient", &recipient]);
    assert!(exit == 1 && said.contains("the last one"), "{exit}: {said}");
    for wrong in ["age1", "AGE-SECRET-KEY-1QQQQ", "ssh-ed25519 AAAA"] {
        let (exit, said) = run(&installation, &["key", "add-recipient", wrong]);
        assert!(exit == 2 && said.contains("a recipient is age1"), "{wrong}: {exit} {said}");
    }
    let (_, said) = run(&installation, &["key", "list"]);
    assert!(said.contains(&recipient) && !said.contains("SECRET"), "{said}");
}
