//! Log lines.
//!
//! Hazard: a log that only its author can read is no help at 3 a.m. On a terminal a line is a sentence; elsewhere, or
//! when asked for, it is one JSON object.

use std::io::{self, IsTerminal, LineWriter, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::Level;
use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::log_queue::{EventWriter, LineForm, LogQueue};
use super::{Event, Occurrence};
use crate::audit::Outcome;
use crate::settings::{Change, LogFormat, LoggingSettings};

/// How long whoever ends the process waits for the last lines to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// How long a thread that panics does: it may be the end of the process, and else it has work to do.
const PANIC_PATIENCE: Duration = Duration::from_millis(100);

/// The queue of this process, once it logs.
static QUEUE: OnceLock<LogQueue> = OnceLock::new();

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// There is no thread for it.
    #[error("start the thread that writes the log")]
    Thread(#[source] io::Error),
    /// Something else logs already.
    #[error("set up logging")]
    Subscriber(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends log lines to standard error from now on, panics among them; once in a process. Logging never waits.
pub fn init(settings: &LoggingSettings, format: Option<LogFormat>) -> Result<(), LoggingError> {
    // What libraries say at their informational levels is noise to an operator.
    let filter = EnvFilter::new(format!("warn,fiovana_app={}", settings.level.as_str()));
    let registry = tracing_subscriber::registry().with(filter);
    let terminal = io::stderr().is_terminal();
    let colours = terminal && std::env::var_os("NO_COLOR").is_none();
    let tell = |lines| tracing::warn!(lines, "log lines were lost: for a while they could not be written");
    let queue = LogQueue::start(io::stderr(), tell).map_err(LoggingError::Thread)?;
    // The layer's own complaints would go to standard error directly, and wait there.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false);
    let format = format.unwrap_or(settings.format);
    let form = if format == LogFormat::Json { LineForm::Json } else { LineForm::Text { colours } };
    let layer = layer.with_writer(EventWriter { queue: queue.clone(), form });
    match format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true).with_current_span(false)).try_init()?,
        LogFormat::Human => {
            let fields = format::debug_fn(sentence_first).delimited("");
            registry.with(layer.with_ansi(colours).with_target(false).fmt_fields(fields)).try_init()?;
        }
    }
    let at_panic = queue.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {}", panic.payload_as_str().unwrap_or("no message"));
        at_panic.flush(PANIC_PATIENCE);
    }));
    // Whoever comes second was refused above.
    let _ = QUEUE.set(queue);
    Ok(())
}

/// Waits until the log is written, at most for a second: to be called before the process ends.
pub fn flush() {
    QUEUE.get().into_iter().for_each(|queue| queue.flush(FLUSH_PATIENCE));
}

/// How many log lines were dropped, because nobody took them in time or they could not be written.
pub fn dropped_lines() -> u64 {
    QUEUE.get().map_or(0, LogQueue::dropped)
}

/// Standard error, line by line: in the order of the log and without waiting, if this process logs.
pub fn standard_error() -> impl Write {
    LineWriter::new(StandardError)
}

struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) => queue.clone().write(bytes),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// What `work` warns of goes to standard error, as plain lines, for a command that has no log.
pub fn warnings_on_standard_error<T>(work: impl FnOnce() -> T) -> T {
    let lines =
        tracing_subscriber::fmt().with_writer(io::stderr).with_max_level(Level::WARN).log_internal_errors(false);
    let lines = lines.without_time().with_level(false).with_target(false).with_ansi(false);
    tracing::subscriber::with_default(lines.finish(), work)
}

/// A person reads the sentence, and what it is about; the names of things are for programs.
fn sentence_first(writer: &mut format::Writer<'_>, field: &Field, value: &dyn std::fmt::Debug) -> std::fmt::Result {
    match field.name() {
        "message" => write!(writer, "{value:?}"),
        "event" | "correlation_id" => Ok(()),
        name => write!(writer, " {name}={value:?}"),
    }
}

/// Writes the line of an occurrence.
pub fn log(occurrence: &Occurrence) {
    let level = match (&occurrence.event, occurrence.event.outcome()) {
        (Event::ActorGaveUp { .. } | Event::IntegrityCheckFailed { .. }, _) => Level::ERROR,
        (
            Event::ModeChanged { to: "recovery" | "degraded", .. }
            | Event::CleanupHeld { .. }
            | Event::Forgotten { .. },
            _,
        )
        | (_, Outcome::Failure) => Level::WARN,
        (Event::BackupStarted { .. } | Event::IntegrityCheckPassed { .. } | Event::BackupUnchanged { .. }, _) => {
            Level::DEBUG
        }
        _ => Level::INFO,
    };
    let event = occurrence.event.name();
    let set = occurrence.set.as_ref().map(tracing::field::display);
    let backup = occurrence.backup.map(tracing::field::display);
    let correlation_id = occurrence.correlation_id.as_str();
    let sentence = sentence(&occurrence.event);
    macro_rules! line {
        ($level:expr) => {
            tracing::event!($level, event, set, backup, correlation_id, "{sentence}")
        };
    }
    match level {
        Level::ERROR => line!(Level::ERROR),
        Level::WARN => line!(Level::WARN),
        Level::INFO => line!(Level::INFO),
        _ => line!(Level::DEBUG),
    }
}

fn settings_reloaded(changes: &[Change]) -> String {
    let keys = |needs_restart: bool| {
        let matching = changes.iter().filter(|change| change.needs_restart == needs_restart);
        matching.map(|change| change.key.as_str()).collect::<Vec<_>>().join(", ")
    };
    match (keys(false), keys(true)) {
        (now, later) if now.is_empty() && later.is_empty() => "settings reloaded: nothing changed".into(),
        (now, later) if later.is_empty() => format!("settings reloaded: {now}"),
        (now, later) if now.is_empty() => format!("settings reloaded; at the next start only: {later}"),
        (now, later) => format!("settings reloaded: {now}; at the next start only: {later}"),
    }
}

/// The first few of many.
fn few(places: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = places[..places.len().min(SHOWN)].join("; ");
    if places.len() > SHOWN { format!("{shown}; and {} more", places.len() - SHOWN) } else { shown }
}

/// An event in words.
pub(super) fn sentence(event: &Event) -> String {
    match event {
        Event::ServiceStarted { version, repository, mode, .. } => {
            format!("fiovana-app {version} is up in mode {mode}; backups are in {repository}")
        }
        Event::ServiceStopped { .. } => "stopped".into(),
        Event::ChainAccepted { breaks } => format!("{} breaks of the audit chain were accepted", breaks.len()),
        Event::SourceRewritten { path, previous } => {
            format!("{path} was rewritten: backup {previous} has what it was, and is pinned")
        }
        Event::SourceChangedUnseen { path } => {
            format!("{path} changed though its size and times did not: it is read and backed up anew")
        }
        Event::BackupStarted { kind } => format!("{kind} backup started"),
        Event::BackupCompleted { files, missing, unreadable, size_bytes, valid, .. } => {
            let mut sentence = format!("backed up and read back {files} files, {size_bytes} bytes");
            if !missing.is_empty() {
                sentence.push_str(&format!("; missing: {}", missing.join(", ")));
            }
            if !unreadable.is_empty() {
                sentence.push_str(&format!("; unreadable: {}", unreadable.join(", ")));
            }
            if !valid {
                sentence.push_str("; some content is not valid: the backup is suspect");
            }
            sentence
        }
        Event::BackupUnchanged { .. } => "nothing changed since the newest backup".into(),
        Event::BackupFailed { error, .. } => format!("backup failed: {error}"),
        Event::IntegrityCheckPassed { content_bytes, .. } => format!("verified, {content_bytes} bytes read"),
        Event::IntegrityCheckFailed { damages, unreadable, .. } => match unreadable {
            Some(why) if damages.is_empty() => format!("could not be verified: {why}"),
            _ => format!("damaged: {}", damages.join("; ")),
        },
        Event::DrillPassed { files, size_bytes, .. } => {
            format!("drill passed: {files} files, {size_bytes} bytes restored and compared")
        }
        Event::DrillFailed { error, .. } => format!("drill failed: {error}"),
        Event::RestoreStarted { target, .. } => format!("restoring to {target}"),
        Event::RepairCompleted { source, places } => format!("healed from {source}: {}", few(places)),
        Event::RepairFailed { places } => format!("not healed: {}", few(places)),
        Event::RestoreCompleted { target, files, .. } => format!("{files} files restored to {target}"),
        Event::RestoreRolledBack { target, error, .. } => {
            format!("restore rolled back, the earlier files are in {target} again: {error}")
        }
        Event::RestoreFailed { error, .. } => format!("restore failed: {error}"),
        Event::CleanupStarted { planned, objects: 0, .. } => format!("deleting {} backups", planned.len()),
        Event::CleanupStarted { objects, .. } => format!("collecting {objects} objects that no backup needs"),
        Event::CleanupHeld { hold, .. } => format!(
            "a cleanup of {} of {} backups waits for a person ({}): look with `fiovana-app prune --dry-run`, then \
             `fiovana-app prune --confirm {}`",
            hold.deletions,
            hold.backups,
            hold.reason.code(),
            hold.digest
        ),
        Event::KeyChanged { recipients, .. } if recipients.is_empty() => {
            "backups are no longer encrypted from now on".into()
        }
        Event::KeyChanged { recipients, .. } => {
            format!("backups are encrypted for {} from now on, each set anew", recipients.join(", "))
        }
        Event::RepositoryUpgraded { format } => {
            format!("the repository has format {format} from now on: an older fiovana-app refuses it")
        }
        Event::ClockSuspect { fault: Some(fault), .. } => {
            format!("the clock is not believed, nothing is deleted: {fault}")
        }
        Event::ClockSuspect { accepted: true, .. } => {
            "the clock is believed again, for somebody said that it is right".into()
        }
        Event::ClockSuspect { .. } => "the clock is believed again".into(),
        Event::TimelineBegan { timeline, departs_from, reason, missing, .. } => {
            let why = reason.description();
            let count: usize = missing.values().map(std::collections::BTreeSet::len).sum();
            format!(
                "{why}: timeline {} departs from timeline {}, {count} backups that others know are not here; nothing is \
                 deleted until somebody has seen it: `fiovana-app timeline`, then `fiovana-app timeline accept`",
                timeline.0, departs_from.0
            )
        }
        Event::TimelineAccepted { timeline } => format!("timeline {} was seen: deletion goes on", timeline.0),
        Event::Pinned => "pinned: retention leaves it alone".into(),
        Event::Unpinned => "unpinned: retention may delete it again".into(),
        Event::Forgotten { gives_up, .. } => format!("given up: {}", gives_up.join("; ")),
        Event::QuarantineCleared { count, bytes, .. } => format!("quarantine cleared: {count} files, {bytes} bytes"),
        Event::SecretsShown { against } => format!("what differs from {against} is shown with the secrets in it"),
        Event::CleanupCompleted { deleted, objects: 0, freed_bytes, .. } => {
            format!("{} backups deleted, {freed_bytes} bytes freed", deleted.len())
        }
        Event::CleanupCompleted { objects, freed_bytes, .. } => {
            format!("{objects} objects collected, {freed_bytes} bytes freed")
        }
        Event::CleanupFailed { error } => format!("cleanup failed: {error}"),
        Event::ModeChanged { from, to, phase, cause, raised, .. } => {
            let phase = phase.map_or_else(String::new, |phase| format!(" ({phase})"));
            let details: Vec<String> = raised.iter().map(|(_, detail)| format!("; {detail}")).collect();
            format!("mode {from} -> {to}{phase}: {cause}{}", details.concat())
        }
        Event::ReplicaLagging { replica, lag_backups, reason, .. } => {
            format!("the replica {replica} is {lag_backups} backups behind: {reason}")
        }
        Event::ReplicaCaughtUp { replica, .. } => format!("the replica {replica} has all backups again"),
        Event::AuthRejected => "somebody was turned away who has no right to what was asked for".into(),
        Event::SettingsReloaded { changes } => settings_reloaded(changes),
        Event::SettingsRejected { errors } => {
            format!("the settings are refused and those in force stay: {}", errors.join("; "))
        }
        Event::ActorRestarted { actor, cause, reason } => format!("actor {actor} restarts after a {cause}: {reason}"),
        Event::ActorGaveUp { actor, reason } => format!("actor {actor} gave up: {reason}"),
    }
}
