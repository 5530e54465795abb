//! The audit log.
//!
//! Hazard: a log that two programs rotate loses records between them. We rotate only where we are told that we are the
//! only one who writes there.

use std::time::Duration;

use super::document::Section;
use super::origin::{Ledger, prevailing};
use super::stated::Stated;
use super::values::{flag, time, whole};

/// The audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Whether nobody else writes to the log, so that it is ours to rotate.
    pub sole_writer: bool,
    /// How large the log grows before we rotate it, in MiB.
    pub rotate_size_mb: u64,
    /// How many rotated files stay.
    pub keep_files: u32,
    /// How often the whole chain is checked.
    pub check_interval: Duration,
}

/// What was said in `[audit]`.
pub(super) struct StatedAudit {
    sole_writer: Stated<bool>,
    rotate_size_mb: Stated<u64>,
    keep_files: Stated<u32>,
    check_interval: Stated<Duration>,
}

impl StatedAudit {
    /// Reads the section.
    pub fn read(section: &mut Section) -> Self {
        let interval = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
        Self {
            sole_writer: section.take("sole_writer", flag),
            rotate_size_mb: section.take("rotate_size_mb", whole(1..=1_000_000)),
            keep_files: section.take("keep_files", whole(1..=1000)),
            check_interval: section.take("check_interval", time(interval)),
        }
    }

    /// What holds.
    pub fn decide(&self, ledger: &mut Ledger) -> AuditSettings {
        let interval = prevailing(&[&self.check_interval], Duration::from_secs(3600));
        AuditSettings {
            sole_writer: ledger.note("audit.sole_writer", prevailing(&[&self.sole_writer], false)),
            rotate_size_mb: ledger.note("audit.rotate_size_mb", prevailing(&[&self.rotate_size_mb], 64)),
            keep_files: ledger.note("audit.keep_files", prevailing(&[&self.keep_files], 10)),
            check_interval: ledger.note("audit.check_interval", interval),
        }
    }
}
