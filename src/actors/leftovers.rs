//! Settling the restores that an earlier process left half done.
//!
//! Hazard: a restore that was interrupted and is told of twice, or never. Its journal stays until the audit log has its
//! end; the end is told only if the log does not have it yet.

use std::collections::HashSet;
use std::sync::Arc;

use super::herald::{About, Herald};
use super::problems::chain;
use super::trail;
use super::world::World;
use crate::api::{AuditQuery, MAX_RECORDS};
use crate::audit::Record;
use crate::pipeline::restore::leftover::{self, Found};
use crate::pipeline::restore::transaction::Transaction;
use crate::source_path::SourcePath;
use crate::telemetry::Event;

/// Settles what is left in these source directories, and tells of it. The caller holds the write lane, or nothing that
/// could take it runs yet.
pub(super) async fn settle(world: &Arc<World>, herald: &Herald, sources: Vec<SourcePath>) {
    for source in leftover::distinct(sources) {
        let (looker, looked) = (world.clone(), source.clone());
        let source = source.real();
        let found = tokio::task::spawn_blocking(move || look(&looker, &looked)).await;
        let (found, told) = found.unwrap_or_else(|panic| (failed(panic.to_string()), HashSet::new()));
        for what in &found.unsettled {
            tracing::error!("{what}");
        }
        world.set_unsettled_restores(source, found.unsettled);
        for transaction in found.settled {
            if !told.contains(&transaction.journal().correlation_id) {
                tell(herald, &transaction, source.display().to_string()).await;
            }
            close(transaction).await;
        }
    }
}

/// Ends a restore that was told of. What stays is removed at the next start, and then not told of again.
pub(super) async fn close(transaction: Transaction) {
    let set = transaction.journal().set.clone();
    match tokio::task::spawn_blocking(move || transaction.close()).await {
        Ok(Ok(set_aside)) => set_aside.iter().for_each(|path| {
            let path = path.display();
            tracing::warn!(%set, "a file that a restore replaced is in no backup, or not as it was: it is kept as {path}");
        }),
        Ok(Err(error)) => tracing::warn!(%set, "the journal of a restore could not be removed: {error}"),
        Err(panic) => tracing::warn!(%set, "the journal of a restore could not be removed: {panic}"),
    }
}

fn failed(why: String) -> Found {
    Found { unsettled: vec![why], ..Found::default() }
}

fn look(world: &World, source: &SourcePath) -> (Found, HashSet<String>) {
    let root = source.real();
    let disk = match leftover::open(source) {
        Ok(None) => return Default::default(),
        Ok(Some(disk)) => disk,
        // Nothing in it is believed, and that is told of as long as it is so.
        Err(error) if error.is_distrust() => return Default::default(),
        Err(error) => {
            tracing::warn!("look for interrupted restores: {}", chain(&error));
            return Default::default();
        }
    };
    match leftover::settle(&disk, root, world.repository.id(), rustix::process::geteuid().as_raw()) {
        Ok(found) if found.settled.is_empty() => (found, HashSet::new()),
        Ok(found) => (found, ended(&records(world), false)),
        // A source that cannot be looked at is told of when it is backed up.
        Err(error) => {
            tracing::warn!("look for interrupted restores in {}: {error}", root.display());
            Default::default()
        }
    }
}

fn records(world: &World) -> Vec<Record> {
    let query = AuditQuery { limit: Some(MAX_RECORDS), ..AuditQuery::default() };
    trail::page(&world.audit_path(), Some(&world.repository), &query).map(|page| page.records).unwrap_or_else(
        |problem| {
            tracing::warn!("{problem}");
            Vec::new()
        },
    )
}

/// The restores whose end is in the log; `or_open`: also those that are known to be unsettled.
fn ended(records: &[Record], or_open: bool) -> HashSet<String> {
    let is_end = |record: &&Record| match record.event.as_str() {
        "RestoreCompleted" | "RestoreRolledBack" => true,
        "RestoreFailed" => or_open || record.details.get("unsettled") != Some(&true.into()),
        _ => false,
    };
    records.iter().filter(is_end).map(|record| record.correlation_id.clone()).collect()
}

async fn tell(herald: &Herald, transaction: &Transaction, target: String) {
    let journal = transaction.journal();
    let about = About {
        principal: journal.principal.clone(),
        correlation_id: journal.correlation_id.clone(),
        set: Some(journal.set.clone()),
        backup: journal.backups.iter().max().copied(),
    };
    let removed = journal.changes.iter().filter(|change| change.new.is_none()).count();
    let event = match journal.committed {
        true => Event::RestoreCompleted {
            target,
            files: journal.changes.len() - removed,
            removed,
            safety_backup: Some(journal.safety_backup),
            duration_seconds: None,
            recovered: true,
        },
        false => Event::RestoreRolledBack {
            target,
            error: "it was interrupted".into(),
            safety_backup: journal.safety_backup,
            recovered: true,
        },
    };
    let _ = herald.tell(event, &about).await;
}

/// Tells the end of restores that an earlier process began and never came to write a journal of.
pub(super) async fn tell_of_the_unbegun(world: &Arc<World>, herald: &Herald) {
    let reader = world.clone();
    let records = tokio::task::spawn_blocking(move || records(&reader)).await.unwrap_or_default();
    let ended = ended(&records, true);
    let unsettled = world.unsettled_restores();
    let error = match unsettled.first() {
        None => "the service ended before a live file was touched".to_owned(),
        Some(what) => what.clone(),
    };
    let unbegun = records.iter().filter(|record| record.event == "RestoreStarted");
    for record in unbegun.filter(|record| !ended.contains(&record.correlation_id)) {
        let about = About {
            principal: record.principal.clone(),
            correlation_id: record.correlation_id.clone(),
            set: record.set.clone(),
            backup: record.backup_id,
        };
        let event = Event::RestoreFailed { error: error.clone(), unsettled: !unsettled.is_empty() };
        let _ = herald.tell(event, &about).await;
    }
}
