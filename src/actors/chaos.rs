//! Faults on request, for chaos tests; compiled only with the feature `chaos`, which no release has.
//!
//! Hazard: supervision that was never seen to work does not. A test can make each actor fail in each of the ways in
//! which actors fail.

use actix::{ActorContext, Addr, Handler, Message};

use super::archiver::Archiver;
use super::auditor::Auditor;
use super::janitor::Janitor;
use super::scheduler::Scheduler;
use super::supervision::fail;
use super::verifier::Verifier;

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum Fault {
    /// A panic in a handler.
    Panic,
    /// An error that the actor gives up on.
    Error,
    /// A stop that nobody asked for.
    Stop,
}

impl Fault {
    /// The fault of this name: `panic`, `error` or `stop`.
    pub fn named(name: &str) -> Option<Self> {
        [("panic", Self::Panic), ("error", Self::Error), ("stop", Self::Stop)]
            .into_iter()
            .find_map(|(word, fault)| (word == name).then_some(fault))
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
                }
            }
        })+
    };
}

victims!(Archiver, Auditor, Janitor, Scheduler, Verifier);

/// The actors that can be made to fail.
#[derive(Clone)]
pub struct Victims {
    pub(super) archiver: Addr<Archiver>,
    pub(super) auditor: Addr<Auditor>,
    pub(super) janitor: Addr<Janitor>,
    pub(super) scheduler: Option<Addr<Scheduler>>,
    pub(super) verifier: Addr<Verifier>,
}

impl Victims {
    /// Makes the actor of this name fail; whether there is one.
    pub fn strike(&self, actor: &str, fault: Fault) -> bool {
        match actor {
            "archiver" => self.archiver.do_send(fault),
            "auditor" => self.auditor.do_send(fault),
            "janitor" => self.janitor.do_send(fault),
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

/// Obeys lines such as `archiver panic` on standard input.
pub fn obey_standard_input(service: super::service::Service) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let struck = line
                .split_once(' ')
                .and_then(|(actor, fault)| Some(service.strike(actor, Fault::named(fault)?)))
                .unwrap_or(false);
            tracing::info!(line, struck, "chaos");
        }
    });
}
