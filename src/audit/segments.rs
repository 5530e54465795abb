//! The files that hold the chain: the live one, and those that were rotated away.
//!
//! Hazard: names tell little. logrotate counts up or appends a date, copies or renames, now or later, while we read.
//! The live file is opened first and each file once, by device and inode, so that a rotation in between hides
//! nothing; and what a file holds decides its place in the chain, never its name.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirEntryExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::AuditError;
use super::key::{Authenticator, Standing};
use super::lines::Backward;
use super::packed;
use super::record::{Head, Line, Link};
use crate::files::NotPlain;
use crate::files::plain::{Links, open_with};

/// Endings of rotated files that were compressed in a way that is not read here.
const COMPRESSED: [&str; 5] = [".bz2", ".lzma", ".lz4", ".lz", ".Z"];
/// How far back from the end of a file a record that is authenticated is looked for behind ones that need not be.
const SEARCHED_BYTES: u64 = 16 * 1024 * 1024;
/// How often the files are listed again while somebody rotates them.
const MAX_LISTINGS: u32 = 10;

/// A file of the chain, open for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub path: PathBuf,
    pub file: File,
    /// Its last record.
    pub tip: Option<Tip>,
}

/// The last record of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tip {
    pub head: Head,
    /// Where its text begins.
    pub offset: u64,
    pub length_bytes: u32,
}

/// What the end of a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FileEnd {
    /// Its last record.
    pub tip: Option<Tip>,
    /// The bytes of broken lines after that.
    pub torn_bytes: u64,
}

/// Which file a path or descriptor means: device and inode.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// All files of a chain.
#[derive(Debug, Default)]
pub(super) struct Segments {
    /// By their last record, oldest first; files that hold none come first.
    pub files: Vec<Segment>,
    /// Rotated files that were compressed since, in no order.
    pub packed: Opened,
    /// Those that were compressed in a way that is not read here.
    pub compressed: Vec<PathBuf>,
    /// What is in the place of the live file, if it is no file.
    pub obstacle: Option<NotPlain>,
}

/// Files, open.
type Opened = Vec<(PathBuf, File)>;

/// The paths that rotation makes of a log's, each with the inode that it leads to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Names {
    plain: BTreeMap<PathBuf, u64>,
    packed: BTreeMap<PathBuf, u64>,
    compressed: BTreeMap<PathBuf, u64>,
}

impl Segments {
    /// The live file, if there is one, and the files rotated away from it.
    pub fn all(live: &Path, authenticator: &Authenticator) -> Result<Self, AuditError> {
        let (first, obstacle) = match open(live, OpenOptions::new().read(true)) {
            Ok(file) => (file, None),
            Err(AuditError::NotAFile { found, .. }) => (None, Some(found)),
            Err(error) => return Err(error),
        };
        let segments = Self::with_rotated(live, first.map(|file| (live.to_owned(), file)), authenticator)?;
        Ok(Self { obstacle, ..segments })
    }

    /// The files that were rotated away, without the live one.
    pub fn rotated(live: &Path, authenticator: &Authenticator) -> Result<Self, AuditError> {
        let mut segments = Self::with_rotated(live, None, authenticator)?;
        if let Ok(metadata) = fs::symlink_metadata(live) {
            let is_live =
                |segment: &Segment| segment.file.metadata().is_ok_and(|m| identity(&m) == identity(&metadata));
            segments.files.retain(|segment| !is_live(segment));
        }
        Ok(segments)
    }

    fn with_rotated(
        live: &Path,
        first: Option<(PathBuf, File)>,
        authenticator: &Authenticator,
    ) -> Result<Self, AuditError> {
        let (rotated, mut packed, compressed) = open_rotated(live)?;
        // While a file is being compressed, it is there as it was.
        let is_plain = |path: &Path| rotated.iter().any(|(plain, _)| path.with_extension("") == *plain);
        packed.retain(|(path, _)| !is_plain(path));
        let mut seen = HashSet::new();
        let mut files = Vec::new();
        for (path, file) in first.into_iter().chain(rotated) {
            let metadata = file.metadata().map_err(AuditError::at("stat", &path))?;
            if seen.insert(identity(&metadata)) {
                let end = file_end(&file, metadata.len(), authenticator).map_err(AuditError::at("read", &path))?;
                files.push(Segment { path, file, tip: end.tip });
            }
        }
        files.sort_by_key(|segment| segment.tip.map(|tip| tip.head.seq));
        Ok(Self { files, packed, compressed, obstacle: None })
    }
}

/// Opens `path` with `options`, not following a symlink; `None` if nothing is there.
pub(super) fn open(path: &Path, options: &mut OpenOptions) -> Result<Option<File>, AuditError> {
    match open_with(path, options, Links::Refuse) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => match NotPlain::of(&error) {
            Some(found) => Err(AuditError::NotAFile { path: path.to_owned(), found }),
            None => Err(AuditError::at("open", path)(error)),
        },
    }
}

/// What is at the end of the first `end` bytes of a file.
///
/// A line that could be from before there was a key is a record only if none that is authenticated is before it.
pub(super) fn file_end(file: &File, end: u64, authenticator: &Authenticator) -> io::Result<FileEnd> {
    let mut found = FileEnd::default();
    // The end as it is if no authenticated record is met.
    let mut unproven: Option<FileEnd> = None;
    let mut left_bytes = SEARCHED_BYTES;
    let mut lines = Backward::new(file, end);
    while let Some((line_end, line)) = lines.next()? {
        match Line::of(&line) {
            Line::Own(link) => match authenticator.judge(&link) {
                Standing::Authentic => return Ok(FileEnd { tip: Some(Tip::of(&link, line_end)), ..found }),
                Standing::Unproven => {
                    let end = *unproven.get_or_insert(FileEnd { tip: Some(Tip::of(&link, line_end)), ..found });
                    if authenticator.key().is_none() {
                        return Ok(end);
                    }
                }
                Standing::Forged => {}
            },
            Line::Broken => found.torn_bytes += line.len() as u64,
            Line::Blank | Line::Foreign => {}
        }
        if unproven.is_some() {
            left_bytes = left_bytes.saturating_sub(line.len() as u64 + 1);
            if left_bytes == 0 {
                break;
            }
        }
    }
    Ok(unproven.unwrap_or(found))
}

impl Tip {
    fn of(link: &Link<'_>, line_end: u64) -> Self {
        let length_bytes = link.text.len();
        Self { head: link.head, offset: line_end - length_bytes as u64, length_bytes: length_bytes as u32 }
    }

    /// Whether the record still is where it was.
    pub fn is_in(&self, file: &File) -> io::Result<bool> {
        let mut text = vec![0; self.length_bytes as usize];
        match file.read_exact_at(&mut text, self.offset) {
            Ok(()) => Ok(crate::core::Digest::of(&text) == self.head.hash),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The files that were rotated away from `live`: those that are plain and those that are packed, open, and the paths of
/// those that are compressed otherwise. Renamed meanwhile, one might be missed: then all are looked for again.
fn open_rotated(live: &Path) -> Result<(Opened, Opened, Vec<PathBuf>), AuditError> {
    // Gone again, or no file at all: nothing of the chain.
    let open = |path: &PathBuf| Some((path.clone(), open(path, OpenOptions::new().read(true)).ok().flatten()?));
    let mut names = rotated_names(live)?;
    let mut listings = 1;
    loop {
        let (plain, packed) =
            (names.plain.keys().filter_map(open).collect(), names.packed.keys().filter_map(open).collect());
        let again = rotated_names(live)?;
        if again == names || listings == MAX_LISTINGS {
            return Ok((plain, packed, names.compressed.into_keys().collect()));
        }
        names = again;
        listings += 1;
    }
}

/// The paths beside `live` that rotation makes of its name.
fn rotated_names(live: &Path) -> Result<Names, AuditError> {
    let mut names = Names::default();
    let (Some(live_name), directory) = (live.file_name().and_then(|name| name.to_str()), directory_of(live)) else {
        return Ok(names);
    };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
        Err(source) => return Err(AuditError::at("list", directory)(source)),
    };
    for entry in entries {
        let entry = entry.map_err(AuditError::at("list", directory))?;
        let name = entry.file_name();
        let Some(suffix) = name.to_str().and_then(|name| name.strip_prefix(live_name)) else { continue };
        let other = COMPRESSED.iter().find_map(|ending| suffix.strip_suffix(ending));
        let readable = packed::ENDINGS.iter().find_map(|ending| suffix.strip_suffix(ending));
        let (bare, list) = match (readable, other) {
            (Some(bare), _) => (bare, &mut names.packed),
            (None, Some(bare)) => (bare, &mut names.compressed),
            (None, None) => (suffix, &mut names.plain),
        };
        if is_rotation(bare) {
            list.insert(directory.join(&name), entry.ino());
        }
    }
    Ok(names)
}

/// Whether `suffix` is what rotation appends: `.1`, `-20261123`, `.2026-11-23_10:15`; not `.bak`.
fn is_rotation(suffix: &str) -> bool {
    let rest = suffix.strip_prefix(['.', '-']).unwrap_or_default();
    rest.bytes().any(|byte| byte.is_ascii_digit())
        && rest.bytes().all(|byte| byte.is_ascii_digit() || b"-_.:TZ".contains(&byte))
}

/// The directory a path is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::testing::{Scratch, append_each};

    #[test]
    fn only_what_rotation_appends_makes_a_segment() {
        for suffix in [".1", ".12", "-20261123", ".2026-11-23", "-20261123T101500Z", "-2026-11-23_10:15"] {
            assert!(is_rotation(suffix), "{suffix}");
        }
        for suffix in ["", ".", ".bak", ".1.swp", "~", ".old", ".1.gz", "1", "-T"] {
            assert!(!is_rotation(suffix), "{suffix}");
        }
    }

    #[test]
    fn what_a_file_holds_decides_its_place() {
        let scratch = Scratch::new();
        append_each(&mut scratch.open(None), &["BackupStarted"]);
        fs::rename(&scratch.path, scratch.beside("security_audit.log.7")).unwrap();
        append_each(&mut scratch.open(None), &["BackupCompleted"]);
        fs::rename(&scratch.path, scratch.beside("security_audit.log-20261123")).unwrap();
        append_each(&mut scratch.open(None), &["BackupStarted"]);
        let segments = Segments::all(&scratch.path, &Authenticator::default()).unwrap();
        let names: Vec<_> = segments.files.iter().filter_map(|s| s.path.extension()?.to_str()).collect();
        assert_eq!(names, ["7", "log-20261123", "log"]);
    }
}
