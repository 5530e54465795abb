//! What each command does.
//!
//! Hazard: a command that needs the service where reading would do, so that nothing can be seen while the service
//! hangs. What only reads asks a service that answers, and otherwise reads for itself.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::arguments::{Against, Forgettable, ListArguments, Recovery, Sets};
use super::batch::{Batch, BatchFailure};
use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::output::Output;
use super::place::Place;
use super::progress::Bars;
use super::reader::Reader;
use super::remote::{PATIENCE, Refusal, Remote, RemoteError};
use super::render;
use super::target;
use crate::actors::problems::chain;
use crate::api::{
    AcceptTimelineOptions, BackupDetails, BackupSummary, ForgetOptions, ListQuery, MAX_LIST, Problem, ProblemKind,
    PruneOptions, RepositoryStatus, RestoreOptions,
};
use crate::core::retention::PlanDigest;
use crate::core::secrets::Secrets;
use crate::core::{BackupRef, ReplicaName, SetName};
use crate::daemon::{self, Need};
use crate::repository::lock;
use crate::settings::{Settings, resolved};
use crate::tokens::Tokens;

/// How long whoever listens at the address of the settings may take to show that it is this service.
const SIGN_OF_A_LISTENER: Duration = Duration::from_secs(1);

/// What the service is needed for.
pub enum Work {
    /// Back up.
    Backup(Sets),
    /// Restore in place.
    Restore(SetName, BackupRef, RestoreOptions),
    /// Verify one backup.
    Verify(BackupRef),
    /// Verify every backup.
    VerifyAll,
    /// Show what would become of every backup.
    PrunePlan,
    /// Delete what is due, and the held plan that is confirmed.
    Prune { confirm: Option<PlanDigest>, clear_quarantine: Option<PlanDigest> },
    /// Pin a backup, or take its pin away.
    SetPinned(BackupRef, bool),
    /// Give something up, if it is confirmed.
    Forget(Forgettable, Option<PlanDigest>),
    /// Rehearse the restore of a set.
    Drill(SetName),
    /// Rehearse the restore of every set.
    DrillAll,
    /// Believe the clock.
    AcceptClock,
    /// Show the timelines.
    Timelines,
    /// Say that the newest timeline was seen.
    AcceptTimeline(AcceptTimelineOptions),
    /// Show everything at a glance.
    Status,
    /// Accept what is wrong with the audit log.
    AcceptAudit,
    /// Enter or leave recovery mode.
    Recovery(Recovery),
}

/// Does what needs the service: asks the one that runs, or is it for as long as the work takes.
pub fn work(work: Work, place: Place, output: &mut Output<'_>) -> Result<Exit, Failure> {
    with_client(place, Need::Ordinary, output.bars(), async |client: &Client| perform(work, client, output).await)
}

/// Does what needs the service, which is the one that runs, or this process for as long as it takes.
pub fn with_client<T>(
    place: Place,
    need: Need,
    bars: Bars,
    body: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let remote = match place {
        Place::There(remote) => remote,
        Place::Here(settings) => match reach(&settings)? {
            Some(remote) => remote,
            None => {
                let body = async |service| body(&Client::here(service, bars)).await;
                return daemon::with_service(*settings, need, body)?;
            }
        },
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(Failure::Runtime)?;
    runtime.block_on(body(&Client::there(remote, bars)))
}

/// The service that holds the repository; `None` if nobody does.
pub fn reach(settings: &Settings) -> Result<Option<Remote>, RemoteError> {
    let directory = &settings.backup.backup_directory;
    let Some(holder) = lock::holder(directory) else { return Ok(at_its_address(settings)) };
    let token = Tokens::at(daemon::api_tokens(settings)).own()?;
    Ok(Some(Remote::reach(directory, holder, PATIENCE)?.with_token(token)))
}

/// The service that works with this backup directory and whose lock is not there, for somebody took the directory away
/// beneath it: it is found where the settings say that it listens. Whoever took it for stopped would be a second writer.
fn at_its_address(settings: &Settings) -> Option<Remote> {
    let address = settings.http.bind;
    if address.port() == 0 || settings.http.tls.is_some() {
        return None;
    }
    let host = if address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address.ip() };
    let address = SocketAddr::new(host, address.port());
    TcpStream::connect_timeout(&address, SIGN_OF_A_LISTENER).ok()?;
    let remote = Remote::at(&format!("http://{address}").parse().ok()?, SIGN_OF_A_LISTENER).ok()?;
    let token = Tokens::at(daemon::api_tokens(settings)).own().ok().flatten();
    let remote = remote.with_token(token);
    let location = remote.status().ok()?.repository.location;
    (Path::new(&location) == resolved(&settings.backup.backup_directory)).then_some(remote)
}

/// What can be read without the service: it is asked if it answers, and otherwise mentioned and left alone.
fn read<T>(
    place: &Place,
    output: &mut Output<'_>,
    ask: impl FnOnce(&Remote) -> Result<T, Refusal>,
    look: impl FnOnce(&Reader<'_>) -> Result<T, Problem>,
) -> Result<T, Failure> {
    let settings = match place {
        Place::There(remote) => return Ok(ask(remote)?),
        Place::Here(settings) => settings,
    };
    match reach(settings) {
        Ok(Some(remote)) => return Ok(ask(&remote)?),
        Ok(None) | Err(RemoteError::NoApi { .. }) => {}
        Err(error) => {
            output.message(&chain(&error));
            output.message("reading the repository without it");
        }
    }
    Ok(look(&Reader::open(settings)?)?)
}

async fn perform(work: Work, client: &Client, output: &mut Output<'_>) -> Result<Exit, Failure> {
    match work {
        Work::Backup(Sets::One(set)) => {
            let backup = client.backup(&set).await?;
            output.document(&backup, render::backed_up)?;
            Ok(Exit::of_backup(&backup))
        }
        Work::Backup(Sets::All) => back_up_all(client, output).await,
        Work::Restore(set, reference, options) => {
            let outcome = client.restore(&set, &reference, &options).await?;
            output.document(&outcome, render::restored)?;
            Ok(Exit::of_restore(&outcome))
        }
        Work::Verify(reference) => {
            let outcome = client.verify(&reference).await?;
            output.document(&outcome, render::verified)?;
            Ok(Exit::of_verification(&outcome))
        }
        Work::VerifyAll => verify_all(client, output).await,
        Work::PrunePlan => {
            output.document(&client.prune_plan()?, render::prune_plan)?;
            Ok(Exit::Done)
        }
        Work::Prune { confirm, clear_quarantine } => {
            let [confirm, clear_quarantine] = [confirm, clear_quarantine].map(|digest| Some(digest?.to_string()));
            let outcome = client.prune(&PruneOptions { confirm, clear_quarantine }).await?;
            output.document(&outcome, render::pruned)?;
            Ok(Exit::of_prune(&outcome))
        }
        Work::SetPinned(reference, pinned) => {
            output.document(&client.set_pinned(&reference, pinned).await?, render::pinned)?;
            Ok(Exit::Done)
        }
        Work::Forget(Forgettable(what), confirm) => {
            let options = ForgetOptions { confirm: confirm.map(|digest| digest.to_string()) };
            let outcome = client.forget(&what, &options).await?;
            output.document(&outcome, render::forgotten)?;
            Ok(if outcome.done { Exit::Done } else { Exit::Problems })
        }
        Work::Drill(set) => {
            let outcome = client.drill(&set).await?;
            output.document(&outcome, render::drilled)?;
            Ok(Exit::of_drill(&outcome))
        }
        Work::DrillAll => drill_all(client, output).await,
        Work::AcceptClock => {
            output.document(&client.accept_clock().await?, render::clock_accepted)?;
            Ok(Exit::Done)
        }
        Work::Timelines => {
            output.document(&client.timelines()?, render::timelines)?;
            Ok(Exit::Done)
        }
        Work::AcceptTimeline(options) => {
            output.document(&client.accept_timeline(&options).await?, render::timelines)?;
            Ok(Exit::Done)
        }
        Work::Status => {
            let status = client.status()?;
            output.document(&status, render::status)?;
            if client.is_local() {
                output.message("the service is not running: nothing is backed up on schedule");
            }
            Ok(Exit::of_status(&status))
        }
        Work::AcceptAudit => {
            output.document(&client.accept_audit().await?, render::accepted)?;
            Ok(Exit::Done)
        }
        Work::Recovery(recovery) => {
            let mode = match recovery {
                Recovery::Enter => {
                    output.document(&client.enter_recovery().await?, render::recovery_entered)?;
                    return Ok(Exit::Done);
                }
                Recovery::Exit { acknowledge } => client.exit_recovery(&acknowledge).await?,
                Recovery::Status => {
                    output.document(&client.recovery()?, render::recovery)?;
                    return Ok(Exit::Done);
                }
            };
            output.document(&mode, render::mode)?;
            Ok(Exit::Done)
        }
    }
}

async fn back_up_all(client: &Client, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let enabled = client.status()?.sets.into_iter().filter(|set| set.enabled);
    let mut batch: Batch<BackupDetails> = Batch::new();
    for set in enabled {
        match client.backup(&set.name).await {
            Ok(backup) => {
                output.part(&backup, render::backed_up)?;
                batch.done.push(backup);
            }
            Err(failure) => batch.failed.push(told(&set.name.to_string(), failure, output)?),
        }
    }
    if batch.done.is_empty() && batch.failed.is_empty() {
        return Err(
            Problem::new(ProblemKind::NotFound, "no set is enabled: name one to back it up all the same").into()
        );
    }
    output.document(&batch, |_, _| String::new())?;
    Ok(batch.exit(Exit::of_backup))
}

async fn verify_all(client: &Client, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut batch = Batch::new();
    for backup in every_backup(client)? {
        match client.verify(&backup.id.into()).await {
            Ok(outcome) => {
                output.part(&outcome, render::verified)?;
                batch.done.push(outcome);
            }
            // Retention may have let go of it since the list was made.
            Err(Failure::Problem(problem)) if problem.kind == ProblemKind::NotFound => {
                output.message(&format!("{}: {problem}", backup.id));
            }
            Err(failure) => batch.failed.push(told(&backup.id.to_string(), failure, output)?),
        }
    }
    output.document(&batch, render::verified_all)?;
    Ok(batch.exit(Exit::of_verification))
}

async fn drill_all(client: &Client, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let mut batch = Batch::new();
    for set in client.status()?.sets.into_iter().filter(|set| set.latest.is_some()) {
        match client.drill(&set.name).await {
            Ok(outcome) => {
                output.part(&outcome, render::drilled)?;
                batch.done.push(outcome);
            }
            Err(failure) => batch.failed.push(told(set.name.as_str(), failure, output)?),
        }
    }
    if batch.done.is_empty() && batch.failed.is_empty() {
        return Err(Problem::new(
            ProblemKind::NotFound,
            "no set has a good backup that could be restored: `fiovana-app backup all` makes some",
        )
        .into());
    }
    output.document(&batch, |_, _| String::new())?;
    Ok(batch.exit(Exit::of_drill))
}

fn every_backup(client: &Client) -> Result<Vec<BackupSummary>, Failure> {
    let mut backups = Vec::new();
    let mut query = ListQuery { limit: Some(MAX_LIST), ..ListQuery::default() };
    loop {
        let page = client.list(&query)?;
        backups.extend(page.backups);
        match page.next {
            Some(next) => query.after = Some(next.to_string()),
            None => return Ok(backups),
        }
    }
}

/// A failure that does not keep the rest from being done, told; any other is passed on.
fn told(name: &str, failure: Failure, output: &mut Output<'_>) -> Result<BatchFailure, Failure> {
    match failure {
        Failure::Problem(problem) => {
            output.message(&format!("{name}: {problem}"));
            Ok(BatchFailure { name: name.to_owned(), problem })
        }
        other => Err(other),
    }
}

/// Lists backups.
pub fn list(arguments: ListArguments, place: &Place, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let query = ListQuery {
        set: arguments.set.as_ref().map(ToString::to_string),
        limit: arguments.limit,
        after: arguments.after.as_ref().map(ToString::to_string),
    };
    let page = read(place, output, |remote| remote.list(&query), |reader| reader.list(&query))?;
    output.document(&page, render::list)?;
    Ok(Exit::Done)
}

/// Shows a backup.
pub fn show(reference: &BackupRef, place: &Place, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let backup = read(place, output, |remote| remote.show(reference), |reader| reader.show(reference))?;
    output.document(&backup, render::details)?;
    Ok(Exit::Done)
}

/// Shows what differs. What is here is read here, whether the service runs or not: who may read both sides needs no
/// token.
pub fn diff(before: &BackupRef, after: &Against, place: &Place, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let after = match after {
        Against::Live => None,
        Against::Backup(reference) => Some(reference),
    };
    let differences = match place {
        Place::There(remote) => remote.diff(before, after, Secrets::Hidden)?,
        Place::Here(settings) => Reader::open(settings)?.diff(before, after)?,
    };
    output.document(&differences, render::diff)?;
    if differences.files.iter().any(|file| file.hidden > 0) {
        output.message("(hidden) is a secret: `--show-secrets` shows it, and records that it did");
    }
    Ok(Exit::Done)
}

/// Shows what differs, with the secrets in it. The service, or this process in its place, records it first.
pub fn diff_with_secrets(
    before: &BackupRef,
    after: &Against,
    place: Place,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let after = match after {
        Against::Live => None,
        Against::Backup(reference) => Some(reference),
    };
    let bars = output.bars();
    let differences = with_client(place, Need::Ordinary, bars, async |client: &Client| {
        client.diff_with_secrets(before, after).await
    })?;
    output.document(&differences, render::diff)?;
    Ok(Exit::Done)
}

/// Restores into a directory, without the service.
pub fn restore_to(
    directory: &Path,
    set: &SetName,
    reference: &BackupRef,
    options: &RestoreOptions,
    settings: &Settings,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let directory = std::path::absolute(directory).map_err(Failure::WorkingDirectory)?;
    target::check(&directory, settings)?;
    let outcome = Reader::open(settings)?.with_bars(output.bars()).restore_to(set, reference, options, &directory)?;
    output.document(&outcome, render::restored)?;
    Ok(Exit::of_restore(&outcome))
}

/// Creates the repository.
pub fn init(settings: &Settings, output: &mut Output<'_>) -> Result<Exit, Failure> {
    if lock::holder(&settings.backup.backup_directory).is_none() && at_its_address(settings).is_some() {
        let why =
            "the service runs and works with this backup directory, which was taken away beneath it: stop it first";
        return Err(Problem::new(ProblemKind::Busy, why).into());
    }
    let repository = daemon::init(settings)?;
    let (objects, stored_bytes) = repository.catalogue().object_totals();
    let created = RepositoryStatus {
        location: repository.location(),
        id: repository.id().to_owned(),
        objects: objects as u64,
        stored_bytes,
        free_bytes: repository.free_bytes().ok(),
        earlier: None,
    };
    output.document(&created, render::created)?;
    Ok(Exit::Done)
}

/// Begins a replica.
pub fn init_replica(name: &ReplicaName, settings: &Settings, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let created = daemon::init_replica(name, settings)?;
    output.document(&created, render::replica_created)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests;
