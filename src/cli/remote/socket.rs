//! The service's own socket (`[http].unix_socket`), as a way for requests.
//!
//! Hazards: whether somebody is let in there is a matter of files and users, so errors as of a network would send an
//! operator looking in the wrong place; and a service that hangs lets nobody in, for as long as one is willing to wait.

use std::io::{self, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::net::sockopt::{Timeout as Direction, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

/// Why a socket does not lead to the service.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SocketTrouble {
    /// There is none.
    #[error(
        "there is no socket {}: see that the service runs, and that its [http].unix_socket names this path",
        .0.display()
    )]
    Absent(PathBuf),
    /// It is something else.
    #[error("{} is no socket: give the path that the service's [http].unix_socket names", .0.display())]
    Other(PathBuf),
    /// It was left behind.
    #[error("nobody listens at {}: the service that made it is gone, start it again", .0.display())]
    Left(PathBuf),
    /// It is for others.
    #[error(
        "user {user} is not let in at {}: be the service's own user or root (sudo), or use the API's address with a token",
        .path.display()
    )]
    Closed {
        /// The socket.
        path: PathBuf,
        /// Who asks.
        user: u32,
    },
}

impl SocketTrouble {
    /// The service, or the system before it, does not let this user in at `path`.
    pub fn closed(path: &Path) -> Self {
        Self::Closed { path: path.to_owned(), user: rustix::process::geteuid().as_raw() }
    }

    /// What an error means that came of knocking at `path`, if it has to do with the socket.
    pub fn of(error: &Error, path: &Path) -> Option<Self> {
        let Error::Io(error) = error else { return None };
        let is_socket = path.metadata().is_ok_and(|there| there.file_type().is_socket());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Some(Self::Absent(path.to_owned())),
            // So it is told of a file of any other kind, too.
            io::ErrorKind::ConnectionRefused if !is_socket => Some(Self::Other(path.to_owned())),
            io::ErrorKind::ConnectionRefused => Some(Self::Left(path.to_owned())),
            io::ErrorKind::PermissionDenied => Some(Self::closed(path)),
            _ => None,
        }
    }
}

/// Leads every request to one socket.
#[derive(Debug)]
pub struct SocketConnector(pub PathBuf);

impl Connector for SocketConnector {
    type Out = SocketTransport;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<SocketTransport>, Error> {
        let patience = details.timeout.not_zero().map(|patience| *patience);
        let stream = knock(&self.0, patience).map_err(|error| or_timeout(error, details.timeout.reason))?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(SocketTransport { stream, buffers }))
    }
}

/// Connects within `patience`: while the service lets nobody in, those who wait for that are bounded, and so may be we.
fn knock(path: &Path, patience: Option<Duration>) -> io::Result<UnixStream> {
    let address = SocketAddrUnix::new(path)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Direction::Send, patience)?;
    connect(&socket, &address)?;
    Ok(socket.into())
}

/// A connection through a socket.
#[derive(Debug)]
pub struct SocketTransport {
    stream: UnixStream,
    buffers: LazyBuffers,
}

impl Transport for SocketTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let timeout = timeout.for_write();
        self.stream.set_write_timeout(timeout.not_zero().map(|time| *time))?;
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        self.stream.write_all(output).map_err(|error| or_timeout(error, timeout.reason))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let timeout = timeout.for_read();
        self.stream.set_read_timeout(timeout.not_zero().map(|time| *time))?;
        let amount = loop {
            match self.stream.read(self.buffers.input_append_buf()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(|error| or_timeout(error, timeout.reason))?,
            }
        };
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        // Connections are not kept: each carries one request.
        false
    }
}

/// What the system tells as `WouldBlock` when its time is over.
fn or_timeout(error: io::Error, reason: Timeout) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Error::Timeout(reason),
        _ => Error::Io(error),
    }
}
