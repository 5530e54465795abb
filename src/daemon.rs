//! The composition root: the one file that sees everything.
//!
//! Hazard: a service that half started looks alive and protects nothing. Everything that can be refused is refused
//! here, in order, before the first actor runs: settings, the lock, the repository, the port.

mod doors;
pub mod emergency;
mod guard;
pub mod keys;
mod opening;
pub mod owner;
mod signals;
mod switch_user;
mod systemd;
mod twin;
pub mod users;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::actors::problems::chain;
use crate::actors::service::{Caller, Service};
use crate::actors::{self, ACTORS, Role, Running, World};
use crate::api::ReplicaCreated;
use crate::clock::{Clock, SystemClock};
use crate::core::ReplicaName;
use crate::http::{self, Access, Certificate, Entrances, SocketError, TlsError};
use crate::keys::{self as key_files, KeyError};
use crate::private_file::PrivateFileError;
use crate::repository::lock::{Lock, LockError};
use crate::repository::place::refuse_foreign;
use crate::repository::replica::{Replica, ReplicaError};
use crate::repository::{OpenError, Repository};
use crate::settings::{LogFormat, Settings, SettingsErrors, Sources};
use crate::storage::local::Local;
use crate::storage::{Storage, StorageError, StorageErrorKind};
use crate::telemetry::{LoggingError, Metrics, MetricsError, init_logging, warnings_on_standard_error};
use crate::tokens::Tokens;
use opening::Opened;
pub use opening::{Missing, Need};
use owner::OwnerError;
use signals::Signals;
pub use switch_user::keep_memory_private;
use users::UserError;

/// How the daemon is started.
pub struct Options {
    /// Where settings come from.
    pub sources: Sources,
    /// The form of log lines, where the command line says it.
    pub log_format: Option<LogFormat>,
}

/// Why an address cannot be listened on, in words that lead on.
fn unusable(why: &io::Error) -> &'static str {
    match why.kind() {
        io::ErrorKind::AddrInUse => "another program uses this port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        io::ErrorKind::PermissionDenied => "this user may not use this port",
        _ => "it cannot be used",
    }
}

/// Why the service could not run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings are not allowed.
    #[error(transparent)]
    Settings(#[from] SettingsErrors),
    /// The backup directory cannot be used.
    #[error("use the backup directory {} ({})", .0.display(), StorageErrorKind::of(.1).advice())]
    Directory(PathBuf, #[source] io::Error),
    /// The repository belongs to somebody else.
    #[error(transparent)]
    Owner(#[from] OwnerError),
    /// Another process has the repository, or it cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The repository cannot be opened.
    #[error(transparent)]
    Repository(#[from] OpenError),
    /// What makes it a repository is damaged or lost, and is mended by whoever recovers.
    #[error("{0}: run `fiovana-app recover`, or start the service: either mends that")]
    RepositoryDamaged(OpenError),
    /// There is no repository, and there was one, or a replica has it.
    #[error("{}", .0.to_command())]
    RepositoryMissing(Box<Missing>),
    /// There is no repository yet.
    #[error("{}", .0.to_command())]
    NoRepository(Box<Missing>),
    /// No replica of this name is configured.
    #[error("there is no replica {name} in the settings; there are: {known}")]
    UnknownReplica {
        /// What was asked for.
        name: ReplicaName,
        /// Those that are configured.
        known: String,
    },
    /// A replica cannot be used.
    #[error(transparent)]
    Replica(#[from] ReplicaError),
    /// The address is taken, or not ours.
    #[error("listen on {address}: {}; set [http].bind or FIOVANA_HTTP_BIND to another", unusable(.source))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The address of the metrics is taken, or not ours.
    #[error("serve metrics on {address}: {}; set [http].metrics_bind to another", unusable(.source))]
    BindMetrics {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The socket of this machine cannot be had.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// What the API is to be encrypted with cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The API is not on loopback, and there are no tokens to protect it.
    #[error("the API at {0} needs tokens, and the file of them cannot be used")]
    Tokens(SocketAddr, #[source] PrivateFileError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// A user of the settings cannot be made out.
    #[error(transparent)]
    User(#[from] UserError),
    /// Logging failed.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Metrics failed.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The operating system refused something basic.
    #[error("{0}")]
    System(&'static str, #[source] io::Error),
    /// The supervisor died: the process must be started anew.
    #[error("the supervisor died: the process ends, so that it is started anew")]
    SupervisorDied,
}

impl From<Missing> for Failure {
    fn from(missing: Missing) -> Self {
        let make = if missing.is_none_yet() { Self::NoRepository } else { Self::RepositoryMissing };
        make(Box::new(missing))
    }
}

/// Runs the service until it is told to stop (SIGTERM, SIGINT).
pub fn run(options: Options) -> Result<(), Failure> {
    let clock = Arc::new(SystemClock::start());
    let (settings, rejected) = if options.sources.recovery_mode() {
        let salvaged = owner::salvage(&options.sources, false)?;
        init_logging(&salvaged.settings.logging, options.log_format)?;
        salvaged.findings().iter().for_each(|finding| emergency::found(finding));
        (salvaged.settings, salvaged.rejected)
    } else {
        let settings = owner::settings(&options.sources, false)?;
        init_logging(&settings.logging, options.log_format)?;
        (settings, None)
    };
    settings.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let access = users::access(&settings)?;
    settings.unsafe_sources().iter().for_each(|unsafe_source| tracing::warn!("{unsafe_source}"));
    let entrances = doors::open(&settings)?;
    let address = doors::address(&entrances.api)?;
    if !address.ip().is_loopback() && entrances.certificate.is_none() {
        tracing::warn!("the API is served on {address} without encryption: tokens and files can be read on the way");
    }
    let need = if settings.recovery_mode { Need::Emergency } else { Need::Ordinary };
    let Opened { mut lock, repository, mut opening } = opening::open(&settings, clock.as_ref(), Role::Daemon, need)?;
    let commands_at = doors::for_commands(&entrances)?.to_string();
    let system = actix::System::new();
    let signals = system.block_on(async { Signals::watch() })?;
    if let Some(Err(error)) = lock.as_mut().map(|lock| lock.announce(commands_at)) {
        // Commands will say that they cannot reach us; backups go on.
        tracing::warn!("{}", chain(&error));
    }
    let tokens = tokens(&settings, address, lock.is_some())?;
    if opening.missing.is_none() {
        // Where there is none from the start, one that comes is for the next start.
        opening.place = lock.as_ref().and_then(|lock| lock.place(&settings.backup.backup_directory));
    }
    let world = world(settings, Role::Daemon, repository, clock.clone())?.opened(opening);
    if rejected.is_some() {
        world.set_rejected_settings(rejected);
    }
    system.block_on(serve(world, (entrances, access), tokens, clock, options.sources, signals))
}

async fn serve(
    world: World,
    (entrances, access): (Entrances, Access),
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    sources: Sources,
    mut signals: Signals,
) -> Result<(), Failure> {
    let (settings, loaded) = (world.settings(), world.rejected_settings().is_none());
    doors::tell(&entrances)?;
    users::tell(&access);
    let mut running = actors::start(world).await;
    if running.service.mode().name == "recovery" {
        tracing::warn!(
            "recovery mode: nothing is deleted. To see what would be brought back, bring it back and leave this mode, \
             run `fiovana-app recover` in {}",
            std::env::current_dir().unwrap_or_default().display()
        );
    }
    #[cfg(feature = "chaos")]
    actors::chaos::obey_standard_input(running.service.clone());
    let service = running.service.clone();
    let (certificate, open_files) = (entrances.certificate.clone(), doors::raise_open_files());
    let serving =
        http::serve(entrances, open_files, &service, access, tokens, clock, Arc::new(Requests(service.clone())))
            .map_err(|error| Failure::System("serve the API", error))?;
    actix_rt::spawn(guard::watch(running.service.clone(), settings.supervision.heartbeat));
    actix_rt::spawn(guard::watch_place(running.service.clone()));
    if loaded {
        running.keep_settings(&settings).await;
    }
    systemd::ready(&guard::status(&running.service));
    loop {
        tokio::select! {
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
            _ = signals.hangup.recv() => {
                reload(&running, &sources).await;
                certificate.as_ref().inspect(|certificate| renew(certificate));
            }
            _ = &mut running.supervisor => return Err(Failure::SupervisorDied),
        }
    }
    systemd::stopping();
    tracing::info!("stopping: work under way is finished first; interrupt again to stop at once");
    let stop = async {
        running.stop().await;
        serving.stop().await;
    };
    tokio::select! {
        () = stop => {}
        // Whatever is under way is whole or absent at the next start.
        _ = signals.interrupt.recv() => tracing::warn!("stopped at once"),
    }
    Ok(())
}

/// The tokens of the API, made if there are none yet. On loopback the service can do without, and
/// makes none in a backup directory that it cannot use.
fn tokens(settings: &Settings, address: SocketAddr, may_write: bool) -> Result<Tokens, Failure> {
    let tokens = Tokens::at(api_tokens(settings));
    if !may_write && address.ip().is_loopback() {
        return Ok(tokens);
    }
    let prepared = match tokens.prepare() {
        Err(_) if settings.recovery_mode => emergency::replace_tokens(&api_tokens(settings), &tokens),
        prepared => prepared,
    };
    match prepared {
        Ok(()) => {}
        Err(error) if address.ip().is_loopback() => {
            tracing::warn!("calls that need a token are refused: {}", chain(&error));
        }
        Err(error) => return Err(Failure::Tokens(address, error)),
    }
    Ok(tokens)
}

/// Where the tokens of the API are.
pub fn api_tokens(settings: &Settings) -> PathBuf {
    settings.backup.backup_directory.join("state").join("api-tokens")
}

/// Loads the settings anew, from the same file and the variables that this process was started with.
async fn reload(running: &Running, sources: &Sources) {
    systemd::reloading();
    let (from, settings) = (sources.clone(), running.settings());
    match tokio::task::spawn_blocking(move || Settings::load_again(&from, &settings)).await {
        Ok(loaded) => {
            if let Some(settings) = running.reload(loaded, "signal").await {
                running.keep_settings(&settings).await;
            }
        }
        Err(panic) => tracing::error!("the settings were not reloaded: {panic}"),
    }
    systemd::ready(&guard::status(&running.service));
}

/// Reads the certificate anew, from the same files.
fn renew(certificate: &Certificate) {
    match certificate.reload() {
        Ok(()) => tracing::info!("the TLS certificate was read again"),
        Err(error) => tracing::error!("the TLS certificate stays as it was: {}", chain(&error)),
    }
}

struct Requests(Service);

impl http::RequestObserver for Requests {
    fn observed(&self, route: &str, method: &str, status: u16, seconds: f64) {
        self.0.observe_request(route, method, status, seconds);
    }

    fn rejected(&self, caller: &Caller) {
        self.0.rejected(caller);
    }
}

/// The service without schedules and HTTP, for one command, under the repository's lock.
pub fn with_service<T, F>(settings: Settings, need: Need, body: impl FnOnce(Service) -> F) -> Result<T, Failure>
where
    F: Future<Output = T>,
{
    let clock = Arc::new(SystemClock::start());
    let open = || opening::open(&settings, clock.as_ref(), Role::Command, need);
    // What is done about what was found is told as it is done.
    let opened = if need == Need::Emergency { warnings_on_standard_error(open) } else { open() };
    let Opened { lock: _lock, repository, opening } = opened?;
    if opening.missing.is_some() {
        return Err(Missing::look(&settings).into());
    }
    let world = world(settings, Role::Command, repository, clock)?.opened(opening);
    Ok(actix::System::new().block_on(async {
        let running = actors::start(world).await;
        let result = body(running.service.clone()).await;
        running.stop().await;
        result
    }))
}

/// What is known of the repository, if it is not there.
pub fn missing(settings: &Settings) -> Option<Missing> {
    match open_readonly(settings) {
        Err(Failure::RepositoryMissing(missing) | Failure::NoRepository(missing)) => Some(*missing),
        // Whether it can be used is for whoever uses it to say.
        _ => None,
    }
}

/// The repository, to be read: no lock is taken, nothing is written.
pub fn open_readonly(settings: &Settings) -> Result<Repository, Failure> {
    let directory = &settings.backup.backup_directory;
    if !directory.exists() {
        return Err(Missing::look(settings).into());
    }
    match twin::open(settings, storage(directory)?, false) {
        Ok((repository, _)) => {
            // What is not encrypted can be looked at all the same, and the rest says what it lacks.
            repository.set_keys(key_files::salvage(settings, |error| tracing::warn!("{}", chain(error))));
            Ok(repository)
        }
        Err(error) => Err(opening::explain(settings, error)),
    }
}

/// The replicas, to be read: no lock is taken, nothing is written.
pub fn open_replicas_readonly(settings: &Settings) -> impl Iterator<Item = Result<Repository, Failure>> {
    settings.replicas.iter().map(|replica| match Repository::open(storage(&replica.path)?, false) {
        Ok((repository, _)) => {
            repository.set_keys(key_files::salvage(settings, |_| {}));
            Ok(repository)
        }
        Err(OpenError::Absent(_)) => Err(ReplicaError::Absent(replica.path.clone()).into()),
        Err(error) => Err(error.into()),
    })
}

/// Creates a repository where there is none.
pub fn init(settings: &Settings) -> Result<Repository, Failure> {
    let directory = &settings.backup.backup_directory;
    create_directory(directory)?;
    let storage = storage(directory)?;
    refuse_foreign(directory, storage.as_ref())?;
    let lock = Lock::acquire(directory)?;
    match Repository::open(storage.clone(), false) {
        Ok(_) => Err(OpenError::Exists(storage.location()).into()),
        Err(OpenError::Absent(_)) => {
            Repository::create(storage.clone(), SystemClock::start().now())?;
            let (repository, _) = Repository::open(storage, lock.follows_a_crash())?;
            opening::remember(settings, repository.id());
            Ok(repository)
        }
        Err(error) => Err(error.into()),
    }
}

/// Begins a replica where there is none. The service need not be stopped: it finds the replica when it looks again.
pub fn init_replica(name: &ReplicaName, settings: &Settings) -> Result<ReplicaCreated, Failure> {
    let known = || settings.replicas.iter().map(|replica| replica.name.as_str()).collect::<Vec<_>>().join(", ");
    let wanted = settings.replicas.iter().find(|replica| replica.name == *name);
    let wanted = wanted.ok_or_else(|| Failure::UnknownReplica { name: name.clone(), known: known() })?;
    let original = open_readonly(settings)?;
    let replica = match Replica::open(&wanted.path, &original) {
        Err(ReplicaError::Absent(_)) => Replica::create(&wanted.path, &original)?,
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(OpenError::Exists(wanted.path.display().to_string()).into()),
    };
    Ok(ReplicaCreated {
        name: name.clone(),
        path: wanted.path.display().to_string(),
        id: original.id().to_owned(),
        same_disk: replica.shares_disk_with(&original),
    })
}

fn world(settings: Settings, role: Role, repository: Repository, clock: Arc<dyn Clock>) -> Result<World, Failure> {
    let sets: Vec<_> = settings.sets.iter().map(|set| set.name.clone()).collect();
    let metrics = Metrics::new(&sets, &ACTORS)?;
    Ok(World::new(settings, role, repository, clock, metrics))
}

fn create_directory(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|error| {
        let is_something_else = error.kind() == io::ErrorKind::AlreadyExists;
        let error = if is_something_else { io::ErrorKind::NotADirectory.into() } else { error };
        Failure::Directory(directory.to_owned(), error)
    })
}

fn storage(directory: &Path) -> Result<Arc<dyn Storage>, Failure> {
    let open = |error: StorageError| Failure::Directory(directory.to_owned(), error.source);
    Ok(Arc::new(Local::open(directory).map_err(open)?))
}
