//! Bodies of format 1, read into the model of format 2.
//!
//! Hazard: what an older program wrote must mean the same for ever. Nothing is lost on the way: every field of format 1
//! has its place in the model; only the writing is no more.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::wire::{Attributes, Body, Chunk, FileEntry, Lineage, UnreadableFile, octal};
use crate::core::{ChunkKey, Digest, EntryPath};

#[derive(Deserialize)]
struct Body1 {
    files: Vec<File1>,
    missing: Vec<String>,
    unreadable: Vec<Unreadable1>,
}

#[derive(Deserialize)]
struct File1 {
    path: String,
    size_bytes: u64,
    #[serde(with = "octal")]
    mode: u32,
    uid: u32,
    gid: u32,
    modified: DateTime<Utc>,
    #[serde(default)]
    xattrs: BTreeMap<String, String>,
    sha256: Digest,
    #[serde(default)]
    fault: Option<String>,
    #[serde(default)]
    lineage: Option<Lineage>,
    chunks: Vec<Chunk1>,
}

#[derive(Deserialize)]
struct Chunk1 {
    object: Digest,
    size_bytes: u64,
    blake3: ChunkKey,
}

#[derive(Deserialize)]
struct Unreadable1 {
    path: String,
    reason: String,
}

/// What is wrong with a body of format 1.
#[derive(Debug)]
pub(super) enum Fault1 {
    Syntax(serde_json::Error),
    /// Its files are not in the order of their paths, or one is there twice: this one.
    Order(String),
    /// The chunks of this file do not make it up.
    Chunks(String),
}

/// The body that this JSON is, in the model: paths are text there already, and become text of the model.
pub(super) fn read_body(json: &[u8]) -> Result<Body, Fault1> {
    let body: Body1 = serde_json::from_slice(json).map_err(Fault1::Syntax)?;
    if let Some(pair) = body.files.windows(2).find(|pair| pair[0].path >= pair[1].path) {
        return Err(Fault1::Order(pair[1].path.clone()));
    }
    let path = |text: &str| EntryPath::from_bytes(text.as_bytes());
    let mut files = body.files.into_iter().map(read_file).collect::<Result<Vec<_>, _>>()?;
    // Escaped, some come in another order.
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let unreadable = body.unreadable.into_iter();
    Ok(Body {
        files,
        missing: body.missing.iter().map(|text| path(text)).collect(),
        unreadable: unreadable.map(|file| UnreadableFile { path: path(&file.path), reason: file.reason }).collect(),
        ..Body::default()
    })
}

fn read_file(file: File1) -> Result<FileEntry, Fault1> {
    let mut at = 0u64;
    let mut chunks = Vec::with_capacity(file.chunks.len());
    for Chunk1 { object, size_bytes, blake3 } in file.chunks {
        chunks.push(Chunk { object, frame: None, at, size_bytes, blake3 });
        at = at.checked_add(size_bytes).ok_or_else(|| Fault1::Chunks(file.path.clone()))?;
    }
    if at != file.size_bytes {
        return Err(Fault1::Chunks(file.path));
    }
    Ok(FileEntry {
        path: EntryPath::from_bytes(file.path.as_bytes()),
        size_bytes: file.size_bytes,
        attributes: Attributes {
            mode: file.mode,
            uid: file.uid,
            gid: file.gid,
            user: None,
            group: None,
            modified: file.modified.into(),
            xattrs: file.xattrs,
        },
        sha256: file.sha256,
        fault: file.fault,
        lineage: file.lineage,
        chunks,
    })
}
