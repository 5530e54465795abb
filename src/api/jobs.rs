//! Long work, as documents.
//!
//! Hazard: work whose answer nobody waited for, and nobody can find again. A job tells how far it is, and then what
//! came of it.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{ApplyOutcome, BackupDetails, DrillOutcome, Problem, PruneOutcome, RestoreOutcome, VerifyOutcome};

/// The name of a job: 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(pub u64);

/// Why a text is no job's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a job is named by 16 hexadecimal digits, as in the Location of the answer that began it")]
pub struct JobIdSyntax;

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for JobId {
    type Err = JobIdSyntax;

    fn from_str(text: &str) -> Result<Self, JobIdSyntax> {
        let well_formed = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(text, 16).ok().filter(|_| well_formed).map(Self).ok_or(JobIdSyntax)
    }
}

impl TryFrom<String> for JobId {
    type Error = JobIdSyntax;

    fn try_from(text: String) -> Result<Self, JobIdSyntax> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.to_string()
    }
}

/// Long work: under way, or done not long ago.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobDocument {
    /// Its name.
    pub id: JobId,
    /// What is done.
    pub operation: JobOperation,
    /// How it stands.
    pub state: JobState,
    /// Who asked for it.
    pub principal: String,
    /// What ties it to the audit log.
    pub correlation_id: String,
    /// When it was begun.
    pub started: DateTime<Utc>,
    /// When it ended; absent while it is under way.
    pub ended: Option<DateTime<Utc>>,
    /// How far it is.
    pub progress: JobProgress,
    /// What came of it, if it succeeded: what the call would have answered. Left out in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<JobResult>)]
    pub result: Option<Box<RawValue>>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What is done in a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobOperation {
    /// A set is backed up.
    Backup,
    /// A backup is read.
    Verify,
    /// A restore is rehearsed.
    Drill,
    /// A backup is restored in place.
    Restore,
    /// A recovery plan is applied.
    Apply,
    /// What is due is deleted.
    Prune,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It is under way, or waits for its turn.
    Running,
    /// It ended, and there is a result.
    Succeeded,
    /// It ended, and there is a problem.
    Failed,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JobProgress {
    /// Bytes that were read or written.
    pub done_bytes: u64,
    /// Bytes that are to be, as far as is known by now; 0 while nothing is known.
    pub total_bytes: u64,
}

/// Jobs: those under way, then those that ended, each newest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobList {
    /// Those under way, and the last that ended.
    pub jobs: Vec<JobDocument>,
}

/// What may come of a job, by its operation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum JobResult {
    /// Of `backup`.
    Backup(BackupDetails),
    /// Of `verify`.
    Verify(VerifyOutcome),
    /// Of `drill`.
    Drill(DrillOutcome),
    /// Of `restore`.
    Restore(RestoreOutcome),
    /// Of `apply`.
    Apply(ApplyOutcome),
    /// Of `prune`.
    Prune(PruneOutcome),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_named_by_16_digits_and_nothing_else() {
        let id = JobId(0xab);
        assert_eq!((id.to_string().as_str(), "00000000000000ab".parse()), ("00000000000000ab", Ok(id)));
        for text in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000ab0", "../../etc/passwd"] {
            assert_eq!(text.parse::<JobId>(), Err(JobIdSyntax), "{text}");
        }
    }
}
