//! The audit log, read: checked as a whole, or shown page by page.
//!
//! Hazard: a chain that is only compared with itself proves nothing. It is held against everything that the repository
//! and its replicas remember of it. Used by the service, and by commands that do without it.

use std::path::Path;

use super::problems::chain;
use crate::api::{AuditPage, AuditQuery, MAX_RECORDS, Problem, ProblemKind};
use crate::audit::{Authenticator, ChainReport, Kept, Known, Trust, Wanted, read_records, verify_chain};
use crate::core::SetName;
use crate::pipeline::audit_trust::{self, head_of, kept_in, known};
use crate::repository::Repository;
use crate::repository::state::Loaded;
use crate::repository::wire::AuditHead;

const DEFAULT_RECORDS: usize = 100;

/// How often a log is looked at that is rotated, or accepted, while it is read.
const MAX_LOOKS: usize = 3;

/// Checks the whole chain of the log at `path` against what the repository and its replicas remember of it, and where it
/// is known to stand.
pub fn verify(
    path: &Path,
    repository: Option<&Repository>,
    replicas: &[&Repository],
    stands: Option<AuditHead>,
) -> Result<ChainReport, Problem> {
    let failed = |error: &dyn std::error::Error| Problem::new(ProblemKind::Internal, chain(error));
    let mut looks = 1;
    loop {
        // In this order: what is remembered now was written before, and what is kept now may be in the log by the time
        // that is read.
        let replicas: Vec<Known> = replicas.iter().map(|replica| known(replica)).collect();
        let mut own = repository.map(known).unwrap_or_default();
        own.anchors.extend(stands.map(head_of));
        let marks = own.marks.clone();
        let kept = kept_of(repository)?;
        let report = verify_chain(path, &kept, &Trust::of(own, &replicas)).map_err(|error| failed(&error))?;
        let is_stale = || repository.is_some_and(|repository| known(repository).marks != marks);
        if report.is_whole() || looks == MAX_LOOKS || !is_stale() {
            return Ok(report);
        }
        looks += 1;
    }
}

/// Tells which records are ours; any, if the repository knows of no key.
fn authenticator(repository: Option<&Repository>) -> Authenticator {
    let key = repository.and_then(|repository| audit_trust::key(repository).ok().and_then(Loaded::value));
    key.and_then(|key| key.authenticator()).unwrap_or_default()
}

/// A page of records.
pub fn page(path: &Path, repository: Option<&Repository>, query: &AuditQuery) -> Result<AuditPage, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_RECORDS);
    if !(1..=MAX_RECORDS).contains(&limit) {
        return Err(Problem::new(ProblemKind::BadRequest, format!("limit is {limit}: give 1 to {MAX_RECORDS}")));
    }
    let set = query.set.as_deref().map(str::parse::<SetName>).transpose();
    let set = set.map_err(|error| Problem::new(ProblemKind::BadRequest, error.to_string()))?;
    let wanted = Wanted { event: query.event.clone(), set, since: query.since, after: query.after, limit };
    let kept = kept_of(repository)?;
    let records = read_records(path, &kept, &wanted, &authenticator(repository))
        .map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))?;
    let next = records.last().map_or(query.after.unwrap_or(0), |record| record.seq);
    Ok(AuditPage { records, next })
}

fn kept_of(repository: Option<&Repository>) -> Result<Vec<Kept>, Problem> {
    let kept = repository.map_or(Ok(vec![]), kept_in);
    kept.map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))
}
