//! Everything that happens, as data.
//!
//! Hazard: an operation that nobody recorded did not happen, as far as an auditor can tell. Each event names itself,
//! says how it ended and what is worth knowing, for all three tellings at once.

mod telling;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::audit::{Break, Entry};
use crate::core::retention::Hold;
use crate::core::timeline::DepartureReason;
use crate::core::{BackupId, BackupKind, Digest, Position, ReplicaName, Sequence, SetName, Timeline};
use crate::settings::Change;

/// Something that happened, with who, when and about what.
#[derive(Clone, Debug)]
pub struct Occurrence {
    /// What happened.
    pub event: Event,
    /// When.
    pub at: DateTime<Utc>,
    /// The component that did it.
    pub actor: &'static str,
    /// Who asked for it.
    pub principal: String,
    /// The set concerned.
    pub set: Option<SetName>,
    /// The backup concerned.
    pub backup: Option<BackupId>,
    /// What ties everything about one operation together.
    pub correlation_id: String,
}

/// How bytes came to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Right after they were written.
    ReadBack,
    /// Because somebody asked.
    Requested,
    /// Because nobody had looked yet, or the record of it was lost.
    Startup,
    /// To leave recovery mode.
    Validation,
    /// Because a drill could not restore it.
    Drill,
    /// Of the chain of the audit log.
    Audit,
    /// Because something that was damaged is healed.
    Repair,
    /// In the rotation over everything stored.
    Scrub,
    /// Of what a replica holds already, before it is given more.
    Replication,
}

impl Check {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::ReadBack,
        Self::Requested,
        Self::Startup,
        Self::Validation,
        Self::Drill,
        Self::Audit,
        Self::Repair,
        Self::Scrub,
        Self::Replication,
    ];

    /// The name used in the audit log and in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::ReadBack => "read_back",
            Self::Requested => "requested",
            Self::Startup => "startup",
            Self::Validation => "validation",
            Self::Drill => "drill",
            Self::Audit => "audit",
            Self::Repair => "repair",
            Self::Scrub => "scrub",
            Self::Replication => "replication",
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The process is up.
    ServiceStarted {
        /// The program's version.
        version: &'static str,
        /// Where the repository is.
        repository: String,
        /// The repository's name; none if it is not there.
        repository_id: Option<String>,
        /// The mode's name.
        mode: &'static str,
    },
    /// The process ends.
    ServiceStopped {
        /// The sets whose backups were under way and are taken up at the next start.
        abandoned: Vec<SetName>,
    },
    /// A person accepted what is wrong with the audit chain.
    ChainAccepted {
        /// What.
        breaks: Vec<Break>,
    },
    /// A log is not what its last backup, with more behind it, would be.
    SourceRewritten {
        /// Its path below the set's source.
        path: String,
        /// The last backup of what it was.
        previous: BackupId,
    },
    /// A file holds something else than when it was last captured, though nothing about it tells.
    SourceChangedUnseen {
        /// Its path below the set's source.
        path: String,
    },
    /// A backup begins.
    BackupStarted {
        /// Why.
        kind: BackupKind,
    },
    /// A backup was made, and read back.
    BackupCompleted {
        /// Why.
        kind: BackupKind,
        /// The repository that it is in.
        repository_id: String,
        /// Its place in the order of its set.
        position: Position,
        /// The SHA-256 of its manifest.
        manifest_sha256: Digest,
        /// How many files it has.
        files: usize,
        /// Files that were not there.
        missing: Vec<String>,
        /// Files that could not be read.
        unreadable: Vec<String>,
        /// Bytes of its files.
        size_bytes: u64,
        /// Bytes of its objects.
        stored_bytes: u64,
        /// Whether all its content is valid.
        valid: bool,
        /// How long it took.
        duration_seconds: f64,
    },
    /// A scheduled run found everything as it is in the backup concerned.
    BackupUnchanged {
        /// How long it took.
        duration_seconds: f64,
    },
    /// No backup was made.
    BackupFailed {
        /// Why it was tried.
        kind: BackupKind,
        /// Why it failed.
        error: String,
    },
    /// Stored bytes were read and were right.
    IntegrityCheckPassed {
        /// How it came to that.
        check: Check,
        /// Bytes of content that were read.
        content_bytes: u64,
    },
    /// Stored bytes were absent or wrong, or could not be read.
    IntegrityCheckFailed {
        /// How it came to that.
        check: Check,
        /// What is absent or wrong; empty if something could merely not be read.
        damages: Vec<String>,
        /// Why something could not be read.
        unreadable: Option<String>,
    },
    /// Damage was made good.
    RepairCompleted {
        /// With what: `memory`, `replica` or `source`.
        source: &'static str,
        /// Where.
        places: Vec<String>,
    },
    /// Damage could not be made good.
    RepairFailed {
        /// Where, and why not.
        places: Vec<String>,
    },
    /// A backup was restored to a scratch directory, and is what it was.
    DrillPassed {
        /// How many files came back.
        files: u64,
        /// Their bytes.
        size_bytes: u64,
        /// How long it took.
        duration_seconds: f64,
    },
    /// It could not be restored, or was not what it was, or the drill proved nothing.
    DrillFailed {
        /// Why.
        error: String,
        /// How long it took.
        duration_seconds: f64,
    },
    /// A restore begins.
    RestoreStarted {
        /// Where to.
        target: String,
        /// Where the files come from.
        backups: Vec<BackupId>,
    },
    /// Files are back.
    RestoreCompleted {
        /// Where.
        target: String,
        /// How many.
        files: usize,
        /// How many were removed again.
        removed: usize,
        /// The live files as they were before.
        safety_backup: Option<BackupId>,
        /// How long it took; not known of one that was interrupted.
        duration_seconds: Option<f64>,
        /// Whether it was interrupted, and found to be complete afterwards.
        recovered: bool,
    },
    /// A restore failed, or was interrupted, and the earlier files are back.
    RestoreRolledBack {
        /// Where.
        target: String,
        /// Why.
        error: String,
        /// The live files as they were before.
        safety_backup: BackupId,
        /// Whether it was interrupted, and rolled back afterwards.
        recovered: bool,
    },
    /// Files are not back.
    RestoreFailed {
        /// Why.
        error: String,
        /// Whether live files may be of two times: it is yet to be settled.
        unsettled: bool,
    },
    /// Something is to be deleted.
    CleanupStarted {
        /// In this replica; `None`: in the repository itself.
        replica: Option<ReplicaName>,
        /// What, and why.
        planned: Vec<(BackupId, &'static str)>,
        /// Objects that no backup needs.
        objects: usize,
    },
    /// A cleanup waits for a person.
    CleanupHeld {
        /// The replica that the deletions would be in; none: the repository itself.
        replica: Option<ReplicaName>,
        /// Why, how much, and what to confirm it by.
        hold: Hold,
        /// What would be deleted, and why.
        planned: Vec<(BackupId, &'static str)>,
    },
    /// Backups are encrypted for others than before; for nobody is not at all.
    KeyChanged {
        /// The fingerprints of those they were encrypted for.
        before: Vec<String>,
        /// The fingerprints of those they are encrypted for from now on.
        recipients: Vec<String>,
    },
    /// The repository has a newer format from now on, which older programs refuse.
    RepositoryUpgraded {
        /// That format.
        format: u32,
    },
    /// The clock is not believed any more, or is again.
    ClockSuspect {
        /// Why not, if it is not.
        fault: Option<String>,
        /// Whether somebody said that it is right.
        accepted: bool,
    },
    /// The history here is not the newest that is known, and a new one begins.
    TimelineBegan {
        /// Its number.
        timeline: Timeline,
        /// Why.
        reason: DepartureReason,
        /// The one that it departs from.
        departs_from: Timeline,
        /// For each set the last sequence that is here, and the highest that is known anywhere.
        sets: BTreeMap<SetName, (Sequence, Sequence)>,
        /// Backups that others know and that are not here, some of them.
        missing: BTreeMap<SetName, BTreeSet<BackupId>>,
    },
    /// Somebody has seen that a timeline departed from another: deletion goes on.
    TimelineAccepted {
        /// It.
        timeline: Timeline,
    },
    /// A backup was protected.
    Pinned,
    /// It is so no longer.
    Unpinned,
    /// What was damaged or lost is given up.
    Forgotten {
        /// The places of the backups concerned, as far as they are known.
        sequences: Vec<u64>,
        /// What is lost with it.
        gives_up: Vec<String>,
    },
    /// What is in quarantine goes, for somebody said so.
    QuarantineCleared {
        /// How many files, notes aside.
        count: usize,
        /// Their bytes.
        bytes: u64,
        /// Some of them, by name.
        files: Vec<String>,
    },
    /// Somebody sees the secrets in what differs from the backup concerned.
    SecretsShown {
        /// The backup that it is compared with, or `live`.
        against: String,
    },
    /// A cleanup is done.
    CleanupCompleted {
        /// In this replica; `None`: in the repository itself.
        replica: Option<ReplicaName>,
        /// What, and why.
        deleted: Vec<(BackupId, &'static str)>,
        /// Objects that went with it.
        objects: usize,
        /// What that freed.
        freed_bytes: u64,
    },
    /// A cleanup failed.
    CleanupFailed {
        /// Why.
        error: String,
    },
    /// The mode changed.
    ModeChanged {
        /// From.
        from: &'static str,
        /// To.
        to: &'static str,
        /// The phase of recovery.
        phase: Option<&'static str>,
        /// What for.
        cause: &'static str,
        /// What needs a person now, and did not before: its code, and what that person should know.
        raised: Vec<(&'static str, String)>,
        /// What no longer does.
        cleared: Vec<&'static str>,
    },
    /// A replica lacks what it should have, and why changed.
    ReplicaLagging {
        /// Which.
        replica: ReplicaName,
        /// Where it is, or should be.
        path: String,
        /// How many backups it lacks, as far as is known.
        lag_backups: usize,
        /// A stable word for why.
        fault: &'static str,
        /// Why.
        reason: String,
    },
    /// A replica that lacked something has all it should.
    ReplicaCaughtUp {
        /// Which.
        replica: ReplicaName,
        /// Where it is.
        path: String,
    },
    /// Somebody was turned away: with a token that is nobody's, or as a user who may not do what was asked for.
    AuthRejected,
    /// Other settings are in force.
    SettingsReloaded {
        /// What differs.
        changes: Vec<Change>,
    },
    /// The settings that were found are refused, and those in force stay.
    SettingsRejected {
        /// Why, problem by problem.
        errors: Vec<String>,
    },
    /// An actor went down and comes back.
    ActorRestarted {
        /// Which.
        actor: &'static str,
        /// `stop`, `error`, `panic` or `hang`.
        cause: &'static str,
        /// What is known of why.
        reason: String,
    },
    /// An actor went down too often and stays down.
    ActorGaveUp {
        /// Which.
        actor: &'static str,
        /// What is known of why.
        reason: String,
    },
}

impl Occurrence {
    /// What the audit log keeps of it.
    pub fn entry(&self) -> Entry {
        Entry {
            timestamp: self.at,
            event: self.event.name(),
            actor: self.actor,
            principal: self.principal.clone(),
            set: self.set.clone(),
            backup_id: self.backup,
            outcome: self.event.outcome(),
            details: self.event.details(),
            correlation_id: self.correlation_id.clone(),
        }
    }
}
