//! How each command is typed.
//!
//! Hazard: an example that does not work is tried first, at the worst time. A test types each of them.

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
  fiovana-app diff 20261122T1015 20261123T1015";

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
  fiovana-app config check --config new.toml   exit code 2 if they are not";

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
