//! Children that come back.
//!
//! Hazard: an actor that panics takes its mailbox with it, and whoever held its address talks to nobody from then on;
//! actix's own supervisor does not help, it sees a deliberate stop only and keeps the broken state. Here the child's
//! future is ours: a stop, an error or a panic ends the *instance*, while address and queue live on; a fresh instance
//! is made by a factory after a wait that [`restart::decide`] grants, until it grants no more. An instance whose context
//! does not answer a heartbeat has failed, too.
//!
//! What a heartbeat cannot find is a handler that blocks: it blocks the thread that would look. Nothing here does, by
//! rule; if it happens all the same, the process is ended by a thread of its own (see `daemon`).

mod child;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Context, Message, Recipient, Supervised};

use crate::core::restart::{GaveUp, RestartPolicy};

/// An actor that can be supervised. Its instances come and go; its address stays.
pub trait Child: Actor<Context = Context<Self>> + Supervised {
    /// Called on each fresh instance before its first message: timers are armed and work is taken up here.
    ///
    /// `Actor::started` is no place for that: at a restart it runs before the fresh instance is in place.
    fn begin(&mut self, _ctx: &mut Context<Self>) {}
}

/// How a child is cared for.
pub struct Care {
    /// When it is restarted, and when it is given up.
    pub policy: RestartPolicy,
    /// How long it may leave a heartbeat unanswered.
    pub heartbeat: Duration,
    /// Called with each answer to a heartbeat.
    pub heard: Box<dyn Fn()>,
}

/// An instance of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The child's name.
    pub child: &'static str,
    /// How often the child had been restarted when this instance came.
    pub restarts: u64,
}

/// What a supervised child tells its parent.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub enum ChildEvent {
    /// Its instance is gone; another one comes.
    Down {
        /// The child's name.
        child: &'static str,
        /// What ended it.
        cause: DownCause,
        /// What is known of why.
        reason: String,
        /// The wait before the next instance.
        retry_in: Duration,
    },
    /// A fresh instance has begun.
    Up {
        /// The child's name.
        child: &'static str,
    },
    /// It failed too often and stays down: its address is closed.
    GaveUp {
        /// The child's name.
        child: &'static str,
        /// What ended its last instance.
        cause: DownCause,
        /// What is known of why.
        reason: String,
        /// How often it failed, within how long.
        refusal: GaveUp,
    },
}

/// What ended an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DownCause {
    /// It stopped by itself.
    Stop,
    /// It called [`fail`].
    Error,
    /// It panicked: in a handler, in a future of its context, when beginning or while being made.
    Panic,
    /// Its context did not answer a heartbeat.
    Hang,
}

impl DownCause {
    /// Every cause.
    pub const ALL: [Self; 4] = [Self::Stop, Self::Error, Self::Panic, Self::Hang];

    /// The name used in the audit log and in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Error => "error",
            Self::Panic => "panic",
            Self::Hang => "hang",
        }
    }
}

impl fmt::Display for DownCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}

/// Starts a supervised child on this thread, and returns the address it keeps for good.
///
/// `mailbox` bounds its queue; `make` makes each of its instances. The child lives as long as anybody holds its
/// address (or a future of its own is under way), and ends without a word when nobody does.
///
/// Events go into the parent's queue beyond its bound, so none is lost while the parent lives; there are at most two
/// for each restart, and the policy limits those.
pub fn start<A: Child>(
    name: &'static str,
    care: Care,
    mailbox: usize,
    parent: Recipient<ChildEvent>,
    make: impl FnMut() -> A + 'static,
) -> Addr<A> {
    let mut ctx = Context::new();
    ctx.set_mailbox_capacity(mailbox);
    let address = ctx.address();
    actix_rt::spawn(child::run(name, care, parent, ctx, make));
    address
}

thread_local! {
    /// Why the child that is being polled on this thread fails; taken by its supervision right after the poll.
    static FAILURE: RefCell<Option<String>> = const { RefCell::new(None) };
}

thread_local! {
    /// The instance that is being polled on this thread.
    static CURRENT: Cell<Option<Instance>> = const { Cell::new(None) };
}

/// The instance in whose handler or future this is called, if it is one's.
pub fn current() -> Option<Instance> {
    CURRENT.get()
}

/// Ends this instance as failed for `reason`, once the handler or future that calls this returns.
///
/// To be called from the child's own handlers and futures, which is where its context is at hand.
pub fn fail<A: Child>(ctx: &mut Context<A>, reason: impl fmt::Display) {
    FAILURE.set(Some(reason.to_string()));
    actix::ActorContext::terminate(ctx);
}

#[cfg(test)]
mod tests;
