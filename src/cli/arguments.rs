//! What can be typed.
//!
//! Hazard: a mistyped command that does something else. Ids and set names are checked before anything is opened or
//! sent, so nothing that is typed here can climb out of a path or a URL.

use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::api::MAX_LIST;
use crate::core::backup_id::BackupIdSyntax;
use crate::core::retention::PlanDigest;
use crate::core::set_name::SetNameError;
use crate::core::{BackupRef, ReplicaName, SetName};
use crate::keys::is_recipient;
use crate::settings::LogFormat;

use super::examples;
use super::url::ServiceUrl;

const EXAMPLES: &str = "\
Examples:
  fiovana-app                                  run the service
  fiovana-app backup security                  back up one set now
  fiovana-app list --set security              what there is to restore
  fiovana-app restore security latest          put the newest good backup back
  fiovana-app restore security latest --to /tmp/look
                                               look at it somewhere else first
  FIOVANA_RECOVERY_MODE=true fiovana-app       start in recovery mode

Exit codes: 0 done, 1 failed, 2 wrong usage or settings,
            3 done with problems, 4 integrity failure";

/// Apart from what a command itself accepts.
const EVERYWHERE: &str = "With every command";

/// Keeps configuration and audit logs recoverable, and proves it.
///
/// Without a command it runs the service. Commands talk to the service where it runs, and do the work themselves where
/// it does not.
#[derive(Debug, Parser)]
#[command(name = "fiovana-app", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Arguments {
    /// Settings that hold for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do; nothing: run the service.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What every command accepts.
#[derive(Clone, Debug, Default, Args)]
pub struct Global {
    /// Settings file [default: config/fiovana.toml if it is there]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of text
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub json: bool,
    /// Ask the service at this address, such as https://app.example:8443 or unix:/run/fiovana/api.sock [env: FIOVANA_URL]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "URL")]
    pub url: Option<ServiceUrl>,
    /// File with the token that the service at --url wants, readable by its owner only [env: FIOVANA_TOKEN_FILE]
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How log lines look: human or json
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Create the repository in the backup directory
    #[command(after_help = examples::INIT)]
    Init {
        /// Begin this replica instead, where the one that was there is gone for good
        #[arg(long, value_name = "NAME")]
        replica: Option<ReplicaName>,
    },
    /// Back up a set now, and read it back
    #[command(after_help = examples::BACKUP)]
    Backup {
        /// The set, or `all` for every enabled one
        set: Sets,
    },
    /// List backups, newest first
    #[command(after_help = examples::LIST)]
    List(ListArguments),
    /// Show everything about a backup, its files included
    #[command(after_help = examples::SHOW)]
    Show {
        /// Its id, or a unique beginning of it
        id: BackupRef,
    },
    /// Show what differs between a backup and what is live, or another backup; secrets are hidden
    #[command(after_help = examples::DIFF)]
    Diff {
        /// The id of a backup, or a unique beginning of it
        id: BackupRef,
        /// Another of the same set, or `live`
        #[arg(default_value = "live", value_name = "ID|live")]
        against: Against,
    },
    /// Restore a backup, in place or elsewhere
    #[command(after_help = "\
In place, the live files are backed up first, and the answer says how to undo
the restore. With --to, no live file is touched and none in DIR is replaced.

Examples:
  fiovana-app restore security latest
  fiovana-app restore security 20261123T1015 --file security_config.json
  fiovana-app restore logs latest --to /tmp/logs")]
    Restore(RestoreArguments),
    /// Bring back what is missing or invalid: shows what it would do, asks once, does it, checks it
    #[command(after_help = "\
Without options, files that are missing or do not parse come back from the
newest good copy of each; whatever is valid is kept. Logs are always kept. The
live files are backed up first, and the answer says how to undo it. In recovery
mode it also leaves that mode, once everything is well.

TIME is a moment (2026-11-23T10:15:00Z, '2026-11-23 10:15', in UTC), a day
(2026-11-23: its beginning), or how long ago ('2h ago', '3 days ago').

Examples:
  fiovana-app recover
  fiovana-app recover --dry-run --at '2h ago'
  fiovana-app recover --set security --yes")]
    Recover(RecoverArguments),
    /// Read backups whole and check every hash
    #[command(after_help = examples::VERIFY)]
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Verify {
        /// The id of a backup, or a unique beginning of it
        #[arg(group = "which")]
        id: Option<BackupRef>,
        /// Every backup of every set
        #[arg(long, group = "which")]
        all: bool,
    },
    /// Delete what retention gives up, or show what it would
    #[command(after_help = "\
Without a flag, what is due is deleted. A plan that takes more than half of a
set is held until it is confirmed by its digest.

Examples:
  fiovana-app prune --dry-run                  a reason for every backup
  fiovana-app prune --confirm 3f9c2ab1d04e5f67
  fiovana-app prune --clear-quarantine 90be41d27c33a8f5
                                               the damaged files that were kept")]
    Prune {
        /// Delete nothing, show what would become of every backup and why
        #[arg(long, conflicts_with_all = ["confirm", "clear_quarantine"])]
        dry_run: bool,
        /// Carry out the held plan with this digest
        #[arg(long, value_name = "DIGEST")]
        confirm: Option<PlanDigest>,
        /// Delete nothing but the damaged files in quarantine, as the dry run showed them with this digest
        #[arg(long, value_name = "DIGEST", conflicts_with = "confirm")]
        clear_quarantine: Option<PlanDigest>,
    },
    /// Protect a backup: it is never deleted automatically
    #[command(after_help = "\
Examples:
  fiovana-app pin 20261123T101500Z-3f9c2ab1
  fiovana-app pin 20261123T1015                a beginning will do, if it is the only one")]
    Pin {
        /// Its id, or a unique beginning of it
        id: BackupRef,
    },
    /// Take a backup's protection away
    #[command(after_help = "\
From then on it counts for retention like any other, and goes when it is due.

Example:
  fiovana-app unpin 20261123T101500Z-3f9c2ab1")]
    Unpin {
        /// Its id, or a unique beginning of it
        id: BackupRef,
    },
    /// Give up a damaged or lost backup for good
    #[command(after_help = "\
Shows what would be given up, and the digest to confirm it by. As long as a
manifest cannot be read, or a backup is lost, no stored content is collected,
for it may be needed; giving the backup up ends that.

Examples:
  fiovana-app forget 20261123T101500Z-3f9c2ab1
  fiovana-app forget security:7                backup 7 of security, which is lost")]
    Forget {
        /// The id of a damaged backup, or SET:SEQUENCE of a lost one
        what: Forgettable,
        /// Do it: the digest that was shown
        #[arg(long, value_name = "DIGEST")]
        confirm: Option<PlanDigest>,
    },
    /// Restore the newest good backup into a scratch directory, and compare
    #[command(after_help = examples::DRILL)]
    #[command(group = clap::ArgGroup::new("drilled").required(true))]
    Drill {
        /// The set
        #[arg(group = "drilled")]
        set: Option<SetName>,
        /// Every set that has a good backup
        #[arg(long, group = "drilled")]
        all: bool,
    },
    /// Say that the clock is right, whatever contradicts it
    #[command(subcommand)]
    Clock(Clock),
    /// Write a backup's files into one archive
    #[command(after_help = examples::EXPORT)]
    Export {
        /// Its id, or a unique beginning of it
        id: BackupRef,
        /// The archive, a tar file compressed by zstd; one that is there is never written over
        #[arg(value_name = "FILE.tar.zst")]
        archive: PathBuf,
    },
    /// Show everything at a glance
    #[command(after_help = examples::STATUS)]
    Status,
    /// Check, show or accept the audit log
    #[command(subcommand)]
    Audit(Audit),
    /// Look at, enter or leave recovery mode
    #[command(subcommand)]
    Recovery(Recovery),
    /// Show or check the settings
    #[command(subcommand)]
    Config(Config),
    /// Make, change, list or try the keys that backups are encrypted with
    #[command(subcommand)]
    Key(Key),
    /// Print what a shell needs to complete commands
    #[command(after_help = examples::COMPLETIONS)]
    Completions {
        /// The shell: bash, zsh or fish
        #[arg(hide_possible_values = true)]
        shell: CompletedShell,
    },
    /// Print the manual page
    #[command(after_help = examples::MAN)]
    Man,
}

/// A shell that can complete commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompletedShell {
    /// The GNU shell.
    Bash,
    /// The Z shell.
    Zsh,
    /// The friendly one.
    Fish,
}

impl From<CompletedShell> for clap_complete::Shell {
    fn from(shell: CompletedShell) -> Self {
        match shell {
            CompletedShell::Bash => Self::Bash,
            CompletedShell::Zsh => Self::Zsh,
            CompletedShell::Fish => Self::Fish,
        }
    }
}

/// The keys.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Key {
    /// Make an identity, which opens backups; one that is there is never written over
    #[command(after_help = examples::KEY_INIT)]
    Init,
    /// Encrypt for one more from the next backup on
    #[command(after_help = "\
Example:
  fiovana-app key add-recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")]
    AddRecipient {
        /// The recipient: age1…, as `key init` and age-keygen print it
        #[arg(value_parser = recipient)]
        recipient: String,
    },
    /// Encrypt no longer for this one; what is encrypted for it stays so
    #[command(after_help = examples::KEY_REMOVE)]
    RemoveRecipient {
        /// The recipient, or its fingerprint as `key list` shows it
        recipient: String,
    },
    /// Show every key, and how many backups it opens
    #[command(after_help = examples::KEY_LIST)]
    #[command(visible_alias = "show")]
    List,
    /// Open the newest backup of each set with the identity at hand
    #[command(after_help = examples::KEY_CHECK)]
    Check,
}

fn recipient(text: &str) -> Result<String, String> {
    if is_recipient(text) {
        Ok(text.to_owned())
    } else {
        Err("a recipient is age1 and 58 more characters, as `key init` and age-keygen print it".to_owned())
    }
}

/// Which backups to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ListArguments {
    /// Only backups of this set
    #[arg(long)]
    pub set: Option<SetName>,
    /// At most so many
    #[arg(long, value_name = "N", value_parser = page_size)]
    pub limit: Option<usize>,
    /// Only those that come after this one in the list
    #[arg(long, value_name = "ID")]
    pub after: Option<BackupRef>,
}

/// What to restore, and where to.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct RestoreArguments {
    /// The set
    pub set: SetName,
    /// The id of one of its backups, a unique beginning of it, or `latest`
    pub id: BackupRef,
    /// Restore into this directory instead of over the live files
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Only this file, by its path in the backup; may be given again
    #[arg(long = "file", value_name = "FILE")]
    pub files: Vec<String>,
    /// Let live logs be replaced too
    #[arg(long, conflicts_with = "to")]
    pub replace_logs: bool,
    /// Restore files whose owner cannot be kept all the same; they will belong to whoever restores them
    #[arg(long, conflicts_with = "to")]
    pub ignore_ownership: bool,
    /// Restore files that are not valid JSON all the same
    #[arg(long, conflicts_with = "to")]
    pub allow_invalid: bool,
}

/// What to recover, and whether to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RecoverArguments {
    /// This set wholly, files that are valid and differ included; `all` for every set; may be given again
    #[arg(long = "set", value_name = "SET")]
    pub sets: Vec<Sets>,
    /// As things were then, files that are valid and differ included
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Show what would be done, and change nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Restore files whose owner cannot be kept all the same; they will belong to whoever restores them
    #[arg(long)]
    pub ignore_ownership: bool,
}

/// The audit log.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Audit {
    /// Prove the whole chain, or name the first record that breaks it
    #[command(after_help = examples::AUDIT_VERIFY)]
    Verify,
    /// Show records, newest last
    #[command(after_help = examples::AUDIT_TAIL)]
    Tail(TailArguments),
    /// Accept what is wrong with the chain now, and say so in the log
    #[command(after_help = examples::AUDIT_ACCEPT)]
    Accept,
}

/// Which audit records to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct TailArguments {
    /// Go on with new records as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only records of this event, such as BackupFailed
    #[arg(long)]
    pub event: Option<String>,
    /// Only records about this set
    #[arg(long)]
    pub set: Option<SetName>,
    /// Only records of this moment or later: RFC 3339, such as 2026-11-23T10:15:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<DateTime<Utc>>,
    /// Only records with a higher number, the oldest of them first
    #[arg(long, value_name = "SEQ")]
    pub after: Option<u64>,
    /// At most so many at first
    #[arg(long, value_name = "N", value_parser = page_size)]
    pub limit: Option<usize>,
}

/// Recovery mode.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Recovery {
    /// Enter recovery mode: no schedules, nothing is deleted
    #[command(after_help = examples::RECOVERY_ENTER)]
    Enter,
    /// Show the mode, and what `recover` would do
    #[command(after_help = examples::RECOVERY_STATUS)]
    Status,
    /// Leave recovery mode
    #[command(after_help = examples::RECOVERY_EXIT)]
    Exit {
        /// A loss to accept, by the name that `status` shows
        #[arg(long, value_name = "NAME")]
        acknowledge: Vec<String>,
    },
}

/// The clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Clock {
    /// Believe it from now on: ages are told by it, and deletion resumes
    #[command(after_help = "\
Only where the clock is right and what contradicts it is not: `status` names that.
A clock that was wrong is set right, and believed again by itself.

Example:
  date -u && fiovana-app clock accept")]
    Accept,
}

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Config {
    /// Print every effective value and who said it
    #[command(after_help = examples::CONFIG_SHOW)]
    Show,
    /// Say whether the settings are valid
    #[command(after_help = examples::CONFIG_CHECK)]
    Check,
}

/// What a backup is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Against {
    /// The live files.
    Live,
    /// Another backup.
    Backup(BackupRef),
}

impl FromStr for Against {
    type Err = BackupIdSyntax;

    fn from_str(text: &str) -> Result<Self, BackupIdSyntax> {
        if text == "live" { Ok(Self::Live) } else { text.parse().map(Self::Backup) }
    }
}

/// One set, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sets {
    /// Every enabled set.
    All,
    /// This one.
    One(SetName),
}

impl std::fmt::Display for Sets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::One(set) => set.fmt(f),
        }
    }
}

impl FromStr for Sets {
    type Err = SetNameError;

    fn from_str(text: &str) -> Result<Self, SetNameError> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::One) }
    }
}

/// A damaged backup, or a lost one; in the form in which the API takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forgettable(pub String);

impl FromStr for Forgettable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let checked = match text.split_once(':') {
            Some((set, sequence)) => {
                set.parse::<SetName>().map_err(|error| error.to_string())?;
                sequence.parse::<u64>().map(drop).map_err(|_| "give a lost backup as SET:SEQUENCE".to_owned())
            }
            None => text.parse::<BackupRef>().map(drop).map_err(|error| error.to_string()),
        };
        checked.map(|()| Self(text.to_owned()))
    }
}

fn page_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (1..=MAX_LIST).contains(size));
    size.ok_or_else(|| format!("give a whole number from 1 to {MAX_LIST}"))
}

#[cfg(test)]
mod tests {
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
}
