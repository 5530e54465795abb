//! Documents as text for people.
//!
//! Hazard: text that says less than the document it was made from. What needs a person is always shown.

mod audit;
mod backups;
mod damage;
mod diff;
mod keys;
mod pruning;
mod recovery;
mod replicas;
mod settings;
mod status;
mod timelines;
mod work;

pub use audit::{accepted, chain, record};
pub use backups::{details, list};
pub use diff::{diff, file_diff};
pub use keys::{key_check, key_made, keys, recipients_changed};
pub use pruning::{forgotten, pinned, prune_plan, pruned};
pub use recovery::{applied, plan, recovered, recovery};
pub use replicas::replica_created;
pub use settings::{checked, settings};
pub use status::{clock_accepted, created, mode, recovery_entered, status};
pub use timelines::timelines;
pub use work::{backed_up, drilled, restored, verified, verified_all};

use super::table::Tone;
use crate::core::BackupState;
use crate::core::printable::plain;

/// The tone of a state.
fn tone(state: BackupState) -> Tone {
    match state {
        BackupState::Good => Tone::Good,
        BackupState::Damaged => Tone::Bad,
        BackupState::Suspect => Tone::Doubtful,
        BackupState::Unverified => Tone::Plain,
    }
}

/// A command to type, on a line of its own so that it can be copied whole.
fn to_type(words: &str) -> String {
    format!("  fiovana-app {words}\n")
}

/// An indented line under the line it explains.
fn remark(topic: &str, text: &str) -> String {
    format!("  {topic}: {}\n", plain(text))
}
