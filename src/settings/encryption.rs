//! Where the keys are.
//!
//! Hazard: a key that is kept with what it opens protects nothing, and is lost with it. Its place may be neither in the
//! backup directory nor in a replica, nor be a file of a set.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::conflicts::inside;
use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, Origin, Said, prevailing};
use super::replicas::ReplicaSettings;
use super::sets::Decided;
use super::sources::Sources;
use super::stated::Stated;
use super::values::{file, flag};

/// The files of keys in the working directory, where nobody says otherwise.
const IDENTITY: &str = "fiovana-app.key";
const RECIPIENTS: &str = "fiovana-app.recipients";

/// Where systemd keeps the credentials of a service (systemd.exec(5)).
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionSettings {
    /// The file of identities, absolute.
    pub identity: PathBuf,
    /// Whether somebody named it, so that it must be there.
    pub identity_is_named: bool,
    /// Whether it is a credential of systemd's, which guards it.
    pub identity_is_credential: bool,
    /// The file of recipients, absolute; without it backups are encrypted for the identities.
    pub recipients: PathBuf,
    /// Whether this machine is to have no key that opens its backups: then it is no fault that one is gone.
    pub write_only: bool,
}

/// What was said in `[encryption]`.
pub(super) struct StatedEncryption {
    identity: Stated<PathBuf>,
    recipients: Stated<PathBuf>,
    write_only: Stated<bool>,
}

impl StatedEncryption {
    /// Reads the section.
    pub fn read(mut section: Section, sources: &Sources, errors: &mut Vec<SettingsError>) -> Self {
        let stated = Self {
            identity: section.take("identity", file(sources)),
            recipients: section.take("recipients", file(sources)),
            write_only: section.take("write_only", flag),
        };
        section.finish(errors);
        stated
    }

    /// What holds.
    pub fn decide(
        &self,
        is_enabled: bool,
        sources: &Sources,
        (sets, replicas, backups): (&[Decided], &[ReplicaSettings], &Path),
        ledger: &mut Ledger,
        errors: &mut Vec<SettingsError>,
    ) -> EncryptionSettings {
        let credential = credential(sources).map(|path| Said { value: path, origin: Origin::Credential });
        let identity_is_credential = self.identity.is_none() && credential.is_some();
        let usual = sources.absolute(Path::new(IDENTITY));
        let identity = prevailing(&[&self.identity, &credential], usual.clone());
        let identity_is_named = identity.value != usual;
        let at_risk = replicas.iter().map(|replica| replica.path.as_path()).chain([backups]);
        if is_enabled || identity_is_named {
            errors.extend(misplaced(&identity, sets, at_risk));
        }
        EncryptionSettings {
            identity: ledger.note("encryption.identity", identity),
            identity_is_named,
            identity_is_credential,
            recipients: ledger.note(
                "encryption.recipients",
                prevailing(&[&self.recipients], sources.absolute(Path::new(RECIPIENTS))),
            ),
            write_only: ledger.note("encryption.write_only", prevailing(&[&self.write_only], false)),
        }
    }
}

/// The credential of systemd's that is an identity, if there is one.
fn credential(sources: &Sources) -> Option<PathBuf> {
    let directory = sources.environment.get(OsStr::new(CREDENTIALS_DIRECTORY))?;
    let file = Path::new(directory).join(IDENTITY);
    (file.is_absolute() && file.exists()).then_some(file)
}

/// Why the identity cannot be where it is.
fn misplaced<'a>(
    identity: &Said<PathBuf>,
    sets: &[Decided],
    at_risk: impl IntoIterator<Item = &'a Path>,
) -> Option<SettingsError> {
    let refused = |allowed: String| SettingsError::Value {
        key: "encryption.identity".to_owned(),
        value: identity.value.display().to_string(),
        origin: identity.origin.clone(),
        allowed,
    };
    if let Some(place) = at_risk.into_iter().find(|place| identity.value.starts_with(place)) {
        return Some(refused(format!("keep the key away from the backups it opens, in {}", place.display())));
    }
    let holds =
        |decided: &&Decided| inside(&identity.value, &decided.set).any(|path| decided.set.files.is_match(&path));
    let set = &sets.iter().find(holds)?.set;
    Some(refused(format!(
        "it is a file of the set {}, and would be in the backups it opens: keep it elsewhere",
        set.name
    )))
}
