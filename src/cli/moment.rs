//! Moments as people say them.
//!
//! Hazard: a moment that is understood differently than it was meant brings back the wrong day. What is understood is
//! always UTC, is shown before anything is done, and what could be meant in two ways is refused.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

const FORMS: [&str; 4] = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"];

/// The moment that `text` means: RFC 3339, a date and time or a date (its beginning) in UTC, or how long ago.
pub fn parse(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    let stated = DateTime::parse_from_rfc3339(text).map(|at| at.to_utc()).ok();
    let in_utc = || FORMS.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let moment = stated.or_else(|| in_utc().or_else(day).map(|at| at.and_utc())).or_else(|| ago(text, now));
    match moment {
        None => Err(format!(
            "{text:?} is no moment: give one like 2026-11-23T10:15:00Z, '2026-11-23 10:15' or 2026-11-23 (UTC), or \
             '2h ago'"
        )),
        Some(at) if at > now => Err(format!("{text:?} is still to come: it is {} UTC", super::text::time(now))),
        Some(at) => Ok(at),
    }
}

/// `2h ago`, `90 minutes ago`, `1d`.
fn ago(text: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let span = text.strip_suffix("ago").unwrap_or(text).trim();
    let (number, unit) = span.split_at(span.find(|c: char| !c.is_ascii_digit())?);
    let unit_seconds = match unit.trim() {
        "s" | "sec" | "second" | "seconds" => 1,
        "min" | "mins" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        "w" | "week" | "weeks" => 604_800,
        _ => return None,
    };
    let seconds = number.parse::<i64>().ok()?.checked_mul(unit_seconds)?;
    now.checked_sub_signed(TimeDelta::try_seconds(seconds)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples::now;

    #[test]
    fn moments_are_said_in_many_ways_and_mean_utc() {
        for (text, expected) in [
            ("2026-11-23T10:15:00Z", "2026-11-23T10:15:00Z"),
            ("2026-11-23T12:15:00+02:00", "2026-11-23T10:15:00Z"),
            ("2026-11-23 10:15", "2026-11-23T10:15:00Z"),
            ("2026-11-23T10:15:30", "2026-11-23T10:15:30Z"),
            ("2026-11-23", "2026-11-23T00:00:00Z"),
            ("2h ago", "2026-11-23T11:15:00Z"),
            ("2 hours ago", "2026-11-23T11:15:00Z"),
            (" 90min ", "2026-11-23T11:45:00Z"),
            ("1 day ago", "2026-11-22T13:15:00Z"),
            ("2w ago", "2026-11-09T13:15:00Z"),
            ("0s", "2026-11-23T13:15:00Z"),
        ] {
            assert_eq!(parse(text, now()), Ok(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_or_still_to_come_is_refused() {
        // `5m` may be minutes or months.
        for text in ["", "yesterday", "5m ago", "ago", "-2h ago", "2026-13-01", "99999999999999999999h ago", "é"] {
            assert!(parse(text, now()).is_err_and(|why| why.contains("no moment")), "{text}");
        }
        assert!(parse("9223372036854775807w ago", now()).is_err());
        assert!(parse("2026-11-24", now()).unwrap_err().contains("it is 2026-11-23 13:15:00 UTC"));
    }
}
