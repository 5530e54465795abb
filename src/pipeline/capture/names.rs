//! Files with several names in a set: read once, by the first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::core::content::{Validation, is_validated};
use crate::pipeline::source::Found;

/// The names of files that have several of them.
#[derive(Default)]
pub(super) struct Names {
    /// Each further name, and the first, which comes before it.
    pub further: BTreeMap<String, String>,
    /// First names of files of which something is expected under another name.
    pub validated: BTreeSet<String>,
}

impl Names {
    /// Of what was found. Files are the same only if they look the same: not every filesystem numbers them truly.
    pub fn of(found: &BTreeMap<String, Found>, validation: Validation) -> Self {
        let mut names = Self::default();
        let mut first = HashMap::new();
        for (path, found) in found {
            let Found::File(look) = found else { continue };
            if look.links < 2 {
                continue;
            }
            match first.get(&(look.identity.device, look.identity.inode)) {
                None => drop(first.insert((look.identity.device, look.identity.inode), (path, look))),
                Some((path_of_first, looks)) if *looks == look => {
                    if is_validated(path, validation) {
                        names.validated.insert((*path_of_first).clone());
                    }
                    names.further.insert(path.clone(), (*path_of_first).clone());
                }
                Some(_) => {}
            }
        }
        names
    }

    /// The name that a file is read by.
    pub fn first_of<'n>(&'n self, path: &'n String) -> &'n String {
        self.further.get(path).unwrap_or(path)
    }
}
