//! The keys in force.
//!
//! Hazard: keys that were changed and go on being used: what is backed up for a recipient that was removed, or in the
//! clear, cannot be taken back. They are read again before every backup and restore, and a change is on record.

use serde::{Deserialize, Serialize};

use super::herald::{About, Herald};
use super::problems::chain;
use super::service::Caller;
use super::world::World;
use crate::keys;
use crate::repository::encryption::{Fingerprint, Sealing};
use crate::storage::Durability;
use crate::telemetry::Event;

const KEYS: &str = "keys";

/// For whom backups were encrypted when somebody last looked; nobody: they were not.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeysDocument {
    recipients: Vec<Fingerprint>,
}

/// Lets one look at the keys at a time, so that a change is told once.
pub type Turn = std::sync::Mutex<()>;

/// Takes up the keys as they are now; tells if backups are for others than they were, be it years ago. Blocks.
fn refresh(world: &World) -> Option<Event> {
    let _turn = world.key_turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let keys = keys::salvage(&world.settings(), |error| tracing::warn!("{}", chain(error)));
    let known = matches!(keys.sealing, Sealing::Plain | Sealing::For(_));
    let repository = &world.repository;
    if *repository.keys() != keys {
        repository.set_keys(keys);
    }
    let now = KeysDocument { recipients: repository.keys().fingerprints() };
    let before: KeysDocument = repository.load_state(KEYS).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
    if !known || now == before {
        return None;
    }
    if let Err(error) = repository.save_state(KEYS, &now, Durability::Durable) {
        tracing::warn!("the recipients were not remembered: {}", chain(&error));
    }
    Some(Event::KeyChanged { before: before.recipients, recipients: now.recipients })
}

/// The same, from where nothing may block.
pub async fn take_up(world: &std::sync::Arc<World>, herald: &Herald, caller: &Caller) {
    let looked = world.clone();
    match tokio::task::spawn_blocking(move || refresh(&looked)).await {
        // Unrecorded: the auditor keeps the record and says so.
        Ok(Some(event)) => drop(herald.tell(event, &About::caller(caller)).await),
        Ok(None) => {}
        Err(_) => tracing::error!("reading the keys panicked"),
    }
}
