//! What retention and collection take, beside sorting as many, and beside a quarter of as much.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fiovana_app::core::retention::{Candidate, Guards, Policy, Rule, plan};
use fiovana_app::core::{BackupId, BackupKind, BackupState, Digest, Position};
use fiovana_app::pipeline::sweep::{self, BATCH};
use fiovana_app::repository::Repository;
use fiovana_app::repository::object::Encoder;
use fiovana_app::storage::Freed;
use fiovana_app::storage::local::Local;

use super::measure::{Table, median, timed};

const BACKUPS: u64 = 10_000;
const ROUNDS: usize = 9;

/// Deciding what becomes of ten thousand versions: not more than 10 ms.
pub fn planning(table: &mut Table) {
    let day = |day: u64| DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(day as i64);
    let files = Arc::new(BTreeSet::from(["a.json".to_owned(), "b.json".to_owned()]));
    let candidate = |number: u64| {
        let version = Digest::of(&number.to_be_bytes());
        Candidate {
            id: BackupId::new(day(number), version),
            position: Position::first(number),
            created: day(number),
            clock_suspect: false,
            superseded: None,
            kind: BackupKind::Scheduled,
            state: BackupState::Good,
            pinned: false,
            version,
            files: files.clone(),
        }
    };
    let mut history: Vec<Candidate> = (1..=BACKUPS).map(candidate).collect();
    fastrand::Rng::with_seed(7).shuffle(&mut history);
    let sort = || {
        timed(|| {
            let mut sorted: Vec<&Candidate> = history.iter().collect();
            sorted.sort_by_key(|candidate| (candidate.position, candidate.id));
            assert_eq!(sorted[0].position, Position::first(1));
        })
        .0
    };
    let sorting = median((0..ROUNDS).map(|_| sort()).collect());
    for policy in [Policy::Spread, Policy::Newest] {
        let rule = Rule {
            max_backups: 10,
            keep_at_least: 3,
            retention_days: 36_500,
            pre_restore_days: 7,
            policy,
            last_copies_expire: false,
            spacing: TimeDelta::days(1),
        };
        let decide = || {
            let (took, plan) = timed(|| plan(&history, &rule, &Guards::default(), day(BACKUPS)));
            assert_eq!(plan.deletions().count() as u64, BACKUPS - 10);
            took
        };
        let deciding = median((0..ROUNDS).map(|_| decide()).collect());
        table.row(&format!("plan 10,000 backups, {policy}"), deciding, "sorting them", sorting);
    }
}

/// Collecting four times as many objects takes four times as long.
pub fn collection(root: &Path, table: &mut Table) {
    let few = collect(&root.join("few"), 5_000);
    let many = collect(&root.join("many objects"), 20_000);
    table.row("collect 20,000 objects", many, "4 times 5,000", 4.0 * few);
}

fn collect(directory: &Path, objects: u64) -> f64 {
    std::fs::create_dir_all(directory).expect("create");
    let storage = Arc::new(Local::open(directory).expect("open"));
    Repository::create(storage.clone(), Utc::now()).expect("create a repository");
    let repository = Repository::open(storage, false).expect("open the repository").0;
    let mut encoder = Encoder::new(None).expect("an encoder");
    let mut staged = HashMap::new();
    for number in 0..objects {
        let object = encoder.encode(&number.to_be_bytes()).expect("encode");
        staged.insert(object.name, (repository.stage(&object).expect("stage"), object.stored.len() as u64));
    }
    repository.publish_objects(staged).expect("publish");
    // What needed them was deleted.
    repository.list_as_pruned(&"logs".parse().expect("a name"), &[Position::first(1)]).expect("list");
    let mut freed = Freed::default();
    let (took, ()) = timed(|| {
        let plan = sweep::garbage(&repository, Duration::ZERO, None, Utc::now(), &mut freed).expect("plan");
        let garbage: Vec<Digest> = plan.collectable().collect();
        garbage.chunks(BATCH).for_each(|batch| sweep::collect(&repository, batch, &mut freed).expect("collect"));
    });
    assert_eq!(freed.files as u64, objects);
    took
}
