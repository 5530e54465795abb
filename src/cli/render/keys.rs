//! Keys, to be read.

use crate::api::{KeyChange, KeyCheck, KeyList};
use crate::cli::facts::Facts;
use crate::cli::output::Look;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::count;
use crate::core::printable::plain;

/// The identity that was made.
pub fn key_made(made: &KeyChange, look: &Look) -> String {
    let mut facts = Facts::default();
    facts.add("Identity", made.file.as_str());
    facts.add("Recipient", made.recipient.as_str());
    format!(
        "{}\nWhoever has the identity can read the backups, and without it nobody can.\nKeep a copy of its file where \
         neither this machine nor its backups can take it with them: on paper, in a password manager, in a safe.\n",
        facts.render(look)
    )
}

/// The recipients as they are now.
pub fn recipients_changed(changed: &KeyChange, _look: &Look) -> String {
    let recipients = count(changed.recipients, "recipient");
    format!(
        "{} has {recipients} now: each set is backed up anew for them, from its next backup on\n",
        plain(&changed.file)
    )
}

/// Every key.
pub fn keys(list: &KeyList, look: &Look) -> String {
    let mut table = Table::new([
        ("KEY", Align::Left),
        ("ENCRYPTS", Align::Left),
        ("OPENS HERE", Align::Left),
        ("BACKUPS", Align::Right),
        ("RECIPIENT", Align::Left),
    ]);
    let yes = |yes: bool| if yes { "yes" } else { "no" };
    for key in &list.keys {
        table.row([
            key.fingerprint.clone().into(),
            yes(key.encrypts).into(),
            yes(key.opens).into(),
            key.backups.to_string().into(),
            key.recipient.clone().unwrap_or_else(|| "unknown: no longer in the settings".to_owned()).into(),
        ]);
    }
    let encryption = if list.encryption_enabled { "on" } else { "off" };
    let table = if list.keys.is_empty() { "no keys\n".to_owned() } else { table.render(look) };
    let plain = match list.plain_backups {
        1 => "1 backup is not encrypted".to_owned(),
        backups => format!("{backups} backups are not encrypted"),
    };
    format!("{table}encryption is {encryption}; {plain}\n")
}

/// What the identities at hand open.
pub fn key_check(check: &KeyCheck, look: &Look) -> String {
    let mut table = Table::new([("SET", Align::Left), ("NEWEST BACKUP", Align::Left), ("OPENS", Align::Left)]);
    for set in &check.sets {
        let verdict = match (&set.fault, set.encrypted) {
            (Some(fault), _) => Cell::toned(fault, Tone::Bad),
            (None, true) => Cell::toned("yes", Tone::Good),
            (None, false) => "yes: it is not encrypted".into(),
        };
        table.row([set.set.to_string().into(), set.backup.to_string().into(), verdict]);
    }
    if check.sets.is_empty() { "no backups\n".to_owned() } else { table.render(look) }
}
