//! The directory that a drill restores into.
//!
//! Hazard: it holds copies of what may be secret, and a crash leaves it behind. Nobody else may enter it, it has one
//! place that is known, and it is cleared at the next start at the latest.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::DrillError;
use crate::core::entry_path::MAX_PATH_SEGMENTS;

/// A scratch directory, removed when this is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it, empty; what an earlier drill left there goes.
    pub(super) fn create(path: &Path) -> Result<Self, DrillError> {
        let failed = |action| move |source| DrillError::Scratch { action, path: path.to_owned(), source };
        clear(path).map_err(failed("remove"))?;
        DirBuilder::new().mode(0o700).create(path).map_err(failed("create"))?;
        Ok(Self(path.to_owned()))
    }

    /// A place in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Removes it; that it could not be removed is an error.
    pub(super) fn remove(self) -> Result<(), DrillError> {
        clear(&self.0).map(drop).map_err(|source| DrillError::Scratch {
            action: "remove",
            path: self.0.clone(),
            source,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is cleared by the next drill, or the next start.
        let _ = clear(&self.0);
    }
}

/// Removes what a drill left at `path`; whether there was anything. Follows no symlinks.
pub fn clear(path: &Path) -> io::Result<bool> {
    let removed = match std::fs::remove_dir_all(path) {
        // A directory came back as it was: nothing may be removed from it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_writable(path, 0)?;
            std::fs::remove_dir_all(path)
        }
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// The deepest directory that a path of a backup has, and those that a drill makes above it.
const MAX_DEPTH: usize = MAX_PATH_SEGMENTS + 8;

/// Lets the owner change what is in a directory, and below.
fn make_writable(directory: &Path, depth: usize) -> io::Result<()> {
    if depth > MAX_DEPTH {
        return Ok(());
    }
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o700))?;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            make_writable(&entry.path(), depth + 1)?;
        }
    }
    Ok(())
}
