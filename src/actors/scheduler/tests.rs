//! The actor itself, in virtual time: months of runs, with downtime, clocks that jump, and backups that are slow.
//!
//! Hazard: a schedule that is right on paper, and a timer that does not keep to it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, sleep};

use super::*;
use crate::actors::problems;
use crate::actors::turns::Turns;
use crate::actors::world::{ACTORS, Role};
use crate::clock::Clock;
use crate::core::SetName;
use crate::core::mode::Mode;
use crate::repository::Repository;
use crate::settings::{Settings, Sources};
use crate::storage::local::Local;
use crate::telemetry::Metrics;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

fn time(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// Goes with the virtual time, `offset` seconds wrong.
#[derive(Debug)]
struct Wrong {
    began: Instant,
    began_at: i64,
    offset: AtomicI64,
}

impl Wrong {
    fn true_time(&self) -> i64 {
        self.began_at + self.began.elapsed().as_secs() as i64
    }
}

impl Clock for Wrong {
    fn now(&self) -> DateTime<Utc> {
        time(self.began_at + self.offset.load(Ordering::Relaxed)) + TimeDelta::from_std(self.began.elapsed()).unwrap()
    }

    fn uptime(&self) -> Duration {
        self.began.elapsed()
    }
}

/// A run, in true time.
struct Run {
    set: SetName,
    from: i64,
    ended: bool,
    /// Whether the clock was in doubt by then: what is stamped then is not remembered.
    doubted: bool,
}

/// What truly happened, through every life of the process.
#[derive(Default)]
struct Story {
    now: i64,
    offset: i64,
    runs: Vec<Run>,
    /// Runs that were asked for while one of the set was under way.
    piled_up: usize,
    downtimes: Vec<(i64, i64)>,
    jumps: Vec<i64>,
}

/// Notes runs as the Archiver does, and does nothing for as long as one takes: now and then for twice the interval.
fn archiver(world: &Arc<World>, clock: &Arc<Wrong>, story: &Rc<RefCell<Story>>, random: fastrand::Rng) -> Ask {
    let (world, clock, story) = (world.clone(), clock.clone(), story.clone());
    let (random, turns) = (RefCell::new(random), Turns::<()>::default());
    Box::new(move |BackUp { set, .. }| {
        let Some(turn) = turns.at_once(&set.name) else {
            story.borrow_mut().piled_up += 1;
            return Box::pin(std::future::ready(Ok(Err(problems::busy(&set.name)))));
        };
        let occupied = world.occupy(&set.name, turn);
        let (world, clock, story) = (world.clone(), clock.clone(), story.clone());
        let slow = random.borrow_mut().u32(0..20) == 0;
        Box::pin(async move {
            let started = world.clock.now();
            world.record_run(&set.name, |history| history.started(started), None).unwrap();
            let run = Run { set: set.name.clone(), from: clock.true_time(), ended: false, doubted: false };
            let number = story.borrow().runs.len();
            story.borrow_mut().runs.push(run);
            sleep(if slow { set.interval * 2 } else { Duration::from_secs(2) }).await;
            world.record_run(&set.name, |history| history.succeeded(started), None).unwrap();
            let doubted = world.look_at_clock().is_some();
            let run = &mut story.borrow_mut().runs[number];
            (run.ended, run.doubted) = (true, doubted);
            drop(occupied);
            // What became of it is nothing to the Scheduler, as long as the set was not busy.
            Ok(Err(Problem::new(ProblemKind::Internal, "there is no backup")))
        })
    })
}

/// One process, from its start until it is killed; its clock is set to something else now and then.
fn live(directory: &std::path::Path, settings: &Settings, story: &Rc<RefCell<Story>>, random: &mut fastrand::Rng) {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    System::with_tokio_rt(runtime).block_on(async {
        let (began_at, offset) = (story.borrow().now, story.borrow().offset);
        let clock = Arc::new(Wrong { began: Instant::now(), began_at, offset: AtomicI64::new(offset) });
        let (repository, _) = Repository::open(Arc::new(Local::open(directory).unwrap()), false).unwrap();
        let metrics = Metrics::new(&[], &ACTORS).unwrap();
        let world = Arc::new(World::new(settings.clone(), Role::Daemon, repository, clock.clone(), metrics));
        world.set_mode(Mode::Normal, true);
        let archiver = archiver(&world, &clock, story, random.fork());
        let scheduler = Scheduler::asking(world, archiver).start();
        scheduler.do_send(Wake);
        for _ in 0..random.u32(1..4) {
            sleep(Duration::from_secs(random.u64(1..40) * HOUR as u64)).await;
            let (now, mut story) = (clock.true_time(), story.borrow_mut());
            story.now = now;
            if random.bool() {
                let offsets = [0, 2 * HOUR, -2 * HOUR, 90 * DAY, -90 * DAY, -time(now).timestamp()];
                story.offset = offsets[random.usize(..offsets.len())];
                story.jumps.push(now);
                clock.offset.store(story.offset, Ordering::Relaxed);
            }
        }
        sleep(Duration::from_secs(random.u64(1..3000))).await;
        story.borrow_mut().now = clock.true_time();
    });
}

/// Whether neighbouring runs of a set are as far apart as they should be; returns how many are closer than its interval.
fn judge(story: &Story, set: &SetName, interval: i64, seed: u64) -> usize {
    let runs: Vec<&Run> = story.runs.iter().filter(|run| run.set == *set).collect();
    let mut close = 0;
    for pair in runs.windows(2) {
        let (last, next) = (pair[0].from, pair[1].from);
        let down: i64 = story.downtimes.iter().filter(|d| d.0 >= last && d.0 <= next).map(|d| d.1 - d.0).sum();
        let jumps = story.jumps.iter().filter(|at| (last..=next).contains(at)).count() as i64;
        // A slow run may hold the next one up, and a clock set back between two runs makes the wait begin anew.
        let longest = interval * (2 + jumps) + down + 120;
        assert!(next - last <= longest, "seed {seed}: {set} missed between {last} and {next}");
        let forgotten = pair[0].doubted && down > 0;
        let fair = next - last >= interval - 1 || jumps > 0 || !pair[0].ended || forgotten;
        assert!(fair, "seed {seed}: {set} doubled at {next}, {} s after {last}", next - last);
        close += usize::from(next - last < interval - 1);
    }
    let last = runs.last().map_or(0, |run| run.from);
    assert!(story.now - last <= interval * 3 + 4 * DAY, "seed {seed}: {set} was forgotten at {last}");
    close
}

#[test]
fn months_of_downtime_jumps_and_slow_backups_miss_no_run_double_none_and_pile_up_none() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let sources = Sources { working_directory: directory.path().to_owned(), ..Sources::default() };
    let settings = Settings::load(&sources).unwrap();
    let intervals: Vec<i64> = settings.sets.iter().map(|set| set.interval.as_secs() as i64).collect();
    assert!([HOUR, 6 * HOUR, DAY].iter().all(|wanted| intervals.contains(wanted)), "{intervals:?}");
    let backups = directory.path().join("backups");
    std::fs::create_dir(&backups).unwrap();
    Repository::create(Arc::new(Local::open(&backups).unwrap()), time(0)).unwrap();
    let story = Rc::new(RefCell::new(Story::default()));
    let days = if std::env::var_os("FIOVANA_TEST_LONG").is_some() { 365 } else { 40 };
    while story.borrow().now < days * DAY {
        live(&backups, &settings, &story, &mut random);
        let mut story = story.borrow_mut();
        let (from, to) = (story.now, story.now + random.i64(60..2 * DAY));
        story.downtimes.push((from, to));
        story.now = to;
    }
    let story = story.borrow();
    assert_eq!(story.piled_up, 0, "seed {seed}");
    for (set, interval) in settings.sets.iter().zip(intervals).filter(|(set, _)| set.enabled) {
        let close = judge(&story, &set.name, interval, seed);
        let excuses = story.jumps.len() + story.downtimes.len();
        assert!(close <= excuses, "seed {seed}: {close} runs of {} too many for {excuses} excuses", set.name);
    }
    assert!(story.downtimes.len() > 3, "seed {seed}: nothing happened");
}
