//! Documents whose last line vouches for the lines before it.
//!
//! Hazard: a manifest is bound by its name, and an object by its own; `repository.json` and rows of generations have names that
//! bind nothing, and one altered digit in them would be believed: a loss taken for a deletion, a sequence given twice.

use crate::core::Digest;

/// What is wrong with a document whose seal is not what it must be.
pub(super) const BROKEN: &str = "its lines do not hash to what its last line says";

/// A JSON object (one that is not empty) with the seal as its last member, on a line of its own.
pub(super) fn seal(object: &[u8]) -> Vec<u8> {
    let open = object.trim_ascii_end();
    let open = open.strip_suffix(b"}").unwrap_or(open).trim_ascii_end();
    let mut document = [open, b",\n"].concat();
    let line = last_line(&document);
    document.extend_from_slice(line.as_bytes());
    document
}

/// Whether a document's last line is the seal of the lines before it.
pub(super) fn is_sealed(document: &[u8]) -> bool {
    let Some(lines) = document.strip_suffix(b"\n") else { return false };
    let Some(at) = lines.iter().rposition(|byte| *byte == b'\n') else { return false };
    let (before, last) = document.split_at(at + 1);
    last == last_line(before).as_bytes()
}

fn last_line(before: &[u8]) -> String {
    format!("  \"sha256\": \"{}\" }}\n", Digest::of(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_document_is_still_json_and_no_byte_of_it_can_change() {
        for object in ["{\"a\":{}}", "{\n  \"a\": {}\n}\n"] {
            let sealed = seal(object.as_bytes());
            assert!(is_sealed(&sealed), "{object}");
            let value: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
            assert_eq!((value["a"].is_object(), value["sha256"].is_string()), (true, true));
            for at in 0..sealed.len() {
                let mut altered = sealed.clone();
                altered[at] ^= 1;
                assert!(!is_sealed(&altered) && !is_sealed(&sealed[..at]), "byte {at}");
            }
            assert!(!is_sealed(&[&sealed[..], b"\n"].concat()));
        }
    }
}
