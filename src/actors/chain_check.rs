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
use crate::audit::{self, Acceptance, Break, ChainReport, MAX_FAULTS, Marks};
use crate::pipeline::audit_trust;
use crate::repository::{Repository, WriteError};
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

/// Check the whole chain, since somebody doubts it, and again whenever somebody does.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CheckDoubt;

/// Whether the last check, perhaps by an earlier process, found the chain broken.
pub fn was_broken(repository: &Repository) -> bool {
    let document = repository.load_state::<BreaksDocument>(BREAKS).ok().and_then(|loaded| loaded.value());
    document.is_some_and(|document| document.broken)
}

impl Handler<CheckChain> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: CheckChain, _ctx: &mut Self::Context) -> Self::Result {
        Box::pin(check_and_count(self).into_actor(self).map(|(), verifier, ctx| {
            let (world, ..) = verifier.tools();
            ctx.notify_later(CheckChain, world.settings().audit.check_interval);
        }))
    }
}

impl Handler<CheckDoubt> for Verifier {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: CheckDoubt, ctx: &mut Self::Context) -> Self::Result {
        watch(self, ctx);
        Box::pin(check_and_count(self).into_actor(self))
    }
}

/// Has the chain checked as soon as somebody doubts it.
pub(super) fn watch(verifier: &Verifier, ctx: &mut Context<Verifier>) {
    let (world, ..) = verifier.tools();
    let doubted = async move { world.audit_doubted().await };
    ctx.spawn(doubted.into_actor(verifier).map(|(), _, ctx| ctx.notify(CheckDoubt)));
}

fn check_and_count(verifier: &Verifier) -> impl Future<Output = ()> + use<> {
    let (world, herald, supervisor) = verifier.tools();
    async move {
        let caller = Caller::component("verifier");
        let failures = check(&world, &herald, &caller).await;
        for _failure in 0..failures {
            supervisor.do_send(IntegrityFailure(caller.clone()));
        }
    }
}

/// Gives a replica that has no key of the log the one that is remembered, before any backup: a host that has only the
/// replica left can prove the log with it.
pub(super) fn give_first_key(world: &World, replica: &Repository) -> Result<(), WriteError> {
    if audit_trust::key(replica)?.value().is_none() {
        world.audit_memory()?.without_head().give(&world.repository, replica, false, |_| false)?;
    }
    Ok(())
}

/// Gives a replica what is remembered of the log, as far as that does not contradict what it remembers; what does is
/// looked into. `insists` says that a person has accepted it.
pub(super) fn tell_replica(world: &World, replica: &Repository, insists: bool) -> Result<(), WriteError> {
    let memory = world.audit_memory()?;
    // While the log cannot be written, its last records are elsewhere.
    let has = |head| world.audit().failing || audit::may_have(&world.audit_path(), head, &memory.authenticator());
    if !memory.give(&world.repository, replica, insists, has)? && !world.audit().broken {
        tracing::error!(replica = %replica.location(), "the audit log is not what this replica remembers of it: run \
            fiovana-app audit verify");
        world.doubt_audit();
    }
    Ok(())
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
        let replicas: Vec<&Repository> = replicas.iter().map(|(_, replica)| replica.repository()).collect();
        let stands = world.audit().anchor();
        let report = trail::verify(&world.audit_path(), Some(&world.repository), &replicas, stands)?;
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

/// Has the repository and its replicas remember that these breaks were accepted.
fn remember_accepted(world: &World, report: ChainReport, by: &str) -> Result<(), String> {
    let when = world.clock.now();
    // Without its file: state files name none.
    let accepted =
        |found: &Break, at| Acceptance { key: found.key(), what: found.fault.to_string(), by: by.to_owned(), when, at };
    let marked = world.mark_audit(|at| Marks {
        accepted: report.breaks.iter().map(|found| accepted(found, at)).collect(),
        pins: report.pins,
        rotations: Vec::new(),
    });
    marked.map_err(|error| chain(&error))?;
    for (name, replica) in world.replicas.open_ones() {
        let _lane = replica.write_lane();
        if let Err(error) = tell_replica(world, replica.repository(), true) {
            tracing::warn!(replica = %name, "what was accepted was not remembered there: {}", chain(&error));
        }
    }
    Ok(())
}

impl Service {
    /// A page of audit records.
    pub fn audit_records(&self, query: &AuditQuery) -> Result<AuditPage, Problem> {
        trail::page(&self.world.audit_path(), Some(&self.world.repository), query)
    }

    /// Accepts what is wrong with the audit chain now, in the name of the caller. The log says so; what counts is that the
    /// repository and its replicas remember it.
    pub async fn accept_audit(&self, caller: &Caller) -> Result<AcceptOutcome, Problem> {
        let mut accepted = Vec::new();
        // A report tells of so many breaks and no more: the next one tells of others.
        for _ in 0..MAX_KNOWN / MAX_FAULTS {
            let (report, _) = look(&self.world).await?;
            if report.breaks.is_empty() {
                break;
            }
            accepted.extend(report.breaks.iter().map(ToString::to_string));
            let event = Event::ChainAccepted { breaks: report.breaks.clone() };
            let told = self.herald.tell(event, &About::caller(caller)).await;
            told.map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))?;
            let (world, by) = (self.world.clone(), caller.principal.clone());
            let work = tokio::task::spawn_blocking(move || remember_accepted(&world, report, &by));
            let done = work.await.unwrap_or_else(|panic| Err(panic.to_string()));
            done.map_err(|why| Problem::new(ProblemKind::Internal, format!("remember what was accepted: {why}")))?;
        }
        if !accepted.is_empty() {
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
