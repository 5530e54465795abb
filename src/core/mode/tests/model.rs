//! Exhaustive check of the machine together with the loop that persists, audits and acts; crashes, failed writes and
//! work that fails included. The loop's rule is the one of [`Effect`]; the checks know nothing of how `step` works.

use std::collections::HashMap;

use super::*;

type Step = fn(&Mode, &ModeEvent) -> Result<(Mode, Vec<Effect>), IllegalEvent>;

/// The process and its disk, and what the checks remember of the past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    mode: Mode,
    persisted: Persisted,
    deletes: bool,
    schedules: bool,
    work: Option<Work>,
    /// Somebody asked for the recovery there is.
    asked: bool,
    /// The same, as far as it was written.
    asked_on_disk: bool,
    /// What the last validation proved, if nothing failed since it began.
    proof: Option<Proof>,
    /// Something failed since the work under way began.
    tainted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Work {
    Assessment,
    Restore,
    Validation,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Proof {
    AllWell,
    Lost(BTreeSet<Loss>),
}

impl World {
    fn new(persisted: Persisted) -> Self {
        let asked =
            matches!(&persisted, Persisted::Found(mode) if mode.is_recovery() && !mode.allows_scheduled_backups());
        Self {
            mode: Mode::Starting,
            persisted,
            deletes: false,
            schedules: false,
            work: None,
            asked,
            asked_on_disk: asked,
            proof: None,
            tainted: false,
        }
    }

    /// A new process on the same disk.
    fn restarted(&self) -> Self {
        let asked = self.asked_on_disk;
        Self { asked, asked_on_disk: asked, ..Self::new(self.persisted.clone()) }
    }

    /// What can happen next. A piece of work ends only if it is under way; a start is told what is on disk.
    fn events(&self) -> Vec<ModeEvent> {
        if self.mode == Mode::Starting {
            let finds = explore::starts().into_iter().filter(|facts| facts.persisted == self.persisted);
            let unknown = facts(self.persisted.clone());
            let flagged = StartFacts { flag_set: true, ..unknown.clone() };
            return finds.chain([unknown, flagged]).map(ModeEvent::Started).chain([ModeEvent::StopRequested]).collect();
        }
        explore::running_events().into_iter().filter(|event| ends(event).is_empty() || self.ends_with(event)).collect()
    }

    fn ends_with(&self, event: &ModeEvent) -> bool {
        self.work.is_some_and(|work| ends(event).contains(&work))
    }
}

/// The pieces of work that an event is the end of.
fn ends(event: &ModeEvent) -> &'static [Work] {
    match event {
        ModeEvent::Assessed { .. } => &[Work::Assessment],
        ModeEvent::Restored => &[Work::Restore],
        ModeEvent::ValidationPassed | ModeEvent::ValidationFailed { .. } => &[Work::Validation],
        ModeEvent::WorkFailed => &[Work::Assessment, Work::Restore, Work::Validation],
        _ => &[],
    }
}

fn is_failure(event: &ModeEvent) -> bool {
    match event {
        ModeEvent::IntegrityFailed(_) => true,
        ModeEvent::RecoveryDemanded(cause) => !cause.is_asked_for(),
        _ => false,
    }
}

fn asks(event: &ModeEvent) -> bool {
    match event {
        ModeEvent::RecoveryDemanded(cause) => cause.is_asked_for(),
        ModeEvent::Started(facts) => facts.flag_set,
        _ => false,
    }
}

/// Whether the event must find or make the mode recovery.
fn demands_recovery(event: &ModeEvent) -> bool {
    match event {
        ModeEvent::IntegrityFailed(verdict) => matches!(verdict, IntegrityVerdict::Repeated { .. }),
        ModeEvent::RecoveryDemanded(_) => true,
        ModeEvent::Started(facts) => {
            let kept = match &facts.persisted {
                Persisted::Found(mode) => !matches!(mode, Mode::Normal | Mode::Degraded { .. }),
                Persisted::Missing | Persisted::Damaged => true,
                Persisted::Fresh => false,
            };
            facts.flag_set || facts.alarm.is_some() || kept
        }
        _ => false,
    }
}

/// The worlds that `event` may lead to: the disk takes the write or not, and the process dies after any effect.
fn outcomes(world: &World, event: &ModeEvent, step: Step) -> Result<Vec<World>, String> {
    let (next, effects) = match step(&world.mode, event) {
        Ok(taken) => taken,
        Err(_) if world.ends_with(event) => return Err(format!("the end of its work is refused: {event:?}")),
        Err(_) => return Ok(Vec::new()),
    };
    let mut worlds = Vec::new();
    for disk_works in [true, false] {
        let mut now = witness(world, event);
        let waits = effects.contains(&Effect::Persist(Persistence::Required));
        if !waits {
            adopt(&mut now, &next, event)?;
        }
        for effect in &effects {
            match effect {
                Effect::Persist(_) if disk_works => {
                    now.persisted = Persisted::Found(next.clone());
                    now.asked_on_disk = now.asked && next.is_recovery();
                }
                Effect::Persist(Persistence::Required) => break,
                _ => act(&mut now, effect)?,
            }
            if waits && matches!(effect, Effect::Persist(_)) {
                adopt(&mut now, &next, event)?;
            }
            worlds.push(now.restarted());
        }
        settled(&now)?;
        worlds.push(now);
    }
    Ok(worlds)
}

/// What the checks learn from the event itself.
fn witness(world: &World, event: &ModeEvent) -> World {
    let mut now = world.clone();
    let ended = !ends(event).is_empty();
    if ended {
        now.work = None;
    }
    match event {
        ModeEvent::ValidationPassed if !now.tainted => now.proof = Some(Proof::AllWell),
        ModeEvent::ValidationFailed { losses } if !now.tainted => now.proof = Some(Proof::Lost(losses.clone())),
        _ if ended || is_failure(event) => now.proof = None,
        _ => {}
    }
    now.tainted = !ended && (now.tainted || (is_failure(event) && now.work.is_some()));
    now
}

/// The mode becomes `next`.
fn adopt(now: &mut World, next: &Mode, event: &ModeEvent) -> Result<(), String> {
    let was = std::mem::replace(&mut now.mode, next.clone());
    if demands_recovery(event) && !next.is_recovery() {
        return Err(format!("no recovery in spite of {event:?}"));
    }
    if let ModeEvent::Started(facts) = event
        && facts.flag_set
        && next.recovery_cause() != Some(RecoveryCause::RecoveryFlag)
    {
        return Err("the flag did not win".to_owned());
    }
    if was.is_recovery() && !next.is_recovery() && *next != Mode::Stopping {
        let ModeEvent::ExitRequested { acknowledged, .. } = event else { return Err(format!("left by {event:?}")) };
        let proven = match &now.proof {
            Some(Proof::AllWell) => true,
            Some(Proof::Lost(losses)) => !losses.is_empty() && losses.is_subset(acknowledged),
            None => false,
        };
        if !proven {
            return Err(format!("left without proof, by {event:?}"));
        }
        if now.persisted != Persisted::Found(next.clone()) {
            return Err("left before it was durable".to_owned());
        }
        (now.asked, now.proof) = (false, None);
    }
    now.asked |= asks(event) && next.is_recovery();
    Ok(())
}

fn act(now: &mut World, effect: &Effect) -> Result<(), String> {
    let started = match effect {
        Effect::FreezeDeletion | Effect::AllowDeletion => {
            now.deletes = *effect == Effect::AllowDeletion;
            return Ok(());
        }
        Effect::SuspendSchedules | Effect::ResumeSchedules => {
            now.schedules = *effect == Effect::ResumeSchedules;
            return Ok(());
        }
        Effect::Persist(_) | Effect::Audit(_) => return Ok(()),
        Effect::StartAssessment => Work::Assessment,
        Effect::StartRestore => Work::Restore,
        Effect::StartValidation => Work::Validation,
    };
    match now.work.replace(started) {
        None => Ok(()),
        Some(other) => Err(format!("{started:?} starts while {other:?} is under way")),
    }
}

/// What must hold whenever the loop waits for the next event.
fn settled(now: &World) -> Result<(), String> {
    let rules = [
        (now.deletes && now.mode.is_recovery(), "deletes in recovery"),
        (
            now.deletes && matches!(&now.persisted, Persisted::Found(m) if m.is_recovery()),
            "deletes, but recovery is persisted",
        ),
        (now.deletes != now.mode.allows_deletion(), "deletion is not what the mode says"),
        (now.schedules != now.mode.allows_scheduled_backups(), "schedules are not what the mode says"),
        (now.schedules && now.asked && now.mode.is_recovery(), "runs on schedule in a recovery that was asked for"),
        (now.work.is_some() && !now.mode.is_recovery() && now.mode != Mode::Stopping, "work outlives its recovery"),
    ];
    rules.iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, rule)| Err((*rule).to_owned()))
}

/// Explores every world that can come to be, and returns how many there are, or the rule that one of them breaks.
fn check(step: Step) -> Result<usize, String> {
    let on_disk: BTreeSet<Persisted> = explore::starts().into_iter().map(|facts| facts.persisted).collect();
    let mut worlds: Vec<World> = on_disk.into_iter().map(World::new).collect();
    let mut number: HashMap<World, usize> = worlds.iter().cloned().zip(0..).collect();
    let mut comes_from: Vec<Vec<usize>> = vec![Vec::new(); worlds.len()];
    let mut at = 0;
    while at < worlds.len() {
        let world = worlds[at].clone();
        for event in world.events() {
            let next = outcomes(&world, &event, step).map_err(|rule| format!("{rule}\n  {event:?}\n  in {world:?}"))?;
            for next in next {
                let to = *number.entry(next).or_insert_with_key(|next| {
                    worlds.push(next.clone());
                    comes_from.push(Vec::new());
                    worlds.len() - 1
                });
                comes_from[to].push(at);
            }
        }
        at += 1;
    }
    no_dead_end(&worlds, &comes_from)?;
    Ok(worlds.len())
}

/// From every world but a stopping one, a working mode can be reached.
fn no_dead_end(worlds: &[World], comes_from: &[Vec<usize>]) -> Result<(), String> {
    let works = |at: &usize| matches!(worlds[*at].mode, Mode::Normal | Mode::Degraded { .. });
    let mut frontier: Vec<usize> = (0..worlds.len()).filter(works).collect();
    let mut alive = vec![false; worlds.len()];
    while let Some(at) = frontier.pop() {
        if !std::mem::replace(&mut alive[at], true) {
            frontier.extend(&comes_from[at]);
        }
    }
    match worlds.iter().zip(alive).find(|(world, alive)| world.mode != Mode::Stopping && !alive) {
        Some((world, _)) => Err(format!("dead end: {world:?}")),
        None => Ok(()),
    }
}

#[test]
fn nothing_that_can_happen_breaks_a_rule_of_recovery() {
    let worlds = check(step).unwrap_or_else(|broken| panic!("{broken}"));
    println!("{worlds} worlds");
    assert!(worlds > 100, "hardly explored: {worlds}");
}

/// A step of the real machine, with the mode after it or the effects tampered with.
fn tampered(
    mode: &Mode,
    event: &ModeEvent,
    tamper: impl FnOnce(&mut Mode, &mut Vec<Effect>),
) -> Result<(Mode, Vec<Effect>), IllegalEvent> {
    step(mode, event).map(|(mut mode, mut effects)| {
        tamper(&mut mode, &mut effects);
        (mode, effects)
    })
}

const MUTANTS: [(&str, Step); 8] = [
    ("left without proof", |mode, event| match (mode.phase(), event) {
        (Some(RecoveryPhase::AwaitingDecision { .. }), ModeEvent::ExitRequested { .. }) => Ok((
            Mode::Normal,
            vec![Effect::Persist(Persistence::Required), Effect::AllowDeletion, Effect::ResumeSchedules],
        )),
        _ => step(mode, event),
    }),
    ("left without proof", |mode, event| match (mode, event) {
        // A failure during the validation is forgotten.
        (Mode::Recovery { phase: RecoveryPhase::Validating { .. }, .. }, ModeEvent::IntegrityFailed(_)) => {
            Ok((mode.clone(), Vec::new()))
        }
        _ => step(mode, event),
    }),
    ("deletes in recovery", |mode, event| {
        tampered(mode, event, |_, effects| effects.retain(|effect| *effect != Effect::FreezeDeletion))
    }),
    ("left before it was durable", |mode, event| {
        tampered(mode, event, |_, effects| {
            for effect in effects {
                if *effect == Effect::Persist(Persistence::Required) {
                    *effect = Effect::Persist(Persistence::Attempted);
                }
            }
        })
    }),
    ("schedules are not what the mode says", |mode, event| {
        tampered(mode, event, |_, effects| effects.retain(|effect| *effect != Effect::SuspendSchedules))
    }),
    ("the flag did not win", |mode, event| match event {
        ModeEvent::Started(facts) => step(
            mode,
            &ModeEvent::Started(StartFacts {
                flag_set: false,
                alarm: Some(RecoveryCause::NoGoodBackup),
                ..facts.clone()
            }),
        ),
        _ => step(mode, event),
    }),
    ("no recovery in spite of", |mode, event| match (mode, event) {
        (Mode::Degraded { .. }, ModeEvent::IntegrityFailed(_)) => Ok((mode.clone(), Vec::new())),
        _ => step(mode, event),
    }),
    ("dead end", |mode, event| match event {
        ModeEvent::ValidationRequested | ModeEvent::Assessed { restorable: false } | ModeEvent::Restored => {
            step(mode, &ModeEvent::WorkFailed).or_else(|_| step(mode, event)).map(|_| (mode.clone(), Vec::new()))
        }
        _ => step(mode, event),
    }),
];

#[test]
fn each_mutated_transition_is_caught_by_its_rule() {
    for (number, (rule, mutant)) in MUTANTS.into_iter().enumerate() {
        let broken = check(mutant).expect_err(&format!("mutant {number} was not caught"));
        assert!(broken.starts_with(rule), "mutant {number}: expected {rule:?}, got {broken}");
    }
}
