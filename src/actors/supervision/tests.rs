//! Each way to fail, under virtual time.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;

use actix::{ActorContext, ActorFutureExt, Handler, System, WrapFuture};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::*;

const POLICY: RestartPolicy = RestartPolicy {
    max_restarts: 3,
    window: Duration::from_secs(60),
    backoff_initial: Duration::from_secs(1),
    backoff_max: Duration::from_secs(30),
};

const HEARTBEAT: Duration = Duration::from_secs(10);

/// Runs with a clock that leaps to the next timer whenever nothing else is to be done.
fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    System::with_tokio_rt(runtime).block_on(test)
}

fn care() -> Care {
    Care { policy: POLICY, heartbeat: HEARTBEAT, heard: Box::new(|| {}) }
}

/// Passes on what it is told.
struct Parent(mpsc::UnboundedSender<ChildEvent>);

impl Actor for Parent {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(1);
    }
}

impl Handler<ChildEvent> for Parent {
    type Result = ();

    fn handle(&mut self, event: ChildEvent, _: &mut Self::Context) {
        self.0.send(event).unwrap();
    }
}

/// What the world does to the instances of a [`Worker`].
#[derive(Default)]
struct World {
    made: Cell<u32>,
    panics_when_made: Cell<u32>,
    panics_when_started: Cell<u32>,
    panics_when_beginning: Cell<u32>,
    panics_when_stopped: Cell<bool>,
    panics_when_dropped: Cell<bool>,
    began: RefCell<Vec<Instant>>,
}

/// Whether one of the panics that were asked for is due.
fn due(panics: &Cell<u32>) -> bool {
    let left = panics.get();
    panics.set(left.saturating_sub(1));
    left > 0
}

struct Worker {
    world: Rc<World>,
    instance: u32,
    handled: u32,
}

impl Worker {
    fn make(world: &Rc<World>) -> Self {
        assert!(!due(&world.panics_when_made), "when made");
        world.made.set(world.made.get() + 1);
        Self { world: Rc::clone(world), instance: world.made.get(), handled: 0 }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        assert!(!due(&self.world.panics_when_started), "when started");
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        assert!(!self.world.panics_when_stopped.get(), "when stopped");
    }
}

impl Supervised for Worker {}

impl Child for Worker {
    fn begin(&mut self, _: &mut Self::Context) {
        assert!(!due(&self.world.panics_when_beginning), "when beginning");
        self.world.began.borrow_mut().push(Instant::now());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        assert!(!self.world.panics_when_dropped.take(), "when dropped");
    }
}

/// Answered with the number of the instance, and of the messages it has handled.
#[derive(Message)]
#[rtype(result = "(u32, u32)")]
enum Order {
    Work,
    Panic,
    PanicLater,
    Stop,
    Fail,
    FailLater,
    /// Never answered.
    Hang,
    /// Answered, and then nothing is any more.
    Block,
}

impl Handler<Order> for Worker {
    type Result = actix::ResponseActFuture<Self, (u32, u32)>;

    fn handle(&mut self, order: Order, ctx: &mut Self::Context) -> Self::Result {
        self.handled += 1;
        match order {
            Order::Work => {}
            Order::Panic => panic!("in a handler"),
            Order::PanicLater => {
                ctx.spawn(sleep(Duration::from_secs(1)).into_actor(self).map(|(), _, _| panic!("in a future")));
            }
            Order::Stop => ctx.stop(),
            Order::Fail => fail(ctx, "out of luck"),
            Order::FailLater => {
                let later = sleep(Duration::from_secs(1)).into_actor(self);
                ctx.wait(later.map(|(), _, ctx: &mut Context<Self>| fail(ctx, "out of time")));
            }
            Order::Block => ctx.wait(std::future::pending().into_actor(self)),
            Order::Hang => return Box::pin(std::future::pending().into_actor(self)),
        }
        let answer = (self.instance, self.handled);
        Box::pin(actix::fut::ready(answer))
    }
}

/// A supervised worker, its world, and what its parent was told.
struct Stage {
    worker: Addr<Worker>,
    world: Rc<World>,
    events: mpsc::UnboundedReceiver<ChildEvent>,
}

impl Stage {
    fn set(world: World) -> Self {
        let (told, events) = mpsc::unbounded_channel();
        let world = Rc::new(world);
        let parent = Parent(told).start().recipient();
        let factory = Rc::clone(&world);
        let worker = start("worker", care(), 16, parent, move || Worker::make(&factory));
        Self { worker, world, events }
    }

    /// The next event in a few words, its wait rounded up to the backoff it was drawn from.
    async fn told(&mut self) -> String {
        match self.events.recv().await {
            Some(ChildEvent::Down { child, cause, reason, retry_in }) => {
                let backoff = [1, 2, 4].into_iter().find(|backoff| retry_in <= Duration::from_secs(*backoff)).unwrap();
                assert!(retry_in * 2 >= Duration::from_secs(backoff), "{retry_in:?}");
                format!("{child} down by {cause}: {reason}, {backoff} s")
            }
            Some(ChildEvent::Up { child }) => format!("{child} up"),
            Some(ChildEvent::GaveUp { child, cause, reason, refusal }) => {
                format!("{child} given up by {cause}: {reason}, {refusal}")
            }
            None => "parent gone".to_owned(),
        }
    }

    /// Nothing is told for a while.
    async fn tells_nothing(&mut self) {
        assert!(tokio::time::timeout(HEARTBEAT * 10, self.events.recv()).await.is_err());
    }

    async fn told_in_turn(&mut self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.told().await, *expected);
        }
    }
}

/// Has `order` end the first instance, and expects the second one to answer behind the same address.
fn comes_back_after(order: Order, down: &str) {
    in_virtual_time(async {
        let mut stage = Stage::set(World::default());
        assert_eq!(stage.worker.send(Order::Work).await, Ok((1, 1)));
        let _ = stage.worker.send(order).await;
        stage.told_in_turn(&["worker up", down, "worker up"]).await;
        assert_eq!(stage.worker.send(Order::Work).await, Ok((2, 1)));
    });
}

#[test]
fn a_panic_in_a_handler_is_survived_by_the_address_not_by_the_state() {
    comes_back_after(Order::Panic, "worker down by panic: in a handler, 1 s");
}

#[test]
fn a_panic_in_a_future_of_the_context_is_survived() {
    comes_back_after(Order::PanicLater, "worker down by panic: in a future, 1 s");
}

#[test]
fn a_stop_is_survived() {
    comes_back_after(Order::Stop, "worker down by stop: stopped by itself, 1 s");
}

#[test]
fn an_error_is_survived_and_its_reason_told() {
    comes_back_after(Order::Fail, "worker down by error: out of luck, 1 s");
    comes_back_after(Order::FailLater, "worker down by error: out of time, 1 s");
}

#[test]
fn a_panic_when_made_started_or_beginning_is_a_failure_like_any_other() {
    let made = World { panics_when_made: Cell::new(1), ..World::default() };
    let started = World { panics_when_started: Cell::new(1), ..World::default() };
    let beginning = World { panics_when_beginning: Cell::new(1), ..World::default() };
    for (world, place) in [(made, "made"), (started, "started"), (beginning, "beginning")] {
        in_virtual_time(async {
            let mut stage = Stage::set(world);
            let down = format!("worker down by panic: when {place}, 1 s");
            stage.told_in_turn(&[&down, "worker up"]).await;
            assert!(stage.worker.send(Order::Work).await.is_ok());
        });
    }
}

#[test]
fn a_panic_when_stopped_or_dropped_aborts_nothing() {
    in_virtual_time(async {
        let mut stage = Stage::set(World { panics_when_stopped: Cell::new(true), ..World::default() });
        assert!(stage.worker.send(Order::Panic).await.is_err());
        stage.world.panics_when_dropped.set(true);
        let downs = ["worker up", "worker down by panic: in a handler, 1 s", "worker down by panic: when dropped, 2 s"];
        stage.told_in_turn(&downs).await;
        stage.told_in_turn(&["worker up"]).await;
        stage.worker.do_send(Order::Stop);
        stage.told_in_turn(&["worker down by panic: when stopped, 4 s", "worker up"]).await;
    });
}

#[test]
fn messages_queued_behind_a_panic_are_handled_by_the_next_instance() {
    in_virtual_time(async {
        let stage = Stage::set(World::default());
        let worker = &stage.worker;
        let (hung, panicked, first, second) = tokio::join!(
            worker.send(Order::Hang),
            worker.send(Order::Panic),
            worker.send(Order::Work),
            worker.send(Order::Work)
        );
        assert!(hung.is_err() && panicked.is_err());
        assert_eq!((first, second), (Ok((2, 1)), Ok((2, 2))));
    });
}

#[test]
fn an_instance_that_does_not_answer_its_heartbeat_is_replaced_and_its_queue_is_kept() {
    in_virtual_time(async {
        let mut stage = Stage::set(World::default());
        let before = Instant::now();
        let (_, queued) = tokio::join!(stage.worker.send(Order::Block), stage.worker.send(Order::Work));
        assert_eq!(queued, Ok((2, 1)));
        assert!(before.elapsed() <= HEARTBEAT * 2 + POLICY.backoff_initial, "{:?}", before.elapsed());
        stage.told_in_turn(&["worker up", "worker down by hang: did not answer for 10 s, 1 s", "worker up"]).await;
    });
}

#[test]
fn an_instance_that_works_is_never_taken_for_hung_however_long_an_answer_takes() {
    in_virtual_time(async {
        let mut stage = Stage::set(World::default());
        let slow = tokio::time::timeout(HEARTBEAT * 1000, stage.worker.send(Order::Hang));
        assert!(slow.await.is_err());
        assert_eq!(stage.worker.send(Order::Work).await, Ok((1, 2)));
        stage.told_in_turn(&["worker up"]).await;
        stage.tells_nothing().await;
    });
}

#[test]
fn whoever_waits_for_a_failed_instance_is_told_before_the_next_one_comes() {
    in_virtual_time(async {
        let stage = Stage::set(World::default());
        let before = Instant::now();
        let (hung, _) = tokio::join!(stage.worker.send(Order::Hang), stage.worker.send(Order::Panic));
        assert!(hung.is_err());
        assert!(before.elapsed() < POLICY.backoff_initial / 2);
    });
}

#[test]
fn one_failure_too_many_within_the_window_gives_up_and_closes_the_address() {
    in_virtual_time(async {
        let mut stage = Stage::set(World { panics_when_beginning: Cell::new(u32::MAX), ..World::default() });
        let queued = stage.worker.send(Order::Work);
        stage
            .told_in_turn(&[
                "worker down by panic: when beginning, 1 s",
                "worker down by panic: when beginning, 2 s",
                "worker down by panic: when beginning, 4 s",
                "worker given up by panic: when beginning, failed 4 times within 60s",
            ])
            .await;
        assert!(queued.await.is_err());
        assert!(!stage.worker.connected());
    });
}

#[test]
fn failures_far_apart_are_forgotten() {
    in_virtual_time(async {
        let mut stage = Stage::set(World::default());
        stage.told_in_turn(&["worker up"]).await;
        for _ in 0..10 {
            stage.worker.do_send(Order::Panic);
            stage.told_in_turn(&["worker down by panic: in a handler, 1 s", "worker up"]).await;
            sleep(POLICY.window).await;
        }
    });
}

#[test]
fn the_next_instance_begins_when_its_wait_is_over() {
    in_virtual_time(async {
        let mut stage = Stage::set(World { panics_when_beginning: Cell::new(3), ..World::default() });
        let mut waits = Duration::ZERO;
        let before = Instant::now();
        while let Some(ChildEvent::Down { retry_in, .. }) = stage.events.recv().await {
            waits += retry_in;
        }
        let late = stage.world.began.borrow()[0].duration_since(before).saturating_sub(waits);
        assert!(before.elapsed() >= waits && late < Duration::from_millis(10), "{late:?}");
    });
}

#[test]
fn events_beyond_the_parents_bound_are_not_lost() {
    in_virtual_time(async {
        let (told, mut events) = mpsc::unbounded_channel();
        let parent = Parent(told).start().recipient();
        let worlds: Vec<_> = (0..100).map(|_| Rc::new(World::default())).collect();
        let workers: Vec<_> = worlds
            .iter()
            .map(|world| {
                let world = Rc::clone(world);
                start("worker", care(), 16, parent.clone(), move || Worker::make(&world))
            })
            .collect();
        workers.iter().for_each(|worker| worker.do_send(Order::Panic));
        let (mut ups, mut downs) = (0, 0);
        while ups < 200 {
            match events.recv().await {
                Some(ChildEvent::Up { .. }) => ups += 1,
                Some(ChildEvent::Down { .. }) => downs += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(downs, 100);
    });
}

#[test]
fn a_child_that_nobody_holds_ends_without_a_word() {
    in_virtual_time(async {
        let Stage { worker, world, mut events } = Stage::set(World::default());
        assert_eq!(worker.send(Order::Work).await, Ok((1, 1)));
        drop(worker);
        assert!(matches!(events.recv().await, Some(ChildEvent::Up { .. })));
        assert_eq!(events.recv().await, None);
        assert_eq!(Rc::strong_count(&world), 1);
    });
}
