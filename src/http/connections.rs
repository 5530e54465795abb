//! The connections that are served: so many at a time, and none kept by a client that only sits there.
//!
//! Hazard: a connection costs a client nothing. Who opens as many as there may be, and then says nothing, keeps everybody
//! else out, the operator first. So when all are taken, the one on which nothing was under way for longest is closed for
//! the newcomer, as nginx does when its own run out; only where something is under way on each is the newcomer refused,
//! and told so at once. Users that the service knows have connections of their own besides, which a stranger can neither
//! take nor have closed.
//!
//! A request is under way from its head until the last of its answer was handed over. Each worker has connections of its
//! own, so nothing here is shared between threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::{Service, ServiceFactory};
use actix_web::web::Bytes;
use futures_util::future::{Either, LocalBoxFuture, select};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore};

use crate::api::{Problem, ProblemKind};

use super::exchange::fresh_id;
use super::peers::{Connected, Peer, Peers};
use super::users::LocalUsers;

tokio::task_local! {
    /// That on which what runs now was asked for.
    static CURRENT: Rc<Connection>;
}

/// The connections of one worker.
struct Connections {
    most: usize,
    open: Cell<usize>,
    /// Those on which nothing is under way, those first that have been so for longest.
    idle: RefCell<BTreeMap<u64, Rc<Connection>>>,
    turns: Cell<u64>,
}

/// One of them.
struct Connection {
    peer: Peer,
    all: Rc<Connections>,
    state: Cell<State>,
    given_away: Notify,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Since this turn.
    Idle(u64),
    Busy,
    /// Its place is another's.
    GivenAway,
    Closed,
}

impl Connections {
    fn new(most: usize) -> Rc<Self> {
        Rc::new(Self { most, open: Cell::new(0), idle: RefCell::default(), turns: Cell::new(0) })
    }

    /// A place for a newcomer: a free one, or that of who was idle for longest; `None` if something is under way on each.
    fn open(self: &Rc<Self>, peer: Peer) -> Option<Open> {
        self.open_free(peer).or_else(|| self.open_idle(peer))
    }

    /// A place that nobody has.
    fn open_free(self: &Rc<Self>, peer: Peer) -> Option<Open> {
        (self.open.get() < self.most).then(|| {
            self.open.set(self.open.get() + 1);
            self.place(peer)
        })
    }

    /// The place of who was idle for longest.
    fn open_idle(self: &Rc<Self>, peer: Peer) -> Option<Open> {
        let (_, longest_idle) = self.idle.borrow_mut().pop_first()?;
        longest_idle.state.set(State::GivenAway);
        longest_idle.given_away.notify_one();
        Some(self.place(peer))
    }

    fn place(self: &Rc<Self>, peer: Peer) -> Open {
        let (all, state) = (Rc::clone(self), Cell::new(State::Busy));
        let connection = Rc::new(Connection { peer, all, state, given_away: Notify::new() });
        connection.rest();
        Open(connection)
    }
}

/// The places of one worker: some are for users alone that the service knows.
struct Places {
    general: Rc<Connections>,
    reserved: Rc<Connections>,
}

impl Places {
    fn open(&self, peer: Peer, is_known: bool) -> Option<Open> {
        if !is_known {
            return self.general.open(peer);
        }
        // Where no stranger can have it closed, as long as there is room.
        let reserved = self.reserved.open_free(peer);
        reserved.or_else(|| self.general.open(peer)).or_else(|| self.reserved.open_idle(peer))
    }
}

impl Connection {
    fn rest(self: &Rc<Self>) {
        let turn = self.all.turns.get();
        self.all.turns.set(turn + 1);
        self.state.set(State::Idle(turn));
        self.all.idle.borrow_mut().insert(turn, Rc::clone(self));
    }

    fn stir(&self, state: State) {
        if let State::Idle(turn) = self.state.replace(state) {
            self.all.idle.borrow_mut().remove(&turn);
        }
    }
}

/// A connection's place, until this is dropped.
struct Open(Rc<Connection>);

impl Drop for Open {
    fn drop(&mut self) {
        let Connection { all, state, .. } = &*self.0;
        if state.get() != State::GivenAway {
            all.open.set(all.open.get() - 1);
        }
        self.0.stir(State::Closed);
    }
}

/// Who is at the other end of the connection that this is called for.
pub(super) fn peer_here() -> Peer {
    CURRENT.try_with(|connection| connection.peer).unwrap_or(Peer::Elsewhere)
}

/// As long as it is there, something is under way on a connection.
pub(super) struct UnderWay(Option<Rc<Connection>>);

impl UnderWay {
    /// On the connection that this is called for.
    pub fn here() -> Self {
        let connection = CURRENT.try_with(Rc::clone).ok().filter(|one| matches!(one.state.get(), State::Idle(_)));
        if let Some(connection) = &connection {
            connection.stir(State::Busy);
        }
        Self(connection)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take().filter(|one| one.state.get() == State::Busy) {
            connection.rest();
        }
    }
}

/// What is said to who comes when something is under way on every connection.
#[derive(Clone)]
pub(super) struct Refusal {
    /// As it goes over the wire; nothing where another language than HTTP is spoken.
    text: fn() -> Vec<u8>,
    /// Learns of each.
    told: Arc<dyn Fn() + Send + Sync>,
}

impl Refusal {
    /// How long a client is given to read it.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// In HTTP.
    pub fn over_http(told: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { text: unavailable, told }
    }

    /// Without a word.
    pub fn silent(told: Arc<dyn Fn() + Send + Sync>) -> Self {
        Self { text: Vec::new, told }
    }

    async fn tell<Io: AsyncRead + AsyncWrite + Unpin>(self, mut io: Io) {
        (self.told)();
        let told = async {
            io.write_all(&(self.text)()).await?;
            io.shutdown().await?;
            // A connection that is closed with something unread is reset, and what was told is lost on the way.
            let mut heard = [0; 4096];
            while io.read(&mut heard).await? > 0 {}
            std::io::Result::Ok(())
        };
        // Whether it was heard is its client's affair.
        let _ = tokio::time::timeout(Self::PATIENCE, told).await;
    }
}

fn unavailable() -> Vec<u8> {
    let id = fresh_id();
    let detail = "something is under way on every connection that there may be: try again in a second";
    let problem = Problem { correlation_id: Some(id.clone()), ..Problem::new(ProblemKind::Unavailable, detail) };
    let problem = serde_json::to_string(&problem).unwrap_or_default();
    let text = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncache-control: no-store\r\n\
         x-request-id: {id}\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{problem}\n",
        problem.len() + 1
    );
    text.into_bytes()
}

/// How many connections each worker has.
#[derive(Clone, Copy)]
pub(super) struct Most {
    /// For whoever comes.
    pub general: usize,
    /// Besides, for users that the service knows.
    pub reserved: usize,
    /// Of whom there is no room for, how many are told so at a time: the rest is hung up on.
    pub refusals: usize,
}

/// Who is at the other end of a connection, and whether the service knows them.
#[derive(Clone)]
pub(super) struct Acquaintance {
    /// Looks over loopback, where that counts.
    pub peers: Option<Peers>,
    pub users: Arc<LocalUsers>,
}

/// Serves connections with `inner`, at most so many on each worker.
pub(super) struct Bounded<F> {
    pub inner: F,
    pub most: Most,
    pub acquaintance: Acquaintance,
    pub refusal: Refusal,
}

/// The same on one worker.
pub(super) struct BoundedService<S>(Rc<OnWorker<S>>);

struct OnWorker<S> {
    inner: S,
    places: Places,
    acquaintance: Acquaintance,
    refusal: Refusal,
    may_be_told: Semaphore,
}

impl<F, Io> ServiceFactory<Io> for Bounded<F>
where
    F: ServiceFactory<Io, Config = (), Response = ()>,
    F::Service: 'static,
    F::Future: 'static,
    F::Error: 'static,
    F::InitError: 'static,
    <F::Service as Service<Io>>::Future: 'static,
    Io: Connected + AsyncRead + AsyncWrite + Unpin + 'static,
{
    type Response = ();
    type Error = F::Error;
    type Config = ();
    type Service = BoundedService<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, F::InitError>>;

    fn new_service(&self, (): ()) -> Self::Future {
        let (made, most) = (self.inner.new_service(()), self.most);
        let (acquaintance, refusal) = (self.acquaintance.clone(), self.refusal.clone());
        Box::pin(async move {
            let (general, reserved) = (Connections::new(most.general), Connections::new(most.reserved));
            Ok(BoundedService(Rc::new(OnWorker {
                inner: made.await?,
                places: Places { general, reserved },
                acquaintance,
                refusal,
                may_be_told: Semaphore::new(most.refusals),
            })))
        })
    }
}

impl<S, Io> Service<Io> for BoundedService<S>
where
    S: Service<Io, Response = ()> + 'static,
    S::Future: 'static,
    S::Error: 'static,
    Io: Connected + AsyncRead + AsyncWrite + Unpin + 'static,
{
    type Response = ();
    type Error = S::Error;
    type Future = LocalBoxFuture<'static, Result<(), S::Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.inner.poll_ready(context)
    }

    fn call(&self, io: Io) -> Self::Future {
        let worker = Rc::clone(&self.0);
        Box::pin(async move {
            // Before anything is read: who hangs up meanwhile was never let in.
            let peer = io.peer(worker.acquaintance.peers.as_ref()).await;
            let is_known = peer.uid().is_some_and(|uid| worker.acquaintance.users.include(uid));
            let Some(open) = worker.places.open(peer, is_known) else {
                if let Ok(_permit) = worker.may_be_told.try_acquire() {
                    worker.refusal.clone().tell(io).await;
                }
                return Ok(());
            };
            let served = CURRENT.scope(Rc::clone(&open.0), async { worker.inner.call(io).await });
            match select(pin!(open.0.given_away.notified()), pin!(served)).await {
                Either::Left(((), _)) => Ok(()),
                Either::Right((ended, _)) => ended,
            }
        })
    }
}

/// A body, and what is kept until it was handed over.
pub(super) struct Keeping<B, K> {
    body: B,
    _kept: K,
}

impl<B, K> Keeping<B, K> {
    pub fn new(body: B, kept: K) -> Self {
        Self { body, _kept: kept }
    }
}

impl<B: MessageBody + Unpin, K: Unpin> MessageBody for Keeping<B, K> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given_away(open: &Open) -> bool {
        open.0.state.get() == State::GivenAway
    }

    /// Something under way on this one.
    async fn under_way(open: &Open) -> UnderWay {
        CURRENT.scope(Rc::clone(&open.0), async { UnderWay::here() }).await
    }

    #[tokio::test]
    async fn a_newcomer_gets_the_place_of_who_was_idle_for_longest() {
        let all = Connections::new(3);
        let [first, second, third] = [(); 3].map(|()| all.open(Peer::Elsewhere).unwrap());
        drop(under_way(&first).await);
        let fourth = all.open(Peer::Elsewhere).unwrap();
        assert_eq!([&first, &second, &third, &fourth].map(given_away), [false, true, false, false]);
        drop(second);
        let fifth = all.open(Peer::Elsewhere).unwrap();
        assert_eq!([&first, &third, &fourth, &fifth].map(given_away), [false, true, false, false]);
        assert_eq!(all.open.get(), 3, "whose place was given away leaves none behind");
        drop((first, third, fourth, fifth));
        assert_eq!((all.open.get(), all.idle.borrow().len()), (0, 0));
    }

    #[tokio::test]
    async fn nobody_with_something_under_way_is_closed_for_a_newcomer() {
        let all = Connections::new(2);
        let (first, second) = (all.open(Peer::Elsewhere).unwrap(), all.open(Peer::Elsewhere).unwrap());
        let (one, other) = (under_way(&first).await, under_way(&second).await);
        assert!(all.open(Peer::Elsewhere).is_none());
        drop(other);
        let third = all.open(Peer::Elsewhere).unwrap();
        assert!(given_away(&second) && !given_away(&first) && !given_away(&third));
        drop((one, first, second));
        assert_eq!(all.open.get(), 1);
    }

    #[tokio::test]
    async fn strangers_can_neither_take_the_places_of_users_that_are_known_nor_have_them_closed() {
        let places = Places { general: Connections::new(2), reserved: Connections::new(1) };
        let known = places.open(Peer::OfLoopback(Some(0)), true).unwrap();
        let strangers: Vec<Open> = (0..20).map(|_| places.open(Peer::Elsewhere, false).unwrap()).collect();
        assert!(!given_away(&known) && strangers[..18].iter().all(given_away));
        let (one, other) = (under_way(&strangers[18]).await, under_way(&strangers[19]).await);
        assert!(places.open(Peer::Elsewhere, false).is_none());
        // They take turns in what is theirs, as long as none of them is busy.
        let second = places.open(Peer::OfLoopback(Some(0)), true).unwrap();
        assert!(given_away(&known) && !given_away(&second));
        let _busy = under_way(&second).await;
        assert!(places.open(Peer::OfLoopback(Some(0)), true).is_none());
        drop(one);
        assert!(places.open(Peer::OfLoopback(Some(0)), true).is_some(), "and have what others have");
        drop(other);
    }

    #[tokio::test]
    async fn what_is_under_way_may_outlive_its_connection() {
        let all = Connections::new(1);
        let first = all.open(Peer::Elsewhere).unwrap();
        let one = under_way(&first).await;
        drop(first);
        drop(one);
        assert_eq!((all.open.get(), all.idle.borrow().len()), (0, 0));
    }
}
