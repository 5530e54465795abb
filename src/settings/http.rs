//! Where the service is reached, and how what goes to and fro is kept from others.
//!
//! Hazard: a door that is half set up. A key without its certificate, or two doors at one address, is refused here, and
//! not found out by whoever knocks.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, Said, Shown, prevailing};
use super::sources::Sources;
use super::stated::Stated;
use super::values::{address, file, socket};

/// The HTTP API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSettings {
    /// The address and port it is served on; port 0 is any free one. Off loopback every call needs a token.
    pub bind: SocketAddr,
    /// Where metrics are served as well, to whoever asks.
    pub metrics_bind: Option<SocketAddr>,
    /// Where it is served as well, to this service's own user and root.
    pub unix_socket: Option<PathBuf>,
    /// What it is encrypted with at `bind`; `None`: not at all.
    pub tls: Option<TlsFiles>,
}

/// The files that TLS needs, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, followed by those that vouch for it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What was said in `[http]`.
pub(super) struct StatedHttp {
    bind: Stated<SocketAddr>,
    metrics_bind: Stated<SocketAddr>,
    unix_socket: Stated<PathBuf>,
    tls_certificate: Stated<PathBuf>,
    tls_key: Stated<PathBuf>,
}

impl StatedHttp {
    /// Reads the section.
    pub fn read(mut section: Section, sources: &Sources, errors: &mut Vec<SettingsError>) -> Self {
        let stated = Self {
            bind: section.take("bind", address),
            metrics_bind: section.take("metrics_bind", address),
            unix_socket: section.take("unix_socket", socket(sources)),
            tls_certificate: section.take("tls_certificate", file(sources)),
            tls_key: section.take("tls_key", file(sources)),
        };
        section.finish(errors);
        stated
    }

    /// What holds.
    pub fn decide(&self, ledger: &mut Ledger, errors: &mut Vec<SettingsError>) -> HttpSettings {
        let bind = prevailing(&[&self.bind], ([127, 0, 0, 1], 8080).into());
        if let Some(metrics) =
            self.metrics_bind.as_ref().filter(|said| said.value == bind.value && bind.value.port() != 0)
        {
            let allowed = format!("give another address or port than bind ({}), which serves metrics too", bind.origin);
            errors.push(refused("metrics_bind", metrics, allowed));
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(certificate), None) => {
                errors.push(refused("tls_certificate", certificate, "give its tls_key too".to_owned()));
            }
            (None, Some(key)) => errors.push(refused("tls_key", key, "give its tls_certificate too".to_owned())),
            _ => {}
        }
        let mut note =
            |key: &str, said: &Stated<PathBuf>| said.clone().map(|said| ledger.note(format!("http.{key}"), said));
        let certificate = note("tls_certificate", &self.tls_certificate);
        let key = note("tls_key", &self.tls_key);
        let unix_socket = note("unix_socket", &self.unix_socket);
        HttpSettings {
            bind: ledger.note("http.bind", bind),
            metrics_bind: self.metrics_bind.clone().map(|said| ledger.note("http.metrics_bind", said)),
            unix_socket,
            tls: certificate.zip(key).map(|(certificate, key)| TlsFiles { certificate, key }),
        }
    }
}

fn refused<T: Shown>(key: &str, said: &Said<T>, allowed: String) -> SettingsError {
    SettingsError::Value { key: format!("http.{key}"), value: said.value.shown(), origin: said.origin.clone(), allowed }
}
