//! Random histories of rollback, clone, unplugged and plugged replicas, pruning and backups, over two hosts and three
//! replicas, against one model.
//!
//! Hazard: each rule is right alone, and two of them together delete the newest version. Whatever happens: no version that
//! was acknowledged disappears but by a rule that was told, or with the only copy of it; `latest` is what was captured
//! last; and a replica of which it is said that it has all has all.

#[path = "repository/mod.rs"]
mod repository;

use std::collections::{BTreeMap, BTreeSet};

use fiovana_app::core::claim::{Claim, Claimant, Verdict as Claimed, judge};
use fiovana_app::core::retention::Guards;
use fiovana_app::core::timeline::{DepartureReason, Elsewhere, Told};
use fiovana_app::core::{BackupId, BackupKind, Timeline};
use fiovana_app::pipeline::replicate::{self, Next, Run};
use fiovana_app::pipeline::verify::Verdict;
use fiovana_app::pipeline::{Progress, history, sweep};
use fiovana_app::repository::timelines::{Departure, DeparturePoint, Writer};
use fiovana_app::repository::{Repository, WriterDocument};
use fiovana_app::storage::Freed;
use fiovana_app::storage::faulty::Simulated;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use repository::site::{self, backups, hour};
use repository::source::Source;
use repository::{Place, seed};

const REPLICAS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Act {
    BackUp(usize),
    Replicate(usize),
    /// Plugs a replica into a host, whichever has it now.
    Plug(usize, usize),
    Unplug(usize),
    Snapshot,
    /// Puts the snapshot back; with it what else the host knows, or not.
    RollBack {
        everything: bool,
    },
    Clone,
    Prune(usize),
    Accept(usize),
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => (0..2usize).prop_map(Act::BackUp),
        6 => (0..2usize).prop_map(Act::Replicate),
        3 => (0..REPLICAS, 0..2usize).prop_map(|(replica, host)| Act::Plug(replica, host)),
        2 => (0..REPLICAS).prop_map(Act::Unplug),
        2 => Just(Act::Snapshot),
        2 => any::<bool>().prop_map(|everything| Act::RollBack { everything }),
        1 => Just(Act::Clone),
        3 => (0..2usize).prop_map(Act::Prune),
        2 => (0..2usize).prop_map(Act::Accept),
    ]
}

/// What a host knows besides its repository.
#[derive(Clone, Default)]
struct Memory {
    writer: String,
    words: BTreeMap<usize, String>,
    /// The audit log.
    log: Vec<Told>,
    let_go: BTreeSet<BackupId>,
    accepted: Timeline,
}

#[derive(Clone)]
struct Host {
    place: String,
    disk: Simulated,
    memory: Memory,
    fresh: BTreeSet<usize>,
}

struct World {
    source: Source,
    hosts: [Option<Host>; 2],
    snapshot: Option<(Simulated, Memory)>,
    replicas: Vec<Simulated>,
    plugged: Vec<Option<usize>>,
    hour: i64,
    words: u64,
    version: u64,
    /// What each host was told is safe.
    acknowledged: [BTreeSet<BackupId>; 2],
    /// What the first was told before there was a second.
    before_clone: BTreeSet<BackupId>,
    /// What went with its only copy, or was let go of by rule.
    gone: BTreeSet<BackupId>,
}

impl World {
    fn new() -> Self {
        let mut source = Source::new("security");
        source.set.max_backups = 3;
        let disk = site::new_disk();
        let original = site::open(&disk).0;
        let replicas = (0..REPLICAS).map(|_| {
            let replica = Simulated::new();
            original.create_replica(site::storage_on(&replica)).expect("begin a replica");
            replica
        });
        let memory = Memory { writer: format!("{:032x}", 1), ..Memory::default() };
        let host = Host { place: "one".into(), disk, memory, fresh: BTreeSet::new() };
        Self {
            source,
            replicas: replicas.collect(),
            hosts: [Some(host), None],
            snapshot: None,
            plugged: vec![Some(0); REPLICAS],
            hour: 1,
            words: 1,
            version: 0,
            acknowledged: Default::default(),
            before_clone: BTreeSet::new(),
            gone: BTreeSet::new(),
        }
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("{:032x}", self.words)
    }

    fn perform(&mut self, act: Act) {
        self.hour += 1;
        match act {
            Act::BackUp(at) => self.back_up(at),
            Act::Replicate(at) => self.replicate_all(at),
            Act::Plug(replica, host) => self.plugged[replica] = self.hosts[host].is_some().then_some(host),
            Act::Unplug(replica) => self.plugged[replica] = None,
            Act::Snapshot => {
                self.snapshot = self.hosts[0].as_ref().map(|host| (host.disk.after_kill(), host.memory.clone()));
            }
            Act::RollBack { everything } => self.roll_back(everything),
            Act::Clone => self.clone_host(),
            Act::Prune(at) => self.prune(at),
            Act::Accept(at) => {
                if let Some(host) = &mut self.hosts[at] {
                    host.memory.accepted = site::open(&host.disk).0.catalogue().timeline();
                }
            }
        }
    }

    fn back_up(&mut self, at: usize) {
        let Some(host) = &mut self.hosts[at] else { return };
        self.version += 1;
        self.source.write("a.json", format!("{{\"version\": {}}}", self.version).as_bytes());
        let repository = site::open(&host.disk).0;
        let made = site::back_up(&repository, &self.source.set, BackupKind::Manual, hour(self.hour)).expect("a backup");
        let position = made.position().expect("its place");
        host.memory.log.push(Told { set: made.set.clone(), id: made.id, position });
        let latest = repository.catalogue().set(&made.set).and_then(|index| index.latest()).map(|latest| latest.id);
        assert_eq!(latest, Some(made.id), "latest is not what was captured last");
        self.acknowledged[at].insert(made.id);
    }

    fn prune(&mut self, at: usize) {
        let Some(host) = &mut self.hosts[at] else { return };
        let repository = site::open(&host.disk).0;
        let rolled_back = repository.catalogue().timeline() > host.memory.accepted;
        let guards = Guards { rolled_back, ..Guards::default() };
        let now = hour(self.hour);
        let due = sweep::plan(&repository, &self.source.set, &guards, now).deletions().map(|(id, _)| id).collect();
        host.memory.let_go.extend(&due);
        let mut freed = Freed::default();
        let went = sweep::sweep(&repository, &self.source.set, &due, &guards, now, &mut freed).expect("sweep");
        assert!(went.is_empty() || !rolled_back, "something was deleted before anybody saw it");
        self.gone.extend(went.into_iter().map(|(id, _)| id));
    }

    fn roll_back(&mut self, everything: bool) {
        let (Some((disk, memory)), Some(host)) = (self.snapshot.clone(), &mut self.hosts[0]) else { return };
        let before = ids(&site::open(&host.disk).0);
        host.disk = disk.after_kill();
        host.fresh.clear();
        if everything {
            host.memory = memory;
        }
        let kept = ids(&site::open(&host.disk).0);
        let copied: BTreeSet<BackupId> = self.replicas.iter().flat_map(|disk| ids(&site::open(disk).0)).collect();
        let elsewhere = self.hosts[1].as_ref().map_or_else(BTreeSet::new, |other| ids(&site::open(&other.disk).0));
        let lost =
            before.into_iter().filter(|id| !kept.contains(id) && !copied.contains(id) && !elsewhere.contains(id));
        self.gone.extend(lost);
        self.start(0);
    }

    fn clone_host(&mut self) {
        let (Some(host), None) = (&self.hosts[0], &self.hosts[1]) else { return };
        let disk = host.disk.after_kill();
        let there = Host { place: "two".into(), disk, memory: host.memory.clone(), fresh: BTreeSet::new() };
        self.hosts[1] = Some(there);
        self.before_clone = self.acknowledged[0].clone();
        self.start(1);
    }

    /// What a start does before anything is added.
    fn start(&mut self, at: usize) {
        let Some(host) = self.hosts[at].clone() else { return };
        let repository = site::open(&host.disk).0;
        let plugged = (0..REPLICAS).filter(|replica| self.plugged[*replica] == Some(at));
        let replicas: Vec<Repository> = plugged
            .map(|replica| (replica, site::open(&self.replicas[replica]).0))
            .filter(|(number, replica)| matches!(verdict(&host, *number, replica), Claimed::Claim | Claimed::Keep))
            .map(|(_, replica)| replica)
            .collect();
        self.compare(at, &repository, &replicas.iter().collect::<Vec<_>>(), true);
    }

    fn compare(&mut self, at: usize, repository: &Repository, replicas: &[&Repository], with_log: bool) {
        let Some(host) = &self.hosts[at] else { return };
        let mut elsewhere = Elsewhere::default();
        if with_log {
            elsewhere.told.clone_from(&host.memory.log);
        }
        let mut known = repository.catalogue().timelines().entries().to_vec();
        for replica in replicas {
            let theirs = history::known_to(replica);
            elsewhere.told.extend(theirs.told);
            elsewhere.timeline = elsewhere.timeline.max(theirs.timeline);
            elsewhere.highest.extend(theirs.highest);
            known = history::with_those_of(&known, replica.catalogue().timelines().entries());
        }
        let pruned = history::was_pruned(repository, replicas);
        let here = history::here(repository);
        let let_go = |told: &Told| host.memory.let_go.contains(&told.id) || pruned(told);
        if !here.behind(&elsewhere.told, let_go).is_empty() {
            depart(host, repository, DepartureReason::RolledBack, &elsewhere, known, self.hour);
        }
    }

    fn replicate_all(&mut self, at: usize) {
        for number in 0..REPLICAS {
            if self.plugged[number] == Some(at) && self.hosts[at].is_some() {
                self.replicate(at, number);
            }
        }
    }

    fn replicate(&mut self, at: usize, number: usize) {
        let Some(mut host) = self.hosts[at].clone() else { return };
        let (original, replica) = (site::open(&host.disk).0, site::open(&self.replicas[number]).0);
        let before = ids(&replica);
        let verdict = verdict(&host, number, &replica);
        if verdict == Claimed::Dispute {
            host.memory.writer = self.word();
        }
        if matches!(verdict, Claimed::Claim | Claimed::Dispute) {
            let word = self.word();
            let document = WriterDocument {
                writer: host.memory.writer.clone(),
                host: "host".into(),
                place: host.place.clone(),
                timeline: original.catalogue().timeline(),
                claimed: hour(self.hour),
                claim: word.clone(),
                disputed: verdict == Claimed::Dispute,
            };
            replica.claim(&document).expect("claim");
            host.memory.words.insert(number, word);
        }
        if matches!(verdict, Claimed::Dispute | Claimed::Refuse) {
            if verdict == Claimed::Dispute {
                let elsewhere = history::known_to(&replica);
                let known = original.catalogue().timelines().entries().to_vec();
                depart(&host, &original, DepartureReason::Cloned, &elsewhere, known, self.hour);
            }
            self.hosts[at] = Some(host);
            assert_eq!(ids(&replica), before, "somebody wrote to what is not theirs");
            return;
        }
        host.fresh.insert(number);
        self.hosts[at] = Some(host);
        self.compare(at, &original, &[&replica], false);
        let sets = [self.source.set.name.clone()];
        let now = hour(self.hour);
        let (mut run, progress) = (Run::default(), Progress::default());
        let missing: BTreeSet<BackupId> =
            history::left_behind(&original, &replica).iter().map(|told| told.id).collect();
        while history::bring_back(&original, &replica, &mut run, now, &progress).expect("bring back").is_some() {}
        history::settle(&original, &replica, &missing).expect("settle");
        let mut run = Run::default();
        while replicate::step(&original, &replica, &sets, &mut run, now, &progress).expect("a step") == Next::Step {}
        assert!(run.skipped.is_empty(), "{:?}", run.skipped);
        replicate::settle(&original, &replica, &sets).expect("settle");
        assert_eq!(replicate::lag(&original, &replica, &sets), 0);
        for id in ids(&original) {
            assert!(ids(&replica).contains(&id) || self.gone.contains(&id), "the replica is said to have {id}");
        }
        self.judge(at, &original, &replica);
    }

    /// What a host was told is safe, and what a replica of its has, is here, whole.
    fn judge(&self, at: usize, original: &Repository, replica: &Repository) {
        let copied = ids(replica);
        for id in self.acknowledged[at].iter().filter(|id| copied.contains(id) && !self.gone.contains(id)) {
            assert!(ids(original).contains(id), "{id} was acknowledged, is in the replica, and did not come back");
        }
        let others: BTreeSet<_> = self.acknowledged[1 - at].difference(&self.before_clone).collect();
        assert!(ids(original).iter().all(|id| !others.contains(id)), "the other's was taken for one's own");
        for backup in backups(original) {
            assert_eq!(site::verdict(original, &backup), Verdict::Intact, "{}", backup.id);
        }
    }

    /// Wherever it is: what was acknowledged is somewhere, unless it went by rule or with its only copy.
    fn judge_all(&self) {
        let hosts = self.hosts.iter().flatten().map(|host| &host.disk);
        let disks = hosts.chain(&self.replicas);
        let there: BTreeSet<BackupId> = disks.flat_map(|disk| ids(&site::open(disk).0)).collect();
        for id in self.acknowledged.iter().flatten().filter(|id| !self.gone.contains(id)) {
            assert!(there.contains(id), "{id} was acknowledged, and is nowhere");
        }
    }
}

fn verdict(host: &Host, number: usize, replica: &Repository) -> Claimed {
    let claimant = Claimant {
        writer: host.memory.writer.clone(),
        place: ("host".into(), host.place.clone()),
        word: host.memory.words.get(&number).cloned(),
        is_fresh: host.fresh.contains(&number),
        is_behind: history::is_behind(&site::open(&host.disk).0, replica),
    };
    let told = replica.told_writer().expect("the row").map(|told| Claim {
        writer: told.writer,
        place: (told.host, told.place),
        word: told.claim,
        disputed: told.disputed,
    });
    judge(&claimant, told.as_ref())
}

fn depart(
    host: &Host,
    repository: &Repository,
    reason: DepartureReason,
    elsewhere: &Elsewhere,
    known: Vec<fiovana_app::repository::timelines::TimelineEntry>,
    at_hour: i64,
) {
    let here = history::here(repository);
    let sets = here.departure(elsewhere).into_iter();
    let sets = sets.map(|(set, point)| (set, DeparturePoint { last: point.last, above: point.above })).collect();
    let departure = Departure { reason, departs_from: here.timeline, audit_head: None, sets };
    let writer = Writer { id: host.memory.writer.clone(), host: "host".into() };
    let timeline = here.next_timeline(elsewhere);
    repository.begin_timeline(timeline, &writer, known, departure, hour(at_hour)).expect("begin a timeline");
}

fn ids(repository: &Repository) -> BTreeSet<BackupId> {
    backups(repository).iter().filter(|backup| backup.content.is_some()).map(|backup| backup.id).collect()
}

fn config() -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() };
    match (std::env::var_os("PROPTEST_CASES"), std::env::var_os("FIOVANA_TEST_LONG")) {
        (Some(_), _) => default,
        (None, Some(_)) => ProptestConfig { cases: 20_000, ..default },
        (None, None) => ProptestConfig { cases: 48, ..default },
    }
}

#[test]
fn no_acknowledged_version_disappears_latest_is_the_last_and_what_is_said_of_replicas_is_so() {
    let _place = Place::new("a random history");
    let mut from = [0; 32];
    from[..8].copy_from_slice(&seed().to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config(), TestRng::from_seed(RngAlgorithm::ChaCha, &from));
    let ran = runner.run(&prop::collection::vec(any_act(), 1..40), |acts| {
        let mut world = World::new();
        for act in acts {
            world.perform(act);
            world.judge_all();
        }
        Ok(())
    });
    if let Err(failure) = ran {
        panic!("{failure}");
    }
}
