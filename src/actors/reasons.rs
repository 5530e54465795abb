//! What needs a person.
//!
//! Hazard: a warning that is raised in one place and cleared in another stays for ever, or never comes. What needs a
//! person follows from facts, all of them looked at together, again and again: a reason is there while its fact is.

use std::collections::BTreeMap;
use std::time::Duration;

use super::history;
use super::world::{AUDIT_LOG, ActorState, World};
use crate::core::mode::DegradedReason;
use crate::core::{ReplicaName, SetName};
use crate::pipeline::assess::{LiveFault, LiveFaultKind, assess};
use crate::pipeline::fewer::{Fewer, fewer_now};
use crate::settings::SetSettings;

/// A set whose runs failed this often in a row needs a person. The retries before take some three minutes: what heals
/// by itself mostly has by then.
pub const FAILING_AFTER: u32 = 3;

/// A drill that failed is held again after a minute: that one decides.
pub const DRILLS_FAILING_AFTER: u32 = 2;
/// No work in the write lane takes longer, unless it hangs: at 50 MB/s it moves 180 GB in this time.
const LONG_WORK: Duration = Duration::from_secs(3600);

/// The most things that one reason names; the rest is counted.
const MAX_NAMED: usize = 3;

/// Each reason there is to be degraded, with what a person should know: what, where, what to do.
pub type Concerns = BTreeMap<DegradedReason, String>;

/// What the reasons are judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// What is wrong with live files of which there are good copies.
    pub live_faults: Vec<LiveFault>,
    /// The sets whose newest backup lacks more than half the files of the one before, and which.
    pub fewer_files: Vec<String>,
    /// The sets whose sources must not be used: why, and what to do.
    pub unsafe_sources: Vec<String>,
    /// The sets whose last run failed: how often in a row, and why the last one did.
    pub failing_sets: Vec<(SetName, u32, Option<String>)>,
    /// The replicas that lack what they should have: how many backups as far as is known, and why.
    pub lagging_replicas: Vec<(ReplicaName, usize, String)>,
    /// The sets whose drills fail that are to be held: how often in a row, and why the last one did.
    pub failing_drills: Vec<(SetName, u32, Option<String>)>,
    /// The audit log, if it cannot be written.
    pub unwritable_audit_log: Option<String>,
    /// The audit log, if it is not what was written and nobody has accepted that.
    pub broken_audit_log: Option<String>,
    /// Whether the mode would be forgotten by a restart.
    pub mode_not_persisted: bool,
    /// What is missing and what to do about it, if there is no repository.
    pub missing_repository: Option<String>,
    /// The actor whose work holds the write lane though it should not, and for how long.
    pub stuck: Option<(&'static str, Duration)>,
    /// Why the clock is not believed.
    pub clock_fault: Option<String>,
    /// Which timeline departed from another, and why, if nobody has seen that yet.
    pub rolled_back: Option<String>,
    /// How little space is left, if it is too little.
    pub space_low: Option<String>,
    /// Cleanups that wait for a person: how many backups of which set.
    pub held: Vec<String>,
    /// Why the settings that are there are not the ones in force.
    pub rejected_settings: Option<String>,
    /// Restores that were interrupted and could not be settled: what there is, and what to do.
    pub unsettled_restores: Vec<String>,
}

type Judgement = fn(&Facts) -> Option<String>;

/// The reasons that come and go with their facts. The one that is not among them stays for the life of the process:
/// that the recovery flag was still set when recovery mode was left.
const JUDGEMENTS: &[(DegradedReason, Judgement)] = &[
    (DegradedReason::LiveFilesMissing, |facts| {
        let missing = |fault: &&LiveFault| fault.fault == LiveFaultKind::Missing;
        named(facts.live_faults.iter().filter(missing).map(place), "missing: restore the set, or the one file")
    }),
    (DegradedReason::LiveFilesInvalid, |facts| {
        let invalid = facts.live_faults.iter().filter_map(|fault| match &fault.fault {
            LiveFaultKind::Invalid(why) => Some(format!("{} ({why})", place(fault))),
            LiveFaultKind::Missing => None,
        });
        named(invalid, "no longer valid: mend the file, or restore it")
    }),
    (DegradedReason::FewerFiles, |facts| {
        let what = "restore them (`fiovana-app restore SET BACKUP --file FILE`), or, if they are meant to be gone, back the \
                    set up by hand once more";
        named(facts.fewer_files.iter().cloned(), what)
    }),
    (DegradedReason::SourceUnsafe, |facts| {
        let first = facts.unsafe_sources.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
        let more = facts.unsafe_sources.len().saturating_sub(MAX_NAMED);
        let more = if more == 0 { String::new() } else { format!("; and {more} more (fiovana-app config check)") };
        (!facts.unsafe_sources.is_empty()).then(|| first + &more)
    }),
    (DegradedReason::BackupsFailing, |facts| {
        let failing = facts.failing_sets.iter().filter(|(_, failures, _)| *failures >= FAILING_AFTER);
        let sets = failing.map(|(set, failures, error)| {
            format!(
                "{set} ({failures} runs in a row: {})",
                error.as_deref().unwrap_or("the reason is in the audit log")
            )
        });
        named(sets, "not backed up any more: remove the cause; it is tried again by itself")
    }),
    (DegradedReason::ReplicaLagging, |facts| {
        let lagging = facts.lagging_replicas.iter();
        let replicas = lagging.map(|(name, lag, why)| format!("{name} ({lag} backups: {why})"));
        named(replicas, "a replica lacks backups: remove the cause; it is tried again by itself")
    }),
    (DegradedReason::DrillsFailing, |facts| {
        let failing = facts.failing_drills.iter().filter(|(_, failures, _)| *failures >= DRILLS_FAILING_AFTER);
        let sets = failing
            .map(|(set, _, error)| format!("{set} ({})", error.as_deref().unwrap_or("the reason is in the audit log")));
        named(sets, "could not be restored when that was rehearsed: remove the cause, then `fiovana-app drill SET`")
    }),
    (DegradedReason::AuditUnwritable, |facts| {
        let path = facts.unwritable_audit_log.as_ref()?;
        Some(format!("{path} cannot be written, so records wait: see to its owner, permissions and free space"))
    }),
    (DegradedReason::AuditChainBroken, |facts| {
        let path = facts.broken_audit_log.as_ref()?;
        Some(format!(
            "{path} is not what was written: `fiovana-app audit verify` says where; once it is explained, \
             `fiovana-app audit accept`"
        ))
    }),
    (DegradedReason::ModeNotPersisted, |facts| {
        let what = "a restart would forget the present mode: see that the backup directory can be written";
        facts.mode_not_persisted.then(|| facts.missing_repository.clone().unwrap_or_else(|| what.to_owned()))
    }),
    (DegradedReason::ActorStuck, |facts| {
        let (actor, held) = facts.stuck?;
        let minutes = held.as_secs() / 60;
        Some(format!(
            "work of the {actor} does not end ({minutes} min), and nothing else can be written meanwhile: see whether \
             a disk hangs; a restart of the service is safe"
        ))
    }),
    (DegradedReason::ClockSuspect, |facts| {
        let fault = facts.clock_fault.as_ref()?;
        Some(format!("{fault}; nothing is deleted: set the clock right, or, if it is, `fiovana-app clock accept`"))
    }),
    (DegradedReason::RepositoryRolledBack, |facts| facts.rolled_back.clone()),
    (DegradedReason::SpaceLow, |facts| {
        let space = facts.space_low.as_ref()?;
        Some(format!("{space}: move the backups to a larger disk, or keep less; `fiovana-app prune --dry-run` helps"))
    }),
    (DegradedReason::CleanupHeld, |facts| {
        named(facts.held.iter().cloned(), "to be deleted once you say so: see `fiovana-app prune --dry-run`")
    }),
    (DegradedReason::SettingsRejected, |facts| {
        let why = facts.rejected_settings.as_ref()?;
        Some(format!("{why}: correct the settings, see that `fiovana-app config check` accepts them, and reload"))
    }),
    (DegradedReason::RestoreUnsettled, |facts| {
        (!facts.unsettled_restores.is_empty()).then(|| facts.unsettled_restores.join(". "))
    }),
];

/// What is known of a reason whose detail is not (any more).
const fn in_general(reason: DegradedReason) -> &'static str {
    match reason {
        DegradedReason::RecoveryFlagSet => {
            "recovery mode was left while FIOVANA_RECOVERY_MODE is set: unset it, or the next start is in recovery mode"
        }
        _ => "being looked at again",
    }
}

/// The reasons that these facts give.
pub fn concerns(facts: &Facts) -> Concerns {
    JUDGEMENTS.iter().filter_map(|(reason, judge)| Some((*reason, judge(facts)?))).collect()
}

/// The reasons that [`concerns`] decides about: those that it does not give are no longer there.
pub fn judged() -> impl Iterator<Item = DegradedReason> {
    JUDGEMENTS.iter().map(|(reason, _)| *reason)
}

/// What a person should know of a reason.
pub fn detail(concerns: &Concerns, reason: DegradedReason) -> String {
    concerns.get(&reason).cloned().unwrap_or_else(|| in_general(reason).to_owned())
}

/// Finds the facts out. Reads live files, so it may block.
pub fn look(world: &World) -> Facts {
    let settings = world.settings();
    let failing = settings.sets.iter().filter_map(|set| {
        let run = world.run(&set.name);
        let failures = run.history.consecutive_failures;
        (failures > 0).then(|| (set.name.clone(), failures, run.last_error))
    });
    let audit_log = || settings.log_directory.join(AUDIT_LOG).display().to_string();
    Facts {
        live_faults: assess(&world.repository, &settings.sets),
        fewer_files: settings.sets.iter().filter_map(|set| fewer_files(world, set)).collect(),
        unsafe_sources: settings.unsafe_sources(),
        failing_sets: failing.collect(),
        lagging_replicas: world
            .replicas
            .views(&settings, &world.repository)
            .into_iter()
            .filter_map(|view| Some((view.name, view.lag_backups, view.fault?.message)))
            .collect(),
        failing_drills: settings.sets.iter().filter_map(|set| failing_drill(world, set)).collect(),
        unwritable_audit_log: world.audit().failing.then(audit_log),
        broken_audit_log: world.audit().broken.then(audit_log),
        mode_not_persisted: !world.mode().persisted,
        missing_repository: world.missing().map(str::to_owned),
        stuck: stuck(world),
        clock_fault: world.timekeeping.fault().map(|fault| fault.to_string()),
        rolled_back: history::concern(world),
        space_low: space_low(world),
        held: settings.sets.iter().filter_map(|set| held(world, &set.name)).collect(),
        rejected_settings: world.rejected_settings(),
        unsettled_restores: world.unsettled_restores(),
    }
}

fn fewer_files(world: &World, set: &SetSettings) -> Option<String> {
    let catalogue = world.repository.catalogue();
    let fewer = fewer_now(catalogue.set(&set.name)?, set).filter(Fewer::is_most)?;
    Some(format!("{}: {}", set.name, fewer.sentence()))
}

fn failing_drill(world: &World, set: &SetSettings) -> Option<(SetName, u32, Option<String>)> {
    // Where none is to be held, what became of the last one is history.
    world.drill_due(set)?;
    let record = world.drills.of(&set.name);
    let failures = record.history.consecutive_failures;
    (failures > 0).then(|| (set.name.clone(), failures, record.failure))
}

/// Work in the write lane whose actor was restarted meanwhile, or that takes longer than any should.
fn stuck(world: &World) -> Option<(&'static str, Duration)> {
    let (holder, held) = world.lane.holder()?;
    let ghost = world.actors().get(holder.child).is_some_and(|actor| actor.state == ActorState::Stuck);
    (ghost || held > LONG_WORK).then_some((holder.child, held))
}

/// How much space is left, if it is less than it should be.
fn space_low(world: &World) -> Option<String> {
    let janitor = world.settings().janitor;
    let space = world.measure_space()?;
    let (free, total) = (space.free_bytes >> 20, space.total_bytes >> 20);
    let low = space.is_low(janitor.min_free_mb, janitor.min_free_percent);
    low.then(|| format!("{free} MiB of {total} MiB are free in {}", world.repository.location()))
}

fn held(world: &World, set: &SetName) -> Option<String> {
    let hold = world.upkeep.held(set)?;
    Some(format!("{} of {} backups of {set}", hold.deletions, hold.backups))
}

fn place(fault: &LiveFault) -> String {
    format!("{}/{}", fault.set, fault.path)
}

/// `a, b, c and 4 more: what is wrong with them`; nothing of nothing.
fn named(things: impl Iterator<Item = String>, what: &str) -> Option<String> {
    let things: Vec<String> = things.collect();
    let more = match things.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let first = things.iter().take(MAX_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    (!things.is_empty()).then(|| format!("{first}{more}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str) -> SetName {
        name.parse().unwrap()
    }

    fn missing(path: &str) -> LiveFault {
        LiveFault { set: set("security"), path: path.to_owned(), fault: LiveFaultKind::Missing }
    }

    #[test]
    fn without_a_fact_there_is_no_reason() {
        assert_eq!(concerns(&Facts::default()), Concerns::new());
    }

    #[test]
    fn each_fact_gives_its_reason_and_no_other() {
        let invalid = LiveFault { fault: LiveFaultKind::Invalid("not JSON".into()), ..missing("a.json") };
        let table = [
            (DegradedReason::LiveFilesMissing, Facts { live_faults: vec![missing("a.json")], ..Facts::default() }),
            (DegradedReason::LiveFilesInvalid, Facts { live_faults: vec![invalid], ..Facts::default() }),
            (DegradedReason::FewerFiles, Facts { fewer_files: vec!["t: 4 files".into()], ..Facts::default() }),
            (
                DegradedReason::SourceUnsafe,
                Facts { unsafe_sources: vec!["set logs: a stranger's".into()], ..Facts::default() },
            ),
            (
                DegradedReason::BackupsFailing,
                Facts { failing_sets: vec![(set("logs"), FAILING_AFTER, None)], ..Facts::default() },
            ),
            (
                DegradedReason::ReplicaLagging,
                Facts {
                    lagging_replicas: vec![("usb".parse().unwrap(), 0, "mount its disk".into())],
                    ..Facts::default()
                },
            ),
            (
                DegradedReason::DrillsFailing,
                Facts { failing_drills: vec![(set("logs"), DRILLS_FAILING_AFTER, None)], ..Facts::default() },
            ),
            (
                DegradedReason::AuditUnwritable,
                Facts { unwritable_audit_log: Some("/logs/audit".into()), ..Facts::default() },
            ),
            (
                DegradedReason::AuditChainBroken,
                Facts { broken_audit_log: Some("/logs/audit".into()), ..Facts::default() },
            ),
            (DegradedReason::ModeNotPersisted, Facts { mode_not_persisted: true, ..Facts::default() }),
            (DegradedReason::ActorStuck, Facts { stuck: Some(("archiver", LONG_WORK)), ..Facts::default() }),
            (DegradedReason::ClockSuspect, Facts { clock_fault: Some("it says 1970".into()), ..Facts::default() }),
            (
                DegradedReason::RepositoryRolledBack,
                Facts { rolled_back: Some("timeline 2".into()), ..Facts::default() },
            ),
            (DegradedReason::SpaceLow, Facts { space_low: Some("1 of 100 MiB".into()), ..Facts::default() }),
            (DegradedReason::CleanupHeld, Facts { held: vec!["9 of 10 of logs".into()], ..Facts::default() }),
            (DegradedReason::SettingsRejected, Facts { rejected_settings: Some("bad".into()), ..Facts::default() }),
            (
                DegradedReason::RestoreUnsettled,
                Facts { unsettled_restores: vec!["a journal".into()], ..Facts::default() },
            ),
        ];
        assert!(table.iter().map(|(reason, _)| *reason).eq(judged()), "a judgement is not tested");
        for (reason, facts) in table {
            assert!(concerns(&facts).into_keys().eq([reason]), "{facts:?}");
        }
    }

    #[test]
    fn a_failure_that_may_pass_by_itself_needs_nobody() {
        let facts = Facts { failing_sets: vec![(set("logs"), FAILING_AFTER - 1, None)], ..Facts::default() };
        assert_eq!(concerns(&facts), Concerns::new());
    }

    #[test]
    fn a_reason_names_what_where_and_what_to_do_and_does_not_grow() {
        let live_faults: Vec<_> = (0..100).map(|n| missing(&format!("{n}.json"))).collect();
        let concerns = concerns(&Facts { live_faults, ..Facts::default() });
        assert_eq!(
            detail(&concerns, DegradedReason::LiveFilesMissing),
            "security/0.json, security/1.json, security/2.json and 97 more: missing: restore the set, or the one file"
        );
    }
}
