//! Which events a person must hear of who has no Prometheus.
//!
//! Hazard: a table with a gap is a failure that nobody hears of. Every event is in it, and one that is added has to be
//! put in its place.

use super::logging::sentence;
use super::{Event, Occurrence};
use crate::core::notices::{Notice, Trouble, Urgency};

/// The most characters of a sentence that are told: it goes into an environment variable.
const MAX_SUMMARY_CHARACTERS: usize = 1000;

/// Reasons to be degraded that are told by an event of their own, which says more.
const TOLD_OTHERWISE: [&str; 4] = ["cleanup_held", "clock_suspect", "replica_lagging", "repository_rolled_back"];

/// What a person is to be told of an occurrence, if anything.
pub fn notice(occurrence: &Occurrence) -> Option<Notice> {
    let (urgency, kind, of) = told(&occurrence.event)?;
    Some(Notice {
        event: occurrence.event.name(),
        trouble: Trouble { kind, set: occurrence.set.clone(), of },
        urgency,
        at: occurrence.at,
        backup: occurrence.backup,
        summary: one_line(&sentence(&occurrence.event)),
        correlation_id: occurrence.correlation_id.clone(),
    })
}

/// When it is told, and of which trouble it tells: the kind, and what tells it from others of its kind.
fn told(event: &Event) -> Option<(Urgency, &'static str, String)> {
    use Urgency::{EachTime, OnceInAWhile, Over};
    let name = event.name();
    let plain = |urgency| Some((urgency, name, String::new()));
    match event {
        Event::BackupFailed { .. }
        | Event::IntegrityCheckFailed { .. }
        | Event::RepairFailed { .. }
        | Event::DrillFailed { .. }
        | Event::CleanupHeld { .. }
        | Event::CleanupFailed { .. }
        | Event::ClockSuspect { fault: Some(_), .. } => plain(OnceInAWhile),
        Event::ReplicaLagging { replica, .. } => Some((OnceInAWhile, name, replica.to_string())),
        Event::RestoreFailed { .. }
        | Event::RestoreRolledBack { .. }
        | Event::SourceRewritten { .. }
        | Event::SourceChangedUnseen { .. }
        | Event::KeyChanged { .. }
        | Event::TimelineBegan { .. }
        | Event::ActorGaveUp { .. } => plain(EachTime),
        Event::ModeChanged { .. } => mode_told(event),
        Event::BackupCompleted { .. } | Event::BackupUnchanged { .. } => Some((Over, "BackupFailed", String::new())),
        Event::DrillPassed { .. } => Some((Over, "DrillFailed", String::new())),
        Event::ReplicaCaughtUp { replica, .. } => Some((Over, "ReplicaLagging", replica.to_string())),
        Event::ClockSuspect { fault: None, .. } => plain(Over),
        Event::ServiceStarted { .. }
        | Event::ServiceStopped { .. }
        | Event::ChainAccepted { .. }
        | Event::BackupStarted { .. }
        | Event::RepositoryUpgraded { .. }
        | Event::IntegrityCheckPassed { .. }
        | Event::RepairCompleted { .. }
        | Event::RestoreStarted { .. }
        | Event::RestoreCompleted { .. }
        | Event::CleanupStarted { .. }
        | Event::CleanupCompleted { .. }
        | Event::TimelineAccepted { .. }
        | Event::Pinned
        | Event::Unpinned
        | Event::Forgotten { .. }
        | Event::QuarantineCleared { .. }
        | Event::SecretsShown { .. }
        | Event::AuthRejected
        | Event::SettingsReloaded { .. }
        | Event::SettingsRejected { .. }
        | Event::ActorRestarted { .. } => None,
    }
}

/// Recovery mode and its end, and each reason that comes or goes.
fn mode_told(event: &Event) -> Option<(Urgency, &'static str, String)> {
    let Event::ModeChanged { from, to, raised, cleared, .. } = event else { return None };
    let name = event.name();
    if from != to && (*from == "recovery" || *to == "recovery") && *to != "stopping" {
        return Some((Urgency::EachTime, name, "recovery".to_owned()));
    }
    let worth = |code: &&str| !TOLD_OTHERWISE.contains(code);
    let (raised, cleared): (Vec<&str>, Vec<&str>) =
        (raised.iter().map(|(code, _)| *code).filter(worth).collect(), cleared.iter().copied().filter(worth).collect());
    match (raised.is_empty(), cleared.is_empty()) {
        (false, _) => Some((Urgency::OnceInAWhile, name, raised.join(","))),
        (true, false) => Some((Urgency::Over, name, cleared.join(","))),
        (true, true) => None,
    }
}

/// Shortened, and without what would end a line or a string.
fn one_line(text: &str) -> String {
    let plain = |character: char| if character.is_control() { ' ' } else { character };
    let mut line: String = text.chars().map(plain).take(MAX_SUMMARY_CHARACTERS).collect();
    if text.chars().nth(MAX_SUMMARY_CHARACTERS).is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::core::BackupKind;

    fn of(event: Event) -> Option<Notice> {
        notice(&Occurrence {
            event,
            at: DateTime::UNIX_EPOCH,
            actor: "archiver",
            principal: "scheduler".into(),
            set: Some("logs".parse().unwrap()),
            backup: None,
            correlation_id: "c0ffee".into(),
        })
    }

    fn failed(error: &str) -> Event {
        Event::BackupFailed { kind: BackupKind::Scheduled, error: error.to_owned() }
    }

    fn mode(from: &'static str, to: &'static str, raised: &[&'static str], cleared: &[&'static str]) -> Event {
        let raised = raised.iter().map(|code| (*code, "what to do".to_owned())).collect();
        Event::ModeChanged { from, to, phase: None, cause: "", raised, cleared: cleared.to_vec() }
    }

    #[test]
    fn a_backup_ends_the_trouble_that_its_sets_failure_began() {
        let (began, ended) = (of(failed("no space")).unwrap(), of(Event::BackupUnchanged { duration_seconds: 1.0 }));
        let ended = ended.unwrap();
        assert_eq!((began.urgency, ended.urgency), (Urgency::OnceInAWhile, Urgency::Over));
        assert_eq!(began.trouble, ended.trouble);
        assert_eq!((began.event, ended.event), ("BackupFailed", "BackupUnchanged"));
        assert_eq!(began.summary, "backup failed: no space");
    }

    #[test]
    fn of_modes_recovery_is_told_each_time_and_each_reason_while_it_is_there() {
        let told = |event| of(event).map(|notice| (notice.urgency, notice.trouble.of));
        let recovery = Some((Urgency::EachTime, "recovery".to_owned()));
        assert_eq!(told(mode("normal", "recovery", &[], &[])), recovery);
        assert_eq!(told(mode("recovery", "degraded", &[], &[])), recovery);
        assert_eq!(told(mode("recovery", "recovery", &[], &[])), None);
        assert_eq!(told(mode("recovery", "stopping", &[], &[])), None);
        assert_eq!(told(mode("starting", "normal", &[], &[])), None);
        let raised = Some((Urgency::OnceInAWhile, "space_low".to_owned()));
        assert_eq!(told(mode("degraded", "degraded", &["space_low"], &[])), raised);
        assert_eq!(told(mode("degraded", "normal", &[], &["space_low"])), Some((Urgency::Over, "space_low".into())));
        for code in TOLD_OTHERWISE {
            assert_eq!(told(mode("normal", "degraded", &[code], &[])), None);
            assert!(crate::core::mode::DegradedReason::ALL.iter().any(|reason| reason.code() == code), "{code}");
        }
    }

    #[test]
    fn a_summary_is_one_line_of_bounded_length() {
        assert_eq!(of(failed("a\nb\0c")).unwrap().summary, "backup failed: a b c");
        let long = of(failed(&"ä".repeat(100_000))).unwrap().summary;
        assert_eq!(long.chars().count(), MAX_SUMMARY_CHARACTERS + 1);
    }
}
