//! What goes, what stays and why, as text.

use super::{remark, to_type};
use crate::api::{BackupDetails, ForgetOutcome, HeldDocument, PruneOutcome, PrunePlan, SetPlan};
use crate::cli::output::Look;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::{count, size};
use crate::core::printable::plain;

/// What would become of every backup.
pub fn prune_plan(plan: &PrunePlan, look: &Look) -> String {
    let mut text: String = plan.sets.iter().map(|set| set_plan(set, look)).collect();
    let garbage = &plan.garbage;
    text += &format!("{} that no backup needs, {}\n", count_of(garbage.objects, "object"), size(garbage.stored_bytes));
    if let Some(why) = &garbage.blocked {
        text += &remark("not collected", why);
    }
    let quarantine = &plan.quarantine;
    if quarantine.files > 0 {
        let files = format!("{}, {}", count_of(quarantine.files, "damaged file"), size(quarantine.bytes));
        text += &match &quarantine.digest {
            Some(digest) => {
                remark("quarantine", &format!("{files}: look into them; to delete them:"))
                    + &to_type(&format!("prune --clear-quarantine {digest}"))
            }
            None => remark("quarantine", &format!("{files}: directories, for you to remove")),
        };
    }
    text
}

fn set_plan(plan: &SetPlan, look: &Look) -> String {
    let mut text = format!(
        "{}: {}, at most {} for {} days\n",
        plan.set,
        plan.policy,
        count_of(plan.max_backups, "version"),
        plan.retention_days
    );
    if let Some(why) = &plan.frozen {
        text += &remark("nothing is deleted", why);
    }
    let mut table = Table::new([("", Align::Left); 3]);
    for backup in &plan.backups {
        let tone = if backup.action == "delete" { Tone::Bad } else { Tone::Good };
        table.row([
            format!("  {}", backup.id.shortened()).into(),
            Cell::toned(&backup.action, tone),
            plain(&backup.explanation).into(),
        ]);
    }
    text += &table.render(look);
    if plan.would_free_bytes > 0 {
        text += &format!("  would free {}\n", size(plan.would_free_bytes));
    }
    text.extend(plan.held.iter().map(held));
    text
}

fn held(held: &HeldDocument) -> String {
    let why = match held.reason.as_str() {
        "large_share" => "that is more than half",
        "absence" => "they became too old while the service was away",
        "not_automatic" => "auto_cleanup = false",
        other => other,
    };
    let line = format!(
        "{} of {} of {} wait for you ({why}); to carry them out:",
        count_of(held.deletions, "deletion"),
        held.backups,
        held.set,
    );
    remark("held", &line) + &to_type(&format!("prune --confirm {}", held.digest))
}

/// What was done.
pub fn pruned(outcome: &PruneOutcome, look: &Look) -> String {
    if outcome.quarantine_cleared > 0 {
        let files = count_of(outcome.quarantine_cleared, "damaged file");
        return format!("{files} deleted from quarantine, {} freed\n", size(outcome.freed_bytes));
    }
    let mut table = Table::new([("", Align::Left); 3]);
    for backup in &outcome.deleted {
        table.row([
            format!("  {}", backup.id.shortened()).into(),
            backup.set.to_string().into(),
            plain(&backup.explanation).into(),
        ]);
    }
    let mut text = format!("{} deleted\n", count(outcome.deleted.len(), "backup"));
    text += &table.render(look);
    text += &format!("{} collected, {} freed\n", count_of(outcome.objects, "object"), size(outcome.freed_bytes));
    text.extend(outcome.collection_blocked.iter().map(|why| remark("not collected", why)));
    text.extend(outcome.held.iter().map(held));
    text.extend(outcome.failures.iter().map(|failure| remark("failed", failure)));
    text
}

/// What is given up, or would be.
pub fn forgotten(outcome: &ForgetOutcome, _: &Look) -> String {
    let verb = if outcome.done { "given up" } else { "this would give up" };
    let mut text = format!("{verb}:\n");
    text.extend(outcome.gives_up.iter().map(|what| format!("  {}\n", plain(what))));
    if !outcome.done {
        let what = match (outcome.backup, outcome.sequences.first()) {
            (Some(id), _) => id.shortened(),
            (None, sequence) => format!("{}:{}", outcome.set, sequence.copied().unwrap_or_default()),
        };
        text += "nothing was done; to do it:\n";
        text += &to_type(&format!("forget {what} --confirm {}", outcome.digest));
    }
    text
}

/// A backup that was pinned or unpinned.
pub fn pinned(backup: &BackupDetails, _: &Look) -> String {
    let summary = &backup.summary;
    let what = if summary.pinned { "is pinned: retention leaves it alone" } else { "is not pinned any more" };
    format!("{} of {} {what}\n", summary.id, summary.set)
}

fn count_of(number: u64, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}
