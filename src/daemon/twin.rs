//! A repository whose `repository.json` is damaged or lost, opened by what a replica says.
//!
//! Hazard: one small file keeps everything else from being used, and a replica has it; but a directory that is only thought
//! to be a replica would make the repository another one's. A replica is believed if the audit log names the same id, or,
//! where that tells nothing, if it holds a backup that is here, too.

use std::sync::Arc;

use super::emergency::found;
use super::opening::{Known, known_here};
use super::storage;
use crate::repository::wire::RepositoryDocument;
use crate::repository::{OpenError, OpenReport, Repository, are_related};
use crate::settings::Settings;
use crate::storage::Storage;

/// Opens the repository in `place`, if need be as the replica of it that is found first.
pub fn open(settings: &Settings, place: Arc<dyn Storage>, clear: bool) -> Result<(Repository, OpenReport), OpenError> {
    match Repository::open(place.clone(), clear) {
        Err(error @ (OpenError::Damaged { .. } | OpenError::Headless(_))) => {
            let Some((replica, document)) = twin(settings, place.as_ref()) else { return Err(error) };
            let what = if let OpenError::Damaged { fault, .. } = &error { fault } else { "it is absent" };
            found(&format!(
                "{}/repository.json: {what}; what the replica in {replica} says stands for it until it is healed",
                place.location()
            ));
            Repository::open_as(place, document, clear)
        }
        opened => opened,
    }
}

/// Where the first replica is that can be believed, and what its `repository.json` says.
fn twin(settings: &Settings, place: &dyn Storage) -> Option<(String, RepositoryDocument)> {
    let known = known_here(settings);
    settings.replicas.iter().find_map(|replica| {
        let replica = storage(&replica.path).ok()?;
        let document = Repository::document_of(replica.as_ref()).ok()?;
        let is_ours = match &known {
            Known::As(Some(id)) => document.id == *id,
            Known::As(None) | Known::Never | Known::Unreadable => are_related(place, replica.as_ref()).ok()?,
        };
        is_ours.then(|| (replica.location(), document))
    })
}
