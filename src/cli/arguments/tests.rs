//! What is understood, and what is refused before anything is done.

use super::*;
use clap::CommandFactory;

fn parsed(line: &str) -> Result<Arguments, clap::Error> {
    Arguments::try_parse_from(line.split_whitespace())
}

fn refusal(line: &str) -> String {
    let error = parsed(line).expect_err(line);
    assert_eq!(error.exit_code(), 2, "{line}");
    error.to_string()
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn without_a_command_it_is_the_daemon() {
    let arguments = parsed("fiovana-app --config x.toml --log-format json").unwrap();
    assert_eq!(arguments.command, None);
    assert_eq!(arguments.global.config, Some("x.toml".into()));
    assert_eq!(arguments.global.log_format, Some(LogFormat::Json));
}

#[test]
fn global_flags_may_follow_the_command() {
    let arguments = parsed("fiovana-app list --set logs --limit 5 --json").unwrap();
    assert!(arguments.global.json);
    let list = ListArguments { set: Some("logs".parse().unwrap()), limit: Some(5), after: None };
    assert_eq!(arguments.command, Some(Command::List(list)));
}

#[test]
fn all_means_every_set_where_a_set_is_backed_up_and_nowhere_else() {
    let arguments = parsed("fiovana-app backup all").unwrap();
    assert_eq!(arguments.command, Some(Command::Backup { set: Sets::All }));
    assert!(refusal("fiovana-app restore all latest").contains("reserved"));
}

#[test]
fn a_restore_may_name_the_latest_a_file_and_a_directory() {
    let Some(Command::Restore(restore)) =
        parsed("fiovana-app restore security latest --to /tmp/x --file a.json").unwrap().command
    else {
        panic!("no restore")
    };
    assert_eq!((restore.id, restore.to), (BackupRef::Latest, Some("/tmp/x".into())));
    assert_eq!(restore.files, ["a.json"]);
}

#[test]
fn what_is_no_name_and_no_id_is_refused_before_anything_is_done() {
    assert!(refusal("fiovana-app show ../../etc/passwd").contains("is no backup id"));
    assert!(refusal("fiovana-app backup Security").contains("is no set name"));
    assert!(refusal("fiovana-app list --limit 0").contains("from 1 to 1000"));
    assert!(refusal("fiovana-app list --limit 1001").contains("from 1 to 1000"));
    assert!(refusal("fiovana-app --log-format xml").contains("human or json"));
    assert!(refusal("fiovana-app bakcup security").contains("backup"));
    refusal("fiovana-app restore logs latest --to /tmp/x --replace-logs");
}

#[test]
fn a_verification_names_one_backup_or_all() {
    assert!(refusal("fiovana-app verify").contains("--all"));
    refusal("fiovana-app verify 2026 --all");
    let all = parsed("fiovana-app verify --all").unwrap().command;
    assert_eq!(all, Some(Command::Verify { id: None, all: true }));
}

#[test]
fn losses_are_acknowledged_by_name_one_flag_each() {
    let exit = parsed("fiovana-app recovery exit --acknowledge a --acknowledge b").unwrap().command;
    let acknowledge = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(exit, Some(Command::Recovery(Recovery::Exit { acknowledge })));
}

#[test]
fn whatever_deletes_keeps_or_gives_up_shows_examples() {
    for command in ["prune", "pin", "unpin", "forget", "clock accept"] {
        let text = parsed(&format!("fiovana-app {command} --help")).unwrap_err().to_string();
        let example = text.split_once("Example").is_some_and(|(_, after)| after.contains(command));
        assert!(example, "{text}");
    }
    refusal("fiovana-app prune --dry-run --clear-quarantine 0123456789abcdef");
    refusal("fiovana-app prune --confirm 0123456789abcdef --clear-quarantine 0123456789abcdef");
}

#[test]
fn help_shows_examples_and_exit_codes() {
    let help = parsed("fiovana-app --help").unwrap_err();
    assert_eq!(help.exit_code(), 0);
    let text = help.to_string();
    assert!(text.contains("fiovana-app restore security latest") && text.contains("Exit codes"), "{text}");
}
