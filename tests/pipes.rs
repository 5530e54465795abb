//! A pipe, a socket, a device or a directory where a file of ours should be.
//!
//! Hazard: opening a pipe waits for its other end, and reading a device may never end: whoever can put one in the place of a
//! file would stop the service, and every command. Nothing waits: it is told, or healed, or as good as absent.

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use common::disaster::text;
use common::{Daemon, Installation, code, repository};
use rustix::fs::{CWD, FileType, Mode, mknodat};

/// What is there instead of a file.
#[derive(Clone, Copy, Debug)]
enum Instead {
    Pipe,
    Socket,
    /// A link to a device that has no end.
    Zero,
    Directory,
}

impl Instead {
    fn put(self, path: &Path) {
        let _ = fs::remove_file(path);
        match self {
            Self::Pipe => mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap(),
            Self::Socket => drop(UnixListener::bind(path).unwrap()),
            Self::Zero => symlink("/dev/zero", path).unwrap(),
            Self::Directory => fs::create_dir(path).unwrap(),
        }
    }
}

/// An installation with a backup, a pin and something deleted; its service has ended.
fn used() -> Installation {
    // A short path: that of a socket may not be long.
    let installation = Installation::new();
    let daemon = installation.start();
    daemon.settle();
    let first = daemon.backup("security")["id"].as_str().unwrap().to_owned();
    assert!(installation.run(&["pin", &first]).status.success());
    assert_eq!(code(daemon.terminate()), 0);
    installation
}

/// Each file of ours that is opened by its name, below the installation.
fn places(installation: &Installation) -> Vec<String> {
    let backups = installation.path("backups");
    let listed = |directory: &str| -> Vec<String> {
        let entries = fs::read_dir(installation.path(directory)).unwrap().map(Result::unwrap);
        entries.filter(|e| e.path().is_file()).map(|e| format!("{directory}/{}", e.file_name().display())).collect()
    };
    let id = listed("backups/manifests/security").into_iter().find(|path| path.contains("/20")).unwrap();
    let id = id.rsplit_once('/').unwrap().1.strip_suffix(".json").unwrap().to_owned();
    let manifest = repository::manifest(&backups, "security", &id);
    let object = repository::objects(&manifest)[0].to_owned();
    let mut places = listed("backups");
    places.extend(listed("backups/state"));
    places.extend(listed("backups/manifests/security"));
    places.push(format!("backups/objects/{}/{object}", &object[..2]));
    places.push("config/.fiovana-restore-journal-security.json".into());
    places.push("config/fiovana.toml".into());
    places.push("logs/security_audit.log".into());
    places
}

#[test]
fn what_is_no_file_where_a_file_should_be_keeps_nobody_waiting() {
    let mut names = places(&used());
    // Of several manifests one.
    let mut manifests = 0;
    names.retain(|name| {
        manifests += usize::from(is_manifest(name));
        !is_manifest(name) || manifests == 1
    });
    assert!(names.len() > 13 && manifests > 0, "{names:?}");
    for (instead, name) in [Instead::Pipe, Instead::Zero, Instead::Socket, Instead::Directory]
        .into_iter()
        .flat_map(|instead| names.iter().map(move |name| (instead, name)))
    {
        // Each kind at each place where it is opened in another way; all of them take minutes.
        if !common::long() && !matches!(instead, Instead::Pipe) && !name.ends_with("lock") && !name.ends_with(".log") {
            continue;
        }
        meets(instead, name);
    }
}

fn is_manifest(place: &str) -> bool {
    place.contains("/manifests/") && place.contains("/20")
}

/// Commands and the service come to an end.
fn meets(instead: Instead, name: &str) {
    let installation = used();
    // What is named by a hash has another name in each installation.
    let is_object = |place: &str| place.contains("/objects/");
    let alike = |place: &&String| is_object(name) && is_object(place) || is_manifest(name) && is_manifest(place);
    let place = places(&installation).iter().find(alike).cloned().unwrap_or_else(|| name.to_owned());
    instead.put(&installation.path(&place));
    for command in [&["status"][..], &["list"], &["verify", "--all"], &["audit", "verify"]] {
        // The harness kills what does not end.
        let output = installation.run(command);
        let said = text(&output);
        assert!(!said.contains("panic"), "{instead:?} at {place}: {command:?}: {said}");
    }
    let daemon = Daemon::spawn(installation.command::<&str>(&[], &[]), installation.path("backups"));
    daemon_ends(daemon, &format!("{instead:?} at {place}"));
}

/// The service refuses to start, or starts and stops when it is told to.
fn daemon_ends(daemon: Daemon, context: &str) {
    let came = common::wait_for(
        || format!("{context}: it neither starts nor ends: {}", daemon.said()),
        || {
            let said = daemon.said();
            let listens = said.contains("listening on");
            (listens || !Path::new(&format!("/proc/{}/exe", daemon.process())).exists()).then_some(listens)
        },
    );
    if came {
        daemon.signal_to_end();
    }
    let status = daemon.end();
    assert!(status.code().is_some(), "{context}: {status:?}");
}
