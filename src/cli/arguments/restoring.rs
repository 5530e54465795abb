//! What brings files back.
//!
//! Hazard: a live file that is replaced by somebody who meant to look. Whatever goes further than a plain restore has a
//! flag of its own, and those that make no sense together are refused.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::named::Sets;
use crate::cli::examples;
use crate::core::{BackupRef, SetName};

/// What to restore, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RestoreArguments {
    /// The set
    pub set: SetName,
    /// The id of one of its backups, a unique beginning of it, or `latest`
    pub id: BackupRef,
    /// Restore into this directory instead of over the live files
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Only this file, by its path in the backup; may be given again
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<String>,
    /// Let live logs be replaced too
    #[arg(long, conflicts_with = "to")]
    pub replace_logs: bool,
    /// Restore files whose owner cannot be kept all the same; they will belong to whoever restores them
    #[arg(long)]
    pub ignore_ownership: bool,
    /// Restore files whose extended attributes and access control lists cannot be kept all the same, without them
    #[arg(long)]
    pub ignore_xattrs: bool,
    /// Restore files that are not valid JSON all the same
    #[arg(long, conflicts_with = "to")]
    pub allow_invalid: bool,
}

/// What to recover, and whether to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RecoverArguments {
    /// This set wholly, files that are valid and differ included; `all` for every set; may be given again
    #[arg(long = "set", value_name = "SET")]
    pub sets: Vec<Sets>,
    /// As things were then, files that are valid and differ included
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Restore files whose owner cannot be kept all the same; they will belong to whoever restores them
    #[arg(long)]
    pub ignore_ownership: bool,
}

/// Recovery mode.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Recovery {
    /// Enter recovery mode: no schedules, nothing is deleted
    #[command(after_help = examples::RECOVERY_ENTER)]
    Enter,
    /// Show the mode, and what `recover` would do
    #[command(after_help = examples::RECOVERY_STATUS)]
    Status,
    /// Leave recovery mode
    #[command(after_help = examples::RECOVERY_EXIT)]
    Exit {
        /// A loss to accept, by the name that `status` shows
        #[arg(long, value_name = "NAME")]
        acknowledge: Vec<String>,
    },
}
