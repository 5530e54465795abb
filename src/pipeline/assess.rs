//! Comparing what is live with what could be restored.
//!
//! Hazard: an application that lost its configuration may run on for days before anybody notices. What a backup has
//! and the live directory lacks, or holds in a form that does not parse, is told at once.

use std::io::Read;

use crate::core::SetName;
use crate::core::content::{is_log, is_validated, json_fault};
use crate::pipeline::source::{Found, SourceDirectory};
use crate::repository::Repository;
use crate::repository::wire::FileEntry;
use crate::settings::SetSettings;

/// The largest live file that is parsed here.
const MAX_PARSED_BYTES: u64 = 64 << 20;

/// A live file that is not as it should be, of which there is a good copy.
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
    /// It does not parse: why.
    Invalid(String),
}

/// Live files, logs aside, that are missing or invalid, although the newest good backup of their set has them.
pub fn assess(repository: &Repository, sets: &[SetSettings]) -> Vec<LiveFault> {
    sets.iter().flat_map(|set| assess_set(repository, set)).collect()
}

fn assess_set(repository: &Repository, set: &SetSettings) -> Vec<LiveFault> {
    let content = {
        let catalogue = repository.catalogue();
        catalogue.set(&set.name).and_then(|index| index.latest()).and_then(|backup| backup.content.clone())
    };
    let Some(content) = content else { return Vec::new() };
    let files = content.manifest.body.files.iter().filter(|file| !is_log(&file.path));
    let source = SourceDirectory::open(&set.source).ok();
    let faults = files.filter_map(|file| {
        let fault = fault_of(source.as_ref(), set, file)?;
        Some(LiveFault { set: set.name.clone(), path: file.path.clone(), fault })
    });
    faults.collect()
}

fn fault_of(source: Option<&SourceDirectory>, set: &SetSettings, file: &FileEntry) -> Option<LiveFaultKind> {
    let Some(source) = source else { return Some(LiveFaultKind::Missing) };
    match source.look_at(&file.path) {
        Ok(Found::File(look)) => {
            if !is_validated(&file.path, set.validate) || look.identity.size_bytes > MAX_PARSED_BYTES {
                return None;
            }
            let (live, _) = source.open_file(&file.path).ok()?.ok()?;
            let mut content = Vec::new();
            live.take(MAX_PARSED_BYTES).read_to_end(&mut content).ok()?;
            json_fault(&content).map(LiveFaultKind::Invalid)
        }
        Ok(Found::Missing) => Some(LiveFaultKind::Missing),
        // What cannot be looked at now proves nothing.
        Ok(Found::Unreadable(_)) => None,
        Err(error) => Some(LiveFaultKind::Invalid(error.to_string())),
    }
}
