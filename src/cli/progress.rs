//! A progress bar for long work in this process.
//!
//! Hazard: a bar in a log file, or one that stays when the work has failed. It is drawn on standard error, only where
//! that is a terminal, and is wiped when the work ends, however it ends.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::pipeline::Progress;

const REDRAW: Duration = Duration::from_millis(100);
const TEMPLATE: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}";

/// A bar that is shown until it is dropped.
pub struct Bar {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    /// Shows how far the work is; `None` where nobody would see it.
    pub fn show(verb: &'static str, progress: &Arc<Progress>) -> Option<Self> {
        if !io::stderr().is_terminal() {
            return None;
        }
        let (stop, stopped) = mpsc::channel::<()>();
        let progress = Arc::clone(progress);
        let draw = move || {
            let bar = ProgressBar::no_length().with_message(verb);
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style);
            }
            while stopped.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                let (done, total) = progress.bytes();
                // How much there is may be known late, or too low.
                bar.set_length(total.max(done));
                bar.set_position(done);
            }
            bar.finish_and_clear();
        };
        // Work without a bar is better than no work.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(draw).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A bar that could not be drawn is no reason to fail.
            let _ = thread.join();
        }
    }
}
