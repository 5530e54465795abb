//! The service at a glance, as text.

use super::damage::damage;
use super::replicas::replicas;
use super::{remark, to_type};
use crate::api::{AuditStatus, ModeDocument, RepositoryStatus, SetStatus, StateCounts, Status};
use crate::cli::output::Look;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::{age, count, size, time};
use crate::core::printable::plain;

/// The most lost sequences that are listed.
const LOST_SHOWN: usize = 10;

/// Everything at a glance.
pub fn status(status: &Status, look: &Look) -> String {
    let started = status.started;
    let mut text = mode(&status.mode, look);
    if !status.enabled {
        text += "  backups are disabled: no schedules, no sweeps\n";
    }
    text.push('\n');
    text += &sets(&status.sets, look);
    text.extend(status.sets.iter().map(|set| troubles(set, look)));
    text.push('\n');
    text += &places(&status.repository, &status.audit, look);
    text += &replicas(&status.replicas, look);
    text += &damage(&status.damage, &status.scrub, look);
    text += &actors(status, look);
    if status.log_lines_dropped > 0 {
        text += &format!(
            "  {} log lines were lost: nobody took them, or they could not be written\n",
            status.log_lines_dropped
        );
    }
    text += &format!("version {}, up since {} UTC ({})\n", status.version, time(started), age(started, look.now));
    text
}

/// The mode.
pub fn mode(mode: &ModeDocument, look: &Look) -> String {
    let tone = match mode.name.as_str() {
        "normal" => Tone::Good,
        "recovery" => Tone::Bad,
        _ => Tone::Doubtful,
    };
    let details: Vec<&str> = [&mode.phase, &mode.cause].into_iter().flatten().map(String::as_str).collect();
    let details = if details.is_empty() { String::new() } else { format!(": {}", plain(&details.join(", "))) };
    let mut text =
        format!("{}{}\n", Cell::toned(format!("mode {}", mode.name), tone).painted(look), in_words(&details));
    text.extend(mode.reasons.iter().map(|reason| remark(&reason.code, &reason.detail)));
    text.extend(mode.losses.iter().map(|loss| remark("lost, to be acknowledged", loss)));
    if !mode.persisted {
        text += "  not saved: a restart would forget this mode\n";
    }
    text
}

/// A code as people say it.
fn in_words(code: &str) -> String {
    code.replace('_', " ")
}

/// The clock that is believed, and the mode that this leads to.
pub fn clock_accepted(document: &ModeDocument, look: &Look) -> String {
    format!("the clock is believed: it is {} UTC\n{}", time(look.now), mode(document, look))
}

/// Recovery mode, just entered.
pub fn recovery_entered(document: &ModeDocument, look: &Look) -> String {
    format!("{}next:\n{}", mode(document, look), to_type("recover"))
}

/// The repository that was created.
pub fn created(repository: &RepositoryStatus, _: &Look) -> String {
    format!("created repository {} in {}\n", repository.id, plain(&repository.location))
}

fn sets(sets: &[SetStatus], look: &Look) -> String {
    let mut table = Table::new([
        ("SET", Align::Left),
        ("PRIORITY", Align::Left),
        ("LAST SUCCESS", Align::Right),
        ("NEXT", Align::Right),
        ("LAST DRILL", Align::Right),
        ("LATEST GOOD", Align::Left),
        ("BACKUPS", Align::Left),
    ]);
    for set in sets {
        let tone = if set.backups.damaged > 0 { Tone::Bad } else { Tone::Plain };
        table.row([
            set.name.to_string().into(),
            set.priority.to_string().into(),
            set.last_success.map_or_else(|| "never".to_owned(), |at| age(at, look.now)).into(),
            next(set, look).into(),
            drilled(set, look).into(),
            set.latest.map_or_else(|| "none".to_owned(), |id| id.shortened()).into(),
            Cell::toned(counts(&set.backups), tone),
        ]);
    }
    table.render(look)
}

fn drilled(set: &SetStatus, look: &Look) -> String {
    match set.last_drill {
        _ if set.last_drill_outcome.as_deref() == Some("no_key") => "no key".to_owned(),
        None => "never".to_owned(),
        Some(at) => age(at, look.now),
    }
}

fn next(set: &SetStatus, look: &Look) -> String {
    match (set.running_since, set.next_run) {
        (Some(_), _) => "running".to_owned(),
        (None, Some(at)) if at <= look.now => "due".to_owned(),
        (None, Some(at)) => age(at, look.now),
        (None, None) => "-".to_owned(),
    }
}

fn counts(states: &StateCounts) -> String {
    let named = [
        (states.good, "good"),
        (states.suspect, "suspect"),
        (states.unverified, "unverified"),
        (states.damaged, "damaged"),
    ];
    let there: Vec<String> = named.iter().filter(|(n, _)| *n > 0).map(|(n, state)| format!("{n} {state}")).collect();
    if there.is_empty() { "none".to_owned() } else { there.join(", ") }
}

/// What is wrong with a set, a line each.
fn troubles(set: &SetStatus, look: &Look) -> String {
    let mut text = String::new();
    if set.consecutive_failures > 0 {
        let tried = set.last_attempt.map(|at| format!(", last {}", age(at, look.now))).unwrap_or_default();
        let why = set.last_error.as_deref().unwrap_or("the reason is in the log");
        let times = count(set.consecutive_failures as usize, "time");
        text += &remark(set.name.as_str(), &format!("failed {times}{tried}: {why}"));
    }
    text.extend(set.left_out.iter().map(|what| remark(set.name.as_str(), what)));
    if let Some(why) = &set.last_drill_error {
        let held = set.last_drill.map(|at| format!(" {}", age(at, look.now))).unwrap_or_default();
        text += &remark(set.name.as_str(), &format!("the drill{held} failed: {why}"));
    }
    if !set.lost_sequences.is_empty() {
        let mut lost: Vec<String> = set.lost_sequences.iter().take(LOST_SHOWN).map(ToString::to_string).collect();
        if set.lost_sequences.len() > LOST_SHOWN {
            lost.push("…".to_owned());
        }
        text += &remark(set.name.as_str(), &format!("backups were lost: sequence {}", lost.join(", ")));
    }
    text
}

fn places(repository: &RepositoryStatus, audit: &AuditStatus, look: &Look) -> String {
    let free = repository.free_bytes.map(|bytes| format!(", {} free", size(bytes))).unwrap_or_default();
    let stored = format!("{} objects, {}{free}", repository.objects, size(repository.stored_bytes));
    let (written, tone) = match (audit.writable, audit.head_sequence) {
        _ if !audit.chain_ok => ("broken: run audit verify".to_owned(), Tone::Bad),
        (false, _) => ("cannot be written".to_owned(), Tone::Bad),
        (true, Some(record)) => (format!("record {record}"), Tone::Plain),
        (true, None) => ("no record yet".to_owned(), Tone::Plain),
    };
    let mut table = Table::new([("", Align::Left); 3]);
    table.row(["repository".into(), repository.location.as_str().into(), stored.into()]);
    table.row(["audit log".into(), audit.path.as_str().into(), Cell::toned(written, tone)]);
    let mut text = table.render(look);
    text.extend(repository.earlier.iter().map(|earlier| remark("repository", earlier)));
    text
}

/// Actors that are not up, or were not always, a line each.
fn actors(status: &Status, look: &Look) -> String {
    let troubled = status.actors.iter().filter(|actor| actor.state != "up" || actor.restarts > 0);
    let lines = troubled.map(|actor| {
        let why = actor.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
        let since = age(actor.since, look.now);
        let restarts = count(actor.restarts as usize, "restart");
        let waiting = match actor.waiting_messages {
            0 => String::new(),
            messages => format!(", {} waiting", count(messages as usize, "message")),
        };
        format!("actor {} {} since {since}, {restarts}{waiting}{}\n", actor.name, actor.state, plain(&why))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_status_shows_everything_that_needs_a_person() {
        let expected = "\
mode recovery: awaiting decision, operator
  live_files_missing: logs/error.log: missing: restore the set
  lost, to be acknowledged: logs/error.log
  not saved: a restart would forget this mode

SET       PRIORITY  LAST SUCCESS       NEXT  LAST DRILL  LATEST GOOD                BACKUPS
security  critical     3 min ago  in 57 min     2 h ago  20261123T101500Z-33333333  4 good
logs      medium           never  in 57 min       never  none                       1 damaged
  logs: failed 2 times, last 3 min ago: the source /srv/app/logs is absent
  logs: the drill failed: error.log was restored and is not what was backed up
  logs: backups were lost: sequence 3, 4

repository  /srv/app/backups                  12 objects, 300.0 KiB, 10.0 GiB free
audit log   /srv/app/logs/security_audit.log  cannot be written
replica usb  /mnt/usb/replica  lacks 2 backups, on the same disk, lost with it
  usb: had all backups 3 h ago
  usb: mount its disk
scrub: switched off
actor janitor restarting since now, 3 restarts, 3 messages waiting: panicked: index out of bounds
version 0.1.0, up since 2026-11-23 10:15:00 UTC (3 h ago)
";
        assert_eq!(status(&samples::status(), &samples::look()), expected);
    }

    #[test]
    fn the_sets_fit_40_columns() {
        let text = sets(&samples::status().sets, &samples::narrow());
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.contains("20261123T101500Z-33333333"), "{text}");
    }

    #[test]
    fn a_run_that_is_due_is_not_in_the_past() {
        let mut set = samples::status().sets.remove(0);
        set.next_run = Some(samples::now());
        assert_eq!(next(&set, &samples::look()), "due");
        set.running_since = Some(samples::now());
        assert_eq!(next(&set, &samples::look()), "running");
    }
}
