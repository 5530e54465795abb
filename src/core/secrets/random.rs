//! Strings that look like chance.
//!
//! Hazard: a key under a name that says nothing. What a generator of keys would write is told from what people write by
//! its entropy (Shannon), and by how little of it could be words. The limits are those of detect-secrets, 4.5 bits a
//! character in general and 3.0 for hexadecimal digits, lower for short strings: `n` characters have at most `log2(n)`.
//!
//! A hash of content, a commit or a UUID looks the same. It is shown where a name, a prefix or the form of the line says
//! that it is one.

use std::iter;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::names::is_digest_name;

/// The fewest characters: below, words and chance cannot be told apart.
const MIN_CHARACTERS: usize = 20;
/// Bits a character of a hexadecimal string.
const HEX_BITS: f64 = 3.0;
/// The same of any other.
const OTHER_BITS: f64 = 4.0;
/// How much of the highest possible entropy a short string has at least.
const SHORT_SHARE: f64 = 0.75;
/// How often letters of one case and the other, and digits, follow each other at least.
const MIN_CHANGES: f64 = 0.12;
/// The same of a string without digits, which may be names written together.
const MIN_CHANGES_OF_LETTERS: f64 = 0.3;
/// The largest part that may be words.
const MAX_WORDS: f64 = 0.6;
/// How long hashes are, in hexadecimal digits: MD5, SHA-1, SHA-224, SHA-256, SHA-384, SHA-512.
const DIGEST_LENGTHS: [usize; 6] = [32, 40, 56, 64, 96, 128];

/// What may be a key: an alphabet of base64, in either of its forms.
const CANDIDATE: &str = r"[A-Za-z0-9+/_\-]{20,}={0,2}";
/// What looks random and is no secret: a UUID, the id of a backup, a public key of age, a hash that names its function.
const PUBLIC: &str = r"(?x)^(?:
    [0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}
  | \d{8}T\d{6}Z(?:-[0-9a-f]{8,64})?
  | age1[02-9ac-hj-np-z]{58}
  | (?:sha1|sha256|sha384|sha512|md5)-[A-Za-z0-9+/]+=*
)$";
/// What a hash follows that names its function.
const FUNCTION: &str = r"(?i)(?:\bsha-?\d+|\bmd5|\bblake[23]\w*|\bh1|\burn:uuid)[:=]$";
/// The name that a value follows.
const NAME: &str = r#"([\p{L}_][\p{L}\p{N}_.\-]*)["'\])]*\s*[:=>(\s]+["'\[(]*$"#;

static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [CANDIDATE, PUBLIC, FUNCTION, NAME].iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});

/// Where a line looks random, and nothing says that it is a hash: what is left of it, or the `name` that the whole has.
pub(super) fn spans(line: &str, name: Option<&str>) -> Vec<Range<usize>> {
    let [candidate, public, function, before] = PATTERNS.as_slice() else { return iter::once(0..line.len()).collect() };
    let found = candidate.find_iter(line).filter(|found| {
        let text = found.as_str();
        if !is_random(text) || public.is_match(text) {
            return false;
        }
        let (ahead, behind) = (near(&line[..found.start()]), &line[found.end()..]);
        let named =
            before.captures(ahead).and_then(|captures| captures.get(1)).map_or(name, |name| Some(name.as_str()));
        let is_listed = ahead.is_empty()
            && DIGEST_LENGTHS.contains(&text.len())
            && is_hexadecimal(text)
            && [" *", "  ", " refs/"].iter().any(|next| behind.starts_with(next));
        !(is_listed || function.is_match(ahead) || named.is_some_and(is_digest_name))
    });
    found.map(|found| found.range()).collect()
}

/// The end of what stands before a string: its name, and what else says what it is.
fn near(ahead: &str) -> &str {
    const NEAR: usize = 128;
    &ahead[ahead.ceil_char_boundary(ahead.len().saturating_sub(NEAR))..]
}

/// Whether a string is more likely to come from a generator than from a person.
fn is_random(text: &str) -> bool {
    let text = text.trim_end_matches('=');
    if text.len() < MIN_CHARACTERS {
        return false;
    }
    let has = |class: fn(&u8) -> bool| text.as_bytes().iter().any(class);
    if is_hexadecimal(text) {
        return has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) && entropy(text) >= HEX_BITS;
    }
    let has_digits = has(u8::is_ascii_digit);
    let has_both_cases = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    if !has_digits && !has_both_cases {
        return false;
    }
    let min_bits = OTHER_BITS.min(SHORT_SHARE * (text.len() as f64).log2());
    let min_changes = if has_digits { MIN_CHANGES } else { MIN_CHANGES_OF_LETTERS };
    entropy(text) >= min_bits && changes(text) >= min_changes && words(text) < MAX_WORDS
}

fn is_hexadecimal(text: &str) -> bool {
    let of_case = |other: fn(&u8) -> bool| text.bytes().all(|byte| byte.is_ascii_hexdigit() && !other(&byte));
    of_case(u8::is_ascii_uppercase) || of_case(u8::is_ascii_lowercase)
}

/// Bits a character, by how often each occurs (Shannon 1948).
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = text.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}

/// How often a letter or digit is followed by one of another class, of all times that it is followed by one.
fn changes(text: &str) -> f64 {
    let class = |byte: u8| (byte.is_ascii_lowercase(), byte.is_ascii_uppercase());
    let pairs = text.as_bytes().windows(2).filter(|pair| pair.iter().all(u8::is_ascii_alphanumeric));
    let (mut all, mut changed) = (0u32, 0u32);
    for pair in pairs {
        all += 1;
        changed += u32::from(class(pair[0]) != class(pair[1]));
    }
    f64::from(changed) / f64::from(all.max(1))
}

/// How much of the letters and digits could be words: at least four letters, vowels and consonants mixed as in a word.
fn words(text: &str) -> f64 {
    let mut in_words = 0;
    let mut word = String::new();
    let mut end = |word: &mut String| {
        in_words += if is_word(word) { word.len() } else { 0 };
        word.clear();
    };
    let mut previous = ' ';
    for c in text.chars().chain([' ']) {
        let goes_on = c.is_ascii_alphabetic() && !(c.is_ascii_uppercase() && previous.is_ascii_lowercase());
        // The last of several capitals begins the next word.
        if c.is_ascii_lowercase() && previous.is_ascii_uppercase() && word.len() > 1 {
            word.pop();
            end(&mut word);
            word.push(previous);
        }
        if !goes_on {
            end(&mut word);
        }
        if c.is_ascii_alphabetic() {
            word.push(c);
        }
        previous = c;
    }
    in_words as f64 / text.bytes().filter(u8::is_ascii_alphanumeric).count().max(1) as f64
}

fn is_word(text: &str) -> bool {
    let is_vowel = |c: char| "aeiouyAEIOUY".contains(c);
    let vowels = text.chars().filter(|c| is_vowel(*c)).count();
    let longest = text.split(is_vowel).map(str::len).max().unwrap_or(0);
    text.len() >= 4 && 5 * vowels >= text.len() && 3 * vowels <= 2 * text.len() && longest <= 3
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn hidden(line: &str) -> bool {
        !spans(line, None).is_empty()
    }

    #[test]
    fn every_pattern_is_understood() {
        assert_eq!(PATTERNS.len(), 4);
    }

    #[test]
    fn keys_are_told_from_what_people_write() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut bytes = |count: usize| -> Vec<u8> { (0..count).map(|_| random.u8(..)).collect() };
        let mut share = |make: &mut dyn FnMut(Vec<u8>) -> String, count: usize| {
            (0..1000).filter(|_| hidden(&make(bytes(count)))).count()
        };
        let alphabet = |letters: &'static [u8]| {
            move |bytes: Vec<u8>| {
                bytes.iter().map(|byte| char::from(letters[usize::from(*byte) % letters.len()])).collect::<String>()
            }
        };
        assert!(share(&mut |bytes| STANDARD.encode(bytes), 32) >= 995);
        assert!(share(&mut |bytes| URL_SAFE_NO_PAD.encode(bytes), 24) >= 990);
        assert!(share(&mut |bytes| base16ct::lower::encode_string(&bytes), 16) >= 995);
        let of_62 = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        assert!(share(&mut alphabet(of_62), 24) >= 985);
        assert!(share(&mut alphabet(&of_62[..52]), 32) >= 970);
        let lower = b"abcdefghijklmnopqrstuvwxyz0123456789";
        assert!(share(&mut alphabet(lower), 32) >= 960);
    }

    #[test]
    fn what_people_write_is_shown() {
        for line in [
            "max_connections_per_client = 4096",
            "com.example.fiovana.ApplicationConfigurationLoader",
            "/usr/lib/x86_64-linux-gnu/libfiovana_plugins",
            "circuitBreakerConfigurationPath",
            "CIRCUIT_BREAKER_CONFIGURATION_PATH_2",
            "us-east-1a-production-cluster01-node17",
            "2026-11-23T10:15:00.123456789Z",
            "12345678901234567890123456",
            "--------------------------------",
            "==============================",
            "fiovana-app-0.12.3-x86_64-unknown-linux-gnu",
        ] {
            assert!(!hidden(line), "{line}");
        }
    }

    #[test]
    fn a_hash_is_shown_where_something_says_that_it_is_one() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for line in [
            format!("checksum = \"{sha256}\""),
            format!("\"integrity\": \"sha512-{}\"", "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP=="),
            format!("image: nginx@sha256:{sha256}"),
            format!("commit {sha1}"),
            format!("rev = \"{sha1}\""),
            format!("request_id: {}", &sha256[..32]),
            format!("{sha256}  app_config.json"),
            format!("{sha1} refs/heads/main"),
            "instance: 123e4567-e89b-12d3-a456-426614174000".into(),
            "backup 20261123T101500Z-3f9c2ab1".into(),
            format!("backup 20261123T101500Z-{}", &sha256[..32]),
            "recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p".into(),
        ] {
            assert!(!hidden(&line), "{line}");
        }
        for line in [sha1.to_owned(), format!("- {sha256}"), format!("value = {sha256}"), format!("{sha256} # mine")] {
            assert!(hidden(&line), "{line}");
        }
        assert!(spans(sha256, Some("sha256")).is_empty() && !spans(sha256, Some("value")).is_empty());
    }
}
