//! The bounds that the module promises, at every hour.

use chrono::DateTime;

use super::*;
use crate::core::retention::tests::{FREE, RULE, backup};
use crate::core::retention::{Candidate, Policy, Rule, plan};
use crate::core::{BackupId, Digest, Position};

const SPREAD: Rule = Rule { policy: Policy::Spread, ..RULE };
const HOURS_A_DAY: i64 = 24;

/// A set that gets a new version every hour, swept after each.
struct Simulation {
    rule: Rule,
    /// What all of them have in common; made once, as this is done some hundred thousand times.
    template: Candidate,
    kept: Vec<Candidate>,
    made: u64,
}

impl Simulation {
    fn new(rule: Rule) -> Self {
        Self { rule, template: backup(0, 0), kept: vec![], made: 0 }
    }

    /// One hour, whose backup comes this many seconds late; what is left of it, oldest first, as the hours since each was
    /// made.
    fn hour(&mut self, late_seconds: i64) -> Vec<f64> {
        self.made += 1;
        let hours = TimeDelta::hours(i64::try_from(self.made).unwrap());
        let now = DateTime::from_timestamp(1_800_000_000 + late_seconds, 0).unwrap() + hours;
        let mut unique = [0; 32];
        unique[..8].copy_from_slice(&self.made.to_be_bytes());
        let version = Digest::from_bytes(unique);
        let (id, position) = (BackupId::new(now, version), Position::first(self.made));
        self.kept.push(Candidate { id, position, created: now, version, ..self.template.clone() });
        let plan = plan(&self.kept, &self.rule, &FREE, now);
        assert_eq!(plan.hold(true), None, "hour {}", self.made);
        let gone: Vec<_> = plan.deletions().map(|(id, _)| id).collect();
        self.kept.retain(|candidate| !gone.contains(&candidate.id));
        for candidate in &mut self.kept {
            candidate.superseded = plan.superseded.get(&candidate.id).copied();
        }
        self.kept.iter().map(|candidate| (now - candidate.created).as_seconds_f64() / 3600.0).collect()
    }
}

/// The least age of the oldest version, in days since it was superseded, and the largest gap beyond a version in terms of
/// its age, over so many days from the thirtieth on.
fn reach(rule: Rule, days: i64, mut late_seconds: impl FnMut() -> i64) -> (f64, f64) {
    let mut simulation = Simulation::new(rule);
    let (mut oldest_days, mut widest): (f64, f64) = (f64::MAX, 0.0);
    for hour in 1..=days * HOURS_A_DAY {
        let ages = simulation.hour(late_seconds());
        assert!(ages.len() <= rule.max_backups, "hour {hour}");
        if hour < 30 * HOURS_A_DAY {
            continue;
        }
        assert_eq!(ages.len(), rule.max_backups, "hour {hour}: no slot is wasted");
        assert!(ages[ages.len() - 2] < 1.5, "hour {hour}: the last change can be undone");
        oldest_days = oldest_days.min((ages[0] - 1.0) / 24.0);
        let gaps = ages.windows(2).filter(|pair| pair[1] > 0.0).map(|pair| (pair[0] - pair[1]) / pair[1]);
        widest = gaps.fold(widest, f64::max);
    }
    (oldest_days, widest)
}

#[test]
fn hourly_versions_in_ten_slots_reach_back_eighteen_days_at_every_hour_of_ten_years() {
    let (oldest_days, widest) = reach(SPREAD, 3652, || 0);
    assert!(oldest_days >= 18.0, "the oldest was {oldest_days} days old");
    assert!(widest <= 3.1, "a gap of {widest} times the age");
}

#[test]
fn versions_at_uneven_times_are_spread_as_well() {
    for seed in 0..4 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (oldest_days, widest) = reach(SPREAD, 120, || random.i64(-360..360));
        assert!(oldest_days >= 18.0, "seed {seed}: the oldest was {oldest_days} days old");
        assert!(widest <= 5.0, "seed {seed}: a gap of {widest} times the age");
    }
}

#[test]
fn the_newest_ten_of_hourly_versions_reach_back_ten_hours() {
    let (oldest_days, _) = reach(RULE, 40, || 0);
    assert!(oldest_days < 0.5, "{oldest_days}");
}

#[test]
fn fewer_slots_reach_as_far_and_two_hold_the_last_change() {
    for max_backups in [2, 4, 6, 20] {
        let (oldest_days, _) = reach(Rule { max_backups, ..SPREAD }, 90, || 0);
        let least = if max_backups > 4 { 18.0 } else { 0.0 };
        assert!(oldest_days >= least, "{max_backups} slots: {oldest_days} days");
    }
}

#[test]
fn a_history_thinned_at_once_is_spread_like_one_thinned_step_by_step() {
    let points: Vec<Point> = (0..700)
        .rev()
        .map(|hours| Point { at: 699 - hours, age: TimeDelta::hours(hours as i64), removable: hours > 0 })
        .collect();
    let gone = thin(&points, 690, TimeDelta::days(30), TimeDelta::hours(1));
    let left: Vec<_> = points.iter().filter(|point| !gone.contains(&point.at)).map(|p| p.age.num_hours()).collect();
    assert_eq!((left.len(), left[0], left[8], left[9]), (10, 699, 1, 0));
    assert!(left.windows(2).all(|pair| pair[0] - pair[1] <= 288), "{left:?}");
}
