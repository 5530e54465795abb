//! The hash-chained log of everything this service does.
//!
//! Hazard: a log that its own author may rewrite proves nothing, and one that stops a backup because somebody else
//! rotated the file is soon switched off. Every record carries the hash of the one before it, so a change is seen by
//! whoever remembers a later [`Head`]; what others do to the file (lines of their own, rotation, a crash in the
//! middle of a line) is noticed, told in the log, and never ends the chain. Whoever can write the log can compute hashes
//! and statements, too: a record counts only if it is authenticated by a [`Key`] that is kept elsewhere, and rotations,
//! acceptances and heads only where they are remembered elsewhere ([`trust`]).
//!
//! | part | does |
//! |---|---|
//! | [`record`] | what is recorded, and its one line |
//! | [`key`] | authenticates records |
//! | [`trust`] | what is believed of the log, and on whose word |
//! | `lines` | reads a file line by line, forwards or from its end, in bounded memory |
//! | `segments` | the files that hold the chain: the live one and those rotated away |
//! | `packed` | unpacks those that were compressed |
//! | [`opening`] | finds where the chain goes on, and says what was found |
//! | [`log`] | appends, and brings in what was kept elsewhere |
//! | [`kept`] | records that could not be written, until they can |
//! | [`verify`] | proves the chain, or names the first record that breaks it |
//! | `walk`, `gap` | follow the records, and tell what is wrong with them |
//! | [`page`] | reads records back |
//! | [`rotation`] | rotates the log where nobody else does |
//!
//! A whole line is written by one `write` to a file opened for appending, so other writers interleave at line
//! boundaries. Nothing is ever cut off or overwritten: a torn line stays, and a record after it says so.

mod gap;
pub mod kept;
pub mod key;
mod lines;
pub mod log;
pub mod opening;
mod packed;
pub mod page;
pub mod record;
pub mod rotation;
mod segments;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests {
    //! The log as a whole: appending, rotation by others, manipulation.
    //!
    //! Hazard: each part may be right and the chain still break where they meet.
    mod appending;
    mod forging;
    mod keeping;
    mod packed;
    mod rotation;
    mod tampering;
    mod tampering_rotated;
}
pub mod trust;
pub mod verify;
mod walk;

use std::io;
use std::path::{Path, PathBuf};

use crate::files::NotPlain;

pub use kept::Kept;
pub use key::{Authenticator, Key};
pub use log::{AuditLog, Unwritten};
pub use opening::{Finding, MaxBySeq, Memory, Opening, acceptance, may_have};
pub use page::{MAX_PAGE_RECORDS, Wanted, last_head, read_records};
pub use record::{Batch, CHAIN_STARTED, Entry, Head, MAX_LINE_BYTES, Outcome, Record};
pub use rotation::rotate;
pub use trust::{Acceptance, KeyDocument, Known, Marks, Trust};
pub use verify::{Break, ChainReport, Fault, Unreadable, verify_chain};
pub use walk::MAX_FAULTS;

/// The member of the details of a record that was kept elsewhere and got another number when it was merged.
const KEPT_AS: &str = "kept_as";

/// Why the log could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The operating system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried, a bare verb phrase.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// Something else than a file is in the log's place; it is neither followed nor written to.
    #[error("{}: {found}, not a regular file: move it away, or name another log directory", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: NotPlain,
    },
}

impl AuditError {
    /// What turns an operating-system error into the failure of `action` at `path`.
    pub(crate) fn at<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
