//! Settings for an emergency.
//!
//! Hazard: defaults look for the backups in the wrong place, and what nobody can parse says nothing of where the right
//! one is. So the last settings that loaded stand for a settings file that is lost or worse than they are; and bytes
//! that were refused are told to whoever decides what is to be restored.

use std::io;
use std::path::Path;

use crate::actors::KEPT_STATE;
use crate::core::Digest;
use crate::files::plain::read_up_to;
use crate::files::{Refusal, Trust, read_plain};
use crate::keys;
use crate::repository::state::{Loaded, load_from};
use crate::settings::{KEPT, KeptSettings, MAX_SETTINGS_BYTES, Refused, Settings, SettingsErrors, Sources};

/// What could be made out.
pub struct Salvaged {
    /// The settings.
    pub settings: Settings,
    /// What is wrong with the settings that were asked for, if they are not those in force.
    pub rejected: Option<String>,
    notes: Vec<String>,
}

impl Salvaged {
    /// As much as can be understood of what `sources` ask for, or the last settings that loaded where they say more.
    pub fn from(sources: &Sources) -> Self {
        let (asked, errors) = Settings::salvage(sources);
        let mut notes: Vec<String> = errors.to_string().lines().map(str::to_owned).collect();
        let kept = kept(&asked, &mut notes).map(|(place, text)| (place, Settings::salvage_as(sources, &text)));
        let better = kept.filter(|(_, (_, kept_errors))| is_better(&asked, &errors, kept_errors));
        let is_to_blame = file_is_to_blame(sources, &asked, &errors);
        let was_asked = asked.settings_file.is_some();
        let mut settings = match better {
            Some((place, (settings, _))) => {
                notes.push(match was_asked {
                    true => format!("the last settings that loaded are used instead, from {place}"),
                    false => format!("no settings file; the last settings that loaded are used, from {place}"),
                });
                settings
            }
            None => {
                if is_to_blame {
                    notes.push("what cannot be understood of the settings is replaced by defaults".to_owned());
                }
                asked
            }
        };
        let rejected = (!errors.lines().is_empty()).then(|| errors.summary());
        if is_to_blame && errors.are_of_content() {
            refuse_live_file(&mut settings, &errors.summary());
        }
        Self { settings, rejected, notes }
    }

    /// What was found, one line each.
    pub fn findings(&self) -> &[String] {
        &self.notes
    }
}

/// Whether the kept settings say more than those that were asked for: a file that is gone says nothing.
fn is_better(asked: &Settings, errors: &SettingsErrors, kept: &SettingsErrors) -> bool {
    asked.settings_file.is_none() || kept.lines().len() < errors.lines().len()
}

/// Whether fewer things would be wrong without the settings file.
fn file_is_to_blame(sources: &Sources, asked: &Settings, errors: &SettingsErrors) -> bool {
    let (_, without) = Settings::salvage_as(sources, "");
    asked.settings_file.is_some() && without.lines().len() < errors.lines().len()
}

/// The last settings that loaded, and where they were kept: beside the audit log, or in the repository. A copy that somebody
/// else could have written is not used.
fn kept(settings: &Settings, notes: &mut Vec<String>) -> Option<(String, String)> {
    let beside = settings.log_directory.join(KEPT);
    match read_kept(&beside) {
        Ok(text) => return Some((beside.display().to_string(), text)),
        Err(Refusal::Distrusted(distrusted)) => notes.push(format!("the last settings that loaded: {distrusted}")),
        Err(Refusal::Io(_)) => {}
    }
    let directory = &settings.backup.backup_directory;
    let storage = crate::daemon::storage(directory).ok()?;
    let keys = keys::salvage(settings, |_| {});
    let kept: KeptSettings = load_from(storage.as_ref(), &keys, KEPT_STATE).ok().and_then(Loaded::value)?;
    Some((format!("the state of {}", directory.display()), kept.text))
}

fn read_kept(beside: &Path) -> Result<String, Refusal> {
    let bytes = read_up_to(&Trust::here().open(beside)?, MAX_SETTINGS_BYTES)?;
    Ok(String::from_utf8(bytes).map_err(io::Error::other)?)
}

/// Notes the bytes that the settings file has as no good, so that it is brought back like a file that does not parse.
fn refuse_live_file(settings: &mut Settings, why: &str) {
    let Some(file) = settings.settings_file.clone() else { return };
    let Ok(bytes) = read_plain(&file, MAX_SETTINGS_BYTES) else { return };
    let sha256 = Digest::of(&bytes);
    for set in settings.sets.iter_mut() {
        let is_its = file.strip_prefix(set.source.written()).ok().and_then(|path| path.to_str());
        if is_its.is_some_and(|path| set.files.is_match(path)) {
            set.refused = Some(Refused { sha256, why: why.to_owned() });
        }
    }
}
