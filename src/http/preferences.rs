//! What a client would like of an answer: `Prefer` (RFC 7240).
//!
//! Hazard: preferences are wishes. One that is malformed, unknown or too much to ask never fails a request: it is ignored,
//! or granted as far as the bound goes, and the answer tells what was granted.

use std::future::{Ready, ready};
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue, VARY};
use actix_web::{FromRequest, HttpRequest};

use super::limits::Limits;
use crate::api::Problem;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What is preferred, of what is understood here; or what of it was applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Preferences {
    /// `respond-async`: rather an answer without the result than one that is late.
    pub asynchronous: bool,
    /// `wait=N`: how long an answer may take, in whole seconds.
    pub wait: Option<Duration>,
}

impl FromRequest for Preferences {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let limits = request.app_data::<Limits>().copied().unwrap_or(Limits::DEFAULT);
        let given = request.headers().get_all(PREFER).filter_map(|value| value.to_str().ok());
        ready(Ok(Self::parse(given, limits.longest_wait)))
    }
}

impl Preferences {
    fn parse<'a>(given: impl Iterator<Item = &'a str>, longest_wait: Duration) -> Self {
        let mut preferences = Self::default();
        let mut has_wait = false;
        for (name, value) in given.flat_map(|text| unquoted_parts(text, ',')).map(name_and_value) {
            if name.eq_ignore_ascii_case("respond-async") {
                preferences.asynchronous |= value.is_empty();
            } else if name.eq_ignore_ascii_case("wait") && !has_wait {
                // Of several the first counts (section 2), whatever it says.
                has_wait = true;
                preferences.wait = seconds(value).map(|wait| wait.min(longest_wait));
            }
        }
        preferences
    }

    /// Tells in an answer's head that it depends on preferences, and that these were applied.
    pub fn tell(self, headers: &mut HeaderMap) {
        headers.insert(VARY, HeaderValue::from_name(PREFER));
        let asynchronous = self.asynchronous.then(|| "respond-async".to_owned());
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let applied: Vec<String> = asynchronous.into_iter().chain(wait).collect();
        if !applied.is_empty()
            && let Ok(applied) = HeaderValue::from_str(&applied.join(", "))
        {
            headers.insert(PREFERENCE_APPLIED, applied);
        }
    }
}

/// The parts between separators that stand in no quoted string.
fn unquoted_parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => return character == separator && !is_quoted,
        }
        false
    })
}

/// A preference's name and value, without its parameters; no value is an empty one.
fn name_and_value(preference: &str) -> (&str, &str) {
    let preference = unquoted_parts(preference, ';').next().unwrap_or_default();
    let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
    let value = value.trim();
    (name.trim(), value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// So many seconds; more than can be counted are as many as can be.
fn seconds(text: &str) -> Option<Duration> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(headers: &[&str]) -> (bool, Option<u64>) {
        let Preferences { asynchronous, wait } =
            Preferences::parse(headers.iter().copied(), Limits::DEFAULT.longest_wait);
        (asynchronous, wait.map(|wait| wait.as_secs()))
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_has_them() {
        for (headers, expected) in [
            (&["respond-async"][..], (true, None)),
            (&["RESPOND-ASYNC; x=y, Wait = 5"], (true, Some(5))),
            (&["return=minimal", "respond-async", "wait=\"7\";foo"], (true, Some(7))),
            (&["wait=5, wait=9"], (false, Some(5))),
            (&["wait=0,respond-async=\"\""], (true, Some(0))),
            (&["foo=\"a, respond-async\", wait=2"], (false, Some(2))),
            (&["foo=\"\\\", wait=3\", respond-async"], (true, None)),
            (&["foo; bar=\"; wait=3, respond-async"], (false, None)),
        ] {
            assert_eq!(preferred(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn a_malformed_preference_is_ignored_and_a_long_wait_is_the_longest_there_is() {
        for malformed in
            ["wait", "wait=", "wait=-1", "wait=+1", "wait=1.5", "wait=5s", "wait=x, wait=5", ";wait=5", "=5"]
        {
            assert_eq!(preferred(&[malformed]), (false, None), "{malformed}");
        }
        for asynchronous in ["respond-async=1", "respond-asynchronously", "", ",,", "\""] {
            assert_eq!(preferred(&[asynchronous]), (false, None), "{asynchronous}");
        }
        for long in ["wait=31", "wait=18446744073709551616", "wait=000000000000000000000000000031"] {
            assert_eq!(preferred(&[long]), (false, Some(30)), "{long}");
        }
    }

    #[test]
    fn what_was_applied_is_told_and_nothing_if_nothing_was() {
        let told = |asynchronous, wait: Option<u64>| {
            let mut headers = HeaderMap::new();
            Preferences { asynchronous, wait: wait.map(Duration::from_secs) }.tell(&mut headers);
            assert_eq!(headers.get(VARY).unwrap(), "prefer");
            headers.get(PREFERENCE_APPLIED).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(told(false, None), None);
        assert_eq!(told(true, None).unwrap(), "respond-async");
        assert_eq!(told(false, Some(5)).unwrap(), "wait=5");
        assert_eq!(told(true, Some(0)).unwrap(), "respond-async, wait=0");
    }
}
