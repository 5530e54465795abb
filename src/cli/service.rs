//! The service itself, in the foreground.
//!
//! Hazard: an operator who starts in recovery mode while another instance runs, or hangs, and is told only that
//! something is in use. The one that runs is asked to enter recovery mode; one that does not answer is named.

use super::commands::reach;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use crate::daemon;
use crate::daemon::emergency::Salvaged;
use crate::repository::lock::LockError;
use crate::settings::{LogFormat, Sources};

/// Runs the service until it is told to stop.
pub fn run(sources: Sources, log_format: Option<LogFormat>, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let emergency = sources.recovery_mode().then(|| sources.clone());
    match (daemon::run(daemon::Options { sources, log_format }), emergency) {
        (Ok(()), _) => Ok(Exit::Done),
        (Err(daemon::Failure::Lock(held @ LockError::Held(_))), Some(sources)) => ask_holder(held, &sources, output),
        (Err(failure), _) => Err(failure.into()),
    }
}

/// Lets the instance that holds the repository enter recovery mode.
fn ask_holder(held: LockError, sources: &Sources, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let Some(remote) = reach(&Salvaged::from(sources).settings)? else {
        return Err(daemon::Failure::Lock(held).into());
    };
    let mode = remote.enter_recovery()?;
    output.message(&format!("{held}: it was asked to enter recovery mode, and is in mode {}", mode.name));
    output.message(&format!(
        "to see what would be brought back, and bring it back, run `fiovana-app recover` in {}",
        sources.working_directory.display()
    ));
    Ok(Exit::Done)
}
