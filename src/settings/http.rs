//! Where the service is reached, and how what goes to and fro is kept from others.
//!
//! Hazard: a door that is half set up. A key without its certificate, or two doors at one address, is refused here, and
//! not found out by whoever knocks.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use config::{Value, ValueKind};

use super::document::Section;
use super::error::SettingsError;
use super::origin::{Ledger, Said, Shown, prevailing};
use super::sources::Sources;
use super::stated::Stated;
use super::values::{Raw, Read, address, file, flag, socket};

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
    /// Users of this machine who need no token on loopback, besides this service's own and root.
    pub trusted_users: Vec<TrustedUser>,
    /// Whether every other user of this machine may look at status and list on loopback without a token.
    pub open_reading: bool,
}

/// A user of this machine, as the settings name one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustedUser {
    /// By name.
    Name(String),
    /// By number.
    Uid(u32),
}

impl fmt::Display for TrustedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Uid(uid) => uid.fmt(f),
        }
    }
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
    trusted_users: Stated<Vec<TrustedUser>>,
    open_reading: Stated<bool>,
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
            trusted_users: section.take("trusted_users", users),
            open_reading: section.take("open_reading", flag),
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
            trusted_users: ledger.note("http.trusted_users", prevailing(&[&self.trusted_users], vec![])),
            open_reading: ledger.note("http.open_reading", prevailing(&[&self.open_reading], true)),
        }
    }
}

/// A list of users, each by name or by number.
fn users(raw: &Raw) -> Read<Vec<TrustedUser>> {
    const ALLOWED: &str = r#"give a list of at most 64 names or numbers of users such as ["deploy", 1000]"#;
    const MOST: usize = 64;
    let Raw::Toml(Value { kind: ValueKind::Array(items), .. }) = raw else { return Err(ALLOWED.to_owned()) };
    let users: Option<Vec<TrustedUser>> = items.iter().map(user).collect();
    users.filter(|users| users.len() <= MOST).ok_or_else(|| ALLOWED.to_owned())
}

fn user(item: &Value) -> Option<TrustedUser> {
    match &item.kind {
        ValueKind::I64(number) => Some(TrustedUser::Uid(u32::try_from(*number).ok()?)),
        ValueKind::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(TrustedUser::Uid(text.parse().ok()?))
        }
        // What useradd(8) lets through, and no more than what passwd(5) can hold.
        ValueKind::String(name) if name.len() <= 256 && !name.contains([':', '/', ',']) => {
            let plain = !name.contains(|character: char| character.is_whitespace() || character.is_control());
            plain.then(|| TrustedUser::Name(name.clone()))
        }
        _ => None,
    }
}

fn refused<T: Shown>(key: &str, said: &Said<T>, allowed: String) -> SettingsError {
    SettingsError::Value { key: format!("http.{key}"), value: said.value.shown(), origin: said.origin.clone(), allowed }
}
