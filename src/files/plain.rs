//! Plain files, and nothing else.
//!
//! Hazard: opening a pipe waits for its other end, for ever; opening a device may do something; creating a file under a
//! name that is known beforehand writes through a link that was put there. A file is opened without waiting, looked at
//! before it is read, and made under a name that was not there before.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;
use serde::{Serialize, Serializer};

/// What is there instead of a plain file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPlain {
    /// A directory.
    #[error("it is a directory")]
    Directory,
    /// A symbolic link where none is followed.
    #[error("it is a symbolic link")]
    Link,
    /// A pipe, a device or a socket.
    #[error("it is a pipe, a device or a socket")]
    Special,
}

impl NotPlain {
    /// What an error says that was met instead of a plain file.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl Serialize for NotPlain {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<NotPlain> for io::Error {
    fn from(found: NotPlain) -> Self {
        Self::new(io::ErrorKind::InvalidInput, found)
    }
}

/// Whether a link in the last place of a path is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// It is.
    Follow,
    /// It is refused.
    Refuse,
}

/// Opens the plain file at `path` for reading; a link is followed.
pub fn open_plain(path: &Path) -> io::Result<File> {
    open_with(path, OpenOptions::new().read(true), Links::Follow)
}

/// Opens the plain file at `path`. Waits for nothing; anything that is no plain file is an error ([`NotPlain`]).
pub fn open_with(path: &Path, options: &mut OpenOptions, links: Links) -> io::Result<File> {
    let mut flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    flags.set(OFlags::NOFOLLOW, links == Links::Refuse);
    let opened = options.custom_flags(flags.bits().cast_signed()).open(path);
    let file = opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ISDIR) => NotPlain::Directory.into(),
        Some(Errno::LOOP) if links == Links::Refuse => NotPlain::Link.into(),
        // A socket, or a pipe that is opened for writing and that nobody reads.
        Some(Errno::NXIO) => NotPlain::Special.into(),
        _ => error,
    })?;
    require_plain(&file)?;
    Ok(file)
}

/// Refuses what is open and is no plain file.
pub(super) fn require_plain(file: &File) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    match () {
        () if kind.is_file() => Ok(()),
        () if kind.is_dir() => Err(NotPlain::Directory.into()),
        () => Err(NotPlain::Special.into()),
    }
}

/// The content of the plain file at `path`; fails with `FileTooLarge` if it is longer than `limit_bytes`.
pub fn read_plain(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    read_up_to(&open_plain(path)?, limit_bytes)
}

/// The rest of what is in an open file; fails with `FileTooLarge` if that is more than `limit_bytes`.
pub fn read_up_to(file: &File, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit_bytes {
        true => {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {} KiB", limit_bytes / 1024)))
        }
        false => Ok(bytes),
    }
}

/// Puts `bytes` at `path`, durably and whole, in a file with this mode.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".new-{:016x}", fastrand::u64(..)));
    let aside = directory.join(name);
    // `create_new` follows no link, and takes nothing that was put there.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&aside, path))
        .and_then(|()| File::open(directory)?.sync_all());
    written.inspect_err(|_| drop(std::fs::remove_file(&aside)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, symlink};
    use std::os::unix::net::UnixListener;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn what(path: &Path, options: &mut OpenOptions) -> Option<NotPlain> {
        NotPlain::of(&open_with(path, options, Links::Refuse).unwrap_err())
    }

    #[test]
    fn whatever_is_no_plain_file_is_named_and_not_waited_for() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        symlink("elsewhere", at("link")).unwrap();
        for (name, expected) in [
            ("pipe", NotPlain::Special),
            ("socket", NotPlain::Special),
            ("directory", NotPlain::Directory),
            ("link", NotPlain::Link),
        ] {
            for options in
                [OpenOptions::new().read(true), OpenOptions::new().write(true), OpenOptions::new().append(true)]
            {
                assert_eq!(what(&at(name), options), Some(expected), "{name}");
            }
        }
        assert_eq!(what(Path::new("/dev/null"), OpenOptions::new().read(true)), Some(NotPlain::Special));
        assert!(at("pipe").metadata().unwrap().file_type().is_fifo());
    }

    #[test]
    fn no_more_is_read_than_asked_for() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("f");
        replace(&path, b"12345", 0o600).unwrap();
        assert_eq!(read_plain(&path, 5).unwrap(), b"12345");
        assert_eq!(read_plain(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_replaced_is_never_written_through() {
        let scratch = tempfile::tempdir().unwrap();
        let (path, victim) = (scratch.path().join("f"), scratch.path().join("victim"));
        replace(&victim, b"untouched", 0o600).unwrap();
        symlink(&victim, &path).unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(read_plain(&victim, 100).unwrap(), b"untouched");
        assert!(path.symlink_metadata().unwrap().is_file());
        assert_eq!(scratch.path().read_dir().unwrap().count(), 2, "nothing is left aside");
    }
}
