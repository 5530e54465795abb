//! Addresses that know how much waits behind them.
//!
//! Hazard: an actor that is up and gets nothing done looks healthy until somebody sees its queue grow, and actix tells
//! nobody how long that is. So each message goes in a letter that is counted from when it is sent to when it is opened,
//! or thrown away with the actor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::dev::{MessageResponse, OneshotSender, Request};
use actix::{Actor, Addr, Context, Handler, Message};

use super::archiver::Archiver;
use super::auditor::Auditor;
use super::janitor::Janitor;
use super::scheduler::Scheduler;
use super::supervisor::Supervisor;
use super::verifier::Verifier;

/// How many messages wait for an actor, whichever instance of it comes to open them.
#[derive(Clone, Debug, Default)]
pub struct Mail(Arc<AtomicUsize>);

impl Mail {
    /// How many wait now.
    pub fn waiting(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more until what is returned is dropped.
    pub(super) fn one_more(&self) -> Unopened {
        self.0.fetch_add(1, Ordering::Relaxed);
        Unopened(self.clone())
    }
}

/// Something that waits, until this is dropped.
#[derive(Debug)]
pub(super) struct Unopened(Mail);

impl Drop for Unopened {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An address at which what is sent is counted.
pub struct Post<A: Actor> {
    address: Addr<A>,
    mail: Mail,
}

impl<A: Actor> Clone for Post<A> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), mail: self.mail.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> Post<A> {
    /// Counts as `mail` what is sent to `address`.
    pub fn new(address: Addr<A>, mail: Mail) -> Self {
        Self { address, mail }
    }

    /// Sends a message, and waits for the answer.
    pub fn send<M>(&self, message: M) -> Request<A, Letter<M>>
    where
        A: Handler<Letter<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.address.send(self.letter(message))
    }

    /// Sends a message whatever its queue's bound, and does not wait.
    pub fn do_send<M>(&self, message: M)
    where
        A: Handler<Letter<M>>,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.address.do_send(self.letter(message));
    }

    fn letter<M>(&self, message: M) -> Letter<M> {
        Letter { message, unopened: self.mail.one_more() }
    }
}

/// A message on its way.
pub struct Letter<M> {
    message: M,
    unopened: Unopened,
}

impl<M: Message> Message for Letter<M> {
    type Result = M::Result;
}

/// What a handler answers to the message in a letter.
pub struct Answer<R>(R);

impl<A, M, R> MessageResponse<A, Letter<M>> for Answer<R>
where
    A: Actor,
    M: Message,
    R: MessageResponse<A, M>,
{
    fn handle(self, ctx: &mut A::Context, sender: Option<OneshotSender<M::Result>>) {
        self.0.handle(ctx, sender);
    }
}

macro_rules! open_letters {
    ($($actor:ty),+) => {
        $(impl<M: Message> Handler<Letter<M>> for $actor
        where
            $actor: Handler<M>,
        {
            type Result = Answer<<$actor as Handler<M>>::Result>;

            fn handle(&mut self, Letter { message, unopened }: Letter<M>, ctx: &mut Context<Self>) -> Self::Result {
                drop(unopened);
                Answer(Handler::<M>::handle(self, message, ctx))
            }
        })+
    };
}

open_letters!(Archiver, Auditor, Janitor, Scheduler, Supervisor, Verifier);

#[cfg(test)]
mod tests {
    use actix::{ActorContext, AsyncContext, System};
    use futures_util::FutureExt;

    use super::*;

    /// Opens its letters until it is told to do something else.
    struct Desk;

    impl Actor for Desk {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    enum Order {
        Answer,
        OpenNoMore,
        Leave,
    }

    impl Handler<Order> for Desk {
        type Result = ();

        fn handle(&mut self, order: Order, ctx: &mut Self::Context) -> Self::Result {
            match order {
                Order::Answer => {}
                Order::OpenNoMore => ctx.wait(actix::fut::wrap_future(std::future::pending())),
                Order::Leave => ctx.terminate(),
            }
        }
    }

    open_letters!(Desk);

    fn post() -> Post<Desk> {
        Post::new(Desk.start(), Mail::default())
    }

    #[test]
    fn a_message_is_counted_until_it_is_opened() {
        System::new().block_on(async {
            let desk = post();
            let answers: Vec<_> = (0..3).map(|_| desk.send(Order::Answer)).collect();
            assert_eq!(desk.mail.waiting(), 3);
            for answer in answers {
                assert_eq!(answer.await, Ok(()));
            }
            assert_eq!(desk.mail.waiting(), 0);
        });
    }

    #[test]
    fn what_comes_behind_an_actor_that_opens_no_more_is_seen_to_wait() {
        System::new().block_on(async {
            let desk = post();
            assert_eq!(desk.send(Order::OpenNoMore).await, Ok(()));
            (0..3).for_each(|_| desk.do_send(Order::Answer));
            let unanswered = desk.send(Order::Answer);
            tokio::task::yield_now().await;
            assert!(unanswered.now_or_never().is_none());
            assert_eq!(desk.mail.waiting(), 4);
        });
    }

    #[test]
    fn what_is_thrown_away_with_the_actor_waits_no_more() {
        System::new().block_on(async {
            let desk = post();
            desk.do_send(Order::Leave);
            let thrown_away = desk.send(Order::Answer);
            assert!(thrown_away.await.is_err());
            desk.do_send(Order::Answer);
            assert_eq!(desk.mail.waiting(), 0);
        });
    }
}
