//! Who can read what is stored: recipients, identities, and the age files between them.
//!
//! Hazard: a scheme of our own would be trusted by nobody, and rightly. Everything encrypted is a standard age file
//! (<https://c2sp.org/age>), which any age tool opens; nonces and file keys are age's business. What is here only
//! decides for whom, and never shows a secret: neither type prints one, and age wipes them from memory.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use age::x25519;

use crate::core::Digest;

/// What every age file begins with.
const AGE_MAGIC: &[u8] = b"age-encryption.org/v1\n";

/// The most recipients a repository is encrypted for: each costs a hundred bytes and a key exchange for every object.
pub const MAX_RECIPIENTS: usize = 20;

/// The most that sealing adds to a pack: what age says for each recipient, a stanza that means nothing, and a tag for each
/// 64 KiB.
pub const MAX_SEALING_BYTES: u64 = 1024 + 128 * MAX_RECIPIENTS as u64;

/// Names a recipient without being one: the first 16 hexadecimal digits of the SHA-256 of its `age1…` line.
pub type Fingerprint = String;

/// The fingerprint of a recipient.
pub fn fingerprint(recipient: &x25519::Recipient) -> Fingerprint {
    let mut digits = Digest::of(recipient.to_string().as_bytes()).to_string();
    digits.truncate(16);
    digits
}

/// For whom backups are encrypted; never empty.
#[derive(Clone, Default)]
pub struct Recipients(BTreeMap<Fingerprint, x25519::Recipient>);

impl Recipients {
    /// These recipients, each once; `None` if there are none.
    pub fn new(recipients: impl IntoIterator<Item = x25519::Recipient>) -> Option<Self> {
        let recipients: BTreeMap<_, _> = recipients.into_iter().map(|one| (fingerprint(&one), one)).collect();
        (!recipients.is_empty()).then_some(Self(recipients))
    }

    /// Their fingerprints, ascending: what an envelope says of them.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.0.keys().cloned().collect()
    }

    /// Each with its `age1…` line.
    pub fn lines(&self) -> impl Iterator<Item = (&Fingerprint, String)> {
        self.0.iter().map(|(fingerprint, recipient)| (fingerprint, recipient.to_string()))
    }

    /// An age file that each of them opens.
    pub fn seal(&self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        let recipients = self.0.values().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(std::io::Error::other)?;
        let mut sealed = Vec::with_capacity(plain.len() + plain.len() / 1024 + 1024);
        let mut writer = encryptor.wrap_output(&mut sealed)?;
        writer.write_all(plain)?;
        writer.finish()?;
        Ok(sealed)
    }
}

/// What becomes of new backups.
#[derive(Clone, Default)]
pub enum Sealing {
    /// They are not encrypted.
    #[default]
    Plain,
    /// They are encrypted for these.
    For(Recipients),
    /// They are to be encrypted, and cannot be, so none is made: why.
    Unavailable(String),
}

/// What the repository is read and written with.
#[derive(Clone, Default)]
pub struct Keys {
    /// What becomes of new backups.
    pub sealing: Sealing,
    /// What opens encrypted ones, by the fingerprint of its recipient.
    identities: BTreeMap<Fingerprint, x25519::Identity>,
}

/// Why an encrypted file was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFault {
    /// It may be right: none of the identities at hand is one it was encrypted for.
    #[error("it is encrypted, and no identity that opens it is at hand")]
    NoIdentity,
    /// It is no age file that an age tool would open.
    #[error("it is encrypted, and cannot be decrypted")]
    Damaged,
}

impl Keys {
    /// This sealing, and these identities.
    pub fn new(sealing: Sealing, identities: impl IntoIterator<Item = x25519::Identity>) -> Self {
        let identities =
            identities.into_iter().map(|identity| (fingerprint(&identity.to_public()), identity)).collect();
        Self { sealing, identities }
    }

    /// Whether nothing that backups hold may be written in the clear, be it known for whom to encrypt it or not.
    pub const fn is_secret(&self) -> bool {
        !matches!(self.sealing, Sealing::Plain)
    }

    /// For whom new backups are encrypted; `None` if for nobody, or if it is not known.
    pub const fn recipients(&self) -> Option<&Recipients> {
        if let Sealing::For(recipients) = &self.sealing { Some(recipients) } else { None }
    }

    /// What the envelope of a new backup says of its recipients.
    pub fn fingerprints(&self) -> Vec<Fingerprint> {
        self.recipients().map_or_else(Vec::new, Recipients::fingerprints)
    }

    /// The fingerprints of the identities at hand, each with the `age1…` line of its recipient.
    pub fn identities(&self) -> impl Iterator<Item = (&Fingerprint, String)> {
        self.identities.iter().map(|(fingerprint, identity)| (fingerprint, identity.to_public().to_string()))
    }

    /// Whether what is encrypted for these recipients, or for nobody, can be read.
    pub fn open_what_is_for(&self, recipients: &[Fingerprint]) -> bool {
        recipients.is_empty() || recipients.iter().any(|recipient| self.identities.contains_key(recipient))
    }

    /// What an age file holds, no longer than itself.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, OpenFault> {
        let mut plain = Vec::with_capacity(sealed.len());
        self.decrypt(sealed)?.read_to_end(&mut plain).map_err(|_| OpenFault::Damaged)?;
        Ok(plain)
    }

    /// What a damaged age file holds before the damage, as far as that proves itself: blocks of 64 KiB.
    pub fn open_beginning(&self, sealed: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        if let Ok(mut reader) = self.decrypt(sealed) {
            // What came before the error is right.
            let _ = reader.read_to_end(&mut plain);
        }
        plain
    }

    fn decrypt<'s>(&self, sealed: &'s [u8]) -> Result<age::stream::StreamReader<&'s [u8]>, OpenFault> {
        let decryptor = age::Decryptor::new(sealed).map_err(|_| OpenFault::Damaged)?;
        let identities = self.identities.values().map(|identity| identity as &dyn age::Identity);
        decryptor.decrypt(identities).map_err(|error| match error {
            age::DecryptError::NoMatchingKeys => OpenFault::NoIdentity,
            _ => OpenFault::Damaged,
        })
    }
}

impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let same_sealing = match (&self.sealing, &other.sealing) {
            (Sealing::Unavailable(a), Sealing::Unavailable(b)) => a == b,
            (Sealing::Plain, Sealing::Plain) => true,
            (Sealing::For(a), Sealing::For(b)) => a.0.keys().eq(b.0.keys()),
            _ => false,
        };
        same_sealing && self.identities.keys().eq(other.identities.keys())
    }
}

/// Only fingerprints: whatever prints this prints no secret.
impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let identities: Vec<_> = self.identities.keys().collect();
        f.debug_struct("Keys").field("recipients", &self.fingerprints()).field("identities", &identities).finish()
    }
}

/// Whether these bytes are an encrypted file.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(AGE_MAGIC)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sealing(recipients: impl IntoIterator<Item = x25519::Recipient>) -> Sealing {
        Sealing::For(Recipients::new(recipients).unwrap())
    }

    /// Keys that encrypt for the recipient of a fresh identity, and have it.
    pub fn keys() -> Keys {
        let identity = x25519::Identity::generate();
        Keys::new(sealing([identity.to_public()]), [identity])
    }

    #[test]
    fn what_was_encrypted_is_opened_by_each_recipient_and_by_nobody_else() {
        let (one, two, other) = (x25519::Identity::generate(), x25519::Identity::generate(), keys());
        let recipients = Recipients::new([one.to_public(), two.to_public(), one.to_public()]).unwrap();
        assert_eq!(recipients.fingerprints().len(), 2);
        let sealed = recipients.seal(b"secret").unwrap();
        assert!(is_sealed(&sealed) && !sealed.windows(6).any(|part| part == b"secret"));
        for identity in [one, two] {
            let keys = Keys::new(Sealing::Plain, [identity]);
            assert!(keys.open_what_is_for(&recipients.fingerprints()));
            assert_eq!(keys.open(&sealed).unwrap(), b"secret");
        }
        assert!(!other.open_what_is_for(&recipients.fingerprints()));
        assert_eq!(other.open(&sealed), Err(OpenFault::NoIdentity));
    }

    #[test]
    fn an_altered_or_cut_file_is_never_opened() {
        let keys = keys();
        let sealed = keys.recipients().unwrap().seal(b"secret").unwrap();
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(keys.open(&altered).is_err(), "byte {at}");
            assert!(keys.open(&sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn no_secret_is_printed() {
        let identity = x25519::Identity::generate();
        use age::secrecy::ExposeSecret;
        let secret = identity.to_string().expose_secret().to_owned();
        let keys = Keys::new(sealing([identity.to_public()]), [identity]);
        assert!(!format!("{keys:?}").contains(&secret[..30]));
    }
}
