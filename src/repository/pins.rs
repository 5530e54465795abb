//! Which backups are pinned.
//!
//! Hazard: a pin that is lost lets retention take what a person wanted kept. Where the list cannot be read, every backup of
//! the set counts as pinned until it is written again.

use std::collections::{BTreeMap, BTreeSet};

use super::documents::PinsDocument;
use super::wire::FORMAT;
use super::{Repository, WriteError, layout};
use crate::core::{BackupId, SetName};
use crate::storage::Durability;

/// So many backups of a set are remembered as unpinned. Of one that is forgotten a copy keeps the pin.
const MOST_UNPINNED: usize = 1000;

/// The pins of one set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    /// The backups that are pinned.
    pub pinned: BTreeSet<BackupId>,
    /// Those whose pin was taken away on purpose, the last of them: a copy's pin may go, too.
    pub unpinned: BTreeSet<BackupId>,
}

impl Pins {
    fn set(&mut self, id: BackupId, pinned: bool) {
        if pinned {
            self.pinned.insert(id);
            self.unpinned.remove(&id);
            return;
        }
        self.pinned.remove(&id);
        self.unpinned.insert(id);
        while self.unpinned.len() > MOST_UNPINNED {
            self.unpinned.pop_first();
        }
    }

    /// The document that says this of a set.
    pub fn to_document(&self, set: &SetName) -> PinsDocument {
        let (pinned, unpinned) = (self.pinned.clone(), self.unpinned.clone());
        PinsDocument { format: FORMAT, set: set.clone(), pinned, unpinned }
    }

    /// What a document says of `set`; why not, if it says something impossible.
    pub fn from_document(set: &SetName, document: PinsDocument) -> Result<Self, &'static str> {
        match () {
            () if document.format != FORMAT => Err("it is of another format"),
            () if document.set != *set => Err("it is another set's"),
            () if document.unpinned.len() > MOST_UNPINNED => Err("it lists more than 1,000 as unpinned"),
            () => Ok(Self { pinned: document.pinned, unpinned: document.unpinned }),
        }
    }
}

impl Repository {
    /// Pins a backup, or takes its pin away.
    pub fn set_pinned(&self, set: &SetName, id: BackupId, pinned: bool) -> Result<(), WriteError> {
        self.change_pins(set, &BTreeMap::from([(id, pinned)]))
    }

    /// Pins backups of a set, and takes the pins of others away, at once.
    pub fn change_pins(&self, set: &SetName, changes: &BTreeMap<BackupId, bool>) -> Result<(), WriteError> {
        if changes.is_empty() {
            return Ok(());
        }
        let (mut pins, row, of_format_1) = {
            let catalogue = self.catalogue();
            let Some(index) = catalogue.set(set) else { return Ok(()) };
            (index.pins(), index.pins_row.clone(), index.pins_of_format_1.clone())
        };
        changes.iter().for_each(|(id, pinned)| pins.set(*id, *pinned));
        let document = serde_json::to_vec(&pins.to_document(set))?;
        let row = self.write_generation(&layout::manifest_directory(set), layout::PINS, &row, &document)?;
        // A pin of format 1 pins as long as it is there.
        let gone: Vec<BackupId> = of_format_1.iter().copied().filter(|id| changes.get(id) == Some(&false)).collect();
        self.storage.remove(&gone.iter().map(|id| layout::pin(set, *id)).collect::<Vec<_>>())?;
        let mut catalogue = self.catalogue_mut();
        let index = catalogue.set_mut(set);
        index.pins_of_format_1.retain(|id| !gone.contains(id));
        index.adopt_pins(pins, row);
        drop(catalogue);
        self.save_verification(set, Durability::Lazy)
    }
}
