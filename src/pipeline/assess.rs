//! Comparing what is live with what could be restored.
//!
//! Hazard: an application that lost its configuration may run on for days before anybody notices; and a comparison
//! that takes "cannot be read" for "gone" would replace what is there. What is found is facts; what follows from them,
//! `core::recovery_plan` decides. Files are read in pieces: their size is nobody's memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, ErrorKind, Read};
use std::sync::Arc;

use crate::core::content::is_validated;
use crate::core::entry_path::bytes_of;
use crate::core::recovery_plan::{Ask, BackupFacts, FileCopy, FileFacts, Live, LiveState, SetFacts, plan};
use crate::core::{Digest, SetName, Sha256};
use crate::pipeline::source::{Found, SourceDirectory, SourceError, is_directory, plain};
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Content, SetIndex};
use crate::settings::SetSettings;
use crate::source_path::SourcePathError;

/// How many bytes of a live file are in memory at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// A live file that is not as it should be, though it was backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveFault {
    /// Its set.
    pub set: SetName,
    /// Its path below the set's source.
    pub path: String,
    /// What is wrong with it.
    pub fault: LiveFaultKind,
}

/// What is wrong with a live file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveFaultKind {
    /// It is not there.
    Missing,
    /// It does not parse, or is no file: why.
    Invalid(String),
}

/// How closely live files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Whether they are there, and parse where they must.
    Faults,
    /// What they hold, logs aside.
    Content,
}

/// Live files, logs aside, that are missing or invalid, whether or not a good copy is left.
pub fn assess(repository: &Repository, sets: &[SetSettings]) -> Vec<LiveFault> {
    let plan = plan(&facts(repository, sets, Depth::Faults), &Ask::default());
    let faults = plan.entries.into_iter().filter(|entry| entry.is_fault());
    faults
        .map(|entry| {
            let fault = match entry.live {
                LiveState::Missing => LiveFaultKind::Missing,
                _ => LiveFaultKind::Invalid(entry.reason),
            };
            LiveFault { set: entry.set, path: entry.path, fault }
        })
        .collect()
}

/// What is known of these sets: their backups, their files, and what is live.
pub fn facts(repository: &Repository, sets: &[SetSettings], depth: Depth) -> Vec<SetFacts> {
    sets.iter().map(|set| set_facts(repository, set, depth)).collect()
}

fn set_facts(repository: &Repository, set: &SetSettings, depth: Depth) -> SetFacts {
    let (backups, has_mute_backups) = {
        let catalogue = repository.catalogue();
        let index = catalogue.set(&set.name);
        let all = index.map_or(&[][..], SetIndex::backups);
        let told: Vec<(BackupFacts, Arc<Content>)> = all.iter().filter_map(backup_facts).collect();
        (told, all.iter().any(|backup| backup.content.is_none()))
    };
    let literals = set.files.literal_paths().map(|name| (name, Vec::new()));
    let mut files: BTreeMap<String, Vec<FileCopy>> = literals.collect();
    for (at, (_, content)) in backups.iter().enumerate() {
        for kept in content.manifest.kept() {
            if !set.files.is_match(&plain(kept.path())) {
                continue;
            }
            let copy = FileCopy {
                backup: at,
                sha256: kept.digest(),
                size_bytes: kept.size_bytes(),
                is_valid: kept.is_valid() && !is_refused(set, &kept.digest()),
            };
            files.entry(kept.path().to_string()).or_default().push(copy);
        }
    }
    let named = named_files(set, &backups);
    let source = SourceDirectory::open(&set.source);
    let files = files.into_iter().map(|(path, copies)| FileFacts {
        is_log: set.kind.is_logs(),
        is_named: named.contains(&path),
        live: live(&source, set, &path, depth),
        unread: unread_by(&backups, &path),
        path,
        copies,
    });
    let files = files.collect();
    SetFacts {
        set: set.name.clone(),
        backups: backups.into_iter().map(|(facts, _)| facts).collect(),
        has_mute_backups,
        files,
    }
}

/// The backups that found this file there and could not read it.
fn unread_by(backups: &[(BackupFacts, Arc<Content>)], path: &str) -> Vec<usize> {
    let is_unread = |unread: &str| unread == path || is_directory(unread) && path.starts_with(unread);
    let unread = |content: &Content| {
        content.manifest.body.iter().flat_map(|body| &body.unreadable).any(|file| is_unread(&file.path))
    };
    backups.iter().enumerate().filter(|(_, (_, content))| unread(content)).map(|(index, _)| index).collect()
}

fn is_refused(set: &SetSettings, sha256: &Digest) -> bool {
    set.refused.as_ref().is_some_and(|refused| refused.sha256 == *sha256)
}

fn backup_facts(backup: &Backup) -> Option<(BackupFacts, Arc<Content>)> {
    let content = backup.content.clone()?;
    let envelope = &content.manifest.envelope;
    let (position, created, kind) = (envelope.position(), envelope.created, envelope.kind);
    Some((BackupFacts { id: backup.id, position, created, state: backup.state(), kind }, content))
}

/// The files that must be there whatever backups have: those the set names, and those that the newest backup saw and
/// could not read.
fn named_files(set: &SetSettings, backups: &[(BackupFacts, Arc<Content>)]) -> BTreeSet<String> {
    let newest = backups.iter().max_by_key(|(backup, _)| backup.position);
    let body = newest.and_then(|(_, content)| content.manifest.body.as_ref());
    let unread = body.into_iter().flat_map(|body| &body.unreadable);
    let unread = unread.map(|file| file.path.to_string()).filter(|path| !is_directory(path));
    set.files.literal_paths().chain(unread).collect()
}

/// What is where a file should be.
fn live(source: &Result<SourceDirectory, SourceError>, set: &SetSettings, path: &str, depth: Depth) -> Live {
    let source = match source {
        Ok(source) => source,
        Err(SourceError::Path(error)) if error.is_missing() => return Live::Missing,
        Err(SourceError::Path(error @ SourcePathError::NotADirectory { .. })) => {
            return Live::Obstructed(error.to_string());
        }
        Err(SourceError::Path(SourcePathError::Io { source, .. })) => return Live::Unreadable(source.to_string()),
        // What is there now may be a stranger's: it says nothing of the files.
        Err(error) => return Live::Unreadable(error.to_string()),
    };
    let at = source.look_at(path);
    // A file that the set names is what its links lead to.
    let (place, leads_to) = match set.files.literal_paths().any(|name| name == path) {
        true => source.look_at_named(path),
        false => (path.to_owned(), at.clone()),
    };
    let link = match (leads_to, at) {
        (Found::Missing, _) => return Live::Missing,
        (Found::Unreadable(why), _) => return Live::Unreadable(why),
        (Found::NoContent(what), _) => return Live::Obstructed(what),
        (_, Found::Symlink(_, target)) => Some(Digest::of_symlink(&bytes_of(&target))),
        // Of a file beyond a link to a directory, the backup has the link and the file, each by its own path.
        (_, Found::NoContent(_)) => return Live::Whole(None),
        _ => None,
    };
    if let Some(link) = link {
        let fault = (place != path).then(|| fault_of(source, set, &place)).flatten();
        return fault.map_or(Live::Whole(Some(link)), |fault| Live::Invalid { fault, sha256: link });
    }
    let parsed = is_validated(path, set.validate);
    if set.kind.is_logs() || (depth == Depth::Faults && !parsed && set.refused.is_none()) {
        return Live::Whole(None);
    }
    match source.open_file(path) {
        Ok(Ok((file, _))) => match (read(file, parsed), &set.refused) {
            (Live::Whole(Some(sha256)), Some(refused)) if refused.sha256 == sha256 => {
                Live::Invalid { fault: refused.why.clone(), sha256 }
            }
            (live, _) => live,
        },
        Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Live::Missing,
        Ok(Err(error)) => Live::Unreadable(error.to_string()),
        Err(error) => Live::Obstructed(error.to_string()),
    }
}

/// Why what a link leads to is not valid, if it is read and is not.
fn fault_of(source: &SourceDirectory, set: &SetSettings, place: &str) -> Option<String> {
    if set.kind.is_logs() || !is_validated(place, set.validate) {
        return None;
    }
    let (file, _) = source.open_file(place).ok()?.ok()?;
    parse(BufReader::with_capacity(BUFFER_BYTES, file)).ok()?
}

/// Reads a file to its end: hashes it, and parses it where that is asked for.
fn read(file: impl Read, parsed: bool) -> Live {
    let mut content = BufReader::with_capacity(BUFFER_BYTES, Hashed { inner: file, hasher: Sha256::new() });
    let fault = if parsed { parse(&mut content) } else { Ok(None) };
    let read = fault.and_then(|fault| io::copy(&mut content, &mut io::sink()).map(|_| fault));
    match read {
        Err(error) => Live::Unreadable(error.to_string()),
        Ok(fault) => {
            let sha256 = content.into_inner().hasher.finish();
            fault.map_or(Live::Whole(Some(sha256)), |fault| Live::Invalid { fault, sha256 })
        }
    }
}

/// Why the content is not one JSON document, if it is not.
fn parse(content: impl Read) -> io::Result<Option<String>> {
    match serde_json::from_reader::<_, serde::de::IgnoredAny>(content) {
        Ok(_) => Ok(None),
        Err(error) if error.is_io() => Err(error.into()),
        Err(error) => Ok(Some(error.to_string())),
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_hashed_whole_whether_it_parses_or_not() {
        let long = format!("{{\"a\": \"{}\"}}", "x".repeat(3 * BUFFER_BYTES));
        let sha256 = |text: &str| Digest::of(text.as_bytes());
        assert_eq!(read(long.as_bytes(), true), Live::Whole(Some(sha256(&long))));
        assert_eq!(read("{".as_bytes(), false), Live::Whole(Some(sha256("{"))));
        let torn = format!("{{\"a\": }} {}", " ".repeat(3 * BUFFER_BYTES));
        let Live::Invalid { fault, sha256: found } = read(torn.as_bytes(), true) else { panic!("it is not valid") };
        assert_eq!((found, fault.contains("line 1 column 7")), (sha256(&torn), true), "{fault}");
    }

    #[test]
    fn a_file_that_stops_being_readable_is_not_called_invalid() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::from(ErrorKind::StaleNetworkFileHandle))
            }
        }
        let begun = "{\"a\": ".as_bytes();
        assert!(matches!(read(begun.chain(Broken), true), Live::Unreadable(_)));
        assert!(matches!(read(begun.chain(Broken), false), Live::Unreadable(_)));
    }
}
