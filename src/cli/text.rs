//! Sizes, times and ages as people read them.
//!
//! Hazard: `1024.0 KiB`, a local time taken for UTC, `-3 h ago`. Each form is made in one place.

use chrono::{DateTime, TimeDelta, Utc};

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// `0 B`, `512 B`, `1.2 MiB`.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would round up to 1024.0 is the next unit's 1.0.
    while amount >= 1023.95 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// `2026-11-23 10:15:00`, in UTC.
pub fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// `3 h ago`, `in 57 min`, `now`.
pub fn age(time: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let passed = now.signed_duration_since(time);
    match (span(passed.abs()), passed > TimeDelta::zero()) {
        (None, _) => "now".to_owned(),
        (Some(span), true) => format!("{span} ago"),
        (Some(span), false) => format!("in {span}"),
    }
}

/// A duration in its largest whole unit; `None` below a second.
fn span(duration: TimeDelta) -> Option<String> {
    let seconds = duration.num_seconds();
    match seconds {
        ..1 => None,
        1..60 => Some(format!("{seconds} s")),
        60..3600 => Some(format!("{} min", seconds / 60)),
        3600..172_800 => Some(format!("{} h", seconds / 3600)),
        _ => Some(format!("{} d", seconds / 86400)),
    }
}

/// `1 file`, `4 files`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_never_1024_of_a_unit() {
        let shown = [0, 1, 1023, 1024, 1_258_291, (1 << 20) - 1, 1 << 20, u64::MAX].map(size);
        assert_eq!(shown, ["0 B", "1 B", "1023 B", "1.0 KiB", "1.2 MiB", "1.0 MiB", "1.0 MiB", "16.0 EiB"]);
    }

    #[test]
    fn times_are_utc() {
        let at = "2026-11-23T11:15:00+01:00".parse::<DateTime<Utc>>().unwrap();
        assert_eq!(time(at), "2026-11-23 10:15:00");
    }

    #[test]
    fn ages_tell_the_past_from_the_future() {
        let now = DateTime::UNIX_EPOCH;
        let shown =
            [-200_000, -7200, -90, -59, 0, 59, 3420, 90_000].map(|seconds| age(now + TimeDelta::seconds(seconds), now));
        assert_eq!(shown, ["2 d ago", "2 h ago", "1 min ago", "59 s ago", "now", "in 59 s", "in 57 min", "in 25 h"]);
    }
}
