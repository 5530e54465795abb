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
mod peers;
mod preferences;
mod problem;
mod routes;
mod shared;
mod shares;
mod socket;
mod target;
mod tls;
mod users;
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
use self::auth::Rule;
use self::entrances::{Entrance, serve_at};
use self::limits::Limits;
use self::peers::Peers;
use self::shared::Shared;

pub use self::entrances::{Entrances, Serving};
pub use self::socket::{Socket, SocketError};
pub use self::tls::{Certificate, TlsError};
pub use self::users::LocalUsers;

/// Learns of every request that was answered.
pub trait RequestObserver: Send + Sync + 'static {
    /// A request was answered. `route` is the pattern its path matched, or `unmatched`; `method` is one of HTTP's own,
    /// or `other`: neither can take more than a few values, whatever is sent.
    fn observed(&self, route: &str, method: &str, status: u16, seconds: f64);

    /// A request was turned away: it presented a token that is nobody's, or came from a user of this machine whom the
    /// service does not know and who wanted to change something or see what is in files. Called at most ten times a minute
    /// for each user and address.
    fn rejected(&self, caller: &Caller);
}

/// Takes an address, so that its being in use is told before anything else happens. Port 0 takes any free port.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, limits::BACKLOG)?;
    Ok(listener)
}

/// What is asked of whoever calls on loopback.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who needs no token for the documented calls.
    pub users: LocalUsers,
    /// Whether everybody else may look at status and lists without one.
    pub open_reading: bool,
}

/// Serves `service` at `entrances` from now on, in threads of its own, with as many connections as `open_files`, the most
/// that this process may have, let it. Called within an actix system. Signals are left to the caller. On loopback
/// `access` says who needs one of `tokens`; at any other address of the API every call does, and at the metrics' own none.
pub fn serve(
    entrances: Entrances,
    open_files: u64,
    service: &Service,
    access: Access,
    tokens: Tokens,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn RequestObserver>,
) -> io::Result<Serving> {
    let Entrances { api, certificate, commands, socket, metrics } = entrances;
    let limits = Limits::within(open_files);
    let users = Arc::new(access.users);
    let shared = |hosts, rule| {
        let (tokens, clock, observer) = (tokens.clone(), clock.clone(), observer.clone());
        let admission = (hosts, rule, Arc::clone(&users));
        Data::new(Shared::new(service.clone(), tokens, clock, observer, admission, limits))
    };
    let peers = Peers::of_this_machine((limits.accepted() + limits.beside().accepted()) * limits.workers)?;
    let bound = api.local_addr()?.ip();
    let calls = shared(Hosts::of_api(bound), Rule::at(bound, access.open_reading));
    let entrance = [Entrance::of_api(api, certificate)];
    let mut servers = vec![serve_at(entrance, &calls, api_routes::<Service>(), limits, Some(&peers))?];
    let beside: Vec<_> = Entrance::of_commands(commands, socket.as_ref())?;
    if !beside.is_empty() {
        servers.push(serve_at(beside, &calls, api_routes::<Service>(), limits.beside(), Some(&peers))?);
    }
    if let Some(listener) = metrics {
        let telling = shared(Hosts::of_metrics(listener.local_addr()?.ip()), Rule::Open);
        let entrance = [Entrance::Plain(listener)];
        servers.push(serve_at(entrance, &telling, routes::metrics_alone::<Service>, limits.beside(), None)?);
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
