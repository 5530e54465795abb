//! Progress bars for long work, in this process or at a service.
//!
//! Hazard: a bar in a log file, or one that stays when the work has failed. It is drawn on standard error, only where
//! that is a terminal and results are for a person, and is wiped when the work ends, however it ends.

use std::borrow::Cow;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::pipeline::Progress;

const REDRAW: Duration = Duration::from_millis(100);
const MEASURED: &str = "{msg} {wide_bar} {binary_bytes}/{binary_total_bytes}";
/// While nobody knows how much there is.
const UNMEASURED: &str = "{msg} {spinner}";

/// Whether progress is shown.
#[derive(Clone, Copy, Debug)]
pub struct Bars(bool);

impl Bars {
    /// None, wherever it goes.
    pub const NONE: Self = Self(false);

    /// Shown where a person looks.
    pub fn on_a_terminal() -> Self {
        Self(io::stderr().is_terminal())
    }

    /// Shows how far the work is; `None` where nobody would see it.
    pub fn show(self, what: impl Into<Cow<'static, str>>, progress: &Arc<Progress>) -> Option<Bar> {
        if self.0 { Bar::show(what.into(), Arc::clone(progress)) } else { None }
    }
}

/// A bar that is shown until it is dropped.
pub struct Bar {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bar {
    fn show(what: Cow<'static, str>, progress: Arc<Progress>) -> Option<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let draw = move || {
            let bar = ProgressBar::no_length().with_message(what);
            let set_style = |template| ProgressStyle::with_template(template).map(|style| bar.set_style(style)).is_ok();
            let mut is_measured = false;
            set_style(UNMEASURED);
            while stopped.recv_timeout(REDRAW) == Err(RecvTimeoutError::Timeout) {
                let (done, total) = progress.bytes();
                if !is_measured && total.max(done) > 0 {
                    is_measured = set_style(MEASURED);
                }
                // How much there is may be known late, or too low.
                bar.set_length(total.max(done));
                bar.set_position(done);
                bar.tick();
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
