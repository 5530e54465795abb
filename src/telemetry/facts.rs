//! What is true now, for those metrics that tell a state and not an event.
//!
//! Hazard: a gauge that is changed by events is wrong after a restart. These are made anew from the catalogue, the run
//! history and the mode each time somebody looks.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::core::mode::DegradedReason;
use crate::core::{BackupPriority, BackupState, ReplicaName, SetName};

/// Everything at one moment.
#[derive(Debug)]
pub struct Facts {
    /// Whether there are schedules and sweeps.
    pub enabled: bool,
    /// The mode's name.
    pub mode: &'static str,
    /// What needs a person.
    pub reasons: BTreeSet<DegradedReason>,
    /// Whether the mode would survive a restart.
    pub mode_persisted: bool,
    /// Every configured set.
    pub sets: Vec<SetFacts>,
    /// Whether each actor is up.
    pub actors: BTreeMap<&'static str, bool>,
    /// How many messages wait for each actor.
    pub mailboxes: BTreeMap<&'static str, usize>,
    /// Seconds in which everything stored is to be read again; 0 if nothing is.
    pub scrub_interval_seconds: u64,
    /// Stored bytes of all objects.
    pub repository_bytes: u64,
    /// How many objects there are.
    pub repository_objects: usize,
    /// Bytes that may still be written, if that can be told.
    pub free_bytes: Option<u64>,
    /// Every configured replica.
    pub replicas: Vec<ReplicaFacts>,
    /// Whether the clock is not believed.
    pub clock_suspect: bool,
    /// Whether the history departed from another, and nobody has seen that yet.
    pub rolled_back: bool,
    /// When that was read again which was read longest ago.
    pub scrub_oldest_check: Option<DateTime<Utc>>,
    /// The number of the last audit record.
    pub audit_head_sequence: u64,
    /// Whether the chain of the audit log is whole, as far as is known.
    pub audit_chain_ok: bool,
}

/// One replica at one moment.
#[derive(Debug)]
pub struct ReplicaFacts {
    /// Its name.
    pub name: ReplicaName,
    /// How many backups it lacks, as far as is known.
    pub lag_backups: usize,
    /// Whether it would be lost with the disk of the backup directory, or that is not known.
    pub same_disk: bool,
}

/// One configured set at one moment. A time that is `None` never was.
#[derive(Debug)]
pub struct SetFacts {
    /// Its name.
    pub name: SetName,
    /// How much it matters.
    pub priority: BackupPriority,
    /// Seconds between two scheduled runs; 0 without a schedule.
    pub interval_seconds: u64,
    /// When it is due next.
    pub next_run: Option<DateTime<Utc>>,
    /// When its last run started.
    pub last_attempt: Option<DateTime<Utc>>,
    /// When its last run that succeeded started.
    pub last_success: Option<DateTime<Utc>>,
    /// When one of its backups was last found intact.
    pub last_verified: Option<DateTime<Utc>>,
    /// Seconds between two scheduled drills; 0 without a schedule.
    pub drill_interval_seconds: u64,
    /// Whether its last drill failed.
    pub drill_failed: bool,
    /// When its last drill that passed started.
    pub last_drill: Option<DateTime<Utc>>,
    /// When its newest good backup was made.
    pub newest_restorable: Option<DateTime<Utc>>,
    /// When its oldest good backup was made.
    pub oldest_restorable: Option<DateTime<Utc>>,
    /// Runs that failed since the last that did not.
    pub consecutive_failures: u32,
    /// Since when a run is under way.
    pub running_since: Option<DateTime<Utc>>,
    /// Bytes of the files of its newest backup.
    pub size_bytes: u64,
    /// Bytes of the objects of its newest backup.
    pub stored_bytes: u64,
    /// How many backups there are in each state.
    pub backups: BTreeMap<BackupState, u64>,
    /// Files that its newest backup misses.
    pub missing_files: usize,
    /// Sequences that are neither present nor deleted on purpose.
    pub lost_sequences: usize,
    /// Backups whose deletion waits for a person.
    pub held_deletions: usize,
    /// Files whose content was not valid in its newest backup.
    pub invalid_files: usize,
}
