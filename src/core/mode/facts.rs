//! What the mode machine is told: reasons, causes, losses, and what a process starts from.
//!
//! Hazard: the audit log, the metrics, the alerts and the runbook speak of the same things; a renamed word silently
//! disables an alert. Each has one code here, and it never changes.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Mode;

/// An enum of plain words with one stable snake_case code each, which is also how they are stored.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $code:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$word_doc])* #[serde(rename = $code)] $word,)+
        }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$word),+];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$word => $code,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.code())
            }
        }
    };
}

coded! {
    /// What makes the service degraded. Details are with whoever raised it.
    DegradedReason {
        /// Live files are missing.
        LiveFilesMissing = "live_files_missing",
        /// The newest backup of a set has less than half the files of the one before.
        FewerFiles = "fewer_files",
        /// Live files do not parse.
        LiveFilesInvalid = "live_files_invalid",
        /// Backups of a set keep failing.
        BackupsFailing = "backups_failing",
        /// Restores of a set keep failing where they are rehearsed.
        DrillsFailing = "drills_failing",
        /// A replica is behind or unreachable.
        ReplicaLagging = "replica_lagging",
        /// The audit log cannot be written.
        AuditUnwritable = "audit_unwritable",
        /// The audit log is not what was written, or is not there.
        AuditChainBroken = "audit_chain_broken",
        /// The mode could not be persisted.
        ModeNotPersisted = "mode_not_persisted",
        /// The clock jumped.
        ClockSuspect = "clock_suspect",
        /// The history departed from another, and nobody has seen that yet.
        RepositoryRolledBack = "repository_rolled_back",
        /// Space is running out.
        SpaceLow = "space_low",
        /// The settings file was refused and earlier settings are in force.
        SettingsRejected = "settings_rejected",
        /// A set's source could be replaced by somebody else, and is not used.
        SourceUnsafe = "source_unsafe",
        /// An actor's blocking work does not end.
        ActorStuck = "actor_stuck",
        /// A sweep waits for confirmation.
        CleanupHeld = "cleanup_held",
        /// An interrupted restore could be neither finished nor rolled back.
        RestoreUnsettled = "restore_unsettled",
        /// Recovery was left, but the flag that demands it is still set.
        RecoveryFlagSet = "recovery_flag_set",
    }
}

coded! {
    /// What recovery is entered for.
    RecoveryCause {
        /// `FIOVANA_RECOVERY_MODE` at start.
        RecoveryFlag = "recovery_flag",
        /// An operator, by API or CLI.
        OperatorRequest = "operator_request",
        /// Too many integrity failures within the window.
        IntegrityFailures = "integrity_failures",
        /// A critical set has backups, but no good one.
        NoGoodBackup = "no_good_backup",
        /// An actor failed too often to be restarted.
        ActorGaveUp = "actor_gave_up",
        /// The repository that the audit log names is gone.
        RepositoryMissing = "repository_missing",
        /// The repository cannot be read.
        RepositoryDamaged = "repository_damaged",
        /// There are backups, but no record of the mode.
        ModeFileMissing = "mode_file_missing",
        /// The record of the mode cannot be believed.
        ModeFileDamaged = "mode_file_damaged",
    }
}

impl RecoveryCause {
    /// Whether a person asked for it, rather than something having failed.
    pub const fn is_asked_for(self) -> bool {
        matches!(self, Self::RecoveryFlag | Self::OperatorRequest)
    }
}

/// The name of something that cannot be brought back: a file of a set, or a backup.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Loss(pub String);

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a process finds when it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFacts {
    /// Whether the recovery flag is set in its environment.
    pub flag_set: bool,
    /// The mode the last process left.
    pub persisted: Persisted,
    /// What demands recovery by itself: a missing repository, a critical set without a good backup, a full window.
    pub alarm: Option<RecoveryCause>,
    /// What needs a person.
    pub reasons: BTreeSet<DegradedReason>,
}

/// The mode the last process left.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Persisted {
    /// No record, and nothing that a process before this one could have made.
    Fresh,
    /// No record, though there are backups.
    Missing,
    /// A record that cannot be read, or fails its checksum.
    Damaged,
    /// This one.
    Found(Mode),
}
