//! What can be asked of the audit log.
//!
//! Hazard: a break that is accepted by somebody who meant to look. Looking and accepting are commands of their own.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::named::page_size;
use crate::cli::examples;
use crate::core::SetName;

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Audit {
    /// Prove the whole chain, or name the first record that breaks it
    #[command(after_help = examples::AUDIT_VERIFY)]
    Verify,
    /// Show records, newest last
    #[command(after_help = examples::AUDIT_TAIL)]
    Tail(TailArguments),
    /// Accept what is wrong with the chain now, and say so in the log
    #[command(after_help = examples::AUDIT_ACCEPT)]
    Accept,
}

/// Which audit records to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TailArguments {
    /// Go on with new records as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only records of this event, such as BackupFailed
    #[arg(long)]
    pub event: Option<String>,
    /// Only records about this set
    #[arg(long)]
    pub set: Option<SetName>,
    /// Only records of this moment or later: RFC 3339, such as 2026-11-23T10:15:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<DateTime<Utc>>,
    /// Only records with a higher number, the oldest of them first
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// At most so many at first
    #[arg(long, value_name = "N", value_parser = page_size)]
    pub limit: Option<usize>,
}
