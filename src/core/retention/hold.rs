//! Plans that wait for a person.
//!
//! Hazard: a mistyped setting or a clock that is wrong in a way nobody thought of asks for most of a history at once. Such
//! a plan is not carried out before somebody who has seen it says so, naming it by its digest.

use std::fmt;
use std::str::FromStr;

use super::RetentionPlan;
use crate::core::{BackupId, Digest};

/// Fewer deletions than this are never held for being many.
const FEW: usize = 3;

/// What names a plan: the first 16 hexadecimal digits of the SHA-256 of what it would delete, and why.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PlanDigest(String);

impl PlanDigest {
    /// The digest of everything that is written by `texts`, in order.
    pub fn of(texts: impl IntoIterator<Item = String>) -> Self {
        let text: Vec<String> = texts.into_iter().collect();
        let mut digits = Digest::of(text.join("\n").as_bytes()).to_string();
        digits.truncate(16);
        Self(digits)
    }
}

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is no digest of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plan's digest has 16 hexadecimal digits, as `prune --dry-run` shows them")]
pub struct PlanDigestSyntax;

impl FromStr for PlanDigest {
    type Err = PlanDigestSyntax;

    fn from_str(text: &str) -> Result<Self, PlanDigestSyntax> {
        let fits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if fits { Ok(Self(text.to_owned())) } else { Err(PlanDigestSyntax) }
    }
}

/// Why a plan waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldReason {
    /// It would delete more than half of the set, and more than three backups.
    LargeShare,
    /// It would delete what became too old while the service was away.
    Absence,
    /// `auto_cleanup = false`: nothing is deleted without being told.
    NotAutomatic,
}

impl HoldReason {
    /// A stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::LargeShare => "large_share",
            Self::Absence => "absence",
            Self::NotAutomatic => "not_automatic",
        }
    }
}

/// A plan that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Why.
    pub reason: HoldReason,
    /// How many backups it would delete.
    pub deletions: usize,
    /// Of how many.
    pub backups: usize,
    /// What it is confirmed by.
    pub digest: PlanDigest,
}

impl RetentionPlan {
    /// What names this plan. The same as long as it deletes the same for the same reasons.
    pub fn digest(&self) -> PlanDigest {
        PlanDigest::of(self.deletions().map(|(id, reason)| format!("{id} {}", reason.code())))
    }

    /// Why this plan must wait for a person, if it must.
    pub fn hold(&self, auto_cleanup: bool) -> Option<Hold> {
        let automatic = || (!auto_cleanup && self.deletions().next().is_some()).then_some(HoldReason::NotAutomatic);
        let reason = self.is_large_share(self.deletions().count()).then_some(HoldReason::LargeShare);
        let reason = reason.or_else(|| self.is_by_absence(|_| false).then_some(HoldReason::Absence));
        Some(self.held(reason.or_else(automatic)?))
    }

    /// The same of a plan for a copy, where deletions that were `decided` elsewhere do not count.
    pub fn hold_but_for(&self, decided: impl Fn(BackupId) -> bool) -> Option<Hold> {
        let undecided = self.deletions().filter(|(id, _)| !decided(*id)).count();
        let reason = self.is_large_share(undecided).then_some(HoldReason::LargeShare);
        let reason = reason.or_else(|| self.is_by_absence(decided).then_some(HoldReason::Absence));
        Some(self.held(reason?))
    }

    /// Whether the service was away, and something goes for its age that was not `decided` elsewhere.
    fn is_by_absence(&self, decided: impl Fn(BackupId) -> bool) -> bool {
        self.away && self.deletions().any(|(id, reason)| reason.is_by_age() && !decided(id))
    }

    fn is_large_share(&self, deletions: usize) -> bool {
        deletions > FEW && 2 * deletions > self.decisions.len()
    }

    fn held(&self, reason: HoldReason) -> Hold {
        let (deletions, backups) = (self.deletions().count(), self.decisions.len());
        Hold { reason, deletions, backups, digest: self.digest() }
    }
}
