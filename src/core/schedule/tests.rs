//! The schedule through a year of trouble, and through random histories.

use proptest::prelude::*;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn clock(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

#[test]
fn a_set_that_never_ran_is_due_now() {
    assert_eq!(due(&RunHistory::default(), HOUR, clock(0)), Due::Now);
}

#[test]
fn after_a_success_the_next_run_is_one_interval_after_its_start() {
    let history = RunHistory::default().succeeded(clock(0));
    assert_eq!(due(&history, HOUR, clock(10)), Due::At(clock(3600)));
    assert_eq!(due(&history, HOUR, clock(3600)), Due::Now);
}

#[test]
fn failures_are_retried_soon_then_ever_later_but_never_later_than_the_interval() {
    let mut history = RunHistory::default().succeeded(clock(-9999));
    let mut waits = Vec::new();
    for _ in 0..9 {
        history = history.failed(clock(0));
        let Due::At(next) = due(&history, HOUR, clock(0)) else { panic!("due at once") };
        waits.push(next.signed_duration_since(clock(0)).num_minutes());
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(RunHistory { consecutive_failures: u32::MAX, ..history }.failures(), u32::MAX);
    assert_eq!(retry_delay(u32::MAX, HOUR), HOUR);
}

#[test]
fn an_attempt_that_took_the_process_down_waits_like_a_failed_one() {
    let history = RunHistory::default().succeeded(clock(0)).started(clock(3600));
    assert_eq!(due(&history, HOUR, clock(3600)), Due::At(clock(3660)));
}

#[test]
fn a_clock_set_back_makes_one_run_too_many_and_no_more() {
    let ahead = RunHistory::default().succeeded(clock(1_000_000));
    assert_eq!(due(&ahead, HOUR, clock(0)), Due::Now);
    assert_eq!(due(&ahead.succeeded(clock(0)), HOUR, clock(1)), Due::At(clock(3600)));
    assert_eq!(due(&ahead.failed(clock(0)), HOUR, clock(1)), Due::At(clock(60)));
    assert_eq!(due(&ahead.started(clock(0)), HOUR, clock(1)), Due::At(clock(60)));
}

#[test]
fn a_clock_set_back_by_seconds_changes_nothing() {
    let history = RunHistory::default().succeeded(clock(30));
    assert_eq!(due(&history, HOUR, clock(0)), Due::At(clock(3630)));
}

#[test]
fn the_end_of_time_is_no_panic() {
    let history = RunHistory::default().succeeded(DateTime::<Utc>::MAX_UTC);
    assert_eq!(due(&history, Duration::MAX, DateTime::<Utc>::MAX_UTC), Due::Now);
    assert_eq!(due(&history.succeeded(clock(0)), Duration::MAX, clock(0)), Due::At(DateTime::<Utc>::MAX_UTC));
}

proptest! {
    #[test]
    fn a_run_is_never_further_ahead_than_the_interval(
        attempt in any::<Option<i32>>(), success in any::<Option<i32>>(), failures in any::<u32>(),
        interval in 1u64..1_000_000, now in any::<i32>(),
    ) {
        let stamp = |seconds: Option<i32>| seconds.map(|seconds| clock(seconds.into()));
        let history =
            RunHistory { last_attempt: stamp(attempt), last_success: stamp(success), consecutive_failures: failures };
        let (interval, now) = (Duration::from_secs(interval), clock(now.into()));
        if let Due::At(next) = due(&history, interval, now) {
            prop_assert!(next > now);
            prop_assert!(next <= later(now, interval) + CLOCK_TOLERANCE);
        }
    }

    #[test]
    fn whatever_the_past_a_success_now_puts_the_next_run_one_interval_ahead(
        attempt in any::<i32>(), failures in any::<u32>(), interval in 1u64..1_000_000, now in any::<i32>(),
    ) {
        let history = RunHistory { consecutive_failures: failures, ..RunHistory::default().succeeded(clock(attempt.into())) };
        let (interval, now) = (Duration::from_secs(interval), clock(now.into()));
        prop_assert_eq!(due(&history.succeeded(now), interval, now), Due::At(later(now, interval)));
    }
}

/// A daemon in a year of trouble. True time goes on in seconds; the clock it is shown is `true time + offset`.
struct Year {
    interval: Duration,
    now: i64,
    offset: i64,
    history: RunHistory,
    /// True times at which runs started.
    runs: Vec<i64>,
}

impl Year {
    const SECONDS: i64 = 365 * 86_400;

    /// Wakes up once: runs what is due (taking `takes`), else sleeps until it is, but never for long, as a scheduler
    /// must that cannot see the clock being set.
    fn wake(&mut self, takes: Duration) {
        let shown = clock(self.now + self.offset);
        match due(&self.history, self.interval, shown) {
            Due::Now => {
                self.runs.push(self.now);
                self.history = self.history.started(shown).succeeded(shown);
                self.now += takes.as_secs() as i64;
            }
            Due::At(next) => {
                let ahead = next.signed_duration_since(shown).num_seconds();
                self.now += ahead.clamp(1, self.interval.as_secs() as i64 / 60);
            }
        }
    }
}

/// Lives a year with a daemon that is down, slow and lied to at random, and checks each pair of neighbouring runs.
fn live_a_year(interval: Duration, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut year = Year { interval, now: 0, offset: 0, history: RunHistory::default(), runs: Vec::new() };
    // True times between which the daemon was down, and at which the clock was set.
    let (mut downtimes, mut jumps) = (Vec::new(), Vec::new());
    while year.now < Year::SECONDS {
        match random.u32(0..2_000) {
            0 => {
                let (from, to) = (year.now, year.now + random.i64(60..3 * 86_400));
                downtimes.push((from, to));
                year.now = to;
            }
            1 => {
                let offsets = [0, 0, 0, 7200, -7200, 90 * 86_400, -90 * 86_400, -clock(year.now).timestamp()];
                year.offset = offsets[random.usize(0..offsets.len())];
                jumps.push(year.now);
            }
            _ => {}
        }
        let slow = random.u32(0..50) == 0;
        year.wake(if slow { interval * 2 } else { Duration::from_secs(2) });
    }
    let seconds = interval.as_secs() as i64;
    for pair in year.runs.windows(2) {
        let (last, next) = (pair[0], pair[1]);
        let down: i64 = downtimes.iter().filter(|d| d.0 >= last && d.0 <= next).map(|d| d.1 - d.0).sum();
        let jumped = jumps.iter().any(|at| (last..=next).contains(at));
        // A slow run may hold the next one up for as long as it takes; nothing else may, but downtime.
        assert!(next - last <= seconds * 2 + down + seconds / 30, "seed {seed}: missed between {last} and {next}");
        assert!(next - last >= seconds || jumped, "seed {seed}: doubled at {next}, {} s after {last}", next - last);
    }
    let jump_runs = year.runs.windows(2).filter(|pair| pair[1] - pair[0] < seconds).count();
    assert!(jump_runs <= jumps.len(), "seed {seed}: {jump_runs} runs too many for {} jumps", jumps.len());
    assert!(jumps.len() > 3 && downtimes.len() > 3, "seed {seed}: nothing happened");
}

#[test]
fn a_year_of_downtime_jumps_and_slow_backups_misses_no_run_and_doubles_none() {
    for seed in 0..3 {
        for interval in [HOUR, 6 * HOUR, 24 * HOUR] {
            live_a_year(interval, seed);
        }
    }
}
