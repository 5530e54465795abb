//! Which backups of a set may be forgotten.
//!
//! Hazard: deletion is the most dangerous thing a backup system does, and the clock, the settings and the live files
//! that ask for it may all be wrong. So nothing is deleted for being old as such, but only for being superseded for
//! long or by many; what is the last of its kind is never deleted; and when anything looks wrong, nothing is. The
//! plan gives a reason for every backup; carrying it out is somebody else's work.

mod hold;
mod policy;
mod reason;
mod spread;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::{BackupId, BackupKind, BackupState, Digest, Position};

pub use hold::{Hold, HoldReason, PlanDigest, PlanDigestSyntax};
pub use policy::{Policy, PolicySyntax};
pub use reason::{Decision, DeleteReason, FreezeReason, KeepReason};
use spread::Point;

/// What retention knows of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id.
    pub id: BackupId,
    /// Its place in the order of the set.
    pub position: Position,
    /// When it was made, as the clock then told it.
    pub created: DateTime<Utc>,
    /// Whether the clock was in doubt then: `created` proves nothing.
    pub clock_suspect: bool,
    /// When its version was superseded, if the one that superseded it was deleted since.
    pub superseded: Option<DateTime<Utc>>,
    /// Why it was made.
    pub kind: BackupKind,
    /// What is known of its bytes and content.
    pub state: BackupState,
    /// Whether somebody protected it.
    pub pinned: bool,
    /// Identifies its content: backups with the same content have the same one.
    pub version: Digest,
    /// The files of which it holds a valid copy, by path. Neighbours mostly hold the same: they may share them.
    pub files: Arc<BTreeSet<String>>,
}

/// How much of a set's past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Good, unpinned versions, at most.
    pub max_backups: usize,
    /// For how long a version is kept after it was superseded.
    pub retention_days: u32,
    /// So many of the newest good versions are kept however long ago they were superseded. At most `max_backups`.
    pub keep_at_least: usize,
    /// For how long a pre-restore backup is kept after it was made.
    pub pre_restore_days: u32,
    /// Which versions go when there are too many.
    pub policy: Policy,
    /// Whether a version that is too old goes although it has the last copy of a file. So it is with logs: each rotated
    /// segment has a name of its own, and would be kept for ever.
    pub last_copies_expire: bool,
    /// The usual time between two versions: what lies closer together is hardly told apart.
    pub spacing: TimeDelta,
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
    /// The history departed from another, and nobody has seen that yet: what is here may be the older one.
    pub rolled_back: bool,
    /// The service was away for longer than the shortest retention: what is old became so while nobody looked. That forbids
    /// nothing by itself; what is deleted by its age waits for a person.
    pub away: bool,
}

/// What is to become of each backup, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetentionPlan {
    /// One decision for each candidate, in sequence order.
    pub decisions: Vec<(BackupId, Decision)>,
    /// When each version was superseded, as far as it was. Known for certain only while the version that superseded it is
    /// there: to be remembered before that one goes.
    pub superseded: BTreeMap<BackupId, DateTime<Utc>>,
    /// Why nothing at all is deleted, if so.
    pub frozen: Option<FreezeReason>,
    /// Whether what is deleted by its age waits for a person.
    pub away: bool,
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
    left.sort_unstable_by_key(|candidate| (candidate.position, candidate.id));
    let mut superseded: BTreeMap<BackupId, DateTime<Utc>> =
        left.iter().filter_map(|candidate| Some((candidate.id, candidate.superseded?))).collect();
    let frozen = freeze_reason(&left, guards);
    if let Some(reason) = frozen {
        let keep = |candidate: &&Candidate| (candidate.id, Decision::Keep(KeepReason::Frozen(reason)));
        return RetentionPlan { decisions: left.iter().map(keep).collect(), superseded, frozen, away: guards.away };
    }
    let mut decided = Vec::with_capacity(left.len());
    loop {
        let history = History::of(&left, &superseded);
        superseded.extend(left.iter().zip(&history.superseded).filter_map(|(c, at)| Some((c.id, (*at)?))));
        let decisions = history.decide(rule, now);
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
    decided.sort_unstable_by_key(|(candidate, _)| (candidate.position, candidate.id));
    let decisions = decided.into_iter().map(|(candidate, decision)| (candidate.id, decision)).collect();
    RetentionPlan { decisions, superseded, frozen, away: guards.away }
}

fn freeze_reason(ordered: &[&Candidate], guards: &Guards) -> Option<FreezeReason> {
    let newest = ordered.iter().rev().find(|candidate| candidate.kind != BackupKind::PreRestore);
    let newest_unverified = newest.is_some_and(|candidate| candidate.state == BackupState::Unverified);
    [
        (guards.recovery, FreezeReason::Recovery),
        (guards.rolled_back, FreezeReason::RolledBack),
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

/// Backups in sequence order, and what follows from the order.
struct History<'a> {
    ordered: &'a [&'a Candidate],
    /// For each version, the position of the first of its neighbours with the same content.
    first_same: Vec<usize>,
    /// When each was made at the latest, by clocks that can be trusted.
    made: Vec<Option<DateTime<Utc>>>,
    /// When each was superseded.
    superseded: Vec<Option<DateTime<Utc>>>,
}

impl<'a> History<'a> {
    fn of(ordered: &'a [&'a Candidate], remembered: &BTreeMap<BackupId, DateTime<Utc>>) -> Self {
        let newer_same = newer_same_versions(ordered);
        let made = made_by(ordered);
        let superseded = superseded_at(ordered, &newer_same, &made, remembered);
        let first_same = first_same_versions(ordered, &newer_same);
        Self { ordered, first_same, made, superseded }
    }

    /// For how long each version has been superseded; zero if it is not.
    fn age(&self, at: usize, now: DateTime<Utc>) -> TimeDelta {
        self.superseded[at].map_or(TimeDelta::zero(), |superseded| now.signed_duration_since(superseded))
    }

    /// One decision for each backup.
    fn decide(&self, rule: &Rule, now: DateTime<Utc>) -> Vec<Decision> {
        let irreplaceable = irreplaceable(self.ordered);
        let newest = self.newest_versions(rule.keep_at_least.min(rule.max_backups));
        let mut decisions: Vec<Decision> = (0..self.ordered.len())
            .map(|at| {
                let expired = |reason| match newest.contains(&at) {
                    true => Decision::Keep(KeepReason::AtLeast { versions: newest.len() }),
                    false => Decision::Delete(reason),
                };
                self.decide_alone(at, rule, now)
                    .or_else(|| last_copy_expired(irreplaceable.get(&at), self.age(at, now), rule).map(expired))
                    .or_else(|| irreplaceable.get(&at).cloned().map(Decision::Keep))
                    .or_else(|| days_expired(self.age(at, now), rule.retention_days).map(expired))
                    .unwrap_or(Decision::Keep(KeepReason::WithinRule))
            })
            .collect();
        for (at, reason) in self.surplus(&decisions, rule, now) {
            decisions[at] = Decision::Delete(reason);
        }
        decisions
    }

    /// The newest good versions, at most so many: of each the first backup that has its content.
    fn newest_versions(&self, at_most: usize) -> BTreeSet<usize> {
        let versions = (0..self.ordered.len()).rev().filter(|at| is_version(self.ordered[*at]));
        let firsts = versions.filter(|at| self.first_same[*at] == *at);
        firsts.take(at_most).collect()
    }

    /// What is decided of a backup whatever the others are; `None` for what the others have a say in.
    fn decide_alone(&self, at: usize, rule: &Rule, now: DateTime<Utc>) -> Option<Decision> {
        let candidate = self.ordered[at];
        if candidate.pinned {
            return Some(Decision::Keep(KeepReason::Pinned));
        }
        if candidate.kind == BackupKind::PreRestore {
            let age = self.made[at].map_or(TimeDelta::zero(), |made| now.signed_duration_since(made));
            return Some(match days_beyond(age, rule.pre_restore_days) {
                Some(age_days) => Decision::Delete(DeleteReason::PreRestoreExpired { age_days }),
                None => Decision::Keep(KeepReason::PreRestore),
            });
        }
        match candidate.state {
            BackupState::Damaged => Some(Decision::Keep(KeepReason::Damaged)),
            BackupState::Unverified => Some(Decision::Keep(KeepReason::Unverified)),
            BackupState::Suspect if days_expired(self.age(at, now), rule.retention_days).is_none() => {
                Some(Decision::Keep(KeepReason::Suspect))
            }
            BackupState::Suspect | BackupState::Good => None,
        }
    }

    /// The positions of the backups that are too many for the rule, and why each is. Of those with the same content the
    /// first is the version: it tells since when it was so. The copies after it go before any version does; one that may
    /// not go counts with the first, and keeps it.
    fn surplus(&self, decisions: &[Decision], rule: &Rule, now: DateTime<Utc>) -> Vec<(usize, DeleteReason)> {
        let is_kept = |at: &usize| is_version(self.ordered[*at]) && matches!(decisions[*at], Decision::Keep(_));
        let kept: Vec<usize> = (0..self.ordered.len()).filter(is_kept).collect();
        let versions: Vec<Version> = kept
            .chunk_by(|at, next| self.first_same[*at] == self.first_same[*next])
            .filter_map(|members| Version::of(members, self.ordered, decisions))
            .collect();
        let copies = versions.iter().flat_map(|version| version.copies.iter().map(|at| (*at, version.first)));
        let counted = versions.iter().filter(|version| version.counts).count() + copies.clone().count();
        let excess = counted.saturating_sub(rule.max_backups);
        let same = |(at, first): (usize, usize)| (at, DeleteReason::SameVersion { older: self.ordered[first].id });
        let mut gone: Vec<(usize, DeleteReason)> = copies.take(excess).map(same).collect();
        let excess = excess - gone.len();
        let too_many = if excess == 0 { vec![] } else { self.thinned(&versions, excess, rule, now) };
        gone.extend(too_many.into_iter().map(|at| (at, DeleteReason::TooMany { max_backups: rule.max_backups })));
        gone
    }

    /// So many versions that go, or as many as may.
    fn thinned(&self, versions: &[Version], excess: usize, rule: &Rule, now: DateTime<Utc>) -> Vec<usize> {
        match rule.policy {
            Policy::Newest => versions.iter().filter(|v| v.removable).map(|v| v.first).take(excess).collect(),
            Policy::Spread => {
                let point = |v: &Version| Point { at: v.first, age: self.age(v.first, now), removable: v.removable };
                let window = TimeDelta::days(rule.retention_days.into());
                spread::thin(&versions.iter().map(point).collect::<Vec<_>>(), excess, window, rule.spacing)
            }
        }
    }
}

/// Neighbours with the same content, as far as they are kept.
struct Version {
    /// The oldest of them.
    first: usize,
    /// Those after it without which nothing is lost.
    copies: Vec<usize>,
    /// Whether it takes up a place, the copies apart: not if it is pinned.
    counts: bool,
    /// Whether it may go: if any of it stays, the first does, too.
    removable: bool,
}

impl Version {
    fn of(members: &[usize], ordered: &[&Candidate], decisions: &[Decision]) -> Option<Self> {
        let (first, others) = members.split_first()?;
        let is_free = |at: &usize| decisions[*at] == Decision::Keep(KeepReason::WithinRule);
        let stays = others.iter().any(|at| !is_free(at));
        Some(Self {
            first: *first,
            copies: others.iter().copied().filter(is_free).collect(),
            counts: !members.iter().any(|at| ordered[*at].pinned),
            removable: is_free(first) && !stays,
        })
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

/// For each version, the position of the first of its neighbours with the same content.
fn first_same_versions(ordered: &[&Candidate], newer_same: &[Option<BackupId>]) -> Vec<usize> {
    let mut first: Option<usize> = None;
    let of = |at| {
        let this = first.unwrap_or(at);
        if is_version(ordered[at]) {
            first = newer_same[at].is_some().then_some(this);
        }
        this
    };
    (0..ordered.len()).map(of).collect()
}

/// When each backup was made, at the latest. None counts as older than one before it, so a clock that once lied makes
/// some look younger and none older. Where the clock was in doubt, the next backup that was made by a good one tells;
/// `None` if there is none.
fn made_by(ordered: &[&Candidate]) -> Vec<Option<DateTime<Utc>>> {
    let mut latest = DateTime::<Utc>::MIN_UTC;
    let mut made: Vec<Option<DateTime<Utc>>> = Vec::with_capacity(ordered.len());
    for candidate in ordered {
        if !candidate.clock_suspect {
            latest = latest.max(candidate.created);
        }
        made.push((!candidate.clock_suspect).then_some(latest));
    }
    let mut next = None;
    for made in made.iter_mut().rev() {
        next = made.or(next);
        *made = next;
    }
    made
}

/// When the version of each backup was superseded: followed by a version with other content. What is remembered of it
/// holds as long as there is one that follows, for then there may have been another between the two.
fn superseded_at(
    ordered: &[&Candidate],
    newer_same: &[Option<BackupId>],
    made: &[Option<DateTime<Utc>>],
    remembered: &BTreeMap<BackupId, DateTime<Utc>>,
) -> Vec<Option<DateTime<Utc>>> {
    // The next newer version, and since when that one itself is superseded.
    let (mut follower, mut follower_superseded): (Option<usize>, _) = (None, None);
    let mut superseded: Vec<_> = (0..ordered.len())
        .rev()
        .map(|at| {
            let superseded = match follower {
                None => None,
                Some(_) if newer_same[at].is_some() => follower_superseded,
                Some(follower) => match (made[follower], remembered.get(&ordered[at].id)) {
                    (Some(made), Some(remembered)) => Some(made.min(*remembered)),
                    (made, remembered) => made.or(remembered.copied()),
                },
            };
            if is_version(ordered[at]) {
                (follower, follower_superseded) = (Some(at), superseded);
            }
            superseded
        })
        .collect();
    superseded.reverse();
    superseded
}

fn days_expired(age: TimeDelta, retention_days: u32) -> Option<DeleteReason> {
    days_beyond(age, retention_days).map(|age_days| DeleteReason::Expired { age_days })
}

/// Of a version with the last copy of a file: why it goes all the same.
fn last_copy_expired(kept: Option<&KeepReason>, age: TimeDelta, rule: &Rule) -> Option<DeleteReason> {
    let Some(KeepReason::NewestCopy { file }) = kept else { return None };
    let age_days = days_beyond(age, rule.retention_days).filter(|_| rule.last_copies_expire)?;
    Some(DeleteReason::LastCopyExpired { age_days, file: file.clone() })
}

/// `age` in whole days, if it is more than `limit_days`.
fn days_beyond(age: TimeDelta, limit_days: u32) -> Option<u32> {
    let beyond = age > TimeDelta::days(limit_days.into());
    beyond.then(|| u32::try_from(age.num_days()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
