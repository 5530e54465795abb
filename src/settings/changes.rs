//! What a reload of the settings changes.
//!
//! Hazard: a setting that was changed and is silently not in force until the next start, months later. What a running
//! process cannot take up stays as it is, and is named.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::core::secrets::shown_value;

use super::{Explained, Settings, SettingsErrors, Sources, decide};

/// One effective value that is another one now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The dotted key.
    pub key: String,
    /// The value before, with secrets hidden; absent if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value now, with secrets hidden; absent if there is none any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who says the value now; or who said the one that is gone.
    pub origin: String,
    /// Whether it takes hold only at the next start.
    pub needs_restart: bool,
}

/// Sections and keys that are read once, when the process starts.
const FIXED: [&str; 6] =
    ["backup.backup_directory", "log_directory", "recovery_mode", "http.", "logging.", "supervision."];

/// Settings that were loaded anew by a process that runs.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// As they are asked for, and will be at the next start.
    pub asked: Settings,
    /// As the process takes them up: what cannot change while it runs is as it was.
    pub in_force: Settings,
    /// What differs between what was asked for before and now, by key.
    pub changes: Vec<Change>,
}

impl Settings {
    /// The settings that `sources` ask for now, for a process that runs with `running`. They must be allowed as they are,
    /// and, as long as the process goes on with its backup directory, with that.
    pub fn load_again(sources: &Sources, running: &Settings) -> Result<Reloaded, SettingsErrors> {
        let asked = Self::load(sources)?;
        let changes = changes(&running.explained, &asked.explained);
        let directory = &running.backup.backup_directory;
        let mut in_force = asked.clone();
        if asked.backup.backup_directory != *directory {
            let mut errors = Vec::new();
            in_force = decide::settings(sources, None, Some(directory), &mut errors);
            if !errors.is_empty() {
                return Err(SettingsErrors(errors));
            }
            // The next change is one of what is asked for now.
            in_force.explained.clone_from(&asked.explained);
        }
        Ok(Reloaded { in_force: in_force.with_what_is_fixed(running), asked, changes })
    }

    fn with_what_is_fixed(mut self, running: &Settings) -> Self {
        self.log_directory.clone_from(&running.log_directory);
        self.recovery_mode = running.recovery_mode;
        self.http.clone_from(&running.http);
        self.logging = running.logging;
        self.supervision = running.supervision;
        self
    }
}

fn changes(before: &[Explained], after: &[Explained]) -> Vec<Change> {
    let by_key = |values: &[Explained]| -> BTreeMap<String, Explained> {
        values.iter().map(|value| (value.key.clone(), value.clone())).collect()
    };
    let (before, after) = (by_key(before), by_key(after));
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    let mut changes: Vec<Change> = keys.filter_map(|key| change(before.get(key), after.get(key))).collect();
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

fn change(before: Option<&Explained>, after: Option<&Explained>) -> Option<Change> {
    let value = |explained: Option<&Explained>| explained.map(|explained| explained.value.clone());
    let said = after.or(before)?;
    if value(before) == value(after) {
        return None;
    }
    let name = said.key.rsplit('.').next().unwrap_or_default();
    let shown = |explained| value(explained).map(|value| shown_value(name, &value));
    Some(Change {
        key: said.key.clone(),
        from: shown(before),
        to: shown(after),
        origin: said.origin.to_string(),
        needs_restart: FIXED.iter().any(|fixed| said.key == *fixed || said.key.starts_with(fixed)),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Origin;
    use super::*;

    fn value(key: &str, value: &str) -> Explained {
        Explained { key: key.into(), value: value.into(), origin: Origin::BuiltIn }
    }

    #[test]
    fn what_is_new_other_or_gone_is_a_change_and_nothing_else() {
        let before = [value("a", "1"), value("b", "1"), value("c", "1")];
        let after = [value("a", "1"), value("b", "2"), value("d", "1")];
        let changes: Vec<_> = changes(&before, &after).into_iter().map(|c| (c.key, c.from, c.to)).collect();
        let some = |text: &str| Some(text.to_owned());
        let expected =
            [("b".into(), some("1"), some("2")), ("c".into(), some("1"), None), ("d".into(), None, some("1"))];
        assert_eq!(changes, expected);
    }

    #[test]
    fn the_value_of_a_secret_is_not_told_though_its_change_is() {
        let hidden = Some("(hidden)".to_owned());
        let changes = changes(
            &[value("http.tokens", "hush"), value("notify.command", "[/bin/x, --token, hush]")],
            &[value("http.tokens", "hush now"), value("notify.command", "[/bin/x, --token, hush now]")],
        );
        assert_eq!((&changes[0].from, &changes[0].to), (&hidden, &hidden));
        assert_eq!(changes[1].to.as_deref(), Some("[/bin/x, --token, (hidden)"));
    }

    #[test]
    fn what_is_read_once_needs_a_restart() {
        let needs = |key: &str| changes(&[], &[value(key, "1")])[0].needs_restart;
        assert!(needs("http.bind") && needs("backup.backup_directory"));
        assert!(!needs("backup.max_backups") && !needs("sets.logs.interval"));
    }
}
