//! `key`: the keys that backups are encrypted with.
//!
//! Hazard: a lost key is a lost backup. Whoever makes one is told where it is and to keep another copy of it elsewhere;
//! nothing here prints one, and none is ever written over.

use super::arguments::Key;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::render;
use crate::api::KeyChange;
use crate::daemon;
use crate::keys;
use crate::settings::Settings;

/// Does what was asked.
pub fn run(what: Key, settings: &Settings, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let files = &settings.encryption;
    let changed = |recipient: String, recipients| KeyChange {
        recipient,
        file: files.recipients.display().to_string(),
        recipients,
    };
    match what {
        Key::Init => {
            let recipient = keys::init(files)?;
            let file = files.identity.display().to_string();
            let recipients = keys::load(settings)?.recipients().map_or(0, |recipients| recipients.lines().count());
            output.document(&KeyChange { recipient, file, recipients }, render::key_made)?;
            if !settings.backup.encryption_enabled {
                output.message("backups are not encrypted yet: set encryption_enabled = true in [backup]");
            }
        }
        Key::AddRecipient { recipient } => {
            let recipients = keys::add_recipient(files, &recipient)?;
            output.document(&changed(recipient, recipients), render::recipients_changed)?;
        }
        Key::RemoveRecipient { recipient } => {
            let recipients = keys::remove_recipient(files, &recipient)?;
            output.document(&changed(recipient, recipients), render::recipients_changed)?;
        }
        Key::List => output.document(&daemon::keys::list(settings)?, render::keys)?,
        Key::Check => {
            let check = daemon::keys::check(settings)?;
            output.document(&check, render::key_check)?;
            return Ok(if check.all_open() { Exit::Done } else { Exit::Failed });
        }
    }
    Ok(Exit::Done)
}
