//! What can be typed.
//!
//! Hazard: a mistyped command that does something else. Ids and set names are checked before anything is opened or
//! sent, so nothing that is typed here can climb out of a path or a URL.

mod audit;
mod keys;
mod named;
mod restoring;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::examples;
use super::url::ServiceUrl;
use crate::core::retention::PlanDigest;
use crate::core::{BackupRef, ReplicaName, SetName};
use crate::settings::LogFormat;

pub use audit::{Audit, TailArguments};
pub use keys::Key;
use named::page_size;
pub use named::{Against, Forgettable, Sets};
pub use restoring::{RecoverArguments, Recovery, RestoreArguments};

/// Apart from what a command itself accepts.
const EVERYWHERE: &str = "With every command";

/// Keeps configuration and audit logs recoverable, and proves it.
///
/// Without a command it runs the service. Commands talk to the service where it runs, and do the work themselves where
/// it does not.
#[derive(Debug, Parser)]
#[command(name = "fiovana-app", version, after_help = examples::PROGRAM, disable_help_subcommand = true)]
pub struct Arguments {
    /// Settings that hold for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; nothing: run the service.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command accepts.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Settings file [default: config/fiovana.toml if it is there]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Ask the service at this address, such as https://app.example:8443 or unix:/run/fiovana/api.sock [env: FIOVANA_URL]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "URL")]
    pub url: Option<ServiceUrl>,
    /// File with the token that the service at --url wants, readable by its owner only [env: FIOVANA_TOKEN_FILE]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How log lines look: human or json
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Create the repository in the backup directory
    #[command(after_help = examples::INIT)]
    Init {
        /// Begin this replica instead, where the one that was there is gone for good
        #[arg(long, value_name = "NAME")]
        replica: Option<ReplicaName>,
    },
    /// Back up a set now, and read it back
    #[command(after_help = examples::BACKUP)]
    Backup {
        /// The set, or `all` for every enabled one
        set: Sets,
    },
    /// List backups, newest first
    #[command(after_help = examples::LIST)]
    List(ListArguments),
    /// Show everything about a backup, its files included
    #[command(after_help = examples::SHOW)]
    Show {
        /// Its id, or a unique beginning of it
        id: BackupRef,
    },
    /// Show what differs between a backup and what is live, or another backup; secrets are hidden
    #[command(after_help = examples::DIFF)]
    Diff {
        /// The id of a backup, or a unique beginning of it
        id: BackupRef,
        /// Another of the same set, or `live`
        #[arg(default_value = "live", value_name = "ID|live")]
        against: Against,
        /// Show secrets as they are; the audit log records who did
        #[arg(long)]
        show_secrets: bool,
    },
    /// Restore a backup, in place or elsewhere
    #[command(after_help = examples::RESTORE)]
    Restore(RestoreArguments),
    /// Bring back what is missing or invalid: shows what it would do, asks once, does it, checks it
    #[command(after_help = examples::RECOVER)]
    Recover(RecoverArguments),
    /// Read backups whole and check every hash
    #[command(after_help = examples::VERIFY)]
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Verify {
        /// The id of a backup, or a unique beginning of it
        #[arg(group = "which")]
        id: Option<BackupRef>,
        /// Every backup of every set
        #[arg(long, group = "which")]
        all: bool,
    },
    /// Delete what retention gives up, or show what it would
    #[command(after_help = examples::PRUNE)]
    Prune {
        /// Delete nothing, show what would become of every backup and why
        #[arg(long, conflicts_with_all = ["confirm", "clear_quarantine"])]
        dry_run: bool,
        /// Carry out the held plan with this digest
        #[arg(long, value_name = "DIGEST")]
        confirm: Option<PlanDigest>,
        /// Delete nothing but the damaged files in quarantine, as the dry run showed them with this digest
        #[arg(long, value_name = "DIGEST", conflicts_with = "confirm")]
        clear_quarantine: Option<PlanDigest>,
    },
    /// Protect a backup: it is never deleted automatically
    #[command(after_help = examples::PIN)]
    Pin {
        /// Its id, or a unique beginning of it
        id: BackupRef,
    },
    /// Take a backup's protection away
    #[command(after_help = examples::UNPIN)]
    Unpin {
        /// Its id, or a unique beginning of it
        id: BackupRef,
    },
    /// Give up a damaged or lost backup for good
    #[command(after_help = examples::FORGET)]
    Forget {
        /// The id of a damaged backup, or SET:SEQUENCE of a lost one
        what: Forgettable,
        /// Do it: the digest that was shown
        #[arg(long, value_name = "DIGEST")]
        confirm: Option<PlanDigest>,
    },
    /// Restore the newest good backup into a scratch directory, and compare
    #[command(after_help = examples::DRILL)]
    #[command(group = clap::ArgGroup::new("drilled").required(true))]
    Drill {
        /// The set
        #[arg(group = "drilled")]
        set: Option<SetName>,
        /// Every set that has a good backup
        #[arg(long, group = "drilled")]
        all: bool,
    },
    /// Say that the clock is right, whatever contradicts it
    #[command(subcommand)]
    Clock(Clock),
    /// Show the histories of this repository, and where each departed from the one before
    #[command(after_help = examples::TIMELINE)]
    Timeline {
        /// What to do about the newest
        #[command(subcommand)]
        what: Option<Timeline>,
    },
    /// Write a backup's files into one archive
    #[command(after_help = examples::EXPORT)]
    Export {
        /// Its id, or a unique beginning of it
        id: BackupRef,
        /// The archive, a tar file compressed by zstd; one that is there is never written over
        #[arg(value_name = "FILE.tar.zst")]
        archive: PathBuf,
    },
    /// Show everything at a glance
    #[command(after_help = examples::STATUS)]
    Status,
    /// Check, show or accept the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Look at, enter or leave recovery mode
    #[command(subcommand)]
    Recovery(Recovery),
    /// Show or check the settings
    #[command(subcommand)]
    Config(Config),
    /// Make, change, list or try the keys that backups are encrypted with
    #[command(subcommand)]
    Key(Key),
    /// Print what a shell needs to complete commands
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell: bash, zsh or fish
        #[arg(hide_possible_values = true)]
        shell: CompletedShell,
    },
    /// Print the manual page
    #[command(after_help = examples::MAN)]
    Man,
}

/// Which backups to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ListArguments {
    /// Only backups of this set
    #[arg(long)]
    pub set: Option<SetName>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = page_size)]
    pub limit: Option<usize>,
    /// Only those that come after this one in the list
    #[arg(long, value_name = "ID")]
    pub after: Option<BackupRef>,
}

/// The clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Clock {
    /// Believe it from now on: ages are told by it, and deletion resumes
    #[command(after_help = examples::CLOCK_ACCEPT)]
    Accept,
}

/// The newest history.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Timeline {
    /// Say that you have seen that it departed from another: deletion resumes
    #[command(after_help = examples::TIMELINE_ACCEPT)]
    Accept {
        /// Say instead that this replica is to be written from here, and from nowhere else
        #[arg(long, value_name = "NAME")]
        replica: Option<ReplicaName>,
    },
}

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Config {
    /// Print every effective value and who said it
    #[command(after_help = examples::CONFIG_SHOW)]
    Show,
    /// Say whether the settings are valid
    #[command(after_help = examples::CONFIG_CHECK)]
    Check,
}

/// A shell that can complete commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    /// The GNU shell.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly one.
    Fish,
}

impl From<CompletedShell> for clap_complete::Shell {
    fn from(shell: CompletedShell) -> Self {
        match shell {
            CompletedShell::Bash => Self::Bash,
            CompletedShell::Zsh => Self::Zsh,
            CompletedShell::Fish => Self::Fish,
        }
    }
}

#[cfg(test)]
mod tests;
