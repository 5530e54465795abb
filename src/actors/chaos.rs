//! Faults on request, for chaos tests; compiled only with the feature `chaos`, which no release has.
//!
//! Hazard: supervision that was never seen to work does not. A test can make each actor fail in each of the ways in
//! which actors fail.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use actix::{ActorContext, AsyncContext, Handler, Message};

use super::archiver::Archiver;
use super::auditor::Auditor;
use super::janitor::Janitor;
use super::lane::WriteLane;
use super::post::Post;
use super::scheduler::Scheduler;
use super::supervision::fail;
use super::supervisor::Supervisor;
use super::verifier::Verifier;

/// A way to fail.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub enum Fault {
    /// A panic in a handler.
    Panic,
    /// An error that the actor gives up on.
    Error,
    /// A stop that nobody asked for.
    Stop,
    /// A wait that does not end, in which the actor takes no messages.
    Hang,
    /// Blocking work that holds the write lane until it is told to end, whatever becomes of the actor.
    Ghost(WriteLane, Ghosts),
}

impl Fault {
    /// The fault of this name: `panic`, `error`, `stop`, `hang` or `ghost`.
    pub(super) fn named(name: &str, lane: &WriteLane, ghosts: &Ghosts) -> Option<Self> {
        match name {
            "panic" => Some(Self::Panic),
            "error" => Some(Self::Error),
            "stop" => Some(Self::Stop),
            "hang" => Some(Self::Hang),
            "ghost" => Some(Self::Ghost(lane.clone(), ghosts.clone())),
            _ => None,
        }
    }
}

/// Ghosts under way, and whether they are to end.
#[derive(Clone, Debug, Default)]
pub struct Ghosts(Arc<(Mutex<bool>, Condvar)>);

impl Ghosts {
    /// Lets all of them end, and those that come.
    pub fn end(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    fn wait_for_end(&self) {
        let ended = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(ended, |ended| !*ended));
    }
}

macro_rules! victims {
    ($($actor:ident),+) => {
        $(impl Handler<Fault> for $actor {
            type Result = ();

            fn handle(&mut self, fault: Fault, ctx: &mut Self::Context) {
                match fault {
                    Fault::Panic => panic!("asked to"),
                    Fault::Error => fail(ctx, "asked to"),
                    Fault::Stop => ctx.stop(),
                    // The next message, which may be the end of this instance, is handled once the ghost has begun.
                    Fault::Ghost(lane, ghosts) => ctx.wait(actix::fut::wrap_future(async move {
                        if let Ok(pass) = lane.enter().await {
                            tokio::task::spawn_blocking(move || (ghosts.wait_for_end(), drop(pass)));
                        }
                    })),
                    Fault::Hang => ctx.wait(actix::fut::wrap_future(std::future::pending())),
                }
            }
        })+
    };
}

victims!(Archiver, Auditor, Janitor, Scheduler, Verifier);

/// The supervisor has nobody who would restart it: it can only hang.
impl Handler<Fault> for Supervisor {
    type Result = ();

    fn handle(&mut self, fault: Fault, ctx: &mut Self::Context) {
        if let Fault::Hang = fault {
            ctx.wait(actix::fut::wrap_future(std::future::pending()));
        }
    }
}

/// The actors that can be made to fail.
#[derive(Clone)]
pub struct Victims {
    pub(super) archiver: Post<Archiver>,
    pub(super) auditor: Post<Auditor>,
    pub(super) janitor: Post<Janitor>,
    pub(super) scheduler: Option<Post<Scheduler>>,
    pub(super) supervisor: Post<Supervisor>,
    pub(super) verifier: Post<Verifier>,
    pub(super) ghosts: Ghosts,
}

impl Victims {
    /// Makes the actor of this name fail; whether there is one.
    pub fn strike(&self, actor: &str, fault: Fault) -> bool {
        match actor {
            "archiver" => self.archiver.do_send(fault),
            "auditor" => self.auditor.do_send(fault),
            "janitor" => self.janitor.do_send(fault),
            "supervisor" => self.supervisor.do_send(fault),
            "verifier" => self.verifier.do_send(fault),
            "scheduler" => match &self.scheduler {
                Some(scheduler) => scheduler.do_send(fault),
                None => return false,
            },
            _ => return false,
        }
        true
    }
}

/// Panics if this actor is to fail each time it is made: `FIOVANA_CHAOS_PANIC_AT_START` names it.
pub(super) fn being_made(actor: &str) {
    if std::env::var("FIOVANA_CHAOS_PANIC_AT_START").is_ok_and(|doomed| doomed == actor) {
        panic!("asked to, at each start");
    }
}

/// Obeys lines such as `archiver panic` on standard input; `ghosts end` lets those end.
pub fn obey_standard_input(service: super::service::Service) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if line == "ghosts end" {
                service.end_ghosts();
            }
            let struck = line.split_once(' ').is_some_and(|(actor, fault)| service.strike(actor, fault));
            tracing::info!(line, struck, "chaos");
        }
    });
}
