//! How the target of a request may be written.
//!
//! Hazard: two spellings of one path, of which one is looked at and the other is answered. actix decodes escapes before it
//! chooses a route and replaces what it cannot read, so a target is taken only if it is text and escapes no character
//! that means the same without (RFC 3986, 2.3: who compares targets takes those for equal). What is left has one
//! spelling for each route, but for the case of hexadecimal digits: nothing else is normalized, so `//`, `/./`, a slash
//! at the end and other letters make another path, which no route claims.

use actix_web::HttpRequest;

use crate::api::{Problem, ProblemKind};

/// Refuses a request whose target is no text, or is written as nobody has to.
pub(super) fn check(request: &HttpRequest) -> Result<(), Problem> {
    let bad = |detail| Err(Problem::new(ProblemKind::BadRequest, detail));
    match request.uri().path_and_query().map(|target| fault(target.as_str())) {
        None | Some(None) => Ok(()),
        Some(Some(Fault::Illegible)) => {
            bad("the path is not text: write bytes as %XX, and only those that make up UTF-8 without controls")
        }
        Some(Some(Fault::Escaped)) => {
            bad("the path escapes a letter, a digit or one of -._~: write these as they are, without %XX")
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// An escape is none, or what is written is no UTF-8, or has a control.
    Illegible,
    /// A character is escaped that never needs to be.
    Escaped,
}

fn fault(target: &str) -> Option<Fault> {
    let mut rest = target.bytes();
    let mut decoded = Vec::with_capacity(target.len());
    let mut escapes_unreserved = false;
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let Some(escaped) = escaped(rest.next(), rest.next()) else { return Some(Fault::Illegible) };
            escapes_unreserved |= is_unreserved(escaped);
            escaped
        } else {
            byte
        };
        decoded.push(byte);
    }
    let is_text = std::str::from_utf8(&decoded).is_ok_and(|text| !text.chars().any(char::is_control));
    match (is_text, escapes_unreserved) {
        (false, _) => Some(Fault::Illegible),
        (true, true) => Some(Fault::Escaped),
        (true, false) => None,
    }
}

fn escaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_text_in_which_only_what_has_to_be_is_escaped() {
        for good in
            ["/", "/api/backup/security", "/%2f", "/%252e", "/%C3%A9", "/é", "/list?set=a%20b&limit=1", "/a+b", "/a~"]
        {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in ["/%", "/%2", "/%zz", "/%+1", "/%ff", "/%c3", "/%c0%ae", "/%00", "/%0a", "/%7f", "/a?b=%ed%a0%80"] {
            assert_eq!(fault(bad), Some(Fault::Illegible), "{bad}");
        }
        for bad in ["/%66iles", "/d%69ff", "/%2e%2E", "/a%2Db", "/a%5fb", "/a%7Eb", "/%30", "/list?set=%73ecurity"] {
            assert_eq!(fault(bad), Some(Fault::Escaped), "{bad}");
        }
    }
}
