//! How failing actors are treated.
//!
//! Hazard: a policy that looks patient and never ends. Where the waits between restarts outlast the window in which
//! failures are counted, an actor that fails as soon as it is started is restarted for ever, and nobody is told.

use std::time::Duration;

use super::SupervisionSettings;
use super::error::SettingsError;
use super::origin::{Ledger, Origin, Said, Shown, prevailing};
use super::stated::Statements;
use crate::core::restart::RestartPolicy;

const MAX_RESTARTS: u32 = 5;
const WINDOW: Duration = Duration::from_secs(60);
const BACKOFF_INITIAL: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(10);

impl SupervisionSettings {
    /// When a failed actor is restarted, and when it is given up.
    pub fn policy(&self) -> RestartPolicy {
        RestartPolicy {
            max_restarts: self.max_restarts,
            window: self.window,
            backoff_initial: self.backoff_initial,
            backoff_max: self.backoff_max,
        }
    }
}

/// The settings of `[supervision]`.
pub(super) fn decide(stated: &Statements, ledger: &mut Ledger, errors: &mut Vec<SettingsError>) -> SupervisionSettings {
    let initial = prevailing(&[&stated.backoff_initial], BACKOFF_INITIAL);
    let max = prevailing(&[&stated.backoff_max], BACKOFF_MAX);
    let window = prevailing(&[&stated.restart_window], WINDOW);
    let max_restarts = prevailing(&[&stated.max_restarts], MAX_RESTARTS);
    let policy = RestartPolicy {
        max_restarts: max_restarts.value,
        window: window.value,
        backoff_initial: initial.value,
        backoff_max: max.value,
    };
    if initial.value > max.value {
        errors.push(crossed(&initial, &max));
    } else if !policy.escalates() {
        errors.push(endless(&policy, &[&window, &max, &initial], &max_restarts));
    }
    SupervisionSettings {
        max_restarts: ledger.note("supervision.max_restarts", max_restarts),
        window: ledger.note("supervision.window", window),
        backoff_initial: ledger.note("supervision.backoff_initial", initial),
        backoff_max: ledger.note("supervision.backoff_max", max),
        heartbeat: ledger.note("supervision.heartbeat", prevailing(&[&stated.heartbeat], HEARTBEAT)),
    }
}

/// The first wait is longer than the longest; which is to blame if only it was said.
fn crossed(initial: &Said<Duration>, max: &Said<Duration>) -> SettingsError {
    let is_initial = initial.origin != Origin::BuiltIn;
    let (key, blamed) = if is_initial { ("backoff_initial", initial) } else { ("backoff_max", max) };
    let allowed = match is_initial {
        true => format!("give at most supervision.backoff_max, which is {} ({})", max.value.shown(), max.origin),
        false => format!("give at least supervision.backoff_initial, which is {}", initial.value.shown()),
    };
    refused(key, blamed.value.shown(), blamed.origin.clone(), allowed)
}

/// The window is too short for the waits; blamed is what somebody said.
fn endless(policy: &RestartPolicy, durations: &[&Said<Duration>; 3], restarts: &Said<u32>) -> SettingsError {
    let allowed = format!(
        "an actor that fails at once would never be given up: {} restarts, with waits from {} up to {}, must fit into \
         supervision.window, which is {}",
        policy.max_restarts,
        policy.backoff_initial.shown(),
        policy.backoff_max.shown(),
        policy.window.shown()
    );
    let said = |origin: &Origin| *origin != Origin::BuiltIn;
    let named = ["window", "backoff_max", "backoff_initial"].into_iter().zip(durations);
    match named.into_iter().find(|(_, duration)| said(&duration.origin)) {
        Some((key, blamed)) => refused(key, blamed.value.shown(), blamed.origin.clone(), allowed),
        None => refused("max_restarts", restarts.value.shown(), restarts.origin.clone(), allowed),
    }
}

fn refused(key: &str, value: String, origin: Origin, allowed: String) -> SettingsError {
    SettingsError::Value { key: format!("supervision.{key}"), value, origin, allowed }
}
