//! Backups as text.

use super::{remark, tone};
use crate::api::{BackupDetails, BackupList, BackupSummary, SymlinkDocument};
use crate::cli::facts::Facts;
use crate::cli::output::Look;
use crate::cli::table::{Align, Cell, Table};
use crate::cli::text::{age, count, size, time};
use crate::core::printable::plain;

/// As wide as an age gets, so that columns stay where they are from one look to the next.
const AGE: &str = "       AGE";

/// A page of backups.
pub fn list(list: &BackupList, look: &Look) -> String {
    if list.backups.is_empty() {
        return "no backups: `fiovana-app backup SET` makes one\n".to_owned();
    }
    let mut table = Table::new([
        ("BACKUP", Align::Left),
        ("SET", Align::Left),
        ("KIND", Align::Left),
        ("STATE", Align::Left),
        ("SIZE", Align::Right),
        ("CREATED (UTC)", Align::Left),
        (AGE, Align::Right),
        ("NOTE", Align::Left),
    ])
    // The id says it, too.
    .sparing("CREATED (UTC)");
    for backup in &list.backups {
        table.row([
            backup.id.shortened().into(),
            backup.set.to_string().into(),
            backup.kind.map(|kind| kind.to_string()).unwrap_or_default().into(),
            Cell::toned(backup.state.as_str(), tone(backup.state)),
            // Of a backup whose manifest is lost nothing is known.
            backup.sequence.map(|_| size(backup.size_bytes)).unwrap_or_default().into(),
            time(backup.created).into(),
            age(backup.created, look.now).into(),
            notes(backup).join("; ").into(),
        ]);
    }
    let mut text = table.render(look);
    if let Some(next) = list.next {
        text += &format!("there are more: add --after {next}\n");
    }
    text
}

/// What is out of the ordinary about a backup.
fn notes(backup: &BackupSummary) -> Vec<String> {
    let encrypted = (!backup.recipients.is_empty()).then(|| "encrypted".to_owned());
    let pinned = backup.pinned.then(|| "pinned".to_owned());
    // Of a backup whose manifest is lost nothing is known.
    let moved = (!backup.consistent && backup.sequence.is_some()).then(|| "files changed while read".to_owned());
    let manifest = format!("manifests/{}/{}.json", backup.set, backup.id);
    let fault = backup.fault.as_ref().map(|fault| fault.replace(&manifest, "its manifest"));
    [encrypted, pinned, moved, fault].into_iter().flatten().collect()
}

/// Everything about a backup.
pub fn details(backup: &BackupDetails, look: &Look) -> String {
    let mut text = facts(backup, look);
    if !backup.files.is_empty() {
        text.push('\n');
        text += &files(backup, look);
    }
    text + &symlinks(&backup.symlinks) + &absent_files(backup)
}

/// Symlinks, one line each.
pub(super) fn symlinks(links: &[SymlinkDocument]) -> String {
    links.iter().map(|link| format!("  {} -> {}\n", plain(&link.path), plain(&link.target))).collect()
}

fn facts(backup: &BackupDetails, look: &Look) -> String {
    let summary = &backup.summary;
    let moment = |at| format!("{} UTC ({})", time(at), age(at, look.now));
    let stored = size(summary.stored_bytes);
    let volume = format!("{} in {}, stored as {stored}", size(summary.size_bytes), count(backup.files.len(), "file"));
    let mut facts = Facts::default();
    let mut fact = |name: &'static str, value: Cell| facts.add(name, value);
    fact("Backup", summary.id.to_string().into());
    fact("Set", summary.set.to_string().into());
    fact("State", Cell::toned(summary.state.as_str(), tone(summary.state)));
    notes(summary).into_iter().for_each(|note| fact("Note", note.into()));
    if let Some(kind) = summary.kind {
        fact("Kind", kind.to_string().into());
    }
    if let Some(sequence) = summary.sequence {
        fact("Sequence", sequence.to_string().into());
    }
    fact("Created", moment(summary.created).into());
    fact("Verified", summary.verified.map_or_else(|| "never".to_owned(), moment).into());
    if summary.sequence.is_some() {
        fact("Size", volume.into());
    }
    if let Some(manifest) = backup.manifest_sha256 {
        fact("Manifest", manifest.to_string().into());
    }
    facts.render(look)
}

fn files(backup: &BackupDetails, look: &Look) -> String {
    let whole = file_table(backup, true);
    if whole.fits(look) {
        return whole.render(look);
    }
    // As sha256sum prints them, and reads them back.
    let hashes = backup.files.iter().map(|file| format!("{}  {}\n", file.sha256, plain(&file.path)));
    format!("{}\n{}", file_table(backup, false).render(look), hashes.collect::<String>())
}

fn file_table(backup: &BackupDetails, with_hashes: bool) -> Table<6> {
    let mut table = Table::new([
        ("FILE", Align::Left),
        ("SIZE", Align::Right),
        ("MODE", Align::Left),
        ("MODIFIED (UTC)", Align::Left),
        ("SHA-256", Align::Left),
        ("NOTE", Align::Left),
    ]);
    for file in &backup.files {
        let sha256 = with_hashes.then(|| file.sha256.to_string());
        table.row([
            file.path.as_str().into(),
            size(file.size_bytes).into(),
            file.mode.as_str().into(),
            time(file.modified).into(),
            sha256.unwrap_or_default().into(),
            file.fault.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

/// Files of the set that are not in the backup, one line each.
pub(super) fn absent_files(backup: &BackupDetails) -> String {
    let missing = backup.missing.iter().map(|path| remark("missing", path));
    let unreadable =
        backup.unreadable.iter().map(|file| remark("unreadable", &format!("{}: {}", file.path, file.reason)));
    missing.chain(unreadable).chain(fewer(&backup.fewer)).collect()
}

/// Files that are gone since the backup before.
fn fewer(gone: &[String]) -> Option<String> {
    const MAX_NAMED: usize = 20;
    let named: Vec<&str> = gone.iter().take(MAX_NAMED).map(String::as_str).collect();
    let more = match gone.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let what = format!("{} fewer than before", count(gone.len(), "file"));
    (!gone.is_empty()).then(|| remark(&what, &format!("{}{more}", named.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;
    use crate::core::BackupKind;

    #[test]
    fn a_list_is_a_table_that_says_how_to_see_more() {
        let page = BackupList { backups: vec![samples::summary(), samples::damaged()], next: Some(samples::id('a')) };
        let expected = "\
BACKUP                     SET          KIND    STATE       SIZE  CREATED (UTC)               AGE  NOTE
20261123T101500Z-33333333  security     manual  good     1.2 MiB  2026-11-23 10:15:00     3 h ago
20261123T101500Z-aaaaaaaa  application          damaged    512 B  2026-11-23 10:15:00     3 h ago  pinned; files changed while read; its manifest is absent
there are more: add --after 20261123T101500Z-aaaaaaaa
";
        assert_eq!(list(&page, &samples::look()), expected);
    }

    #[test]
    fn a_list_fits_40_columns_with_whole_ids() {
        let page = BackupList { backups: vec![samples::summary()], next: None };
        let expected = "\
20261123T101500Z-33333333
  set security  kind manual  state good
  size 1.2 MiB
  created (utc) 2026-11-23 10:15:00
  age 3 h ago
";
        let text = list(&page, &samples::narrow());
        assert_eq!(text, expected);
        assert!(text.lines().all(|line| line.chars().count() <= 40));
    }

    #[test]
    fn a_list_of_ordinary_backups_is_a_table_on_80_columns() {
        let scheduled = BackupSummary { kind: Some(BackupKind::Scheduled), ..samples::summary() };
        let unknown = BackupSummary { fault: None, sequence: None, pinned: false, ..samples::damaged() };
        let page = BackupList { backups: vec![scheduled, unknown], next: None };
        let expected = "\
BACKUP                     SET          KIND       STATE       SIZE         AGE
20261123T101500Z-33333333  security     scheduled  good     1.2 MiB     3 h ago
20261123T101500Z-aaaaaaaa  application             damaged              3 h ago
";
        assert_eq!(list(&page, &Look { width: Some(80), ..samples::look() }), expected);
    }

    #[test]
    fn an_empty_list_says_so() {
        assert_eq!(
            list(&BackupList { backups: vec![], next: None }, &samples::look()),
            "no backups: `fiovana-app backup SET` makes one\n"
        );
    }

    #[test]
    fn a_backup_is_shown_with_its_files_and_those_it_lacks() {
        let expected = "\
Backup    20261123T101500Z-33333333
Set       security
State     good
Kind      manual
Sequence  12
Created   2026-11-23 10:15:00 UTC (3 h ago)
Verified  2026-11-23 10:15:00 UTC (3 h ago)
Size      1.2 MiB in 1 file, stored as 300.0 KiB
Manifest  05b2fc7cd6bc3e8e4892ba3d834dc1a29e7c8c2e4f4a5ed0b4ebe4b3c2d5ee2b

FILE                     SIZE  MODE  MODIFIED (UTC)       SHA-256
security_config.json  1.2 MiB  0640  2026-11-20 08:00:00  CONTENT
  missing: safe_mode_config.json
  unreadable: magic_number_rules.json: permission denied
";
        let backup = samples::details();
        let expected = expected.replace("CONTENT", &backup.files[0].sha256.to_string()).replace(
            "05b2fc7cd6bc3e8e4892ba3d834dc1a29e7c8c2e4f4a5ed0b4ebe4b3c2d5ee2b",
            &backup.manifest_sha256.unwrap().to_string(),
        );
        assert_eq!(details(&backup, &samples::look()), expected);
    }

    #[test]
    fn a_file_name_cannot_drive_the_terminal() {
        let mut backup = samples::details();
        backup.files[0].path = "a\u{1b}[2J".into();
        backup.missing[0] = "b\u{7}".into();
        assert!(!details(&backup, &samples::look()).contains(['\u{1b}', '\u{7}']));
    }
}
