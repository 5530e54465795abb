//! The audit log on the command line.
//!
//! Hazard: a log that can only be checked by the service that writes it is checked by nobody. Proving and showing it need
//! its files and nothing that runs; what is accepted is written by whoever holds the log.

use std::time::Duration;

use super::arguments::TailArguments;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::place::Place;
use super::render;
use crate::actors::problems::chain;
use crate::actors::{AUDIT_LOG, trail};
use crate::api::{AuditPage, AuditQuery};
use crate::daemon;
use crate::repository::Repository;
use crate::settings::Settings;

/// How often a log that is followed is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// Proves the chain.
pub fn verify(settings: &Settings, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let repository = repository(settings, output);
    let replicas = replicas(settings, repository.as_ref(), output);
    let replicas: Vec<&Repository> = replicas.iter().collect();
    let report = trail::verify(&settings.log_directory.join(AUDIT_LOG), repository.as_ref(), &replicas, None)?;
    output.document(&report, render::chain)?;
    Ok(match report.is_whole() {
        false => Exit::Integrity,
        true if report.is_complete() => Exit::Done,
        true => Exit::Problems,
    })
}

/// Shows records.
pub fn tail(arguments: TailArguments, place: &Place, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let TailArguments { follow, event, set, since, after, limit } = arguments;
    let set = set.map(|set| set.to_string());
    let query = AuditQuery { event, set, since, after, limit };
    match place {
        Place::There(remote) => follow_pages(query, follow, output, |query| Ok(remote.audit(query)?)),
        Place::Here(settings) => {
            let path = settings.log_directory.join(AUDIT_LOG);
            let mut repository = repository(settings, output);
            follow_pages(query, follow, output, |query| {
                repository = repository.take().or_else(|| daemon::open_readonly(settings).ok());
                Ok(trail::page(&path, repository.as_ref(), query)?)
            })
        }
    }
}

/// Shows pages as they come; one, unless more are to be followed.
fn follow_pages(
    mut query: AuditQuery,
    follow: bool,
    output: &mut Output<'_>,
    mut page_of: impl FnMut(&AuditQuery) -> Result<AuditPage, Failure>,
) -> Result<Exit, Failure> {
    loop {
        let page = page_of(&query)?;
        for record in &page.records {
            output.document(record, render::record)?;
        }
        if !follow || output.is_closed() {
            return Ok(Exit::Done);
        }
        query = AuditQuery { after: Some(page.next), limit: None, ..query };
        if page.records.is_empty() {
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

/// The repository, for what it remembers of the log; without one there is less to compare with.
fn repository(settings: &Settings, output: &mut Output<'_>) -> Option<Repository> {
    match daemon::open_readonly(settings) {
        Ok(repository) => Some(repository),
        Err(error) => {
            output.message(&chain(&error));
            output.message("the audit log is read without what the repository remembers of it");
            None
        }
    }
}

/// The replicas, for what they remember of the log: whoever rewrote the repository with it may not have reached them.
fn replicas(settings: &Settings, original: Option<&Repository>, output: &mut Output<'_>) -> Vec<Repository> {
    let mut replicas = Vec::new();
    for replica in daemon::open_replicas_readonly(settings) {
        let ours = |replica: &Repository| original.is_none_or(|original| original.id() == replica.id());
        let why = match replica {
            Ok(replica) if ours(&replica) => {
                replicas.push(replica);
                continue;
            }
            Ok(replica) => format!("{} is a replica of another repository", replica.location()),
            Err(error) => chain(&error),
        };
        output.message(&format!("{why}: the audit log is read without what this replica remembers of it"));
    }
    replicas
}
