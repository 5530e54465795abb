//! What is refused, and in which words.
//!
//! Hazard: a refusal that does not say key, value, origin and remedy sends an operator into the source.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use proptest::prelude::*;

use super::*;

fn refused(toml: &str) -> Vec<String> {
    House::with(toml).refusals()
}

/// The only line that `toml` is refused with, without the path of the settings file.
fn line(toml: &str) -> String {
    let lines = refused(toml);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines[0].replace("/home/config/fiovana.toml", "FILE")
}

#[test]
fn a_variable_that_makes_no_sense_is_refused_with_what_is_allowed() {
    for (name, value, expected) in [
        (
            "FIOVANA_MAX_BACKUPS",
            "0",
            "max_backups: 0 (variable FIOVANA_MAX_BACKUPS) is not allowed: give a whole number from 1 to 1000000",
        ),
        (
            "FIOVANA_MAX_BACKUPS",
            "1000001",
            "max_backups: 1000001 (variable FIOVANA_MAX_BACKUPS) is not allowed: give a whole number from 1 to 1000000",
        ),
        (
            "FIOVANA_RETENTION_DAYS",
            "two",
            "retention_days: two (variable FIOVANA_RETENTION_DAYS) is not allowed: give a whole number from 1 to 36500",
        ),
        (
            "FIOVANA_BACKUP_ENABLED",
            "maybe",
            "enabled: maybe (variable FIOVANA_BACKUP_ENABLED) is not allowed: give true or false (or 1/0, yes/no, on/off)",
        ),
        (
            "FIOVANA_HTTP_BIND",
            "localhost",
            "http.bind: localhost (variable FIOVANA_HTTP_BIND) is not allowed: give an address and a port such as 127.0.0.1:8080",
        ),
        (
            "FIOVANA_HTTP_BIND",
            "0.0.0.0",
            "http.bind: 0.0.0.0 (variable FIOVANA_HTTP_BIND) is not allowed: give an address and a port such as 127.0.0.1:8080",
        ),
        (
            "FIOVANA_MAX_BACKUPS",
            "1\n2",
            r"max_backups: 1\n2 (variable FIOVANA_MAX_BACKUPS) is not allowed: give a whole number from 1 to 1000000",
        ),
    ] {
        assert_eq!(House::empty().variable(name, value).refusals(), [expected]);
    }
    for (name, key) in [("FIOVANA_BACKUP_DIRECTORY", "backup_directory"), ("FIOVANA_CONFIG", "settings_file")] {
        let mut house = House::empty();
        house.sources.environment.insert(name.into(), OsString::from_vec(b"a\xff".to_vec()));
        assert_eq!(house.refusals(), [format!(r#"{key}: "a\xFF" (variable {name}) is not allowed: give UTF-8 text"#)]);
    }
}

#[test]
fn a_value_out_of_range_is_refused() {
    for (toml, expected) in [
        (
            "backup.max_backups = 0",
            "max_backups: 0 (FILE [backup].max_backups) is not allowed: give a whole number from 1 to 1000000",
        ),
        (
            "backup.max_backups = -1",
            "max_backups: -1 (FILE [backup].max_backups) is not allowed: give a whole number from 1 to 1000000",
        ),
        (
            "backup.retention_days = 0",
            "retention_days: 0 (FILE [backup].retention_days) is not allowed: give a whole number from 1 to 36500",
        ),
        (
            "backup.backup_interval_hours = 0",
            "backup_interval_hours: 0 (FILE [backup].backup_interval_hours) is not allowed: give a whole number from 1 to 8760",
        ),
        (
            "backup.encryption_enabled = 1",
            "encryption_enabled: 1 (FILE [backup].encryption_enabled) is not allowed: give true or false",
        ),
        (
            "[backup.priority_levels.low]\nfrequency_hours = 0",
            "priority_levels.low.frequency_hours: 0 (FILE [backup.priority_levels.low].frequency_hours) is not allowed: give a whole number from 1 to 8760",
        ),
        (
            "[backup.priority_levels.low]\nretention_days = 0",
            "priority_levels.low.retention_days: 0 (FILE [backup.priority_levels.low].retention_days) is not allowed: give a whole number from 1 to 36500",
        ),
        (
            "[backup.priority_levels.low]\nmax_size_mb = 0",
            "priority_levels.low.max_size_mb: 0 (FILE [backup.priority_levels.low].max_size_mb) is not allowed: give a whole number from 1 to 1000000000",
        ),
        (
            "[sets.logs]\nmax_backups = 0",
            "sets.logs.max_backups: 0 (FILE [sets.logs].max_backups) is not allowed: give a whole number from 1 to 1000000",
        ),
        (
            "[sets.logs]\nretention_days = 0",
            "sets.logs.retention_days: 0 (FILE [sets.logs].retention_days) is not allowed: give a whole number from 1 to 36500",
        ),
        (
            "[sets.logs]\ninterval = '0s'",
            r#"sets.logs.interval: "0s" (FILE [sets.logs].interval) is not allowed: give a whole number and a unit (ms, s, m, h, d) such as "90s" or "6h", from 1s to 365d"#,
        ),
        (
            "[sets.logs]\nvalidate = 'yaml'",
            r#"sets.logs.validate: "yaml" (FILE [sets.logs].validate) is not allowed: give "json" or "none""#,
        ),
        (
            "[sets.logs]\npriority = 'urgent'",
            r#"sets.logs.priority: "urgent" (FILE [sets.logs].priority) is not allowed: give critical, high, medium or low"#,
        ),
        (
            "janitor.interval = '0h'",
            r#"janitor.interval: "0h" (FILE [janitor].interval) is not allowed: give a whole number and a unit (ms, s, m, h, d) such as "90s" or "6h", from 1s to 365d"#,
        ),
        (
            "recovery.integrity_failures = 0",
            "recovery.integrity_failures: 0 (FILE [recovery].integrity_failures) is not allowed: give a whole number from 1 to 1000",
        ),
        (
            "recovery.window_minutes = 0",
            "recovery.window_minutes: 0 (FILE [recovery].window_minutes) is not allowed: give a whole number from 1 to 525600",
        ),
        (
            "recovery.pre_restore_days = 0",
            "recovery.pre_restore_days: 0 (FILE [recovery].pre_restore_days) is not allowed: give a whole number from 1 to 36500",
        ),
        (
            "notify.command = 'tell me'",
            r#"notify.command: "tell me" (FILE [notify].command) is not allowed: give a list of an absolute path and arguments such as ["/usr/bin/true", "-x"], or []"#,
        ),
        (
            "notify.timeout = '1h'",
            r#"notify.timeout: "1h" (FILE [notify].timeout) is not allowed: give a whole number and a unit (ms, s, m, h, d) such as "90s" or "6h", from 1s to 10m"#,
        ),
        (
            "recovery.health_command = ['check', '-x']",
            r#"recovery.health_command: ["check", "-x"] (FILE [recovery].health_command) is not allowed: give a list of an absolute path and arguments such as ["/usr/bin/true", "-x"], or []"#,
        ),
        (
            "supervision.max_restarts = 0",
            "supervision.max_restarts: 0 (FILE [supervision].max_restarts) is not allowed: give a whole number from 1 to 1000",
        ),
        (
            "supervision.backoff_initial = '31s'",
            "supervision.backoff_initial: 31s (FILE [supervision].backoff_initial) is not allowed: give at most supervision.backoff_max, which is 30s (built in)",
        ),
        (
            "supervision.window = '3s'",
            "supervision.window: 3s (FILE [supervision].window) is not allowed: an actor that fails at once would never be given up: 5 restarts, with waits from 100ms up to 30s, must fit into supervision.window, which is 3s",
        ),
        (
            "supervision.max_restarts = 1000",
            "supervision.max_restarts: 1000 (FILE [supervision].max_restarts) is not allowed: an actor that fails at once would never be given up: 1000 restarts, with waits from 100ms up to 30s, must fit into supervision.window, which is 1m",
        ),
        (
            "supervision.backoff_max = '50ms'",
            "supervision.backoff_max: 50ms (FILE [supervision].backoff_max) is not allowed: give at least supervision.backoff_initial, which is 100ms",
        ),
        (
            "logging.level = 'loud'",
            r#"logging.level: "loud" (FILE [logging].level) is not allowed: give error, warn, info, debug or trace"#,
        ),
        (
            "logging.format = 'xml'",
            r#"logging.format: "xml" (FILE [logging].format) is not allowed: give human or json"#,
        ),
        (
            "http.bind = 'localhost:80'",
            r#"http.bind: "localhost:80" (FILE [http].bind) is not allowed: give an address and a port such as 127.0.0.1:8080"#,
        ),
        (
            "http.metrics_bind = '127.0.0.1:8080'",
            "http.metrics_bind: 127.0.0.1:8080 (FILE [http].metrics_bind) is not allowed: give another address or port than bind (built in), which serves metrics too",
        ),
        (
            "http.tls_key = '/etc/tls.key'",
            "http.tls_key: /etc/tls.key (FILE [http].tls_key) is not allowed: give its tls_certificate too",
        ),
        (
            "http.tls_certificate = '/etc/tls.crt'",
            "http.tls_certificate: /etc/tls.crt (FILE [http].tls_certificate) is not allowed: give its tls_key too",
        ),
        (
            "http.unix_socket = ''",
            r#"http.unix_socket: "" (FILE [http].unix_socket) is not allowed: give the path of a socket to be, of at most 107 bytes once it is absolute"#,
        ),
        (
            "http.trusted_users = 'deploy'",
            r#"http.trusted_users: "deploy" (FILE [http].trusted_users) is not allowed: give a list of at most 64 names or numbers of users such as ["deploy", 1000]"#,
        ),
    ] {
        assert_eq!(line(toml), expected, "{toml}");
    }
}

#[test]
fn a_value_of_another_type_is_refused() {
    for toml in [
        "http.open_reading = 'no'",
        "http.trusted_users = [1.5]",
        "http.trusted_users = [-1]",
        "http.trusted_users = [4294967296]",
        "http.trusted_users = ['']",
        "http.trusted_users = ['a b']",
        "http.trusted_users = ['a:0']",
        "http.trusted_users = [\"\\u0000\"]",
        "backup.enabled = 'true'",
        "backup.enabled = 1",
        "backup.max_backups = '10'",
        "backup.max_backups = 10.0",
        "backup.max_backups = true",
        "backup.backup_directory = 5",
        "backup.backup_directory = ''",
        "janitor.interval = 3600",
        "logging.level = 3",
        "backup = 5",
        "sets = 'x'",
        "sets.logs = []",
        "http = [1]",
        "backup.priority_levels = ['high']",
        "backup.max_backups = { a = 1 }",
        "http.bind = 8080",
        "sets.logs.files = 'x'",
        "sets.logs.files = [1]",
        "sets.logs.files = []",
        "sets.logs.files = ['../x']",
    ] {
        assert!(line(toml).contains("is not allowed: "), "{toml}");
    }
    assert_eq!(line("backup = 5"), "backup: 5 (FILE backup) is not allowed: give a section [backup]");
}

#[test]
fn a_bad_value_is_refused_even_where_another_layer_overrides_it() {
    let house = House::with("backup = 5\nhttp = { bind = 'x' }\n")
        .variable("FIOVANA_MAX_BACKUPS", "3")
        .variable("FIOVANA_HTTP_BIND", "127.0.0.1:1");
    assert_eq!(house.refusals().len(), 2);
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    for (toml, expected) in [
        (
            "[backup]\nmax_backup = 5",
            "max_backup: 5 (FILE [backup].max_backup) is not a setting: did you mean max_backups?",
        ),
        ("[backups]\nenabled = true", "backups: a table (FILE [backups]) is not a setting: did you mean backup?"),
        (
            "[backup.priority_levels.criticl]\nenabled = true",
            "priority_levels.criticl: a table (FILE [backup.priority_levels.criticl]) is not a setting: did you mean critical?",
        ),
        (
            "[sets.logs]\nintervall = '1h'",
            r#"sets.logs.intervall: "1h" (FILE [sets.logs].intervall) is not a setting: did you mean interval?"#,
        ),
        (
            "[sets.service]\nsource = '/x'",
            r#"sets.service.source: "/x" (FILE [sets.service].source) is not a setting: known here are kind, priority, interval, retention_days, max_backups, keep_at_least, policy, validate, replicate, trust_parents"#,
        ),
        (
            "[janitor]\nspeed = 'high'",
            r#"janitor.speed: "high" (FILE [janitor].speed) is not a setting: known here are interval, grace, min_free_mb, min_free_percent"#,
        ),
        ("max_backups = 3", "max_backups: 3 (FILE max_backups) is not a setting: give it as [backup].max_backups"),
        (
            "\"a[999999999999]\" = 1",
            "a[999999999999]: 1 (FILE a[999999999999]) is not a setting: known here are backup, sets, replicas, http, audit, recovery, supervision, scrub, drill, encryption, janitor, notify, logging",
        ),
        (
            "\"line\\nbreak\" = 1",
            r"line\nbreak: 1 (FILE line\nbreak) is not a setting: known here are backup, sets, replicas, http, audit, recovery, supervision, scrub, drill, encryption, janitor, notify, logging",
        ),
    ] {
        assert_eq!(line(toml), expected, "{toml}");
    }
}

#[test]
fn a_name_that_cannot_name_a_set_is_refused() {
    for (name, reason) in
        [("latest", "is reserved"), ("all", "is reserved"), ("Docs", "is no set name"), ("\"a.b\"", "is no set name")]
    {
        let line = line(&format!("[sets.{name}]\nsource = 'x'\nfiles = ['y']"));
        assert!(line.contains(reason), "{line}");
    }
}

#[test]
fn a_set_without_source_or_files_is_refused() {
    for (toml, expected) in [
        (
            "[sets.docs]\nfiles = ['a']",
            "sets.docs.source: nothing (FILE [sets.docs]) is not allowed: give the directory that holds the files",
        ),
        (
            "[sets.docs]\nsource = 'a'",
            r#"sets.docs.files: nothing (FILE [sets.docs]) is not allowed: give a list of file names and globs such as ["app.json", "*.toml"]"#,
        ),
    ] {
        assert_eq!(line(toml), expected);
    }
}

#[test]
fn a_file_in_two_sets_is_refused() {
    let one = |source: &str, files: &str| format!("[sets.mine]\nsource = '{source}'\nfiles = [{files}]\n");
    let expected = "sets.mine.files: app_config.json (FILE [sets.mine].files) is not allowed: the set application holds it already, and a file belongs to one set only";
    for toml in
        [one("config", "'app_config.json'"), one("./x/../config", "'app_*.json'"), one(".", "'config/app_*.json'")]
    {
        assert!(line(&toml).ends_with(expected.split_once(')').unwrap().1), "{toml}: {}", line(&toml));
    }
    assert_eq!(line(&one("config", "'app_config.json'")), expected);
    let twice =
        |files: &str, other: &str| format!("{}[sets.other]\nsource = 'd'\nfiles = [{other}]\n", one("d", files));
    for (files, other) in [("'a'", "'a'"), ("'*.md'", "'x.md'"), ("'x.md'", "'*.md'"), ("'*'", "'*'")] {
        assert!(line(&twice(files, other)).contains("the set mine holds it already"), "{files} {other}");
    }
    for (files, other) in [("'a'", "'b'"), ("'*.md'", "'x.txt'"), ("'*.md'", "'sub/x.md'")] {
        House::with(&twice(files, other)).load();
    }
}

#[test]
fn sets_and_the_backup_directory_are_kept_apart() {
    let one = |source: &str, files: &str| format!("[sets.mine]\nsource = '{source}'\nfiles = ['{files}']\n");
    for source in ["backups", "backups/replica", "./x/../backups/"] {
        assert!(line(&one(source, "a")).contains(
            "is not allowed: give a directory that is not inside the backup directory /home/backups (built in)"
        ));
    }
    for files in ["**", "*/*", "backups/repository.json", "b*/**"] {
        assert!(
            refused(&one(".", files))[0]
                .contains("is not allowed: name no files that may be inside the backup directory"),
            "{files}"
        );
    }
    for files in ["*", "*.md", "docs/**", "backups.txt"] {
        House::with(&one(".", files)).load();
    }
    let house = House::empty().variable("FIOVANA_BACKUP_DIRECTORY", "logs");
    assert_eq!(
        house.refusals(),
        [
            "sets.logs.source: /home/logs (built in) is not allowed: give a directory that is not inside the backup directory /home/logs (variable FIOVANA_BACKUP_DIRECTORY)"
        ]
    );
}

#[test]
fn malformed_toml_is_refused_with_its_line() {
    for (toml, place) in [
        ("[backup]\nmax_backups = = 5\n", "line 2, column 15: "),
        ("[backup\n", "line 1, column 8: "),
        ("a = 1\na = 2\n", "line 2, column 1: "),
        ("\n\n[backup]\nmax_backups = 99999999999999999999\n", "line 4: "),
    ] {
        let line = line(toml);
        let (_, message) = line.split_once(&format!("FILE {place}")).unwrap_or_else(|| panic!("{line}"));
        assert!(message.len() > 10 && !message.contains(" at line"), "{line}");
    }
    let house = House::empty();
    let mut bytes = b"# \xff".to_vec();
    bytes.push(b'\n');
    house.put("config/fiovana.toml", "");
    std::io::Write::write_all(&mut std::fs::File::create(house.at("config/fiovana.toml")).unwrap(), &bytes).unwrap();
    assert!(house.refusals()[0].contains("read settings file /home/config/fiovana.toml (built in): invalid utf-8"));
}

#[test]
fn every_problem_is_told_at_once() {
    let house = House::with("[backup]\nmax_backups = 0\nretention = 5\n[logging]\nlevel = 1\n")
        .variable("FIOVANA_HTTP_BIND", "x");
    assert_eq!(house.refusals().len(), 4);
}

#[test]
fn a_relative_working_directory_is_refused() {
    let sources = Sources { working_directory: "here".into(), ..Sources::default() };
    assert_eq!(Settings::load(&sources).unwrap_err().to_string(), "working directory here is not an absolute path");
}

#[test]
fn a_document_nested_without_end_is_refused_not_followed() {
    for opening in ["[", "{a="] {
        let line = line(&format!("x = {}", opening.repeat(100_000)));
        assert!(line.starts_with("FILE"), "{line}");
    }
    let dotted = format!("{} = 1", vec!["a"; 50_000].join("."));
    assert!(!refused(&dotted).is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_settings_file_makes_loading_panic_or_take_two_lines_for_a_problem(
        words in proptest::collection::vec(proptest::sample::select(vec![
            "[backup]\n", "[sets.a]\n", "[sets.\"\\n\"]\n", "max_backups = ", "files = ", "source = ", "x = ", "0\n",
            "-1\n", "'x'\n", "['a', '*', '[']\n", "{ a = 1 }\n", "[", "]", "\"\\u0000\"\n", "\n", "1979-05-27\n", "nan\n",
            "99999999999999999999\n", "'''\n", "é", "\u{7}",
        ]), 0..12),
    ) {
        let house = House::with(&words.concat());
        let (_, errors) = Settings::salvage(&house.sources);
        prop_assert_eq!(errors.to_string().lines().count(), errors.lines().len());
    }
}
