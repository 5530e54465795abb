//! The ways in: an address for the API, and beside it one for metrics, a socket of this machine, and a port for its own
//! commands.
//!
//! Hazard: where all come in at one door, a crowd at it keeps out the operator who would send it away, and the metrics
//! that would tell of it. So what is beside the API's address has threads and connections of its own.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use actix_http::{HttpService, Protocol, Request, TlsAcceptorConfig};
use actix_server::{GracefulShutdownSignal, Server, ServerHandle};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, map_config};
use actix_web::body::BoxBody;
use actix_web::dev::{AppConfig, Extensions, Service, ServiceFactory, ServiceResponse, fn_service};
use actix_web::middleware::from_fn;
use actix_web::rt::net::UnixStream;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, Error};
use futures_util::future::join_all;
use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::task::JoinHandle;

use super::api::Api;
use super::connections::{Acquaintance, Bounded, Refusal, peer_here};
use super::exchange;
use super::limits::Limits;
use super::peers::Peers;
use super::shared::Shared;
use super::socket::Socket;
use super::tls::Certificate;

/// Where the service is to be reached: taken, and not yet served.
pub struct Entrances {
    /// The API, at its address.
    pub api: TcpListener,
    /// What it is encrypted with there, if it is.
    pub certificate: Option<Certificate>,
    /// The API for this machine's commands, on loopback, where they cannot speak what is spoken at its address.
    pub commands: Option<TcpListener>,
    /// The API, for this service's own user and root.
    pub socket: Option<Socket>,
    /// The metrics alone.
    pub metrics: Option<TcpListener>,
}

/// One way in.
pub(super) enum Entrance {
    Plain(TcpListener),
    Encrypted(TcpListener, Certificate),
    Local(UnixListener),
}

impl Entrance {
    /// The API's address.
    pub fn of_api(listener: TcpListener, certificate: Option<Certificate>) -> Self {
        match certificate {
            Some(certificate) => Self::Encrypted(listener, certificate),
            None => Self::Plain(listener),
        }
    }

    fn is_on_loopback(&self) -> bool {
        match self {
            Self::Plain(listener) | Self::Encrypted(listener, _) => {
                listener.local_addr().is_ok_and(|address| address.ip().is_loopback())
            }
            Self::Local(_) => false,
        }
    }

    /// What this machine's own commands and users have.
    pub fn of_commands(commands: Option<TcpListener>, socket: Option<&Socket>) -> io::Result<Vec<Self>> {
        let socket = socket.map(Socket::listener).transpose()?;
        Ok(commands.map(Self::Plain).into_iter().chain(socket.map(Self::Local)).collect())
    }
}

/// Everything that is served.
pub struct Serving {
    handles: Vec<ServerHandle>,
    tasks: Vec<JoinHandle<io::Result<()>>>,
    _socket: Option<Socket>,
}

impl Serving {
    /// Begins to serve.
    pub(super) fn begin(servers: Vec<Server>, socket: Option<Socket>) -> Self {
        let handles = servers.iter().map(Server::handle).collect();
        Self { handles, tasks: servers.into_iter().map(actix_rt::spawn).collect(), _socket: socket }
    }

    /// Lets nobody in any more, and waits for the answers under way, at most half a minute.
    pub async fn stop(self) {
        join_all(self.handles.iter().map(|handle| handle.stop(true))).await;
        join_all(self.tasks).await;
    }
}

/// Serves `routes` at all of `entrances`.
pub(super) fn serve_at<A: Api>(
    entrances: impl IntoIterator<Item = Entrance>,
    shared: &Data<Shared<A>>,
    routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
    limits: Limits,
    peers: Option<&Peers>,
) -> io::Result<Server> {
    let mut server = Server::build()
        .workers(limits.workers)
        .max_concurrent_connections(limits.accepted())
        .worker_max_blocking_threads(limits.blocking_threads / limits.workers)
        .shutdown_timeout(limits.shutdown_seconds)
        .disable_signals();
    let stopping = server.graceful_shutdown_signal();
    for entrance in entrances {
        let acquaintance = Acquaintance {
            peers: peers.filter(|_| entrance.is_on_loopback()).cloned(),
            users: Arc::clone(&shared.users),
        };
        let (shared, routes, stopping) = (shared.clone(), routes.clone(), stopping.clone());
        let front = Front { shared, routes, limits, acquaintance, stopping };
        server = match entrance {
            Entrance::Plain(listener) => {
                bound_delivery(&listener, limits)?;
                server.listen("plain", listener, move || front.bounded(front.http().tcp(), Refusal::over_http))?
            }
            Entrance::Encrypted(listener, certificate) => {
                bound_delivery(&listener, limits)?;
                let config = certificate.config()?;
                server.listen("encrypted", listener, move || {
                    let handshake = TlsAcceptorConfig::default().handshake_timeout(limits.head_timeout);
                    let https = front.http().rustls_0_23_with_config(config.clone(), handshake);
                    front.bounded(https, Refusal::silent)
                })?
            }
            Entrance::Local(listener) => server.listen_uds("local", listener, move || {
                let named = fn_service(async |io: UnixStream| Ok((io, Protocol::Http1, None)));
                front.bounded(named.and_then(front.http()), Refusal::over_http)
            })?,
        };
    }
    Ok(server.run())
}

/// Has the kernel give up a connection whose client does not take what it was sent (tcp(7), TCP_USER_TIMEOUT). Whoever
/// comes to this socket has it from there.
fn bound_delivery(listener: &TcpListener, limits: Limits) -> io::Result<()> {
    let milliseconds = u32::try_from(limits.delivery.as_millis()).unwrap_or(u32::MAX);
    Ok(set_tcp_user_timeout(listener, milliseconds)?)
}

/// What is behind an entrance.
struct Front<A: Api, R> {
    shared: Data<Shared<A>>,
    routes: R,
    limits: Limits,
    acquaintance: Acquaintance,
    stopping: GracefulShutdownSignal,
}

impl<A: Api, R: Clone> Clone for Front<A, R> {
    fn clone(&self) -> Self {
        let (shared, routes, stopping) = (self.shared.clone(), self.routes.clone(), self.stopping.clone());
        Self { shared, routes, limits: self.limits, acquaintance: self.acquaintance.clone(), stopping }
    }
}

impl<A: Api, R: Fn(&mut ServiceConfig) + Clone + Send + 'static> Front<A, R> {
    /// HTTP/1.1 over connections of this kind.
    fn http<Io: 'static>(
        &self,
    ) -> HttpService<
        Io,
        impl ServiceFactory<
            Request,
            Config = (),
            Response = ServiceResponse<BoxBody>,
            Error = Error,
            InitError = (),
            Future: 'static,
            Service: Service<Request, Future: 'static>,
        > + use<A, R, Io>,
        BoxBody,
    > {
        let stopping = self.stopping.clone();
        let app = App::new().app_data(self.shared.clone()).app_data(self.limits);
        let app = app.configure(self.routes.clone()).wrap(from_fn(exchange::exchange::<A>));
        HttpService::build()
            .keep_alive(self.limits.keep_alive)
            // A client that closed its side has hung up: programs that mean less by it are rare, and those that gave up many.
            .h1_allow_half_closed(false)
            .client_request_timeout(self.limits.head_timeout)
            .client_disconnect_timeout(self.limits.linger)
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .on_connect_ext(|_: &Io, noted: &mut Extensions| {
                noted.insert(peer_here());
            })
            .finish(map_config(app.into_factory(), |()| AppConfig::default()))
    }

    fn bounded<F>(&self, inner: F, refusal: fn(Arc<dyn Fn() + Send + Sync>) -> Refusal) -> Bounded<F> {
        let observer = Arc::clone(&self.shared.observer);
        let told = Arc::new(move || observer.observed("unmatched", "other", 503, 0.0));
        let most = self.limits.most(self.acquaintance.peers.is_some());
        Bounded { inner, most, acquaintance: self.acquaintance.clone(), refusal: refusal(told) }
    }
}
