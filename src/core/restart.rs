//! Whether, and when, a failed actor is started again.
//!
//! Hazard: restarting at once turns a broken disk into a busy loop; restarting for ever hides that something is
//! broken. So each restart waits longer than the one before, and too many of them within a window are one failure of
//! another kind: the actor is given up, and that escalates.

use std::time::Duration;

/// A backoff doubles no more often than this, so that it fits its type; every sensible one reached its maximum long ago.
const DOUBLINGS: u32 = 30;

/// How often, and how patiently, an actor is restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Restarts granted within `window`; the failure after them is the last.
    pub max_restarts: u32,
    /// How long a failure counts.
    pub window: Duration,
    /// The wait before the first restart; it doubles with each recent failure.
    pub backoff_initial: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            max_restarts: 5,
            window: Duration::from_secs(60),
            backoff_initial: Duration::from_millis(500),
            backoff_max: Duration::from_secs(15),
        }
    }
}

/// The actor is to be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restart {
    /// After this wait.
    pub after: Duration,
}

/// The actor failed too often to be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed {failures} times within {}s", window.as_secs())]
pub struct GaveUp {
    /// The failures counted, the last one included.
    pub failures: u32,
    /// The window they fell into.
    pub window: Duration,
}

/// Decides about a failure that happened at `now`.
///
/// `recent_failures` are the times of the earlier ones, on the same monotonic scale as `now`; those outside the
/// window are ignored. `jitter` (0 to 1) spreads the wait over the upper half of its backoff, so that actors felled
/// by one cause do not come back in step.
pub fn decide(
    policy: &RestartPolicy,
    recent_failures: &[Duration],
    now: Duration,
    jitter: f64,
) -> Result<Restart, GaveUp> {
    let earlier = recent_failures.iter().filter(|at| policy.counts(**at, now)).count();
    let earlier = u32::try_from(earlier).unwrap_or(u32::MAX);
    if earlier >= policy.max_restarts {
        return Err(GaveUp { failures: earlier.saturating_add(1), window: policy.window });
    }
    Ok(Restart { after: policy.backoff(earlier).mul_f64((1.0 + jitter.clamp(0.0, 1.0)) / 2.0) })
}

impl RestartPolicy {
    /// Whether a failure at `at` still counts at `now`.
    pub fn counts(&self, at: Duration, now: Duration) -> bool {
        now.saturating_sub(at) < self.window
    }

    /// Whether an actor that fails as soon as it is started is ever given up: its waits must fit into the window,
    /// or the oldest failure is always forgotten in time for one more restart.
    pub fn escalates(&self) -> bool {
        let doubling = self.max_restarts.min(DOUBLINGS + 1);
        let waits = (0..doubling).map(|earlier| self.backoff(earlier)).fold(Duration::ZERO, Duration::saturating_add);
        let rest = self.backoff(DOUBLINGS).saturating_mul(self.max_restarts - doubling);
        waits.saturating_add(rest) < self.window
    }

    fn backoff(&self, earlier: u32) -> Duration {
        self.backoff_initial.saturating_mul(1 << earlier.min(DOUBLINGS)).min(self.backoff_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const POLICY: RestartPolicy = RestartPolicy {
        max_restarts: 3,
        window: Duration::from_secs(60),
        backoff_initial: Duration::from_secs(1),
        backoff_max: Duration::from_secs(3),
    };

    fn at(seconds: &[u64]) -> Vec<Duration> {
        seconds.iter().copied().map(Duration::from_secs).collect()
    }

    fn wait(failures: &[u64], now: u64, jitter: f64) -> Option<u128> {
        decide(&POLICY, &at(failures), Duration::from_secs(now), jitter).ok().map(|restart| restart.after.as_millis())
    }

    #[test]
    fn each_recent_failure_doubles_the_wait_up_to_its_maximum() {
        assert_eq!(wait(&[], 100, 1.0), Some(1000));
        assert_eq!(wait(&[99], 100, 1.0), Some(2000));
        assert_eq!(wait(&[98, 99], 100, 1.0), Some(3000));
    }

    #[test]
    fn jitter_takes_at_most_half_of_the_wait() {
        assert_eq!(wait(&[99], 100, 0.0), Some(1000));
        assert_eq!(wait(&[99], 100, 0.5), Some(1500));
        assert_eq!(wait(&[99], 100, f64::INFINITY), Some(2000));
    }

    #[test]
    fn the_failure_after_the_last_restart_gives_up_and_says_why() {
        let refused = decide(&POLICY, &at(&[50, 80, 99]), Duration::from_secs(100), 0.0);
        assert_eq!(refused, Err(GaveUp { failures: 4, window: POLICY.window }));
        assert_eq!(refused.unwrap_err().to_string(), "failed 4 times within 60s");
    }

    #[test]
    fn a_failure_older_than_the_window_is_forgotten() {
        assert_eq!(wait(&[40, 80, 99], 100, 1.0), Some(3000));
        assert_eq!(wait(&[10, 20, 40], 100, 1.0), Some(1000));
    }

    #[test]
    fn the_default_policy_gives_a_crash_loop_up() {
        assert!(RestartPolicy::default().escalates());
        assert!(!RestartPolicy { window: Duration::from_secs(5), ..POLICY }.escalates());
        assert!(!RestartPolicy { max_restarts: u32::MAX, ..POLICY }.escalates());
    }

    proptest! {
        #[test]
        fn a_policy_that_escalates_gives_every_crash_loop_up(
            max_restarts in 0u32..20, window in 1u64..200, initial in 1u64..2000, max in 1u64..20_000, jitter in 0.0..1.0,
        ) {
            let policy = RestartPolicy {
                max_restarts,
                window: Duration::from_secs(window),
                backoff_initial: Duration::from_millis(initial),
                backoff_max: Duration::from_millis(max),
            };
            prop_assume!(policy.escalates());
            let (mut failures, mut now) = (Vec::new(), Duration::ZERO);
            while let Ok(restart) = decide(&policy, &failures, now, jitter) {
                failures.push(now);
                now += restart.after;
                prop_assert!(failures.len() <= max_restarts as usize);
            }
            prop_assert_eq!(failures.len(), max_restarts as usize);
        }
    }
}
