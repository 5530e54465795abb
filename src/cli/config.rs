//! `config show` and `config check`.
//!
//! Hazard: a setting that is thought to hold and does not. What holds is shown with who said it, without opening or
//! changing anything.

use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::{arguments, render};
use crate::actors::problems::chain;
use crate::core::SetName;
use crate::core::secrets::HIDDEN;
use crate::daemon::owner::user_of_service;
use crate::daemon::users;
use crate::keys;
use crate::pipeline::source::SourceError;
use crate::pipeline::survey::{Survey, survey};
use crate::settings::{SetSettings, Settings, Sources};

/// What `config show` prints.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Every effective value.
    pub settings: Vec<Value>,
    /// What is probably a mistake.
    pub warnings: Vec<String>,
    /// Sets whose sources would not be used, and why.
    pub unsafe_sources: Vec<String>,
}

/// An effective value.
#[derive(Debug, Serialize)]
pub struct Value {
    /// Its dotted key.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// Who said it.
    pub origin: String,
}

/// What `config check` prints.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// Whether the service would start with these settings.
    pub valid: bool,
    /// The settings file, if one is in use.
    pub settings_file: Option<String>,
    /// What is wrong.
    pub errors: Vec<String>,
    /// What is probably a mistake.
    pub warnings: Vec<String>,
    /// What each set would back up now; none if the settings are not valid.
    pub sets: Vec<CheckedSet>,
    /// Sets whose sources the service would not use, and why.
    pub unsafe_sources: Vec<String>,
}

/// What the patterns of a set mean now.
#[derive(Debug, Serialize)]
pub struct CheckedSet {
    /// Its name.
    pub set: SetName,
    /// The directory that holds its files.
    pub source: String,
    /// How many files it would back up.
    pub files: usize,
    /// Its patterns, and how many files each matches.
    pub patterns: Vec<Pattern>,
    /// How many files are excluded.
    pub excluded: usize,
    /// Some of them.
    pub excluded_files: Vec<String>,
    /// What is probably a mistake, or cannot be backed up.
    pub remarks: Vec<String>,
}

/// A pattern, and what it matches.
#[derive(Debug, Serialize)]
pub struct Pattern {
    /// As the settings say it.
    pub pattern: String,
    /// How many files.
    pub files: usize,
}

impl CheckedSet {
    fn of(set: &SetSettings) -> Self {
        let looked = survey(set);
        let remarks = match &looked {
            Ok(survey) => remarks(survey),
            Err(SourceError::Path(error)) if error.is_distrust() => vec!["its source is not safe".to_owned()],
            Err(error) => vec![chain(error)],
        };
        let survey = looked.unwrap_or_default();
        Self {
            set: set.name.clone(),
            source: set.source.real().display().to_string(),
            files: survey.files,
            patterns: survey.patterns.into_iter().map(|(pattern, files)| Pattern { pattern, files }).collect(),
            excluded: survey.excluded.1,
            excluded_files: survey.excluded.0,
            remarks,
        }
    }
}

fn remarks(survey: &Survey) -> Vec<String> {
    let mut remarks: Vec<String> =
        survey.unreadable.iter().map(|(path, why)| format!("{path} cannot be backed up: {why}")).collect();
    if let Some(log) = survey.like_logs.first() {
        remarks.push(format!(
            r#"{log} looks like a log: say kind = "logs" if the files of this set grow while they are read"#
        ));
    }
    remarks
}

/// Shows or checks the settings that `sources` ask for.
pub fn run(what: arguments::Config, sources: &Sources, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match what {
        arguments::Config::Show => show(&as_the_service(Settings::load(sources)?), output),
        arguments::Config::Check => check(sources, output),
    }
}

fn show(settings: &Settings, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let values = settings.explained().into_iter();
    let values = values.map(|said| Value { key: said.key, value: said.value, origin: said.origin.to_string() });
    let (warnings, unsafe_sources) = (settings.warnings.clone(), settings.unsafe_sources());
    let explanation = Explanation { settings: values.collect(), warnings, unsafe_sources };
    output.warnings(&explanation.warnings);
    output.warnings(&explanation.unsafe_sources);
    output.document(&explanation, render::settings)?;
    if explanation.settings.iter().any(|value| value.value.contains(HIDDEN)) {
        output.message(&format!("{HIDDEN} is a secret: where its value comes from, it can be read"));
    }
    Ok(Exit::Done)
}

/// Root may ask for a service of another user.
fn as_the_service(settings: Settings) -> Settings {
    let user = user_of_service(&settings);
    settings.seen_by(user)
}

fn check(sources: &Sources, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let (settings, errors) = Settings::salvage(sources);
    let mut wrong: Vec<String> = errors.lines().iter().map(|error| chain(error)).collect();
    // Where a setting is wrong, the keys that the others mean prove nothing.
    if wrong.is_empty() {
        wrong.extend(keys::load(&settings).err().map(|error| chain(&error)));
        wrong.extend(users::check(&settings).err().map(|error| chain(&error)));
    }
    let settings = as_the_service(settings);
    let unsafe_sources = settings.unsafe_sources();
    let checked = Checked {
        valid: wrong.is_empty(),
        settings_file: settings.settings_file.as_ref().map(|path| path.display().to_string()),
        sets: if wrong.is_empty() { settings.sets.iter().map(CheckedSet::of).collect() } else { vec![] },
        errors: wrong,
        warnings: settings.warnings,
        unsafe_sources,
    };
    output.warnings(&checked.warnings);
    checked.unsafe_sources.iter().chain(&checked.errors).for_each(|line| output.message(line));
    output.document(&checked, render::checked)?;
    Ok(match (checked.valid, checked.unsafe_sources.is_empty()) {
        (false, _) => Exit::Usage,
        (true, false) => Exit::Problems,
        (true, true) => Exit::Done,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::look;

    fn ran(what: arguments::Config, variables: &[(&str, &str)]) -> (Result<Exit, Failure>, String, String) {
        let environment = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let sources = Sources { config_argument: None, environment, working_directory: "/nonexistent".into() };
        let (mut results, mut messages) = (Vec::new(), Vec::new());
        let exit = run(what, &sources, &mut Output::new(&mut results, &mut messages, look(), false));
        (exit, String::from_utf8(results).unwrap(), String::from_utf8(messages).unwrap())
    }

    #[test]
    fn valid_settings_are_said_to_be_valid() {
        let (exit, text, messages) = ran(arguments::Config::Check, &[]);
        assert_eq!(exit.unwrap(), Exit::Done);
        assert!(text.starts_with("the settings without a settings file are valid\nsecurity: 0 files"), "{text}");
        assert_eq!(messages, "");
    }

    #[test]
    fn every_bad_setting_is_a_line_of_its_own_and_the_exit_is_usage() {
        let bad = [("FIOVANA_BACKUP_ENABLED", "maybe"), ("FIOVANA_MAX_BACKUPS", "0")];
        let (exit, text, messages) = ran(arguments::Config::Check, &bad);
        assert_eq!((exit.unwrap(), text.as_str()), (Exit::Usage, ""));
        assert_eq!(messages.lines().count(), 2, "{messages}");
        let (exit, ..) = ran(arguments::Config::Show, &bad);
        assert_eq!(exit.unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn a_secret_in_a_command_is_hidden_and_it_is_said_where_it_can_be_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("fiovana.toml");
        let text = "[notify]\ncommand = [\"/bin/x\", \"--token\", \"hunter2\"]\n";
        std::fs::File::create(&file)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .unwrap();
        let (exit, text, messages) = ran(arguments::Config::Show, &[("FIOVANA_CONFIG", file.to_str().unwrap())]);
        assert_eq!(exit.unwrap(), Exit::Done);
        assert!(
            text.contains("[/bin/x, --token, (hidden)") && messages.contains("(hidden) is a secret"),
            "{text}{messages}"
        );
        assert!(!format!("{text}{messages}").contains("hunter2"), "{text}{messages}");
    }

    #[test]
    fn a_value_is_shown_with_the_variable_that_said_it() {
        let (exit, text, _) = ran(arguments::Config::Show, &[("FIOVANA_MAX_BACKUPS", "7")]);
        assert_eq!(exit.unwrap(), Exit::Done);
        let line = text.lines().find(|line| line.starts_with("backup.max_backups ")).unwrap();
        assert!(line.contains(" 7 ") && line.ends_with("variable FIOVANA_MAX_BACKUPS"), "{line}");
    }
}
