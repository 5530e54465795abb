//! What would free how much.
//!
//! Hazard: "no space left" sends a person to delete files by hand, in a hurry. What retention would give up if it were
//! told to is known to the byte, and said instead.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::sweep;
use crate::core::BackupId;
use crate::core::retention::Guards;
use crate::repository::Repository;
use crate::settings::SetSettings;

/// What a person could do for space, and how many bytes that would free; empty if nothing in here would.
pub fn relief(
    repository: &Repository,
    sets: &[SetSettings],
    guards: &Guards,
    now: DateTime<Utc>,
) -> Vec<(String, u64)> {
    let fewer = |set: &SetSettings| SetSettings { max_backups: set.max_backups.div_ceil(2), ..set.clone() };
    let shorter = |set: &SetSettings| set.with_retention_days(set.retention_days.div_ceil(2));
    let mut relief = vec![
        ("the cleanup that is due, once you confirm it".to_owned(), frees(repository, sets, guards, now, Clone::clone)),
        ("half of max_backups".to_owned(), frees(repository, sets, guards, now, fewer)),
        ("half of retention_days".to_owned(), frees(repository, sets, guards, now, shorter)),
    ];
    relief.retain(|(_, bytes)| *bytes > 0);
    relief
}

/// The bytes that only those backups need which retention would let go of under changed settings.
fn frees(
    repository: &Repository,
    sets: &[SetSettings],
    guards: &Guards,
    now: DateTime<Utc>,
    change: impl Fn(&SetSettings) -> SetSettings,
) -> u64 {
    let gone = sets.iter().flat_map(|set| {
        let plan = sweep::plan(repository, &change(set), guards, now);
        plan.deletions().map(|(id, _)| id).collect::<Vec<BackupId>>()
    });
    let gone: HashSet<BackupId> = gone.collect();
    repository.catalogue().exclusive_bytes(&gone)
}

/// The same as a sentence.
pub fn sentence(relief: &[(String, u64)]) -> String {
    if relief.is_empty() {
        return "nothing that retention may delete would free any: give it a larger disk, or free space beside it"
            .into();
    }
    let each: Vec<String> = relief.iter().map(|(what, bytes)| format!("{what} would free {bytes} bytes")).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_is_told_with_its_bytes_and_if_nothing_does_that_is_told() {
        let relief = [("half of max_backups".to_owned(), 12), ("half of retention_days".to_owned(), 3)];
        let said = sentence(&relief);
        assert_eq!(said, "half of max_backups would free 12 bytes, half of retention_days would free 3 bytes");
        assert!(sentence(&[]).starts_with("nothing that retention may delete"));
    }
}
