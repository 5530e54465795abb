//! What the keys open.
//!
//! Hazard: a key that was never tried is a lock without one. What each opens is told from the envelopes, and that the
//! identities at hand do open the newest backups is tried on their bytes.

use std::collections::BTreeMap;

use super::{Failure, open_readonly};
use crate::actors::problems::chain;
use crate::api::{KeyCheck, KeyDocument, KeyList, SetKeyCheck};
use crate::keys;
use crate::pipeline::content::opens;
use crate::repository::catalogue::{Backup, SetIndex};
use crate::settings::Settings;

/// Every key, and how many backups it opens; nothing is known of backups where there is no repository yet.
pub fn list(settings: &Settings) -> Result<KeyList, Failure> {
    let keys = keys::load(settings)?;
    let mut known: BTreeMap<String, KeyDocument> = BTreeMap::new();
    for (fingerprint, recipient) in keys.identities() {
        let key = entry(&mut known, fingerprint);
        (key.opens, key.recipient) = (true, Some(recipient));
    }
    for (fingerprint, recipient) in keys.recipients().into_iter().flat_map(|recipients| recipients.lines()) {
        let key = entry(&mut known, fingerprint);
        (key.encrypts, key.recipient) = (true, Some(recipient));
    }
    let mut plain_backups = 0;
    let nothing_yet = !settings.backup.backup_directory.exists();
    match open_readonly(settings) {
        _ if nothing_yet => {}
        Ok(repository) => {
            for backup in repository.catalogue().backups() {
                let Some(content) = &backup.content else { continue };
                let recipients = &content.manifest.envelope.recipients;
                plain_backups += usize::from(recipients.is_empty());
                recipients.iter().for_each(|recipient| entry(&mut known, recipient).backups += 1);
            }
        }
        Err(Failure::NoRepository(_)) => {}
        Err(error) => return Err(error),
    }
    Ok(KeyList {
        encryption_enabled: settings.backup.encryption_enabled,
        identity_file: settings.encryption.identity.display().to_string(),
        recipients_file: settings.encryption.recipients.display().to_string(),
        keys: known.into_values().collect(),
        plain_backups,
    })
}

fn entry<'k>(known: &'k mut BTreeMap<String, KeyDocument>, fingerprint: &str) -> &'k mut KeyDocument {
    known.entry(fingerprint.to_owned()).or_insert_with(|| KeyDocument {
        fingerprint: fingerprint.to_owned(),
        recipient: None,
        encrypts: false,
        opens: false,
        backups: 0,
    })
}

/// Opens the newest backup of each set, as far as its first chunk.
pub fn check(settings: &Settings) -> Result<KeyCheck, Failure> {
    // What is wrong with the keys themselves is the answer.
    keys::load(settings)?;
    let repository = open_readonly(settings)?;
    let newest = |index: &SetIndex| index.latest().or_else(|| index.backups().last()).cloned();
    let backups: Vec<Backup> = repository.catalogue().sets().filter_map(|(_, index)| newest(index)).collect();
    let look = |backup: &Backup| SetKeyCheck {
        set: backup.set.clone(),
        backup: backup.id,
        encrypted: backup.content.as_ref().is_some_and(|content| !content.manifest.envelope.recipients.is_empty()),
        fault: opens(&repository, backup).err().map(|error| chain(&error)),
    };
    Ok(KeyCheck { sets: backups.iter().map(look).collect() })
}
