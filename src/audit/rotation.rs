//! Rotation of the log by ourselves, where nobody else writes to it.
//!
//! Hazard: two that rotate one file lose it between them. This is done only where the settings say that the log is ours
//! alone. A crash between two renames leaves a gap in the numbers of the files, which mean nothing: what a file holds
//! decides its place in the chain.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::AuditError;
use super::opening::sync_directory;
use super::segments::directory_of;

/// Renames the live file to `.1`, and what was there before to `.2` and so on, if it has at least so many bytes; of the
/// renamed ones at most `keep_files` stay. The next append begins a new file.
pub fn rotate(path: &Path, size_bytes: u64, keep_files: u32) -> Result<(), AuditError> {
    let is_small = |metadata: fs::Metadata| metadata.len() < size_bytes;
    if fs::symlink_metadata(path).map_or(true, is_small) {
        return Ok(());
    }
    let oldest = numbered(path, keep_files.max(1));
    match fs::remove_file(&oldest) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(AuditError::at("remove", &oldest)(error)),
        _ => {}
    }
    for number in (1..keep_files.max(1)).rev() {
        rename(&numbered(path, number), &numbered(path, number + 1))?;
    }
    rename(path, &numbered(path, 1))?;
    sync_directory(directory_of(path))
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename(from: &Path, to: &Path) -> Result<(), AuditError> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(AuditError::at("rename", from)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{Scratch, append_each};

    #[test]
    fn the_chain_goes_on_through_our_own_rotations_and_only_so_many_files_stay() {
        let scratch = Scratch::new();
        let mut log = scratch.open(None);
        let mut heads = Vec::new();
        for _ in 0..5 {
            heads.extend(append_each(&mut log, &["BackupStarted", "BackupCompleted"]));
            rotate(&scratch.path, u64::MAX, 3).unwrap();
            rotate(&scratch.path, 1, 3).unwrap();
        }
        let report = scratch.verify(&heads);
        assert!(report.is_whole(), "{report:?}");
        let names: Vec<_> = report.files.iter().filter_map(|path| path.extension()?.to_str()).collect();
        assert_eq!(names, ["3", "2", "1"]);
        assert_eq!((report.anchors_before_first, report.anchors_matched), (4, 6));
    }
}
