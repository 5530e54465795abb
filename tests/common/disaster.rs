//! From a disaster to a validated restore, with one command.
//!
//! Hazard: the moment the product exists for is rehearsed in parts only. Here the real program is broken, started in
//! recovery mode as the procedures say, and brought back by `recover` alone.

use std::process::Output;
use std::time::Instant;

use super::{APPLICATION, Daemon, Installation, SECURITY, code, files};

/// A start in recovery mode, as the procedures say it.
pub const RECOVERY_MODE: [(&str, &str); 1] = [("FIOVANA_RECOVERY_MODE", "true")];

/// Everything that a program printed.
pub fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Lets the sets of an installation be backed up, and stops its service.
pub fn back_up(installation: &Installation) {
    let daemon = installation.start();
    daemon.settle();
    daemon.backup("security");
    daemon.backup("application");
    daemon.terminate();
}

/// An installation whose sets have backups, its service stopped.
pub fn backed_up() -> Installation {
    let installation = Installation::new();
    back_up(&installation);
    installation
}

/// Every configuration file, by name.
pub fn configuration(installation: &Installation) -> Vec<(&'static str, Vec<u8>)> {
    let names = SECURITY.into_iter().chain(APPLICATION);
    names.map(|name| (name, files::read(&installation.path("config").join(name)))).collect()
}

/// Removes every configuration file.
pub fn delete_configuration(installation: &Installation) {
    for name in SECURITY.into_iter().chain(APPLICATION) {
        std::fs::remove_file(installation.path("config").join(name)).unwrap();
    }
}

/// Strikes a backed-up installation, starts it in recovery mode, runs the one command, and looks whether everything is
/// back. Returns the service, still running.
pub fn survives(disaster: &str, installation: &Installation, strike: impl Fn(&Installation)) -> Daemon {
    let before = configuration(installation);
    strike(installation);
    recovers(disaster, installation, &before, || installation.start_with(&RECOVERY_MODE))
}

/// The same after the strike, with a start of the test's own.
pub fn recovers(
    disaster: &str,
    installation: &Installation,
    before: &[(&'static str, Vec<u8>)],
    start: impl FnOnce() -> Daemon,
) -> Daemon {
    #[expect(clippy::disallowed_methods, reason = "a measurement for people")]
    let begun = Instant::now();
    let daemon = start();
    let output = installation.run(&["recover", "--yes"]);
    println!("{disaster}: {:?} from the start to a validated restore", begun.elapsed());
    let said = text(&output);
    assert_eq!(code(output.status), 0, "{disaster}: {said}\n{}", daemon.said());
    assert!(said.contains("validated: the live files are whole"), "{disaster}: {said}");
    assert!(said.contains("left recovery mode"), "{disaster}: {said}");
    assert_eq!(configuration(installation), before, "{disaster}");
    assert_eq!(daemon.status()["mode"]["name"], "degraded", "the flag is still set");
    daemon
}
