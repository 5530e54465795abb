//! What is known of files without reading them.
//!
//! Hazard: a file that is taken for one that is stored already is not read, and what it holds now is in no backup. What is
//! remembered is believed only under the conditions that `seen` sets.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Request;
use crate::core::{BackupId, BackupState};
use crate::pipeline::seen::{Seen, SeenFiles};
use crate::pipeline::source::{Look, SourceDirectory};
use crate::repository::Repository;
use crate::repository::catalogue::Content;
use crate::repository::encryption::Fingerprint;
use crate::repository::wire::FileEntry;

/// What is known of files without reading them.
pub(super) struct Memory {
    pub seen: SeenFiles,
    /// The backup that has them, if they may be recognised.
    content: Option<Arc<Content>>,
    /// The filesystem on which they may be.
    device: Option<u64>,
}

impl Memory {
    pub fn recall(
        repository: &Repository,
        request: &Request<'_>,
        source: &SourceDirectory,
        recipients: &[Fingerprint],
    ) -> Self {
        let seen = SeenFiles::load(repository, &request.set.name);
        let believed = !request.read_everything && seen.is_believed(request.read_sources_every_runs, request.now);
        let device = if believed { source.honest_device() } else { None };
        let content = if device.is_some() { recognisable(repository, request, seen.backup, recipients) } else { None };
        Self { seen, content, device }
    }

    /// The entry of a file that is exactly as it was then.
    pub fn entry(&self, path: &str, look: &Look) -> Option<&FileEntry> {
        let files = self.content.as_ref()?.manifest.files();
        let same = self.device == Some(look.identity.device) && self.seen.has(path, look);
        let at = files.binary_search_by(|file| file.path.as_str().cmp(path)).ok()?;
        if same { files.get(at) } else { None }
    }

    pub fn remember(
        &self,
        repository: &Repository,
        request: &Request<'_>,
        backup: BackupId,
        files: BTreeMap<String, Seen>,
    ) {
        let read = self.content.is_none().then_some(request.now);
        self.seen.remember(repository, &request.set.name, backup, files, read);
    }
}

/// What this backup holds, if files may be taken from it unread.
fn recognisable(
    repository: &Repository,
    request: &Request<'_>,
    backup: Option<BackupId>,
    recipients: &[Fingerprint],
) -> Option<Arc<Content>> {
    let catalogue = repository.catalogue();
    let backup = catalogue.get(backup?)?;
    let content = backup.content.as_ref()?;
    let envelope = &content.manifest.envelope;
    let is_ours = envelope.set == request.set.name && envelope.recipients == recipients;
    (is_ours && backup.state() != BackupState::Damaged).then(|| content.clone())
}
