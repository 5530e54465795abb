//! The environment variables of this program.
//!
//! Hazard: a misspelt variable changes nothing and says nothing. Fiovana has some thirty `FIOVANA_*` variables of its
//! own, so an unknown one is no error; one that nearly is ours is pointed out.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// Names the settings file.
pub(super) const CONFIG: &str = "FIOVANA_CONFIG";

/// Asks for a start in recovery mode.
pub(super) const RECOVERY_MODE: &str = "FIOVANA_RECOVERY_MODE";

/// Each variable and the key it overrides.
const VARIABLES: [(&str, &str); 10] = [
    ("FIOVANA_BACKUP_ENABLED", "backup.enabled"),
    ("FIOVANA_BACKUP_DIRECTORY", "backup.backup_directory"),
    ("FIOVANA_MAX_BACKUPS", "backup.max_backups"),
    ("FIOVANA_RETENTION_DAYS", "backup.retention_days"),
    ("FIOVANA_HTTP_BIND", "http.bind"),
    ("FIOVANA_IDENTITY", "encryption.identity"),
    ("FIOVANA_CONFIG_DIRECTORY", "config_directory"),
    ("FIOVANA_LOG_DIRECTORY", "log_directory"),
    (CONFIG, "settings_file"),
    (RECOVERY_MODE, "recovery_mode"),
];

/// The variable that overrides `key`, and its value; `None` if it is unset or empty.
pub(super) fn overriding<'a>(
    environment: &'a BTreeMap<OsString, OsString>,
    key: &str,
) -> Option<(&'static str, &'a OsStr)> {
    let (name, _) = VARIABLES.into_iter().find(|(_, overridden)| *overridden == key)?;
    let value = environment.get(OsStr::new(name))?;
    (!value.is_empty()).then_some((name, value.as_os_str()))
}

/// Whether recovery mode is asked for: any value but empty, `0`, `false`, `no` and `off` asks for it, so that nobody
/// in an emergency fails on the spelling of "yes".
pub(super) fn recovery_mode(environment: &BTreeMap<OsString, OsString>) -> bool {
    let Some(value) = environment.get(OsStr::new(RECOVERY_MODE)) else { return false };
    let text = value.to_string_lossy().trim().to_ascii_lowercase();
    !["", "0", "false", "no", "off"].contains(&text.as_str())
}

/// Whether this is the name of a variable of this program, or one that may have been meant for it.
pub fn is_variable(name: &str) -> bool {
    VARIABLES.iter().any(|(ours, _)| *ours == name) || nearly_ours(name).is_some()
}

/// A sentence for each variable that nearly is one of ours.
pub(super) fn near_misses(environment: &BTreeMap<OsString, OsString>) -> Vec<String> {
    let names = environment.keys().filter_map(|name| name.to_str());
    names
        .filter_map(|name| {
            let meant = nearly_ours(name)?;
            Some(format!("{name} is not a variable of fiovana-app: did you mean {meant}?"))
        })
        .collect()
}

/// The variable of ours that `name` nearly is: two typos away, or the same but cut short (`FIOVANA_BACKUP_DIR`).
fn nearly_ours(name: &str) -> Option<&'static str> {
    const SHORTEST_CUT: usize = "FIOVANA_LOG_DIR".len();
    if name.len() > 64 || VARIABLES.iter().any(|(ours, _)| *ours == name) {
        return None;
    }
    let upper = name.to_ascii_uppercase();
    let distance = |ours: &str| strsim::damerau_levenshtein(&upper, ours);
    let (nearest, _) = VARIABLES.into_iter().min_by_key(|(ours, _)| distance(ours))?;
    if distance(nearest) <= 2 {
        return Some(nearest);
    }
    let cut_short = |ours: &str| upper.len() >= SHORTEST_CUT && ours.starts_with(&upper);
    VARIABLES.into_iter().map(|(ours, _)| ours).find(|ours| cut_short(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_told_and_a_variable_of_fiovana_is_not() {
        for (name, meant) in [
            ("FIOVANA_MAX_BACKUP", "FIOVANA_MAX_BACKUPS"),
            ("FIOVANA_MAXBACKUPS", "FIOVANA_MAX_BACKUPS"),
            ("FIVOANA_RETENTION_DAYS", "FIOVANA_RETENTION_DAYS"),
            ("fiovana_recovery_mode", "FIOVANA_RECOVERY_MODE"),
            ("FIOVANA_BACKUP_DIR", "FIOVANA_BACKUP_DIRECTORY"),
            ("FIOVANA_LOG_DIR", "FIOVANA_LOG_DIRECTORY"),
        ] {
            assert_eq!(nearly_ours(name), Some(meant), "{name}");
        }
        for name in
            ["FIOVANA_SECURITY_LEVEL", "FIOVANA_LOG_LEVEL", "FIOVANA_LOG", "FIOVANA_CONFIG", "FIOVANA", "PATH", "HOME"]
        {
            assert_eq!(nearly_ours(name), None, "{name}");
        }
    }
}
