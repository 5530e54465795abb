//! The history of a repository, held against what others know of it, and what is brought back from them.
//!
//! Hazard: a repository of which an older copy was put back knows nothing of what it lacks. What is here is taken as it is
//! found; what a replica has is taken as it is found there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Progress;
use super::refill::heal_from;
use super::replicate::{self, Next, ReplicateError, Run};
use crate::core::timeline::{Elsewhere, Here, SetHere, Told};
use crate::core::{BackupId, Sequence, SetName};
use crate::repository::Repository;
use crate::repository::catalogue::{Backup, Catalogue, SetIndex};
use crate::repository::timelines::TimelineEntry;

/// What is here.
pub fn here(repository: &Repository) -> Here {
    let catalogue = repository.catalogue();
    let sets = catalogue.sets().map(|(set, index)| (set.clone(), set_here(index))).collect();
    Here { sets, timeline: catalogue.timeline(), departed: departed(&catalogue) }
}

fn set_here(index: &SetIndex) -> SetHere {
    let position = |backup: &Backup| Some((backup.id, backup.position()?));
    let newest = index.backups().last().and_then(Backup::position).max(index.pruned.last());
    let highest = Sequence(index.next_sequence().0.saturating_sub(1));
    SetHere { backups: index.backups().iter().filter_map(position).collect(), newest, highest }
}

fn departed(catalogue: &Catalogue) -> BTreeMap<SetName, Sequence> {
    catalogue.timelines().departed().into_iter().map(|(set, (_, above))| (set, above)).collect()
}

/// What a copy of the repository knows. What was deleted there on purpose is no loss here.
pub fn known_to(copy: &Repository) -> Elsewhere {
    let catalogue = copy.catalogue();
    let mut elsewhere = Elsewhere { timeline: catalogue.timeline(), ..Elsewhere::default() };
    for (set, index) in catalogue.sets() {
        let told = index.backups().iter().filter(|backup| backup.content.is_some());
        let told =
            told.filter_map(|backup| Some(Told { set: set.clone(), id: backup.id, position: backup.position()? }));
        elsewhere.told.extend(told);
        elsewhere.highest.insert(set.clone(), Sequence(index.next_sequence().0.saturating_sub(1)));
    }
    elsewhere
}

/// Whether a backup was deleted on purpose: here, or, as far as the lists of copies tell, there.
pub fn was_pruned<'r>(repository: &'r Repository, copies: &'r [&'r Repository]) -> impl Fn(&Told) -> bool + 'r {
    let lists = |repository: &Repository, told: &Told| {
        repository.catalogue().set(&told.set).is_some_and(|index| index.pruned.contains(told.position))
    };
    move |told| lists(repository, told) || copies.iter().any(|copy| lists(copy, told))
}

/// Whether a copy has backups that are newer than all that are here of their set, and were not deleted on purpose.
pub fn is_behind(repository: &Repository, copy: &Repository) -> bool {
    let told = known_to(copy).told;
    let copies = [copy];
    let was_pruned = was_pruned(repository, &copies);
    !here(repository).behind(&told, was_pruned).is_empty()
}

/// The timelines that a copy lists and this repository does not, with those that it lists.
pub fn with_those_of(own: &[TimelineEntry], copy: &[TimelineEntry]) -> Vec<TimelineEntry> {
    let known: BTreeSet<_> = own.iter().map(|entry| entry.timeline).collect();
    let theirs = copy.iter().filter(|entry| !known.contains(&entry.timeline));
    let mut all: Vec<_> = own.iter().chain(theirs).cloned().collect();
    all.sort_by_key(|entry| entry.timeline);
    all
}

/// What of another history a copy has and this repository, which departed from it, lacks; newest first.
pub fn left_behind(repository: &Repository, copy: &Repository) -> Vec<Told> {
    let here = here(repository);
    if here.departed.is_empty() {
        return Vec::new();
    }
    let mut told = known_to(copy).told;
    let catalogue = repository.catalogue();
    let known = catalogue.backups().filter(|backup| backup.content.is_some());
    let known: BTreeSet<BackupId> = known.map(|backup| backup.id).collect();
    let let_go = |told: &Told| {
        let index = catalogue.set(&told.set);
        index.is_some_and(|index| index.pruned_in_doubt || index.pruned.contains(told.position))
    };
    told.retain(|told| here.is_departed(told) && !known.contains(&told.id) && !let_go(told));
    told.sort_by_key(|told| std::cmp::Reverse(told.position));
    told
}

/// Takes one step of bringing those back that were [`left_behind`]; none if there are no more, or `run` skipped the rest.
/// The caller holds the write lane.
pub fn bring_back(
    repository: &Repository,
    copy: &Repository,
    run: &mut Run,
    now: DateTime<Utc>,
    progress: &Progress,
) -> Result<Option<Next>, ReplicateError> {
    let wanted: Vec<BackupId> = left_behind(repository, copy).iter().map(|told| told.id).collect();
    let Some(id) = wanted.into_iter().find(|id| !run.skipped.contains_key(id)) else { return Ok(None) };
    let next = replicate::step_of(copy, repository, id, run, now, progress)?;
    if let Next::Heal(damages) = &next {
        heal_from(copy, repository, damages, now)?;
    }
    Ok(Some(next))
}

/// What goes with what was brought back: pins, and what was deleted there on purpose.
pub fn settle(
    repository: &Repository,
    copy: &Repository,
    brought_back: &BTreeSet<BackupId>,
) -> Result<(), ReplicateError> {
    let sets: Vec<SetName> = copy.catalogue().sets().map(|(set, _)| set.clone()).collect();
    for set in sets {
        let (pinned, pruned) = {
            let catalogue = copy.catalogue();
            let Some(index) = catalogue.set(&set) else { continue };
            let pinned = index.backups().iter().filter(|backup| backup.pinned && brought_back.contains(&backup.id));
            (pinned.map(|backup| (backup.id, true)).collect(), index.pruned.clone())
        };
        repository.change_pins(&set, &pinned)?;
        repository.merge_pruned(&set, &pruned)?;
    }
    Ok(())
}
