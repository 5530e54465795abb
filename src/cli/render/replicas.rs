//! Replicas as text.
//!
//! Hazard: a copy on the same disk that looks like safety.

use super::remark;
use crate::api::{ReplicaCreated, ReplicaStatus};
use crate::cli::output::Look;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::{age, count};
use crate::core::printable::plain;

const SAME_DISK: &str = "on the same disk, lost with it";

/// The replicas, and what is wrong with them.
pub fn replicas(replicas: &[ReplicaStatus], look: &Look) -> String {
    let mut table = Table::new([("", Align::Left); 3]);
    for replica in replicas {
        let tone = if replica.lag > 0 || replica.fault.is_some() { Tone::Bad } else { Tone::Plain };
        let name = format!("replica {}", replica.name);
        table.row([name.into(), replica.path.as_str().into(), Cell::toned(said(replica), tone)]);
    }
    let mut text = if replicas.is_empty() { String::new() } else { table.render(look) };
    for replica in replicas {
        let name = replica.name.as_str();
        let had_all = replica.last_success.filter(|_| replica.lag > 0 || !replica.reachable);
        text.extend(had_all.map(|at| remark(name, &format!("had all backups {}", age(at, look.now)))));
        text.extend(replica.fault.as_ref().map(|fault| remark(name, fault)));
    }
    text
}

fn said(replica: &ReplicaStatus) -> String {
    let lag = match replica.lag {
        0 if replica.reachable => "has all backups".to_owned(),
        0 => "not reached".to_owned(),
        lag => format!("lacks {}", count(lag as usize, "backup")),
    };
    let disk = if replica.same_disk { format!(", {SAME_DISK}") } else { String::new() };
    format!("{lag}{disk}")
}

/// A replica that was begun.
pub fn replica_created(created: &ReplicaCreated, _: &Look) -> String {
    let disk = if created.same_disk { format!(" ({SAME_DISK})") } else { String::new() };
    format!("created replica {} of repository {} in {}{disk}\n", created.name, created.id, plain(&created.path))
}
