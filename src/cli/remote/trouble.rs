//! Why a service gave no result.
//!
//! Hazard: an error that does not say whether something was done. What is unknown is said to be, and where to look.

use std::path::PathBuf;
use std::time::Duration;

use super::socket::SocketTrouble;
use crate::api::{JobId, Problem};
use crate::cli::url::ServiceUrl;
use crate::private_file::PrivateFileError;

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
    /// The service's socket does not lead to it.
    #[error(transparent)]
    Socket(#[from] SocketTrouble),
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
    /// The service began something and knows nothing of it any more.
    #[error(
        "job {job} is not known any more, for the service was restarted meanwhile, or has done much else since: what was \
         asked may have been done or not, see fiovana-app status and fiovana-app audit tail"
    )]
    Forgotten {
        /// What it began.
        job: JobId,
    },
    /// The service began something and does not tell how it goes.
    #[error(
        "{peer} does not tell what became of job {job}: what was asked may have been done or not, see fiovana-app status"
    )]
    Untold {
        /// The service.
        peer: Peer,
        /// What it began.
        job: JobId,
        /// What it said instead.
        #[source]
        cause: Box<Refusal>,
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

/// What was asked for, or why there is none.
pub type Answer<T> = Result<T, Refusal>;
