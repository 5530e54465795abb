//! Which layer wins.
//!
//! Hazard: the wrong layer winning deletes history early, or backs up a day late.

use proptest::prelude::*;

use super::*;

#[test]
fn the_more_specific_statement_holds_and_built_in_values_yield_to_any() {
    let backup = "[backup]\nretention_days = 20\nbackup_interval_hours = 3\nmax_backups = 5\n";
    let level = "[backup.priority_levels.high]\nretention_days = 21\nfrequency_hours = 4\n";
    let own = "[sets.application]\nretention_days = 22\ninterval = '5h'\nmax_backups = 6\n";
    for (toml, days, hours, versions) in [
        (String::new(), 14, 6, 10),
        (backup.to_owned(), 20, 3, 5),
        (level.to_owned(), 21, 4, 10),
        (own.to_owned(), 22, 5, 6),
        (format!("{backup}{level}"), 21, 4, 5),
        (format!("{backup}{own}"), 22, 5, 6),
        (format!("{level}{own}"), 22, 5, 6),
        (format!("{backup}{level}{own}"), 22, 5, 6),
    ] {
        let settings = House::with(&toml).load();
        let set = set(&settings, "application");
        let hours = Duration::from_secs(hours * 3600);
        assert_eq!((set.retention_days, set.interval, set.max_backups), (days, hours, versions), "{toml}");
    }
}

#[test]
fn old_versions_are_kept_unless_somebody_says_for_how_long() {
    let days = "[backup]\nretention_days = 20\n";
    let level = "[backup.priority_levels.high]\nretention_days = 21\n";
    let own = "[sets.application]\nretention_days = 22\n";
    let said = "[sets.application]\nkeep_at_least = 5\n";
    for (toml, versions) in [
        (String::new(), 3),
        (days.to_owned(), 1),
        (level.to_owned(), 1),
        (own.to_owned(), 1),
        (said.to_owned(), 5),
        (format!("{days}{said}"), 5),
        ("[backup]\nmax_backups = 2\n".to_owned(), 2),
        (format!("[backup]\nmax_backups = 2\n{said}"), 2),
    ] {
        let settings = House::with(&toml).load();
        assert_eq!(set(&settings, "application").keep_at_least.versions, versions, "{toml}");
    }
    for (variable, value) in [("FIOVANA_MAX_BACKUPS", "1"), ("FIOVANA_RETENTION_DAYS", "1")] {
        let settings = House::with("").variable(variable, value).load();
        assert_eq!(set(&settings, "security").keep_at_least.versions, 1, "{variable}");
    }
}

#[test]
fn a_retention_that_a_replica_says_is_one_that_somebody_says() {
    let settings = House::with("[sets.logs]\nkeep_at_least = 4\n").load();
    let of = |name: &str| set(&settings, name).with_retention_days(9);
    assert_eq!(of("security").keep_at_least.versions, 1);
    assert_eq!((of("logs").keep_at_least.versions, of("logs").retention_days), (4, 9));
}

#[test]
fn origins_name_the_statement_that_holds() {
    let house = House::with(
        "[backup]\nretention_days = 20\n[backup.priority_levels.critical]\nretention_days = 21\nenabled = false\n[sets.logs]\nretention_days = 22\n",
    );
    let settings = house.load();
    let file = house.at("config/fiovana.toml").display().to_string();
    for (key, expected) in [
        ("backup.retention_days", format!("{file} [backup].retention_days")),
        ("sets.application.retention_days", format!("{file} [backup].retention_days")),
        ("sets.security.retention_days", format!("{file} [backup.priority_levels.critical].retention_days")),
        ("sets.security.enabled", format!("{file} [backup.priority_levels.critical].enabled")),
        ("sets.logs.retention_days", format!("{file} [sets.logs].retention_days")),
        ("sets.logs.interval", "built in".to_owned()),
    ] {
        assert_eq!(origin(&settings, key), expected, "{key}");
    }
    assert!(!set(&settings, "security").enabled && set(&settings, "logs").enabled);
}

#[test]
fn a_set_of_ones_own_has_medium_priority_and_follows_it() {
    let house = House::with(
        "[sets.docs]\nsource = 'docs'\nfiles = ['*.md']\n[sets.a]\nsource = '/srv/a'\nfiles = ['x']\npriority = 'low'\nvalidate = 'none'\n",
    );
    let settings = house.load();
    let docs = set(&settings, "docs");
    assert_eq!((docs.priority, docs.retention_days, docs.max_backups), (BackupPriority::Medium, 7, 10));
    assert_eq!((docs.interval, docs.source.written()), (Duration::from_secs(86_400), house.at("docs").as_path()));
    assert_eq!(docs.max_size_mb, Some(10_240));
    let names: Vec<&str> = settings.sets.iter().map(|set| set.name.as_str()).collect();
    assert_eq!(names, ["security", "application", "service", "docs", "logs", "a"]);
}

#[test]
fn a_built_in_set_can_be_changed_in_part() {
    let house = House::with(
        "[sets.logs]\npriority = 'critical'\nfiles = ['x.log']\n[sets.security]\nsource = '/srv/security'\n",
    );
    let settings = house.load();
    let logs = set(&settings, "logs");
    assert_eq!(
        (logs.priority, logs.interval, logs.max_size_mb),
        (BackupPriority::Critical, Duration::from_secs(86_400), Some(64))
    );
    assert_eq!(logs.files, FilePatterns::new(["x.log"]).unwrap());
    assert_eq!(set(&settings, "security").source.written(), Path::new("/srv/security"));
    assert_eq!(set(&settings, "application").source.written(), house.at("config"));

    let house = house.variable("FIOVANA_CONFIG_DIRECTORY", "/srv/all");
    assert_eq!(set(&house.load(), "security").source.written(), Path::new("/srv/all"), "a variable is before the file");
}

/// What each layer says of one set's retention, count and interval (in hours).
#[derive(Clone, Debug, Default)]
struct Layer {
    retention_days: Option<u32>,
    max_backups: Option<usize>,
    hours: Option<u32>,
}

fn layer() -> impl Strategy<Value = Layer> {
    use proptest::option::of;
    (of(1..40_u32), of(1..40_usize), of(1..40_u32)).prop_map(|(retention_days, max_backups, hours)| Layer {
        retention_days,
        max_backups,
        hours,
    })
}

/// A layer as a section of the settings file.
fn section(header: &str, layer: &Layer, hours: impl Fn(u32) -> String, has_count: bool) -> String {
    let days = layer.retention_days.map(|days| format!("retention_days = {days}\n"));
    let count = layer.max_backups.filter(|_| has_count).map(|count| format!("max_backups = {count}\n"));
    let hours = layer.hours.map(hours);
    [Some(format!("[{header}]\n")), days, count, hours].into_iter().flatten().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_layers_resolve_as_specified(
        variable in layer(), own in layer(), level in layer(), backup in layer(),
        (name, priority, days, hours) in prop_oneof![
            Just(("security", "critical", 30, 1)), Just(("application", "high", 14, 6)),
            Just(("logs", "medium", 7, 24)), Just(("service", "high", 30, 6)), Just(("mine", "medium", 7, 24)),
        ],
    ) {
        let place = if name == "mine" { "source = 'mine'\nfiles = ['*']\n" } else { "" };
        let toml = [
            section("backup", &backup, |hours| format!("backup_interval_hours = {hours}\n"), true),
            section(&format!("backup.priority_levels.{priority}"), &level, |hours| format!("frequency_hours = {hours}\n"), false),
            section(&format!("sets.{name}"), &own, |hours| format!("interval = '{hours}h'\n"), true),
            place.to_owned(),
        ].concat();
        let mut house = House::with(&toml);
        if let Some(days) = variable.retention_days {
            house = house.variable("FIOVANA_RETENTION_DAYS", &days.to_string());
        }
        if let Some(count) = variable.max_backups {
            house = house.variable("FIOVANA_MAX_BACKUPS", &count.to_string());
        }
        let settings = house.load();
        let set = set(&settings, name);

        let first = |layers: [Option<u32>; 4], built_in: u32| layers.into_iter().flatten().next().unwrap_or(built_in);
        let days = first([variable.retention_days, own.retention_days, level.retention_days, backup.retention_days], days);
        let hours = first([None, own.hours, level.hours, backup.hours], hours);
        let count = variable.max_backups.or(own.max_backups).or(backup.max_backups).unwrap_or(10);
        prop_assert_eq!(set.retention_days, days);
        prop_assert_eq!(set.interval, Duration::from_secs(u64::from(hours) * 3600));
        prop_assert_eq!(set.max_backups, count);
    }
}
