//! A repository, read by other code than that which writes it: what anybody can do who knows the format.
//!
//! Hazard: a reader and a writer that share a mistake agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::files::{read, sha256};

/// Where the manifest of a backup is.
pub fn manifest_path(backups: &Path, set: &str, id: &str) -> PathBuf {
    backups.join("manifests").join(set).join(format!("{id}.json"))
}

/// Where the newest generation of a document of a set is, below `backups`.
pub fn newest_generation(backups: &Path, set: &str, name: &str) -> Option<String> {
    let number =
        |file: &str| -> Option<u32> { file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".json")?.parse().ok() };
    let entries = std::fs::read_dir(backups.join("manifests").join(set)).ok()?;
    let newest = entries.filter_map(|entry| number(entry.unwrap().file_name().to_str()?)).max()?;
    Some(format!("manifests/{set}/{name}.{newest}.json"))
}

/// The newest generation of a row at the top of a replica, and what it says.
pub fn newest_row(place: &Path, name: &str) -> Option<(PathBuf, Value)> {
    let number =
        |file: &str| -> Option<u32> { file.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(".json")?.parse().ok() };
    let entries = std::fs::read_dir(place).ok()?;
    let newest = entries.filter_map(|entry| number(entry.unwrap().file_name().to_str()?)).max()?;
    let path = place.join(format!("{name}.{newest}.json"));
    let bytes = std::fs::read(&path).ok()?;
    Some((path, serde_json::from_slice(&bytes).ok()?))
}

/// The manifest of a backup, whose name its bytes must bear out.
pub fn manifest(backups: &Path, set: &str, id: &str) -> Value {
    let bytes = read(&manifest_path(backups, set, id));
    let (_, digits) = id.split_once('-').unwrap();
    assert!(sha256(&bytes).starts_with(digits), "the manifest {id} does not hash to its name");
    serde_json::from_slice(&bytes).unwrap()
}

/// Where an object is.
pub fn object_path(backups: &Path, name: &str) -> PathBuf {
    backups.join("objects").join(&name[..2]).join(name)
}

/// The names of the objects that a backup needs.
pub fn objects(manifest: &Value) -> Vec<&str> {
    let objects = manifest["envelope"]["objects"].as_array().unwrap();
    objects.iter().map(|object| object["name"].as_str().unwrap()).collect()
}

/// The files of a backup, by path, each with its content, checked against every hash there is.
pub fn content(backups: &Path, set: &str, id: &str) -> Vec<(String, Vec<u8>)> {
    let manifest = manifest(backups, set, id);
    let files = files(backups, &manifest).into_iter();
    files.map(|file| (file["path"].as_str().unwrap().to_owned(), file_content(backups, &file))).collect()
}

/// Whether the lines of a body that is not encrypted are kept in objects.
pub fn has_long_body(manifest: &Value) -> bool {
    let compressed = STANDARD.decode(manifest["body"].as_str().unwrap()).unwrap();
    zstd::decode_all(compressed.as_slice()).unwrap().starts_with(b"{\"lines\":")
}

/// The lines of a body that is not encrypted.
pub fn lines(backups: &Path, manifest: &Value) -> Vec<Value> {
    let compressed = STANDARD.decode(manifest["body"].as_str().unwrap()).unwrap();
    let parse = |text: &[u8]| -> Vec<Value> {
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    };
    let lines = parse(&zstd::decode_all(compressed.as_slice()).unwrap());
    if lines.first().is_none_or(|line| line.get("lines").is_none()) {
        return lines;
    }
    parse(&lines.iter().flat_map(|line| chunk(backups, &line["lines"])).collect::<Vec<_>>())
}

/// The plain files of a body that is not encrypted, as its lines have them.
pub fn files(backups: &Path, manifest: &Value) -> Vec<Value> {
    lines(backups, manifest).into_iter().filter_map(|line| line.get("file").cloned()).collect()
}

/// The packs of a backup that is not encrypted, each with the frames that it needs: where they begin and how long they are.
pub fn packs(backups: &Path, manifest: &Value) -> BTreeMap<String, BTreeSet<(u64, u64)>> {
    let mut packs: BTreeMap<String, BTreeSet<(u64, u64)>> = BTreeMap::new();
    for file in files(backups, manifest) {
        for chunk in file["chunks"].as_array().unwrap().iter().filter(|chunk| chunk["frame"].is_array()) {
            let [offset, length] = [0, 1].map(|at| chunk["frame"][at].as_u64().unwrap());
            packs.entry(chunk["object"].as_str().unwrap().to_owned()).or_default().insert((offset, length));
        }
    }
    packs
}

/// What stands in a manifest for these lines.
pub fn body(lines: &[Value]) -> Value {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    STANDARD.encode(zstd::encode_all(text.as_bytes(), 1).unwrap()).into()
}

/// The content of a chunk, whose object must hash to its name.
fn chunk(backups: &Path, chunk: &Value) -> Vec<u8> {
    let name = chunk["object"].as_str().unwrap();
    let stored = read(&object_path(backups, name));
    assert_eq!(sha256(&stored), name, "the object does not hash to its name");
    let frame = chunk["frame"].as_array().map(|frame| {
        let [offset, length] = [0, 1].map(|at| frame[at].as_u64().unwrap() as usize);
        offset..offset + length
    });
    zstd::decode_all(&stored[frame.unwrap_or(0..stored.len())]).unwrap()
}

fn file_content(backups: &Path, file: &Value) -> Vec<u8> {
    let mut content = Vec::new();
    for part in file["chunks"].as_array().unwrap() {
        content.resize(part["at"].as_u64().unwrap_or(0) as usize, 0);
        content.extend(chunk(backups, part));
    }
    content.resize(file["size_bytes"].as_u64().unwrap() as usize, 0);
    assert_eq!(sha256(&content), file["sha256"], "{file}");
    content
}

/// Writes a state file of the whole repository, as FORMAT.md says.
pub fn write_state(backups: &Path, name: &str, value: &Value) {
    let path = format!("state/{name}.json");
    let value = serde_json::to_string(value).unwrap();
    let header = serde_json::json!({"version": 1, "path": path, "sha256": super::files::sha256(value.as_bytes())});
    super::files::write(&backups.join(&path), format!("{header}\n{value}"));
}
