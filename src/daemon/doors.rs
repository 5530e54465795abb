//! Every way in, taken before anything else happens.
//!
//! Hazard: a service that is up, and not where its clients look for it. What the settings ask for is there or the start
//! fails; in an emergency what cannot be had is said and done without, and nothing that was to be encrypted is then
//! shown to the network.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{Failure, emergency};
use crate::actors::problems::chain;
use crate::http::{self, Certificate, Entrances, Socket};
use crate::repository::lock::{LockError, holder};
use crate::settings::Settings;

/// The most files that this process asks to have open.
const MOST_OPEN_FILES: u64 = 65_536;

/// Takes every address. The API's comes first: where that fails, nothing was created yet.
pub fn open(settings: &Settings) -> Result<Entrances, Failure> {
    let wanted = &settings.http;
    let (certificate, bind_at) = match wanted.tls.as_ref().map(Certificate::load).transpose() {
        Err(error) if settings.recovery_mode => {
            emergency::found(&format!("{}: the API is on loopback only, not encrypted", chain(&error)));
            (None, (Ipv4Addr::LOCALHOST, wanted.bind.port()).into())
        }
        loaded => (loaded?, wanted.bind),
    };
    let api = listen(bind_at, settings)?;
    let commands = certificate.is_some().then(|| bind((Ipv4Addr::LOCALHOST, 0).into())).transpose()?;
    let socket = wanted.unix_socket.as_deref().map(|path| Ok(Socket::bind(path)?));
    let metrics = wanted
        .metrics_bind
        .map(|address| http::bind(address).map_err(|source| Failure::BindMetrics { address, source }));
    Ok(Entrances {
        api,
        certificate,
        commands,
        socket: or_without(socket, settings)?,
        metrics: or_without(metrics, settings)?,
    })
}

/// What was asked for; in an emergency nothing, if it cannot be had.
fn or_without<T>(asked: Option<Result<T, Failure>>, settings: &Settings) -> Result<Option<T>, Failure> {
    match asked.transpose() {
        Err(failure) if settings.recovery_mode => {
            emergency::found(&chain(&failure));
            Ok(None)
        }
        had => had,
    }
}

/// Where this machine's commands reach the service.
pub fn for_commands(entrances: &Entrances) -> Result<SocketAddr, Failure> {
    address(entrances.commands.as_ref().unwrap_or(&entrances.api))
}

/// Where a listener is.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener.local_addr().map_err(|error| Failure::System("tell the port", error))
}

/// Says where the service is to be reached.
pub fn tell(entrances: &Entrances) -> Result<(), Failure> {
    let api = address(&entrances.api)?;
    match entrances.certificate {
        Some(_) => {
            tracing::info!("listening on https://{api}; for commands of this machine on {}", for_commands(entrances)?);
        }
        None => tracing::info!("listening on http://{api}"),
    }
    if let Some(socket) = &entrances.socket {
        tracing::info!("listening on {}", socket.path().display());
    }
    if let Some(metrics) = &entrances.metrics {
        tracing::info!("metrics are at http://{}/metrics", address(metrics)?);
    }
    Ok(())
}

/// The address of the settings, or another one in an emergency. If it is another instance of this service that has it,
/// that is said.
fn listen(address: SocketAddr, settings: &Settings) -> Result<TcpListener, Failure> {
    bind(address).or_else(|refused| match holder(&settings.backup.backup_directory) {
        Some(holder) => Err(Failure::Lock(LockError::Held(Some(holder)))),
        None if settings.recovery_mode => emergency::listen(address),
        None => Err(refused),
    })
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    http::bind(address).map_err(|source| Failure::Bind { address, source })
}

/// How many files this process may have open, once it has asked for more: connections are files, and what is left for
/// them by default is little.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(MOST_OPEN_FILES).min(MOST_OPEN_FILES);
    let current = limit.current.unwrap_or(most);
    if current >= most {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum }) {
        Ok(()) => most,
        Err(_) => current,
    }
}
