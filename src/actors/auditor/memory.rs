//! What is remembered of the log elsewhere, as the log asks for it.
//!
//! Hazard: a rotation that is in the log and marked nowhere looks like a forgery once the older file is gone. It is
//! marked before the first record behind it is written; where that fails, nobody is told of later records until it did
//! not.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::problems::chain;
use super::super::world::World;
use crate::audit::{self, Authenticator, Finding, Head, Key, Marks};
use crate::core::Digest;
use crate::pipeline::audit_trust::{KeyError, lent_key, obtain_key};

/// The key, and where rotations are marked.
pub struct Memory {
    world: Arc<World>,
    authenticator: Authenticator,
    key_id: Digest,
    /// Rotations that could not be marked yet.
    unmarked: Mutex<Vec<Head>>,
}

/// Shows the name of the key only.
impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("key", &self.key_id).finish_non_exhaustive()
    }
}

/// The key that is remembered, or a new one; and what there is to tell of it. `None` where there is no repository, and
/// no replica that remembers one.
pub fn remember_key(world: &Arc<World>, log: &Path) -> Result<Option<(Memory, Option<Finding>)>, KeyError> {
    let replicas = || world.replicas.look_at_all(&world.settings(), &world.repository);
    let obtained = world.obtain_audit_key(|| match world.repository.is_vacant() {
        true => Ok(lent_key(&replicas()).map(|document| (document, None))),
        false => obtain_key(&world.repository, replicas, log, world.clock.now()).map(Some),
    });
    let Some((document, told)) = obtained? else { return Ok(None) };
    let authenticator = document.authenticator().unwrap_or_default();
    let memory = Memory { world: world.clone(), authenticator, key_id: document.id, unmarked: Mutex::default() };
    Ok(Some((memory, told)))
}

impl Memory {
    /// The key.
    pub fn key(&self) -> Option<&Key> {
        self.authenticator.key()
    }

    /// Names the key.
    pub const fn key_id(&self) -> Digest {
        self.key_id
    }

    /// Whether every rotation is marked; those that are not are tried again.
    pub fn is_marked(&self) -> bool {
        let mut unmarked = self.unmarked.lock().unwrap_or_else(PoisonError::into_inner);
        if !unmarked.is_empty() && !self.world.repository.is_vacant() {
            match self.world.mark_audit(|_| Marks { rotations: unmarked.clone(), ..Marks::default() }) {
                Ok(()) => unmarked.clear(),
                Err(error) => tracing::warn!("a rotation of the audit log was not remembered: {}", chain(&error)),
            }
        }
        unmarked.is_empty()
    }
}

impl audit::Memory for Memory {
    fn authenticator(&self) -> Authenticator {
        self.authenticator.clone()
    }

    fn rotated(&self, after: Head) {
        {
            let mut unmarked = self.unmarked.lock().unwrap_or_else(PoisonError::into_inner);
            if !unmarked.contains(&after) {
                unmarked.push(after);
            }
        }
        self.is_marked();
    }
}
