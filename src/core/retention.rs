//! Which backups of a set may be forgotten.
//!
//! Hazard: deletion is the most dangerous thing a backup system does, and the clock, the settings and the live files
//! that ask for it may all be wrong. So nothing is deleted for being old as such, but only for being superseded for
//! long or by many; what is the last of its kind is never deleted; and when anything looks wrong, nothing is. The
//! plan gives a reason for every backup; carrying it out is somebody else's work.

mod reason;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{BackupId, BackupKind, BackupState, Digest, Sequence};

pub use reason::{Decision, DeleteReason, FreezeReason, KeepReason};

/// What retention knows of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: BackupId,
    /// Its place in the order of the set.
    pub sequence: Sequence,
    /// When it was made, as the clock then told it.
    pub created: DateTime<Utc>,
    /// Why it was made.
    pub kind: BackupKind,
    /// What is known of its bytes and content.
    pub state: BackupState,
    /// Whether somebody protected it.
    pub pinned: bool,
    /// Identifies its content: backups with the same content have the same one.
    pub version: Digest,
    /// The files of which it holds a valid copy, by path.
    pub files: BTreeSet<String>,
}

/// How much of a set's past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Good, unpinned versions, at most.
    pub max_backups: usize,
    /// For how long a version is kept after it was superseded.
    pub retention_days: u32,
    /// For how long a pre-restore backup is kept after it was made.
    pub pre_restore_days: u32,
}

/// What forbids every deletion, as far as the backups themselves do not tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Guards {
    /// The mode is recovery.
    pub recovery: bool,
    /// The set's live content is suspect: the backups may soon be all that is left.
    pub live_suspect: bool,
    /// The clock is suspect: no age can be told.
    pub clock_suspect: bool,
}

/// What is to become of each backup, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPlan {
    /// One decision for each candidate, in sequence order.
    pub decisions: Vec<(BackupId, Decision)>,
    /// Why nothing at all is deleted, if so.
    pub frozen: Option<FreezeReason>,
}

impl RetentionPlan {
    /// The backups to delete, in sequence order.
    pub fn deletions(&self) -> impl Iterator<Item = (BackupId, &DeleteReason)> {
        self.decisions.iter().filter_map(|(id, decision)| match decision {
            Decision::Delete(reason) => Some((*id, reason)),
            Decision::Keep(_) => None,
        })
    }
}

/// Plans the retention of one set's backups (given in any order) at `now`.
///
/// Planning again after the plan was carried out deletes nothing more: what the absence of some makes superfluous
/// among the others (one stamped in the future no longer makes those after it look young, say) is part of the same
/// plan.
pub fn plan(candidates: &[Candidate], rule: &Rule, guards: &Guards, now: DateTime<Utc>) -> RetentionPlan {
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    left.sort_unstable_by_key(|candidate| (candidate.sequence, candidate.id));
    let frozen = freeze_reason(&left, guards);
    if let Some(reason) = frozen {
        let keep = |candidate: &&Candidate| (candidate.id, Decision::Keep(KeepReason::Frozen(reason)));
        return RetentionPlan { decisions: left.iter().map(keep).collect(), frozen };
    }
    let mut decided = Vec::with_capacity(left.len());
    loop {
        let decisions = decide(&left, rule, now);
        let (kept, deleted): (Vec<_>, Vec<_>) =
            left.iter().copied().zip(decisions).partition(|(_, decision)| matches!(decision, Decision::Keep(_)));
        let settled = deleted.is_empty();
        left = kept.iter().map(|(candidate, _)| *candidate).collect();
        decided.extend(deleted);
        if settled {
            decided.extend(kept);
            break;
        }
    }
    decided.sort_unstable_by_key(|(candidate, _)| (candidate.sequence, candidate.id));
    let decisions = decided.into_iter().map(|(candidate, decision)| (candidate.id, decision)).collect();
    RetentionPlan { decisions, frozen }
}

fn freeze_reason(ordered: &[&Candidate], guards: &Guards) -> Option<FreezeReason> {
    let newest = ordered.iter().rev().find(|candidate| candidate.kind != BackupKind::PreRestore);
    let newest_unverified = newest.is_some_and(|candidate| candidate.state == BackupState::Unverified);
    [
        (guards.recovery, FreezeReason::Recovery),
        (guards.live_suspect, FreezeReason::LiveSuspect),
        (guards.clock_suspect, FreezeReason::ClockSuspect),
        (newest_unverified, FreezeReason::NewestUnverified),
    ]
    .into_iter()
    .find_map(|(holds, reason)| holds.then_some(reason))
}

/// Whether this backup is one of the versions that the rule counts, if it is not pinned.
fn is_version(candidate: &Candidate) -> bool {
    candidate.kind != BackupKind::PreRestore && candidate.state == BackupState::Good
}

/// One decision for each of these backups, which are in sequence order.
fn decide(ordered: &[&Candidate], rule: &Rule, now: DateTime<Utc>) -> Vec<Decision> {
    let newer_same = newer_same_versions(ordered);
    let ages = superseded_for(ordered, &newer_same, now);
    let irreplaceable = irreplaceable(ordered);
    let mut decisions: Vec<Decision> = ordered
        .iter()
        .enumerate()
        .map(|(at, candidate)| {
            decide_alone(candidate, ages[at], rule, now)
                .or_else(|| irreplaceable.get(&at).cloned().map(Decision::Keep))
                .or_else(|| expired(ages[at], rule.retention_days).map(Decision::Delete))
                .unwrap_or(Decision::Keep(KeepReason::WithinRule))
        })
        .collect();
    for at in surplus(ordered, &newer_same, &decisions, rule) {
        decisions[at] = Decision::Delete(match newer_same[at] {
            Some(newer) => DeleteReason::SameVersion { newer },
            None => DeleteReason::TooMany { max_backups: rule.max_backups },
        });
    }
    decisions
}

/// What is decided of a backup whatever the others are; `None` for what the others have a say in.
fn decide_alone(candidate: &Candidate, age: TimeDelta, rule: &Rule, now: DateTime<Utc>) -> Option<Decision> {
    if candidate.pinned {
        return Some(Decision::Keep(KeepReason::Pinned));
    }
    if candidate.kind == BackupKind::PreRestore {
        let age = now.signed_duration_since(candidate.created);
        return Some(match days_beyond(age, rule.pre_restore_days) {
            Some(age_days) => Decision::Delete(DeleteReason::PreRestoreExpired { age_days }),
            None => Decision::Keep(KeepReason::PreRestore),
        });
    }
    match candidate.state {
        BackupState::Damaged => Some(Decision::Keep(KeepReason::Damaged)),
        BackupState::Unverified => Some(Decision::Keep(KeepReason::Unverified)),
        BackupState::Suspect if expired(age, rule.retention_days).is_none() => {
            Some(Decision::Keep(KeepReason::Suspect))
        }
        BackupState::Suspect | BackupState::Good => None,
    }
}

/// The newest good backup, and the newest holder of each file, by position. A suspect backup's valid files count: its
/// bytes are intact. Damaged, unverified and pre-restore ones hold nothing that can be relied on.
fn irreplaceable(ordered: &[&Candidate]) -> BTreeMap<usize, KeepReason> {
    let mut kept = BTreeMap::new();
    let (mut held, mut last_files) = (BTreeSet::new(), None);
    for (at, candidate) in ordered.iter().enumerate().rev() {
        let intact = matches!(candidate.state, BackupState::Good | BackupState::Suspect);
        // Most neighbours hold the same files; comparing is much cheaper than looking up each.
        if candidate.kind == BackupKind::PreRestore || !intact || last_files == Some(&candidate.files) {
            continue;
        }
        last_files = Some(&candidate.files);
        let newly_held = candidate.files.iter().filter(|file| held.insert(file.as_str()));
        if let Some(file) = newly_held.last() {
            kept.insert(at, KeepReason::NewestCopy { file: file.clone() });
        }
    }
    if let Some(newest) = ordered.iter().rposition(|candidate| is_version(candidate)) {
        kept.insert(newest, KeepReason::NewestGood);
    }
    kept
}

/// For each version, the next newer one if it has the same content.
fn newer_same_versions(ordered: &[&Candidate]) -> Vec<Option<BackupId>> {
    let mut newer: Option<&Candidate> = None;
    let mut same: Vec<Option<BackupId>> = ordered
        .iter()
        .rev()
        .map(|candidate| {
            let newer = if is_version(candidate) { newer.replace(candidate) } else { None };
            newer.filter(|newer| newer.version == candidate.version).map(|newer| newer.id)
        })
        .collect();
    same.reverse();
    same
}

/// For how long the version of each backup has been superseded: followed by a version with other content. Zero if it
/// is not.
///
/// No backup counts as older than one before it, so a clock that once lied makes some look younger, and none older.
fn superseded_for(ordered: &[&Candidate], newer_same: &[Option<BackupId>], now: DateTime<Utc>) -> Vec<TimeDelta> {
    let mut latest = DateTime::<Utc>::MIN_UTC;
    let created = ordered.iter().map(|candidate| {
        latest = latest.max(candidate.created);
        latest
    });
    let created: Vec<DateTime<Utc>> = created.collect();
    // When the next newer version was made, and since when that one itself is superseded.
    let (mut follower, mut follower_superseded) = (None, None);
    let mut ages: Vec<TimeDelta> = (0..ordered.len())
        .rev()
        .map(|at| {
            let superseded: Option<DateTime<Utc>> =
                if newer_same[at].is_some() { follower_superseded } else { follower };
            if is_version(ordered[at]) {
                (follower, follower_superseded) = (Some(created[at]), superseded);
            }
            superseded.map_or(TimeDelta::zero(), |at| now.signed_duration_since(at))
        })
        .collect();
    ages.reverse();
    ages
}

fn expired(age: TimeDelta, retention_days: u32) -> Option<DeleteReason> {
    days_beyond(age, retention_days).map(|age_days| DeleteReason::Expired { age_days })
}

/// `age` in whole days, if it is more than `limit_days`.
fn days_beyond(age: TimeDelta, limit_days: u32) -> Option<u32> {
    let beyond = age > TimeDelta::days(limit_days.into());
    beyond.then(|| u32::try_from(age.num_days()).unwrap_or(u32::MAX))
}

/// The positions of the backups that are too many for the rule. Copies of a version that a newer backup holds go
/// first: without them nothing is lost.
fn surplus(ordered: &[&Candidate], newer_same: &[Option<BackupId>], decisions: &[Decision], rule: &Rule) -> Vec<usize> {
    let counted: Vec<usize> = (0..ordered.len())
        .filter(|at| is_version(ordered[*at]) && !ordered[*at].pinned)
        .filter(|at| matches!(decisions[*at], Decision::Keep(_)))
        .collect();
    let excess = counted.len().saturating_sub(rule.max_backups);
    let free = counted.into_iter().filter(|at| decisions[*at] == Decision::Keep(KeepReason::WithinRule));
    let (copies, versions): (Vec<usize>, Vec<usize>) = free.partition(|at| newer_same[*at].is_some());
    let copies: Vec<usize> = copies.into_iter().take(excess).collect();
    let versions = newest_stay(versions.into_iter(), excess - copies.len());
    copies.into_iter().chain(versions).collect()
}

/// The policy `newest`: of these versions, oldest first, the oldest go.
fn newest_stay(versions: impl Iterator<Item = usize>, excess: usize) -> Vec<usize> {
    versions.take(excess).collect()
}

#[cfg(test)]
mod tests;
