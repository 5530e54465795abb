//! Commands against a service in another process: what is printed, and how it ends.

use super::*;
use crate::api::{BackupList, DrillVerdict, Status, VerifyVerdict};
use crate::cli::samples;
use crate::cli::test_service::{Script, TestService, answer, refusal};

struct Ran {
    exit: Result<Exit, Failure>,
    results: String,
    messages: String,
}

fn ran(script: Script, what: Work, json: bool) -> Ran {
    let service = TestService::start(script);
    let (mut results, mut messages) = (Vec::new(), Vec::new());
    let mut output = Output::new(&mut results, &mut messages, samples::look(), json);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let exit = runtime.block_on(perform(what, &Client::there(service.remote(), Bars::NONE), &mut output));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { exit, results: text(results), messages: text(messages) }
}

fn one_set_is_fine_the_other_busy(request: &str) -> Option<(u16, String)> {
    match request {
        "GET /api/status" => answer(200, &samples::status()),
        "POST /api/backup/security" => answer(201, &samples::details()),
        _ => refusal(&Problem::new(ProblemKind::Busy, "logs is being backed up")),
    }
}

#[test]
fn a_backup_that_lacks_files_is_done_with_problems() {
    let ran = ran(one_set_is_fine_the_other_busy, Work::Backup("security".parse().unwrap()), false);
    assert_eq!(ran.exit.unwrap(), Exit::Problems);
    assert!(ran.results.starts_with("backed up security: 20261123T101500Z-33333333 (good)\n"), "{}", ran.results);
}

#[test]
fn one_set_that_fails_keeps_no_other_from_being_backed_up() {
    let ran = ran(one_set_is_fine_the_other_busy, Work::Backup(Sets::All), false);
    assert_eq!(ran.exit.unwrap(), Exit::Failed);
    assert!(ran.results.starts_with("backed up security"), "{}", ran.results);
    assert_eq!(ran.messages, "fiovana-app: logs: logs is being backed up\n");
}

#[test]
fn as_json_all_backups_are_one_document() {
    let ran = ran(one_set_is_fine_the_other_busy, Work::Backup(Sets::All), true);
    assert_eq!(ran.results.lines().count(), 1);
    let batch: Batch<BackupDetails> = serde_json::from_str(&ran.results).unwrap();
    assert_eq!(batch.done, [samples::details()]);
    assert_eq!((batch.failed.len(), batch.failed[0].name.as_str()), (1, "logs"));
}

#[test]
fn backing_up_all_of_nothing_is_a_failure() {
    let nothing_enabled: Script = |_| {
        let mut status: Status = samples::status();
        status.sets.iter_mut().for_each(|set| set.enabled = false);
        answer(200, &status)
    };
    let ran = ran(nothing_enabled, Work::Backup(Sets::All), false);
    assert_eq!(ran.exit.unwrap_err().exit(), Exit::Failed);
}

fn two_pages_the_second_damaged(request: &str) -> Option<(u16, String)> {
    let page = |summary, next| answer(200, &BackupList { backups: vec![summary], next });
    match request {
        "GET /api/backup/list?limit=1000" => page(samples::summary(), Some(samples::id('3'))),
        "GET /api/backup/list?limit=1000&after=20261123T101500Z-33333333" => page(samples::damaged(), None),
        "POST /api/backup/20261123T101500Z-33333333/verify" => answer(200, &samples::verified(VerifyVerdict::Intact)),
        "POST /api/backup/20261123T101500Z-aaaaaaaa/verify" => answer(200, &samples::verified(VerifyVerdict::Damaged)),
        _ => None,
    }
}

#[test]
fn verifying_all_goes_through_every_page_and_ends_with_4_if_one_is_damaged() {
    let ran = ran(two_pages_the_second_damaged, Work::VerifyAll, false);
    assert_eq!(ran.exit.unwrap(), Exit::Integrity);
    assert!(
        ran.results.ends_with("1 intact, 1 damaged, 0 not verified; 8.0 KiB read, 1 stored file lost\n"),
        "{}",
        ran.results
    );
}

#[test]
fn a_backup_that_was_deleted_since_it_was_listed_is_no_failure() {
    let ran = ran(
        |request| match request {
            "POST /api/backup/20261123T101500Z-aaaaaaaa/verify" => {
                refusal(&Problem::new(ProblemKind::NotFound, "there is no backup 20261123T101500Z-aaaaaaaa"))
            }
            other => two_pages_the_second_damaged(other),
        },
        Work::VerifyAll,
        false,
    );
    assert_eq!(ran.exit.unwrap(), Exit::Done);
    assert!(ran.results.ends_with("1 intact, 0 damaged, 0 not verified; 4.0 KiB read\n"), "{}", ran.results);
}

#[test]
fn a_drill_that_fails_keeps_no_other_from_being_held_and_decides_the_exit() {
    let ran = ran(
        |request| match request {
            "GET /api/status" => {
                let mut status = samples::status();
                status.sets[1].latest = Some(samples::id('4'));
                answer(200, &status)
            }
            "POST /api/drill/security" => answer(200, &samples::drilled(DrillVerdict::Damaged)),
            "POST /api/drill/logs" => answer(200, &samples::drilled(DrillVerdict::Passed)),
            _ => None,
        },
        Work::DrillAll,
        false,
    );
    assert_eq!(ran.exit.unwrap(), Exit::Integrity);
    assert!(ran.results.contains("damaged") && ran.results.contains("passed"), "{}", ran.results);
}

#[test]
fn the_json_of_a_command_is_the_document_of_the_api() {
    let ran = ran(|_| answer(200, &samples::status()), Work::Status, true);
    assert_eq!(ran.exit.unwrap(), Exit::Done);
    assert_eq!(serde_json::from_str::<Status>(&ran.results).unwrap(), samples::status());
    assert!(ran.results.ends_with("}\n"));
    assert_eq!(ran.messages, "");
}
