//! Who may do what.
//!
//! Hazard: configuration holds secrets and a restore is a powerful call; neither a port that was moved off loopback nor
//! another user of this machine is to have both. On loopback the documented calls need no token of users whom the service
//! knows ([`LocalUsers`]); everybody else needs one but for status and lists, everything off loopback needs one, and the
//! content of files always does. A token that is wrong is refused even where none is needed: a client that sends one
//! means to be known.
//!
//! [`LocalUsers`]: super::users::LocalUsers

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
    /// The right to look, at what names no file.
    Overview,
    /// The right to look, at what names files and their hashes, or tells what was done by whom.
    Details,
    /// The right to change something.
    Change,
    /// The right to see what is in files.
    Content,
}

/// What is needed without a token, by the address that is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// That of the metrics alone: nothing, of anybody.
    Open,
    /// One on loopback: nothing of users who are known, but for content; of others nothing for an overview, perhaps.
    Loopback { open_reading: bool },
    /// Any other: a token of everybody.
    Tokens,
}

impl Rule {
    /// That of the API at this address.
    pub fn at(bound: IpAddr, open_reading: bool) -> Self {
        if bound.is_loopback() { Self::Loopback { open_reading } } else { Self::Tokens }
    }

    /// Whether anything can be changed there.
    pub fn lets_change(self) -> bool {
        !matches!(self, Self::Open)
    }

    /// Whether it matters which user calls.
    pub fn knows_users(self) -> bool {
        matches!(self, Self::Loopback { .. })
    }

    fn allows(self, need: Need, is_known: bool) -> bool {
        match (self, need) {
            (_, Need::Nothing) => true,
            (Self::Tokens, _) | (_, Need::Content) => false,
            (Self::Open, _) => true,
            (Self::Loopback { open_reading }, Need::Overview) => is_known || open_reading,
            (Self::Loopback { .. }, Need::Details | Need::Change) => is_known,
        }
    }
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

/// Why somebody may not have what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// A token is needed, and none was presented.
    TokenNeeded,
    /// That of the token is to look only.
    MayOnlyLook,
}

/// Whether `bearer`, or a user who is known or not, may have what is needed. Who presents a token has its right.
pub(super) fn decide(need: Need, bearer: Option<&Bearer>, is_known: bool, rule: Rule) -> Result<(), Denial> {
    let right = match need {
        Need::Nothing => return Ok(()),
        Need::Overview | Need::Details => Right::Read,
        Need::Change | Need::Content => Right::Operate,
    };
    match bearer {
        Some(bearer) if bearer.right >= right => Ok(()),
        Some(_) => Err(Denial::MayOnlyLook),
        None if rule.allows(need, is_known) => Ok(()),
        None => Err(Denial::TokenNeeded),
    }
}

pub(super) fn unauthorized(detail: &str) -> Problem {
    Problem::new(ProblemKind::Unauthorized, detail)
}

/// Attempts with tokens that are nobody's, and of users who may not, by who made them: the first ones are recorded, the
/// rest are only turned away, or the audit log would be theirs to fill.
#[derive(Debug, Default)]
pub(super) struct Rejections(HashMap<String, Spell>);

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
    pub fn count(&mut self, peer: &str, uptime: Duration) -> bool {
        let is_over = |spell: &Spell| uptime.saturating_sub(spell.begun) >= Self::SPELL;
        if self.0.len() >= Self::PEERS && !self.0.contains_key(peer) {
            self.0.retain(|_, spell| !is_over(spell));
            if self.0.len() >= Self::PEERS {
                return false;
            }
        }
        let spell = self.0.entry(peer.to_owned()).or_insert(Spell { begun: uptime, attempts: 0 });
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

    const NEEDS: [Need; 5] = [Need::Nothing, Need::Overview, Need::Details, Need::Change, Need::Content];

    #[test]
    fn a_token_gives_its_right_wherever_it_is_presented() {
        let (read, operate) = (bearer(Right::Read), bearer(Right::Operate));
        let rules = [Rule::Open, Rule::Tokens, Rule::Loopback { open_reading: true }];
        for (rule, is_known) in rules.into_iter().flat_map(|rule| [(rule, false), (rule, true)]) {
            for need in NEEDS {
                assert_eq!(decide(need, Some(&operate), is_known, rule), Ok(()));
                let may_only_look = matches!(need, Need::Change | Need::Content);
                let expected = if may_only_look { Err(Denial::MayOnlyLook) } else { Ok(()) };
                assert_eq!(decide(need, Some(&read), is_known, rule), expected, "{need:?} {rule:?}");
            }
        }
    }

    #[test]
    fn without_a_token_it_depends_on_the_address_the_user_and_the_call() {
        let (open, closed) = (Rule::Loopback { open_reading: true }, Rule::Loopback { open_reading: false });
        // nothing, overview, details, change, content
        for (rule, is_known, allowed) in [
            (open, true, [true, true, true, true, false]),
            (closed, true, [true, true, true, true, false]),
            (open, false, [true, true, false, false, false]),
            (closed, false, [true, false, false, false, false]),
            (Rule::Tokens, true, [true, false, false, false, false]),
            (Rule::Tokens, false, [true, false, false, false, false]),
            (Rule::Open, false, [true, true, true, true, false]),
        ] {
            for (need, allowed) in NEEDS.into_iter().zip(allowed) {
                let expected = if allowed { Ok(()) } else { Err(Denial::TokenNeeded) };
                assert_eq!(decide(need, None, is_known, rule), expected, "{need:?} {rule:?} {is_known}");
            }
        }
        assert_eq!(Rule::at([127, 0, 0, 2].into(), true), open);
        assert_eq!(Rule::at([0, 0, 0, 0].into(), true), Rule::Tokens);
        assert_eq!(Rule::at([192, 0, 2, 7].into(), false), Rule::Tokens);
    }

    #[test]
    fn a_flood_of_wrong_tokens_is_recorded_ten_times_a_minute_and_remembered_within_bounds() {
        let mut rejections = Rejections::default();
        let peer = "uid:1000";
        let recorded = |rejections: &mut Rejections, seconds| {
            (0..100).filter(|_| rejections.count(peer, Duration::from_secs(seconds))).count()
        };
        assert_eq!(recorded(&mut rejections, 0), 10);
        assert_eq!(recorded(&mut rejections, 59), 0);
        assert_eq!(recorded(&mut rejections, 60), 10);
        for peer in 0..10_000u32 {
            rejections.count(&format!("http:{peer}"), Duration::from_secs(61));
        }
        assert_eq!(rejections.0.len(), Rejections::PEERS);
        assert!(rejections.count("uid:1001", Duration::from_secs(200)));
    }
}
