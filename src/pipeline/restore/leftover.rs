//! What an interrupted restore left behind.
//!
//! Hazard: a process that died among renames, and a next one that starts as if nothing had been. Before anything else,
//! every journal in a source directory is obeyed, once; what cannot be believed is left exactly as it is, and said.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::journal::{Journal, JournalError, is_staged_by, journals_in};
use super::transaction::Transaction;
use crate::source_path::{SourcePath, SourcePathError};
use crate::storage::disk::{Disk, DiskKind};
use crate::storage::real_disk::RealDisk;

/// How deep stray files are looked for, and among how many entries at most.
const MAX_DEPTH: usize = 32;
const MAX_ENTRIES: usize = 100_000;

/// What was found in one source directory.
#[derive(Default)]
pub struct Found {
    /// Restores that were settled: forward if their new files were to stay, back otherwise. To be closed once that is
    /// recorded.
    pub settled: Vec<Transaction>,
    /// What could not be settled, and what to do about it.
    pub unsettled: Vec<String>,
}

/// Settles what restores by the service of this repository left in `root`, which is `disk`'s own. The caller holds the
/// write lane: nobody restores meanwhile. `me` is the number of the user whose journals are obeyed.
pub fn settle(disk: &Arc<dyn Disk>, root: &Path, repository: &str, me: u32) -> io::Result<Found> {
    let mut found = Found::default();
    for name in journals_in(disk.as_ref())? {
        let path = root.join(&name);
        match Journal::read(disk.as_ref(), &name, me) {
            Ok(journal) if journal.repository != repository => found.unsettled.push(foreign(&path, &journal)),
            Ok(journal) => {
                let mut transaction = Transaction::resume(disk.clone(), root, journal);
                let went = if transaction.journal().committed { Ok(()) } else { transaction.go_back() };
                match went {
                    Ok(()) => found.settled.push(transaction),
                    Err(error) => found.unsettled.push(failed(&path, &transaction, &error)),
                }
            }
            Err(JournalError::Io(error)) => {
                found.unsettled.push(format!("read the journal of a restore, {}: {error}", path.display()));
            }
            Err(JournalError::Damaged(fault)) => found.unsettled.push(damaged(&path, fault)),
            Err(JournalError::Distrusted { owner }) => found.unsettled.push(distrusted(&path, owner, me)),
        }
    }
    // While a journal waits, what lies beside it may be needed.
    if found.unsettled.is_empty() {
        clear(disk.as_ref(), Path::new(""), repository, 0, &mut 0)?;
    }
    Ok(found)
}

/// Removes files that were staged and never needed.
fn clear(disk: &dyn Disk, directory: &Path, repository: &str, depth: usize, seen: &mut usize) -> io::Result<()> {
    for entry in disk.list(directory)? {
        *seen += 1;
        if *seen > MAX_ENTRIES {
            break;
        }
        let path = directory.join(&entry.name);
        match entry.kind {
            DiskKind::File | DiskKind::Symlink if is_staged_by(repository, &entry.name) => disk.remove_file(&path)?,
            // What cannot be entered holds nothing of ours.
            DiskKind::Directory if depth < MAX_DEPTH => drop(clear(disk, &path, repository, depth + 1, seen)),
            _ => {}
        }
    }
    Ok(())
}

fn damaged(path: &Path, fault: &str) -> String {
    format!(
        "{} is the journal of a restore that was interrupted, and it is damaged ({fault}): which files are new and which \
         are not cannot be told, so nothing was changed. The files as they were before are in the set's newest \
         pre_restore backup (fiovana-app list). Move the journal away, then restore that backup or any other",
        path.display()
    )
}

fn distrusted(path: &Path, owner: u32, me: u32) -> String {
    let whose = match owner == me {
        true => "others may write it, or it has a second name".to_owned(),
        false => format!("it belongs to uid {owner}, and this is uid {me}"),
    };
    format!(
        "{} is named like the journal of a restore, and is not believed ({whose}): nothing was changed, and nothing is \
         restored here until it is moved away",
        path.display()
    )
}

fn foreign(path: &Path, journal: &Journal) -> String {
    format!(
        "{} belongs to a restore of {} by the service of another repository ({}): that one settles it when it starts. If \
         it is gone for good, move the journal away; its earlier files are beside it, named .fiovana-restore-….old",
        path.display(),
        journal.set,
        journal.repository
    )
}

fn failed(path: &Path, transaction: &Transaction, error: &io::Error) -> String {
    format!(
        "a restore of {} was interrupted, and the earlier files could not all be put back ({error}): {} says which; see \
         that the directory is writable and start again. They are in backup {} too",
        transaction.journal().set,
        path.display(),
        transaction.journal().safety_backup
    )
}

/// Opens a source directory to look for leftovers; `None` if there is none.
pub fn open(source: &SourcePath) -> Result<Option<Arc<dyn Disk>>, SourcePathError> {
    match source.open() {
        Ok(open) => Ok(Some(Arc::new(RealDisk::of(open.into())))),
        Err(error) if error.is_missing() => Ok(None),
        Err(error) => Err(error),
    }
}

/// The directories, each once.
pub fn distinct(mut sources: Vec<SourcePath>) -> Vec<SourcePath> {
    sources.sort_unstable_by(|a, b| a.real().cmp(b.real()));
    sources.dedup_by(|a, b| a.real() == b.real());
    sources
}
