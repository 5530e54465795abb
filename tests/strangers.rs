//! What somebody else could have written.
//!
//! Hazard: the settings say which files are read, where they are written and which programs are run. A service that reads
//! them from a file that a stranger can write does what the stranger likes, as root perhaps. These need root, for they make
//! files of other users.

mod common;

use std::os::unix::fs::{MetadataExt, chown, lchown, symlink};
use std::path::Path;
use std::process::{Command, Output};

use common::disaster::text;
use common::{Daemon, Installation, code, files, run_to_its_end};

/// Whose the installation is, and somebody else.
const ADA: u32 = 61_001;
const EVE: u32 = 61_002;

/// An installation of this user's in a directory that everybody may look into; none where the tests are not run by root.
fn of(user: u32) -> Option<Installation> {
    rustix::process::geteuid().is_root().then(|| {
        let installation = Installation::unprivileged();
        files::set_mode(installation.root(), 0o755);
        files::give_away(installation.root(), user);
        installation
    })
}

/// What a user says of whom with these arguments, which is refused in one line.
fn refused(installation: &Installation, user: u32, arguments: &[&str]) -> String {
    let output = run_to_its_end(installation.command_as(user, arguments));
    let said = text(&output);
    assert_ne!(code(output.status), 0, "{arguments:?}: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{arguments:?}: {said}");
    said
}

fn ran(installation: &Installation, user: u32, arguments: &[&str]) -> Output {
    run_to_its_end(installation.command_as(user, arguments))
}

/// The service, run by this user until it answers.
fn start(installation: &Installation, user: u32, variables: &[(&str, &str)]) -> Daemon {
    let mut command = installation.command_as(user, &[]);
    command.envs(variables.iter().copied());
    let daemon = Daemon::spawn(command, installation.path("backups")).listening();
    daemon.wait("the service to answer", |daemon| (daemon.get("/healthz").status == 200).then_some(()));
    daemon
}

fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
}

/// The commands that read the settings in every way there is, and the service.
const COMMANDS: [&[&str]; 8] = [
    &["config", "show"],
    &["list"],
    &["status"],
    &["backup", "security"],
    &["init"],
    &["key", "init"],
    &["audit", "verify"],
    &[],
];

#[test]
fn settings_of_a_stranger_are_not_used() {
    let Some(installation) = of(ADA) else { return };
    let settings = installation.path("config/fiovana.toml");
    give(&settings, EVE);
    for arguments in COMMANDS {
        let said = refused(&installation, ADA, arguments);
        assert!(said.contains(&format!("belongs to uid {EVE}")) && said.contains("sudo -u "), "{arguments:?}: {said}");
    }
    assert!(!installation.path("backups").exists(), "nothing was begun");
    for owner in [ADA, 0] {
        give(&settings, owner);
        assert_eq!(code(ran(&installation, ADA, &["config", "show"]).status), 0, "of {owner}");
    }
}

#[test]
fn settings_that_others_can_write_or_replace_are_not_used() {
    let Some(installation) = of(ADA) else { return };
    let settings = installation.path("config/fiovana.toml");
    let shown = |place: &str| installation.path(place).display().to_string();
    for (place, mode, usual) in [("config/fiovana.toml", 0o666, 0o600), ("config", 0o777, 0o755), ("", 0o757, 0o755)] {
        files::set_mode(&installation.path(place), mode);
        for arguments in COMMANDS.into_iter().filter(|arguments| !matches!(arguments, ["list" | "status"])) {
            let said = refused(&installation, ADA, arguments);
            let place = shown(place);
            let told = said.contains(&format!("{} can be written by others", place.trim_end_matches('/')));
            assert!(told && said.contains(&format!("mode {mode:04o}")) && said.contains("chmod go-w"), "{said}");
        }
        files::set_mode(&installation.path(place), usual);
        assert_eq!(code(ran(&installation, ADA, &["config", "check"]).status), 0, "{place}");
    }
    // Everybody may make names in a sticky directory, and nobody may change those of others.
    files::set_mode(&installation.path("config"), 0o1777);
    assert_eq!(code(ran(&installation, ADA, &["config", "check"]).status), 0);
    give(&settings, EVE);
    assert!(refused(&installation, ADA, &["config", "show"]).contains(&format!("uid {EVE}")));
}

#[test]
fn a_link_to_settings_counts_if_those_who_are_trusted_made_it_and_what_it_leads_to() {
    let Some(installation) = of(ADA) else { return };
    let (link, data) = (installation.path("config/fiovana.toml"), installation.path("elsewhere"));
    std::fs::create_dir(&data).unwrap();
    std::fs::rename(&link, data.join("real.toml")).unwrap();
    symlink("../elsewhere/real.toml", &link).unwrap();
    give(&data, ADA);
    for (maker, keeper, accepted) in [(ADA, ADA, true), (0, ADA, true), (EVE, ADA, false), (ADA, EVE, false)] {
        lchown(&link, Some(maker), Some(maker)).unwrap();
        give(&data, keeper);
        let output = ran(&installation, ADA, &["config", "show"]);
        assert_eq!(output.status.success(), accepted, "{maker} {keeper}: {}", text(&output));
    }
}

#[test]
fn a_group_that_nobody_else_is_in_may_write_and_any_other_may_not() {
    let Some(installation) = of(ADA) else { return };
    let settings = installation.path("config/fiovana.toml");
    files::set_mode(&settings, 0o664);
    // Nobody is in this group but the process itself, as in a container; then a group that somebody is in.
    for (group, accepted) in [(ADA, true), (EVE, false), (65_534, false)] {
        chown(&settings, Some(ADA), Some(group)).unwrap();
        let output = ran(&installation, ADA, &["config", "show"]);
        assert_eq!(output.status.success(), accepted, "{group}: {}", text(&output));
    }
}

/// What root does in a directory of a stranger's is done as that stranger.
#[test]
fn root_reads_the_settings_of_a_stranger_as_that_stranger_and_for_that_stranger_alone() {
    let Some(installation) = of(EVE) else { return };
    let settings = installation.path("config/fiovana.toml");
    let secret = tempfile::NamedTempFile::new().unwrap();
    files::write(secret.path(), "root's secret = true\n");
    files::set_mode(secret.path(), 0o600);
    // A file that the stranger cannot read is not read for the stranger.
    std::fs::remove_file(&settings).unwrap();
    symlink(secret.path(), &settings).unwrap();
    lchown(&settings, Some(EVE), Some(EVE)).unwrap();
    for arguments in COMMANDS {
        let output = ran(&installation, 0, arguments);
        assert_ne!(code(output.status), 0, "{arguments:?}: {}", text(&output));
        assert!(!text(&output).contains("root's"), "{arguments:?}: {}", text(&output));
    }
    std::fs::remove_file(&settings).unwrap();
    // A repository of root's is not worked on as a stranger says.
    let roots = Installation::new();
    assert_eq!(code(roots.run(&["init"]).status), 0);
    assert_eq!(code(roots.run(&["backup", "security"]).status), 0);
    let before = files::snapshot(&roots.path("backups"));
    let names = format!("[backup]\nbackup_directory = \"{}\"\nmax_backups = 1\n", roots.path("backups").display());
    files::write(&settings, names);
    give(&settings, EVE);
    for arguments in [&["list"][..], &["backup", "security"], &["prune"], &["init"], &[]] {
        let said = refused(&installation, 0, arguments);
        let both = said.contains(&format!("uid {EVE}")) && said.contains(&*roots.path("backups").to_string_lossy());
        assert!(both, "{arguments:?}: {said}");
    }
    assert_eq!(files::snapshot(&roots.path("backups")), before);
    // What is the stranger's own is done as the stranger would do it.
    files::write(&settings, "");
    give(&settings, EVE);
    assert_eq!(code(ran(&installation, 0, &["init"]).status), 0);
    assert_eq!(installation.path("backups/repository.json").metadata().unwrap().uid(), EVE);
}

#[test]
fn root_uses_no_settings_that_two_strangers_or_anybody_could_have_written() {
    let Some(installation) = of(EVE) else { return };
    give(&installation.path("config"), ADA);
    assert!(refused(&installation, 0, &["init"]).contains(&format!("uid {EVE}")));
    give(&installation.path("config"), EVE);
    files::set_mode(&installation.path("config"), 0o777);
    for arguments in [&["init"][..], &["config", "show"], &[]] {
        let said = refused(&installation, 0, arguments);
        assert!(said.contains(&format!("uid {EVE}")), "{said}");
    }
    assert!(!installation.path("backups").exists());
}

#[test]
fn what_root_knows_does_not_go_with_it_to_another_user() {
    let Some(installation) = of(ADA) else { return };
    let variables = [("SECRET_OF_ROOT", "s3cr3t"), ("HOME", "/root"), ("FIOVANA_MAX_BACKUPS", "7"), ("LC_ALL", "C")];
    let daemon = start(&installation, 0, &variables);
    let pid = daemon.process();
    let environment = files::read(Path::new(&format!("/proc/{pid}/environ")));
    let environment = String::from_utf8_lossy(&environment).replace('\0', "\n");
    assert!(!environment.contains("s3cr3t") && !environment.contains("HOME=/root"), "{environment}");
    assert!(environment.contains("FIOVANA_MAX_BACKUPS=7") && environment.contains("LC_ALL=C"), "{environment}");
    let status = files::read(Path::new(&format!("/proc/{pid}/status")));
    let status = String::from_utf8_lossy(&status).into_owned();
    assert!(status.contains(&format!("Uid:\t{ADA}\t{ADA}\t{ADA}\t{ADA}")), "{status}");
    assert!(status.contains("Name:\tfiovana-app"), "{status}");
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn the_memory_of_a_process_is_not_for_others_of_its_user() {
    let Some(installation) = of(ADA) else { return };
    let own = start(&installation, ADA, &[]);
    let is_denied = |pid: u32| {
        for file in ["environ", "mem", "maps"] {
            let mut reader = Command::new("head");
            reader.args(["-c", "1"]).arg(format!("/proc/{pid}/{file}"));
            std::os::unix::process::CommandExt::uid(&mut reader, ADA);
            std::os::unix::process::CommandExt::gid(&mut reader, ADA);
            let output = reader.output().unwrap();
            assert!(text(&output).contains("Permission denied"), "{file}: {}", text(&output));
        }
    };
    is_denied(own.process());
    assert_eq!(code(own.terminate()), 0);
    let roots = start(&installation, 0, &[]);
    is_denied(roots.process());
    let unit = files::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("config/fiovana-app.service"));
    assert!(String::from_utf8(unit).unwrap().lines().any(|line| line == "LimitCORE=0"), "nor is it written to a core");
    assert_eq!(code(roots.terminate()), 0);
}

#[test]
fn an_emergency_start_comes_up_without_settings_that_others_can_write() {
    let Some(installation) = of(ADA) else { return };
    let settings = installation.path("config/fiovana.toml");
    let emergency = |user| start(&installation, user, &[("FIOVANA_RECOVERY_MODE", "true")]);
    files::write(&settings, "[backup]\nmax_backups = 7\n");
    give(&settings, ADA);
    let ordinary = start(&installation, ADA, &[]);
    ordinary.settle();
    assert_eq!(code(ordinary.terminate()), 0);

    files::write(&settings, "[backup]\nmax_backups = 1\n[recovery]\nhealth_command = [\"/bin/false\"]\n");
    files::set_mode(&settings, 0o666);
    let daemon = emergency(ADA);
    daemon.wait("what was found to be said", |daemon| daemon.said().contains("can be written by others").then_some(()));
    daemon.wait("which are used to be said", |daemon| {
        daemon.said().contains("the last settings that loaded are used instead, from").then_some(())
    });
    assert_eq!(daemon.status()["mode"]["name"], "recovery");
    assert_eq!(code(daemon.terminate()), 0);

    // Nor are those that were kept, once a stranger could have written them.
    give(&installation.path("logs/fiovana-app.settings.toml"), EVE);
    let daemon = emergency(ADA);
    daemon.wait("the state to be used", |daemon| daemon.said().contains("from the state of").then_some(()));
    assert!(daemon.said().contains(&format!("fiovana-app.settings.toml belongs to uid {EVE}")), "{}", daemon.said());
    assert_eq!(code(daemon.terminate()), 0);

    // Root, too, comes up, and does it as the owner of the repository.
    let daemon = emergency(0);
    daemon.wait("the service to be up", |daemon| (daemon.status()["mode"]["name"] == "recovery").then_some(()));
    assert_eq!(code(daemon.terminate()), 0);
}

#[test]
fn keys_and_recipients_that_others_could_have_put_there_are_refused() {
    let Some(installation) = of(ADA) else { return };
    files::write(&installation.path("config/fiovana.toml"), "[backup]\nencryption_enabled = true\n");
    give(&installation.path("config/fiovana.toml"), ADA);
    assert_eq!(code(ran(&installation, ADA, &["key", "init"]).status), 0);
    let shown = ran(&installation, ADA, &["key", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let recipient = shown["keys"][0]["recipient"].as_str().unwrap();
    let recipients = installation.path("fiovana-app.recipients");
    files::write(&recipients, format!("{recipient}\n"));
    give(&recipients, ADA);
    assert_eq!(code(ran(&installation, ADA, &["init"]).status), 0);
    assert_eq!(code(ran(&installation, ADA, &["backup", "security"]).status), 0);
    give(&recipients, EVE);
    assert!(refused(&installation, ADA, &[]).contains(&format!("fiovana-app.recipients belongs to uid {EVE}")));
    give(&recipients, ADA);
    files::set_mode(&recipients, 0o666);
    assert!(refused(&installation, ADA, &[]).contains("fiovana-app.recipients can be written by others (mode 0666)"));
    files::set_mode(&recipients, 0o644);
    // A key of its owner's in a directory in which others may put another.
    let keys = installation.path("keys");
    std::fs::create_dir(&keys).unwrap();
    std::fs::rename(installation.path("fiovana-app.key"), keys.join("key")).unwrap();
    give(&keys, ADA);
    let start = |mode| {
        files::set_mode(&keys, mode);
        let mut command = installation.command_as(ADA, &["key", "check"]);
        command.env("FIOVANA_IDENTITY", keys.join("key")).output().unwrap()
    };
    assert_eq!(code(start(0o700).status), 0);
    let output = start(0o777);
    assert_ne!(code(output.status), 0);
    assert!(text(&output).contains("keys can be written by others (mode 0777)"), "{}", text(&output));
}
