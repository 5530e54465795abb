//! Recovery as text: for somebody who is tired, at 80 columns, and at 40.

use super::remark;
use super::status::mode;
use super::work::restored;
use crate::api::{ApplyOutcome, PlanDocument, RecoveryDocument};
use crate::cli::output::{Look, plain};
use crate::cli::recover::Recovered;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::{age, count, time};
use crate::core::recovery_plan::{Action, Entry, LiveState};

/// The mode, and what would be done.
pub fn recovery(document: &RecoveryDocument, look: &Look) -> String {
    let mut text = mode(&document.mode, look) + "\n" + &plan(&document.plan, look);
    if document.plan.restores > 0 || document.mode.name == "recovery" {
        text += "next: fiovana-app recover\n";
    }
    text
}

/// What would be done.
pub fn plan(plan: &PlanDocument, look: &Look) -> String {
    let mut text = match plan.asked.at {
        Some(at) => format!("as of {} UTC ({}):\n", time(at), age(at, look.now)),
        None => String::new(),
    };
    text += &match plan.restores {
        0 => "nothing to restore\n".to_owned(),
        files => format!("{} to restore:\n\n{}", count(files, "file"), restores(plan, look)),
    };
    let invalid = plan.entries.iter().filter(|entry| entry.live == LiveState::Invalid && !entry.is_problem());
    text.extend(invalid.map(|entry| remark(&name(entry), &entry.reason)));
    let problems: Vec<&Entry> = plan.entries.iter().filter(|entry| entry.is_problem()).collect();
    if !problems.is_empty() {
        text += &format!("\nnot mended by this, {}:\n", count(problems.len(), "file"));
        text.extend(problems.iter().map(|entry| remark(&name(entry), &problem(entry))));
    }
    text + &kept(plan)
}

fn restores(plan: &PlanDocument, look: &Look) -> String {
    let columns = [("FILE", Align::Left), ("NOW", Align::Left), ("FROM (UTC)", Align::Left), ("", Align::Right)];
    let mut table = Table::new(columns);
    for entry in &plan.entries {
        if let Some(chosen) = entry.chosen() {
            let made = chosen.created.format("%Y-%m-%d %H:%M").to_string();
            let now = Cell::toned(entry.live.as_str(), Tone::Bad);
            table.row([name(entry).into(), now, made.into(), age(chosen.created, look.now).into()]);
        }
    }
    table.render(look)
}

fn name(entry: &Entry) -> String {
    format!("{}/{}", entry.set, entry.path)
}

fn problem(entry: &Entry) -> String {
    match entry.action {
        Action::Lost => format!("LOST: {}", entry.reason),
        _ => entry.reason.clone(),
    }
}

/// What is left alone: counted, and named where it differs.
fn kept(plan: &PlanDocument) -> String {
    let kept = || plan.entries.iter().filter(|entry| entry.action == Action::Keep && !entry.is_problem());
    let mut text = String::new();
    if kept().next().is_some() {
        text += &format!("\n{} kept as they are\n", count(kept().count(), "file"));
    }
    let differing = kept().filter(|entry| entry.live == LiveState::Differs);
    text.extend(differing.map(|entry| remark(&name(entry), &entry.reason)));
    text
}

/// What came of a plan.
pub fn applied(outcome: &ApplyOutcome, look: &Look) -> String {
    let mut text: String = outcome.restored.iter().map(|set| format!("\n{}", restored(set, look))).collect();
    for failed in &outcome.failed {
        text += &format!("\nnot restored: {}: {}\n", failed.set, plain(&failed.problem.detail));
    }
    text.push('\n');
    text + &match outcome.validated {
        true => "validated: the live files are whole, and each set has a good backup\n".to_owned(),
        false => {
            let losses: String = outcome.losses.iter().map(|loss| remark("not well", loss)).collect();
            format!("not validated\n{losses}")
        }
    }
}

/// Where that leaves the service.
pub fn recovered(recovered: &Recovered, look: &Look) -> String {
    let Some(outcome) = &recovered.outcome else { return String::new() };
    let mut text = String::new();
    if recovered.mode.name == "recovery" {
        text += &mode(&recovered.mode, look);
        let accepted: String = outcome.losses.iter().map(|loss| format!(" --acknowledge '{loss}'")).collect();
        if !accepted.is_empty() {
            text += &format!("to leave it, with that accepted:\n  fiovana-app recovery exit{}\n", plain(&accepted));
        }
    } else if outcome.mode.name == "recovery" {
        text += "left recovery mode\n";
        text += &mode(&recovered.mode, look);
    }
    text + &format!("done in {:.1} s\n", outcome.duration_seconds)
}
