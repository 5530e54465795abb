//! Manifests: from documents to files and back.
//!
//! Hazard: a manifest decides what is restored where. One that was altered, renamed, moved to another set or crafted
//! is found out here: its bytes must hash to its id, and everything it says must be possible.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use super::body::ManifestFault;
use super::body::{self, Rendered, shortened};
use super::encryption::{Keys, MAX_RECIPIENTS, OpenFault};
use super::format_1::{self, Fault1};
use super::wire::{Body, Chunk, Envelope, FORMAT, FORMAT_1, Manifest};
use crate::core::{BackupId, Digest, SetName};

/// The largest manifest that is read: some hundred gigabytes of content, or a million small files.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// A manifest as it stands in its file. The body is, in base64, its lines as `body` renders them, or an age file that
/// holds those; in format 1 it is JSON, or an age file that holds it, in base64.
#[derive(Serialize, Deserialize)]
struct Document<'a, B> {
    envelope: std::borrow::Cow<'a, Envelope>,
    body: B,
}

/// Why a manifest could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// It could not be written as JSON.
    #[error("write a manifest")]
    Json(#[from] serde_json::Error),
    /// It could not be encrypted.
    #[error("encrypt a manifest")]
    Seal(#[from] std::io::Error),
    /// It is larger than a manifest can be.
    #[error("the backup has more to list than a manifest can hold: make several sets of it")]
    TooLarge,
    /// It says what no reader would believe.
    #[error("the backup has what no manifest can hold: exclude it from the set")]
    Impossible(#[source] ManifestFault),
    /// Its body is not at hand, or is for others than the recipients at hand.
    #[error("a manifest whose files are not at hand cannot be written")]
    Unopened,
}

/// The file of a manifest: its bytes, its hash and the id that they give. Its body is encrypted for the recipients in
/// `keys`, which are those that its envelope names.
pub fn encode(manifest: &Manifest, keys: &Keys) -> Result<(BackupId, Digest, Vec<u8>), EncodeError> {
    let envelope = std::borrow::Cow::Borrowed(&manifest.envelope);
    let body = manifest.body.as_ref().ok_or(EncodeError::Unopened)?;
    if manifest.envelope.recipients != keys.fingerprints() {
        return Err(EncodeError::Unopened);
    }
    check_body(body, &manifest.envelope).map_err(EncodeError::Impossible)?;
    encode_unchecked(envelope, body, &manifest.lines, keys)
}

fn encode_unchecked(
    envelope: std::borrow::Cow<'_, Envelope>,
    body: &Body,
    lines: &[Chunk],
    keys: &Keys,
) -> Result<(BackupId, Digest, Vec<u8>), EncodeError> {
    let created = envelope.created;
    let rendered = body::render(body, lines)?;
    let stored = match keys.recipients() {
        None => rendered,
        Some(recipients) => recipients.seal(&rendered)?,
    };
    let mut bytes = serde_json::to_vec(&Document { envelope, body: BASE64.encode(stored) })?;
    bytes.push(b'\n');
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(EncodeError::TooLarge);
    }
    let digest = Digest::of(&bytes);
    Ok((BackupId::new(created, digest), digest, bytes))
}

/// The manifest in a file that stands under `set` and `id`, and the file's hash; without its body if that is encrypted
/// and none of `keys` opens it, or if its lines are kept elsewhere: [`complete`].
pub fn decode(set: &SetName, id: BackupId, bytes: &[u8], keys: &Keys) -> Result<(Manifest, Digest), ManifestFault> {
    let digest = Digest::of(bytes);
    if !id.binds(digest) {
        return Err(ManifestFault::Hash);
    }
    let document: Document<'_, &RawValue> = match serde_json::from_slice(bytes) {
        Ok(document) => document,
        Err(error) => return Err(newer_format(bytes).map_or(ManifestFault::Syntax(error), ManifestFault::Format)),
    };
    let envelope = document.envelope.into_owned();
    check_envelope(&envelope, set, id)?;
    let mut manifest = Manifest { envelope, body: None, lines: Vec::new() };
    match read_body(&manifest.envelope, document.body.get(), keys)? {
        Some(Rendered::Whole(body)) => {
            check_body(&body, &manifest.envelope)?;
            manifest.body = Some(body);
        }
        Some(Rendered::Listed(lines)) => {
            let objects: HashSet<Digest> = manifest.envelope.objects.iter().map(|object| object.name).collect();
            if !lines.iter().all(|chunk| objects.contains(&chunk.object)) {
                return Err(ManifestFault::Content("its lines are in an object that it does not need".into()));
            }
            manifest.lines = lines;
        }
        None => {}
    }
    Ok((manifest, digest))
}

/// Gives a manifest its body, of which these are the lines.
pub fn complete(manifest: &mut Manifest, lines: &[u8]) -> Result<(), ManifestFault> {
    let body = body::parse_lines(lines)?;
    check_body(&body, &manifest.envelope)?;
    manifest.body = Some(body);
    Ok(())
}

fn read_body(envelope: &Envelope, body: &str, keys: &Keys) -> Result<Option<Rendered>, ManifestFault> {
    let is_old = envelope.format == FORMAT_1;
    if is_old && envelope.recipients.is_empty() {
        return read_old(body.as_bytes()).map(Some);
    }
    let base64: &str = serde_json::from_str(body).map_err(ManifestFault::Syntax)?;
    let stored = BASE64.decode(base64).map_err(|_| ManifestFault::Content("its body is no base64".into()))?;
    if envelope.recipients.is_empty() {
        return body::parse(&stored).map(Some);
    }
    if !keys.open_what_is_for(&envelope.recipients) {
        return Ok(None);
    }
    let plain = keys.open(&stored).map_err(|_| ManifestFault::Content(OpenFault::Damaged.to_string()))?;
    if is_old { read_old(&plain).map(Some) } else { body::parse(&plain).map(Some) }
}

fn read_old(json: &[u8]) -> Result<Rendered, ManifestFault> {
    format_1::read_body(json).map(Rendered::Whole).map_err(|fault| match fault {
        Fault1::Syntax(error) => ManifestFault::Syntax(error),
        Fault1::Order(path) => {
            ManifestFault::Content(format!("the path {:?} is out of order or there twice", shortened(&path)))
        }
        Fault1::Chunks(path) => {
            ManifestFault::Content(format!("the chunks of {:?} do not make up the file", shortened(&path)))
        }
    })
}

/// The format of a document of a newer kind, of which nothing else can be assumed.
fn newer_format(bytes: &[u8]) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct AnyEnvelope {
        format: u32,
    }
    #[derive(serde::Deserialize)]
    struct AnyManifest {
        envelope: AnyEnvelope,
    }
    let any: AnyManifest = serde_json::from_slice(bytes).ok()?;
    (any.envelope.format > FORMAT).then_some(any.envelope.format)
}

fn check_envelope(envelope: &Envelope, set: &SetName, id: BackupId) -> Result<(), ManifestFault> {
    if !(FORMAT_1..=FORMAT).contains(&envelope.format) {
        return Err(ManifestFault::Format(envelope.format));
    }
    if (envelope.format == FORMAT_1) != id.is_of_format_1() {
        return Err(ManifestFault::Content("its id is not one of its format".into()));
    }
    if envelope.timeline.0 == 0 || envelope.sequence.0 == 0 {
        return Err(ManifestFault::Content("timelines and sequences begin with 1".into()));
    }
    if envelope.set != *set {
        return Err(ManifestFault::Content(format!("it is a backup of {}, not of {set}", envelope.set)));
    }
    if BackupId::new(envelope.created, Digest::from_bytes([0; 32])).created() != id.created() {
        return Err(ManifestFault::Content("its time is not that of its id".into()));
    }
    if envelope.recipients.len() > MAX_RECIPIENTS {
        return Err(ManifestFault::Content("it has more recipients than a backup can have".into()));
    }
    Ok(())
}

fn check_body(body: &Body, envelope: &Envelope) -> Result<(), ManifestFault> {
    let objects: HashSet<Digest> = envelope.objects.iter().map(|object| object.name).collect();
    body::check(body, &objects, envelope.kind)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::{BackupKind, ChunkKey, EntryPath, Sequence, Timeline};
    use crate::repository::wire::{Attributes, FileEntry, Frame, ObjectReference, SymlinkEntry, UnreadableFile};
    use chrono::DateTime;

    /// A manifest of one small file at `path`.
    pub fn manifest_of(set: &SetName, path: &str) -> Manifest {
        let object = Digest::of(b"stored");
        Manifest {
            envelope: Envelope {
                format: FORMAT,
                set: set.clone(),
                timeline: Timeline::FIRST,
                sequence: Sequence::FIRST,
                created: DateTime::from_timestamp(1_795_428_900, 123_000_000).unwrap(),
                clock_suspect: false,
                kind: BackupKind::Manual,
                consistent: true,
                valid: true,
                size_bytes: 7,
                stored_bytes: 6,
                objects: vec![ObjectReference { name: object, stored_bytes: 6 }],
                audit_head: None,
                recipients: vec![],
                generation: 0,
            },
            body: Some(Body {
                files: vec![FileEntry {
                    path: EntryPath::from_bytes(path.as_bytes()),
                    size_bytes: 7,
                    attributes: Attributes { mode: 0o644, ..Attributes::default() },
                    sha256: Digest::of(b"content"),
                    fault: None,
                    lineage: None,
                    chunks: vec![Chunk { object, frame: None, at: 0, size_bytes: 7, blake3: ChunkKey::of(b"content") }],
                }],
                ..Body::default()
            }),
            lines: vec![],
        }
    }

    fn files(manifest: &mut Manifest) -> &mut Vec<FileEntry> {
        &mut manifest.body.as_mut().unwrap().files
    }

    fn security() -> SetName {
        "security".parse().unwrap()
    }

    fn changed(change: impl FnOnce(&mut Manifest)) -> Manifest {
        let mut manifest = manifest_of(&security(), "a.json");
        change(&mut manifest);
        manifest
    }

    /// Reads what a writer that minds nothing makes of it.
    fn decode_of(manifest: &Manifest) -> Result<(Manifest, Digest), ManifestFault> {
        let (envelope, body) = (std::borrow::Cow::Borrowed(&manifest.envelope), manifest.body.as_ref().unwrap());
        let (id, _, bytes) = encode_unchecked(envelope, body, &manifest.lines, &Keys::default()).unwrap();
        decode(&security(), id, &bytes, &Keys::default())
    }

    fn decode_changed(change: impl FnOnce(&mut Manifest)) -> Result<(Manifest, Digest), ManifestFault> {
        decode_of(&changed(change))
    }

    #[test]
    fn a_manifest_reads_back_as_written() {
        let manifest = manifest_of(&security(), "a.json");
        let (id, digest, bytes) = encode(&manifest, &Keys::default()).unwrap();
        let (read, read_digest) = decode(&security(), id, &bytes, &Keys::default()).unwrap();
        assert_eq!((read, read_digest), (manifest, digest));
    }

    #[test]
    fn every_altered_byte_is_found() {
        let (id, _, bytes) = encode(&manifest_of(&security(), "a.json"), &Keys::default()).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(
                matches!(decode(&security(), id, &altered, &Keys::default()), Err(ManifestFault::Hash)),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let deep = "a/".repeat(10_000) + "b";
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".", "a/.", "a\0b", &deep, &"x".repeat(300)] {
            let result = decode_changed(|manifest| files(manifest)[0].path = EntryPath::from_text(path));
            assert!(matches!(result, Err(ManifestFault::Content(_))), "{}", shortened(path));
        }
    }

    #[test]
    fn what_a_manifest_says_must_be_possible() {
        let impossible: [fn(&mut Manifest); 7] = [
            |m| m.envelope.set = "other".parse().unwrap(),
            |m| {
                let twice = files(m)[0].clone();
                files(m).push(twice);
            },
            |m| files(m)[0].size_bytes = 6,
            |m| files(m)[0].chunks[0].size_bytes = u64::MAX,
            |m| m.envelope.objects.clear(),
            |m| {
                let at = |m: &mut Manifest, path: &str| {
                    let path = EntryPath::from_text(path);
                    FileEntry { path, ..files(m)[0].clone() }
                };
                let (between, inside) = (at(m, "a.json.between"), at(m, "a.json/inside"));
                files(m).extend([between, inside]);
            },
            |m| {
                m.envelope.kind = BackupKind::PreRestore;
                m.body.as_mut().unwrap().missing.push(EntryPath::from_text("../outside.json"));
            },
        ];
        for (index, change) in impossible.into_iter().enumerate() {
            assert!(matches!(decode_changed(change), Err(ManifestFault::Content(_))), "case {index}");
        }
    }

    /// What makes something of a manifest so large.
    type Sized = fn(&mut Manifest, usize);

    fn attributes(manifest: &mut Manifest) -> &mut Attributes {
        &mut files(manifest)[0].attributes
    }

    fn link_to(manifest: &mut Manifest, target: String) {
        let path = EntryPath::from_text("link");
        manifest.body.as_mut().unwrap().symlinks =
            vec![SymlinkEntry { path, target, attributes: Attributes::default() }];
    }

    #[test]
    fn each_limit_of_a_body_holds_at_its_bound_and_is_refused_beyond_by_reader_and_writer() {
        let limits: [(&str, usize, Sized); 12] = [
            ("segment of a path", 255, |m, size| files(m)[0].path = EntryPath::from_text("x".repeat(size))),
            ("path", 4096, |m, size| {
                // Of segments of 127 bytes, and what is left.
                let text: String =
                    (0..size).map(|at| if at % 128 == 127 && at + 1 < size { '/' } else { 'x' }).collect();
                files(m)[0].path = EntryPath::from_text(&text);
            }),
            ("segments of a path", 128, |m, size| files(m)[0].path = EntryPath::from_text(vec!["x"; size].join("/"))),
            ("target of a symlink", 4095, |m, size| link_to(m, "x".repeat(size))),
            ("name of an attribute", 255, |m, size| {
                attributes(m).xattrs.insert("x".repeat(size), "00".into());
            }),
            ("attributes", 1024, |m, size| {
                attributes(m).xattrs = (0..size).map(|at| (format!("user.{at}"), "00".into())).collect();
            }),
            ("value of an attribute", 64 << 10, |m, size| {
                attributes(m).xattrs.insert("user.x".into(), "00".repeat(size));
            }),
            ("name of a user", 4096, |m, size| attributes(m).user = Some("x".repeat(size))),
            ("name of a group", 4096, |m, size| attributes(m).group = Some("x".repeat(size))),
            ("fault", 4096, |m, size| files(m)[0].fault = Some("x".repeat(size))),
            ("reason", 4096, |m, size| {
                let (path, reason) = (EntryPath::from_text("b"), "x".repeat(size));
                m.body.as_mut().unwrap().unreadable = vec![UnreadableFile { path, reason }];
            }),
            ("content of a chunk", 1 << 20, |m, size| {
                files(m)[0].size_bytes = size as u64;
                files(m)[0].chunks[0].size_bytes = size as u64;
            }),
        ];
        for (what, bound, sized) in limits {
            let (within, beyond) = (changed(|m| sized(m, bound)), changed(|m| sized(m, bound + 1)));
            assert!(decode_of(&within).is_ok(), "{what}: {:?}", decode_of(&within).err());
            assert!(encode(&within, &Keys::default()).is_ok(), "{what}");
            assert!(matches!(decode_of(&beyond), Err(ManifestFault::Content(_))), "{what}: read beyond its bound");
            let written = encode(&beyond, &Keys::default());
            assert!(matches!(written, Err(EncodeError::Impossible(_))), "{what}: written beyond its bound");
        }
    }

    #[test]
    fn a_file_has_less_than_2_to_the_63_bytes_a_pack_a_mebibyte_and_a_backup_twenty_recipients() {
        let hole = |size_bytes: u64| {
            decode_changed(|m| {
                files(m)[0].chunks.clear();
                files(m)[0].size_bytes = size_bytes;
            })
        };
        assert!(hole(i64::MAX as u64).is_ok() && hole(i64::MAX as u64 + 1).is_err());
        let frame = |offset, length| decode_changed(|m| files(m)[0].chunks[0].frame = Some(Frame { offset, length }));
        let most = u32::try_from(crate::repository::object::MAX_PACK_BYTES).unwrap();
        assert!(frame(most - 7, 7).is_ok() && frame(most - 6, 7).is_err() && frame(0, 0).is_err());
        let recipients = |count: u8| {
            let digits = |number: u8| format!("{number:016x}").parse().unwrap();
            decode_changed(|m| m.envelope.recipients = (0..count).map(digits).collect())
        };
        let is_refused = |count| matches!(recipients(count), Err(ManifestFault::Content(_)));
        assert!(!is_refused(20) && is_refused(21));
    }

    #[test]
    fn a_newer_format_is_named_and_not_guessed_at() {
        assert!(matches!(decode_changed(|m| m.envelope.format = 3), Err(ManifestFault::Format(3))));
        let bytes = br#"{"envelope":{"format":9,"something":"else"}}"#;
        let id = BackupId::new(DateTime::UNIX_EPOCH, Digest::of(bytes));
        assert!(matches!(decode(&security(), id, bytes, &Keys::default()), Err(ManifestFault::Format(9))));
    }

    #[test]
    fn an_encrypted_body_is_opened_by_its_keys_and_closed_without_and_shows_nothing() {
        let keys = crate::repository::encryption::tests::keys();
        let mut manifest = manifest_of(&security(), "a.json");
        manifest.envelope.recipients = keys.fingerprints();
        let (id, _, bytes) = encode(&manifest, &keys).unwrap();
        assert_eq!(decode(&security(), id, &bytes, &keys).unwrap().0, manifest);
        let closed = decode(&security(), id, &bytes, &Keys::default()).unwrap().0;
        assert_eq!(closed, Manifest { envelope: manifest.envelope.clone(), body: None, lines: vec![] });
        let text = String::from_utf8(bytes).unwrap();
        let file = &manifest.files()[0];
        for secret in ["a.json", &file.sha256.to_string(), &file.chunks[0].blake3.to_string()] {
            assert!(!text.contains(secret), "{secret}");
        }
        assert!(matches!(encode(&manifest, &Keys::default()), Err(EncodeError::Unopened)));
        assert!(matches!(encode(&closed, &keys), Err(EncodeError::Unopened)));
    }

    #[test]
    fn an_encrypted_body_that_does_not_open_is_damage_and_never_a_panic() {
        let keys = crate::repository::encryption::tests::keys();
        for body in [r#""""#, r#""AAAA""#, "{}", "7", r#""not base64""#] {
            let mut manifest = manifest_of(&security(), "a.json");
            manifest.envelope.recipients = keys.fingerprints();
            let envelope = serde_json::to_string(&manifest.envelope).unwrap();
            let bytes = format!("{{\"envelope\":{envelope},\"body\":{body}}}\n").into_bytes();
            let id = BackupId::new(manifest.envelope.created, Digest::of(&bytes));
            assert!(decode(&security(), id, &bytes, &keys).is_err(), "{body}");
        }
    }

    #[test]
    fn a_backup_has_a_million_entries_and_no_more() {
        let missing = |count: usize| {
            changed(|m| {
                let paths = (0..count).map(|at| EntryPath::from_text(format!("b{at:07}")));
                m.body.as_mut().unwrap().missing = paths.collect();
            })
        };
        assert!(encode(&missing(999_999), &Keys::default()).is_ok());
        assert!(matches!(encode(&missing(1_000_000), &Keys::default()), Err(EncodeError::Impossible(_))));
        let lines = |count: usize| -> String {
            (0..count).map(|at| format!("{{\"missing\":{{\"path\":\"{at:07}\"}}}}\n")).collect()
        };
        assert!(body::parse_lines(lines(1_000_000).as_bytes()).is_ok());
        assert!(matches!(body::parse_lines(lines(1_000_001).as_bytes()), Err(ManifestFault::Content(_))));
    }
}
