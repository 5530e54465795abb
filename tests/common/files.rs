//! Files of tests: made, copied, compared.
//!
//! Hazard: "left as it was" is easily said of what nobody looked at. A snapshot tells every path, type, mode and byte.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Writes a file.
#[expect(clippy::disallowed_methods, reason = "a scratch file of a test need not survive a crash")]
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    std::fs::write(path, content).unwrap();
}

/// Writes a file that takes a while to back up: nothing of it compresses, and no two pieces of it are the same.
pub fn write_huge(path: &Path) {
    let mut content = vec![0; 160 << 20];
    fastrand::Rng::with_seed(1).fill(&mut content);
    write(path, content);
}

/// What a file holds.
pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Copies the plain files of a directory.
pub fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in from.read_dir().unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Changes the permission bits of a file or directory.
pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives everything in a directory, and itself, to a user.
pub fn give_away(directory: &Path, user: u32) {
    std::os::unix::fs::lchown(directory, Some(user), Some(user)).unwrap();
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => give_away(&entry.path(), user),
            false => std::os::unix::fs::lchown(entry.path(), Some(user), Some(user)).unwrap(),
        }
    }
}

/// What `sha256sum` prints for these bytes.
pub fn sha256(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}

/// Everything below a directory: its path, and its type, mode and content. Of the lock of a repository only that it is
/// there: who wrote it last is no state.
pub fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    if directory.exists() {
        look(directory, directory, &mut found);
    }
    found
}

fn look(root: &Path, directory: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in directory.read_dir().unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        let content = if metadata.is_dir() {
            look(root, &path, found);
            "directory".to_owned()
        } else if metadata.is_symlink() {
            format!("link to {}", path.read_link().unwrap().display())
        } else if path.file_name().is_some_and(|name| name == "lock") {
            "lock".to_owned()
        } else {
            format!("{} bytes {}", metadata.len(), sha256(&read(&path)))
        };
        let shown = format!("{:o} {content}", metadata.mode());
        found.insert(path.strip_prefix(root).unwrap().to_owned(), shown);
    }
}
