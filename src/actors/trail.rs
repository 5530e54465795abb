//! The audit log, read: checked as a whole, or shown page by page.
//!
//! Hazard: a chain that is only compared with itself proves nothing. It is held against every place of it that is
//! remembered in the repository. Used by the service, and by commands that do without it.

use std::path::Path;

use super::auditor::{head_of, kept};
use super::problems::chain;
use crate::api::{AuditPage, AuditQuery, MAX_RECORDS, Problem, ProblemKind};
use crate::audit::{ChainReport, Head, Kept, Wanted, read_records, verify_chain};
use crate::core::SetName;
use crate::repository::Repository;
use crate::repository::wire::AuditHead;

const DEFAULT_RECORDS: usize = 100;

/// Checks the whole chain of the log at `path` against what the repository remembers of it, and what else is `known`.
pub fn verify(path: &Path, repository: Option<&Repository>, known: Vec<AuditHead>) -> Result<ChainReport, Problem> {
    // In this order: what is remembered now was written before, and what is kept now may be in the log by the time that
    // is read.
    let remembered = repository.map_or_else(Vec::new, Repository::audit_anchors);
    let anchors: Vec<Head> = remembered.into_iter().chain(known).map(head_of).collect();
    let kept = kept_in(repository)?;
    verify_chain(path, &kept, &anchors).map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))
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
    let kept = kept_in(repository)?;
    let records =
        read_records(path, &kept, &wanted).map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))?;
    let next = records.last().map_or(query.after.unwrap_or(0), |record| record.seq);
    Ok(AuditPage { records, next })
}

fn kept_in(repository: Option<&Repository>) -> Result<Vec<Kept>, Problem> {
    let kept = repository.map_or(Ok(vec![]), kept);
    kept.map_err(|error| Problem::new(ProblemKind::Internal, chain(&error)))
}
