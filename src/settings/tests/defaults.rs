//! The documented defaults, word for word.
//!
//! Hazard: a default is a promise that nobody wrote into a file; only a test keeps it.

use super::*;
use crate::core::content::Validation;
use crate::core::retention::Policy;
use crate::source_path::SourcePath;

fn is_set(set: &SetSettings, files: &[&str], hours: u64, retention_days: u32, priority: BackupPriority) {
    let named: Vec<&str> = set.files.literals().collect();
    assert_eq!(named, files, "{}", set.name);
    assert_eq!(set.interval, Duration::from_secs(hours * 3600), "{}", set.name);
    assert_eq!((set.retention_days, set.priority), (retention_days, priority), "{}", set.name);
    assert_eq!(set.max_backups, 10);
}

#[test]
fn the_three_backup_types_are_those_of_the_procedures() {
    let house = House::empty();
    let settings = house.load();
    let names: Vec<&str> = settings.sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["security", "application", "service", "logs"]);

    let security =
        ["security_config.json", "magic_number_rules.json", "safe_mode_config.json", "circuit_breaker_config.json"];
    let application = ["app_config.json", "user_preferences.json", "workspace_config.json"];
    let logs = ["security_audit.log", "operation_audit.log", "error.log"];
    is_set(set(&settings, "security"), &security, 1, 30, BackupPriority::Critical);
    is_set(set(&settings, "application"), &application, 6, 14, BackupPriority::High);
    is_set(set(&settings, "logs"), &logs, 24, 7, BackupPriority::Medium);

    for (name, source, validate, most) in [
        ("security", "config", Validation::Json, 64),
        ("application", "config", Validation::Json, 256),
        ("logs", "logs", Validation::None, 10_240),
    ] {
        let set = set(&settings, name);
        assert_eq!((set.source.written(), set.validate), (house.at(source).as_path(), validate), "{name}");
        assert_eq!((set.max_size_mb, set.enabled), (Some(most), true), "{name}");
    }
    let audit = &set(&settings, "logs").files;
    assert!(audit.is_match("security_audit.log.1") && audit.is_match("security_audit.log-20261123"));
    assert!(!audit.is_match("error.log.1") && !audit.is_match("security_audit.logger"));
}

#[test]
fn the_backup_configuration_is_that_of_the_procedures() {
    let house = House::empty();
    let level = |frequency_hours, retention_days, max_size_mb| BackupPriorityConfig {
        enabled: true,
        frequency_hours,
        retention_days,
        max_size_mb,
        policy: Policy::Spread,
    };
    let expected = BackupConfig {
        enabled: true,
        max_backups: 10,
        retention_days: 30,
        backup_interval_hours: 1,
        priority_levels: HashMap::from([
            (BackupPriority::Critical, level(1, 30, 64)),
            (BackupPriority::High, level(6, 14, 256)),
            (BackupPriority::Medium, level(24, 7, 10_240)),
            (BackupPriority::Low, level(24, 7, 10_240)),
        ]),
        backup_directory: house.at("backups"),
        encryption_enabled: false,
        integrity_checks: true,
        auto_cleanup: true,
    };
    assert_eq!(house.load().backup, expected);
}

#[test]
fn everything_else_has_its_default() {
    let house = House::empty();
    let settings = house.load();
    let bind = ([127, 0, 0, 1], 8080).into();
    let http = HttpSettings {
        bind,
        metrics_bind: None,
        unix_socket: None,
        tls: None,
        trusted_users: vec![],
        open_reading: true,
    };
    assert_eq!(settings.http, http);
    let recovery = RecoverySettings {
        integrity_failures: 3,
        window_minutes: 60,
        pre_restore_days: 7,
        health_command: vec![],
        health_timeout: Duration::from_secs(30),
    };
    assert_eq!(settings.recovery, recovery);
    let supervision = SupervisionSettings {
        max_restarts: 5,
        window: Duration::from_secs(60),
        backoff_initial: Duration::from_millis(100),
        backoff_max: Duration::from_secs(30),
        heartbeat: Duration::from_secs(10),
    };
    assert_eq!(settings.supervision, supervision);
    assert_eq!(settings.scrub.read_sources_every_runs, 24);
    assert_eq!(settings.scrub.within, Duration::from_secs(7 * 86_400));
    assert_eq!(settings.scrub.rate_mib_per_second, 32);
    assert_eq!(settings.janitor.interval, Duration::from_secs(3600));
    let notify =
        NotifySettings { command: vec![], timeout: Duration::from_secs(30), repeat: Duration::from_secs(3600) };
    assert_eq!(settings.notify, notify);
    assert_eq!(settings.logging, LoggingSettings { level: LogLevel::Info, format: LogFormat::Human });
    assert_eq!((settings.config_directory, settings.log_directory), (house.at("config"), house.at("logs")));
    assert!(!settings.recovery_mode && settings.settings_file.is_none() && settings.warnings.is_empty());
    assert!(settings.explained.iter().all(|explained| explained.origin == Origin::BuiltIn));
}

#[test]
fn the_settings_file_is_backed_up_exactly_when_there_is_one() {
    let house = House::empty();
    assert!(!set(&house.load(), "service").enabled);

    house.put("elsewhere/my[1].toml", "");
    let house = house.variable("FIOVANA_CONFIG", "elsewhere/my[1].toml");
    let settings = house.load();
    let service = set(&settings, "service");
    assert!(service.enabled);
    assert_eq!(service.source.written(), house.at("elsewhere"));
    is_set(service, &["my[1].toml"], 6, 30, BackupPriority::High);
    assert!(!service.files.has_globs() && service.files.is_match("my[1].toml") && !service.files.is_match("my1.toml"));
}

/// What `config/fiovana.toml` would say with every `# ` removed; `##` lines are prose.
fn uncommented() -> String {
    let shipped = include_str!("../../../config/fiovana.toml");
    let lines = shipped.lines().filter(|line| !line.starts_with("##"));
    lines.map(|line| line.strip_prefix("# ").unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_settings_file_says_every_default() {
    let silent = House::with("").load();
    let house = House::with(&uncommented());
    let mut said = house.load();
    assert_eq!(said.settings_file, Some(house.at("config/fiovana.toml")));

    // Every key that is decided is in the file, but for what follows from others or has no key.
    let derived = ["settings_file", "config_directory", "log_directory", "recovery_mode"];
    let is_derived = |key: &str| {
        derived.contains(&key)
            || key.starts_with("sets.") && (key.ends_with(".max_size_mb") || key.ends_with(".enabled"))
            || ["sets.service.source", "sets.service.files", "sets.service.exclude"].contains(&key)
    };
    for explained in said.explained() {
        let in_file = matches!(explained.origin, Origin::File { .. });
        assert!(in_file || is_derived(&explained.key), "{explained:?} is not in the shipped file");
    }

    let (silent, said) = (relocated(silent), relocated(std::mem::replace(&mut said, House::empty().load())));
    assert_eq!(silent, said);
}

/// The settings with their scratch directory and origins forgotten.
fn relocated(mut settings: Settings) -> Settings {
    let home = settings.config_directory.parent().map(Path::to_owned).unwrap();
    let forget = |path: &mut PathBuf| *path = path.strip_prefix(&home).unwrap().to_owned();
    for set in &mut settings.sets {
        let mut source = set.source.written().to_owned();
        forget(&mut source);
        set.source = SourcePath::find(source, set.source.trusts_parents());
        set.keep_at_least.is_said = false;
    }
    settings.replicas.iter_mut().for_each(|replica| forget(&mut replica.path));
    forget(&mut settings.config_directory);
    forget(&mut settings.log_directory);
    forget(&mut settings.backup.backup_directory);
    forget(&mut settings.encryption.identity);
    forget(&mut settings.encryption.recipients);
    settings.settings_file.iter_mut().for_each(forget);
    settings.settings_text = None;
    settings.explained.clear();
    settings
}

#[test]
fn the_shipped_settings_file_says_nothing_as_it_is() {
    let settings = House::with(include_str!("../../../config/fiovana.toml")).load();
    assert!(
        settings.explained.iter().all(
            |explained| explained.key == "sets.service.enabled" || !matches!(explained.origin, Origin::File { .. })
        )
    );
}

#[test]
fn the_shipped_sample_has_every_file_of_the_two_configuration_sets() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let settings = House::empty().load();
    for file in set(&settings, "security").files.literals().chain(set(&settings, "application").files.literals()) {
        let text = std::fs::read(samples.join(file)).unwrap();
        assert_eq!(crate::core::content::json_fault(&text), None, "{file}");
    }
}
