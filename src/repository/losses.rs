//! What a copy knows and this repository forgot.
//!
//! Hazard: a manifest that is gone leaves no trace in its own directory, and if the memory of it went too, the backup has
//! vanished. A copy still has it: then it is listed here as what it is, damaged, until it is brought back.

use super::catalogue::{Backup, Finding, Remembered};
use super::{Repository, layout};

impl Repository {
    /// Remembers what is lost here and is in `copy`: backups that are neither there nor were deleted on purpose, and lists
    /// of those that were. It is found damaged from then on.
    pub fn miss(&self, copy: &Self) {
        let theirs = copy.catalogue();
        let mut ours = self.catalogue_mut();
        ours.miss_timelines(theirs.timelines());
        let departed = ours.timelines().departed();
        for (set, theirs) in theirs.sets() {
            let index = ours.set_mut(set);
            let lost = index.lost(usize::MAX);
            if index.pruned.last().is_none() && lost.iter().any(|position| theirs.pruned.contains(*position)) {
                index.pruned_in_doubt = true;
            }
            for backup in theirs.backups() {
                let (Some(content), Some(position)) = (&backup.content, backup.position()) else { continue };
                let listed = index.backups().iter().any(|known| known.id == backup.id);
                // What is of another history comes back as such, and is no loss of this one.
                let is_departed = departed
                    .get(set)
                    .is_some_and(|(timeline, above)| position.timeline < *timeline && position.sequence <= *above);
                if listed || is_departed || index.pruned_in_doubt || index.pruned.contains(position) {
                    continue;
                }
                let remembered = Some(Remembered { digest: content.digest, position });
                let finding = Finding::Damaged(format!("{} is absent", layout::manifest(set, backup.id)));
                let (id, set, pinned) = (backup.id, set.clone(), backup.pinned);
                index.insert(Backup { id, set, pinned, content: None, finding, remembered });
            }
        }
    }
}
