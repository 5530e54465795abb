//! The periodic check of the audit chain, by the Verifier.
//!
//! Hazard: a break that counts anew with every check looks like a log that is rewritten every hour, and one that is
//! forgotten by a restart looks like health. Each break counts once, when it is first found; it is told until a person
//! accepts it.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use super::herald::{About, Herald};
use super::problems::chain;
use super::service::{Caller, Service};
use super::supervisor::IntegrityFailure;
use super::trail;
use super::verifier::Verifier;
use super::world::{Role, World};
use crate::api::{AcceptOutcome, AuditPage, AuditQuery, Problem, ProblemKind};
use crate::audit::{Break, ChainReport};
use crate::repository::Repository;
use crate::repository::wire::AuditHead;
use crate::storage::Durability;
use crate::telemetry::{Check, Event};

const BREAKS: &str = "audit_breaks";

/// The most breaks that are remembered.
const MAX_KNOWN: usize = 1000;

/// What is remembered of breaks.
#[derive(Debug, Default, Serialize, Deserialize)]
struct BreaksDocument {
    /// Those that have counted.
    known: BTreeSet<String>,
    /// Whether the last check found any that is not accepted.
    broken: bool,
}

/// Check the whole chain, and again after the interval that is set.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CheckChain;

/// Whether the last check, perhaps by an earlier process, found the chain broken.
pub fn was_broken(repository: &Repository) -> bool {
    let document = repository.load_state::<BreaksDocument>(BREAKS).ok().and_then(|loaded| loaded.value());
    document.is_some_and(|document| document.broken)
}

impl Handler<CheckChain> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: CheckChain, _ctx: &mut Self::Context) -> Self::Result {
        let (world, herald, supervisor) = self.tools();
        let work = async move {
            let caller = Caller::component("verifier");
            let failures = check(&world, &herald, &caller).await;
            for _failure in 0..failures {
                supervisor.do_send(IntegrityFailure(caller.clone()));
            }
        };
        Box::pin(work.into_actor(self).map(|(), verifier, ctx| {
            let (world, ..) = verifier.tools();
            ctx.notify_later(CheckChain, world.settings().audit.check_interval);
        }))
    }
}

/// Checks the chain, tells what was found, and returns how many breaks are new.
async fn check(world: &Arc<World>, herald: &Herald, caller: &Caller) -> usize {
    let _operation = world.begin_operation();
    let (report, news) = match look(world).await {
        Ok(found) => found,
        Err(problem) => {
            // A log that cannot be read proves nothing, and is told of by whoever writes it.
            tracing::warn!("check the audit chain: {}", problem.detail);
            return 0;
        }
    };
    if !report.is_whole() && news.is_empty() {
        return 0;
    }
    let event = match news.is_empty() {
        true => Event::IntegrityCheckPassed { check: Check::Audit, content_bytes: report.bytes },
        false => {
            let damages = news.iter().map(ToString::to_string).collect();
            Event::IntegrityCheckFailed { check: Check::Audit, damages, unreadable: None }
        }
    };
    let _ = herald.tell(event, &About::caller(caller)).await;
    news.len()
}

/// Reads the chain, and says which breaks are new; from now on they are known.
async fn look(world: &Arc<World>) -> Result<(ChainReport, Vec<Break>), Problem> {
    let reading = world.clone();
    let work = tokio::task::spawn_blocking(move || {
        let world = reading;
        let replicas = world.replicas.open_ones();
        let elsewhere = replicas.iter().flat_map(|(_, replica)| replica.repository().audit_anchors());
        let known: Vec<AuditHead> = elsewhere.chain(world.audit().anchor()).collect();
        let report = trail::verify(&world.audit_path(), Some(&world.repository), known)?;
        world.update_audit(|view| view.broken = !report.is_whole());
        let news = remember(&world.repository, &report);
        Ok((report, news))
    });
    work.await.map_err(|panic| Problem::new(ProblemKind::Internal, format!("check the audit chain: {panic}")))?
}

fn remember(repository: &Repository, report: &ChainReport) -> Vec<Break> {
    let loaded = repository.load_state::<BreaksDocument>(BREAKS).ok().and_then(|loaded| loaded.value());
    let mut document = loaded.unwrap_or_default();
    let before = (document.known.len(), document.broken);
    let news =
        report.breaks.iter().filter(|found| document.known.len() < MAX_KNOWN && document.known.insert(found.key()));
    let news: Vec<Break> = news.cloned().collect();
    document.broken = !report.is_whole();
    if before != (document.known.len(), document.broken)
        && let Err(error) = repository.save_state(BREAKS, &document, Durability::Durable)
    {
        tracing::warn!("known breaks of the audit chain were not remembered: {}", chain(&error));
    }
    news
}

impl Service {
    /// A page of audit records.
    pub fn audit_records(&self, query: &AuditQuery) -> Result<AuditPage, Problem> {
        trail::page(&self.world.audit_path(), Some(&self.world.repository), query)
    }

    /// Accepts what is wrong with the audit chain now, in the name of the caller: the log says so from here on.
    pub async fn accept_audit(&self, caller: &Caller) -> Result<AcceptOutcome, Problem> {
        let (report, _) = look(&self.world).await?;
        let accepted: Vec<String> = report.breaks.iter().map(ToString::to_string).collect();
        if !accepted.is_empty() {
            let event = Event::ChainAccepted { breaks: report.breaks };
            let told = self.herald.tell(event, &About::caller(caller)).await;
            told.map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))?;
            look(&self.world).await?;
        }
        Ok(AcceptOutcome { accepted })
    }

    /// Has the audit chain checked in the background, now and from time to time.
    pub(super) fn check_chain(&self) {
        if self.world.role == Role::Daemon {
            self.verifier.do_send(CheckChain);
        }
    }
}
