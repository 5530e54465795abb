//! Which user of this machine is at the other end of a connection.
//!
//! Hazard: somebody else's request that is taken for root's. On loopback the kernel knows whose the other socket is, as
//! long as that is open; so it is looked up when a connection is accepted and before a byte of it is read, and holds for
//! as long as the connection does. It counts only if our own end is still open in both directions afterwards: then it was
//! so all the time, and no other socket can have had the same addresses meanwhile (their connection would have reset
//! ours). A user who sends and closes at once, or whose port somebody else gets, is known to nobody.
//!
//! The table is as long as the machine has sockets, and a stranger can make it long. It is read by a thread of its own, for
//! everybody at once who has come by then: whoever comes waits for two readings at most, however many they are.

pub mod table;

use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use actix_web::rt::net::{TcpStream, UnixStream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use self::table::{Found, Pair, Wanted};
use crate::actors::problems::chain;

/// How often a connection is looked for that is open and in no table: an entry can be missed where the table changes while
/// it is read.
const LOOKS: usize = 4;

/// Who is at the other end of a connection, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Of the socket of this machine: this user, if that was told.
    OfSocket(Option<u32>),
    /// Of a connection over loopback: this user, if that could be told.
    OfLoopback(Option<u32>),
    /// Of any other connection.
    Elsewhere,
}

impl Peer {
    /// The user's number, where there is one.
    pub fn uid(self) -> Option<u32> {
        match self {
            Self::OfSocket(uid) | Self::OfLoopback(uid) => uid,
            Self::Elsewhere => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid() {
            Some(uid) => write!(f, "uid:{uid}"),
            None => f.write_str("uid:unknown"),
        }
    }
}

/// A connection whose other end can be told.
pub(super) trait Connected {
    /// Who is there. `peers` looks over loopback, where that counts.
    async fn peer(&self, peers: Option<&Peers>) -> Peer;
}

impl Connected for UnixStream {
    async fn peer(&self, _: Option<&Peers>) -> Peer {
        Peer::OfSocket(self.peer_cred().ok().map(|peer| peer.uid()))
    }
}

impl Connected for TcpStream {
    async fn peer(&self, peers: Option<&Peers>) -> Peer {
        match peers {
            Some(peers) => Peer::OfLoopback(peers.owner(self).await),
            None => Peer::Elsewhere,
        }
    }
}

/// What finds the pairs that are wanted in the table of sockets.
pub(super) type Look = dyn FnMut(&mut Wanted) -> io::Result<()> + Send;

/// Looks up the other ends of connections.
#[derive(Clone)]
pub(super) struct Peers(SyncSender<Question>);

struct Question {
    pair: Pair,
    answer: oneshot::Sender<Found>,
}

impl Peers {
    /// Begins to look in the kernel's tables, for at most so many connections at a time.
    pub fn of_this_machine(most: usize) -> io::Result<Self> {
        Self::looking(most, Box::new(table::look))
    }

    /// The same with another table.
    pub fn looking(most: usize, look: Box<Look>) -> io::Result<Self> {
        let (asked, questions) = sync_channel(most);
        std::thread::Builder::new().name("peers".to_owned()).spawn(move || answer(&questions, look))?;
        Ok(Self(asked))
    }

    /// Whose the socket at the other end of `stream` is; `None` if that cannot be told for sure.
    async fn owner(&self, stream: &TcpStream) -> Option<u32> {
        let pair = Pair { local: stream.peer_addr().ok()?.into(), remote: stream.local_addr().ok()?.into() };
        for _ in 0..LOOKS {
            let found = self.find(pair).await?;
            if !is_open_both_ways(stream) {
                return None;
            }
            if found != Found::Nothing {
                return found.owner();
            }
        }
        None
    }

    async fn find(&self, pair: Pair) -> Option<Found> {
        let (answer, found) = oneshot::channel();
        self.0.try_send(Question { pair, answer }).ok()?;
        found.await.ok()
    }
}

/// Whether nothing was said yet by either side that ends the connection: no FIN and no RST has come.
fn is_open_both_ways(stream: impl AsFd) -> bool {
    let mut ends = [PollFd::new(&stream, PollFlags::RDHUP)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut ends, Some(&at_once)).is_ok() && ends[0].revents().is_empty()
}

/// Answers questions, all that have come at a time by one reading of the table, until nobody can ask any more.
fn answer(questions: &Receiver<Question>, mut look: Box<Look>) {
    let mut is_readable = true;
    while let Ok(first) = questions.recv() {
        let asked: Vec<Question> = [first].into_iter().chain(questions.try_iter()).collect();
        let mut wanted: Wanted = asked.iter().map(|question| (question.pair, Found::Nothing)).collect();
        let read = look(&mut wanted);
        for Question { pair, answer } in asked {
            let found = wanted.get(&pair).copied().filter(|_| read.is_ok()).unwrap_or(Found::Unclear);
            // Who has left meanwhile wants no answer.
            let _ = answer.send(found);
        }
        if let Err(error) = &read
            && is_readable
        {
            tracing::warn!(
                "who calls on loopback cannot be told, so that every call needs a token: read /proc/self/net/tcp: {}",
                chain(error)
            );
        }
        is_readable = read.is_ok();
    }
}

#[cfg(test)]
mod tests;
