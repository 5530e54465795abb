//! Files with secrets in them.
//!
//! Hazard: a secret that others can read is none. A file that is not its owner's alone is refused, not quietly used; and
//! no message shows what is in one.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::files::{Distrusted, Refusal, Trust};

/// The permissions of everybody but the owner.
const OTHERS: u32 = 0o077;

/// Why a private file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It could not be read or made.
    #[error("{action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others can read it, or it is somebody else's.
    #[error("{}", too_open(.path, *.mode, *.owner))]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Its owner's number.
        owner: u32,
    },
    /// Somebody else could have written it, or put it there.
    #[error(transparent)]
    Distrusted(#[from] Distrusted),
    /// A line is not what it should be. The line itself is not shown: it may hold a secret.
    #[error("{} line {line}: {fault}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
}

impl PrivateFileError {
    /// Whether there is no such file.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Whatever mask this process was started with, what it makes is its own user's to use and nobody else's to write.
pub fn keep_what_is_made_ours() {
    let mask = rustix::process::umask(Mode::RWXU | Mode::WGRP | Mode::WOTH);
    let ours = (mask | Mode::WGRP | Mode::WOTH) - Mode::RWXU;
    rustix::process::umask(ours);
}

fn too_open(path: &Path, mode: u32, owner: u32) -> String {
    let (path, me) = (path.display(), rustix::process::geteuid().as_raw());
    if mode & OTHERS != 0 {
        return format!("{path} can be read by others (mode {mode:04o}): chmod 600 it");
    }
    format!("{path} belongs to another user (uid {owner}, and this is uid {me}): it is used by its owner only")
}

/// Opens a file with a secret in it for reading; refuses one that others than this process's user can read, or that
/// somebody else could have put there.
pub fn open_private(path: &Path) -> Result<File, PrivateFileError> {
    let file = open_in_place(path)?;
    let metadata = file.metadata().map_err(|error| io_error("read", path, error))?;
    let (mode, owner) = (metadata.mode() & 0o7777, metadata.uid());
    if mode & OTHERS != 0 || owner != rustix::process::geteuid().as_raw() {
        return Err(PrivateFileError::TooOpen { path: path.to_owned(), mode, owner });
    }
    Ok(file)
}

/// Opens a file that somebody else guards for this process; refuses one that a stranger could have put there.
pub fn open_in_place(path: &Path) -> Result<File, PrivateFileError> {
    Trust::here().open_in_place(path).map_err(|refusal| refused(path, refusal))
}

/// Opens a file that need not be secret, but that nobody else may write.
pub fn open_trusted(path: &Path) -> Result<File, PrivateFileError> {
    Trust::here().open(path).map_err(|refusal| refused(path, refusal))
}

fn refused(path: &Path, refusal: Refusal) -> PrivateFileError {
    match refusal {
        Refusal::Io(error) => io_error("read", path, error),
        Refusal::Distrusted(distrusted) => distrusted.into(),
    }
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> PrivateFileError {
    PrivateFileError::Io { action, path: path.to_owned(), source }
}
