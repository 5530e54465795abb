//! `recover`: from whatever happened back to a state that was checked, in one command.
//!
//! Hazard: a tired person who agrees to something else than what is then done. What would be done is shown, one
//! question is asked, and what was shown is what is applied, by its digest; a plan that changed meanwhile is shown and
//! asked about again.

use std::io::{IsTerminal, stdin};

use serde::Serialize;

use super::arguments::RecoverArguments;
use super::client::Client;
use super::commands::{reach, with_client};
use super::exit::Exit;
use super::failure::Failure;
use super::moment;
use super::output::Output;
use super::place::Place;
use super::reader::Reader;
use super::render;
use super::text::count;
use crate::api::{ApplyOptions, ApplyOutcome, ModeDocument, PlanDocument, PlanOptions, Problem, ProblemKind};
use crate::daemon::{self, Missing, Need};

/// How often a plan that changes under our hands is shown again.
const MAX_PLANS: u32 = 3;

/// In how many files what would change is shown, and in how many lines each.
const MAX_CHANGED_FILES: usize = 10;
const MAX_CHANGES: usize = 10;

/// Everything that came of it.
#[derive(Debug, Serialize)]
pub struct Recovered {
    /// What was planned.
    pub plan: PlanDocument,
    /// What came of that; absent if there was nothing to do.
    pub outcome: Option<ApplyOutcome>,
    /// The mode after it.
    pub mode: ModeDocument,
}

/// Plans, asks, applies, validates, leaves recovery mode.
pub fn recover(arguments: &RecoverArguments, place: Place, output: &mut Output<'_>) -> Result<Exit, Failure> {
    let options = asked(arguments, output)?;
    if let Place::Here(settings) = &place
        && arguments.dry_run
        && reach(settings)?.is_none()
    {
        let plan = Reader::open(settings)?.plan(&options)?;
        show(&plan, &place, output)?;
        return Ok(Exit::of_plan(&plan));
    }
    if let Place::Here(settings) = &place
        && reach(settings)?.is_none()
        && let Some(missing) = daemon::missing(settings)
        && !may_come_back(missing, arguments, output)?
    {
        output.message("nothing was changed");
        return Ok(Exit::Failed);
    }
    let known = place.clone();
    let bars = output.bars();
    let body = async |client: &Client| drive(arguments, &options, client, &known, output).await;
    with_client(place, Need::Emergency, bars, body)
}

/// Whether the repository, which is gone, is to be brought back from what replicas have; an error if none has it. Its disk
/// may only have to be mounted, so that is asked.
fn may_come_back(missing: Missing, arguments: &RecoverArguments, output: &mut Output<'_>) -> Result<bool, Failure> {
    if !missing.can_come_back() {
        return Err(daemon::Failure::from(missing).into());
    }
    if arguments.yes {
        return Ok(true);
    }
    if nobody_can_be_asked(output) {
        output.message(&missing.to_command());
        return Err(unasked());
    }
    let (directory, copies) = (missing.directory().display(), missing.copies());
    output.message(&format!("the repository in {directory} is gone; its disk may only have to be mounted"));
    Ok(output.confirm(&format!("Bring it back from {copies}?")))
}

fn asked(arguments: &RecoverArguments, output: &Output<'_>) -> Result<PlanOptions, Failure> {
    let at = arguments.at.as_ref().map(|text| moment::parse(text, output.now())).transpose();
    let at = at.map_err(|why| Problem::new(ProblemKind::BadRequest, why))?;
    Ok(PlanOptions { sets: arguments.sets.iter().map(ToString::to_string).collect(), at })
}

async fn drive(
    arguments: &RecoverArguments,
    options: &PlanOptions,
    client: &Client,
    place: &Place,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    let mut plan = client.plan(options).await?;
    if arguments.dry_run {
        show(&plan, place, output)?;
        return Ok(Exit::of_plan(&plan));
    }
    for _plan in 0..MAX_PLANS {
        let in_recovery = client.status()?.mode.name == "recovery";
        output.part(&plan, render::plan)?;
        changes(&plan, place, output)?;
        if plan.restores == 0 && !in_recovery {
            let (exit, mode) = (Exit::of_plan(&plan), client.status()?.mode);
            output.document(&Recovered { plan, outcome: None, mode }, |_, _| String::new())?;
            return Ok(exit);
        }
        if !arguments.yes && !agreed(&plan, output)? {
            output.message("nothing was changed");
            return Ok(Exit::Failed);
        }
        let PlanOptions { sets, at } = options.clone();
        let ignore_ownership = arguments.ignore_ownership;
        match client.apply(&ApplyOptions { digest: Some(plan.digest), sets, at, ignore_ownership }).await {
            Ok(outcome) => return finish(plan, outcome, client, output).await,
            Err(Failure::Problem(Problem { plan: Some(now), detail, .. })) => {
                output.message(&detail);
                plan = *now;
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(Problem::new(ProblemKind::StalePlan, "the live files keep changing: stop the application first").into())
}

/// Shows a plan that is all there is to see.
fn show(plan: &PlanDocument, place: &Place, output: &mut Output<'_>) -> Result<(), Failure> {
    output.document(plan, render::plan)?;
    changes(plan, place, output)
}

/// Shows what would change in files that are there, as far as that can be told here: read from the repository and the
/// live files themselves, which needs no token.
fn changes(plan: &PlanDocument, place: &Place, output: &mut Output<'_>) -> Result<(), Failure> {
    let replaced = plan.entries.iter().filter_map(|entry| Some((entry, entry.chosen()?)));
    let replaced: Vec<_> = replaced.filter(|(_, chosen)| chosen.replaces.is_some()).collect();
    if replaced.is_empty() || output.is_json() {
        return Ok(());
    }
    let Place::Here(settings) = place else {
        return output.part(&replaced.len(), |files, _| {
            format!("\n{} would change: `fiovana-app diff ID` shows how\n", count(*files, "file"))
        });
    };
    // The plan holds without it.
    let Ok(reader) = Reader::open(settings) else { return Ok(()) };
    for (entry, chosen) in replaced.iter().take(MAX_CHANGED_FILES) {
        if let Ok(Some(change)) = reader.change_of(&entry.set, &entry.path, chosen.backup) {
            output.part(&change, |change, look| format!("\n{}", render::file_diff(change, MAX_CHANGES, look)))?;
        }
    }
    output.part(&replaced.len().saturating_sub(MAX_CHANGED_FILES), |more, _| match more {
        0 => String::new(),
        more => format!("\n{more} more files would change: `fiovana-app diff ID` shows how\n"),
    })
}

/// Whether a person agrees to the plan; a usage error where there is none to ask.
fn agreed(plan: &PlanDocument, output: &mut Output<'_>) -> Result<bool, Failure> {
    if nobody_can_be_asked(output) {
        return Err(unasked());
    }
    output.part(&(), |(), _| "\n".to_owned())?;
    Ok(output.confirm(&match plan.restores {
        0 => "Validate everything and leave recovery mode?".to_owned(),
        1 => "Restore this file? What is live is backed up first.".to_owned(),
        files => format!("Restore these {files} files? What is live is backed up first."),
    }))
}

fn nobody_can_be_asked(output: &Output<'_>) -> bool {
    output.is_json() || !stdin().is_terminal()
}

fn unasked() -> Failure {
    let detail = "nothing was changed, because nobody can be asked here: add --yes to agree, or --dry-run to look";
    Problem::new(ProblemKind::BadRequest, detail).into()
}

/// Leaves recovery mode if all is well, and says how it went.
async fn finish(
    plan: PlanDocument,
    outcome: ApplyOutcome,
    client: &Client,
    output: &mut Output<'_>,
) -> Result<Exit, Failure> {
    output.part(&outcome, render::applied)?;
    let mut mode = outcome.mode.clone();
    if outcome.validated && mode.name == "recovery" {
        mode = client.exit_recovery(&[]).await?;
    }
    let exit = Exit::of_recovery(&plan, &outcome);
    output.document(&Recovered { plan, outcome: Some(outcome), mode }, render::recovered)?;
    Ok(exit)
}
