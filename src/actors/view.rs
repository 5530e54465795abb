//! What is true, as the documents and metrics that people see.
//!
//! Hazard: two views of one fact that disagree. Status, lists and metrics are all made from the catalogue, the run
//! history and the mode, here.

use std::collections::BTreeMap;

use super::damage_view;
use super::replicas::ReplicaView;
use super::service::reference;
use super::world::{ACTORS, ActorState, ROOT, World};
use super::{problems, reasons};
use crate::api::{
    ActorStatus, AuditStatus, BackupDetails, BackupList, BackupSummary, DamageDocument, DirectoryDocument,
    FileDocument, HeldDocument, ListQuery, MAX_LIST, ModeDocument, Problem, ProblemKind, ReasonDocument, ReplicaStatus,
    RepositoryStatus, RestoreOutcome, RestoredDocument, SetStatus, SkippedDocument, StateCounts, Status,
    SymlinkDocument, UnreadableDocument, VerifyOutcome, VerifyVerdict,
};
use crate::core::drill::Access;
use crate::core::mode::{DegradedReason, RecoveryPhase};
use crate::core::schedule::is_ahead;
use crate::core::{BackupId, BackupKind, BackupState, SetName};
use crate::pipeline::fewer::{fewer, fewer_now};
use crate::pipeline::restore::{Restored, Rules};
use crate::pipeline::verify::{Damage, Verdict, Verification};
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Catalogue, Finding, SetIndex};
use crate::repository::kept::Kept;
use crate::repository::wire::{Body, DirectoryEntry, FileEntry, SymlinkEntry};
use crate::settings::{SetSettings, Settings};
use crate::telemetry::dropped_lines;
use crate::telemetry::facts::{Facts, ReplicaFacts, SetFacts};

const DEFAULT_LIST: usize = 100;
const MAX_LOST_SHOWN: usize = 20;
/// What became of the drills of a set that nobody here is meant to open.
const NO_KEY: &str = "no_key";

/// The backup that a reference means.
pub fn resolve(repository: &Repository, set: Option<&SetName>, text: &str) -> Result<Backup, Problem> {
    let reference = reference(text)?;
    let catalogue = repository.catalogue();
    catalogue.resolve(set, &reference).cloned().map_err(|unresolved| problems::of_unresolved(&unresolved))
}

/// A page of backups, newest first.
pub fn list(repository: &Repository, settings: &Settings, query: &ListQuery) -> Result<BackupList, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIST);
    if !(1..=MAX_LIST).contains(&limit) {
        return Err(Problem::new(ProblemKind::BadRequest, format!("limit is {limit}: give 1 to {MAX_LIST}")));
    }
    let catalogue = repository.catalogue();
    let only = match &query.set {
        None => None,
        Some(name) => {
            let known = || settings.sets.iter().map(|set| set.name.clone());
            let set: SetName = name.parse().map_err(|_| problems::unknown_set(name, known()))?;
            if catalogue.set(&set).is_none() && known().all(|known| known != set) {
                return Err(problems::unknown_set(name, known()));
            }
            Some(set)
        }
    };
    let backups = newest_first(&catalogue, only.as_ref());
    let start = match &query.after {
        None => 0,
        Some(after) => {
            let after = resolve(repository, None, after)?.id;
            let at = backups.iter().position(|backup| backup.id == after);
            at.map_or(backups.len(), |at| at + 1)
        }
    };
    let page = &backups[start..backups.len().min(start + limit)];
    let next = if start + limit < backups.len() { page.last().map(|backup| backup.id) } else { None };
    Ok(BackupList { backups: page.iter().map(|backup| summary(backup)).collect(), next })
}

/// Backups from the newest to the oldest: within a set the sequence decides, whatever the clock said; among sets the
/// time.
fn newest_first<'c>(catalogue: &'c Catalogue, only: Option<&SetName>) -> Vec<&'c Backup> {
    let sets = catalogue.sets().filter(|(name, _)| only.is_none_or(|only| only == *name));
    let mut queues: Vec<&[Backup]> = sets.map(|(_, set)| set.backups()).collect();
    let mut ordered = Vec::new();
    while let Some(queue) =
        queues.iter_mut().max_by_key(|queue| queue.last().map(|newest| (newest.created(), newest.id)))
    {
        let Some((newest, older)) = queue.split_last() else { break };
        ordered.push(newest);
        *queue = older;
    }
    ordered
}

/// A backup without its files.
pub fn summary(backup: &Backup) -> BackupSummary {
    let envelope = backup.content.as_ref().map(|content| &content.manifest.envelope);
    BackupSummary {
        id: backup.id,
        set: backup.set.clone(),
        sequence: envelope.map(|envelope| envelope.sequence.0),
        kind: backup.kind(),
        created: backup.created(),
        state: backup.state(),
        fault: match &backup.finding {
            Finding::Damaged(what) | Finding::Unreadable(what) => Some(what.clone()),
            Finding::Unverified | Finding::Intact { .. } => None,
        },
        verified: backup.verified(),
        pinned: backup.pinned,
        consistent: envelope.is_some_and(|envelope| envelope.consistent),
        size_bytes: envelope.map_or(0, |envelope| envelope.size_bytes),
        stored_bytes: envelope.map_or(0, |envelope| envelope.stored_bytes),
        recipients: envelope.map_or_else(Vec::new, |envelope| envelope.recipients.clone()),
    }
}

/// A backup with its files.
pub fn details(repository: &Repository, settings: &Settings, backup: &Backup) -> BackupDetails {
    let body = backup.content.as_ref().and_then(|content| content.manifest.body.as_ref());
    let unreadable = body.map_or(&[][..], |body| &body.unreadable);
    BackupDetails {
        summary: summary(backup),
        manifest_sha256: backup.content.as_ref().map(|content| content.digest),
        files: files(body),
        directories: body.map_or_else(Vec::new, |body| body.directories.iter().map(directory).collect()),
        symlinks: body.map_or_else(Vec::new, |body| {
            let link = |link: &SymlinkEntry| (link.path.to_string(), link.target.clone());
            symlinks(body.symlinks.iter().map(link))
        }),
        missing: body.map_or_else(Vec::new, |body| body.missing.iter().map(ToString::to_string).collect()),
        unreadable: unreadable
            .iter()
            .map(|file| UnreadableDocument { path: file.path.to_string(), reason: file.reason.clone() })
            .collect(),
        fewer: fewer_than_before(repository, settings, backup),
    }
}

/// The files that the backup before this one has and this one lacks, as far as its set is known.
fn fewer_than_before(repository: &Repository, settings: &Settings, backup: &Backup) -> Vec<String> {
    let Some(set) = settings.sets.iter().find(|set| set.name == backup.set) else { return vec![] };
    let catalogue = repository.catalogue();
    let fewer = catalogue.set(&backup.set).and_then(|index| fewer(index, set, backup));
    fewer.map_or_else(Vec::new, |fewer| fewer.gone)
}

/// What the newest backup of a set lacks, in words.
fn left_out(index: &SetIndex, set: &SetSettings) -> Vec<String> {
    let newest = index.backups().iter().rev().find(|backup| backup.kind().is_some_and(BackupKind::is_version));
    let body = newest.and_then(|backup| backup.content.as_ref()).and_then(|content| content.manifest.body.as_ref());
    let Some(body) = body else { return vec![] };
    let missing = body.missing.iter().map(|path| format!("missing: {path}"));
    let unreadable = body.unreadable.iter().map(|file| format!("unreadable: {}: {}", file.path, file.reason));
    let mut left_out: Vec<String> = missing.chain(unreadable).take(MAX_LEFT_OUT).collect();
    let more = (body.missing.len() + body.unreadable.len()).saturating_sub(MAX_LEFT_OUT);
    if more > 0 {
        left_out.push(format!("and {more} more"));
    }
    left_out.extend(fewer_now(index, set).map(|fewer| fewer.sentence()));
    left_out
}

/// The most files that a status names of those that a backup lacks.
const MAX_LEFT_OUT: usize = 10;

fn symlinks(links: impl Iterator<Item = (String, String)>) -> Vec<SymlinkDocument> {
    links.map(|(path, target)| SymlinkDocument { path, target }).collect()
}

fn directory(entry: &DirectoryEntry) -> DirectoryDocument {
    DirectoryDocument { path: entry.path.to_string(), mode: format!("{:04o}", entry.attributes.mode) }
}

/// The names of plain files, by path.
fn files(body: Option<&Body>) -> Vec<FileDocument> {
    let document = |kept: Kept<'_>| {
        let hard_link_to = if let Kept::HardLink(link, _) = kept { Some(link.to.to_string()) } else { None };
        Some(FileDocument { hard_link_to, ..file(kept.as_file()?.as_ref()) })
    };
    let mut files: Vec<FileDocument> = body.into_iter().flat_map(Body::kept).filter_map(document).collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// A file of a backup.
pub fn file(file: &FileEntry) -> FileDocument {
    FileDocument {
        path: file.path.to_string(),
        hard_link_to: None,
        size_bytes: file.size_bytes,
        sha256: file.sha256,
        mode: format!("{:04o}", file.attributes.mode),
        modified: file.attributes.modified.to_date(),
        fault: file.fault.clone(),
    }
}

/// What a verification found.
pub fn verification(backup: &Backup, verification: Verification) -> VerifyOutcome {
    let (verdict, damages, unreadable) = match verification.verdict {
        Verdict::Intact => (VerifyVerdict::Intact, vec![], None),
        Verdict::Damaged(damages) => (VerifyVerdict::Damaged, damages, None),
        Verdict::Unreadable(why) => (VerifyVerdict::Unreadable, vec![], Some(why)),
    };
    let documents = |damages: Vec<Damage>| -> Vec<DamageDocument> {
        damages.into_iter().map(|damage| DamageDocument { place: damage.place, fault: damage.fault }).collect()
    };
    VerifyOutcome {
        backup: backup.id,
        set: backup.set.clone(),
        verdict,
        damages: documents(damages),
        healed: documents(verification.healed),
        unreadable,
        content_bytes: verification.content_bytes,
    }
}

/// What a restore did.
pub fn restored(
    set: &SetName,
    (backup, backups): (BackupId, Vec<BackupId>),
    target: String,
    rules: Rules,
    restored: Restored,
) -> RestoreOutcome {
    let undo = |id: BackupId| {
        let rule = |flag, asked: bool| if asked { flag } else { "" };
        let logs = rule(" --replace-logs", rules.replace_logs);
        let owners = rule(" --ignore-ownership", rules.ignore_ownership);
        format!("fiovana-app restore {set} {id}{logs}{owners}{}", rule(" --ignore-xattrs", rules.ignore_xattrs))
    };
    let undo_call = |id: BackupId| {
        let rule = |name: &str, asked: bool| asked.then(|| format!("\"{name}\":true"));
        let rules = [
            rule("replace_logs", rules.replace_logs),
            rule("ignore_ownership", rules.ignore_ownership),
            rule("ignore_xattrs", rules.ignore_xattrs),
        ];
        let rules: Vec<String> = rules.into_iter().flatten().collect();
        let body = if rules.is_empty() { String::new() } else { format!(" -d '{{{}}}'", rules.join(",")) };
        format!("POST /api/recovery/{set}/{id}{body}")
    };
    let documents = |files: Vec<(String, String)>| -> Vec<SkippedDocument> {
        files.into_iter().map(|(path, reason)| SkippedDocument { path, reason }).collect()
    };
    RestoreOutcome {
        set: set.clone(),
        backup,
        backups,
        target,
        restored: restored
            .files
            .into_iter()
            .map(|file| RestoredDocument { path: file.path, size_bytes: file.size_bytes, sha256: file.sha256 })
            .collect(),
        symlinks: symlinks(restored.symlinks.into_iter()),
        removed: restored.removed,
        skipped: documents(restored.skipped),
        unsaved: documents(restored.unsaved),
        left_alone: restored.left_alone,
        not_kept: restored.not_kept,
        safety_backup: restored.safety_backup,
        undo: restored.safety_backup.map(undo),
        undo_call: restored.safety_backup.map(undo_call),
    }
}

/// The mode.
pub fn mode(world: &World) -> ModeDocument {
    let (view, concerns) = (world.mode(), world.concerns());
    let document = |reason: &DegradedReason| ReasonDocument {
        code: reason.code().into(),
        detail: reasons::detail(&concerns, *reason),
    };
    let reasons = view.mode.reasons().iter().map(document).collect();
    let losses = match view.mode.phase() {
        Some(RecoveryPhase::AwaitingDecision { losses }) => losses.iter().map(ToString::to_string).collect(),
        _ => vec![],
    };
    ModeDocument {
        name: view.mode.name().into(),
        cause: view.mode.recovery_cause().map(|cause| cause.code().into()),
        phase: view.mode.phase().map(|phase| phase.code().into()),
        reasons,
        losses,
        persisted: view.persisted,
    }
}

/// Everything at a glance.
pub fn status(world: &World) -> Status {
    let facts = facts(world);
    let sets =
        facts.sets.iter().zip(&world.settings().sets).map(|(facts, set)| set_status(world, facts, set)).collect();
    let audit = world.audit();
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        started: world.started,
        enabled: facts.enabled,
        mode: mode(world),
        sets,
        actors: world
            .actors()
            .into_iter()
            .map(|(name, actor)| ActorStatus {
                name: name.into(),
                parent: (name != ROOT).then(|| ROOT.into()),
                state: actor.state.as_str().into(),
                since: actor.since,
                restarts: actor.restarts,
                last_error: actor.last_error,
                waiting_messages: world.mail(name).waiting() as u64,
            })
            .collect(),
        repository: RepositoryStatus {
            location: world.repository.location(),
            id: world.repository.id().into(),
            objects: facts.repository_objects as u64,
            stored_bytes: facts.repository_bytes,
            free_bytes: facts.free_bytes,
            earlier: world.opening.earlier.clone(),
        },
        damage: damage_view::damage(world),
        scrub: damage_view::scrub(world),
        replicas: replicas(world),
        audit: AuditStatus {
            path: world.audit_path().display().to_string(),
            head_sequence: audit.head.map(|head| head.seq),
            writable: !audit.failing,
            chain_ok: !audit.broken,
        },
        log_lines_dropped: dropped_lines(),
    }
}

fn replicas(world: &World) -> Vec<ReplicaStatus> {
    let document = |view: ReplicaView| ReplicaStatus {
        name: view.name,
        path: view.path.display().to_string(),
        reachable: view.reachable,
        lag: view.lag_backups as u64,
        last_success: view.last_success,
        same_disk: view.same_disk,
        fault: view.fault.map(|fault| fault.message),
    };
    replica_views(world).into_iter().map(document).collect()
}

fn replica_views(world: &World) -> Vec<ReplicaView> {
    world.replicas.views(&world.settings(), &world.repository)
}

fn set_status(world: &World, facts: &SetFacts, set: &SetSettings) -> SetStatus {
    // Asked for first: it looks into the catalogue, too, and a second guard of one thread never comes while a writer waits
    // between the two.
    let next_drill = world.drill_due(set).map(|due| due.at(world.clock.now()));
    let is_sealed = world.access(&set.name) == Some(Access::Sealed);
    let catalogue = world.repository.catalogue();
    let index = catalogue.set(&set.name);
    let drill = world.drills.of(&set.name);
    let count = |state| facts.backups.get(&state).copied().unwrap_or(0);
    SetStatus {
        name: set.name.clone(),
        priority: set.priority,
        enabled: set.enabled,
        source: set.source.written().display().to_string(),
        interval_seconds: set.interval.as_secs(),
        next_run: facts.next_run,
        last_attempt: facts.last_attempt,
        last_success: facts.last_success,
        consecutive_failures: facts.consecutive_failures,
        last_error: world.run(&set.name).last_error,
        running_since: facts.running_since,
        last_drill: drill.history.last_attempt,
        last_drill_outcome: if is_sealed { Some(NO_KEY) } else { drill.outcome() }.map(str::to_owned),
        last_drill_error: drill.failure.filter(|_| !is_sealed),
        next_drill,
        latest: index.and_then(SetIndex::latest).map(|backup| backup.id),
        backups: StateCounts {
            good: count(BackupState::Good),
            suspect: count(BackupState::Suspect),
            unverified: count(BackupState::Unverified),
            damaged: count(BackupState::Damaged),
        },
        lost_sequences: index.map_or_else(Vec::new, |index| {
            index.lost(MAX_LOST_SHOWN).iter().map(|position| position.sequence.0).collect()
        }),
        left_out: index.map_or_else(Vec::new, |index| left_out(index, set)),
        held: world.upkeep.held(&set.name).map(|hold| HeldDocument::new(&set.name, &hold)),
    }
}

/// What Prometheus is told of the state. Everything here is in memory: a disk that hangs must not silence whoever tells of
/// it.
pub fn facts(world: &World) -> Facts {
    let sets = world.settings().sets.iter().map(|set| set_facts(world, set)).collect();
    let (repository_objects, repository_bytes) = world.repository.catalogue().object_totals();
    let mode = world.mode();
    Facts {
        enabled: world.settings().backup.enabled,
        mode: mode.mode.name(),
        reasons: mode.mode.reasons(),
        mode_persisted: mode.persisted,
        sets,
        actors: world.actors().into_iter().map(|(name, actor)| (name, actor.state == ActorState::Up)).collect(),
        mailboxes: ACTORS.into_iter().map(|name| (name, world.mail(name).waiting())).collect(),
        scrub_interval_seconds: super::verifier::scrub::pace(world).map_or(0, |pace| pace.within.as_secs()),
        repository_bytes,
        repository_objects,
        free_bytes: world.space().map(|space| space.free_bytes),
        replicas: replica_views(world)
            .into_iter()
            .map(|view| ReplicaFacts { name: view.name, lag_backups: view.lag_backups, same_disk: view.same_disk })
            .collect(),
        clock_suspect: world.timekeeping.fault().is_some(),
        rolled_back: world.seen.unseen(&world.repository).is_some(),
        scrub_oldest_check: damage_view::oldest_check(world),
        audit_head_sequence: world.audit().head.map_or(0, |head| head.seq),
        audit_chain_ok: !world.audit().broken,
    }
}

fn set_facts(world: &World, set: &SetSettings) -> SetFacts {
    let (run, now) = (world.run(&set.name), world.clock.now());
    let history = run.history.seen_at(now);
    let is_sealed = world.access(&set.name) == Some(Access::Sealed);
    let settings = world.settings();
    let scheduled = settings.backup.enabled && set.enabled;
    let rehearsed = scheduled && settings.backup.integrity_checks && !is_sealed;
    let drill = world.drills.of(&set.name);
    let catalogue = world.repository.catalogue();
    let index = catalogue.set(&set.name);
    let backups = index.map_or(&[][..], SetIndex::backups);
    let good = || backups.iter().filter(|backup| backup.is_good_version());
    let newest =
        backups.iter().rev().find(|backup| backup.content.is_some() && backup.kind() != Some(BackupKind::PreRestore));
    let newest = newest.and_then(|backup| backup.content.as_ref()).map(|content| &content.manifest);
    let mut states: BTreeMap<BackupState, u64> = BTreeMap::new();
    // The live files of before a restore are no version of the set: whole, they count as nothing.
    let counted = backups.iter().filter(|backup| {
        backup.kind() != Some(BackupKind::PreRestore)
            || matches!(backup.state(), BackupState::Unverified | BackupState::Damaged)
    });
    counted.for_each(|backup| *states.entry(backup.state()).or_default() += 1);
    SetFacts {
        name: set.name.clone(),
        priority: set.priority,
        interval_seconds: if scheduled { set.interval.as_secs() } else { 0 },
        next_run: world.due(set).map(|due| due.at(now)),
        last_attempt: history.last_attempt,
        last_success: history.last_success,
        drill_interval_seconds: if rehearsed { settings.drill.interval(set.priority).as_secs() } else { 0 },
        drill_failed: drill.failure.is_some() && !is_sealed,
        last_drill: drill.history.seen_at(now).last_success,
        last_verified: backups.iter().filter_map(Backup::verified).filter(|at| !is_ahead(*at, now)).max(),
        newest_restorable: good().next_back().map(Backup::created),
        oldest_restorable: good().next().map(Backup::created),
        consecutive_failures: run.history.consecutive_failures,
        running_since: run.busy_since,
        size_bytes: newest.map_or(0, |manifest| manifest.envelope.size_bytes),
        stored_bytes: newest.map_or(0, |manifest| manifest.envelope.stored_bytes),
        backups: states,
        missing_files: newest.and_then(|manifest| manifest.body.as_ref()).map_or(0, |body| body.missing.len()),
        lost_sequences: index.map_or(0, |index| index.lost(MAX_LOST_SHOWN).len()),
        held_deletions: world.upkeep.held(&set.name).map_or(0, |hold| hold.deletions),
        invalid_files: newest.map_or(0, |manifest| manifest.files().iter().filter(|file| file.fault.is_some()).count()),
    }
}

#[cfg(test)]
mod tests;
