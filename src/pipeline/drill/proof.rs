//! Proof that a drill can fail.
//!
//! Hazard: a comparison that compares a thing with itself, or is never reached, passes for ever. What nobody can know
//! beforehand must come back from a repository made for it; and what was damaged on purpose must be rejected, by the
//! restore and by the comparison.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::sync::Arc;

use super::scratch::Scratch;
use super::{Compare, DrillError, Request};
use crate::core::BackupKind;
use crate::core::content::Validation;
use crate::pipeline::Progress;
use crate::pipeline::archive::{self, Archived};
use crate::pipeline::restore::{self, Pick, Rules};
use crate::repository::wire::FileEntry;
use crate::repository::{Repository, layout};
use crate::settings::{FilePatterns, SetSettings, resolved};
use crate::source_path::SourcePath;
use crate::storage::local::Local;

const NONCE_FILE: &str = "nonce.json";

/// Backs a fresh file up into a repository of its own and restores it; then damages its object, which must not restore.
pub(super) fn fresh_file_comes_back(
    scratch: &Scratch,
    request: &Request<'_>,
    compare: Compare,
) -> Result<(), DrillError> {
    let nonce = format!("{{\"nonce\": \"{:032x}\"}}\n", request.nonce);
    let (source, place) = (scratch.path("nonce"), scratch.path("repository"));
    prepare(&source, &place, &nonce).map_err(|source| DrillError::Scratch {
        action: "write the fresh file in",
        path: place.clone(),
        source,
    })?;
    let lost = |stage, cause: Box<dyn std::error::Error + Send + Sync>| DrillError::Nonce(stage, Some(cause));

    let storage = Arc::new(Local::open(&place).map_err(|error| lost("its repository was not made", error.into()))?);
    Repository::create(storage.clone(), request.now)
        .map_err(|error| lost("its repository was not made", error.into()))?;
    let (repository, _) =
        Repository::open(storage, false).map_err(|error| lost("its repository was not opened", error.into()))?;
    let files = FilePatterns::new([NONCE_FILE]).map_err(|error| lost("its name was not accepted", error.into()))?;
    // Wherever the repository is, its scratch directory is this service's own.
    let source = SourcePath::find(resolved(&source), true);
    let set = SetSettings { source, files, validate: Validation::Json, ..request.set.clone() };
    let archived = archive::archive(&repository, &of_set(&set, request), &Progress::default())
        .map_err(|error| lost("it was not backed up", error.into()))?;
    let Archived::Created(created) = archived else { return Err(DrillError::Nonce("it was not backed up", None)) };

    let back = scratch.path("nonce-back");
    let picks = [Pick::whole(created.backup.clone())];
    let restore = |to: &Path| restore::restore_to(&repository, &picks, to, Rules::default(), &Progress::default());
    restore(&back).map_err(|error| lost("it was not restored", error.into()))?;
    let came = std::fs::read(back.join(NONCE_FILE)).map_err(|error| lost("it was not restored", error.into()))?;
    if came != nonce.as_bytes() {
        return Err(DrillError::Nonce("it has another content", None));
    }
    let content =
        repository.read_manifest(&created.backup).map_err(|error| lost("its manifest cannot be read", error.into()))?;
    compare(&back, content.manifest.files(), Validation::Json, &Progress::default())?;

    for object in &content.manifest.envelope.objects {
        let object = place.join(layout::object(&object.name).as_str());
        damage(&object).map_err(|source| DrillError::Scratch { action: "damage", path: object, source })?;
    }
    match restore(&scratch.path("damaged")) {
        Err(error) if error.is_damage() => Ok(()),
        Err(error) => Err(lost("its damage was not recognised", error.into())),
        Ok(_) => Err(DrillError::CannotFail("a damaged object was restored")),
    }
}

fn prepare(source: &Path, place: &Path, nonce: &str) -> io::Result<()> {
    for directory in [source, place] {
        DirBuilder::new().mode(0o700).create(directory)?;
    }
    File::create_new(source.join(NONCE_FILE))?.write_all(nonce.as_bytes())
}

fn of_set<'a>(set: &'a SetSettings, request: &Request<'_>) -> archive::Request<'a> {
    archive::Request {
        set,
        kind: BackupKind::Manual,
        read_everything: true,
        read_sources_every_runs: 1,
        now: request.now,
        clock_suspect: false,
        audit_head: None,
    }
}

/// Damages one of the files that were restored and found right, which must not be found right again.
pub(super) fn damaged_file_is_rejected(root: &Path, files: &[FileEntry], compare: Compare) -> Result<(), DrillError> {
    let Some(file) = files.iter().find(|file| file.size_bytes > 0).or(files.first()) else { return Ok(()) };
    let path = root.join(file.path.to_path());
    damage(&path).map_err(|source| DrillError::Scratch { action: "damage", path, source })?;
    match compare(root, std::slice::from_ref(file), Validation::None, &Progress::default()) {
        Err(DrillError::Different { .. }) => Ok(()),
        Err(error) => Err(error),
        Ok(()) => Err(DrillError::CannotFail("a damaged file was found to be right")),
    }
}

/// Turns a bit of the file's first byte, or gives it one.
fn damage(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path).or_else(|error| {
        if error.kind() != io::ErrorKind::PermissionDenied {
            return Err(error);
        }
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        OpenOptions::new().read(true).write(true).open(path)
    })?;
    let mut byte = [0];
    file.read_at(&mut byte, 0)?;
    byte[0] ^= 1;
    file.write_all_at(&byte, 0)?;
    file.sync_all()
}
