//! Asking the application whether it can live with what was restored.
//!
//! Hazard: a command that hangs, or floods its output, must not hold up a restore or the files it waits for. It has a
//! bounded time; what it says is kept to a bounded length and goes to whoever asked, never into a log.

use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use super::journal::Journal;
use crate::pipeline::{Progress, program};

/// How much of what a command says is kept: its beginning.
const MAX_OUTPUT_BYTES: u64 = 2048;
/// How long the rest of its output is waited for.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// The command that judges.
#[derive(Clone, Copy, Debug)]
pub struct HealthCheck<'a> {
    /// The program and its arguments; empty: none is asked.
    pub command: &'a [String],
    /// How long it may take.
    pub timeout: Duration,
}

/// Why a restore is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// It could not be run.
    #[error("run recovery.health_command {0:?}")]
    Start(String, #[source] std::io::Error),
    /// It said no.
    #[error("recovery.health_command {how}")]
    Unhealthy {
        /// How it ended.
        how: String,
        /// What it said, shortened; for whoever asked for the restore alone.
        said: String,
    },
}

/// Runs the command in the source directory, with `FIOVANA_RESTORE_SET`, `FIOVANA_RESTORE_BACKUPS` (separated by spaces),
/// `FIOVANA_RESTORE_SAFETY_BACKUP` and `FIOVANA_RESTORE_CORRELATION_ID` in its environment. Healthy is an exit code of 0.
pub fn judge(
    check: &HealthCheck<'_>,
    source: &Path,
    journal: &Journal,
    progress: &Progress,
) -> Result<(), HealthError> {
    let Some((judge, arguments)) = check.command.split_first() else { return Ok(()) };
    let backups: Vec<String> = journal.backups.iter().map(ToString::to_string).collect();
    let mut command = program::prepare(judge, arguments, source);
    command.env("FIOVANA_RESTORE_SET", journal.set.as_str()).env("FIOVANA_RESTORE_BACKUPS", backups.join(" "));
    command.env("FIOVANA_RESTORE_SAFETY_BACKUP", journal.safety_backup.to_string());
    command.env("FIOVANA_RESTORE_CORRELATION_ID", &journal.correlation_id);
    let start = |error| HealthError::Start(judge.clone(), error);
    let (reader, writer) = std::io::pipe().map_err(start)?;
    command.stdout(writer.try_clone().map_err(start)?).stderr(writer);
    let mut child = command.spawn().map_err(start)?;
    // It holds the writing ends: without them the reader would never come to an end.
    drop(command);
    let output = collect(reader);
    let ended = program::wait(&mut child, check.timeout, || progress.advance(0).is_err()).map_err(start)?;
    if ended.is_some_and(|status| status.success()) {
        return Ok(());
    }
    let how = program::told(ended, check.timeout);
    Err(HealthError::Unhealthy { how, said: output.recv_timeout(LAST_WORDS).unwrap_or_default() })
}

/// Reads to the end, keeps the beginning.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (give, take) = channel();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        let _ = from.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut kept);
        let _ = std::io::copy(&mut from, &mut std::io::sink());
        let _ = give.send(String::from_utf8_lossy(&kept).trim().to_owned());
    });
    take
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{BackupId, Digest};
    use crate::pipeline::restore::journal::Token;

    fn judged(script: &str, timeout: Duration) -> Result<(), HealthError> {
        let id = BackupId::new(chrono::DateTime::UNIX_EPOCH, Digest::of(b""));
        let set = "security".parse().unwrap();
        let journal = Journal::new("repository", &set, ("c0ffee", "cli:0"), vec![id, id], id, Token::new("repository"));
        let command = ["/bin/sh", "-c", script].map(str::to_owned);
        judge(&HealthCheck { command: &command, timeout }, Path::new("/"), &journal, &Progress::default())
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn no_command_and_an_exit_code_of_zero_are_healthy_and_every_other_end_is_not() {
        let id = BackupId::new(chrono::DateTime::UNIX_EPOCH, Digest::of(b""));
        let set = "security".parse().unwrap();
        let journal = Journal::new("repository", &set, ("c0ffee", "cli:0"), vec![], id, Token::new("repository"));
        let none = HealthCheck { command: &[], timeout: MINUTE };
        judge(&none, Path::new("/"), &journal, &Progress::default()).unwrap();
        judged("exit 0", MINUTE).unwrap();
        assert_eq!(judged("exit 3", MINUTE).unwrap_err().to_string(), "recovery.health_command ended with exit code 3");
        assert!(judged("kill -9 $$", MINUTE).unwrap_err().to_string().ends_with("signal 9"));
        let absent = HealthCheck { command: &["/nonexistent".to_owned()], timeout: MINUTE };
        let error = judge(&absent, Path::new("/"), &journal, &Progress::default()).unwrap_err();
        assert!(matches!(error, HealthError::Start(..)), "{error}");
    }

    #[test]
    fn it_is_told_what_was_restored_and_little_else() {
        let said = |script: &str| match judged(&format!("{script}; exit 1"), MINUTE).unwrap_err() {
            HealthError::Unhealthy { said, .. } => said,
            other => panic!("{other}"),
        };
        assert_eq!(said("echo $FIOVANA_RESTORE_SET"), "security");
        assert_eq!(said("echo $FIOVANA_RESTORE_BACKUPS | wc -w"), "2");
        assert_eq!(said("echo $FIOVANA_RESTORE_CORRELATION_ID >&2"), "c0ffee");
        assert_eq!(said("env | grep -c ^CARGO"), "0");
        assert_eq!(said("head -c 100000 /dev/zero | tr '\\0' x").len() as u64, MAX_OUTPUT_BYTES);
    }

    #[test]
    fn one_that_hangs_is_killed_with_all_that_it_started() {
        let error = judged("echo waiting; sleep 1000 & wait", Duration::from_millis(200)).unwrap_err();
        let HealthError::Unhealthy { how, said } = error else { panic!("{error}") };
        assert_eq!((how.as_str(), said.as_str()), ("did not end within 200ms", "waiting"));
    }
}
