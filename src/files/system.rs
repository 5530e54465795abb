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

/// The number that Linux shows for users that have none, unless it is told another.
const OVERFLOW: u32 = 65_534;

/// The system's lists, as they are now.
pub fn accounts() -> Accounts {
    let text = |path| text(path).unwrap_or_default();
    Accounts { passwd: text("/etc/passwd"), group: text("/etc/group"), nsswitch: text("/etc/nsswitch.conf") }
}

/// Whether this number stands for all users that have none in this user namespace (user_namespaces(7)). Elsewhere the same
/// number is a user like any other.
pub fn is_outsider(uid: u32) -> bool {
    let overflow = text("/proc/sys/kernel/overflowuid").and_then(|number| number.trim().parse().ok());
    let maps = |line: &str| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let [first, _, count] = numbers[..] else { return true };
        uid.checked_sub(first).is_some_and(|at| at < count)
    };
    // A map that cannot be read proves nothing; an empty one maps nobody.
    let is_mapped = || text("/proc/self/uid_map").is_none_or(|map| map.lines().any(maps));
    uid == overflow.unwrap_or(OVERFLOW) && !is_mapped()
}

/// What a file of the system says, if it can be read.
fn text(path: &str) -> Option<String> {
    let bytes = read_plain(Path::new(path), MAX_LIST_BYTES).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
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
