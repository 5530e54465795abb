//! Threads that sync files while others are still being written.
//!
//! Hazard: a backup of many objects that syncs one after another spends its time waiting for the disk. Several syncs
//! at once share a journal commit, and cost nothing while the processors compress the next object.

use std::io;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

/// How many syncs may wait for a thread; whoever asks for more waits too. Bounds the files held open.
const QUEUED_SYNCS: usize = 64;

type Work = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// A few threads that do nothing but sync. They end when it is dropped, after what was asked of them.
pub(super) struct Syncer {
    queue: Option<Sender<(Work, Sender<io::Result<()>>)>>,
}

/// A sync that was asked for.
pub(super) enum Pending {
    Done(io::Result<()>),
    Underway(Receiver<io::Result<()>>),
}

impl Syncer {
    /// Starts up to this many threads. With none (or if none could be started) each sync is done where it is asked for.
    pub(super) fn start(threads: usize) -> Self {
        let (queue, jobs) = bounded::<(Work, Sender<io::Result<()>>)>(QUEUED_SYNCS);
        let mut started = false;
        for _ in 0..threads {
            let jobs = jobs.clone();
            let run = move || jobs.iter().for_each(|(work, done)| drop(done.send(work())));
            started |= thread::Builder::new().name("sync".to_owned()).spawn(run).is_ok();
        }
        Self { queue: started.then_some(queue) }
    }

    /// Does `work` on one of the threads.
    pub(super) fn run(&self, work: impl FnOnce() -> io::Result<()> + Send + 'static) -> Pending {
        let Some(queue) = &self.queue else { return Pending::Done(work()) };
        let (done, result) = bounded(1);
        match queue.send((Box::new(work), done)) {
            Ok(()) => Pending::Underway(result),
            Err(unsent) => Pending::Done(unsent.into_inner().0()),
        }
    }
}

impl Pending {
    /// Waits for it, and tells how it went.
    pub(super) fn wait(self) -> io::Result<()> {
        match self {
            Self::Done(result) => result,
            Self::Underway(result) => result.recv().unwrap_or_else(|_| Err(io::Error::other("the sync was abandoned"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sync_tells_its_own_result_with_and_without_threads() {
        for threads in [0, 3] {
            let syncer = Syncer::start(threads);
            let asked: Vec<Pending> = (0..200)
                .map(|i| syncer.run(move || if i % 3 == 0 { Err(io::Error::from_raw_os_error(i)) } else { Ok(()) }))
                .collect();
            for (i, pending) in (0..).zip(asked) {
                let failed = pending.wait().err().and_then(|error| error.raw_os_error());
                assert_eq!(failed, (i % 3 == 0).then_some(i));
            }
        }
    }

    #[test]
    fn a_sync_that_panics_is_a_failed_sync() {
        let syncer = Syncer::start(1);
        assert!(syncer.run(|| std::panic::panic_any("out of the blue")).wait().is_err());
    }
}
