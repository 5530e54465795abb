//! The command line.
//!
//! Hazard: at 3 a.m. nobody reads a manual. A command works whether the service runs or not, says in one line what
//! went wrong and what to do, and its exit code tells a script the same.
//!
//! [`parse`] understands the words, [`run`] does what they say. What needs the service asks a `Client`, which is the
//! running service or this process; what only reads does without. Both give the documents of [`crate::api`], which are
//! printed as text or JSON.

mod arguments;
mod audit;
mod batch;
mod client;
mod commands;
mod config;
mod examples;
mod exit;
mod export;
mod facts;
mod failure;
mod fold;
mod help;
mod keys;
mod moment;
mod output;
mod place;
mod progress;
mod reader;
mod recover;
mod remote;
mod render;
#[cfg(test)]
mod samples;
mod service;
mod shell;
mod table;
mod target;
#[cfg(test)]
mod test_service;
mod text;
mod url;

use std::io;

use arguments::Clock as ClockCommand;
use arguments::RestoreArguments;
use arguments::Timeline as TimelineCommand;
pub use arguments::{Arguments, Command};
use commands::Work;
pub use exit::Exit;
use failure::Failure;
pub use help::{Instead, parse};
use output::{Look, Output, Page};
use place::Setup;

use crate::api::{AcceptTimelineOptions, RestoreOptions};
use crate::clock::{Clock, SystemClock};
use crate::private_file::keep_what_is_made_ours;
use crate::telemetry::{flush_log, standard_error};

/// Does what was typed, and prints what came of it.
pub fn run(arguments: Arguments) -> Exit {
    keep_what_is_made_ours();
    with_output(arguments.global.json, |output| match dispatch(arguments, output) {
        Ok(exit) => exit,
        Err(failure) => {
            output.failure(&failure);
            failure.exit()
        }
    })
}

/// Prints what there is instead of a command: help, the version, or what is wrong.
pub fn explain(instead: &Instead) -> Exit {
    with_output(instead.json, |output| help::explain(instead, output))
}

fn with_output(json: bool, body: impl FnOnce(&mut Output<'_>) -> Exit) -> Exit {
    let look = Look::of_stdout(SystemClock::start().now());
    let (mut results, mut messages) = (io::stdout(), standard_error());
    let exit = body(&mut Output::new(&mut results, &mut messages, look, json).with_messages_on(Page::of(io::stderr())));
    flush_log();
    exit
}

fn dispatch(arguments: Arguments, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let Arguments { global, command } = arguments;
    let setup = Setup::of(global)?;
    let Some(command) = command else {
        let (sources, log_format) = setup.service()?;
        return service::run(sources, log_format, output);
    };
    let work = match command {
        Command::Config(what) => return config::run(what, setup.sources_as_author("config")?, output),
        Command::Export { id, archive } => {
            return export::export(&id, &archive, &setup.here_to_look("export", output)?, output);
        }
        Command::Completions { shell } => return output.text(&shell::completions(shell)),
        Command::Man => return output.text(&shell::manual().map_err(Failure::Output)?),
        Command::Key(what) => return keys::run(what, &setup.here("key", output)?, output),
        Command::Init { replica: None } => return commands::init(&setup.here("init", output)?, output),
        Command::Init { replica: Some(name) } => {
            return commands::init_replica(&name, &setup.here("init", output)?, output);
        }
        Command::List(arguments) => return commands::list(arguments, &setup.place_to_look(output)?, output),
        Command::Show { id } => return commands::show(&id, &setup.place_to_look(output)?, output),
        Command::Diff { id, against, show_secrets: false } => {
            return commands::diff(&id, &against, &setup.place_to_look(output)?, output);
        }
        Command::Diff { id, against, show_secrets: true } => {
            return commands::diff_with_secrets(&id, &against, setup.place(output)?, output);
        }
        Command::Restore(RestoreArguments { to: Some(directory), set, id, files, ignore_xattrs, .. }) => {
            let settings = setup.here_to_look("restore --to", output)?;
            let options = RestoreOptions { files, ignore_xattrs, ..RestoreOptions::default() };
            return commands::restore_to(&directory, &set, &id, &options, &settings, output);
        }
        Command::Restore(arguments) => {
            let RestoreArguments {
                set, id, files, replace_logs, ignore_ownership, ignore_xattrs, allow_invalid, ..
            } = arguments;
            let options =
                RestoreOptions { file: None, files, replace_logs, ignore_ownership, ignore_xattrs, allow_invalid };
            Work::Restore(set, id, options)
        }
        // The settings themselves may be among what is broken or gone.
        Command::Recover(arguments) => {
            return recover::recover(&arguments, setup.place_whatever_happened(output)?, output);
        }
        Command::Backup { set } => Work::Backup(set),
        Command::Verify { id, all: _ } => id.map_or(Work::VerifyAll, Work::Verify),
        Command::Prune { dry_run: true, .. } => Work::PrunePlan,
        Command::Prune { dry_run: false, confirm, clear_quarantine } => Work::Prune { confirm, clear_quarantine },
        Command::Pin { id } => Work::SetPinned(id, true),
        Command::Unpin { id } => Work::SetPinned(id, false),
        Command::Forget { what, confirm } => Work::Forget(what, confirm),
        Command::Drill { set, all: _ } => set.map_or(Work::DrillAll, Work::Drill),
        Command::Clock(ClockCommand::Accept) => Work::AcceptClock,
        Command::Timeline { what: Some(TimelineCommand::Accept { replica }) } => {
            Work::AcceptTimeline(AcceptTimelineOptions { replica })
        }
        Command::Timeline { what: None } => Work::Timelines,
        Command::Status => return commands::work(Work::Status, setup.place_to_look(output)?, output),
        Command::Audit(arguments::Audit::Verify) => return audit::verify(&setup.here("audit verify", output)?, output),
        Command::Audit(arguments::Audit::Tail(wanted)) => return audit::tail(wanted, &setup.place(output)?, output),
        Command::Audit(arguments::Audit::Accept) => Work::AcceptAudit,
        Command::Recovery(recovery) => Work::Recovery(recovery),
    };
    commands::work(work, setup.place(output)?, output)
}
