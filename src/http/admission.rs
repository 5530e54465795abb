//! Who is let in.
//!
//! Hazard: a web page can make its reader's browser send requests to loopback: directly, or by giving its own name
//! this machine's address (DNS rebinding). The first shows in `Origin` or `Sec-Fetch-Site`, which pages cannot forge;
//! the second in `Host`, which then is the page's. Programs send neither header and are not hindered.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, FORWARDED, HOST, HeaderName, ORIGIN, VIA, X_FORWARDED_FOR,
};

use crate::api::{Problem, ProblemKind};

use super::problem::too_large;

// Fetch Metadata Request Headers, W3C: browsers send them, and pages cannot set them.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Says that a program sends this: no page of another site can.
const FIOVANA_REQUEST: HeaderName = HeaderName::from_static("x-fiovana-request");

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The names this service answers to: `localhost`, the loopback addresses and the one it is bound to, at any port, for
/// a port may be forwarded.
pub(super) struct Hosts {
    bound: IpAddr,
    /// Whether whoever gets here may look at all there is, by any name.
    is_public: bool,
}

/// Whether the request may be answered; the problem is the answer if it may not. A bearer of a token may address this
/// service by any name: a page that tricks a browser has no token to send.
pub(super) fn admit(request: &HttpRequest, hosts: &Hosts, has_token: bool, body_bytes: usize) -> Result<(), Problem> {
    let host = addressee(request)?;
    let is_ours = |name: &str| has_token || hosts.include(name);
    if !is_ours(host) || request.uri().authority().is_some_and(|named| !is_ours(named.as_str())) {
        return Err(forbidden(format!("this service does not answer to {host:?}: address it as localhost")));
    }
    if !is_from_here(request, host) && !is_followed_link(request) {
        return Err(forbidden("a page of another site sent this: only its own pages and programs may".to_owned()));
    }
    if announced_bytes(request).is_some_and(|bytes| bytes > body_bytes as u64) {
        return Err(too_large(body_bytes));
    }
    Ok(())
}

/// Refuses a change that a page could have had its reader's browser ask for, where the browser is too old to say so: a form
/// has neither a body of JSON nor headers of its own (Fetch Standard, "CORS-safelisted request-header"). A user of this
/// machine whom the service knows is a program unless the request has an `Origin`, as the procedures' calls have none.
pub(super) fn require_program(request: &HttpRequest, is_known: bool) -> Result<(), Problem> {
    let headers = request.headers();
    let is_json = || {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
    };
    let is_program = request.method().is_safe()
        || is_known && !headers.contains_key(ORIGIN)
        || headers.contains_key(AUTHORIZATION)
        || headers.contains_key(FIOVANA_REQUEST)
        || is_json();
    match is_program {
        true => Ok(()),
        false => Err(forbidden(format!(
            "a page could have sent this: send it as `Content-Type: application/json`, or with a header {FIOVANA_REQUEST}: 1"
        ))),
    }
}

/// The one `Host` that every request of HTTP/1.1 has (RFC 9112, 3.2).
fn addressee(request: &HttpRequest) -> Result<&str, Problem> {
    let mut hosts = request.headers().get_all(HOST);
    match (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) {
        (Some(host), None) => Ok(host),
        _ => Err(Problem::new(ProblemKind::BadRequest, "send one Host header, in ASCII")),
    }
}

impl Hosts {
    /// Those of the API, bound to this address.
    pub fn of_api(bound: IpAddr) -> Self {
        Self { bound, is_public: false }
    }

    /// Those of the metrics, bound to this address: off loopback they are for everybody in that network.
    pub fn of_metrics(bound: IpAddr) -> Self {
        Self { bound, is_public: !bound.is_loopback() }
    }

    /// Whether `authority`, a host with or without a port, is one of them.
    fn include(&self, authority: &str) -> bool {
        if self.is_public {
            return true;
        }
        let Some(host) = without_port(authority) else { return false };
        let address = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(inner) => inner.parse().map(IpAddr::V6),
            None => host.parse().map(IpAddr::V4),
        };
        match address {
            Ok(address) => {
                let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                address == self.bound || loopback.contains(&address)
            }
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The host of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn without_port(authority: &str) -> Option<&str> {
    let end_of_v6 = authority.find(']').map_or(0, |at| at + 1);
    let (host, port) = match authority[end_of_v6..].find(':') {
        Some(colon) => (&authority[..end_of_v6 + colon], &authority[end_of_v6 + colon + 1..]),
        None => (authority, ""),
    };
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(host)
}

/// Whether nothing says that a page of another site is behind this. `Origin` must be ours with its port, as another
/// port of localhost is another site's.
fn is_from_here(request: &HttpRequest, host: &str) -> bool {
    let headers = request.headers();
    let same_origin = headers.get_all(ORIGIN).all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
        authority.eq_ignore_ascii_case(host)
    });
    let same_site = headers.get_all(SEC_FETCH_SITE).all(|site| ["same-origin", "none"].iter().any(|good| site == good));
    same_origin && same_site
}

/// Whether somebody followed a link of another site's page to a document of ours: they see it, and that page does not.
fn is_followed_link(request: &HttpRequest) -> bool {
    let has = |name, value: &str| request.headers().get_all(name).map(|given| given == value).eq([true]);
    request.method().is_safe() && has(SEC_FETCH_MODE, "navigate") && has(SEC_FETCH_DEST, "document")
}

/// Whether a proxy says that it sends this for somebody else (RFC 9110, 7.6.3; RFC 7239; and what was there before).
pub(super) fn is_forwarded(request: &HttpRequest) -> bool {
    [FORWARDED, VIA, X_FORWARDED_FOR, X_REAL_IP].iter().any(|name| request.headers().contains_key(name))
}

/// How long a body was announced.
fn announced_bytes(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn forbidden(detail: String) -> Problem {
    Problem::new(ProblemKind::Forbidden, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_answers_to_loopback_and_its_own_address_only() {
        let hosts = Hosts::of_api("192.0.2.7".parse().unwrap());
        for good in ["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:8080", "[::1]", "[::1]:8080", "192.0.2.7:80"] {
            assert!(hosts.include(good), "{good}");
        }
        for bad in [
            "",
            ":8080",
            "evil.example",
            "localhost.evil.example",
            "localhost.",
            "evil@localhost",
            "localhost:80:80",
            "localhost:8o",
            "127.0.0.2",
            "127.1",
            "0x7f000001",
            "2130706433",
            "0.0.0.0",
            "192.0.2.8",
            "::1",
            "[::1",
            "[::2]",
            "[::ffff:127.0.0.1]",
            "[::1]evil.example",
            "[localhost]",
        ] {
            assert!(!hosts.include(bad), "{bad}");
        }
    }

    #[test]
    fn metrics_have_any_name_off_loopback_only() {
        let (near, far) = (Hosts::of_metrics([127, 0, 0, 1].into()), Hosts::of_metrics([192, 0, 2, 7].into()));
        assert!(far.include("fiovana.example:9469") && !near.include("fiovana.example:9469"));
    }
}
