//! The files of keys: identities, which open backups, and recipients, for whom they are encrypted.
//!
//! Hazard: a key that others can read protects nothing, and one that is written over takes every backup with it. A file
//! of identities that others can read is refused, none is ever replaced, and no message shows what is in one.
//!
//! Both are what age's own tools write and read: a line is a key, a comment begins with `#`.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use age::x25519::{Identity, Recipient};
use zeroize::Zeroizing;

use crate::files::replace;
use crate::private_file::{PrivateFileError, open_in_place, open_private, open_trusted};
use crate::repository::encryption::{Keys, MAX_RECIPIENTS, Recipients, Sealing, fingerprint};
use crate::settings::{EncryptionSettings, Settings};

/// The most that a file of keys may measure.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Backups are to be encrypted, and for whom is said nowhere.
    #[error(
        "encryption_enabled is true and there is no key: `fiovana-app key init` makes one in {}; or list recipients in \
         {} where backups are only made", .identity.display(), .recipients.display()
    )]
    None {
        /// Where an identity would be.
        identity: PathBuf,
        /// Where recipients would be.
        recipients: PathBuf,
    },
    /// A file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// A file has no key, or too many.
    #[error("{} {fault}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// There is a file of identities already.
    #[error("{} is there already, and is never written over: whoever lost it loses every backup it opens", .0.display())]
    Exists(PathBuf),
    /// The recipient is there already, or is not.
    #[error("{recipient} {fault} {}", .path.display())]
    Recipient {
        /// The recipient.
        recipient: String,
        /// What is wrong with it.
        fault: &'static str,
        /// The file of recipients.
        path: PathBuf,
    },
}

/// The keys that these settings mean. Identities are used wherever there are any; recipients where encryption is on.
pub fn load(settings: &Settings) -> Result<Keys, KeyError> {
    let identities = identities(&settings.encryption)?;
    let sealing = if settings.backup.encryption_enabled {
        Sealing::For(recipients(&settings.encryption, &identities)?)
    } else {
        Sealing::Plain
    };
    Ok(Keys::new(sealing, identities))
}

/// The same where keys that cannot be used are no reason not to start: what is wrong goes to `tell`, and nothing is backed up
/// in the clear that should not be.
pub fn salvage(settings: &Settings, tell: impl FnOnce(&KeyError)) -> Keys {
    load(settings).unwrap_or_else(|error| {
        tell(&error);
        let sealing = match settings.backup.encryption_enabled {
            true => Sealing::Unavailable(error.to_string()),
            false => Sealing::Plain,
        };
        Keys::new(sealing, identities(&settings.encryption).unwrap_or_default())
    })
}

/// The identities; none if nobody named a file and there is none in the usual place.
fn identities(settings: &EncryptionSettings) -> Result<Vec<Identity>, KeyError> {
    let path = &settings.identity;
    let open = if settings.identity_is_credential { open_in_place } else { open_private };
    let file = match open(path) {
        Err(error) if error.is_absent() && !settings.identity_is_named => return Ok(Vec::new()),
        opened => opened?,
    };
    parse(path, file, "no identity: a line is AGE-SECRET-KEY-1 and 58 more characters")
}

/// The recipients: those in the file, or else those of the identities.
fn recipients(settings: &EncryptionSettings, identities: &[Identity]) -> Result<Recipients, KeyError> {
    let path = &settings.recipients;
    let recipients: Vec<Recipient> = match open_trusted(path) {
        Ok(file) => parse(path, file, "no recipient: a line is age1 and 58 more characters")?,
        Err(error) if error.is_absent() => identities.iter().map(Identity::to_public).collect(),
        Err(error) => return Err(error.into()),
    };
    let none = || KeyError::None { identity: settings.identity.clone(), recipients: path.clone() };
    Recipients::new(recipients).ok_or_else(none)
}

/// The keys in a file, one to a line; at least one.
fn parse<K: std::str::FromStr>(path: &Path, file: File, fault: &'static str) -> Result<Vec<K>, KeyError> {
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(|error| failed("read", path, error))?;
    let lines = text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let keys: Result<Vec<K>, KeyError> = lines
        .map(|(index, line)| {
            line.parse().map_err(|_| PrivateFileError::Line { path: path.to_owned(), line: index + 1, fault }.into())
        })
        .collect();
    let content = |fault| KeyError::Content { path: path.to_owned(), fault };
    match keys? {
        none if none.is_empty() => Err(content("holds no key")),
        many if many.len() > MAX_RECIPIENTS => Err(content("holds more than 20 keys")),
        keys => Ok(keys),
    }
}

/// A fresh identity, in a file that only its owner can read and that was not there before; and its recipient, added to the
/// file of recipients if there is one. Returns the recipient's `age1…` line.
pub fn init(settings: &EncryptionSettings) -> Result<String, KeyError> {
    let path = &settings.identity;
    let identity = Identity::generate();
    let recipient = identity.to_public().to_string();
    let secret = identity.to_string();
    let text = Zeroizing::new(format!("# public key: {recipient}\n{}\n", secret.expose_secret()));
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.clone()),
        _ => failed("create", path, error),
    })?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_parent(path));
    written.map_err(|error| {
        // It was made just now, and opens nothing yet.
        let _ = std::fs::remove_file(path);
        failed("write", path, error)
    })?;
    if settings.recipients.exists() {
        add_recipient(settings, &recipient)?;
    }
    Ok(recipient)
}

/// Encrypts for one more from the next backup on. Returns how many there are.
pub fn add_recipient(settings: &EncryptionSettings, recipient: &str) -> Result<usize, KeyError> {
    change(settings, recipient, |recipients, new| match recipients.iter().any(|line| line == new) {
        true => Err("is there already, in"),
        false => {
            recipients.push(new.to_owned());
            Ok(())
        }
    })
}

/// Encrypts no longer for this one, given as its line or its fingerprint. Returns how many are left: never none.
pub fn remove_recipient(settings: &EncryptionSettings, recipient: &str) -> Result<usize, KeyError> {
    change(settings, recipient, |recipients, gone| {
        let before = recipients.len();
        let is_gone =
            |line: &String| line == gone || line.parse().is_ok_and(|one: Recipient| fingerprint(&one) == *gone);
        recipients.retain(|line| !is_gone(line));
        match recipients.len() {
            0 => Err("is the last one, and backups must be for somebody, in"),
            left if left == before => Err("is not in"),
            _ => Ok(()),
        }
    })
}

/// Changes the recipients, and writes them to their file, whole and durably. Comments stay.
fn change(
    settings: &EncryptionSettings,
    recipient: &str,
    change: impl FnOnce(&mut Vec<String>, &str) -> Result<(), &'static str>,
) -> Result<usize, KeyError> {
    let path = &settings.recipients;
    let refused = |fault| KeyError::Recipient { recipient: recipient.to_owned(), fault, path: path.clone() };
    let mut lines: Vec<String> = recipients(settings, &identities(settings)?)
        .map_or_else(no_recipients, |known| Ok(known.lines().map(|(_, line)| line).collect()))?;
    change(&mut lines, recipient).map_err(refused)?;
    if lines.len() > MAX_RECIPIENTS {
        return Err(refused("would be one more than the 20 that are possible, in"));
    }
    let text = format!("# For whom backups are encrypted: one age recipient to a line.\n{}\n", lines.join("\n"));
    replace(path, text.as_bytes(), 0o644).map_err(|error| failed("write", path, error))?;
    Ok(lines.len())
}

/// That there are none yet is no fault of whoever adds one.
fn no_recipients(error: KeyError) -> Result<Vec<String>, KeyError> {
    if let KeyError::None { .. } = error { Ok(Vec::new()) } else { Err(error) }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> KeyError {
    PrivateFileError::Io { action, path: path.to_owned(), source }.into()
}

/// Whether this can be a recipient: `age1` and 58 more characters.
pub fn is_recipient(text: &str) -> bool {
    text.parse::<Recipient>().is_ok()
}
