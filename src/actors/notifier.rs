//! Tells a person, by a program of the operator's.
//!
//! Hazard: whoever is told by a program that hangs must not hang with it. Notices go into a bounded queue; one thread of
//! their own runs the program for one after the other, ends when nothing waits, and is waited for by nobody.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::world::{Role, World};
use crate::core::notices::{Next, Notice, Notices, Telling, Urgency};
use crate::pipeline::program;
use crate::settings::NotifySettings;
use crate::telemetry::{Notified, Occurrence, notice};

/// What is held back is looked at this often: the settings may have changed.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long a stop waits for the program that is running, and for its end when it was killed.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What waits to be told.
#[derive(Default)]
pub struct Notifier {
    desk: Mutex<Desk>,
    news: Condvar,
    /// Whether the program that is running is to be killed.
    hurry: AtomicBool,
}

#[derive(Default)]
struct Desk {
    notices: Notices,
    /// Whether a thread is at work.
    telling: bool,
    /// Whether nobody is told anything any more.
    closed: bool,
}

impl Notifier {
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the program that is running end, or kills it after a moment, and tells nobody anything any more. Blocks.
    pub fn close(&self) {
        let mut desk = self.desk();
        desk.closed = true;
        for _ in 0..2 {
            self.news.notify_all();
            let waited = self.news.wait_timeout_while(desk, LAST_WORDS, |desk| desk.telling);
            desk = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.hurry.store(true, Ordering::Relaxed);
        }
    }
}

/// Has a person told of an occurrence, if it is one to be told and there is a program for it. Does not wait.
pub fn notify(world: &Arc<World>, occurrence: &Occurrence) {
    // Whoever runs a single command sees what comes of it.
    if world.role == Role::Command || world.settings().notify.command.is_empty() {
        return;
    }
    if let Some(notice) = notice(occurrence) {
        enqueue(world, notice);
    }
}

fn enqueue(world: &Arc<World>, notice: Notice) {
    let mut desk = world.notifier.desk();
    if !desk.notices.offer(notice) {
        world.metrics.observe_notification(Notified::Dropped);
    }
    world.notifier.news.notify_all();
    if desk.telling || desk.closed {
        return;
    }
    let teller = world.clone();
    match std::thread::Builder::new().name("notifier".into()).spawn(move || tell_all(&teller)) {
        Ok(_) => desk.telling = true,
        // What waits is told with the next.
        Err(error) => tracing::error!("nobody can be notified: start a thread: {error}"),
    }
}

/// Lets the next thread begin if this one ends by a panic.
struct EndByPanic<'a>(&'a Notifier);

impl Drop for EndByPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.desk().telling = false;
        }
    }
}

/// Tells what waits, until nothing does.
fn tell_all(world: &World) {
    let _end = EndByPanic(&world.notifier);
    loop {
        let settings = world.settings();
        let mut desk = world.notifier.desk();
        if settings.notify.command.is_empty() || desk.closed {
            desk.notices.clear();
        }
        let now = world.clock.uptime();
        match desk.notices.next(now, settings.notify.repeat) {
            Next::Tell(telling) => {
                drop(desk);
                tell(world, &settings.notify, &telling);
            }
            Next::Wait(until) => {
                let patience = until.saturating_sub(now).min(LOOK_EVERY);
                drop(world.notifier.news.wait_timeout(desk, patience));
            }
            Next::Nothing => {
                // While the desk is held: what comes next finds nobody at work.
                desk.telling = false;
                world.notifier.news.notify_all();
                return;
            }
        }
    }
}

fn tell(world: &World, settings: &NotifySettings, telling: &Telling) {
    let Some((program, arguments)) = settings.command.split_first() else { return };
    let event = telling.notice.event;
    let mut command = program::prepare(program, arguments, Path::new("/"));
    say(&mut command, telling);
    let outcome = match run(command, settings.timeout, &world.notifier.hurry) {
        Ok(Ended { success: true, .. }) => Notified::Told,
        Ok(Ended { timed_out, how, .. }) => {
            tracing::warn!(event, "nobody was notified: notify.command {how}");
            if timed_out { Notified::TimedOut } else { Notified::Failed }
        }
        Err(error) => {
            tracing::warn!(event, "nobody was notified: run notify.command {program}: {error}");
            Notified::Failed
        }
    };
    world.metrics.observe_notification(outcome);
}

struct Ended {
    success: bool,
    timed_out: bool,
    how: String,
}

/// Puts what there is to tell into the program's environment.
fn say(command: &mut Command, Telling { notice, times, untold }: &Telling) {
    command.env("FIOVANA_EVENT", notice.event).env("FIOVANA_SUMMARY", &notice.summary);
    command.env("FIOVANA_STATE", if notice.urgency == Urgency::Over { "over" } else { "trouble" });
    command.env("FIOVANA_SET", notice.trouble.set.as_ref().map_or("", |set| set.as_str()));
    command.env("FIOVANA_BACKUP", notice.backup.map_or_else(String::new, |backup| backup.to_string()));
    command.env("FIOVANA_TIME", notice.at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true));
    command.env("FIOVANA_CORRELATION_ID", &notice.correlation_id);
    command.env("FIOVANA_TIMES", times.to_string()).env("FIOVANA_UNTOLD", untold.to_string());
}

/// Runs the program; what it says is thrown away.
fn run(mut command: Command, timeout: Duration, hurry: &AtomicBool) -> std::io::Result<Ended> {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let ended = program::wait(&mut child, timeout, || hurry.load(Ordering::Relaxed))?;
    Ok(Ended {
        success: ended.is_some_and(|status| status.success()),
        timed_out: ended.is_none(),
        how: program::told(ended, timeout),
    })
}
