//! How each command is typed.
//!
//! Hazard: an example that does not work is tried first, at the worst time. A test types each of them.

pub const PROGRAM: &str = "\
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

pub const INIT: &str = "\
Examples:
  fiovana-app init
  fiovana-app init --replica usb                its disk was replaced";

pub const BACKUP: &str = "\
Examples:
  fiovana-app backup security
  fiovana-app backup all --json";

pub const LIST: &str = "\
Examples:
  fiovana-app list
  fiovana-app list --set security --limit 5
  fiovana-app list --json --after 20261123T101500Z-3f9c2ab1";

pub const SHOW: &str = "\
Example:
  fiovana-app show 20261123T1015               a beginning will do, if it is the only one";

pub const DIFF: &str = "\
Examples:
  fiovana-app diff 20261123T1015               what was changed since
  fiovana-app diff 20261122T1015 20261123T1015
  fiovana-app diff 20261123T1015 --show-secrets";

pub const VERIFY: &str = "\
Examples:
  fiovana-app verify 20261123T101500Z-3f9c2ab1
  fiovana-app verify --all                     exit code 4 if one is damaged";

pub const DRILL: &str = "\
Examples:
  fiovana-app drill security
  fiovana-app drill --all";

pub const STATUS: &str = "\
Examples:
  fiovana-app status
  fiovana-app status --url https://app.example:8443 --token-file token";

pub const AUDIT_VERIFY: &str = "\
Example:
  fiovana-app audit verify                     exit code 4 if it is broken";

pub const AUDIT_TAIL: &str = "\
Examples:
  fiovana-app audit tail --follow
  fiovana-app audit tail --event BackupFailed --since 2026-11-23T10:15:00Z
  fiovana-app audit tail --json --limit 100    one record a line";

pub const AUDIT_ACCEPT: &str = "\
Examples:
  fiovana-app audit verify                     what would be accepted
  fiovana-app audit accept";

pub const RECOVERY_ENTER: &str = "\
Example:
  fiovana-app recovery enter";

pub const RECOVERY_STATUS: &str = "\
Example:
  fiovana-app recovery status";

pub const RECOVERY_EXIT: &str = "\
Examples:
  fiovana-app recovery exit
  fiovana-app recovery exit --acknowledge logs/error.log";

pub const CONFIG_SHOW: &str = "\
Examples:
  fiovana-app config show
  fiovana-app config show --config new.toml";

pub const CONFIG_CHECK: &str = "\
Example:
  fiovana-app config check --config new.toml   exit code 2 if they are not, 3 if a source is not safe";

pub const KEY_INIT: &str = "\
Example:
  fiovana-app key init";

pub const KEY_REMOVE: &str = "\
Examples:
  fiovana-app key list                         its fingerprint
  fiovana-app key remove-recipient 3f9c2ab1d04e5f67";

pub const KEY_LIST: &str = "\
Example:
  fiovana-app key list";

pub const KEY_CHECK: &str = "\
Example:
  fiovana-app key check                        exit code 1 if one does not open";

pub const EXPORT: &str = "\
Examples:
  fiovana-app export 20261123T1015 security.tar.zst
  tar --zstd -xf security.tar.zst";

pub const COMPLETIONS: &str = "\
Examples:
  fiovana-app completions bash > /etc/bash_completion.d/fiovana-app
  fiovana-app completions zsh > /usr/local/share/zsh/site-functions/_fiovana-app
  fiovana-app completions fish > ~/.config/fish/completions/fiovana-app.fish";

pub const MAN: &str = "\
Examples:
  fiovana-app man | man -l -
  fiovana-app man > /usr/local/share/man/man1/fiovana-app.1";

pub const RESTORE: &str = "\
In place, the live files are backed up first, and the answer says how to undo
the restore. With --to, no live file is touched and none in DIR is replaced.

Examples:
  fiovana-app restore security latest
  fiovana-app restore security 20261123T1015 --file security_config.json
  fiovana-app restore logs latest --to /tmp/logs";

pub const RECOVER: &str = "\
Without options, files that are missing or do not parse come back from the
newest good copy of each; whatever is valid is kept. Logs are always kept. The
live files are backed up first, and the answer says how to undo it. In recovery
mode it also leaves that mode, once everything is well.

TIME is a moment (2026-11-23T10:15:00Z, '2026-11-23 10:15', in UTC), a day
(2026-11-23: its beginning), or how long ago ('2h ago', '3 days ago').

Examples:
  fiovana-app recover
  fiovana-app recover --dry-run --at '2h ago'
  fiovana-app recover --set security --yes";

pub const PRUNE: &str = "\
Without a flag, what is due is deleted. A plan that takes more than half of a
set is held until it is confirmed by its digest.

Examples:
  fiovana-app prune --dry-run                  a reason for every backup
  fiovana-app prune --confirm 3f9c2ab1d04e5f67
  fiovana-app prune --clear-quarantine 90be41d27c33a8f5
                                               the damaged files that were kept";

pub const PIN: &str = "\
Examples:
  fiovana-app pin 20261123T101500Z-3f9c2ab1
  fiovana-app pin 20261123T1015                a beginning will do, if it is the only one";

pub const UNPIN: &str = "\
From then on it counts for retention like any other, and goes when it is due.

Example:
  fiovana-app unpin 20261123T101500Z-3f9c2ab1";

pub const FORGET: &str = "\
Shows what would be given up, and the digest to confirm it by. As long as a
manifest cannot be read, or a backup is lost, no stored content is collected,
for it may be needed; giving the backup up ends that.

Examples:
  fiovana-app forget 20261123T101500Z-3f9c2ab1
  fiovana-app forget security:7                backup 7 of security, which is lost";

pub const CLOCK_ACCEPT: &str = "\
Only where the clock is right and what contradicts it is not: `status` names that.
A clock that was wrong is set right, and believed again by itself.

Example:
  date -u && fiovana-app clock accept";

pub const TIMELINE: &str = "\
A new one begins where the audit log or a replica knows backups that are not here: an older copy of the
repository was put back. New backups go on in it; nothing is deleted until you have seen it.

Examples:
  fiovana-app timeline
  fiovana-app timeline accept";

pub const TIMELINE_ACCEPT: &str = "\
First look what departed from what, and what came back: `fiovana-app timeline`, `fiovana-app list`.

A replica that another copy of this repository writes to, a clone of this machine, is written to by neither. Take it from
the settings of one of the two, and say here that this one keeps it.

Examples:
  fiovana-app timeline && fiovana-app timeline accept
  fiovana-app timeline accept --replica usb";

pub const KEY_ADD: &str = "\
Example:
  fiovana-app key add-recipient age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
