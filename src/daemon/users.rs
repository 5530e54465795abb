//! The users of this machine that need no token.
//!
//! Hazard: a name that is misspelt, or whose user is gone, and that somebody else gets later. A name must be that of a user
//! when the service starts; from then on the number counts.

use std::fs::read_to_string;

use rustix::process::geteuid;

use super::{Failure, emergency};
use crate::files::system::{User, accounts};
use crate::http::{Access, LocalUsers};
use crate::settings::{Settings, TrustedUser};

/// What the kernel calls users that have no number here, unless it says otherwise.
const OVERFLOW: u32 = 65_534;

/// A user in the settings whom the system does not know.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// Nobody has this name.
    #[error(
        "[http].trusted_users: there is no user {0} in /etc/passwd: correct the name, or give the user's number (id -u {0})"
    )]
    Unknown(String),
    /// The number stands for nobody in particular.
    #[error("[http].trusted_users: {0} stands for users that have no number of their own: give another user")]
    Nobody(TrustedUser),
}

/// What these settings ask of whoever calls on loopback. In an emergency users that cannot be made out need a token.
pub fn access(settings: &Settings) -> Result<Access, Failure> {
    let users = own();
    let mut trusted = vec![];
    for user in &settings.http.trusted_users {
        match resolve(user, &users) {
            Ok(uid) => trusted.push(uid),
            Err(error) if settings.recovery_mode => emergency::found(&format!("{error}; that user needs a token")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Access { users: users.trusting(trusted), open_reading: settings.http.open_reading })
}

/// Warns if this service's own user is nobody in particular, and what follows from that.
pub fn tell(access: &Access) {
    if !access.users.is_somebody(geteuid().as_raw()) {
        tracing::warn!(
            "this service runs as {}, which stands for users that have no number of their own, too: on loopback they all \
             need a token: give the service a user of its own",
            User::me()
        );
    }
}

/// Whether every user of these settings can be made out.
pub fn check(settings: &Settings) -> Result<(), UserError> {
    let users = own();
    settings.http.trusted_users.iter().try_for_each(|user| resolve(user, &users).map(drop))
}

fn resolve(user: &TrustedUser, users: &LocalUsers) -> Result<u32, UserError> {
    let uid = match user {
        TrustedUser::Uid(uid) => *uid,
        TrustedUser::Name(name) => accounts().number(name).ok_or_else(|| UserError::Unknown(name.clone()))?,
    };
    if users.is_somebody(uid) { Ok(uid) } else { Err(UserError::Nobody(user.clone())) }
}

/// Root and this process's user.
fn own() -> LocalUsers {
    let overflow = read_to_string("/proc/sys/kernel/overflowuid").ok();
    let overflow = overflow.and_then(|said| said.trim().parse().ok()).unwrap_or(OVERFLOW);
    LocalUsers::new(geteuid().as_raw(), User::me().for_sudo(), overflow)
}
