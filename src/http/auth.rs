//! Who may do what.
//!
//! Hazard: configuration holds secrets and a restore is a powerful call; a port that was moved off loopback must not
//! hand both to the network. On loopback the documented calls need no token; anywhere else every call does, and the
//! content of files always does. A token that is wrong is refused even where none is needed: a client that sends one
//! means to be known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use crate::api::{Problem, ProblemKind};
use crate::tokens::{Bearer, Right};

/// What a call needs. Each route says it for its call; what no route claims needs the right to change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: it says only that the service lives.
    Nothing,
    /// The right to look, at what names no file; none on loopback.
    Overview,
    /// The right to look, at what names files, or tells what was done by whom; none on loopback.
    Details,
    /// The right to change something; none on loopback.
    Change,
    /// The right to see what is in files, wherever it is asked for.
    Content,
}

/// The token that a request presents (RFC 6750, 2.1).
pub(super) fn presented(request: &HttpRequest) -> Result<Option<&str>, Problem> {
    let mut given = request.headers().get_all(AUTHORIZATION);
    let header = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(header), None) => header.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => return Err(unauthorized("send one Authorization header")),
    };
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(unauthorized("send the token as `Authorization: Bearer TOKEN`")),
    }
}

/// Whether `bearer` may have what is needed, where tokens are required for everything or for content only.
pub(super) fn decide(need: Need, bearer: Option<&Bearer>, required: bool) -> Result<(), Problem> {
    let right = match need {
        Need::Nothing => return Ok(()),
        Need::Overview | Need::Details => Right::Read,
        Need::Change | Need::Content => Right::Operate,
    };
    match bearer {
        Some(bearer) if bearer.right >= right => Ok(()),
        Some(bearer) => {
            let detail = format!("the token {} may only look: use one with the right `operate`", bearer.name);
            Err(Problem::new(ProblemKind::Forbidden, detail))
        }
        None if required || need == Need::Content => Err(unauthorized(
            "this call needs a token: send one of state/api-tokens in the backup directory as `Authorization: Bearer TOKEN`",
        )),
        None => Ok(()),
    }
}

pub(super) fn unauthorized(detail: &str) -> Problem {
    Problem::new(ProblemKind::Unauthorized, detail)
}

/// Attempts with tokens that are nobody's, by peer: the first ones are recorded, the rest are only turned away, or the
/// audit log would be theirs to fill.
#[derive(Debug, Default)]
pub(super) struct Rejections(HashMap<IpAddr, Spell>);

#[derive(Debug)]
struct Spell {
    begun: Duration,
    attempts: u32,
}

impl Rejections {
    /// How long a peer's attempts count.
    pub const SPELL: Duration = Duration::from_secs(60);
    /// How many in that time are recorded.
    pub const RECORDED: u32 = 10;
    /// The most peers that are remembered.
    const PEERS: usize = 1024;

    /// Counts an attempt at `uptime`; whether it is to be recorded.
    pub fn count(&mut self, peer: IpAddr, uptime: Duration) -> bool {
        let is_over = |spell: &Spell| uptime.saturating_sub(spell.begun) >= Self::SPELL;
        if self.0.len() >= Self::PEERS && !self.0.contains_key(&peer) {
            self.0.retain(|_, spell| !is_over(spell));
            if self.0.len() >= Self::PEERS {
                return false;
            }
        }
        let spell = self.0.entry(peer).or_insert(Spell { begun: uptime, attempts: 0 });
        if is_over(spell) {
            *spell = Spell { begun: uptime, attempts: 0 };
        }
        spell.attempts = spell.attempts.saturating_add(1);
        spell.attempts <= Self::RECORDED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(right: Right) -> Bearer {
        Bearer { name: "someone".into(), right }
    }

    #[test]
    fn content_needs_the_right_to_operate_everywhere_and_the_rest_a_token_off_loopback() {
        let (read, operate) = (bearer(Right::Read), bearer(Right::Operate));
        let kind = |need, bearer, required| decide(need, bearer, required).map_err(|problem| problem.kind);
        for required in [false, true] {
            assert_eq!(kind(Need::Nothing, None, required), Ok(()));
            assert_eq!(kind(Need::Content, None, required), Err(ProblemKind::Unauthorized));
            for need in [Need::Change, Need::Content] {
                assert_eq!(kind(need, Some(&read), required), Err(ProblemKind::Forbidden));
                assert_eq!(kind(need, Some(&operate), required), Ok(()));
            }
            for need in [Need::Overview, Need::Details] {
                assert_eq!(kind(need, Some(&read), required), Ok(()));
            }
        }
        for need in [Need::Overview, Need::Details, Need::Change] {
            assert_eq!(kind(need, None, false), Ok(()));
            assert_eq!(kind(need, None, true), Err(ProblemKind::Unauthorized));
        }
    }

    #[test]
    fn a_flood_of_wrong_tokens_is_recorded_ten_times_a_minute_and_remembered_within_bounds() {
        let mut rejections = Rejections::default();
        let peer = IpAddr::from([192, 0, 2, 1]);
        let recorded = |rejections: &mut Rejections, seconds| {
            (0..100).filter(|_| rejections.count(peer, Duration::from_secs(seconds))).count()
        };
        assert_eq!(recorded(&mut rejections, 0), 10);
        assert_eq!(recorded(&mut rejections, 59), 0);
        assert_eq!(recorded(&mut rejections, 60), 10);
        for peer in 0..10_000u32 {
            rejections.count(IpAddr::from(peer.to_be_bytes()), Duration::from_secs(61));
        }
        assert_eq!(rejections.0.len(), Rejections::PEERS);
        assert!(rejections.count(IpAddr::from([198, 51, 100, 1]), Duration::from_secs(200)));
    }
}
