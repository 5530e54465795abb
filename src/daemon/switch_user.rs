//! Becoming another user, for good.
//!
//! Hazard: what a process of root's knows goes with it. Its environment may hold root's secrets and decide how the program
//! behaves; its memory can be read by the user it becomes. So root first starts this program anew with a short list of
//! variables ([`kept`]), and that process becomes the user without running anything in between: from then on the kernel
//! lets nobody but root look into it (prctl(2), `PR_SET_DUMPABLE`).

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{set_name, set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::core::accounts::Account;
use crate::core::owner::Owner;
use crate::files::system::account;
use crate::settings;

/// This program, also where its path was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Variables that a process keeps as it becomes another user: what the terminal, the language, the clock, the service
/// manager and the certificates need; those of this program besides ([`settings::is_variable`]).
const KEPT: [&str; 16] = [
    "PATH",
    "TERM",
    "COLORTERM",
    "NO_COLOR",
    "COLUMNS",
    "LINES",
    "LANG",
    "LANGUAGE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "CREDENTIALS_DIRECTORY",
    "RUST_BACKTRACE",
];

/// Lets nobody but root read the memory of this process, which may hold keys, or trace it; and no core of it is written.
pub fn keep_memory_private() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!("other processes of this user may read this one's memory: {error}");
    }
}

/// Becomes this user, with its groups. Starts this program anew first if the environment has anything that is not kept: what
/// came before happens again then. Needs root, and that there is one thread only.
pub fn become_user(owner: Owner) -> io::Result<()> {
    let account = account(owner.uid);
    let variables: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    let kept = kept(&variables, account.as_ref());
    if kept != variables {
        let mut typed = std::env::args_os();
        let name = typed.next().unwrap_or_else(|| THIS_PROGRAM.into());
        return Err(Command::new(THIS_PROGRAM).arg0(name).args(typed).env_clear().envs(kept).exec());
    }
    let gid = account.as_ref().map_or(owner.gid, |account| account.gid);
    let groups = account.map_or_else(|| vec![gid], |account| account.groups);
    let groups: Vec<Gid> = groups.into_iter().map(Gid::from_raw).collect();
    let (gid, uid) = (Gid::from_raw(gid), Uid::from_raw(owner.uid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    keep_memory_private();
    // Started as it was, it would be called `exe` in lists of processes.
    let name = std::env::args_os().next().unwrap_or_default();
    if let Some(name) = Path::new(&name).file_name().and_then(|name| CString::new(name.as_bytes()).ok()) {
        let _ = set_name(&name);
    }
    Ok(())
}

/// What is left of these variables for a process that becomes the user of this account.
fn kept(variables: &[(OsString, OsString)], account: Option<&Account>) -> Vec<(OsString, OsString)> {
    let is_kept = |name: &OsStr| {
        let name = name.to_str().unwrap_or_default();
        KEPT.contains(&name) || name.starts_with("LC_") || settings::is_variable(name)
    };
    let home = [("HOME", account.map(|account| &account.home)), ("USER", account.map(|account| &account.name))];
    let own = |name: &OsStr| home.iter().find(|(own, _)| name == *own);
    let kept = variables.iter().filter_map(|(name, value)| match own(name) {
        Some((_, own)) => Some((name.clone(), OsString::from((*own)?))),
        None => is_kept(name).then(|| (name.clone(), value.clone())),
    });
    kept.collect()
}
