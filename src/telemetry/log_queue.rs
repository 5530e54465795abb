//! Where log lines go: into a bounded queue, and from there to standard error, by a thread of its own.
//!
//! Hazard: a pipe that nobody reads any more blocks whoever writes to it, and so does a file on a disk that hangs. A
//! service that logs would stop serving. Here only the thread waits; lines beyond the bound are dropped and counted, and
//! the log says how many as soon as it can be written again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::core::printable;

/// How many bytes may wait to be written.
const MOST_BYTES: usize = 1 << 20;

/// The pause before writing again where that would block although it may not.
const PAUSE: Duration = Duration::from_millis(50);

/// The queue. Each write to it is one line, or several whole ones.
#[derive(Clone, Debug)]
pub(super) struct LogQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// The queue is not as it was.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Whether the thread is writing a line.
    is_writing: bool,
    dropped: u64,
    /// How many of those the log has told of.
    told: u64,
}

impl LogQueue {
    /// Starts the thread that writes to `output`. `tell` logs that so many lines were dropped.
    pub fn start(output: impl Write + Send + 'static, tell: impl Fn(u64) + Send + 'static) -> io::Result<Self> {
        let queue = Self(Arc::default());
        let writing = queue.clone();
        thread::Builder::new().name("log".into()).spawn(move || writing.write_to(output, tell))?;
        Ok(queue)
    }

    /// How many lines were dropped.
    pub fn dropped(&self) -> u64 {
        self.locked().dropped
    }

    /// Waits until all is written, at most for so long.
    pub fn flush(&self, patience: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.lines.is_empty();
        // What is not written by then is lost.
        drop(self.0.changed.wait_timeout_while(self.locked(), patience, is_busy));
    }

    fn push(&self, line: &[u8]) {
        let mut queue = self.locked();
        if queue.bytes + line.len() > MOST_BYTES {
            queue.dropped += 1;
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line.to_vec());
        self.0.changed.notify_all();
    }

    fn write_to(&self, mut output: impl Write, tell: impl Fn(u64)) {
        let mut is_torn = false;
        loop {
            let line = self.next();
            let written = (|| {
                if is_torn {
                    write_all(&mut output, b"\n", &mut is_torn)?;
                }
                write_all(&mut output, &line, &mut is_torn)
            })();
            let untold = {
                let mut queue = self.locked();
                queue.is_writing = false;
                queue.dropped += u64::from(written.is_err());
                let untold = queue.dropped - queue.told;
                // Told where lines are missing: behind all that were kept.
                let may_tell = written.is_ok() && queue.lines.is_empty() && untold > 0;
                if may_tell {
                    queue.told = queue.dropped;
                }
                self.0.changed.notify_all();
                may_tell.then_some(untold)
            };
            untold.into_iter().for_each(&tell);
        }
    }

    /// The next line, once there is one.
    fn next(&self) -> Vec<u8> {
        let is_idle = |queue: &mut Queue| queue.lines.is_empty();
        let waited = self.0.changed.wait_while(self.locked(), is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        let line = queue.lines.pop_front().unwrap_or_default();
        queue.bytes -= line.len();
        queue.is_writing = true;
        line
    }

    fn locked(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a whole line, also to a pipe that is shared with a program that made it non-blocking. `is_torn` says afterwards
/// whether a part of a line stands without its end.
fn write_all(output: &mut impl Write, mut line: &[u8], is_torn: &mut bool) -> io::Result<()> {
    while !line.is_empty() {
        match output.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => {
                line = &line[length..];
                *is_torn = !line.is_empty();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl Write for LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes each event as one line, whatever is in it.
#[derive(Clone, Debug)]
pub(super) struct EventWriter {
    /// Where lines go.
    pub queue: LogQueue,
    /// What they are.
    pub form: LineForm,
}

/// What a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineForm {
    /// A JSON document.
    Json,
    /// Text, with the sequences that set colours, or without.
    Text { colours: bool },
}

impl Write for EventWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event.strip_suffix(b"\n").unwrap_or(event));
        let line = match self.form {
            LineForm::Json => printable::json(&text),
            LineForm::Text { colours } => printable::plain_lines(&text, colours),
        };
        self.queue.push(format!("{}\n", line.replace('\n', "\\n")).as_bytes());
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for EventWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Longer than anything takes; only a test that fails waits for it.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// An output that takes as much as it is let, and what it was given.
    struct Pipe {
        results: Receiver<io::Result<usize>>,
        given: SyncSender<Vec<u8>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A test that is over lets nothing more through.
            let length = self.results.recv().unwrap_or(Err(ErrorKind::BrokenPipe.into()))?.min(bytes.len());
            let _ = self.given.send(bytes[..length].to_vec());
            Ok(length)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Stage {
        queue: LogQueue,
        results: SyncSender<io::Result<usize>>,
        given: Receiver<Vec<u8>>,
    }

    impl Stage {
        /// A queue whose notice of dropped lines is `lost N`.
        fn new() -> Self {
            let (results, take) = sync_channel(1);
            let (give, given) = sync_channel(1 << 16);
            let (tell, queue) = sync_channel::<LogQueue>(1);
            let notice = move |lines| {
                let queue = queue.recv_timeout(PATIENCE).unwrap();
                queue.push(format!("lost {lines}\n").as_bytes());
            };
            let queue = LogQueue::start(Pipe { results: take, given: give }, notice).unwrap();
            tell.send(queue.clone()).unwrap();
            Self { queue, results, given }
        }

        fn log(&self, line: &str) {
            self.queue.push(line.as_bytes());
        }

        /// Lets one write through.
        fn answer(&self, result: io::Result<usize>) {
            self.results.send(result).unwrap();
        }

        fn written(&self) -> String {
            String::from_utf8(self.given.recv_timeout(PATIENCE).unwrap()).unwrap()
        }

        fn let_through(&self) -> String {
            self.answer(Ok(usize::MAX));
            self.written()
        }
    }

    #[test]
    fn a_stalled_reader_costs_lines_and_time_to_nobody_and_the_log_says_how_many() {
        let stage = Stage::new();
        let line = format!("{}\n", "x".repeat(1023));
        // One is being written, and waits outside of the queue.
        let fit = 1 + MOST_BYTES / line.len();
        for number in 0..fit + 300 {
            stage.log(&line);
            while number == 0 && !stage.queue.locked().is_writing {
                thread::yield_now();
            }
        }
        assert_eq!(stage.queue.dropped(), 300);
        stage.queue.flush(Duration::from_millis(1));
        for _ in 0..fit {
            assert_eq!(stage.let_through(), line);
        }
        assert_eq!(stage.let_through(), "lost 300\n");
        stage.log("after\n");
        assert_eq!(stage.let_through(), "after\n");
        assert_eq!(stage.queue.dropped(), 300, "it is told once");
    }

    #[test]
    fn a_full_disk_costs_the_lines_that_do_not_fit_and_tears_no_other() {
        let stage = Stage::new();
        for line in ["torn apart\n", "does not fit\n", "fits\n"] {
            stage.log(line);
        }
        stage.answer(Ok(4));
        assert_eq!(stage.written(), "torn");
        stage.answer(Err(ErrorKind::StorageFull.into()));
        stage.answer(Err(ErrorKind::StorageFull.into()));
        assert_eq!(stage.let_through(), "\n");
        assert_eq!(stage.let_through(), "fits\n");
        assert_eq!(stage.let_through(), "lost 2\n");
    }

    #[test]
    fn what_would_block_or_was_interrupted_is_written_again() {
        let stage = Stage::new();
        stage.log("whole\n");
        stage.answer(Err(ErrorKind::WouldBlock.into()));
        stage.answer(Err(ErrorKind::Interrupted.into()));
        assert_eq!(stage.let_through(), "whole\n");
        assert_eq!(stage.queue.dropped(), 0);
    }

    #[test]
    fn a_flush_waits_for_the_last_line() {
        let stage = Stage::new();
        stage.log("last\n");
        let flushed = thread::spawn({
            let queue = stage.queue.clone();
            move || queue.flush(PATIENCE)
        });
        assert!(!flushed.is_finished());
        assert_eq!(stage.let_through(), "last\n");
        flushed.join().unwrap();
        assert!(stage.queue.locked().lines.is_empty());
    }
}
