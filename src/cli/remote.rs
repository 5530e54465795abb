//! The service in another process, through its API.
//!
//! Hazards: a service that hangs must not hang its operators too; a proxy from the environment must not get a local
//! call to see; and work whose answer was lost may have been done all the same. A service is asked for a sign of life
//! first, proxies are never used, and what is unknown is said to be.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestBuilder};

use super::url::ServiceUrl;

use crate::api::{
    AcceptOutcome, ApplyOptions, ApplyOutcome, AuditPage, AuditQuery, BackupDetails, BackupList, DiffDocument,
    DrillOutcome, ForgetOptions, ForgetOutcome, ListQuery, ModeDocument, PlanDocument, PlanOptions, Problem,
    ProblemKind, PruneOptions, PruneOutcome, PrunePlan, RecoveryDocument, RestoreOptions, RestoreOutcome, Status,
    VerifyOutcome,
};
use crate::core::{BackupRef, SetName};
use crate::private_file::PrivateFileError;
use crate::repository::lock::Holder;

/// How long a service may take to connect to, and to answer what it need not work for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// The longest answer that can be a sign of life.
const MAX_SIGN_BYTES: u64 = 1024;

/// Why a service could not be asked, or its answer not be had.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The repository is in use by a process that takes no questions.
    #[error(
        "{} is in use by process {pid} on {host}, which has no API: wait until it is done, or stop it: kill {pid}",
        .directory.display()
    )]
    NoApi {
        /// The repository.
        directory: PathBuf,
        /// The process.
        pid: u32,
        /// Its host.
        host: String,
    },
    /// The service gives no sign of life.
    #[error(
        "process {pid} on {host} holds {} and does not answer at {api} within {patience:?}: \
         look at its log; if it hangs, stop it (kill {pid}) and try again",
        .directory.display()
    )]
    Silent {
        /// The repository.
        directory: PathBuf,
        /// The process.
        pid: u32,
        /// Its host.
        host: String,
        /// Where it said it listens.
        api: String,
        /// How long it was given.
        patience: Duration,
        /// What happened instead of an answer.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// Nothing answers at an address.
    #[error("nothing answers at {url}: see that the service runs there, and listens where this machine can reach it")]
    Unreachable {
        /// The address.
        url: ServiceUrl,
        /// What happened instead of an answer.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// No encrypted connection could be agreed on.
    #[error(
        "no trusted connection to {url}: if its certificate is not known here, name the file with its issuer's in \
         SSL_CERT_FILE; if it speaks plain HTTP, write http://"
    )]
    Untrusted {
        /// The address.
        url: ServiceUrl,
        /// What is wrong.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// Something else answers at an address.
    #[error(
        "what answers at {url} is no fiovana-app (GET /healthz: {status}): check the address, its path and its port"
    )]
    Stranger {
        /// The address.
        url: ServiceUrl,
        /// The HTTP status.
        status: u16,
    },
    /// The service did not answer this time.
    #[error("{peer} gave no answer: what was asked may have been done or not, see fiovana-app status")]
    Lost {
        /// The service.
        peer: Peer,
        /// What happened instead.
        #[source]
        cause: Box<ureq::Error>,
    },
    /// The tokens of the API cannot be used.
    #[error(transparent)]
    Tokens(#[from] PrivateFileError),
    /// The answer is no document of this version.
    #[error("{peer} answered {status} with something else than was expected: is it of another version?")]
    Foreign {
        /// The service.
        peer: Peer,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        #[source]
        cause: serde_json::Error,
    },
}

/// A service, as operators know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A process on this machine.
    Process(u32),
    /// Whoever answers at this address.
    Url(ServiceUrl),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Url(url) => write!(f, "the service at {url}"),
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The service said no.
    #[error(transparent)]
    Problem(#[from] Problem),
    /// There was no answer.
    #[error(transparent)]
    Remote(#[from] RemoteError),
}

type Answer<T> = Result<T, Refusal>;

/// A service that answers.
#[derive(Clone, Debug)]
pub struct Remote {
    agent: Agent,
    base: ServiceUrl,
    peer: Peer,
    patience: Duration,
    /// What goes into `Authorization`.
    authorization: Option<String>,
}

#[derive(Serialize)]
struct Acknowledgement<'a> {
    acknowledge: &'a [String],
}

impl Remote {
    /// The service that holds the repository in `directory`, once it has given a sign of life. It gets as much `patience`
    /// for that, and for every answer that it need not work for.
    pub fn reach(directory: &Path, holder: Holder, patience: Duration) -> Result<Self, RemoteError> {
        let Holder { pid, host, api } = holder;
        let directory = directory.to_owned();
        let Some(api) = api else { return Err(RemoteError::NoApi { directory, pid, host }) };
        let silent = |api, cause| RemoteError::Silent { directory, pid, host, api, patience, cause: Box::new(cause) };
        let Ok(base) = format!("http://{api}").parse() else {
            let cause = ureq::Error::BadUri(api.clone());
            return Err(silent(api, cause));
        };
        let remote = Self::new(base, Peer::Process(pid), patience);
        match remote.sign_of_life() {
            Ok(_) => Ok(remote),
            Err(cause) => Err(silent(api, cause)),
        }
    }

    /// The service at this address, once it has given a sign of life.
    pub fn at(url: &ServiceUrl, patience: Duration) -> Result<Self, RemoteError> {
        let remote = Self::new(url.clone(), Peer::Url(url.clone()), patience);
        let url = url.clone();
        match remote.sign_of_life() {
            Ok((200, text)) if text.trim() == "ok" => Ok(remote),
            Ok((status, _)) => Err(RemoteError::Stranger { url, status }),
            Err(cause) if is_tls(&cause) => Err(RemoteError::Untrusted { url, cause: Box::new(cause) }),
            Err(cause) => Err(RemoteError::Unreachable { url, cause: Box::new(cause) }),
        }
    }

    fn new(base: ServiceUrl, peer: Peer, patience: Duration) -> Self {
        // What the machine trusts, where nothing else is named in SSL_CERT_FILE.
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .proxy(None)
            .tls_config(tls)
            .max_redirects(0)
            // One that was kept may be gone, and a call on it would look like lost work.
            .max_idle_connections(0)
            .http_status_as_error(false)
            .timeout_connect(Some(patience))
            .build();
        Self { agent: Agent::new_with_config(config), base, peer, patience, authorization: None }
    }

    /// The status and the beginning of the text of a call that needs no token and no work.
    fn sign_of_life(&self) -> Result<(u16, String), ureq::Error> {
        let request = self.agent.get(self.base.join("/healthz"));
        let mut response = request.config().timeout_global(Some(self.patience)).build().call()?;
        // A text of another kind or length is nobody's sign of life.
        let text = response.body_mut().with_config().limit(MAX_SIGN_BYTES).read_to_string().unwrap_or_default();
        Ok((response.status().as_u16(), text))
    }

    /// The same, asking as the bearer of `token`.
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { authorization: token.map(|token| format!("Bearer {token}")), ..self }
    }

    /// Backs up a set now.
    pub fn backup(&self, set: &SetName) -> Answer<BackupDetails> {
        self.post(&format!("/api/backup/{set}"))
    }

    /// Rehearses the restore of a set.
    pub fn drill(&self, set: &SetName) -> Answer<DrillOutcome> {
        self.post(&format!("/api/drill/{set}"))
    }

    /// A page of backups, newest first.
    pub fn list(&self, query: &ListQuery) -> Answer<BackupList> {
        let limit = query.limit.map(|limit| limit.to_string());
        let parameters = [("set", query.set.clone()), ("limit", limit), ("after", query.after.clone())];
        self.get("/api/backup/list", parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }

    /// Everything about a backup.
    pub fn show(&self, reference: &BackupRef) -> Answer<BackupDetails> {
        self.get(&format!("/api/backup/{reference}"), [])
    }

    /// Reads a backup, whole.
    pub fn verify(&self, reference: &BackupRef) -> Answer<VerifyOutcome> {
        self.post(&format!("/api/backup/{reference}/verify"))
    }

    /// Restores a backup in place.
    pub fn restore(&self, set: &SetName, reference: &BackupRef, options: &RestoreOptions) -> Answer<RestoreOutcome> {
        self.post_json(&format!("/api/recovery/{set}/{reference}"), options)
    }

    /// Believes the clock, whatever contradicts it.
    pub fn accept_clock(&self) -> Answer<ModeDocument> {
        self.post("/api/clock/accept")
    }

    /// What would become of every backup.
    pub fn prune_plan(&self) -> Answer<PrunePlan> {
        self.get("/api/prune", [])
    }

    /// Deletes what is due, and what is confirmed.
    pub fn prune(&self, options: &PruneOptions) -> Answer<PruneOutcome> {
        self.post_json("/api/prune", options)
    }

    /// Pins a backup, or takes its pin away.
    pub fn set_pinned(&self, reference: &BackupRef, pinned: bool) -> Answer<BackupDetails> {
        let url = self.base.join(&format!("/api/backup/{reference}/pin"));
        self.answer(match pinned {
            true => self.signed(self.agent.put(url)).send_empty(),
            false => self.signed(self.agent.delete(url)).call(),
        })
    }

    /// Gives something up, if that is confirmed.
    pub fn forget(&self, what: &str, options: &ForgetOptions) -> Answer<ForgetOutcome> {
        self.post_json(&format!("/api/backup/{what}/forget"), options)
    }

    /// What differs from what is live there, or from another backup. Reading both takes as long as it takes.
    pub fn diff(&self, before: &BackupRef, after: Option<&BackupRef>) -> Answer<DiffDocument> {
        let against = after.map_or_else(|| "live".to_owned(), ToString::to_string);
        let url = self.base.join(&format!("/api/backup/{before}/diff"));
        self.answer(self.signed(self.agent.get(url)).query("against", against).call())
    }

    /// A page of audit records.
    pub fn audit(&self, query: &AuditQuery) -> Answer<AuditPage> {
        let AuditQuery { event, set, since, after, limit } = query;
        let parameters = [
            ("event", event.clone()),
            ("set", set.clone()),
            ("since", since.map(|since| since.to_rfc3339())),
            ("after", after.map(|after| after.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.get("/api/audit", parameters.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }

    /// Everything at a glance.
    pub fn status(&self) -> Answer<Status> {
        self.get("/api/status", [])
    }

    /// The mode, and what would be done.
    pub fn recovery(&self) -> Answer<RecoveryDocument> {
        self.get("/api/recovery", [])
    }

    /// Plans what would be restored.
    pub fn plan(&self, options: &PlanOptions) -> Answer<PlanDocument> {
        self.post_json("/api/recovery/plan", options)
    }

    /// Applies a plan.
    pub fn apply(&self, options: &ApplyOptions) -> Answer<ApplyOutcome> {
        self.post_json("/api/recovery/apply", options)
    }

    /// Accepts what is wrong with the audit log.
    pub fn accept_audit(&self) -> Answer<AcceptOutcome> {
        self.post("/api/audit/accept")
    }

    /// Enters recovery mode.
    pub fn enter_recovery(&self) -> Answer<ModeDocument> {
        self.post("/api/recovery/enter")
    }

    /// Leaves recovery mode.
    pub fn exit_recovery(&self, acknowledge: &[String]) -> Answer<ModeDocument> {
        self.post_json("/api/recovery/exit", &Acknowledgement { acknowledge })
    }

    fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Answer<T> {
        let request = self.signed(self.agent.get(self.base.join(path))).query_pairs(parameters);
        self.answer(request.config().timeout_global(Some(self.patience)).build().call())
    }

    /// Asks for work, which takes as long as it takes.
    fn post<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.answer(self.signed(self.agent.post(self.base.join(path))).send_empty())
    }

    fn post_json<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Answer<T> {
        self.answer(self.signed(self.agent.post(self.base.join(path))).send_json(body))
    }

    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// The document that was answered, or the problem.
    fn answer<T: DeserializeOwned>(&self, answered: Result<Response<Body>, ureq::Error>) -> Answer<T> {
        let lost = |cause| RemoteError::Lost { peer: self.peer.clone(), cause: Box::new(cause) };
        let mut response = answered.map_err(lost)?;
        let status = response.status();
        let foreign = |cause| RemoteError::Foreign { peer: self.peer.clone(), status: status.as_u16(), cause };
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(lost)?;
        if status.is_success() {
            Ok(serde_json::from_slice(&body).map_err(foreign)?)
        } else {
            Err(self.advised(serde_json::from_slice::<Problem>(&body).map_err(foreign)?).into())
        }
    }

    /// A problem in the words of a command line: its advice is for who writes requests.
    fn advised(&self, problem: Problem) -> Problem {
        let detail = match (problem.kind, &self.peer) {
            (ProblemKind::Unauthorized, Peer::Url(url)) if self.authorization.is_none() => format!(
                "{url} wants a token: put one of its state/api-tokens into a file that only you can read, and name that \
                 by --token-file or FIOVANA_TOKEN_FILE"
            ),
            (ProblemKind::Unauthorized, Peer::Url(url)) => {
                format!("{url} does not know the token in the file: take one of its state/api-tokens")
            }
            _ => return problem,
        };
        Problem { detail, ..problem }
    }
}

/// Whether encryption is what failed: it is told as an invalid answer.
fn is_tls(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Rustls(_) | ureq::Error::Tls(_) => true,
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
