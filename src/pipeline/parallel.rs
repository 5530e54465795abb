//! A parallel map that keeps order and bounds memory: one thread produces, some map, the caller consumes.
//!
//! Hazard: reading faster than compressing fills memory; hashing a file needs its chunks in order. Both queues here
//! are bounded by the number of threads, and results are taken in the order in which their items were produced.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::repository::object::CHUNK_BYTES;

/// The threads that the machine has for mapping; found out once, for it takes reading a dozen files of the control group.
pub fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| std::thread::available_parallelism().map_or(2, usize::from).clamp(1, 16))
}

/// How the cores are shared out among files: how many are worked on at once, and the mapping threads of each. A file is
/// hashed by one thread from its beginning to its end, so several files use several cores where one cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Files at once; 1 is in the caller's thread.
    pub files: usize,
    /// Threads for the chunks of each.
    pub threads: usize,
}

impl Share {
    /// The share for files of these sizes. Twice as many mapping threads as cores in all: some always wait for the disk.
    pub fn of(sizes_bytes: impl Iterator<Item = u64>) -> Self {
        let large = sizes_bytes.filter(|size| *size > CHUNK_BYTES as u64).count();
        let files = large.clamp(1, threads());
        Self { files, threads: (2 * threads()).div_ceil(files).min(threads()) }
    }
}

/// Calls `work` for each item, on up to `threads` threads; 1 is the caller's. After an error no further item is begun,
/// and one of the errors is returned.
pub fn for_each<T: Sync, E: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let run = || -> Result<(), E> {
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(item).inspect_err(|_| next.store(items.len(), Ordering::Relaxed))?;
        }
        Ok(())
    };
    if threads.min(items.len()) <= 1 {
        return run();
    }
    std::thread::scope(|scope| {
        let runners: Vec<_> = (0..threads.min(items.len())).map(|_| scope.spawn(run)).collect();
        let results: Vec<Result<(), E>> = runners
            .into_iter()
            .map(|runner| runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        results.into_iter().collect()
    })
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
    fn each_item_is_worked_on_once_and_an_error_stops_the_rest() {
        for threads in [1, 3] {
            let seen = std::sync::Mutex::new(Vec::new());
            let items: Vec<usize> = (0..100).collect();
            let all = for_each(threads, &items, |item| {
                seen.lock().unwrap().push(*item);
                Ok::<_, String>(())
            });
            assert_eq!(all, Ok(()));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, items);
            let begun = AtomicUsize::new(0);
            let failed = for_each(threads, &[(); 1_000_000], |()| {
                begun.fetch_add(1, Ordering::Relaxed);
                Err("no")
            });
            assert_eq!(failed, Err("no"));
            assert!(begun.into_inner() <= threads);
        }
    }

    #[test]
    fn the_cores_are_shared_out_and_never_many_times_over() {
        for large in [0, 1, 2, 3, 50] {
            let share = Share::of(std::iter::repeat_n(CHUNK_BYTES as u64 + 1, large).chain([10, 10]));
            assert!(share.files >= 1 && share.files <= large.max(1));
            assert!(share.threads >= 1 && share.files * share.threads <= 3 * threads(), "{share:?}");
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
