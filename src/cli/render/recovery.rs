//! Recovery as text: for somebody who is tired, at 80 columns, and at 40.

use super::status::mode;
use super::work::restored;
use super::{remark, to_type};
use crate::api::{ApplyOutcome, PlanDocument, RecoveryDocument};
use crate::cli::output::Look;
use crate::cli::recover::Recovered;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::{age, count, time};
use crate::core::printable::plain;
use crate::core::recovery_plan::{Action, Entry, LiveState};

/// The mode, and what would be done.
pub fn recovery(document: &RecoveryDocument, look: &Look) -> String {
    let mut text = mode(&document.mode, look) + "\n" + &plan(&document.plan, look);
    if document.plan.restores > 0 || document.mode.name == "recovery" {
        text += "next:\n";
        text += &to_type("recover");
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
        Action::Absent => format!("ABSENT: {}", entry.reason),
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
        true => "validated: the live files are whole, and each set with backups has a good one\n".to_owned(),
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
            text += "to leave it, with that accepted:\n";
            text += &to_type(&format!("recovery exit{}", plain(&accepted)));
        }
    } else if outcome.mode.name == "recovery" {
        text += "left recovery mode\n";
        text += &mode(&recovered.mode, look);
    }
    text + &format!("done in {:.1} s\n", outcome.duration_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_plan_says_what_comes_back_from_when_what_is_lost_and_what_is_kept_in_80_columns() {
        let expected = "\
2 files to restore:

FILE                                  NOW      FROM (UTC)
security/circuit_breaker_config.json  missing  2026-11-23 10:15  3 h ago
security/security_config.json         invalid  2026-11-23 10:15  3 h ago
  security/security_config.json: invalid: expected value at line 1 column 7

not mended by this, 1 file:
  security/magic_number_rules.json: LOST: missing; no good copy is left

2 files kept as they are
  security/safe_mode_config.json: differs, and is valid
";
        let text = plan(&samples::plan(), &samples::look());
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 80));
    }

    #[test]
    fn a_plan_fits_40_columns() {
        let table = restores(&samples::plan(), &samples::narrow());
        assert!(table.lines().all(|line| line.chars().count() <= 40), "{table}");
        assert!(table.contains("security/circuit_breaker_config.json\n  now missing"), "{table}");
    }

    #[test]
    fn what_was_not_restored_and_how_to_accept_a_loss_is_said() {
        let outcome = samples::applied();
        let text = applied(&outcome, &samples::look());
        assert!(text.contains("\nnot restored: logs: restore logs from 2026: it is a log\n"), "{text}");
        assert!(text.ends_with("\nnot validated\n  not well: security/magic_number_rules.json\n"), "{text}");
        let recovered = Recovered { plan: samples::plan(), mode: samples::mode(), outcome: Some(outcome) };
        let text = super::recovered(&recovered, &samples::look());
        assert!(
            text.contains("  fiovana-app recovery exit --acknowledge 'security/magic_number_rules.json'\n"),
            "{text}"
        );
        assert!(text.ends_with("done in 0.4 s\n"), "{text}");
    }

    #[test]
    fn the_mode_comes_with_what_to_run_next() {
        let document = RecoveryDocument { mode: samples::mode(), plan: samples::plan() };
        assert!(recovery(&document, &samples::look()).ends_with("next:\n  fiovana-app recover\n"));
    }
}
