//! The HTTP front door: the calls of the procedures, on a loopback port.
//!
//! Hazard: a port on loopback is open to every program of the machine and, through a browser, to every web page its
//! users look at; and restoring is a powerful call. So a request is admitted before it is understood (`admission`),
//! everything it may take is bounded (`limits`), who sits there and asks nothing gives way to who does (`connections`),
//! work that was begun is finished whoever hangs up (`shared`), and whatever goes wrong is told as one kind of document
//! (`problem`).
//!
//! What is answered where is on one screen: `routes`. Heads that are no HTTP/1.x, too slow or too large never
//! get this far: actix answers them with a bare 400, 408 or 431 and closes the connection.

mod admission;
mod api;
mod auth;
mod call;
mod connections;
mod entrances;
mod exchange;
mod gate;
mod handlers;
mod jobs;
mod limits;
mod openapi;
mod options;
mod patience;
mod preferences;
mod problem;
mod routes;
mod shared;
mod socket;
mod target;
mod tls;
mod work;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};

use crate::actors::service::{Caller, Service};
use crate::clock::Clock;
use crate::tokens::Tokens;

use self::admission::Hosts;
use self::api::Api;
use self::entrances::{Entrance, serve_at};
use self::limits::Limits;
use self::shared::Shared;

pub use self::entrances::{Entrances, Serving};
pub use self::socket::{Socket, SocketError};
pub use self::tls::{Certificate, TlsError};

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
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, limits::BACKLOG)?;
    Ok(listener)
}

/// Serves `service` at `entrances` from now on, in threads of its own, with as many connections as `open_files`, the most
/// that this process may have, let it. Called within an actix system. Signals are left to the caller. Where the API's
/// address is not on loopback, every call needs one of `tokens`; the metrics' own address needs none.
pub fn serve(
    entrances: Entrances,
    open_files: u64,
    service: &Service,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn RequestObserver>,
) -> io::Result<Serving> {
    let Entrances { api, certificate, commands, socket, metrics } = entrances;
    let limits = Limits::within(open_files);
    let shared = |hosts| {
        let (tokens, clock, observer) = (tokens.clone(), clock.clone(), observer.clone());
        Data::new(Shared::new(service.clone(), tokens, clock, observer, hosts, limits))
    };
    let calls = shared(Hosts::of_api(api.local_addr()?.ip()));
    let mut servers = vec![serve_at([Entrance::of_api(api, certificate)], &calls, api_routes::<Service>(), limits)?];
    let beside: Vec<_> = Entrance::of_commands(commands, socket.as_ref())?;
    if !beside.is_empty() {
        servers.push(serve_at(beside, &calls, api_routes::<Service>(), limits.beside())?);
    }
    if let Some(listener) = metrics {
        let telling = shared(Hosts::of_metrics(listener.local_addr()?.ip()));
        servers.push(serve_at(
            [Entrance::Plain(listener)],
            &telling,
            routes::metrics_alone::<Service>,
            limits.beside(),
        )?);
    }
    Ok(Serving::begin(servers, socket))
}

/// All calls, and the document that describes them.
fn api_routes<A: Api>() -> impl Fn(&mut ServiceConfig) + Clone + Send + 'static {
    let document = Data::new(openapi::document(&routes::calls::<A>()));
    move |config| {
        config.app_data(document.clone());
        routes::routes::<A>(config);
    }
}
