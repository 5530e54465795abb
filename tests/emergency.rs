//! Coming up when nearly everything is broken.
//!
//! Hazard: the service that is to bring everything back refuses to start because of what it is to mend, or mends by
//! beginning anew. Each disaster here ends in a validated restore with one command, or in one clear line.

mod common;
#[path = "repository/small_disk.rs"]
mod small_disk;

use std::net::TcpListener;
use std::path::Path;

use common::disaster::{
    RECOVERY_MODE, back_up, backed_up, configuration, delete_configuration, recovers, survives, text,
};
use common::{Daemon, Installation, audit, code, files};
use rustix::process::{Pid, Signal, kill_process};
use small_disk::{fill, on_a_small_disk};

/// An installation with a replica beside the backup directory, which has everything.
fn replicated() -> Installation {
    let installation = Installation::with_settings(
        "[[replicas]]\nname = \"usb\"\npath = \"usb\"\npriorities = [\"critical\", \"high\", \"medium\"]\n",
    );
    back_up(&installation);
    let daemon = installation.start();
    daemon.wait("the replica to have everything", |daemon| {
        let status = daemon.status();
        let replica = &status["replicas"][0];
        (replica["reachable"] == true && replica["lag"] == 0).then_some(())
    });
    daemon.terminate();
    installation
}

fn found(daemon: &Daemon, what: &str) {
    let said = daemon.said();
    assert!(said.lines().any(|line| line.contains("found: ") && line.contains(what)), "{what:?} is not in\n{said}");
    assert!(said.contains("listening on http://"), "{said}");
    assert!(said.contains("run `fiovana-app recover`"), "{said}");
}

/// A normal start is in recovery mode for this cause, whatever else it does.
fn starts_in_recovery(installation: &Installation, cause: &str) -> Daemon {
    let daemon = installation.start();
    let mode = &daemon.status()["mode"];
    assert_eq!((&mode["name"], &mode["cause"]), (&"recovery".into(), &cause.into()), "{mode}\n{}", daemon.said());
    daemon
}

/// The service does without a repository: it says so where people look, and puts nothing in its place.
fn waits_for_a_repository(installation: &Installation, daemon: &Daemon, words: &[&str]) {
    let said = daemon.said();
    let line = said.lines().find(|line| line.contains("found: ") && words.iter().all(|word| line.contains(word)));
    assert!(line.is_some(), "no line with {words:?} in\n{said}");
    daemon.wait("the reason in the status", |daemon| {
        let mode = daemon.status()["mode"].to_string();
        words.iter().all(|word| mode.contains(word)).then_some(())
    });
    daemon.get("/api/backup/list").problem(503);
    daemon.post("/api/backup/security").problem(503);
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), 1);
    assert!(words.iter().all(|word| text(&output).contains(word)), "{}", text(&output));
    let there = installation.path("backups").read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let there: Vec<_> = there.filter(|name| name != "lock").collect();
    assert!(there.is_empty(), "something was begun: {there:?}");
}

#[test]
fn the_primary_repository_deleted_is_one_command_with_a_replica_left() {
    let installation = replicated();
    let id = |directory: &str| files::read(&installation.path(directory).join("repository.json"));
    let replica = id("usb");
    let manifests = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "json");
    let copies = files::snapshot(&installation.path("usb/manifests")).keys().filter(manifests).count();
    let daemon = survives("the primary repository deleted", &installation, |installation| {
        std::fs::remove_dir_all(installation.path("backups")).unwrap();
        delete_configuration(installation);
        let daemon = starts_in_recovery(installation, "repository_missing");
        waits_for_a_repository(
            installation,
            &daemon,
            &["is gone", "mount its disk", "usb", "FIOVANA_RECOVERY_MODE=true"],
        );
        assert_eq!(code(daemon.terminate()), 0);
    });
    found(&daemon, "backups were brought back from the replica");
    let told = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["id"].clone();
    assert_eq!(told(&id("backups")), told(&replica), "it is another repository");
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(repairs(&installation), [("audit_log".to_owned(), 1), ("replica".to_owned(), copies)]);
    assert_eq!(code(installation.run(&["verify", "--all"]).status), 0);
}

#[test]
fn where_all_but_a_replica_is_lost_nothing_is_begun_and_one_command_brings_it_back() {
    let installation = replicated();
    let daemon = survives("all but the replica and the settings lost", &installation, |installation| {
        for directory in ["backups", "logs"] {
            std::fs::remove_dir_all(installation.path(directory)).unwrap();
        }
        delete_configuration(installation);
        let daemon = starts_in_recovery(installation, "repository_missing");
        waits_for_a_repository(installation, &daemon, &["replicas have one", "usb", "fiovana-app recover"]);
        assert_eq!(code(daemon.terminate()), 0);
    });
    found(&daemon, "backups were brought back from the replica");
}

/// Everything that looks at backups fails, and says all of this in place of an answer.
fn looking_tells(installation: &Installation, backup: &str, words: &[&str]) {
    for looking in [
        &["list"][..],
        &["list", "--set", "security"],
        &["show", backup],
        &["diff", backup, "live"],
        &["restore", "security", backup, "--to", "out"],
        &["verify", "--all"],
        &["recover", "--dry-run"],
        &["status"],
    ] {
        let output = installation.run(looking);
        let said = text(&output);
        assert_eq!(code(output.status), 1, "{looking:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{looking:?}: {words:?} are not all in\n{said}");
        let output = installation.run(&[looking, &["--json"]].concat());
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(code(output.status), 1, "{looking:?}: {document}");
        let told = document["detail"].as_str().or(document["mode"]["reasons"][0]["detail"].as_str()).unwrap();
        assert!(words.iter().all(|word| told.contains(word)), "{looking:?}: {document}");
    }
    assert!(!installation.path("out").exists());
}

#[test]
fn whoever_looks_for_a_repository_that_is_gone_is_told_so_and_never_that_there_are_no_backups() {
    let installation = replicated();
    let listed = installation.run(&["list", "--set", "security", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let backup = listed["backups"][0]["id"].as_str().unwrap();
    let document = files::read(&installation.path("backups/repository.json"));
    let document: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let (directory, usb) = (installation.path("backups"), installation.path("usb"));
    let (directory, usb) = (directory.to_str().unwrap(), usb.to_str().unwrap());
    let words =
        ["is gone", directory, document["id"].as_str().unwrap(), "mount its disk", usb, "backups, the newest of"];
    let words = [&words[..], &["fiovana-app recover"]].concat();

    std::fs::remove_dir_all(directory).unwrap();
    looking_tells(&installation, backup, &words);
    assert!(!Path::new(directory).exists(), "something was begun");
    std::fs::create_dir(directory).unwrap();
    looking_tells(&installation, backup, &words);
    let daemon = installation.start();
    looking_tells(&installation, backup, &words);
    assert_eq!(code(daemon.terminate()), 0);

    // Nobody knows but the replica.
    std::fs::remove_dir_all(installation.path("logs")).unwrap();
    let words = ["there is no repository in", directory, usb, "backups, the newest of", "fiovana-app recover"];
    looking_tells(&installation, backup, &words);
    // Nor does that.
    std::fs::remove_dir_all(usb).unwrap();
    looking_tells(&installation, backup, &["there is no repository in", directory, "fiovana-app init"]);
}

#[test]
fn whoever_looks_in_another_place_is_told_where_the_repository_was() {
    let installation = backed_up();
    let output = installation.run_with(&["list"], &[("FIOVANA_BACKUP_DIRECTORY", "elsewhere")]);
    let said = text(&output);
    assert_eq!(code(output.status), 1, "{said}");
    let (here, there) = (installation.path("elsewhere"), installation.path("backups"));
    for word in [here.to_str().unwrap(), there.to_str().unwrap(), "see that backup.backup_directory is right"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn without_a_service_recover_alone_brings_back_the_repository_that_is_gone_and_then_the_files() {
    for emptied_only in [false, true] {
        let installation = replicated();
        let before = configuration(&installation);
        let id = files::read(&installation.path("usb/repository.json"));
        let copies = installation.run(&["list", "--json"]);
        let copies: serde_json::Value = serde_json::from_slice(&copies.stdout).unwrap();
        let backups = installation.path("backups");
        std::fs::remove_dir_all(&backups).unwrap();
        if emptied_only {
            std::fs::create_dir(&backups).unwrap();
        }
        delete_configuration(&installation);
        let as_left = files::snapshot(installation.root());
        for (asking, exit) in [(&["recover"][..], 2), (&["recover", "--dry-run"], 1)] {
            let output = installation.run(asking);
            assert_eq!(code(output.status), exit, "{}", text(&output));
            assert!(text(&output).contains("usb"), "{}", text(&output));
            assert_eq!(files::snapshot(installation.root()), as_left, "{asking:?} changed something");
        }
        let output = installation.run(&["recover", "--yes"]);
        let said = text(&output);
        assert_eq!(code(output.status), 0, "{said}");
        assert!(said.contains("found: ") && said.contains("backups were brought back from the replica"), "{said}");
        assert!(said.contains("left recovery mode"), "{said}");
        assert_eq!(configuration(&installation), before);
        let told = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap()["id"].clone();
        assert_eq!(told(&files::read(&backups.join("repository.json"))), told(&id), "it is another repository");
        let back = repairs(&installation);
        assert_eq!(back[0], ("audit_log".to_owned(), 1));
        assert!(back[1].0 == "replica" && back[1].1 >= copies["backups"].as_array().unwrap().len(), "{back:?}");
        let output = installation.run(&["audit", "verify"]);
        assert_eq!(code(output.status), 0, "{}", text(&output));
        let daemon = installation.start();
        assert_eq!(daemon.settle().status()["mode"]["name"], "normal");
        let output = installation.run(&["verify", "--all"]);
        assert_eq!(code(output.status), 0, "{}", text(&output));
    }
}

#[test]
fn without_a_service_recover_begins_no_repository_where_no_copy_is_left() {
    let installation = backed_up();
    std::fs::remove_dir_all(installation.path("backups")).unwrap();
    delete_configuration(&installation);
    let output = installation.run(&["recover", "--yes"]);
    let said = text(&output);
    assert_eq!(code(output.status), 1, "{said}");
    assert!(said.contains("is gone") && said.contains("fiovana-app init"), "{said}");
    assert!(!installation.path("backups").exists(), "something was begun");
}

#[test]
fn without_a_service_recover_alone_mends_a_lost_repository_json() {
    let installation = backed_up();
    let before = configuration(&installation);
    std::fs::remove_dir_all(installation.path("backups/replica")).unwrap();
    std::fs::remove_file(installation.path("backups/repository.json")).unwrap();
    delete_configuration(&installation);
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert!(text(&output).contains("a repository again, under the id that it had"), "{}", text(&output));
    assert_eq!(configuration(&installation), before);
    assert_eq!(installation.start().status()["mode"]["name"], "normal");
}

#[test]
fn a_repository_that_is_gone_with_every_copy_is_never_begun_anew() {
    let installation = backed_up();
    std::fs::rename(installation.path("backups"), installation.path("away")).unwrap();
    for variables in [&[][..], &RECOVERY_MODE] {
        let daemon = installation.start_with(variables);
        waits_for_a_repository(&installation, &daemon, &["is gone", "backups/replica", "fiovana-app init"]);
        let mode = daemon.status()["mode"].clone();
        assert_eq!(mode["name"], "recovery", "{mode}");
        assert_eq!(code(daemon.terminate()), 0);
    }
    // Its disk is mounted again.
    std::fs::remove_dir_all(installation.path("backups")).unwrap();
    std::fs::rename(installation.path("away"), installation.path("backups")).unwrap();
    let daemon = installation.start();
    daemon.wait("normal mode", |daemon| (daemon.status()["mode"]["name"] == "normal").then_some(()));
}

#[test]
fn where_there_never_was_a_repository_an_emergency_begins_none() {
    let installation = Installation::new();
    let daemon = installation.start_with(&RECOVERY_MODE);
    waits_for_a_repository(&installation, &daemon, &["none was ever known there", "backup.backup_directory"]);
    assert_eq!(code(daemon.terminate()), 0);
    let daemon = installation.start();
    daemon.backup_when_free("security");
    assert_eq!(daemon.status()["mode"]["name"], "normal", "a start that found none is no word of one");
}

#[test]
fn a_damaged_or_lost_repository_json_is_one_command() {
    for damage in [Some("{\"format\": 1"), None] {
        let installation = backed_up();
        // The built-in replica would tell the id, too: the audit log is to be enough.
        std::fs::remove_dir_all(installation.path("backups/replica")).unwrap();
        let daemon = survives("repository.json damaged or lost", &installation, |installation| {
            let document = installation.path("backups/repository.json");
            match damage {
                Some(bytes) => files::write(&document, bytes),
                None => std::fs::remove_file(&document).unwrap(),
            }
            delete_configuration(installation);
            let refused = text(&installation.run(&["status"]));
            assert!(refused.contains("repository.json") && refused.contains("start the service"), "{refused}");
        });
        found(&daemon, "a repository again, under the id that it had");
    }
}

#[test]
fn a_repository_json_that_nothing_heals_is_recovery_mode_with_every_backup_there() {
    let installation = backed_up();
    std::fs::remove_dir_all(installation.path("backups/replica")).unwrap();
    let document = installation.path("backups/repository.json");
    let damaged = "{\"format\": 1";
    files::write(&document, damaged);
    delete_configuration(&installation);
    let daemon = starts_in_recovery(&installation, "repository_damaged");
    let kept = files::read(&installation.path("backups/quarantine/repository.json.damaged"));
    assert_eq!(kept, damaged.as_bytes());
    assert_eq!(daemon.list("security").len(), 2);
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
    assert_ne!(daemon.status()["mode"]["name"], "recovery");
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(repairs(&installation), [("audit_log".to_owned(), 1)]);
}

#[test]
fn a_damaged_mode_file_is_recovery_mode() {
    let installation = backed_up();
    files::write(&installation.path("backups/state/mode.json"), "torn");
    let daemon = starts_in_recovery(&installation, "mode_file_damaged");
    assert_eq!(code(installation.run(&["recover", "--yes"]).status), 0);
    assert_eq!(daemon.status()["mode"]["name"], "normal");
}

/// What the audit log tells of repairs: from what, and how many places.
fn repairs(installation: &Installation) -> Vec<(String, usize)> {
    let records = audit::chained_records(&installation.path("logs/security_audit.log"));
    let repairs = records.iter().filter(|record| record["event"] == "RepairCompleted").map(|record| &record["details"]);
    repairs
        .map(|details| (details["source"].as_str().unwrap().to_owned(), details["places"].as_array().unwrap().len()))
        .collect()
}

#[test]
fn damaged_state_and_a_manifest_that_is_none_are_one_command() {
    let installation = backed_up();
    let daemon = survives("damaged state and manifests", &installation, |installation| {
        let all_of = |directory: &Path| -> Vec<_> {
            directory.read_dir().unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
        };
        for file in all_of(&installation.path("backups/state")) {
            files::write(&file, "\0\0\0\0");
        }
        // The newest of them.
        let manifests = installation.path("backups/manifests/security");
        let newest = all_of(&manifests).into_iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
        files::write(
            &newest.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with("pruned.")).max().unwrap(),
            "{",
        );
        delete_configuration(installation);
    });
    found(&daemon, "damaged backups: 1;");
}

#[test]
fn the_port_taken_by_a_stranger_is_another_port_and_said() {
    let installation = backed_up();
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = stranger.local_addr().unwrap();
    let bind = taken.to_string();
    let output = installation.run_with(&[], &[("FIOVANA_HTTP_BIND", &bind)]);
    assert_eq!(code(output.status), 1);
    assert!(text(&output).contains("another program uses this port; set [http].bind"), "{}", text(&output));
    // Of the block for documentation (RFC 5737): no machine has it.
    let output = installation.run_with(&[], &[("FIOVANA_HTTP_BIND", "192.0.2.1:8080")]);
    assert!(text(&output).contains("this machine has no such address"), "{}", text(&output));
    let daemon = installation.start_with(&[("FIOVANA_RECOVERY_MODE", "true"), ("FIOVANA_HTTP_BIND", &bind)]);
    assert_ne!(daemon.port(), taken.port().to_string());
    found(&daemon, &format!("{bind} cannot be listened on"));
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), 0, "{}", text(&output));
}

#[test]
fn another_instance_that_lives_is_asked_to_enter_recovery_mode() {
    let installation = backed_up();
    let daemon = installation.start();
    daemon.settle();
    for bind in ["127.0.0.1:0", daemon.authority()] {
        let output = installation.run_with(&[], &[("FIOVANA_RECOVERY_MODE", "true"), ("FIOVANA_HTTP_BIND", bind)]);
        let said = text(&output);
        assert_eq!(code(output.status), 0, "{said}");
        assert!(said.contains(daemon.authority()) && said.contains("is in mode recovery"), "{said}");
    }
    let mode = &daemon.status()["mode"];
    assert_eq!((&mode["name"], &mode["cause"]), (&"recovery".into(), &"operator_request".into()), "{mode}");
    assert_eq!(code(installation.run(&["recover", "--yes"]).status), 0);
}

#[test]
fn an_instance_that_hangs_with_the_lock_is_named_with_what_to_do() {
    let installation = backed_up();
    let daemon = installation.start();
    daemon.settle();
    let lock: serde_json::Value = serde_json::from_slice(&files::read(&installation.path("backups/lock"))).unwrap();
    let pid = i32::try_from(lock["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::STOP).unwrap();
    let output = installation.run_with(&[], &RECOVERY_MODE);
    kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT).unwrap();
    let said = text(&output);
    assert_eq!(code(output.status), 1, "{said}");
    assert!(said.contains(&format!("process {pid} on ")) && said.contains(&format!("kill {pid}")), "{said}");
}

#[test]
fn a_backup_directory_that_cannot_be_written_still_gives_files_back() {
    let installation = Installation::unprivileged();
    back_up(&installation);
    let id = installation.run(&["list", "--set", "security", "--json"]);
    let listed: serde_json::Value = serde_json::from_slice(&id.stdout).unwrap();
    let id = listed["backups"][0]["id"].as_str().unwrap().to_owned();
    let backups = installation.path("backups");
    change_writing(&backups, false);
    let mut command = installation.command(&[], &RECOVERY_MODE);
    command.env("FIOVANA_HTTP_BIND", free_address());
    let daemon = Daemon::spawn(command, backups.clone());
    daemon.wait("it to listen", |daemon| daemon.said().contains("run `fiovana-app recover`").then_some(()));
    found(&daemon, "cannot be written");
    let planned = installation.run(&["recover", "--dry-run"]);
    assert_eq!(code(planned.status), 0, "{}", text(&planned));
    let out = installation.run(&["restore", "security", &id, "--to", "out"]);
    let said = text(&out);
    change_writing(&backups, true);
    assert_eq!(code(out.status), 0, "{said}");
}

/// What only looks works with settings that do not load, and says what it made out of them.
fn looks_at_backups(installation: &Installation) {
    let id = installation.run(&["list", "--set", "security", "--json"]);
    assert!(text(&id).contains("found: the last settings that loaded are used"), "{}", text(&id));
    let listed: serde_json::Value = serde_json::from_slice(&id.stdout).unwrap();
    let id = listed["backups"][0]["id"].as_str().unwrap().to_owned();
    for looking in
        [&["show", &id][..], &["diff", &id, "live"], &["status"], &["restore", "security", &id, "--to", "out"]]
    {
        let output = installation.run(looking);
        assert_eq!(code(output.status), 0, "{looking:?}: {}", text(&output));
    }
    std::fs::remove_dir_all(installation.path("out")).unwrap();
    let output = installation.run(&["restore", "security", &id]);
    assert_eq!(code(output.status), 2, "live files are not replaced on a guess: {}", text(&output));
}

const ELSEWHERE: &str = "[backup]\nbackup_directory = \"elsewhere\"\nmax_backups = 7\n";

#[test]
fn broken_settings_are_one_command_that_brings_them_back_too() {
    for (disaster, bytes) in [
        ("settings unparsable", Some("[backup\nbackup")),
        ("settings wrong", Some("[backup]\nmax = 3\n")),
        ("settings gone", None),
    ] {
        let installation = Installation::with_backups_in("elsewhere", ELSEWHERE);
        back_up(&installation);
        let file = installation.path("config/fiovana.toml");
        let daemon = survives(disaster, &installation, |installation| {
            match bytes {
                Some(bytes) => files::write(&file, bytes),
                None => std::fs::remove_file(&file).unwrap(),
            }
            if bytes.is_some() {
                let output = installation.run(&[]);
                assert_eq!(code(output.status), 2, "{}", text(&output));
                looks_at_backups(installation);
                assert!(!installation.path("backups").exists(), "something was begun");
            }
            delete_configuration(installation);
        });
        found(&daemon, "the last settings that loaded are used");
        assert_eq!(files::read(&file), ELSEWHERE.as_bytes(), "{disaster}");
        drop(daemon);
        assert_eq!(installation.start().status()["mode"]["name"], "normal");
    }
}

#[test]
fn a_directory_in_the_place_of_the_settings_is_named_and_all_else_is_back() {
    let installation = Installation::with_backups_in("elsewhere", ELSEWHERE);
    back_up(&installation);
    let before = configuration(&installation);
    let file = installation.path("config/fiovana.toml");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    delete_configuration(&installation);
    let daemon = installation.start_with(&RECOVERY_MODE);
    found(&daemon, "is a directory");
    let output = installation.run(&["recover", "--yes"]);
    assert_eq!(code(output.status), 3, "{}", text(&output));
    assert!(text(&output).contains("move it away first"), "{}", text(&output));
    assert_eq!(configuration(&installation), before);
    std::fs::remove_dir(&file).unwrap();
    assert_eq!(code(installation.run(&["recover", "--yes"]).status), 0);
    assert_eq!(files::read(&file), ELSEWHERE.as_bytes());
}

#[test]
fn who_removed_the_settings_on_purpose_is_told_which_copies_an_emergency_would_use() {
    let installation = Installation::with_settings("[backup]\nmax_backups = 7\n");
    back_up(&installation);
    std::fs::remove_file(installation.path("config/fiovana.toml")).unwrap();
    let copies =
        [installation.path("logs/fiovana-app.settings.toml"), installation.path("backups/state/settings.json")];
    let daemon = installation.start();
    let told = "there is no settings file, and there was one";
    let said = daemon.wait("the copies to be named", |daemon| daemon.said().contains(told).then(|| daemon.said()));
    assert!(copies.iter().all(|copy| copy.exists() && said.contains(copy.to_str().unwrap())), "{said}");
    assert_eq!(code(daemon.terminate()), 0);
    copies.iter().for_each(|copy| std::fs::remove_file(copy).unwrap());
    let daemon = installation.start_with(&RECOVERY_MODE);
    assert!(!daemon.said().contains("the last settings that loaded"), "{}", daemon.said());
    assert_eq!(code(daemon.terminate()), 0);
    let daemon = installation.start();
    daemon.settle();
    assert!(!daemon.said().contains(told), "{}", daemon.said());
}

#[test]
fn settings_kept_in_the_repository_do_where_the_log_directory_is_gone() {
    let installation = Installation::with_settings("[backup]\nmax_backups = 7\n");
    back_up(&installation);
    let daemon = survives("settings and logs gone", &installation, |installation| {
        std::fs::remove_dir_all(installation.path("logs")).unwrap();
        files::write(&installation.path("config/fiovana.toml"), "\0");
        delete_configuration(installation);
    });
    found(&daemon, "from the state of ");
}

#[test]
fn variables_that_mean_nothing_are_named_and_not_in_the_way() {
    let installation = backed_up();
    let before = configuration(&installation);
    delete_configuration(&installation);
    let senseless = [("FIOVANA_MAX_BACKUPS", "lots"), ("FIOVANA_RETENTION_DAYS", "-1")];
    let output = installation.run_with(&[], &senseless);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    let daemon = recovers("senseless variables", &installation, &before, || {
        installation.start_with(&[RECOVERY_MODE[0], senseless[0], senseless[1]])
    });
    found(&daemon, "FIOVANA_MAX_BACKUPS");
    found(&daemon, "FIOVANA_RETENTION_DAYS");
}

#[test]
fn an_audit_log_that_cannot_be_written_is_one_command() {
    let installation = backed_up();
    survives("the audit log unwritable", &installation, |installation| {
        let log = installation.path("logs/security_audit.log");
        std::fs::rename(&log, installation.path("logs/earlier")).unwrap();
        std::fs::create_dir(&log).unwrap();
        delete_configuration(installation);
    });
}

#[test]
fn a_full_disk_is_one_command() {
    on_a_small_disk("a_full_disk_is_one_command", 64, |disk| {
        let installation = Installation::within(disk);
        back_up(&installation);
        let daemon = survives("the disk full", &installation, |installation| {
            delete_configuration(installation);
            fill(&disk.join("somebody else's"));
        });
        found(&daemon, "is full: the space kept back for this was given up");
    });
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Takes the right to write from a directory and everything in it, or gives it back.
fn change_writing(directory: &Path, allowed: bool) {
    use std::os::unix::fs::PermissionsExt;
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            change_writing(&path, allowed);
        }
        let mode = metadata.permissions().mode();
        files::set_mode(&path, if allowed { mode | 0o200 } else { mode & !0o222 });
    }
    files::set_mode(directory, if allowed { 0o700 } else { 0o500 });
}
