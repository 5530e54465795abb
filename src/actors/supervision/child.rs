//! The life of one supervised child.
//!
//! Hazard: a panicked context must not be polled or dropped as if it were alive, or its broken actor runs once more,
//! and a second panic while unwinding aborts the process. So it is terminated at once, and stays so while it waits.

use std::any::Any;
use std::cell::Cell;
use std::future::Future;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::fut::{self, ActorFutureExt};
use actix::{ActorContext, AsyncContext, Context, Recipient};
use tokio::time::{Instant, Sleep, sleep};

use super::{CURRENT, Care, Child, ChildEvent, DownCause, FAILURE, Instance};
use crate::core::restart::{self, RestartPolicy};

/// Runs the child until nobody holds its address any more, or it is given up.
pub(super) async fn run<A: Child>(
    name: &'static str,
    care: Care,
    parent: Recipient<ChildEvent>,
    ctx: Context<A>,
    mut make: impl FnMut() -> A,
) {
    let Care { policy, heartbeat, heard } = care;
    let mut watch = Watch { name, policy, parent, since: Instant::now(), failures: Vec::new(), restarts: 0 };
    let Some(first) = watch.make(&mut make).await else { return };
    let mut instance = ctx.into_future(first);
    let parent = watch.parent.clone();
    instance.ctx().wait(fut::ready(()).map(move |(), actor: &mut A, ctx| begin(name, &parent, actor, ctx)));
    loop {
        let pulse = Pulse::begin(&mut instance, heartbeat, &*heard);
        let failure = lifetime(&mut instance, watch.instance(), pulse).await;
        let failure = match clear(&mut instance) {
            Cleared::Kept => failure,
            Cleared::Broken(failure) => failure,
            Cleared::Forsaken => return,
        };
        if !watch.grants_another(failure).await {
            return;
        }
        let Some(fresh) = watch.make(&mut make).await else { return };
        if !instance.restart() {
            return;
        }
        let parent = watch.parent.clone();
        let replace = move |(), actor: &mut A, ctx: &mut Context<A>| {
            *actor = fresh;
            begin(name, &parent, actor, ctx);
        };
        instance.ctx().wait(fut::ready(()).map(replace));
    }
}

/// What ended an instance.
struct Failure {
    cause: DownCause,
    reason: String,
}

impl Failure {
    fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref().map(String::as_str));
        Self { cause: DownCause::Panic, reason: text.unwrap_or("a panic without a message").to_owned() }
    }
}

fn begin<A: Child>(name: &'static str, parent: &Recipient<ChildEvent>, actor: &mut A, ctx: &mut Context<A>) {
    actor.begin(ctx);
    report(parent, ChildEvent::Up { child: name });
}

/// Asks an instance again and again whether its context still works, by a future of its own.
struct Pulse<'a> {
    every: Duration,
    heard: &'a dyn Fn(),
    answered: Rc<Cell<bool>>,
    next: Pin<Box<Sleep>>,
}

impl<'a> Pulse<'a> {
    fn begin<A: Child>(instance: &mut ContextFut<A, Context<A>>, every: Duration, heard: &'a dyn Fn()) -> Self {
        let pulse = Self { every, heard, answered: Rc::default(), next: Box::pin(sleep(every)) };
        pulse.ask(instance);
        pulse
    }

    fn ask<A: Child>(&self, instance: &mut ContextFut<A, Context<A>>) {
        self.answered.set(false);
        let answered = self.answered.clone();
        instance.ctx().spawn(fut::ready(()).map(move |(), _: &mut A, _| answered.set(true)));
    }

    /// Whether a heartbeat was left unanswered until the next was due.
    fn missed<A: Child>(&mut self, instance: &mut ContextFut<A, Context<A>>, cx: &mut task::Context<'_>) -> bool {
        while self.next.as_mut().poll(cx).is_ready() {
            if !self.answered.get() {
                return true;
            }
            (self.heard)();
            self.ask(instance);
            self.next = Box::pin(sleep(self.every));
        }
        false
    }
}

/// Lets the instance live, and says what ended it.
async fn lifetime<A: Child>(instance: &mut ContextFut<A, Context<A>>, who: Instance, mut pulse: Pulse<'_>) -> Failure {
    poll_fn(|cx| {
        if pulse.missed(instance, cx) {
            let reason = format!("did not answer for {} s", pulse.every.as_secs_f64());
            return Poll::Ready(Failure { cause: DownCause::Hang, reason });
        }
        FAILURE.take();
        CURRENT.set(Some(who));
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *instance).poll(cx)));
        CURRENT.set(None);
        match (polled, FAILURE.take()) {
            (Err(payload), _) => Poll::Ready(Failure::panicked(&*payload)),
            (Ok(_), Some(reason)) => Poll::Ready(Failure { cause: DownCause::Error, reason }),
            (Ok(Poll::Ready(())), None) => {
                Poll::Ready(Failure { cause: DownCause::Stop, reason: "stopped by itself".to_owned() })
            }
            (Ok(Poll::Pending), None) => Poll::Pending,
        }
    })
    .await
}

enum Cleared {
    /// The address is still held.
    Kept,
    /// It is, and clearing away panicked.
    Broken(Failure),
    /// Nobody holds the address.
    Forsaken,
}

/// Drops what the instance had under way, so that whoever waits for it is told at once; keeps the queue.
fn clear<A: Child>(instance: &mut ContextFut<A, Context<A>>) -> Cleared {
    instance.ctx().terminate();
    let restarted = catch_unwind(AssertUnwindSafe(|| instance.restart()));
    instance.ctx().terminate();
    match restarted {
        Ok(true) => Cleared::Kept,
        Ok(false) => Cleared::Forsaken,
        Err(payload) => Cleared::Broken(Failure::panicked(&*payload)),
    }
}

/// Counts a child's failures, and tells its parent.
struct Watch {
    name: &'static str,
    policy: RestartPolicy,
    parent: Recipient<ChildEvent>,
    since: Instant,
    /// The failures that still count, as times since `since`.
    failures: Vec<Duration>,
    /// How many there were.
    restarts: u64,
}

impl Watch {
    fn instance(&self) -> Instance {
        Instance { child: self.name, restarts: self.restarts }
    }

    /// Makes an instance; a panic in the factory is a failure like any other. `None` if the child is given up.
    async fn make<A>(&mut self, make: &mut impl FnMut() -> A) -> Option<A> {
        loop {
            match catch_unwind(AssertUnwindSafe(&mut *make)) {
                Ok(instance) => return Some(instance),
                Err(payload) if !self.grants_another(Failure::panicked(&*payload)).await => return None,
                Err(_) => {}
            }
        }
    }

    /// Whether there is to be another instance after this failure; waits until it is time for it.
    async fn grants_another(&mut self, Failure { cause, reason }: Failure) -> bool {
        let (child, now) = (self.name, self.since.elapsed());
        self.failures.retain(|at| self.policy.counts(*at, now));
        match restart::decide(&self.policy, &self.failures, now, fastrand::f64()) {
            Ok(restart) => {
                self.failures.push(now);
                self.restarts += 1;
                report(&self.parent, ChildEvent::Down { child, cause, reason, retry_in: restart.after });
                sleep(restart.after).await;
                true
            }
            Err(refusal) => {
                report(&self.parent, ChildEvent::GaveUp { child, cause, reason, refusal });
                false
            }
        }
    }
}

/// Tells the parent, whatever is in its queue. A parent that is gone is about to take the process with it.
fn report(parent: &Recipient<ChildEvent>, event: ChildEvent) {
    if !parent.connected() {
        tracing::error!(?event, "the parent of a supervised actor is gone");
    }
    parent.do_send(event);
}
