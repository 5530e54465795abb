//! Damage and scrubs as text.

use super::remark;
use crate::api::{DamageStatus, ScrubStatus};
use crate::cli::output::Look;
use crate::cli::text::{age, count, size, time};

/// The most damaged places that are listed.
const SHOWN: usize = 10;

/// What is damaged, and how far everything was read again; nothing that is as it should be and of no interest.
pub fn damage(damage: &DamageStatus, scrub: &ScrubStatus, look: &Look) -> String {
    let mut text = String::new();
    if damage.known > 0 {
        text += &format!("damaged: {}\n", count(damage.known as usize, "stored file"));
        let places = damage.places.iter().take(SHOWN);
        text.extend(
            places.map(|known| remark(&known.place, &format!("{}, found {}", known.fault, age(known.since, look.now)))),
        );
    }
    if damage.quarantined > 0 {
        let files = count(damage.quarantined as usize, "file");
        text += &format!(
            "quarantine: {files}, {}: look into them, see `prune --dry-run`\n",
            size(damage.quarantined_bytes)
        );
    }
    let read = match (scrub.enabled, scrub.oldest_check, scrub.complete_by) {
        (false, ..) => "switched off".to_owned(),
        (true, Some(oldest), Some(by)) => {
            format!("everything was read again since {}, and is once more by {} UTC", time(oldest), time(by))
        }
        (true, None, Some(by)) => format!("under way, everything is read again by {} UTC", time(by)),
        (true, _, None) => "not begun".to_owned(),
    };
    text + &format!("scrub: {read}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::DamagedPlace;
    use crate::cli::samples;

    #[test]
    fn damage_is_named_and_health_is_one_line() {
        let scrub = ScrubStatus { enabled: true, oldest_check: None, complete_by: Some(samples::now()) };
        let text = damage(&DamageStatus::default(), &scrub, &samples::look());
        assert_eq!(text, "scrub: under way, everything is read again by 2026-11-23 13:15:00 UTC\n");
        let known = DamagedPlace { place: "objects/3f/3f9c".into(), fault: "absent".into(), since: samples::now() };
        let found = DamageStatus { known: 1, places: vec![known], quarantined: 2, quarantined_bytes: 2048 };
        let expected = "\
damaged: 1 stored file
  objects/3f/3f9c: absent, found now
quarantine: 2 files, 2.0 KiB: look into them, see `prune --dry-run`
scrub: switched off
";
        assert_eq!(damage(&found, &ScrubStatus::default(), &samples::look()), expected);
    }
}
