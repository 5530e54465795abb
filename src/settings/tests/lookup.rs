//! Which settings file, and what variables mean.
//!
//! Hazard: settings read from another file than the operator thinks, or a variable that changes nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

#[test]
fn the_argument_beats_the_variable_beats_the_default_file() {
    let mut house = House::with("backup.max_backups = 1");
    house.put("variable.toml", "backup.max_backups = 2");
    house.put("argument.toml", "backup.max_backups = 3");
    let home = house.directory.path().to_owned();
    let says = |house: &House| {
        let settings = house.load();
        let file = settings.settings_file.clone().unwrap();
        let file = file.strip_prefix(&home).unwrap().display().to_string();
        (settings.backup.max_backups, file, origin(&settings, "settings_file"))
    };
    assert_eq!(says(&house), (1, "config/fiovana.toml".into(), "built in".into()));
    house = house.variable("FIOVANA_CONFIG", "./x/../variable.toml");
    assert_eq!(says(&house), (2, "variable.toml".into(), "variable FIOVANA_CONFIG".into()));
    house.sources.config_argument = Some("argument.toml".into());
    assert_eq!(says(&house), (3, "argument.toml".into(), "argument --config".into()));
}

#[test]
fn a_named_settings_file_that_cannot_be_read_is_an_error() {
    let house = House::with("").variable("FIOVANA_CONFIG", "absent.toml");
    let absent =
        "read settings file /home/absent.toml (variable FIOVANA_CONFIG): No such file or directory (os error 2)";
    assert_eq!(house.refusals(), [absent]);

    let mut house = House::with("");
    house.sources.config_argument = Some("config".into());
    let directory = "settings file /home/config (argument --config) is a directory: name a TOML file";
    assert_eq!(house.refusals(), [directory]);
    house.sources.config_argument = Some("/dev/zero".into());
    assert_eq!(house.refusals(), ["settings file /dev/zero (argument --config) is no regular file: name a TOML file"]);
    house.put("large.toml", &"#".repeat((1 << 20) + 1));
    house.sources.config_argument = Some("large.toml".into());
    assert!(house.refusals()[0].contains("is larger than 1 MiB"));
    house.sources.config_argument = Some(OsString::from_vec(b"\xff.toml".to_vec()).into());
    assert!(Settings::load(&house.sources).unwrap_err().to_string().contains("not named in UTF-8"));
}

#[test]
fn a_default_settings_file_that_is_a_dangling_link_is_not_overlooked() {
    let house = House::empty();
    std::fs::create_dir(house.at("config")).unwrap();
    std::os::unix::fs::symlink("gone", house.at("config/fiovana.toml")).unwrap();
    assert!(house.refusals()[0].starts_with("read settings file /home/config/fiovana.toml (built in)"));
}

#[test]
fn recovery_mode_is_any_value_but_a_clear_no() {
    for (value, asked) in [
        ("true", true),
        ("1", true),
        ("yes", true),
        ("ture", true),
        ("on", true),
        ("2", true),
        ("", false),
        ("  ", false),
        ("0", false),
        ("false", false),
        (" FALSE ", false),
        ("No", false),
        ("off", false),
    ] {
        let house = House::empty().variable("FIOVANA_RECOVERY_MODE", value);
        assert_eq!(house.load().recovery_mode, asked, "{value:?}");
        assert_eq!(house.sources.recovery_mode(), asked, "{value:?}");
    }
    let mut house = House::empty();
    house.sources.environment.insert("FIOVANA_RECOVERY_MODE".into(), OsString::from_vec(vec![0xff]));
    assert!(house.load().recovery_mode, "an emergency does not fail on an encoding");
}

#[test]
fn the_enabled_variable_knows_the_usual_words() {
    for (value, enabled) in [
        ("true", true),
        ("1", true),
        ("YES", true),
        ("on", true),
        ("", true),
        ("false", false),
        ("0", false),
        (" no ", false),
        ("Off", false),
    ] {
        assert_eq!(
            House::empty().variable("FIOVANA_BACKUP_ENABLED", value).load().backup.enabled,
            enabled,
            "{value:?}"
        );
    }
}

#[test]
fn an_empty_variable_is_unset() {
    let mut house = House::with("backup.max_backups = 4");
    for name in [
        "FIOVANA_BACKUP_DIRECTORY",
        "FIOVANA_MAX_BACKUPS",
        "FIOVANA_RETENTION_DAYS",
        "FIOVANA_CONFIG",
        "FIOVANA_CONFIG_DIRECTORY",
        "FIOVANA_LOG_DIRECTORY",
        "FIOVANA_HTTP_BIND",
    ] {
        house = house.variable(name, "");
    }
    let settings = house.load();
    assert_eq!(settings.backup.max_backups, 4);
    assert_eq!(settings.backup.backup_directory, house.at("backups"));
}

#[test]
fn every_variable_takes_effect_and_is_named_as_origin() {
    let house = House::empty()
        .variable("FIOVANA_BACKUP_ENABLED", "no")
        .variable("FIOVANA_BACKUP_DIRECTORY", "/srv/./backups")
        .variable("FIOVANA_MAX_BACKUPS", "7")
        .variable("FIOVANA_RETENTION_DAYS", "9")
        .variable("FIOVANA_HTTP_BIND", "[::1]:0")
        .variable("FIOVANA_CONFIG_DIRECTORY", "etc")
        .variable("FIOVANA_LOG_DIRECTORY", "../var");
    let settings = house.load();
    let parent = house.directory.path().parent().unwrap();
    assert_eq!(settings.backup.backup_directory, Path::new("/srv/backups"));
    assert_eq!((settings.backup.enabled, settings.backup.max_backups, settings.backup.retention_days), (false, 7, 9));
    assert_eq!(settings.http.bind.to_string(), "[::1]:0");
    assert_eq!(set(&settings, "security").source.written(), house.at("etc"));
    assert_eq!(set(&settings, "logs").source.written(), parent.join("var"));
    assert_eq!((&settings.config_directory, &settings.log_directory), (&house.at("etc"), &parent.join("var")));
    for (key, name) in [
        ("backup.enabled", "FIOVANA_BACKUP_ENABLED"),
        ("backup.backup_directory", "FIOVANA_BACKUP_DIRECTORY"),
        ("sets.logs.max_backups", "FIOVANA_MAX_BACKUPS"),
        ("sets.security.retention_days", "FIOVANA_RETENTION_DAYS"),
        ("http.bind", "FIOVANA_HTTP_BIND"),
        ("sets.application.source", "FIOVANA_CONFIG_DIRECTORY"),
        ("log_directory", "FIOVANA_LOG_DIRECTORY"),
    ] {
        assert_eq!(origin(&settings, key), format!("variable {name}"), "{key}");
    }
}

#[test]
fn a_near_miss_of_a_variable_is_a_warning_and_any_other_is_none() {
    let house = House::empty().variable("FIOVANA_MAX_BACKUP", "3").variable("FIOVANA_SECURITY_LEVEL", "high");
    let expected = "FIOVANA_MAX_BACKUP is not a variable of fiovana-app: did you mean FIOVANA_MAX_BACKUPS?";
    assert_eq!(house.load().warnings, [expected]);
}

#[test]
fn an_emergency_keeps_what_can_be_understood() {
    let house = House::with(
        "backup.max_backups = 0\n[sets.docs]\nfiles = ['a']\n[backup.priority_levels.high]\nenabled = false",
    )
    .variable("FIOVANA_BACKUP_DIRECTORY", "/srv/backups");
    let (settings, errors) = Settings::salvage(&house.sources);
    assert_eq!(errors.lines().len(), 2, "{errors}");
    assert_eq!(settings.backup.max_backups, 10);
    assert_eq!(settings.backup.backup_directory, Path::new("/srv/backups"));
    assert!(!set(&settings, "application").enabled && set(&settings, "security").enabled);
    assert_eq!(settings.sets.len(), 4);

    house.put("config/fiovana.toml", "][");
    let (settings, errors) = Settings::salvage(&house.sources);
    assert_eq!((errors.lines().len(), settings.sets.len()), (1, 4));
    assert_eq!(settings.backup.backup_directory, Path::new("/srv/backups"));
}
