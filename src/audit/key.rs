//! The key that authenticates records.
//!
//! Hazard: whoever can write the log can compute its hashes, too. Each record carries an HMAC-SHA-256 (RFC 2104) that
//! only the holder of the key can compute. The key is kept with the repository and never in the log; no message shows
//! it, comparisons take constant time, and it is wiped from memory.

use std::fmt;
use std::io;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::record::{Head, Link};
use crate::core::Digest;

const KEY_BYTES: usize = 32;

/// What is hashed in front of a key to name it: the name is no other hash of the key.
const NAMING: &[u8] = b"fiovana-app audit key\n";

/// The key: 32 random bytes.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    keyed: Hmac<Sha256>,
}

impl Key {
    /// A fresh key, from the operating system's random numbers.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        // At most 256 bytes are always given whole, getrandom(2) says.
        getrandom(&mut bytes[..], GetRandomFlags::empty())?;
        Self::of(bytes).ok_or_else(|| io::Error::other("no key was made"))
    }

    /// The key of these bytes.
    fn of(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Option<Self> {
        // An HMAC takes keys of any length: this cannot fail.
        let keyed = Hmac::new_from_slice(&bytes[..]).ok()?;
        Some(Self { bytes, keyed })
    }

    /// The key that [`Key::to_hex`] wrote; `None` if it is none.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let decoded = base16ct::lower::decode(text, &mut bytes[..]).ok()?.len();
        if decoded == KEY_BYTES { Self::of(bytes) } else { None }
    }

    /// 64 hexadecimal digits: the secret itself.
    pub fn to_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(base16ct::lower::encode_string(&self.bytes[..]))
    }

    /// Names the key without telling it.
    pub fn id(&self) -> Digest {
        Digest::of(&Zeroizing::new([NAMING, &self.bytes[..]].concat()))
    }

    /// The authentication of these parts, one after the other.
    pub(super) fn mac(&self, parts: [&[u8]; 2]) -> Digest {
        Digest::from_bytes(self.over(parts).finalize().into_bytes().into())
    }

    fn verifies(&self, parts: [&[u8]; 2], mac: &Digest) -> bool {
        self.over(parts).verify_slice(mac.as_bytes()).is_ok()
    }

    fn over(&self, parts: [&[u8]; 2]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac
    }
}

/// Shows the name only.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id()).finish()
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_hex())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("expected 64 lower-case hexadecimal digits"))
    }
}

/// Which records are ours.
#[derive(Clone, Debug, Default)]
pub struct Authenticator {
    key: Option<Arc<Key>>,
    /// Records up to this one were written before the key was: they are taken as they were found then.
    after: Option<Head>,
}

/// What a record is, by its authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was written by a holder of the key.
    Authentic,
    /// It can be one from before there was a key; or there is no key to tell.
    Unproven,
    /// It was not.
    Forged,
}

impl Authenticator {
    /// Every record after `after` is authenticated by `key`.
    pub fn new(key: Key, after: Option<Head>) -> Self {
        Self { key: Some(Arc::new(key)), after }
    }

    /// The same, for records after another one.
    pub(super) fn begun_after(self, after: Option<Head>) -> Self {
        Self { after, ..self }
    }

    /// The key; `None` if there is none at hand, and nothing can be told.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_deref()
    }

    /// The last record before the first one that is authenticated.
    pub const fn after(&self) -> Option<Head> {
        self.after
    }

    /// Whether the record of this number is to be authenticated.
    pub(super) fn covers(&self, seq: u64) -> bool {
        self.key.is_some() && self.after.is_none_or(|after| seq > after.seq)
    }

    /// What a record is.
    pub(super) fn judge(&self, link: &Link<'_>) -> Standing {
        let Some(key) = self.key.as_deref().filter(|_| self.covers(link.head.seq)) else { return Standing::Unproven };
        let is_right = link.mac().is_some_and(|(parts, mac)| key.verifies(parts, &mac));
        if is_right { Standing::Authentic } else { Standing::Forged }
    }

    /// Whether a record can be ours that follows `before` as the next that is, if there is one before it. Once there was a
    /// record that is authenticated, every later one is.
    pub(super) fn admits(&self, link: &Link<'_>, before: Option<Head>) -> bool {
        match self.judge(link) {
            Standing::Authentic => true,
            Standing::Unproven => before.is_none_or(|before| !self.covers(before.seq)),
            Standing::Forged => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hmac_is_what_openssl_says() {
        // printf 'what do ya want for nothing?' | openssl dgst -sha256 -mac HMAC -macopt hexkey:4a65666500…00
        let mut bytes = [0; KEY_BYTES];
        bytes[..4].copy_from_slice(b"Jefe");
        let key = Key::of(Zeroizing::new(bytes)).unwrap();
        let mac = key.mac([b"what do ya want ", b"for nothing?"]);
        // RFC 4231, test case 2: a key is filled up with zeros.
        assert_eq!(mac.to_string(), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(key.verifies([b"what do ya ", b"want for nothing?"], &mac));
        assert!(!key.verifies([b"what do ya ", b"want for nothing!"], &mac));
    }

    #[test]
    fn no_key_is_shown_and_each_is_another() {
        let (one, other) = (Key::generate().unwrap(), Key::generate().unwrap());
        assert_ne!(one.id(), other.id());
        assert!(!format!("{one:?}").contains(&one.to_hex()[..16]));
        assert_eq!(Key::from_hex(&one.to_hex()).unwrap().id(), one.id());
        for text in ["", "ab", &"g".repeat(64), &one.to_hex()[..63], &format!("{}0", &*one.to_hex())] {
            assert!(Key::from_hex(text).is_none(), "{text}");
        }
    }
}
