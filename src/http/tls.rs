//! The certificate that the API is encrypted with.
//!
//! Hazard: a key that others can read protects nothing, one that does not belong to its certificate is found out by the
//! first client, and a certificate that ran out because nothing took up the new one stops everybody at once. All three
//! are looked at when the files are read: at the start, where they stop it, and at SIGHUP, where the old pair stays.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};

use crate::files::open_plain;
use crate::files::plain::read_up_to;
use crate::private_file::{PrivateFileError, open_private};
use crate::settings::TlsFiles;

/// The most that a certificate with those that vouch for it, or a key, may measure.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {} for TLS", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others can read the key.
    #[error("use the TLS key")]
    Open(#[source] PrivateFileError),
    /// There is no PEM of the right kind in the file.
    #[error("{} holds no {what} in PEM that can be read", .path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// The key is of a kind that cannot be used here, or not the certificate's.
    #[error("the TLS key {} {fault}", .path.display())]
    Key {
        /// The key.
        path: PathBuf,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// A certificate and its key, which can be read anew while they are served.
#[derive(Clone, Debug)]
pub struct Certificate {
    files: TlsFiles,
    current: Arc<Current>,
}

#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Certificate {
    /// Reads both files.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(read(files)?)));
        Ok(Self { files: files.clone(), current })
    }

    /// Reads both files again: connections from now on are served with what they hold. If they cannot be used, what was
    /// served before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.files)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// TLS 1.2 and 1.3 with it, for clients that need present none.
    pub(super) fn config(&self) -> io::Result<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
        Ok(config.with_no_client_auth().with_cert_resolver(self.current.clone()))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

fn read(files: &TlsFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let not_pem = |path: &Path, what| TlsError::NotPem { path: path.to_owned(), what };
    let text = read_bounded(open_plain(&files.certificate), &files.certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or_else(|| not_pem(&files.certificate, "certificate"))?;

    let text = read_bounded(Ok(open_private(&files.key).map_err(TlsError::Open)?), &files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|_| not_pem(&files.key, "private key"))?;
    let wrong = |fault| TlsError::Key { path: files.key.clone(), fault };
    let key = ring::sign::any_supported_type(&key).map_err(|_| wrong("is of a kind that cannot be used"))?;
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        // Some kinds of key do not tell; the first client will.
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(Arc::new(pair)),
        Err(_) => Err(wrong("is not that of the certificate")),
    }
}

fn read_bounded(file: io::Result<File>, path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = file.and_then(|file| read_up_to(&file, MAX_FILE_BYTES));
    read.map_err(|source| TlsError::Io { path: path.to_owned(), source })
}
