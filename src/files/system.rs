//! What the system knows of users and groups.
//!
//! Hazard: a name that is shown is looked up each time; where the files cannot be read nobody is known, and everybody is a
//! stranger.

use std::fmt;
use std::path::Path;

use rustix::process::geteuid;

use super::read_plain;
use crate::core::accounts::{Account, Accounts};

/// The most that is read of a list of users or groups.
const MAX_LIST_BYTES: u64 = 16 << 20;

/// The system's lists, as they are now.
pub fn accounts() -> Accounts {
    let text = |path: &str| {
        let bytes = read_plain(Path::new(path), MAX_LIST_BYTES).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Accounts { passwd: text("/etc/passwd"), group: text("/etc/group"), nsswitch: text("/etc/nsswitch.conf") }
}

/// The account of a user.
pub fn account(uid: u32) -> Option<Account> {
    accounts().account(uid)
}

/// A user, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    uid: u32,
    name: Option<String>,
}

impl User {
    /// Whoever this process works as.
    pub fn me() -> Self {
        Self::of(geteuid().as_raw())
    }

    /// The user with this number.
    pub fn of(uid: u32) -> Self {
        Self { uid, name: account(uid).map(|account| account.name) }
    }

    /// The user, as sudo(8) takes one.
    pub fn for_sudo(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("'#{}'", self.uid))
    }

    /// The user, as chown(1) takes one.
    pub fn for_chown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.uid.to_string())
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} (uid {})", self.uid),
            None => write!(f, "uid {}", self.uid),
        }
    }
}
