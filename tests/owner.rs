//! Whose the files are.
//!
//! Hazard: root types one command on the repository of a service, and at its next start the service cannot read its own
//! state any more. These need root, and are about nobody else.

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::disaster::text;
use common::{Daemon, Installation, code, files};

/// A user who has nothing here.
const STRANGER: u32 = 65_533;

/// An installation of a user's own with backups, its service stopped; none where the tests are not run by root.
fn prepared() -> Option<(Installation, u32)> {
    rustix::process::geteuid().is_root().then(|| {
        let installation = Installation::unprivileged();
        let daemon = installation.start();
        daemon.settle();
        daemon.backup("security");
        assert_eq!(code(daemon.terminate()), 0);
        let owner = installation.path("backups/repository.json").metadata().unwrap().uid();
        assert_ne!(owner, 0);
        (installation, owner)
    })
}

/// What somebody else types.
fn run_as(installation: &Installation, user: u32, arguments: &[&str]) -> std::process::Output {
    installation.command_as(user, arguments).output().unwrap()
}

/// The newest backup in a list.
fn id_of(listed: &std::process::Output) -> String {
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed["backups"][0]["id"].as_str().unwrap().to_owned()
}

/// Everything in a directory that is not this user's.
fn strange(directory: &Path, owner: u32) -> Vec<String> {
    let mut found = Vec::new();
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.path().symlink_metadata().unwrap());
        if metadata.uid() != owner {
            found.push(path.display().to_string());
        }
        if metadata.is_dir() {
            found.extend(strange(&path, owner));
        }
    }
    found
}

#[test]
fn what_root_does_is_done_as_the_owner_of_the_repository() {
    let Some((installation, owner)) = prepared() else { return };
    let id = id_of(&run_as(&installation, 0, &["list", "--set", "security", "--json"]));
    let unknown = "20200101T000000Z-00000000";
    for (arguments, expected) in [
        (&["backup", "security"][..], 0),
        (&["pin", &id, "--json"], 0),
        (&["prune"], 0),
        (&["show", unknown], 1),
        (&["status"], 0),
        (&["recover", "--yes"], 0),
        (&["nonsense"], 2),
    ] {
        let output = run_as(&installation, 0, arguments);
        assert_eq!(code(output.status), expected, "{arguments:?}: {}", text(&output));
        for directory in ["backups", "logs"] {
            assert_eq!(strange(&installation.path(directory), owner), [""; 0], "{arguments:?}");
        }
    }
    // The service itself, too.
    let daemon = Daemon::spawn(installation.command_as(0, &[]), installation.path("backups"));
    let daemon = daemon.listening();
    daemon.wait("the service to be ready", |daemon| (daemon.get("/readyz").status == 200).then_some(()));
    assert_ne!(daemon.status()["mode"]["name"], "recovery", "{}", daemon.status()["mode"]);
    let listed = run_as(&installation, 0, &["list"]);
    assert_eq!(code(listed.status), 0, "root reaches the service: {}", text(&listed));
    assert_eq!(code(daemon.terminate()), 0);
    assert_eq!(strange(&installation.path("backups"), owner), [""; 0]);
    let daemon = installation.start();
    assert_ne!(daemon.status()["mode"]["name"], "recovery", "{}", daemon.status()["mode"]);
}

#[test]
fn a_stranger_is_told_whose_it_is_and_touches_nothing() {
    let Some((installation, owner)) = prepared() else { return };
    files::set_mode(installation.root(), 0o755);
    let before = files::snapshot(&installation.path("backups"));
    for arguments in [&["backup", "security"][..], &["list"], &["recover", "--yes"], &["init"], &[]] {
        let output = run_as(&installation, STRANGER, arguments);
        let said = text(&output);
        assert_eq!(code(output.status), 1, "{arguments:?}: {said}");
        assert!(said.contains(&format!("uid {owner}")) && said.contains("sudo -u "), "{arguments:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    assert_eq!(files::snapshot(&installation.path("backups")), before);
}

#[test]
fn what_root_gets_out_goes_where_the_owner_may_write_or_it_is_said() {
    let Some((installation, owner)) = prepared() else { return };
    let (ours, roots) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::os::unix::fs::chown(ours.path(), Some(owner), Some(owner)).unwrap();
    let to = |directory: &Path, name: &str| directory.join(name).display().to_string();
    let (out, archive) = (to(ours.path(), "out"), to(ours.path(), "a.tar.zst"));
    let restored = run_as(&installation, 0, &["restore", "security", "latest", "--to", &out]);
    assert_eq!(code(restored.status), 0, "{}", text(&restored));
    let listed = run_as(&installation, 0, &["list", "--set", "security", "--json"]);
    let id = id_of(&listed);
    let exported = run_as(&installation, 0, &["export", &id, &archive]);
    assert_eq!(code(exported.status), 0, "{}", text(&exported));
    let (out, archive) = (to(roots.path(), "out"), to(roots.path(), "a.tar.zst"));
    for arguments in [&["restore", "security", "latest", "--to", &out][..], &["export", &id, &archive]] {
        let refused = run_as(&installation, 0, arguments);
        let said = text(&refused);
        assert_eq!(code(refused.status), 1, "{said}");
        assert!(said.contains("cannot be written by") && said.contains(&format!("uid {owner}")), "{said}");
    }
    assert_eq!(roots.path().read_dir().unwrap().count(), 0);
}

#[test]
fn whatever_the_mask_is_nobody_else_can_write_and_the_owner_can() {
    use std::os::unix::fs::PermissionsExt;
    for mask in ["000", "077", "777"] {
        let installation = Installation::new();
        let script = format!("umask {mask}; exec \"$0\" \"$@\"");
        for arguments in [&["init"][..], &["backup", "security"], &["status"]] {
            let inner = installation.command::<&str>(arguments, &[]);
            let mut command = std::process::Command::new("sh");
            command.args(["-c", &script]).arg(inner.get_program()).args(inner.get_args());
            command.current_dir(installation.root());
            let output = command.output().unwrap();
            assert!([0, 3].contains(&code(output.status)), "umask {mask}: {arguments:?}: {}", text(&output));
        }
        for (directory, most) in
            [("backups", 0o755), ("backups/state", 0o700), ("backups/replica", 0o700), ("logs", 0o755)]
        {
            let path = installation.path(directory);
            if path.exists() {
                let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
                assert!(mode & !most == 0 && mode & 0o700 == 0o700, "umask {mask}: {directory} has mode {mode:o}");
            }
        }
    }
}

#[test]
fn nothing_is_got_out_into_the_repository_and_none_is_backed_up_by_way_of_a_link() {
    let installation = Installation::new();
    assert_eq!(code(installation.run(&["init"]).status), 0);
    let backed_up = installation.run(&["backup", "security", "--json"]);
    let id: serde_json::Value = serde_json::from_slice(&backed_up.stdout).unwrap();
    let id = id["id"].as_str().unwrap().to_owned();
    std::os::unix::fs::symlink("backups/objects", installation.path("link")).unwrap();
    let before = files::snapshot(&installation.path("backups"));
    for place in ["backups/objects/x", "backups/state", "backups", "link/y", "backups/replica"] {
        let output = installation.run(&["restore", "security", &id, "--to", place]);
        assert_eq!(code(output.status), 2, "{place}: {}", text(&output));
        assert!(text(&output).contains("name a place outside of it"), "{place}: {}", text(&output));
        let archive = format!("{place}/a.tar.zst");
        assert_eq!(code(installation.run(&["export", &id, &archive]).status), 2, "{archive}");
    }
    assert_eq!(files::snapshot(&installation.path("backups")), before);
    // A source in which the backups really are.
    let settings =
        "[backup]\nbackup_directory = \"elsewhere\"\n[sets.everything]\nsource = \"data\"\nfiles = [\"**/*\"]\n";
    let linked = Installation::with_settings(settings);
    std::fs::create_dir_all(linked.path("data/real")).unwrap();
    std::os::unix::fs::symlink("data/real", linked.path("elsewhere")).unwrap();
    let output = linked.run(&["config", "check"]);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(text(&output).contains("inside the backup directory"), "{}", text(&output));
}
