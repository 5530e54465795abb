//! Why a backup is kept or deleted.
//!
//! Hazard: a deletion that nobody can explain afterwards is indistinguishable from a loss. Every decision has a
//! stable code for machines and a sentence for people.

use std::fmt;

use crate::core::BackupId;

/// What is to become of a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It stays.
    Keep(KeepReason),
    /// It goes.
    Delete(DeleteReason),
}

/// Why a backup stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// Nothing is deleted at present.
    Frozen(FreezeReason),
    /// Somebody protected it.
    Pinned,
    /// The state before a restore, still within its time.
    PreRestore,
    /// Damaged backups are never deleted automatically.
    Damaged,
    /// Not read back yet: nothing is known of it.
    Unverified,
    /// Its content is suspect, and it is not too old.
    Suspect,
    /// There is no newer good one.
    NewestGood,
    /// No newer backup holds a valid copy of this file (one of perhaps several).
    NewestCopy {
        /// The file's path.
        file: String,
    },
    /// It is one of the newest good versions, of which so many stay however old they are.
    AtLeast {
        /// How many.
        versions: usize,
    },
    /// Neither too old nor too many.
    WithinRule,
}

/// Why a backup goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteReason {
    /// An older backup has the same content, and there was no other in between.
    SameVersion {
        /// That one.
        older: BackupId,
    },
    /// It has been superseded for longer than the retention.
    Expired {
        /// For this many whole days.
        age_days: u32,
    },
    /// It is a version of logs that has been superseded for longer than the retention, and the last copy of this one (and
    /// perhaps others) goes with it.
    LastCopyExpired {
        /// For this many whole days.
        age_days: u32,
        /// The log's path.
        file: String,
    },
    /// There are more versions than the rule allows.
    TooMany {
        /// What it allows.
        max_backups: usize,
    },
    /// The time of this pre-restore backup is over.
    PreRestoreExpired {
        /// It is this many whole days old.
        age_days: u32,
    },
}

/// Why nothing at all is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreezeReason {
    /// The mode is recovery.
    Recovery,
    /// The set's live content is suspect.
    LiveSuspect,
    /// The clock is suspect.
    ClockSuspect,
    /// The history departed from another, and nobody has seen that yet.
    RolledBack,
    /// The set's newest backup has not been read back.
    NewestUnverified,
}

impl Decision {
    /// The reason's stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Keep(reason) => reason.code(),
            Self::Delete(reason) => reason.code(),
        }
    }
}

impl KeepReason {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Frozen(reason) => reason.code(),
            Self::Pinned => "pinned",
            Self::PreRestore => "pre_restore",
            Self::Damaged => "damaged",
            Self::Unverified => "unverified",
            Self::Suspect => "suspect",
            Self::NewestGood => "newest_good",
            Self::NewestCopy { .. } => "newest_copy",
            Self::AtLeast { .. } => "at_least",
            Self::WithinRule => "within_rule",
        }
    }
}

impl DeleteReason {
    /// Every code.
    pub const CODES: [&'static str; 5] =
        ["same_version", "expired", "last_copy_expired", "too_many", "pre_restore_expired"];

    /// Whether the clock, and nothing else, made it go.
    pub const fn is_by_age(&self) -> bool {
        matches!(self, Self::Expired { .. } | Self::LastCopyExpired { .. } | Self::PreRestoreExpired { .. })
    }

    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SameVersion { .. } => "same_version",
            Self::Expired { .. } => "expired",
            Self::LastCopyExpired { .. } => "last_copy_expired",
            Self::TooMany { .. } => "too_many",
            Self::PreRestoreExpired { .. } => "pre_restore_expired",
        }
    }
}

impl FreezeReason {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Recovery => "frozen_recovery",
            Self::LiveSuspect => "frozen_live_suspect",
            Self::ClockSuspect => "frozen_clock_suspect",
            Self::RolledBack => "frozen_rolled_back",
            Self::NewestUnverified => "frozen_newest_unverified",
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep(reason) => write!(f, "keep: {reason}"),
            Self::Delete(reason) => write!(f, "delete: {reason}"),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frozen(reason) => write!(f, "deletion is frozen: {reason}"),
            Self::Pinned => f.write_str("pinned"),
            Self::PreRestore => f.write_str("the state before a restore, not too old yet"),
            Self::Damaged => f.write_str("damaged: never deleted automatically"),
            Self::Unverified => f.write_str("not read back yet"),
            Self::Suspect => f.write_str("suspect content, not too old yet"),
            Self::NewestGood => f.write_str("the newest good backup"),
            Self::NewestCopy { file } => write!(f, "the newest valid copy of {file}"),
            Self::AtLeast { versions: 1 } => f.write_str("the newest good version"),
            Self::AtLeast { versions } => write!(f, "one of the newest {versions} good versions"),
            Self::WithinRule => f.write_str("neither too old nor too many"),
        }
    }
}

impl fmt::Display for DeleteReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameVersion { older } => write!(f, "same content as {older}"),
            Self::Expired { age_days } => write!(f, "superseded {age_days} days ago"),
            Self::LastCopyExpired { age_days, file } => {
                write!(f, "superseded {age_days} days ago; the last copy of {file} goes with it")
            }
            Self::TooMany { max_backups: 1 } => f.write_str("more than 1 version"),
            Self::TooMany { max_backups } => write!(f, "more than {max_backups} versions"),
            Self::PreRestoreExpired { age_days } => write!(f, "the state before a restore {age_days} days ago"),
        }
    }
}

impl fmt::Display for FreezeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recovery => "the mode is recovery",
            Self::LiveSuspect => "the live files are suspect",
            Self::ClockSuspect => "the clock is suspect",
            Self::RolledBack => "the history departed from another: see `fiovana-app timeline`",
            Self::NewestUnverified => "the newest backup has not been read back",
        })
    }
}
