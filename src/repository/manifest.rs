//! Manifests: from documents to files and back.
//!
//! Hazard: a manifest decides what is restored where. One that was altered, renamed, moved to another set or crafted
//! is found out here: its bytes must hash to its id, and everything it says must be possible.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::encryption::{Keys, MAX_RECIPIENTS, OpenFault};
use super::object::CHUNK_BYTES;
use super::wire::{Body, Envelope, FORMAT, Manifest};
use crate::core::{BackupId, BackupKind, Digest, SetName};

/// The largest manifest that is read: some hundred gigabytes of content, or a million small files.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;

/// The longest path of a file in a set, in bytes, and the most segments it has.
const MAX_PATH_BYTES: usize = 4096;
const MAX_PATH_SEGMENTS: usize = 128;

/// What is wrong with a manifest file.
#[derive(Debug, thiserror::Error)]
pub enum ManifestFault {
    /// Its bytes do not hash to its id.
    #[error("its bytes do not hash to its id")]
    Hash,
    /// It is no manifest document.
    #[error("it is no manifest")]
    Syntax(#[source] serde_json::Error),
    /// It is of a format that this program does not know.
    #[error("it is of format {0}, which needs a newer fiovana-app")]
    Format(u32),
    /// It says something impossible.
    #[error("{0}")]
    Content(String),
}

/// A manifest as it stands in its file; the body is [`Body`], or an age file that holds one, in base64.
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
    let mut bytes = match keys.recipients() {
        None => serde_json::to_vec(&Document { envelope, body })?,
        Some(recipients) => {
            let sealed = recipients.seal(&serde_json::to_vec(body)?)?;
            serde_json::to_vec(&Document { envelope, body: BASE64.encode(sealed) })?
        }
    };
    bytes.push(b'\n');
    let digest = Digest::of(&bytes);
    Ok((BackupId::new(manifest.envelope.created, digest), digest, bytes))
}

/// The manifest in a file that stands under `set` and `id`, and the file's hash; without its body if that is encrypted
/// and none of `keys` opens it.
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
    let body = read_body(&envelope, document.body.get(), keys)?;
    if let Some(body) = &body {
        check_body(body, &envelope)?;
    }
    Ok((Manifest { envelope, body }, digest))
}

fn read_body(envelope: &Envelope, body: &str, keys: &Keys) -> Result<Option<Body>, ManifestFault> {
    if envelope.recipients.is_empty() {
        return serde_json::from_str(body).map(Some).map_err(ManifestFault::Syntax);
    }
    let base64: &str = serde_json::from_str(body).map_err(ManifestFault::Syntax)?;
    let fault = || ManifestFault::Content(OpenFault::Damaged.to_string());
    let sealed = BASE64.decode(base64).map_err(|_| fault())?;
    if !keys.open_what_is_for(&envelope.recipients) {
        return Ok(None);
    }
    let plain = keys.open(&sealed).map_err(|_| fault())?;
    serde_json::from_slice(&plain).map(Some).map_err(ManifestFault::Syntax)
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
    if envelope.format != FORMAT {
        return Err(ManifestFault::Format(envelope.format));
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
    let content = |text: String| Err(ManifestFault::Content(text));
    let objects: HashSet<Digest> = envelope.objects.iter().map(|object| object.name).collect();
    let mut previous: Option<&str> = None;
    for file in &body.files {
        if !is_safe_path(&file.path) {
            return content(format!("the path {:?} is not allowed", shortened(&file.path)));
        }
        if previous.is_some_and(|previous| previous >= file.path.as_str()) {
            return content(format!("the path {:?} is out of order or there twice", shortened(&file.path)));
        }
        previous = Some(&file.path);
        let chunks_fit = file
            .chunks
            .iter()
            .all(|chunk| (1..=CHUNK_BYTES as u64).contains(&chunk.size_bytes) && objects.contains(&chunk.object));
        let total = file.chunks.iter().try_fold(0u64, |sum, chunk| sum.checked_add(chunk.size_bytes));
        if !chunks_fit || total != Some(file.size_bytes) {
            return content(format!("the chunks of {:?} do not make up the file", shortened(&file.path)));
        }
    }
    let paths: HashSet<&str> = body.files.iter().map(|file| file.path.as_str()).collect();
    let is_inside_a_file = |path: &str| path.match_indices('/').any(|(end, _)| paths.contains(&path[..end]));
    if paths.iter().any(|path| is_inside_a_file(path)) {
        return content("a file is inside a file".into());
    }
    // To be restored, these are removed.
    let unsafe_missing = body.missing.iter().find(|path| !is_safe_path(path));
    match unsafe_missing.filter(|_| envelope.kind == BackupKind::PreRestore) {
        Some(path) => content(format!("the path {:?} is not allowed", shortened(path))),
        None => Ok(()),
    }
}

fn shortened(path: &str) -> String {
    path.chars().take(120).collect()
}

/// Whether a path may be a file of a set: relative, of plain segments, leading nowhere else.
pub fn is_safe_path(path: &str) -> bool {
    path.len() <= MAX_PATH_BYTES
        && path.split('/').count() <= MAX_PATH_SEGMENTS
        && path.split('/').all(|segment| {
            !segment.is_empty() && segment.len() <= 255 && segment != "." && segment != ".." && !segment.contains('\0')
        })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::{ChunkKey, Sequence};
    use crate::repository::wire::{Chunk, FileEntry, ObjectReference};
    use chrono::DateTime;

    /// A manifest of one small file at `path`.
    pub fn manifest_of(set: &SetName, path: &str) -> Manifest {
        let object = Digest::of(b"stored");
        Manifest {
            envelope: Envelope {
                format: FORMAT,
                set: set.clone(),
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
                    path: path.to_owned(),
                    size_bytes: 7,
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    modified: DateTime::UNIX_EPOCH,
                    xattrs: Default::default(),
                    sha256: Digest::of(b"content"),
                    fault: None,
                    lineage: None,
                    chunks: vec![Chunk { object, size_bytes: 7, blake3: ChunkKey::of(b"content") }],
                }],
                missing: vec![],
                unreadable: vec![],
            }),
        }
    }

    fn files(manifest: &mut Manifest) -> &mut Vec<FileEntry> {
        &mut manifest.body.as_mut().unwrap().files
    }

    fn security() -> SetName {
        "security".parse().unwrap()
    }

    fn decode_changed(change: impl FnOnce(&mut Manifest)) -> Result<(Manifest, Digest), ManifestFault> {
        let mut manifest = manifest_of(&security(), "a.json");
        change(&mut manifest);
        let (id, _, bytes) = encode(&manifest, &Keys::default()).unwrap();
        decode(&security(), id, &bytes, &Keys::default())
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
            let result = decode_changed(|manifest| files(manifest)[0].path = path.to_owned());
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
            |m| files(m)[0].size_bytes = 8,
            |m| files(m)[0].chunks[0].size_bytes = u64::MAX,
            |m| m.envelope.objects.clear(),
            |m| {
                let mut inside = files(m)[0].clone();
                inside.path.push_str("/inside");
                let mut between = files(m)[0].clone();
                between.path.push_str(".between");
                files(m).extend([between, inside]);
            },
            |m| {
                m.envelope.kind = BackupKind::PreRestore;
                m.body.as_mut().unwrap().missing.push("../outside.json".into());
            },
        ];
        for (index, change) in impossible.into_iter().enumerate() {
            assert!(matches!(decode_changed(change), Err(ManifestFault::Content(_))), "case {index}");
        }
    }

    #[test]
    fn a_newer_format_is_named_and_not_guessed_at() {
        assert!(matches!(decode_changed(|m| m.envelope.format = 2), Err(ManifestFault::Format(2))));
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
        assert_eq!(closed, Manifest { envelope: manifest.envelope.clone(), body: None });
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
}
