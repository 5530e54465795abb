//! What all requests share, and how they have work done.
//!
//! Hazard: actix drops a handler whose client hangs up, in the middle of whatever it awaits, and closes the connection
//! without an answer if it panics. So no work is done in a handler itself: operations run as tasks of their own and
//! questions on blocking threads, both to their end, and a panic in either is an answer like any other.

use std::sync::{Arc, Mutex, PoisonError};

use crate::actors::problems::chain;
use crate::actors::service::Caller;
use crate::api::{Problem, ProblemKind};
use crate::clock::Clock;
use crate::tokens::{Bearer, Tokens};

use super::RequestObserver;
use super::admission::Hosts;
use super::api::Api;
use super::auth::{self, Denial, Need, Rejections, Rule};
use super::jobs::Jobs;
use super::limits::Limits;
use super::shares::{Place, Places, Sharer};
use super::users::LocalUsers;

/// What all requests share.
pub(super) struct Shared<A> {
    pub api: A,
    operations: Arc<Places>,
    downloads: Arc<Places>,
    followers: Arc<Places>,
    waiters: Arc<Places>,
    pub jobs: Arc<Jobs>,
    tokens: Tokens,
    rejections: Mutex<Rejections>,
    pub clock: Arc<dyn Clock>,
    pub observer: Arc<dyn RequestObserver>,
    pub hosts: Hosts,
    pub rule: Rule,
    pub users: Arc<LocalUsers>,
    pub limits: Limits,
}

impl<A: Api> Shared<A> {
    pub fn new(
        api: A,
        tokens: Tokens,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn RequestObserver>,
        (hosts, rule, users): (Hosts, Rule, Arc<LocalUsers>),
        limits: Limits,
    ) -> Self {
        Self {
            api,
            operations: Places::new(limits.operations, "operations are under way"),
            downloads: Places::new(limits.downloads, "files are being handed out"),
            followers: Places::new(limits.followers, "clients follow the events"),
            waiters: Places::new(limits.waiters, "clients wait for a job"),
            jobs: Arc::default(),
            tokens,
            rejections: Mutex::default(),
            clock,
            observer,
            hosts,
            rule,
            users,
            limits,
        }
    }

    /// Who presents `token`, if that may have what is needed; `None` if no token is presented and none needed of a user
    /// who is known or not.
    pub async fn authorise(
        &self,
        token: Option<String>,
        need: Need,
        is_known: bool,
        caller: &Caller,
    ) -> Result<Option<Bearer>, Problem> {
        let bearer = match token {
            None => None,
            Some(token) => Some(self.identify(token).await?.ok_or_else(|| self.reject(caller))?),
        };
        match (auth::decide(need, bearer.as_ref(), is_known, self.rule), bearer) {
            (Ok(()), bearer) => Ok(bearer),
            (Err(Denial::MayOnlyLook), Some(Bearer { name, .. })) => {
                let detail = format!("the token {name} may only look: use one with the right `operate`");
                Err(Problem::new(ProblemKind::Forbidden, detail))
            }
            (Err(_), _) => Err(self.demand_token(need, is_known, caller)),
        }
    }

    /// Tells how a token is come by, or done without. A user of this machine who tried to change something is recorded.
    fn demand_token(&self, need: Need, is_known: bool, caller: &Caller) -> Problem {
        const SEND: &str = "as `Authorization: Bearer TOKEN`";
        if !self.rule.knows_users() {
            // Not where on this machine: who calls may be anywhere.
            let detail =
                format!("this call needs a token: send one of state/api-tokens in the backup directory {SEND}");
            return auth::unauthorized(&detail);
        }
        if !is_known && matches!(need, Need::Change | Need::Content) && self.may_be_recorded(caller) {
            self.observer.rejected(caller);
        }
        let (who, file, owner) = (&caller.principal, self.tokens.path().display(), self.users.name());
        auth::unauthorized(&match (need, is_known) {
            (Need::Content, true) => format!("the content of files needs a token: send one of {file} {SEND}"),
            (Need::Content, false) => format!(
                "the content of files needs a token: send one of {file} {SEND}; {owner} and root can read it: \
                 sudo -u {owner} curl …"
            ),
            _ => format!(
                "{who} is no user whom this service knows, and needs a token: call it as its own user (sudo -u {owner} \
                 curl …), send a token of {file} {SEND}, or let root name the user in [http].trusted_users"
            ),
        })
    }

    async fn identify(&self, token: String) -> Result<Option<Bearer>, Problem> {
        let tokens = self.tokens.clone();
        let looked = actix_rt::task::spawn_blocking(move || tokens.bearer(&token)).await.map_err(|_| broken_off())?;
        looked.map_err(|error| {
            // Told in full to the operator only: the answer goes to somebody who is not known.
            tracing::error!("no token can be checked: {}", chain(&error));
            Problem::new(ProblemKind::Unavailable, "tokens cannot be checked now: the service's log says why")
        })
    }

    /// Lets a user of this machine in who may do everything at its socket, and nobody else.
    pub fn admit_user(&self, uid: Option<u32>, caller: &Caller) -> Result<(), Problem> {
        if uid.is_some_and(|uid| self.users.include(uid)) {
            return Ok(());
        }
        let refused = self.reject(caller);
        Err(match refused.kind {
            ProblemKind::Unauthorized => {
                let detail = "this socket is for the service's own user and root: use the API's address, with a token";
                Problem::new(ProblemKind::Forbidden, detail)
            }
            _ => refused,
        })
    }

    fn reject(&self, caller: &Caller) -> Problem {
        if self.may_be_recorded(caller) {
            self.observer.rejected(caller);
            return auth::unauthorized("the token is not one of those in state/api-tokens in the backup directory");
        }
        Problem::new(ProblemKind::TooManyRequests, "too many wrong tokens were presented: wait a minute")
    }

    /// Whether another rejection of this caller may go to the audit log.
    fn may_be_recorded(&self, caller: &Caller) -> bool {
        let mut rejections = self.rejections.lock().unwrap_or_else(PoisonError::into_inner);
        rejections.count(&caller.principal, self.clock.uptime())
    }

    /// The right of this caller to begin an operation, until it is dropped; refused if too many are under way.
    pub fn admit_operation(&self, caller: &Caller) -> Result<Place, Problem> {
        self.operations.take(self.sharer(caller))
    }

    /// The same for a file to be handed out.
    pub fn admit_download(&self, caller: &Caller) -> Result<Place, Problem> {
        self.downloads.take(self.sharer(caller))
    }

    /// The same for somebody who follows what happens.
    pub fn admit_follower(&self, caller: &Caller) -> Result<Place, Problem> {
        self.followers.take(self.sharer(caller))
    }

    /// The same for somebody who waits for the end of a job.
    pub fn admit_waiter(&self, caller: &Caller) -> Result<Place, Problem> {
        self.waiters.take(self.sharer(caller))
    }

    fn sharer(&self, caller: &Caller) -> Sharer {
        let uid = caller.principal.strip_prefix("uid:").and_then(|uid| uid.parse().ok());
        match uid.is_some_and(|uid| self.users.is_operator(uid)) {
            true => Sharer::Operator,
            false => Sharer::Other(caller.principal.clone()),
        }
    }

    /// Runs an operation to its end, even if whoever asked for it hangs up. Refused if too many are under way.
    pub async fn operate<T, W>(&self, caller: Caller, operation: impl FnOnce(A, Caller) -> W) -> Result<T, Problem>
    where
        T: 'static,
        W: Future<Output = Result<T, Problem>> + 'static,
    {
        let place = self.admit_operation(&caller)?;
        let work = operation(self.api.clone(), caller);
        let task = actix_rt::spawn(async move {
            let _place = place;
            work.await
        });
        task.await.map_err(|_| broken_off())?
    }

    /// Asks something that waits for nothing: it is answered though every thread for what may block waits for a disk.
    pub async fn glance<T: 'static>(&self, question: impl FnOnce(A) -> T + 'static) -> Result<T, Problem> {
        let api = self.api.clone();
        actix_rt::spawn(async move { question(api) }).await.map_err(|_| broken_off())
    }

    /// Asks something that may block.
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(A) -> T + Send + 'static) -> Result<T, Problem> {
        let api = self.api.clone();
        actix_rt::task::spawn_blocking(move || question(api)).await.map_err(|_| broken_off())
    }
}

pub(super) fn broken_off() -> Problem {
    let detail = "the work broke off: the log says where; a backup or restore that was begun is whole or has no effect";
    Problem::new(ProblemKind::Internal, detail)
}
