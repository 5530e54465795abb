//! Sets that get in each other's way, or in the way of the backups.
//!
//! Hazard: a file held by two sets is restored to two different times; a set that holds the backup directory backs up
//! its own backups, growing without end; a restore into the backup directory destroys what it restores from. Where
//! the backups are, and which files two sets share, is decided by where the paths really lead.

use std::path::Path;

use super::error::SettingsError;
use super::origin::{Origin, Said};
use super::resolved::resolved;
use super::sets::{Decided, SetSettings};

/// Finds every conflict among the sets, and between them and the backup directory.
pub(super) fn find(sets: &[Decided], backup_directory: &Said<&Path>, errors: &mut Vec<SettingsError>) {
    for (index, decided) in sets.iter().enumerate() {
        errors.extend(with_backups(decided, backup_directory));
        errors.extend(sets[..index].iter().find_map(|earlier| between(decided, earlier)));
    }
}

fn with_backups(
    Decided { set, source_origin, files_origin }: &Decided,
    backups: &Said<&Path>,
) -> Option<SettingsError> {
    let at = format!("{} ({})", backups.value.display(), backups.origin);
    let (written, source, kept) = (set.source.written(), set.source.real(), resolved(backups.value));
    if written.starts_with(backups.value) || source.starts_with(&kept) {
        return Some(SettingsError::Value {
            key: format!("sets.{}.source", set.name),
            value: written.display().to_string(),
            origin: source_origin.clone(),
            allowed: format!("give a directory that is not inside the backup directory {at}"),
        });
    }
    let mut inside = inside(backups.value, set);
    inside.any(|inside| set.files.may_reach_into(&inside)).then(|| SettingsError::Value {
        key: format!("sets.{}.files", set.name),
        value: super::origin::Shown::shown(&set.files),
        origin: files_origin.clone(),
        allowed: format!("name no files that may be inside the backup directory {at}"),
    })
}

/// A file that both sets name, or one names and the other matches, whatever their sources are.
fn between(later: &Decided, earlier: &Decided) -> Option<SettingsError> {
    let shared = named_in(later, earlier).or_else(|| named_in(earlier, later)).or_else(|| same_glob(later, earlier))?;
    let (subject, other) = subject_and_other(later, earlier);
    Some(SettingsError::Value {
        key: format!("sets.{}.files", subject.set.name),
        value: super::values::one_line(&shared),
        origin: subject.files_origin.clone(),
        allowed: format!("the set {} holds it already, and a file belongs to one set only", other.set.name),
    })
}

/// The one to blame is the one that somebody wrote down.
fn subject_and_other<'a>(later: &'a Decided, earlier: &'a Decided) -> (&'a Decided, &'a Decided) {
    let written = |decided: &Decided| decided.files_origin != Origin::BuiltIn;
    if written(earlier) && !written(later) { (earlier, later) } else { (later, earlier) }
}

/// A literal of `a` that `b` holds too.
fn named_in(a: &Decided, b: &Decided) -> Option<String> {
    a.set.files.literals().find_map(|literal| {
        let file = a.set.source.real().join(literal);
        let held = relative_text(&file, b.set.source.real()).is_some_and(|relative| b.set.files.is_match(&relative));
        held.then(|| literal.to_owned())
    })
}

/// A glob that both sets apply to the same source.
fn same_glob(a: &Decided, b: &Decided) -> Option<String> {
    let is_shared = |glob: &&String| a.set.source.real() == b.set.source.real() && b.set.files.globs().contains(glob);
    a.set.files.globs().iter().find(is_shared).cloned()
}

/// `path` relative to the source of a set, if it is in there: as both are written, and as both really lead.
pub(super) fn inside(path: &Path, set: &SetSettings) -> impl Iterator<Item = String> {
    let written = relative_text(path, set.source.written());
    [written, relative_text(&resolved(path), set.source.real())].into_iter().flatten()
}

/// `path` relative to `directory`, if it is in there.
fn relative_text(path: &Path, directory: &Path) -> Option<String> {
    Some(path.strip_prefix(directory).ok()?.to_string_lossy().into_owned())
}
