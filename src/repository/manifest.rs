//! Manifests: from documents to files and back.
//!
//! Hazard: a manifest decides what is restored where. One that was altered, renamed, moved to another set or crafted
//! is found out here: its bytes must hash to its id, and everything it says must be possible.

use std::collections::HashSet;

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

/// The file of a manifest: its bytes, its hash and the id that they give.
pub fn encode(manifest: &Manifest) -> serde_json::Result<(BackupId, Digest, Vec<u8>)> {
    let mut bytes = serde_json::to_vec(manifest)?;
    bytes.push(b'\n');
    let digest = Digest::of(&bytes);
    Ok((BackupId::new(manifest.envelope.created, digest), digest, bytes))
}

/// The manifest in a file that stands under `set` and `id`, and the file's hash.
pub fn decode(set: &SetName, id: BackupId, bytes: &[u8]) -> Result<(Manifest, Digest), ManifestFault> {
    let digest = Digest::of(bytes);
    if !id.binds(digest) {
        return Err(ManifestFault::Hash);
    }
    let manifest: Manifest = match serde_json::from_slice(bytes) {
        Ok(manifest) => manifest,
        Err(error) => return Err(newer_format(bytes).map_or(ManifestFault::Syntax(error), ManifestFault::Format)),
    };
    check_envelope(&manifest.envelope, set, id)?;
    check_body(&manifest.body, &manifest.envelope)?;
    Ok((manifest, digest))
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
    if !envelope.recipients.is_empty() {
        return Err(ManifestFault::Content("it is encrypted, which this version cannot read".into()));
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
            },
            body: Body {
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
            },
        }
    }

    fn security() -> SetName {
        "security".parse().unwrap()
    }

    fn decode_changed(change: impl FnOnce(&mut Manifest)) -> Result<(Manifest, Digest), ManifestFault> {
        let mut manifest = manifest_of(&security(), "a.json");
        change(&mut manifest);
        let (id, _, bytes) = encode(&manifest).unwrap();
        decode(&security(), id, &bytes)
    }

    #[test]
    fn a_manifest_reads_back_as_written() {
        let manifest = manifest_of(&security(), "a.json");
        let (id, digest, bytes) = encode(&manifest).unwrap();
        let (read, read_digest) = decode(&security(), id, &bytes).unwrap();
        assert_eq!((read, read_digest), (manifest, digest));
    }

    #[test]
    fn every_altered_byte_is_found() {
        let (id, _, bytes) = encode(&manifest_of(&security(), "a.json")).unwrap();
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(matches!(decode(&security(), id, &altered), Err(ManifestFault::Hash)), "byte {at}");
        }
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let deep = "a/".repeat(10_000) + "b";
        for path in ["", "/etc/passwd", "../x", "a/../../x", "a//b", ".", "a/.", "a\0b", &deep, &"x".repeat(300)] {
            let result = decode_changed(|manifest| manifest.body.files[0].path = path.to_owned());
            assert!(matches!(result, Err(ManifestFault::Content(_))), "{}", shortened(path));
        }
    }

    #[test]
    fn what_a_manifest_says_must_be_possible() {
        let impossible: [fn(&mut Manifest); 8] = [
            |m| m.envelope.set = "other".parse().unwrap(),
            |m| m.body.files.push(m.body.files[0].clone()),
            |m| m.body.files[0].size_bytes = 8,
            |m| m.body.files[0].chunks[0].size_bytes = u64::MAX,
            |m| m.envelope.objects.clear(),
            |m| m.envelope.recipients.push("someone".into()),
            |m| {
                let mut inside = m.body.files[0].clone();
                inside.path.push_str("/inside");
                let mut between = m.body.files[0].clone();
                between.path.push_str(".between");
                m.body.files.extend([between, inside]);
            },
            |m| {
                m.envelope.kind = BackupKind::PreRestore;
                m.body.missing.push("../outside.json".into());
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
        assert!(matches!(decode(&security(), id, bytes), Err(ManifestFault::Format(9))));
    }
}
