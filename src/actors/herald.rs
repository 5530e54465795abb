//! Tells everybody what happened: console, Prometheus, audit log, who follows, and the person who must hear of it.
//!
//! Hazard: an event that is counted but not recorded, or the other way round. Actors say it once, here.

use std::sync::Arc;

use super::auditor::{AuditFile, Unrecorded};
use super::notifier::notify;
use super::service::Caller;
use super::world::World;
use crate::audit::Entry;
use crate::core::{BackupId, SetName};
use crate::telemetry::{Event, Occurrence, log};

/// Speaks for one actor.
#[derive(Clone)]
pub struct Herald {
    world: Arc<World>,
    audit: AuditFile,
    actor: &'static str,
}

/// What an event is about, and who wanted it.
#[derive(Clone, Debug)]
pub struct About {
    /// Who asked.
    pub principal: String,
    /// What ties it to everything else about the operation.
    pub correlation_id: String,
    /// The set.
    pub set: Option<SetName>,
    /// The backup.
    pub backup: Option<BackupId>,
}

impl About {
    /// An operation of `caller`.
    pub fn caller(caller: &Caller) -> Self {
        Self {
            principal: caller.principal.clone(),
            correlation_id: caller.correlation_id.clone(),
            set: None,
            backup: None,
        }
    }

    /// Whose operation it is.
    pub fn asker(&self) -> Caller {
        let (principal, correlation_id) = (self.principal.clone(), self.correlation_id.clone());
        Caller { correlation_id, ..Caller::new(principal) }
    }

    /// About this set.
    pub fn set(mut self, set: &SetName) -> Self {
        self.set = Some(set.clone());
        self
    }

    /// About this backup.
    pub fn backup(mut self, id: BackupId) -> Self {
        self.backup = Some(id);
        self
    }
}

impl Herald {
    /// A herald of `actor`.
    pub fn new(world: Arc<World>, audit: AuditFile, actor: &'static str) -> Self {
        Self { world, audit, actor }
    }

    /// Tells it, and returns once its record is durable.
    pub async fn tell(&self, event: Event, about: &About) -> Result<(), Unrecorded> {
        let entry = self.announce(event, about);
        let name = entry.event;
        let recorded = self.audit.record(&self.world, entry).await;
        if let Err(Unrecorded::Overflow) = &recorded {
            tracing::error!(event = name, "an event was not recorded: {}", Unrecorded::Overflow);
            self.world.metrics.observe_audit_failure();
        }
        recorded
    }

    /// Tells it, and does not wait: what is told later is durable no earlier.
    pub fn mention(&self, event: Event, about: &About) {
        let entry = self.announce(event, about);
        self.audit.mention(&self.world, entry);
    }

    fn announce(&self, event: Event, about: &About) -> Entry {
        let occurrence = Occurrence {
            event,
            at: self.world.clock.now(),
            actor: self.actor,
            principal: about.principal.clone(),
            set: about.set.clone(),
            backup: about.backup,
            correlation_id: about.correlation_id.clone(),
        };
        log(&occurrence);
        self.world.metrics.observe(&occurrence);
        notify(&self.world, &occurrence);
        let entry = occurrence.entry();
        self.world.feed.publish(&entry);
        entry
    }
}
