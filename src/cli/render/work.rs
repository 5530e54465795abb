//! What was done, as text.

use std::collections::BTreeSet;

use super::backups::{absent_files, symlinks};
use super::remark;
use crate::api::{
    BackupDetails, DamageDocument, DrillOutcome, DrillVerdict, RestoreOutcome, VerifyOutcome, VerifyVerdict,
};
use crate::cli::batch::Batch;
use crate::cli::output::Look;
use crate::cli::table::{Align, Cell, Table, Tone};
use crate::cli::text::{count, size};
use crate::core::BackupState;
use crate::core::printable::plain;

/// A backup that was made.
pub fn backed_up(backup: &BackupDetails, _: &Look) -> String {
    let summary = &backup.summary;
    let links = match backup.symlinks.len() {
        0 => String::new(),
        links => format!(" and {}", count(links, "symlink")),
    };
    let mut text = format!(
        "backed up {}: {} ({})\n  {}{links}, {}, stored as {}\n",
        summary.set,
        summary.id,
        summary.state,
        count(backup.files.len(), "file"),
        size(summary.size_bytes),
        size(summary.stored_bytes),
    );
    text += &absent_files(backup);
    let invalid = backup.files.iter().filter_map(|file| Some((file.path.as_str(), file.fault.as_deref()?)));
    text.extend(invalid.map(|(path, fault)| remark("invalid", &format!("{path}: {fault}"))));
    if !summary.consistent {
        text += "  files changed while they were read\n";
    }
    if summary.state == BackupState::Suspect {
        text += "  kept, but never counted as good: repair the source and back up again\n";
    }
    text
}

/// What a restore did.
pub fn restored(outcome: &RestoreOutcome, look: &Look) -> String {
    let mut text = format!(
        "restored {} of {} from {} to {}\n",
        count(outcome.restored.len(), "file"),
        outcome.set,
        outcome.backup,
        plain(&outcome.target),
    );
    let mut files = Table::new([("", Align::Left), ("", Align::Right)]);
    for file in &outcome.restored {
        files.row([format!("  {}", file.path).into(), size(file.size_bytes).into()]);
    }
    text += &files.render(look);
    text += &symlinks(&outcome.symlinks);
    text.extend(outcome.skipped.iter().map(|file| remark("skipped", &format!("{}: {}", file.path, file.reason))));
    text.extend(outcome.removed.iter().map(|path| remark("removed", &format!("{path}: it was not there then either"))));
    let unsaved = outcome.unsaved.iter().map(|file| format!("{}: {}", file.path, file.reason));
    text.extend(unsaved.map(|what| remark("replaced without a backup of it", &what)));
    text.extend(outcome.left_alone.iter().map(|path| remark("left as it is, the backup does not have it", path)));
    text.extend(outcome.not_kept.iter().map(|what| remark("not kept", what)));
    if let Some(safety) = outcome.safety_backup {
        text += &format!("the files as they were before are in backup {safety}\n");
    }
    if let Some(undo) = &outcome.undo {
        text += &format!("to undo it:\n  {}\n", plain(undo));
    }
    text
}

/// What a verification found.
pub fn verified(outcome: &VerifyOutcome, look: &Look) -> String {
    let (verdict, tone) = match outcome.verdict {
        VerifyVerdict::Intact => ("intact", Tone::Good),
        VerifyVerdict::Damaged => ("damaged", Tone::Bad),
        VerifyVerdict::Unreadable => ("unreadable", Tone::Plain),
    };
    let mut line = Table::new([("", Align::Left); 4]);
    line.row([
        outcome.backup.to_string().into(),
        Cell::toned(verdict, tone),
        outcome.set.to_string().into(),
        format!("{} read", size(outcome.content_bytes)).into(),
    ]);
    let mut text = line.render(look);
    text.extend(outcome.damages.iter().map(|damage| format!("  {}: {}\n", plain(&damage.place), plain(&damage.fault))));
    text.extend(
        outcome.healed.iter().map(|damage| format!("  healed: {}: {}\n", plain(&damage.place), plain(&damage.fault))),
    );
    if let Some(why) = &outcome.unreadable {
        text += &remark("not proven", why);
    }
    if outcome.verdict == VerifyVerdict::Damaged {
        text += &format!("  good ones: `fiovana-app list --set {}` shows them\n", outcome.set);
    }
    text
}

/// The sum of several verifications: what was read, what was healed, and what is lost.
pub fn verified_all(all: &Batch<VerifyOutcome>, _: &Look) -> String {
    let found = |verdict| all.done.iter().filter(|outcome| outcome.verdict == verdict).count();
    let unread = found(VerifyVerdict::Unreadable) + all.failed.len();
    let read_bytes = all.done.iter().map(|outcome| outcome.content_bytes).sum();
    let sum = |of: fn(&VerifyOutcome) -> &[DamageDocument], what: &str| {
        let places: BTreeSet<&str> = all.done.iter().flat_map(of).map(|damage| damage.place.as_str()).collect();
        if places.is_empty() { String::new() } else { format!(", {} {what}", count(places.len(), "stored file")) }
    };
    let (healed, lost) = (sum(|outcome| &outcome.healed, "healed"), sum(|outcome| &outcome.damages, "lost"));
    format!(
        "{} intact, {} damaged, {unread} not verified; {} read{healed}{lost}\n",
        found(VerifyVerdict::Intact),
        found(VerifyVerdict::Damaged),
        size(read_bytes),
    )
}

/// What came of a drill.
pub fn drilled(outcome: &DrillOutcome, look: &Look) -> String {
    let (verdict, tone) = match outcome.verdict {
        DrillVerdict::Passed => ("passed", Tone::Good),
        DrillVerdict::Failed => ("failed", Tone::Bad),
        DrillVerdict::Damaged => ("damaged", Tone::Bad),
    };
    let came_back = match outcome.verdict {
        DrillVerdict::Passed => format!(
            "{}, {} restored and compared in {:.1} s",
            count(usize::try_from(outcome.files).unwrap_or(usize::MAX), "file"),
            size(outcome.size_bytes),
            outcome.duration_seconds
        ),
        DrillVerdict::Failed | DrillVerdict::Damaged => String::new(),
    };
    let mut line = Table::new([("", Align::Left); 4]);
    line.row([
        outcome.set.to_string().into(),
        Cell::toned(verdict, tone),
        outcome.backup.to_string().into(),
        came_back.into(),
    ]);
    let mut text = line.render(look);
    text.extend(outcome.failure.as_ref().map(|why| format!("  {}\n", plain(why))));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::samples;

    #[test]
    fn a_backup_says_what_it_lacks() {
        let expected = "\
backed up security: 20261123T101500Z-33333333 (good)
  1 file, 1.2 MiB, stored as 300.0 KiB
  missing: safe_mode_config.json
  unreadable: magic_number_rules.json: permission denied
";
        assert_eq!(backed_up(&samples::details(), &samples::look()), expected);
    }

    #[test]
    fn invalid_content_is_named() {
        let mut backup = samples::details();
        backup.summary.state = BackupState::Suspect;
        backup.files[0].fault = Some("line 3: expected a comma".into());
        let text = backed_up(&backup, &samples::look());
        assert!(text.contains("  invalid: security_config.json: line 3: expected a comma\n"), "{text}");
        assert!(text.contains("never counted as good"), "{text}");
    }

    #[test]
    fn a_restore_says_how_to_undo_it() {
        let expected = "\
restored 1 file of security from 20261123T101500Z-33333333 to /srv/app/config
  security_config.json  2.0 KiB
  skipped: security_audit.log: the audit log is never replaced in place
  removed: safe_mode_config.json: it was not there then either
  left as it is, the backup does not have it: magic_number_rules.json
the files as they were before are in backup 20261123T101500Z-bbbbbbbb
to undo it:
  fiovana-app restore security 20261123T101500Z-bbbbbbbb
";
        assert_eq!(restored(&samples::restored(), &samples::look()), expected);
    }

    #[test]
    fn a_drill_says_what_came_back_or_why_it_failed() {
        let passed = samples::drilled(DrillVerdict::Passed);
        let expected = "security  passed  20261123T101500Z-33333333  4 files, 4.0 KiB restored and compared in 0.2 s\n";
        assert_eq!(drilled(&passed, &samples::look()), expected);
        let failed = drilled(&samples::drilled(DrillVerdict::Damaged), &samples::look());
        assert!(failed.ends_with("\n  objects/3f/3f9c is absent\n"), "{failed}");
    }

    #[test]
    fn the_sum_of_verifications_counts_what_is_lost_once() {
        let damaged = || samples::verified(VerifyVerdict::Damaged);
        let mut all =
            Batch { done: vec![damaged(), damaged(), samples::verified(VerifyVerdict::Intact)], failed: vec![] };
        let expected = "1 intact, 2 damaged, 0 not verified; 12.0 KiB read, 1 stored file lost\n";
        assert_eq!(verified_all(&all, &samples::look()), expected);
        all.done[2].healed = vec![DamageDocument { place: "objects/aa/aaaa".into(), fault: "absent".into() }];
        let expected = "1 intact, 2 damaged, 0 not verified; 12.0 KiB read, 1 stored file healed, 1 stored file lost\n";
        assert_eq!(verified_all(&all, &samples::look()), expected);
    }

    #[test]
    fn a_verification_names_every_loss() {
        let text = |verdict| verified(&samples::verified(verdict), &samples::look());
        assert_eq!(text(VerifyVerdict::Intact), "20261123T101500Z-33333333  intact  security  4.0 KiB read\n");
        assert!(
            text(VerifyVerdict::Damaged).contains("damaged  security  4.0 KiB read\n  objects/3f/3f9c: it is absent\n")
        );
        let healed = samples::verified(VerifyVerdict::Damaged).damages;
        let healed = VerifyOutcome { healed, ..samples::verified(VerifyVerdict::Intact) };
        assert!(verified(&healed, &samples::look()).ends_with("\n  healed: objects/3f/3f9c: it is absent\n"));
        assert!(text(VerifyVerdict::Unreadable).ends_with("  not proven: read objects/3f/3f9c: I/O error\n"));
    }
}
