//! The address of a service elsewhere.
//!
//! Hazards: a token in an address ends up in the list of processes, in the shell's history and in error messages; and a
//! variable that leads to another place from every directory. An address with a name or password in it is refused, and is
//! not shown; a socket has its whole path.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ureq::http::Uri;

/// Where a service answers: `https://app.example:8443`, with or without a path that a proxy puts before its own, or its
/// socket on this machine, `unix:/run/fiovana/api.sock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl(String);

const UNIX: &str = "unix:";

/// What requests through a socket are addressed to: whoever listens there answers to it.
const AT_SOCKET: &str = "http://127.0.0.1";

impl ServiceUrl {
    /// The address of this path at the service.
    pub fn join(&self, path: &str) -> String {
        let base = if self.socket().is_some() { AT_SOCKET } else { &self.0 };
        format!("{base}{path}")
    }

    /// The socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        self.0.strip_prefix(UNIX).map(Path::new)
    }

    /// Whether what is sent there can be read on the way.
    pub fn is_exposed(&self) -> bool {
        if self.socket().is_some() {
            return false;
        }
        let Ok(uri) = self.0.parse::<Uri>() else { return true };
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        uri.scheme_str() != Some("https") && !is_loopback
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServiceUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "give it like https://app.example:8443, http://127.0.0.1:8080 or unix:/run/fiovana/api.sock";
        if let Some(path) = text.strip_prefix(UNIX) {
            // Some write it as an address without a host: unix:///run/fiovana/api.sock.
            let path = path.strip_prefix("//").unwrap_or(path);
            let is_file = path.starts_with('/') && !path.ends_with('/');
            return if is_file { Ok(Self(format!("{UNIX}{path}"))) } else { Err(EXPECTED) };
        }
        if text.contains('@') {
            return Err(
                "no name or token belongs into an address: put the token into a file, and name it by --token-file",
            );
        }
        let uri = text.parse::<Uri>().map_err(|_| EXPECTED)?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.host().is_none_or(str::is_empty) || uri.query().is_some() || text.contains('#') {
            return Err(EXPECTED);
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ServiceUrl {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host_and_nothing_after_its_path() {
        assert_eq!(url("http://127.0.0.1:8080/").join("/api/status"), "http://127.0.0.1:8080/api/status");
        assert_eq!(url("https://app.example/backups").join("/healthz"), "https://app.example/backups/healthz");
        for bad in [
            "",
            "app.example",
            "app.example:8080",
            "/run/x.sock",
            "ftp://a",
            "http://",
            "http://a/?b",
            "http://a/#b",
            "http://a b",
        ] {
            assert!(bad.parse::<ServiceUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_socket_is_named_by_its_whole_path() {
        for text in ["unix:/run/x@y/api.sock", "unix:///run/x@y/api.sock"] {
            let url = url(text);
            assert_eq!(url.socket(), Some(Path::new("/run/x@y/api.sock")));
            assert_eq!(url.to_string(), "unix:/run/x@y/api.sock");
            assert_eq!(url.join("/api/status"), "http://127.0.0.1/api/status");
            assert!(!url.is_exposed());
        }
        for bad in
            ["unix:", "unix:api.sock", "unix://api.sock", "unix://host/api.sock", "unix:/", "unix:/run/", "UNIX:/x"]
        {
            assert!(bad.parse::<ServiceUrl>().is_err(), "{bad}");
        }
        assert_eq!(url("http://a/unix:/x").socket(), None);
    }

    #[test]
    fn a_token_in_an_address_is_refused_and_not_shown() {
        let refusal = "https://cli:s3cr3t@app.example".parse::<ServiceUrl>().unwrap_err();
        assert!(refusal.contains("--token-file") && !refusal.contains("s3cr3t"), "{refusal}");
    }

    #[test]
    fn only_loopback_and_tls_keep_what_is_sent_to_themselves() {
        for kept in ["http://127.0.0.1:8080", "http://[::1]:8080", "http://localhost", "https://app.example"] {
            assert!(!url(kept).is_exposed(), "{kept}");
        }
        for exposed in ["http://app.example", "http://10.0.0.7:8080", "http://localhost.example"] {
            assert!(url(exposed).is_exposed(), "{exposed}");
        }
    }
}
