//! `export`: a backup as one archive.
//!
//! Hazard: an archive that can only be made while everything works. It is made from the bytes of the repository, by this
//! process, whether the service runs or not.

use std::path::Path;

use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;
use super::output::{Look, Output};
use super::reader::Reader;
use super::target;
use super::text::{count, size};
use crate::core::printable::plain;
use crate::core::{BackupId, BackupRef, SetName};
use crate::settings::Settings;

/// What was exported.
#[derive(Debug, Serialize)]
pub struct ExportOutcome {
    /// The backup.
    pub id: BackupId,
    /// Its set.
    pub set: SetName,
    /// The archive, by its absolute path.
    pub archive: String,
    /// How many files it holds.
    pub files: usize,
    /// How much they measure.
    pub size_bytes: u64,
    /// How much the archive measures.
    pub archive_bytes: u64,
    /// What the archive does not have, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_kept: Vec<String>,
}

/// Writes the archive.
pub fn export(
    reference: &BackupRef,
    archive: &Path,
    settings: &Settings,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let archive = std::path::absolute(archive).map_err(Failure::WorkingDirectory)?;
    target::check(&archive, settings)?;
    let outcome = Reader::open(settings)?.with_bars(output.bars()).export(reference, &archive)?;
    output.document(&outcome, exported)?;
    Ok(Exit::Done)
}

fn exported(outcome: &ExportOutcome, _: &Look) -> String {
    let ExportOutcome { id, set, archive, files, size_bytes, archive_bytes, not_kept } = outcome;
    let mut text = format!(
        "exported {set}: {id}\n  {}, {} in {}: {}\nto open it:\n  tar --zstd -xf {}\n",
        count(*files, "file"),
        size(*size_bytes),
        size(*archive_bytes),
        plain(archive),
        plain(archive),
    );
    text.extend(not_kept.iter().map(|what| format!("  not kept: {}\n", plain(what))));
    text
}
