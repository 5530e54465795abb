//! Content hashes.
//!
//! Hazard: two hashes of the same width are easily mistaken for each other. Each is a type of its own.
//!
//! SHA-256 is where most time goes on processors without instructions for it, so the implementation is chosen by what
//! the processor has: `sha2` has none between those instructions and portable code, `ring` has one for SSSE3 and AVX.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a text is not a hash.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected 64 lower-case hexadecimal digits")]
pub struct HashSyntax;

macro_rules! hash_of_32_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The hash that these 32 bytes are.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; 64];
                base16ct::lower::encode_str(&self.0, &mut text).map_err(|_| fmt::Error)?.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = HashSyntax;

            fn from_str(text: &str) -> Result<Self, HashSyntax> {
                let mut bytes = [0u8; 32];
                match base16ct::lower::decode(text, &mut bytes) {
                    Ok(decoded) if decoded.len() == 32 => Ok(Self(bytes)),
                    _ => Err(HashSyntax),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hash_of_32_bytes! {
    /// A SHA-256 (FIPS 180-4): the name of an object, the identity of a file or a manifest. What `sha256sum` prints.
    Digest
}

hash_of_32_bytes! {
    /// A BLAKE3 of a chunk's plain content: tells whether the repository has it already. Never needed to restore.
    ChunkKey
}

impl Digest {
    /// The SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// A SHA-256 of bytes that come piece by piece, by the fastest implementation for this processor.
#[derive(Clone)]
pub struct Sha256(Implementation);

#[derive(Clone)]
enum Implementation {
    Sha2(sha2::Sha256),
    Ring(ring::digest::Context),
}

impl Sha256 {
    /// The SHA-256 of nothing, so far.
    pub fn new() -> Self {
        Self(if has_sha_instructions() { Implementation::sha2() } else { Implementation::ring() })
    }

    /// Which implementation this processor gets: `sha2` or `ring`.
    pub fn implementation() -> &'static str {
        if has_sha_instructions() { "sha2" } else { "ring" }
    }

    /// Adds these bytes.
    pub fn update(&mut self, bytes: impl AsRef<[u8]>) {
        match &mut self.0 {
            Implementation::Sha2(hasher) => sha2::Digest::update(hasher, bytes),
            Implementation::Ring(context) => context.update(bytes.as_ref()),
        }
    }

    /// The hash of all bytes that were added.
    pub fn finish(self) -> Digest {
        match self.0 {
            Implementation::Sha2(hasher) => Digest(sha2::Digest::finalize(hasher).into()),
            Implementation::Ring(context) => {
                let mut hash = [0; 32];
                hash.copy_from_slice(context.finish().as_ref());
                Digest(hash)
            }
        }
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl Implementation {
    fn sha2() -> Self {
        Self::Sha2(sha2::Digest::new())
    }

    fn ring() -> Self {
        Self::Ring(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

/// Whether the processor has the instructions that make `sha2` the faster one: SHA-NI, or those of ARMv8.
fn has_sha_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

impl Digest {
    /// What tells a symlink to this target from any other, and from a file: the SHA-256 of the target after a word that
    /// says what it is.
    pub fn of_symlink(target: &[u8]) -> Self {
        Self::of(&[b"symlink\0", target].concat())
    }
}

impl ChunkKey {
    /// The BLAKE3 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_sha256sum_prints() {
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").to_string(), text);
        assert_eq!(text.parse(), Ok(Digest::of(b"abc")));
    }

    #[test]
    fn every_implementation_gives_the_same_hash_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for length in [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000] {
            let expected = Digest(<sha2::Sha256 as sha2::Digest>::digest(&bytes[..length]).into());
            assert_eq!(Digest::of(&bytes[..length]), expected);
            for (made, piece) in [Implementation::sha2, Implementation::ring].into_iter().zip([1, 7, 64]) {
                let mut hasher = Sha256(made());
                let empty = hasher.clone();
                bytes[..length].chunks(piece).for_each(|piece| hasher.update(piece));
                assert_eq!((hasher.finish(), empty.finish()), (expected, Digest::of(b"")));
            }
        }
    }

    #[test]
    fn anything_but_64_lower_case_digits_is_refused() {
        for text in ["", "ab", &"A".repeat(64), &"g".repeat(64), &"a".repeat(63), &"a".repeat(66)] {
            assert_eq!(text.parse::<Digest>(), Err(HashSyntax), "{text}");
        }
    }
}
