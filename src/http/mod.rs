//! The HTTP front door: the calls of the procedures, on a loopback port.
//!
//! Hazard: a port on loopback is open to every program of the machine and, through a browser, to every web page its
//! users look at; and restoring is a powerful call. So a request is admitted before it is understood (`admission`),
//! everything it may take is bounded (`limits`), work that was begun is finished whoever hangs up (`shared`), and
//! whatever goes wrong is told as one kind of document (`problem`).
//!
//! What is answered where is on one screen: `routes`. Heads that are no HTTP/1.x never get this far: actix answers
//! them with a bare 400 and closes the connection.

mod admission;
mod api;
mod auth;
mod call;
mod exchange;
mod handlers;
mod jobs;
mod limits;
mod openapi;
mod options;
mod patience;
mod problem;
mod routes;
mod shared;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::dev::Server;
use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};

use crate::actors::service::{Caller, Service};
use crate::clock::Clock;
use crate::tokens::Tokens;

use self::api::Api;
use self::limits::Limits;
use self::shared::Shared;

/// Learns of every request that was answered.
pub trait RequestObserver: Send + Sync + 'static {
    /// A request was answered. `route` is the pattern its path matched, or `unmatched`; `method` is one of HTTP's own,
    /// or `other`: neither can take more than a few values, whatever is sent.
    fn observed(&self, route: &str, method: &str, status: u16, seconds: f64);

    /// A request was turned away that presented a token which is nobody's. Called at most ten times a minute for each
    /// peer.
    fn rejected(&self, caller: &Caller);
}

/// Takes an address, so that its being in use is told before anything else happens. Port 0 takes any free port.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
}

/// Serves `service` on `listener` from now on, in threads of its own. The answer is to be awaited within an actix
/// system; it ends after [`Server::handle`] was told to stop. A graceful stop waits for the answers under way, at most
/// half a minute. Signals are left to the caller. Where `listener` is not on loopback, every call needs one of `tokens`.
pub fn serve(
    listener: TcpListener,
    service: Service,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn RequestObserver>,
) -> io::Result<Server> {
    serve_any(listener, service, tokens, clock, observer, Limits::DEFAULT)
}

fn serve_any<A: Api>(
    listener: TcpListener,
    api: A,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn RequestObserver>,
    limits: Limits,
) -> io::Result<Server> {
    let bound = listener.local_addr()?.ip();
    let shared = Data::new(Shared::new(api, tokens, clock, observer, bound, limits));
    let document = Data::new(openapi::document(&routes::calls::<A>()));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(shared.clone())
            .app_data(document.clone())
            .app_data(limits)
            .configure(routes::routes::<A>)
            .wrap(from_fn(exchange::exchange::<A>))
    });
    let server = server
        .workers(limits.workers)
        .max_connections(limits.connections / limits.workers)
        .worker_max_blocking_threads(limits.blocking_threads / limits.workers)
        .client_request_timeout(limits.head_timeout)
        .keep_alive(limits.keep_alive)
        .shutdown_timeout(limits.shutdown_seconds)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
