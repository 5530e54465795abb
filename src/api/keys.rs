//! Keys, as they are shown: fingerprints and recipients, never an identity.

use serde::{Deserialize, Serialize};

use crate::core::{BackupId, SetName};

/// What is known of keys, and which backups each opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// Whether new backups are encrypted.
    pub encryption_enabled: bool,
    /// The file of identities.
    pub identity_file: String,
    /// The file of recipients; it need not be there.
    pub recipients_file: String,
    /// Every key that is at hand, that new backups are encrypted for, or that old ones were.
    pub keys: Vec<KeyDocument>,
    /// Backups that are not encrypted.
    pub plain_backups: usize,
}

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyDocument {
    /// The first 16 hexadecimal digits of the SHA-256 of its recipient.
    pub fingerprint: String,
    /// Its recipient, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// Whether new backups are encrypted for it.
    pub encrypts: bool,
    /// Whether its identity is at hand, so that what it opens can be restored here.
    pub opens: bool,
    /// The backups that it opens.
    pub backups: usize,
}

/// Whether the identities at hand open what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCheck {
    /// The newest backup of each set.
    pub sets: Vec<SetKeyCheck>,
}

/// Whether a backup can be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetKeyCheck {
    /// The set.
    pub set: SetName,
    /// Its newest backup.
    pub backup: BackupId,
    /// Whether that is encrypted.
    pub encrypted: bool,
    /// Why it does not open, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

impl KeyCheck {
    /// Whether everything opens.
    pub fn all_open(&self) -> bool {
        self.sets.iter().all(|set| set.fault.is_none())
    }
}

/// What became of the keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyChange {
    /// The recipient that was made, added or removed.
    pub recipient: String,
    /// The file that was written.
    pub file: String,
    /// For how many new backups are encrypted from now on.
    pub recipients: usize,
}
