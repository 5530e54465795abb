//! The picture of the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::explore::transitions;
use super::{Mode, RecoveryPhase};

/// The machine as a Mermaid state diagram, drawn from what it does: the same text each time, until the machine changes.
pub fn mermaid() -> String {
    let mut arrows: BTreeMap<(String, String), BTreeSet<&str>> = BTreeMap::new();
    for edge in transitions() {
        let (from, to) = (node(&edge.from), node(&edge.to));
        if from != to && edge.to != Mode::Stopping {
            arrows.entry((from, to)).or_default().insert(edge.event.code());
        }
    }
    let mut text = String::from("stateDiagram-v2\n    [*] --> starting\n");
    for ((from, to), events) in arrows {
        let events = events.into_iter().collect::<Vec<_>>().join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {from} --> {to}: {events}");
    }
    text.push_str("    stopping --> [*]\n    note right of stopping: entered from every mode, by stop\n");
    text
}

/// The mode's node: recovery has one for each phase.
fn node(mode: &Mode) -> String {
    match mode.phase().map(RecoveryPhase::code) {
        Some(phase) => format!("{}_{phase}", mode.name()),
        None => mode.name().to_owned(),
    }
}
