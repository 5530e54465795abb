//! The Supervisor: the mode, and who is up.
//!
//! Hazard: a mode that is acted on before it is durable is forgotten by a crash, and one that waits for a broken disk
//! protects nothing. What to do, and in which order, is decided by `core::mode`; here it is done, one event at a time.

pub(super) mod reassessment;

use std::sync::{Arc, PoisonError};

use actix::prelude::*;
use serde::{Deserialize, Serialize};

use super::herald::{About, Herald};
use super::post::Post;
use super::problems::{self, chain};
use super::reasons;
use super::recovery;
use super::scheduler::{Scheduler, Wake};
use super::service::Caller;
use super::supervision::ChildEvent;
use super::verifier::{Validate, Verifier};
use super::world::{ActorState, ModeView, ROOT, Role, World};
use crate::api::{Problem, ProblemKind};
use crate::core::mode::{
    DegradedReason, Effect, IntegrityVerdict, IntegrityWindow, Mode, ModeEvent, Persistence, RecoveryCause, Transition,
    step,
};
use crate::repository::state::Loaded;
use crate::storage::Durability;
use crate::telemetry::Event;

const MODE: &str = "mode";

/// What is remembered of the mode across restarts.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ModeDocument {
    mode: Mode,
    window: IntegrityWindow,
}

impl ModeDocument {
    /// What is written down. Where backups are encrypted, no file is named in the clear: what was found lost is found again
    /// by the next validation.
    fn of(world: &World, mode: Mode, window: IntegrityWindow) -> Self {
        let is_secret = world.repository.keys().is_secret();
        Self { mode: if is_secret { mode.without_names() } else { mode }, window }
    }
}

/// Something that may change the mode; answered when it has, and its effects are under way.
#[derive(Message)]
#[rtype(result = "Result<(), Problem>")]
pub struct Happened {
    /// What.
    pub event: ModeEvent,
    /// Who asked for it: what follows from it is told as theirs.
    pub caller: Caller,
}

impl Happened {
    /// Something that nobody asked for.
    pub fn unasked(event: ModeEvent) -> Self {
        Self { event, caller: Caller::component(ROOT) }
    }
}

/// A place in the repository was newly found damaged, in an operation of this caller.
#[derive(Message)]
#[rtype(result = "Result<(), Problem>")]
pub struct IntegrityFailure(pub Caller);

/// Whether the supervisor answers, and has heard of its children.
#[derive(Message)]
#[rtype(result = "bool")]
pub struct AllWell;

/// The actors that the supervisor talks to.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Meet {
    /// Speaks for the supervisor.
    pub herald: Herald,
    /// Validates.
    pub verifier: Post<Verifier>,
    /// Wakes when schedules resume; none for a single command.
    pub scheduler: Option<Post<Scheduler>>,
}

/// The actor.
pub struct Supervisor {
    world: Arc<World>,
    window: IntegrityWindow,
    peers: Option<Meet>,
}

impl Supervisor {
    /// A supervisor with the failures that are remembered.
    pub fn new(world: Arc<World>) -> Self {
        let recovery = &world.settings().recovery;
        let window = match Self::load(&world) {
            Loaded::Value(document) => {
                document.window.with_settings(recovery.integrity_failures, recovery.window_minutes)
            }
            Loaded::Absent | Loaded::Damaged(_) => {
                IntegrityWindow::new(recovery.integrity_failures, recovery.window_minutes)
            }
        };
        Self { world, window, peers: None }
    }

    fn load(world: &World) -> Loaded<ModeDocument> {
        world.repository.load_state(MODE).unwrap_or_else(|error| Loaded::Damaged(chain(&error)))
    }

    /// What the last process left, as the mode machine wants to know it.
    pub(super) fn persisted(world: &World) -> crate::core::mode::Persisted {
        use crate::core::mode::Persisted;
        match Self::load(world) {
            Loaded::Value(document) => Persisted::Found(document.mode),
            Loaded::Damaged(_) => Persisted::Damaged,
            Loaded::Absent if world.repository.catalogue().backups().next().is_some() => Persisted::Missing,
            Loaded::Absent => Persisted::Fresh,
        }
    }

    /// Takes one step and carries out its effects, in order, before the next event is looked at.
    fn happened(&mut self, Happened { event, caller }: Happened) -> AtomicResponse<Self, Result<(), Problem>> {
        let before = self.world.mode();
        let (next, effects) = match step(&before.mode, &event) {
            Ok(taken) => taken,
            Err(illegal) => {
                let problem = problems::of_illegal(&illegal);
                return AtomicResponse::new(Box::pin(actix::fut::ready(Err(problem))));
            }
        };
        let window = if leaves_recovery(&before.mode, &next) { self.empty_window() } else { self.window.clone() };
        let carry_out = CarryOut { window: window.clone(), ..self.carry_out(&before, next, &caller) };
        AtomicResponse::new(Box::pin(
            async move { carry_out.run(&effects).await.map(|()| effects) }.into_actor(self).map(
                move |result, supervisor, ctx| {
                    let effects = result?;
                    supervisor.window = window;
                    supervisor.start_work(&effects, &caller, ctx);
                    Ok(())
                },
            ),
        ))
    }

    fn carry_out(&self, before: &ModeView, next: Mode, caller: &Caller) -> CarryOut {
        let (old, new) = (before.mode.reasons(), next.reasons());
        CarryOut {
            world: self.world.clone(),
            herald: self.peers.as_ref().map(|peers| peers.herald.clone()),
            window: self.window.clone(),
            raised: new.difference(&old).copied().collect(),
            // What a process that stops leaves is as it was.
            cleared: old.difference(&new).filter(|_| next != Mode::Stopping).copied().collect(),
            next,
            persisted: before.persisted,
            about: About::caller(caller),
        }
    }

    fn empty_window(&self) -> IntegrityWindow {
        let recovery = &self.world.settings().recovery;
        IntegrityWindow::new(recovery.integrity_failures, recovery.window_minutes)
    }

    /// Its own address.
    fn post(&self, ctx: &Context<Self>) -> Post<Self> {
        Post::new(ctx.address(), self.world.mail(ROOT))
    }

    /// Starts what the effects ask for; its end is reported as the same caller's.
    fn start_work(&self, effects: &[Effect], caller: &Caller, ctx: &mut Context<Self>) {
        let Some(peers) = &self.peers else { return };
        for effect in effects {
            let caller = caller.clone();
            match effect {
                Effect::ResumeSchedules => peers.scheduler.iter().for_each(|scheduler| scheduler.do_send(Wake)),
                Effect::StartAssessment => {
                    let world = self.world.clone();
                    let work = tokio::task::spawn_blocking(move || recovery::restorable(&world));
                    let report = self.post(ctx);
                    ctx.spawn(
                        async move {
                            let event = match work.await {
                                Ok(restorable) => ModeEvent::Assessed { restorable },
                                Err(_) => ModeEvent::WorkFailed,
                            };
                            report.do_send(Happened { event, caller });
                        }
                        .into_actor(self),
                    );
                }
                Effect::StartValidation => {
                    let (report, verifier) = (self.post(ctx), peers.verifier.clone());
                    ctx.spawn(
                        async move {
                            let event = verifier.send(Validate(caller.clone())).await.unwrap_or(ModeEvent::WorkFailed);
                            report.do_send(Happened { event, caller });
                        }
                        .into_actor(self),
                    );
                }
                Effect::StartRestore => {
                    let (report, work) = (self.post(ctx), self.world.recovery.start());
                    ctx.spawn(async move { report.do_send(Happened { event: work.await, caller }) }.into_actor(self));
                }
                _ => {}
            }
        }
    }
}

/// Whether a validated recovery is over: the failures that led to it are dealt with, and count no more.
fn leaves_recovery(before: &Mode, next: &Mode) -> bool {
    before.is_recovery() && matches!(next, Mode::Normal | Mode::Degraded { .. })
}

/// The effects of one step on the way.
struct CarryOut {
    world: Arc<World>,
    herald: Option<Herald>,
    window: IntegrityWindow,
    next: Mode,
    persisted: bool,
    raised: Vec<DegradedReason>,
    cleared: Vec<DegradedReason>,
    about: About,
}

impl CarryOut {
    async fn run(mut self, effects: &[Effect]) -> Result<(), Problem> {
        for effect in effects {
            match effect {
                // What restricts takes hold before anything is waited for.
                Effect::FreezeDeletion | Effect::SuspendSchedules => {
                    self.world.set_mode(self.next.clone(), self.persisted)
                }
                Effect::Persist(persistence) => self.persist(*persistence).await?,
                Effect::Audit(transition) => self.audit(transition).await,
                _ => {}
            }
        }
        self.world.set_mode(self.next, self.persisted);
        Ok(())
    }

    async fn persist(&mut self, persistence: Persistence) -> Result<(), Problem> {
        let world = self.world.clone();
        let document = ModeDocument::of(&world, self.next.clone(), self.window.clone());
        let work =
            tokio::task::spawn_blocking(move || world.repository.save_state(MODE, &document, Durability::Durable));
        let failure = match work.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(panic) => Some(panic.to_string()),
        };
        self.persisted = failure.is_none();
        let mut trouble = self.world.mode_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let told = match &failure {
            Some(why) => trouble.again(why),
            None => {
                trouble.over();
                None
            }
        };
        drop(trouble);
        match (failure, persistence) {
            (Some(why), Persistence::Required) => {
                Err(Problem::new(ProblemKind::Internal, format!("the mode cannot be made durable: {why}")))
            }
            (Some(why), Persistence::Attempted) if !self.world.repository.is_vacant() => {
                if let Some(times) = told {
                    tracing::error!(times, "the mode cannot be made durable: {why}");
                }
                Ok(())
            }
            // That there is no repository was said at the start.
            (_, _) => Ok(()),
        }
    }

    async fn audit(&self, transition: &Transition) {
        // A command ends, and that changes nothing: what it leaves is as it was.
        if self.world.role == Role::Command && self.next == Mode::Stopping {
            return;
        }
        let concerns = self.world.concerns();
        let event = Event::ModeChanged {
            from: transition.from,
            to: transition.to,
            phase: transition.phase,
            cause: transition.cause,
            raised: self.raised.iter().map(|reason| (reason.code(), reasons::detail(&concerns, *reason))).collect(),
            cleared: self.cleared.iter().map(|reason| reason.code()).collect(),
        };
        if let Some(herald) = &self.herald {
            // Unrecorded: the auditor keeps the record, and entering recovery waits for nobody.
            let _ = herald.tell(event, &self.about).await;
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(256);
        if self.world.role == Role::Daemon {
            self.keep_reassessing(ctx);
        }
    }
}

impl Handler<Meet> for Supervisor {
    type Result = ();

    fn handle(&mut self, peers: Meet, _ctx: &mut Self::Context) {
        self.peers = Some(peers);
    }
}

impl Handler<AllWell> for Supervisor {
    type Result = bool;

    fn handle(&mut self, _: AllWell, _ctx: &mut Self::Context) -> Self::Result {
        self.world.hear(ROOT);
        let silent = self.world.silent_actors();
        if !silent.is_empty() {
            tracing::error!(?silent, "actors that should be alive are not heard of");
        }
        silent.is_empty()
    }
}

impl Handler<Happened> for Supervisor {
    type Result = AtomicResponse<Self, Result<(), Problem>>;

    fn handle(&mut self, mut happened: Happened, _ctx: &mut Self::Context) -> Self::Result {
        self.world.hear(ROOT);
        if let ModeEvent::Started(facts) = &mut happened.event
            && let IntegrityVerdict::Repeated { .. } = self.window.verdict(self.world.clock.now())
        {
            // Found by the process before this one, which may have died of it.
            facts.alarm = facts.alarm.or(Some(RecoveryCause::IntegrityFailures));
        }
        self.happened(happened)
    }
}

impl Handler<IntegrityFailure> for Supervisor {
    type Result = AtomicResponse<Self, Result<(), Problem>>;

    fn handle(&mut self, IntegrityFailure(caller): IntegrityFailure, _ctx: &mut Self::Context) -> Self::Result {
        if self.world.is_displaced() {
            // Everything is absent where nothing is: that is no damage.
            let event = ModeEvent::RecoveryDemanded(RecoveryCause::RepositoryMissing);
            return self.happened(Happened { event, caller });
        }
        let settings = self.world.settings();
        let (limit, window_minutes) = (settings.recovery.integrity_failures, settings.recovery.window_minutes);
        self.window = self.window.clone().with_settings(limit, window_minutes);
        let verdict = self.window.record(self.world.clock.now());
        // The count must survive a restart even when it changes nothing yet.
        let document = ModeDocument::of(&self.world, self.world.mode().mode, self.window.clone());
        let world = self.world.clone();
        if !matches!(document.mode, Mode::Starting | Mode::Stopping) {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = world.repository.save_state(MODE, &document, Durability::Durable) {
                    tracing::warn!("an integrity failure was not remembered: {}", chain(&error));
                }
            });
        }
        self.happened(Happened { event: ModeEvent::IntegrityFailed(verdict), caller })
    }
}

impl Handler<ChildEvent> for Supervisor {
    type Result = ();

    fn handle(&mut self, event: ChildEvent, ctx: &mut Self::Context) {
        let now = self.world.clock.now();
        let about = About::caller(&Caller::component("supervisor"));
        // Work of the instance that is gone may live on.
        self.world.reassess();
        let mention = |event: Event| {
            if let Some(peers) = &self.peers {
                peers.herald.mention(event, &about);
            }
        };
        match event {
            ChildEvent::Up { child } => self.world.update_actor(child, |actor| {
                actor.state = ActorState::Up;
                actor.since = now;
            }),
            ChildEvent::Down { child, cause, reason, .. } => {
                self.world.update_actor(child, |actor| {
                    actor.state = ActorState::Restarting;
                    actor.since = now;
                    actor.restarts += 1;
                    actor.last_error = Some(reason.clone());
                });
                mention(Event::ActorRestarted { actor: child, cause: cause.code(), reason });
            }
            ChildEvent::GaveUp { child, reason, refusal, .. } => {
                let reason = format!("{reason} ({refusal})");
                self.world.update_actor(child, |actor| {
                    actor.state = ActorState::GaveUp;
                    actor.since = now;
                    actor.last_error = Some(reason.clone());
                });
                mention(Event::ActorGaveUp { actor: child, reason });
                let demanded = ModeEvent::RecoveryDemanded(RecoveryCause::ActorGaveUp);
                self.post(ctx).do_send(Happened::unasked(demanded));
            }
        }
    }
}
