//! A service that answers, and how it is asked.
//!
//! Hazards: a service that hangs must not hang its operators too; and a proxy from the environment must not get a local
//! call to see. A service is asked for a sign of life first, and proxies are never used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::typestate::{WithBody, WithoutBody};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::{Agent, Body, RequestBuilder};

use super::socket::{SocketConnector, SocketTrouble};
use super::trouble::{Answer, Peer, RemoteError};
use super::work::Pace;
use crate::api::{Problem, ProblemKind};
use crate::cli::url::ServiceUrl;
use crate::repository::lock::Holder;

/// How long a service may take to connect to, and to answer what it need not work for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// The longest answer that can be a sign of life.
const MAX_SIGN_BYTES: u64 = 1024;

/// What came back: an answer, or nothing.
pub type Answered = Result<Response<Body>, ureq::Error>;

/// A service that answers.
#[derive(Clone, Debug)]
pub struct Connection {
    agent: Agent,
    base: ServiceUrl,
    peer: Peer,
    patience: Duration,
    /// What goes into `Authorization`.
    authorization: Option<String>,
    /// How long work is followed there.
    pub pace: Pace,
}

impl Connection {
    /// To the service that holds the repository in `directory`, once it has given a sign of life.
    pub fn to_holder(directory: &Path, holder: Holder, patience: Duration) -> Result<Self, RemoteError> {
        let Holder { pid, host, api } = holder;
        let directory = directory.to_owned();
        let Some(api) = api else { return Err(RemoteError::NoApi { directory, pid, host }) };
        let silent = |api, cause| RemoteError::Silent { directory, pid, host, api, patience, cause: Box::new(cause) };
        let Ok(base) = format!("http://{api}").parse() else {
            let cause = ureq::Error::BadUri(api.clone());
            return Err(silent(api, cause));
        };
        let connection = Self::new(base, Peer::Process(pid), patience);
        match connection.sign_of_life() {
            Ok(_) => Ok(connection),
            Err(cause) => Err(silent(api, cause)),
        }
    }

    /// To the service at this address, once it has given a sign of life.
    pub fn to(url: &ServiceUrl, patience: Duration) -> Result<Self, RemoteError> {
        let connection = Self::new(url.clone(), Peer::Url(url.clone()), patience);
        let sign = connection.sign_of_life();
        let url = url.clone();
        let trouble = url.socket().and_then(|path| match &sign {
            // The service looks at who comes, whatever the permissions of its socket say.
            Ok((403 | 429, _)) => Some(SocketTrouble::closed(path)),
            Ok(_) => None,
            Err(error) => SocketTrouble::of(error, path),
        });
        match (trouble, sign) {
            (Some(trouble), _) => Err(trouble.into()),
            (None, Ok((200, text))) if text.trim() == "ok" => Ok(connection),
            // This service all the same, though not well.
            (None, Ok((503, text))) if serde_json::from_str::<Problem>(&text).is_ok() => Ok(connection),
            (None, Ok((status, _))) => Err(RemoteError::Stranger { url, status }),
            (None, Err(cause)) if is_tls(&cause) => Err(RemoteError::Untrusted { url, cause: Box::new(cause) }),
            (None, Err(cause)) => Err(RemoteError::Unreachable { url, cause: Box::new(cause) }),
        }
    }

    fn new(base: ServiceUrl, peer: Peer, patience: Duration) -> Self {
        let agent = agent(base.socket().map(Path::to_owned), patience);
        Self { agent, base, peer, patience, authorization: None, pace: Pace::DEFAULT }
    }

    /// The same, asking as the bearer of `token`.
    pub fn with_token(self, token: Option<String>) -> Self {
        Self { authorization: token.map(|token| format!("Bearer {token}")), ..self }
    }

    /// The status and the beginning of the text of a call that needs no token and no work.
    fn sign_of_life(&self) -> Result<(u16, String), ureq::Error> {
        let request = self.agent.get(self.base.join("/healthz"));
        let mut response = request.config().timeout_global(Some(self.patience)).build().call()?;
        // A text of another kind or length is nobody's sign of life.
        let text = response.body_mut().with_config().limit(MAX_SIGN_BYTES).read_to_string().unwrap_or_default();
        Ok((response.status().as_u16(), text))
    }

    /// Who answers.
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// How long an answer may take that needs no work.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// A question that is answered at once.
    pub fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Answer<T> {
        let request = self.getting(path).query_pairs(parameters);
        self.answer(request.config().timeout_global(Some(self.patience)).build().call())
    }

    /// Asks for work, which takes as long as it takes.
    pub fn post<T: DeserializeOwned>(&self, path: &str) -> Answer<T> {
        self.answer(self.posting(path).send_empty())
    }

    /// The same, with options.
    pub fn post_json<T: DeserializeOwned>(&self, path: &str, options: &impl Serialize) -> Answer<T> {
        self.answer(self.posting(path).send_json(options))
    }

    /// A question to be put.
    pub fn getting(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.signed(self.agent.get(self.base.join(path)))
    }

    /// Something to be asked for.
    pub fn posting(&self, path: &str) -> RequestBuilder<WithBody> {
        self.signed(self.agent.post(self.base.join(path)))
    }

    /// Something to be put there.
    pub fn putting(&self, path: &str) -> RequestBuilder<WithBody> {
        self.signed(self.agent.put(self.base.join(path)))
    }

    /// Something to be taken away.
    pub fn deleting(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.signed(self.agent.delete(self.base.join(path)))
    }

    fn signed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        }
    }

    /// The document that was answered, or the problem.
    pub fn answer<T: DeserializeOwned>(&self, answered: Answered) -> Answer<T> {
        let lost = |cause| RemoteError::Lost { peer: self.peer.clone(), cause: Box::new(cause) };
        let mut response = answered.map_err(lost)?;
        let status = response.status();
        let body = response.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec().map_err(lost)?;
        if status.is_success() {
            return self.document(&body, status.as_u16());
        }
        Err(self.advised(self.document(&body, status.as_u16())?).into())
    }

    /// A document that came with this status.
    pub fn document<T: DeserializeOwned>(&self, text: &[u8], status: u16) -> Answer<T> {
        let foreign = |cause| RemoteError::Foreign { peer: self.peer.clone(), status, cause };
        Ok(serde_json::from_slice(text).map_err(foreign)?)
    }

    /// A problem in the words of a command line: its advice is for who writes requests.
    pub fn advised(&self, problem: Problem) -> Problem {
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

/// What sends requests: to where their addresses say, or all of them to one socket.
fn agent(socket: Option<PathBuf>, patience: Duration) -> Agent {
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
    match socket {
        Some(path) => Agent::with_parts(config, SocketConnector(path), DefaultResolver::default()),
        None => Agent::new_with_config(config),
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
