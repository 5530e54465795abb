//! What happens to every request and every answer.
//!
//! Hazard: an answer that cannot be tied to the audit log, is kept by a cache, or was never counted.

use std::cell::RefCell;
use std::rc::Rc;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};
use futures_util::StreamExt;
use futures_util::stream::poll_fn;

use crate::actors::service::Caller;

use super::api::Api;
use super::connections::{Keeping, UnderWay};
use super::gate::{Asking, Claim, peer};
use super::peers::Peer;
use super::problem::tell;
use super::shared::Shared;
use super::target;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Identifies and counts a request; completes its answer. Who is let in is decided behind the routes ([`super::gate`]).
pub(super) async fn exchange<A: Api>(
    shared: Data<Shared<A>>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let begun = shared.clock.uptime();
    let method = known(request.method());
    let caller = caller(request.request());
    let id = caller.correlation_id.clone();
    request.extensions_mut().insert(Asking(caller));

    let under_way = UnderWay::here();
    let unread = keep_payload(&mut request);

    let response = match target::check(request.request()) {
        Ok(()) => next.call(request).await?,
        Err(problem) => request.error_response(problem),
    };

    let mut response = tell(response, &id);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    let claim = response.request().extensions().get::<Claim>().copied();
    let route = claim.and_then(|claim| claim.0).unwrap_or("unmatched");
    let seconds = shared.clock.uptime().saturating_sub(begun).as_secs_f64();
    shared.observer.observed(route, method, response.status().as_u16(), seconds);
    Ok(response.map_body(|_, body| BoxBody::new(Keeping::new(body, (under_way, unread)))))
}

/// Keeps what is left of the request's body until it was answered. If its end has not come by then, the client did not
/// want it to be read; as long as it is kept, actix closes the connection, where it would otherwise read on for ever.
fn keep_payload(request: &mut ServiceRequest) -> Option<Rc<RefCell<Payload>>> {
    let payload = match request.take_payload() {
        Payload::None => return None,
        payload => Rc::new(RefCell::new(payload)),
    };
    let read = Rc::clone(&payload);
    let stream = poll_fn(move |context| read.borrow_mut().poll_next_unpin(context));
    request.set_payload(Payload::Stream { payload: Box::pin(stream) });
    Some(payload)
}

fn caller(request: &HttpRequest) -> Caller {
    let principal = match (peer(request), request.peer_addr()) {
        (Peer::OfLoopback(None) | Peer::Elsewhere, Some(address)) => format!("http:{}", address.ip()),
        (peer, _) => peer.to_string(),
    };
    Caller { correlation_id: given_id(request).unwrap_or_else(fresh_id), ..Caller::new(principal) }
}

/// The id that the client chose, if it chose one, and one that can stand in a log line as it is.
fn given_id(request: &HttpRequest) -> Option<String> {
    let mut given = request.headers().get_all(REQUEST_ID);
    let (Some(id), None) = (given.next(), given.next()) else { return None };
    let id = id.to_str().ok()?;
    let well_formed = (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    well_formed.then(|| id.to_owned())
}

/// An id that no other request has.
pub(super) fn fresh_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// The method's name, if it is one of HTTP's own: any other would be a new time series for each that is made up.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "other",
    }
}
