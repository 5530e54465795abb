//! A parallel map that keeps order and bounds memory: one thread produces, some map, the caller consumes.
//!
//! Hazard: reading faster than compressing fills memory; hashing a file needs its chunks in order. Both queues here
//! are bounded by the number of threads, and results are taken in the order in which their items were produced.

use crossbeam_channel::{Receiver, Sender, bounded};

/// The threads that the machine has for mapping.
pub fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 16)
}

/// Takes items from a producer; says whether more are wanted.
pub type Emit<'a, T> = &'a mut dyn FnMut(T) -> bool;

/// Runs `produce`, which emits items; maps each with `map` on one of `threads` threads; hands the results in order to
/// `consume`. The first error, in the order of items, ends it and is returned; otherwise what `produce` returned.
/// At most three items a thread are alive at once; with no threads, everything runs in the caller's. A panic in any
/// part is passed on.
pub fn ordered<T: Send, U: Send, S: Send, E: Send>(
    threads: usize,
    produce: impl FnOnce(Emit<'_, T>) -> Result<S, E> + Send,
    map: impl Fn(T) -> Result<U, E> + Sync,
    mut consume: impl FnMut(U) -> Result<(), E>,
) -> Result<S, E> {
    if threads == 0 {
        let mut outcome = Ok(());
        let produced = produce(&mut |item| {
            outcome = map(item).and_then(&mut consume);
            outcome.is_ok()
        });
        return outcome.and(produced);
    }
    let (work, todo) = bounded::<(T, Sender<Result<U, E>>)>(threads);
    let (promise, in_order) = bounded::<Receiver<Result<U, E>>>(threads * 2);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (todo, map) = (todo.clone(), &map);
            scope.spawn(move || {
                for (item, reply) in todo {
                    // Nobody waits for the result any more after an error: then it is of no use.
                    let _ = reply.send(map(item));
                }
            });
        }
        drop(todo);
        let producer = scope.spawn(move || {
            produce(&mut |item| {
                let (reply, result) = bounded(1);
                promise.send(result).is_ok() && work.send((item, reply)).is_ok()
            })
        });
        // A result that never comes is a worker's panic, which the scope passes on.
        let consumed = in_order.iter().map_while(|result| result.recv().ok()).try_for_each(|result| consume(result?));
        drop(in_order);
        let produced = producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        consumed.and(produced)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn produce_up_to(end: u64) -> impl FnOnce(Emit<'_, u64>) -> Result<&'static str, String> {
        move |emit| {
            for item in 0..end {
                if !emit(item) {
                    break;
                }
            }
            Ok("produced")
        }
    }

    #[test]
    fn results_come_in_order_whatever_the_threads() {
        for threads in [0, 1, 2, 7] {
            let mut seen = Vec::new();
            let result = ordered(
                threads,
                produce_up_to(500),
                |item| Ok::<_, String>(item * 2),
                |item| {
                    seen.push(item);
                    Ok(())
                },
            );
            assert_eq!(result, Ok("produced"));
            assert_eq!(seen, (0..500).map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_first_error_in_order_ends_it_and_stops_the_producer() {
        let mapped = AtomicUsize::new(0);
        let result = ordered(
            2,
            produce_up_to(u64::MAX),
            |item| {
                mapped.fetch_add(1, Ordering::Relaxed);
                if item >= 10 { Err(format!("item {item}")) } else { Ok(item) }
            },
            |_| Ok(()),
        );
        assert_eq!(result, Err("item 10".to_owned()));
        assert!(mapped.into_inner() < 10 + 3 * 2 + 2, "far more was mapped than the queues hold");
    }

    #[test]
    fn an_error_of_the_consumer_or_the_producer_is_the_result() {
        for threads in [0, 2] {
            let consumer = ordered(threads, produce_up_to(u64::MAX), Ok, |_| Err("enough".to_owned()));
            assert_eq!(consumer, Err("enough".to_owned()));
            let producer = ordered(threads, |_: Emit<'_, u64>| Err::<(), _>("nothing"), Ok, |_| Ok(()));
            assert_eq!(producer, Err("nothing"));
        }
    }

    #[test]
    fn a_panic_is_passed_on_and_never_hangs() {
        let panicked = std::panic::catch_unwind(|| {
            ordered(2, produce_up_to(100), |item| if item == 5 { panic!("mapping") } else { Ok(item) }, |_| Ok(()))
        });
        assert!(panicked.is_err());
    }
}
