//! A backup as one file that any machine can open: `tar --zstd -xf`.
//!
//! Hazard: half an archive under the name of a whole one, found when it is needed. It is written aside, every byte is
//! checked on its way in, and only what is whole and durable gets its name; nothing that has that name is replaced.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tar::{Builder, EntryType, Header};

use super::Progress;
use super::content::{ChunkReader, ContentFault};
use super::fetch::Fetch;
use super::stage::{LetGo, is_privileged};
use crate::core::entry_path::bytes_of;
use crate::repository::wire::{Attributes, Body, DirectoryEntry, FileEntry};
use crate::repository::{ReadFrom, Repository};

/// As for objects: the fastest level that compresses text well.
const LEVEL: i32 = 1;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// What it does not have, in sentences.
    pub not_kept: Vec<String>,
    /// How much the files measure.
    pub size_bytes: u64,
    /// How much the archive measures.
    pub archive_bytes: u64,
}

/// Why there is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// Its name is taken.
    #[error("{} is there already, and nothing is written over: give another name", .0.display())]
    Taken(PathBuf),
    /// It could not be written.
    #[error("write {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
    /// What a file holds could not be had.
    #[error("read {path:?}")]
    Content {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        fault: ContentFault,
    },
}

/// Writes what a backup has into an archive at `target`, readable by its owner only.
pub fn export(
    repository: &Repository,
    body: Body,
    target: &Path,
    progress: &Progress,
) -> Result<Exported, ExportError> {
    let failed = |error| ExportError::Io(target.to_owned(), error);
    if target.symlink_metadata().is_ok() {
        return Err(ExportError::Taken(target.to_owned()));
    }
    let aside = Aside::create(target).map_err(failed)?;
    let size_bytes = body.files.iter().map(|file| file.size_bytes).sum();
    progress.expect(size_bytes);
    let mut archive = Builder::new(zstd::Encoder::new(&aside.file, LEVEL).map_err(failed)?);
    let reader = ChunkReader::new(repository, ReadFrom::Anywhere);
    let mut let_go = LetGo::default();
    // A directory before what is in it, a file before its further names.
    for directory in &body.directories {
        add_directory(&mut archive, directory, &mut let_go).map_err(failed)?;
    }
    for file in body.files {
        add(&mut archive, &reader, file, progress, target, &mut let_go)?;
    }
    for (path, to) in body.hard_links.iter().map(|link| (&link.path, &link.to)) {
        let header = header(EntryType::Link, &Attributes::default(), &mut let_go);
        let fields = [(PATH, path.bytes().into_owned()), (LINK_PATH, to.bytes().into_owned())];
        append(&mut archive, header, &fields.map(|(key, value)| (key.to_owned(), value)), io::empty())
            .map_err(failed)?;
    }
    for link in &body.symlinks {
        let header = header(EntryType::Symlink, &link.attributes, &mut let_go);
        let fields = fields(&link.path.bytes(), &link.attributes, Some(&bytes_of(&link.target)));
        append(&mut archive, header, &fields, io::empty()).map_err(failed)?;
    }
    // And again when all is in them, the innermost first: a program that unpacks gives them their times for good.
    for directory in body.directories.iter().rev() {
        add_directory(&mut archive, directory, &mut LetGo::default()).map_err(failed)?;
    }
    archive.into_inner().and_then(zstd::Encoder::finish).map_err(failed)?;
    let archive_bytes = aside.file.metadata().map_err(failed)?.len();
    aside.publish(target).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Taken(target.to_owned()),
        _ => failed(error),
    })?;
    Ok(Exported { not_kept: let_go.sentences(), size_bytes, archive_bytes })
}

fn add_directory(archive: &mut Builder<impl Write>, directory: &DirectoryEntry, let_go: &mut LetGo) -> io::Result<()> {
    let header = header(EntryType::Directory, &directory.attributes, let_go);
    append(archive, header, &fields(&directory.path.bytes(), &directory.attributes, None), io::empty())
}

fn add(
    archive: &mut Builder<impl Write>,
    reader: &ChunkReader<'_>,
    file: FileEntry,
    progress: &Progress,
    target: &Path,
    let_go: &mut LetGo,
) -> Result<(), ExportError> {
    let mut header = header(EntryType::Regular, &file.attributes, let_go);
    header.set_size(file.size_bytes);
    let (path, fields) = (file.path.clone(), fields(&file.path.bytes(), &file.attributes, None));
    let mut content = Content { fetch: Fetch::new(file), reader, progress, chunk: vec![], at: 0, fault: None };
    let written = append(archive, header, &fields, &mut content);
    match (written, content.fault) {
        (_, Some(fault)) => Err(ExportError::Content { path: path.to_string(), fault }),
        (Err(error), None) => Err(ExportError::Io(target.to_owned(), error)),
        (Ok(()), None) => Ok(()),
    }
}

/// A header of this type. Whoever unpacks an archive as root gives nobody rights by that.
fn header(kind: EntryType, attributes: &Attributes, let_go: &mut LetGo) -> Header {
    const SET_ID: u32 = 0o6000;
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(0);
    let given = if kind == EntryType::Directory { attributes.mode } else { attributes.mode & !SET_ID };
    header.set_mode(given);
    let_go.set_id += usize::from(given != attributes.mode);
    let_go.privileged += usize::from(attributes.xattrs.keys().any(|name| is_privileged(&bytes_of(name))));
    header
}

/// What stands in the extended header counts: the old one has no room for long names.
fn append(
    archive: &mut Builder<impl Write>,
    mut header: Header,
    fields: &[(String, Vec<u8>)],
    content: impl Read,
) -> io::Result<()> {
    archive.append_pax_extensions(fields.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
    header.set_path("in-the-extended-header")?;
    if matches!(header.entry_type(), EntryType::Link | EntryType::Symlink) {
        header.set_link_name("in-the-extended-header")?;
    }
    header.set_cksum();
    archive.append(&header, content)
}

const PATH: &str = "path";
const LINK_PATH: &str = "linkpath";

/// What an old header has no room for (POSIX pax): long names, large owners, times to the nanosecond, attributes.
fn fields(path: &[u8], attributes: &Attributes, leads_to: Option<&[u8]>) -> Vec<(String, Vec<u8>)> {
    let mtime = attributes.modified.to_string();
    let mut fields = vec![
        (PATH.to_owned(), path.to_vec()),
        ("mtime".to_owned(), mtime.into_bytes()),
        ("uid".to_owned(), attributes.uid.to_string().into_bytes()),
        ("gid".to_owned(), attributes.gid.to_string().into_bytes()),
    ];
    fields.extend(leads_to.map(|target| (LINK_PATH.to_owned(), target.to_vec())));
    // The manifest holds nothing else than hexadecimal. A key is text; no attribute that programs set has any other name.
    let xattrs = attributes.xattrs.iter().filter(|(name, _)| !is_privileged(&bytes_of(name)) && !name.contains('='));
    let xattrs = xattrs.filter_map(|(name, hex)| Some((name, base16ct::lower::decode_vec(hex).ok()?)));
    fields.extend(xattrs.map(|(name, value)| (format!("SCHILY.xattr.{name}"), value)));
    fields
}

/// The content of a file, chunk by chunk, each checked before it is given.
struct Content<'a> {
    fetch: Fetch,
    reader: &'a ChunkReader<'a>,
    progress: &'a Progress,
    chunk: Vec<u8>,
    at: usize,
    fault: Option<ContentFault>,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.chunk.len() {
            match self.fetch.next(self.reader) {
                None => return Ok(0),
                Some(Ok(chunk)) => {
                    self.progress.advance(chunk.len() as u64).map_err(io::Error::other)?;
                    (self.chunk, self.at) = (chunk, 0);
                }
                Some(Err(fault)) => {
                    self.fault = Some(fault);
                    return Err(io::Error::other("the content is not there"));
                }
            }
        }
        let length = buffer.len().min(self.chunk.len() - self.at);
        buffer[..length].copy_from_slice(&self.chunk[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

/// A file beside its target; gone when this is dropped before it has its name.
struct Aside {
    file: File,
    path: PathBuf,
    directory: PathBuf,
}

impl Aside {
    fn create(target: &Path) -> io::Result<Self> {
        let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let path = directory.join(format!(".fiovana-export-{:016x}", fastrand::u64(..)));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path, directory: directory.to_owned() })
    }

    /// Gives it the name, which nothing may have, once it is durable.
    fn publish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        renameat_with(CWD, &self.path, CWD, target, RenameFlags::NOREPLACE)?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // After it got its name there is nothing here.
        let _ = std::fs::remove_file(&self.path);
    }
}
