//! The settings as text.

use crate::cli::config::{Checked, CheckedSet, Explanation, Value};
use crate::cli::output::Look;
use crate::cli::table::{Align, Table};
use crate::cli::text::count;
use crate::core::printable::plain;

/// Every effective value and who said it.
pub fn settings(explanation: &Explanation, look: &Look) -> String {
    let mut table = Table::new([("KEY", Align::Left), ("VALUE", Align::Left), ("ORIGIN", Align::Left)]);
    for value in &explanation.settings {
        table.row([value.key.as_str().into(), value.value.as_str().into(), value.origin.as_str().into()]);
    }
    if table.fits(look) {
        return table.render(look);
    }
    let line = |value: &Value| format!("{} = {} ({})\n", plain(&value.key), plain(&value.value), plain(&value.origin));
    explanation.settings.iter().map(line).collect()
}

/// What a check found.
pub fn checked(checked: &Checked, look: &Look) -> String {
    let from = match &checked.settings_file {
        Some(path) => format!("of {}", plain(path)),
        None => "without a settings file".to_owned(),
    };
    if checked.valid {
        let sets = checked.sets.iter().map(|set| checked_set(set, look));
        return format!("the settings {from} are valid\n{}", sets.collect::<String>());
    }
    String::new()
}

fn checked_set(set: &CheckedSet, _: &Look) -> String {
    let mut text = format!("{}: {} in {}\n", set.set, count(set.files, "file"), plain(&set.source));
    for pattern in &set.patterns {
        let matched = if pattern.files == 0 { "nothing".to_owned() } else { count(pattern.files, "file") };
        text += &format!("  {}: {matched}\n", plain(&pattern.pattern));
    }
    if set.excluded > 0 {
        let names: Vec<_> = set.excluded_files.iter().map(|path| plain(path)).collect();
        let more = match set.excluded - set.excluded_files.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text += &format!("  excluded: {}{more}\n", names.join(", "));
    }
    for remark in &set.remarks {
        text += &format!("  {}\n", plain(remark));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn every_value_is_shown_with_its_origin() {
        let value = |key: &str, value: &str, origin: &str| Value {
            key: key.into(),
            value: value.into(),
            origin: origin.into(),
        };
        let settings = vec![
            value("backup.enabled", "true", "built in"),
            value("backup.max_backups", "7", "variable FIOVANA_MAX_BACKUPS"),
        ];
        let expected = "\
KEY                 VALUE  ORIGIN
backup.enabled      true   built in
backup.max_backups  7      variable FIOVANA_MAX_BACKUPS
";
        assert_eq!(
            super::settings(&Explanation { settings, warnings: vec![], unsafe_sources: vec![] }, &samples::look()),
            expected
        );
    }
}
