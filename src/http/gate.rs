//! Who gets through to a route, decided once it is known which.
//!
//! Hazard: a right that is found by how a path is written is gone with the path's next spelling. So every route is wrapped
//! in a gate of its own that knows what the route needs, and stands where actix has already chosen. What no route claims
//! is behind such a gate, too.

use std::future::{Ready, ready};

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest, Route};

use crate::actors::service::Caller;
use crate::api::{Problem, ProblemKind};

use super::admission::{admit, is_forwarded, require_program};
use super::api::Api;
use super::auth::{self, Need};
use super::peers::Peer;
use super::shared::Shared;

/// The pattern of the route that a request came to; none if no route claims its path.
#[derive(Clone, Copy)]
pub(super) struct Claim(pub Option<&'static str>);

/// Somebody who asks for something, and has not been let in yet.
#[derive(Clone)]
pub(super) struct Asking(pub Caller);

/// The route, for whoever may have what `need` says.
pub(super) fn gated<A: Api>(route: Route, pattern: Option<&'static str>, need: Need) -> Route {
    route.wrap(from_fn(move |shared: Data<Shared<A>>, request: ServiceRequest, next: Next<BoxBody>| {
        pass(shared, Claim(pattern), need, request, next)
    }))
}

async fn pass<A: Api>(
    shared: Data<Shared<A>>,
    claim: Claim,
    need: Need,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    request.extensions_mut().insert(claim);
    match let_in(&shared, request.request(), need).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.call(request).await
        }
        Err(problem) => Ok(request.error_response(problem)),
    }
}

/// The caller, by name if a token says it, if the request may be answered.
async fn let_in<A: Api>(shared: &Shared<A>, request: &HttpRequest, need: Need) -> Result<Caller, Problem> {
    let asking = request.extensions().get::<Asking>().cloned();
    let Asking(caller) = asking.ok_or_else(nobody)?;
    let peer = peer(request);
    if let Peer::OfSocket(uid) = peer {
        shared.admit_user(uid, &caller)?;
        admit(request, &shared.hosts, true, shared.limits.body_bytes)?;
        require_program(request, true)?;
        return Ok(caller);
    }
    // Whoever stands behind a proxy is not the user that the proxy runs as.
    let known = peer.uid().filter(|uid| shared.users.include(*uid) && !is_forwarded(request));
    let token = auth::presented(request)?.map(str::to_owned);
    let bearer = shared.authorise(token, need, known.is_some(), &caller).await?;
    admit(request, &shared.hosts, bearer.is_some(), shared.limits.body_bytes)?;
    if shared.rule.lets_change() {
        require_program(request, known.is_some())?;
    }
    Ok(match bearer {
        Some(bearer) => Caller { principal: format!("token:{}", bearer.name), ..caller },
        None => caller,
    })
}

/// Who is at the other end of the request's connection.
pub(super) fn peer(request: &HttpRequest) -> Peer {
    request.conn_data::<Peer>().copied().unwrap_or(Peer::Elsewhere)
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(nobody))
    }
}

fn nobody() -> Problem {
    Problem::new(ProblemKind::Internal, "the request has no caller")
}
