//! Turns in virtual time.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

use super::*;

fn set(name: &str) -> SetName {
    name.parse().unwrap()
}

fn security() -> SetName {
    set("security")
}

type Waiter = BoxFuture<'static, Result<Share<u32>, NoTurn>>;

/// A call that has arrived.
fn arrive(turns: &Turns<u32>) -> Waiter {
    let turns = turns.clone();
    let mut waiter: Waiter = Box::pin(async move { turns.share(&security()).await });
    assert!((&mut waiter).now_or_never().is_none(), "the turn was free");
    waiter
}

async fn run(turns: &Turns<u32>) -> (Turn, SharedRun) {
    match turns.share(&security()).await {
        Ok(Share::Run(turn, run)) => (turn, run),
        other => panic!("no turn: {other:?}"),
    }
}

fn result(share: Result<Share<u32>, NoTurn>) -> u32 {
    match share {
        Ok(Share::Result(result)) => result,
        other => panic!("no result: {other:?}"),
    }
}

/// Nobody waits, and nothing is kept for anybody.
fn assert_no_trace(turns: &Turns<u32>) {
    turns.line(&security(), |line| {
        assert_eq!((line.waiting, line.gate.available_permits(), *line.ended.borrow()), (0, 1, None));
    });
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_share_one_run_that_began_after_all_of_them_arrived() {
    let turns = Turns::default();
    let (turn, first) = run(&turns).await;
    let mut waiters: Vec<Waiter> = (0..20).map(|_| arrive(&turns)).collect();
    turns.end(first, &1);
    drop(turn);
    // One of them runs; what began before they arrived is no answer to any.
    let (turn, second) = match waiters.remove(0).await {
        Ok(Share::Run(turn, run)) => (turn, run),
        other => panic!("{other:?}"),
    };
    let late = arrive(&turns);
    turns.end(second, &2);
    for waiter in waiters {
        assert_eq!(result(waiter.await), 2);
    }
    drop(turn);
    // Who came while it was under way waits for the next.
    assert!(matches!(late.await, Ok(Share::Run(..))));
    assert_no_trace(&turns);
}

#[tokio::test(start_paused = true)]
async fn a_call_gives_up_after_its_patience_and_leaves_no_trace() {
    let turns: Turns<u32> = Turns::default();
    let (turn, _run) = run(&turns).await;
    let begun = Instant::now();
    assert_eq!(arrive(&turns).await.unwrap_err(), NoTurn::TooLong);
    assert_eq!(turns.alone(&security()).await.unwrap_err(), NoTurn::TooLong);
    assert_eq!(begun.elapsed(), PATIENCE * 2);
    drop(turn);
    assert_no_trace(&turns);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_result_is_on_its_way_does_not_give_up() {
    let turns = Turns::default();
    let (turn, _first) = run(&turns).await;
    let (next, waiter) = (arrive(&turns), arrive(&turns));
    sleep(PATIENCE / 2).await;
    drop(turn);
    let Ok(Share::Run(turn, second)) = next.await else { panic!("no turn") };
    let end = async {
        sleep(PATIENCE * 10).await;
        turns.end(second, &2);
        drop(turn);
    };
    let ((), share) = tokio::join!(end, waiter);
    assert_eq!(result(share), 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_breaks_off_leaves_the_turn_to_the_next() {
    let turns = Turns::default();
    let (turn, _first) = run(&turns).await;
    let (next, waiter) = (arrive(&turns), arrive(&turns));
    drop(turn);
    drop(next.await);
    assert!(matches!(waiter.await, Ok(Share::Run(..))));
    assert_no_trace(&turns);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_leaves_no_trace_and_its_turn_to_the_next() {
    let turns = Turns::default();
    let (turn, _first) = run(&turns).await;
    let (dropped, next, also_dropped) = (arrive(&turns), arrive(&turns), arrive(&turns));
    drop((dropped, turn));
    drop(also_dropped);
    assert!(matches!(next.await, Ok(Share::Run(..))));
    assert_no_trace(&turns);
}

#[tokio::test(start_paused = true)]
async fn so_many_wait_and_no_more_at_each_set_by_itself() {
    let turns = Turns::default();
    let (turn, _first) = run(&turns).await;
    let waiters: Vec<Waiter> = (0..MOST_WAITING).map(|_| arrive(&turns)).collect();
    assert_eq!(turns.share(&security()).await.unwrap_err(), NoTurn::TooMany);
    assert_eq!(turns.alone(&security()).await.unwrap_err(), NoTurn::TooMany);
    assert!(matches!(turns.share(&set("logs")).await, Ok(Share::Run(..))));
    let gave_up = join_all(waiters).await;
    assert!(gave_up.iter().all(|share| matches!(share, Err(NoTurn::TooLong))));
    drop(turn);
    assert_no_trace(&turns);
}

#[tokio::test(start_paused = true)]
async fn turns_come_in_the_order_of_arrival_and_work_that_shares_nothing_runs_alone() {
    let turns: Turns<u32> = Turns::default();
    let (turn, _first) = run(&turns).await;
    let before = arrive(&turns);
    let set = security();
    let mut alone = Box::pin(turns.alone(&set));
    assert!((&mut alone).now_or_never().is_none());
    let after = arrive(&turns);
    drop(turn);
    let Ok(Share::Run(turn, second)) = before.await else { panic!("no turn") };
    assert!((&mut alone).now_or_never().is_none() && turns.at_once(&set).is_none());
    turns.end(second, &2);
    assert_eq!(result(after.await), 2, "it need not wait for who shares nothing");
    drop(turn);
    drop(alone.await.unwrap());
    assert!(turns.at_once(&set).is_some());
    assert_no_trace(&turns);
}
