//! A repository, read by other code than that which writes it: what anybody can do who knows the format.
//!
//! Hazard: a reader and a writer that share a mistake agree.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::files::{read, sha256};

/// Where the manifest of a backup is.
pub fn manifest_path(backups: &Path, set: &str, id: &str) -> PathBuf {
    backups.join("manifests").join(set).join(format!("{id}.json"))
}

/// The manifest of a backup, whose name its bytes must bear out.
pub fn manifest(backups: &Path, set: &str, id: &str) -> Value {
    let bytes = read(&manifest_path(backups, set, id));
    assert_eq!(sha256(&bytes)[..8], id[id.len() - 8..], "the manifest {id} does not hash to its name");
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
    let files = manifest["body"]["files"].as_array().unwrap();
    files.iter().map(|file| (file["path"].as_str().unwrap().to_owned(), file_content(backups, file))).collect()
}

fn file_content(backups: &Path, file: &Value) -> Vec<u8> {
    let mut content = Vec::new();
    for chunk in file["chunks"].as_array().unwrap() {
        let name = chunk["object"].as_str().unwrap();
        let stored = read(&object_path(backups, name));
        assert_eq!(sha256(&stored), name, "the object does not hash to its name");
        let mut decoder = zstd::Decoder::new(stored.as_slice()).unwrap();
        decoder.read_to_end(&mut content).unwrap();
    }
    assert_eq!(sha256(&content), file["sha256"], "{file}");
    content
}
