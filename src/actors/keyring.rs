//! The keys in force.
//!
//! Hazard: keys that were changed and go on being used: what is backed up for a recipient that was removed, or in the
//! clear, cannot be taken back. They are read again before every backup and restore, and a change is on record.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::herald::{About, Herald};
use super::problems::chain;
use super::service::Caller;
use super::world::World;
use crate::core::drill::Access;
use crate::keys;
use crate::repository::Repository;
use crate::repository::catalogue::Backup;
use crate::repository::encryption::{Fingerprint, MAX_RECIPIENTS, Sealing};
use crate::storage::Durability;
use crate::telemetry::Event;

const KEYS: &str = "keys";

/// What is remembered of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct KeysDocument {
    /// For whom backups were encrypted when somebody last looked; nobody: they were not.
    recipients: Vec<Fingerprint>,
    /// The identities that were at hand, the last ones last.
    #[serde(default)]
    seen: Vec<Fingerprint>,
}

/// What is known of the keys besides themselves.
pub struct Keyring {
    /// Lets one look at the keys at a time, so that a change is told once.
    turn: Mutex<()>,
    known: Mutex<KeysDocument>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyring {
    /// As the repository remembers it.
    pub fn recall(repository: &Repository) -> Self {
        let known = repository.load_state(KEYS).ok().and_then(|loaded| loaded.value()).unwrap_or_default();
        Self { turn: Mutex::default(), known: Mutex::new(known) }
    }

    /// Whether a backup can be opened here.
    pub fn access(&self, backup: &Backup, world: &World) -> Access {
        let Some(content) = &backup.content else { return Access::Open };
        let recipients = &content.manifest.envelope.recipients;
        let is_at_hand = world.repository.keys().open_what_is_for(recipients);
        Access::to(recipients, is_at_hand, &locked(&self.known).seen, world.settings().encryption.write_only)
    }
}

/// Takes up the keys as they are now; tells if backups are for others than they were, be it years ago. Blocks.
fn refresh(world: &World) -> Option<Event> {
    let _turn = locked(&world.keyring.turn);
    let keys = keys::salvage(&world.settings(), |error| tracing::warn!("{}", chain(error)));
    let known = matches!(keys.sealing, Sealing::Plain | Sealing::For(_));
    let repository = &world.repository;
    if *repository.keys() != keys {
        repository.set_keys(keys);
    }
    let before = locked(&world.keyring.known).clone();
    let now = KeysDocument {
        recipients: if known { repository.keys().fingerprints() } else { before.recipients.clone() },
        seen: with_those_at_hand(&before.seen, repository),
    };
    if now == before {
        return None;
    }
    *locked(&world.keyring.known) = now.clone();
    if let Err(error) = repository.save_state(KEYS, &now, Durability::Durable) {
        tracing::warn!("the recipients were not remembered: {}", chain(&error));
    }
    let is_changed = before.recipients != now.recipients;
    is_changed.then_some(Event::KeyChanged { before: before.recipients, recipients: now.recipients })
}

/// The identities that were ever at hand, and those that are: the last of them, as many as there may be at a time.
fn with_those_at_hand(seen: &[Fingerprint], repository: &Repository) -> Vec<Fingerprint> {
    let keys = repository.keys();
    let at_hand: Vec<Fingerprint> = keys.identities().map(|(fingerprint, _)| fingerprint.clone()).collect();
    let gone = seen.iter().filter(|fingerprint| !at_hand.contains(fingerprint)).cloned();
    let all: Vec<Fingerprint> = gone.chain(at_hand.iter().cloned()).collect();
    all[all.len().saturating_sub(MAX_RECIPIENTS)..].to_vec()
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
