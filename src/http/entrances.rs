//! The ways in: an address for the API, and beside it one for metrics, a socket of this machine, and a port for its own
//! commands.
//!
//! Hazard: where all come in at one door, a crowd at it keeps out the operator who would send it away, and the metrics
//! that would tell of it. So what is beside the API's address has threads and connections of its own.

use std::any::Any;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use actix_web::dev::{Extensions, Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::rt::net::UnixStream;
use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer};
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::api::Api;
use super::exchange;
use super::limits::Limits;
use super::shared::Shared;
use super::socket::{LocalUser, Socket};
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
) -> io::Result<Server> {
    let shared = shared.clone();
    let app = move || {
        let app = App::new().app_data(shared.clone()).app_data(limits);
        app.configure(routes.clone()).wrap(from_fn(exchange::exchange::<A>))
    };
    let mut server = HttpServer::new(app)
        .workers(limits.workers)
        .max_connections(limits.connections / limits.workers)
        .worker_max_blocking_threads(limits.blocking_threads / limits.workers)
        .client_request_timeout(limits.head_timeout)
        .tls_handshake_timeout(limits.head_timeout)
        .keep_alive(limits.keep_alive)
        .shutdown_timeout(limits.shutdown_seconds)
        .on_connect(note_user)
        .disable_signals();
    for entrance in entrances {
        server = match entrance {
            Entrance::Plain(listener) => server.listen(listener)?,
            Entrance::Encrypted(listener, certificate) => server.listen_rustls_0_23(listener, certificate.config()?)?,
            Entrance::Local(listener) => server.listen_uds(listener)?,
        };
    }
    Ok(server.run())
}

/// Notes who is at the other end, where the machine knows it.
fn note_user(connection: &dyn Any, noted: &mut Extensions) {
    if let Some(stream) = connection.downcast_ref::<UnixStream>() {
        noted.insert(LocalUser(stream.peer_cred().ok().map(|peer| peer.uid())));
    }
}
